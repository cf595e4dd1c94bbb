//! From a datagram to its transport in constant time.
//!
//! Owns: two maps, (remote, local) address pair and ICE user name fragment, to transport keys.
//! Never: parses more than it must; learns an address before STUN integrity held.
//!
//! The user name decides for STUN requests, whatever address they come from: an address may be
//! used by a new session while the old one is still remembered (RFC 8445 §7.3).

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

type Pair = (SocketAddr, SocketAddr);

#[derive(Debug, Default)]
pub(crate) struct Demux {
    by_pair: FxHashMap<Pair, usize>,
    by_ufrag: FxHashMap<String, usize>,
    ufrags: FxHashMap<usize, String>,
    pairs: FxHashMap<usize, Vec<Pair>>,
}

impl Demux {
    pub(crate) fn by_pair(&self, source: SocketAddr, local: SocketAddr) -> Option<usize> {
        self.by_pair.get(&(source, local)).copied()
    }

    pub(crate) fn by_ufrag(&self, ufrag: &str) -> Option<usize> {
        self.by_ufrag.get(ufrag).copied()
    }

    /// Makes a transport reachable by its user name fragment; replaces an earlier one.
    pub(crate) fn add(&mut self, key: usize, ufrag: &str) {
        if let Some(earlier) = self.ufrags.insert(key, ufrag.to_owned()) {
            self.by_ufrag.remove(&earlier);
        }
        self.by_ufrag.insert(ufrag.to_owned(), key);
    }

    /// Remembers that `source` speaks for `key`, taking it from whoever had it.
    pub(crate) fn learn(&mut self, key: usize, source: SocketAddr, local: SocketAddr) {
        let pair = (source, local);
        let before = self.by_pair.insert(pair, key);
        if before == Some(key) {
            return;
        }
        if let Some(pairs) = before.and_then(|other| self.pairs.get_mut(&other)) {
            pairs.retain(|known| *known != pair);
        }
        let pairs = self.pairs.entry(key).or_default();
        if pairs.len() >= ADDRESSES_PER_TRANSPORT {
            let oldest = pairs.remove(0);
            self.by_pair.remove(&oldest);
        }
        pairs.push(pair);
    }

    /// Forgets a transport.
    pub(crate) fn remove(&mut self, key: usize) {
        if let Some(ufrag) = self.ufrags.remove(&key) {
            self.by_ufrag.remove(&ufrag);
        }
        for pair in self.pairs.remove(&key).unwrap_or_default() {
            self.by_pair.remove(&pair);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(n: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], n))
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
                    demux.add(key, &format!("ufrag{key}"));
                    demux.learn(key, address(port), address(1));
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
                    prop_assert_eq!(demux.by_pair(address(port), address(1)), expected);
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
