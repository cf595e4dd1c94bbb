//! What no app server should send, and what it is told: a documented error, and nothing else happens.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use axum::Extension;
use axum::extract::ConnectInfo;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use convoke_control::{Role, ServiceLimits};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{Bystander, Http, IDENTITIES, Server, request};

const ROOMS: &str = "/rooms?api-version=2025-03-13";

/// A request as its sender signed it, and as it is sent.
struct Signed {
    method: &'static str,
    path: String,
    body: String,
    host: String,
    at: SystemTime,
}

impl Signed {
    fn new(server: &Server) -> Self {
        Self {
            method: "POST",
            path: ROOMS.to_owned(),
            body: "{}".to_owned(),
            host: server.address.to_string(),
            at: SystemTime::now(),
        }
    }

    fn off(server: &Server, seconds: i64) -> Self {
        let mut signed = Self::new(server);
        let off = Duration::from_secs(seconds.unsigned_abs());
        signed.at = if seconds < 0 { signed.at - off } else { signed.at + off };
        signed
    }

    fn headers(&self, server: &Server) -> [(&'static str, String); 4] {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.body.as_bytes());
        let hash = STANDARD.encode(hash);
        let date = httpdate::fmt_http_date(self.at);
        let text = format!("{}\n{}\n{date};{};{hash}", self.method, self.path, self.host);
        let key = STANDARD.decode(server.access_key(Role::Calls)).unwrap();
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key);
        let signature = STANDARD.encode(aws_lc_rs::hmac::sign(&key, text.as_bytes()));
        let names = "x-ms-date;host;x-ms-content-sha256";
        let value = format!("HMAC-SHA256 SignedHeaders={names}&Signature={signature}");
        [
            ("authorization", value),
            ("x-ms-date", date),
            ("x-ms-content-sha256", hash),
            ("content-type", "application/json".to_owned()),
        ]
    }

    /// Sends it with another method, path or body than was signed.
    async fn sent(&self, server: &Server, method: &str, path: &str, body: &str) -> Http {
        let headers = self.headers(server);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        server.request(method, path, &headers, body).await
    }
}

async fn rooms(server: &Server) -> usize {
    let list = server.rest(Role::Calls, "GET", ROOMS, &Value::Null).await.json();
    list["value"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_is_good_for_what_was_signed_and_for_a_while_alone() {
    let server = Server::with_services(ServiceLimits::default()).await;
    for seconds in [0, -290, 290] {
        let reply = Signed::off(&server, seconds).sent(&server, "POST", ROOMS, "{}").await;
        assert_eq!(reply.status, 201, "{seconds} s off: {reply:?}");
    }
    let made = rooms(&server).await;
    let other = "/rooms?api-version=2025-03-13&x=1";
    for (what, signed, method, path, body) in [
        ("replayed later", Signed::off(&server, -310), "POST", ROOMS, "{}"),
        ("a clock that is ahead", Signed::off(&server, 310), "POST", ROOMS, "{}"),
        ("another body", Signed::new(&server), "POST", ROOMS, "{ }"),
        ("no body", Signed::new(&server), "POST", ROOMS, ""),
        ("another path", Signed::new(&server), "POST", other, "{}"),
        ("another method", Signed::new(&server), "PATCH", "/rooms/1?api-version=2025-03-13", "{}"),
    ] {
        let reply = signed.sent(&server, method, path, body).await;
        assert_eq!((reply.status, reply.acs_code()), (401, "Unauthorized".into()), "{what}");
    }
    let elsewhere = Signed { host: "other.example.com".to_owned(), ..Signed::new(&server) };
    let reply = elsewhere.sent(&server, "POST", ROOMS, "{}").await;
    assert_eq!((reply.status, reply.acs_code()), (401, "Unauthorized".into()), "another server");
    assert_eq!(rooms(&server).await, made, "nothing was made");
}

/// Every operation that takes a body, with one of them that would be good.
fn bodies(server_identity: &str, room: &str) -> Vec<(Role, &'static str, String, Value)> {
    let identity =
        |verb: &str| format!("/identities/{server_identity}/:{verb}?api-version=2023-10-01");
    let list = format!("/rooms/{room}/participants?api-version=2025-03-13");
    vec![
        (
            Role::Identity,
            "POST",
            IDENTITIES.to_owned(),
            json!({ "createTokenWithScopes": ["voip"] }),
        ),
        (Role::Identity, "POST", identity("issueAccessToken"), json!({ "scopes": ["voip"] })),
        (Role::Calls, "POST", ROOMS.to_owned(), json!({ "participants": {} })),
        (
            Role::Calls,
            "PATCH",
            format!("/rooms/{room}?api-version=2025-03-13"),
            json!({ "pstnDialOutEnabled": false }),
        ),
        (Role::Calls, "PATCH", list, json!({ "participants": {} })),
    ]
}

async fn made(server: &Server) -> (String, String) {
    let (identity, _) = server.identity().await;
    let room = server.rest(Role::Calls, "POST", ROOMS, &Value::Null).await.json();
    (identity, room["id"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_too_large_too_deep_or_of_other_types_are_refused_everywhere() {
    let server = Server::with_services(ServiceLimits::default()).await;
    let bystander = Bystander::start(&server).await;
    let (identity, room) = made(&server).await;
    let nested = "[".repeat(100_000) + &"]".repeat(100_000);
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(300 * 1024));
    for (role, method, path, good) in bodies(&identity, &room) {
        let bearer = format!("Bearer {}", server.access_key(role));
        let kind = "application/json";
        let send = async |body: &str, kind: &str| {
            let headers = [("authorization", &*bearer), ("content-type", kind)];
            let reply = server.request(method, &path, &headers, body).await;
            (reply.status, reply.acs_code())
        };
        let expect = |status, code: &str| (status, code.to_owned());
        assert_eq!(send(&nested, kind).await, expect(400, "InvalidBody"), "{path}");
        assert_eq!(send(&large, kind).await, expect(413, "RequestTooLarge"), "{path}");
        for wrong in ["[", "[]", "1", "\"x\"", "{} {}", "\u{0}", "nul", "{\"a\":}"] {
            assert_eq!(send(wrong, kind).await, expect(400, "InvalidBody"), "{path} {wrong}");
        }
        assert_eq!(
            send(&good.to_string(), "text/plain").await,
            expect(415, "UnsupportedMediaType")
        );
        for field in good.as_object().unwrap().keys() {
            let deep = format!("{{\"{field}\":{nested}}}");
            assert_eq!(send(&deep, kind).await, expect(400, "InvalidBody"), "{path} {field}");
            for wrong in [json!(7), json!("x"), json!([[]]), json!({ "x": 7 })] {
                let reply = send(&json!({ field: wrong }).to_string(), kind).await;
                assert_eq!(reply.0, 400, "{path} {field} {wrong}");
            }
        }
        let done = server.rest(role, method, &path, &good).await;
        assert!(matches!(done.status, 200 | 201), "{path}: {done:?}");
    }
    bystander.did_not_notice().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_any_script_are_kept_and_those_too_long_or_of_several_lines_refused() {
    let server = Server::with_services(ServiceLimits::default()).await;
    let (_, room) = made(&server).await;
    let path = format!("/rooms/{room}/participants?api-version=2025-03-13");
    let long = "x".repeat(10 * 1024);
    for name in
        ["日本語 👩‍👩‍👧", "\u{202e}rtl", "e\u{301}", "../../etc/passwd", "'; DROP TABLE room; --"]
    {
        let body = json!({ "participants": { name: { "role": "Attendee" } } });
        let reply = server.rest(Role::Calls, "PATCH", &path, &body).await;
        assert_eq!(reply.status, 200, "{name}: {reply:?}");
        let list = server.rest(Role::Calls, "GET", &path, &Value::Null).await.json();
        let kept = list["value"].as_array().unwrap().iter().any(|one| one["rawId"] == name);
        assert!(kept, "{name} in {list}");
    }
    for name in [&*long, "a\nb", "\u{0}", ""] {
        let body = json!({ "participants": { name: {} } });
        let reply = server.rest(Role::Calls, "PATCH", &path, &body).await;
        assert_eq!((reply.status, reply.acs_code()), (400, "BadRequest".into()), "{name:.20}");
        assert!(reply.body.len() < 1_000, "it is not said back at length");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_climb_or_do_not_end_find_nothing() {
    let server = Server::with_services(ServiceLimits::default()).await;
    let version = "?api-version=2025-03-13";
    let long = "x".repeat(10 * 1024);
    let climbing = [
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e%5cx",
        "a%20b",
        "%F0%9F%98%80",
        "%FF",
        "%00",
        &long,
    ];
    for id in climbing {
        for (role, method, path) in [
            (Role::Calls, "GET", format!("/rooms/{id}{version}")),
            (Role::Calls, "GET", format!("/rooms/{id}/participants{version}")),
            (Role::Calls, "DELETE", format!("/rooms/{id}{version}")),
            (Role::Identity, "DELETE", format!("/identities/{id}{version}")),
            (Role::Identity, "POST", format!("/identities/{id}/:revokeAccessTokens{version}")),
            (Role::Calls, "GET", format!("/calls/{id}")),
            (Role::Calls, "GET", format!("/calls/{id}/events")),
            (Role::Calls, "GET", format!("/calls/{id}/participants")),
            (Role::Calls, "POST", format!("/calls/{id}/:end")),
            (Role::Admin, "GET", format!("/webhooks/{id}/deadLetters")),
        ] {
            let reply = server.rest(role, method, &path, &Value::Null).await;
            assert!(matches!(reply.status, 400 | 404), "{method} {path:.60}: {reply:?}");
            let acs = path.starts_with("/rooms") || path.starts_with("/identities");
            let code = if acs { reply.acs_code() } else { reply.code() };
            assert!(!code.is_empty() && reply.body.len() < 2_000, "{method} {path:.60}");
        }
    }
    assert_eq!(rooms(&server).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_shows_many_wrong_keys_is_not_heard_for_a_while() {
    let limits = ServiceLimits { failures_per_minute: 5, ..ServiceLimits::default() };
    let server = Server::with_services(limits).await;
    let from = async |address: &str| {
        let address: SocketAddr = format!("{address}:5000").parse().unwrap();
        let router = server.control.router().layer(Extension(ConnectInfo(address)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let reached = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        reached
    };
    let (stranger, friend) = (from("192.0.2.1").await, from("192.0.2.2").await);
    let good = format!("Bearer {}", server.access_key(Role::Admin));
    let ask = async |to: SocketAddr, key: &str| {
        request(to, "GET", "/audit", &[("authorization", key)], "").await
    };
    assert_eq!(ask(stranger, &good).await.status, 200);
    for _ in 0..5 {
        assert_eq!(ask(stranger, "Bearer wrong").await.status, 401);
    }
    for key in ["Bearer wrong", &good] {
        let reply = ask(stranger, key).await;
        assert_eq!((reply.status, reply.code()), (429, "tooManyFailures".into()));
        let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=12).contains(&wait), "{wait}");
    }
    assert_eq!(ask(friend, &good).await.status, 200);
    assert_eq!(server.rest(Role::Admin, "GET", "/audit", &Value::Null).await.status, 200);
}
