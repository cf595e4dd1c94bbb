//! Webhooks: in order, signed, over and over until they are taken, and never at a call's cost.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use convoke_control::store::{Location, Store, StoreConfig};
use convoke_control::{EventFormat, RingEvent, Role, Secret, ServiceLimits, Webhook};
use convoke_protocol::{EndReason, GroupId, IncomingCall, ServerMessage};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::moderation::ended;
use crate::support::{IDENTITIES, PATIENCE, Raw, Server, offers};

/// What came, and what is answered next; 200 when nothing is left to say.
#[derive(Default)]
struct Heard {
    requests: Vec<(HeaderMap, Bytes)>,
    answers: Vec<StatusCode>,
}

pub(crate) struct Receiver {
    pub(crate) url: String,
    heard: Arc<Mutex<Heard>>,
}

impl Receiver {
    pub(crate) async fn start(mut answers: Vec<StatusCode>) -> Self {
        answers.reverse();
        let heard = Arc::new(Mutex::new(Heard { answers, ..Heard::default() }));
        let state = Arc::clone(&heard);
        let hook = async move |headers: HeaderMap, body: Bytes| {
            let mut heard = state.lock().unwrap();
            heard.requests.push((headers, body));
            heard.answers.pop().unwrap_or(StatusCode::OK)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?x=1", listener.local_addr().unwrap());
        let app = Router::new().route("/hook", post(hook));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, heard }
    }

    /// The ids of the events that were taken, once there are so many.
    async fn taken(&self, count: usize) -> Vec<u64> {
        loop {
            let ids = self.ids();
            if ids.len() >= count {
                return ids;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The events that were told, each once, in the order of their coming.
    pub(crate) fn events(&self) -> Vec<Value> {
        let heard = self.heard.lock().unwrap();
        let mut events: Vec<Value> = Vec::new();
        for (_, body) in &heard.requests {
            let batch: Value = serde_json::from_slice(body).unwrap();
            let batch = batch.as_array().unwrap();
            assert!(!batch.is_empty(), "nothing is told for nothing");
            events.retain(|known| batch.iter().all(|event| event["id"] != known["id"]));
            events.extend(batch.iter().cloned());
        }
        events
    }

    /// The first event that `wanted` likes, once it has come.
    pub(crate) async fn event(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.events().into_iter().find(&wanted) {
                return found;
            }
            assert!(tokio::time::Instant::now() < end, "not told: {:?}", self.events());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn ids(&self) -> Vec<u64> {
        let heard = self.heard.lock().unwrap();
        let mut ids = Vec::new();
        for (_, body) in &heard.requests {
            let batch: Value = serde_json::from_slice(body).unwrap();
            for event in batch.as_array().unwrap() {
                let id = event["id"].as_str().unwrap().parse().unwrap();
                // What is told again was refused before.
                ids.retain(|known| *known != id);
                ids.push(id);
            }
        }
        ids
    }
}

/// A directory that is gone with it.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let name = format!("convoke-webhooks-{}", GroupId::random());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn server(change: impl FnOnce(&mut Webhook), url: &str, secret: &Secret) -> Server {
    server_at(Location::Memory, change, url, secret).await
}

async fn server_at(
    location: Location,
    change: impl FnOnce(&mut Webhook),
    url: &str,
    secret: &Secret,
) -> Server {
    let store = Store::open(&StoreConfig::new(location)).await.unwrap();
    let mut webhook = Webhook::new("app", url, secret).unwrap();
    change(&mut webhook);
    let limits = ServiceLimits::default();
    let add = |config: &mut convoke_control::ControlConfig| {
        let services = config.services.take().unwrap();
        config.services = Some(services.with_webhooks(vec![webhook]));
    };
    Server::build(add, |_| {}, Some((store, limits))).await
}

/// Waits until the webhook has begun: a new one is told what happens from then on.
async fn begun(server: &Server) {
    let list = server.rest(Role::Admin, "GET", "/webhooks", &Value::Null).await;
    assert_eq!(list.json()["value"][0]["name"], "app");
}

/// CP-08.
#[tokio::test(flavor = "multi_thread")]
async fn cp_08_events_come_in_order_signed_and_again_until_they_are_taken() {
    let bad = [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::FORBIDDEN];
    let receiver = Receiver::start(bad.to_vec()).await;
    let secret = Secret::random();
    let server = server(|webhook| webhook.batch = 3, &receiver.url, &secret).await;
    begun(&server).await;
    for _ in 0..7 {
        server.rest(Role::Identity, "POST", IDENTITIES, &Value::Null).await;
    }
    let ids = receiver.taken(7).await;
    assert_eq!(ids, (1..=7).collect::<Vec<_>>());
    let heard = receiver.heard.lock().unwrap();
    assert!(heard.requests.len() >= 5, "three batches, the first of them three times");
    for (headers, body) in &heard.requests {
        let get = |name: &str| headers[name].to_str().unwrap();
        assert!(get("content-type").starts_with("application/cloudevents-batch+json"));
        let signed = format!(
            "{}.{}.{}",
            get("webhook-id"),
            get("webhook-timestamp"),
            std::str::from_utf8(body).unwrap()
        );
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.expose());
        let signature = get("webhook-signature").strip_prefix("v1,").unwrap();
        let signature = STANDARD.decode(signature).unwrap();
        aws_lc_rs::hmac::verify(&key, signed.as_bytes(), &signature).unwrap();
    }
}

/// CP-08.
#[tokio::test(flavor = "multi_thread")]
async fn cp_08_a_receiver_that_is_not_there_costs_nobody_and_its_dead_letters_can_be_told_again() {
    let receiver = Receiver::start(vec![StatusCode::SERVICE_UNAVAILABLE]).await;
    let secret = Secret::random();
    let change = |webhook: &mut Webhook| webhook.retry_for = Duration::ZERO;
    let server = server(change, &receiver.url, &secret).await;
    begun(&server).await;
    server.rest(Role::Identity, "POST", IDENTITIES, &Value::Null).await;
    let list = "/webhooks/app/deadLetters";
    let letter = loop {
        let letters = server.rest(Role::Admin, "GET", list, &Value::Null).await.json();
        if let Some(letter) = letters["value"].as_array().unwrap().first() {
            break letter.clone();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(letter["reason"], "answered 503 Service Unavailable");
    assert_eq!(letter["event"]["type"], "convoke.identity.created");
    // Calls go on meanwhile.
    server.participant("alice", GroupId::random()).await;
    let replay = format!("{list}/{}/:replay", letter["position"]);
    let done = server.rest(Role::Admin, "POST", &replay, &Value::Null).await;
    assert_eq!(done.status, 204, "{done:?}");
    let letters = server.rest(Role::Admin, "GET", list, &Value::Null).await.json();
    assert_eq!(
        letters["value"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["position"] == letter["position"])
            .count(),
        0
    );
    let again = server.rest(Role::Admin, "POST", &replay, &Value::Null).await;
    assert_eq!((again.status, again.code()), (404, "webhookNotFound".into()));
    for path in ["/webhooks/none/deadLetters", "/webhooks/%2e%2e/deadLetters"] {
        let reply = server.rest(Role::Admin, "GET", path, &Value::Null).await;
        assert_eq!((reply.status, reply.code()), (404, "webhookNotFound".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_signed_with_a_public_key_too_if_there_is_one() {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
    use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
    let receiver = Receiver::start(Vec::new()).await;
    let (secret, pair) = (Secret::random(), Ed25519KeyPair::generate().unwrap());
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let body = STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    let change = |webhook: &mut Webhook| *webhook = webhook.clone().signed_by(&pem).unwrap();
    let server = server(change, &receiver.url, &secret).await;
    begun(&server).await;
    server.rest(Role::Identity, "POST", IDENTITIES, &Value::Null).await;
    receiver.taken(1).await;
    let heard = receiver.heard.lock().unwrap();
    let (headers, body) = heard.requests.first().unwrap();
    let get = |name: &str| headers[name].to_str().unwrap();
    let signed = [get("webhook-id"), get("webhook-timestamp")].join(".");
    let signed = [signed.as_bytes(), b".", body].concat();
    let signatures: Vec<&str> = get("webhook-signature").split(' ').collect();
    assert!(signatures.len() == 2 && signatures[0].starts_with("v1,"), "{signatures:?}");
    let signature = STANDARD.decode(signatures[1].strip_prefix("v1a,").unwrap()).unwrap();
    let key = UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref());
    key.verify(&signed, &signature).unwrap();
    key.verify(&[&signed[..], b"x"].concat(), &signature).unwrap_err();
}

/// An agent with a name and a kind of app.
async fn named(server: &Server, token: &str, name: &str) -> Raw {
    let mut raw = Raw::connect(server.address).await;
    let hello = json!({
        "type": "hello",
        "protocol": 1,
        "token": token,
        "displayName": name,
        "userAgent": "app/1.2",
    });
    assert!(matches!(raw.ask(hello).await, ServerMessage::Welcome(_)));
    raw
}

/// The last parts of the types of what was told of a call.
fn kinds(events: &[Value]) -> Vec<&str> {
    let prefix = "Microsoft.Communication.";
    events.iter().map(|one| one["type"].as_str().unwrap().strip_prefix(prefix).unwrap()).collect()
}

fn person(id: &str) -> Value {
    let who =
        json!({ "kind": "communicationUser", "rawId": id, "communicationUser": { "id": id } });
    let mut person = who.clone();
    person["communicationIdentifier"] = who;
    person
}

fn event_grid(webhook: &mut Webhook) {
    webhook.format = EventFormat::EventGrid;
    // Whatever the format does not have must not be in the way.
    webhook.batch = 2;
}

/// Alice calls Bob, who accepts; Alice hangs up. The call's id and who they are.
async fn two_people_call(server: &Server) -> (String, String, String) {
    let (alice, alice_token) = server.identity().await;
    let (bob, bob_token) = server.identity().await;
    let mut one = named(server, &alice_token, "Alice").await;
    let mut two = named(server, &bob_token, "Bob").await;
    let call = start_call(&mut one, &bob).await;
    let IncomingCall { incoming_call_id, .. } = two.wait_for(rings).await;
    let accept = json!({ "type": "acceptCall", "incomingCallId": incoming_call_id });
    let accepted = two.ask(with_offers(accept)).await;
    assert!(matches!(accepted, ServerMessage::Joined(_)));
    for raw in [&mut one, &mut two] {
        raw.ask(json!({ "type": "leave", "callId": call })).await;
    }
    server.becomes_empty().await;
    (call, alice, bob)
}

/// CP-08.
#[tokio::test(flavor = "multi_thread")]
async fn cp_08_a_call_is_told_as_event_grid_would_in_order_over_a_restart() {
    let receiver = Receiver::start(vec![StatusCode::SERVICE_UNAVAILABLE]).await;
    let (secret, directory) = (Secret::random(), Folder::new());
    let file = || Location::File(directory.0.join("convoke.db"));
    // Nobody listens there: what happens is told after the restart.
    let nowhere = "http://127.0.0.1:9/hook";
    let (call, alice, bob) = {
        let server = server_at(file(), event_grid, nowhere, &secret).await;
        begun(&server).await;
        two_people_call(&server).await
    };
    let server = server_at(file(), event_grid, &receiver.url, &secret).await;
    receiver.event(|one| one["type"] == "Microsoft.Communication.CallEnded").await;
    let events = receiver.events();
    let expected = [
        "CallStarted",
        "CallParticipantAdded",
        "IncomingCall",
        "CallParticipantAdded",
        "CallParticipantRemoved",
        "CallParticipantRemoved",
        "CallEnded",
    ];
    assert_eq!(kinds(&events), expected);
    for event in &events {
        let data = &event["data"];
        assert_eq!((&event["specversion"], &data["serverCallId"]), (&json!("1.0"), &json!(call)));
        assert_eq!(data["correlationId"], json!(call), "{event}");
        if event["type"] != "Microsoft.Communication.IncomingCall" {
            assert_eq!(data["startedBy"], person(&alice), "{event}");
            assert_eq!((&data["isTwoParty"], &data["isRoomsCall"]), (&json!(true), &json!(false)));
            assert!(data["group"]["id"].is_string() && data.get("room").is_none(), "{event}");
        }
    }
    let users = [(1, &alice, "Alice"), (3, &bob, "Bob"), (4, &alice, "Alice"), (5, &bob, "Bob")];
    for (at, id, name) in users {
        let (event, data) = (&events[at], &events[at]["data"]);
        assert_eq!(data["user"], person(id), "{event}");
        assert_eq!(data["displayName"], name);
        assert_eq!(
            (&data["endpointType"], &data["userAgent"]),
            (&json!("app/1.2"), &json!("app/1.2"))
        );
        assert!(data["participantId"].is_string());
        assert_eq!(event["subject"], format!("call/{call}/participant/{id}"));
    }
    assert_eq!(events[1]["data"]["participantId"], events[4]["data"]["participantId"]);
    assert_eq!(events[0]["subject"], format!("call/{call}/startedBy/{alice}"));
    assert_eq!(events[4]["data"]["reason"]["code"], 0);
    let over = &events[6]["data"];
    assert_eq!(events[6]["subject"], format!("call/{call}"));
    assert!(over["durationOfCall"].as_f64().unwrap() > 0.0, "{over}");
    assert_eq!(over["callDurationInSeconds"], over["durationOfCall"]);
    assert_eq!(over["reason"]["code"], 0);
    // The same by request, whose format is the asker's choice.
    let path = format!("/calls/{call}/events?format=eventGrid&limit=3");
    let page = server.rest(Role::Calls, "GET", &path, &Value::Null).await.json();
    assert_eq!(page["value"], json!(&events[..3]));
    let path = format!("/calls/{call}/events?after=6");
    let page = server.rest(Role::Calls, "GET", &path, &Value::Null).await.json();
    assert_eq!(page["value"][0]["type"], "convoke.call.ended");
    let list = server.rest(Role::Admin, "GET", "/webhooks", &Value::Null).await.json();
    assert_eq!(list["value"][0]["format"], "eventGrid");
}

fn with_offers(mut message: Value) -> Value {
    message["send"] = json!({ "sdp": offers().send });
    message["receive"] = json!({ "sdp": offers().receive });
    message
}

async fn start_call(caller: &mut Raw, target: &str) -> String {
    let start = with_offers(json!({ "type": "startCall", "targets": [target] }));
    match caller.ask(start).await {
        ServerMessage::Joined(joined) => joined.call_id,
        other => panic!("{other:?}"),
    }
}

fn rings(message: &ServerMessage) -> Option<IncomingCall> {
    match message {
        ServerMessage::IncomingCall(incoming) => Some(incoming.clone()),
        _ => None,
    }
}

/// A server that waits so long for agents of those who are called, and its webhook's receiver.
async fn waiting_server(wait: Duration) -> (Server, Receiver) {
    let receiver = Receiver::start(Vec::new()).await;
    let store = Store::open(&StoreConfig::new(Location::Memory)).await.unwrap();
    let webhook = Webhook::new("app", &receiver.url, &Secret::random()).unwrap();
    let change = |config: &mut convoke_control::ControlConfig| {
        config.times.agent_wait = wait;
        let services = config.services.take().unwrap();
        config.services = Some(services.with_webhooks(vec![webhook]));
    };
    let server = Server::build(change, |_| {}, Some((store, ServiceLimits::default()))).await;
    begun(&server).await;
    (server, receiver)
}

fn is_incoming(event: &Value) -> bool {
    event["type"] == "Microsoft.Communication.IncomingCall"
}

/// An operation by the context of an event.
async fn by_context(server: &Server, verb: &str, mut body: Value, event: &Value) -> u16 {
    body["incomingCallContext"] = event["data"]["incomingCallContext"].clone();
    let path = format!("/calling/callConnections:{verb}?api-version=2026-03-12");
    server.rest(Role::Calls, "POST", &path, &body).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_without_a_device_is_woken_by_a_webhook_and_takes_the_call() {
    let (server, receiver) = waiting_server(Duration::from_secs(30)).await;
    let mut alice = server.agent("alice").await;
    let call = start_call(&mut alice, "bob").await;
    let event = receiver.event(is_incoming).await;
    assert_eq!(event["data"]["connectedAgents"], 0);
    assert_eq!(event["data"]["to"]["rawId"], "bob");
    // The push: the app is started by it and connects.
    let mut bob = server.agent("bob").await;
    let ring = bob.wait_for(rings).await;
    assert_eq!(event["data"]["incomingCallId"], json!(ring.incoming_call_id));
    assert!(ring.timeout_ms > 0);
    let mut second = server.agent("bob").await;
    second.wait_for(rings).await;
    let accept = json!({ "type": "acceptCall", "incomingCallId": ring.incoming_call_id });
    let ServerMessage::Joined(joined) = bob.ask(with_offers(accept)).await else { panic!() };
    assert_eq!((joined.call_id.as_str(), joined.participants.len()), (call.as_str(), 2));
    let status = by_context(&server, "reject", json!({ "callRejectReason": "busy" }), &event).await;
    assert_eq!(status, 404, "the context is gone with the ring");
    // Its task ends after the answer is out.
    let ended = async {
        while server.control.active_rings() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("no ring is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_without_a_device_may_be_answered_for_and_is_unreachable_in_the_end() {
    let (server, receiver) = waiting_server(Duration::from_secs(30)).await;
    let mut alice = server.agent("alice").await;
    start_call(&mut alice, "bob").await;
    let event = receiver.event(is_incoming).await;
    let status = by_context(&server, "reject", json!({ "callRejectReason": "none" }), &event).await;
    assert_eq!(status, 204);
    assert_eq!(alice.wait_for(ended).await, EndReason::declined());
    // Nobody comes.
    let (server, receiver) = waiting_server(Duration::from_millis(300)).await;
    let mut events = server.control.ring_events();
    let mut alice = server.agent("alice").await;
    start_call(&mut alice, "bob").await;
    let event = receiver.event(is_incoming).await;
    assert_eq!(alice.wait_for(ended).await, EndReason::no_agent());
    let status = by_context(&server, "reject", json!({ "callRejectReason": "none" }), &event).await;
    assert_eq!(status, 404);
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        told.push(event);
    }
    assert!(
        matches!(
            &told[..],
            [
                RingEvent::Started { .. },
                RingEvent::Absent { .. },
                RingEvent::Unreachable { .. },
                RingEvent::Ended { .. }
            ]
        ),
        "{told:?}"
    );
    // A caller that hangs up meanwhile leaves nothing either.
    let (server, receiver) = waiting_server(Duration::from_secs(30)).await;
    let mut alice = server.agent("alice").await;
    let call = start_call(&mut alice, "bob").await;
    let event = receiver.event(is_incoming).await;
    alice.ask(json!({ "type": "leave", "callId": call })).await;
    server.becomes_empty().await;
    assert_eq!(server.control.active_rings(), 0);
    let status = by_context(&server, "reject", json!({ "callRejectReason": "none" }), &event).await;
    assert_eq!(status, 404);
    let mut bob = server.agent("bob").await;
    bob.ping().await;
    assert!(bob.heard.iter().all(|message| rings(message).is_none()), "too late");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_waiting_a_callee_without_a_device_is_unreachable_at_once_and_not_told_of() {
    let (server, receiver) = waiting_server(Duration::ZERO).await;
    let mut alice = server.agent("alice").await;
    start_call(&mut alice, "bob").await;
    assert_eq!(alice.wait_for(ended).await, EndReason::no_agent());
    receiver.event(|event| event["type"] == "convoke.call.ended").await;
    assert!(!receiver.events().iter().any(is_incoming));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_called_instead_is_waited_for_as_well() {
    let (server, receiver) = waiting_server(Duration::from_secs(30)).await;
    let mut alice = server.agent("alice").await;
    start_call(&mut alice, "bob").await;
    let event = receiver.event(is_incoming).await;
    let target =
        json!({ "kind": "communicationUser", "communicationUser": { "id": "8:acs:carol" } });
    assert_eq!(by_context(&server, "redirect", json!({ "target": target }), &event).await, 204);
    let to_carol =
        |event: &Value| is_incoming(event) && event["data"]["to"]["rawId"] == "8:acs:carol";
    let event = receiver.event(to_carol).await;
    assert_eq!(event["data"]["connectedAgents"], 0);
    let mut carol = server.agent("8:acs:carol").await;
    let ring = carol.wait_for(rings).await;
    let accept = json!({ "type": "acceptCall", "incomingCallId": ring.incoming_call_id });
    assert!(matches!(carol.ask(with_offers(accept)).await, ServerMessage::Joined(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_event_grid_has_no_type_for_is_passed_over() {
    let receiver = Receiver::start(Vec::new()).await;
    let secret = Secret::random();
    let server = server(event_grid, &receiver.url, &secret).await;
    begun(&server).await;
    for _ in 0..5 {
        server.rest(Role::Identity, "POST", IDENTITIES, &Value::Null).await;
    }
    // One page of nothing must not look like the end of the log.
    let events = async |query: &str| {
        let path = format!("/events?format=eventGrid&{query}");
        server.rest(Role::Admin, "GET", &path, &Value::Null).await.json()["value"].clone()
    };
    assert_eq!(events("limit=2").await, json!([]));
    let (mut raw, joined) = server.participant("alice", GroupId::random()).await;
    let found = events("limit=2&wait=20").await;
    assert_eq!(found[0]["type"], "Microsoft.Communication.CallStarted");
    let group = &joined.group_id;
    assert_eq!(found[0]["data"]["group"]["id"], json!(group));
    assert_eq!(found[0]["data"]["isTwoParty"], false);
    assert_eq!(found[0]["data"]["startedBy"]["kind"], "unknown", "an id that is not ACS's");
    raw.ask(json!({ "type": "leave", "callId": joined.call_id })).await;
    receiver.event(|one| one["type"] == "Microsoft.Communication.CallEnded").await;
    let told = receiver.events();
    let expected = ["CallStarted", "CallParticipantAdded", "CallParticipantRemoved", "CallEnded"];
    assert_eq!(kinds(&told), expected);
    // What follows is passed over, too: the cursor is at the end.
    server.rest(Role::Identity, "POST", IDENTITIES, &Value::Null).await;
    let newest = server.rest(Role::Admin, "GET", "/events", &Value::Null).await.json();
    let newest = newest["value"].as_array().unwrap().last().unwrap()["id"].clone();
    loop {
        let list = server.rest(Role::Admin, "GET", "/webhooks", &Value::Null).await.json();
        if list["value"][0]["position"].as_u64() == newest.as_str().unwrap().parse().ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(receiver.events().len(), 4);
    let wrong = server.rest(Role::Admin, "GET", "/events?format=xml", &Value::Null).await;
    assert_eq!((wrong.status, wrong.code()), (400, "badRequest".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_of_the_format_and_told_again_in_it() {
    let receiver = Receiver::start(vec![StatusCode::SERVICE_UNAVAILABLE; 50]).await;
    let change = |webhook: &mut Webhook| {
        webhook.format = EventFormat::EventGrid;
        webhook.retry_for = Duration::ZERO;
    };
    let server = server(change, &receiver.url, &Secret::random()).await;
    begun(&server).await;
    server.rest(Role::Identity, "POST", IDENTITIES, &Value::Null).await;
    let (_alice, joined) = server.participant("alice", GroupId::random()).await;
    server.rest(Role::Identity, "POST", IDENTITIES, &Value::Null).await;
    let list = "/webhooks/app/deadLetters";
    let letters = loop {
        let letters = server.rest(Role::Admin, "GET", list, &Value::Null).await.json();
        let letters = letters["value"].as_array().unwrap().clone();
        if letters.len() == 2 {
            break letters;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let events: Vec<Value> = letters.iter().map(|letter| letter["event"].clone()).collect();
    assert_eq!(kinds(&events), ["CallStarted", "CallParticipantAdded"]);
    // Taken at last.
    receiver.heard.lock().unwrap().answers.clear();
    let replay = format!("{list}/{}/:replay", letters[1]["position"]);
    let done = server.rest(Role::Admin, "POST", &replay, &Value::Null).await;
    assert_eq!(done.status, 204, "{done:?}");
    let told = receiver.events().pop().unwrap();
    assert_eq!((&told, &told["data"]["serverCallId"]), (&events[1], &json!(joined.call_id)));
}
