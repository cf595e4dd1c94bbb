//! ICE restarts that come too soon, twice or unanswered, and paths that carry nothing back.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests are where time comes from"
)]

mod common;

use std::cell::RefCell;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use common::check::Credentials;
use common::{MS, SECOND, SERVER, World, config};
use convoke_client::media::Codec;
use convoke_core::{Action, Input, ParticipantId, Reply, TransportRole, WorkerConfig};
use convoke_protocol::TransportRole as WireRole;

const ROLES: [(TransportRole, WireRole); 2] =
    [(TransportRole::Send, WireRole::Send), (TransportRole::Receive, WireRole::Receive)];

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn pair() -> World {
    let mut world = World::new(config(), 1);
    for id in [1, 2] {
        world.join_with(id, Some(Codec::Vp8), |media| media.data_channel = true);
    }
    world
}

fn connected() -> World {
    let mut world = pair();
    world.run(SECOND * 2);
    assert!(world.peers.iter().all(|peer| peer.connected == 2));
    world
}

/// The answers to an ICE restart of both transports of a peer, from where it is or from new ports.
fn restart(world: &mut World, peer: usize, to: Option<[u16; 2]>) -> [String; 2] {
    let participant = world.peers[peer].id;
    let mut index = 0;
    ROLES.map(|(role, wire)| {
        let local = to.map(|ports| address(ports[index]));
        index += 1;
        let sdp = world.peers[peer].media.restart_ice(wire, local).unwrap();
        match world.command(Action::Offer { participant, role, sdp }) {
            Ok(Reply::Answer { sdp, .. }) => sdp,
            other => panic!("{other:?}"),
        }
    })
}

fn answered(world: &mut World, peer: usize, answers: &[String; 2], to: Option<[u16; 2]>) {
    for (index, (_, wire)) in ROLES.into_iter().enumerate() {
        let now = world.now;
        world.peers[peer].media.accept_answer(now, wire, &answers[index]).unwrap();
        if let Some(ports) = to {
            world.peers[peer].local[index] = address(ports[index]);
        }
    }
}

/// Counts the DTLS handshake records that either side sends.
fn count_handshakes(world: &mut World) -> Rc<RefCell<usize>> {
    let count = Rc::new(RefCell::new(0));
    let gate = || -> common::Gate {
        let count = Rc::clone(&count);
        Box::new(move |_, _, bytes| {
            *count.borrow_mut() += usize::from(bytes.first() == Some(&22));
            true
        })
    };
    (world.gate, world.outgate) = (Some(gate()), Some(gate()));
    count
}

/// The longest time without media from `from` at `peer` since `start`, of audio.
fn gap(world: &World, peer: usize, from: u32, start: Instant) -> Duration {
    let mut last = start;
    let mut longest = Duration::ZERO;
    let got = world.got(peer, from, Codec::Opus);
    for at in got.iter().map(|packet| packet.at).filter(|at| *at >= start).chain([world.now]) {
        longest = longest.max(at - last);
        last = at;
    }
    longest
}

/// The SSRCs that somebody gets, and the sections of an answer.
fn ssrcs(world: &World, peer: usize) -> HashSet<u32> {
    world.peers[peer].received.iter().map(|packet| packet.ssrc).collect()
}

fn sections(sdp: &str) -> Vec<&str> {
    sdp.lines().filter(|line| line.starts_with("m=") || line.starts_with("a=mid:")).collect()
}

/// IC-06: a second restart 100 ms after the first, whether the first was answered by then or not.
#[test]
fn ic_06_two_restarts_within_100_ms_leave_one_good_path() {
    for first_is_answered in [false, true] {
        let mut world = connected();
        let handshakes = count_handshakes(&mut world);
        let before = ssrcs(&world, 1);
        let start = world.now;
        let first = restart(&mut world, 1, Some([40_000, 40_001]));
        if first_is_answered {
            answered(&mut world, 1, &first, Some([40_000, 40_001]));
        }
        world.run(100 * MS);
        let second = restart(&mut world, 1, Some([40_010, 40_011]));
        answered(&mut world, 1, &second, Some([40_010, 40_011]));
        for (first, second) in first.iter().zip(&second) {
            assert_eq!(sections(first), sections(second));
        }
        world.run(SECOND * 3);
        for (peer, from) in [(0, 2), (1, 1)] {
            let gap = gap(&world, peer, from, start);
            assert!(gap < SECOND, "{first_is_answered}: {gap:?} at {peer}");
        }
        assert_eq!(ssrcs(&world, 1), before, "the same streams");
        assert_eq!(*handshakes.borrow(), 0, "DTLS goes on");
        assert_eq!(world.worker.stats().participants, 2);
    }
}

/// IC-06: a restart before anything connected, of which the first offer's checks are lost.
#[test]
fn ic_06_a_restart_before_connected_connects() {
    for lost in [0, 300] {
        let mut world = pair();
        let mine = world.peers[1].local;
        world.gate = Some(Box::new(move |source, _, _| !mine.contains(&source)));
        world.run(lost * MS);
        world.gate = None;
        let answers = restart(&mut world, 1, None);
        answered(&mut world, 1, &answers, None);
        let start = world.now;
        while world.peers[1].connected < 2 {
            assert!(world.now - start < SECOND * 2, "after {lost} ms");
            world.run(10 * MS);
        }
        world.peers.iter_mut().for_each(|peer| peer.received.clear());
        world.run(SECOND);
        for (peer, from) in [(0, 2), (1, 1)] {
            assert!(world.got(peer, from, Codec::Opus).len() >= 45, "{peer}");
            assert!(world.got(peer, from, Codec::Vp8).len() >= 40, "{peer}");
        }
    }
}

/// IC-06: until the new pair is in use, checks with the old credentials are answered and media goes by the
/// old pair; for as long as it takes, if the answer is lost for good.
#[test]
fn ic_06_old_credentials_are_good_until_the_new_pair_is_in_use() {
    for (wait, answer_comes) in [(3 * SECOND, true), (60 * SECOND, false)] {
        let mut world = connected();
        let start = world.now;
        let to = answer_comes.then_some([40_000, 40_001]);
        let answers = restart(&mut world, 1, to);
        world.run(wait);
        for (peer, from) in [(0, 2), (1, 1)] {
            let gap = gap(&world, peer, from, start);
            assert!(gap < SECOND / 2, "{gap:?} at {peer} in {wait:?} without the answer");
        }
        if answer_comes {
            let start = world.now;
            answered(&mut world, 1, &answers, to);
            world.run(3 * SECOND);
            for (peer, from) in [(0, 2), (1, 1)] {
                let gap = gap(&world, peer, from, start);
                assert!(gap < SECOND, "{gap:?} at {peer} with it");
            }
        }
        assert_eq!(world.worker.stats().participants, 2);
    }
}

/// IC-06: once the new pair is in use, the old credentials are good for nothing.
#[test]
fn ic_06_old_credentials_end_with_the_restart() {
    let mut world = connected();
    let offers = world.peers[1].offers.clone();
    let again = |world: &mut World, sdp: String| {
        let (participant, role) = (ParticipantId(2), TransportRole::Receive);
        match world.command(Action::Offer { participant, role, sdp }) {
            Ok(Reply::Answer { sdp, .. }) => sdp,
            other => panic!("{other:?}"),
        }
    };
    // The same offer again is no restart: the answer has the credentials of the first one.
    let answer = again(&mut world, offers.receive.clone().unwrap());
    let old = Credentials::of_receive(&offers, &answer);
    assert_eq!(answers_to(&mut world, &old.check(1, false), address(5_000)), 1);
    let answers = restart(&mut world, 1, None);
    let own = world.peers[1].local[1];
    assert_eq!(answers_to(&mut world, &old.check(2, false), own), 1);
    assert_eq!(answers_to(&mut world, &old.check(3, true), address(5_001)), 0, "no new address");
    answered(&mut world, 1, &answers, None);
    world.run(SECOND);
    for (number, source) in [own, address(5_000), address(5_002)].into_iter().enumerate() {
        let check = old.check(10 + number as u32, true);
        assert_eq!(answers_to(&mut world, &check, source), 0, "{source}");
    }
    let new = Credentials::of(offers.receive.as_deref().unwrap(), &answers[1]);
    assert_ne!((&new.ufrag, &new.password), (&old.ufrag, &old.password));
}

/// How many STUN responses a datagram gets.
fn answers_to(world: &mut World, bytes: &[u8], source: SocketAddr) -> usize {
    let local = SERVER.into();
    world.out.transmits.clear();
    world.worker.handle(world.now, Input::Datagram { source, local, bytes }, &mut world.out);
    let sent = std::mem::take(&mut world.out.transmits);
    let answer = |bytes: &[u8]| matches!(bytes, [1, 1, ..]);
    sent.iter().filter(|one| one.destination == source && answer(&one.contents)).count()
}

/// A second participant whose credentials are known.
fn join_known(world: &mut World, tcp: bool) -> (usize, [Credentials; 2]) {
    let (mut media, offers, local) = world.media(|_| {});
    let request = world.request(2, &offers, Vec::new());
    let reply = world.command(Action::Join(request));
    let Ok(Reply::Joined { send_answer, receive_answer, .. }) = reply else { panic!("{reply:?}") };
    let [send, receive] = [send_answer.unwrap(), receive_answer.unwrap()];
    media.accept_answers(world.now, Some(&send), Some(&receive)).unwrap();
    let credentials = [
        Credentials::of(offers.send.as_deref().unwrap(), &send),
        Credentials::of_receive(&offers, &receive),
    ];
    let peer = world.add(2, media, local, offers);
    world.peers[peer].tcp = tcp;
    (peer, credentials)
}

/// IC-03: every check nominates, also those of a path on which nothing comes back. Those are sent again and
/// again (RFC 8489 §6.2.1), each time with the transaction of before.
#[test]
fn ic_03_of_two_paths_that_nominate_the_one_that_carries_both_ways_is_used() {
    // The dead path is by UDP; the one that works by UDP or by TCP.
    for tcp in [false, true] {
        let mut world =
            World::new(WorkerConfig { tcp_candidates: vec![SERVER.into()], ..config() }, 1);
        world.join(1, Some(Codec::Vp8));
        let (peer, credentials) = join_known(&mut world, tcp);
        let dead = [address(6_000), address(6_001)];
        // Media by the dead path.
        let wrong: Rc<RefCell<Vec<Instant>>> = Rc::default();
        let (start, tap) = (world.now, Rc::clone(&wrong));
        let clock = Rc::new(RefCell::new(start));
        let now = Rc::clone(&clock);
        world.outgate = Some(Box::new(move |_, destination, bytes| {
            let lost = dead.contains(&destination);
            if lost && matches!(bytes, [128..192, ..]) {
                tap.borrow_mut().push(*now.borrow());
            }
            !lost
        }));
        // Sent again after 100 ms, then after twice as long each time, up to 1.6 s.
        let (mut wait, mut next) = (100 * MS, start);
        while world.now - start < 15 * SECOND {
            if next <= world.now {
                for (credentials, source) in credentials.iter().zip(dead) {
                    let (local, check) = (SERVER.into(), credentials.check(1, true));
                    let input = Input::Datagram { source, local, bytes: &check };
                    world.worker.handle(world.now, input, &mut world.out);
                }
                next = world.now + wait;
                wait = (wait * 2).min(1_600 * MS);
            }
            *clock.borrow_mut() = world.now;
            world.run(5 * MS);
        }
        let settled = start + 3 * SECOND;
        let late = wrong.borrow().iter().filter(|at| **at > settled).count();
        assert_eq!(late, 0, "tcp {tcp}: packets by the dead path");
        let gap = gap(&world, peer, 1, settled);
        assert!(gap <= 60 * MS, "tcp {tcp}: no media for {gap:?}");
        assert!(world.got(peer, 1, Codec::Vp8).len() > 300, "tcp {tcp}");
    }
}
