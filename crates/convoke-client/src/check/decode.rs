//! A decoder that knows only which frames need which.
//!
//! Every synthetic frame needs the one before it, keyframes none.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::source::Stamp;

/// Frames that wait for missing packets, at most.
const MAX_WAITING: usize = 256;

/// What came of one source in one slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceReport {
    /// Packets received.
    pub packets: u64,
    /// Frames of which every packet came.
    pub frames_complete: u64,
    /// Frames that a decoder could show.
    pub frames_decoded: u64,
    /// Keyframes among them.
    pub keyframes: u64,
    /// The longest time between two decoded frames while the slot stayed with the source.
    pub longest_gap: Duration,
    /// When the first frame could be shown.
    pub first_decoded: Option<Instant>,
    /// When the last frame could be shown.
    pub last_decoded: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    got: u16,
    needs: u16,
    keyframe: bool,
}

/// A decoder that has undecodable frames for so long wants a keyframe.
const STALLED: Duration = Duration::from_millis(250);

/// Counts decodable frames of one source.
#[derive(Debug, Clone, Default)]
pub struct ModelDecoder {
    waiting: BTreeMap<u32, Waiting>,
    next: Option<u32>,
    /// The slot went to another source in between: the gap up to now is not a freeze.
    away: bool,
    /// Since when frames wait that cannot be decoded.
    stalled: Option<Instant>,
    report: SourceReport,
}

impl ModelDecoder {
    /// What came so far.
    #[must_use]
    pub fn report(&self) -> &SourceReport {
        &self.report
    }

    /// Whether a real decoder would ask for a keyframe now.
    #[must_use]
    pub fn wants_keyframe(&self, now: Instant) -> bool {
        self.stalled.is_some_and(|since| now.saturating_duration_since(since) >= STALLED)
    }

    /// The slot left this source; when it comes back it must begin with a keyframe.
    pub fn interrupt(&mut self) {
        self.waiting.clear();
        self.next = None;
        self.away = true;
        self.stalled = None;
    }

    /// A packet that was not seen before.
    pub fn packet(&mut self, now: Instant, stamp: &Stamp) {
        self.report.packets += 1;
        if self.next.is_some_and(|next| stamp.frame < next) {
            return;
        }
        let new = Waiting { got: 0, needs: stamp.packets, keyframe: stamp.keyframe };
        let frame = self.waiting.entry(stamp.frame).or_insert(new);
        frame.got = frame.got.saturating_add(1);
        if frame.got == frame.needs {
            self.report.frames_complete += 1;
            self.advance(now);
        }
        while self.waiting.len() > MAX_WAITING {
            self.waiting.pop_first();
        }
        if self.waiting.is_empty() {
            self.stalled = None;
        } else {
            self.stalled.get_or_insert(now);
        }
    }

    fn advance(&mut self, now: Instant) {
        loop {
            let complete = |w: &Waiting| w.got >= w.needs;
            let continues = self.next.filter(|n| self.waiting.get(n).is_some_and(complete));
            let keyframe = || {
                let mut all = self.waiting.iter();
                all.find(|(_, w)| w.keyframe && complete(w)).map(|(frame, _)| *frame)
            };
            let Some(frame) = continues.or_else(keyframe) else { return };
            self.decoded(now, frame);
        }
    }

    fn decoded(&mut self, now: Instant, frame: u32) {
        self.waiting = self.waiting.split_off(&frame);
        let keyframe = self.waiting.remove(&frame).is_some_and(|w| w.keyframe);
        self.next = frame.checked_add(1);
        let report = &mut self.report;
        report.frames_decoded += 1;
        report.keyframes += u64::from(keyframe);
        if let (Some(last), false) = (report.last_decoded, self.away) {
            report.longest_gap = report.longest_gap.max(now.saturating_duration_since(last));
        }
        self.away = false;
        self.stalled = None;
        report.first_decoded.get_or_insert(now);
        report.last_decoded = Some(now);
    }
}
