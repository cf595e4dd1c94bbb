//! Synthetic media, made on demand.
//!
//! Owns: packets that look like Opus, VP8, VP9, H.264 and AV1 to a forwarding server (descriptors,
//! keyframes, markers, timestamps) and that carry a [`Stamp`], so that a receiver can check
//! identity, continuity and delay end to end.
//! Never: reads a clock, or encodes anything; no decoder would show a picture of this.

mod audio;
mod descriptor;
mod layered;
mod payload;
mod scalability;
mod sizes;
mod video;

use std::time::Instant;

use crate::media::Packet;

pub use audio::{AudioConfig, AudioSource};
pub use layered::{EncodingConfig, LayeredConfig, LayeredSource};
pub use payload::{PictureIds, picture_ids, starts_keyframe};
pub use scalability::Scalability;
pub use sizes::FrameSizes;
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

/// Frames that one frame refers to at most.
pub const REFERENCES_MAX: usize = 3;

/// What every synthetic packet carries at the end of its payload. A *frame* is one spatial layer of
/// a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// The publisher: the number that the server puts into the CSRC, or any of the caller's.
    pub publisher: u32,
    /// The publisher's own number of the track.
    pub track: u16,
    /// The encoding, as in [`Packet::encoding`]. Frames are counted in each for itself.
    pub encoding: u8,
    /// The frame's spatial layer in its encoding.
    pub spatial: u8,
    /// The frame's temporal layer.
    pub temporal: u8,
    /// Whether the frame is a keyframe: it refers to no other (always, for audio).
    pub keyframe: bool,
    /// The frame, from 0.
    pub frame: u32,
    /// The picture of which it is a part, from 0.
    pub picture: u32,
    /// How many frames back those lie to which this one refers; 0 stands for none.
    pub references: [u16; REFERENCES_MAX],
    /// Nothing else in the payload means anything, as if it were encrypted.
    pub opaque: bool,
    /// Width and height of the frame; 0 for audio.
    pub size: (u16, u16),
    /// The packet in its frame, from 0.
    pub packet: u16,
    /// Packets in the frame.
    pub packets: u16,
    /// When it was sent: microseconds since the source's epoch.
    pub sent_us: u64,
}

impl Stamp {
    /// Bytes that a stamp takes.
    pub const LEN: usize = 48;

    /// Appends the stamp to a payload.
    pub fn write(&self, payload: &mut Vec<u8>) {
        let start = payload.len();
        payload.extend_from_slice(&MAGIC.to_be_bytes());
        payload.extend_from_slice(&self.publisher.to_be_bytes());
        payload.extend_from_slice(&self.track.to_be_bytes());
        let layer = self.spatial << 4 | self.temporal & 0x0f;
        let opaque = u8::from(self.opaque);
        payload.extend_from_slice(&[u8::from(self.keyframe), layer, self.encoding, opaque]);
        payload.extend_from_slice(&self.frame.to_be_bytes());
        payload.extend_from_slice(&self.picture.to_be_bytes());
        let [r0, r1, r2] = self.references;
        for short in [r0, r1, r2, self.size.0, self.size.1, self.packet, self.packets] {
            payload.extend_from_slice(&short.to_be_bytes());
        }
        payload.extend_from_slice(&self.sent_us.to_be_bytes());
        let check = digest(payload.get(start..).unwrap_or_default());
        payload.extend_from_slice(&check.to_be_bytes());
    }

    /// The stamp of a payload, if it has one that is whole.
    #[must_use]
    pub fn read(payload: &[u8]) -> Option<Self> {
        let bytes = payload.get(payload.len().checked_sub(Self::LEN)?..)?;
        let (body, check) = bytes.split_last_chunk::<4>()?;
        if u32::from_be_bytes(*check) != digest(body) {
            return None;
        }
        let mut rest = Fields(body);
        if rest.long()? != MAGIC {
            return None;
        }
        let (publisher, track) = (rest.long()?, rest.short()?);
        let [keyframe, layer] = rest.short()?.to_be_bytes();
        let [encoding, opaque] = rest.short()?.to_be_bytes();
        Some(Self {
            publisher,
            track,
            encoding,
            spatial: layer >> 4,
            temporal: layer & 0x0f,
            keyframe: keyframe == 1,
            opaque: opaque == 1,
            frame: rest.long()?,
            picture: rest.long()?,
            references: [rest.short()?, rest.short()?, rest.short()?],
            size: (rest.short()?, rest.short()?),
            packet: rest.short()?,
            packets: rest.short()?,
            sent_us: u64::from(rest.long()?) << 32 | u64::from(rest.long()?),
        })
    }
}

/// Reads numbers in network order.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn short(&mut self) -> Option<u16> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*bytes))
    }

    fn long(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*bytes))
    }
}

fn digest(bytes: &[u8]) -> u32 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    (hash >> 16) as u32
}

/// Microseconds from `epoch` to `now`.
fn micros(epoch: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(epoch).as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
