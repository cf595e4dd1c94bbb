//! VP8 of packets of one size, five to a picture, as fast as it is taken.

use convoke_client::media::{Codec, Packet};

const PAYLOAD_BYTES: usize = 1_100;
const PACKETS_PER_PICTURE: u32 = 5;
/// Of the RTP clock, between two pictures: 60 in a second.
const TICKS: u32 = 1_500;

/// See the module.
#[derive(Debug)]
pub(crate) struct Camera {
    packet: u32,
    picture: u32,
    /// The next picture is a keyframe.
    pub(crate) keyframe: bool,
}

impl Camera {
    pub(crate) fn new() -> Self {
        Self { packet: 0, picture: 0, keyframe: true }
    }

    pub(crate) fn take(&mut self) -> Packet {
        let mut payload = vec![0x5a; PAYLOAD_BYTES];
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
        self.packet = (self.packet + 1) % PACKETS_PER_PICTURE;
        packet.marker = self.packet == 0;
        self.picture += u32::from(packet.marker);
        packet
    }
}
