//! Calling people, over real WebSockets.

use std::time::Duration;

use convoke_control::{RingEvent, RingRequest, TokenRequest};
use convoke_protocol::{
    EndReason, ErrorCode, GroupId, IncomingCall, Joined, RingState, ServerMessage,
};
use serde_json::{Value, json};

use crate::moderation::ended;
use crate::support::{PATIENCE, Raw, Server, expect_code, offers};

fn with_offers(mut message: Value) -> Value {
    let offers = offers();
    message["send"] = json!({ "sdp": offers.send });
    message["receive"] = json!({ "sdp": offers.receive });
    message
}

fn start(targets: &[&str]) -> Value {
    let context = "order 17";
    with_offers(json!({ "type": "startCall", "targets": targets, "customContext": context }))
}

async fn call(raw: &mut Raw, targets: &[&str]) -> Joined {
    match raw.ask(start(targets)).await {
        ServerMessage::Joined(joined) => joined,
        other => panic!("{other:?}"),
    }
}

fn accept(incoming: &IncomingCall) -> Value {
    with_offers(json!({ "type": "acceptCall", "incomingCallId": incoming.incoming_call_id }))
}

fn reject(incoming: &IncomingCall, busy: bool) -> Value {
    json!({ "type": "rejectCall", "incomingCallId": incoming.incoming_call_id, "busy": busy })
}

fn incoming(message: &ServerMessage) -> Option<IncomingCall> {
    match message {
        ServerMessage::IncomingCall(m) => Some(m.clone()),
        _ => None,
    }
}

fn stopped(message: &ServerMessage) -> Option<EndReason> {
    match message {
        ServerMessage::IncomingCallEnded(m) => Some(m.reason.clone()),
        _ => None,
    }
}

/// The states of everyone called, once nobody rings.
fn settled(message: &ServerMessage) -> Option<Vec<RingState>> {
    let ServerMessage::RingUpdated(m) = message else { return None };
    let states: Vec<RingState> = m.targets.iter().map(|target| target.state).collect();
    (!states.contains(&RingState::Ringing)).then_some(states)
}

#[tokio::test(flavor = "multi_thread")]
async fn accepting_on_one_device_cancels_the_others() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.agent("bob").await, server.agent("bob").await);
    let mut alice = server.agent("alice").await;
    let in_alice = call(&mut alice, &["bob"]).await;
    let ring = one.wait_for(incoming).await;
    assert_eq!((ring.from.as_str(), ring.custom_context.as_deref()), ("alice", Some("order 17")));
    assert_eq!(ring.group_id, in_alice.group_id);
    assert_eq!(two.wait_for(incoming).await.incoming_call_id, ring.incoming_call_id);
    let ServerMessage::Joined(joined) = two.ask(accept(&ring)).await else { panic!() };
    assert_eq!(joined.call_id, in_alice.call_id);
    assert_eq!(joined.participants.len(), 2);
    assert_eq!(one.wait_for(stopped).await, EndReason::accepted_elsewhere());
    assert_eq!(alice.wait_for(settled).await, [RingState::Accepted]);
    let refused = one.refused(accept(&ring)).await;
    expect_code(&refused, ErrorCode::IncomingCallNotFound, Some("incomingCallId"));
    assert_eq!(one.refused(reject(&ring, false)).await.code, ErrorCode::IncomingCallNotFound);
    assert_eq!(server.control.active_rings(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn declined_busy_unanswered_and_unreachable_end_the_call_with_their_codes() {
    let server = Server::with(|config| config.times.ring = Duration::from_millis(300)).await;
    let mut events = server.control.ring_events();
    let mut bob = server.agent("bob").await;
    let mut alice = server.agent("alice").await;
    for (busy, state, reason) in [
        (false, RingState::Declined, EndReason::declined()),
        (true, RingState::Busy, EndReason::busy()),
    ] {
        call(&mut alice, &["bob"]).await;
        let ring = bob.wait_for(incoming).await;
        assert!(matches!(bob.ask(reject(&ring, busy)).await, ServerMessage::Ack(_)));
        assert_eq!(alice.wait_for(settled).await, [state]);
        assert_eq!(alice.wait_for(ended).await, reason);
    }
    call(&mut alice, &["bob"]).await;
    bob.wait_for(incoming).await;
    assert_eq!(bob.wait_for(stopped).await, EndReason::not_answered());
    assert_eq!(alice.wait_for(ended).await, EndReason::not_answered());
    call(&mut alice, &["nobody"]).await;
    assert_eq!(alice.wait_for(ended).await, EndReason::no_agent());
    let unreachable = async {
        loop {
            if let RingEvent::Unreachable { identity, .. } = events.recv().await.unwrap() {
                return identity;
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, unreachable).await.unwrap(), "nobody");
    server.becomes_empty().await;
    assert_eq!(server.control.active_rings(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_hangs_up_or_vanishes_stops_the_ringing() {
    let server = Server::with(|config| config.times.grace = Duration::from_millis(100)).await;
    let mut bob = server.agent("bob").await;
    let mut alice = server.agent("alice").await;
    let joined = call(&mut alice, &["bob"]).await;
    bob.wait_for(incoming).await;
    alice.ask(json!({ "type": "leave", "callId": joined.call_id })).await;
    assert_eq!(bob.wait_for(stopped).await, EndReason::canceled());
    call(&mut alice, &["bob"]).await;
    bob.wait_for(incoming).await;
    alice.cut();
    assert_eq!(bob.wait_for(stopped).await, EndReason::canceled());
    server.becomes_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_accepts_at_once_make_one_call() {
    let server = Server::start().await;
    for _ in 0..10 {
        let (mut one, mut two) = (server.agent("bob").await, server.agent("bob").await);
        let mut alice = server.agent("alice").await;
        let joined = call(&mut alice, &["bob"]).await;
        let ring = one.wait_for(incoming).await;
        two.wait_for(incoming).await;
        let (a, b) = tokio::join!(one.ask(accept(&ring)), two.ask(accept(&ring)));
        let accepted = |m: &ServerMessage| matches!(m, ServerMessage::Joined(_));
        assert_eq!(usize::from(accepted(&a)) + usize::from(accepted(&b)), 1, "{a:?} {b:?}");
        let loser = if accepted(&a) { &mut two } else { &mut one };
        assert_eq!(loser.wait_for(stopped).await, EndReason::accepted_elsewhere());
        alice.ask(json!({ "type": "leave", "callId": joined.call_id })).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accepting_against_hanging_up_has_one_outcome() {
    let server = Server::start().await;
    for _ in 0..20 {
        let (mut bob, mut alice) = (server.agent("bob").await, server.agent("alice").await);
        let joined = call(&mut alice, &["bob"]).await;
        let ring = bob.wait_for(incoming).await;
        let leave = json!({ "type": "leave", "callId": joined.call_id });
        let (answer, _) = tokio::join!(bob.ask(accept(&ring)), alice.ask(leave));
        match answer {
            // He was first, and is alone in the call now.
            ServerMessage::Joined(m) => {
                bob.ask(json!({ "type": "leave", "callId": m.call_id })).await;
            }
            ServerMessage::Error(error) => {
                let gone = [ErrorCode::IncomingCallNotFound, ErrorCode::CallNotFound];
                assert!(gone.contains(&error.code), "{error:?}");
            }
            other => panic!("{other:?}"),
        }
        server.becomes_empty().await;
        assert_eq!(server.control.active_rings(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_comes_rings_and_one_that_goes_does_not_hold_the_call() {
    let server = Server::start().await;
    let mut early = server.agent("bob").await;
    let mut alice = server.agent("alice").await;
    call(&mut alice, &["bob"]).await;
    early.wait_for(incoming).await;
    let mut late = server.agent("bob").await;
    late.wait_for(incoming).await;
    early.cut();
    late.ping().await;
    late.cut();
    assert_eq!(alice.wait_for(settled).await, [RingState::Unreachable]);
    assert_eq!(alice.wait_for(ended).await, EndReason::no_agent());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_rings_people_into_a_call_past_its_lobby() {
    let server = Server::start().await;
    let group = GroupId::random();
    let request = RingRequest {
        group,
        from: "the shop".into(),
        display_name: "Shop".into(),
        targets: vec!["bob".into(), "carol".into()],
        custom_context: None,
        timeout: None,
    };
    let mut bob = Raw::connect(server.address).await;
    let guest = TokenRequest { guest: true, ..TokenRequest::new("bob") };
    bob.hello(&server.token_with(guest)).await;
    let mut carol = server.agent("carol").await;
    server.control.ring(request.clone()).unwrap();
    let ring = bob.wait_for(incoming).await;
    let ServerMessage::Joined(joined) = bob.ask(accept(&ring)).await else { panic!() };
    assert_eq!(joined.group_id, group.to_string());
    let ring = carol.wait_for(incoming).await;
    carol.ask(reject(&ring, false)).await;
    bob.ping().await;
    assert_eq!(server.control.active_calls(), 1, "the call goes on");
    for (targets, field) in [
        (vec![], "targets"),
        (vec!["a".to_owned(), String::new()], "targets[1]"),
        (vec!["a".to_owned(), "a".to_owned()], "targets[1]"),
    ] {
        let error = server.control.ring(RingRequest { targets, ..request.clone() }).unwrap_err();
        assert_eq!(error.field, field);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_start_rings_nowhere_and_leaves_nothing() {
    let server = Server::start().await;
    let mut bob = server.agent("bob").await;
    let mut alice = server.agent("alice").await;
    let refused = alice.refused(start(&["bob", "alice"])).await;
    expect_code(&refused, ErrorCode::LimitExceeded, Some("targets[1]"));
    let mut impatient = start(&["bob"]);
    impatient["timeoutMs"] = json!(10);
    let refused = alice.refused(impatient).await;
    expect_code(&refused, ErrorCode::LimitExceeded, Some("timeoutMs"));
    let silent = json!({ "type": "startCall", "targets": ["bob"] });
    assert_eq!(alice.refused(silent).await.code, ErrorCode::SdpInvalid);
    let mut joiner = Raw::connect(server.address).await;
    joiner.hello(&server.joiner_token("joiner")).await;
    assert_eq!(joiner.refused(start(&["bob"])).await.code, ErrorCode::ScopeMissing);
    bob.ping().await;
    assert!(bob.heard.is_empty(), "{:?}", bob.heard);
    server.becomes_empty().await;
    // What is wrong with an accept of itself leaves it ringing.
    call(&mut alice, &["bob"]).await;
    let ring = bob.wait_for(incoming).await;
    let silent = json!({ "type": "acceptCall", "incomingCallId": ring.incoming_call_id });
    assert_eq!(bob.refused(silent).await.code, ErrorCode::SdpInvalid);
    assert!(matches!(bob.ask(accept(&ring)).await, ServerMessage::Joined(_)));
}
