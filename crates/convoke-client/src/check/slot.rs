//! One slot's stream, packet by packet.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use convoke_protocol::MediaKind;

use super::{Delays, ModelDecoder, SourceReport, Violation};
use crate::media::{Codec, Received};
use crate::source::{Stamp, starts_keyframe, vp8_ids};

/// Packets held for comparison; older ones are only counted.
const WINDOW: usize = 2_048;
/// Violations kept; more are only counted.
const MAX_VIOLATIONS: usize = 32;
/// Assignments remembered.
const MAX_ASSIGNMENTS: usize = 64;
/// The least distance of two audio packets: 20 ms at 48 kHz.
const AUDIO_STEP: u32 = 960;

/// How far packets and the slot table may be apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grace {
    /// A packet may come so long before its assignment is known.
    pub before: Duration,
    /// A packet may come so long after its assignment ended (it was on its way, or the next source
    /// had no keyframe yet).
    pub after: Duration,
}

/// What came in on a slot.
#[derive(Debug, Clone, Default)]
pub struct SlotReport {
    /// Packets received.
    pub packets: u64,
    /// Sequence numbers between the first and the last that never came, RTX counted as coming.
    pub missing: u64,
    /// Times that the source changed.
    pub switches: u64,
    /// By source: CSRC and the publisher's track number.
    pub sources: BTreeMap<(u32, u16), SourceReport>,
    /// From the source's clock to arrival.
    pub delays: Delays,
    /// Broken laws, the first few.
    pub violations: Vec<Violation>,
    /// Broken laws, all.
    pub violation_count: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    rtp_time: u32,
    csrc: u32,
    codec: Codec,
    starts_keyframe: bool,
    picture_id: Option<u16>,
    tl0_pic_idx: Option<u8>,
    stamp: Stamp,
}

#[derive(Debug, Clone, Copy)]
struct Assignment {
    csrc: u32,
    from: Instant,
    until: Option<Instant>,
}

/// Checks one slot; see the module's docs for the laws.
#[derive(Debug)]
pub struct SlotChecker {
    kind: MediaKind,
    epoch: Instant,
    grace: Option<Grace>,
    assignments: VecDeque<Assignment>,
    entries: BTreeMap<u64, Entry>,
    first: Option<u64>,
    highest: u64,
    packets: u64,
    /// The source of the newest packet.
    current: Option<(u32, u16)>,
    switches: u64,
    decoders: BTreeMap<(u32, u16), ModelDecoder>,
    delays: Delays,
    violations: Vec<Violation>,
    violation_count: u64,
}

impl SlotChecker {
    /// A checker for a slot that carries nothing yet. `epoch` is that of the sources. Without
    /// `grace`, packets are not held against the slot table.
    #[must_use]
    pub fn new(kind: MediaKind, epoch: Instant, grace: Option<Grace>) -> Self {
        Self {
            kind,
            epoch,
            grace,
            assignments: VecDeque::new(),
            entries: BTreeMap::new(),
            first: None,
            highest: 0,
            packets: 0,
            current: None,
            switches: 0,
            decoders: BTreeMap::new(),
            delays: Delays::default(),
            violations: Vec::new(),
            violation_count: 0,
        }
    }

    /// The slot table says that the slot belongs to `csrc` from now on.
    pub fn assign(&mut self, now: Instant, csrc: Option<u32>) {
        if let Some(last) = self.assignments.back_mut()
            && last.until.is_none()
        {
            if Some(last.csrc) == csrc {
                return;
            }
            last.until = Some(now);
        }
        if let Some(csrc) = csrc {
            self.assignments.push_back(Assignment { csrc, from: now, until: None });
        }
        while self.assignments.len() > MAX_ASSIGNMENTS {
            self.assignments.pop_front();
        }
    }

    /// What came in so far.
    #[must_use]
    pub fn report(&self) -> SlotReport {
        let span = self.first.map_or(0, |first| self.highest - first + 1);
        SlotReport {
            packets: self.packets,
            missing: span.saturating_sub(self.packets),
            switches: self.switches,
            sources: self.decoders.iter().map(|(k, d)| (*k, d.report().clone())).collect(),
            delays: self.delays.clone(),
            violations: self.violations.clone(),
            violation_count: self.violation_count,
        }
    }

    /// Whether a real receiver would ask for a keyframe of the present source now.
    #[must_use]
    pub fn wants_keyframe(&self, now: Instant) -> bool {
        let decoder = self.current.and_then(|source| self.decoders.get(&source));
        decoder.is_some_and(|decoder| decoder.wants_keyframe(now))
    }

    /// Broken laws, all.
    #[must_use]
    pub fn violation_count(&self) -> u64 {
        self.violation_count
    }

    /// Takes the broken laws found since the last call.
    pub fn take_violations(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.violations)
    }

    fn broken(&mut self, violation: Violation) {
        self.violation_count += 1;
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push(violation);
        }
    }

    /// A packet came in.
    pub fn packet(&mut self, packet: &Received) {
        let sequence = packet.sequence;
        let Some(stamp) = Stamp::read(&packet.payload) else {
            return self.broken(Violation::Damaged { sequence });
        };
        if let Some(known) = self.entries.get(&sequence) {
            if known.stamp != stamp || known.rtp_time != packet.rtp_time {
                self.broken(Violation::SequenceReused { sequence });
            }
            return;
        }
        let Some(csrc) = packet.csrc else {
            return self.broken(Violation::NoCsrc { sequence });
        };
        if csrc != stamp.publisher {
            let publisher = stamp.publisher;
            self.broken(Violation::WrongCsrc { sequence, csrc, publisher });
        }
        if !self.is_assigned(packet.at, csrc) {
            self.broken(Violation::NotAssigned { sequence, csrc });
        }
        self.count(packet, &stamp, csrc);
        let oldest = self.entries.keys().next().copied();
        if self.entries.len() >= WINDOW && oldest.is_some_and(|oldest| sequence < oldest) {
            return;
        }
        let ids = match packet.codec {
            Codec::Vp8 => vp8_ids(&packet.payload),
            _ => vp8_ids(&[]),
        };
        let entry = Entry {
            rtp_time: packet.rtp_time,
            csrc,
            codec: packet.codec,
            starts_keyframe: starts_keyframe(packet.codec, &packet.payload),
            picture_id: ids.picture_id,
            tl0_pic_idx: ids.tl0_pic_idx,
            stamp,
        };
        self.compare(sequence, &entry);
        self.entries.insert(sequence, entry);
        while self.entries.len() > WINDOW {
            self.entries.pop_first();
        }
    }

    fn is_assigned(&self, at: Instant, csrc: u32) -> bool {
        let Some(grace) = self.grace else { return true };
        self.assignments.iter().any(|a| {
            a.csrc == csrc
                && a.from <= at + grace.before
                && a.until.is_none_or(|until| at <= until + grace.after)
        })
    }

    fn count(&mut self, packet: &Received, stamp: &Stamp, csrc: u32) {
        self.packets += 1;
        self.first = Some(self.first.map_or(packet.sequence, |f| f.min(packet.sequence)));
        let source = (csrc, stamp.track);
        if packet.sequence >= self.highest {
            self.highest = packet.sequence;
            if let Some(old) = self.current.filter(|old| *old != source) {
                self.switches += 1;
                if let Some(decoder) = self.decoders.get_mut(&old) {
                    decoder.interrupt();
                }
            }
            self.current = Some(source);
        }
        self.decoders.entry(source).or_default().packet(packet.at, stamp);
        let sent = self.epoch + Duration::from_micros(stamp.sent_us);
        self.delays.add(packet.at.saturating_duration_since(sent));
    }

    fn compare(&mut self, sequence: u64, entry: &Entry) {
        let before = self.entries.range(..sequence).next_back().map(|(s, e)| (*s, e.clone()));
        let after = self.entries.range(sequence + 1..).next().map(|(s, e)| (*s, e.clone()));
        if let Some((number, other)) = before {
            self.pair(number, &other, sequence, entry);
        }
        if let Some((number, other)) = after {
            self.pair(sequence, entry, number, &other);
        }
    }

    /// The laws between neighbours in sequence order.
    fn pair(&mut self, before: u64, a: &Entry, after: u64, b: &Entry) {
        let step = b.rtp_time.wrapping_sub(a.rtp_time);
        if step.cast_signed() < 0 {
            let ticks = a.rtp_time.wrapping_sub(b.rtp_time);
            self.broken(Violation::TimestampBack { before, after, ticks });
        } else if self.kind == MediaKind::Audio && step < AUDIO_STEP {
            self.broken(Violation::AudioStep { before, after, ticks: step });
        }
        if before + 1 != after {
            return;
        }
        let same = (a.csrc, a.stamp.track) == (b.csrc, b.stamp.track);
        if self.kind == MediaKind::Video && !same && !b.starts_keyframe {
            self.broken(Violation::NoKeyframeAtSwitch { sequence: after, csrc: b.csrc });
        }
        if same {
            self.same_source(after, a, b);
        }
        if a.codec == Codec::Vp8 && b.codec == Codec::Vp8 {
            let next_frame = !same || a.stamp.frame != b.stamp.frame;
            self.picture_ids(after, a, b, next_frame);
        }
    }

    fn same_source(&mut self, sequence: u64, a: &Entry, b: &Entry) {
        let (old, new) = (&a.stamp, &b.stamp);
        let position = |s: &Stamp| (s.frame, s.packet);
        if position(new) <= position(old) {
            return self.broken(Violation::Reordered { sequence });
        }
        let follows = new.frame == old.frame && new.packet == old.packet + 1
            || new.frame == old.frame + 1 && new.packet == 0 && old.packet + 1 == old.packets;
        if self.kind == MediaKind::Video && !follows && !b.starts_keyframe {
            self.broken(Violation::HiddenLoss { sequence });
        }
    }

    fn picture_ids(&mut self, sequence: u64, a: &Entry, b: &Entry, next_frame: bool) {
        let step = u16::from(next_frame);
        if let (Some(from), Some(to)) = (a.picture_id, b.picture_id)
            && to != (from + step) & 0x7fff
        {
            self.broken(Violation::PictureIds { sequence, what: "PictureID", from, to });
        }
        if let (Some(from), Some(to)) = (a.tl0_pic_idx, b.tl0_pic_idx)
            && to != from.wrapping_add(u8::from(next_frame))
        {
            let (from, to) = (u16::from(from), u16::from(to));
            self.broken(Violation::PictureIds { sequence, what: "TL0PICIDX", from, to });
        }
    }
}
