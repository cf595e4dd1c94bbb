//! The keyframe budget of one source.
//!
//! Owns: when a request may go to the publisher.
//! Never: forgets one: what comes inside the interval is kept and sent when it ends, unless a
//! keyframe that began after the request has made it needless.

use std::time::{Duration, Instant};

/// Unanswered requests double the interval up to this many times,
const DOUBLINGS_MAX: u32 = 3;
/// from the one after these on: so many requests without a keyframe are not the loss of one or two.
const UNANSWERED: u32 = 3;
/// In this time
const BUSY_SPAN: Duration = Duration::from_secs(10);
/// so many requests may go before the interval is doubled, and twice as many before it is so again:
/// where many viewers lose packets, each would be served at the cost of all.
const BUSY_AFTER: usize = 5;
const SENT_MAX: usize = 2 * BUSY_AFTER;

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
    /// When the latest requests went, newest first.
    sent: [Option<Instant>; SENT_MAX],
    wanted: bool,
    /// Requests since the last answer.
    unanswered: u32,
}

impl Keyframes {
    /// Someone needs a keyframe. True if the request is to be sent now.
    pub(crate) fn request(&mut self, now: Instant, pace: Pace, waiting: bool) -> bool {
        self.wanted = true;
        self.poll(now, pace, waiting)
    }

    /// Whether a request is to be sent now; `waiting` says that someone waits for a
    /// keyframe to switch to.
    pub(crate) fn poll(&mut self, now: Instant, pace: Pace, waiting: bool) -> bool {
        if !(self.wanted || waiting) || self.next(now, pace, waiting).is_some_and(|at| at > now) {
            return false;
        }
        self.unanswered = self.unanswered.saturating_add(1);
        self.sent.rotate_right(1);
        if let Some(newest) = self.sent.first_mut() {
            *newest = Some(now);
        }
        self.wanted = false;
        true
    }

    /// A keyframe began.
    pub(crate) fn arrived(&mut self) {
        self.wanted = false;
        self.unanswered = 0;
    }

    /// The source sends again after it was silent: what it did not answer meanwhile says nothing of
    /// whether it will.
    pub(crate) fn returned(&mut self) {
        self.unanswered = 0;
    }

    /// When a request may be sent again; `None` if at once. That many ask, as they lose packets, makes who
    /// waits for a keyframe to switch to wait for one doubling at most, and delays no repetition: a request
    /// that was lost has cost nobody anything.
    pub(crate) fn next(&self, now: Instant, pace: Pace, waiting: bool) -> Option<Instant> {
        let interval = match pace {
            Pace::Publisher(interval) => interval,
            Pace::Home(interval) => return self.last_sent().map(|at| at + interval),
        };
        let doublings = match self.unanswered {
            0 => self.busy(now).min(if waiting { 1 } else { u32::MAX }),
            unanswered => (unanswered + 1).saturating_sub(UNANSWERED),
        };
        let wait = interval * (1 << doublings.min(DOUBLINGS_MAX));
        self.last_sent().map(|at| at + wait)
    }

    /// How often the interval is doubled because so many ask.
    fn busy(&self, now: Instant) -> u32 {
        let recent = |sent: &&Instant| now.saturating_duration_since(**sent) < BUSY_SPAN;
        let requests = self.sent.iter().flatten().filter(recent).count();
        u32::try_from(requests / BUSY_AFTER).unwrap_or(0)
    }

    fn last_sent(&self) -> Option<Instant> {
        self.sent.first().copied().flatten()
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
