//! The client against a scripted server.

use std::time::{Duration, Instant};

use convoke_protocol::{
    Ack, ClientMessage, Connection, Data, DataCloseReason, DataClosed, Demand, Encoding,
    EncodingDemand, EndReason, Ended, ErrorCode, ErrorReply, Explained, Explanation, Joined,
    Limits, MediaKind, Moved, Participant, ParticipantJoined, ParticipantLeft, Pong, Reliability,
    Resumed, SUBPROTOCOL, ServerMessage, SessionDescription, Slot, SlotState, SlotsChanged,
    Snapshot, Source, Track, TrackPublished, TrackUnpublished, TrackUpdated, Welcome,
    decode_client, encode,
};
use futures_util::{SinkExt, StreamExt};
use str0m::change::SdpOffer;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use super::*;

const SOON: Duration = Duration::from_secs(10);
const GUID: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";

struct Server {
    listener: TcpListener,
    url: String,
}

struct Conn(WebSocketStream<TcpStream>);

#[expect(clippy::result_large_err, reason = "the callback's type is the library's")]
fn check_subprotocol(request: &Request, mut response: Response) -> Result<Response, ErrorBody> {
    assert_eq!(request.uri().path(), "/agent");
    let offered = request.headers().get("Sec-WebSocket-Protocol").unwrap().clone();
    assert_eq!(offered.to_str().unwrap(), SUBPROTOCOL);
    response.headers_mut().insert("Sec-WebSocket-Protocol", offered);
    Ok(response)
}

type ErrorBody = tokio_tungstenite::tungstenite::http::Response<Option<String>>;

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        Self { listener, url }
    }

    async fn accept(&self) -> Conn {
        let (tcp, _) = timeout(SOON, self.listener.accept()).await.unwrap().unwrap();
        Conn(tokio_tungstenite::accept_hdr_async(tcp, check_subprotocol).await.unwrap())
    }

    /// Accepts, and welcomes.
    async fn welcome(&self) -> Conn {
        let mut conn = self.accept().await;
        let ClientMessage::Hello(hello) = conn.recv().await else { panic!("no hello first") };
        assert_eq!((hello.protocol, hello.token.as_str()), (1, "secret"));
        conn.send(ServerMessage::Welcome(welcome(hello.request_id))).await;
        conn
    }
}

fn welcome(request_id: Option<u32>) -> Welcome {
    Welcome {
        request_id,
        agent_id: "a1".into(),
        identity: "alice".into(),
        display_name: "Alice".into(),
        scopes: vec![],
        expires_at_ms: 0,
        limits: Limits { max_message_bytes: 1 << 19, audio_slots: 1, video_slots: 2 },
        ping_interval_ms: 400,
        ice_servers: vec![],
    }
}

impl Conn {
    /// The next message but pings, which are answered.
    async fn recv(&mut self) -> ClientMessage {
        loop {
            let message = timeout(SOON, self.0.next()).await.unwrap().unwrap().unwrap();
            let Message::Text(text) = message else { continue };
            match decode_client(&text).unwrap() {
                ClientMessage::Ping(ping) => {
                    self.send(ServerMessage::Pong(Pong { request_id: ping.request_id })).await;
                }
                message => return message,
            }
        }
    }

    async fn send(&mut self, message: ServerMessage) {
        self.0.send(Message::text(encode(&message))).await.unwrap();
    }

    async fn ack(&mut self, request_id: Option<u32>) {
        self.send(ServerMessage::Ack(Ack { request_id })).await;
    }

    /// Answers a join; the tracks declared in it.
    async fn join(&mut self) -> Vec<convoke_protocol::TrackDeclaration> {
        self.join_as("c1").await
    }

    async fn join_as(&mut self, call_id: &str) -> Vec<convoke_protocol::TrackDeclaration> {
        let ClientMessage::Join(join) = self.recv().await else { panic!("no join") };
        assert_eq!(join.group_id, GUID);
        let answer = |offer: Option<SessionDescription>| {
            let offer = SdpOffer::from_sdp_string(&offer.unwrap().sdp).unwrap();
            let mut rtc = str0m::RtcConfig::new().set_ice_lite(true).build(Instant::now());
            let candidate = str0m::Candidate::host("127.0.0.1:9".parse().unwrap(), "udp").unwrap();
            rtc.add_local_candidate(candidate);
            let sdp = rtc.sdp_api().accept_offer(offer).unwrap().to_sdp_string();
            Some(SessionDescription { sdp })
        };
        let joined = Joined {
            request_id: join.request_id,
            call_id: call_id.into(),
            group_id: GUID.into(),
            room_id: None,
            role: None,
            participant_id: "p1".into(),
            resume_token: "resume-1".into(),
            resume_grace_ms: 5_000,
            send: answer(join.send),
            receive: answer(join.receive),
            version: 10,
            participants: vec![participant("p1")],
            slots: vec![slot("0", None)],
        };
        self.send(ServerMessage::Joined(joined)).await;
        join.tracks
    }
}

fn participant(id: &str) -> Participant {
    Participant {
        participant_id: id.into(),
        csrc: 7,
        identity: id.into(),
        display_name: id.into(),
        connection: Connection::Connected,
        tracks: vec![],
    }
}

fn track(id: &str, muted: bool) -> Track {
    Track {
        track_id: id.into(),
        client_id: "mic".into(),
        source: Source::Microphone,
        muted,
        encrypted: false,
    }
}

fn slot(mid: &str, track_id: Option<&str>) -> Slot {
    Slot {
        mid: mid.into(),
        kind: MediaKind::Audio,
        index: 0,
        participant_id: track_id.map(|_| "p2".into()),
        track_id: track_id.map(Into::into),
        state: if track_id.is_some() { SlotState::Active } else { SlotState::Empty },
        layer: None,
        reason: None,
    }
}

fn joined_event(version: u64, id: &str) -> ServerMessage {
    let participant = participant(id);
    ServerMessage::ParticipantJoined(ParticipantJoined {
        call_id: "c1".into(),
        version,
        participant,
    })
}

fn left_event(version: u64, id: &str) -> ServerMessage {
    ServerMessage::ParticipantLeft(ParticipantLeft {
        call_id: "c1".into(),
        version,
        participant_id: id.into(),
        reason: EndReason::left(),
    })
}

fn options() -> ClientOptions {
    ClientOptions { reconnect_first: Duration::from_millis(20), ..ClientOptions::default() }
}

/// A client in a call, and the server's end of its WebSocket.
async fn in_call(server: &Server) -> (Client, Call, Conn) {
    let (client, mut conn) =
        tokio::join!(Client::connect(&server.url, "secret", options()), server.welcome());
    let client = client.unwrap();
    let publish = vec![Publication::new(Source::Microphone)];
    let join = JoinOptions { publish, ..JoinOptions::default() };
    let (call, tracks) = tokio::join!(client.join(GUID, join), conn.join());
    assert_eq!((tracks.len(), tracks[0].client_id.as_str()), (1, "microphone"));
    (client, call.unwrap(), conn)
}

async fn event(events: &mut Events) -> CallEvent {
    timeout(SOON, events.next()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_refused_hello_and_bad_urls_are_errors() {
    let server = Server::start().await;
    let serve = async {
        let mut conn = server.accept().await;
        let hello = conn.recv().await;
        let reply = ErrorReply {
            request_id: hello.request_id(),
            code: ErrorCode::TokenExpired,
            message: "expired".into(),
            field: None,
            retry_after_ms: None,
            reason: None,
        };
        conn.send(ServerMessage::Error(reply)).await;
        conn
    };
    let (client, _conn) = tokio::join!(Client::connect(&server.url, "old", options()), serve);
    assert!(matches!(client, Err(ConnectError::Refused(r)) if r.code == ErrorCode::TokenExpired));
    let refused = Client::connect("ftp://127.0.0.1", "t", options()).await;
    assert!(matches!(refused, Err(ConnectError::Url(_))));
    let refused = Client::connect("127.0.0.1:80", "t", options()).await;
    assert!(matches!(refused, Err(ConnectError::Url(_))));
    let refused = Client::connect("ws://127.0.0.1:1", "t", options()).await;
    assert!(matches!(refused, Err(e) if e.is_transient()));
    if !cfg!(feature = "tls") {
        let refused = Client::connect("wss://127.0.0.1:1", "t", options()).await;
        assert!(matches!(refused, Err(ConnectError::NoTls)));
    }
}

#[tokio::test]
async fn a_call_is_joined_followed_and_left() {
    let server = Server::start().await;
    let (client, call, mut conn) = in_call(&server).await;
    assert_eq!(client.welcome().identity, "alice");
    assert_eq!(call.state().own().map(|own| own.csrc), Some(7));
    let mut events = call.events();

    conn.send(joined_event(11, "p2")).await;
    let joined = event(&mut events).await;
    assert!(matches!(joined, CallEvent::Changed(CallChange::ParticipantJoined(p))
        if p.participant_id == "p2"));
    assert_eq!(call.state().participants.len(), 2);

    let camera = Publication::new(Source::Camera);
    let serve = async {
        let ClientMessage::Publish(publish) = conn.recv().await else { panic!("no publish") };
        assert_eq!(publish.track.source, Source::Camera);
        conn.ack(publish.request_id).await;
        let ClientMessage::Mute(mute) = conn.recv().await else { panic!("no mute") };
        assert!(mute.muted && mute.client_id == "camera");
        conn.ack(mute.request_id).await;
        let ClientMessage::Unpublish(m) = conn.recv().await else { panic!("no unpublish") };
        conn.ack(m.request_id).await;
        let ClientMessage::View(view) = conn.recv().await else { panic!("no view") };
        assert_eq!(view.slots, None);
        conn.ack(view.request_id).await;
        let ClientMessage::Leave(leave) = conn.recv().await else { panic!("no leave") };
        let (request_id, call_id, reason) = (leave.request_id, leave.call_id, EndReason::left());
        conn.send(ServerMessage::Ended(Ended { request_id, call_id, reason })).await;
    };
    let act = async {
        let camera = call.publish(camera).await.unwrap();
        call.mute(&camera, true).await.unwrap();
        call.unpublish(&camera).await.unwrap();
        call.set_view(None).await.unwrap();
        call.leave().await.unwrap();
    };
    tokio::join!(serve, act);
    let ended = event(&mut events).await;
    assert!(matches!(ended, CallEvent::Ended(reason) if reason == EndReason::left()));
    assert!(timeout(SOON, events.next()).await.unwrap().is_none());
    assert!(timeout(SOON, call.packets().next()).await.unwrap().is_none());
    let packet = crate::media::Packet::new(crate::media::Codec::Opus, 0, vec![0]);
    assert_eq!(call.write(&call.tracks()[0], packet), Err(WriteError::Ended));
}

/// Says what it is told.
struct Told(std::sync::mpsc::Sender<(usize, bool)>);

impl crate::source::MediaSource for Told {
    fn next_due(&self) -> Option<Instant> {
        None
    }

    fn take(&mut self, _now: Instant) -> Vec<crate::media::Packet> {
        Vec::new()
    }

    fn set_active(&mut self, _now: Instant, encoding: usize, active: bool) {
        self.0.send((encoding, active)).unwrap();
    }

    fn set_paused(&mut self, _now: Instant, _paused: bool) {}
}

#[tokio::test]
async fn demand_is_obeyed_and_told_and_explanations_are_asked_for() {
    let server = Server::start().await;
    let (told, hears) = std::sync::mpsc::channel();
    let rid = |rid: &str| Encoding { rid: Some(rid.into()), ..Encoding::default() };
    let camera = Publication::with_source(Source::Camera, |_| Box::new(Told(told)))
        .with_encodings(vec![rid("q"), rid("h")]);
    let options = JoinOptions { publish: vec![camera], ..JoinOptions::default() };
    let (client, mut conn) = tokio::join!(
        Client::connect(&server.url, "secret", ClientOptions::default()),
        server.welcome()
    );
    let client = client.unwrap();
    let (call, tracks) = tokio::join!(client.join(GUID, options), conn.join());
    let call = call.unwrap();
    assert_eq!(tracks[0].encodings, [rid("q"), rid("h")]);
    let mut events = call.events();
    let want = |rid: &str, active| EncodingDemand { rid: Some(rid.into()), active };
    let wanted = vec![want("q", true), want("h", false)];
    let of = |call_id: &str, encodings: &[EncodingDemand]| {
        let (call_id, client_id) = (call_id.to_owned(), "camera".to_owned());
        ServerMessage::Demand(Demand { call_id, client_id, encodings: encodings.to_vec() })
    };
    conn.send(of("another", &[want("q", false)])).await;
    conn.send(of("c1", &wanted)).await;
    let CallEvent::Demand { track, encodings } = event(&mut events).await else {
        panic!("no demand")
    };
    assert_eq!((track.client_id(), encodings), ("camera", wanted));
    assert_eq!(hears.try_iter().collect::<Vec<_>>(), [(0, true), (1, false)]);

    let serve = async {
        let ClientMessage::Explain(explain) = conn.recv().await else { panic!("no explain") };
        let explanation = Explanation {
            estimate: Some(800_000),
            allocated: 500_000,
            desired: 2_000_000,
            audio: 40_000,
            rtt_ms: Some(40),
            loss: None,
            slots: vec![],
            tracks: vec![],
        };
        let (request_id, call_id) = (explain.request_id, explain.call_id);
        conn.send(ServerMessage::Explained(Explained { request_id, call_id, explanation })).await;
    };
    let (explained, ()) = tokio::join!(call.explain(), serve);
    assert_eq!(explained.unwrap().estimate, Some(800_000));
}

#[tokio::test]
async fn a_lost_websocket_is_resumed() {
    let server = Server::start().await;
    let (_client, call, mut conn) = in_call(&server).await;
    let mut events = call.events();
    // A request is in flight when the WebSocket dies.
    let (asked, ()) = tokio::join!(call.set_view(None), async {
        conn.recv().await;
        drop(conn);
    });
    assert!(matches!(asked, Err(RequestError::Disconnected)));
    assert!(matches!(event(&mut events).await, CallEvent::Reconnecting));
    assert!(matches!(call.set_view(None).await, Err(RequestError::Disconnected)));

    for (old, new, version) in [("resume-1", "resume-2", 20), ("resume-2", "resume-3", 30)] {
        let mut conn = server.welcome().await;
        let ClientMessage::Resume(resume) = conn.recv().await else { panic!("no resume") };
        assert_eq!(resume.resume_token, old);
        let resumed = Resumed {
            request_id: resume.request_id,
            call_id: "c1".into(),
            group_id: GUID.into(),
            room_id: None,
            role: None,
            participant_id: "p1".into(),
            resume_token: new.into(),
            version,
            participants: vec![participant("p1"), participant("p9")],
            slots: vec![],
        };
        conn.send(ServerMessage::Resumed(resumed)).await;
        assert!(matches!(event(&mut events).await, CallEvent::Changed(CallChange::Snapshot)));
        assert!(matches!(event(&mut events).await, CallEvent::Reconnected));
        assert_eq!(call.state().participants.len(), 2);
        let (asked, ()) = tokio::join!(call.set_view(None), async {
            let id = conn.recv().await.request_id();
            conn.ack(id).await;
        });
        asked.unwrap();
        drop(conn);
        assert!(matches!(event(&mut events).await, CallEvent::Reconnecting));
    }
}

#[tokio::test]
async fn a_refused_resume_ends_the_call() {
    let server = Server::start().await;
    let (_client, call, conn) = in_call(&server).await;
    let mut events = call.events();
    drop(conn);
    let mut conn = server.welcome().await;
    let resume = conn.recv().await;
    let reply = ErrorReply {
        request_id: resume.request_id(),
        code: ErrorCode::ResumeInvalid,
        message: "too late".into(),
        field: None,
        retry_after_ms: None,
        reason: None,
    };
    conn.send(ServerMessage::Error(reply)).await;
    assert!(matches!(event(&mut events).await, CallEvent::Reconnecting));
    let ended = event(&mut events).await;
    assert!(matches!(ended, CallEvent::Ended(reason) if reason == EndReason::unreachable()));
}

#[tokio::test]
async fn being_taken_over_is_not_fought() {
    use tokio_tungstenite::tungstenite::protocol::CloseFrame;
    let server = Server::start().await;
    let (_client, call, mut conn) = in_call(&server).await;
    let mut events = call.events();
    let code = convoke_protocol::close::TAKEN_OVER.into();
    conn.0.close(Some(CloseFrame { code, reason: "newer".into() })).await.unwrap();
    assert!(matches!(event(&mut events).await, CallEvent::Ended(_)));
    assert!(timeout(Duration::from_millis(300), server.listener.accept()).await.is_err());
}

#[tokio::test]
async fn a_silent_server_is_taken_for_dead() {
    let server = Server::start().await;
    let (_client, call, conn) = in_call(&server).await;
    let mut events = call.events();
    // The WebSocket stays open, but nothing is answered: 2 x 400 ms later the client gives it up.
    assert!(matches!(event(&mut events).await, CallEvent::Reconnecting));
    drop(conn);
}

#[tokio::test]
async fn a_move_is_told_and_followed() {
    let server = Server::start().await;
    let (client, call, mut conn) = in_call(&server).await;
    let mut events = call.events();
    let (call_id, group_id) = ("c1".into(), GUID.into());
    let moved = Moved { call_id, group_id, timeout_ms: 20_000, reason: None };
    conn.send(ServerMessage::Moved(moved.clone())).await;
    let told = loop {
        if let CallEvent::Moved(told) = event(&mut events).await {
            break told;
        }
    };
    assert_eq!(told, moved);
    let follow = client.follow(&told, JoinOptions::default());
    let (next, _) = tokio::join!(follow, conn.join_as("c2"));
    let reason = loop {
        if let CallEvent::Ended(reason) = event(&mut events).await {
            break reason;
        }
    };
    assert_eq!(reason, EndReason::moved());
    let next = next.unwrap();
    assert_eq!(next.state().call_id, "c2");
    // What comes of the call before is not of this one.
    let (request_id, call_id, reason) = (None, "c1".into(), EndReason::moved());
    conn.send(ServerMessage::Ended(Ended { request_id, call_id, reason })).await;
    drop((call, next));
    let ClientMessage::Leave(leave) = conn.recv().await else { panic!("no leave") };
    assert_eq!(leave.call_id, "c2");
}

#[tokio::test]
async fn letting_go_of_a_call_leaves_it() {
    let server = Server::start().await;
    let (client, call, mut conn) = in_call(&server).await;
    drop(call);
    let ClientMessage::Leave(leave) = conn.recv().await else { panic!("no leave") };
    assert_eq!(leave.call_id, "c1");
    drop(client);
}

#[tokio::test]
async fn letting_go_of_everything_closes_the_websocket() {
    let server = Server::start().await;
    let (client, mut conn) =
        tokio::join!(Client::connect(&server.url, "secret", options()), server.welcome());
    drop(client);
    let closed = timeout(SOON, conn.0.next()).await.unwrap();
    assert!(matches!(closed, Some(Ok(Message::Close(_))) | None), "{closed:?}");
}

#[tokio::test]
async fn joining_without_the_line_is_refused_here() {
    let server = Server::start().await;
    let (client, _conn) =
        tokio::join!(Client::connect(&server.url, "secret", options()), server.welcome());
    let publish = vec![Publication::new(Source::Screen)];
    let join = JoinOptions { publish, send: vec![Source::Microphone], ..JoinOptions::default() };
    let refused = client.unwrap().join(GUID, join).await;
    assert!(matches!(refused, Err(JoinError::NoLine(Source::Screen))));
}

fn state() -> CallState {
    let joined = Joined {
        request_id: None,
        call_id: "c1".into(),
        group_id: GUID.into(),
        room_id: None,
        role: None,
        participant_id: "p1".into(),
        resume_token: String::new(),
        resume_grace_ms: 0,
        send: None,
        receive: None,
        version: 10,
        participants: vec![participant("p1")],
        slots: vec![slot("0", None), slot("1", None)],
    };
    CallState::from_joined(&ServerMessage::Joined(joined)).unwrap()
}

#[test]
fn changes_older_than_the_snapshot_are_ignored() {
    let mut state = state();
    assert_eq!(state.apply(&joined_event(10, "p2")), None);
    assert!(state.apply(&joined_event(11, "p2")).is_some());
    // Several changes may have the same version, or arrive with a lower one than the last change.
    assert!(state.apply(&joined_event(11, "p3")).is_some());
    assert_eq!(state.apply(&joined_event(12, "p3")), None, "known already");
    assert_eq!(state.participants.len(), 3);
    let mut other = joined_event(12, "p4");
    if let ServerMessage::ParticipantJoined(m) = &mut other {
        m.call_id = "c2".into();
    }
    assert_eq!(state.apply(&other), None, "another call");
    assert!(state.apply(&left_event(13, "p2")).is_some());
    assert_eq!(state.apply(&left_event(14, "p2")), None, "unknown by now");
    let snapshot = |version| {
        let (call_id, participants) = ("c1".into(), vec![participant("p8")]);
        ServerMessage::Snapshot(Snapshot { call_id, version, participants, slots: vec![] })
    };
    assert_eq!(state.apply(&snapshot(9)), None, "older than the last snapshot");
    assert_eq!(state.apply(&snapshot(40)), Some(CallChange::Snapshot));
    assert_eq!(state.participants.len(), 1);
    assert_eq!(state.apply(&joined_event(40, "p9")), None);
    assert!(state.apply(&joined_event(41, "p9")).is_some());
}

#[test]
fn tracks_and_slots_follow() {
    let mut state = state();
    let (call_id, participant_id) = ("c1".to_owned(), "p1".to_owned());
    let published = |id: &str, version| {
        let (call_id, participant_id) = (call_id.clone(), participant_id.clone());
        let track = track(id, false);
        ServerMessage::TrackPublished(TrackPublished { call_id, version, participant_id, track })
    };
    assert!(state.apply(&published("t1", 11)).is_some());
    assert_eq!(state.apply(&published("t1", 12)), None);
    let muted = ServerMessage::TrackUpdated(TrackUpdated {
        call_id: call_id.clone(),
        version: 12,
        participant_id: participant_id.clone(),
        track: track("t1", true),
    });
    assert!(state.apply(&muted).is_some());
    assert!(state.own().unwrap().tracks[0].muted);
    let slots = ServerMessage::Slots(SlotsChanged {
        call_id: call_id.clone(),
        version: 13,
        slots: vec![slot("1", Some("t7"))],
    });
    assert!(matches!(state.apply(&slots), Some(CallChange::Slots(s)) if s.len() == 1));
    assert_eq!(state.slots[0].track_id, None);
    assert_eq!(state.slots[1].track_id.as_deref(), Some("t7"));
    let (version, track_id) = (14, "t1".to_owned());
    let gone = TrackUnpublished { call_id, version, participant_id, track_id };
    assert!(state.apply(&ServerMessage::TrackUnpublished(gone)).is_some());
    assert!(state.own().unwrap().tracks.is_empty());
}

#[test]
fn the_agent_is_found_below_the_base_url() {
    for (given, wanted) in [
        ("ws://a:1", "ws://a:1/agent"),
        ("http://a:1/", "ws://a:1/agent"),
        ("ws://a/base/agent", "ws://a/base/agent"),
    ] {
        assert_eq!(socket::agent_url(given).unwrap(), wanted);
    }
}

#[tokio::test]
async fn data_goes_by_the_websocket_where_no_channel_is_open() {
    let server = Server::start().await;
    let (_client, call, mut conn) = in_call(&server).await;
    let mut events = call.events();
    let reliability = Reliability::Durable;
    assert!(!call.data_channel_open(reliability));
    let data = CallData {
        to: Some(vec!["p2".into()]),
        reliability,
        topic: "chat".into(),
        payload: b"hello".as_slice().into(),
    };
    let serve = async {
        let ClientMessage::Data(sent) = conn.recv().await else { panic!("no data") };
        assert_eq!((sent.call_id.as_str(), sent.to), ("c1", Some(vec!["p2".to_owned()])));
        assert_eq!((sent.topic.as_deref(), sent.payload.as_str()), (Some("chat"), "aGVsbG8="));
        conn.ack(sent.request_id).await;
        let ClientMessage::Data(sent) = conn.recv().await else { panic!("no data") };
        conn.send(ServerMessage::Error(ErrorReply {
            request_id: sent.request_id,
            code: ErrorCode::Busy,
            message: "too fast".into(),
            field: None,
            retry_after_ms: Some(40),
            reason: None,
        }))
        .await;
        for (call_id, payload) in [("c2", "eA=="), ("c1", "no base64"), ("c1", "aGVsbG8=")] {
            let data = Data {
                call_id: call_id.into(),
                from: "p2".into(),
                reliability,
                topic: None,
                payload: payload.into(),
            };
            conn.send(ServerMessage::Data(data)).await;
        }
        conn.send(ServerMessage::DataClosed(DataClosed {
            call_id: "c1".into(),
            reliability,
            reason: DataCloseReason::TooFast,
            retry_after_ms: Some(40),
        }))
        .await;
    };
    let send = async {
        call.send_data(data.clone()).await.unwrap();
        let refused = call.send_data(data).await.unwrap_err();
        let busy = |reply: &ErrorReply| reply.retry_after_ms == Some(40);
        assert!(
            matches!(refused, DataError::Request(RequestError::Refused(reply)) if busy(&reply))
        );
        let CallEvent::Data(got) = event(&mut events).await else { panic!("no data") };
        assert_eq!(
            (got.from.as_deref(), &*got.topic, &*got.payload),
            (Some("p2"), "", &b"hello"[..])
        );
        let closed = event(&mut events).await;
        assert!(matches!(closed, CallEvent::DataClosed { retry_after: Some(wait), .. }
            if wait == Duration::from_millis(40)));
    };
    tokio::join!(serve, send);
}
