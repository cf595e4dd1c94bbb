//! What strangers and broken clients send: each gets its error, no state is made, and a running
//! call beside it does not notice.

mod common;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::call::{GROUP, Host};
use convoke::control::{Key, KeySet, Secret, TokenRequest, TokenRules};
use convoke::protocol::{Scope, Source};
use convoke_client::media::{MediaConfig, MediaPeer, SendLine};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const OTHER_GROUP: &str = "0b9d1c2e-7c1f-4f0e-9a55-3f1f6f0d8a11";

/// A WebSocket without a client's good manners.
struct Raw(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Raw {
    async fn open(host: &Host) -> Self {
        let url = format!("{}agent", host.url.replace("http://", "ws://"));
        Self(connect_async(url).await.expect("a WebSocket").0)
    }

    /// One that has said hello.
    async fn authenticated(host: &Host, request: &TokenRequest) -> Self {
        let mut raw = Self::open(host).await;
        let reply = raw.hello(&host.token(request)).await;
        assert_eq!(reply["type"], "welcome", "{reply}");
        raw
    }

    async fn send(&mut self, text: String) {
        // The server may have closed already; then the next `receive` says so.
        _ = self.0.send(Message::text(text)).await;
    }

    /// The next message, or the close code.
    async fn receive(&mut self) -> Result<Value, u16> {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(20), self.0.next()).await;
            match next.expect("an answer in time") {
                Some(Ok(Message::Text(text))) => {
                    return Ok(serde_json::from_str(&text).expect("JSON"));
                }
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map_or(1005, |frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(1006),
            }
        }
    }

    /// The answer to one request; changes in between are left aside.
    async fn ask(&mut self, mut message: Value) -> Value {
        message["requestId"] = 77.into();
        self.send(message.to_string()).await;
        loop {
            let reply = self.receive().await.expect("an answer, not a close");
            if reply["requestId"] == 77 {
                return reply;
            }
        }
    }

    async fn hello(&mut self, token: &str) -> Value {
        self.ask(json!({ "type": "hello", "protocol": 1, "token": token })).await
    }

    async fn join(&mut self, group: &str, receive: &str) -> Value {
        let receive = json!({ "sdp": receive });
        self.ask(json!({ "type": "join", "groupId": group, "receive": receive })).await
    }

    /// Still served after all that.
    async fn answers_pings(&mut self) {
        assert_eq!(self.ask(json!({ "type": "ping" })).await["type"], "pong");
    }
}

/// A good offer of a receive transport with so many slots.
fn offer(audio: usize, video: usize) -> String {
    let address = "127.0.0.1:9".parse().expect("an address");
    let mut config = MediaConfig::new(address, address);
    (config.audio_slots, config.video_slots) = (audio, video);
    config.send = vec![SendLine::new(Source::Microphone)];
    let (_, offers) = MediaPeer::new(config, 7, Instant::now()).expect("offers");
    offers.receive.expect("a receive offer")
}

#[track_caller]
fn refused(reply: &Value, code: &str) {
    assert_eq!(reply["type"], "error", "{reply}");
    assert_eq!(reply["code"], code, "{reply}");
    assert!(reply["message"].as_str().is_some_and(|words| words.len() > 10), "{reply}");
}

/// Two people talk while `trouble` happens; afterwards they have missed nothing.
async fn beside_a_call(host: Host, trouble: impl AsyncFnOnce(&Host)) {
    let epoch = Instant::now();
    let a = host.join("a", epoch).await;
    let b = host.join("b", epoch).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let started = Instant::now();
    trouble(&host).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let expected = started.elapsed().as_secs() * 10;
    let lost = host.lost();
    assert_eq!(host.server.control().active_calls(), 1, "no state was made");
    assert_eq!(a.call.state().participants.len(), 2, "nobody else is in the call");
    let mut staying = Vec::new();
    for participant in [a, b] {
        let (client, call, received) = participant.received().await;
        received.is_undisturbed(lost, expected);
        staying.push((client, call));
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_that_cannot_be_used() {
    beside_a_call(Host::start().await, async |host| {
        let mut raw = Raw::authenticated(host, &TokenRequest::new("mallory")).await;
        let good = offer(2, 2);
        for (what, sdp, code) in [
            ("no SDP", "this is no session description".to_owned(), "sdpInvalid"),
            ("empty", String::new(), "sdpInvalid"),
            ("cut off", good[..good.len() / 3].to_owned(), "sdpInvalid"),
            ("binary", "\u{0}\u{1}\u{ffff}".repeat(50), "sdpInvalid"),
            ("no ICE", good.replace("a=ice-", "a=ice2-"), "sdpInvalid"),
            ("no DTLS", good.replace("a=fingerprint", "a=finger"), "sdpInvalid"),
            ("no audio", offer(0, 2), "sdpWithoutAudio"),
        ] {
            let reply = raw.join(GROUP, &sdp).await;
            assert_eq!(reply["type"], "error", "{what}: {reply}");
            refused(&reply, code);
        }
        // Larger than an offer may be, in a message that is not too large.
        let large = format!("{good}{}", "a=x-padding:0123456789\r\n".repeat(14_000));
        let reply = raw.join(GROUP, &large).await;
        assert!(
            ["limitExceeded", "sdpInvalid"].map(Value::from).contains(&reply["code"]),
            "{reply}"
        );
        raw.answers_pings().await;

        // A megabyte is larger than any message may be.
        let mut huge = Raw::authenticated(host, &TokenRequest::new("mallory")).await;
        let join =
            json!({ "type": "join", "groupId": GROUP, "receive": { "sdp": "a".repeat(1 << 20) } });
        huge.send(join.to_string()).await;
        let closed = huge.receive().await.expect_err("closed");
        assert!(closed == 1009 || closed == 1006, "{closed}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_that_are_not_allowed() {
    let at_once = Host::with(|_, control| control.times.grace = Duration::from_millis(200)).await;
    beside_a_call(at_once, async |host| {
        let good = offer(2, 2);
        let mut raw = Raw::authenticated(host, &TokenRequest::new("mallory")).await;
        for id in
            ["", "the usual", "6ba7b810-9dad-11d1-80b4", "00000000-0000-0000-0000-000000000000"]
        {
            refused(&raw.join(id, &good).await, "groupIdInvalid");
        }
        for message in [
            json!({ "type": "leave", "callId": "c-of-nobody" }),
            json!({ "type": "mute", "callId": "c-of-nobody", "clientId": "mic", "muted": true }),
            json!({ "type": "offer", "callId": "c-of-nobody", "transport": "send", "sdp": good }),
        ] {
            refused(&raw.ask(message).await, "notInCall");
        }
        refused(
            &raw.ask(json!({ "type": "resume", "resumeToken": "guessed" })).await,
            "resumeInvalid",
        );

        // May only join calls that run.
        let mut guest = TokenRequest::new("guest");
        guest.scopes = vec![Scope::VoipJoin];
        let mut raw = Raw::authenticated(host, &guest).await;
        refused(&raw.join(OTHER_GROUP, &good).await, "callNotFound");
        assert_eq!(raw.join(GROUP, &good).await["type"], "joined");
        refused(&raw.join(GROUP, &good).await, "alreadyJoined");
        refused(&raw.join(OTHER_GROUP, &good).await, "alreadyJoined");
        let call = raw.ask(json!({ "type": "leave", "callId": "" })).await;
        refused(&call, "notInCall");
        raw.answers_pings().await;
        drop(raw);

        // May only join another call.
        let mut bound = TokenRequest::new("bound");
        bound.group_id = Some(OTHER_GROUP.parse().expect("a GUID"));
        let mut raw = Raw::authenticated(host, &bound).await;
        refused(&raw.join(GROUP, &good).await, "tokenWrongCall");

        let mut none = TokenRequest::new("none");
        none.scopes = Vec::new();
        let mut raw = Raw::open(host).await;
        let reply = raw.hello(&host.token(&none)).await;
        if reply["type"] == "welcome" {
            refused(&raw.join(GROUP, &good).await, "scopeMissing");
        } else {
            refused(&reply, "scopeMissing");
        }
        // The guest whose socket went leaves after the grace time, here at once.
        until_alone(host).await;
    })
    .await;
}

/// Until only the two who talk are left.
async fn until_alone(host: &Host) {
    let there = || host.server.node().stats().iter().map(|w| w.core.participants).sum::<u64>();
    common::call::until("only two are left", || there() == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_none() {
    beside_a_call(Host::start().await, async |host| {
        let mut raw = Raw::open(host).await;
        refused(&raw.ask(json!({ "type": "ping" })).await, "notAuthenticated");
        refused(&raw.join(GROUP, &offer(1, 1)).await, "notAuthenticated");
        let reply = raw.ask(json!({ "type": "hello", "protocol": 99, "token": "x" })).await;
        refused(&reply, "protocolVersion");
        let reply = raw.hello(&host.token(&TokenRequest::new("mallory"))).await;
        assert_eq!(reply["type"], "welcome", "a refused hello may be tried again: {reply}");

        refused(&raw.ask(json!({ "type": "selfDestruct" })).await, "unknownType");
        refused(&raw.ask(json!({ "type": "mute", "muted": "perhaps" })).await, "malformedMessage");
        refused(&raw.ask(json!({})).await, "malformedMessage");
        for text in ["", "{", "[]", "null", "7", "\"hello\"", "{\"type\":7}"] {
            raw.send(text.to_owned()).await;
            let reply = raw.receive().await.expect("an answer");
            refused(&reply, "malformedMessage");
        }
        let deep =
            format!("{{\"type\":\"ping\",\"x\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
        raw.send(deep).await;
        let reply = raw.receive().await.expect("an answer");
        assert!(["error", "pong"].map(Value::from).contains(&reply["type"]), "{reply}");
        // What is not known is ignored.
        assert_eq!(raw.ask(json!({ "type": "ping", "colour": "blue" })).await["type"], "pong");

        raw.0.send(Message::binary(vec![1, 2, 3])).await.expect("sent");
        assert_eq!(raw.receive().await, Err(4400));
    })
    .await;
}

fn encode(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

fn jwt(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn hs256(secret: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> + use<> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    move |message| hmac::sign(&key, message).as_ref().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_are_no_good() {
    let secret = Secret::random();
    let public = "-----BEGIN PUBLIC KEY-----\n\
                  MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
                  -----END PUBLIC KEY-----\n";
    let keys = vec![
        Key::hs256("secret", &secret).expect("a key"),
        Key::eddsa_pem("public", public).expect("a key"),
    ];
    let keys = KeySet::new(keys, TokenRules::default()).expect("keys");
    let host = Host::with_keys(keys, &secret, "secret").await;
    beside_a_call(host, async |host| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let good = json!({ "sub": "mallory", "scp": ["voip"], "exp": now + 600 });
        let with = |key: &str, value: Value| {
            let mut claims = good.clone();
            claims[key] = value;
            claims
        };
        let head = json!({ "alg": "HS256", "typ": "JWT", "kid": "secret" });
        let sign = hs256(secret.expose());
        let none = |_: &[u8]| Vec::new();
        let mut raw = Raw::open(host).await;
        let welcome = raw.hello(&jwt(&head, &good, &sign)).await;
        assert_eq!(welcome["type"], "welcome", "the good one is good: {welcome}");

        let eddsa = json!({ "alg": "EdDSA", "kid": "public" });
        let confused = json!({ "alg": "HS256", "kid": "public" });
        let unsigned = json!({ "alg": "none", "kid": "secret" });
        for (what, token, code) in [
            ("empty", String::new(), "tokenMissing"),
            ("no token", "let me in".to_owned(), "tokenInvalid"),
            ("alg none", jwt(&unsigned, &good, none), "tokenInvalid"),
            ("no signature", jwt(&head, &good, none), "tokenInvalid"),
            ("wrong key", jwt(&head, &good, hs256(&[7; 32])), "tokenInvalid"),
            (
                "unknown kid",
                jwt(&json!({ "alg": "HS256", "kid": "x" }), &good, &sign),
                "tokenInvalid",
            ),
            ("no kid", jwt(&json!({ "alg": "HS256" }), &good, &sign), "tokenInvalid"),
            (
                "HS512",
                jwt(&json!({ "alg": "HS512", "kid": "secret" }), &good, &sign),
                "tokenInvalid",
            ),
            (
                "HS256 by public key",
                jwt(&confused, &good, hs256(public.as_bytes())),
                "tokenInvalid",
            ),
            ("HS256 by its bytes", jwt(&confused, &good, hs256(&der(public))), "tokenInvalid"),
            ("EdDSA by secret", jwt(&eddsa, &good, &sign), "tokenInvalid"),
            ("expired", jwt(&head, &with("exp", (now - 60).into()), &sign), "tokenExpired"),
            ("early", jwt(&head, &with("nbf", (now + 60).into()), &sign), "tokenNotYetValid"),
            ("no exp", jwt(&head, &with("exp", Value::Null), &sign), "tokenInvalid"),
            ("no sub", jwt(&head, &with("sub", Value::Null), &sign), "tokenInvalid"),
            ("endless", jwt(&head, &with("exp", json!(1e300)), &sign), "tokenInvalid"),
            ("huge", "e".repeat(100_000), "tokenInvalid"),
        ] {
            let mut raw = Raw::open(host).await;
            let reply = raw.hello(&token).await;
            assert_eq!(reply["type"], "error", "{what}: {reply}");
            refused(&reply, code);
            assert!(token.is_empty() || !reply.to_string().contains(&token), "{what}: {reply}");
        }
        // A clock that differs by less than the leeway does no harm.
        for (key, time) in [("exp", now - 3), ("nbf", now + 3)] {
            let mut raw = Raw::open(host).await;
            let reply = raw.hello(&jwt(&head, &with(key, time.into()), &sign)).await;
            assert_eq!(reply["type"], "welcome", "{key}: {reply}");
        }
    })
    .await;
}

/// The bytes of a PEM.
fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    base64::engine::general_purpose::STANDARD.decode(body).expect("base64")
}
