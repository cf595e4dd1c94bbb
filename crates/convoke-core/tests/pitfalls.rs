//! Faults that other SFUs shipped, tried on whole calls in virtual time.

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

use common::{Datagrams, MS, SECOND, World, config};
use convoke_client::media::Codec;
use convoke_client::source::Stamp;
use convoke_core::{Action, Input, ParticipantId, Reply, Show, SlotWish, Stats};

fn pair() -> World {
    let mut world = World::new(config(), 1);
    world.join(1, Some(Codec::Vp8));
    world.join(2, None);
    world.run(SECOND * 2);
    world
}

/// RTP, not RTCP (RFC 5761 §4).
fn is_rtp(bytes: &[u8]) -> bool {
    matches!(bytes, [first, second, ..] if (128..192).contains(first) && !(64..96).contains(&(second & 0x7f)))
}

fn inject(world: &mut World, source: SocketAddr, local: SocketAddr, bytes: &[u8]) {
    world.worker.handle(world.now, Input::Datagram { source, local, bytes }, &mut world.out);
}

/// What the subscriber got of the publisher's camera: no frame's packet twice, none missing.
fn assert_whole(world: &World, least: usize) {
    let got = world.got(1, 1, Codec::Vp8);
    assert!(got.len() >= least, "{} packets", got.len());
    let mut seen = HashSet::new();
    for packet in &got {
        let stamp = Stamp::read(&packet.payload).expect("whole");
        assert!(seen.insert((stamp.frame, stamp.packet)), "{stamp:?} came twice");
    }
    let mut sequences: Vec<u64> = got.iter().map(|packet| packet.sequence).collect();
    sequences.sort_unstable();
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0] + 1), "a gap or a double");
}

fn dropped(stats: Stats) -> u64 {
    stats.drops.iter().sum()
}

/// SR-04: replays, forged tags and plain RTP move no state and reach nobody.
#[test]
fn sr_04_replayed_or_forged_packets_move_nothing() {
    let mut world = pair();
    let recorded: Datagrams = Rc::default();
    let tap = Rc::clone(&recorded);
    world.gate = Some(Box::new(move |source, local, bytes| {
        if is_rtp(bytes) {
            tap.borrow_mut().push((source, local, bytes.to_vec()));
        }
        true
    }));
    world.run(SECOND * 4);
    world.gate = None;
    let recorded: Vec<_> = recorded.borrow().iter().rev().take(500).rev().cloned().collect();
    assert_eq!(recorded.len(), 500);
    let before = world.worker.stats();
    for wait in [10 * MS, SECOND, SECOND * 30] {
        world.run(wait);
        for (source, local, bytes) in &recorded {
            inject(&mut world, *source, *local, bytes);
        }
    }
    for (source, local, bytes) in recorded.iter().take(200) {
        // One flipped bit of the tag; a jump of the sequence number; no encryption at all.
        let mut forged = bytes.clone();
        *forged.last_mut().unwrap() ^= 1;
        inject(&mut world, *source, *local, &forged);
        let mut jumped = bytes.clone();
        let sequence = u16::from_be_bytes([bytes[2], bytes[3]]).wrapping_add(30_000);
        jumped[2..4].copy_from_slice(&sequence.to_be_bytes());
        inject(&mut world, *source, *local, &jumped);
        let mut plain = bytes.clone();
        plain[12..].fill(0x42);
        inject(&mut world, *source, *local, &plain);
        // From a stranger's address.
        let stranger = SocketAddr::from(([127, 0, 0, 1], 4_444));
        inject(&mut world, stranger, *local, bytes);
    }
    let requests = world.peers[0].keyframe_requests;
    world.run(SECOND * 2);
    assert_eq!(world.peers[0].keyframe_requests, requests, "nothing seemed lost");
    assert_whole(&world, 1_000);
    let after = world.worker.stats();
    assert_eq!(after.peer_panics, 0);
    assert!(dropped(after) - dropped(before) >= 200, "strangers at least are counted");
}

/// SR-04: an honest packet that comes 60 places late is within the replay window, and arrives.
#[test]
fn sr_04_an_honest_packet_within_the_window_is_taken() {
    let mut world = pair();
    let held: Datagrams = Rc::default();
    let (tap, mut count) = (Rc::clone(&held), 0u32);
    let mut ssrc = None;
    world.gate = Some(Box::new(move |source, local, bytes| {
        // The camera's packets are the large ones.
        if !is_rtp(bytes) || bytes.len() < 600 {
            return true;
        }
        ssrc.get_or_insert([bytes[8], bytes[9], bytes[10], bytes[11]]);
        if ssrc.is_some_and(|ssrc| ssrc == bytes[8..12]) {
            count += 1;
        }
        if count == 20 && tap.borrow().is_empty() {
            tap.borrow_mut().push((source, local, bytes.to_vec()));
            return false;
        }
        true
    }));
    // At about 70 packets a second: 60 places are less than a second.
    world.run(600 * MS);
    world.gate = None;
    let (source, local, bytes) = held.borrow().first().cloned().expect("one was held back");
    inject(&mut world, source, local, &bytes);
    world.run(SECOND * 2);
    assert_whole(&world, 100);
}

/// LC-03: whatever way they end, and wherever they stop on the way, nothing of them stays.
#[test]
fn lc_03_nothing_stays_of_two_hundred_abrupt_ends() {
    let mut world = World::new(config(), 1);
    let mut id = 0;
    for cycle in 0..200u32 {
        id += 1;
        if cycle % 50 == 49 {
            // A whole one now and then, ended cleanly.
            let peer = world.join(id, Some(Codec::Vp8));
            world.run(500 * MS);
            world.leave(peer);
        } else {
            // Killed before its first packet, or between ICE and DTLS.
            let peer = world.join(id, None);
            if cycle % 2 == 0 {
                world.run(5 * MS);
            }
            world.peers[peer].cut = true;
        }
        world.peers.clear();
        world.events.clear();
    }
    assert!(world.worker.stats().participants > 50, "the killed ones are waited for");
    world.run(SECOND * 61);
    let stats = world.worker.stats();
    assert_eq!([stats.rooms, stats.participants, stats.transports, stats.tracks], [0; 4]);
    assert_eq!(world.worker.next_timeout(), None, "no deadline stays");
    assert_eq!(stats.peer_panics, 0);
}

/// RW-07: what a publisher's path loses is repaired, and each packet leaves once.
#[test]
fn rw_07_what_was_lost_is_sent_again_once() {
    let mut world = pair();
    let (mut ssrc, mut count) = (None, 0u32);
    world.gate = Some(Box::new(move |_, _, bytes| {
        // The camera's own packets are the large ones; those sent again have another SSRC.
        if !is_rtp(bytes) || bytes.len() < 600 {
            return true;
        }
        if *ssrc.get_or_insert([bytes[8], bytes[9], bytes[10], bytes[11]]) == bytes[8..12] {
            count += 1;
            return !count.is_multiple_of(9);
        }
        true
    }));
    world.run(SECOND * 4);
    world.gate = None;
    world.run(SECOND);
    assert_whole(&world, 200);
    assert_eq!(world.worker.stats().peer_panics, 0);
}

/// RW-07: a subscriber that asks for what went out before a switch does not get it.
#[test]
fn rw_07_what_went_before_a_switch_is_not_sent_again() {
    let mut world = World::new(config(), 1);
    world.join(1, Some(Codec::Vp8));
    let viewer = world.join_with(2, None, |config| config.video_slots = 1);
    world.join(3, Some(Codec::Vp8));
    world.run(SECOND * 2);
    let show = |world: &mut World, owner: u32| {
        let snapshot = world.snapshot(viewer);
        let owner = snapshot.participants.iter().find(|p| p.participant.0 == owner).unwrap();
        let camera = owner.tracks.iter().find(|track| &*track.client_id == "cam").unwrap().track;
        let slot = snapshot.slots.iter().find(|s| s.kind == convoke_core::MediaKind::Video);
        let wish = SlotWish {
            mid: slot.unwrap().mid,
            show: Show::Track(camera),
            width: None,
            height: None,
            max_frame_rate: None,
            priority: 0,
        };
        let participant = ParticipantId(2);
        world.command(Action::SetView { participant, wishes: vec![wish] }).unwrap();
    };
    show(&mut world, 1);
    world.run(SECOND * 2);
    assert!(!world.got(viewer, 1, Codec::Vp8).is_empty());
    // The last of the one camera and the first of the other are lost: the viewer asks for both.
    world.peers[viewer].cut = true;
    world.run(200 * MS);
    show(&mut world, 3);
    world.run(200 * MS);
    world.peers[viewer].cut = false;
    world.peers[viewer].received.clear();
    world.run(SECOND * 2);
    assert_eq!(world.got(viewer, 1, Codec::Vp8).len(), 0, "of before the switch");
    let got = world.got(viewer, 3, Codec::Vp8);
    let stamps: Vec<_> = got.iter().map(|packet| Stamp::read(&packet.payload).unwrap()).collect();
    assert!(stamps.iter().any(|stamp| stamp.keyframe), "its keyframe was sent again, or a new one");
}

/// BW-05: feedback that comes five seconds late and twice is read as congestion within two seconds,
/// and neither breaks nor stops anything for longer than it is late.
#[test]
fn bw_05_late_and_doubled_feedback_is_congestion_and_is_borne() {
    let mut world = pair();
    let from = world.peers[1].local[1];
    let held: Datagrams = Rc::default();
    let tap = Rc::clone(&held);
    world.gate = Some(Box::new(move |source, local, bytes| {
        let feedback = source == from && !is_rtp(bytes) && matches!(bytes, [128..192, ..]);
        if feedback {
            tap.borrow_mut().push((source, local, bytes.to_vec()));
        }
        !feedback
    }));
    let camera = |world: &mut World, time| {
        world.peers[1].received.clear();
        world.run(time);
        world.got(1, 1, Codec::Vp8).len()
    };
    let before = camera(&mut world, SECOND);
    camera(&mut world, SECOND);
    let after = camera(&mut world, SECOND * 3);
    assert!(before >= 50 && after * 2 <= before * 3, "{before} in a second, {after} in three");
    world.gate = None;
    assert!(held.borrow().len() > 20, "there was feedback to hold back");
    for (source, local, bytes) in held.borrow().iter() {
        inject(&mut world, *source, *local, bytes);
        inject(&mut world, *source, *local, bytes);
    }
    world.run(SECOND * 3);
    assert_eq!(world.worker.stats().peer_panics, 0);
    world.peers[1].received.clear();
    world.run(SECOND * 2);
    assert_whole(&world, 100);
}

/// A second participant, who only watches; without transport-wide feedback, as GStreamer 1.22 offers,
/// unless it `estimates`.
fn watch(world: &mut World, estimates: bool) {
    let (mut media, mut offers, local) = world.media(|config| config.send.clear());
    let offer = offers.receive.as_mut().unwrap();
    let kept = |line: &&str| estimates || !line.trim_end().ends_with("transport-cc");
    *offer = offer.split_inclusive('\n').filter(kept).collect();
    let request = world.request(2, &offers, Vec::new());
    let reply = world.command(Action::Join(request));
    let Ok(Reply::Joined { receive_answer, .. }) = reply else { panic!("{reply:?}") };
    media.accept_answers(world.now, None, receive_answer.as_deref()).unwrap();
    world.add(2, media, local, offers);
}

/// A watcher that checks no consent (libnice's default) lives by its reports alone, and one that is gone
/// does not live by what others send in its name.
#[test]
fn lc_03_reports_alone_show_that_a_watcher_lives() {
    let cases = [(false, false), (false, true), (true, false), (true, true)];
    for (estimates, forged) in cases {
        let mut world = World::new(config(), 1);
        world.join(1, Some(Codec::Vp8));
        watch(&mut world, estimates);
        world.run(SECOND * 2);
        let watcher: Rc<RefCell<Option<(SocketAddr, SocketAddr)>>> = Rc::default();
        let (seen, address) = (Rc::clone(&watcher), world.peers[1].local[1]);
        world.gate = Some(Box::new(move |source, local, bytes| {
            if source != address {
                return true;
            }
            seen.borrow_mut().get_or_insert((source, local));
            let is_check = bytes.first().is_some_and(|first| *first < 4);
            !is_check && !forged
        }));
        for _ in 0..45 {
            world.run(SECOND);
            let Some((source, local)) = *watcher.borrow() else { continue };
            if forged {
                let report = [&[0x81, 201, 0, 7][..], &[3; 44], &[0x80, 0, 0, 9]].concat();
                inject(&mut world, source, local, &report);
            }
        }
        assert!(watcher.borrow().is_some(), "it sent something");
        let participants = world.worker.stats().participants;
        assert_eq!(participants, if forged { 1 } else { 2 });
        if !forged {
            let got = world.got(1, 1, Codec::Vp8).len();
            world.run(SECOND);
            assert!(world.got(1, 1, Codec::Vp8).len() > got + 5, "media goes on");
        }
    }
}
