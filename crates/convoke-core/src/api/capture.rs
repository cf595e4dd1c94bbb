//! What is seen of a room's RTP packets, for whoever captures them.
//!
//! Owns: what a sink is handed.
//! Never: writes a file, or waits for one that is written.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::ids::ParticipantId;

/// What is kept of one packet's header and header extensions, in bytes; the rest is cut.
pub const CAPTURE_HEAD_BYTES_MAX: usize = 256;

/// One RTP packet on its way: nothing of it is allocated for the capture.
#[derive(Clone)]
pub struct CapturedPacket {
    /// When it was received, or left.
    pub at: Instant,
    /// Whether it came from the participant; else it went there.
    pub received: bool,
    /// Whose transport it is of.
    pub participant: ParticipantId,
    /// Where it came from.
    pub source: SocketAddr,
    /// Where it went.
    pub destination: SocketAddr,
    /// Its payload without SRTP, if that was asked for and it was received, not retransmitted, and
    /// forwarded.
    pub payload: Option<Arc<[u8]>>,
    /// The whole datagram's size, in bytes.
    pub datagram_bytes: usize,
    head: [u8; CAPTURE_HEAD_BYTES_MAX],
    head_bytes: usize,
}

impl CapturedPacket {
    pub(crate) fn new(
        (at, received): (Instant, bool),
        participant: ParticipantId,
        (source, destination): (SocketAddr, SocketAddr),
        (head, datagram_bytes): (&[u8], usize),
        payload: Option<Arc<[u8]>>,
    ) -> Self {
        let mut kept = [0; CAPTURE_HEAD_BYTES_MAX];
        for (to, from) in kept.iter_mut().zip(head) {
            *to = *from;
        }
        let head_bytes = head.len().min(CAPTURE_HEAD_BYTES_MAX);
        Self {
            at,
            received,
            participant,
            source,
            destination,
            payload,
            datagram_bytes,
            head: kept,
            head_bytes,
        }
    }

    /// The RTP header with its extensions (RFC 3550 §5.1, §5.3.1), which SRTP does not encrypt.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        self.head.get(..self.head_bytes).unwrap_or_default()
    }
}

impl fmt::Debug for CapturedPacket {
    /// Without what it says.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, received, participant, datagram_bytes, .. } = self;
        let mut shown = f.debug_struct("CapturedPacket");
        shown.field("at", at).field("received", received).field("participant", participant);
        shown.field("datagram_bytes", datagram_bytes).finish_non_exhaustive()
    }
}

/// Takes what is captured, on a worker's thread.
pub trait CaptureSink: fmt::Debug + Send + Sync {
    /// Must not wait: where there is no room the packet is dropped, and the sink counts it.
    fn take(&self, packet: CapturedPacket);
}

/// What to capture of a room.
#[derive(Debug, Clone)]
pub struct Capture {
    /// Where to.
    pub sink: Arc<dyn CaptureSink>,
    /// Whether with payloads.
    pub payloads: bool,
}
