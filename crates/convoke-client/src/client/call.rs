//! A joined call: the app's side.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use convoke_protocol::{
    ClientMessage, DataCloseReason, Encoding, EncodingDemand, EndReason, Explain, Explanation,
    InLobby, Join, Leave, LobbyPolicy, Moved, Mute, Publish, Reliability, ServerMessage,
    SessionDescription, SlotWish, Source, TrackDeclaration, TransportRole, Unpublish, ViewMessage,
};
use tokio::net::UdpSocket;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::agent::{FromAgent, ToAgent};
use super::data::{CallDataReceived, OpenChannels};
use super::driver::{Driver, Running, Sockets, ToDriver, Told};
use super::state::{CallChange, CallState};
use super::{AgentHandle, Client, RequestError};
use crate::media::{Codec, MediaConfig, MediaError, MediaPeer, Packet, Received, SendLine};
use crate::source::MediaSource;

/// Messages from the agent that may wait for the call's task.
const SINK: usize = 256;
/// Commands and packets that may wait for the call's task.
const COMMANDS: usize = 1_024;
/// Events that a slow reader may be behind; then it loses the oldest.
const EVENTS: usize = 256;
/// Packets that a slow reader may be behind; then it loses the oldest.
const PACKETS: usize = 4_096;

/// What a [`Publication`]'s source is told when it starts.
#[derive(Debug, Clone, Copy)]
pub struct SourceStart {
    /// The number by which receivers know this participant's packets.
    pub csrc: u32,
    /// Now.
    pub now: Instant,
}

type MakeSource = Box<dyn FnOnce(SourceStart) -> Box<dyn MediaSource> + Send>;

/// Something to publish.
pub struct Publication {
    /// What it is; also chooses the m-line.
    pub source: Source,
    /// Whether it starts muted.
    pub muted: bool,
    /// Its encodings, lowest first; empty to say nothing of them. Several have RIDs, for which the
    /// m-line is made when it is among [`JoinOptions::publish`].
    pub encodings: Vec<Encoding>,
    /// Whether its payloads are encrypted end to end: the server then goes by header extensions.
    pub encrypted: bool,
    make: Option<MakeSource>,
}

impl std::fmt::Debug for Publication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publication").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Publication {
    /// A track whose packets the app gives to [`Call::write`].
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self { source, muted: false, encodings: Vec::new(), encrypted: false, make: None }
    }

    /// A track whose packets a [`MediaSource`] makes; it is paused while muted, hears keyframe
    /// requests, and sends the encodings that somebody wants.
    #[must_use]
    pub fn with_source(
        source: Source,
        make: impl FnOnce(SourceStart) -> Box<dyn MediaSource> + Send + 'static,
    ) -> Self {
        Self { make: Some(Box::new(make)), ..Self::new(source) }
    }

    /// The same with these encodings, lowest first.
    #[must_use]
    pub fn with_encodings(mut self, encodings: Vec<Encoding>) -> Self {
        self.encodings = encodings;
        self
    }

    fn rids(&self) -> Vec<Arc<str>> {
        self.encodings
            .iter()
            .filter_map(|encoding| encoding.rid.as_deref())
            .map(Arc::from)
            .collect()
    }
}

/// How to join.
#[derive(Debug)]
pub struct JoinOptions {
    /// Audio slots to offer; what the server advises when absent.
    pub audio_slots: Option<usize>,
    /// Video slots to offer; what the server advises when absent.
    pub video_slots: Option<usize>,
    /// m-lines to offer for sending; empty for a viewer.
    pub send: Vec<Source>,
    /// What to publish from the start.
    pub publish: Vec<Publication>,
    /// Video codecs to offer, best first.
    pub video_codecs: Vec<Codec>,
    /// See [`MediaConfig::estimate_from_bps`].
    pub estimate_from_bps: Option<u64>,
    /// See [`MediaConfig::dependency_descriptor`].
    pub dependency_descriptor: bool,
    /// Who shall wait in the lobby, if this join starts the call; the server's default when absent.
    pub lobby: Option<LobbyPolicy>,
    /// Told when the join must wait in the lobby; it goes on until the participant is let in, turned
    /// away, or drops it.
    pub in_lobby: Option<oneshot::Sender<InLobby>>,
    /// See [`MediaConfig::data_channel`]. Without, data messages go by the WebSocket.
    pub data_channel: bool,
}

impl Default for JoinOptions {
    fn default() -> Self {
        Self {
            audio_slots: None,
            video_slots: None,
            send: vec![Source::Microphone, Source::Camera, Source::Screen, Source::ScreenAudio],
            publish: Vec::new(),
            video_codecs: Codec::VIDEO.to_vec(),
            estimate_from_bps: None,
            dependency_descriptor: false,
            lobby: None,
            in_lobby: None,
            data_channel: true,
        }
    }
}

/// Why a call was not joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The server refused, or could not be asked.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The offers could not be made, or the answers not be used.
    #[error("media: {0}")]
    Media(#[from] MediaError),
    /// The participant waited in the lobby, and was not let in.
    #[error("not let in: {}", .0.message)]
    Ended(EndReason),
    /// No media socket could be had.
    #[error("media socket: {0}")]
    Socket(#[from] std::io::Error),
    /// Something is to be published for which no m-line is offered.
    #[error("{0:?} is to be published but not among the lines to send")]
    NoLine(Source),
}

/// Why a packet was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The call's task is behind; the packet is dropped.
    #[error("the call is behind; the packet is dropped")]
    Full,
    /// The call is over.
    #[error("the call is over")]
    Ended,
}

/// What happens in a call.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum CallEvent {
    /// Roster or slots changed.
    Changed(CallChange),
    /// A transport is up.
    MediaConnected(TransportRole),
    /// A transport lost its peer; the client restarts ICE by itself.
    MediaDisconnected(TransportRole),
    /// The WebSocket is lost; media goes on, the client reconnects.
    Reconnecting,
    /// The WebSocket is back and the state fresh.
    Reconnected,
    /// The server wants a keyframe on a track. Tracks with a [`MediaSource`] have been told.
    KeyframeRequest {
        /// Which track.
        track: TrackHandle,
        /// Which of its encodings, as in [`Packet::encoding`].
        encoding: usize,
    },
    /// Which encodings of a track anybody wants changed: those and no others should be sent, and one
    /// that is newly wanted should begin with a keyframe. Tracks with a [`MediaSource`] do so.
    Demand {
        /// Which track.
        track: TrackHandle,
        /// All its encodings, lowest first.
        encodings: Vec<EncodingDemand>,
    },
    /// The uplink's estimated bandwidth, in bit/s.
    Estimate(u64),
    /// What stands beside roster and slots changed: look at [`CallState::standing`].
    Standing,
    /// Someone muted this client's microphone: a participant, or a service. A [`MediaSource`] is
    /// paused.
    MutedByOthers(Option<String>),
    /// A service moves this client into another call: see [`Client::follow`]. May come again.
    Moved(Moved),
    /// A data message came.
    Data(CallDataReceived),
    /// A data channel opened or closed. While it is closed messages go by the WebSocket.
    DataChannel {
        /// Which.
        reliability: Reliability,
        /// Whether it is open now.
        open: bool,
    },
    /// The server closed a data channel of ours: messages go by the WebSocket from now on.
    DataClosed {
        /// Which.
        reliability: Reliability,
        /// Why.
        reason: DataCloseReason,
        /// How long the server wants no other one opened, where waiting helps.
        retry_after: Option<Duration>,
    },
    /// The reader was slow and missed so many events.
    Lagged(u64),
    /// The call is over. The last event.
    Ended(EndReason),
}

/// A published track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackHandle {
    pub(super) line: usize,
    pub(super) client_id: Arc<str>,
    pub(super) source: Source,
}

impl TrackHandle {
    /// The client's own id of the track.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// What it carries.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }
}

/// A reader of a call's events.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<CallEvent>);

impl Events {
    /// The next event; `None` when the call is over and all events are read.
    pub async fn next(&mut self) -> Option<CallEvent> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(CallEvent::Lagged(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// A reader of a call's received packets.
#[derive(Debug)]
pub struct Packets {
    receiver: broadcast::Receiver<Received>,
    missed: u64,
}

impl Packets {
    /// The next packet; `None` when the call is over and all packets are read.
    pub async fn next(&mut self) -> Option<Received> {
        loop {
            match self.receiver.recv().await {
                Ok(packet) => return Some(packet),
                Err(broadcast::error::RecvError::Lagged(missed)) => self.missed += missed,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// Packets that this reader lost because it was slow.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

/// A joined call. Cheap to clone; dropping the last clone leaves the call.
#[derive(Debug, Clone)]
pub struct Call {
    pub(super) agent: AgentHandle,
    pub(super) commands: mpsc::Sender<ToDriver>,
    events: broadcast::WeakSender<CallEvent>,
    packets: broadcast::WeakSender<Received>,
    state: watch::Receiver<Arc<CallState>>,
    lines: Arc<[(Source, String)]>,
    tracks: Arc<[TrackHandle]>,
    pub(super) channels: Arc<OpenChannels>,
}

async fn bind(ip: IpAddr) -> std::io::Result<UdpSocket> {
    UdpSocket::bind(SocketAddr::new(ip, 0)).await
}

/// What a join offers.
pub(super) struct Media {
    pub(super) send: Option<SessionDescription>,
    pub(super) receive: Option<SessionDescription>,
    pub(super) tracks: Vec<TrackDeclaration>,
    pub(super) lobby: Option<LobbyPolicy>,
}

impl Media {
    /// The join of a group call or a scheduled room.
    pub(super) fn join(self, group_id: String, room_id: Option<String>) -> ClientMessage {
        let Self { send, receive, tracks, lobby } = self;
        ClientMessage::Join(Join {
            request_id: None,
            group_id,
            room_id,
            send,
            receive,
            tracks,
            lobby,
        })
    }
}

/// Comes into a call by the message that `ask` makes.
pub(super) async fn join(
    client: &Client,
    ask: impl FnOnce(Media) -> ClientMessage,
    mut options: JoinOptions,
) -> Result<Call, JoinError> {
    let ip = client.local_ip.unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let (send, receive) = (bind(ip).await?, bind(ip).await?);
    let limits = client.welcome().limits;
    let advised = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let line = |source: &Source| {
        let published = options.publish.iter().find(|publication| publication.source == *source);
        let rids = published.map(Publication::rids).unwrap_or_default();
        SendLine { rids, ..SendLine::new(*source) }
    };
    let config = MediaConfig {
        send: options.send.iter().map(line).collect(),
        audio_slots: options.audio_slots.unwrap_or_else(|| advised(limits.audio_slots)),
        video_slots: options.video_slots.unwrap_or_else(|| advised(limits.video_slots)),
        video_codecs: options.video_codecs.clone(),
        send_addr: send.local_addr()?,
        receive_addr: receive.local_addr()?,
        estimate_from_bps: options.estimate_from_bps,
        dependency_descriptor: options.dependency_descriptor,
        data_channel: options.data_channel,
    };
    let (mut peer, offers) = MediaPeer::new(config, fastrand::u64(..), Instant::now())?;
    let lines: Arc<[(Source, String)]> =
        options.send.iter().copied().zip(offers.send_mids).collect();
    let mut tracks = Vec::new();
    for publication in &options.publish {
        tracks.push(declare(&lines, publication)?);
    }
    let (handles, declarations): (Vec<TrackHandle>, Vec<TrackDeclaration>) =
        tracks.into_iter().unzip();

    let describe = |sdp: Option<String>| sdp.map(|sdp| SessionDescription { sdp });
    let message = ask(Media {
        send: describe(offers.send),
        receive: describe(offers.receive),
        tracks: declarations,
        lobby: options.lobby,
    });
    let (sink, mut from_agent) = mpsc::channel::<FromAgent>(SINK);
    let mut answer = client.agent.ask(|answer| ToAgent::Join(message, sink, answer)).await?;
    if let ServerMessage::InLobby(lobby) = answer {
        if let Some(told) = options.in_lobby.take() {
            // Whoever asked may have lost interest.
            let _ = told.send(lobby);
        }
        answer = admitted(&mut from_agent).await?;
    }
    let (ServerMessage::Joined(joined), Some(state)) = (&answer, CallState::from_joined(&answer))
    else {
        return Err(RequestError::Unexpected.into());
    };
    // If an answer is unusable, dropping `from_agent` makes the agent leave.
    let sdp = |answer: &Option<SessionDescription>| answer.as_ref().map(|a| a.sdp.clone());
    let (send_sdp, receive_sdp) = (sdp(&joined.send), sdp(&joined.receive));
    peer.accept_answers(Instant::now(), send_sdp.as_deref(), receive_sdp.as_deref())?;

    let running: Vec<Running> = handles
        .iter()
        .zip(options.publish.drain(..))
        .map(|(handle, p)| Running::new(handle.clone(), p.make, p.muted))
        .collect();
    let sockets = Sockets { send, receive, pinned: client.options.bind.is_some() };
    let parts = Spawn { peer, sockets, from_agent, state, running };
    Ok(parts.spawn(client.agent.clone(), lines, handles.into()))
}

/// Waits in the lobby; if this is dropped the agent leaves it.
async fn admitted(from_agent: &mut mpsc::Receiver<FromAgent>) -> Result<ServerMessage, JoinError> {
    loop {
        match from_agent.recv().await {
            Some(FromAgent::Message(joined @ ServerMessage::Joined(_))) => return Ok(joined),
            Some(FromAgent::Message(ServerMessage::Ended(ended))) => {
                return Err(JoinError::Ended(ended.reason));
            }
            Some(FromAgent::Over(reason)) => return Err(JoinError::Ended(reason)),
            Some(_) => {}
            None => return Err(RequestError::Closed.into()),
        }
    }
}

struct Spawn {
    peer: MediaPeer,
    sockets: Sockets,
    from_agent: mpsc::Receiver<FromAgent>,
    state: CallState,
    running: Vec<Running>,
}

impl Spawn {
    fn spawn(
        self,
        agent: AgentHandle,
        lines: Arc<[(Source, String)]>,
        tracks: Arc<[TrackHandle]>,
    ) -> Call {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (events, _) = broadcast::channel(EVENTS);
        let (packets, _) = broadcast::channel(PACKETS);
        let (publish_state, state) = watch::channel(Arc::new(self.state));
        let call = Call {
            agent: agent.clone(),
            commands,
            events: events.downgrade(),
            packets: packets.downgrade(),
            state,
            lines,
            tracks,
            channels: Arc::default(),
        };
        let told = Told { state: publish_state, events, packets, channels: call.channels.clone() };
        let driver = Driver::new(agent, self.peer, self.sockets, told);
        tokio::spawn(driver.run(self.running, receiver, self.from_agent));
        call
    }
}

/// The handle and declaration of a track on the first line of its source.
fn declare(
    lines: &[(Source, String)],
    publication: &Publication,
) -> Result<(TrackHandle, TrackDeclaration), JoinError> {
    let source = publication.source;
    let found = lines.iter().enumerate().find(|(_, (s, _))| *s == source);
    let (line, (_, mid)) = found.ok_or(JoinError::NoLine(source))?;
    let client_id = format!("{source:?}").to_lowercase();
    let declaration = TrackDeclaration {
        client_id: client_id.clone(),
        source,
        mid: mid.clone(),
        muted: publication.muted,
        encodings: publication.encodings.clone(),
        encrypted: publication.encrypted,
    };
    Ok((TrackHandle { line, client_id: client_id.into(), source }, declaration))
}

/// An `ack` and nothing else.
pub(super) fn acked(answer: &ServerMessage) -> Result<(), RequestError> {
    match answer {
        ServerMessage::Ack(_) => Ok(()),
        _ => Err(RequestError::Unexpected),
    }
}

impl Call {
    /// The call as it is now.
    #[must_use]
    pub fn state(&self) -> Arc<CallState> {
        self.state.borrow().clone()
    }

    pub(super) fn call_id(&self) -> String {
        self.state.borrow().call_id.clone()
    }

    /// A reader of everything that happens from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        Events(subscribe(&self.events))
    }

    /// A reader of every packet received from now on.
    #[must_use]
    pub fn packets(&self) -> Packets {
        Packets { receiver: subscribe(&self.packets), missed: 0 }
    }

    /// The tracks that were published with the join, in that order.
    #[must_use]
    pub fn tracks(&self) -> &[TrackHandle] {
        &self.tracks
    }

    /// Publishes a track on the m-line of its source.
    ///
    /// # Errors
    /// When there is no such m-line, or the server refuses.
    pub async fn publish(&self, publication: Publication) -> Result<TrackHandle, JoinError> {
        let (handle, track) = declare(&self.lines, &publication)?;
        let call_id = self.call_id();
        let message = ClientMessage::Publish(Publish { request_id: None, call_id, track });
        acked(&self.agent.request(message).await?)?;
        let running = Running::new(handle.clone(), publication.make, publication.muted);
        let command = ToDriver::Start(running);
        self.commands.send(command).await.map_err(|_| RequestError::Closed)?;
        Ok(handle)
    }

    /// Stops publishing a track.
    ///
    /// # Errors
    /// When the server refuses or cannot be asked.
    pub async fn unpublish(&self, track: &TrackHandle) -> Result<(), RequestError> {
        // The source stops at once, whatever the server says.
        let stop = ToDriver::Stop(track.line);
        self.commands.send(stop).await.map_err(|_| RequestError::Closed)?;
        let (call_id, client_id) = (self.call_id(), track.client_id.to_string());
        let message = ClientMessage::Unpublish(Unpublish { request_id: None, call_id, client_id });
        acked(&self.agent.request(message).await?)
    }

    /// Mutes or unmutes a track. The server forwards nothing of a muted track; a [`MediaSource`]
    /// is paused as well.
    ///
    /// # Errors
    /// When the server refuses or cannot be asked.
    pub async fn mute(&self, track: &TrackHandle, muted: bool) -> Result<(), RequestError> {
        let pause = ToDriver::Pause(track.line, muted);
        let (call_id, client_id) = (self.call_id(), track.client_id.to_string());
        let message = ClientMessage::Mute(Mute { request_id: None, call_id, client_id, muted });
        if muted {
            // Silence first, then say so.
            self.commands.send(pause).await.map_err(|_| RequestError::Closed)?;
            return acked(&self.agent.request(message).await?);
        }
        acked(&self.agent.request(message).await?)?;
        self.commands.send(pause).await.map_err(|_| RequestError::Closed)
    }

    /// Says what the video slots should show; `None` returns them to the server's policy.
    ///
    /// # Errors
    /// When the server refuses or cannot be asked.
    pub async fn set_view(&self, slots: Option<Vec<SlotWish>>) -> Result<(), RequestError> {
        let call_id = self.call_id();
        let message = ClientMessage::View(ViewMessage { request_id: None, call_id, slots });
        acked(&self.agent.request(message).await?)
    }

    /// Asks what this participant sends and receives, and why.
    ///
    /// # Errors
    /// When the server refuses or cannot be asked.
    pub async fn explain(&self) -> Result<Explanation, RequestError> {
        let message = ClientMessage::Explain(Explain { request_id: None, call_id: self.call_id() });
        match self.agent.request(message).await? {
            ServerMessage::Explained(explained) => Ok(explained.explanation),
            _ => Err(RequestError::Unexpected),
        }
    }

    /// Sends a packet of a track that has no [`MediaSource`].
    ///
    /// # Errors
    /// When the call is behind or over. A packet of a wrong codec is dropped and logged.
    pub fn write(&self, track: &TrackHandle, packet: Packet) -> Result<(), WriteError> {
        self.commands.try_send(ToDriver::Write(track.line, packet)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => WriteError::Full,
            mpsc::error::TrySendError::Closed(_) => WriteError::Ended,
        })
    }

    /// Asks for a keyframe on a slot, by its `mid`.
    ///
    /// # Errors
    /// When the call is behind or over.
    pub fn request_keyframe(&self, mid: &str) -> Result<(), WriteError> {
        let command = ToDriver::Keyframe(mid.to_owned());
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => WriteError::Full,
            mpsc::error::TrySendError::Closed(_) => WriteError::Ended,
        })
    }

    /// Leaves the call.
    ///
    /// # Errors
    /// When the server cannot be told; the client leaves all the same.
    pub async fn leave(&self) -> Result<(), RequestError> {
        let message = ClientMessage::Leave(Leave {
            request_id: None,
            call_id: self.call_id(),
            for_everyone: false,
        });
        let answer = self.agent.request(message).await;
        // Closed already: the `ended` got there first.
        let _ = self.commands.send(ToDriver::Leave).await;
        match answer? {
            ServerMessage::Ended(_) => Ok(()),
            _ => Err(RequestError::Unexpected),
        }
    }
}

/// A receiver; of a call that is over, one that says so.
fn subscribe<T: Clone>(sender: &broadcast::WeakSender<T>) -> broadcast::Receiver<T> {
    match sender.upgrade() {
        Some(sender) => sender.subscribe(),
        None => broadcast::channel(1).1,
    }
}
