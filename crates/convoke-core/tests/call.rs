//! Whole calls on one worker: who hears and sees whom, and what is left when they are gone.

#![allow(clippy::disallowed_methods, reason = "tests are where time comes from")]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{ROOM, SECOND, SERVER, World, config, declaration};
use convoke_client::media::Codec;
use convoke_core::{
    Action, CommandError, Event, Input, JoinRequest, LeaveReason, Mid, ParticipantId, Permissions,
    Reply, RoomChange, Show, SlotState, SlotWish, Source, Stats,
};

fn connected(codecs: &[Option<Codec>]) -> World {
    let mut world = World::new(config(), 1);
    for (index, codec) in codecs.iter().enumerate() {
        world.join(u32::try_from(index).unwrap() + 1, *codec);
    }
    world.run(SECOND * 2);
    for peer in &world.peers {
        assert_eq!(peer.connected, 2, "{}", peer.id);
    }
    world
}

fn gauges(stats: Stats) -> [u64; 4] {
    [stats.rooms, stats.participants, stats.transports, stats.tracks]
}

#[test]
fn everyone_hears_and_sees_everyone_else_in_every_codec() {
    let codecs = [Some(Codec::Vp8), Some(Codec::Vp9), Some(Codec::H264), Some(Codec::Av1)];
    let mut world = connected(&codecs);
    // Three cameras are more than estimation begins with.
    world.run(SECOND * 2);
    for peer in &mut world.peers {
        peer.received.clear();
    }
    world.run(SECOND * 2);
    for peer in 0..4 {
        for (from, codec) in codecs.iter().enumerate().filter(|(from, _)| *from != peer) {
            let id = u32::try_from(from).unwrap() + 1;
            let audio = world.got(peer, id, Codec::Opus).len();
            assert!((98..=102).contains(&audio), "{peer} heard {id} {audio} times");
            let video = world.got(peer, id, codec.unwrap());
            let frames = video.iter().filter(|packet| packet.marker).count();
            assert!((57..=63).contains(&frames), "{peer} saw {frames} frames of {id}");
        }
    }
    let snapshot = world.snapshot(0);
    let active = snapshot.slots.iter().filter(|slot| slot.state == SlotState::Active).count();
    assert_eq!(active, 6);
    assert_eq!(world.worker.stats().drops.iter().sum::<u64>(), 0);
}

#[test]
fn audio_and_camera_of_one_participant_share_an_index() {
    let mut world = World::new(config(), 1);
    world.join(1, None);
    world.join(2, Some(Codec::Vp8));
    world.join(3, None);
    world.join(4, Some(Codec::Vp8));
    world.run(SECOND);
    let snapshot = world.snapshot(0);
    for id in [2, 4] {
        let of = snapshot.slots.iter().filter(|s| {
            s.assigned.is_some_and(|(participant, _)| participant == ParticipantId(id))
        });
        let indexes: Vec<u32> = of.map(|slot| slot.index).collect();
        assert_eq!(indexes.len(), 2);
        assert_eq!(indexes[0], indexes[1], "participant {id}");
    }
}

#[test]
fn a_late_joiner_starts_at_a_keyframe_within_a_round_trip() {
    let mut world = connected(&[Some(Codec::Vp8), None]);
    let requests = world.peers[0].keyframe_requests;
    let late = world.join(3, None);
    world.run(Duration::from_millis(500));
    let got = world.got(late, 1, Codec::Vp8);
    let first = got.first().expect("video");
    let stamp = convoke_client::source::Stamp::read(&first.payload).expect("stamp");
    assert!(stamp.keyframe && stamp.packet == 0);
    assert!(first.sequence < 1 << 15, "a receiver's rollover counter starts at 0");
    assert!(world.peers[0].keyframe_requests > requests);
}

/// A keyframe that passes while a joiner still shakes hands is not its start.
#[test]
fn a_keyframe_before_the_handshake_is_done_does_not_count() {
    let mut world = connected(&[Some(Codec::Vp8), None]);
    let late = world.join(3, None);
    if let Some((_, video)) = &mut world.peers[0].video {
        convoke_client::source::MediaSource::request_keyframe(video);
    }
    // The keyframe goes by while the joiner's datagrams are held back.
    world.peers[late].cut = true;
    world.run(Duration::from_millis(300));
    world.peers[late].cut = false;
    world.run(SECOND * 2);
    let got = world.got(late, 1, Codec::Vp8);
    let stamp = convoke_client::source::Stamp::read(&got[0].payload).expect("stamp");
    assert!(stamp.keyframe && stamp.packet == 0);
}

#[test]
fn a_muted_track_is_not_forwarded_whatever_its_publisher_sends() {
    let mut world = connected(&[Some(Codec::Vp8), None]);
    let mute = |client_id: &str, muted| Action::SetMuted {
        participant: ParticipantId(1),
        client_id: client_id.into(),
        muted,
    };
    world.command(mute("mic", true)).unwrap();
    world.command(mute("cam", true)).unwrap();
    world.run(Duration::from_millis(100));
    world.peers[1].received.clear();
    world.run(SECOND * 30);
    assert!(world.got(1, 1, Codec::Opus).is_empty() && world.got(1, 1, Codec::Vp8).is_empty());
    world.command(mute("mic", false)).unwrap();
    world.command(mute("cam", false)).unwrap();
    world.run(SECOND);
    let audio = world.got(1, 1, Codec::Opus);
    assert!(audio.len() >= 49);
    let stamp = convoke_client::source::Stamp::read(&world.got(1, 1, Codec::Vp8)[0].payload);
    assert!(stamp.unwrap().keyframe);
}

#[test]
fn unmuting_after_a_valley_goes_on_by_one_in_step_with_the_clock() {
    let mut world = connected(&[None, None]);
    let mute =
        |muted| Action::SetMuted { participant: ParticipantId(1), client_id: "mic".into(), muted };
    for _ in 0..3 {
        let before = world.got(1, 1, Codec::Opus).last().map(|p| (p.sequence, p.rtp_time)).unwrap();
        world.command(mute(true)).unwrap();
        world.run(SECOND * 30);
        world.peers[1].received.clear();
        world.command(mute(false)).unwrap();
        world.run(Duration::from_millis(200));
        let after = world.got(1, 1, Codec::Opus)[0];
        assert!(after.sequence - before.0 <= 2, "{} after {}", after.sequence, before.0);
        let advance = after.rtp_time.wrapping_sub(before.1);
        let error = i64::from(advance) - 30 * 48_000;
        assert!(error.abs() < 48_000 / 5, "{error} ticks off");
    }
}

#[test]
fn nine_microphones_on_eight_slots_give_way_to_who_speaks() {
    let mut world = World::new(config(), 1);
    world.join_with(1, None, |config| config.audio_slots = 8);
    for id in 2..=10 {
        let peer = world.join(id, None);
        world.peers[peer].level = Some(127);
    }
    world.run(SECOND * 2);
    let heard = |world: &World| -> Vec<u32> {
        let mut ids: Vec<u32> = world.peers[0]
            .slots
            .iter()
            .filter_map(|slot| slot.assigned.map(|(participant, _)| participant.0))
            .collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(heard(&world), (2..=9).collect::<Vec<_>>());
    world.peers[9].level = Some(20);
    world.run(Duration::from_millis(200));
    let now = heard(&world);
    assert!(now.contains(&10) && now.len() == 8, "{now:?}");
    assert!(!now.contains(&9), "the last by rank gives way: {now:?}");
    let first = world.got(0, 10, Codec::Opus).len();
    assert!(first >= 5, "{first}");
}

#[test]
fn who_speaks_is_told_and_followed() {
    let mut world = World::new(config(), 1);
    for id in 1..=4 {
        let peer = world.join(id, Some(Codec::Vp8));
        world.peers[peer].level = Some(127);
    }
    world.run(SECOND);
    let video = world.peers[0].slots.iter().find(|s| s.kind == convoke_core::MediaKind::Video);
    let mid = video.unwrap().mid;
    let show = Show::ActiveSpeaker;
    let wishes =
        vec![SlotWish { mid, show, width: None, height: None, max_frame_rate: None, priority: 0 }];
    world.command(Action::SetView { participant: ParticipantId(1), wishes }).unwrap();
    let shown = |world: &World| {
        let slot = world.peers[0].slots.iter().find(|s| s.mid == mid).unwrap();
        slot.assigned.map(|(participant, _)| participant.0)
    };
    for speaker in [3usize, 1, 2] {
        world.events.clear();
        // Speech: loud and quiet syllables.
        for syllable in 0..40u8 {
            world.peers[speaker].level =
                Some(if syllable % 4 == 3 { 60 } else { 20 + syllable % 3 });
            world.run(Duration::from_millis(100));
        }
        world.peers[speaker].level = Some(127);
        let id = u32::try_from(speaker).unwrap() + 1;
        assert_eq!(shown(&world), Some(id), "the follower's slot");
        let told: Vec<_> = world
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Speakers { dominant, speaking, .. } => Some((*dominant, speaking.clone())),
                _ => None,
            })
            .collect();
        assert!(
            told.iter()
                .any(|(d, s)| { *d == Some(ParticipantId(id)) && s.contains(&ParticipantId(id)) }),
            "{told:?}"
        );
        assert!(told.len() <= 20, "at most five a second: {}", told.len());
    }
}

#[test]
fn a_view_decides_what_video_slots_show() {
    let mut world = connected(&[None, Some(Codec::Vp8), Some(Codec::Vp8), Some(Codec::Vp8)]);
    let video: Vec<Mid> = world.peers[0]
        .slots
        .iter()
        .filter(|slot| slot.kind == convoke_core::MediaKind::Video)
        .map(|slot| slot.mid)
        .collect();
    let track_of = |world: &World, id: u32| {
        let slots = world.peers[0].slots.iter();
        let assigned = slots.filter(|s| video.contains(&s.mid)).filter_map(|s| s.assigned);
        assigned.into_iter().find(|(p, _)| p.0 == id).map(|(_, track)| track).unwrap()
    };
    let wish = |mid, show| SlotWish {
        mid,
        show,
        width: Some(320),
        height: None,
        max_frame_rate: None,
        priority: 0,
    };
    let third = track_of(&world, 4);
    let view = vec![
        wish(video[0], Show::Track(third)),
        wish(video[1], Show::ScreenShare),
        wish(video[2], Show::ActiveSpeaker),
    ];
    let participant = ParticipantId(1);
    world.command(Action::SetView { participant, wishes: view.clone() }).unwrap();
    world.run(SECOND);
    let at = |world: &World, mid| {
        let slot = world.peers[0].slots.iter().find(|s| s.mid == mid).unwrap();
        slot.assigned.map(|(participant, _)| participant.0)
    };
    assert_eq!(at(&world, video[0]), Some(4));
    assert_eq!(at(&world, video[1]), None);
    assert!(at(&world, video[2]).is_some_and(|id| id != 4));
    // Wrong wishes change nothing and say which.
    let mut wrong = view.clone();
    wrong[2] = wish(video[0], Show::ActiveSpeaker);
    let refused = world.command(Action::SetView { participant, wishes: wrong });
    assert!(matches!(refused, Err(CommandError::View { index: 2, .. })), "{refused:?}");
    assert_eq!(at(&world, video[0]), Some(4));
    // Back to the default policy: all three.
    world.command(Action::SetView { participant, wishes: Vec::new() }).unwrap();
    world.run(Duration::from_millis(200));
    let shown = video.iter().filter(|mid| at(&world, **mid).is_some()).count();
    assert_eq!(shown, 3);
}

#[test]
fn a_wish_for_a_participant_shows_what_it_publishes_and_nobody_else() {
    use convoke_core::MediaKind::{Audio, Video};
    let mut world = connected(&[None, Some(Codec::Vp8), Some(Codec::Vp8)]);
    let slot = |kind| world.peers[0].slots.iter().find(|s| s.kind == kind).unwrap().mid;
    let (audio, video) = (slot(Audio), slot(Video));
    let wish = |mid, show| SlotWish {
        mid,
        show,
        width: None,
        height: None,
        max_frame_rate: None,
        priority: 0,
    };
    let participant = ParticipantId(1);
    let look_at = |world: &mut World, id: u32| {
        let show = Show::Participant(ParticipantId(id));
        let wishes = vec![wish(audio, show), wish(video, show)];
        world.command(Action::SetView { participant, wishes }).unwrap();
        world.run(Duration::from_millis(100));
    };
    let seen = |world: &World| {
        [audio, video].map(|mid| {
            let slot = world.peers[0].slots.iter().find(|s| s.mid == mid).unwrap();
            slot.assigned.map(|(participant, _)| participant.0)
        })
    };
    look_at(&mut world, 3);
    assert_eq!(seen(&world), [Some(3); 2]);
    // Who is not there yet is shown when it comes, and again when it comes again.
    look_at(&mut world, 9);
    assert_eq!(seen(&world), [None; 2]);
    let peer = world.join(9, Some(Codec::Vp8));
    world.run(Duration::from_millis(300));
    assert_eq!(seen(&world), [Some(9); 2]);
    world.leave(peer);
    world.run(Duration::from_millis(300));
    assert_eq!(seen(&world), [None; 2]);
    look_at(&mut world, 1);
    assert_eq!(seen(&world), [None; 2], "oneself is not to be seen");
    // A wish for a size alone changes nothing else; sound takes no other wish.
    let wishes = vec![wish(video, Show::Default)];
    world.command(Action::SetView { participant, wishes }).unwrap();
    world.run(Duration::from_millis(100));
    let slots = world.peers[0].slots.iter().filter(|slot| slot.kind == Video);
    assert_eq!(slots.filter(|slot| slot.assigned.is_some()).count(), 2);
    let wishes = vec![wish(audio, Show::ActiveSpeaker)];
    let refused = world.command(Action::SetView { participant, wishes });
    assert!(matches!(refused, Err(CommandError::View { index: 0, .. })), "{refused:?}");
}

#[test]
fn permissions_are_enforced_whatever_the_client_sends() {
    let mut world = connected(&[Some(Codec::Vp8), None]);
    let participant = ParticipantId(1);
    let silent = Permissions { microphone: false, camera: false, ..Permissions::ALL };
    world.command(Action::SetPermissions { participant, permissions: silent }).unwrap();
    world.run(Duration::from_millis(100));
    world.peers[1].received.clear();
    world.run(SECOND);
    assert!(world.peers[1].received.is_empty());
    let mid = world.peers[0].offers.send_mids[0].clone();
    let track = declaration("mic2", Source::Microphone, &mid);
    let refused = world.command(Action::Publish { participant, track: track.clone() });
    assert!(matches!(refused, Err(CommandError::NotAllowed(_))), "{refused:?}");
    let permissions = Permissions::ALL;
    world.command(Action::SetPermissions { participant, permissions }).unwrap();
    world.command(Action::Publish { participant, track }).unwrap();
    world.run(SECOND);
    assert!(world.got(1, 1, Codec::Opus).len() >= 45, "a new grant works without a new join");
    // Receiving is a permission too.
    let deaf = Permissions { receive: false, ..Permissions::ALL };
    let participant = ParticipantId(2);
    world.command(Action::SetPermissions { participant, permissions: deaf }).unwrap();
    world.run(Duration::from_millis(100));
    world.peers[1].received.clear();
    world.run(SECOND);
    assert!(world.peers[1].received.is_empty());
}

#[test]
fn a_source_is_muted_whatever_the_client_sends_and_may_be_unmuted() {
    let mut world = connected(&[Some(Codec::Vp8), None]);
    let participant = ParticipantId(1);
    let mute = || Action::MuteSource { participant, source: Source::Microphone };
    let muted = world.command(mute());
    assert!(matches!(muted, Ok(Reply::Muted { tracks: 1 })), "{muted:?}");
    let again = world.command(mute());
    assert!(matches!(again, Ok(Reply::Muted { tracks: 0 })), "{again:?}");
    world.run(Duration::from_millis(100));
    world.peers[1].received.clear();
    world.run(SECOND);
    assert!(world.got(1, 1, Codec::Opus).is_empty());
    assert!(!world.got(1, 1, Codec::Vp8).is_empty(), "the camera goes on");
    let snapshot = world.command(Action::Snapshot { participant }).unwrap();
    let Reply::Snapshot(snapshot) = snapshot else { panic!("{snapshot:?}") };
    let tracks = &snapshot.participants[0].tracks;
    let microphone = tracks.iter().find(|track| track.source == Source::Microphone).unwrap();
    assert!(microphone.muted);
    let client_id = microphone.client_id.clone();
    world.command(Action::SetMuted { participant, client_id, muted: false }).unwrap();
    world.run(SECOND);
    assert!(world.got(1, 1, Codec::Opus).len() >= 45);
    let nobody = Action::MuteSource { participant: ParticipantId(9), source: Source::Camera };
    assert!(matches!(world.command(nobody), Err(CommandError::NoSuchParticipant)));
}

#[test]
fn nothing_is_left_after_all_have_gone_by_every_way() {
    let mut world = connected(&[Some(Codec::Vp8), Some(Codec::Vp8), Some(Codec::Vp8)]);
    assert_eq!(gauges(world.worker.stats()), [1, 3, 6, 6]);
    world.leave(0);
    // One goes silent, one says goodbye on its transports.
    world.peers[1].cut = true;
    let now = world.now;
    world.peers[2].media.close(now);
    world.run(SECOND * 40);
    assert_eq!(gauges(world.worker.stats()), [0; 4]);
    assert_eq!(world.worker.next_timeout(), None);
    let mut reasons = Vec::new();
    for event in &world.events {
        if let Event::Room { change: RoomChange::ParticipantLeft { participant, reason }, .. } =
            event
        {
            reasons.push((participant.0, *reason));
        }
    }
    reasons.sort_by_key(|(id, _)| *id);
    let expected = [(1, LeaveReason::Left), (2, LeaveReason::MediaLost), (3, LeaveReason::Left)];
    assert_eq!(reasons, expected);
    assert!(world.events.iter().any(|e| matches!(e, Event::RoomClosed { room } if *room == ROOM)));
}

#[test]
fn versions_only_rise_and_slot_events_add_up_to_the_snapshot() {
    let mut world = connected(&[Some(Codec::Vp8), Some(Codec::Vp8)]);
    world.join(3, Some(Codec::Vp9));
    world.run(SECOND);
    world.leave(1);
    world.run(SECOND);
    let versions: Vec<u64> = world
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Room { version, .. }
            | Event::Slots { version, .. }
            | Event::Speakers { version, .. } => Some(*version),
            _ => None,
        })
        .collect();
    assert!(versions.windows(2).all(|pair| pair[0] < pair[1]), "{versions:?}");
    for peer in [0, 2] {
        assert_eq!(world.snapshot(peer).slots, world.peers[peer].slots);
    }
}

#[test]
fn a_refused_join_leaves_no_trace() {
    let mut world = World::new(config(), 1);
    let (_, offers, _) = world.media(|_| {});
    let good = world.request(1, &offers, vec![]);
    let mic = &offers.send_mids[0];
    let audio_only = |text: &Option<String>| text.clone().unwrap();
    let bad_sdp = |text: &str| JoinRequest { send_offer: Some(text.into()), ..good.clone() };
    let no_group = audio_only(&good.send_offer).replace("a=group:BUNDLE", "a=x-group:BUNDLE");
    let twice = audio_only(&good.send_offer)
        .replace(&format!("a=mid:{}", offers.send_mids[1]), &format!("a=mid:{mic}"));
    let table: Vec<(&str, JoinRequest, &str)> = vec![
        ("empty", bad_sdp(""), "no m-line"),
        ("text", bad_sdp("hello\r\nm=audio"), "a=mid"),
        ("cut", bad_sdp(&audio_only(&good.send_offer)[..300]), ""),
        ("large", bad_sdp(&"a=x\r\n".repeat(300_000)), "bytes"),
        ("sections", bad_sdp(&"m=audio 9 x 0\r\na=mid:1\r\n".repeat(200)), "m-lines"),
        ("no group", bad_sdp(&no_group), "BUNDLE"),
        ("mid twice", bad_sdp(&twice), "twice"),
        (
            "unknown mid",
            JoinRequest {
                tracks: vec![declaration("a", Source::Microphone, "zz")],
                ..good.clone()
            },
            "not in the send offer",
        ),
        (
            "wrong kind",
            JoinRequest { tracks: vec![declaration("a", Source::Camera, mic)], ..good.clone() },
            "media kind",
        ),
        (
            "mid used twice",
            JoinRequest {
                tracks: vec![
                    declaration("a", Source::Microphone, mic),
                    declaration("b", Source::Microphone, mic),
                ],
                ..good.clone()
            },
            "used twice",
        ),
    ];
    for (name, request, expected) in table {
        let refused = world.command(Action::Join(request));
        let text = refused.expect_err(name).to_string();
        assert!(text.contains(expected), "{name}: {text}");
        assert_eq!(gauges(world.worker.stats()), [0; 4], "{name}");
        assert!(world.events.is_empty(), "{name}: {:?}", world.events);
    }
    assert!(matches!(world.command(Action::Join(good)), Ok(Reply::Joined { .. })));
}

#[test]
fn limits_hold_at_their_edge() {
    let mut limited = config();
    limited.limits.room_participants = 2;
    limited.limits.audio_slots = 4;
    limited.limits.tracks = 2;
    let mut world = World::new(limited, 1);
    world.join(1, Some(Codec::Vp8));
    let (_, offers, _) = world.media(|config| config.audio_slots = 5);
    let request = world.request(2, &offers, vec![]);
    let refused = world.command(Action::Join(request));
    assert_eq!(refused.unwrap_err(), CommandError::Limit("audio slots of one participant"));
    let (_, offers, _) = world.media(|_| {});
    let request = world.request(1, &offers, vec![]);
    assert_eq!(world.command(Action::Join(request)).unwrap_err(), CommandError::ParticipantExists);
    world.join(2, None);
    let request = world.request(3, &offers, vec![]);
    let refused = world.command(Action::Join(request));
    assert_eq!(refused.unwrap_err(), CommandError::Limit("participants in this room"));
}

/// SE-06: random bytes.
#[test]
fn se_06_junk_costs_nothing_and_a_call_beside_it_does_not_notice() {
    let mut world = connected(&[Some(Codec::Vp8), Some(Codec::Vp8)]);
    for peer in &mut world.peers {
        peer.received.clear();
    }
    let local = SocketAddr::from(SERVER);
    let stranger = SocketAddr::from(([127, 0, 0, 1], 31_337));
    let known = world.peers[0].local[0];
    let mut state = 12_345u64;
    for number in 0..10_000u32 {
        let mut bytes: Vec<u8> = (0..(number % 200))
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_be_bytes()[0]
            })
            .collect();
        if let Some(first) = bytes.first_mut() {
            *first = number.to_le_bytes()[0];
        }
        let source = if number % 2 == 0 { stranger } else { known };
        let input = Input::Datagram { source, local, bytes: &bytes };
        world.worker.handle(world.now, input, &mut world.out);
        if number % 100 == 0 {
            world.run(Duration::from_millis(5));
        }
    }
    world.run(SECOND);
    let stats = world.worker.stats();
    // The rest came from a known address, looked like SRTP or DTLS and failed inside.
    assert!(stats.drops.iter().sum::<u64>() >= 7_500, "{:?}", stats.drops);
    assert_eq!(stats.peer_panics, 0);
    for (peer, from) in [(0, 2), (1, 1)] {
        assert!(world.got(peer, from, Codec::Opus).len() >= 70);
        let video = world.got(peer, from, Codec::Vp8);
        let gaps = video.windows(2).filter(|w| w[1].sequence != w[0].sequence + 1).count();
        assert_eq!(gaps, 0, "{peer} misses packets of {from}");
    }
}

/// A publisher's packet that fits nowhere costs the publisher that packet, not its subscribers
/// their transports.
#[test]
fn an_oversize_payload_is_dropped_at_the_door() {
    let mut world = connected(&[Some(Codec::Vp8), Some(Codec::Vp8), None]);
    world.peers[0].video = None;
    for (size, forwarded) in [(1_500usize, true), (1_501, false), (1_800, false)] {
        for peer in &mut world.peers {
            peer.received.clear();
        }
        let before = world.worker.stats();
        let mut payload = vec![0x10, 0x00, 0, 0, 0x9d, 0x01, 0x2a];
        payload.resize(size, 7);
        let packet = convoke_client::media::Packet {
            marker: true,
            ..convoke_client::media::Packet::new(Codec::Vp8, 5, payload)
        };
        let now = world.now;
        world.peers[0].media.write(now, 1, packet).unwrap();
        world.run(Duration::from_millis(200));
        for subscriber in [1, 2] {
            let got = world.got(subscriber, 1, Codec::Vp8).len();
            assert_eq!(got, usize::from(forwarded), "{size} bytes to {subscriber}");
        }
        let after = world.worker.stats();
        assert_eq!(after.peer_panics, 0);
        let drops = after.drops.iter().sum::<u64>() - before.drops.iter().sum::<u64>();
        assert_eq!(drops, u64::from(!forwarded));
    }
    world.run(SECOND);
    assert!(world.got(2, 2, Codec::Vp8).len() > 50, "the call goes on");
}

/// SE-06, LC-03: what cannot be opened is no sign of life.
#[test]
fn se_06_junk_from_a_known_address_does_not_keep_a_dead_peer_alive() {
    let mut world = connected(&[None, None]);
    world.peers[0].cut = true;
    let local = SocketAddr::from(SERVER);
    for round in 0..400u32 {
        for source in world.peers[0].local {
            for first in [0u8, 1, 22, 128, 200] {
                let mut bytes = vec![first; 60];
                bytes.extend(round.to_be_bytes());
                let input = Input::Datagram { source, local, bytes: &bytes };
                world.worker.handle(world.now, input, &mut world.out);
            }
        }
        world.run(Duration::from_millis(100));
    }
    assert_eq!(gauges(world.worker.stats())[1], 1);
}

/// JN-03: what a receiver cannot take is said, and nobody asks for keyframes of it.
#[test]
fn jn_03_a_codec_that_the_subscriber_lacks_is_told_not_shown_black() {
    let mut world = World::new(config(), 1);
    world.join(1, Some(Codec::Vp9));
    let only_vp8 = world.join_with(2, None, |config| config.video_codecs = vec![Codec::Vp8]);
    world.run(SECOND * 2);
    let states: Vec<SlotState> = world.peers[only_vp8]
        .slots
        .iter()
        .filter(|slot| slot.kind == convoke_core::MediaKind::Video && slot.assigned.is_some())
        .map(|slot| slot.state)
        .collect();
    assert_eq!(states, [SlotState::CodecNotSupported]);
    assert!(world.got(only_vp8, 1, Codec::Vp9).is_empty());
    let requests = world.peers[0].keyframe_requests;
    world.run(SECOND * 10);
    assert_eq!(world.peers[0].keyframe_requests, requests, "no keyframe would help");
    // The publisher changes to one that it has.
    let (id, epoch, now) = (1, world.start, world.now);
    let vp8 = convoke_client::source::VideoConfig::new(Codec::Vp8, id, epoch, now);
    world.peers[0].video = Some((1, convoke_client::source::VideoSource::new(vp8, 3)));
    world.run(SECOND);
    assert!(world.got(only_vp8, 1, Codec::Vp8).len() > 25);
}

/// IC-06: from Wi-Fi to mobile.
#[test]
fn ic_06_a_network_switch_with_an_ice_restart_keeps_participant_and_streams() {
    let mut world = connected(&[Some(Codec::Vp8), Some(Codec::Vp8)]);
    world.run(SECOND);
    let before = world.got(1, 1, Codec::Vp8).last().map(|p| (p.ssrc, p.sequence)).unwrap();
    // Everything of peer 1 moves to new ports.
    let roles = [
        (convoke_core::TransportRole::Send, convoke_protocol::TransportRole::Send),
        (convoke_core::TransportRole::Receive, convoke_protocol::TransportRole::Receive),
    ];
    for (index, (role, wire)) in roles.into_iter().enumerate() {
        let local = SocketAddr::from(([127, 0, 0, 1], 40_000 + u16::try_from(index).unwrap()));
        let now = world.now;
        let sdp = world.peers[1].media.restart_ice(wire, Some(local)).unwrap();
        let reply = world.command(Action::Offer { participant: ParticipantId(2), role, sdp });
        let Ok(Reply::Answer { sdp, .. }) = reply else { panic!("{reply:?}") };
        world.peers[1].media.accept_answer(now, wire, &sdp).unwrap();
        world.peers[1].local[index] = local;
    }
    world.peers[1].received.clear();
    world.peers[0].received.clear();
    world.run(SECOND * 3);
    let video = world.got(1, 1, Codec::Vp8);
    assert!(video.len() > 150, "{}", video.len());
    assert_eq!(video[0].ssrc, before.0);
    assert!(video[0].sequence > before.1);
    assert!(world.got(0, 2, Codec::Vp8).len() > 150);
    assert_eq!(gauges(world.worker.stats())[1], 2);
}

#[test]
fn a_further_offer_adds_slots_and_can_stop_them() {
    let mut world = connected(&[None, Some(Codec::Vp8)]);
    let offer = world.peers[0].offers.receive.clone().unwrap();
    let last = offer.rfind("m=video").unwrap();
    let mid = world.peers[0].offers.video_mids.last().unwrap().clone();
    let section = offer[last..].replace(&format!("a=mid:{mid}"), "a=mid:extra");
    let more =
        format!("{offer}{section}").replace(&format!(" {mid}\r\n"), &format!(" {mid} extra\r\n"));
    let (participant, role) = (ParticipantId(1), convoke_core::TransportRole::Receive);
    let reply = world.command(Action::Offer { participant, role, sdp: more.clone() });
    let Ok(Reply::Answer { sdp, slots }) = reply else { panic!("{reply:?}") };
    assert_eq!(slots.len(), 9);
    assert_eq!((slots[8].mid.as_str(), slots[8].index), ("extra", 4));
    assert!(sdp.contains("a=msid:slot-4 video-4"));
    // A wrong one changes nothing.
    let wrong = more.replace("a=mid:extra", "a=mid:other");
    let refused = world.command(Action::Offer { participant, role, sdp: wrong });
    assert!(matches!(refused, Err(CommandError::Sdp { .. })), "{refused:?}");
    world.run(SECOND);
    assert!(world.got(0, 2, Codec::Vp8).len() > 50);
    assert_eq!(world.snapshot(0).slots.len(), 9);
}

/// IC-03: the user name decides, not who had the address before.
#[test]
fn ic_03_an_old_address_goes_to_whoever_proves_it() {
    // A session ends; another client gets its port at once, with its own user name.
    let mut world = World::new(config(), 1);
    let first = world.join(1, None);
    let port = world.peers[first].local;
    world.run(SECOND);
    world.peers[first].cut = true;
    let second = world.join_with(2, None, |config| {
        [config.send_addr, config.receive_addr] = port;
    });
    world.run(SECOND);
    assert_eq!(world.peers[second].connected, 2);
    world.run(SECOND * 40);
    let gone = world.events.iter().any(|event| {
        matches!(event, Event::Room { change: RoomChange::ParticipantLeft { participant, reason }, .. }
            if participant.0 == 1 && *reason == LeaveReason::MediaLost)
    });
    assert!(gone, "the new session does not keep the old one alive");
    assert_eq!(gauges(world.worker.stats())[1], 1);
}

/// What a large room is sent leaves in parts, and each transport is driven once.
#[test]
fn a_turn_ends_in_parts() {
    let mut codecs = vec![Some(Codec::Vp8)];
    codecs.resize(8, None);
    let mut world = connected(&codecs);
    let media = |world: &World| {
        // RTP, not RTCP (RFC 5761 §4).
        let is_media =
            |bytes: &[u8]| matches!(bytes, [128..=191, kind, ..] if !(192..224).contains(kind));
        let sent = world.out.transmits.iter().filter(|one| is_media(&one.contents));
        sent.map(|one| one.destination).collect::<Vec<_>>()
    };
    // Until a packet of the first one's has come in.
    let mut forwarded = 0;
    for _ in 0..100 {
        world.begin_step();
        forwarded = world.worker.forwarded();
        while world.worker.forwarded() == forwarded
            && let Some(transmit) = world.peers[0].media.poll_transmit()
        {
            let (source, local) = (transmit.local, transmit.destination);
            let input = Input::Datagram { source, local, bytes: &transmit.contents };
            world.worker.handle(world.now, input, &mut world.out);
        }
        if world.worker.forwarded() > forwarded {
            break;
        }
        world.exchange();
    }
    assert_eq!(world.worker.forwarded() - forwarded, 7);
    world.out.transmits.clear();
    let part = |world: &mut World, datagrams| {
        world.worker.handle(world.now, Input::Part { datagrams }, &mut world.out);
        (media(world).len(), world.worker.has_touched())
    };
    let before = world.worker.stats().datagrams_out;
    assert_eq!(part(&mut world, 0), (0, true));
    assert_eq!(part(&mut world, 3), (3, true));
    assert_eq!(part(&mut world, 3), (6, true));
    assert!(world.worker.next_timeout().is_some_and(|at| at <= world.now), "the turn is open");
    assert_eq!(part(&mut world, 100), (7, false));
    world.worker.handle(world.now, Input::Timeout, &mut world.out);
    let mut destinations = media(&world);
    destinations.sort_unstable();
    destinations.dedup();
    assert_eq!((destinations.len(), media(&world).len()), (7, 7), "once to each");
    assert_eq!(world.worker.stats().datagrams_out - before, world.out.transmits.len() as u64);
}
