//! When the estimator is to look for more.
//!
//! Owns: one subscriber's windows of probing: in a window the estimator aims above what is sent and
//! padding sustains it; between windows it does not.
//! Never: estimates.
//!
//! Padding all the time would keep a full queue full; no padding at all would leave an estimate where
//! it fell. So: quiet after every fall, then a window in steps of at most twofold; a window that found
//! nothing doubles the quiet, one that did shortens it. An estimator that has not moved in several
//! windows on a path that is clean may have locked itself up (it probes only after certain causes of
//! its last change, and bounds itself by what little was sent): it is to begin anew with the next.

use std::time::{Duration, Instant};

/// The length of a window.
const WINDOW: Duration = Duration::from_millis(1_200);
const QUIET_MIN: Duration = Duration::from_millis(600);
/// Quiet after a fall of the estimate.
const QUIET_AFTER_FALL: Duration = Duration::from_millis(1_500);
const QUIET_MAX: Duration = Duration::from_secs(3);
/// So many windows in vain are enough.
const VAIN_MAX: u32 = 2;
/// In percent: an estimate that grew by so much in a window was a success.
const SUCCESS: u64 = 108;
/// In percent: one that fell below so much of what it was ends the window.
const FALL: u64 = 93;

#[derive(Debug, Clone, Copy)]
enum Phase {
    Quiet { until: Instant },
    Window { until: Instant, from_bps: u64, to_bps: u64 },
}

/// One subscriber's probing.
#[derive(Debug)]
pub(super) struct Prober {
    phase: Option<Phase>,
    quiet: Duration,
    highest_bps: u64,
    /// Windows on end that found nothing.
    vain: u32,
}

impl Default for Prober {
    fn default() -> Self {
        Self { phase: None, quiet: QUIET_MIN, highest_bps: 0, vain: 0 }
    }
}

/// What the estimator is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Aim {
    /// Padding keeps up so much, in bit/s.
    pub(super) sustained_bps: u64,
    /// Whether a window is open: then the estimator looks as far as all wishes go.
    pub(super) open: bool,
    /// Whether the estimator is to begin anew, if the path is clean.
    pub(super) anew: bool,
    /// When to ask again.
    pub(super) until: Option<Instant>,
}

impl Prober {
    /// `goal_bps` is the estimate that the next upgrade needs; `None` if there is none to be had.
    pub(super) fn aim(&mut self, now: Instant, estimate_bps: u64, goal_bps: Option<u64>) -> Aim {
        let idle = Aim { sustained_bps: 0, open: false, anew: false, until: None };
        let fell = estimate_bps * 100 < self.highest_bps * FALL;
        self.highest_bps = if fell { estimate_bps } else { self.highest_bps.max(estimate_bps) };
        let Some(goal_bps) = goal_bps.filter(|goal| *goal > estimate_bps) else {
            // Nothing to look for: the next time begins at once.
            if !matches!(self.phase, Some(Phase::Quiet { until }) if until > now) {
                self.phase = None;
            }
            return idle;
        };
        if fell {
            if matches!(self.phase, Some(Phase::Window { .. })) {
                self.quiet = (self.quiet * 2).min(QUIET_MAX);
            }
            self.be_quiet(now, self.quiet.max(QUIET_AFTER_FALL));
        }
        if let Some(Phase::Window { until, from_bps, .. }) = self.phase
            && until <= now
        {
            let found = estimate_bps * 100 >= from_bps * SUCCESS;
            self.vain = if found { 0 } else { self.vain + 1 };
            self.quiet = if found { QUIET_MIN } else { (self.quiet * 2).min(QUIET_MAX) };
            self.be_quiet(now, self.quiet);
        }
        let mut anew = false;
        if self.phase.is_none_or(|phase| matches!(phase, Phase::Quiet { until } if until <= now)) {
            let to_bps = goal_bps.min(estimate_bps.saturating_mul(2));
            anew = self.vain >= VAIN_MAX;
            if anew {
                self.vain = 0;
            }
            self.phase =
                Some(Phase::Window { until: now + WINDOW, from_bps: estimate_bps, to_bps });
        }
        match self.phase {
            Some(Phase::Window { until, to_bps, .. }) => {
                Aim { sustained_bps: to_bps, open: true, anew, until: Some(until) }
            }
            Some(Phase::Quiet { until }) => Aim { until: Some(until), ..idle },
            None => idle,
        }
    }

    fn be_quiet(&mut self, now: Instant, quiet: Duration) {
        self.phase = Some(Phase::Quiet { until: now + quiet });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: u64 = 1_000;

    #[test]
    fn windows_that_find_nothing_come_ever_more_seldom() {
        let mut now = Instant::now();
        let mut prober = Prober::default();
        let mut windows = Vec::new();
        let start = now;
        let mut open = false;
        while now < start + Duration::from_secs(60) {
            let aim = prober.aim(now, 700 * K, Some(2_000 * K));
            assert!(aim.sustained_bps <= 1_400 * K, "at most twofold");
            if aim.open && !open {
                windows.push(now.duration_since(start));
            }
            open = aim.open;
            now = aim.until.expect("a window or a quiet time ends");
        }
        let gaps: Vec<Duration> = windows.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(windows.len() >= 6, "{windows:?}");
        assert!(gaps.is_sorted() && gaps.last() <= Some(&(QUIET_MAX + WINDOW)), "{gaps:?}");
    }

    #[test]
    fn a_fall_ends_a_window_at_once_and_success_leads_on() {
        let now = Instant::now();
        let mut prober = Prober::default();
        assert!(prober.aim(now, 700 * K, Some(1_000 * K)).open);
        let fell = prober.aim(now + WINDOW / 2, 600 * K, Some(1_000 * K));
        assert!(!fell.open && fell.sustained_bps == 0);
        let later = fell.until.unwrap();
        assert!(later >= now + WINDOW / 2 + QUIET_AFTER_FALL);
        assert!(prober.aim(later, 600 * K, Some(1_000 * K)).open);
        // It grew, but not to the goal: short quiet, then the next step.
        let quiet = prober.aim(later + WINDOW, 900 * K, Some(1_000 * K));
        assert_eq!(quiet.until, Some(later + WINDOW + QUIET_MIN));
        assert!(!prober.aim(later + WINDOW, 1_100 * K, Some(1_000 * K)).open, "reached");
    }
}
