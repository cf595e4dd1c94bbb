//! Where the peer is: the addresses that its checks come from, and the one that is sent to.
//!
//! Owns: what becomes of a connectivity check before str0m answers it; what str0m forgets of addresses.
//! Never: sends anywhere that no check came from. The candidates of an offer are not read at all: an
//! ICE-lite agent makes no checks (RFC 8445 §2.5), so neither names, nor link-local, nor any other
//! addresses that a peer writes down are ever resolved, sent to or kept.
//!
//! The pair that was nominated last is sent to. str0m would send to the one of the highest priority of all
//! that ever were nominated, for as long as it was checked within 15 s; and a client whose NAT has given it
//! another port, or that has gone over to another network, does not check the earlier one, which is
//! therefore taken from str0m at once. It is given back when a check comes from it again.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use str0m::ice::StunMessage;
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, CandidateKind, Input};

use super::Transport;
use super::negotiate::FIRST_ESTIMATE_BPS;

/// Addresses that checks may come from between two ICE restarts: what a client has that changes its
/// network every few minutes all day. str0m keeps each of them, so there must be an end.
const ADDRESSES_MAX: usize = 256;

/// What str0m calls a candidate that it found itself; it replaces one by another of that name.
const FOUND: &str = "tmp_prflx";

/// The priority of a peer-reflexive candidate (RFC 8445 §5.1.2). It decides nothing: there is only ever one
/// nominated pair.
const PRIORITY: u32 = (110 << 24) | 0x00ff_ffff;

/// The peer's addresses since the last ICE restart.
#[derive(Debug, Default)]
pub(super) struct Paths {
    known: Vec<Known>,
    /// The nominated pair: the peer's address and ours.
    nominated: Option<(SocketAddr, SocketAddr)>,
    /// The peer's host that was nominated last, ICE restarts included.
    host: Option<IpAddr>,
}

#[derive(Debug)]
struct Known {
    address: SocketAddr,
    /// Whether str0m was told to do without it.
    taken: bool,
}

/// What str0m is to be told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    take: Option<SocketAddr>,
    give: Option<SocketAddr>,
    /// The peer is on another network.
    moved: bool,
}

impl Paths {
    /// ICE was restarted, and str0m has forgotten all addresses.
    pub(super) fn restart(&mut self) {
        self.known.clear();
        self.nominated = None;
    }

    /// A check came that is truly of the peer. `None`: from too many addresses.
    fn checked(&mut self, source: SocketAddr, local: SocketAddr, nominates: bool) -> Option<Told> {
        let mut told = Told::default();
        let at = match self.known.iter().position(|known| known.address == source) {
            Some(at) => at,
            None if self.known.len() < ADDRESSES_MAX => {
                self.known.push(Known { address: source, taken: false });
                self.known.len() - 1
            }
            None => return None,
        };
        if nominates && self.nominated != Some((source, local)) {
            let before = self.nominated.replace((source, local)).map(|(address, _)| address);
            let host = self.host.replace(source.ip());
            told.moved = host.is_some_and(|host| host != source.ip());
            let of_before = |known: &&mut Known| Some(known.address) == before && !known.taken;
            if let Some(known) = self.known.iter_mut().find(of_before) {
                known.taken = true;
                told.take = Some(known.address);
            }
        }
        let known = self.known.get_mut(at)?;
        told.give = std::mem::take(&mut known.taken).then_some(source);
        Some(told)
    }
}

fn candidate(address: SocketAddr) -> Candidate {
    let kind = CandidateKind::PeerReflexive;
    Candidate::from_parts(FOUND.into(), 1, Protocol::Udp, PRIORITY, address, kind, None, None, None)
}

impl Transport {
    /// Whether a STUN request is truly from this transport's peer (RFC 8445 §7.3: user name and message
    /// integrity), wherever it comes from.
    pub(crate) fn authenticates(&self, now: Instant, local: SocketAddr, bytes: &[u8]) -> bool {
        // From the address that it sends to str0m accepts everything; from this one it can be nothing.
        let nowhere = SocketAddr::from(([0; 4], 0));
        Self::caught(|| {
            Receive::new(Protocol::Udp, nowhere, local, bytes)
                .is_ok_and(|receive| self.rtc.accepts(&Input::Receive(now, receive)))
        })
    }

    /// Prepares str0m for a STUN message. `false`: it must not be answered.
    pub(super) fn follow(
        &mut self,
        now: Instant,
        source: SocketAddr,
        local: SocketAddr,
        bytes: &[u8],
    ) -> bool {
        let Ok(message) = StunMessage::parse(bytes) else { return false };
        if !message.is_binding_request() || !self.authenticates(now, local, bytes) {
            return false;
        }
        let Some(told) = self.paths.checked(source, local, message.use_candidate()) else {
            return false;
        };
        if let Some(address) = told.take {
            self.rtc.direct_api().invalidate_candidate(&candidate(address));
        }
        if let Some(address) = told.give {
            self.rtc.add_remote_candidate(candidate(address));
        }
        if told.moved {
            // What another network carries is not known, and what was lost of late tells nothing of it.
            self.restart_estimate(FIRST_ESTIMATE_BPS);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn the_pair_nominated_last_is_the_only_one() {
        let mut paths = Paths::default();
        let told = |take: Option<u16>, give: Option<u16>| {
            Some(Told { take: take.map(address), give: give.map(address), moved: false })
        };
        let mut check =
            |port, local, nominates| paths.checked(address(port), address(local), nominates);
        assert_eq!(check(1, 9, false), told(None, None));
        assert_eq!(check(1, 9, true), told(None, None));
        assert_eq!(check(2, 9, false), told(None, None), "a spare one");
        assert_eq!(check(2, 9, true), told(Some(1), None), "it moves");
        assert_eq!(check(2, 9, true), told(None, None));
        assert_eq!(check(1, 9, false), told(None, Some(1)), "the earlier one is a spare one");
        assert_eq!(check(1, 9, true), told(Some(2), None), "it moves back");
        assert_eq!(check(1, 8, true), told(Some(1), Some(1)), "to another address of ours");
    }

    #[test]
    fn another_host_is_another_network_also_after_an_ice_restart() {
        let mut paths = Paths::default();
        let mut moved = |last: u8, restart: bool| {
            if restart {
                paths.restart();
            }
            let source = SocketAddr::from(([10, 0, 0, last], u16::from(last)));
            paths.checked(source, address(9), true).unwrap().moved
        };
        assert!(!moved(1, false));
        assert!(!moved(1, true));
        assert!(moved(2, false));
        assert!(!moved(2, false));
        assert!(moved(1, true));
    }

    #[test]
    fn there_is_an_end_to_addresses() {
        let mut paths = Paths::default();
        for port in 1..=ADDRESSES_MAX as u16 {
            assert!(paths.checked(address(port), address(9), true).is_some());
        }
        assert_eq!(paths.checked(address(999), address(9), true), None);
        assert_eq!(paths.nominated, Some((address(ADDRESSES_MAX as u16), address(9))));
        assert!(paths.checked(address(1), address(9), true).is_some(), "a known one goes on");
    }
}
