//! Noise and forged records around a call that is up, or that is about to be.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests are where time comes from"
)]

mod common;

use std::net::SocketAddr;

use common::{MS, SECOND, SERVER, World, config, tap};
use convoke_client::media::{Codec, DataMessage};
use convoke_core::{DropReason, Event, Input, RoomId, TransportState};
use convoke_protocol::Reliability;

const STRANGER: ([u8; 4], u16) = ([127, 0, 0, 1], 31_337);

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

fn join(world: &mut World, id: u32) -> usize {
    world.join_with(id, Some(Codec::Vp8), |media| media.data_channel = true)
}

/// Two calls of two on one worker, with data channels: peers 0 and 1, peers 2 and 3.
fn two_calls() -> World {
    let mut world = World::new(config(), 1);
    for id in [1, 2] {
        join(&mut world, id);
    }
    beside(&mut world);
    world.run(SECOND * 2);
    assert!(world.peers.iter().all(|peer| peer.connected == 2));
    world
}

/// The call beside: whoever joins next joins it.
fn beside(world: &mut World) {
    let first = std::mem::replace(&mut world.room, RoomId(8 << 8));
    for id in [3, 4] {
        join(world, id);
    }
    world.room = first;
}

fn inject(world: &mut World, source: SocketAddr, bytes: &[u8]) {
    let local = SERVER.into();
    world.worker.handle(world.now, Input::Datagram { source, local, bytes }, &mut world.out);
}

/// Its own two addresses, and one that nobody has.
fn sources(world: &World, peer: usize) -> [SocketAddr; 3] {
    let [send, receive] = world.peers[peer].local;
    [send, receive, STRANGER.into()]
}

/// A record of DTLS 1.2 (RFC 6347 §4.1).
fn record(kind: u8, epoch: u16, sequence: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 254, 253];
    bytes.extend(epoch.to_be_bytes());
    bytes.extend(&sequence.to_be_bytes()[2..]);
    bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}

/// Nobody went and nothing is missing of what each sends the other from now on, data in order too.
fn assert_untouched(world: &mut World, what: &str) {
    assert_eq!(world.worker.stats().peer_panics, 0, "{what}");
    assert_eq!(world.worker.stats().participants, world.peers.len() as u64, "{what}");
    for peer in &mut world.peers {
        peer.data.clear();
    }
    for text in ["first", "second"] {
        for peer in &mut world.peers {
            let (to, topic, payload) = (None, "".into(), text.as_bytes().into());
            let message = DataMessage { to, reliability: Reliability::Durable, topic, payload };
            peer.media.send_data(world.now, &message).expect(what);
        }
        world.run(SECOND / 2);
    }
    for (peer, from) in [(0, 2), (1, 1), (2, 4), (3, 3)] {
        if peer >= world.peers.len() {
            break;
        }
        let audio = world.got(peer, from, Codec::Opus);
        let video = world.got(peer, from, Codec::Vp8);
        for (kind, packets, least) in [("audio", audio, 49), ("video", video, 40)] {
            assert!(packets.len() >= least, "{what}: {peer} got {} {kind}", packets.len());
            let gaps = packets.windows(2).filter(|w| w[1].sequence != w[0].sequence + 1).count();
            assert_eq!(gaps, 0, "{what}: {kind} of {from} to {peer}");
            let last = packets.last().unwrap().at;
            assert!(world.now - last < 100 * MS, "{what}: {kind} of {from} to {peer} stopped");
        }
        let texts: Vec<&[u8]> = world.peers[peer].data.iter().map(|d| &*d.payload).collect();
        assert_eq!(texts, [&b"first"[..], b"second"], "{what}: data to {peer}");
    }
}

fn forget(world: &mut World) {
    world.events.clear();
    world.peers.iter_mut().for_each(|peer| peer.received.clear());
}

/// What the room was told of transports and of participants.
fn changes(world: &World) -> usize {
    let of_note = |event: &&Event| {
        matches!(event, Event::Room { .. } | Event::Transport { .. } | Event::RoomClosed { .. })
    };
    world.events.iter().filter(of_note).count()
}

/// SE-06: noise with each first byte, from a peer's own addresses and from a stranger's.
#[test]
fn se_06_noise_of_every_first_byte_changes_nothing() {
    let mut world = two_calls();
    forget(&mut world);
    let before = world.worker.stats();
    let mut state = 1u64;
    for round in 0..40usize {
        for first in 0..=255u8 {
            let mut bytes = vec![first];
            bytes.extend((0..round * 7).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_be_bytes()[0]
            }));
            for source in sources(&world, 0) {
                inject(&mut world, source, &bytes);
            }
        }
        world.run(20 * MS);
    }
    assert_untouched(&mut world, "noise");
    assert_eq!(changes(&world), 0, "{:?}", world.events);
    let after = world.worker.stats();
    let drops = |reason: DropReason| after.drops[reason as usize] - before.drops[reason as usize];
    // Of the 256: what nobody speaks from all three, what would need an address from the stranger.
    assert_eq!(drops(DropReason::NotDemultiplexed), 40 * 3 * (256 - 4 - 44 - 64));
    assert_eq!(drops(DropReason::UnknownSource), 40 * (4 + 44 + 64));
    assert!(drops(DropReason::Malformed) >= 40 * 2 * 4, "{:?}", after.drops);
    assert_eq!(after.rtp_in[0] - before.rtp_in[0], audio_sent(&world), "noise is no media");
}

/// Packets of audio that all peers sent in the time since [`forget`], as they reached the others.
fn audio_sent(world: &World) -> u64 {
    let all = [(0, 2), (1, 1), (2, 4), (3, 3)];
    all.into_iter().map(|(peer, from)| world.got(peer, from, Codec::Opus).len() as u64).sum()
}

/// SE-06: records of epoch 0 and forged ones of epoch 1 in every kind, after the handshake.
#[test]
fn se_06_plaintext_records_and_alerts_after_the_handshake_change_nothing() {
    let mut world = World::new(config(), 1);
    let address = SocketAddr::from(([127, 0, 0, 1], 20_000));
    let handshake = tap(&mut world, address, |bytes| matches!(bytes, [20..64, ..]));
    for id in [1, 2] {
        join(&mut world, id);
    }
    beside(&mut world);
    world.run(SECOND * 2);
    world.gate = None;
    assert_eq!(world.peers[0].local[0], address);
    let replayed: Vec<Vec<u8>> =
        handshake.borrow().iter().map(|(_, _, bytes)| bytes.clone()).collect();
    assert!(replayed.len() >= 2, "both flights of the client");
    forget(&mut world);
    let mut forged = replayed;
    for sequence in (0..60).chain([1 << 20, (1 << 48) - 1]) {
        for epoch in [0, 1, 2] {
            for kind in [CHANGE_CIPHER_SPEC, HANDSHAKE, APPLICATION_DATA, 24, 63] {
                forged.push(record(kind, epoch, sequence, &[1; 40]));
            }
            // close_notify, and each fatal one (RFC 5246 §7.2).
            forged.push(record(ALERT, epoch, sequence, &[1, 0]));
            forged.push(record(ALERT, epoch, sequence, &[2, 0]));
            forged.push(record(ALERT, epoch, sequence, &[2, (sequence % 120) as u8]));
            forged.push(record(ALERT, epoch, sequence, &[]));
        }
    }
    // Several in one datagram, a length beyond it, and nothing but a header.
    forged.push([record(ALERT, 0, 9, &[2, 40]), record(APPLICATION_DATA, 0, 9, &[0; 9])].concat());
    forged.push(record(ALERT, 0, 9, &[2, 40]).repeat(30));
    forged.push([&[APPLICATION_DATA, 254, 253][..], &[0; 8], &[255, 255, 1]].concat());
    forged.push(vec![ALERT, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for (number, bytes) in forged.iter().enumerate() {
        for source in sources(&world, 0) {
            inject(&mut world, source, bytes);
        }
        if number % 50 == 0 {
            world.run(5 * MS);
        }
    }
    assert_untouched(&mut world, "forged records");
    assert_eq!(changes(&world), 0, "{:?}", world.events);
    // And nothing waits for its time.
    world.run(SECOND * 40);
    forget(&mut world);
    world.run(SECOND);
    assert_untouched(&mut world, "later");
}

/// SE-06: DTLS before anything else, and application data and alerts before Finished.
#[test]
fn se_06_records_before_finished_are_dropped_and_the_handshake_ends_well() {
    let mut world = World::new(config(), 1);
    beside(&mut world);
    world.run(SECOND * 2);
    let forged = [
        record(APPLICATION_DATA, 0, 5, &[0; 60]),
        record(APPLICATION_DATA, 1, 5, &[0; 60]),
        record(ALERT, 0, 6, &[1, 0]),
        record(ALERT, 1, 6, &[2, 40]),
        record(CHANGE_CIPHER_SPEC, 0, 7, &[1]),
        record(HANDSHAKE, 1, 8, &[0; 40]),
        [&[0x80, 111, 0, 1][..], &[7; 60]].concat(),
        [&[0x80, 200, 0, 6][..], &[7; 24]].concat(),
    ];
    let unknown = DropReason::UnknownSource as usize;
    let before = world.worker.stats().drops[unknown];
    let addresses = [20_004, 20_005].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    for bytes in &forged {
        for source in addresses {
            inject(&mut world, source, bytes);
        }
    }
    assert_eq!(world.worker.stats().drops[unknown] - before, 2 * forged.len() as u64);
    assert!(world.out.transmits.is_empty(), "nobody is answered");
    let first = world.peers.len();
    for id in [1, 2] {
        join(&mut world, id);
    }
    assert_eq!(world.peers[first].local, addresses);
    // Before each of its datagrams all of it, from its own address.
    for _ in 0..200 {
        for bytes in &forged {
            for source in addresses {
                inject(&mut world, source, bytes);
            }
        }
        world.run(5 * MS);
    }
    world.run(SECOND);
    assert!(world.peers.iter().all(|peer| peer.connected == 2));
    // In the order of their ids, as the checks have them.
    world.peers.rotate_left(first);
    forget(&mut world);
    assert_untouched(&mut world, "after such a beginning");
    let lost = |event: &Event| matches!(event, Event::Transport { state, .. } if *state != TransportState::Connected);
    assert!(!world.events.iter().any(lost));
}
