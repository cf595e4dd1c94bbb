//! DTLS handshakes in pieces, in nonsense, and with other certificates than was said.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests are where time comes from"
)]

mod common;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use common::check::attribute;
use common::{MS, SECOND, SERVER, World, config};
use convoke_client::media::{Codec, DataMessage};
use convoke_core::{
    Action, CommandError, DropReason, Input, Reply, TransportFailure, TransportRole,
};
use convoke_protocol::{Reliability, TransportRole as WireRole};

/// Of a record, and of a handshake message in it (RFC 6347 §4.1, §4.2.2).
const RECORD_HEADER: usize = 13;
const HANDSHAKE_HEADER: usize = 12;
const CLIENT_HELLO: u8 = 1;

/// Datagrams that were held back: source, bytes.
type Held = Rc<RefCell<Vec<(SocketAddr, Vec<u8>)>>>;

/// A part of a message: where it begins, and its bytes.
type Piece<'a> = (usize, &'a [u8]);

fn is_hello(bytes: &[u8]) -> bool {
    bytes.first() == Some(&22) && bytes.get(RECORD_HEADER) == Some(&CLIENT_HELLO)
}

/// The 24 bits that a handshake's lengths have.
fn three(n: usize) -> [u8; 3] {
    let [.., a, b, c] = n.to_be_bytes();
    [a, b, c]
}

/// A record with one fragment of a ClientHello of `total` bytes.
fn fragment(sequence: u64, total: usize, (offset, bytes): Piece<'_>) -> Vec<u8> {
    let mut out = vec![22, 254, 253, 0, 0];
    out.extend(&sequence.to_be_bytes()[2..]);
    out.extend(u16::try_from(HANDSHAKE_HEADER + bytes.len()).unwrap().to_be_bytes());
    out.push(CLIENT_HELLO);
    out.extend(three(total));
    out.extend([0, 0]);
    out.extend(three(offset));
    out.extend(three(bytes.len()));
    out.extend(bytes);
    out
}

/// So many pieces of about the same size.
fn pieces(body: &[u8], count: usize) -> Vec<Piece<'_>> {
    let size = body.len().div_ceil(count);
    body.chunks(size).enumerate().map(|(n, bytes)| (n * size, bytes)).collect()
}

fn inject(world: &mut World, source: SocketAddr, bytes: &[u8]) {
    let local = SERVER.into();
    world.worker.handle(world.now, Input::Datagram { source, local, bytes }, &mut world.out);
}

/// A call of two that goes on beside, without anybody in the call that is looked at.
fn beside() -> World {
    let mut world = World::new(config(), 1);
    world.join(8, Some(Codec::Vp8));
    world.join(9, Some(Codec::Vp8));
    world.run(SECOND * 2);
    world
}

fn assert_beside(world: &mut World) {
    for peer in [0, 1] {
        world.peers[peer].received.clear();
    }
    world.run(SECOND);
    for (peer, from) in [(0, 9), (1, 8)] {
        assert!((49..=51).contains(&world.got(peer, from, Codec::Opus).len()));
        let video = world.got(peer, from, Codec::Vp8);
        assert!(video.len() >= 40, "{}", video.len());
        assert!(video.windows(2).all(|w| w[1].sequence == w[0].sequence + 1));
    }
    assert_eq!(world.worker.stats().peer_panics, 0);
}

/// Joins one whose ClientHellos do not pass as they are: each is taken apart by `split` (its body to
/// datagrams, with a first record number), which come instead. Whether it was connected within 3 s.
fn connects(world: &mut World, split: impl Fn(&[u8], u64) -> Vec<Vec<u8>>) -> bool {
    let held: Held = Rc::default();
    let tap = Rc::clone(&held);
    world.gate = Some(Box::new(move |source, _, bytes| {
        if is_hello(bytes) {
            tap.borrow_mut().push((source, bytes.to_vec()));
        }
        !is_hello(bytes)
    }));
    let peer = world.join(1, None);
    let mut number = 0;
    for _ in 0..600 {
        world.run(5 * MS);
        for (source, record) in held.take() {
            let body = &record[RECORD_HEADER + HANDSHAKE_HEADER..];
            number += 1_000;
            for bytes in split(body, number) {
                inject(world, source, &bytes);
            }
        }
    }
    world.gate = None;
    let connected = world.peers[peer].connected == 2;
    world.leave(peer);
    world.peers.truncate(peer);
    connected
}

/// The pieces as one datagram each.
fn each(body: &[u8], number: u64, pieces: &[Piece<'_>]) -> Vec<Vec<u8>> {
    let numbered = pieces.iter().zip(number..);
    numbered.map(|(piece, number)| fragment(number, body.len(), *piece)).collect()
}

/// DT-02: honest splits, in any order and doubled.
#[test]
fn dt_02_a_hello_in_pieces_is_put_together() {
    let mut world = beside();
    for count in [1, 2, 5, 20] {
        let forward = |body: &[u8], number| each(body, number, &pieces(body, count));
        assert!(connects(&mut world, forward), "{count} pieces");
        let reversed = |body: &[u8], number| {
            let mut all = each(body, number, &pieces(body, count));
            all.reverse();
            all
        };
        assert!(connects(&mut world, reversed), "{count} pieces, the last first");
        let doubled = |body: &[u8], number| {
            let twice = |piece| [piece, piece];
            let all: Vec<_> = pieces(body, count).into_iter().flat_map(twice).collect();
            each(body, number, &all)
        };
        assert!(connects(&mut world, doubled), "{count} pieces, each twice");
    }
    // Fifty, several in one datagram, as one record each.
    let together = |body: &[u8], number| {
        let all = each(body, number, &pieces(body, 50));
        all.chunks(8).map(<[Vec<u8>]>::concat).collect()
    };
    assert!(connects(&mut world, together), "50 pieces");
    let empty = |body: &[u8], number| {
        let all = [(0, &body[..0]), (0, &body[..60]), (60, &body[60..60]), (60, &body[60..])];
        each(body, number, &all)
    };
    assert!(connects(&mut world, empty), "pieces of nothing");
    assert_beside(&mut world);
}

/// DT-02: what the DTLS library does not put together: more than 30 datagrams for one message, and pieces
/// that overlap, which RFC 6347 §4.2.3 asks for and no stack of browsers sends. Only who sends them goes
/// without.
#[test]
fn dt_02_overlapping_and_minute_pieces_harm_their_sender_alone() {
    let mut world = beside();
    let minute = |body: &[u8], number| each(body, number, &pieces(body, 50));
    assert!(!connects(&mut world, minute), "50 datagrams");
    let overlapping = |body: &[u8], number| {
        let all = [(0, &body[..60]), (40, &body[40..80]), (70, &body[70..])];
        each(body, number, &all)
    };
    assert!(!connects(&mut world, overlapping), "overlapping");
    assert_beside(&mut world);
}

/// DT-02: nonsense that never completes is refused from a small bound on, ends with its sender, and costs
/// nobody else anything; from a stranger's address not even its sender's handshake.
#[test]
fn dt_02_pieces_that_never_complete_are_bounded() {
    for from_stranger in [false, true] {
        let mut world = beside();
        let joined = world.now;
        let peer = world.join(1, None);
        let own = world.peers[peer].local;
        if !from_stranger {
            // Its ICE is up, and no hello of its own comes.
            world.gate = Some(Box::new(move |source, _, bytes| {
                !own.contains(&source) || !matches!(bytes, [20..64, ..])
            }));
        }
        world.run(500 * MS);
        let sources = if from_stranger { [SocketAddr::from(([127, 0, 0, 1], 7)); 2] } else { own };
        let before = world.worker.stats();
        let huge = (1 << 24) - 1;
        let mut sent = 0u64;
        for n in 0..10_000usize {
            let (number, bytes) = (n as u64, [n.to_le_bytes()[0]; 100]);
            let piece = match n % 4 {
                0 => fragment(number, huge, (n * 100, &bytes)),
                1 => fragment(number, huge, (huge - 1, &bytes)),
                2 => fragment(number, 5_000, (n % 4_000 + 1, &bytes)),
                _ => fragment(number, 0, (0, &[])),
            };
            for source in sources {
                inject(&mut world, source, &piece);
                sent += 1;
            }
            if n % 1_000 == 0 {
                world.run(5 * MS);
            }
        }
        let after = world.worker.stats();
        let refused = [DropReason::Malformed, DropReason::UnknownSource];
        let refused =
            refused.map(|reason| after.drops[reason as usize] - before.drops[reason as usize]);
        // At most 30 datagrams wait for each of the two transports; other kinds are passed over.
        assert!(refused.iter().sum::<u64>() >= sent / 4, "{refused:?} of {sent}");
        assert_eq!(after.participants, 3);
        assert_beside(&mut world);
        world.gate = None;
        world.run(SECOND * 2);
        if from_stranger {
            assert_eq!(refused, [0, sent]);
            assert_eq!(world.peers[peer].connected, 2, "the handshake is its own");
            continue;
        }
        world.peers[peer].cut = true;
        while world.worker.stats().participants > 2 {
            assert!(world.now - joined < SECOND * 60, "it is let go");
            world.run(SECOND);
        }
        assert_beside(&mut world);
    }
}

/// DT-05: nothing of DTLS is larger than 1,200 bytes, be it handshake or data.
#[test]
fn dt_05_no_datagram_of_dtls_is_above_1200_bytes() {
    let mut world = World::new(config(), 1);
    let sizes: Rc<RefCell<[usize; 2]>> = Rc::default();
    let tap = Rc::clone(&sizes);
    world.outgate = Some(Box::new(move |_, _, bytes| {
        let mut sizes = tap.borrow_mut();
        match bytes.first() {
            Some(22) => sizes[0] = sizes[0].max(bytes.len()),
            Some(20..64) => sizes[1] = sizes[1].max(bytes.len()),
            _ => {}
        }
        // A path that drops what is larger.
        bytes.len() <= 1_200 || !matches!(bytes, [20..64, ..])
    }));
    for id in [1, 2] {
        world.join_with(id, None, |media| media.data_channel = true);
    }
    world.run(SECOND * 2);
    assert!(world.peers.iter().all(|peer| peer.connected == 2));
    let payload: Vec<u8> = vec![7; 16_000];
    let (to, topic, reliability) = (None, "".into(), Reliability::Durable);
    let message = DataMessage { to, reliability, topic, payload: payload.into() };
    world.peers[0].media.send_data(world.now, &message).unwrap();
    world.run(SECOND * 2);
    assert_eq!(world.peers[1].data.len(), 1);
    let [handshake, data] = *sizes.borrow();
    assert!((500..=1_200).contains(&handshake), "a flight with a certificate: {handshake}");
    assert!((1_000..=1_200).contains(&data), "{data}");
}

/// An offer with these fingerprints in place of its own, which is given.
fn with_fingerprints(offer: &str, lines: impl Fn(&str) -> String) -> String {
    let each = |line: &str| match line.trim_end().strip_prefix("a=fingerprint:sha-256 ") {
        Some(own) => lines(own),
        None => line.to_owned(),
    };
    offer.split_inclusive('\n').map(each).collect()
}

fn sha_512() -> String {
    format!("a=fingerprint:sha-512 {}\r\n", ["5A"; 64].join(":"))
}

/// DT-05: fingerprints as they may be written.
#[test]
fn dt_05_fingerprints_in_each_spelling_are_taken() {
    type Spelling = fn(&str) -> String;
    let spellings: [(&str, Spelling); 5] = [
        ("lower case", |own| format!("a=fingerprint:sha-256 {}\r\n", own.to_lowercase())),
        ("the hash in capitals", |own| format!("a=fingerprint:SHA-256 {own}\r\n")),
        ("twice", |own| format!("a=fingerprint:sha-256 {own}\r\n").repeat(2)),
        ("after sha-512", |own| format!("{}a=fingerprint:sha-256 {own}\r\n", sha_512())),
        ("before sha-512", |own| format!("a=fingerprint:sha-256 {own}\r\n{}", sha_512())),
    ];
    for (name, lines) in spellings {
        let mut world = World::new(config(), 1);
        let peer = world.join_with_offer(1, |offer| with_fingerprints(offer, lines));
        world.run(SECOND * 2);
        assert_eq!(world.peers[peer].connected, 2, "{name}");
    }
}

/// DT-05: what cannot be compared is refused with the join; what is not the peer's ends with the handshake,
/// and nothing of the call goes there.
#[test]
fn dt_05_missing_and_wrong_fingerprints_carry_nothing() {
    let mut world = beside();
    let (_, offers, _) = world.media(|_| {});
    for (lines, reason) in [("", "no a=fingerprint:"), (&*sha_512(), "by sha-256")] {
        let mut request = world.request(1, &offers, Vec::new());
        request.send_offer =
            request.send_offer.map(|o| with_fingerprints(&o, |_| lines.to_owned()));
        let refused = world.command(Action::Join(request));
        let Err(error @ CommandError::Sdp { .. }) = refused else { panic!("{refused:?}") };
        assert!(error.to_string().contains(reason), "{error}");
    }
    let other = |own: &str| format!("a=fingerprint:sha-256 {}\r\n", own.replace('A', "B"));
    let peer = world.join_with_offer(1, |offer| with_fingerprints(offer, other));
    let own = world.peers[peer].local;
    let media = Rc::new(RefCell::new(0));
    let tap = Rc::clone(&media);
    world.outgate = Some(Box::new(move |_, destination, bytes| {
        let is_media = matches!(bytes, [128..192, ..]) && own.contains(&destination);
        *tap.borrow_mut() += usize::from(is_media);
        true
    }));
    world.run(SECOND * 5);
    assert_eq!((world.peers[peer].connected, *media.borrow()), (0, 0));
    assert_eq!(world.worker.stats().participants, 2);
    assert_eq!(world.worker.stats().failures[TransportFailure::Fingerprint as usize], 1);
    assert_beside(&mut world);
}

/// The fingerprints that somebody is answered who joins now, of both transports.
fn fingerprints_at_join(world: &mut World, id: u32) -> [String; 2] {
    let (_, offers, _) = world.media(|_| {});
    let request = world.request(id, &offers, Vec::new());
    let Ok(Reply::Joined { send_answer, receive_answer, .. }) =
        world.command(Action::Join(request))
    else {
        panic!("joins")
    };
    [send_answer, receive_answer]
        .map(|answer| attribute(&answer.unwrap(), "fingerprint").to_owned())
}

/// DT-05: a server that runs for more than a year, which is how long a certificate says that it is good for.
#[test]
fn dt_05_a_certificate_is_renewed_in_half_a_year_and_transports_keep_theirs() {
    let days = |count: u32| SECOND * 86_400 * count;
    let mut world = World::new(config(), 1);
    world.join(1, Some(Codec::Vp8));
    world.run(SECOND);
    assert_eq!(world.peers[0].connected, 2);
    let first = fingerprints_at_join(&mut world, 2);
    assert_eq!(first[0], first[1]);
    world.now += days(179);
    assert_eq!(fingerprints_at_join(&mut world, 3), first, "not yet");
    world.now += days(2);
    let second = fingerprints_at_join(&mut world, 4);
    assert_ne!(second, first);
    assert_eq!(fingerprints_at_join(&mut world, 5), second, "once");
    // What is negotiated again has what it had.
    let sdp = world.peers[0].media.restart_ice(WireRole::Send, None).unwrap();
    let (participant, role) = (world.peers[0].id, TransportRole::Send);
    let reply = world.command(Action::Offer { participant, role, sdp });
    let Ok(Reply::Answer { sdp, .. }) = reply else { panic!("{reply:?}") };
    assert_eq!(attribute(&sdp, "fingerprint"), first[0]);
    world.now += days(181);
    assert_ne!(fingerprints_at_join(&mut world, 6), second, "and again");

    // Those who come then are connected like any.
    let mut world = World::new(config(), 2);
    world.now += days(400);
    world.start = world.now;
    for id in [1, 2] {
        world.join(id, Some(Codec::Vp8));
    }
    world.run(SECOND * 2);
    assert!(world.peers.iter().all(|peer| peer.connected == 2));
    assert!(world.got(0, 2, Codec::Vp8).len() > 10);
}
