//! One slot's numbering: sequence, timestamp and picture numbers go on over every switch.
//!
//! Owns: the maps from the present stream's numbers to the slot's.
//! Never: decides whether a packet is forwarded.
//!
//! The laws (tested as properties):
//! - an outgoing sequence number is used for one packet only, and the first packet of a stream
//!   follows the highest one sent; gaps are those that the network made: what is dropped on purpose
//!   leaves none;
//! - the first sequence number of a slot is below 2^15, so that a receiver's SRTP rollover counter
//!   starts at 0 (RFC 3711 §3.3.1);
//! - timestamps move forward at a switch: between encodings of one track by what was sampled in
//!   between, between tracks in step with the wall clock; audio that follows within two packets
//!   follows by exactly one, so that the receiver conceals nothing;
//! - VP8 and VP9 picture ids, TL0PICIDX, KEYIDX and the dependency descriptor's frame numbers go on
//!   from the highest that was sent.

use std::time::{Duration, Instant, SystemTime};

use crate::layers::{FrameInfo, FrameMap, Payload, Prefix, SeqMap, Shift, Vp8Edit, Vp9Edit};

/// The duration of an Opus packet as browsers send it (20 ms), in its clock.
const AUDIO_PACKET: u32 = 960;

/// A stream whose clock runs ahead of the wall clock by more than this, in milliseconds, is
/// anchored anew (RFC 3550 §5.1 lets senders jump).
const AHEAD_MS_MAX: i64 = 1_000;
/// The same for a clock that stood still: larger, as a network that held packets back looks alike.
const BEHIND_MS_MAX: i64 = 3_000;
/// Between encodings of a track, sampling times that disagree with arrival by more are not believed.
const SAMPLING_MAX: Duration = Duration::from_secs(1);

/// Video that is repaired later than this is dropped: its receiver has gone on with a keyframe, or
/// asks for one, and whole seconds that come at once would hold up what is new.
const STALE: Duration = Duration::from_secs(1);

const PICTURE_ID: u64 = 1 << 15;
const TL0: u64 = 1 << 8;
const KEY_IDX: u64 = 1 << 5;
const FRAME_NUMBER: u64 = 1 << 16;

/// What of a packet is renumbered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incoming {
    /// The track's key in the room.
    pub(crate) track: usize,
    /// Extended sequence number.
    pub(crate) seq: u64,
    /// RTP timestamp.
    pub(crate) time: u32,
    /// Clock rate in Hz.
    pub(crate) clock_rate: u32,
    pub(crate) audio: bool,
    /// When it was sampled, by its sender's wall clock.
    pub(crate) captured: Option<SystemTime>,
}

/// The numbers with which it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Numbers {
    /// Extended sequence number.
    pub(crate) seq: u64,
    /// RTP timestamp.
    pub(crate) time: u32,
    /// The payload's new first bytes, if its descriptor has numbers that differ.
    pub(crate) prefix: Option<Prefix>,
    /// The dependency descriptor's frame number, if it has one.
    pub(crate) frame_number: Option<u16>,
}

/// How picture ids are mapped.
#[derive(Debug, Clone, Copy)]
enum Pictures {
    /// VP8, whose pictures are dropped as a whole: they close up.
    Closing(FrameMap),
    /// VP9: references are counted in them.
    Shifted(Shift),
}

/// The present stream's map.
#[derive(Debug, Clone, Copy)]
struct Map {
    seq: SeqMap,
    /// The highest so far, with its arrival.
    last: Incoming,
    last_at: Instant,
    /// Added, modulo 2^32.
    time_offset: u32,
    pictures: Option<Pictures>,
    tl0: Option<Shift>,
    key_idx: Option<Shift>,
    frames: Option<Shift>,
}

/// The next free numbers of a slot; `None` until the first of its kind was sent.
#[derive(Debug, Clone, Copy, Default)]
struct Next {
    picture_id: Option<u64>,
    tl0: Option<u64>,
    key_idx: Option<u64>,
    frame_number: Option<u64>,
}

/// One slot's numbering.
#[derive(Debug)]
pub(crate) struct Rewriter {
    next_seq: u64,
    /// The timestamp and sending time of the packet with the highest sequence number, and what it was.
    last: Option<(u32, Instant, Incoming)>,
    /// Where the timeline begins.
    first_time: u32,
    next: Next,
    map: Option<Map>,
}

impl Rewriter {
    /// `random` makes the starts unpredictable (RFC 3550 §5.1).
    pub(crate) fn new(random: [u32; 2]) -> Self {
        let [seq, first_time] = random;
        Self {
            next_seq: u64::from(seq & 0x7fff),
            last: None,
            first_time,
            next: Next::default(),
            map: None,
        }
    }

    /// Begins a stream with `packet`.
    pub(crate) fn start(
        &mut self,
        now: Instant,
        packet: Incoming,
        info: Option<&FrameInfo>,
        payload: &[u8],
    ) -> Numbers {
        let time = match self.last {
            None => self.first_time,
            Some((time, at, last)) => time.wrapping_add(step(now, at, last, packet)),
        };
        let seq = self.next_seq;
        self.keep_next();
        let mut map = Map {
            seq: SeqMap::start(packet.seq, seq),
            last: packet,
            last_at: now,
            time_offset: time.wrapping_sub(packet.time),
            pictures: None,
            tl0: None,
            key_idx: None,
            frames: None,
        };
        let (prefix, frame_number) = map.describe(self.next, info, payload).unwrap_or_default();
        self.map = Some(map);
        self.next_seq = seq + 1;
        self.last = Some((time, now, packet));
        Numbers { seq, time, prefix, frame_number }
    }

    /// Numbers a packet of the present stream; `None` for one from before its start, or that came
    /// before.
    pub(crate) fn continue_with(
        &mut self,
        now: Instant,
        packet: Incoming,
        info: Option<&FrameInfo>,
        payload: &[u8],
    ) -> Option<Numbers> {
        let next = self.next;
        let map = self.map.as_mut()?;
        let newest = map.seq.distance(packet.seq) > 0;
        let (prefix, frame_number) = map.describe(next, info, payload)?;
        let seq = map.seq.forward(packet.seq)?;
        if newest {
            map.follow(now, packet);
        }
        let time = packet.time.wrapping_add(map.time_offset);
        if seq >= self.next_seq {
            self.next_seq = seq + 1;
            self.last = Some((time, now, packet));
        }
        Some(Numbers { seq, time, prefix, frame_number })
    }

    /// A packet of the present stream is dropped on purpose: numbers close up over it.
    pub(crate) fn skip(&mut self, now: Instant, packet: Incoming, picture_id: Option<u16>) {
        let Some(map) = self.map.as_mut() else { return };
        if map.seq.distance(packet.seq) > 0 {
            map.follow(now, packet);
        }
        self.close_up(packet.seq, picture_id);
    }

    /// Numbers close up over a packet of the present stream that never came here: when it would have come
    /// is not known, so nothing is learned of the stream's clock.
    pub(crate) fn close_up(&mut self, seq: u64, picture_id: Option<u16>) {
        let Some(map) = self.map.as_mut() else { return };
        let _ = map.seq.drop(seq);
        if let (Some(Pictures::Closing(pictures)), Some(id)) = (&mut map.pictures, picture_id) {
            pictures.drop(id);
        }
    }

    /// Whether a packet of the present stream was sampled long before the newest.
    pub(crate) fn is_stale(&self, packet: Incoming) -> bool {
        let Some(map) = &self.map else { return false };
        let behind = map.last.time.wrapping_sub(packet.time).cast_signed();
        u64::try_from(behind).is_ok_and(|behind| behind > ticks_of(STALE, packet))
    }

    /// How far `seq` lies beyond the highest of the present stream.
    pub(crate) fn distance(&self, seq: u64) -> u64 {
        self.map.map_or(0, |map| map.seq.distance(seq))
    }

    /// A stream ends: where its successor's numbers begin.
    fn keep_next(&mut self) {
        let Some(map) = self.map.take() else { return };
        let pictures = map.pictures.map(|pictures| match pictures {
            Pictures::Closing(map) => map.next(),
            Pictures::Shifted(shift) => shift.next(),
        });
        self.next.picture_id = pictures.or(self.next.picture_id);
        self.next.tl0 = map.tl0.map(|shift| shift.next()).or(self.next.tl0);
        self.next.key_idx = map.key_idx.map(|shift| shift.next()).or(self.next.key_idx);
        self.next.frame_number = map.frames.map(|shift| shift.next()).or(self.next.frame_number);
    }
}

impl Map {
    /// A packet of a higher number than any before: the clock is followed, or anchored anew.
    fn follow(&mut self, now: Instant, packet: Incoming) {
        let last_out = self.last.time.wrapping_add(self.time_offset);
        if let Some(time) = anchored(now, self, packet, last_out) {
            self.time_offset = time.wrapping_sub(packet.time);
        }
        self.last = packet;
        self.last_at = now;
    }

    /// The new descriptor of a packet; `None` for one of a picture from before the start.
    fn describe(
        &mut self,
        next: Next,
        info: Option<&FrameInfo>,
        payload: &[u8],
    ) -> Option<(Option<Prefix>, Option<u16>)> {
        let Some(info) = info else { return Some((None, None)) };
        let frame_number = match info.frame_number {
            None => None,
            Some(number) => {
                let start = next.frame_number.unwrap_or_else(|| number.into());
                let shift = self.frames.get_or_insert_with(|| Shift::start(number, 16, start));
                Some(narrow(shift.map(number)?, FRAME_NUMBER))
            }
        };
        let prefix = match &info.payload {
            Payload::Plain => None,
            Payload::Vp8(vp8) => {
                let edit = Vp8Edit {
                    picture_id: self.picture_id(next, info, true)?,
                    tl0: self.tl0(next, info.tl0)?,
                    key_idx: self.key_idx(next, vp8.key_idx)?,
                };
                let same = edit.picture_id == info.picture_id.map(|id| id.value)
                    && edit.tl0 == info.tl0
                    && edit.key_idx == vp8.key_idx
                    && info.picture_id.is_none_or(|id| id.wide);
                if same { None } else { vp8.rewrite(payload, edit) }
            }
            Payload::Vp9(vp9) => {
                let edit = Vp9Edit {
                    picture_id: self.picture_id(next, info, false)?,
                    tl0: self.tl0(next, info.tl0)?,
                };
                let same = edit.picture_id == info.picture_id.map(|id| id.value)
                    && edit.tl0 == info.tl0
                    && info.picture_id.is_none_or(|id| id.wide);
                if same { None } else { vp9.rewrite(payload, edit) }
            }
        };
        Some((prefix, frame_number))
    }

    /// `Some(None)` where the source has none; `None` where the packet is from before the start.
    fn picture_id(&mut self, next: Next, info: &FrameInfo, closing: bool) -> Option<Option<u16>> {
        let Some(id) = info.picture_id else { return Some(None) };
        let start = next.picture_id.unwrap_or_else(|| id.value.into());
        let pictures = self.pictures.get_or_insert_with(|| {
            if closing {
                Pictures::Closing(FrameMap::start(id.value, id.bits(), start))
            } else {
                Pictures::Shifted(Shift::start(id.value, id.bits(), start))
            }
        });
        let mapped = match pictures {
            Pictures::Closing(map) => map.forward(id.value)?,
            Pictures::Shifted(shift) => shift.map(id.value)?,
        };
        Some(Some(narrow(mapped, PICTURE_ID)))
    }

    fn tl0(&mut self, next: Next, tl0: Option<u8>) -> Option<Option<u8>> {
        let Some(tl0) = tl0 else { return Some(None) };
        let start = next.tl0.unwrap_or_else(|| tl0.into());
        let shift = self.tl0.get_or_insert_with(|| Shift::start(tl0.into(), 8, start));
        Some(u8::try_from(narrow(shift.map(tl0.into())?, TL0)).ok())
    }

    fn key_idx(&mut self, next: Next, key_idx: Option<u8>) -> Option<Option<u8>> {
        let Some(key_idx) = key_idx else { return Some(None) };
        let start = next.key_idx.unwrap_or_else(|| key_idx.into());
        let shift = self.key_idx.get_or_insert_with(|| Shift::start(key_idx.into(), 5, start));
        Some(u8::try_from(narrow(shift.map(key_idx.into())?, KEY_IDX)).ok())
    }
}

/// A number in a field of `modulus` values.
fn narrow(number: u64, modulus: u64) -> u16 {
    u16::try_from(number % modulus).unwrap_or(0)
}

/// The wall clock between two instants, in ticks of the packet's clock.
fn ticks(now: Instant, at: Instant, packet: Incoming) -> u64 {
    ticks_of(now.saturating_duration_since(at), packet)
}

fn ticks_of(elapsed: Duration, packet: Incoming) -> u64 {
    let micros = elapsed.as_micros();
    u64::try_from(micros * u128::from(packet.clock_rate) / 1_000_000).unwrap_or(u64::MAX)
}

/// How far the timeline moves at a switch.
fn step(now: Instant, at: Instant, last: Incoming, packet: Incoming) -> u32 {
    let arrived = now.saturating_duration_since(at);
    let elapsed = ticks_of(sampled_between(last, packet, arrived).unwrap_or(arrived), packet);
    // More than 2^31 would read as backwards; half a day of silence may as well be an hour.
    let elapsed = u32::try_from(elapsed).unwrap_or(u32::MAX).min(1 << 30);
    if packet.audio {
        if elapsed < 2 * AUDIO_PACKET { AUDIO_PACKET } else { elapsed }
    } else {
        elapsed.max(packet.clock_rate / 1_000)
    }
}

/// How far apart two packets of one track were sampled, if their sender's reports tell and that is
/// not far from how they arrived.
fn sampled_between(last: Incoming, packet: Incoming, arrived: Duration) -> Option<Duration> {
    if last.track != packet.track || packet.audio {
        return None;
    }
    let between = packet.captured?.duration_since(last.captured?).unwrap_or_default();
    (between.abs_diff(arrived) <= SAMPLING_MAX).then_some(between)
}

/// The timestamp at which a stream that jumped is anchored anew; `None` while it runs true.
fn anchored(now: Instant, map: &Map, packet: Incoming, last_out: u32) -> Option<u32> {
    let moved = i64::from(packet.time.wrapping_sub(map.last.time).cast_signed());
    let elapsed = i64::try_from(ticks(now, map.last_at, packet)).unwrap_or(i64::MAX);
    let per_ms = i64::from(packet.clock_rate) / 1_000;
    let ahead = moved.saturating_sub(elapsed);
    let jumped = moved < 0 || ahead > AHEAD_MS_MAX * per_ms || ahead < -BEHIND_MS_MAX * per_ms;
    // No sampling times here: the clock that jumped is the one they come from.
    let unknown = Incoming { captured: None, ..packet };
    jumped.then(|| last_out.wrapping_add(step(now, map.last_at, map.last, unknown)))
}
