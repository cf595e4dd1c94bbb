//! VP8 at an even rate: packets of one size, five to a picture.

use std::time::{Duration, Instant};

use convoke_client::media::{Codec, Packet};

/// Bytes of a packet's payload.
pub(crate) const PAYLOAD_BYTES: usize = 1_100;
const PACKETS_PER_PICTURE: u32 = 5;

/// See the module.
#[derive(Debug)]
pub(crate) struct Video {
    every: Duration,
    due: Instant,
    packet: u32,
    picture: u16,
    keyframe: bool,
}

impl Video {
    pub(crate) fn new(now: Instant, packets_per_second: u32) -> Self {
        let every = Duration::from_secs(1) / packets_per_second;
        Self { every, due: now, packet: 0, picture: 0, keyframe: true }
    }

    pub(crate) fn set_rate(&mut self, now: Instant, packets_per_second: u32) {
        self.every = Duration::from_secs(1) / packets_per_second;
        self.due = now;
    }

    /// The next picture is one.
    pub(crate) fn request_keyframe(&mut self) {
        self.keyframe = true;
    }

    pub(crate) fn take(&mut self, now: Instant) -> Option<Packet> {
        if self.due > now {
            return None;
        }
        self.due += self.every;
        let index = self.packet % PACKETS_PER_PICTURE;
        let mut payload = vec![0x5a; PAYLOAD_BYTES];
        // RFC 7741 §4.2: X, and S at the start; I; a picture id of 15 bits.
        let [high, low] = (self.picture | 0x8000).to_be_bytes();
        let start = if index == 0 { 0x90 } else { 0x80 };
        payload[..4].copy_from_slice(&[start, 0x80, high, low]);
        if index == 0 {
            let header = if self.keyframe {
                [0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x00, 0x05, 0xd0, 0x02]
            } else {
                [0x11, 0x02, 0x00, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a]
            };
            payload[4..14].copy_from_slice(&header);
            self.keyframe = false;
        }
        let time = u32::from(self.picture).wrapping_mul(1_800);
        let mut packet = Packet::new(Codec::Vp8, time, payload);
        packet.marker = index + 1 == PACKETS_PER_PICTURE;
        self.packet += 1;
        if packet.marker {
            self.picture = (self.picture + 1) & 0x7fff;
        }
        Some(packet)
    }
}
