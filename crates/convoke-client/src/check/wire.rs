//! What can be told from the clear headers of a server's outgoing SRTP (RFC 3711 leaves them open).

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;

use super::Violation;

/// Sequence numbers remembered per stream.
const WINDOW: usize = 4_096;
/// Streams watched at most.
const MAX_STREAMS: usize = 4_096;

#[derive(Debug)]
struct Stream {
    first: u64,
    highest: u64,
    count: u64,
    seen: HashSet<u64>,
    order: VecDeque<u64>,
}

/// Watches the RTP headers of datagrams leaving a server.
#[derive(Debug, Default)]
pub struct WireChecker {
    streams: HashMap<(SocketAddr, SocketAddr, u32), Stream>,
}

/// Sequence number and SSRC, if the datagram is (S)RTP and not (S)RTCP (RFC 5761 §4).
#[must_use]
pub fn rtp_numbers(bytes: &[u8]) -> Option<(u16, u32)> {
    let [b0, b1, s0, s1, _, _, _, _, c0, c1, c2, c3, ..] = *bytes else { return None };
    let is_rtp = (128..192).contains(&b0) && !(64..96).contains(&(b1 & 0x7f));
    is_rtp.then(|| (u16::from_be_bytes([s0, s1]), u32::from_be_bytes([c0, c1, c2, c3])))
}

/// The extended number nearest to `highest`.
fn extend(highest: u64, sequence: u16) -> u64 {
    let step = sequence.wrapping_sub((highest & 0xffff) as u16).cast_signed();
    highest.saturating_add_signed(i64::from(step))
}

impl WireChecker {
    /// Looks at one datagram from `local` to `destination`.
    pub fn datagram(
        &mut self,
        local: SocketAddr,
        destination: SocketAddr,
        bytes: &[u8],
    ) -> Option<Violation> {
        let (sequence, ssrc) = rtp_numbers(bytes)?;
        let key = (local, destination, ssrc);
        if self.streams.len() >= MAX_STREAMS && !self.streams.contains_key(&key) {
            return None;
        }
        let start = u64::from(sequence);
        let mut violation = None;
        let stream = self.streams.entry(key).or_insert_with(|| {
            if sequence >= 1 << 15 {
                violation = Some(Violation::HighStart { ssrc, sequence });
            }
            let (seen, order) = (HashSet::new(), VecDeque::new());
            Stream { first: start, highest: start, count: 0, seen, order }
        });
        let extended = extend(stream.highest, sequence);
        if !stream.seen.insert(extended) {
            return Some(Violation::WireReused { ssrc, sequence: extended });
        }
        stream.highest = stream.highest.max(extended);
        stream.first = stream.first.min(extended);
        stream.count += 1;
        stream.order.push_back(extended);
        if stream.order.len() > WINDOW
            && let Some(old) = stream.order.pop_front()
        {
            stream.seen.remove(&old);
        }
        violation
    }

    /// Sequence numbers that were skipped and never sent, over all streams.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.streams.values().map(|s| (s.highest - s.first + 1).saturating_sub(s.count)).sum()
    }

    /// The same for one stream.
    #[must_use]
    pub fn missing_of(&self, local: SocketAddr, destination: SocketAddr, ssrc: u32) -> u64 {
        let stream = self.streams.get(&(local, destination, ssrc));
        stream.map_or(0, |s| (s.highest - s.first + 1).saturating_sub(s.count))
    }

    /// RTP packets seen.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.streams.values().map(|s| s.count).sum()
    }
}
