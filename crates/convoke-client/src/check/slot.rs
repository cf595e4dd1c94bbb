//! One slot's stream, packet by packet.
//!
//! Owns: what came in a slot: numbers, sources, decoded pictures, delays; and whose it should be.
//! Never: knows the laws between neighbours; those are [`super::pairs`]'.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use convoke_protocol::MediaKind;

use super::pairs::{self, Entry};
use super::{Delays, ModelDecoder, Screen, Shown, SourceReport, Violation};
use crate::media::Received;
use crate::source::Stamp;

/// Packets held for comparison; older ones are only counted.
const WINDOW: usize = 2_048;
/// Violations kept; more are only counted.
const MAX_VIOLATIONS: usize = 32;
/// Assignments remembered.
const MAX_ASSIGNMENTS: usize = 64;
/// The clock's error is averaged over about so long, however seldom packets come.
const CLOCK_OVER_SECONDS: f64 = 0.4;
/// How long it says something after the last packet.
const CLOCK_STALE: Duration = Duration::from_secs(1);
/// What differs by more is not averaged.
const CLOCK_JUMP_SECONDS: f64 = 1.0;

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
    /// The highest sequence number; what comes below it was sent before, or again.
    pub highest: u64,
    /// Pictures that had a marker before their last packet, because a layer was joined in them.
    pub early_markers: u64,
    /// Times that the source changed.
    pub switches: u64,
    /// By source: CSRC and the publisher's track number.
    pub sources: BTreeMap<(u32, u16), SourceReport>,
    /// What a viewer saw.
    pub shown: Shown,
    /// From the source's clock to arrival.
    pub delays: Delays,
    /// Broken laws, the first few.
    pub violations: Vec<Violation>,
    /// Broken laws, all.
    pub violation_count: u64,
}

#[derive(Debug, Clone, Copy)]
struct Assignment {
    csrc: u32,
    from: Instant,
    until: Option<Instant>,
}

/// One encoding of a source: CSRC, the publisher's track number, the encoding.
type Encoding = (u32, u16, u8);

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
    /// Whose the newest packet is.
    current: Option<Encoding>,
    switches: u64,
    early_markers: u64,
    /// Since the present encoding's last keyframe nothing was missing or out of order.
    whole: bool,
    decoders: BTreeMap<Encoding, ModelDecoder>,
    screen: Screen,
    /// By how much the sender reports differ from the truth, in seconds, but for a constant.
    /// Of which source, and when it was last measured.
    clock: Option<(u32, f64, Instant)>,
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
            early_markers: 0,
            whole: false,
            decoders: BTreeMap::new(),
            screen: Screen::default(),
            clock: None,
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
        self.screen.rest();
        if let Some(csrc) = csrc {
            self.assignments.push_back(Assignment { csrc, from: now, until: None });
        }
        while self.assignments.len() > MAX_ASSIGNMENTS {
            self.assignments.pop_front();
        }
    }

    /// The slot is paused on purpose: what is not shown meanwhile is no freeze.
    pub fn rest(&mut self) {
        self.screen.rest();
    }

    /// By how much the sender reports of the source (CSRC) that is received now differ from the
    /// truth, in seconds, but for a constant that all slots share: between a source's audio and
    /// video it is the skew. `None` where nothing came for a second: nothing plays there.
    #[must_use]
    pub fn clock_error(&self, now: Instant) -> Option<(u32, f64)> {
        let (csrc, error, at) = self.clock?;
        (now.saturating_duration_since(at) <= CLOCK_STALE).then_some((csrc, error))
    }

    /// The encoding and layers received now, as the newest packet says.
    #[must_use]
    pub fn newest(&self) -> Option<&Stamp> {
        self.entries.get(&self.highest).map(|entry| &entry.stamp)
    }

    /// What came in so far.
    #[must_use]
    pub fn report(&self) -> SlotReport {
        let mut sources: BTreeMap<(u32, u16), SourceReport> = BTreeMap::new();
        for ((csrc, track, _), decoder) in &self.decoders {
            sources.entry((*csrc, *track)).or_default().merge(decoder.report());
        }
        let span = self.first.map_or(0, |first| self.highest - first + 1);
        SlotReport {
            packets: self.packets,
            missing: span.saturating_sub(self.packets),
            highest: self.highest,
            early_markers: self.early_markers,
            switches: self.switches,
            sources,
            shown: self.screen.shown().clone(),
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
            if !known.is(&stamp, packet.rtp_time) {
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
        let entry = Entry::new(packet, csrc, stamp);
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
        let source = (csrc, stamp.track, stamp.encoding);
        let in_order = packet.sequence == self.highest + 1 || self.packets == 1;
        if packet.sequence >= self.highest {
            self.highest = packet.sequence;
            if let Some(old) = self.current.filter(|old| *old != source) {
                self.switches += u64::from((old.0, old.1) != (csrc, stamp.track));
                self.whole = false;
                if let Some(decoder) = self.decoders.get_mut(&old) {
                    decoder.interrupt();
                }
            }
            self.current = Some(source);
        }
        self.whole &= in_order;
        self.whole |= in_order && stamp.keyframe && stamp.packet == 0;
        let decoded = self.decoders.entry(source).or_default().packet(packet.at, stamp);
        for frame in &decoded.frames {
            self.screen.frame(packet.at, frame);
        }
        if decoded.stuck && self.whole {
            self.broken(Violation::Undecodable { sequence: packet.sequence });
        }
        self.measure(packet, stamp, csrc);
    }

    fn measure(&mut self, packet: &Received, stamp: &Stamp, csrc: u32) {
        let sent = Duration::from_micros(stamp.sent_us);
        self.delays.add(packet.at.saturating_duration_since(self.epoch + sent));
        let Some(made_at) = packet.made_at else { return };
        let error = made_at.as_secs_f64() - sent.as_secs_f64();
        // The first report of a new source, or of a stream that had none: that is another clock.
        let near = |mean: f64| (error - mean).abs() < CLOCK_JUMP_SECONDS;
        self.clock = match self.clock {
            Some((known, mean, before)) if known == csrc && near(mean) => {
                let passed = packet.at.saturating_duration_since(before).as_secs_f64();
                let weight = passed / (passed + CLOCK_OVER_SECONDS);
                Some((csrc, mean + (error - mean) * weight, packet.at))
            }
            _ => Some((csrc, error, packet.at)),
        };
    }

    fn compare(&mut self, sequence: u64, entry: &Entry) {
        let before = self.entries.range(..sequence).next_back().map(|(s, e)| (*s, e.clone()));
        let after = self.entries.range(sequence + 1..).next().map(|(s, e)| (*s, e.clone()));
        let mut found = Vec::new();
        if let Some((number, other)) = before {
            let joins = number + 1 == sequence && pairs::joins_layer(&other, entry);
            self.early_markers += u64::from(joins);
            pairs::check(self.kind, (number, &other), (sequence, entry), &mut found);
        }
        if let Some((number, other)) = after {
            pairs::check(self.kind, (sequence, entry), (number, &other), &mut found);
        }
        found.into_iter().for_each(|violation| self.broken(violation));
    }
}
