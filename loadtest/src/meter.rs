//! What one caller receives, packet by packet.
//!
//! Owns: what counts as decodable, frozen, missing, late or as wished.
//! Never: reads a clock, or keeps a packet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use convoke_client::check::{ModelDecoder, Screen};
use convoke_client::media::Received;
use convoke_client::source::Stamp;
use convoke_protocol::MediaKind;

use crate::figures::Figures;

/// A voice has a gap when a packet comes so much later than its fastest: more than what receivers
/// hold back for jitter.
pub const VOICE_LATE_US: u64 = 100_000;
/// The smallest time between two keyframe requests of one slot.
const KEYFRAME_SPACING: Duration = Duration::from_millis(500);
/// How much one packet moves the mean of a sender's clock.
const CLOCK_WEIGHT: f64 = 0.05;
/// What differs by more is another clock, in seconds.
const CLOCK_JUMP: f64 = 1.0;
/// Slots of one caller, at most.
const SLOTS_MAX: usize = 256;

/// What all meters of a run know.
#[derive(Debug)]
pub struct Shared {
    /// Zero of all stamps.
    pub epoch: Instant,
    /// Participants (by the number in their stamps) whose way up is impaired.
    pub impaired_up: Vec<bool>,
    /// The heights that cameras send, lowest first.
    pub heights: Vec<u16>,
    /// The height of each tile; the last counts for all that follow.
    pub tiles: Vec<u16>,
}

impl Shared {
    /// The height that should reach a tile.
    fn wished(&self, tile: usize) -> Option<u16> {
        let height = *self.tiles.get(tile).or(self.tiles.last())?;
        let fits = self.heights.iter().find(|sent| **sent >= height);
        fits.or(self.heights.last()).copied()
    }

    fn is_impaired(&self, publisher: u32) -> bool {
        let index = usize::try_from(publisher).unwrap_or(usize::MAX);
        self.impaired_up.get(index).copied().unwrap_or(false)
    }
}

/// What a packet brought about that somebody waits for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The first picture could be shown.
    pub first_frame: bool,
    /// The first sound came.
    pub first_sound: bool,
    /// This slot needs a keyframe.
    pub keyframe: Option<Arc<str>>,
}

/// Everything that one caller receives.
#[derive(Debug)]
pub struct Meter {
    shared: Arc<Shared>,
    /// Whether its way down is impaired.
    impaired: bool,
    video: Vec<VideoSlot>,
    audio: Vec<AudioSlot>,
    seen: bool,
    heard: bool,
}

impl Meter {
    /// A meter of a caller that received nothing yet.
    #[must_use]
    pub fn new(shared: Arc<Shared>, impaired: bool) -> Self {
        Self { shared, impaired, video: Vec::new(), audio: Vec::new(), seen: false, heard: false }
    }

    /// A packet came in.
    pub fn packet(&mut self, packet: &Received, figures: &mut Figures) -> Outcome {
        figures.received_packets += 1;
        figures.received_bytes += packet.payload.len() as u64;
        let mut outcome = Outcome::default();
        let (Some(stamp), true) = (Stamp::read(&packet.payload), packet.index < SLOTS_MAX) else {
            figures.damaged += 1;
            return outcome;
        };
        let sent = self.shared.epoch + Duration::from_micros(stamp.sent_us);
        let delay = packet.at.saturating_duration_since(sent).as_micros();
        let delay = u64::try_from(delay).unwrap_or(u64::MAX);
        let impaired = self.impaired || self.shared.is_impaired(stamp.publisher);
        let seen = Seen { packet, stamp: &stamp, delay, impaired };
        match packet.kind {
            MediaKind::Audio => {
                figures.audio_delay.add(delay);
                grow(&mut self.audio, packet.index).packet(&seen, figures);
                outcome.first_sound = !std::mem::replace(&mut self.heard, true);
            }
            MediaKind::Video => {
                figures.video_delay.add(delay);
                let wished = self.shared.wished(packet.index);
                let slot = grow(&mut self.video, packet.index);
                let shown = slot.packet(&seen, wished, figures);
                outcome.first_frame = shown && !std::mem::replace(&mut self.seen, true);
                if slot.wants_keyframe(packet.at) {
                    figures.keyframe_requests_sent += 1;
                    outcome.keyframe = Some(packet.mid.clone());
                }
            }
        }
        outcome
    }

    /// A video slot is not meant to show anything now: no freeze.
    pub fn rest(&mut self, slot: usize) {
        if let Some(slot) = self.video.get_mut(slot) {
            slot.screen.rest();
        }
    }

    /// Counting begins: what comes late from before is not held against it.
    pub fn rebase(&mut self) {
        self.audio.iter_mut().for_each(|slot| slot.numbers.rebase());
        self.video.iter_mut().for_each(|slot| slot.numbers.rebase());
    }

    /// Measures how far the sound and the picture of a publisher are apart.
    pub fn skew(&self, figures: &mut Figures) {
        let clocks = |slot: &VideoSlot| slot.clock.0;
        for (publisher, video) in self.video.iter().filter_map(clocks) {
            let mut sounds = self.audio.iter().filter_map(|slot| slot.clock.0);
            if let Some((_, audio)) = sounds.find(|(whose, _)| *whose == publisher) {
                figures.skew.add(((video - audio).abs() * 1e6) as u64);
            }
        }
    }
}

/// The slot of that index; those below it are made as well.
fn grow<T: Default>(slots: &mut Vec<T>, index: usize) -> &mut T {
    while slots.len() <= index {
        slots.push(T::default());
    }
    let last = slots.len() - 1;
    // The index was just made.
    slots.get_mut(index.min(last)).unwrap_or_else(|| unreachable!("made above"))
}

/// A packet and what is known of it.
struct Seen<'a> {
    packet: &'a Received,
    stamp: &'a Stamp,
    delay: u64,
    impaired: bool,
}

/// The sequence numbers of a slot.
#[derive(Debug, Default)]
struct Numbers {
    ssrc: Option<u32>,
    highest: u64,
    base: u64,
}

impl Numbers {
    /// How far the packet is ahead of the highest before it: 1 when it follows, 0 when it is late
    /// or the first.
    fn step(&mut self, seen: &Seen<'_>, figures: &mut Figures) -> u64 {
        let Received { ssrc, sequence, .. } = *seen.packet;
        let missing = match seen.impaired {
            true => &mut figures.missing_impaired,
            false => &mut figures.missing,
        };
        if self.ssrc.replace(ssrc) != Some(ssrc) {
            (self.highest, self.base) = (sequence, sequence);
            return 0;
        }
        if sequence <= self.highest {
            *missing -= i64::from(sequence > self.base);
            return 0;
        }
        let step = sequence - self.highest;
        self.highest = sequence;
        *missing += i64::try_from(step - 1).unwrap_or(i64::MAX);
        step
    }

    fn rebase(&mut self) {
        self.base = self.highest;
    }
}

/// By how much a publisher's sender reports differ from the truth, but for a constant.
#[derive(Debug, Default)]
struct Clock(Option<(u32, f64)>);

impl Clock {
    fn see(&mut self, seen: &Seen<'_>) {
        let Some(made_at) = seen.packet.made_at else { return };
        let error = made_at.as_secs_f64() - seen.stamp.sent_us as f64 / 1e6;
        let whose = seen.stamp.publisher;
        self.0 = match self.0 {
            Some((known, mean)) if known == whose && (error - mean).abs() < CLOCK_JUMP => {
                Some((whose, mean + (error - mean) * CLOCK_WEIGHT))
            }
            _ => Some((whose, error)),
        };
    }
}

#[derive(Debug, Default)]
struct VideoSlot {
    numbers: Numbers,
    /// Publisher and encoding.
    source: Option<(u32, u8)>,
    decoder: ModelDecoder,
    screen: Screen,
    clock: Clock,
    asked: Option<Instant>,
}

impl VideoSlot {
    /// `true` when a picture could be shown.
    fn packet(&mut self, seen: &Seen<'_>, wished: Option<u16>, figures: &mut Figures) -> bool {
        let Seen { packet, stamp, .. } = *seen;
        let step = self.numbers.step(seen, figures);
        self.clock.see(seen);
        let source = (stamp.publisher, stamp.encoding);
        if self.source != Some(source) {
            if step == 0 && self.source.is_some() && packet.sequence < self.numbers.highest {
                // A late packet of what was left.
                return false;
            }
            let other = self.source.is_some_and(|(before, _)| before != stamp.publisher);
            figures.switches += u64::from(other);
            self.source = Some(source);
            self.decoder = ModelDecoder::default();
        }
        let stuck_before = self.decoder.report().frames_undecodable;
        let decoded = self.decoder.packet(packet.at, stamp);
        figures.frames_undecodable += self.decoder.report().frames_undecodable - stuck_before;
        for frame in &decoded.frames {
            self.show(packet.at, frame, wished, figures);
        }
        !decoded.frames.is_empty()
    }

    fn show(&mut self, at: Instant, frame: &Stamp, wished: Option<u16>, figures: &mut Figures) {
        let count = |screen: &Screen| {
            let shown = screen.shown();
            (shown.pictures, shown.freezes, shown.frozen, shown.resizes)
        };
        let before = count(&self.screen);
        self.screen.frame(at, frame);
        let after = count(&self.screen);
        figures.frames_decoded += after.0 - before.0;
        figures.freezes += after.1 - before.1;
        figures.frozen_us += u64::try_from((after.2 - before.2).as_micros()).unwrap_or(0);
        figures.resizes += after.3 - before.3;
        if let Some(wished) = wished {
            match frame.size.1.cmp(&wished) {
                std::cmp::Ordering::Less => figures.frames_below_wish += 1,
                std::cmp::Ordering::Equal => figures.frames_as_wished += 1,
                std::cmp::Ordering::Greater => figures.frames_above_wish += 1,
            }
        }
    }

    fn wants_keyframe(&mut self, now: Instant) -> bool {
        let free = self.asked.is_none_or(|at| now.duration_since(at) >= KEYFRAME_SPACING);
        let wants = free && self.decoder.wants_keyframe(now);
        if wants {
            self.asked = Some(now);
        }
        wants
    }
}

#[derive(Debug, Default)]
struct AudioSlot {
    numbers: Numbers,
    publisher: Option<u32>,
    /// The least delay of this publisher.
    fastest: u64,
    late: bool,
    clock: Clock,
}

impl AudioSlot {
    fn packet(&mut self, seen: &Seen<'_>, figures: &mut Figures) {
        let step = self.numbers.step(seen, figures);
        self.clock.see(seen);
        let publisher = Some(seen.stamp.publisher);
        if self.publisher != publisher {
            figures.switches += u64::from(self.publisher.is_some());
            self.publisher = publisher;
            (self.fastest, self.late) = (seen.delay, false);
            return;
        }
        self.fastest = self.fastest.min(seen.delay);
        let late = seen.delay > self.fastest + VOICE_LATE_US;
        let begins = late && !self.late;
        figures.audio_gaps += u64::from(begins || step > 1);
        figures.audio_packets += u64::from(!late);
        self.late = late;
    }
}

#[cfg(test)]
mod tests;
