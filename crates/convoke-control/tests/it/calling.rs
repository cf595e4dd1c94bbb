//! Call automation: what app servers do with calls, and what they are told of them.

mod moving;
mod receiver;

use std::time::Duration;

use axum::http::StatusCode;
use convoke_control::store::{Location, Store, StoreConfig};
use convoke_control::{ControlConfig, Role, ServiceLimits};
use convoke_protocol::{EndReason, GroupId, IncomingCall, Joined, RingState, ServerMessage};
use serde_json::{Value, json};

use crate::moderation::ended;
use crate::support::{Bystander, Http, PATIENCE, Raw, Server, hello, join_room, offers};
use receiver::Receiver;

const BASE: &str = "/calling/callConnections";

async fn server() -> Server {
    server_with(|_| {}).await
}

async fn server_with(change: impl FnOnce(&mut ControlConfig)) -> Server {
    let store = Store::open(&StoreConfig::new(Location::Memory)).await.unwrap();
    Server::build(change, |_| {}, Some((store, ServiceLimits::default()))).await
}

async fn ask(server: &Server, method: &str, path: &str, body: Value) -> Http {
    let path = format!("{path}?api-version=2026-03-12");
    server.rest(Role::Calls, method, &path, &body).await
}

async fn good(server: &Server, status: u16, path: &str, body: Value) -> Value {
    let reply = ask(server, "POST", path, body).await;
    assert_eq!(reply.status, status, "{reply:?}");
    if reply.body.is_empty() { Value::Null } else { reply.json() }
}

async fn bad(server: &Server, status: u16, code: &str, path: &str, body: Value) -> Value {
    let reply = ask(server, "POST", path, body).await;
    assert_eq!((reply.status, reply.acs_code().as_str()), (status, code), "{reply:?}");
    reply.json()["error"].clone()
}

fn id_of(properties: &Value) -> String {
    properties["callConnectionId"].as_str().unwrap().to_owned()
}

fn user(identity: &str) -> Value {
    json!({ "kind": "communicationUser", "rawId": identity, "communicationUser": { "id": identity } })
}

fn group(group: GroupId) -> Value {
    json!({ "kind": "groupCallLocator", "groupCallId": group.to_string() })
}

async fn connect(server: &Server, call: GroupId, receiver: &Receiver) -> String {
    let body = json!({
        "callLocator": group(call),
        "callbackUri": receiver.url,
        "operationContext": "connect",
    });
    let properties = good(server, 200, &format!("{BASE}:connect"), body).await;
    assert_eq!(properties["callConnectionState"], "connected");
    id_of(&properties)
}

/// Waits until app servers hold nothing any more.
async fn becomes_idle(server: &Server) {
    let idle = async {
        while !server.control.is_automation_idle() || server.control.active_rings() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, idle).await.expect("something is left");
    assert_eq!(server.control.active_call_connections(), 0);
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

fn settled(message: &ServerMessage) -> Option<Vec<RingState>> {
    let ServerMessage::RingUpdated(m) = message else { return None };
    let states: Vec<RingState> = m.targets.iter().map(|target| target.state).collect();
    (!states.contains(&RingState::Ringing)).then_some(states)
}

fn with_offers(mut message: Value) -> Value {
    let offers = offers();
    message["send"] = json!({ "sdp": offers.send });
    message["receive"] = json!({ "sdp": offers.receive });
    message
}

async fn accept(raw: &mut Raw) -> Joined {
    let ring = raw.wait_for(incoming).await;
    let accept = json!({ "type": "acceptCall", "incomingCallId": ring.incoming_call_id });
    match raw.ask(with_offers(accept)).await {
        ServerMessage::Joined(joined) => joined,
        other => panic!("{other:?}"),
    }
}

async fn decline(raw: &mut Raw, busy: bool) {
    let ring = raw.wait_for(incoming).await;
    let id = ring.incoming_call_id;
    raw.ask(json!({ "type": "rejectCall", "incomingCallId": id, "busy": busy })).await;
}

async fn start(raw: &mut Raw, targets: &[&str]) -> Joined {
    let start = json!({ "type": "startCall", "targets": targets, "customContext": "order 17" });
    match raw.ask(with_offers(start)).await {
        ServerMessage::Joined(joined) => joined,
        other => panic!("{other:?}"),
    }
}

async fn leave(raw: &mut Raw, joined: &Joined) {
    raw.say(json!({ "type": "leave", "callId": joined.call_id })).await;
    raw.wait_for(ended).await;
}

/// What app servers are told of a call that rings.
async fn offered(server: &Server, joined: &Joined, count: usize) -> Vec<Value> {
    let path = format!("/calls/{}/events?after=0", joined.call_id);
    loop {
        let events = server.rest(Role::Calls, "GET", &path, &Value::Null).await.json();
        let all = events["value"].as_array().cloned().unwrap_or_default();
        let kind = "Microsoft.Communication.IncomingCall";
        let found: Vec<Value> =
            all.iter().filter(|e| e["type"] == kind).map(|e| e["data"].clone()).collect();
        if found.len() >= count {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_created_call_rings_connects_and_is_ended_for_everyone() {
    let server = server().await;
    let receiver = Receiver::start().await;
    let mut bob = server.agent("8:acs:r_bob").await;
    let body = json!({
        "targets": [user("8:acs:r_bob")],
        "sourceDisplayName": "The shop",
        "callbackUri": receiver.url,
        "operationContext": "order 17",
        "customCallingContext": { "voipHeaders": { "order": "17" }, "sipHeaders": {} },
    });
    let made = good(&server, 201, BASE, body).await;
    assert_eq!(made["callConnectionState"], "connecting");
    assert_eq!(made["callbackUri"], receiver.url);
    assert_eq!(made["targets"][0]["rawId"], "8:acs:r_bob");
    let id = id_of(&made);
    let ring = bob.wait_for(incoming).await;
    assert_eq!(
        (ring.display_name.as_str(), ring.custom_context.as_deref()),
        ("The shop", Some("{\"order\":\"17\"}"))
    );
    bob.heard.push(ServerMessage::IncomingCall(ring));
    let joined = accept(&mut bob).await;
    let event = receiver.wait("CallConnected").await;
    assert_eq!(event["operationContext"], "order 17");
    assert_eq!(event["serverCallId"], joined.call_id);
    assert_eq!(event["resultInformation"]["code"], 200);
    let roster = receiver.wait("ParticipantsUpdated").await;
    assert_eq!(roster["sequenceNumber"], 1);
    assert_eq!(roster["participants"][0]["identifier"], user("8:acs:r_bob"));
    let shown = ask(&server, "GET", &format!("{BASE}/{id}"), Value::Null).await.json();
    assert_eq!(shown["callConnectionState"], "connected");
    assert_eq!(shown["serverCallId"], joined.call_id);
    good(&server, 204, &format!("{BASE}/{id}:terminate"), Value::Null).await;
    assert_eq!(bob.wait_for(ended).await, EndReason::call_ended());
    let event = receiver.wait("CallDisconnected").await;
    assert_eq!(event["operationContext"], "order 17");
    let gone = ask(&server, "GET", &format!("{BASE}/{id}"), Value::Null).await;
    assert_eq!((gone.status, gone.acs_code().as_str()), (404, "CallConnectionNotFound"));
    server.becomes_empty().await;
    becomes_idle(&server).await;
    receiver.is_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_created_call_that_nobody_takes_fails_with_the_reason() {
    let server = server().await;
    let receiver = Receiver::start().await;
    let create = |target: &str| {
        let targets = json!([user(target)]);
        json!({ "targets": targets, "callbackUri": receiver.url, "operationContext": target })
    };
    let mut bob = server.agent("bob").await;
    for (target, code) in [("nobody", 480), ("bob", 603), ("bob", 486)] {
        let made = good(&server, 201, BASE, create(target)).await;
        match code {
            603 => decline(&mut bob, false).await,
            486 => decline(&mut bob, true).await,
            _ => {}
        }
        let event = receiver.wait_of("CreateCallFailed", &id_of(&made)).await;
        assert_eq!(event["resultInformation"]["code"], code, "{event}");
        assert_eq!(event["operationContext"], target);
    }
    // Hung up while it rings.
    let made = id_of(&good(&server, 201, BASE, create("bob")).await);
    bob.wait_for(incoming).await;
    let hung_up = ask(&server, "DELETE", &format!("{BASE}/{made}"), Value::Null).await;
    assert_eq!(hung_up.status, 204);
    assert_eq!(bob.wait_for(stopped).await, EndReason::canceled());
    receiver.wait_of("CallDisconnected", &made).await;
    becomes_idle(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_call_connects_with_the_first_and_rings_on_for_the_others() {
    let server = server().await;
    let receiver = Receiver::start().await;
    let (mut bob, mut carol) = (server.agent("bob").await, server.agent("carol").await);
    let targets = json!([user("bob"), user("carol"), user("nobody")]);
    let body = json!({ "targets": targets, "callbackUri": receiver.url });
    let id = id_of(&good(&server, 201, BASE, body).await);
    accept(&mut bob).await;
    receiver.wait_of("CallConnected", &id).await;
    let joined = accept(&mut carol).await;
    assert_eq!(joined.participants.len(), 2);
    receiver.wait_roster(&id, &["bob", "carol"]).await;
    assert_eq!(receiver.count("CallConnected"), 1);
    // The connection goes, the call stays.
    assert_eq!(ask(&server, "DELETE", &format!("{BASE}/{id}"), Value::Null).await.status, 204);
    becomes_idle(&server).await;
    assert_eq!(server.control.active_calls(), 1);
    receiver.is_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_by_each_locator_shows_who_is_there_and_follows_changes() {
    let server = server().await;
    let receiver = Receiver::start().await;
    let call = GroupId::random();
    let (mut alice, in_alice) = server.participant("alice", call).await;
    let first = connect(&server, call, &receiver).await;
    let by_id = json!({ "kind": "serverCallLocator", "serverCallId": in_alice.call_id });
    let body = json!({ "callLocator": by_id, "callbackUri": receiver.url });
    let second = id_of(&good(&server, 200, &format!("{BASE}:connect"), body).await);
    for id in [&first, &second] {
        let event = receiver.wait_of("CallConnected", id).await;
        assert_eq!(event["serverCallId"], in_alice.call_id);
        receiver.wait_roster(id, &["alice"]).await;
    }
    let (mut bob, in_bob) = server.participant("bob", call).await;
    receiver.wait_roster(&first, &["alice", "bob"]).await;
    let list = format!("{BASE}/{first}/participants");
    let listed = ask(&server, "GET", &list, Value::Null).await.json();
    assert_eq!(listed["value"][0]["identifier"]["rawId"], "alice");
    assert_eq!(listed["value"][1]["isMuted"], false);
    let one = ask(&server, "GET", &format!("{list}/bob"), Value::Null).await;
    assert_eq!((one.status, one.json()["isOnHold"].clone()), (200, json!(false)));
    let stranger = ask(&server, "GET", &format!("{list}/nobody"), Value::Null).await;
    assert_eq!(stranger.acs_code(), "ParticipantNotFound");
    leave(&mut bob, &in_bob).await;
    receiver.wait_roster(&first, &["alice"]).await;
    // The call ends by itself: so do all connections.
    leave(&mut alice, &in_alice).await;
    for id in [&first, &second] {
        receiver.wait_of("CallDisconnected", id).await;
    }
    server.becomes_empty().await;
    becomes_idle(&server).await;
    receiver.is_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn participants_are_added_muted_and_removed_each_with_its_context() {
    let server = server().await;
    let (receiver, other) = (Receiver::start().await, Receiver::start().await);
    let call = GroupId::random();
    let (_alice, _) = server.participant("alice", call).await;
    let id = connect(&server, call, &receiver).await;
    let path = |verb: &str| format!("{BASE}/{id}/participants:{verb}");
    let mut bob = server.agent("bob").await;
    let add = json!({
        "participantToAdd": user("bob"),
        "operationContext": "add",
        "operationCallbackUri": other.url,
    });
    let taken = good(&server, 202, &path("add"), add.clone()).await;
    assert_eq!(
        (&taken["operationContext"], &taken["participant"]["identifier"]["rawId"]),
        (&json!("add"), &json!("bob"))
    );
    bad(&server, 409, "ParticipantAlreadyInCall", &path("add"), add.clone()).await;
    accept(&mut bob).await;
    let event = other.wait("AddParticipantSucceeded").await;
    assert_eq!(
        (&event["operationContext"], &event["invitationId"]),
        (&json!("add"), &taken["invitationId"])
    );
    assert_eq!(receiver.count("AddParticipantSucceeded"), 0, "it goes where that was wanted");
    bad(&server, 409, "ParticipantAlreadyInCall", &path("add"), add).await;

    receiver.wait_roster(&id, &["alice", "bob"]).await;
    let mute = json!({ "targetParticipants": [user("alice")], "operationContext": "mute" });
    let taken = good(&server, 200, &path("mute"), mute).await;
    assert_eq!(taken["operationContext"], "mute");
    let muted = ask(&server, "GET", &format!("{BASE}/{id}/participants/alice"), Value::Null).await;
    assert_eq!(muted.json()["isMuted"], true);
    let nobody = json!({ "targetParticipants": [user("nobody")] });
    bad(&server, 404, "ParticipantNotFound", &path("mute"), nobody).await;

    let remove = |who: &str| json!({ "participantToRemove": user(who), "operationContext": who });
    let taken = good(&server, 202, &path("remove"), remove("bob")).await;
    assert_eq!(taken["operationContext"], "bob");
    let event = receiver.wait("RemoveParticipantSucceeded").await;
    assert_eq!(
        (&event["operationContext"], &event["participant"]["rawId"]),
        (&json!("bob"), &json!("bob"))
    );
    let gone = ask(&server, "GET", &format!("{BASE}/{id}/participants/bob"), Value::Null).await;
    assert_eq!(gone.status, 404);
    assert_eq!(bob.wait_for(ended).await, EndReason::removed());
    good(&server, 202, &path("remove"), remove("nobody")).await;
    let event = receiver.wait("RemoveParticipantFailed").await;
    assert_eq!(event["resultInformation"]["code"], 404);

    // Who was removed may be asked in again.
    good(&server, 202, &path("add"), json!({ "participantToAdd": user("bob") })).await;
    accept(&mut bob).await;
    receiver.wait("AddParticipantSucceeded").await;
    for who in ["bob", "alice"] {
        good(&server, 202, &path("remove"), remove(who)).await;
    }
    receiver.wait("CallDisconnected").await;
    let kinds = receiver.kinds();
    let last: Vec<&str> = kinds.iter().rev().take(2).map(String::as_str).collect();
    assert_eq!(last, ["CallDisconnected", "RemoveParticipantSucceeded"], "{kinds:?}");
    server.becomes_empty().await;
    becomes_idle(&server).await;
    receiver.is_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_declined_times_out_or_is_canceled() {
    let server = server().await;
    let receiver = Receiver::start().await;
    let call = GroupId::random();
    let (mut alice, in_alice) = server.participant("alice", call).await;
    let id = connect(&server, call, &receiver).await;
    let add = format!("{BASE}/{id}/participants:add");
    let cancel = format!("{BASE}/{id}/participants:cancelAddParticipant");
    let body = |seconds: u32, context: &str| {
        json!({
            "participantToAdd": user("bob"),
            "invitationTimeoutInSeconds": seconds,
            "operationContext": context,
        })
    };
    let mut bob = server.agent("bob").await;
    let outcome = async |context: &str| {
        let event = receiver.wait_context("AddParticipantFailed", context).await;
        event["resultInformation"]["code"].as_u64().unwrap()
    };
    good(&server, 202, &add, body(30, "declined")).await;
    decline(&mut bob, false).await;
    assert_eq!(outcome("declined").await, 603);
    good(&server, 202, &add, body(5, "late")).await;
    bob.wait_for(incoming).await;
    assert_eq!(outcome("late").await, 487);
    assert_eq!(bob.wait_for(stopped).await, EndReason::not_answered());
    let taken = good(&server, 202, &add, body(30, "canceled")).await;
    bob.wait_for(incoming).await;
    let asked = json!({ "invitationId": taken["invitationId"], "operationContext": "cancel" });
    let reply = good(&server, 202, &cancel, asked.clone()).await;
    assert_eq!(reply["invitationId"], taken["invitationId"]);
    assert_eq!(outcome("canceled").await, 487);
    let event = receiver.wait("CancelAddParticipantSucceeded").await;
    assert_eq!(
        (&event["invitationId"], &event["operationContext"]),
        (&taken["invitationId"], &json!("cancel"))
    );
    assert_eq!(bob.wait_for(stopped).await, EndReason::canceled());
    good(&server, 202, &cancel, asked).await;
    let event = receiver.wait("CancelAddParticipantFailed").await;
    assert_eq!(event["resultInformation"]["code"], 404);
    // The call ends while it rings.
    good(&server, 202, &add, body(30, "over")).await;
    bob.wait_for(incoming).await;
    leave(&mut alice, &in_alice).await;
    assert_eq!(outcome("over").await, 487);
    assert_eq!(bob.wait_for(stopped).await, EndReason::canceled());
    becomes_idle(&server).await;
    receiver.is_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn accepting_and_canceling_at_once_have_one_outcome() {
    let server = server().await;
    let receiver = Receiver::start().await;
    let call = GroupId::random();
    let (_alice, _) = server.participant("alice", call).await;
    let id = connect(&server, call, &receiver).await;
    for round in 0..12_u64 {
        let name = format!("guest{round}");
        let mut guest = server.agent(&name).await;
        let add = json!({ "participantToAdd": user(&name), "operationContext": name });
        let taken = good(&server, 202, &format!("{BASE}/{id}/participants:add"), add).await;
        let ring = guest.wait_for(incoming).await;
        let accept = json!({ "type": "acceptCall", "incomingCallId": ring.incoming_call_id });
        let asked = json!({ "invitationId": taken["invitationId"], "operationContext": name });
        let canceling = async {
            tokio::time::sleep(Duration::from_micros(round * 300)).await;
            good(&server, 202, &format!("{BASE}/{id}/participants:cancelAddParticipant"), asked)
                .await
        };
        let (answer, _) = tokio::join!(guest.ask(with_offers(accept)), canceling);
        let joined = matches!(answer, ServerMessage::Joined(_));
        let (added, canceled) = if joined {
            ("AddParticipantSucceeded", "CancelAddParticipantFailed")
        } else {
            ("AddParticipantFailed", "CancelAddParticipantSucceeded")
        };
        receiver.wait_context(added, &name).await;
        receiver.wait_context(canceled, &name).await;
    }
    let all = receiver.kinds();
    let count = |end: &str| all.iter().filter(|kind| kind.starts_with(end)).count();
    assert_eq!((count("AddParticipant"), count("CancelAddParticipant")), (12, 12));
    receiver.is_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_rings_is_answered_once_on_behalf_of_its_callee() {
    let server = server().await;
    let receiver = Receiver::start().await;
    let (mut alice, mut bob) = (server.agent("alice").await, server.agent("bob").await);
    let in_alice = start(&mut alice, &["bob"]).await;
    bob.wait_for(incoming).await;
    let offer = offered(&server, &in_alice, 1).await.remove(0);
    assert_eq!((&offer["to"]["rawId"], &offer["from"]["rawId"]), (&json!("bob"), &json!("alice")));
    assert_eq!(offer["serverCallId"], in_alice.call_id);
    assert_eq!(offer["customContext"]["voipHeaders"]["customContext"], "order 17");
    let body = json!({
        "incomingCallContext": offer["incomingCallContext"],
        "callbackUri": receiver.url,
        "operationContext": "answer",
        "answeredBy": { "id": "8:acs:r_bot" },
    });
    let answer = format!("{BASE}:answer");
    let path = format!("{answer}?api-version=2026-03-12");
    let (one, two) = tokio::join!(
        server.rest(Role::Calls, "POST", &path, &body),
        server.rest(Role::Calls, "POST", &path, &body),
    );
    let mut both = [one, two];
    both.sort_by_key(|reply| reply.status);
    assert_eq!([both[0].status, both[1].status], [200, 404], "{both:?}");
    let properties = both[0].json();
    assert_eq!(properties["answeredBy"]["id"], "8:acs:r_bot");
    assert_eq!(properties["source"]["rawId"], "alice");
    assert_eq!(bob.wait_for(stopped).await, EndReason::accepted_elsewhere());
    assert_eq!(alice.wait_for(settled).await, [RingState::Accepted]);
    let event = receiver.wait("CallConnected").await;
    assert_eq!(event["operationContext"], "answer");
    bad(&server, 404, "IncomingCallNotFound", &answer, body).await;
    // The call is the caller's: it goes with it.
    leave(&mut alice, &in_alice).await;
    receiver.wait("CallDisconnected").await;
    becomes_idle(&server).await;
    receiver.is_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_rings_is_redirected_and_rejected() {
    let server = server().await;
    let mut alice = server.agent("alice").await;
    let (mut bob, mut carol) = (server.agent("bob").await, server.agent("carol").await);
    let in_alice = start(&mut alice, &["bob"]).await;
    let offer = offered(&server, &in_alice, 1).await.remove(0);
    let redirect = |to: &str, offer: &Value| json!({ "incomingCallContext": offer["incomingCallContext"], "target": user(to) });
    let path = format!("{BASE}:redirect");
    bad(&server, 400, "BadRequest", &path, redirect("alice", &offer)).await;
    good(&server, 204, &path, redirect("carol", &offer)).await;
    assert_eq!(bob.wait_for(stopped).await, EndReason::canceled());
    let joined = accept(&mut carol).await;
    assert_eq!(joined.call_id, in_alice.call_id);
    assert_eq!(alice.wait_for(settled).await, [RingState::Canceled, RingState::Accepted]);
    bad(&server, 404, "IncomingCallNotFound", &path, redirect("dave", &offer)).await;
    leave(&mut carol, &joined).await;
    leave(&mut alice, &in_alice).await;

    let reject = format!("{BASE}:reject");
    for (reason, state, end) in [
        ("busy", RingState::Busy, EndReason::busy()),
        ("forbidden", RingState::Declined, EndReason::declined()),
    ] {
        let in_alice = start(&mut alice, &["bob"]).await;
        let offer = offered(&server, &in_alice, 1).await.remove(0);
        let context = &offer["incomingCallContext"];
        let wrong = json!({ "incomingCallContext": context, "callRejectReason": "x" });
        let error = bad(&server, 400, "BadRequest", &reject, wrong).await;
        assert_eq!(error["target"], "callRejectReason");
        let body = json!({ "incomingCallContext": context, "callRejectReason": reason });
        good(&server, 204, &reject, body).await;
        assert_eq!(bob.wait_for(stopped).await, end);
        assert_eq!(alice.wait_for(settled).await, [state]);
        assert_eq!(alice.wait_for(ended).await, end);
    }
    server.becomes_empty().await;
    becomes_idle(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_one_is_handed_over() {
    let server = server().await;
    let receiver = Receiver::start().await;
    let call = GroupId::random();
    let (_alice, _) = server.participant("alice", call).await;
    let id = connect(&server, call, &receiver).await;
    let (mut bob, path) = (server.agent("bob").await, format!("{BASE}/{id}:transferToParticipant"));
    let body = |context: &str| {
        let (target, who) = (user("bob"), user("alice"));
        json!({ "targetParticipant": target, "transferee": who, "operationContext": context })
    };
    let stranger = json!({ "targetParticipant": user("bob"), "transferee": user("nobody") });
    bad(&server, 404, "ParticipantNotFound", &path, stranger).await;
    good(&server, 202, &path, body("first")).await;
    decline(&mut bob, false).await;
    let event = receiver.wait("CallTransferFailed").await;
    assert_eq!(
        (&event["operationContext"], &event["resultInformation"]["code"]),
        (&json!("first"), &json!(603))
    );
    good(&server, 202, &path, body("second")).await;
    assert_eq!(accept(&mut bob).await.participants.len(), 2);
    let event = receiver.wait("CallTransferAccepted").await;
    assert_eq!(
        (&event["transferee"]["rawId"], &event["transferTarget"]["rawId"]),
        (&json!("alice"), &json!("bob"))
    );
    receiver.wait("CallDisconnected").await;
    becomes_idle(&server).await;
    assert_eq!(server.control.active_calls(), 1, "the call goes on");
}

/// CP-08.
#[tokio::test(flavor = "multi_thread")]
async fn cp_08_what_was_missed_comes_later_in_order() {
    let server = server().await;
    let receiver = Receiver::start().await;
    receiver.answers(vec![StatusCode::INTERNAL_SERVER_ERROR, StatusCode::FOUND]);
    let call = GroupId::random();
    let (_alice, _) = server.participant("alice", call).await;
    let id = connect(&server, call, &receiver).await;
    for round in 0..5 {
        let context = round.to_string();
        let body = json!({ "participantToRemove": user("nobody"), "operationContext": context });
        good(&server, 202, &format!("{BASE}/{id}/participants:remove"), body).await;
    }
    receiver.wait_context("RemoveParticipantFailed", "4").await;
    let contexts = receiver.contexts("RemoveParticipantFailed");
    assert_eq!(contexts, ["0", "1", "2", "3", "4"]);
    assert_eq!(receiver.kinds()[0], "CallConnected");
    receiver.is_sound();
}

/// CP-08.
#[tokio::test(flavor = "multi_thread")]
async fn cp_08_a_receiver_that_hangs_or_is_not_there_costs_no_call() {
    let impatient = |config: &mut ControlConfig| {
        config.calling.callback_timeout = Duration::from_millis(300);
        config.calling.callback_retry_for = Duration::from_millis(600);
        config.calling.callbacks_in_flight = 4;
    };
    let server = server_with(impatient).await;
    let bystander = Bystander::start(&server).await;
    let hangs = Receiver::start().await;
    hangs.hang();
    let call = GroupId::random();
    let (mut alice, joined) = server.participant("alice", call).await;
    connect(&server, call, &hangs).await;
    let nowhere = json!({ "callLocator": group(call), "callbackUri": "http://127.0.0.1:9/x" });
    good(&server, 200, &format!("{BASE}:connect"), nowhere).await;
    for _ in 0..4 {
        connect(&server, call, &hangs).await;
    }
    let sound = Receiver::start().await;
    let id = connect(&server, call, &sound).await;
    let begin = std::time::Instant::now();
    let (mut bob, in_bob) = server.participant("bob", call).await;
    leave(&mut bob, &in_bob).await;
    leave(&mut alice, &joined).await;
    assert!(begin.elapsed() < Duration::from_secs(5));
    sound.wait_of("CallDisconnected", &id).await;
    bystander.did_not_notice().await;
    becomes_idle(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_says_so_to_app_servers() {
    let server = server().await;
    let receiver = Receiver::start().await;
    let call = GroupId::random();
    let (_alice, _) = server.participant("alice", call).await;
    let id = connect(&server, call, &receiver).await;
    let _bob = server.agent("bob").await;
    let body = json!({ "targets": [user("bob")], "callbackUri": receiver.url });
    let ringing = id_of(&good(&server, 201, BASE, body.clone()).await);
    server.control.end_all(EndReason::server_stopped()).await;
    for id in [id, ringing] {
        receiver.wait_of("CallDisconnected", &id).await;
    }
    bad(&server, 503, "ServerBusy", BASE, body).await;
    becomes_idle(&server).await;
    receiver.is_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_call_of_a_scheduled_room_is_held_but_nobody_is_called_into_it() {
    let server = server().await;
    let receiver = Receiver::start().await;
    let (alice, token) = server.identity().await;
    let body = json!({ "participants": { &alice: { "role": "Presenter" } } });
    let made = server.rest(Role::Calls, "POST", "/rooms?api-version=2025-03-13", &body).await;
    let room = made.json()["id"].as_str().unwrap().to_owned();
    let locator = json!({ "kind": "roomCallLocator", "roomId": room });
    let body = json!({ "callLocator": locator, "callbackUri": receiver.url });
    let path = format!("{BASE}:connect");
    bad(&server, 404, "CallNotFound", &path, body.clone()).await;
    let mut raw = hello(&server, &token).await.unwrap();
    raw.ask(join_room(&room)).await;
    let id = id_of(&good(&server, 200, &path, body).await);
    receiver.wait_roster(&id, &[&alice]).await;
    let add = json!({ "participantToAdd": user("bob") });
    let error =
        bad(&server, 501, "NotSupported", &format!("{BASE}/{id}/participants:add"), add).await;
    assert!(error["message"].as_str().unwrap().contains("`inviteIntoRoom`"));
    let gone = format!("/rooms/{room}?api-version=2025-03-13");
    server.rest(Role::Calls, "DELETE", &gone, &Value::Null).await;
    receiver.wait_of("CallDisconnected", &id).await;
    becomes_idle(&server).await;
    let audit = server.rest(Role::Admin, "GET", "/audit", &Value::Null).await.json();
    let actions = audit["value"].as_array().unwrap().iter().map(|entry| entry["action"].clone());
    let actions: Vec<Value> = actions.collect();
    assert!(actions.contains(&json!("calling.connect")), "{actions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_at_their_edge() {
    let small = |config: &mut ControlConfig| {
        config.calling.connections = 3;
        config.calling.connections_per_call = 2;
    };
    let server = server_with(small).await;
    let receiver = Receiver::start().await;
    let (one, two) = (GroupId::random(), GroupId::random());
    let (_alice, _) = server.participant("alice", one).await;
    let (_bob, _) = server.participant("bob", two).await;
    let body = |call: GroupId| json!({ "callLocator": group(call), "callbackUri": receiver.url });
    let path = format!("{BASE}:connect");
    let first = connect(&server, one, &receiver).await;
    connect(&server, one, &receiver).await;
    let error = bad(&server, 429, "LimitExceeded", &path, body(one)).await;
    assert!(error["message"].as_str().unwrap().contains('2'));
    connect(&server, two, &receiver).await;
    let error = bad(&server, 429, "LimitExceeded", &path, body(two)).await;
    assert!(error["message"].as_str().unwrap().contains('3'));
    assert_eq!(ask(&server, "DELETE", &format!("{BASE}/{first}"), Value::Null).await.status, 204);
    connect(&server, two, &receiver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_twice_is_done_once() {
    let server = server().await;
    let receiver = Receiver::start().await;
    let mut bob = server.agent("bob").await;
    let body = json!({ "targets": [user("bob")], "callbackUri": receiver.url }).to_string();
    let bearer = server.bearer(Role::Calls);
    let now = httpdate::fmt_http_date(std::time::SystemTime::now());
    let headers = [
        ("authorization", &*bearer),
        ("content-type", "application/json"),
        ("repeatability-request-id", "5b1f0e52-6b06-4a5e-8f0e-6a4b0f9b9a11"),
        ("repeatability-first-sent", &*now),
    ];
    let path = format!("{BASE}?api-version=2026-03-12");
    let first = server.request("POST", &path, &headers, &body).await;
    let again = server.request("POST", &path, &headers, &body).await;
    assert_eq!((first.status, again.status, &first.body), (201, 201, &again.body));
    assert_eq!(server.control.active_call_connections(), 1);
    let other = body.replace("bob", "eve");
    let other = server.request("POST", &path, &headers, &other).await;
    assert_eq!(other.acs_code(), "RepeatabilityInvalid");
    decline(&mut bob, false).await;
    becomes_idle(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_with_the_part_at_fault() {
    let server = server().await;
    let receiver = Receiver::start().await;
    let call = GroupId::random();
    let (_alice, _) = server.participant("alice", call).await;
    let id = connect(&server, call, &receiver).await;
    let url = &receiver.url;
    let phone = json!({ "rawId": "4:+1555", "phoneNumber": { "value": "+1555" } });
    let cases = [
        (BASE, json!({ "targets": [user("a")] }), "BadRequest", "callbackUri"),
        (BASE, json!({ "targets": [user("a")], "callbackUri": "x" }), "BadRequest", "callbackUri"),
        (BASE, json!({ "targets": [user("a")], "callbackUri": 1 }), "InvalidBody", "callbackUri"),
        (BASE, json!({ "targets": [], "callbackUri": url }), "BadRequest", "targets"),
        (BASE, json!({ "targets": [{}], "callbackUri": url }), "BadRequest", "targets[0]"),
        (BASE, json!({ "targets": [phone], "callbackUri": url }), "NotSupported", "targets[0]"),
        (
            "/calling/callConnections:connect",
            json!({ "callLocator": { "kind": "x" }, "callbackUri": url }),
            "BadRequest",
            "callLocator.kind",
        ),
        (
            "/calling/callConnections:connect",
            json!({ "callLocator": group(GroupId::random()), "callbackUri": url }),
            "CallNotFound",
            "callLocator",
        ),
        (
            "/calling/callConnections:connect",
            json!({ "callLocator": group(call), "callbackUri": url, "mediaStreamingOptions": {} }),
            "NotSupported",
            "mediaStreamingOptions",
        ),
    ];
    for (path, body, code, target) in cases {
        let reply = ask(&server, "POST", path, body).await;
        assert_eq!(reply.acs_code(), code, "{reply:?}");
        assert_eq!(reply.json()["error"]["target"], target);
    }
    for (verb, capability) in [
        (":play", "`playAudio`"),
        (":recognize", "`recognize`"),
        (":sendDtmfTones", "`dtmf`"),
        (":hold", "`hold`"),
        (":startTranscription", "`transcription`"),
        (":startMediaStreaming", "`mediaStreaming`"),
    ] {
        let error =
            bad(&server, 501, "NotSupported", &format!("{BASE}/{id}{verb}"), json!({})).await;
        assert!(error["message"].as_str().unwrap().contains(capability), "{error}");
        bad(&server, 404, "CallConnectionNotFound", &format!("{BASE}/x{verb}"), json!({})).await;
    }
    let record = json!({ "callConnectionId": id });
    bad(&server, 501, "NotSupported", "/calling/recordings", record).await;
    bad(&server, 404, "RecordingNotFound", "/calling/recordings/x:pause", json!({})).await;
    // Without the right key nothing is told, not even what there is.
    for path in ["/calling/x", "/calling/callConnections/x", "/calling/recordings/x"] {
        let path = format!("{path}?api-version=2026-03-12");
        let reply = server.request("GET", &path, &[], "").await;
        assert_eq!(reply.acs_code(), "Unauthorized");
        let reply = server.rest(Role::Identity, "GET", &path, &Value::Null).await;
        assert_eq!(reply.acs_code(), "Forbidden");
    }
    let missing = ask(&server, "GET", "/calling/x", Value::Null).await;
    assert_eq!((missing.status, missing.acs_code().as_str()), (404, "NotFound"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verb_is_for_post_alone() {
    let server = server().await;
    for (method, path, allowed) in [
        ("GET", format!("{BASE}/x:terminate"), "POST"),
        ("DELETE", format!("{BASE}/x:terminate"), "POST"),
        ("PUT", format!("{BASE}/x:terminate"), "POST"),
        ("GET", format!("{BASE}:answer"), "POST"),
        ("GET", format!("{BASE}/x/participants:add"), "POST"),
        ("POST", format!("{BASE}/x"), "GET,HEAD,DELETE"),
    ] {
        let reply = ask(&server, method, &path, Value::Null).await;
        let found = (reply.status, reply.acs_code(), reply.header("allow"));
        assert_eq!(found, (405, "MethodNotAllowed".into(), Some(allowed)), "{method} {path}");
    }
    let reply = ask(&server, "GET", &format!("{BASE}/x"), Value::Null).await;
    assert_eq!((reply.status, reply.acs_code().as_str()), (404, "CallConnectionNotFound"));
}
