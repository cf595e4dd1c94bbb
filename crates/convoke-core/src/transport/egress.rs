//! The way out toward a subscriber: the seam behind which another egress engine can stand.
//!
//! Owns: turning one outgoing packet into what the transport sends.
//! Never: chooses what is sent, or numbers it.
//!
//! What crosses the seam: [`Transport::write`] (packet in), [`super::Received::KeyframeRequest`]
//! (feedback out), [`Transport::deadline`]. Nothing above knows which engine runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::media::Pt;
use str0m::rtp::{RtpWrite, StreamTx};

use super::{Codec, DescriptorBytes, Line, MediaPacket, Transport, red};
use crate::api::MediaKind;
use crate::layers::Prefix;

/// Packets kept for retransmission per video slot: 1 s of a 2.5 Mbit/s stream at 1,100 B fits, and
/// an idle slot costs nothing.
pub(super) const RTX_CACHE_PACKETS: usize = 512;
const RTX_CACHE_AGE: Duration = Duration::from_secs(1);
/// Retransmissions may be this share of what is sent; above it str0m drops all queued ones.
const RTX_SHARE: f32 = 0.5;
/// The same where packets queue on their way: what is lost there is lost because too much is sent.
const RTX_SHARE_CONGESTED: f32 = 0.15;

/// Lets a stream's packets be sent again, from its next on: those before are forgotten.
pub(super) fn begin_retransmission(stream: &mut StreamTx, congested: bool) {
    let share = if congested { RTX_SHARE_CONGESTED } else { RTX_SHARE };
    stream.set_rtx_cache(RTX_CACHE_PACKETS, RTX_CACHE_AGE, Some(share));
}

/// How one packet leaves on one slot.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing<'a> {
    /// The packet as it came.
    pub(crate) packet: &'a MediaPacket,
    /// The subscriber's payload type for its codec.
    pub(crate) payload_type: u8,
    /// Extended sequence number; the first of a slot is below 2^15.
    pub(crate) seq: u64,
    /// RTP timestamp.
    pub(crate) time: u32,
    /// The marker, which is the subscriber's own: it may not get the picture's last layer.
    pub(crate) marker: bool,
    /// When the packet was sampled, by our clock: sender reports are made from it.
    pub(crate) sampled: Instant,
    /// The source's id (RFC 3550 §5.1).
    pub(crate) csrc: u32,
    /// The payload is encrypted end to end: it leaves as it came.
    pub(crate) opaque: bool,
    /// The rewritten payload descriptor, if anything in it differs.
    pub(crate) prefix: Option<Prefix>,
    /// The rewritten dependency descriptor, if there is one.
    pub(crate) descriptor: Option<Arc<DescriptorBytes>>,
}

impl Transport {
    /// What went out on a slot's m-line up to now is not sent again, whoever asks for it: another
    /// picture begins.
    pub(crate) fn forget_sent(&mut self, line: usize) {
        let Some(line) = self.lines.get(line) else { return };
        if let Some(stream) = line.stream.filter(|stream| stream.declared)
            && let Some(stream) = self.rtc.direct_api().stream_tx(&stream.ssrc)
        {
            begin_retransmission(stream, self.congested);
        }
    }

    /// Whether packets queue on their way to the peer. When they begin to, what was asked for again
    /// is dropped: it would keep the queue full.
    pub(crate) fn set_congested(&mut self, congested: bool) {
        if self.dead || self.congested == congested {
            return;
        }
        self.congested = congested;
        self.forget_all_sent();
    }

    /// Whether video leaves as it comes, instead of being held back to what the estimator says at the
    /// moment. True if that changes: then it is to be driven.
    pub(crate) fn set_unpaced(&mut self, unpaced: bool) -> bool {
        if self.dead || self.unpaced == unpaced {
            return false;
        }
        self.unpaced = unpaced;
        for line in self.lines.iter().filter(|line| line.kind == MediaKind::Video) {
            if let Some(stream) = line.stream.filter(|stream| stream.declared)
                && let Some(stream) = self.rtc.direct_api().stream_tx(&stream.ssrc)
            {
                stream.set_unpaced(unpaced);
            }
        }
        self.touched = true;
        true
    }

    /// Nothing that went out up to now is sent again.
    pub(super) fn forget_all_sent(&mut self) {
        for line in 0..self.lines.len() {
            if self.lines.get(line).is_some_and(|line| line.kind == MediaKind::Video) {
                self.forget_sent(line);
            }
        }
    }

    /// Queues a packet on a slot's m-line; the next drive sends it. False when the line cannot send.
    pub(crate) fn write(&mut self, line: usize, outgoing: Outgoing<'_>) -> bool {
        if self.dead || !self.connected {
            return false;
        }
        let Some(ssrc) = self.used_stream(line) else { return false };
        self.wake();
        let Some(line) = self.lines.get(line) else { return false };
        let redundancy = redundant_audio(line, &outgoing);
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx(&ssrc) else { return false };
        let packet = outgoing.packet;
        // str0m takes a payload in one piece: what is rewritten is this subscriber's own copy.
        let payload = match (outgoing.prefix, redundancy) {
            (Some(prefix), _) => prefix.join(&packet.payload),
            (None, Some(payload)) => payload,
            (None, None) => Arc::clone(&packet.payload),
        };
        let mut ext = packet.ext.clone();
        if let Some(descriptor) = outgoing.descriptor {
            ext.user_values.set_arc(descriptor);
        }
        let write = RtpWrite::new(
            Pt::new_with_value(outgoing.payload_type),
            outgoing.seq.into(),
            outgoing.time,
            outgoing.sampled,
            payload,
        )
        .marker(outgoing.marker)
        .nackable(!packet.codec.is_audio())
        .csrc(&[outgoing.csrc])
        .ext_vals(ext);
        stream.write_rtp(write);
        self.timing.queued += 1;
        self.touched = true;
        true
    }
}

/// What a receiver gets of redundant audio, if it is not what came: the newest block, or all blocks
/// under its own payload type.
pub(super) fn redundant_audio(line: &Line, outgoing: &Outgoing<'_>) -> Option<Arc<[u8]>> {
    let packet = outgoing.packet;
    if packet.codec != Codec::OpusRed || outgoing.opaque {
        return None;
    }
    let opus = line.payload_for(Codec::Opus)?;
    if outgoing.payload_type == opus {
        return packet.primary.clone();
    }
    red::with_payload_type(&packet.payload, opus)
}
