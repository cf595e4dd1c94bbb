//! Whether a fall of an estimate is borne out by its path.
//!
//! Owns: what round trips and losses say of one subscriber's path.
//! Never: estimates; the transport does.
//!
//! Estimators go by how packets bunch on their way. Where little is sent, or a receiver is busy, they
//! take noise for congestion and fall below what is being carried without harm; then less is sent,
//! they fall again, and what little is sent gives them no occasion to rise. So a fall below what is
//! sent counts only if packets are lost or delayed. If they are not, for long enough to have shown it,
//! the estimator is told to begin anew from what is carried.

use std::time::{Duration, Instant};

/// Loss above this, in the last second, is congestion.
const LOSS_MAX: f32 = 0.02;
/// So much more delay than the least, in two reports on end, is a queue. A keyframe makes one for a
/// moment, and radio links delay single packets.
const QUEUE_MAX: Duration = Duration::from_millis(60);
/// The least round trip is forgotten this slowly: paths change.
const FORGET: Duration = Duration::from_secs(30);
/// Older reports say nothing.
const FRESH: Duration = Duration::from_millis(1_500);
/// In percent: less than the headroom that an upgrade needs (see `allocate.md`).
const FLUCTUATION: u64 = 114;
/// A fall must have been without consequence for so long: a report at least.
const HARMLESS_AFTER: Duration = Duration::from_millis(300);
/// And the estimator is not told to begin anew more often than this.
const RESET_EVERY: Duration = Duration::from_secs(3);

/// What is known of one path.
#[derive(Debug, Default)]
pub(super) struct Path {
    pub(super) rtt: Option<Duration>,
    before: Option<Duration>,
    pub(super) loss: Option<f32>,
    reported: Option<Instant>,
    /// The least round trip, and when it was seen.
    least: Option<(Duration, Instant)>,
    /// Since when the estimate is below what is carried, without consequence.
    harmless_since: Option<Instant>,
    reset: Option<Instant>,
}

impl Path {
    /// Takes a report.
    pub(super) fn report(&mut self, now: Instant, rtt: Option<Duration>, loss: Option<f32>) {
        self.before = self.rtt;
        self.rtt = rtt.or(self.rtt);
        self.loss = loss;
        self.reported = Some(now);
        if let Some(rtt) = rtt
            && self.least.is_none_or(|(least, at)| {
                rtt <= least || now.saturating_duration_since(at) > FORGET
            })
        {
            self.least = Some((rtt, now));
        }
    }

    /// Whether what is sent now is carried without loss or queue.
    pub(super) fn is_clean(&self, now: Instant) -> bool {
        let fresh = self.reported.is_some_and(|at| now.saturating_duration_since(at) < FRESH);
        fresh
            && self.loss.is_some_and(|loss| loss <= LOSS_MAX)
            && self.queue().is_some_and(|queue| queue <= QUEUE_MAX)
    }

    /// Whether packets queue on the way, by the latest report.
    pub(super) fn is_congested(&self) -> bool {
        self.queue().is_some_and(|queue| queue > QUEUE_MAX)
    }

    fn queue(&self) -> Option<Duration> {
        let rtt = self.rtt.map(|rtt| self.before.map_or(rtt, |before| before.min(rtt)));
        rtt.zip(self.least).map(|(rtt, (least, _))| rtt.saturating_sub(least))
    }

    /// The estimate by which is allocated, for the estimator's own and what is sent at `spent_bps`:
    /// what is carried without harm is believed, with what a stream's bitrate fluctuates. Never so
    /// much that more could be granted for it.
    pub(super) fn believe(&mut self, now: Instant, estimate_bps: u64, spent_bps: u64) -> u64 {
        if !self.is_clean(now) {
            self.harmless_since = None;
            return estimate_bps;
        }
        if estimate_bps >= spent_bps {
            self.harmless_since = None;
        } else {
            self.harmless_since.get_or_insert(now);
        }
        estimate_bps.max(spent_bps * FLUCTUATION / 100)
    }

    /// Whether the estimator is to begin anew, as its fall has had no consequence.
    pub(super) fn is_to_reset(&mut self, now: Instant) -> bool {
        let long = self
            .harmless_since
            .is_some_and(|since| now.saturating_duration_since(since) >= HARMLESS_AFTER);
        let seldom =
            self.reset.is_none_or(|reset| now.saturating_duration_since(reset) >= RESET_EVERY);
        let due = long && seldom && self.is_clean(now);
        if due {
            self.reset = Some(now);
            self.harmless_since = None;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const K: u64 = 1_000;

    #[test]
    fn a_fall_without_consequence_is_not_believed_and_ends() {
        let start = Instant::now();
        let mut path = Path::default();
        assert_eq!(path.believe(start, 200 * K, 500 * K), 200 * K, "nothing is known");
        path.report(start, Some(20 * MS), Some(0.0));
        assert_eq!(path.believe(start, 900 * K, 500 * K), 900 * K);
        assert_eq!(path.believe(start + 50 * MS, 520 * K, 500 * K), 570 * K);
        assert_eq!(path.believe(start + 100 * MS, 200 * K, 500 * K), 570 * K);
        assert!(!path.is_to_reset(start + 300 * MS), "too early to say");
        path.report(start + 600 * MS, Some(25 * MS), Some(0.01));
        path.report(start + 1_100 * MS, Some(20 * MS), Some(0.0));
        assert!(path.is_to_reset(start + 1_100 * MS));
        assert!(!path.is_to_reset(start + 1_200 * MS), "once");
    }

    #[test]
    fn loss_queues_and_silence_bear_a_fall_out() {
        let start = Instant::now();
        let clean = |path: &mut Path| path.report(start, Some(20 * MS), Some(0.0));
        let later = start + 500 * MS;
        for (rtt, loss) in [(20, 0.1), (200, 0.0)] {
            let mut path = Path::default();
            clean(&mut path);
            path.report(later, Some(rtt * MS), Some(loss));
            path.report(later, Some(rtt * MS), Some(loss));
            assert_eq!(path.believe(later, 200 * K, 500 * K), 200 * K);
        }
        let mut path = Path::default();
        clean(&mut path);
        assert_eq!(path.believe(start + FRESH, 200 * K, 500 * K), 200 * K);
    }

    #[test]
    fn a_path_is_congested_while_packets_queue_not_when_one_is_late_or_lost() {
        let start = Instant::now();
        let mut path = Path::default();
        assert!(!path.is_congested());
        let mut congested = |rtt: u32, loss| {
            path.report(start, Some(rtt * MS), Some(loss));
            path.is_congested()
        };
        assert!(![congested(20, 0.0), congested(25, 0.3), congested(300, 0.0)].contains(&true));
        assert!(congested(250, 0.0));
        assert!(!congested(30, 0.1));
    }
}
