//! Calls that span workers: who hears and sees whom, what crosses, and what is left when shards go.

#![allow(clippy::disallowed_methods, reason = "tests are where time comes from")]

mod common;

use std::time::Duration;

use common::mesh::{Mesh, shard};
use common::{SECOND, World, declaration};
use convoke_client::media::Codec;
use convoke_client::source::Stamp;
use convoke_core::{
    Action, CommandError, DataMessage, Event, LeaveReason, Mid, ParticipantId, Permissions, Relay,
    RelayDrop, RelayMessage, Reliability, RoomChange, Show, SlotState, SlotWish, Source,
    WantedLayers,
};

/// What is told on a shard of someone, in order.
fn told_of(world: &World, id: u32) -> Vec<&'static str> {
    let changes = world.events.iter().filter_map(|event| match event {
        Event::Room { change, .. } => Some(change),
        _ => None,
    });
    let of = |who: &ParticipantId| who.0 == id;
    let word = |change: &RoomChange| match change {
        RoomChange::ParticipantJoined(view) if of(&view.participant) => Some("joined"),
        RoomChange::ParticipantLeft { participant, .. } if of(participant) => Some("left"),
        RoomChange::Reachable { participant, reachable } if of(participant) => {
            Some(if *reachable { "reachable" } else { "unreachable" })
        }
        RoomChange::TrackPublished { participant, .. } if of(participant) => Some("published"),
        RoomChange::TrackUnpublished { participant, .. } if of(participant) => Some("unpublished"),
        RoomChange::TrackUpdated { participant, track } if of(participant) => {
            Some(if track.muted { "muted" } else { "unmuted" })
        }
        _ => None,
    };
    changes.filter_map(word).collect()
}

fn left_because(world: &World, id: u32) -> Option<LeaveReason> {
    world.events.iter().find_map(|event| match event {
        Event::Room { change: RoomChange::ParticipantLeft { participant, reason }, .. }
            if participant.0 == id =>
        {
            Some(*reason)
        }
        _ => None,
    })
}

fn roster(world: &mut World, peer: usize) -> Vec<u32> {
    let mut ids: Vec<u32> =
        world.snapshot(peer).participants.iter().map(|view| view.participant.0).collect();
    ids.sort_unstable();
    ids
}

/// Everyone (the first peer of each world, ids from 1) hears and sees everyone else in full.
fn assert_whole(mesh: &mut Mesh, codec: Codec) {
    mesh.forget_traffic();
    mesh.run(SECOND * 2);
    for (at, world) in mesh.worlds.iter().enumerate() {
        for from in (0..mesh.worlds.len()).filter(|from| *from != at) {
            let id = from as u32 + 1;
            let audio = world.got(0, id, Codec::Opus).len();
            assert!((98..=102).contains(&audio), "shard {at} heard {id} {audio} times");
            let video = world.got(0, id, codec);
            let frames = video.iter().filter(|packet| packet.marker).count();
            assert!((57..=63).contains(&frames), "shard {at} saw {frames} frames of {id}");
        }
    }
}

#[test]
fn everyone_hears_and_sees_everyone_over_shards() {
    for (workers, codec, delay) in [
        (2, Codec::Vp8, Duration::ZERO),
        (3, Codec::H264, Duration::ZERO),
        (3, Codec::Av1, Duration::from_millis(5)),
        (4, Codec::Vp9, Duration::from_millis(20)),
    ] {
        let mut mesh = Mesh::new(workers);
        mesh.delay = delay;
        mesh.link_all();
        for index in 0..workers {
            mesh.join(index, index as u32 + 1, Some(codec));
        }
        mesh.run(SECOND * 4);
        assert_whole(&mut mesh, codec);
        for world in &mut mesh.worlds {
            let snapshot = world.snapshot(0);
            assert_eq!(snapshot.participants.len(), workers);
            let active = snapshot.slots.iter().filter(|s| s.state == SlotState::Active).count();
            assert_eq!(active, 2 * (workers - 1));
            assert_eq!(world.worker.stats().drops.iter().sum::<u64>(), 0);
        }
        assert!(mesh.traffic.values().all(|traffic| traffic.twice == 0));
        assert_eq!(mesh.drops(), 0, "{workers} workers");
    }
}

#[test]
fn a_packet_crosses_once_however_many_receive_it() {
    let mut mesh = Mesh::of_one_each(2, Some(Codec::Vp8));
    for id in 11..=13 {
        mesh.join(1, id, None);
    }
    mesh.run(SECOND * 3);
    mesh.forget_traffic();
    mesh.run(SECOND * 2);
    let seen: Vec<usize> =
        (0..4).map(|peer| mesh.worlds[1].got(peer, 1, Codec::Vp8).len()).collect();
    let went = mesh.went(0, 1);
    assert_eq!(went.twice, 0);
    assert!(went.media[1] > 50 && seen.iter().all(|seen| seen.abs_diff(went.media[1]) <= 4));
    assert!((98..=102).contains(&went.media[0]), "{went:?}");
    let stats = [mesh.worlds[0].worker.stats(), mesh.worlds[1].worker.stats()];
    assert_eq!(stats[0].relay_out[1], stats[1].relay_in[1]);
    assert_eq!(stats[0].relay_bytes_out, stats[1].relay_bytes_in);
    assert_eq!([stats[0].shards, stats[1].shards], [1, 1]);
}

#[test]
fn a_late_joiner_on_another_shard_starts_at_a_keyframe_that_is_asked_for_once() {
    let mut mesh = Mesh::new(2);
    mesh.link_all();
    mesh.join(0, 1, Some(Codec::Vp8));
    mesh.join(1, 2, None);
    mesh.run(SECOND * 3);
    mesh.forget_traffic();
    let requests = mesh.worlds[0].peers[0].keyframe_requests;
    let late: Vec<usize> = (11..=13).map(|id| mesh.join(1, id, None)).collect();
    mesh.run(Duration::from_millis(400));
    for peer in late {
        let got = mesh.worlds[1].got(peer, 1, Codec::Vp8);
        let stamp = Stamp::read(&got.first().expect("video").payload).expect("stamp");
        assert!(stamp.keyframe && stamp.packet == 0);
    }
    assert_eq!(mesh.went(1, 0).keyframes, 1, "requests of one moment are one");
    assert_eq!(mesh.worlds[0].peers[0].keyframe_requests, requests + 1);
}

#[test]
fn nothing_crosses_to_a_shard_where_nobody_receives() {
    let mut mesh = Mesh::new(2);
    mesh.link_all();
    mesh.join(0, 1, Some(Codec::Vp8));
    let only_sends = |config: &mut convoke_client::media::MediaConfig| {
        (config.audio_slots, config.video_slots) = (0, 0);
    };
    mesh.worlds[1].join_with(2, Some(Codec::Vp8), only_sends);
    mesh.run(SECOND * 3);
    assert_eq!(mesh.went(0, 1).media, [0, 0]);
    let went = mesh.went(1, 0).media;
    assert!(went[0] > 100 && went[1] > 50, "{went:?}");
    // Now somebody does, and then may not any more.
    mesh.join(1, 3, None);
    mesh.run(SECOND * 2);
    assert!(mesh.went(0, 1).media[1] > 20);
    let permissions = Permissions { receive: false, ..Permissions::ALL };
    mesh.command(1, Action::SetPermissions { participant: ParticipantId(3), permissions });
    mesh.run(SECOND * 2);
    mesh.forget_traffic();
    mesh.run(SECOND);
    assert_eq!(mesh.went(0, 1).media, [0, 0]);
}

#[test]
fn a_picture_that_nobody_looks_at_does_not_cross() {
    let mut mesh = Mesh::of_one_each(2, Some(Codec::Vp8));
    mesh.run(SECOND * 2);
    let slots = mesh.worlds[1].peers[0].slots.clone();
    let video = slots.iter().filter(|slot| slot.kind == convoke_core::MediaKind::Video);
    let hidden = |mid: Mid| SlotWish {
        mid,
        show: Show::ActiveSpeaker,
        width: Some(0),
        height: Some(0),
        max_frame_rate: None,
        priority: 0,
    };
    let wishes = video.map(|slot| hidden(slot.mid)).collect();
    mesh.command(1, Action::SetView { participant: ParticipantId(2), wishes });
    mesh.run(SECOND * 2);
    mesh.forget_traffic();
    mesh.run(SECOND);
    let went = mesh.went(0, 1).media;
    assert!(went[1] == 0 && went[0] > 45, "{went:?}");
    // And the publisher, whom nobody watches, is told so in time.
    mesh.run(SECOND * 5);
    let is_wanted = |mesh: &Mesh| {
        mesh.worlds[0].events.iter().rev().find_map(|event| match event {
            Event::Demand { encodings, .. } => Some(encodings.iter().any(|e| e.active)),
            _ => None,
        })
    };
    assert_eq!(is_wanted(&mesh), Some(false));
    mesh.command(1, Action::SetView { participant: ParticipantId(2), wishes: Vec::new() });
    assert_eq!(is_wanted(&mesh), Some(true));
}

#[test]
fn every_change_reaches_every_shard_once_and_in_order() {
    let mut mesh = Mesh::of_one_each(3, None);
    mesh.run(SECOND);
    for world in &mut mesh.worlds {
        world.events.clear();
    }
    mesh.join(0, 9, None);
    let participant = ParticipantId(9);
    let mid = mesh.worlds[0].peers[1].offers.send_mids[1].clone();
    let client_id = || "mic".into();
    let track = declaration("cam", Source::Camera, &mid);
    mesh.command(0, Action::SetMuted { participant, client_id: client_id(), muted: true });
    mesh.command(0, Action::Publish { participant, track });
    mesh.command(0, Action::SetReachable { participant, reachable: false });
    mesh.command(0, Action::SetMuted { participant, client_id: client_id(), muted: false });
    mesh.command(0, Action::SetReachable { participant, reachable: true });
    mesh.command(0, Action::Unpublish { participant, client_id: client_id() });
    let permissions = Permissions { camera: false, ..Permissions::ALL };
    mesh.command(0, Action::SetPermissions { participant, permissions });
    mesh.leave(0, 1);
    let expected = [
        "joined",
        "published",
        "muted",
        "published",
        "unreachable",
        "unmuted",
        "reachable",
        "unpublished",
        "unpublished",
        "left",
    ];
    for world in &mesh.worlds {
        assert_eq!(told_of(world, 9), expected);
        assert_eq!(left_because(world, 9), Some(LeaveReason::Left));
        let versions = world.events.iter().filter_map(|event| match event {
            Event::Room { version, .. }
            | Event::Slots { version, .. }
            | Event::Speakers { version, .. } => Some(*version),
            _ => None,
        });
        let versions: Vec<u64> = versions.collect();
        assert!(versions.windows(2).all(|pair| pair[1] == pair[0] + 1), "{versions:?}");
    }
}

#[test]
fn tracks_are_named_alike_and_uniquely_everywhere_and_can_be_looked_at() {
    let mut mesh = Mesh::of_one_each(3, Some(Codec::Vp8));
    mesh.run(SECOND);
    let tracks = |world: &mut World| {
        let participants = world.snapshot(0).participants;
        let tracks = participants.iter().flat_map(|view| {
            view.tracks.iter().map(|track| (track.track, view.participant, track.source))
        });
        let mut tracks: Vec<_> = tracks.collect();
        tracks.sort_unstable();
        tracks
    };
    let all: Vec<_> = mesh.worlds.iter_mut().map(tracks).collect();
    assert!(all.iter().all(|tracks| *tracks == all[0]), "{all:?}");
    let mut ids: Vec<_> = all[0].iter().map(|track| track.0).collect();
    ids.dedup();
    assert_eq!(ids.len(), 6);
    let camera = all[0].iter().find(|t| t.1 == ParticipantId(3) && t.2 == Source::Camera);
    let slots = &mesh.worlds[0].peers[0].slots;
    let mid = slots.iter().rfind(|s| s.kind == convoke_core::MediaKind::Video).unwrap().mid;
    let show = Show::Track(camera.unwrap().0);
    let wishes =
        vec![SlotWish { mid, show, width: None, height: None, max_frame_rate: None, priority: 0 }];
    mesh.command(0, Action::SetView { participant: ParticipantId(1), wishes });
    mesh.run(SECOND);
    let slot = mesh.worlds[0].peers[0].slots.iter().find(|slot| slot.mid == mid).unwrap();
    assert_eq!((slot.assigned.unwrap().0, slot.state), (ParticipantId(3), SlotState::Active));
}

#[test]
fn who_speaks_is_known_on_every_shard() {
    let mut mesh = Mesh::of_one_each(3, None);
    for world in &mut mesh.worlds {
        world.peers[0].level = Some(127);
    }
    mesh.run(SECOND * 2);
    mesh.worlds[1].peers[0].level = Some(20);
    mesh.run(SECOND * 4);
    for world in &mesh.worlds {
        let dominant = world.events.iter().rev().find_map(|event| match event {
            Event::Speakers { dominant, .. } => Some(*dominant),
            _ => None,
        });
        assert_eq!(dominant, Some(Some(ParticipantId(2))));
    }
}

/// A shard goes with its last participant, and can be made anew under another number.
#[test]
fn a_shard_whose_last_participant_leaves_is_gone_and_quiet() {
    let mut mesh = Mesh::of_one_each(2, Some(Codec::Vp8));
    mesh.run(SECOND * 2);
    mesh.leave(1, 0);
    let closed = |event: &Event| matches!(event, Event::RoomClosed { room } if *room == shard(1));
    assert!(mesh.worlds[1].events.iter().any(closed));
    assert_eq!(roster(&mut mesh.worlds[0], 0), [1]);
    mesh.forget_traffic();
    mesh.run(SECOND * 3);
    assert!(mesh.traffic.is_empty(), "{:?}", mesh.traffic);
    let stats = [mesh.worlds[0].worker.stats(), mesh.worlds[1].worker.stats()];
    assert_eq!((stats[0].shards, stats[0].tracks, stats[1].rooms, stats[1].shards), (0, 2, 0, 0));
    assert_eq!(mesh.worlds[1].worker.next_timeout(), None);
    mesh.link(0, 1);
    mesh.worlds[1].peers.clear();
    mesh.join(1, 2, Some(Codec::Vp8));
    let fresh = mesh.join(0, 3, None);
    mesh.run(SECOND);
    assert_eq!(roster(&mut mesh.worlds[0], 0), [1, 2, 3]);
    for (world, peer, from) in [(0, fresh, 2), (1, 0, 1)] {
        assert!(mesh.worlds[world].got(peer, from, Codec::Vp8).len() > 20, "{from} is not seen");
    }
}

#[test]
fn a_shard_that_fails_takes_its_people_with_it_and_nothing_else() {
    let mut mesh = Mesh::of_one_each(3, Some(Codec::Vp8));
    mesh.run(SECOND * 3);
    // Worker 2 says nothing any more; the node tells the others.
    let mut failed = mesh.worlds.pop().unwrap();
    for world in 0..2 {
        mesh.unlink(world, 2, LeaveReason::Failed);
        assert_eq!(left_because(&mesh.worlds[world], 3), Some(LeaveReason::Failed));
        assert_eq!(roster(&mut mesh.worlds[world], 0), [1, 2]);
        mesh.unlink(world, 2, LeaveReason::Failed);
        assert_eq!(told_of(&mesh.worlds[world], 3).iter().filter(|w| **w == "left").count(), 1);
    }
    mesh.run(SECOND * 3);
    assert_whole(&mut mesh, Codec::Vp8);
    assert!(!mesh.traffic.contains_key(&(0, 2)), "nothing goes to who is gone");
    // What it had to say still is heard by nobody.
    let before = mesh.drops();
    failed.run(Duration::from_millis(100));
    let said = std::mem::take(&mut failed.out.relays);
    assert!(!said.is_empty());
    for Relay { from, to, message } in said {
        mesh.say(from, usize::from(to.shard()), message);
    }
    assert!(mesh.drops() > before);
    assert_eq!(roster(&mut mesh.worlds[0], 0), [1, 2]);
}

/// The shell lost messages of a link and says so by linking again.
#[test]
fn what_was_lost_is_healed_by_linking_again() {
    let mut mesh = Mesh::of_one_each(2, Some(Codec::Vp8));
    let leaver = mesh.join(0, 7, None);
    mesh.run(SECOND * 2);
    mesh.worlds[1].events.clear();
    mesh.deaf = true;
    mesh.leave(0, leaver);
    mesh.worlds[0].peers.pop();
    mesh.join(0, 8, Some(Codec::Vp8));
    let (participant, client_id) = (ParticipantId(1), "mic".into());
    mesh.command(0, Action::SetMuted { participant, client_id, muted: true });
    mesh.run(SECOND);
    mesh.deaf = false;
    assert_eq!(told_of(&mesh.worlds[1], 8), [""; 0]);
    mesh.command(0, Action::Link { peer: shard(1) });
    assert_eq!(told_of(&mesh.worlds[1], 7), ["left"]);
    assert_eq!(told_of(&mesh.worlds[1], 8), ["joined", "published", "published"]);
    assert_eq!(told_of(&mesh.worlds[1], 1), ["muted"]);
    assert_eq!(told_of(&mesh.worlds[1], 2), [""; 0]);
    mesh.run(SECOND * 2);
    mesh.forget_traffic();
    mesh.run(SECOND);
    assert!(mesh.worlds[1].got(0, 8, Codec::Vp8).len() > 25);
    assert!(mesh.worlds[0].got(1, 2, Codec::Vp8).len() > 25);
}

#[test]
fn a_refused_join_leaves_no_shard_behind() {
    let mut mesh = Mesh::of_one_each(1, None);
    mesh.worlds.push(World::new(common::config(), 9));
    mesh.worlds[1].room = shard(1);
    mesh.worlds[1].now = mesh.worlds[0].now;
    mesh.link(0, 1);
    let (_, offers, _) = mesh.worlds[1].media(|_| {});
    let track = declaration("mic", Source::Camera, &offers.send_mids[0]);
    let request = mesh.worlds[1].request(2, &offers, vec![track]);
    let refused = mesh.worlds[1].command(Action::Join(request));
    assert!(matches!(refused, Err(CommandError::Track { .. })), "{refused:?}");
    mesh.pump();
    assert_eq!(mesh.worlds[1].worker.stats().rooms, 0);
    assert_eq!(mesh.worlds[0].worker.stats().shards, 0);
}

/// Relays nobody needs, and loops (pitfall CL-03): a triangle of shards, one publisher.
#[test]
fn cl_03_a_triangle_carries_each_packet_once_and_survives_what_is_wrong() {
    let mut mesh = Mesh::new(3);
    mesh.link_all();
    mesh.join(0, 1, Some(Codec::Vp8));
    for world in 1..3 {
        let viewer = mesh.worlds[world].join_with(world as u32 + 1, None, |_| {});
        mesh.worlds[world].peers[viewer].audio = None;
    }
    mesh.pump();
    mesh.run(SECOND * 3);
    mesh.forget_traffic();
    mesh.run(SECOND * 2);
    for to in 1..3 {
        let went = mesh.went(0, to);
        assert!(went.media[1] > 50 && went.twice == 0, "{went:?}");
        assert_eq!(went.media[1], went.by_ssrc.values().sum::<usize>());
        for elsewhere in [(to, 0), (to, 3 - to)] {
            assert_eq!(mesh.went(elsewhere.0, elsewhere.1).media, [0, 0], "{elsewhere:?}");
        }
    }
    // What went out comes back, and by the wrong way too.
    let echoed = mesh.latest.clone().unwrap().message;
    let rooms = [mesh.worlds[0].worker.stats(), mesh.worlds[1].worker.stats()];
    mesh.say(shard(1), 0, echoed.clone());
    mesh.say(shard(2), 1, echoed.clone());
    mesh.say(shard(0), 0, echoed.clone());
    mesh.say(shard(9), 0, echoed);
    let dropped = |mesh: &Mesh, world: usize, reason: RelayDrop| {
        mesh.worlds[world].worker.stats().relay_drops[reason as usize]
            - if world < 2 { rooms[world].relay_drops[reason as usize] } else { 0 }
    };
    assert_eq!(dropped(&mesh, 0, RelayDrop::Echo), 2);
    assert_eq!(dropped(&mesh, 1, RelayDrop::Echo), 1);
    assert_eq!(dropped(&mesh, 0, RelayDrop::NotLinked), 1);
    assert_eq!(mesh.worlds[0].worker.stats().relay_in[1], rooms[0].relay_in[1]);
    // A shard that speaks for others, or asks of what is not the other's.
    let participant = ParticipantId(1);
    let reason = LeaveReason::Left;
    let change = RoomChange::ParticipantLeft { participant, reason };
    mesh.say(shard(1), 0, RelayMessage::Change { change, ladder: None });
    let own = mesh.worlds[0].snapshot(0).participants[0].tracks[1].track;
    let want = RelayMessage::Want { track: own, layers: WantedLayers::AUDIO, upstream: None };
    mesh.say(shard(2), 1, want);
    assert_eq!(dropped(&mesh, 0, RelayDrop::Echo), 3);
    assert_eq!(dropped(&mesh, 1, RelayDrop::Echo), 2);
    assert_eq!(roster(&mut mesh.worlds[0], 0), [1, 2, 3]);
    // A wrong list of peers.
    let refused = mesh.worlds[0].command(Action::Link { peer: shard(0) });
    assert!(matches!(refused, Err(CommandError::NotAllowed(_))), "{refused:?}");
    mesh.command(0, Action::Link { peer: shard(9) });
    mesh.command(0, Action::Link { peer: shard(1) });
    mesh.run(SECOND);
    assert_eq!(roster(&mut mesh.worlds[1], 0), [1, 2, 3]);
    mesh.unlink(0, 9, LeaveReason::Left);
    // The last on n2 leaves: quiet at once, and n3 does not notice.
    mesh.leave(1, 0);
    mesh.forget_traffic();
    mesh.run(SECOND * 2);
    assert_eq!(mesh.went(0, 1).media, [0, 0]);
    assert!(mesh.went(0, 2).media[1] > 50 && mesh.went(0, 2).twice == 0);
    // n2 comes again.
    mesh.link(0, 1);
    mesh.link(1, 2);
    mesh.worlds[1].peers.clear();
    mesh.join(1, 5, None);
    mesh.run(SECOND * 2);
    mesh.forget_traffic();
    mesh.run(SECOND);
    assert!(mesh.went(0, 1).media[1] > 25 && mesh.went(0, 1).twice == 0);
    assert_eq!(roster(&mut mesh.worlds[2], 0), [1, 3, 5]);
}

/// What a worker's clients are told of data, as they have no channels here: for whom, and the text.
fn data_told(world: &World) -> Vec<(Vec<u32>, String)> {
    let told = world.events.iter().filter_map(|event| match event {
        Event::Data(data) => {
            let to = data.to.iter().map(|id| id.0).collect();
            Some((to, String::from_utf8_lossy(&data.payload).into_owned()))
        }
        _ => None,
    });
    told.collect()
}

#[test]
fn data_messages_reach_whom_they_are_for_on_every_shard_once() {
    let mut mesh = Mesh::of_one_each(3, None);
    mesh.join(1, 9, None);
    mesh.run(SECOND);
    let say = |text: &str, to: Option<Vec<ParticipantId>>| Action::SendData {
        participant: ParticipantId(1),
        message: DataMessage {
            to,
            reliability: Reliability::Durable,
            topic: "".into(),
            payload: text.as_bytes().into(),
        },
    };
    mesh.forget_traffic();
    mesh.command(0, say("all", None));
    assert_eq!([mesh.went(0, 1).words, mesh.went(0, 2).words], [1, 1]);
    assert_eq!([mesh.went(1, 2).words, mesh.went(2, 1).words], [0, 0], "nothing is sent on");
    mesh.command(0, say("some", Some(vec![ParticipantId(9), ParticipantId(1)])));
    assert_eq!([mesh.went(0, 1).words, mesh.went(0, 2).words], [2, 1]);
    let told: Vec<_> = mesh.worlds.iter().map(data_told).collect();
    assert_eq!(told[0], []);
    assert_eq!(told[1], [(vec![2, 9], "all".to_owned()), (vec![9], "some".to_owned())]);
    assert_eq!(told[2], [(vec![3], "all".to_owned())]);
    let permissions = Permissions { data: false, ..Permissions::ALL };
    mesh.command(0, Action::SetPermissions { participant: ParticipantId(1), permissions });
    assert!(mesh.worlds[0].command(say("no", None)).is_err());
    assert_eq!(mesh.drops(), 0);
}
