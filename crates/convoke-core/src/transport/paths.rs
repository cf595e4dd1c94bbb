//! Where the peer is: the addresses that its checks come from, and the one that is sent to.
//!
//! Owns: what becomes of a connectivity check before str0m answers it; what str0m forgets of addresses.
//! Never: sends anywhere that no check came from. The candidates of an offer are not read at all: an
//! ICE-lite agent makes no checks (RFC 8445 §2.5), so neither names, nor link-local, nor any other
//! addresses that a peer writes down are ever resolved, sent to or kept.
//!
//! Sent to is
//! - the pair that was nominated last. str0m would send to the one of the highest priority of all that ever
//!   were nominated, for as long as it was checked within 15 s; and a client whose NAT has given it another
//!   port, or that has gone over to another network, does not check the earlier one, which is therefore
//!   taken from str0m at once. It is given back when a check comes from it again;
//! - after an ICE restart, until a pair is nominated, the first that is checked: restarts are made because
//!   the earlier pair is dead, and Chromium nominates only what it has tried for seconds;
//!   But a nomination that is sent again under the same transaction (RFC 8489 §6.2.1) got no answer: what is
//!   sent there arrives nowhere. Clients that nominate with every check (Firefox, libnice) do that on each
//!   path that fails, so it moves nothing, and goes back to the pair of before if that is alive;
//! - where media comes from, once nothing came from there for [`QUIET`]: Chromium sends by another pair up
//!   to 2.5 s before it nominates it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::ice::{StunMessage, TransId};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, CandidateKind, Input};

use super::negotiate::FIRST_ESTIMATE_BPS;
use super::{Line, Received, Transport, protocol};
use crate::api::MediaKind;
use crate::demux::Pair;

/// Addresses that checks may come from between two ICE restarts: what a client has that changes its
/// network every few minutes all day. str0m keeps each of them, so there must be an end.
const ADDRESSES_MAX: usize = 256;

/// What str0m calls a candidate that it found itself; it replaces one by another of that name.
const FOUND: &str = "tmp_prflx";

/// The priority of a peer-reflexive candidate (RFC 8445 §5.1.2). It decides nothing: there is only ever one
/// nominated pair.
const PRIORITY: u32 = (110 << 24) | 0x00ff_ffff;

/// The pair that is sent to has to be silent for so long before media from another one moves it.
const QUIET: Duration = Duration::from_millis(250);

/// An address of the peer's, and by what it is reached.
type Remote = (Protocol, SocketAddr);

fn remote(pair: &Pair) -> Remote {
    (protocol(pair), pair.source)
}

/// The peer's addresses since the last ICE restart.
#[derive(Debug, Default)]
pub(super) struct Paths {
    known: Vec<Known>,
    nominated: Option<Pair>,
    /// The pair that was nominated before, and whether anything came by it since.
    before: Option<(Pair, bool)>,
    /// The pair that is sent to, and when something came by it last.
    current: Option<(Pair, Instant)>,
    /// Whether ICE was restarted, and no check came since.
    restarted: bool,
    restarts: u32,
}

#[derive(Debug)]
struct Known {
    address: Remote,
    /// The transaction that nominated it last.
    transaction: Option<TransId>,
    /// Whether str0m was told to do without it.
    taken: bool,
}

/// What str0m is to be told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    take: Option<Remote>,
    give: Option<Remote>,
}

/// What a check that is truly of the peer does.
#[derive(Debug, Default, PartialEq, Eq)]
struct Checked {
    told: Told,
    /// The pair that is to be sent to from now on.
    moves_to: Option<Pair>,
}

impl Paths {
    /// ICE was restarted, and str0m has forgotten all addresses.
    pub(super) fn restart(&mut self) {
        self.known.clear();
        (self.nominated, self.before) = (None, None);
        self.restarted = self.current.is_some();
        self.restarts = self.restarts.saturating_add(1);
    }

    /// ICE restarts so far.
    pub(super) fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Where to send what is no answer to a check; as str0m says before the first nomination.
    pub(super) fn current(&self) -> Option<Pair> {
        self.current.map(|(pair, _)| pair)
    }

    /// Something came by a pair, and was truly of the peer. `true`: it is on another network.
    pub(super) fn heard(&mut self, now: Instant, pair: Pair, is_check: bool) -> bool {
        if let Some((before, is_alive)) = &mut self.before {
            *is_alive |= *before == pair;
        }
        match &mut self.current {
            Some((current, heard)) if *current == pair => *heard = now,
            Some((_, heard)) if !is_check && now.saturating_duration_since(*heard) >= QUIET => {
                return self.send_to(now, pair);
            }
            _ => {}
        }
        false
    }

    /// `true`: the peer is on another network.
    fn send_to(&mut self, now: Instant, pair: Pair) -> bool {
        let before = self.current.replace((pair, now));
        before.is_some_and(|(before, _)| before.source.ip() != pair.source.ip())
    }

    /// Whether all is settled, and on this pair.
    pub(super) fn is_in_use(&self, pair: &Pair) -> bool {
        self.nominated == Some(*pair) && self.current() == Some(*pair) && !self.restarted
    }

    /// Whether a check would change nothing but the transaction that nominated last: see
    /// [`Self::nominates_again`]. Its integrity is not looked at.
    pub(super) fn is_settled(&self, pair: &Pair, nominates: Option<TransId>) -> bool {
        let source = remote(pair);
        let known = self.known.iter().find(|known| known.address == source && !known.taken);
        let Some(known) = known.filter(|_| !self.restarted) else { return false };
        nominates.is_none() || (self.is_in_use(pair) && known.transaction != nominates)
    }

    /// A check of which all is settled is truly of the peer, and nominates.
    pub(super) fn nominates_again(&mut self, pair: &Pair, transaction: TransId) {
        let source = remote(pair);
        if let Some(known) = self.known.iter_mut().find(|known| known.address == source) {
            known.transaction = Some(transaction);
        }
    }

    /// A check came that is truly of the peer, and nominates if it has such a transaction. `None`: from too
    /// many addresses.
    fn checked(&mut self, pair: Pair, nominates: Option<TransId>) -> Option<Checked> {
        let source = remote(&pair);
        let at = match self.known.iter().position(|known| known.address == source) {
            Some(at) => at,
            None if self.known.len() < ADDRESSES_MAX => {
                self.known.push(Known { address: source, transaction: None, taken: false });
                self.known.len() - 1
            }
            None => return None,
        };
        let known = self.known.get_mut(at)?;
        let give = std::mem::take(&mut known.taken).then_some(source);
        let mut checked = Checked { told: Told { take: None, give }, moves_to: None };
        let Some(transaction) = nominates else { return Some(checked) };
        let is_answered = known.transaction.replace(transaction) != Some(transaction);
        if is_answered || self.nominated.is_none() {
            checked.told.take = self.nominate(pair);
            checked.moves_to = Some(pair);
        } else if self.nominated == Some(pair)
            && let Some((before, true)) = self.before
        {
            checked.told.take = self.nominate(before);
            checked.moves_to = Some(before);
        }
        if let Some(to) = checked.moves_to
            && let Some(known) = self.known.iter_mut().find(|known| known.address == remote(&to))
            && std::mem::take(&mut known.taken)
        {
            checked.told.give = Some(known.address);
        }
        Some(checked)
    }

    /// The address that str0m is to do without from now on.
    fn nominate(&mut self, pair: Pair) -> Option<Remote> {
        if self.nominated == Some(pair) {
            return None;
        }
        let before = self.nominated.replace(pair)?;
        self.before = Some((before, false));
        let of_before = |known: &&mut Known| known.address == remote(&before) && !known.taken;
        let known = self.known.iter_mut().find(of_before)?;
        known.taken = true;
        Some(known.address)
    }
}

fn candidate((protocol, address): Remote) -> Candidate {
    let kind = CandidateKind::PeerReflexive;
    Candidate::from_parts(FOUND.into(), 1, protocol, PRIORITY, address, kind, None, None, None)
}

impl Transport {
    /// Whether a STUN request is truly from this transport's peer (RFC 8445 §7.3: user name and message
    /// integrity), wherever it comes from.
    pub(crate) fn authenticates(&self, now: Instant, pair: &Pair, bytes: &[u8]) -> bool {
        // From the address that it sends to str0m accepts everything; from this one it can be nothing.
        let nowhere = SocketAddr::from(([0; 4], 0));
        Self::caught(|| {
            Receive::new(protocol(pair), nowhere, pair.local, bytes)
                .is_ok_and(|receive| self.rtc.accepts(&Input::Receive(now, receive)))
        })
    }

    /// Prepares str0m for a STUN message. `false`: it must not be answered.
    pub(super) fn follow(&mut self, now: Instant, pair: &Pair, bytes: &[u8]) -> bool {
        let Ok(message) = StunMessage::parse(bytes) else { return false };
        if !message.is_binding_request() {
            return false;
        }
        let nominates = message.use_candidate().then(|| message.trans_id());
        let is_settled = self.paths.is_settled(pair, nominates);
        if is_settled && nominates.is_none() {
            return true;
        }
        if !self.authenticates(now, pair, bytes) {
            return false;
        }
        if let Some(transaction) = nominates.filter(|_| is_settled) {
            self.paths.nominates_again(pair, transaction);
            return true;
        }
        let Some(Checked { told, moves_to }) = self.paths.checked(*pair, nominates) else {
            return false;
        };
        if nominates.is_some() {
            self.earlier = None;
        }
        if let Some(address) = told.take {
            self.rtc.direct_api().invalidate_candidate(&candidate(address));
        }
        if let Some(address) = told.give {
            self.rtc.add_remote_candidate(candidate(address));
        }
        let early = std::mem::take(&mut self.paths.restarted);
        let to = moves_to.or_else(|| early.then_some(*pair));
        if to.is_some_and(|to| self.paths.send_to(now, to)) {
            self.on_another_network();
        }
        self.moved |= early;
        true
    }

    /// Packets were lost on the path of before, of which the peer says nothing until it has gone over to
    /// this one: its pictures begin anew.
    pub(super) fn ask_for_pictures(&mut self, received: &mut Vec<Received>) {
        if std::mem::take(&mut self.moved) {
            let shown = |line: &Line| line.sends && line.kind == MediaKind::Video;
            let lines = self.lines.iter().enumerate().filter(|(_, line)| shown(line));
            received.extend(lines.map(|(line, _)| Received::KeyframeRequest { line }));
        }
    }

    /// What another network carries is not known, and what was lost of late tells nothing of it.
    pub(super) fn on_another_network(&mut self) {
        self.restart_estimate(FIRST_ESTIMATE_BPS);
        self.moved = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demux;

    fn pair(source: SocketAddr, local: SocketAddr) -> Pair {
        Pair { protocol: demux::Protocol::Udp, source, local }
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn the_pair_nominated_last_is_the_only_one() {
        let mut paths = Paths::default();
        let told = |take: Option<u16>, give: Option<u16>| {
            let udp = |port| (Protocol::Udp, address(port));
            Some(Told { take: take.map(udp), give: give.map(udp) })
        };
        let mut check = |port, local, nominates: bool| {
            let pair = pair(address(port), address(local));
            let checked = paths.checked(pair, nominates.then(TransId::new))?;
            assert_eq!(checked.moves_to, nominates.then_some(pair));
            Some(checked.told)
        };
        assert_eq!(check(1, 9, false), told(None, None));
        assert_eq!(check(1, 9, true), told(None, None));
        assert_eq!(check(2, 9, false), told(None, None), "a spare one");
        assert_eq!(check(2, 9, true), told(Some(1), None), "it moves");
        assert_eq!(check(2, 9, true), told(None, None));
        assert_eq!(check(1, 9, false), told(None, Some(1)), "the earlier one is a spare one");
        assert_eq!(check(1, 9, true), told(Some(2), None), "it moves back");
        assert_eq!(check(1, 8, true), told(Some(1), Some(1)), "to another address of ours");
    }

    /// IC-03: what is sent again under its transaction was not answered.
    #[test]
    fn ic_03_a_nomination_that_is_sent_again_moves_nothing_and_goes_back_to_who_lives() {
        let now = Instant::now();
        let (one, two) = (pair(address(1), address(9)), pair(address(2), address(9)));
        let moves = |paths: &mut Paths, pair, transaction| {
            let to = paths.checked(pair, Some(transaction)).expect("few addresses").moves_to;
            if let Some(to) = to {
                paths.send_to(now, to);
            }
            to
        };
        let mut paths = Paths::default();
        let (dead, alive) = (TransId::new(), TransId::new());
        assert_eq!(moves(&mut paths, two, dead), Some(two), "the first there is");
        assert_eq!(moves(&mut paths, two, dead), None);
        assert_eq!(moves(&mut paths, one, alive), Some(one));
        assert_eq!(moves(&mut paths, two, dead), None, "again");
        assert_eq!(paths.current(), Some(one));
        // A fresh one moves; when it proves to be dead, and the other lives, back.
        let again = TransId::new();
        assert_eq!(moves(&mut paths, two, again), Some(two));
        assert_eq!(moves(&mut paths, two, again), None, "nothing came by the other since");
        paths.heard(now, one, true);
        assert_eq!(moves(&mut paths, two, again), Some(one));
        assert_eq!(moves(&mut paths, two, again), None);
        assert_eq!(paths.nominated, Some(one));
        // Who answers it is no longer asked: settled, once for each transaction.
        let settled = TransId::new();
        assert!(paths.is_settled(&one, Some(settled)) && !paths.is_settled(&two, Some(settled)));
        paths.nominates_again(&one, settled);
        assert!(paths.is_settled(&one, None) && !paths.is_settled(&one, Some(settled)));
    }

    #[test]
    fn media_moves_what_is_sent_only_where_nothing_comes_any_more() {
        let start = Instant::now();
        let host = |last: u8| SocketAddr::from(([10, 0, 0, last], 5));
        let (one, two) = (pair(host(1), address(9)), pair(host(2), address(9)));
        let mut paths = Paths::default();
        assert!(!paths.heard(start, two, false), "nothing is nominated");
        assert!(!paths.send_to(start, one));
        assert!(!paths.heard(start + QUIET / 2, one, false));
        assert!(!paths.heard(start + QUIET, two, false), "the other one is not silent");
        assert!(!paths.heard(start + QUIET * 2, two, true), "a check of a spare pair");
        assert_eq!(paths.current(), Some(one));
        assert!(paths.heard(start + QUIET * 2, two, false), "another network");
        assert_eq!(paths.current(), Some(two));
        paths.restart();
        assert_eq!((paths.current(), paths.restarted), (Some(two), true));
        assert!(paths.send_to(start, one));
        assert!(!paths.send_to(start, pair(SocketAddr::from(([10, 0, 0, 1], 6)), address(9))));
    }

    #[test]
    fn there_is_an_end_to_addresses() {
        let mut paths = Paths::default();
        let nominates = || Some(TransId::new());
        for port in 1..=ADDRESSES_MAX as u16 {
            assert!(paths.checked(pair(address(port), address(9)), nominates()).is_some());
        }
        assert_eq!(paths.checked(pair(address(999), address(9)), nominates()), None);
        assert_eq!(paths.nominated, Some(pair(address(ADDRESSES_MAX as u16), address(9))));
        assert!(
            paths.checked(pair(address(1), address(9)), nominates()).is_some(),
            "a known one goes on"
        );
    }
}
