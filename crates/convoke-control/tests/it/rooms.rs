//! Scheduled rooms: who may join when, and what a change does to the call that runs.

use std::time::{Duration, SystemTime};

use convoke_control::{Role, ServiceLimits};
use convoke_protocol::{self as wire, EndReason, ErrorCode, ErrorReply, Joined, ServerMessage};
use serde_json::{Value, json};

use crate::support::{Bystander, Raw, Server, join, join_room, offers};

const VERSION: &str = "api-version=2025-03-13";

async fn server() -> Server {
    Server::with_services(ServiceLimits::default()).await
}

/// So many seconds from now, as JSON has it.
fn at(seconds: i64) -> String {
    let now = SystemTime::now();
    let off = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 { now - off } else { now + off };
    humantime::format_rfc3339_millis(time).to_string()
}

async fn create(server: &Server, body: Value) -> String {
    let made = server.rest(Role::Calls, "POST", &format!("/rooms?{VERSION}"), &body).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.json()["id"].as_str().unwrap().to_owned()
}

async fn patch(server: &Server, path: &str, body: Value) {
    let path = format!("/rooms/{path}?{VERSION}");
    let done = server.rest(Role::Calls, "PATCH", &path, &body).await;
    assert_eq!(done.status, 200, "{done:?}");
}

async fn agent(server: &Server, token: &str) -> Raw {
    let mut raw = Raw::connect(server.address).await;
    raw.hello(token).await;
    raw
}

async fn joined(raw: &mut Raw, room: &str) -> Joined {
    match raw.ask(join_room(room)).await {
        ServerMessage::Joined(joined) => joined,
        other => panic!("{other:?}"),
    }
}

async fn refused(server: &Server, token: &str, room: &str) -> ErrorReply {
    agent(server, token).await.refused(join_room(room)).await
}

fn reason(reply: &ErrorReply) -> (u16, u32) {
    let reason = reply.reason.as_ref().expect("a reason");
    (reason.code, reason.sub_code)
}

fn ended(message: &ServerMessage) -> Option<EndReason> {
    match message {
        ServerMessage::Ended(ended) => Some(ended.reason.clone()),
        _ => None,
    }
}

fn role_changed(message: &ServerMessage) -> Option<wire::Role> {
    match message {
        ServerMessage::RoleChanged(changed) => changed.role,
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_on_the_list_joins_in_time_and_nobody_else() {
    let server = server().await;
    let (alice, token) = server.identity().await;
    let (_, stranger) = server.identity().await;
    let list = json!({ &alice: { "role": "Presenter" } });
    let open = create(&server, json!({ "participants": list })).await;
    let mut raw = agent(&server, &token).await;
    let is = joined(&mut raw, &open).await;
    assert_eq!(is.room_id.as_deref(), Some(open.as_str()));
    assert_eq!((is.group_id.as_str(), is.role), ("", Some(wire::Role::Presenter)));

    let reply = refused(&server, &stranger, &open).await;
    assert_eq!((reply.code, reason(&reply)), (ErrorCode::RoomNotInvited, (403, 5828)));
    let times = |from, until| json!({ "validFrom": at(from), "validUntil": at(until), "participants": list });
    let past = create(&server, times(-7200, -3600)).await;
    let reply = refused(&server, &token, &past).await;
    assert_eq!((reply.code, reason(&reply)), (ErrorCode::RoomExpired, (403, 5829)));
    let future = create(&server, times(3600, 7200)).await;
    let reply = refused(&server, &token, &future).await;
    assert_eq!((reply.code, reason(&reply)), (ErrorCode::RoomNotOpen, (403, 5830)));
    for nowhere in ["99000000000000000", "../rooms", "' OR 1=1 --", "\u{0}"] {
        let reply = refused(&server, &token, nowhere).await;
        assert_eq!(reply.code, ErrorCode::RoomNotFound, "{nowhere}");
    }
    let mut both = join(convoke_protocol::GroupId::random());
    both["roomId"] = json!(open);
    let reply = agent(&server, &token).await.refused(both).await;
    assert_eq!(reply.code, ErrorCode::GroupIdInvalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_cannot_send_whatever_its_client_tries() {
    let server = server().await;
    let (alice, token) = server.identity().await;
    let list = json!({ &alice: { "role": "Consumer" } });
    let room = create(&server, json!({ "participants": list })).await;
    let mut raw = agent(&server, &token).await;
    let ServerMessage::Joined(is) = raw.ask(join_room(&room)).await else { panic!("not joined") };
    assert!(is.participants.iter().all(|one| one.tracks.is_empty()), "declared, and left out");
    let publish = json!({
        "type": "publish", "callId": is.call_id,
        "track": { "clientId": "mic", "source": "microphone", "mid": offers().send_mids[0] },
    });
    assert_eq!(raw.refused(publish.clone()).await.code, ErrorCode::NotAllowed);
    let data = json!({
        "type": "data", "callId": is.call_id, "reliability": "durable", "payload": "aGVsbG8=",
    });
    assert_eq!(raw.refused(data).await.code, ErrorCode::NotAllowed);
    // Promoted in the running call, it may; and demoted again, it may not.
    let role = |role: &str| json!({ "participants": { &alice: { "role": role } } });
    let path = format!("{room}/participants");
    assert_eq!(raw.wait_for(role_changed).await, wire::Role::Consumer, "told after the join");
    patch(&server, &path, role("Attendee")).await;
    assert_eq!(raw.wait_for(role_changed).await, wire::Role::Attendee);
    assert!(matches!(raw.ask(publish.clone()).await, ServerMessage::Ack(_)));
    patch(&server, &path, role("Consumer")).await;
    assert_eq!(raw.wait_for(role_changed).await, wire::Role::Consumer);
    assert_eq!(raw.refused(publish).await.code, ErrorCode::NotAllowed);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_taken_off_the_list_is_out_and_the_others_stay() {
    let server = server().await;
    let (alice, alices) = server.identity().await;
    let (bob, bobs) = server.identity().await;
    let room = create(&server, json!({ "participants": { &alice: {}, &bob: {} } })).await;
    let (mut a, mut b) = (agent(&server, &alices).await, agent(&server, &bobs).await);
    let is = joined(&mut a, &room).await;
    assert_eq!(is.role, Some(wire::Role::Attendee), "the default");
    let is = joined(&mut b, &room).await;
    patch(&server, &format!("{room}/participants"), json!({ "participants": { &bob: null } }))
        .await;
    assert_eq!(b.wait_for(ended).await, EndReason::removed_from_room());
    let left = |message: &ServerMessage| match message {
        ServerMessage::ParticipantLeft(left) => Some(left.participant_id.clone()),
        _ => None,
    };
    assert_eq!(a.wait_for(left).await, is.participant_id);
    assert_eq!(b.refused(join_room(&room)).await.code, ErrorCode::RoomNotInvited);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_with_its_room_s_time_and_with_its_room() {
    let server = server().await;
    let bystander = Bystander::start(&server).await;
    let (alice, token) = server.identity().await;
    let list = json!({ &alice: {} });
    // Time passes.
    let body = json!({ "validFrom": at(-60), "validUntil": at(2), "participants": list });
    let room = create(&server, body).await;
    let mut raw = agent(&server, &token).await;
    joined(&mut raw, &room).await;
    assert_eq!(raw.wait_for(ended).await, EndReason::room_expired());
    // The times are moved.
    let room = create(&server, json!({ "participants": list })).await;
    joined(&mut raw, &room).await;
    patch(&server, &room, json!({ "validFrom": at(60) })).await;
    assert_eq!(raw.wait_for(ended).await, EndReason::room_not_open());
    patch(&server, &room, json!({ "validFrom": at(-60), "validUntil": at(600) })).await;
    joined(&mut raw, &room).await;
    // The room goes.
    let path = format!("/rooms/{room}?{VERSION}");
    assert_eq!(server.rest(Role::Calls, "DELETE", &path, &Value::Null).await.status, 204);
    assert_eq!(raw.wait_for(ended).await, EndReason::call_ended());
    assert_eq!(raw.refused(join_room(&room)).await.code, ErrorCode::RoomNotFound);
    bystander.did_not_notice().await;
}

/// CP-08.
#[tokio::test(flavor = "multi_thread")]
async fn cp_08_a_call_is_recorded_with_who_was_in_it_and_its_events_are_in_order() {
    let server = server().await;
    let (alice, token) = server.identity().await;
    let room = create(&server, json!({ "participants": { &alice: {} } })).await;
    let mut raw = agent(&server, &token).await;
    let is = joined(&mut raw, &room).await;
    raw.ask(json!({ "type": "leave", "callId": is.call_id })).await;
    let mut kinds = Vec::new();
    while kinds.len() < 4 {
        let path = format!("/calls/{}/events?after={}&wait=5", is.call_id, kinds.len());
        let reply = server.rest(Role::Calls, "GET", &path, &Value::Null).await;
        if reply.status == 404 {
            continue;
        }
        for event in reply.json()["value"].as_array().unwrap() {
            assert_eq!(event["sequence"], (kinds.len() + 1).to_string());
            assert_eq!(event["source"], format!("/calls/{}", is.call_id));
            kinds.push(event["type"].as_str().unwrap().to_owned());
        }
    }
    let expected = ["started", "participantJoined", "participantLeft", "ended"];
    assert_eq!(kinds, expected.map(|kind| format!("convoke.call.{kind}")));
    let path = format!("/calls/{}", is.call_id);
    let record = server.rest(Role::Calls, "GET", &path, &Value::Null).await.json();
    assert_eq!(record["locator"], format!("rooms/{room}"));
    assert!(record["endedAt"].is_string());
    assert_eq!(record["participants"][0]["identity"], alice);
    assert_eq!(record["participants"][0]["subCode"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_and_names_come_back_as_they_were() {
    let server = server().await;
    let names =
        ["plain", "日本語 👩‍👩‍👧", "\u{202e}rtl", "e\u{301}", "é", "a/../b", "'; DROP TABLE room; --"];
    let list: serde_json::Map<_, _> =
        names.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
    let room = create(&server, json!({ "participants": list })).await;
    let mut next = Some(format!("/rooms/{room}/participants?{VERSION}&limit=2"));
    let mut seen = Vec::new();
    while let Some(path) = next {
        let page = server.rest(Role::Calls, "GET", &path, &Value::Null).await.json();
        let page_of = page["value"].as_array().unwrap();
        assert!(page_of.len() <= 2);
        seen.extend(page_of.iter().map(|one| one["rawId"].as_str().unwrap().to_owned()));
        next = page["nextLink"].as_str().map(str::to_owned);
    }
    let mut expected = names.map(str::to_owned).to_vec();
    expected.sort();
    seen.sort();
    assert_eq!(seen, expected);
    for body in [
        json!({ "participants": { "x".repeat(10_000): {} } }),
        json!({ "participants": { "": {} } }),
        json!({ "participants": { "a\nb": {} } }),
        json!({ "participants": { "a": { "role": "presenter" } } }),
        json!({ "validFrom": "tomorrow" }),
        json!({ "validFrom": at(60), "validUntil": at(60) }),
    ] {
        let reply = server.rest(Role::Calls, "POST", &format!("/rooms?{VERSION}"), &body).await;
        assert_eq!((reply.status, reply.acs_code()), (400, "BadRequest".into()), "{body:.80}");
    }
}
