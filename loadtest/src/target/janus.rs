//! Janus' VideoRoom as a target.
//!
//! Owns: one WebSocket, one session and two handles for each caller: one publishes, one subscribes.
//! Never: chooses layers; callers send one encoding here and take what others send.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use convoke_client::media::MediaPeer;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::{Ask, Failure, News, Seat, Seated, Sockets, Target, media_config};

/// How long each answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// See the module.
#[derive(Debug)]
pub struct Janus {
    url: String,
    bind: IpAddr,
}

impl Janus {
    /// The server whose WebSocket is at `url`.
    #[must_use]
    pub fn new(url: String, bind: IpAddr) -> Self {
        Self { url, bind }
    }
}

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::new("signalling", error)
}

/// The WebSocket, and the session on it.
#[derive(Debug)]
struct Session {
    out: UnboundedSender<Value>,
    heard: UnboundedReceiver<Value>,
    /// Heard while waiting for something else.
    early: VecDeque<Value>,
    id: Option<u64>,
    next: u64,
}

impl Session {
    async fn open(url: &str) -> Result<Self, Failure> {
        let mut request = url.into_client_request().map_err(broken)?;
        let protocol = HeaderValue::from_static("janus-protocol");
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        let connecting = tokio_tungstenite::connect_async_with_config(request, None, true);
        let (socket, _) = connecting.await.map_err(|e| Failure::new("connect", e))?;
        let (mut sink, mut stream) = socket.split();
        let (out, mut to_send) = unbounded_channel::<Value>();
        let (to_hear, heard) = unbounded_channel();
        tokio::spawn(async move {
            while let Some(message) = to_send.recv().await {
                if sink.send(Message::text(message.to_string())).await.is_err() {
                    return;
                }
            }
            // Nobody is left: the server ends the session with its WebSocket.
            let _ = sink.close().await;
        });
        tokio::spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                let Message::Text(text) = message else { continue };
                let Ok(value) = serde_json::from_str(&text) else { continue };
                if to_hear.send(value).is_err() {
                    return;
                }
            }
        });
        let mut session = Self { out, heard, early: VecDeque::new(), id: None, next: 0 };
        let created = session.ask(json!({ "janus": "create" })).await?;
        session.id = created["data"]["id"].as_u64();
        Ok(session)
    }

    /// Sends a message; gives its transaction.
    fn send(&mut self, mut message: Value) -> Result<String, Failure> {
        self.next += 1;
        let transaction = self.next.to_string();
        message["transaction"] = json!(transaction);
        if let Some(id) = self.id {
            message["session_id"] = json!(id);
        }
        self.out.send(message).map_err(|_| broken("the WebSocket is closed"))?;
        Ok(transaction)
    }

    /// Sends a message and waits for what it brings about.
    async fn ask(&mut self, message: Value) -> Result<Value, Failure> {
        let transaction = self.send(message)?;
        let waiting = async {
            loop {
                let value = self.heard.recv().await?;
                if value["transaction"] != json!(transaction) {
                    self.early.push_back(value);
                } else if value["janus"] != "ack" {
                    return Some(value);
                }
            }
        };
        let answer = tokio::time::timeout(PATIENCE, waiting).await;
        let answer = answer.map_err(|_| Failure::new("timeout", "no answer"))?;
        let answer = answer.ok_or_else(|| broken("the WebSocket is closed"))?;
        if answer["janus"] == "error" {
            return Err(Failure::new("refused", &answer["error"]["reason"]));
        }
        Ok(answer)
    }

    async fn attach(&mut self) -> Result<u64, Failure> {
        let plugin = "janus.plugin.videoroom";
        let attached = self.ask(json!({ "janus": "attach", "plugin": plugin })).await?;
        attached["data"]["id"].as_u64().ok_or_else(|| broken("no handle"))
    }

    /// The next message that answers nothing.
    async fn hear(&mut self) -> Option<Value> {
        match self.early.pop_front() {
            Some(value) => Some(value),
            None => self.heard.recv().await,
        }
    }
}

impl Target for Janus {
    type Seat = JanusSeat;

    async fn join(&self, ask: Ask) -> Result<Seated<JanusSeat>, Failure> {
        let mut session = Session::open(&self.url).await?;
        let (publisher, subscriber) = (session.attach().await?, session.attach().await?);
        let room = ask.room + 1;
        let create = json!({
            "request": "create", "room": room, "publishers": 1_000, "bitrate": 0,
            "audiocodec": "opus", "videocodec": "vp8", "notify_joining": false,
        });
        // Whoever is not the first hears that the room is there.
        let message = json!({ "janus": "message", "handle_id": publisher, "body": create });
        session.ask(message).await?;

        let sends = !ask.sources().is_empty();
        let socket = |error| Failure::new("socket", error);
        let sockets = Sockets::bind(self.bind, sends, true).map_err(socket)?;
        let mut joining = json!({
            "janus": "message", "handle_id": publisher,
            "body": { "request": "join", "ptype": "publisher", "room": room },
        });
        let media = |error| Failure::new("media", error);
        let mut peer = if sends {
            let addresses = sockets.addresses().map_err(socket)?;
            let config = media_config(&ask, addresses, [0, 0]);
            let (peer, offers) =
                MediaPeer::new(config, ask.visit, Instant::now()).map_err(media)?;
            joining["body"]["request"] = json!("joinandconfigure");
            joining["jsep"] = json!({ "type": "offer", "sdp": offers.send });
            peer
        } else {
            MediaPeer::answering(vec![ask.scenario.video.codec.codec()])
        };
        let joined = session.ask(joining).await?;
        let at = Instant::now();
        if let Some(error) = joined["plugindata"]["data"]["error"].as_str() {
            return Err(Failure::new("refused", error));
        }
        if sends {
            peer.accept_answers(at, joined["jsep"]["sdp"].as_str(), None).map_err(media)?;
        }
        let mut seat = JanusSeat {
            session,
            subscriber,
            room,
            feeds_max: ask.scenario.view.tiles.0.max(ask.scenario.view.voices.0),
            subscribed: Vec::new(),
            wanted: Vec::new(),
            negotiating: false,
        };
        seat.publishers(&joined["plugindata"]["data"]["publishers"]);
        seat.subscribe();
        Ok(Seated { peer, sockets, seat, at })
    }
}

/// A place in one of Janus' rooms.
#[derive(Debug)]
pub struct JanusSeat {
    session: Session,
    subscriber: u64,
    room: usize,
    feeds_max: usize,
    subscribed: Vec<u64>,
    wanted: Vec<u64>,
    /// A subscription is under way: the next waits.
    negotiating: bool,
}

impl JanusSeat {
    fn publishers(&mut self, publishers: &Value) {
        for id in publishers.as_array().into_iter().flatten().filter_map(|p| p["id"].as_u64()) {
            let known = self.subscribed.contains(&id) || self.wanted.contains(&id);
            if !known && self.subscribed.len() + self.wanted.len() < self.feeds_max {
                self.wanted.push(id);
            }
        }
    }

    fn subscribe(&mut self) {
        if self.negotiating || self.wanted.is_empty() {
            return;
        }
        let feeds: Vec<u64> = self.wanted.drain(..).collect();
        let streams: Vec<Value> = feeds.iter().map(|id| json!({ "feed": id })).collect();
        let body = if self.subscribed.is_empty() {
            json!({ "request": "join", "ptype": "subscriber", "room": self.room, "streams": streams })
        } else {
            json!({ "request": "subscribe", "streams": streams })
        };
        self.subscribed.extend(feeds);
        self.negotiating = true;
        let message = json!({ "janus": "message", "handle_id": self.subscriber, "body": body });
        // A closed WebSocket is found when the next message is waited for.
        let _ = self.session.send(message);
    }

    fn message(&mut self, message: &Value) -> Option<News> {
        let data = &message["plugindata"]["data"];
        if let Some(error) = data["error"].as_str() {
            return Some(News::Ended(error.to_owned()));
        }
        if message["janus"] == "hangup" {
            return Some(News::Ended(format!("hangup: {}", message["reason"])));
        }
        let left = data["unpublished"].as_u64().or(data["leaving"].as_u64());
        if let Some(left) = left {
            self.subscribed.retain(|id| *id != left);
            self.wanted.retain(|id| *id != left);
        }
        self.publishers(&data["publishers"]);
        if message["jsep"]["type"] == "offer" {
            return message["jsep"]["sdp"].as_str().map(|sdp| News::Offer(sdp.to_owned()));
        }
        self.subscribe();
        None
    }
}

impl Seat for JanusSeat {
    async fn next(&mut self) -> News {
        loop {
            let Some(message) = self.session.hear().await else {
                return News::Ended("the WebSocket is closed".to_owned());
            };
            if let Some(news) = self.message(&message) {
                return news;
            }
        }
    }

    fn look(&mut self, _page: usize) {}

    async fn answer(&mut self, sdp: String) -> Result<(), Failure> {
        let message = json!({
            "janus": "message", "handle_id": self.subscriber,
            "body": { "request": "start" }, "jsep": { "type": "answer", "sdp": sdp },
        });
        self.session.send(message)?;
        self.negotiating = false;
        self.subscribe();
        Ok(())
    }

    async fn leave(mut self) -> Result<(), Failure> {
        self.session.ask(json!({ "janus": "destroy" })).await.map(|_| ())
    }
}
