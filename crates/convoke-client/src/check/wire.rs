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
    /// Packets with a transport-wide number.
    numbered: u64,
    streams: HashMap<(SocketAddr, SocketAddr, u32), Stream>,
}

/// Sequence number and SSRC, if the datagram is (S)RTP and not (S)RTCP (RFC 5761 §4).
#[must_use]
pub fn rtp_numbers(bytes: &[u8]) -> Option<(u16, u32)> {
    let [b0, b1, s0, s1, _, _, _, _, c0, c1, c2, c3, ..] = *bytes else { return None };
    let is_rtp = (128..192).contains(&b0) && !(64..96).contains(&(b1 & 0x7f));
    is_rtp.then(|| (u16::from_be_bytes([s0, s1]), u32::from_be_bytes([c0, c1, c2, c3])))
}

/// The id under which clients here offer transport-wide numbers.
const TRANSPORT_WIDE: u8 = 3;

/// Whether an RTP packet has a header extension of this id (RFC 8285).
fn has_extension(bytes: &[u8], id: u8) -> bool {
    let find = || {
        let (&first, csrcs) = (bytes.first()?, usize::from(bytes.first()? & 0x0f));
        let [p0, p1, l0, l1, rest @ ..] = bytes.get(12 + 4 * csrcs..)? else { return None };
        let mut rest = rest.get(..4 * usize::from(u16::from_be_bytes([*l0, *l1])))?;
        let one_byte = u16::from_be_bytes([*p0, *p1]) == 0xbede;
        while let Some((&head, after)) = rest.split_first() {
            let (found, len, after) = match (head, one_byte, after) {
                (0, _, _) => (0, 0, after),
                (_, true, _) => (head >> 4, usize::from(head & 0x0f) + 1, after),
                (_, false, [len, after @ ..]) => (head, usize::from(*len), after),
                (_, false, []) => return None,
            };
            if found == id {
                return Some(first & 0x10 != 0);
            }
            rest = after.get(len..)?;
        }
        None
    };
    find().unwrap_or(false)
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
        self.numbered += u64::from(has_extension(bytes, TRANSPORT_WIDE));
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

    /// How many RTP packets had a transport-wide number, and how many there were.
    #[must_use]
    pub fn transport_wide(&self) -> (u64, u64) {
        (self.numbered, self.packets())
    }

    /// RTP packets seen.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.streams.values().map(|s| s.count).sum()
    }
}
