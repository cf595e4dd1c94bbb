//! VP8 of packets of one size, so many to a picture, as fast as it is taken.

use convoke_client::media::{Codec, Packet};

/// Of what a picture is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) packets: u32,
    pub(crate) payload_bytes: usize,
}

/// A camera's.
pub(crate) const VIDEO: Shape = Shape { packets: 5, payload_bytes: 1_100 };
/// One small packet at a time, as a voice has them.
pub(crate) const VOICE: Shape = Shape { packets: 1, payload_bytes: 100 };

/// Of the RTP clock, between two pictures: 60 in a second.
const TICKS: u32 = 1_500;

/// See the module.
#[derive(Debug)]
pub(crate) struct Camera {
    shape: Shape,
    packet: u32,
    picture: u32,
    /// The next picture is a keyframe.
    pub(crate) keyframe: bool,
}

impl Camera {
    pub(crate) fn new(shape: Shape) -> Self {
        Self { shape, packet: 0, picture: 0, keyframe: true }
    }

    pub(crate) fn take(&mut self) -> Packet {
        let mut payload = vec![0x5a; self.shape.payload_bytes];
        // RFC 7741 §4.2: X, and S at the start; I; a picture id of 15 bits.
        let [.., high, low] = (self.picture & 0x7fff | 0x8000).to_be_bytes();
        let start = if self.packet == 0 { 0x90 } else { 0x80 };
        payload[..4].copy_from_slice(&[start, 0x80, high, low]);
        if self.packet == 0 {
            let header = if std::mem::take(&mut self.keyframe) {
                [0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x00, 0x05, 0xd0, 0x02]
            } else {
                [0x11, 0x02, 0x00, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a]
            };
            payload[4..14].copy_from_slice(&header);
        }
        let mut packet = Packet::new(Codec::Vp8, self.picture.wrapping_mul(TICKS), payload);
        self.packet = (self.packet + 1) % self.shape.packets;
        packet.marker = self.packet == 0;
        self.picture += u32::from(packet.marker);
        packet
    }
}
