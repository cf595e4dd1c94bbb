//! The task that owns the agent WebSocket.
//!
//! Owns: request numbers, pings, reconnecting and resuming.
//! Never: touches media; the call's own task does.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use convoke_protocol::{
    ClientMessage, EndReason, Leave, Ping, Resume, ServerMessage, Welcome, close, decode_server,
    encode,
};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::socket::{Opened, Socket, hello, open};
use super::{ClientOptions, Incoming, RequestError};

/// Requests that may wait for their answers.
const MAX_PENDING: usize = 256;
/// How long the last `leave` may take when everyone has let go of the client.
const GOODBYE: Duration = Duration::from_millis(500);

pub(super) type Answer = oneshot::Sender<Result<ServerMessage, RequestError>>;

pub(super) enum ToAgent {
    Request(ClientMessage, Answer),
    /// A join; from its success on, the call's messages go to the sender.
    Join(ClientMessage, mpsc::Sender<FromAgent>, Answer),
    /// A fresh token, for now and for reconnecting.
    Token(String, Answer),
}

/// What the call's task hears.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time, and most are messages")]
pub(super) enum FromAgent {
    Message(ServerMessage),
    /// The WebSocket is gone; the agent tries to resume.
    Lost,
    /// It is back; `Message(Resumed)` came before this.
    Back {
        local_ip: Option<IpAddr>,
    },
    /// The call is over without an `ended` from the server.
    Over(EndReason),
}

/// What is told outside of calls.
pub(super) struct Told {
    pub(super) welcome: watch::Sender<Welcome>,
    pub(super) incoming: broadcast::Sender<Incoming>,
}

struct Call {
    id: String,
    resume_token: String,
    grace: Duration,
    sink: mpsc::Sender<FromAgent>,
}

struct Pending {
    id: u32,
    answer: Answer,
    join: Option<mpsc::Sender<FromAgent>>,
}

pub(super) struct Agent {
    url: String,
    token: String,
    options: ClientOptions,
    commands: mpsc::Receiver<ToAgent>,
    told: Told,
    ping_every: Duration,
    next_id: u32,
    pending: VecDeque<Pending>,
    call: Option<Call>,
}

/// Why serving a WebSocket ended.
enum Stop {
    /// Nobody holds the client any more.
    Unused,
    /// The WebSocket is gone; with the server's close code.
    Lost(Option<u16>),
}

fn set_request_id(message: &mut ClientMessage, id: u32) {
    let request_id = match message {
        ClientMessage::Hello(m) => &mut m.request_id,
        ClientMessage::Join(m) => &mut m.request_id,
        ClientMessage::Resume(m) => &mut m.request_id,
        ClientMessage::Offer(m) => &mut m.request_id,
        ClientMessage::Publish(m) => &mut m.request_id,
        ClientMessage::Unpublish(m) => &mut m.request_id,
        ClientMessage::Mute(m) => &mut m.request_id,
        ClientMessage::View(m) => &mut m.request_id,
        ClientMessage::Explain(m) => &mut m.request_id,
        ClientMessage::Data(m) => &mut m.request_id,
        ClientMessage::Leave(m) => &mut m.request_id,
        ClientMessage::SetRole(m) => &mut m.request_id,
        ClientMessage::MuteParticipants(m) => &mut m.request_id,
        ClientMessage::RemoveParticipant(m) => &mut m.request_id,
        ClientMessage::StartSpotlight(m) => &mut m.request_id,
        ClientMessage::StopSpotlight(m) => &mut m.request_id,
        ClientMessage::RaiseHand(m) => &mut m.request_id,
        ClientMessage::LowerHands(m) => &mut m.request_id,
        ClientMessage::Admit(m) => &mut m.request_id,
        ClientMessage::Reject(m) => &mut m.request_id,
        ClientMessage::StartCall(m) => &mut m.request_id,
        ClientMessage::AcceptCall(m) => &mut m.request_id,
        ClientMessage::RejectCall(m) => &mut m.request_id,
        ClientMessage::Ping(m) => &mut m.request_id,
    };
    *request_id = Some(id);
}

/// The request that a message answers, if it answers one.
fn answered(message: &ServerMessage) -> Option<u32> {
    match message {
        ServerMessage::Welcome(m) => m.request_id,
        ServerMessage::Joined(m) => m.request_id,
        ServerMessage::Resumed(m) => m.request_id,
        ServerMessage::Answer(m) => m.request_id,
        ServerMessage::Ack(m) => m.request_id,
        ServerMessage::Explained(m) => m.request_id,
        ServerMessage::Ended(m) => m.request_id,
        ServerMessage::Error(m) => m.request_id,
        ServerMessage::Pong(m) => m.request_id,
        ServerMessage::InLobby(m) => m.request_id,
        _ => None,
    }
}

impl Agent {
    pub(super) fn new(
        url: String,
        token: String,
        options: ClientOptions,
        commands: mpsc::Receiver<ToAgent>,
        told: Told,
    ) -> Self {
        let ping_every = Duration::ZERO;
        let (pending, call) = (VecDeque::new(), None);
        Self { url, token, options, commands, told, ping_every, next_id: 0, pending, call }
    }

    pub(super) async fn run(mut self, opened: Opened) {
        let mut opened = Some(opened);
        while let Some(current) = opened.take() {
            let mut socket = self.begin(current);
            match self.serve(&mut socket).await {
                Stop::Unused => return self.goodbye(socket).await,
                Stop::Lost(code) => {
                    tracing::debug!(code, "agent WebSocket lost");
                    drop(socket);
                    opened = self.lost(code).await;
                }
            }
        }
        self.end_call(EndReason::unreachable()).await;
        // From here on every request is refused, until nobody holds the client.
        self.commands.close();
        while let Some(command) = self.commands.recv().await {
            refuse(command, RequestError::Closed);
        }
    }

    fn begin(&mut self, opened: Opened) -> Socket {
        let interval = u64::from(opened.welcome.ping_interval_ms.max(100));
        self.ping_every = Duration::from_millis(interval);
        self.told.welcome.send_replace(opened.welcome);
        opened.socket
    }

    async fn serve(&mut self, socket: &mut Socket) -> Stop {
        let mut heard = Instant::now();
        // Earlier than asked, so that a slow network does not make it late.
        let mut ping_at = heard + self.ping_every * 3 / 4;
        loop {
            let dead_at = heard + self.ping_every * 2;
            tokio::select! {
                command = self.commands.recv() => {
                    let Some(command) = command else { return Stop::Unused };
                    if self.command(socket, command).await.is_err() {
                        return Stop::Lost(None);
                    }
                }
                message = socket.next() => {
                    heard = Instant::now();
                    match message {
                        Some(Ok(Message::Text(text))) => self.text(socket, &text).await,
                        Some(Ok(Message::Close(frame))) => {
                            return Stop::Lost(frame.map(|f| f.code.into()));
                        }
                        Some(Ok(_)) => {}
                        Some(Err(_)) | None => return Stop::Lost(None),
                    }
                }
                () = sleep_until(ping_at) => {
                    ping_at = Instant::now() + self.ping_every * 3 / 4;
                    let ping = ClientMessage::Ping(Ping { request_id: None });
                    if self.send(socket, ping, None).await.is_err() {
                        return Stop::Lost(None);
                    }
                }
                () = sleep_until(dead_at) => return Stop::Lost(None),
            }
        }
    }

    async fn command(&mut self, socket: &mut Socket, command: ToAgent) -> Result<(), ()> {
        let (message, answer, join) = match command {
            ToAgent::Request(message, answer) => (message, answer, None),
            ToAgent::Join(message, sink, answer) => (message, answer, Some(sink)),
            ToAgent::Token(token, answer) => {
                let message = ClientMessage::Hello(hello(&token, &self.options));
                self.token = token;
                (message, answer, None)
            }
        };
        if self.pending.len() >= MAX_PENDING {
            let _ = answer.send(Err(RequestError::TooMany));
            return Ok(());
        }
        self.send(socket, message, Some((answer, join))).await
    }

    async fn send(
        &mut self,
        socket: &mut Socket,
        mut message: ClientMessage,
        waiting: Option<(Answer, Option<mpsc::Sender<FromAgent>>)>,
    ) -> Result<(), ()> {
        self.next_id = self.next_id.wrapping_add(1);
        let id = self.next_id;
        set_request_id(&mut message, id);
        if let Some((answer, join)) = waiting {
            self.pending.push_back(Pending { id, answer, join });
        }
        socket.send(Message::text(encode(&message))).await.map_err(|_| ())
    }

    async fn text(&mut self, socket: &mut Socket, text: &str) {
        let message = match decode_server(text) {
            Ok(message) => message,
            // A newer server may say what we do not know.
            Err(error) => return tracing::debug!(%error, "message ignored"),
        };
        if let ServerMessage::Welcome(welcome) = &message {
            self.told.welcome.send_replace(welcome.clone());
        }
        // Nobody may listen.
        match &message {
            ServerMessage::IncomingCall(call) => {
                let _ = self.told.incoming.send(Incoming::Rings(call.clone()));
            }
            ServerMessage::IncomingCallEnded(call) => {
                let _ = self.told.incoming.send(Incoming::Ended(call.clone()));
            }
            _ => {}
        }
        if let Some(id) = answered(&message)
            && let Some(at) = self.pending.iter().position(|p| p.id == id)
            && let Some(pending) = self.pending.remove(at)
        {
            return self.answer(socket, pending, message).await;
        }
        self.forward(socket, message).await;
    }

    async fn answer(&mut self, socket: &mut Socket, pending: Pending, message: ServerMessage) {
        match (&message, pending.join) {
            (ServerMessage::Error(reply), _) => {
                let _ = pending.answer.send(Err(RequestError::Refused(reply.clone())));
                return;
            }
            (ServerMessage::Joined(joined), Some(sink)) => {
                // One that it is in still, it is moved out of.
                self.end_call(EndReason::moved()).await;
                self.call = Some(Call {
                    id: joined.call_id.clone(),
                    resume_token: joined.resume_token.clone(),
                    grace: Duration::from_millis(u64::from(joined.resume_grace_ms)),
                    sink,
                });
            }
            (ServerMessage::InLobby(lobby), Some(sink)) => {
                // Nothing of it can be resumed: it has no token yet.
                let (id, resume_token) = (lobby.call_id.clone(), String::new());
                self.call = Some(Call { id, resume_token, grace: Duration::ZERO, sink });
            }
            // The call's task must see these in order with the changes around them.
            (ServerMessage::Ended(_) | ServerMessage::Answer(_), _) => {
                self.forward(socket, message.clone()).await;
            }
            _ => {}
        }
        let _ = pending.answer.send(Ok(message));
    }

    async fn forward(&mut self, socket: &mut Socket, message: ServerMessage) {
        let Some(call) = &mut self.call else { return };
        if let ServerMessage::Joined(joined) = &message
            && joined.call_id == call.id
        {
            // Let in from the lobby.
            call.resume_token.clone_from(&joined.resume_token);
            call.grace = Duration::from_millis(u64::from(joined.resume_grace_ms));
        }
        let ended = matches!(&message, ServerMessage::Ended(e) if e.call_id == call.id);
        let delivered = call.sink.send(FromAgent::Message(message)).await.is_ok();
        if ended {
            self.call = None;
        } else if !delivered && let Some(call) = self.call.take() {
            // Whoever asked for the call has let go of it.
            let leave = ClientMessage::Leave(Leave {
                request_id: None,
                call_id: call.id,
                for_everyone: false,
            });
            let _ = self.send(socket, leave, None).await;
        }
    }

    async fn end_call(&mut self, reason: EndReason) {
        if let Some(call) = self.call.take() {
            let _ = call.sink.send(FromAgent::Over(reason)).await;
        }
    }

    /// The WebSocket is gone: reconnect, and resume the call.
    async fn lost(&mut self, code: Option<u16>) -> Option<Opened> {
        for pending in self.pending.drain(..) {
            let _ = pending.answer.send(Err(RequestError::Disconnected));
        }
        match code {
            Some(close::TAKEN_OVER | close::NOT_TEXT | close::TOO_BIG) => return None,
            Some(close::GOING_AWAY) => self.end_call(EndReason::server_stopped()).await,
            _ => {}
        }
        if self.call.as_ref().is_some_and(|call| call.resume_token.is_empty()) {
            self.end_call(EndReason::unreachable()).await;
        }
        let mut give_up = None;
        if let Some(call) = &self.call {
            give_up = Some(Instant::now() + call.grace);
            let _ = call.sink.send(FromAgent::Lost).await;
        }
        let mut wait = self.options.reconnect_first;
        loop {
            // Full jitter: a server that comes back is not met by everyone at once.
            let jittered = wait.mul_f64(fastrand::f64());
            self.refusing(sleep(jittered)).await?;
            wait = (wait * 2).min(self.options.reconnect_most);
            if give_up.is_some_and(|at| Instant::now() >= at) {
                self.end_call(EndReason::unreachable()).await;
                give_up = None;
            }
            match self.reopen().await? {
                Ok(opened) => return Some(opened),
                Err(error) if error.is_transient() => {
                    tracing::debug!(%error, "reconnecting");
                }
                Err(error) => {
                    tracing::info!(%error, "reconnecting was refused");
                    return None;
                }
            }
        }
    }

    /// Waits while refusing requests. `None` when nobody holds the client any more.
    async fn refusing<T>(&mut self, wait: impl Future<Output = T>) -> Option<()> {
        tokio::pin!(wait);
        loop {
            tokio::select! {
                _ = &mut wait => return Some(()),
                command = self.commands.recv() => match command? {
                    ToAgent::Token(token, answer) => {
                        self.token = token;
                        let _ = answer.send(Err(RequestError::Disconnected));
                    }
                    command => refuse(command, RequestError::Disconnected),
                },
            }
        }
    }

    async fn reopen(&mut self) -> Option<Result<Opened, super::ConnectError>> {
        let (url, token, options) = (self.url.clone(), self.token.clone(), self.options.clone());
        let mut result = None;
        self.refusing(async { result = Some(open(&url, &token, &options).await) }).await?;
        let mut opened = match result? {
            Ok(opened) => opened,
            Err(error) => return Some(Err(error)),
        };
        if self.call.is_some() {
            let resumed = self.resume(&mut opened);
            match timeout(options.request_timeout, resumed).await {
                Ok(Ok(())) => {}
                _ => {
                    let lost = "lost while resuming".to_owned();
                    return Some(Err(super::ConnectError::WebSocket(lost)));
                }
            }
        }
        Some(Ok(opened))
    }

    async fn resume(&mut self, opened: &mut Opened) -> Result<(), ()> {
        let Some(call) = &mut self.call else { return Ok(()) };
        self.next_id = self.next_id.wrapping_add(1);
        let id = self.next_id;
        let resume_token = call.resume_token.clone();
        let resume = ClientMessage::Resume(Resume { request_id: Some(id), resume_token });
        opened.socket.send(Message::text(encode(&resume))).await.map_err(|_| ())?;
        loop {
            let Some(Ok(message)) = opened.socket.next().await else { return Err(()) };
            let Message::Text(text) = message else { continue };
            let Ok(message) = decode_server(&text) else { continue };
            match message {
                ServerMessage::Resumed(resumed) => {
                    call.resume_token.clone_from(&resumed.resume_token);
                    let back = FromAgent::Back { local_ip: opened.local_ip };
                    let _ =
                        call.sink.send(FromAgent::Message(ServerMessage::Resumed(resumed))).await;
                    let _ = call.sink.send(back).await;
                    return Ok(());
                }
                ServerMessage::Error(error) if error.request_id == Some(id) => {
                    tracing::info!(code = ?error.code, "resume was refused");
                    self.end_call(EndReason::unreachable()).await;
                    return Ok(());
                }
                _ => {}
            }
        }
    }

    /// Nobody holds the client any more: leave, and close.
    async fn goodbye(mut self, mut socket: Socket) {
        let close = async {
            if let Some(call) = self.call.take() {
                let leave = ClientMessage::Leave(Leave {
                    request_id: None,
                    call_id: call.id,
                    for_everyone: false,
                });
                let _ = self.send(&mut socket, leave, None).await;
            }
            let _ = socket.close(None).await;
        };
        let _ = timeout(GOODBYE, close).await;
    }
}

fn refuse(command: ToAgent, error: RequestError) {
    let (ToAgent::Request(_, answer) | ToAgent::Join(_, _, answer) | ToAgent::Token(_, answer)) =
        command;
    let _ = answer.send(Err(error));
}
