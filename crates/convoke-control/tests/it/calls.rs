//! Calls: their beginning, their end, and what their members hear.

use std::time::Duration;

use convoke_protocol::{EndReason, ErrorCode, GroupId, ServerMessage, close};
use serde_json::json;

use crate::support::{Server, expect_code, join, offers};

fn ended(message: &ServerMessage) -> Option<EndReason> {
    match message {
        ServerMessage::Ended(m) => Some(m.reason.clone()),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_simultaneous_first_joins_make_one_call() {
    let server = Server::start().await;
    for _ in 0..10 {
        let group = GroupId::random();
        let ((mut a, in_a), (mut b, in_b)) =
            tokio::join!(server.participant("a", group), server.participant("b", group));
        assert_eq!(in_a.call_id, in_b.call_id);
        assert_ne!(in_a.participant_id, in_b.participant_id);
        // Whoever came first hears of the other; whoever came second has it in the snapshot.
        let (first, second) =
            if in_a.version < in_b.version { (&mut a, &in_b) } else { (&mut b, &in_a) };
        assert_eq!(second.participants.len(), 2);
        let heard = first.wait_for(|message| match message {
            ServerMessage::ParticipantJoined(m) => Some(m.participant.participant_id.clone()),
            _ => None,
        });
        assert_eq!(heard.await, second.participant_id);
        for (agent, joined) in [(&mut a, &in_a), (&mut b, &in_b)] {
            let leave = json!({ "type": "leave", "callId": joined.call_id });
            assert_eq!(ended(&agent.ask(leave).await), Some(EndReason::left()));
        }
    }
    server.becomes_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_and_leaving_in_a_race_always_meets_in_one_call() {
    let server = Server::start().await;
    let group = GroupId::random();
    let churn = (0..4).map(|who| {
        let server = &server;
        async move {
            let mut agent = server.agent(&format!("p{who}")).await;
            for _ in 0..15 {
                let joined = agent.join(group).await;
                let ids: Vec<_> =
                    joined.participants.iter().map(|p| p.participant_id.as_str()).collect();
                assert!(ids.contains(&joined.participant_id.as_str()));
                let leave = json!({ "type": "leave", "callId": joined.call_id });
                let reply = agent.ask(leave).await;
                assert_eq!(ended(&reply), Some(EndReason::left()), "{reply:?}");
            }
        }
    });
    futures_util::future::join_all(churn).await;
    server.becomes_empty().await;
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_hear_of_everything_with_growing_versions() {
    let server = Server::start().await;
    let group = GroupId::random();
    let (mut alice, in_alice) = server.participant("alice", group).await;
    let (mut bob, in_bob) = server.participant("bob", group).await;
    assert_eq!(in_alice.group_id, group.to_string());
    assert_eq!(in_bob.participants.len(), 2);
    assert_eq!(in_bob.participants[0].identity, "alice", "in order of joining");
    assert_eq!(in_bob.slots.len(), offers().audio_mids.len() + offers().video_mids.len());
    let call = &in_bob.call_id;
    let mids = offers().send_mids;
    for message in [
        json!({ "type": "publish", "callId": call,
            "track": { "clientId": "cam", "source": "camera", "mid": mids[1] } }),
        json!({ "type": "mute", "callId": call, "clientId": "cam", "muted": true }),
        json!({ "type": "unpublish", "callId": call, "clientId": "cam" }),
    ] {
        assert!(matches!(bob.ask(message).await, ServerMessage::Ack(_)));
    }
    let leave = json!({ "type": "leave", "callId": call });
    assert!(matches!(bob.ask(leave).await, ServerMessage::Ended(_)));
    let mut version = in_alice.version;
    let mut seen = Vec::new();
    while !seen.ends_with(&["left"]) {
        let message = match alice.heard.is_empty() {
            true => alice.hear().await.unwrap(),
            false => alice.heard.remove(0),
        };
        let (name, now) = match message {
            ServerMessage::ParticipantJoined(m) => ("joined", m.version),
            ServerMessage::TrackPublished(m) => {
                assert_eq!(m.participant_id, in_bob.participant_id);
                ("published", m.version)
            }
            ServerMessage::TrackUpdated(m) => {
                assert!(m.track.muted);
                ("updated", m.version)
            }
            ServerMessage::TrackUnpublished(m) => ("unpublished", m.version),
            ServerMessage::ParticipantLeft(m) => ("left", m.version),
            ServerMessage::Slots(m) => {
                assert!(m.version > in_alice.version);
                continue;
            }
            // Of no version.
            ServerMessage::CapabilitiesChanged(_) => continue,
            other => panic!("{other:?}"),
        };
        assert!(now > in_alice.version && now >= version, "{name}");
        version = now;
        seen.push(name);
    }
    let ends = ["published", "updated", "unpublished", "left"];
    assert_eq!((seen[0], &seen[seen.len() - 4..]), ("joined", &ends[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_within_a_call_are_refused_and_change_nothing() {
    let server = Server::start().await;
    let (mut agent, joined) = server.participant("alice", GroupId::random()).await;
    let call = &joined.call_id;
    let audio = &joined.slots[0].mid;
    let video = &joined.slots.last().unwrap().mid;
    let wish = |slots: serde_json::Value| json!({ "type": "view", "callId": call, "slots": slots });
    use ErrorCode as E;
    for (message, code) in [
        (
            json!({ "type": "mute", "callId": call, "clientId": "x", "muted": true }),
            E::TrackNotFound,
        ),
        (json!({ "type": "unpublish", "callId": call, "clientId": "x" }), E::TrackNotFound),
        (
            json!({ "type": "publish", "callId": call,
            "track": { "clientId": "mic", "source": "microphone", "mid": "zz" } }),
            E::TrackInvalid,
        ),
        (wish(json!([{ "mid": audio, "follow": "activeSpeaker" }])), E::ViewInvalid),
        (wish(json!([{ "mid": "zz", "follow": "activeSpeaker" }])), E::ViewInvalid),
        (wish(json!([{ "mid": video, "trackId": "tffff" }])), E::ViewInvalid),
        (wish(json!([{ "mid": video, "trackId": "x" }])), E::ViewInvalid),
        (wish(json!([{ "mid": video }])), E::ViewInvalid),
        (
            wish(json!([{ "mid": video, "follow": "screenShare" },
            { "mid": video, "follow": "screenShare" }])),
            E::ViewInvalid,
        ),
        (wish(json!(vec![json!({ "mid": video, "follow": "screenShare" }); 65])), E::LimitExceeded),
        (
            json!({ "type": "offer", "callId": call, "transport": "send", "sdp": "v=0" }),
            E::SdpInvalid,
        ),
        (json!({ "type": "leave", "callId": "c0" }), E::NotInCall),
    ] {
        let text = message.to_string();
        assert_eq!(agent.refused(message).await.code, code, "{text}");
    }
    let good = wish(json!([{ "mid": video, "follow": "screenShare" }]));
    assert!(matches!(agent.ask(good).await, ServerMessage::Ack(_)));
    assert!(matches!(
        agent.ask(json!({ "type": "view", "callId": call })).await,
        ServerMessage::Ack(_)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_refuses_joins_lets_calls_go_on_and_resume_works() {
    let server = Server::start().await;
    let group = GroupId::random();
    let (mut alice, joined) = server.participant("alice", group).await;
    let mut bob = server.agent("bob").await;
    assert_eq!(server.get("/readyz").await.status, 200);
    server.control.drain();
    let ready = server.get("/readyz").await;
    assert_eq!((ready.status, ready.code().as_str()), (503, "draining"));
    assert_eq!(server.get("/healthz").await.status, 200);
    for target in [group, GroupId::random()] {
        let reply = bob.refused(join(target)).await;
        expect_code(&reply, ErrorCode::Draining, None);
        assert!(reply.retry_after_ms.is_some());
    }
    alice.ping().await;
    alice.cut();
    let mut alice = server.agent("alice").await;
    alice.resume(&joined.resume_token).await;
    let idle = tokio::spawn({
        let control = server.control.clone();
        async move { control.wait_idle().await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!idle.is_finished());
    alice.ask(json!({ "type": "leave", "callId": joined.call_id })).await;
    tokio::time::timeout(crate::support::PATIENCE, idle).await.unwrap().unwrap();
    assert_eq!(server.control.active_calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn end_all_says_goodbye_to_everyone() {
    let server = Server::start().await;
    let (mut alice, _) = server.participant("alice", GroupId::random()).await;
    let (mut bob, _) = server.participant("bob", GroupId::random()).await;
    let mut idle = server.agent("idle").await;
    server.control.end_all(EndReason::call_ended()).await;
    for agent in [&mut alice, &mut bob] {
        assert_eq!(agent.wait_for(ended).await, EndReason::call_ended());
        agent.ping().await;
    }
    server.becomes_empty().await;
    let (mut carol, _) = server.participant("carol", GroupId::random()).await;
    server.control.end_all(EndReason::server_stopped()).await;
    assert_eq!(carol.wait_for(ended).await, EndReason::server_stopped());
    for agent in [&mut alice, &mut carol, &mut idle] {
        assert_eq!(agent.close_code().await, close::GOING_AWAY);
    }
    server.becomes_empty().await;
    assert_eq!(server.control.active_agents(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_worker_ends_its_calls_alone_and_the_next_join_is_fresh() {
    let server = Server::with_node(|_| {}, |media| media.workers = 1).await;
    let group = GroupId::random();
    let (mut alice, joined) = server.participant("alice", group).await;
    // With one worker, any room is on it.
    server.handle.fail_worker(server.handle.new_room());
    assert_eq!(alice.wait_for(ended).await, EndReason::server_failed());
    let again = alice.join(group).await;
    assert_ne!(again.call_id, joined.call_id);
    assert_eq!(again.participants.len(), 1);
    let stale = json!({ "type": "leave", "callId": joined.call_id });
    expect_code(&alice.refused(stale).await, ErrorCode::NotInCall, Some("callId"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_node_ends_all_calls() {
    let mut server = Server::start().await;
    let (mut alice, _) = server.participant("alice", GroupId::random()).await;
    server.stop_node().await;
    assert_eq!(alice.wait_for(ended).await, EndReason::server_stopped());
    assert_eq!(server.control.active_calls(), 0);
    let reply = alice.refused(join(GroupId::random())).await;
    assert_eq!(reply.code, ErrorCode::Busy);
    assert_eq!(server.control.active_calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_media_ends_the_participant() {
    let short = Duration::from_secs(2);
    let server = Server::with_node(|_| {}, |media| media.media_timeout = short).await;
    let (mut alice, _) = server.participant("alice", GroupId::random()).await;
    assert_eq!(alice.wait_for(ended).await, EndReason::media_lost());
    server.becomes_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lagging_behind_the_node_is_healed_by_snapshots() {
    // Room for one event only: most are lost, and told as such.
    let server = Server::with_node(|_| {}, |media| media.events = 1).await;
    let group = GroupId::random();
    let (mut watcher, _) = server.participant("watcher", group).await;
    let mut agents = Vec::new();
    for who in 0..12 {
        agents.push(server.participant(&format!("p{who}"), group).await);
    }
    let mut known = std::collections::BTreeSet::new();
    let mut snapshot = 0;
    while known.len() < 12 {
        let message = match watcher.heard.is_empty() {
            true => watcher.hear().await.unwrap(),
            false => watcher.heard.remove(0),
        };
        match message {
            ServerMessage::Snapshot(m) => {
                assert!(m.version >= snapshot);
                snapshot = m.version;
                let others = m.participants.into_iter().filter(|p| p.identity != "watcher");
                known = others.map(|p| p.participant_id).collect();
            }
            ServerMessage::ParticipantJoined(m) if m.version > snapshot => {
                known.insert(m.participant.participant_id);
            }
            _ => {}
        }
    }
}
