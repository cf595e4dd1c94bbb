//! A decoder that knows only which frames need which.
//!
//! Owns: what of one encoding of one source could be decoded, from the stamps alone.
//! Never: decodes; it believes what the stamps say of references.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::source::Stamp;

/// Frames that wait for missing packets or for others, at most.
const MAX_WAITING: usize = 256;
/// Decoded frames that later ones may still refer to: no pattern goes further back.
const MAX_KEPT: u32 = 64;
/// A decoder that has undecodable frames for so long wants a keyframe.
const STALLED: Duration = Duration::from_millis(250);

/// What came of one source in one slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceReport {
    /// Packets received.
    pub packets: u64,
    /// Frames of which every packet came. A frame is one spatial layer of a picture.
    pub frames_complete: u64,
    /// Pictures that a decoder could show, in whatever size.
    pub frames_decoded: u64,
    /// Frames that came whole, but without something that they refer to, or too late.
    pub frames_undecodable: u64,
    /// Keyframes among the decoded ones.
    pub keyframes: u64,
    /// The longest time between two decoded frames while the slot stayed with the source.
    pub longest_gap: Duration,
    /// When the first frame could be shown.
    pub first_decoded: Option<Instant>,
    /// When the last frame could be shown.
    pub last_decoded: Option<Instant>,
}

impl SourceReport {
    /// Adds what came of another encoding of the same source.
    pub(super) fn merge(&mut self, other: &Self) {
        self.packets += other.packets;
        self.frames_complete += other.frames_complete;
        self.frames_decoded += other.frames_decoded;
        self.frames_undecodable += other.frames_undecodable;
        self.keyframes += other.keyframes;
        self.longest_gap = self.longest_gap.max(other.longest_gap);
        let firsts = [self.first_decoded, other.first_decoded];
        self.first_decoded = firsts.into_iter().flatten().min();
        self.last_decoded = self.last_decoded.max(other.last_decoded);
    }
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    got: u16,
    stamp: Stamp,
}

impl Waiting {
    fn is_whole(&self) -> bool {
        self.got >= self.stamp.packets
    }
}

/// What a packet brought about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decoded {
    /// The frames that could be decoded now, in order.
    pub frames: Vec<Stamp>,
    /// The packet made its frame whole, yet something that it refers to was not decoded.
    pub stuck: bool,
}

/// Counts decodable frames of one encoding of a source.
#[derive(Debug, Clone, Default)]
pub struct ModelDecoder {
    waiting: BTreeMap<u32, Waiting>,
    /// Decoded lately.
    kept: BTreeMap<u32, ()>,
    last: Option<u32>,
    /// The picture last shown.
    picture: Option<u32>,
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

    /// The slot left this encoding; when it comes back it must begin with a keyframe.
    pub fn interrupt(&mut self) {
        self.waiting.clear();
        self.kept.clear();
        self.last = None;
        self.away = true;
        self.stalled = None;
    }

    /// A packet that was not seen before.
    pub fn packet(&mut self, now: Instant, stamp: &Stamp) -> Decoded {
        self.report.packets += 1;
        let mut decoded = Decoded::default();
        if self.last.is_some_and(|last| stamp.frame <= last) {
            // Of a frame that was given up: those after it are shown already.
            let whole = stamp.packets == 1 && !self.kept.contains_key(&stamp.frame);
            self.report.frames_undecodable += u64::from(whole);
            return decoded;
        }
        let frame = self.waiting.entry(stamp.frame).or_insert(Waiting { got: 0, stamp: *stamp });
        frame.got = frame.got.saturating_add(1);
        if frame.is_whole() {
            self.report.frames_complete += 1;
            self.advance(now, &mut decoded);
            decoded.stuck = self.waiting.contains_key(&stamp.frame);
        }
        while self.waiting.len() > MAX_WAITING {
            let given_up = self.waiting.pop_first();
            self.give_up(given_up.into_iter().map(|(_, waiting)| waiting));
        }
        if self.waiting.is_empty() {
            self.stalled = None;
        } else {
            self.stalled.get_or_insert(now);
        }
        decoded
    }

    fn give_up(&mut self, frames: impl Iterator<Item = Waiting>) {
        self.report.frames_undecodable += frames.filter(Waiting::is_whole).count() as u64;
    }

    fn can_decode(&self, waiting: &Waiting) -> bool {
        let Stamp { frame, references, keyframe, .. } = waiting.stamp;
        let mut needed = references.iter().filter(|back| **back > 0);
        let known = |back: &u16| self.kept.contains_key(&frame.wrapping_sub(u32::from(*back)));
        waiting.is_whole() && (keyframe || needed.all(known))
    }

    fn advance(&mut self, now: Instant, decoded: &mut Decoded) {
        loop {
            let found = self.waiting.values().find(|waiting| self.can_decode(waiting)).copied();
            let Some(Waiting { stamp, .. }) = found else { return };
            self.decode(now, &stamp);
            decoded.frames.push(stamp);
        }
    }

    fn decode(&mut self, now: Instant, stamp: &Stamp) {
        let after = self.waiting.split_off(&stamp.frame);
        let skipped = std::mem::replace(&mut self.waiting, after);
        self.waiting.remove(&stamp.frame);
        self.give_up(skipped.into_values());
        if stamp.keyframe {
            self.kept.clear();
            self.report.keyframes += 1;
        }
        self.kept.insert(stamp.frame, ());
        self.kept = self.kept.split_off(&stamp.frame.saturating_sub(MAX_KEPT));
        self.last = Some(stamp.frame);
        self.stalled = None;
        if self.picture.replace(stamp.picture) == Some(stamp.picture) && !self.away {
            return;
        }
        let report = &mut self.report;
        report.frames_decoded += 1;
        if let (Some(last), false) = (report.last_decoded, self.away) {
            report.longest_gap = report.longest_gap.max(now.saturating_duration_since(last));
        }
        self.away = false;
        report.first_decoded.get_or_insert(now);
        report.last_decoded = Some(now);
    }
}
