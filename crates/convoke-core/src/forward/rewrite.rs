//! One slot's numbering: sequence, timestamp and VP8 picture numbers go on over every switch.
//!
//! Owns: the maps from the present stream's numbers to the slot's.
//! Never: decides whether a packet is forwarded.
//!
//! The laws (tested as properties):
//! - an outgoing sequence number is used for one packet only, and the first packet of a stream
//!   follows the highest one sent; gaps are those of the stream itself;
//! - the first sequence number of a slot is below 2^15, so that a receiver's SRTP rollover counter
//!   starts at 0 (RFC 3711 §3.3.1);
//! - timestamps move forward at a switch, in step with the wall clock; audio that follows within
//!   two packets follows by exactly one, so that the receiver conceals nothing.

use std::time::Instant;

use crate::transport::Vp8Numbers;

/// The duration of an Opus packet as browsers send it (20 ms), in its clock.
const AUDIO_PACKET: u32 = 960;

/// A stream whose clock runs ahead of the wall clock by more than this, in milliseconds, is
/// anchored anew (RFC 3550 §5.1 lets senders jump).
const AHEAD_MS_MAX: i64 = 1_000;
/// The same for a clock that stood still: larger, as a network that held packets back looks alike.
const BEHIND_MS_MAX: i64 = 3_000;

/// What of a packet is renumbered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incoming {
    /// Extended sequence number.
    pub(crate) seq: u64,
    /// RTP timestamp.
    pub(crate) time: u32,
    /// Clock rate in Hz.
    pub(crate) clock_rate: u32,
    pub(crate) audio: bool,
    pub(crate) vp8: Option<Vp8Numbers>,
}

/// The numbers with which it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// Extended sequence number.
    pub(crate) seq: u64,
    /// RTP timestamp.
    pub(crate) time: u32,
    pub(crate) vp8: Option<Vp8Numbers>,
}

/// The present stream's map.
#[derive(Debug, Clone, Copy)]
struct Map {
    /// The first packet of the stream that was forwarded; earlier ones are from before the switch.
    first_seq: u64,
    /// The highest so far, with its timestamp and arrival.
    last: Incoming,
    last_at: Instant,
    /// Added, modulo 2^64 and 2^32.
    seq_offset: u64,
    time_offset: u32,
    /// Added, modulo 2^15, 2^8 and 2^5.
    picture_offset: u16,
    tl0_offset: u8,
    key_offset: u8,
}

/// One slot's numbering.
#[derive(Debug)]
pub(crate) struct Rewriter {
    next_seq: u64,
    /// The timestamp and sending time of the packet with the highest sequence number.
    last: Option<(u32, Instant)>,
    /// Where the timeline begins.
    first_time: u32,
    /// The highest VP8 numbers sent, by the picture they belong to.
    vp8: Vp8Numbers,
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
            vp8: Vp8Numbers::default(),
            map: None,
        }
    }

    /// Begins a stream with `packet`.
    pub(crate) fn start(&mut self, now: Instant, packet: Incoming) -> Numbers {
        let time = match self.last {
            None => self.first_time,
            Some((time, at)) => time.wrapping_add(step(now, at, packet)),
        };
        let seq = self.next_seq;
        let numbers = packet.vp8.unwrap_or_default();
        let next = |last: Option<u16>| last.map_or(0, |n| n.wrapping_add(1));
        let before = self.vp8;
        self.map = Some(Map {
            first_seq: packet.seq,
            last: packet,
            last_at: now,
            seq_offset: seq.wrapping_sub(packet.seq),
            time_offset: time.wrapping_sub(packet.time),
            picture_offset: match (before.picture_id, numbers.picture_id) {
                (Some(_), Some(theirs)) => next(before.picture_id).wrapping_sub(theirs) & 0x7fff,
                _ => 0,
            },
            tl0_offset: match (before.tl0_pic_idx, numbers.tl0_pic_idx) {
                (Some(ours), Some(theirs)) => ours.wrapping_add(1).wrapping_sub(theirs),
                _ => 0,
            },
            key_offset: match (before.key_idx, numbers.key_idx) {
                (Some(ours), Some(theirs)) => ours.wrapping_add(1).wrapping_sub(theirs) & 0x1f,
                _ => 0,
            },
        });
        self.next_seq = seq.wrapping_add(1);
        self.last = Some((time, now));
        let vp8 = self.map_vp8(packet.vp8);
        self.remember_vp8(vp8);
        Numbers { seq, time, vp8 }
    }

    /// Numbers a packet of the present stream; `None` for one from before its start.
    pub(crate) fn continue_with(&mut self, now: Instant, packet: Incoming) -> Option<Numbers> {
        let map = self.map.as_mut()?;
        if packet.seq < map.first_seq {
            return None;
        }
        let newest = packet.seq > map.last.seq;
        if newest {
            let last_out = map.last.time.wrapping_add(map.time_offset);
            if let Some(time) = anchored(now, map, packet, last_out) {
                map.time_offset = time.wrapping_sub(packet.time);
            }
            map.last = packet;
            map.last_at = now;
        }
        let seq = packet.seq.wrapping_add(map.seq_offset);
        let time = packet.time.wrapping_add(map.time_offset);
        let vp8 = self.map_vp8(packet.vp8);
        if newest {
            self.next_seq = seq.wrapping_add(1);
            self.last = Some((time, now));
            self.remember_vp8(vp8);
        }
        Some(Numbers { seq, time, vp8 })
    }

    /// How far `seq` lies beyond the highest of the present stream.
    pub(crate) fn distance(&self, seq: u64) -> u64 {
        self.map.map_or(0, |map| seq.saturating_sub(map.last.seq))
    }

    fn map_vp8(&self, theirs: Option<Vp8Numbers>) -> Option<Vp8Numbers> {
        let (map, theirs) = (self.map.as_ref()?, theirs?);
        Some(Vp8Numbers {
            picture_id: theirs.picture_id.map(|n| n.wrapping_add(map.picture_offset) & 0x7fff),
            tl0_pic_idx: theirs.tl0_pic_idx.map(|n| n.wrapping_add(map.tl0_offset)),
            key_idx: theirs.key_idx.map(|n| n.wrapping_add(map.key_offset) & 0x1f),
        })
    }

    /// The newest packet's numbers are the highest: a stream counts up in sequence order.
    fn remember_vp8(&mut self, vp8: Option<Vp8Numbers>) {
        let Some(vp8) = vp8 else { return };
        self.vp8.picture_id = vp8.picture_id.or(self.vp8.picture_id);
        self.vp8.tl0_pic_idx = vp8.tl0_pic_idx.or(self.vp8.tl0_pic_idx);
        self.vp8.key_idx = vp8.key_idx.or(self.vp8.key_idx);
    }
}

/// The wall clock between two instants, in ticks of the packet's clock.
fn ticks(now: Instant, at: Instant, packet: Incoming) -> u64 {
    let micros = now.saturating_duration_since(at).as_micros();
    u64::try_from(micros * u128::from(packet.clock_rate) / 1_000_000).unwrap_or(u64::MAX)
}

/// How far the timeline moves at a switch.
fn step(now: Instant, at: Instant, packet: Incoming) -> u32 {
    let elapsed = ticks(now, at, packet);
    // More than 2^31 would read as backwards; half a day of silence may as well be an hour.
    let elapsed = u32::try_from(elapsed).unwrap_or(u32::MAX).min(1 << 30);
    if packet.audio {
        if elapsed < 2 * AUDIO_PACKET { AUDIO_PACKET } else { elapsed }
    } else {
        elapsed.max(packet.clock_rate / 1_000)
    }
}

/// The timestamp at which a stream that jumped is anchored anew; `None` while it runs true.
fn anchored(now: Instant, map: &Map, packet: Incoming, last_out: u32) -> Option<u32> {
    let moved = i64::from(packet.time.wrapping_sub(map.last.time).cast_signed());
    let elapsed = i64::try_from(ticks(now, map.last_at, packet)).unwrap_or(i64::MAX);
    let per_ms = i64::from(packet.clock_rate) / 1_000;
    let ahead = moved.saturating_sub(elapsed);
    let jumped = moved < 0 || ahead > AHEAD_MS_MAX * per_ms || ahead < -BEHIND_MS_MAX * per_ms;
    jumped.then(|| last_out.wrapping_add(step(now, map.last_at, packet)))
}
