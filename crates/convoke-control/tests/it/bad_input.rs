//! The bad-input table: each gets its error, and a running call beside it does not notice.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use convoke_control::{Key, KeySet, Minter, Secret, TokenRequest, TokenRules};
use convoke_protocol::{ErrorCode, GroupId, ServerMessage, close};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Bystander, PATIENCE, Raw, Server, expect_code, join, offers};

type Bad = (&'static str, Value, ErrorCode, Option<&'static str>);

/// `join` with one thing changed.
fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut message = join(GroupId::random());
    change(&mut message);
    message
}

fn bad_joins() -> Vec<Bad> {
    let audioless = |sdp: Option<String>| sdp.unwrap().replace("m=audio", "m=video");
    let broken = |sdp: Option<String>| sdp.unwrap().replace("a=ice-ufrag:", "a=ice-ufrog:");
    let sdp = ErrorCode::SdpInvalid;
    vec![
        ("garbage", changed(|j| j["send"]["sdp"] = json!("garbage")), sdp, Some("send.sdp")),
        ("empty", changed(|j| j["receive"]["sdp"] = json!("")), sdp, Some("receive.sdp")),
        (
            "only a version, no audio",
            changed(|j| j["send"]["sdp"] = json!("v=0\r\n")),
            ErrorCode::SdpWithoutAudio,
            Some("send.sdp"),
        ),
        (
            "cut short",
            changed(|j| j["send"]["sdp"] = json!("v=0\r\nm=audio 9 UDP")),
            sdp,
            Some("send.sdp"),
        ),
        (
            "NUL within",
            changed(|j| j["send"]["sdp"] = json!("v=0\r\n\u{0}\r\nm=audio \u{0}")),
            sdp,
            Some("send.sdp"),
        ),
        (
            "no ICE user name",
            changed(|j| j["send"]["sdp"] = json!(broken(offers().send))),
            sdp,
            Some("send.sdp"),
        ),
        (
            "no ICE user name",
            changed(|j| j["receive"]["sdp"] = json!(broken(offers().receive))),
            sdp,
            Some("receive.sdp"),
        ),
        (
            "no audio to send",
            changed(|j| j["send"]["sdp"] = json!(audioless(offers().send))),
            ErrorCode::SdpWithoutAudio,
            Some("send.sdp"),
        ),
        (
            "no audio slot",
            changed(|j| j["receive"]["sdp"] = json!(audioless(offers().receive))),
            ErrorCode::SdpWithoutAudio,
            Some("receive.sdp"),
        ),
        (
            "no offer",
            changed(|j| {
                j["send"] = Value::Null;
                j["receive"] = Value::Null;
            }),
            sdp,
            Some("send"),
        ),
        (
            "300 KB SDP",
            changed(|j| j["send"]["sdp"] = json!("v=0\r\n".repeat(60_000))),
            ErrorCode::LimitExceeded,
            Some("send.sdp"),
        ),
        (
            "no GUID",
            changed(|j| j["groupId"] = json!("my meeting")),
            ErrorCode::GroupIdInvalid,
            Some("groupId"),
        ),
        (
            "nil GUID",
            changed(|j| j["groupId"] = json!("00000000-0000-0000-0000-000000000000")),
            ErrorCode::GroupIdInvalid,
            Some("groupId"),
        ),
        (
            "unknown mid",
            changed(|j| j["tracks"][0]["mid"] = json!("nope")),
            ErrorCode::TrackInvalid,
            Some("tracks[0]"),
        ),
        (
            "wrong kind",
            changed(|j| j["tracks"][0]["source"] = json!("camera")),
            ErrorCode::TrackInvalid,
            Some("tracks[0]"),
        ),
        (
            "nameless track",
            changed(|j| j["tracks"][0]["clientId"] = json!("")),
            ErrorCode::TrackInvalid,
            Some("tracks[0].clientId"),
        ),
        (
            "one m-line twice",
            changed(|j| {
                let mut other = j["tracks"][0].clone();
                other["clientId"] = json!("other");
                j["tracks"].as_array_mut().unwrap().push(other);
            }),
            ErrorCode::TrackInvalid,
            Some("tracks[1]"),
        ),
        (
            "too many tracks",
            changed(|j| {
                let track = j["tracks"][0].clone();
                j["tracks"] = json!(vec![track; 9]);
            }),
            ErrorCode::LimitExceeded,
            Some("tracks"),
        ),
        (
            "a field of a wrong type",
            changed(|j| j["send"]["sdp"] = json!(7)),
            ErrorCode::MalformedMessage,
            Some("send.sdp"),
        ),
        (
            "an unknown source",
            changed(|j| j["tracks"][0]["source"] = json!("nose")),
            ErrorCode::MalformedMessage,
            Some("tracks[0].source"),
        ),
        (
            "a missing field",
            changed(|j| drop(j["tracks"][0].as_object_mut().unwrap().remove("mid"))),
            ErrorCode::MalformedMessage,
            Some("tracks[0].mid"),
        ),
        (
            "neither group nor room",
            changed(|j| drop(j.as_object_mut().unwrap().remove("groupId"))),
            ErrorCode::GroupIdInvalid,
            Some("groupId"),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_join_gets_its_error_and_leaves_nothing() {
    let server = Server::start().await;
    let bystander = Bystander::start(&server).await;
    let mut agent = server.agent("mallory").await;
    for (what, message, code, field) in bad_joins() {
        let reply = agent.refused(message).await;
        assert_eq!((reply.code, reply.field.as_deref()), (code, field), "{what}: {reply:?}");
        assert_eq!(server.control.active_calls(), 1, "{what}: a call was left");
    }
    // The same agent can still join.
    agent.join(GroupId::random()).await;
    bystander.did_not_notice().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_messages_get_their_errors() {
    let server = Server::start().await;
    let mut agent = server.agent("mallory").await;
    for text in ["", "nonsense", "[]", "null", "{}", "{\"type\":null}", "{\"type\":\"ping\""] {
        agent.send_text(text.to_owned()).await;
        let Some(ServerMessage::Error(reply)) = agent.hear().await else { panic!("{text}") };
        assert_eq!(reply.code, ErrorCode::MalformedMessage, "{text}");
    }
    let unknown = agent.refused(json!({ "type": "jion" })).await;
    expect_code(&unknown, ErrorCode::UnknownType, Some("type"));
    assert!(unknown.message.contains("`join`"), "{unknown:?}");
    // JN-06: an answer that nobody asked for is an error message, not a dead session.
    let stray = agent.refused(json!({ "type": "answer", "sdp": "v=0" })).await;
    expect_code(&stray, ErrorCode::UnknownType, Some("type"));
    for message in [
        json!({ "type": "leave", "callId": "c1" }),
        json!({ "type": "mute", "callId": "c1", "clientId": "mic", "muted": true }),
        json!({ "type": "offer", "callId": "c1", "transport": "send", "sdp": "v=0" }),
        json!({ "type": "view", "callId": "c1" }),
    ] {
        expect_code(&agent.refused(message).await, ErrorCode::NotInCall, Some("callId"));
    }
    let unknown_fields = json!({ "type": "ping", "colour": "blue", "deep": { "x": [1] } });
    agent.ask(unknown_fields).await;
    agent.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_works_before_hello() {
    let server = Server::start().await;
    let mut raw = Raw::connect(server.address).await;
    for message in [
        json!({ "type": "ping" }),
        join(GroupId::random()),
        json!({ "type": "resume", "resumeToken": "x" }),
    ] {
        expect_code(&raw.refused(message).await, ErrorCode::NotAuthenticated, None);
    }
    let old = json!({ "type": "hello", "protocol": 0, "token": server.token("a") });
    expect_code(&raw.refused(old).await, ErrorCode::ProtocolVersion, Some("protocol"));
    let long = json!({
        "type": "hello", "protocol": 1, "token": server.token("a"), "displayName": "x".repeat(257),
    });
    expect_code(&raw.refused(long).await, ErrorCode::LimitExceeded, Some("displayName"));
    raw.hello(&server.token("a")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_token_gets_its_error_and_makes_no_state() {
    let public = {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        pair.public_key().as_ref().to_vec()
    };
    let x = URL_SAFE_NO_PAD.encode(&public);
    let secret = Secret::random();
    let (hmac, eddsa) = (Key::hs256("h", &secret).unwrap(), Key::eddsa_jwk("e", &x).unwrap());
    let keys = KeySet::new(vec![hmac, eddsa], TokenRules::default()).unwrap();
    let server = Server::with(|config| config.keys = keys).await;
    let bystander_server = Server::start().await;
    let bystander = Bystander::start(&bystander_server).await;

    let good = Minter::hs256("h", &secret).unwrap();
    let mint = |minter: &Minter, at: i64| {
        let now = std::time::SystemTime::now();
        let shift = std::time::Duration::from_secs(at.unsigned_abs());
        let then = if at < 0 { now - shift } else { now + shift };
        minter.mint(&TokenRequest::new("alice"), then).unwrap()
    };
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(json!({ "alg": "none", "kid": "h" }));
    let body = part(json!({ "sub": "alice", "exp": 4_000_000_000_u64, "scp": ["voip"] }));
    let stranger = Minter::hs256("h", &Secret::random()).unwrap();
    let unknown = Minter::hs256("z", &secret).unwrap();
    let confused = Minter::hs256("e", &Secret::new(public)).unwrap();
    let early = {
        let key = jsonwebtoken::EncodingKey::from_secret(secret.expose());
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
        header.kid = Some("h".into());
        let claims = json!({ "sub": "alice", "nbf": 3_900_000_000_u64, "exp": 4_000_000_000_u64 });
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    };
    let mut raw = Raw::connect(server.address).await;
    for (what, token, code) in [
        ("not yet valid", early, ErrorCode::TokenNotYetValid),
        ("none at all", String::new(), ErrorCode::TokenMissing),
        ("garbage", "garbage".into(), ErrorCode::TokenInvalid),
        ("alg none", format!("{head}.{body}."), ErrorCode::TokenInvalid),
        ("wrong key", mint(&stranger, 0), ErrorCode::TokenInvalid),
        ("unknown kid", mint(&unknown, 0), ErrorCode::TokenInvalid),
        ("HS256 by the EdDSA public key", mint(&confused, 0), ErrorCode::TokenInvalid),
        ("expired", mint(&good, -7200), ErrorCode::TokenExpired),
    ] {
        let hello = json!({ "type": "hello", "protocol": 1, "token": token });
        let reply = raw.refused(hello).await;
        assert_eq!((reply.code, reply.field.as_deref()), (code, Some("token")), "{what}");
        assert!(token.is_empty() || !reply.message.contains(&token), "{what}: echoed");
    }
    expect_code(&raw.refused(json!({ "type": "ping" })).await, ErrorCode::NotAuthenticated, None);
    assert_eq!(server.control.active_calls(), 0);
    raw.hello(&mint(&good, 0)).await;
    bystander.did_not_notice().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_for_other_calls_and_without_scopes_are_told_apart() {
    let server = Server::start().await;
    let group = GroupId::random();
    let restricted = TokenRequest { group_id: Some(group), ..TokenRequest::new("alice") };
    let mut agent = Raw::connect(server.address).await;
    agent.hello(&server.token_with(restricted)).await;
    let other = agent.refused(join(GroupId::random())).await;
    expect_code(&other, ErrorCode::TokenWrongCall, Some("groupId"));
    let mut spelled = join(group);
    spelled["groupId"] = json!(format!("{{{}}}", group.to_string().to_uppercase()));
    let joined = agent.ask(spelled).await;
    assert!(matches!(joined, ServerMessage::Joined(_)), "{joined:?}");

    let powerless = TokenRequest { scopes: Vec::new(), ..TokenRequest::new("bob") };
    let mut agent = Raw::connect(server.address).await;
    agent.hello(&server.token_with(powerless)).await;
    expect_code(&agent.refused(join(group)).await, ErrorCode::ScopeMissing, Some("token"));
    assert_eq!(server.control.active_calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_calls_and_duplicate_joins_are_refused() {
    let server = Server::start().await;
    let group = GroupId::random();
    let mut guest = Raw::connect(server.address).await;
    guest.hello(&server.joiner_token("guest")).await;
    expect_code(&guest.refused(join(group)).await, ErrorCode::CallNotFound, Some("groupId"));
    assert_eq!(server.control.active_calls(), 0);
    let (mut host, joined) = server.participant("host", group).await;
    assert_eq!(guest.join(group).await.call_id, joined.call_id);
    for again in [group, GroupId::random()] {
        expect_code(&host.refused(join(again)).await, ErrorCode::AlreadyJoined, None);
    }
    assert_eq!(server.control.active_calls(), 1);
    host.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn se_02_oversized_messages_close_with_1009_and_nobody_else_notices() {
    let server = Server::start().await;
    let bystander = Bystander::start(&server).await;
    for megabytes in [1, 2, 64] {
        let mut agent = server.agent("mallory").await;
        let sdp = "a".repeat(megabytes * 1024 * 1024);
        let mut message = join(GroupId::random());
        message["send"]["sdp"] = json!(sdp);
        // The server may close before all of it was written.
        let written = agent.try_send(Message::Text(message.to_string().into())).await;
        if written.is_ok() {
            assert_eq!(agent.close_code().await, close::TOO_BIG, "{megabytes} MB");
        } else {
            assert!(megabytes > 2, "{written:?}");
        }
    }
    let mut agent = server.agent("mallory").await;
    agent.try_send(Message::Binary(vec![0; 16].into())).await.unwrap();
    assert_eq!(agent.close_code().await, close::NOT_TEXT);
    assert_eq!(server.control.active_calls(), 1);
    bystander.did_not_notice().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn se_02_absurd_sdp_is_refused_fast() {
    let server = Server::start().await;
    let mut agent = server.agent("mallory").await;
    let good = offers().send.unwrap();
    let lines = |line: &str, count: usize| format!("{good}{}", line.repeat(count));
    let audio = good.find("m=audio").unwrap();
    let payload = |pt: &str| {
        let (before, after) = good.split_at(audio);
        let end = after.find("\r\n").unwrap();
        format!("{before}{} {pt}{}", &after[..end], &after[end..])
    };
    let absurd = [
        ("10^4 m-lines", lines("m=audio 9 RTP 0\r\n", 10_000)),
        ("10^4 attributes", lines("a=x\r\n", 10_000)),
        ("one long line", lines("a", 200_000)),
        ("payload type 128", payload("128")),
        ("payload type 300", payload("300")),
        ("payload type 2^32", payload("4294967296")),
        ("bare line feeds", good.replace("\r\n", "\n")),
        ("bare carriage returns", good.replace("\r\n", "\r")),
        ("a session name with text", good.replace("s=-", "s=caf\u{e9} \u{1F600}")),
        ("duplicate mids", duplicate_mids(&good)),
    ];
    for (what, sdp) in absurd {
        let mut message = join(GroupId::random());
        message["send"]["sdp"] = json!(sdp);
        let began = std::time::Instant::now();
        let reply = agent.ask(message).await;
        assert!(began.elapsed() < PATIENCE / 2, "{what}: {:?}", began.elapsed());
        match reply {
            // Harmless oddities may be accepted.
            ServerMessage::Joined(joined) => {
                agent.ask(json!({ "type": "leave", "callId": joined.call_id })).await;
            }
            ServerMessage::Error(reply) => {
                let codes =
                    [ErrorCode::SdpInvalid, ErrorCode::LimitExceeded, ErrorCode::SdpWithoutAudio];
                assert!(
                    codes.contains(&reply.code) || reply.code == ErrorCode::TrackInvalid,
                    "{what}: {reply:?}"
                );
            }
            other => panic!("{what}: {other:?}"),
        }
    }
    agent.join(GroupId::random()).await;
}

fn duplicate_mids(sdp: &str) -> String {
    let same = |line: &str| if line.starts_with("a=mid:") { "a=mid:0" } else { line }.to_owned();
    sdp.lines().map(|line| same(line) + "\r\n").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn jn_06_offers_without_waiting_are_answered_in_order() {
    let server = Server::start().await;
    let (mut agent, joined) = server.participant("alice", GroupId::random()).await;
    let good = offers().receive.unwrap();
    let mut ids = Vec::new();
    for at in 0..20 {
        let sdp = if at % 2 == 0 { good.as_str() } else { "v=0\r\nm=audio 9 stale\r\n" };
        let offer = json!({
            "type": "offer", "callId": joined.call_id, "transport": "receive", "sdp": sdp,
        });
        ids.push(agent.say(offer).await);
    }
    for (at, id) in ids.into_iter().enumerate() {
        match agent.answer_to(id).await {
            ServerMessage::Answer(answer) => {
                assert_eq!(at % 2, 0);
                assert_eq!(answer.slots.len(), joined.slots.len());
            }
            ServerMessage::Error(reply) => {
                assert_eq!(at % 2, 1, "{reply:?}");
                expect_code(&reply, ErrorCode::SdpInvalid, Some("sdp"));
            }
            other => panic!("{other:?}"),
        }
    }
    // What may have been told out of order is set right.
    let snapshot = |message: &ServerMessage| match message {
        ServerMessage::Snapshot(m) => Some(m.slots.len()),
        _ => None,
    };
    assert_eq!(agent.wait_for(snapshot).await, joined.slots.len());
    agent.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cp_07_names_come_back_byte_for_byte() {
    let server = Server::start().await;
    let group = GroupId::random();
    let (mut watcher, _) = server.participant("watcher", group).await;
    for name in ["\u{1F600}", "e\u{301}", "\u{e9}", "../..%2e*\"'<b>", "\u{202e}rtl\u{200b}"] {
        let request = TokenRequest { display_name: Some(name.into()), ..TokenRequest::new(name) };
        let mut agent = Raw::connect(server.address).await;
        agent.hello(&server.token_with(request)).await;
        agent.join(group).await;
        let seen = watcher
            .wait_for(|message| match message {
                ServerMessage::ParticipantJoined(m) => {
                    Some((m.participant.identity.clone(), m.participant.display_name.clone()))
                }
                _ => None,
            })
            .await;
        assert_eq!(seen, (name.to_owned(), name.to_owned()));
    }
}
