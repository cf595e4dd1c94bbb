//! Synthetic media, made on demand.
//!
//! Owns: packets that look like Opus, VP8, VP9, H.264 and AV1 to a forwarding server (descriptors,
//! keyframes, markers, timestamps) and that carry a [`Stamp`], so that a receiver can check
//! identity, continuity and delay end to end.
//! Never: reads a clock, or encodes anything; no decoder would show a picture of this.

mod audio;
mod payload;
mod video;

use std::time::Instant;

use crate::media::Packet;

pub use audio::{AudioConfig, AudioSource};
pub use payload::{TemporalIds, starts_keyframe, vp8_ids};
pub use video::{VideoConfig, VideoSource};

/// Something that makes RTP packets as time goes by.
pub trait MediaSource: Send {
    /// When the next packets are due; `None` when the source is paused or has ended.
    fn next_due(&self) -> Option<Instant>;

    /// All packets due at `now`, oldest first.
    fn take(&mut self, now: Instant) -> Vec<Packet>;

    /// The other side needs a keyframe; the next frame should be one.
    fn request_keyframe(&mut self) {}

    /// As [`Self::request_keyframe`], for one of several encodings.
    fn request_keyframe_of(&mut self, _encoding: usize) {
        self.request_keyframe();
    }

    /// Whether anybody wants an encoding: one that is switched on begins with a keyframe.
    fn set_active(&mut self, _now: Instant, _encoding: usize, _active: bool) {}

    /// Stops and restarts the source (mute, camera off).
    fn set_paused(&mut self, now: Instant, paused: bool);
}

/// What a source's RTP clock does over a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PausedClock {
    /// It runs on, as browsers do.
    #[default]
    Runs,
    /// It stands still.
    Stands,
    /// It starts again somewhere else.
    Jumps,
}

const MAGIC: u32 = 0xC0A7_0C1E;

/// What every synthetic packet carries at the end of its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The publisher: the number that the server puts into the CSRC, or any of the caller's.
    pub publisher: u32,
    /// The publisher's own number of the track.
    pub track: u16,
    /// Whether the frame is a keyframe (always, for audio).
    pub keyframe: bool,
    /// The frame, from 0.
    pub frame: u32,
    /// The packet in its frame, from 0.
    pub packet: u16,
    /// Packets in the frame.
    pub packets: u16,
    /// When it was sent: microseconds since the source's epoch.
    pub sent_us: u64,
}

impl Stamp {
    /// Bytes that a stamp takes.
    pub const LEN: usize = 32;

    /// Appends the stamp to a payload.
    pub fn write(&self, payload: &mut Vec<u8>) {
        payload.extend_from_slice(&MAGIC.to_be_bytes());
        payload.extend_from_slice(&self.publisher.to_be_bytes());
        payload.extend_from_slice(&self.track.to_be_bytes());
        payload.extend_from_slice(&[u8::from(self.keyframe), 0]);
        payload.extend_from_slice(&self.frame.to_be_bytes());
        payload.extend_from_slice(&self.packet.to_be_bytes());
        payload.extend_from_slice(&self.packets.to_be_bytes());
        payload.extend_from_slice(&self.sent_us.to_be_bytes());
        payload.extend_from_slice(&self.check().to_be_bytes());
    }

    /// The stamp of a payload, if it has one that is whole.
    #[must_use]
    pub fn read(payload: &[u8]) -> Option<Self> {
        let start = payload.len().checked_sub(Self::LEN)?;
        let bytes: &[u8; Self::LEN] = payload.get(start..)?.try_into().ok()?;
        let [m0, m1, m2, m3, p0, p1, p2, p3, t0, t1, key, _, rest @ ..] = *bytes;
        let [f0, f1, f2, f3, n0, n1, c0, c1, rest @ ..] = rest;
        let [s0, s1, s2, s3, s4, s5, s6, s7, check @ ..] = rest;
        let stamp = Self {
            publisher: u32::from_be_bytes([p0, p1, p2, p3]),
            track: u16::from_be_bytes([t0, t1]),
            keyframe: key == 1,
            frame: u32::from_be_bytes([f0, f1, f2, f3]),
            packet: u16::from_be_bytes([n0, n1]),
            packets: u16::from_be_bytes([c0, c1]),
            sent_us: u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
        };
        let magic = u32::from_be_bytes([m0, m1, m2, m3]) == MAGIC;
        (magic && u32::from_be_bytes(check) == stamp.check()).then_some(stamp)
    }

    fn check(&self) -> u32 {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        let words = [
            u64::from(self.publisher) << 32 | u64::from(self.frame),
            u64::from(self.track) << 33
                | u64::from(self.keyframe) << 32
                | u64::from(self.packet) << 16
                | u64::from(self.packets),
            self.sent_us,
        ];
        for word in words {
            hash = (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
            hash ^= hash >> 29;
        }
        (hash >> 16) as u32
    }
}

/// Microseconds from `epoch` to `now`.
fn micros(epoch: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(epoch).as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
