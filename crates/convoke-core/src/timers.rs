//! Deadlines with their reasons: one heap per worker.
//!
//! Owns: when to look again at whom.
//! Never: decides whether something is really due; owners check their own state, so entries may
//! be stale and are then harmless.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Why a deadline was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// A transport wants to be driven (str0m's own deadlines).
    Transport(usize),
    /// A transport may have been silent for too long.
    Liveness(usize),
    /// A room has keyframe requests waiting for their interval.
    Keyframes(usize),
    /// A room's voices are to be judged.
    Speech(usize),
    /// A room has data messages that wait for their time.
    Data(usize),
    /// A room's layers are to be measured and allocated.
    Quality(usize),
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, Due)>>,
}

impl Timers {
    /// Sets a deadline. `scheduled` is the owner's note of its earliest entry in the heap: a later
    /// deadline needs no entry of its own, as the owner is asked again at the earlier one.
    pub(crate) fn set(&mut self, scheduled: &mut Option<Instant>, at: Instant, due: Due) {
        if scheduled.is_some_and(|earlier| earlier <= at) {
            return;
        }
        *scheduled = Some(at);
        self.heap.push(Reverse((at, due)));
    }

    /// Takes the next deadline that is due by `until`.
    pub(crate) fn pop(&mut self, until: Instant) -> Option<(Instant, Due)> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > until {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    pub(crate) fn clear(&mut self) {
        self.heap.clear();
    }
}
