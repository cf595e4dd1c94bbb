//! A server, and a client that says exactly what it is told to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use convoke_client::check::SlotChecker;
use convoke_client::media::{MediaConfig, MediaPeer, Offers};
use convoke_client::source::{AudioConfig, AudioSource};
use convoke_client::{Client, ClientOptions, JoinOptions, Publication};
use convoke_control::store::{Location, Store, StoreConfig};
use convoke_control::{
    Control, ControlConfig, Issuer, Key, KeySet, Minter, Role, Secret, ServiceKey, ServiceKeys,
    ServiceLimits, Services, TokenRequest, TokenRules,
};
use convoke_node::{Handle, Node, NodeConfig};
use convoke_protocol::{
    ErrorCode, ErrorReply, GroupId, Joined, Resumed, Scope, ServerMessage, Source, decode_server,
};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};

/// Longer than anything here takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Packets that must still come when the bad things are over: a second of sound.
const STILL_FLOWS: u32 = 50;
const SOCKET_BUFFER: u32 = 16 * 1024;
pub(crate) const KID: &str = "test";
pub(crate) const IDENTITIES: &str = "/identities?api-version=2023-10-01";

/// A node, its control plane and a listener.
pub(crate) struct Server {
    pub(crate) control: Control,
    pub(crate) handle: Handle,
    pub(crate) address: SocketAddr,
    pub(crate) minter: Minter,
    bearers: [(Role, String); 3],
    node: Option<Node>,
    listener: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut ControlConfig)) -> Self {
        Self::with_node(change, |_| {}).await
    }

    /// With a store in memory, and a service key for each role.
    pub(crate) async fn with_services(limits: ServiceLimits) -> Self {
        let config = StoreConfig::new(Location::Memory);
        let store = Store::open(&config).await.unwrap();
        Self::build(|_| {}, |_| {}, Some((store, limits))).await
    }

    pub(crate) async fn with_node(
        change: impl FnOnce(&mut ControlConfig),
        change_node: impl FnOnce(&mut NodeConfig),
    ) -> Self {
        Self::build(change, change_node, None).await
    }

    pub(crate) async fn build(
        change: impl FnOnce(&mut ControlConfig),
        change_node: impl FnOnce(&mut NodeConfig),
        services: Option<(Store, ServiceLimits)>,
    ) -> Self {
        let secret = Secret::random();
        let minter = Minter::hs256(KID, &secret).unwrap();
        let key = Key::hs256(KID, &secret).unwrap();
        let keys = KeySet::new(vec![key], TokenRules::default()).unwrap();
        let mut config = ControlConfig::new(keys);
        let service_secrets = [Role::Identity, Role::Calls, Role::Admin].map(|role| {
            let secret = Secret::random();
            (role, secret)
        });
        if let Some((store, limits)) = services {
            let key = |(role, secret): &(Role, Secret)| {
                ServiceKey::shared(format!("{role:?}"), secret, vec![*role]).unwrap()
            };
            let keys = ServiceKeys::new(service_secrets.iter().map(key).collect()).unwrap();
            let issuer = Issuer::new(minter.clone(), &TokenRules::default());
            let services = Services::open(store, keys, Some(issuer), limits).await;
            config.services = Some(services.unwrap());
        }
        change(&mut config);
        let mut media = NodeConfig::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        media.workers = 2;
        media.socket_buffer = 128 * 1024;
        change_node(&mut media);
        let (node, events) = Node::start(media).await.unwrap();
        let handle = node.handle();
        let control = Control::start(handle.clone(), events, config);
        let socket = TcpSocket::new_v4().unwrap();
        // So that a client which does not read is felt soon.
        socket.set_send_buffer_size(SOCKET_BUFFER).unwrap();
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let tcp = socket.listen(128).unwrap();
        let address = tcp.local_addr().unwrap();
        let router = control.router();
        let serving = control.clone();
        let listener = tokio::spawn(async move { serving.serve(tcp, router).await });
        let bearers = service_secrets.map(|(role, secret)| (role, secret.expose_base64()));
        Self { control, handle, address, minter, bearers, node: Some(node), listener }
    }

    /// A request with the key of a role.
    pub(crate) async fn rest(&self, role: Role, method: &str, path: &str, body: &Value) -> Http {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let bearer = self.bearer(role);
        let headers = [("authorization", &*bearer), ("content-type", "application/json")];
        self.request(method, path, &headers, &body).await
    }

    /// What shows the key of a role.
    pub(crate) fn bearer(&self, role: Role) -> String {
        format!("Bearer {}", self.access_key(role))
    }

    /// The access key of a role: what signs requests.
    pub(crate) fn access_key(&self, role: Role) -> &str {
        &self.bearers.iter().find(|(one, _)| *one == role).unwrap().1
    }

    /// An identity with a token, made by the server.
    pub(crate) async fn identity(&self) -> (String, String) {
        let body = json!({ "createTokenWithScopes": ["voip"] });
        let made = self.rest(Role::Identity, "POST", IDENTITIES, &body).await;
        assert_eq!(made.status, 201, "{made:?}");
        let made = made.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&made["identity"]["id"]), text(&made["accessToken"]["token"]))
    }

    pub(crate) async fn stop_node(&mut self) {
        self.node.take().unwrap().shutdown().await;
    }

    pub(crate) fn token(&self, identity: &str) -> String {
        self.token_with(TokenRequest::new(identity))
    }

    pub(crate) fn token_with(&self, request: TokenRequest) -> String {
        self.minter.mint(&request, SystemTime::now()).unwrap()
    }

    pub(crate) fn joiner_token(&self, identity: &str) -> String {
        let scopes = vec![Scope::VoipJoin];
        self.token_with(TokenRequest { scopes, ..TokenRequest::new(identity) })
    }

    /// An agent that has said `hello`.
    pub(crate) async fn agent(&self, identity: &str) -> Raw {
        let mut raw = Raw::connect(self.address).await;
        raw.hello(&self.token(identity)).await;
        raw
    }

    /// An agent in a call.
    pub(crate) async fn participant(&self, identity: &str, group: GroupId) -> (Raw, Joined) {
        let mut raw = self.agent(identity).await;
        let joined = raw.join(group).await;
        (raw, joined)
    }

    pub(crate) async fn get(&self, path: &str) -> Http {
        self.request("GET", path, &[], "").await
    }

    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Http {
        request(self.address, method, path, headers, body).await
    }

    /// Waits until no call is left, here and in the node.
    pub(crate) async fn becomes_empty(&self) {
        let end = Instant::now() + PATIENCE;
        loop {
            let participants: u64 =
                self.handle.stats().iter().map(|w| w.core.participants + w.core.rooms).sum();
            if self.control.active_calls() == 0 && participants == 0 {
                return;
            }
            assert!(Instant::now() < end, "{participants} in {:?}", self.control);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What a browser would offer. The same each time, so that its mids are known.
pub(crate) fn offers() -> Offers {
    static OFFERS: OnceLock<Offers> = OnceLock::new();
    let make = || {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let config = MediaConfig::new(anywhere, anywhere);
        MediaPeer::new(config, 1, Instant::now()).unwrap().1
    };
    OFFERS.get_or_init(make).clone()
}

/// One WebSocket.
pub(crate) struct Raw {
    socket: WebSocketStream<TcpStream>,
    next: u32,
    /// What came while a reply was waited for.
    pub(crate) heard: Vec<ServerMessage>,
}

/// An agent whose token is taken, or why it is not.
pub(crate) async fn hello(server: &Server, token: &str) -> Result<Raw, ErrorCode> {
    let mut raw = Raw::connect(server.address).await;
    raw.try_hello(token).await.map(|()| raw)
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, &[("sec-websocket-protocol", "convoke.v1")]).await.unwrap()
    }

    pub(crate) async fn connect_with(
        address: SocketAddr,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, tungstenite::Error> {
        let mut request = format!("ws://{address}/agent").into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let tcp = TcpSocket::new_v4()?;
        tcp.set_recv_buffer_size(SOCKET_BUFFER)?;
        let tcp = tcp.connect(address).await?;
        let (socket, _) = tokio_tungstenite::client_async(request, tcp).await?;
        Ok(Self { socket, next: 1, heard: Vec::new() })
    }

    pub(crate) async fn send_text(&mut self, text: String) {
        self.try_send(Message::Text(text.into())).await.unwrap();
    }

    pub(crate) async fn try_send(&mut self, message: Message) -> Result<(), tungstenite::Error> {
        self.socket.send(message).await
    }

    /// Sends a message with a fresh `requestId`, which it returns.
    pub(crate) async fn say(&mut self, mut message: Value) -> u32 {
        let id = self.next;
        self.next += 1;
        message["requestId"] = json!(id);
        self.send_text(message.to_string()).await;
        id
    }

    /// The next message; `None` when the socket was closed.
    pub(crate) async fn hear(&mut self) -> Option<ServerMessage> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next());
            match next.await.expect("the server says nothing") {
                Some(Ok(Message::Text(text))) => {
                    return Some(decode_server(&text).expect("a message"));
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Sends a request and waits for its answer; what else comes is kept in `heard`.
    pub(crate) async fn ask(&mut self, message: Value) -> ServerMessage {
        let id = self.say(message).await;
        self.answer_to(id).await
    }

    pub(crate) async fn answer_to(&mut self, id: u32) -> ServerMessage {
        loop {
            let message = self.hear().await.expect("closed before the answer");
            if request_id(&message) == Some(id) {
                return message;
            }
            self.heard.push(message);
        }
    }

    /// A request that must be refused.
    pub(crate) async fn refused(&mut self, message: Value) -> ErrorReply {
        match self.ask(message).await {
            ServerMessage::Error(reply) => reply,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Waits for a message that `wanted` likes; what else comes is kept.
    pub(crate) async fn wait_for<T>(&mut self, wanted: impl Fn(&ServerMessage) -> Option<T>) -> T {
        if let Some(at) = self.heard.iter().position(|message| wanted(message).is_some()) {
            return wanted(&self.heard.remove(at)).unwrap();
        }
        loop {
            let message = self.hear().await.expect("closed");
            if let Some(found) = wanted(&message) {
                return found;
            }
            self.heard.push(message);
        }
    }

    /// The code that the server closes with; messages before it are kept.
    pub(crate) async fn close_code(&mut self) -> u16 {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next());
            match next.await.expect("not closed") {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(Message::Text(text))) => self.heard.push(decode_server(&text).unwrap()),
                Some(Ok(Message::Close(None)) | Err(_)) | None => panic!("closed without a code"),
                Some(Ok(_)) => {}
            }
        }
    }

    pub(crate) async fn hello(&mut self, token: &str) {
        self.try_hello(token).await.unwrap();
    }

    pub(crate) async fn try_hello(&mut self, token: &str) -> Result<(), ErrorCode> {
        let hello = json!({ "type": "hello", "protocol": 1, "token": token });
        match self.ask(hello).await {
            ServerMessage::Welcome(_) => Ok(()),
            ServerMessage::Error(reply) => Err(reply.code),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn join(&mut self, group: GroupId) -> Joined {
        match self.ask(join(group)).await {
            ServerMessage::Joined(joined) => joined,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn resume(&mut self, token: &str) -> Resumed {
        match self.ask(json!({ "type": "resume", "resumeToken": token })).await {
            ServerMessage::Resumed(resumed) => resumed,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn ping(&mut self) {
        let pong = self.ask(json!({ "type": "ping" })).await;
        assert!(matches!(pong, ServerMessage::Pong(_)), "{pong:?}");
    }

    /// Drops the TCP connection without a word.
    pub(crate) fn cut(self) {
        drop(self.socket);
    }
}

/// A `join` with everything that a browser offers, and a microphone.
pub(crate) fn join(group: GroupId) -> Value {
    let offers = offers();
    json!({
        "type": "join",
        "groupId": group.to_string(),
        "send": { "sdp": offers.send },
        "receive": { "sdp": offers.receive },
        "tracks": [
            { "clientId": "mic", "source": "microphone", "mid": offers.send_mids[0] },
        ],
    })
}

/// The same, by the id of a scheduled room.
pub(crate) fn join_room(room: &str) -> Value {
    let mut join = join(GroupId::random());
    join.as_object_mut().unwrap().remove("groupId");
    join["roomId"] = json!(room);
    join
}

pub(crate) fn request_id(message: &ServerMessage) -> Option<u32> {
    match message {
        ServerMessage::Welcome(m) => m.request_id,
        ServerMessage::Joined(m) => m.request_id,
        ServerMessage::Resumed(m) => m.request_id,
        ServerMessage::Answer(m) => m.request_id,
        ServerMessage::Ack(m) => m.request_id,
        ServerMessage::Ended(m) => m.request_id,
        ServerMessage::Error(m) => m.request_id,
        ServerMessage::Pong(m) => m.request_id,
        ServerMessage::InLobby(m) => m.request_id,
        _ => None,
    }
}

pub(crate) fn expect_code(reply: &ErrorReply, code: ErrorCode, field: Option<&str>) {
    assert_eq!((reply.code, reply.field.as_deref()), (code, field), "{reply:?}");
    assert!(!reply.message.is_empty());
}

/// A raw HTTP reply.
#[derive(Debug)]
pub(crate) struct Http {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Http {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of an error as ACS has it.
    pub(crate) fn acs_code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let error = self.json();
        assert!(!error["error"]["message"].as_str().unwrap().is_empty());
        error["error"]["code"].as_str().unwrap().to_owned()
    }

    pub(crate) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["status"], self.status);
        problem["code"].as_str().unwrap().to_owned()
    }
}

pub(crate) async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Http {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\n");
    if !headers.iter().any(|(name, _)| *name == "connection") {
        text.push_str("connection: close\r\n");
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.unwrap();
    let reply = String::from_utf8_lossy(&reply).into_owned();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Http { status, head: head.to_owned(), body: body.to_owned() }
}

/// A call with sound flowing through it, which must not notice what happens beside it.
pub(crate) struct Bystander {
    stop: tokio::sync::oneshot::Sender<()>,
    listener: JoinHandle<()>,
}

impl Bystander {
    pub(crate) async fn start(server: &Server) -> Self {
        let url = format!("http://{}", server.address);
        let group = GroupId::random().to_string();
        let (speaks, hears) = (server.token("speaker"), server.token("listener"));
        let connect = |token| {
            let url = url.clone();
            async move { Client::connect(&url, token, ClientOptions::default()).await.unwrap() }
        };
        let epoch = Instant::now();
        let microphone = Publication::with_source(Source::Microphone, move |start| {
            Box::new(AudioSource::new(AudioConfig::new(start.csrc, epoch, start.now), 1))
        });
        let options = JoinOptions { publish: vec![microphone], ..JoinOptions::default() };
        let speaker = connect(&speaks).await.join(&group, options).await.unwrap();
        let listener = connect(&hears).await.join(&group, JoinOptions::default()).await.unwrap();
        let mut packets = listener.packets();
        let first = tokio::time::timeout(PATIENCE, packets.next()).await.expect("no media");
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let listen = async move {
            let first = first.expect("no media");
            let mut checker = SlotChecker::new(first.kind, epoch, None);
            checker.packet(&first);
            // From when the bad things are over: so many packets more.
            let mut more = None;
            let mut stopped = std::pin::pin!(stopped);
            while more != Some(0) {
                let packet = tokio::select! {
                    _ = &mut stopped, if more.is_none() => {
                        more = Some(STILL_FLOWS);
                        continue;
                    }
                    packet = tokio::time::timeout(PATIENCE, packets.next()) => packet,
                };
                checker.packet(&packet.expect("media stopped").expect("the call ended"));
                more = more.map(|more| more - 1);
            }
            let report = checker.report();
            assert_eq!((report.missing, &report.violations[..]), (0, &[][..]));
            assert_eq!(listener.state().participants.len(), 2);
            drop(speaker);
        };
        Self { stop, listener: tokio::spawn(listen) }
    }

    /// Media has gone on all the while, and still does.
    pub(crate) async fn did_not_notice(self) {
        let _ = self.stop.send(());
        self.listener.await.unwrap();
    }
}
