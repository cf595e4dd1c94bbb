//! The task behind a call: sockets, media, sources, ICE restarts.
//!
//! Owns: the `MediaPeer` and its two UDP sockets. Reads the clock once a turn.
//! Never: waits for the agent's task, which may wait for this one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use convoke_protocol::{
    ClientMessage, Demand, EncodingDemand, EndReason, Leave, OfferMessage, ServerMessage, Source,
    TransportRole,
};
use tokio::net::UdpSocket;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::sleep_until;

use super::agent::FromAgent;
use super::call::{CallEvent, SourceStart, TrackHandle};
use super::data::{self, ByChannel, CallData, OpenChannels};
use super::state::CallState;
use super::{AgentHandle, RequestError};
use crate::media::{Input, MediaEvent, MediaPeer, Packet, Received};
use crate::source::MediaSource;

/// Datagrams taken from one socket in one turn.
const BATCH: usize = 64;
/// The largest datagram.
const DATAGRAM: usize = 2_048;
/// Demands kept for tracks that have not started yet.
const DEMANDED_MAX: usize = 8;
/// The first wait before another ICE restart; doubled each time.
const RESTART_FIRST: Duration = Duration::from_secs(2);
const RESTART_MOST: Duration = Duration::from_secs(16);

type MakeSource = Box<dyn FnOnce(SourceStart) -> Box<dyn MediaSource> + Send>;

/// A track that is being sent.
pub(super) struct Running {
    handle: TrackHandle,
    make: Option<MakeSource>,
    source: Option<Box<dyn MediaSource>>,
    muted: bool,
}

impl Running {
    fn obey(&mut self, now: Instant, encodings: &[EncodingDemand]) {
        let Some(source) = &mut self.source else { return };
        for (index, encoding) in encodings.iter().enumerate() {
            source.set_active(now, index, encoding.active);
        }
    }

    pub(super) fn new(handle: TrackHandle, make: Option<MakeSource>, muted: bool) -> Self {
        Self { handle, make, source: None, muted }
    }
}

pub(super) struct Sockets {
    pub(super) send: UdpSocket,
    pub(super) receive: UdpSocket,
    /// The app chose the address: it does not follow the WebSocket's.
    pub(super) pinned: bool,
}

pub(super) enum ToDriver {
    Start(Running),
    Stop(usize),
    Pause(usize, bool),
    Write(usize, Packet),
    Keyframe(String),
    Data(CallData, oneshot::Sender<ByChannel>),
    Leave,
}

/// ICE restart of one transport.
#[derive(Debug, Default)]
struct Restart {
    /// When to try (again).
    at: Option<Instant>,
    wait: Duration,
    in_flight: bool,
}

/// The outcome of an `offer`.
struct Restarted {
    role: TransportRole,
    answer: Result<ServerMessage, RequestError>,
}

/// Where the call's task puts what the app sees.
pub(super) struct Told {
    pub(super) state: watch::Sender<Arc<CallState>>,
    pub(super) events: broadcast::Sender<CallEvent>,
    pub(super) packets: broadcast::Sender<Received>,
    pub(super) channels: Arc<OpenChannels>,
}

pub(super) struct Driver {
    agent: AgentHandle,
    peer: MediaPeer,
    sockets: Sockets,
    state: watch::Sender<Arc<CallState>>,
    events: broadcast::Sender<CallEvent>,
    packets: broadcast::Sender<Received>,
    channels: Arc<OpenChannels>,
    running: Vec<Running>,
    /// By the client's own id of the track.
    demanded: Vec<(String, Vec<EncodingDemand>)>,
    restarts: [Restart; 2],
    answers: (mpsc::Sender<Restarted>, mpsc::Receiver<Restarted>),
    reachable: bool,
    over: Option<Over>,
}

/// The call's end.
struct Over {
    reason: EndReason,
    /// Whether the server must be told.
    tell: bool,
}

fn index(role: TransportRole) -> usize {
    match role {
        TransportRole::Send => 0,
        TransportRole::Receive => 1,
    }
}

impl Driver {
    pub(super) fn new(agent: AgentHandle, peer: MediaPeer, sockets: Sockets, told: Told) -> Self {
        let Told { state, events, packets, channels } = told;
        Self {
            agent,
            peer,
            sockets,
            state,
            events,
            packets,
            channels,
            running: Vec::new(),
            demanded: Vec::new(),
            restarts: [Restart::default(), Restart::default()],
            answers: mpsc::channel(4),
            reachable: true,
            over: None,
        }
    }

    pub(super) async fn run(
        mut self,
        running: Vec<Running>,
        mut commands: mpsc::Receiver<ToDriver>,
        mut from_agent: mpsc::Receiver<FromAgent>,
    ) {
        let now = Instant::now();
        for track in running {
            self.start(now, track);
        }
        while self.over.is_none() {
            let deadline = self.turn(Instant::now());
            let wake = sleep_until(deadline.into());
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => {
                        let now = Instant::now();
                        self.command(now, command);
                        // What has queued up meanwhile belongs to the same turn.
                        for _ in 0..BATCH {
                            let Ok(more) = commands.try_recv() else { break };
                            self.command(now, more);
                        }
                    }
                    None => self.over = Some(Over { reason: EndReason::left(), tell: true }),
                },
                message = from_agent.recv() => match message {
                    Some(message) => self.message(Instant::now(), message).await,
                    None => self.end(EndReason::unreachable()),
                },
                Some(answer) = self.answers.1.recv() => self.restarted(Instant::now(), answer),
                _ = self.sockets.send.readable() => self.receive(TransportRole::Send),
                _ = self.sockets.receive.readable() => self.receive(TransportRole::Receive),
                () = wake => {}
            }
        }
        self.finish(from_agent).await;
    }

    async fn finish(mut self, from_agent: mpsc::Receiver<FromAgent>) {
        drop(from_agent);
        let now = Instant::now();
        self.peer.close(now);
        self.transmit();
        let Some(Over { reason, tell }) = self.over.take() else { return };
        self.tell(CallEvent::Ended(reason));
        if tell {
            let call_id = self.state.borrow().call_id.clone();
            let leave =
                ClientMessage::Leave(Leave { request_id: None, call_id, for_everyone: false });
            // When it fails, the server finds out by the silence.
            let _ = self.agent.request(leave).await;
        }
    }

    fn end(&mut self, reason: EndReason) {
        self.over = Some(Over { reason, tell: false });
    }

    fn tell(&self, event: CallEvent) {
        // An error only says that nobody listens.
        let _ = self.events.send(event);
    }

    /// Makes what is due, sends what is ready; returns when to come back.
    fn turn(&mut self, now: Instant) -> Instant {
        for at in 0..self.running.len() {
            let Some(track) = self.running.get_mut(at) else { break };
            let Some(source) = &mut track.source else { continue };
            if source.next_due().is_some_and(|due| due <= now) {
                let (line, packets) = (track.handle.line, source.take(now));
                for packet in packets {
                    self.write(now, line, packet);
                }
            }
        }
        self.restart_due(now);
        self.peer.handle(now, Input::Timeout);
        self.transmit();
        self.media_events(now);
        let sources = self.running.iter().filter_map(|t| t.source.as_ref()?.next_due());
        let restarts = self.restarts.iter().filter(|_| self.reachable).filter_map(|r| r.at);
        let soonest = sources.chain(restarts).chain(self.peer.next_timeout()).min();
        soonest.unwrap_or(now + Duration::from_secs(1))
    }

    fn write(&mut self, now: Instant, line: usize, packet: Packet) {
        // Before the transport is up packets go nowhere; encoders start before networks do.
        if self.peer.connected(TransportRole::Send)
            && let Err(error) = self.peer.write(now, line, packet)
        {
            tracing::debug!(%error, line, "packet dropped");
        }
    }

    fn transmit(&mut self) {
        while let Some(transmit) = self.peer.poll_transmit() {
            let socket = match transmit.transport {
                TransportRole::Send => &self.sockets.send,
                TransportRole::Receive => &self.sockets.receive,
            };
            // A full socket drops the datagram, as the network might.
            if let Err(error) = socket.try_send_to(&transmit.contents, transmit.destination) {
                tracing::trace!(%error, "datagram dropped");
            }
        }
    }

    fn receive(&mut self, role: TransportRole) {
        let now = Instant::now();
        let mut bytes = [0; DATAGRAM];
        for _ in 0..BATCH {
            let socket = match role {
                TransportRole::Send => &self.sockets.send,
                TransportRole::Receive => &self.sockets.receive,
            };
            // "Would block" ends the batch; other errors are about datagrams sent before.
            let (Ok((len, source)), Ok(local)) =
                (socket.try_recv_from(&mut bytes), socket.local_addr())
            else {
                return;
            };
            let bytes = bytes.get(..len).unwrap_or_default();
            self.peer.handle(now, Input::Datagram { transport: role, source, local, bytes });
        }
    }

    fn media_events(&mut self, now: Instant) {
        while let Some(event) = self.peer.poll_event() {
            match event {
                MediaEvent::Rtp(packet) => {
                    // An error only says that nobody listens.
                    let _ = self.packets.send(packet);
                }
                MediaEvent::Connected(role) => {
                    if let Some(restart) = self.restarts.get_mut(index(role)) {
                        *restart = Restart { in_flight: restart.in_flight, ..Restart::default() };
                    }
                    self.tell(CallEvent::MediaConnected(role));
                }
                MediaEvent::Disconnected(role) => {
                    self.want_restart(role, now);
                    self.tell(CallEvent::MediaDisconnected(role));
                }
                MediaEvent::Closed { transport, reason } => {
                    // The server says why on the WebSocket.
                    tracing::debug!(?transport, reason, "transport closed");
                }
                MediaEvent::KeyframeRequest { line, encoding } => {
                    self.keyframe_request(line, encoding);
                }
                MediaEvent::Estimate { bps } => self.tell(CallEvent::Estimate(bps)),
                MediaEvent::Data(data) => {
                    let event = data::from_channel(&self.state.borrow(), data);
                    self.tell(event);
                }
                MediaEvent::DataChannel { reliability, open } => {
                    self.channels.set(reliability, self.peer.data_open(reliability));
                    self.tell(CallEvent::DataChannel { reliability, open });
                }
            }
        }
    }

    fn keyframe_request(&mut self, line: usize, encoding: usize) {
        let Some(track) = self.running.iter_mut().find(|t| t.handle.line == line) else { return };
        if let Some(source) = &mut track.source {
            source.request_keyframe_of(encoding);
        }
        let track = track.handle.clone();
        self.tell(CallEvent::KeyframeRequest { track, encoding });
    }

    fn demand(&mut self, now: Instant, demand: Demand) {
        let Demand { client_id, encodings, .. } = demand;
        let Some(track) = self.running.iter_mut().find(|t| *t.handle.client_id == *client_id)
        else {
            // Of a track that is published just now: kept until it starts.
            self.demanded.retain(|(known, _)| *known != client_id);
            if self.demanded.len() < DEMANDED_MAX {
                self.demanded.push((client_id, encodings));
            }
            return;
        };
        track.obey(now, &encodings);
        let track = track.handle.clone();
        self.tell(CallEvent::Demand { track, encodings });
    }

    fn muted_by_others(&mut self, now: Instant, by: Option<String>) {
        let microphones =
            self.running.iter_mut().filter(|track| track.handle.source == Source::Microphone);
        for source in microphones.filter_map(|track| track.source.as_mut()) {
            source.set_paused(now, true);
        }
        self.tell(CallEvent::MutedByOthers(by));
    }

    fn start(&mut self, now: Instant, mut track: Running) {
        let csrc = self.state.borrow().own().map_or(0, |own| own.csrc);
        track.source = track.make.take().map(|make| make(SourceStart { csrc, now }));
        if let (true, Some(source)) = (track.muted, &mut track.source) {
            source.set_paused(now, true);
        }
        self.running.retain(|t| t.handle.line != track.handle.line);
        let is_it = |(known, _): &(String, _)| **known == *track.handle.client_id;
        let demanded = self.demanded.iter().position(is_it).map(|at| self.demanded.swap_remove(at));
        self.running.push(track);
        if let Some((client_id, encodings)) = demanded {
            let call_id = self.state.borrow().call_id.clone();
            self.demand(now, Demand { call_id, client_id, encodings });
        }
    }

    fn command(&mut self, now: Instant, command: ToDriver) {
        match command {
            ToDriver::Start(track) => self.start(now, track),
            ToDriver::Stop(line) => self.running.retain(|t| t.handle.line != line),
            ToDriver::Pause(line, muted) => {
                let track = self.running.iter_mut().find(|t| t.handle.line == line);
                if let Some(source) = track.and_then(|t| t.source.as_mut()) {
                    source.set_paused(now, muted);
                }
            }
            ToDriver::Write(line, packet) => self.write(now, line, packet),
            ToDriver::Keyframe(mid) => {
                self.peer.request_keyframe(now, &mid);
            }
            ToDriver::Data(data, answer) => {
                let message = data::to_channel(&self.state.borrow(), data);
                let sent = data::by_channel(self.peer.send_data(now, &message));
                // An error only says that nobody waits for it.
                let _ = answer.send(sent);
            }
            ToDriver::Leave => self.over = Some(Over { reason: EndReason::left(), tell: true }),
        }
    }

    async fn message(&mut self, now: Instant, message: FromAgent) {
        match message {
            FromAgent::Message(ServerMessage::Ended(ended)) => {
                if ended.call_id == self.state.borrow().call_id {
                    self.end(ended.reason);
                }
            }
            FromAgent::Message(ServerMessage::Demand(demand)) => {
                if demand.call_id == self.state.borrow().call_id {
                    self.demand(now, demand);
                }
            }
            FromAgent::Message(ServerMessage::Data(data)) => {
                let event = data::from_socket(&self.state.borrow(), &data);
                event.into_iter().for_each(|event| self.tell(event));
            }
            FromAgent::Message(ServerMessage::DataClosed(closed)) => {
                let event = data::closed(&self.state.borrow(), &closed);
                event.into_iter().for_each(|event| self.tell(event));
                self.channels.set(closed.reliability, false);
                self.peer.close_data(now, closed.reliability);
            }
            FromAgent::Message(ServerMessage::Moved(moved)) => {
                if moved.call_id == self.state.borrow().call_id {
                    self.tell(CallEvent::Moved(moved));
                }
            }
            FromAgent::Message(ServerMessage::MutedByOthers(muted)) => {
                if muted.call_id == self.state.borrow().call_id {
                    self.muted_by_others(now, muted.by);
                }
            }
            FromAgent::Message(message) => {
                let mut state = CallState::clone(&self.state.borrow());
                let call_id = state.call_id.clone();
                let stands = state.standing.apply(&call_id, &message);
                let change = state.apply(&message);
                if stands || change.is_some() {
                    self.state.send_replace(Arc::new(state));
                }
                if stands {
                    self.tell(CallEvent::Standing);
                }
                if let Some(change) = change {
                    self.tell(CallEvent::Changed(change));
                }
            }
            FromAgent::Lost => {
                self.reachable = false;
                self.tell(CallEvent::Reconnecting);
            }
            FromAgent::Back { local_ip } => {
                self.reachable = true;
                self.tell(CallEvent::Reconnected);
                if let Some(ip) = local_ip {
                    self.follow(now, ip).await;
                }
            }
            FromAgent::Over(reason) => self.end(reason),
        }
    }

    /// The WebSocket came back by another address: so must the media.
    async fn follow(&mut self, now: Instant, ip: IpAddr) {
        let moved = self.sockets.send.local_addr().is_ok_and(|addr| addr.ip() != ip);
        if !moved || self.sockets.pinned {
            return;
        }
        let (send, receive) = (UdpSocket::bind((ip, 0)).await, UdpSocket::bind((ip, 0)).await);
        if let (Ok(send), Ok(receive)) = (send, receive) {
            self.sockets = Sockets { send, receive, pinned: false };
            for role in [TransportRole::Send, TransportRole::Receive] {
                self.want_restart(role, now);
            }
        }
    }

    fn want_restart(&mut self, role: TransportRole, now: Instant) {
        if let (true, Some(restart)) = (self.peer.has(role), self.restarts.get_mut(index(role))) {
            restart.at = Some(now);
            restart.wait = RESTART_FIRST;
        }
    }

    fn restart_due(&mut self, now: Instant) {
        for role in [TransportRole::Send, TransportRole::Receive] {
            let Some(restart) = self.restarts.get_mut(index(role)) else { continue };
            let due = restart.at.is_some_and(|at| at <= now);
            if !due || !self.reachable {
                continue;
            }
            restart.at = Some(now + restart.wait);
            restart.wait = (restart.wait * 2).min(RESTART_MOST);
            if std::mem::replace(&mut restart.in_flight, true) {
                continue;
            }
            self.offer_restart(role);
        }
    }

    fn offer_restart(&mut self, role: TransportRole) {
        let socket = match role {
            TransportRole::Send => &self.sockets.send,
            TransportRole::Receive => &self.sockets.receive,
        };
        let Ok(sdp) = self.peer.restart_ice(role, socket.local_addr().ok()) else { return };
        let call_id = self.state.borrow().call_id.clone();
        let offer = OfferMessage { request_id: None, call_id, transport: role, sdp };
        let (agent, answers) = (self.agent.clone(), self.answers.0.clone());
        tokio::spawn(async move {
            let answer = agent.request(ClientMessage::Offer(offer)).await;
            // An error only says that the call is over.
            let _ = answers.send(Restarted { role, answer }).await;
        });
    }

    fn restarted(&mut self, now: Instant, restarted: Restarted) {
        let Restarted { role, answer } = restarted;
        if let Some(restart) = self.restarts.get_mut(index(role)) {
            restart.in_flight = false;
        }
        let result = match answer {
            Ok(ServerMessage::Answer(answer)) => {
                self.peer.accept_answer(now, role, &answer.sdp).map_err(|e| e.to_string())
            }
            Ok(_) => Err("an answer of another kind".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = result {
            tracing::debug!(error, ?role, "ICE restart failed; trying again later");
        }
    }
}
