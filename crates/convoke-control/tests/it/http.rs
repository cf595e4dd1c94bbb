//! The HTTP side: what is public, what is not, and who may use it.

use std::time::Duration;

use convoke_control::Origins;
use convoke_protocol::GroupId;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{Raw, Server, request};

#[tokio::test(flavor = "multi_thread")]
async fn se_04_the_public_side_has_nothing_but_what_it_should() {
    let server = Server::start().await;
    for path in
        ["/metrics", "/debug", "/stats", "/admin", "/calls", "/events", "/dev", "/../Cargo.toml"]
    {
        let reply = server.get(path).await;
        assert_eq!((reply.status, reply.code().as_str()), (404, "notFound"), "{path}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        let reply = server.request(method, "/healthz", &[], "").await;
        assert_eq!((reply.status, reply.code().as_str()), (405, "methodNotAllowed"), "{method}");
    }
    assert_eq!(server.get("/healthz").await.body, "ok\n");
    assert_eq!(server.get("/readyz").await.status, 200);
    let plain = server.get("/agent").await;
    assert!(plain.status == 400 || plain.status == 426, "{plain:?}");
    assert_eq!(plain.code(), "upgradeRequired");
}

#[tokio::test(flavor = "multi_thread")]
async fn se_04_foreign_origins_get_neither_agents_nor_tokens() {
    let server = Server::with(|config| {
        config.origins = Origins::These(vec!["https://app.example.com".into()]);
    })
    .await;
    let own = format!("http://{}", server.address);
    for origin in ["https://app.example.com", own.as_str()] {
        assert!(Raw::connect_with(server.address, &[("origin", origin)]).await.is_ok(), "{origin}");
    }
    for origin in ["https://evil.example", "null", "https://app.example.com.evil.example"] {
        let refused = Raw::connect_with(server.address, &[("origin", origin)]).await;
        match refused.map(|_| ()) {
            Err(tokio_tungstenite::tungstenite::Error::Http(reply)) => {
                assert_eq!(reply.status(), 403, "{origin}");
            }
            other => panic!("{origin}: {other:?}"),
        }
    }
    assert_eq!(server.control.active_calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_subprotocol_is_chosen_or_refused() {
    let server = Server::start().await;
    let address = server.address;
    let with = |offer: &'static str| async move {
        Raw::connect_with(address, &[("sec-websocket-protocol", offer)]).await
    };
    assert!(with("convoke.v1").await.is_ok());
    assert!(with("other, convoke.v1").await.is_ok());
    assert!(with("other").await.is_err());
    assert!(Raw::connect_with(server.address, &[]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn development_tokens_are_404_unless_asked_for() {
    let json = [("content-type", "application/json")];
    let body = r#"{"displayName":"Alice","identity":"alice"}"#;
    let server = Server::start().await;
    let reply = server.request("POST", "/dev/token", &json, body).await;
    assert_eq!((reply.status, reply.code().as_str()), (404, "notFound"));

    let secret = convoke_control::Secret::random();
    let minter = convoke_control::Minter::hs256("dev", &secret).unwrap();
    let key = convoke_control::Key::hs256("dev", &secret).unwrap();
    let server = Server::with(|config| {
        config.keys = convoke_control::KeySet::new(vec![key], Default::default()).unwrap();
        config.dev_minter = Some(minter);
    })
    .await;
    let reply = server.request("POST", "/dev/token", &json, body).await;
    assert_eq!((reply.status, reply.header("cache-control")), (200, Some("no-store")), "{reply:?}");
    let made: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(made["identity"], "alice");
    let mut agent = Raw::connect(server.address).await;
    agent.hello(made["token"].as_str().unwrap()).await;
    agent.join(GroupId::random()).await;

    let anonymous = server.request("POST", "/dev/token", &json, r#"{"displayName":""}"#).await;
    let made: Value = serde_json::from_str(&anonymous.body).unwrap();
    assert!(made["identity"].as_str().unwrap().len() > 10, "{made}");
    let foreign = [json[0], ("origin", "https://evil.example")];
    let long = json!({ "displayName": "x".repeat(257) }).to_string();
    let huge = json!({ "displayName": "x".repeat(100_000) }).to_string();
    for (headers, body, status, code) in [
        (&json[..], "{}", 400, "requestInvalid"),
        (&json[..], "nonsense", 400, "requestInvalid"),
        (&json[..], long.as_str(), 400, "requestInvalid"),
        (&json[..], huge.as_str(), 413, "requestTooLarge"),
        (&[][..], body, 415, "contentType"),
        (&foreign[..], body, 403, "originNotAllowed"),
    ] {
        let reply = server.request("POST", "/dev/token", headers, body).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code));
    }
    assert_eq!(server.get("/dev/token").await.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_front_page_is_there_built_or_not() {
    let server = Server::start().await;
    let page = server.get("/").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'self'") && !policy.contains("unsafe-eval"), "{policy}");
    if let Some(tag) = page.header("etag") {
        let again = server.request("GET", "/", &[("if-none-match", tag)], "").await;
        assert_eq!((again.status, again.body.as_str()), (304, ""));
        assert_eq!(page.header("cache-control"), Some("no-cache"));
    } else {
        assert!(page.body.contains("without the demo app"), "{page:?}");
    }
    assert_eq!(server.request("POST", "/", &[], "").await.status, 404);
    let head = server.request("HEAD", "/", &[], "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_router_nests_in_a_host() {
    let server = Server::start().await;
    let host = axum::Router::new()
        .route("/", axum::routing::get(|| async { "the host's own" }))
        .nest("/calls", server.control.router());
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let serve = tokio::spawn(async move { axum::serve(tcp, host).await.unwrap() });
    let get = |path: &'static str| request(address, "GET", path, &[], "");
    assert_eq!(get("/").await.body, "the host's own");
    assert_eq!(get("/calls/healthz").await.body, "ok\n");
    let index = get("/calls/index.html").await;
    assert_eq!(index.header("content-type"), Some("text/html; charset=utf-8"));
    let bare = get("/calls?g=1").await;
    let there = Some("calls/index.html?g=1");
    assert_eq!((bare.status, bare.header("location")), (308, there), "relative links need it");
    assert_eq!(get("/calls/nothing").await.code(), "notFound");
    assert_eq!(get("/nothing").await.status, 404);
    serve.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn ob_02_metrics_are_on_their_own_router_and_count() {
    let server = Server::start().await;
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let router = server.control.metrics_router();
    let serve = tokio::spawn(async move { axum::serve(tcp, router).await.unwrap() });
    let (mut alice, joined) = server.participant("alice", GroupId::random()).await;
    alice.refused(json!({ "type": "mute", "callId": "x", "clientId": "m", "muted": true })).await;
    // The workers publish their counters four times a second.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let reply = request(address, "GET", "/metrics", &[], "").await;
    assert_eq!(reply.status, 200);
    assert!(reply.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    for line in [
        "convoke_calls 1",
        "convoke_calls_started_total 1",
        "convoke_agents 1",
        "convoke_participants 1",
        "convoke_joins_total{outcome=\"ok\"} 1",
        "convoke_protocol_errors_total{code=\"notInCall\"} 1",
        "convoke_workers 2",
    ] {
        assert!(reply.body.lines().any(|found| found == line), "{line}\n{}", reply.body);
    }
    for secret in ["alice", joined.call_id.as_str(), joined.participant_id.as_str()] {
        assert!(!reply.body.contains(secret));
    }
    assert_eq!(request(address, "GET", "/healthz", &[], "").await.status, 200);
    assert_eq!(request(address, "GET", "/agent", &[], "").await.status, 404);
    serve.abort();
}
