//! What became of the RTP packets that left the servers, stream by stream.
//!
//! Owns: the count of each stream's packets by their fate: lost, on their way, arrived.
//! Never: looks into them. A retransmission is another stream's packet: it has an SSRC of its own.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::link::Sent;

/// A receiver may refuse what comes so many places late (RFC 3711 §3.3.2).
const WINDOW: i16 = 64;
/// After a gap of so many numbers a receiver may take nothing that is from before its end: str0m's then
/// judges by what it has received a window earlier.
const GAP: i16 = 100;

/// One stream's packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// Lost on the link, or come before the receiver's transport was up or after it had given up.
    pub(super) lost: u64,
    /// Of these, what the link's random loss took.
    pub(super) by_chance: u64,
    /// Neither lost nor arrived.
    pub(super) underway: u64,
    /// The highest that came.
    highest: Option<u16>,
    /// The first that came after such a gap.
    resumed: Option<u16>,
}

/// All streams, by the address that the transport had first and the SSRC.
#[derive(Debug, Default)]
pub(super) struct Ways(HashMap<(SocketAddr, u32), Way>);

impl Ways {
    pub(super) fn of(&self, address: SocketAddr, ssrc: u32) -> Way {
        self.0.get(&(address, ssrc)).copied().unwrap_or_default()
    }

    pub(super) fn sent(&mut self, address: SocketAddr, ssrc: u32, sent: Sent) {
        let way = self.0.entry((address, ssrc)).or_default();
        match sent {
            Sent::Arrives(_) => way.underway += 1,
            Sent::Dropped => way.lost += 1,
            Sent::Lost => {
                way.lost += 1;
                way.by_chance += 1;
            }
        }
    }

    /// A packet has come to its end: whether the receiver's transport was up, and took it.
    pub(super) fn came(
        &mut self,
        stream: (SocketAddr, u32),
        sequence: u16,
        connected: bool,
        taken: bool,
    ) {
        let way = self.0.entry(stream).or_default();
        way.underway = way.underway.saturating_sub(1);
        let behind = way.highest.map_or(0, |highest| highest.wrapping_sub(sequence).cast_signed());
        if behind <= 0 {
            way.highest = Some(sequence);
        }
        if behind < -GAP {
            way.resumed = Some(sequence);
        }
        let from_gap =
            way.resumed.is_some_and(|first| first.wrapping_sub(sequence).cast_signed() > 0);
        way.lost += u64::from(!connected || !taken && (behind >= WINDOW || from_gap));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_is_lost_underway_or_there() {
        let address = SocketAddr::from(([10, 0, 0, 1], 1));
        let mut ways = Ways::default();
        let arrives = Sent::Arrives(std::time::Instant::now());
        for sent in [arrives, arrives, arrives, Sent::Lost, Sent::Dropped] {
            ways.sent(address, 7, sent);
        }
        ways.came((address, 7), 65_535, true, true);
        ways.came((address, 7), 0, false, false);
        let way = ways.of(address, 7);
        assert_eq!((way.lost, way.by_chance, way.underway), (3, 1, 1));
        assert_eq!(ways.of(address, 8), Way::default());
    }

    #[test]
    fn only_what_is_very_late_may_be_refused() {
        let stream = (SocketAddr::from(([10, 0, 0, 1], 1)), 7);
        let mut ways = Ways::default();
        ways.came(stream, 30, true, true);
        for (sequence, lost) in [(31_i32, 0), (31 - 63, 0), (31 - 64, 1)] {
            ways.came(stream, u16::try_from(sequence & 0xffff).unwrap(), true, false);
            assert_eq!(ways.of(stream.0, 7).lost, lost, "{sequence}");
        }
    }

    #[test]
    fn what_is_from_a_long_gap_may_be_refused() {
        let stream = (SocketAddr::from(([10, 0, 0, 1], 1)), 7);
        let mut ways = Ways::default();
        for (sequence, taken, lost) in [
            (10, true, 0),
            (111, true, 0),
            (211, true, 0),
            (210, false, 0),
            (312, true, 0),
            (311, false, 1),
            (313, false, 1),
        ] {
            ways.came(stream, sequence, true, taken);
            assert_eq!(ways.of(stream.0, 7).lost, lost, "{sequence}");
        }
    }
}
