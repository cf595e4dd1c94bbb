//! Publishing by WHIP, watching by WHEP, in calls with agents.

mod edges;
mod peer;

use std::time::{Duration, SystemTime};

use convoke_client::{Client, ClientOptions, JoinOptions};
use convoke_control::{Key, KeySet, Minter, Origins, Secret, TokenRequest, TokenRules};
use convoke_protocol::{EndReason, GroupId, LobbyPolicy, Participant, Role, ServerMessage, Source};
use serde_json::json;

use crate::support::{Http, KID, PATIENCE, Raw, Server};
use peer::Peer;

const SDP: (&str, &str) = ("content-type", "application/sdp");
const FRAGMENT: (&str, &str) = ("content-type", "application/trickle-ice-sdpfrag");

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

async fn post(server: &Server, path: &str, token: &str, offer: &str) -> Http {
    let bearer = bearer(token);
    server.request("POST", path, &[SDP, ("authorization", &bearer)], offer).await
}

/// A session that was made.
struct Made {
    location: String,
    etag: String,
    answer: String,
}

/// Joins, and gives the answer to the peer.
async fn made(server: &Server, path: &str, token: &str, peer: &Peer) -> Made {
    let reply = post(server, path, token, &peer.offer).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/sdp"));
    assert_eq!(reply.header("accept-patch"), Some("application/trickle-ice-sdpfrag"));
    let header = |name| reply.header(name).unwrap_or_else(|| panic!("{name}")).to_owned();
    let made = Made { location: header("location"), etag: header("etag"), answer: reply.body };
    assert!(made.answer.contains("a=ice-lite\r\n") && made.answer.contains("a=candidate:"));
    peer.answer(&made.answer);
    made
}

async fn delete(server: &Server, made: &Made, token: &str) -> Http {
    let bearer = bearer(token);
    server.request("DELETE", &made.location, &[("authorization", &bearer)], "").await
}

async fn patch(server: &Server, made: &Made, token: &str, etag: Option<&str>, body: &str) -> Http {
    let bearer = bearer(token);
    let mut headers = vec![FRAGMENT, ("authorization", &*bearer)];
    headers.extend(etag.map(|etag| ("if-match", etag)));
    server.request("PATCH", &made.location, &headers, body).await
}

fn came(identity: &'static str) -> impl Fn(&ServerMessage) -> Option<Participant> {
    move |message| match message {
        ServerMessage::ParticipantJoined(m) if m.participant.identity == identity => {
            Some(m.participant.clone())
        }
        _ => None,
    }
}

fn left(message: &ServerMessage) -> Option<(String, EndReason)> {
    match message {
        ServerMessage::ParticipantLeft(m) => Some((m.participant_id.clone(), m.reason.clone())),
        _ => None,
    }
}

fn published(message: &ServerMessage) -> Option<Source> {
    match message {
        ServerMessage::TrackPublished(m) => Some(m.track.source),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_an_agent_and_a_watcher_are_in_one_call() {
    let server = Server::start().await;
    let group = GroupId::random();
    let url = format!("http://{}", server.address);
    let token = server.token("agent");
    let client = Client::connect(&url, &token, ClientOptions::default()).await.unwrap();
    let agent = client.join(&group.to_string(), JoinOptions::default()).await.unwrap();
    let mut packets = agent.packets();
    let (mut raw, _) = server.participant("host", group).await;

    let mut camera = Peer::publisher(7, &["q", "h", "f"]).await;
    let token = server.token("camera");
    let session = made(&server, &format!("/whip/{group}?displayName=Stage"), &token, &camera).await;
    assert!(session.location.starts_with("/whip/sessions/"), "{}", session.location);
    assert!(session.answer.matches("a=recvonly\r\n").count() == 2, "{}", session.answer);
    let here = raw.wait_for(came("camera")).await;
    assert_eq!(here.display_name, "Stage");
    let mut sources: Vec<Source> = here.tracks.iter().map(|track| track.source).collect();
    while sources.len() < 2 {
        sources.push(raw.wait_for(published).await);
    }
    assert_eq!(sources, [Source::Microphone, Source::Camera]);
    camera.wait(|seen| seen.connected).await;
    // The agent hears and sees it.
    let mut kinds = std::collections::HashSet::new();
    while kinds.len() < 2 {
        let packet = tokio::time::timeout(PATIENCE, packets.next()).await.expect("no media");
        kinds.insert(packet.expect("media").kind);
    }

    let mut watcher = Peer::watcher().await;
    let viewer = server.joiner_token("viewer");
    let watching = made(&server, &format!("/whep/{group}"), &viewer, &watcher).await;
    assert!(watching.location.starts_with("/whep/sessions/"));
    assert_eq!(watching.answer.matches("a=sendonly\r\n").count(), 2, "{}", watching.answer);
    assert_eq!(raw.wait_for(came("viewer")).await.display_name, "viewer", "its identity");
    // The best of three encodings, as nothing is in its way.
    watcher.wait(|seen| seen.audio(7) > 20 && seen.width(7) == 1280).await;

    assert_eq!(delete(&server, &watching, &viewer).await.status, 200);
    assert_eq!(raw.wait_for(left).await.1, EndReason::left());
    assert_eq!(delete(&server, &watching, &viewer).await.status, 404);
    assert_eq!(delete(&server, &session, &token).await.status, 200);
    assert_eq!(raw.wait_for(left).await, (here.participant_id, EndReason::left()));
    server.control.end_all(EndReason::call_ended()).await;
    server.becomes_empty().await;
}

/// Path, headers and body; status and code.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_request_has_its_status_and_code() {
    let server = Server::with(|config| config.limits.sdp_bytes = 20_000).await;
    let group = GroupId::random();
    let path = format!("/whip/{group}");
    let peer = Peer::publisher(1, &[]).await;
    let good = bearer(&server.token("camera"));
    let auth = ("authorization", &*good);
    let huge = format!("{}{}", peer.offer, "a=x\r\n".repeat(4_000));
    let watching = Peer::watcher().await.offer.clone();
    let unbundled = peer.offer.replace("a=group:BUNDLE", "a=group:LS");
    let consumer = TokenRequest { role: Some(Role::Consumer), ..TokenRequest::new("consumer") };
    let consumer = bearer(&server.token_with(consumer));
    let expired = TokenRequest { lifetime: Duration::from_secs(60), ..TokenRequest::new("late") };
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    let expired = bearer(&server.minter.mint(&expired, long_ago).unwrap());
    let other = TokenRequest { group_id: Some(GroupId::random()), ..TokenRequest::new("other") };
    let other = bearer(&server.token_with(other));
    let joiner = bearer(&server.joiner_token("joiner"));
    let json = ("content-type", "application/json");
    let cases: &[Case<'_>] = &[
        (&path, &[SDP], &peer.offer, 401, "tokenMissing"),
        (&path, &[SDP, ("authorization", "Basic eDp5")], &peer.offer, 401, "tokenMissing"),
        (&path, &[SDP, ("authorization", "Bearer x.y.z")], &peer.offer, 401, "tokenInvalid"),
        (&path, &[SDP, ("authorization", &expired)], &peer.offer, 401, "tokenExpired"),
        (&path, &[SDP, ("authorization", &other)], &peer.offer, 403, "tokenWrongCall"),
        (&path, &[SDP, ("authorization", &joiner)], &peer.offer, 404, "callNotFound"),
        (&path, &[SDP, ("authorization", &consumer)], &peer.offer, 403, "notAllowed"),
        (&path, &[auth], &peer.offer, 415, "contentType"),
        (&path, &[auth, json], &peer.offer, 415, "contentType"),
        (&path, &[auth, SDP, ("accept", "text/html")], &peer.offer, 406, "notAcceptable"),
        (&path, &[auth, SDP, ("accept", "application/sdp;q=0")], &peer.offer, 406, "notAcceptable"),
        (&path, &[auth, SDP], &huge, 413, "requestTooLarge"),
        (&path, &[auth, SDP], "", 400, "sdpInvalid"),
        (&path, &[auth, SDP], "{}", 400, "sdpInvalid"),
        (&path, &[auth, SDP], &unbundled, 422, "sdpInvalid"),
        (&path, &[auth, SDP], &watching, 422, "sdpInvalid"),
        ("/whip/no-guid", &[auth, SDP], &peer.offer, 400, "groupIdInvalid"),
        ("/whip/rooms/99", &[auth, SDP], &peer.offer, 404, "roomNotFound"),
        (&format!("{path}?source=x"), &[auth, SDP], &peer.offer, 400, "requestInvalid"),
        (&format!("{path}?displayName=%07"), &[auth, SDP], &peer.offer, 400, "requestInvalid"),
        (&format!("/whep/{group}"), &[auth, SDP], &peer.offer, 422, "sdpInvalid"),
    ];
    for (path, headers, body, status, code) in cases {
        let reply = server.request("POST", path, headers, body).await;
        assert_eq!((reply.status, &*reply.code()), (*status, *code), "{path} {headers:?}");
        let challenge = reply.header("www-authenticate");
        assert_eq!(challenge.is_some_and(|one| one.starts_with("Bearer")), *status == 401);
        let accepts = reply.header("accept-post") == Some("application/sdp");
        assert_eq!(accepts, *status == 415);
    }
    for method in ["PUT", "DELETE", "PATCH"] {
        let reply = server.request(method, &path, &[auth], "").await;
        assert_eq!((reply.status, &*reply.code()), (405, "methodNotAllowed"));
        assert_eq!(reply.header("allow"), Some("GET, HEAD, OPTIONS, POST"));
    }
    let reply = server.request("POST", "/whip/sessions/x", &[auth], "").await;
    assert_eq!((reply.status, reply.header("allow").is_some()), (405, true));
    let reply = server.get(&path).await;
    assert_eq!((reply.status, &*reply.body), (204, ""), "nothing to see");
    server.becomes_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn capacity_and_draining_ask_to_come_later() {
    let server = Server::with(|config| config.limits.agents = 1).await;
    let path = format!("/whip/{}", GroupId::random());
    let (peer, second) = (Peer::publisher(1, &[]).await, Peer::publisher(2, &[]).await);
    let token = server.token("camera");
    let session = made(&server, &path, &token, &peer).await;
    let reply = post(&server, &path, &token, &second.offer).await;
    assert_eq!((reply.status, &*reply.code()), (503, "tooManyAgents"));
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(delete(&server, &session, &token).await.status, 200);
    server.control.drain();
    // The place is free a moment after the session has gone.
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let reply = post(&server, &path, &token, &second.offer).await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
        match &*reply.code() {
            "draining" => break,
            "tooManyAgents" => assert!(std::time::Instant::now() < end),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_are_trickled_and_ice_restarts_under_the_etag() {
    let server = Server::start().await;
    let mut peer = Peer::publisher(1, &[]).await;
    let token = server.token("camera");
    let group = GroupId::random();
    let session = made(&server, &format!("/whip/{group}"), &token, &peer).await;
    peer.wait(|seen| seen.connected).await;
    let lines = |sdp: &str| -> String {
        let wanted = ["a=ice-ufrag:", "a=ice-pwd:", "a=candidate:"];
        let first = sdp.split("\r\nm=").nth(1).unwrap();
        let lines = first.lines().filter(|line| wanted.iter().any(|one| line.starts_with(one)));
        lines.flat_map(|line| [line, "\r\n"]).collect()
    };
    let trickle = lines(&peer.offer);
    let etag = Some(&*session.etag);
    let cases = [
        (None, &*trickle, 428, "ifMatchMissing"),
        (Some("\"stale\""), &trickle, 412, "etagStale"),
        (etag, "rubbish", 400, "fragmentInvalid"),
        (etag, "a=mid:nothing\r\n", 422, "midUnknown"),
        (etag, &"a=x\r\n".repeat(4_000), 413, "requestTooLarge"),
    ];
    for (etag, body, status, code) in cases {
        let reply = patch(&server, &session, &token, etag, body).await;
        assert_eq!((reply.status, &*reply.code()), (status, code), "{body:.40}");
    }
    let auth = bearer(&token);
    let headers = [SDP, ("authorization", &*auth), ("if-match", &*session.etag)];
    let reply = server.request("PATCH", &session.location, &headers, &trickle).await;
    assert_eq!((reply.status, &*reply.code()), (415, "contentType"));
    for etag in [&*session.etag, "*"] {
        let reply = patch(&server, &session, &token, Some(etag), &trickle).await;
        assert_eq!((reply.status, reply.header("etag"), &*reply.body), (204, None, ""));
    }

    let offer = peer.restart().await;
    let reply = patch(&server, &session, &token, Some("*"), &lines(&offer)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/trickle-ice-sdpfrag"));
    let fresh = reply.header("etag").unwrap().to_owned();
    assert_ne!(fresh, session.etag);
    let fragment = convoke_protocol::http::read_fragment(&reply.body).unwrap();
    assert!(fragment.candidates > 0 && reply.body.contains("a=ice-lite"), "{}", reply.body);
    let (ufrag, pwd) = fragment.credentials.unwrap();
    let mut answer = String::new();
    for line in session.answer.lines() {
        answer.push_str(&match line.split_once(':') {
            Some(("a=ice-ufrag", _)) => format!("a=ice-ufrag:{ufrag}\r\n"),
            Some(("a=ice-pwd", _)) => format!("a=ice-pwd:{pwd}\r\n"),
            _ => format!("{}\r\n", line.split(" ufrag ").next().unwrap()),
        });
    }
    peer.answer(&answer);
    // Whoever has the old one is told so; with the new credentials all goes on.
    let reply = patch(&server, &session, &token, etag, &trickle).await;
    assert_eq!((reply.status, &*reply.code()), (412, "etagStale"));
    let reply = patch(&server, &session, &token, Some(&fresh), &lines(&offer)).await;
    assert_eq!(reply.status, 204);
    let mut watcher = Peer::watcher().await;
    made(&server, &format!("/whep/{group}"), &server.token("viewer"), &watcher).await;
    watcher.wait(|seen| seen.audio(1) > 10 && seen.video(1) > 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_belongs_to_who_made_it() {
    let server = Server::start().await;
    let peer = Peer::publisher(1, &[]).await;
    let token = server.token("camera");
    let session = made(&server, &format!("/whip/{}", GroupId::random()), &token, &peer).await;
    let unknown = |location: &str| Made {
        location: location.to_owned(),
        etag: session.etag.clone(),
        answer: String::new(),
    };
    let elsewhere = unknown(&session.location.replace("/whip/", "/whep/"));
    let nowhere = unknown("/whip/sessions/nothing");
    let other = server.token("other");
    for (session, token, status, code) in [
        (&session, "", 401, "tokenMissing"),
        (&session, "x.y.z", 401, "tokenInvalid"),
        (&session, &*other, 403, "notAllowed"),
        (&nowhere, "", 401, "tokenMissing"),
        (&nowhere, &token, 404, "sessionNotFound"),
        (&elsewhere, &token, 404, "sessionNotFound"),
    ] {
        let reply = delete(&server, session, token).await;
        assert_eq!((reply.status, &*reply.code()), (status, code));
        let reply = patch(&server, session, token, Some("*"), "a=x\r\n").await;
        assert_eq!((reply.status, &*reply.code()), (status, code));
    }
    // Another token of the same identity will do.
    assert_eq!(delete(&server, &session, &server.joiner_token("camera")).await.status, 200);
    server.becomes_empty().await;
}

/// Waits until a session is no more.
async fn gone(server: &Server, session: &Made, token: &str) {
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let reply = patch(server, session, token, Some("*"), "a=x\r\n").await;
        if reply.status == 404 {
            return;
        }
        assert_eq!(reply.status, 204, "{reply:?}");
        assert!(std::time::Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_removed_is_gone_and_stays_out() {
    let server = Server::start().await;
    let group = GroupId::random();
    let presenter = TokenRequest { role: Some(Role::Presenter), ..TokenRequest::new("host") };
    let mut host = Raw::connect(server.address).await;
    host.hello(&server.token_with(presenter)).await;
    let in_host = host.join(group).await;
    let mut peer = Peer::publisher(1, &[]).await;
    let (path, token) = (format!("/whip/{group}"), server.token("camera"));
    let session = made(&server, &path, &token, &peer).await;
    peer.wait(|seen| seen.connected).await;
    let camera = host.wait_for(came("camera")).await.participant_id;
    let remove = json!({
        "type": "removeParticipant", "callId": in_host.call_id, "participantId": camera,
    });
    assert!(matches!(host.ask(remove).await, ServerMessage::Ack(_)));
    gone(&server, &session, &token).await;
    peer.wait(|seen| !seen.connected).await;
    let reply = post(&server, &path, &token, &peer.offer).await;
    assert_eq!((reply.status, &*reply.code()), (403, "removedFromCall"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_media_never_comes_ends() {
    let change = |node: &mut convoke_node::NodeConfig| {
        node.media_timeout = Duration::from_millis(300);
    };
    let server = Server::with_node(|_| {}, change).await;
    let peer = Peer::publisher(1, &[]).await;
    let (path, token) = (format!("/whip/{}", GroupId::random()), server.token("camera"));
    let reply = post(&server, &path, &token, &peer.offer).await;
    let location = reply.header("location").unwrap().to_owned();
    let session = Made { location, etag: String::new(), answer: String::new() };
    gone(&server, &session, &token).await;
    server.becomes_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_ends_its_session_unless_a_newer_one_is_shown() {
    let secret = || Secret::new(*b"a secret of this test, 32 bytes or more");
    let server = Server::with(|config| {
        // No leeway, so that expiry comes at once.
        let rules = TokenRules { leeway: Duration::ZERO, ..TokenRules::default() };
        let key = Key::hs256(KID, &secret()).unwrap();
        config.keys = KeySet::new(vec![key], rules).unwrap();
    })
    .await;
    let minter = Minter::hs256(KID, &secret()).unwrap();
    let mint = |identity: &str, seconds| {
        let lifetime = Duration::from_secs(seconds);
        let request = TokenRequest { lifetime, ..TokenRequest::new(identity) };
        minter.mint(&request, SystemTime::now()).unwrap()
    };
    let group = GroupId::random();
    let mut host = Raw::connect(server.address).await;
    host.hello(&mint("host", 60)).await;
    host.join(group).await;
    let (first, second) = (Peer::publisher(1, &[]).await, Peer::publisher(2, &[]).await);
    let path = format!("/whip/{group}");
    let (renewed, expires) = (mint("renewed", 3), mint("expires", 3));
    let renewed = made(&server, &path, &renewed, &first).await;
    made(&server, &path, &expires, &second).await;
    let longer = mint("renewed", 60);
    let reply = patch(&server, &renewed, &longer, Some(&renewed.etag), "a=x\r\n").await;
    assert_eq!(reply.status, 204);
    let camera = host.wait_for(came("expires")).await.participant_id;
    assert_eq!(host.wait_for(left).await, (camera, EndReason::token_expired()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let reply = patch(&server, &renewed, &longer, Some("*"), "a=x\r\n").await;
    assert_eq!(reply.status, 204, "{reply:?}");
}

/// A call where everybody waits, and a publisher's request to come in.
async fn lobby(hold: Duration) -> (std::sync::Arc<Server>, GroupId, Raw) {
    let server = Server::with(|config| {
        config.times.lobby_hold = hold;
        config.lobby = LobbyPolicy::Everyone;
    });
    let server = std::sync::Arc::new(server.await);
    let group = GroupId::random();
    let token = TokenRequest { role: Some(Role::Presenter), ..TokenRequest::new("host") };
    let mut host = Raw::connect(server.address).await;
    host.hello(&server.token_with(token)).await;
    host.join(group).await;
    (server, group, host)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_held_while_its_sender_waits_in_the_lobby() {
    let (server, group, _host) = lobby(PATIENCE).await;
    let peer = Peer::publisher(1, &[]).await;
    let knock = |identity: &'static str| {
        let (server, offer) = (std::sync::Arc::clone(&server), peer.offer.clone());
        tokio::spawn(async move {
            let token = server.token(identity);
            post(&server, &format!("/whip/{group}"), &token, &offer).await
        })
    };
    let waits = async |identity: &str| {
        let end = std::time::Instant::now() + PATIENCE;
        while !server.control.lobby(group).unwrap().iter().any(|one| one.identity == identity) {
            assert!(std::time::Instant::now() < end);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (welcome, unwelcome, impatient) =
        (knock("welcome"), knock("unwelcome"), knock("impatient"));
    for identity in ["welcome", "unwelcome", "impatient"] {
        waits(identity).await;
    }
    server.control.admit(group, Some("welcome")).unwrap();
    assert_eq!(welcome.await.unwrap().status, 201);
    server.control.reject(group, Some("unwelcome")).unwrap();
    let reply = unwelcome.await.unwrap();
    assert_eq!((reply.status, &*reply.code()), (403, "lobbyRejected"));
    // Who hangs up waits no more.
    impatient.abort();
    let end = std::time::Instant::now() + PATIENCE;
    while !server.control.lobby(group).unwrap().is_empty() {
        assert!(std::time::Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_too_long_in_the_lobby_is_to_come_again() {
    let (server, group, _host) = lobby(Duration::from_millis(200)).await;
    let peer = Peer::watcher().await;
    let token = server.token("viewer");
    let reply = post(&server, &format!("/whep/{group}"), &token, &peer.offer).await;
    assert_eq!((reply.status, &*reply.code()), (503, "lobbyWaiting"));
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert!(server.control.lobby(group).unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_let_in_by_the_policy_that_agents_have() {
    let origin = "https://app.example.com";
    let server = Server::with(|config| {
        config.origins = Origins::These(vec![origin.into()]);
        let ice = convoke_protocol::IceServer {
            urls: vec!["stun:stun.example.com".into(), "turn:turn.example.com".into()],
            username: Some("u".into()),
            credential: Some("p\"q".into()),
        };
        config.ice_servers = vec![ice];
    })
    .await;
    let path = format!("/whip/{}", GroupId::random());
    let asks = [("origin", origin), ("access-control-request-method", "POST")];
    let reply = server.request("OPTIONS", &path, &asks, "").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("access-control-allow-origin"), Some(origin));
    assert!(reply.header("access-control-allow-methods").unwrap().contains("PATCH"));
    assert!(reply.header("access-control-allow-headers").unwrap().contains("Authorization"));
    assert_eq!(reply.header("accept-post"), Some("application/sdp"));
    let evil = [("origin", "https://evil.example"), ("access-control-request-method", "POST")];
    for method in ["OPTIONS", "POST"] {
        let reply = server.request(method, &path, &evil, "").await;
        assert_eq!((reply.status, &*reply.code()), (403, "originNotAllowed"));
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
    let (peer, token) = (Peer::publisher(1, &[]).await, bearer(&server.token("camera")));
    let headers = [SDP, ("authorization", &*token), ("origin", origin)];
    let reply = server.request("POST", &path, &headers, &peer.offer).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (201, Some(origin)));
    let exposed = reply.header("access-control-expose-headers").unwrap();
    for name in ["Location", "Link", "ETag", "Accept-Patch"] {
        assert!(exposed.contains(name), "{exposed}");
    }
    let rest =
        "; rel=\"ice-server\"; username=\"u\"; credential=\"p\\\"q\"; credential-type=\"password\"";
    for url in ["stun:stun.example.com", "turn:turn.example.com"] {
        let link = format!("Link: <{url}>{rest}").to_lowercase();
        assert!(reply.head.to_lowercase().contains(&link), "{}", reply.head);
    }
    let location = reply.header("location").unwrap();
    let reply = server.request("OPTIONS", location, &asks, "").await;
    assert_eq!(reply.header("accept-patch"), Some("application/trickle-ice-sdpfrag"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screen_or_one_kind_alone_can_be_published() {
    let server = Server::start().await;
    let group = GroupId::random();
    let (mut host, _) = server.participant("host", group).await;
    let screen = Peer::publisher(1, &[]).await;
    let mute = Peer::sending(2, &[Source::Camera]).await;
    made(&server, &format!("/whip/{group}?source=screen"), &server.token("screen"), &screen).await;
    assert_eq!(host.wait_for(came("screen")).await.identity, "screen");
    let two = [host.wait_for(published).await, host.wait_for(published).await];
    assert_eq!(two, [Source::ScreenAudio, Source::Screen]);
    made(&server, &format!("/whip/{group}"), &server.token("mute"), &mute).await;
    assert_eq!(host.wait_for(published).await, Source::Camera);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_follows_who_speaks_or_is_pinned() {
    let server = Server::start().await;
    let group = GroupId::random();
    let whip = format!("/whip/{group}");
    let (mut host, _) = server.participant("host", group).await;
    let (one, two) = (Peer::publisher(1, &[]).await, Peer::publisher(2, &[]).await);
    two.set_level(127);
    made(&server, &whip, &server.token("one"), &one).await;
    let first = host.wait_for(came("one")).await;
    let second = made(&server, &whip, &server.token("two"), &two).await;
    let there = host.wait_for(came("two")).await;
    let mut tracks = there.tracks;
    while tracks.len() < 2 {
        tracks.push(
            host.wait_for(|message| match message {
                ServerMessage::TrackPublished(m) if m.participant_id == there.participant_id => {
                    Some(m.track.clone())
                }
                _ => None,
            })
            .await,
        );
    }
    let [sound, picture] = &tracks[..] else { panic!("{tracks:?}") };
    let watch = async |query: &str| {
        let peer = Peer::watcher().await;
        let path = format!("/whep/{group}{query}");
        made(&server, &path, &server.token("viewer"), &peer).await;
        peer
    };
    let mut speaker = watch("").await;
    let mut by_id = watch(&format!("?participant={}", first.participant_id)).await;
    let mut by_track = watch(&format!("?track={}", picture.track_id)).await;
    let mut by_name = watch("?participant=two").await;
    let mut absent = watch("?participant=three").await;
    by_id.wait(|seen| seen.audio(1) > 10 && seen.video(1) > 10).await;
    by_track.wait(|seen| seen.audio(2) > 10 && seen.video(2) > 10).await;
    by_name.wait(|seen| seen.audio(2) > 10 && seen.video(2) > 10).await;
    // The default follows the voice.
    speaker.wait(|seen| seen.audio(1) > 10 && seen.video(1) > 10).await;
    one.set_level(127);
    let mut syllables = tokio::time::interval(Duration::from_millis(100));
    let mut loud = false;
    let hears = speaker.wait(|seen| seen.audio(2) > 10 && seen.video(2) > 10);
    tokio::pin!(hears);
    loop {
        tokio::select! {
            _ = &mut hears => break,
            _ = syllables.tick() => two.set_level(if loud { 20 } else { 60 }),
        }
        loud = !loud;
    }
    assert_eq!((by_id.seen().audio(2), by_id.seen().video(2)), (0, 0));
    assert_eq!((by_name.seen().audio(1), by_name.seen().video(1)), (0, 0));
    assert_eq!((absent.seen().audio(1), absent.seen().video(2)), (0, 0), "nobody else");
    // An identity is followed: who comes, and who comes again.
    let three = Peer::publisher(3, &[]).await;
    made(&server, &whip, &server.token("three"), &three).await;
    absent.wait(|seen| seen.audio(3) > 10 && seen.video(3) > 10).await;
    let again = Peer::publisher(4, &[]).await;
    made(&server, &whip, &server.token("two"), &again).await;
    by_name.wait(|seen| seen.audio(4) > 10 && seen.video(4) > 10).await;
    // What does not exist, or is no picture, is refused and leaves nobody behind.
    let peer = Peer::watcher().await;
    for (query, status, code) in [
        ("track=t0", 404, "trackNotFound"),
        ("track=x", 404, "trackNotFound"),
        (&*format!("track={}", sound.track_id), 422, "trackInvalid"),
        ("track=t1&participant=two", 400, "requestInvalid"),
    ] {
        let path = format!("/whep/{group}?{query}");
        let reply = post(&server, &path, &server.token("nobody"), &peer.offer).await;
        assert_eq!((reply.status, &*reply.code()), (status, code), "{query}");
    }
    assert_eq!(delete(&server, &second, &server.token("two")).await.status, 200);
    server.control.end_all(EndReason::call_ended()).await;
    server.becomes_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_chooses_among_the_encodings() {
    let server = Server::start().await;
    let group = GroupId::random();
    let camera = Peer::publisher(1, &["q", "h", "f"]).await;
    made(&server, &format!("/whip/{group}"), &server.token("camera"), &camera).await;
    let (mut watcher, token) = (Peer::watcher().await, server.token("viewer"));
    let auth = bearer(&token);
    let reply = post(&server, &format!("/whep/{group}"), &token, &watcher.offer).await;
    let links: Vec<&str> =
        reply.head.lines().filter_map(|line| line.strip_prefix("link: ")).collect();
    let [link, events] = links[..] else { panic!("{links:?}") };
    assert!(events.ends_with(
        "/sse>; rel=\"urn:ietf:params:whep:ext:core:server-sent-events\"; events=\"active,inactive,layers\""
    ));
    let (url, rel) = link.split_once("; ").unwrap();
    assert_eq!(rel, "rel=\"urn:ietf:params:whep:ext:core:layer\"");
    let url = url.trim_matches(['<', '>']).to_owned();
    watcher.answer(&reply.body);
    let choose = async |body: &str| {
        let headers = [("authorization", &*auth), ("content-type", "application/json")];
        server.request("POST", &url, &headers, body).await
    };
    watcher.wait(|seen| seen.width(1) == 1280).await;
    let reply = server.request("GET", &url, &[("authorization", &auth)], "").await;
    let layers = reply.json();
    let rids: Vec<_> = layers["1"].as_array().unwrap().iter().map(|one| &one["rid"]).collect();
    assert_eq!(rids, ["f", "h", "q"], "{layers}");
    assert_eq!(layers["1"][1]["width"], 640);
    for (body, width) in [
        (r#"{"mediaId":"1","encodingId":"q"}"#, 320),
        (r#"{"rid":"f"}"#, 1280),
        (r#"{"maxWidth":700}"#, 640),
        ("{}", 1280),
    ] {
        let reply = choose(body).await;
        assert_eq!((reply.status, &*reply.body), (200, ""), "{body}");
        watcher.wait(|seen| seen.width(1) == width).await;
    }
    // Measured by now.
    let reply = server.request("GET", &url, &[("authorization", &auth)], "").await;
    assert!(reply.json()["1"][0]["bitrate"].as_u64().unwrap() > 0, "{reply:?}");
    for (body, status, code) in [
        (r#"{"encodingId":"x"}"#, 422, "layerUnknown"),
        (r#"{"mediaId":"0","encodingId":"q"}"#, 422, "layerUnknown"),
        (r#"{"spatialLayerId":0}"#, 422, "layerUnsupported"),
        (r#"{"maxWidth":-1}"#, 400, "requestInvalid"),
        ("", 400, "requestInvalid"),
    ] {
        let reply = choose(body).await;
        assert_eq!((reply.status, &*reply.code()), (status, code), "{body}");
    }
    let other = bearer(&server.token("other"));
    for (auth, status) in [(&*other, 403), ("", 401)] {
        let reply = server.request("GET", &url, &[("authorization", auth)], "").await;
        assert_eq!(reply.status, status);
    }
    assert_eq!(server.request("PUT", &url, &[], "").await.status, 405);
}
