//! How long a receiver's REMB counts (draft-alvestrand-rmcat-remb-03).
//!
//! Owns: when the last one is forgotten.
//! Never: judges what it says.
//!
//! A receiver measures the video that comes. While all of it is paused nothing is measured, and no further
//! REMB is sent: what was said last would stand for ever. So it is forgotten after a while, the least is sent
//! as to a receiver of whom nothing is known, and the receiver speaks anew.

use std::time::{Duration, Instant};

/// After so long without a word the first is forgotten; each further one after twice as long.
const PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE_MAX: Duration = Duration::from_secs(40);
/// Who was sent video for so long since the last was forgotten can take it.
const GOOD_FOR: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Remb {
    heard: Option<Instant>,
    /// When pictures began to flow after a pause.
    flows_since: Option<Instant>,
    patience: Duration,
}

impl Default for Remb {
    fn default() -> Self {
        Self { heard: None, flows_since: None, patience: PATIENCE }
    }
}

impl Remb {
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    /// Whether the last word is to be forgotten now, given whether any video flows that is wanted. Once for
    /// each word.
    pub(super) fn is_stale(&mut self, now: Instant, flows: bool) -> bool {
        if flows {
            let since = *self.flows_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= GOOD_FOR {
                self.patience = PATIENCE;
            }
            return false;
        }
        self.flows_since = None;
        let stale = self.heard.is_some_and(|heard| now >= heard + self.patience);
        if stale {
            self.heard = None;
            self.patience = (self.patience * 2).min(PATIENCE_MAX);
        }
        stale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// After how many seconds without video the last word is forgotten.
    fn forgotten_after(remb: &mut Remb, now: &mut Instant) -> u32 {
        remb.heard(*now);
        for second in 1.. {
            *now += SECOND;
            if remb.is_stale(*now, false) {
                assert!(!remb.is_stale(*now + SECOND * 3_600, false), "once");
                return second;
            }
        }
        unreachable!()
    }

    #[test]
    fn a_line_that_is_bad_is_tried_ever_less_often() {
        #[allow(clippy::disallowed_methods, reason = "tests are where time comes from")]
        let (mut remb, mut now) = (Remb::default(), Instant::now());
        let mut next = |flowed: u32| {
            for _ in 0..=flowed {
                now += SECOND;
                assert!(!remb.is_stale(now, true), "while pictures flow");
            }
            forgotten_after(&mut remb, &mut now)
        };
        assert_eq!([0, 2, 2, 2, 2].map(&mut next), [5, 10, 20, 40, 40]);
        assert_eq!(next(30), 5, "it was good for a while");
    }
}
