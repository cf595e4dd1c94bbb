//! The way out toward a subscriber: the seam behind which another egress engine can stand.
//!
//! Owns: turning one outgoing packet into what the transport sends.
//! Never: chooses what is sent, or numbers it.
//!
//! What crosses the seam: [`Transport::write`] (packet in), [`super::Received::KeyframeRequest`]
//! (feedback out), [`Transport::deadline`]. Nothing above knows which engine runs.

use std::sync::Arc;
use std::time::Instant;

use str0m::media::Pt;
use str0m::rtp::RtpWrite;

use super::{MediaPacket, Transport};

/// VP8 payload descriptor numbers (RFC 7741 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Vp8Numbers {
    /// 7 or 15 bits, as the source's descriptor has room for.
    pub(crate) picture_id: Option<u16>,
    pub(crate) tl0_pic_idx: Option<u8>,
    /// 5 bits.
    pub(crate) key_idx: Option<u8>,
}

/// How one packet leaves on one slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    /// The packet as it came.
    pub(crate) packet: &'a MediaPacket,
    /// The subscriber's payload type for its codec.
    pub(crate) payload_type: u8,
    /// Extended sequence number; the first of a slot is below 2^15.
    pub(crate) seq: u64,
    /// RTP timestamp.
    pub(crate) time: u32,
    /// When the packet was sampled, by our clock: sender reports are made from it.
    pub(crate) sampled: Instant,
    /// The source's id (RFC 3550 §5.1).
    pub(crate) csrc: u32,
    /// Replacements for the numbers in a VP8 descriptor.
    pub(crate) vp8: Option<Vp8Numbers>,
}

impl Transport {
    /// Queues a packet on a slot's m-line; the next drive sends it. False when the line cannot send.
    pub(crate) fn write(&mut self, line: usize, outgoing: Outgoing<'_>) -> bool {
        if self.dead || !self.connected {
            return false;
        }
        let Some(ssrc) = self.lines.get(line).and_then(|line| line.ssrc) else { return false };
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx(&ssrc) else { return false };
        let packet = outgoing.packet;
        let mut write = RtpWrite::new(
            Pt::new_with_value(outgoing.payload_type),
            outgoing.seq.into(),
            outgoing.time,
            outgoing.sampled,
            Arc::clone(&packet.payload),
        )
        .marker(packet.marker)
        .nackable(!packet.codec.is_audio())
        .csrc(&[outgoing.csrc])
        .ext_vals(packet.ext.clone());
        if let (Some(numbers), Some(descriptor)) = (outgoing.vp8, packet.vp8) {
            let mut patch = descriptor.patch();
            if let Some(picture_id) = numbers.picture_id {
                patch = patch.picture_id(picture_id);
            }
            if let Some(tl0_pic_idx) = numbers.tl0_pic_idx {
                patch = patch.tl0_pic_idx(tl0_pic_idx);
            }
            if let Some(key_idx) = numbers.key_idx {
                patch = patch.key_idx(key_idx);
            }
            // Only fields that the descriptor has are replaced, in their own width.
            if let Ok(patch) = patch.build() {
                write = write.vp8_patch(patch);
            }
        }
        stream.write_rtp(write);
        self.touched = true;
        true
    }
}
