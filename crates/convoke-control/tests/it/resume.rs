//! A lost WebSocket: media goes on, and the same participant comes back.

use std::time::Duration;

use convoke_protocol::{Connection, EndReason, ErrorCode, GroupId, ServerMessage, close};
use serde_json::json;

use crate::support::{Raw, Server, expect_code, join};

fn connection(message: &ServerMessage) -> Option<(String, Connection)> {
    match message {
        ServerMessage::ParticipantUpdated(m) => Some((m.participant_id.clone(), m.connection)),
        _ => None,
    }
}

fn left(message: &ServerMessage) -> Option<(String, EndReason)> {
    match message {
        ServerMessage::ParticipantLeft(m) => Some((m.participant_id.clone(), m.reason.clone())),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_websocket_is_resumed_as_the_same_participant() {
    let server = Server::start().await;
    let group = GroupId::random();
    let (mut watcher, _) = server.participant("watcher", group).await;
    let (alice, joined) = server.participant("alice", group).await;
    alice.cut();
    let id = joined.participant_id.clone();
    assert_eq!(watcher.wait_for(connection).await, (id.clone(), Connection::Reconnecting));
    // Meanwhile something happens that the client must hear of by the snapshot.
    let (_carol, carol) = server.participant("carol", group).await;

    let mut alice = server.agent("alice").await;
    let resumed = alice.resume(&joined.resume_token).await;
    assert_eq!((&resumed.participant_id, &resumed.call_id), (&id, &joined.call_id));
    assert_eq!(resumed.group_id, group.to_string());
    assert_ne!(resumed.resume_token, joined.resume_token);
    assert!(resumed.version > joined.version);
    let ids: Vec<_> = resumed.participants.iter().map(|p| p.participant_id.clone()).collect();
    assert!(ids.contains(&carol.participant_id) && ids.len() == 3, "{ids:?}");
    let own = resumed.participants.iter().find(|p| p.participant_id == id).unwrap();
    assert_eq!(own.tracks.len(), 1, "the microphone is still published");
    assert_eq!(resumed.slots.len(), joined.slots.len());
    assert_eq!(watcher.wait_for(connection).await, (id, Connection::Connected));
    let mute = json!({
        "type": "mute", "callId": joined.call_id, "clientId": "mic", "muted": true,
    });
    assert!(matches!(alice.ask(mute).await, ServerMessage::Ack(_)));
    // None of what the snapshot had is told again.
    for message in &alice.heard {
        if let ServerMessage::ParticipantJoined(m) = message {
            assert!(m.version > resumed.version);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_while_the_old_socket_is_open_takes_over() {
    let server = Server::start().await;
    let group = GroupId::random();
    let (mut watcher, _) = server.participant("watcher", group).await;
    let (mut old, joined) = server.participant("alice", group).await;
    let mut new = server.agent("alice").await;
    let resumed = new.resume(&joined.resume_token).await;
    assert_eq!(old.close_code().await, close::TAKEN_OVER);
    new.ping().await;
    let leave = json!({ "type": "leave", "callId": resumed.call_id });
    assert!(matches!(new.ask(leave).await, ServerMessage::Ended(_)));
    assert_eq!(watcher.wait_for(left).await, (joined.participant_id, EndReason::left()));
    assert!(
        !watcher.heard.iter().any(|m| matches!(connection(m), Some((_, Connection::Reconnecting)))),
        "a takeover is no loss"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grace_time_ends_the_participant() {
    let grace = Duration::from_millis(400);
    let server = Server::with(|config| config.times.grace = grace).await;
    let group = GroupId::random();
    let (mut watcher, _) = server.participant("watcher", group).await;
    let (alice, joined) = server.participant("alice", group).await;
    assert_eq!(joined.resume_grace_ms, 400);
    let began = std::time::Instant::now();
    alice.cut();
    let gone = watcher.wait_for(left).await;
    assert_eq!(gone, (joined.participant_id, EndReason::unreachable()));
    assert!(began.elapsed() >= grace);
    let mut late = server.agent("alice").await;
    let resume = json!({ "type": "resume", "resumeToken": joined.resume_token });
    expect_code(&late.refused(resume).await, ErrorCode::ResumeInvalid, Some("resumeToken"));
    late.join(group).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_ones_grace_time_ends_the_call() {
    let grace = Duration::from_millis(200);
    let server = Server::with(|config| config.times.grace = grace).await;
    let (alice, joined) = server.participant("alice", GroupId::random()).await;
    alice.cut();
    server.becomes_empty().await;
    let group = joined.group_id.parse().unwrap();
    let (_again, fresh) = server.participant("alice", group).await;
    assert_ne!(fresh.call_id, joined.call_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_keeps_the_grace_time_from_ending_the_participant() {
    let grace = Duration::from_millis(500);
    let server = Server::with(|config| config.times.grace = grace).await;
    let (mut agent, joined) = server.participant("alice", GroupId::random()).await;
    let mut token = joined.resume_token;
    for _ in 0..3 {
        tokio::time::sleep(grace / 3).await;
        agent.cut();
        tokio::time::sleep(grace / 3).await;
        agent = server.agent("alice").await;
        token = agent.resume(&token).await.resume_token;
    }
    tokio::time::sleep(2 * grace).await;
    agent.ping().await;
    assert_eq!(server.control.active_calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn resume_tokens_are_for_their_identity_and_not_for_ever() {
    let server = Server::start().await;
    let (alice, joined) = server.participant("alice", GroupId::random()).await;
    let resume = |token: &str| json!({ "type": "resume", "resumeToken": token });
    let mut mallory = server.agent("mallory").await;
    for token in [joined.resume_token.as_str(), "", "guess"] {
        let reply = mallory.refused(resume(token)).await;
        expect_code(&reply, ErrorCode::ResumeInvalid, Some("resumeToken"));
    }
    alice.cut();
    // A `resumed` that never arrived: the same token works once more.
    let mut first = server.agent("alice").await;
    let lost = first.resume(&joined.resume_token).await;
    first.cut();
    let mut second = server.agent("alice").await;
    let kept = second.resume(&joined.resume_token).await;
    let mut third = server.agent("alice").await;
    expect_code(
        &third.refused(resume(&lost.resume_token)).await,
        ErrorCode::ResumeInvalid,
        Some("resumeToken"),
    );
    third.resume(&kept.resume_token).await;
    expect_code(&third.refused(resume(&kept.resume_token)).await, ErrorCode::AlreadyJoined, None);
    let leave = json!({ "type": "leave", "callId": kept.call_id });
    assert!(matches!(third.ask(leave).await, ServerMessage::Ended(_)));
    let over = third.refused(resume(&kept.resume_token)).await;
    expect_code(&over, ErrorCode::ResumeInvalid, Some("resumeToken"));
    server.becomes_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_simultaneous_resumes_leave_one_attached() {
    let server = Server::start().await;
    let (_alice, joined) = server.participant("alice", GroupId::random()).await;
    let tries = (0..6).map(|_| async {
        let mut agent = server.agent("alice").await;
        let resume = json!({ "type": "resume", "resumeToken": joined.resume_token });
        let id = agent.say(resume).await;
        // Answered, or closed because another took over.
        while let Some(message) = agent.hear().await {
            if crate::support::request_id(&message) == Some(id) {
                break;
            }
        }
        agent
    });
    let mut agents = futures_util::future::join_all(tries).await;
    let mut attached = 0;
    for agent in &mut agents {
        let mute = json!({
            "type": "mute", "requestId": 77, "callId": joined.call_id, "clientId": "mic",
            "muted": true,
        });
        let sent =
            agent.try_send(tokio_tungstenite::tungstenite::Message::Text(mute.to_string().into()));
        if sent.await.is_err() {
            continue;
        }
        while let Some(message) = agent.hear().await {
            if crate::support::request_id(&message) == Some(77) {
                attached += usize::from(matches!(message, ServerMessage::Ack(_)));
                break;
            }
        }
    }
    assert_eq!(attached, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_when_its_token_expires_unless_hello_again_renews_it() {
    use convoke_control::{TokenRequest, TokenRules};
    let server = Server::with(|config| {
        // No leeway, so that expiry comes at once.
        let rules = TokenRules { leeway: Duration::ZERO, ..TokenRules::default() };
        let key = convoke_control::Secret::new(*b"a secret of this test, 32 bytes or more");
        let key = convoke_control::Key::hs256(crate::support::KID, &key).unwrap();
        config.keys = convoke_control::KeySet::new(vec![key], rules).unwrap();
    })
    .await;
    let secret = convoke_control::Secret::new(*b"a secret of this test, 32 bytes or more");
    let minter = convoke_control::Minter::hs256(crate::support::KID, &secret).unwrap();
    let mint = |identity: &str, seconds| {
        let lifetime = Duration::from_secs(seconds);
        let request = TokenRequest { lifetime, ..TokenRequest::new(identity) };
        minter.mint(&request, std::time::SystemTime::now()).unwrap()
    };
    let mut agent = Raw::connect(server.address).await;
    agent.hello(&mint("alice", 2)).await;
    let group = GroupId::random();
    let mut renewed = Raw::connect(server.address).await;
    renewed.hello(&mint("bob", 2)).await;
    let in_renewed = renewed.join(group).await;
    renewed.hello(&mint("bob", 60)).await;
    let began = std::time::Instant::now();
    agent.hello(&mint("alice", 2)).await;
    agent.join(group).await;
    let ended = agent.wait_for(|message| match message {
        ServerMessage::Ended(m) => Some(m.reason.clone()),
        _ => None,
    });
    assert_eq!(ended.await, EndReason::token_expired());
    assert!(began.elapsed() >= Duration::from_millis(900), "not before: {:?}", began.elapsed());
    let left = |message: &ServerMessage| match message {
        ServerMessage::ParticipantLeft(m) => Some(m.reason.sub_code),
        _ => None,
    };
    assert_eq!(renewed.wait_for(left).await, 4507);
    let leave = json!({ "type": "leave", "callId": in_renewed.call_id });
    assert!(matches!(renewed.ask(leave).await, ServerMessage::Ended(_)), "the call went on");
    let again = GroupId::random();
    expect_code(&agent.refused(join(again)).await, ErrorCode::TokenExpired, Some("token"));
    let other = json!({ "type": "hello", "protocol": 1, "token": mint("bob", 60) });
    expect_code(&agent.refused(other).await, ErrorCode::NotAllowed, Some("token"));
    agent.hello(&mint("alice", 60)).await;
    agent.join(again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_taken_for_death_and_no_hello_for_none() {
    let server = Server::with(|config| {
        config.times.hello = Duration::from_secs(1);
        config.times.ping = Duration::from_millis(500);
    })
    .await;
    let mut silent = Raw::connect(server.address).await;
    assert_eq!(silent.close_code().await, close::NOT_AUTHENTICATED);
    // Bad tokens do not extend the time.
    let mut wrong = Raw::connect(server.address).await;
    wrong.say(json!({ "type": "hello", "protocol": 1, "token": "x" })).await;
    assert_eq!(wrong.close_code().await, close::NOT_AUTHENTICATED);
    // A client that reads answers WebSocket pings by itself and stays.
    let mut alive = server.agent("alice").await;
    let waited = tokio::time::timeout(Duration::from_secs(3), alive.hear()).await;
    assert!(waited.is_err(), "{waited:?}");
    alive.ping().await;
}
