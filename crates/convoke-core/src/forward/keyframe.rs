//! The keyframe budget of one source.
//!
//! Owns: when a request may go to the publisher.
//! Never: forgets one: what comes inside the interval is kept and sent when it ends, unless a
//! keyframe that began after the request has made it needless.

use std::time::{Duration, Instant};

/// Unanswered requests double the interval up to this many times.
const DOUBLINGS_MAX: u32 = 3;
/// So many requests without a keyframe are not the loss of one.
const UNANSWERED: u32 = 2;
/// In this time
const BUSY_SPAN: Duration = Duration::from_secs(10);
/// so many requests may be answered before the interval is doubled,
const BUSY_AFTER: usize = 2;
/// and so many before it is so again: each viewer that loses packets is served at the cost of all, and
/// on a path that is full every keyframe makes the next loss.
const ANSWERED_MAX: usize = 10;

/// Whom requests go to, and how often at most.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// The publisher, at this interval and less often if that brings nothing.
    Publisher(Duration),
    /// The worker where the publisher is, at this interval: the budget is kept there, and what is
    /// not repeated here nobody there knows to be wanted still.
    Home(Duration),
}

/// One source's budget.
#[derive(Debug, Default)]
pub(crate) struct Keyframes {
    /// When the last request went.
    sent: Option<Instant>,
    /// When the latest answers came, newest first.
    answered: [Option<Instant>; ANSWERED_MAX],
    wanted: bool,
    /// Requests that went since the last keyframe began.
    unanswered: u32,
}

impl Keyframes {
    /// Someone needs a keyframe. True if the request is to be sent now.
    pub(crate) fn request(&mut self, now: Instant, pace: Pace) -> bool {
        self.wanted = true;
        self.poll(now, pace, false)
    }

    /// Whether a request is to be sent now; `waiting` says that someone waits for a keyframe.
    pub(crate) fn poll(&mut self, now: Instant, pace: Pace, waiting: bool) -> bool {
        if !(self.wanted || waiting) || self.next(now, pace).is_some_and(|at| at > now) {
            return false;
        }
        self.unanswered = self.unanswered.saturating_add(1);
        self.sent = Some(now);
        self.wanted = false;
        true
    }

    /// A keyframe began.
    pub(crate) fn arrived(&mut self, now: Instant) {
        if self.unanswered > 0 {
            self.answered.rotate_right(1);
            if let Some(newest) = self.answered.first_mut() {
                *newest = Some(now);
            }
        }
        self.wanted = false;
        self.unanswered = 0;
    }

    /// The source sends again after it was silent: what it did not answer meanwhile says nothing of
    /// whether it will.
    pub(crate) fn returned(&mut self) {
        self.unanswered = 0;
    }

    /// When a request may be sent again; `None` if at once.
    pub(crate) fn next(&self, now: Instant, pace: Pace) -> Option<Instant> {
        let interval = match pace {
            Pace::Publisher(interval) => interval,
            Pace::Home(interval) => return self.sent.map(|at| at + interval),
        };
        let recent = |at: &&Instant| now.saturating_duration_since(**at) < BUSY_SPAN;
        let answered = || self.answered.iter().flatten().filter(recent).count();
        let busy =
            |answered| u32::from(answered >= BUSY_AFTER) + u32::from(answered >= ANSWERED_MAX);
        let doublings = match self.unanswered {
            0 => busy(answered()),
            unanswered => unanswered,
        };
        let wait = interval * (1 << doublings.min(DOUBLINGS_MAX));
        self.sent.map(|at| at + wait)
    }

    /// Whether several requests on end brought no keyframe.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.unanswered >= UNANSWERED
    }

    /// Whether a request waits for its interval.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted
    }
}
