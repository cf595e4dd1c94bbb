//! Calls that span workers: clients notice nothing of it.

use std::time::{Duration, Instant};

use convoke_control::ControlConfig;
use convoke_node::core::{Permissions, RoomId};
use convoke_protocol::{EndReason, GroupId, Joined, ServerMessage};
use serde_json::json;

use crate::support::{Bystander, PATIENCE, Raw, Server, offers};

/// Every participant on a worker of its own, while there are any.
async fn spanning(workers: usize) -> Server {
    let one_each = |node: &mut convoke_node::NodeConfig| {
        (node.workers, node.participants_per_shard) = (workers, 1);
    };
    Server::with_node(|_: &mut ControlConfig| {}, one_each).await
}

/// Waits until the counters, which are a little old, say that each worker has one participant.
async fn one_on_each(server: &Server) {
    let end = Instant::now() + PATIENCE;
    while !server.handle.stats().iter().all(|worker| worker.core.participants == 1) {
        assert!(Instant::now() < end, "{:?}", server.handle.stats());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until an agent knows so many participants, itself included.
async fn knows(agent: &mut Raw, joined: &Joined, count: usize) {
    let mut known: Vec<String> =
        joined.participants.iter().map(|p| p.participant_id.clone()).collect();
    while known.len() < count {
        let id = agent.wait_for(|message| match message {
            ServerMessage::ParticipantJoined(m) => Some(m.participant.participant_id.clone()),
            _ => None,
        });
        let id = id.await;
        assert!(!known.contains(&id), "{id} joined twice");
        known.push(id);
    }
}

/// What an agent hears of someone until that has left, in order; versions must rise.
async fn hears_until_left(agent: &mut Raw, id: &str) -> Vec<&'static str> {
    let mut told = Vec::new();
    let mut latest = 0;
    let mut heard = std::mem::take(&mut agent.heard).into_iter();
    while told.last() != Some(&"left") {
        let message = match heard.next() {
            Some(message) => message,
            None => agent.hear().await.unwrap(),
        };
        let (of, name, version) = match message {
            ServerMessage::TrackPublished(m) => (m.participant_id, "published", m.version),
            ServerMessage::TrackUnpublished(m) => (m.participant_id, "unpublished", m.version),
            ServerMessage::TrackUpdated(m) => (m.participant_id, "updated", m.version),
            ServerMessage::ParticipantLeft(m) => (m.participant_id, "left", m.version),
            ServerMessage::Slots(m) => (String::new(), "slots", m.version),
            ServerMessage::Speakers(m) => (String::new(), "speakers", m.version),
            // It stands for the changes before it.
            ServerMessage::Snapshot(m) => (id.to_owned(), "snapshot", m.version),
            _ => continue,
        };
        assert!(version > latest, "{name}: {version} after {latest}");
        latest = version;
        if of == id {
            told.push(name);
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_hears_everything_once_whatever_worker_they_are_on() {
    let server = spanning(3).await;
    let group = GroupId::random();
    let (mut alice, in_alice) = server.participant("alice", group).await;
    let (mut bob, in_bob) = server.participant("bob", group).await;
    let (mut carol, in_carol) = server.participant("carol", group).await;
    assert!(in_alice.call_id == in_bob.call_id && in_bob.call_id == in_carol.call_id);
    for (agent, joined) in [(&mut alice, &in_alice), (&mut bob, &in_bob), (&mut carol, &in_carol)] {
        knows(agent, joined, 3).await;
        // What was said while they came together is another matter.
        agent.heard.clear();
    }
    one_on_each(&server).await;
    let mid = &offers().send_mids[1];
    for message in [
        json!({ "type": "publish", "callId": in_bob.call_id,
            "track": { "clientId": "cam", "source": "camera", "mid": mid } }),
        json!({ "type": "mute", "callId": in_bob.call_id, "clientId": "mic", "muted": true }),
    ] {
        assert!(matches!(bob.ask(message).await, ServerMessage::Ack(_)));
    }
    let dark = Permissions { camera: false, ..Permissions::ALL };
    server.control.set_permissions(group, "bob", dark).await.unwrap();
    let leave = json!({ "type": "leave", "callId": in_bob.call_id });
    assert!(matches!(bob.ask(leave).await, ServerMessage::Ended(_)));
    for agent in [&mut alice, &mut carol] {
        let told = hears_until_left(agent, &in_bob.participant_id).await;
        let mut told = &told[..];
        // The microphone of the join may have been told after the participant.
        if told.len() == 5 {
            told = &told[1..];
        }
        assert_eq!(told, ["published", "updated", "unpublished", "left"]);
    }
    for (agent, joined) in [(&mut alice, &in_alice), (&mut carol, &in_carol)] {
        let leave = json!({ "type": "leave", "callId": joined.call_id });
        assert!(matches!(agent.ask(leave).await, ServerMessage::Ended(_)));
    }
    server.becomes_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_passes_between_workers_whole() {
    let server = spanning(2).await;
    let call = Bystander::start(&server).await;
    one_on_each(&server).await;
    call.did_not_notice().await;
    server.becomes_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_ended_ends_on_all_workers() {
    let server = spanning(3).await;
    let group = GroupId::random();
    let mut agents = Vec::new();
    for name in ["a", "b", "c"] {
        agents.push(server.participant(name, group).await.0);
    }
    server.control.end_all(EndReason::call_ended()).await;
    for mut agent in agents {
        agent.wait_for(|m| matches!(m, ServerMessage::Ended(_)).then_some(())).await;
    }
    server.becomes_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_comes_back_is_on_its_own_worker_still() {
    let server = spanning(2).await;
    let group = GroupId::random();
    let (mut alice, in_alice) = server.participant("alice", group).await;
    let (bob, in_bob) = server.participant("bob", group).await;
    knows(&mut alice, &in_alice, 2).await;
    bob.cut();
    let unreachable = |message: &ServerMessage| match message {
        ServerMessage::ParticipantUpdated(m) => Some(m.participant_id.clone()),
        _ => None,
    };
    assert_eq!(alice.wait_for(unreachable).await, in_bob.participant_id);
    let mut again = server.agent("bob").await;
    let resumed = again.resume(&in_bob.resume_token).await;
    assert_eq!(resumed.participants.len(), 2);
    assert_eq!(resumed.participant_id, in_bob.participant_id);
    assert_eq!(alice.wait_for(unreachable).await, in_bob.participant_id);
    one_on_each(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_fails_ends_its_own_sessions_only() {
    let server = spanning(2).await;
    let group = GroupId::random();
    let (mut alice, in_alice) = server.participant("alice", group).await;
    let mut alices = None;
    while alices.is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        alices = server.handle.stats().iter().position(|w| w.core.participants > 0);
    }
    let alices = alices.unwrap() as u64;
    let (mut bob, in_bob) = server.participant("bob", group).await;
    knows(&mut alice, &in_alice, 2).await;
    let bobs = |message: &ServerMessage| match message {
        ServerMessage::ParticipantLeft(m) => Some(m.participant_id.clone()),
        _ => None,
    };
    server.handle.fail_worker(RoomId(1 - alices));
    let failed = bob.wait_for(|message| match message {
        ServerMessage::Ended(m) => Some(m.reason.clone()),
        _ => None,
    });
    assert_eq!(failed.await, EndReason::server_failed());
    assert_eq!(alice.wait_for(bobs).await, in_bob.participant_id);
    let (_bob, again) = server.participant("bob", group).await;
    assert_eq!(again.call_id, in_alice.call_id, "the call went on");
    let joined = |message: &ServerMessage| match message {
        ServerMessage::ParticipantJoined(m) => Some(m.participant.participant_id.clone()),
        _ => None,
    };
    assert_eq!(alice.wait_for(joined).await, again.participant_id);
    assert_eq!(server.control.active_calls(), 1);
}
