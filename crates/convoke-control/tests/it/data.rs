//! Data messages: over WebSockets, refused, to slow readers, and mixed with data channels.

use std::time::Duration;

use convoke_client::{
    Call, CallData, CallDataReceived, CallEvent, Client, ClientOptions, Events, JoinOptions,
};
use convoke_node::core::Permissions;
use convoke_protocol::{Connection, Data, ErrorCode, GroupId, Reliability, ServerMessage};
use serde_json::{Value, json};

use crate::support::{Bystander, PATIENCE, Raw, Server, expect_code};

fn message(call_id: &str, reliability: &str, payload: &str) -> Value {
    json!({ "type": "data", "callId": call_id, "reliability": reliability, "payload": payload })
}

async fn data(raw: &mut Raw) -> Data {
    raw.wait_for(|message| match message {
        ServerMessage::Data(data) => Some(data.clone()),
        _ => None,
    })
    .await
}

fn data_heard(raw: &Raw) -> usize {
    raw.heard.iter().filter(|message| matches!(message, ServerMessage::Data(_))).count()
}

/// Base64 of so many zeros.
fn zeros(bytes: usize) -> String {
    let (whole, rest) = (bytes / 3, bytes % 3);
    format!("{}{}", "AAAA".repeat(whole), ["", "AA==", "AAA="][rest])
}

#[tokio::test(flavor = "multi_thread")]
async fn data_reaches_all_or_some_over_their_websockets_and_the_sender_gets_an_ack() {
    let server = Server::start().await;
    let group = GroupId::random();
    let (mut alice, in_alice) = server.participant("alice", group).await;
    let (mut bob, in_bob) = server.participant("bob", group).await;
    let (mut carol, in_carol) = server.participant("carol", group).await;
    let call = in_alice.call_id.as_str();
    let mut all = message(call, "durable", "aGVsbG8=");
    all["topic"] = json!("chat");
    assert!(matches!(alice.ask(all).await, ServerMessage::Ack(_)));
    let expect = Data {
        call_id: call.to_owned(),
        from: in_alice.participant_id.clone(),
        reliability: Reliability::Durable,
        topic: Some("chat".into()),
        payload: "aGVsbG8=".into(),
    };
    assert_eq!(data(&mut bob).await, expect);
    assert_eq!(data(&mut carol).await, expect);
    let mut some = message(call, "lossy", "");
    some["to"] = json!([in_carol.participant_id, in_bob.participant_id, "p00000001", "nobody"]);
    assert!(matches!(bob.ask(some).await, ServerMessage::Ack(_)));
    let got = data(&mut carol).await;
    assert_eq!((got.from, got.reliability), (in_bob.participant_id, Reliability::Lossy));
    assert_eq!((got.topic, got.payload.as_str()), (None, ""));
    let mut nobody = message(call, "durable", "");
    nobody["to"] = json!([]);
    assert!(matches!(carol.ask(nobody).await, ServerMessage::Ack(_)));
    for raw in [&mut alice, &mut bob, &mut carol] {
        raw.ping().await;
        assert_eq!(data_heard(raw), 0, "nothing for who was not meant");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn durable_data_arrives_in_order_whatever_happens_to_the_roster() {
    let server = Server::start().await;
    let group = GroupId::random();
    let (mut alice, in_alice) = server.participant("alice", group).await;
    let (mut bob, in_bob) = server.participant("bob", group).await;
    for number in 0..40 {
        let mut next = message(&in_alice.call_id, "durable", "");
        next["topic"] = json!(number.to_string());
        assert!(matches!(alice.ask(next).await, ServerMessage::Ack(_)));
        if number % 10 == 5 {
            server.participant("passing", group).await.0.cut();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for number in 0..40 {
        assert_eq!(data(&mut bob).await.topic, Some(number.to_string()));
    }
    // After a resume it goes on; what came meanwhile is lost.
    bob.cut();
    tokio::time::sleep(Duration::from_millis(50)).await;
    alice.ask(message(&in_alice.call_id, "durable", "bG9zdA==")).await;
    let mut again = server.agent("bob").await;
    again.resume(&in_bob.resume_token).await;
    alice.ask(message(&in_alice.call_id, "durable", "aGVyZQ==")).await;
    assert_eq!(data(&mut again).await.payload, "aGVyZQ==");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_refused_with_code_and_field() {
    let server = Server::start().await;
    let group = GroupId::random();
    let (mut alice, joined) = server.participant("alice", group).await;
    let (mut bob, _) = server.participant("bob", group).await;
    let call = joined.call_id.as_str();
    let good = || message(call, "durable", "");
    expect_code(
        &alice.refused(message("c0", "lossy", "")).await,
        ErrorCode::NotInCall,
        Some("callId"),
    );
    let (malformed, limit) = (ErrorCode::MalformedMessage, ErrorCode::LimitExceeded);
    let no_base64 = alice.refused(message(call, "durable", "a")).await;
    expect_code(&no_base64, malformed, Some("payload"));
    let unsure = alice.refused(message(call, "sometimes", "")).await;
    expect_code(&unsure, malformed, Some("reliability"));
    assert!(matches!(
        alice.ask(message(call, "durable", &zeros(16_384))).await,
        ServerMessage::Ack(_)
    ));
    let large = alice.refused(message(call, "durable", &zeros(16_385))).await;
    expect_code(&large, limit, Some("payload"));
    let mut topic = good();
    topic["topic"] = json!("t".repeat(65));
    expect_code(&alice.refused(topic).await, limit, Some("topic"));
    let mut to = good();
    to["to"] = json!(vec!["p1"; 256]);
    expect_code(&alice.refused(to).await, limit, Some("to"));
    let quiet = Permissions { data: false, ..Permissions::ALL };
    server.control.set_permissions(group, "alice", quiet).await.unwrap();
    expect_code(&alice.refused(good()).await, ErrorCode::NotAllowed, None);
    server.control.set_permissions(group, "alice", Permissions::ALL).await.unwrap();
    assert!(matches!(alice.ask(good()).await, ServerMessage::Ack(_)));
    assert_eq!(data(&mut bob).await.payload.len(), zeros(16_384).len());
    assert_eq!(data(&mut bob).await.payload, "");
    bob.ping().await;
    assert_eq!(data_heard(&bob), 0, "what was refused went nowhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_comes_too_fast_is_busy_until_the_time_that_is_told() {
    let limit = |node: &mut convoke_node::NodeConfig| node.limits.data.messages_per_second = 5;
    let server = Server::with_node(|_| {}, limit).await;
    let (mut alice, joined) = server.participant("alice", GroupId::random()).await;
    let next = || message(&joined.call_id, "lossy", "");
    let mut taken = 0;
    let refused = loop {
        match alice.ask(next()).await {
            ServerMessage::Ack(_) => taken += 1,
            ServerMessage::Error(error) => break error,
            other => panic!("{other:?}"),
        }
        assert!(taken < 100, "never refused");
    };
    assert!(taken >= 5, "{taken}");
    expect_code(&refused, ErrorCode::Busy, None);
    let wait = u64::from(refused.retry_after_ms.unwrap());
    assert!((1..=200).contains(&wait), "{wait}");
    tokio::time::sleep(Duration::from_millis(wait)).await;
    assert!(matches!(alice.ask(next()).await, ServerMessage::Ack(_)));
}

fn fast(config: &mut convoke_control::ControlConfig) {
    config.limits.messages_per_second = 1_000_000;
    config.limits.message_burst = 1_000_000;
}

fn any_rate(node: &mut convoke_node::NodeConfig) {
    node.limits.data.messages_per_second = 1_000_000;
    node.limits.data.bytes_per_second = 1 << 30;
}

#[tokio::test(flavor = "multi_thread")]
async fn dc_03_a_websocket_that_is_not_read_is_closed_over_durable_data_and_holds_nobody_up() {
    let server = Server::with_node(fast, any_rate).await;
    let bystander = Bystander::start(&server).await;
    let group = GroupId::random();
    let (mut alice, joined) = server.participant("alice", group).await;
    let (mut bob, _) = server.participant("bob", group).await;
    // Reads nothing from here on.
    let (_deaf, in_deaf) = server.participant("deaf", group).await;
    let reader = tokio::spawn(async move {
        for _ in 0..600 {
            data(&mut bob).await;
        }
    });
    let payload = zeros(16_384);
    for _ in 0..600 {
        let next = message(&joined.call_id, "durable", &payload);
        assert!(matches!(alice.ask(next).await, ServerMessage::Ack(_)));
    }
    tokio::time::timeout(PATIENCE, reader).await.expect("the other got everything").unwrap();
    let lost = |message: &ServerMessage| match message {
        ServerMessage::ParticipantUpdated(update) => Some(update.clone()),
        _ => None,
    };
    let update = alice.wait_for(lost).await;
    assert_eq!(update.participant_id, in_deaf.participant_id);
    assert_eq!(update.connection, Connection::Reconnecting);
    let mut again = server.agent("deaf").await;
    again.resume(&in_deaf.resume_token).await;
    alice.ask(message(&joined.call_id, "durable", "YWdhaW4=")).await;
    assert_eq!(data(&mut again).await.payload, "YWdhaW4=");
    bystander.did_not_notice().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lossy_data_is_dropped_for_a_websocket_that_is_not_read_and_does_not_close_it() {
    let server = Server::with_node(fast, any_rate).await;
    let group = GroupId::random();
    let (mut alice, joined) = server.participant("alice", group).await;
    let (mut deaf, _) = server.participant("deaf", group).await;
    let payload = zeros(16_384);
    for _ in 0..900 {
        let next = message(&joined.call_id, "lossy", &payload);
        assert!(matches!(alice.ask(next).await, ServerMessage::Ack(_)));
    }
    deaf.ping().await;
    let got = data_heard(&deaf);
    // Messages of 22 kB: 2 MiB of the queue, and up to some 10 MB in the system's two buffers.
    assert!((90..600).contains(&got), "{got}");
    alice.ask(message(&joined.call_id, "lossy", "bmV4dA==")).await;
    let next = deaf.wait_for(|message| match message {
        ServerMessage::Data(data) if data.payload == "bmV4dA==" => Some(()),
        _ => None,
    });
    next.await;
}

async fn native(server: &Server, identity: &str, group: GroupId) -> (Call, Events) {
    let url = format!("ws://{}", server.address);
    let token = server.token(identity);
    let client = Client::connect(&url, &token, ClientOptions::default()).await.unwrap();
    let call = client.join(&group.to_string(), JoinOptions::default()).await.unwrap();
    let events = call.events();
    (call, events)
}

/// The next event that `wanted` likes.
async fn event<T>(events: &mut Events, wanted: impl Fn(CallEvent) -> Option<T>) -> T {
    let next = async {
        loop {
            let event = events.next().await.expect("the call goes on");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, next).await.expect("no such event")
}

async fn native_data(events: &mut Events) -> CallDataReceived {
    let data = |event| match event {
        CallEvent::Data(data) => Some(data),
        _ => None,
    };
    event(events, data).await
}

async fn until_open(call: &Call) {
    let open = async {
        while ![Reliability::Durable, Reliability::Lossy]
            .map(|r| call.data_channel_open(r))
            .iter()
            .all(|open| *open)
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, open).await.expect("the channels open");
}

fn counts(server: &Server) -> ([u64; 2], [u64; 2]) {
    // Published four times a second.
    let stats = server.handle.stats();
    let sum = |f: fn(&convoke_node::core::DataStats) -> [u64; 2]| {
        stats
            .iter()
            .map(|worker| f(&worker.core.data))
            .fold([0, 0], |a, b| [a[0] + b[0], a[1] + b[1]])
    };
    (sum(|data| data.out_by_channel), sum(|data| data.out_by_event))
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_and_websockets_reach_each_other() {
    let server = Server::start().await;
    let group = GroupId::random();
    let (mut web, in_web) = server.participant("web", group).await;
    let (one, mut events_one) = native(&server, "one", group).await;
    let (two, mut events_two) = native(&server, "two", group).await;
    let say = |to: Option<Vec<String>>, reliability, text: &str| CallData {
        to,
        reliability,
        topic: "chat".into(),
        payload: text.as_bytes().into(),
    };
    // Its channel may not be open yet: then it goes by the WebSocket.
    one.send_data(say(None, Reliability::Durable, "early")).await.unwrap();
    assert_eq!(data(&mut web).await.payload, "ZWFybHk=");
    assert_eq!(&*native_data(&mut events_two).await.payload, b"early");
    for call in [&one, &two] {
        until_open(call).await;
    }
    // The events of before have a second to arrive.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let before = counts(&server);
    let own = one.state().participant_id.clone();
    for reliability in [Reliability::Durable, Reliability::Lossy] {
        one.send_data(say(None, reliability, "hello")).await.unwrap();
        let got = native_data(&mut events_two).await;
        assert_eq!(got.from.as_ref(), Some(&own));
        assert_eq!(
            (got.reliability, &*got.topic, &*got.payload),
            (reliability, "chat", &b"hello"[..])
        );
        let got = data(&mut web).await;
        assert_eq!((got.from.as_str(), got.reliability), (own.as_str(), reliability));
        assert_eq!((got.topic.as_deref(), got.payload.as_str()), (Some("chat"), "aGVsbG8="));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let after = counts(&server);
    assert_eq!(after.0, before.0.map(|count| count + 1), "by channels");
    assert_eq!(after.1, before.1.map(|count| count + 1), "by the WebSocket");
    // To one, from each kind.
    let mut answer = message(&in_web.call_id, "durable", "YmFjaw==");
    answer["to"] = json!([own]);
    web.ask(answer).await;
    let got = native_data(&mut events_one).await;
    assert_eq!((got.from.as_ref(), &*got.payload), (Some(&in_web.participant_id), &b"back"[..]));
    let to_web = Some(vec![in_web.participant_id.clone()]);
    two.send_data(say(to_web, Reliability::Durable, "you")).await.unwrap();
    assert_eq!(data(&mut web).await.payload, "eW91");
    // What a channel would drop in silence is refused where it can be told.
    let large = two.send_data(say(None, Reliability::Durable, &"x".repeat(16_385))).await;
    let convoke_client::DataError::Request(convoke_client::RequestError::Refused(reply)) =
        large.unwrap_err()
    else {
        panic!("not refused")
    };
    assert_eq!(reply.code, ErrorCode::LimitExceeded);
    one.leave().await.unwrap();
    two.leave().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_the_server_closes_is_told_of_and_messages_go_on_by_the_websocket() {
    let limit = |node: &mut convoke_node::NodeConfig| node.limits.data.messages_per_second = 20;
    let server = Server::with_node(|_| {}, limit).await;
    let group = GroupId::random();
    let (call, mut events) = native(&server, "one", group).await;
    let (mut web, _) = server.participant("web", group).await;
    until_open(&call).await;
    let say = |number: u32| CallData {
        to: None,
        reliability: Reliability::Durable,
        topic: number.to_string().into(),
        payload: [].into(),
    };
    for number in 0..40 {
        // The first beyond the rate closes the channel; what follows goes by the WebSocket, and is
        // refused there.
        if let Err(error) = call.send_data(say(number)).await {
            assert!(number >= 20 && error.to_string().contains("Busy"), "{number}: {error}");
        }
    }
    let closed = |event| match event {
        CallEvent::DataClosed { reason, retry_after, .. } => Some((reason, retry_after)),
        _ => None,
    };
    let (reason, retry_after) = event(&mut events, closed).await;
    assert_eq!(reason, convoke_protocol::DataCloseReason::TooFast);
    tokio::time::sleep(retry_after.unwrap()).await;
    let sent = async {
        while call.send_data(say(100)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, sent).await.expect("not refused for ever");
    let mut got = Vec::new();
    while got.last() != Some(&100) {
        got.push(data(&mut web).await.topic.unwrap().parse::<u32>().unwrap());
    }
    assert!(got.is_sorted(), "{got:?}");
    assert_eq!(got[..20], (0..20).collect::<Vec<_>>());
    call.leave().await.unwrap();
}
