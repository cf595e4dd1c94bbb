//! Media over TCP (RFC 6544): candidates, which of the two a datagram goes by, what is left at the end.

#![allow(clippy::disallowed_methods, reason = "tests are where time comes from")]

mod common;

use std::collections::HashSet;
use std::net::SocketAddr;

use common::{SECOND, SERVER, World, config};
use convoke_client::media::Codec;
use convoke_core::{
    Action, DropReason, Input, ParticipantId, Reply, TransportRole, WorkerConfig, addressed_worker,
    is_spoken,
};

/// UDP and TCP ports of one number, which are two.
fn with_tcp() -> WorkerConfig {
    WorkerConfig { tcp_candidates: vec![SERVER.into()], index: 200, ..config() }
}

/// A microphone and a camera each; the first peer by TCP if so, the second by UDP.
fn two(tcp: bool) -> World {
    let mut world = World::new(with_tcp(), 1);
    let first = world.join(1, Some(Codec::Vp8));
    world.peers[first].tcp = tcp;
    world.join(2, Some(Codec::Vp8));
    world.run(SECOND * 2);
    assert!(world.peers.iter().all(|peer| peer.connected == 2));
    world
}

/// What of each other's media came in the last second.
fn hears(world: &mut World, peer: usize, from: u32) -> [usize; 2] {
    world.peers[peer].received.clear();
    world.run(SECOND);
    [Codec::Opus, Codec::Vp8].map(|codec| world.got(peer, from, codec).len())
}

fn answers(world: &mut World) -> [String; 2] {
    let (_, offers, _) = world.media(|_| {});
    let request = world.request(9, &offers, Vec::new());
    match world.command(Action::Join(request)) {
        Ok(Reply::Joined { send_answer, receive_answer, .. }) => {
            [send_answer.unwrap(), receive_answer.unwrap()]
        }
        other => panic!("{other:?}"),
    }
}

/// Protocol, priority and all of it, of each candidate of a section.
fn candidates(section: &str) -> Vec<(&str, u32, &str)> {
    let lines = section.lines().filter_map(|line| line.strip_prefix("a=candidate:"));
    lines
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (words[2], words[3].parse().unwrap(), line)
        })
        .collect()
}

#[test]
fn every_section_of_an_answer_has_a_passive_candidate_that_is_preferred_less() {
    let mut world = World::new(with_tcp(), 1);
    for answer in answers(&mut world) {
        let sections: Vec<&str> = answer.split("\r\nm=").skip(1).collect();
        assert!(sections.len() >= 2, "{answer}");
        for section in sections {
            let [(udp, more, _), (tcp, less, line)] = candidates(section)[..] else {
                panic!("{section}")
            };
            assert_eq!((udp, tcp), ("udp", "tcp"));
            assert!(more > less && less > 0, "{section}");
            assert!(line.contains(" 127.0.0.1 9000 typ host tcptype passive"), "{line}");
        }
    }
    let mut world = World::new(config(), 1);
    for answer in answers(&mut world) {
        assert!(!answer.contains("tcptype"), "{answer}");
    }
}

#[test]
fn an_answer_to_a_further_offer_has_it_too_and_every_ufrag_names_the_worker() {
    let mut world = two(false);
    let offer = world.peers[0].media.restart_ice(convoke_protocol::TransportRole::Receive, None);
    let (participant, role) = (ParticipantId(1), TransportRole::Receive);
    let sdp = offer.expect("offers again");
    let Ok(Reply::Answer { sdp, .. }) = world.command(Action::Offer { participant, role, sdp })
    else {
        panic!("answers")
    };
    assert!(sdp.contains(" typ host tcptype passive"), "{sdp}");
    let named: HashSet<&str> =
        sdp.lines().filter_map(|line| line.strip_prefix("a=ice-ufrag:")).collect();
    assert!(named.iter().all(|ufrag| ufrag.starts_with("DI")), "{named:?}");
}

/// IC-05.
#[test]
fn ic_05_who_comes_by_tcp_is_in_the_call_like_everyone_else() {
    let mut world = two(true);
    // The harness delivers to it what is sent by TCP and nothing else.
    for (peer, from) in [(0, 2), (1, 1)] {
        let [audio, video] = hears(&mut world, peer, from);
        assert!((49..=51).contains(&audio) && video >= 30, "{peer} got {audio} and {video}");
    }
    assert_eq!(world.worker.stats().drops.iter().sum::<u64>(), 0);
}

#[test]
fn a_stun_message_tells_its_worker_and_who_is_answered_how_it_came() {
    let mut world = World::new(with_tcp(), 1);
    let first = world.join(1, None);
    world.begin_step();
    let request = loop {
        let transmit = world.peers[first].media.poll_transmit().expect("a check");
        if is_spoken(&transmit.contents) && addressed_worker(&transmit.contents).is_some() {
            break transmit;
        }
    };
    let (source, local) = (request.local, request.destination);
    assert_eq!(addressed_worker(&request.contents), Some(200));
    let frame = Input::Frame { source, local, bytes: &request.contents };
    world.worker.handle(world.now, frame, &mut world.out);
    assert_eq!((world.out.frames.len(), world.out.transmits.len()), (1, 0));
    let reply = world.out.frames.pop().unwrap();
    assert_eq!((reply.local, reply.destination), (local, source));
    // Of somebody else's password nothing comes.
    let mut forged = request.contents.clone();
    let at = forged.len() - 20;
    forged[at] ^= 1;
    let other = SocketAddr::from(([127, 0, 0, 1], 5));
    let frame = Input::Frame { source: other, local, bytes: &forged };
    world.worker.handle(world.now, frame, &mut world.out);
    assert!(world.out.frames.is_empty() && world.out.transmits.is_empty());
    let drops = world.worker.stats().drops;
    let refused = [DropReason::BadIntegrity, DropReason::Malformed, DropReason::UnknownSource];
    assert_eq!(refused.map(|reason| drops[reason as usize]).iter().sum::<u64>(), 1);
}

#[test]
fn the_same_addresses_over_the_other_protocol_are_a_stranger() {
    for tcp in [false, true] {
        let mut world = two(tcp);
        let unknown = DropReason::UnknownSource as usize;
        let before = world.worker.stats().drops[unknown];
        let (source, local) = (world.peers[0].local[0], SERVER.into());
        for bytes in [&[128u8, 111, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 9, 9, 9, 9][..], &[22; 40]] {
            let input = match tcp {
                true => Input::Datagram { source, local, bytes },
                false => Input::Frame { source, local, bytes },
            };
            world.worker.handle(world.now, input, &mut world.out);
        }
        assert_eq!(world.worker.stats().drops[unknown], before + 2, "tcp: {tcp}");
    }
}

/// IC-05.
#[test]
fn ic_05_who_loses_udp_goes_on_over_tcp() {
    let mut world = two(false);
    world.peers[0].tcp = true;
    // Until then the pair that was preferred may still be alive.
    world.run(SECOND * 18);
    let [audio, video] = hears(&mut world, 0, 2);
    assert!(audio >= 49 && video >= 30, "{audio} and {video}");
    let [audio, video] = hears(&mut world, 1, 1);
    assert!(audio >= 49 && video >= 30, "{audio} and {video}");
}

/// IC-05.
#[test]
fn ic_05_connections_end_with_their_participant() {
    let mut world = two(true);
    let expected: HashSet<SocketAddr> = world.peers[0].local.into();
    assert!(world.out.closed.is_empty());
    world.leave(1);
    assert!(world.out.closed.is_empty(), "that was one by UDP");
    world.leave(0);
    let closed = std::mem::take(&mut world.out.closed);
    assert!(closed.iter().all(|(_, local)| *local == SERVER.into()));
    assert_eq!(closed.into_iter().map(|(peer, _)| peer).collect::<HashSet<_>>(), expected);
    // What says goodbye is to be sent before.
    assert!(!world.out.frames.is_empty());
}
