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
//!
//! Meanwhile its pacer must not hold back what does no harm: pictures would stop, and all that was held
//! would leave at once when the estimator begins anew.
//!
//! What is carried is all that was sent, padding included: where an estimator stays below what windows
//! of probing showed to do no harm, what they showed is believed for some seconds.
//!
//! The other way round: an estimator that hears nothing, or nothing that matches what it still
//! remembers to have sent, keeps its last estimate however bad the path has become. So silence about
//! packets that were sent is read as congestion: half is believed, and half of it again each second.

use std::collections::VecDeque;
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
/// Reports without word of anything that was sent in the last second: after so long, or a round trip
/// and [`FEEDBACK_AFTER`] if that is longer, nothing is heard. With that second it is under two.
const DEAF_AFTER: Duration = Duration::from_millis(600);
/// Feedback and report may take so long beside the round trip.
const FEEDBACK_AFTER: Duration = Duration::from_millis(400);
/// What is believed is halved so often while nothing is heard.
const HALVED_EVERY: Duration = Duration::from_secs(1);
/// And not to less than this, in bit/s: sound, and something to be answered.
const DEAF_BPS: u64 = 100_000;
/// What was carried, padding included, is measured over so long.
const CARRIED_OVER: Duration = Duration::from_millis(900);
/// And is believed for so long, while the path stays clean.
const CARRIED_FOR: Duration = Duration::from_secs(4);
/// In bytes: less than this between two reports leaves nothing to be said about.
const SENT_MIN: u64 = 1_500;

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
    /// Bytes sent, when reported last.
    sent_bytes: u64,
    /// How long packets were sent without word of any; `None` before the first word.
    unanswered: Option<Duration>,
    /// What is believed at most, in bit/s, and how long nothing was heard when it was halved last.
    deaf: Option<(u64, Duration)>,
    /// When so many bytes had been sent, since the path became clean: the last [`CARRIED_OVER`].
    marks: VecDeque<(Instant, u64)>,
    /// In bit/s, the most that was carried without harm, and when that was.
    carried: Option<(u64, Instant)>,
    /// The most that it ever carried so, in bit/s.
    proven_bps: u64,
    /// When packets last queued on it.
    queued: Option<Instant>,
}

impl Path {
    /// Takes a report: `loss` is of what was sent in the last second, if anything was said of it;
    /// `sent_bytes` is all RTP that was ever sent, padding and what was sent again included.
    pub(super) fn report(
        &mut self,
        now: Instant,
        (rtt, loss): (Option<Duration>, Option<f32>),
        sent_bytes: u64,
    ) {
        let since = self.reported.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let sent = sent_bytes.saturating_sub(self.sent_bytes);
        self.sent_bytes = sent_bytes;
        if loss.is_some() {
            self.unanswered = Some(Duration::ZERO);
            self.deaf = None;
        } else if let Some(unanswered) = &mut self.unanswered
            && sent >= SENT_MIN
        {
            *unanswered += since;
        }
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
        if self.is_congested() {
            self.queued = Some(now);
        }
        self.carry(now);
    }

    /// Measures what the path carries, by what was sent in all: padding that did no harm shows as
    /// well as media what there is room for.
    fn carry(&mut self, now: Instant) {
        if !self.is_clean(now) {
            self.marks.clear();
            self.carried = None;
            return;
        }
        let long_ago =
            |(at, _): &(Instant, u64)| now.saturating_duration_since(*at) >= CARRIED_OVER;
        while self.marks.get(1).is_some_and(long_ago) {
            self.marks.pop_front();
        }
        self.marks.push_back((now, self.sent_bytes));
        let Some((at, bytes)) = self.marks.front() else { return };
        let over = now.saturating_duration_since(*at);
        if over < CARRIED_OVER {
            return;
        }
        let bits = u128::from(self.sent_bytes.saturating_sub(*bytes)) * 8_000;
        let bps = u64::try_from(bits / over.as_millis().max(1)).unwrap_or(u64::MAX);
        let holds = |(most, at): &(u64, Instant)| {
            *most > bps && now.saturating_duration_since(*at) < CARRIED_FOR
        };
        self.carried = self.carried.filter(holds).or(Some((bps, now)));
        self.proven_bps = self.proven_bps.max(bps);
    }

    /// Whether it carries less than this, in bit/s, as far as is known: it never did without harm, and
    /// packets queued on it of late. An estimate alone may be far too low, and paths change.
    pub(super) fn is_narrower(&self, now: Instant, bps: u64) -> bool {
        let recent = |at| now.saturating_duration_since(at) < FORGET;
        self.queued.is_some_and(recent) && self.proven_bps < bps
    }

    /// Whether what is sent now is carried without loss or queue.
    pub(super) fn is_clean(&self, now: Instant) -> bool {
        let fresh = self.reported.is_some_and(|at| now.saturating_duration_since(at) < FRESH);
        fresh
            && self.loss.is_some_and(|loss| loss <= LOSS_MAX)
            && self.queue().is_some_and(|queue| queue <= QUEUE_MAX)
    }

    /// Whether it is clean, and has been for about a second.
    pub(super) fn has_been_clean(&self, now: Instant) -> bool {
        self.is_clean(now) && self.carried.is_some()
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
        if let Some(most) = self.heard_nothing(spent_bps.min(estimate_bps)) {
            self.harmless_since = None;
            return estimate_bps.min(most);
        }
        if !self.is_clean(now) {
            self.harmless_since = None;
            return estimate_bps;
        }
        if estimate_bps >= spent_bps {
            self.harmless_since = None;
        } else {
            self.harmless_since.get_or_insert(now);
        }
        let carried = self.carried.map_or(0, |(bps, _)| bps);
        estimate_bps.max(spent_bps * FLUCTUATION / 100).max(carried)
    }

    /// What is believed at most while nothing is heard of what is sent at `spent_bps`.
    fn heard_nothing(&mut self, spent_bps: u64) -> Option<u64> {
        let unanswered = self.unanswered?;
        let after = self.rtt.map_or(DEAF_AFTER, |rtt| DEAF_AFTER.max(rtt + FEEDBACK_AFTER));
        self.deaf = match self.deaf {
            None if unanswered >= after => Some((spent_bps / 2, unanswered)),
            Some((most, halved)) if unanswered >= halved + HALVED_EVERY => {
                Some((most / 2, unanswered))
            }
            deaf => deaf,
        };
        self.deaf.map(|(most, _)| most.max(DEAF_BPS))
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
        path.report(start, (Some(20 * MS), Some(0.0)), 0);
        assert_eq!(path.believe(start, 900 * K, 500 * K), 900 * K);
        assert_eq!(path.believe(start + 50 * MS, 520 * K, 500 * K), 570 * K);
        assert_eq!(path.believe(start + 100 * MS, 200 * K, 500 * K), 570 * K);
        assert!(!path.is_to_reset(start + 300 * MS), "too early to say");
        path.report(start + 600 * MS, (Some(25 * MS), Some(0.01)), 0);
        path.report(start + 1_100 * MS, (Some(20 * MS), Some(0.0)), 0);
        assert!(path.is_to_reset(start + 1_100 * MS));
        assert!(!path.is_to_reset(start + 1_200 * MS), "once");
    }

    /// Reports each 300 ms of a path that carries `bps`; what is believed of an estimate of 230 kbit/s.
    fn carries(path: &mut Path, from: Instant, reports: u32, bps: u64, rtt: Duration) -> u64 {
        let mut sent = path.sent_bytes;
        let mut believed = 0;
        for at in 1..=reports {
            let now = from + 300 * MS * at;
            sent += bps * 3 / 80;
            path.report(now, (Some(rtt), Some(0.0)), sent);
            believed = path.believe(now, 230 * K, 200 * K);
        }
        believed
    }

    #[test]
    fn padding_that_did_no_harm_is_believed_until_there_is_a_queue() {
        let start = Instant::now();
        let mut path = Path::default();
        path.report(start, (Some(20 * MS), Some(0.0)), 0);
        assert_eq!(carries(&mut path, start, 3, 280 * K, 25 * MS), 280 * K);
        let quiet = start + 900 * MS;
        assert_eq!(carries(&mut path, quiet, 12, 200 * K, 20 * MS), 280 * K, "for some seconds");
        let later = quiet + Duration::from_millis(3_600);
        assert_eq!(carries(&mut path, later, 6, 200 * K, 20 * MS), 230 * K, "not for ever");
        let again = later + Duration::from_secs(2);
        assert_eq!(carries(&mut path, again, 6, 280 * K, 20 * MS), 280 * K);
        let queue = again + Duration::from_secs(2);
        assert_eq!(carries(&mut path, queue, 2, 280 * K, 90 * MS), 230 * K, "a queue");
    }

    #[test]
    fn what_a_path_once_carried_stays_proven_and_what_makes_a_queue_proves_nothing() {
        let start = Instant::now();
        let mut path = Path::default();
        path.report(start, (Some(20 * MS), Some(0.0)), 0);
        assert!(!path.has_been_clean(start), "too early to say");
        carries(&mut path, start, 6, 280 * K, 25 * MS);
        let later = start + Duration::from_secs(2);
        assert!(path.has_been_clean(later) && !path.is_narrower(later, 300 * K), "nothing queued");
        carries(&mut path, later, 6, 900 * K, 90 * MS);
        let later = later + Duration::from_secs(2);
        assert!(!path.has_been_clean(later) && path.is_narrower(later, 500 * K), "a queue");
        assert!(!path.is_narrower(later, 270 * K), "it carried that");
        assert!(!path.is_narrower(later + FORGET, 500 * K), "long ago");
        carries(&mut path, later, 8, 900 * K, 20 * MS);
        assert!(!path.is_narrower(later, 800 * K));
        carries(&mut path, later + Duration::from_secs(3), 12, 200 * K, 90 * MS);
        assert!(!path.is_narrower(later, 800 * K), "once is enough");
    }

    #[test]
    fn loss_queues_and_silence_bear_a_fall_out() {
        let start = Instant::now();
        let clean = |path: &mut Path| path.report(start, (Some(20 * MS), Some(0.0)), 0);
        let later = start + 500 * MS;
        for (rtt, loss) in [(20, 0.1), (200, 0.0)] {
            let mut path = Path::default();
            clean(&mut path);
            path.report(later, (Some(rtt * MS), Some(loss)), 0);
            path.report(later, (Some(rtt * MS), Some(loss)), 0);
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
            path.report(start, (Some(rtt * MS), Some(loss)), 0);
            path.is_congested()
        };
        assert!(![congested(20, 0.0), congested(25, 0.3), congested(300, 0.0)].contains(&true));
        assert!(congested(250, 0.0));
        assert!(!congested(30, 0.1));
    }

    /// Reports each 200 ms, of 20 kB sent since the one before; at which what was believed fell.
    fn falls(path: &mut Path, start: Instant, losses: &[Option<f32>]) -> Vec<(usize, u64)> {
        let mut falls = vec![];
        let mut before = 800 * K;
        for (at, loss) in losses.iter().enumerate() {
            let now = start + 200 * MS * at as u32;
            path.report(now, (Some(50 * MS), *loss), 20_000 * (at as u64 + 1));
            let bps = path.believe(now, 800 * K, 700 * K);
            if bps < before {
                falls.push((at, bps));
            }
            before = bps;
        }
        falls
    }

    #[test]
    fn silence_about_what_is_sent_halves_what_is_believed() {
        let start = Instant::now();
        let mut losses = vec![Some(0.0); 5];
        losses.extend(vec![None; 20]);
        let mut path = Path::default();
        // 600 ms of silence, and each second after: to the least.
        let fell = [(7, 350 * K), (12, 175 * K), (17, 100 * K)];
        assert_eq!(falls(&mut path, start, &losses), fell);
        let heard = start + Duration::from_secs(6);
        path.report(heard, (Some(50 * MS), Some(0.0)), 1_000_000);
        assert_eq!(path.believe(heard, 800 * K, 700 * K), 800 * K, "at the first word");
    }

    #[test]
    fn nothing_is_read_from_silence_before_the_first_word_or_when_nothing_was_sent() {
        let start = Instant::now();
        assert!(falls(&mut Path::default(), start, &[None; 20]).is_empty());
        let mut path = Path::default();
        path.report(start, (Some(50 * MS), Some(0.0)), 20_000);
        for at in 1..20 {
            let now = start + 200 * MS * at;
            path.report(now, (None, None), 20_000 + 400 * u64::from(at));
            assert_eq!(path.believe(now, 800 * K, 700 * K), 800 * K);
        }
    }

    #[test]
    fn a_long_round_trip_is_waited_for() {
        let start = Instant::now();
        let mut path = Path::default();
        path.report(start, (Some(900 * MS), Some(0.0)), 0);
        let mut fell = None;
        for at in 1..20 {
            let now = start + 200 * MS * at;
            path.report(now, (None, None), 20_000 * u64::from(at));
            if path.believe(now, 800 * K, 700 * K) < 800 * K {
                fell = fell.or(Some(200 * MS * at));
            }
        }
        assert_eq!(fell, Some(1_400 * MS), "1.3 s, and the next report");
    }
}
