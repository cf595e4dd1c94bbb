//! Clients that are slow on purpose, or too many: each limit at its edge, over real sockets.

use std::time::{Duration, Instant};

use convoke_control::{ControlConfig, Proxies, Role, ServiceLimits};
use convoke_protocol::{ErrorCode, GroupId, ServerMessage};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Http, PATIENCE, Raw, Server, expect_code, join};

const SHORT: Duration = Duration::from_millis(300);
const A: &str = "192.0.2.1";
const B: &str = "192.0.2.2";

fn short(config: &mut ControlConfig) {
    (config.times.head, config.times.body) = (SHORT, SHORT);
}

/// What comes until the server closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    // A reset is an end as well.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("still open");
    String::from_utf8(all).unwrap()
}

async fn write(server: &Server, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come_ends_its_connection() {
    let server = Server::with(short).await;
    for begun in ["", "G", "GET /healthz HTTP/1.1\r\nhost: a\r\nx-slow: "] {
        let began = Instant::now();
        let mut stream = write(&server, begun).await;
        rest(&mut stream).await;
        assert!(began.elapsed() >= SHORT, "{begun:?}: {:?}", began.elapsed());
    }
    // Nor does it help to send a little all the time.
    let mut stream = write(&server, "GET /healthz HTTP/1.1\r\n").await;
    let drip = async {
        while stream.write_all(b"x: y\r\n").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    timeout(PATIENCE, drip).await.expect("still open");
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_kept_but_not_used_ends() {
    let server = Server::with(short).await;
    let mut stream = write(&server, "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let reply = rest(&mut stream).await;
    assert!(reply.starts_with("HTTP/1.1 200 ") && reply.ends_with("ok\n"), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_refused() {
    let config = convoke_control::store::StoreConfig::new(convoke_control::store::Location::Memory);
    let store = convoke_control::store::Store::open(&config).await.unwrap();
    let server = Server::build(short, |_| {}, Some((store, ServiceLimits::default()))).await;
    let bearer = server.bearer(Role::Identity);
    let head = |length: usize| {
        format!(
            "POST /identities?api-version=2023-10-01 HTTP/1.1\r\nhost: a\r\n\
             authorization: {bearer}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{{"
        )
    };
    let mut stream = write(&server, &head(100)).await;
    let reply = rest(&mut stream).await;
    assert!(reply.starts_with("HTTP/1.1 408 ") && reply.contains("RequestTimeout"), "{reply}");
    let mut dripped = write(&server, &head(100_000)).await;
    let drip = async {
        while dripped.write_all(b" ").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    timeout(PATIENCE, drip).await.expect("still open");
    let mut dev =
        write(&server, "POST /dev/token HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n").await;
    let reply = rest(&mut dev).await;
    assert!(reply.starts_with("HTTP/1.1 408 ") && reply.contains("requestTimeout"), "{reply}");
    server.identity().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_connections_as_may_be_and_no_more() {
    let server = Server::with(|config| {
        config.limits.connections = 4;
        config.limits.connections_per_address = 3;
        config.proxies = Proxies::none();
    })
    .await;
    // A reply shows that the connection has its place.
    let held = async || {
        let mut stream = write(&server, "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).await.unwrap();
        (stream, String::from_utf8(begin.to_vec()).unwrap())
    };
    let mut streams = Vec::new();
    for _ in 0..3 {
        let (stream, begin) = held().await;
        assert_eq!(begin, "HTTP/1.1 200");
        streams.push(stream);
    }
    let (mut refused, begin) = held().await;
    assert_eq!(begin, "HTTP/1.1 429");
    assert!(rest(&mut refused).await.contains("tooManyConnectionsFromAddress"));
    // The other address of this machine has its own; but all have only so many together.
    let other = std::net::SocketAddr::from(([127, 0, 0, 2], 0));
    let from_other = async || {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(other).unwrap();
        let mut stream = socket.connect(server.address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).await.unwrap();
        (stream, String::from_utf8(begin.to_vec()).unwrap())
    };
    let (kept, begin) = from_other().await;
    assert_eq!(begin, "HTTP/1.1 200");
    let (mut refused, begin) = from_other().await;
    assert_eq!(begin, "HTTP/1.1 503");
    assert!(rest(&mut refused).await.contains("tooManyConnections\""));
    drop((kept, streams));
    let end = Instant::now() + PATIENCE;
    while held().await.1 != "HTTP/1.1 200" {
        assert!(Instant::now() < end, "places are not given back");
    }
}

async fn agent_from(server: &Server, address: &str) -> Result<Raw, u16> {
    use tokio_tungstenite::tungstenite::Error;
    match Raw::connect_with(server.address, &[("x-forwarded-for", address)]).await {
        Ok(raw) => Ok(raw),
        Err(Error::Http(reply)) => Err(reply.status().as_u16()),
        Err(other) => panic!("{other}"),
    }
}

/// What is answered to a WebSocket that is refused.
async fn refusal_for(server: &Server, address: &str) -> Http {
    let headers = [
        ("connection", "upgrade, close"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("x-forwarded-for", address),
    ];
    server.request("GET", "/agent", &headers, "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_only_so_many_agents() {
    let server = Server::with(|config| config.limits.agents_per_address = 2).await;
    let first = agent_from(&server, A).await.unwrap();
    let _second = agent_from(&server, A).await.unwrap();
    assert_eq!(agent_from(&server, A).await.err(), Some(429));
    let reply = refusal_for(&server, A).await;
    assert_eq!((reply.status, reply.code().as_str()), (429, "tooManyAgentsFromAddress"));
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert!(agent_from(&server, B).await.is_ok());
    first.cut();
    let end = Instant::now() + PATIENCE;
    while agent_from(&server, A).await.is_err() {
        assert!(Instant::now() < end, "its place is not given back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Who comes without a word of a proxy is not counted: it is the proxy's own address.
    for _ in 0..5 {
        Raw::connect(server.address).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_has_only_so_many_agents() {
    let server = Server::with(|config| config.limits.agents_per_identity = 2).await;
    let mut first = server.agent("alice").await;
    // The same agent, with a fresh token: no other one.
    first.hello(&server.token("alice")).await;
    let _second = server.agent("alice").await;
    let mut third = Raw::connect(server.address).await;
    let hello = |who| json!({ "type": "hello", "protocol": 1, "token": server.token(who) });
    let reply = third.refused(hello("alice")).await;
    expect_code(&reply, ErrorCode::LimitExceeded, Some("token"));
    assert!(reply.retry_after_ms.is_some());
    server.agent("bob").await;
    first.cut();
    let end = Instant::now() + PATIENCE;
    while let ServerMessage::Error(_) = third.ask(hello("alice")).await {
        assert!(Instant::now() < end, "its place is not given back");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_shows_many_wrong_tokens_is_not_heard_for_a_while() {
    let server = Server::with(|config| config.limits.failures_per_minute = 3).await;
    let hello = |token: &str| json!({ "type": "hello", "protocol": 1, "token": token });
    let mut raw = agent_from(&server, A).await.unwrap();
    for _ in 0..3 {
        let reply = raw.refused(hello("nonsense")).await;
        expect_code(&reply, ErrorCode::TokenInvalid, Some("token"));
    }
    let good = server.token("alice");
    let reply = raw.refused(hello(&good)).await;
    expect_code(&reply, ErrorCode::LimitExceeded, Some("token"));
    let wait = reply.retry_after_ms.unwrap();
    assert!((1..=20_000).contains(&wait), "{wait}");
    let reply = refusal_for(&server, A).await;
    assert_eq!((reply.status, reply.code().as_str()), (429, "tooManyFailures"));
    agent_from(&server, B).await.unwrap().hello(&good).await;
    server.agent("alice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_by_whip_and_whep_count_like_those_of_agents() {
    let server = Server::with(|config| config.limits.failures_per_minute = 3).await;
    let ask = async |path: &str, from: &str, token: Option<&str>| {
        let path = format!("{path}/{}", GroupId::random());
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("x-forwarded-for", from), ("content-type", "application/sdp")];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        let reply = server.request("POST", &path, &headers, "v=0").await;
        (reply.status, reply.code())
    };
    let invalid = (401, "tokenInvalid".to_owned());
    assert_eq!(ask("/whip", A, Some("nonsense")).await, invalid);
    assert_eq!(ask("/whep", A, Some("nonsense")).await, invalid);
    // One by a WebSocket: they are counted together.
    let mut raw = agent_from(&server, A).await.unwrap();
    let hello = json!({ "type": "hello", "protocol": 1, "token": "nonsense" });
    expect_code(&raw.refused(hello).await, ErrorCode::TokenInvalid, Some("token"));
    let good = server.token("alice");
    let refused = (429, "tooManyFailures".to_owned());
    for path in ["/whip", "/whep"] {
        assert_eq!(ask(path, A, Some(&good)).await, refused, "even with a good one");
    }
    assert_eq!(refusal_for(&server, A).await.status, 429);
    // A good token with a bad offer is no wrong token; and nobody else is turned away.
    for _ in 0..5 {
        assert_eq!(ask("/whip", B, Some(&good)).await, (422, "sdpInvalid".to_owned()));
    }
    assert_eq!(ask("/whip", B, None).await, (401, "tokenMissing".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_may_join_only_so_often() {
    let server = Server::with(|config| config.limits.joins_per_minute = 3).await;
    let group = GroupId::random();
    let mut raw = server.agent("alice").await;
    for _ in 0..3 {
        let joined = raw.join(group).await;
        raw.ask(json!({ "type": "leave", "callId": joined.call_id })).await;
    }
    let reply = raw.refused(join(group)).await;
    expect_code(&reply, ErrorCode::LimitExceeded, None);
    let wait = reply.retry_after_ms.unwrap();
    assert!((1..=20_000).contains(&wait), "{wait}");
    // On another device as well; but others may.
    let mut other = server.agent("alice").await;
    expect_code(&other.refused(join(group)).await, ErrorCode::LimitExceeded, None);
    server.participant("bob", group).await;
}
