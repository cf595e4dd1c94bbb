//! What goes on for long, comes in crowds, or stands still for a while.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests are where time comes from"
)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{MS, Peer, SECOND, World, config};
use convoke_client::media::Codec;
use convoke_core::{
    Action, CommandError, Event, Input, LeaveReason, MediaKind, Mid, ParticipantId, Reply,
    RoomChange, RoomId, Show, SlotWish, TransportRole, TransportState,
};

fn connected(count: u32) -> World {
    let mut world = World::new(config(), 1);
    for id in 1..=count {
        world.join(id, Some(Codec::Vp8));
    }
    world.run(SECOND * 2);
    assert!(world.peers.iter().all(|peer| peer.connected == 2));
    world
}

/// Who left, and why.
fn left(world: &World) -> Vec<(u32, LeaveReason)> {
    let left = |event: &Event| match event {
        Event::Room { change: RoomChange::ParticipantLeft { participant, reason }, .. } => {
            Some((participant.0, *reason))
        }
        _ => None,
    };
    world.events.iter().filter_map(left).collect()
}

/// How much of each other's media came within the next second.
fn hears(world: &mut World, peer: usize, from: u32) -> [usize; 2] {
    world.peers[peer].received.clear();
    world.run(SECOND);
    [Codec::Opus, Codec::Vp8].map(|codec| world.got(peer, from, codec).len())
}

fn assert_hears(world: &mut World, peer: usize, from: u32) {
    let [audio, video] = hears(world, peer, from);
    assert!((49..=51).contains(&audio) && video >= 40, "{peer} got {audio}, {video} of {from}");
}

/// One page of cameras, from the publisher of this index on, in as many slots.
fn page(slots: &[Mid], first: u32, publishers: u32) -> Vec<SlotWish> {
    let wish = |(slot, n): (&Mid, u32)| SlotWish {
        mid: *slot,
        show: Show::Participant(ParticipantId(2 + (first + n) % publishers)),
        width: None,
        height: None,
        max_frame_rate: None,
        priority: 0,
    };
    slots.iter().zip(0..).map(wish).collect()
}

/// JN-07: somebody who pages ten times a second, and often thinks better of it, has the same slots and the
/// same description afterwards, and nobody is asked for what is no longer wished for.
#[test]
fn jn_07_paging_for_long_makes_nothing_grow() {
    const PUBLISHERS: u32 = 6;
    let mut world = World::new(config(), 1);
    let viewer = world.join_with(1, None, |media| media.video_slots = 2);
    for id in 2..2 + PUBLISHERS {
        world.join(id, Some(Codec::Vp8));
    }
    world.run(SECOND * 2);
    let before = world.snapshot(viewer).slots;
    let mids = |slots: &[convoke_core::SlotView]| -> Vec<Mid> {
        slots.iter().map(|slot| slot.mid).collect()
    };
    let video = before.iter().filter(|slot| slot.kind == MediaKind::Video);
    let video: Vec<Mid> = video.map(|slot| slot.mid).collect();
    assert_eq!(video.len(), 2);
    let offer = world.peers[viewer].offers.receive.clone().unwrap();
    let participant = ParticipantId(1);
    let answer = |world: &mut World| {
        let (role, sdp) = (TransportRole::Receive, offer.clone());
        match world.command(Action::Offer { participant, role, sdp }) {
            Ok(Reply::Answer { sdp, .. }) => (sdp.matches("\r\nm=").count(), sdp.len()),
            other => panic!("{other:?}"),
        }
    };
    let first = answer(&mut world);
    for step in 0..400u32 {
        let wishes = page(&video, step, PUBLISHERS);
        world.command(Action::SetView { participant, wishes }).unwrap();
        if step % 3 == 0 {
            // Not that one after all.
            let wishes = page(&video, step + 3, PUBLISHERS);
            world.command(Action::SetView { participant, wishes }).unwrap();
        }
        if step % 50 == 0 {
            assert_eq!(answer(&mut world), first, "step {step}");
        }
        world.run(100 * MS);
        world.peers.iter_mut().for_each(|peer| peer.received.clear());
    }
    assert_eq!(answer(&mut world), first);
    world.command(Action::SetView { participant, wishes: Vec::new() }).unwrap();
    world.run(SECOND * 2);
    let after = world.snapshot(viewer).slots;
    assert_eq!(mids(&after), mids(&before));
    // What was wished for is forgotten: slots are filled as they were before any wish.
    let shown =
        |slots: &[convoke_core::SlotView]| slots.iter().filter(|s| s.assigned.is_some()).count();
    assert_eq!(shown(&after), shown(&before));
    let asked: Vec<usize> = world.peers.iter().map(|peer| peer.keyframe_requests).collect();
    world.run(SECOND * 5);
    let again: Vec<usize> = world.peers.iter().map(|peer| peer.keyframe_requests).collect();
    assert_eq!(asked, again, "nobody is asked for what nobody wishes for");
    assert_eq!(world.worker.stats().participants, u64::from(PUBLISHERS) + 1);
}

/// JN-07: three hundred sections are refused in words where the limit is lower, and work where it is not.
#[test]
fn jn_07_three_hundred_sections_are_refused_or_work() {
    let mut world = World::new(config(), 1);
    let (_, offers, _) = world.media(|media| (media.audio_slots, media.video_slots) = (150, 150));
    let request = world.request(1, &offers, Vec::new());
    let refused = world.command(Action::Join(request)).unwrap_err();
    assert!(refused.to_string().contains("at most"), "{refused}");
    assert_eq!(world.worker.stats().participants, 0);

    let mut config = config();
    (config.limits.sdp_sections, config.limits.sdp_bytes) = (300, 1 << 20);
    (config.limits.audio_slots, config.limits.video_slots) = (150, 150);
    let mut world = World::new(config, 1);
    world.join(1, Some(Codec::Vp8));
    let viewer =
        world.join_with(2, None, |media| (media.audio_slots, media.video_slots) = (150, 150));
    world.run(SECOND * 2);
    assert_eq!(world.peers[viewer].slots.len(), 300);
    assert_hears(&mut world, viewer, 1);
}

/// LC-05: half-open joins fill a worker up to its limit, which is told; the call beside goes on, and when
/// they are given up there is room again.
#[test]
fn lc_05_a_thousand_half_open_joins_are_a_clear_limit_and_room_again_later() {
    const SEATS: usize = 300;
    let mut limited = config();
    limited.limits.participants = SEATS;
    limited.limits.room_participants = SEATS;
    let mut world = World::new(limited, 1);
    for id in [1, 2] {
        world.join(id, Some(Codec::Vp8));
    }
    world.run(SECOND * 2);
    let first = std::mem::replace(&mut world.room, RoomId(9 << 8));
    let (_, offers, _) = world.media(|_| {});
    let mut refused = 0;
    for id in 1_000..2_000 {
        let request = world.request(id, &offers, Vec::new());
        match world.command(Action::Join(request)) {
            Ok(Reply::Joined { .. }) => {}
            Err(CommandError::Limit(what)) => {
                assert_eq!(what, "participants on this worker");
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refused, 1_000 - (SEATS - 2));
    world.room = first;
    for (peer, from) in [(0, 2), (1, 1)] {
        assert_hears(&mut world, peer, from);
    }
    assert_eq!(world.worker.stats().participants as usize, SEATS);
    let start = world.now;
    while world.worker.stats().participants > 2 {
        assert!(world.now - start < SECOND * 61, "half-open ones are given up");
        world.run(SECOND);
    }
    assert_eq!(world.worker.stats().transports, 4, "and nothing of them stays");
    let third = world.join(3, Some(Codec::Vp8));
    world.run(SECOND * 2);
    assert_hears(&mut world, third, 1);
    assert_hears(&mut world, 0, 3);
}

/// How often the time that sender reports give to packets of audio jumped by more than 30 ms.
fn steps(world: &World, peer: usize, from: u32) -> usize {
    let made: Vec<i64> = world
        .got(peer, from, Codec::Opus)
        .iter()
        .filter_map(|packet| {
            let made = i64::try_from(packet.made_at?.as_micros()).unwrap();
            Some(made - i64::from(packet.rtp_time) * 1_000 / 48)
        })
        .collect();
    assert!(made.len() > 100, "{} with a time", made.len());
    made.windows(2).filter(|pair| (pair[1] - pair[0]).abs() > 30_000).count()
}

/// LC-06: the server stands still for five seconds; what came meanwhile waits in its socket, as far as there
/// is room.
#[test]
fn lc_06_a_server_that_stood_still_goes_on_without_kicks_or_storms() {
    let mut world = connected(3);
    world.run(SECOND * 5);
    world.events.clear();
    let mut waiting: Vec<(SocketAddr, SocketAddr, Vec<u8>)> = Vec::new();
    for _ in 0..1_000 {
        world.begin_step();
        for peer in &mut world.peers {
            while let Some(transmit) = peer.media.poll_transmit() {
                if waiting.len() < 400 {
                    waiting.push((transmit.local, transmit.destination, transmit.contents));
                }
            }
        }
    }
    let before = world.worker.stats();
    for (source, local, bytes) in &waiting {
        let input = Input::Datagram { source: *source, local: *local, bytes };
        world.worker.handle(world.now, input, &mut world.out);
    }
    // Each deadline that is over is served once: few turns, and time goes on.
    let mut turns = 0;
    while world.worker.next_timeout().is_some_and(|at| at <= world.now) {
        turns += 1;
        assert!(turns < 20, "a storm of deadlines");
        world.worker.handle(world.now, Input::Timeout, &mut world.out);
    }
    let sent = world.out.transmits.len();
    assert!(sent < waiting.len() * 4, "{sent} datagrams after {} came", waiting.len());
    assert_eq!(before.participants, 3);
    world.run(SECOND * 10);
    assert_eq!(left(&world), []);
    let lost = |event: &Event| matches!(event, Event::Transport { state, .. } if *state != TransportState::Connected);
    assert!(!world.events.iter().any(lost), "{:?}", world.events);
    for (peer, from) in [(0, 2), (1, 1), (2, 1)] {
        assert!(steps(&world, peer, from) <= 1, "{peer} {from}");
        assert_hears(&mut world, peer, from);
    }
}

/// Takes somebody out of the world for so long: no time passes there, nothing arrives.
fn suspended(world: &mut World, peer: usize, duration: Duration) {
    let mut sleeper: Peer = world.peers.remove(peer);
    world.run(duration);
    sleeper.received.clear();
    world.peers.insert(peer, sleeper);
}

/// LC-06: a client that sleeps for five seconds goes on where it was; one that sleeps for a minute is given
/// up, it alone, and the others notice nothing.
#[test]
fn lc_06_a_client_that_slept_harms_nobody_else() {
    for (time, stays) in [(5, true), (60, false)] {
        let mut world = connected(3);
        world.run(SECOND * 5);
        world.events.clear();
        suspended(&mut world, 2, SECOND * time);
        let expected = if stays { vec![] } else { vec![(3, LeaveReason::MediaLost)] };
        assert_eq!(left(&world), expected, "{time} s");
        for (peer, from) in [(0, 2), (1, 1)] {
            let audio = world.got(peer, from, Codec::Opus);
            let gaps = audio.windows(2).filter(|w| w[1].at - w[0].at > 60 * MS).count();
            assert_eq!(gaps, 0, "{time} s: {from} at {peer}");
            assert_eq!(steps(&world, peer, from), 0, "{time} s");
        }
        world.run(SECOND * 3);
        if stays {
            assert!(steps(&world, 0, 3) <= 1);
            assert_hears(&mut world, 0, 3);
            assert_hears(&mut world, 2, 1);
        }
        assert_eq!(left(&world), expected, "{time} s");
        for (peer, from) in [(0, 2), (1, 1)] {
            assert_hears(&mut world, peer, from);
        }
    }
}
