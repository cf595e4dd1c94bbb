//! For how long the estimate has carried what.
//!
//! Owns: the estimate's recent course, exact as far as holds reach back.
//! Never: judges it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Nothing older than this matters: the longest hold.
pub(super) const SPAN: Duration = Duration::from_secs(30);
/// Marks kept; at the bound the oldest two become one, which only makes holds longer.
const MARKS_MAX: usize = 64;

/// The estimate was `bps` at `until` for the last time, and never lower since.
#[derive(Debug, Clone, Copy)]
struct Mark {
    bps: u64,
    until: Instant,
}

/// Marks with rising `bps` and rising `until`; the last is in force. The estimate holds between
/// records.
#[derive(Debug, Default)]
pub(super) struct History {
    marks: VecDeque<Mark>,
}

/// Since when the estimate has been at or above a bitrate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// It is below.
    No,
    /// Since then.
    Since(Instant),
    /// As far back as is remembered.
    Always,
}

impl History {
    /// Takes the estimate that is in force from `now` on.
    pub(super) fn record(&mut self, now: Instant, bps: u64) {
        if let Some(last) = self.marks.back_mut() {
            last.until = now;
        }
        while self.marks.back().is_some_and(|mark| mark.bps >= bps) {
            self.marks.pop_back();
        }
        self.marks.push_back(Mark { bps, until: now });
        while self.marks.len() > 1 && self.marks.front().is_some_and(|m| m.until + SPAN < now) {
            self.marks.pop_front();
        }
        if self.marks.len() > MARKS_MAX
            && let Some(second) = self.marks.remove(1)
            && let Some(first) = self.marks.front_mut()
        {
            first.until = second.until;
        }
    }

    pub(super) fn held(&self, bps: u64) -> Held {
        let lower = self.marks.partition_point(|mark| mark.bps < bps);
        if lower == self.marks.len() {
            return Held::No;
        }
        match lower.checked_sub(1).and_then(|index| self.marks.get(index)) {
            Some(mark) => Held::Since(mark.until),
            None => Held::Always,
        }
    }

    pub(super) fn clear(&mut self) {
        self.marks.clear();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }
}
