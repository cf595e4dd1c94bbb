//! Captures of rooms: headers go into the sinks that the shell gave.
//!
//! Owns: which rooms are captured, and which datagrams are shown.
//! Never: costs a packet of a worker without captures more than a look whether there are any.

use std::net::SocketAddr;
use std::time::Instant;

use super::Worker;
use crate::api::{Capture, CapturedPacket, CommandError, Reply, Transmit};
use crate::demux::{Pair, Protocol};
use crate::ids::RoomId;
use crate::transport::Received;

impl Worker {
    pub(super) fn set_capture(
        &mut self,
        room: RoomId,
        capture: Option<Capture>,
    ) -> Result<Reply, CommandError> {
        let key = self.room_keys.get(&room).copied().ok_or(CommandError::NoSuchRoom)?;
        match capture {
            Some(capture) => drop(self.captures.insert(key, capture)),
            None => drop(self.captures.remove(&key)),
        }
        Ok(Reply::Done)
    }

    /// A datagram came from a participant, who sent `heard` with it.
    pub(super) fn capture_received(
        &self,
        now: Instant,
        key: usize,
        (source, local): (SocketAddr, SocketAddr),
        bytes: &[u8],
        heard: &[Received],
    ) {
        let payload = |wanted: u32| {
            heard.iter().find_map(|heard| match heard {
                Received::Rtp { packet, .. } if packet.ssrc == wanted => {
                    Some(std::sync::Arc::clone(&packet.payload))
                }
                _ => None,
            })
        };
        let Some((head, ssrc)) = rtp_head(bytes) else { return };
        let Some((capture, participant)) = self.captured(key) else { return };
        let payload = if capture.payloads { payload(ssrc) } else { None };
        capture.sink.take(CapturedPacket::new(
            (now, true),
            participant,
            (source, local),
            (head, bytes.len()),
            payload,
        ));
    }

    /// What leaves by a protocol, from an index on.
    pub(super) fn capture_sent(
        &self,
        now: Instant,
        all: &[Transmit],
        protocol: Protocol,
        from: usize,
    ) {
        for Transmit { local, destination, contents } in all.get(from..).unwrap_or_default() {
            let Some((head, _)) = rtp_head(contents) else { continue };
            let pair = Pair { protocol, source: *destination, local: *local };
            let Some(key) = self.demux.by_pair(&pair) else { continue };
            let Some((capture, participant)) = self.captured(key) else { continue };
            capture.sink.take(CapturedPacket::new(
                (now, false),
                participant,
                (*local, *destination),
                (head, contents.len()),
                None,
            ));
        }
    }

    fn captured(&self, key: usize) -> Option<(&Capture, crate::ids::ParticipantId)> {
        let seat = self.seats.get(key)?;
        let capture = self.captures.get(&seat.room)?;
        let participant = self.rooms.get(seat.room)?.participant(seat.participant)?;
        Some((capture, participant.id))
    }
}

/// The header of RTP with its CSRCs and extensions (RFC 3550 §5.1, §5.3.1), and its SSRC; `None` of what
/// is no RTP: RTCP is encrypted (RFC 5761 §4 tells them apart).
fn rtp_head(bytes: &[u8]) -> Option<(&[u8], u32)> {
    let [first @ 128..=191, second, _, _, _, _, _, _, a, b, c, d, ..] = *bytes else { return None };
    if (64..96).contains(&(second & 0x7f)) {
        return None;
    }
    let mut length = 12 + 4 * usize::from(first & 0x0f);
    if first & 0x10 != 0 {
        let words = bytes.get(length + 2..length + 4)?;
        let words = words.iter().fold(0, |words, byte| words << 8 | usize::from(*byte));
        length += 4 + 4 * words;
    }
    Some((bytes.get(..length)?, u32::from_be_bytes([a, b, c, d])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_what_srtp_leaves_readable() {
        let mut packet = vec![0x80, 111, 0, 7, 0, 0, 0, 9, 1, 2, 3, 4];
        packet.extend([0xee; 20]);
        let (head, ssrc) = rtp_head(&packet).unwrap();
        assert_eq!((head.len(), ssrc), (12, 0x0102_0304));
        // Two CSRCs and one word of extensions.
        packet[0] = 0x92;
        packet.splice(12..12, [0, 0, 0, 1, 0, 0, 0, 2, 0xbe, 0xde, 0, 1, 0x10, 0x7f, 0, 0]);
        assert_eq!(rtp_head(&packet).unwrap().0.len(), 28);
        // An extension that says that it is longer than the packet.
        packet[23] = 200;
        assert!(rtp_head(&packet).is_none());
        // RTCP, STUN, and less than a header.
        assert!(rtp_head(&[0x80, 200, 0, 6, 0, 0, 0, 9, 1, 2, 3, 4, 5]).is_none());
        assert!(rtp_head(&[0; 20]).is_none());
        assert!(rtp_head(&[0x80, 111, 0, 7]).is_none());
    }
}
