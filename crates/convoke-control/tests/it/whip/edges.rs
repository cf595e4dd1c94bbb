//! What ends sessions from elsewhere, and where they are reached.

use axum::Router;
use convoke_control::{Role as KeyRole, ServiceLimits};
use convoke_protocol::{GroupId, ServerMessage};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::peer::Peer;
use super::{SDP, bearer, came, gone, left, made, patch, post};
use crate::support::{PATIENCE, Server, request};

const ROOMS: &str = "api-version=2025-03-13";
const IDENTITIES: &str = "api-version=2023-10-01";

#[tokio::test(flavor = "multi_thread")]
async fn who_is_on_the_list_of_a_room_publishes_and_watches_there() {
    let server = Server::with_services(ServiceLimits::default()).await;
    let ((alice, token), (bob, viewer)) = (server.identity().await, server.identity().await);
    let list = json!({ &alice: { "role": "Presenter" }, &bob: { "role": "Consumer" } });
    let path = format!("/rooms?{ROOMS}");
    let body = json!({ "participants": list });
    let room = server.rest(KeyRole::Calls, "POST", &path, &body).await;
    let room = room.json()["id"].as_str().unwrap().to_owned();
    let camera = Peer::publisher(1, &[]).await;
    let (whip, whep) = (format!("/whip/rooms/{room}"), format!("/whep/rooms/{room}"));
    made(&server, &whip, &token, &camera).await;
    let mut watcher = Peer::watcher().await;
    let watching = made(&server, &whep, &viewer, &watcher).await;
    watcher.wait(|seen| seen.audio(1) > 10 && seen.video(1) > 10).await;
    // Its role in the room counts, and the list of those who may come.
    let reply = post(&server, &whip, &viewer, &camera.offer).await;
    assert_eq!((reply.status, &*reply.code()), (403, "notAllowed"));
    let (_, stranger) = server.identity().await;
    let reply = post(&server, &whep, &stranger, &watcher.offer).await;
    assert_eq!((reply.status, &*reply.code()), (403, "roomNotInvited"));
    // Who is taken off the list is gone.
    let body = json!({ "participants": { &bob: null } });
    let path = format!("/rooms/{room}/participants?{ROOMS}");
    assert_eq!(server.rest(KeyRole::Calls, "PATCH", &path, &body).await.status, 200);
    gone(&server, &watching, &viewer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_its_session_and_opens_none() {
    let server = Server::with_services(ServiceLimits::default()).await;
    let (id, token) = server.identity().await;
    let group = GroupId::random();
    let (mut host, _) = server.participant("host", group).await;
    let camera = Peer::publisher(1, &[]).await;
    let session = made(&server, &format!("/whip/{group}"), &token, &camera).await;
    let path = format!("/identities/{id}/:revokeAccessTokens?{IDENTITIES}");
    let done = server.rest(KeyRole::Identity, "POST", &path, &Value::Null).await;
    assert_eq!(done.status, 204, "{done:?}");
    assert_eq!(host.wait_for(left).await.1.sub_code, 5300);
    let reply = patch(&server, &session, &token, Some("*"), "a=x\r\n").await;
    assert_eq!((reply.status, &*reply.code()), (401, "tokenRevoked"));
    let reply = post(&server, &format!("/whip/{group}"), &token, &camera.offer).await;
    assert_eq!((reply.status, &*reply.code()), (401, "tokenRevoked"));
    let body = json!({ "scopes": ["voip"] });
    let path = format!("/identities/{id}/:issueAccessToken?{IDENTITIES}");
    let fresh = server.rest(KeyRole::Identity, "POST", &path, &body).await;
    let fresh = fresh.json()["token"].as_str().unwrap().to_owned();
    gone(&server, &session, &fresh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_call_a_failed_worker_and_an_ended_call() {
    let change = |node: &mut convoke_node::NodeConfig| {
        node.workers = 1;
        node.limits.room_participants = 1;
    };
    let server = Server::with_node(|_| {}, change).await;
    let path = format!("/whip/{}", GroupId::random());
    let (camera, token) = (Peer::publisher(1, &[]).await, server.token("camera"));
    let session = made(&server, &path, &token, &camera).await;
    let other = Peer::publisher(2, &[]).await;
    let reply = post(&server, &path, &server.token("other"), &other.offer).await;
    assert_eq!((reply.status, &*reply.code()), (503, "limitExceeded"));
    assert_eq!(reply.header("retry-after"), Some("1"));
    // With one worker, any room is on it.
    server.handle.fail_worker(server.handle.new_room());
    gone(&server, &session, &token).await;
    let again = Peer::publisher(3, &[]).await;
    let session = made(&server, &path, &token, &again).await;
    server.control.end_all(convoke_protocol::EndReason::call_ended()).await;
    gone(&server, &session, &token).await;
    server.becomes_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_odd_addresses_of_candidates_are_left_alone() {
    let server = Server::start().await;
    let spy = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    spy.set_nonblocking(true).unwrap();
    let port = spy.local_addr().unwrap().port();
    let odd = ["x.local", "localhost", "media.example.com", "fe80::1", "fe80::1%lo", "169.254.1.1"];
    let wild = ["224.0.0.251", "ff02::fb", "255.255.255.255", "0.0.0.0", "::", "127.0.0.1"];
    let candidate =
        |address: &str, port| format!("a=candidate:1 1 udp 1 {address} {port} typ host\r\n");
    let mut lines: String =
        odd.iter().chain(&wild).map(|address| candidate(address, port)).collect();
    lines.push_str(&candidate("127.0.0.1", 0));
    let mut camera = Peer::publisher(1, &[]).await;
    camera.offer = camera.offer.replace("a=ice-ufrag:", &format!("{lines}a=ice-ufrag:"));
    let (group, token) = (GroupId::random(), server.token("camera"));
    let began = std::time::Instant::now();
    let session = made(&server, &format!("/whip/{group}"), &token, &camera).await;
    let reply = patch(&server, &session, &token, Some(&session.etag), &lines).await;
    assert_eq!((reply.status, &*reply.body), (204, ""));
    // A look-up of any of these names would take its time.
    assert!(began.elapsed() < std::time::Duration::from_secs(3), "{:?}", began.elapsed());
    for port in ["65536", "-1", "http"] {
        let line = candidate("127.0.0.1", 1).replace(" 1 typ", &format!(" {port} typ"));
        let reply = patch(&server, &session, &token, Some(&session.etag), &line).await;
        assert_eq!((reply.status, &*reply.code()), (400, "fragmentInvalid"), "{line}");
    }
    camera.wait(|seen| seen.connected).await;
    let mut watcher = Peer::watcher().await;
    made(&server, &format!("/whep/{group}"), &server.token("viewer"), &watcher).await;
    watcher.wait(|seen| seen.audio(1) > 10 && seen.video(1) > 10).await;
    let heard = spy.recv_from(&mut [0; 2_048]);
    assert!(heard.is_err(), "a candidate was sent to: {heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_follow_the_place_where_the_router_is_nested() {
    let server = Server::start().await;
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let app = Router::new().nest("/calls", server.control.router());
    let serve = tokio::spawn(async move { axum::serve(tcp, app).await.unwrap() });
    let camera = Peer::publisher(1, &[]).await;
    let auth = bearer(&server.token("camera"));
    let path = format!("/calls/whip/{}", GroupId::random());
    let headers = [SDP, ("authorization", &*auth)];
    let reply = request(address, "POST", &path, &headers, &camera.offer).await;
    let location = reply.header("location").unwrap();
    assert!(location.starts_with("/calls/whip/sessions/"), "{location}");
    let reply = request(address, "DELETE", location, &headers[1..], "").await;
    assert_eq!(reply.status, 200);
    serve.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_joins_are_counted() {
    let server = Server::start().await;
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let router = server.control.metrics_router();
    let serve = tokio::spawn(async move { axum::serve(tcp, router).await.unwrap() });
    let group = GroupId::random();
    let (mut host, _) = server.participant("host", group).await;
    let (camera, watcher) = (Peer::publisher(1, &[]).await, Peer::watcher().await);
    made(&server, &format!("/whip/{group}"), &server.token("camera"), &camera).await;
    let path = format!("/whep/{group}?track=t0");
    assert_eq!(post(&server, &path, &server.token("viewer"), &watcher.offer).await.status, 404);
    host.wait_for(came("viewer")).await;
    // Refused, it has left again.
    let away = |message: &ServerMessage| matches!(message, ServerMessage::ParticipantLeft(_));
    host.wait_for(|message| away(message).then_some(())).await;
    let text = request(address, "GET", "/metrics", &[], "").await.body;
    for line in [
        "convoke_whip_sessions 1",
        "convoke_whep_sessions 0",
        "convoke_http_joins_total{via=\"whip\",outcome=\"ok\"} 1",
        "convoke_http_joins_total{via=\"whep\",outcome=\"trackNotFound\"} 1",
        "convoke_agents 1",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
    }
    serve.abort();
}

/// A request whose client is gone before its answer leaves nobody in the call.
#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_early_leaves_nobody_behind() {
    use tokio::io::AsyncWriteExt as _;
    let server = Server::start().await;
    let camera = Peer::publisher(1, &[]).await;
    let auth = bearer(&server.token("camera"));
    for _ in 0..20 {
        let mut tcp = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let head = format!(
            "POST /whip/{} HTTP/1.1\r\nhost: x\r\ncontent-type: application/sdp\r\n\
             authorization: {auth}\r\ncontent-length: {}\r\n\r\n",
            GroupId::random(),
            camera.offer.len()
        );
        tcp.write_all(format!("{head}{}", camera.offer).as_bytes()).await.unwrap();
        drop(tcp);
    }
    // Those that were answered before that was noticed end with their calls; none may be left in the
    // node that no call knows of.
    server.control.end_all(convoke_protocol::EndReason::call_ended()).await;
    server.becomes_empty().await;
}

/// A stream of events, as text.
struct Stream {
    socket: tokio::net::TcpStream,
    text: String,
}

impl Stream {
    async fn open(server: &Server, path: &str, auth: &str) -> Self {
        use tokio::io::AsyncWriteExt as _;
        let mut socket = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: {auth}\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        Self { socket, text: String::new() }
    }

    /// Reads until this is there, and forgets it and what came before.
    async fn until(&mut self, wanted: &str) {
        use tokio::io::AsyncReadExt as _;
        let mut bytes = [0; 4096];
        loop {
            if let Some(at) = self.text.find(wanted) {
                self.text.drain(..at + wanted.len());
                return;
            }
            let read = tokio::time::timeout(PATIENCE, self.socket.read(&mut bytes)).await;
            let read = read.unwrap_or_else(|_| panic!("no {wanted:?} in {}", self.text)).unwrap();
            assert!(read > 0, "the stream ended after {}", self.text);
            self.text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_is_told_of_layers_as_they_come_and_go() {
    let server = Server::start().await;
    let group = GroupId::random();
    let watcher = Peer::watcher().await;
    let token = server.token("viewer");
    let path = format!("/whep/{group}?participant=camera");
    let watching = made(&server, &path, &token, &watcher).await;
    let auth = bearer(&token);
    let url = format!("{}/sse", watching.location);
    let headers = [("authorization", &*auth), ("content-type", "application/json")];
    let list = "[\"active\",\"inactive\",\"layers\",\"scte35\"]";
    let reply = server.request("POST", &url, &headers, list).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let at = reply.header("location").unwrap().to_owned();
    assert_eq!(at, format!("{url}?events=active,inactive,layers"));
    let mut stream = Stream::open(&server, &at, &auth).await;
    stream.until("text/event-stream").await;
    stream.until("event: inactive\ndata: {}").await;
    let reply = server.request("GET", &at, &headers[..1], "").await;
    assert_eq!((reply.status, &*reply.code()), (409, "streamOpen"));
    let camera = Peer::publisher(1, &["q", "h", "f"]).await;
    let publisher = server.token("camera");
    let session = made(&server, &format!("/whip/{group}"), &publisher, &camera).await;
    stream.until("event: active\ndata: {}").await;
    stream.until("\"height\":720").await;
    let publisher = bearer(&publisher);
    let auth_of = [("authorization", &*publisher)];
    assert_eq!(server.request("DELETE", &session.location, &auth_of, "").await.status, 200);
    stream.until("event: inactive").await;
    // It ends with its session.
    let done = server.request("DELETE", &watching.location, &headers[..1], "").await;
    assert_eq!(done.status, 200);
    stream.until("0\r\n\r\n").await;
    for (body, headers, status) in [("{}", &headers[..], 404), ("", &headers[1..], 401)] {
        assert_eq!(server.request("POST", &url, headers, body).await.status, status);
    }
}
