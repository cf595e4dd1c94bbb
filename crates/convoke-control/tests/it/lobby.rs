//! The lobby: waiting, being let in, turned away or forgotten.

use std::time::Duration;

use convoke_control::{ModerationError, TokenRequest};
use convoke_protocol::{
    EndReason, ErrorCode, GroupId, InLobby, Joined, LobbyPolicy, Role, ServerMessage,
};
use serde_json::{Value, json};

use crate::moderation::{come, ended};
use crate::support::{PATIENCE, Raw, Server, expect_code, join};

fn lobby(message: &ServerMessage) -> Option<Vec<String>> {
    match message {
        ServerMessage::LobbyParticipantsUpdated(m) => {
            Some(m.participants.iter().map(|p| p.identity.clone()).collect())
        }
        _ => None,
    }
}

fn joined(message: &ServerMessage) -> Option<Joined> {
    match message {
        ServerMessage::Joined(m) => Some(m.clone()),
        _ => None,
    }
}

fn ask(kind: &str, call_id: &str, mut rest: Value) -> Value {
    rest["type"] = json!(kind);
    rest["callId"] = json!(call_id);
    rest
}

async fn guest(server: &Server, identity: &str) -> Raw {
    let mut raw = Raw::connect(server.address).await;
    let token = TokenRequest { guest: true, ..TokenRequest::new(identity) };
    raw.hello(&server.token_with(token)).await;
    raw
}

async fn knock(raw: &mut Raw, group: GroupId) -> InLobby {
    match raw.ask(join(group)).await {
        ServerMessage::InLobby(lobby) => lobby,
        other => panic!("not in the lobby: {other:?}"),
    }
}

/// Starts a call where these wait; its starter has no role in its token.
async fn start(server: &Server, group: GroupId, policy: &str) -> (Raw, Joined) {
    let mut host = server.agent("host").await;
    let mut message = join(group);
    message["lobby"] = json!(policy);
    match host.ask(message).await {
        ServerMessage::Joined(joined) => (host, joined),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_waits_outside_and_is_let_in_without_another_offer() {
    let server = Server::start().await;
    let group = GroupId::random();
    let (mut host, in_host) = start(&server, group, "guests").await;
    let (mut friend, _) = server.participant("friend", group).await;
    let mut carol = guest(&server, "carol").await;
    let waits = knock(&mut carol, group).await;
    assert_eq!(host.wait_for(lobby).await, ["carol"]);
    assert_eq!(server.control.lobby(group).unwrap()[0].participant_id, waits.participant_id);
    // Nothing of her is in the core: so nothing can flow, and nobody knows of her.
    let participants =
        || -> u64 { server.handle.stats().iter().map(|worker| worker.core.participants).sum() };
    let end = std::time::Instant::now() + PATIENCE;
    while participants() != 2 {
        // The workers tell their numbers from time to time.
        assert!(std::time::Instant::now() < end, "{}", participants());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for message in [
        ask("raiseHand", &waits.call_id, json!({})),
        ask("view", &waits.call_id, json!({})),
        ask("data", &waits.call_id, json!({ "reliability": "durable", "payload": "" })),
        ask("admit", &waits.call_id, json!({})),
    ] {
        assert_eq!(carol.refused(message).await.code, ErrorCode::NotAllowed);
    }
    assert_eq!(carol.refused(join(group)).await.code, ErrorCode::AlreadyJoined);
    carol.ping().await;
    assert!(carol.heard.is_empty(), "{:?}", carol.heard);

    let wrong = json!({ "participantIds": [waits.participant_id, in_host.participant_id] });
    let refused = host.refused(ask("admit", &in_host.call_id, wrong)).await;
    expect_code(&refused, ErrorCode::ParticipantNotFound, Some("participantIds[1]"));
    let admit = ask("admit", &in_host.call_id, json!({ "participantIds": [waits.participant_id] }));
    assert!(matches!(host.ask(admit).await, ServerMessage::Ack(_)));
    let inside = carol.wait_for(joined).await;
    assert_eq!(inside.participant_id, waits.participant_id);
    assert_eq!((inside.call_id, inside.request_id), (waits.call_id, None));
    assert!(inside.send.is_some() && inside.receive.is_some());
    assert_eq!(inside.participants.len(), 3);
    assert_eq!(host.wait_for(lobby).await, [""; 0]);
    let arrived = |message: &ServerMessage| match message {
        ServerMessage::ParticipantJoined(m) if m.participant.identity == "carol" => Some(()),
        _ => None,
    };
    friend.wait_for(arrived).await;
    assert!(!friend.heard.iter().any(|m| lobby(m).is_some()), "only those who manage it hear");
    // Who was let in does not wait again.
    let leave = ask("leave", &in_host.call_id, json!({}));
    assert_eq!(ended(&carol.ask(leave).await), Some(EndReason::left()));
    carol.join(group).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lobby_outlives_its_presenter() {
    let server = Server::start().await;
    let group = GroupId::random();
    let (mut host, in_host) = start(&server, group, "everyone").await;
    let mut waiting = Vec::new();
    for identity in ["a", "b", "c"] {
        let mut agent = server.agent(identity).await;
        knock(&mut agent, group).await;
        waiting.push(agent);
    }
    let leave = ask("leave", &in_host.call_id, json!({}));
    assert_eq!(ended(&host.ask(leave).await), Some(EndReason::left()));
    assert_eq!(server.control.active_calls(), 1, "someone waits");
    let (mut later, in_later) = come(&server, "later", Role::Presenter, group).await;
    assert_eq!(in_later.call_id, in_host.call_id);
    assert_eq!(later.wait_for(lobby).await, ["a", "b", "c"]);
    let turned_away = server.control.lobby(group).unwrap()[1].participant_id.clone();
    let reject = ask("reject", &in_later.call_id, json!({ "participantIds": [turned_away] }));
    assert!(matches!(later.ask(reject).await, ServerMessage::Ack(_)));
    assert_eq!(waiting[1].wait_for(ended).await, EndReason::rejected_in_lobby());
    assert_eq!(later.wait_for(lobby).await, ["a", "c"]);
    let admit = ask("admit", &in_later.call_id, json!({}));
    assert!(matches!(later.ask(admit).await, ServerMessage::Ack(_)));
    for at in [0, 2] {
        waiting[at].wait_for(joined).await;
    }
    assert_eq!(server.control.admit(group, Some("b")), Err(ModerationError::NoSuchParticipant));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_promoted_sees_who_waits() {
    let server = Server::start().await;
    let group = GroupId::random();
    let (_host, _) = start(&server, group, "guests").await;
    let (mut bob, _) = server.participant("bob", group).await;
    let mut carol = guest(&server, "carol").await;
    knock(&mut carol, group).await;
    server.control.set_role(group, "bob", Some(Role::Presenter)).await.unwrap();
    assert_eq!(bob.wait_for(lobby).await, ["carol"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_ever_and_leaving_the_lobby_is_leaving() {
    let wait = Duration::from_millis(400);
    let server = Server::with(|config| {
        config.times.lobby = wait;
        config.lobby = LobbyPolicy::Guests;
    })
    .await;
    let group = GroupId::random();
    let mut first = guest(&server, "first").await;
    let told = knock(&mut first, group).await;
    assert_eq!(told.timeout_ms, 400, "a guest who starts the call waits, too");
    assert_eq!(first.wait_for(ended).await, EndReason::lobby_timed_out());
    server.becomes_empty().await;
    let told = knock(&mut first, group).await;
    let leave = ask("leave", &told.call_id, json!({}));
    assert_eq!(ended(&first.ask(leave).await), Some(EndReason::left()));
    server.becomes_empty().await;
    knock(&mut first, group).await;
    first.cut();
    server.becomes_empty().await;
    assert_eq!(server.control.lobby(group), Err(ModerationError::NoSuchCall));
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_that_cannot_be_used_end_the_waiting_when_it_is_let_in() {
    let server = Server::start().await;
    let group = GroupId::random();
    let (_host, _) = start(&server, group, "guests").await;
    let mut carol = guest(&server, "carol").await;
    let broken = json!({
        "type": "join", "groupId": group.to_string(),
        "receive": { "sdp": "v=0\r\nm=audio 9 nonsense\r\n" },
    });
    assert!(matches!(carol.ask(broken).await, ServerMessage::InLobby(_)));
    server.control.admit(group, Some("carol")).unwrap();
    assert_eq!(carol.wait_for(ended).await, EndReason::setup_failed());
    knock_again(&server, &mut carol, group).await;
}

/// She was let in, so that she may come in at once.
async fn knock_again(server: &Server, carol: &mut Raw, group: GroupId) {
    carol.join(group).await;
    server.control.remove(group, "carol").await.unwrap();
    assert_eq!(carol.wait_for(ended).await, EndReason::removed());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_is_removed_and_ended_like_the_rest() {
    let server = Server::start().await;
    let group = GroupId::random();
    let (_host, _) = start(&server, group, "everyone").await;
    let (mut one, mut two) = (server.agent("one").await, server.agent("two").await);
    knock(&mut one, group).await;
    knock(&mut two, group).await;
    server.control.remove(group, "one").await.unwrap();
    assert_eq!(one.wait_for(ended).await, EndReason::removed());
    assert_eq!(one.refused(join(group)).await.code, ErrorCode::RemovedFromCall);
    server.control.end_call(group, EndReason::call_ended()).await.unwrap();
    assert_eq!(two.wait_for(ended).await, EndReason::call_ended());
    server.becomes_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn admitting_against_leaving_leaves_nobody_behind() {
    let server = Server::start().await;
    for round in 0..20 {
        let group = GroupId::random();
        let (mut host, in_host) = start(&server, group, "guests").await;
        let mut carol = guest(&server, "carol").await;
        let waits = knock(&mut carol, group).await;
        let id = if round % 2 == 0 {
            Some(carol.say(ask("leave", &waits.call_id, json!({}))).await)
        } else {
            None
        };
        let _ = server.control.admit(group, Some("carol"));
        match id {
            // With the answer to the `leave`; nothing more of the call may come.
            Some(id) => {
                assert_eq!(ended(&carol.answer_to(id).await), Some(EndReason::left()));
                carol.ping().await;
            }
            None => carol.cut(),
        }
        let leave = ask("leave", &in_host.call_id, json!({}));
        assert_eq!(ended(&host.ask(leave).await), Some(EndReason::left()));
        server.becomes_empty().await;
    }
}
