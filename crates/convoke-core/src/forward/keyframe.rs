//! The keyframe budget of one source.
//!
//! Owns: when a request may go to the publisher.
//! Never: forgets one: what comes inside the interval is kept and sent when it ends, unless a
//! keyframe that began after the request has made it needless.

use std::time::{Duration, Instant};

/// Unanswered requests double the interval up to this many times.
const DOUBLINGS_MAX: u32 = 3;

/// One source's budget.
#[derive(Debug, Default)]
pub(crate) struct Keyframes {
    last_sent: Option<Instant>,
    wanted: bool,
    unanswered: u32,
}

impl Keyframes {
    /// Someone needs a keyframe. True if the request is to be sent now.
    pub(crate) fn request(&mut self, now: Instant, interval: Duration) -> bool {
        self.wanted = true;
        self.poll(now, interval, false)
    }

    /// Whether a request is to be sent now; `waiting` says that someone waits for a keyframe.
    pub(crate) fn poll(&mut self, now: Instant, interval: Duration, waiting: bool) -> bool {
        if !(self.wanted || waiting) || self.next(interval).is_some_and(|at| at > now) {
            return false;
        }
        self.unanswered = if self.last_sent.is_some() { self.unanswered + 1 } else { 0 };
        self.last_sent = Some(now);
        self.wanted = false;
        true
    }

    /// A keyframe began.
    pub(crate) fn arrived(&mut self) {
        self.wanted = false;
        self.unanswered = 0;
    }

    /// When a request may be sent again; `None` if at once.
    pub(crate) fn next(&self, interval: Duration) -> Option<Instant> {
        let wait = interval * (1 << self.unanswered.min(DOUBLINGS_MAX));
        self.last_sent.map(|at| at + wait)
    }

    /// Whether a request waits for its interval.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted
    }
}
