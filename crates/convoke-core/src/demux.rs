//! From a datagram to its transport in constant time.
//!
//! Owns: two maps, address pair and ICE user name fragment, to transport keys; what a datagram is by its
//! first byte.
//! Never: parses more than it must; learns an address before STUN integrity held.
//!
//! The user name decides for STUN requests, whatever address they come from: an address may be
//! used by a new session while the old one is still remembered (RFC 8445 §7.3).

use std::hash::{Hash, Hasher};
use std::net::SocketAddr;

use rustc_hash::FxHashMap;

/// Addresses remembered for one transport; the oldest is forgotten first. Enough for a client
/// with several interfaces that also roams.
const ADDRESSES_PER_TRANSPORT: usize = 8;

/// What a first byte says (RFC 7983 §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Stun,
    Dtls,
    /// RTP or RTCP.
    Rtp,
    /// Nothing that we speak (ZRTP, TURN channels, QUIC, noise).
    Unknown,
}

/// Classifies by the first byte.
pub(crate) fn classify(bytes: &[u8]) -> Class {
    match bytes.first() {
        Some(0..=3) => Class::Stun,
        Some(20..=63) => Class::Dtls,
        Some(128..=191) => Class::Rtp,
        _ => Class::Unknown,
    }
}

/// Whether a shell may hand a datagram to a worker at all: STUN, DTLS, RTP or RTCP by its first byte
/// (RFC 7983 §7). In a TCP stream anything else means that the peer speaks another protocol.
#[must_use]
pub fn is_spoken(bytes: &[u8]) -> bool {
    classify(bytes) != Class::Unknown
}

/// What carries a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Udp,
    /// In frames (RFC 4571).
    Tcp,
}

/// Between whom a datagram travels. A UDP and a TCP port of one number are two ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) protocol: Protocol,
    /// The peer.
    pub(crate) source: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// In as few steps as it takes: every datagram is looked up. What is left out (flow labels, scopes) is
/// compared all the same.
impl Hash for Pair {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for address in [&self.source, &self.local] {
            match address {
                SocketAddr::V4(v4) => state.write_u32(v4.ip().to_bits()),
                SocketAddr::V6(v6) => state.write_u128(v6.ip().to_bits()),
            }
        }
        let ports = u64::from(self.source.port()) << 16 | u64::from(self.local.port());
        state.write_u64((self.protocol as u64) << 32 | ports);
    }
}

#[derive(Debug, Default)]
pub(crate) struct Demux {
    by_pair: FxHashMap<Pair, usize>,
    by_ufrag: FxHashMap<String, usize>,
    ufrags: FxHashMap<usize, Vec<String>>,
    pairs: FxHashMap<usize, Vec<Pair>>,
}

impl Demux {
    pub(crate) fn by_pair(&self, pair: &Pair) -> Option<usize> {
        self.by_pair.get(pair).copied()
    }

    pub(crate) fn by_ufrag(&self, ufrag: &str) -> Option<usize> {
        self.by_ufrag.get(ufrag).copied()
    }

    /// Makes a transport reachable by its user name fragment, and by the one of before an ICE restart, if
    /// that is still good; by no others.
    pub(crate) fn add(&mut self, key: usize, ufrag: &str, earlier: Option<&str>) {
        let ufrags: Vec<String> = earlier.into_iter().chain([ufrag]).map(str::to_owned).collect();
        for ufrag in self.ufrags.insert(key, ufrags.clone()).into_iter().flatten() {
            self.by_ufrag.remove(&ufrag);
        }
        self.by_ufrag.extend(ufrags.into_iter().map(|ufrag| (ufrag, key)));
    }

    /// Remembers that the peer of `pair` speaks for `key`, taking it from whoever had it. The pair that
    /// had to make room for it.
    pub(crate) fn learn(&mut self, key: usize, pair: Pair) -> Option<Pair> {
        let before = self.by_pair.insert(pair, key);
        if before == Some(key) {
            return None;
        }
        if let Some(pairs) = before.and_then(|other| self.pairs.get_mut(&other)) {
            pairs.retain(|known| *known != pair);
        }
        let pairs = self.pairs.entry(key).or_default();
        let oldest = (pairs.len() >= ADDRESSES_PER_TRANSPORT).then(|| pairs.remove(0));
        pairs.push(pair);
        if let Some(oldest) = &oldest {
            self.by_pair.remove(oldest);
        }
        oldest
    }

    /// Forgets a transport. The pairs that it had.
    pub(crate) fn remove(&mut self, key: usize) -> Vec<Pair> {
        for ufrag in self.ufrags.remove(&key).into_iter().flatten() {
            self.by_ufrag.remove(&ufrag);
        }
        let pairs = self.pairs.remove(&key).unwrap_or_default();
        for pair in &pairs {
            self.by_pair.remove(pair);
        }
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(n: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], n))
    }

    fn pair(protocol: Protocol, port: u16) -> Pair {
        Pair { protocol, source: address(port), local: address(1) }
    }

    #[test]
    fn a_udp_and_a_tcp_pair_of_the_same_addresses_are_two() {
        let (udp, tcp) = (pair(Protocol::Udp, 5), pair(Protocol::Tcp, 5));
        let mut demux = Demux::default();
        demux.learn(1, udp);
        assert_eq!((demux.by_pair(&udp), demux.by_pair(&tcp)), (Some(1), None));
        demux.learn(2, tcp);
        assert_eq!((demux.by_pair(&udp), demux.by_pair(&tcp)), (Some(1), Some(2)));
        assert_eq!(demux.remove(1), [udp]);
        assert_eq!((demux.by_pair(&udp), demux.by_pair(&tcp)), (None, Some(2)));
    }

    #[test]
    fn the_pair_that_makes_room_is_named() {
        let mut demux = Demux::default();
        for port in 0..8 {
            assert_eq!(demux.learn(1, pair(Protocol::Tcp, port)), None);
        }
        assert_eq!(demux.learn(1, pair(Protocol::Tcp, 3)), None, "is known");
        assert_eq!(demux.learn(1, pair(Protocol::Udp, 3)), Some(pair(Protocol::Tcp, 0)));
        assert_eq!(demux.by_pair(&pair(Protocol::Tcp, 0)), None);
        assert_eq!(demux.remove(1).len(), 8);
    }

    #[test]
    fn every_first_byte_has_its_class() {
        for byte in 0..=255u8 {
            let expected = match byte {
                0..=3 => Class::Stun,
                20..=63 => Class::Dtls,
                128..=191 => Class::Rtp,
                _ => Class::Unknown,
            };
            assert_eq!(classify(&[byte, 0]), expected, "{byte}");
        }
        assert_eq!(classify(&[]), Class::Unknown);
    }

    proptest! {
        /// Against a model: the last to prove an address has it, removed transports have none, and
        /// nothing is left when all are gone.
        #[test]
        fn agrees_with_a_list_of_proofs(
            steps in prop::collection::vec((0..6usize, 0..20u16, prop::bool::weighted(0.2)), 0..200)
        ) {
            let mut demux = Demux::default();
            let mut model: Vec<(usize, u16)> = Vec::new();
            for (key, port, remove) in steps {
                if remove {
                    demux.remove(key);
                    model.retain(|(k, _)| *k != key);
                } else {
                    let earlier = (port % 2 == 0).then(|| format!("earlier{key}-{port}"));
                    demux.add(key, &format!("ufrag{key}"), earlier.as_deref());
                    prop_assert_eq!(demux.by_ufrag(&format!("ufrag{key}")), Some(key));
                    if let Some(earlier) = &earlier {
                        prop_assert_eq!(demux.by_ufrag(earlier), Some(key));
                    }
                    demux.learn(key, pair(Protocol::Udp, port));
                    if !model.contains(&(key, port)) {
                        model.retain(|(_, p)| *p != port);
                        let mine: Vec<_> = model.iter().filter(|(k, _)| *k == key).copied().collect();
                        if mine.len() >= ADDRESSES_PER_TRANSPORT {
                            model.retain(|entry| *entry != mine[0]);
                        }
                        model.push((key, port));
                    }
                }
                for port in 0..20 {
                    let expected = model.iter().find(|(_, p)| *p == port).map(|(k, _)| *k);
                    prop_assert_eq!(demux.by_pair(&pair(Protocol::Udp, port)), expected);
                }
            }
            for key in 0..6 {
                demux.remove(key);
            }
            prop_assert!(demux.by_pair.is_empty());
            prop_assert!(demux.by_ufrag.is_empty() && demux.ufrags.is_empty());
            prop_assert!(demux.pairs.is_empty());
        }
    }
}
