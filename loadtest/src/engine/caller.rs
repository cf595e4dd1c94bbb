//! One caller's media: its peer, its sources, its sockets, what it measures.
//!
//! Owns: what is due when.
//! Never: reads a clock or waits; its thread does.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use convoke_client::link::LinkConfig;
use convoke_client::media::{Input, MediaEvent, MediaPeer, Transmit};
use convoke_client::source::{AudioSource, LayeredSource, MediaSource};
use convoke_protocol::TransportRole;
use tokio::sync::mpsc::UnboundedSender;

use super::path::Path;
use super::socket::{Batch, CallerSocket, Sender};
use crate::figures::Figures;
use crate::meter::Meter;

/// The silence of a microphone, and speech (RFC 6464).
pub const SILENT: u8 = 127;
/// See [`SILENT`].
pub const SPEAKING: u8 = 25;
/// Reads of one socket before its thread looks at others.
const READS_MAX: usize = 8;

/// What a caller's session hears of its media.
#[derive(Debug)]
pub enum CallerEvent {
    /// A transport is up.
    Connected(TransportRole),
    /// A transport lost the server.
    Disconnected(TransportRole),
    /// A transport is over.
    Closed(String),
    /// The first sound came.
    FirstSound(Instant),
    /// The first picture could be shown.
    FirstFrame(Instant),
}

/// What a track sends.
#[derive(Debug)]
pub enum Sending {
    /// A microphone.
    Audio(AudioSource),
    /// A camera.
    Video(LayeredSource),
}

impl Sending {
    fn source(&mut self) -> &mut dyn MediaSource {
        match self {
            Self::Audio(source) => source,
            Self::Video(source) => source,
        }
    }

    fn next_due(&self) -> Option<Instant> {
        match self {
            Self::Audio(source) => source.next_due(),
            Self::Video(source) => source.next_due(),
        }
    }
}

/// A track that is sent.
#[derive(Debug)]
pub struct Sent {
    /// The peer's send line.
    pub line: usize,
    /// What is sent on it.
    pub sending: Sending,
}

/// A caller that an engine takes.
#[derive(Debug)]
pub struct NewCaller {
    /// The number by which it is known.
    pub visit: u64,
    /// Its peer, with answered offers.
    pub peer: MediaPeer,
    /// Its socket for sending, if it sends.
    pub send: Option<std::net::UdpSocket>,
    /// Its socket for receiving, if it receives.
    pub receive: Option<std::net::UdpSocket>,
    /// What it sends.
    pub sent: Vec<Sent>,
    /// What its way up and its way down are like, where they are impaired.
    pub paths: [Option<LinkConfig>; 2],
    /// Measures what it receives.
    pub meter: Meter,
    /// Where its session listens.
    pub events: UnboundedSender<CallerEvent>,
}

/// A datagram that came over an impaired path.
type Arriving = (TransportRole, SocketAddr, Vec<u8>);

/// See the module.
pub(super) struct Caller {
    peer: MediaPeer,
    sockets: [Option<CallerSocket>; 2],
    sent: Vec<Sent>,
    up: Option<Path<Transmit>>,
    down: Option<Path<Arriving>>,
    meter: Meter,
    events: UnboundedSender<CallerEvent>,
    /// The deadline that stands in its thread's heap.
    pub(super) scheduled: Option<Instant>,
}

/// The place of a transport's socket.
pub(super) fn place(role: TransportRole) -> usize {
    match role {
        TransportRole::Send => 0,
        TransportRole::Receive => 1,
    }
}

const ROLES: [TransportRole; 2] = [TransportRole::Send, TransportRole::Receive];

impl Caller {
    pub(super) fn new(new: NewCaller) -> std::io::Result<Self> {
        let [up, down] = new.paths;
        let socket = |socket: Option<_>| socket.map(CallerSocket::new).transpose();
        Ok(Self {
            peer: new.peer,
            sockets: [socket(new.send)?, socket(new.receive)?],
            sent: new.sent,
            up: up.map(|config| Path::new(config, new.visit * 2)),
            down: down.map(|config| Path::new(config, new.visit * 2 + 1)),
            meter: new.meter,
            events: new.events,
            scheduled: None,
        })
    }

    pub(super) fn sockets(&mut self) -> impl Iterator<Item = (usize, &mut CallerSocket)> {
        let numbered = self.sockets.iter_mut().enumerate();
        numbered.filter_map(|(place, socket)| Some((place, socket.as_mut()?)))
    }

    /// Reads a socket that has something; `true` when it may have more.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        place: usize,
        batch: &mut Batch,
        figures: &mut Figures,
    ) -> bool {
        let Some(role) = ROLES.get(place).copied() else { return false };
        for _ in 0..READS_MAX {
            let Self { peer, sockets, down, meter, events, sent, .. } = self;
            let Some(socket) = sockets.get(place).and_then(Option::as_ref) else { return false };
            let local = socket.local;
            let more = batch.read(socket, |source, bytes| match down {
                Some(path) => path.send(now, bytes, || (role, source, bytes.to_vec())),
                None => {
                    peer.handle(now, Input::Datagram { transport: role, source, local, bytes });
                    take_events(now, peer, meter, events, sent, figures);
                }
            });
            if !more {
                return false;
            }
        }
        true
    }

    /// Does what is due, and sends what is ready.
    pub(super) fn turn(&mut self, now: Instant, sender: &mut Sender, figures: &mut Figures) {
        self.arrivals(now, figures);
        self.send_media(now, figures);
        self.peer.handle(now, Input::Timeout);
        let Self { peer, meter, events, sent, .. } = self;
        if take_events(now, peer, meter, events, sent, figures) {
            // A keyframe was asked for.
            peer.handle(now, Input::Timeout);
        }
        self.transmit(now, sender, figures);
    }

    fn arrivals(&mut self, now: Instant, figures: &mut Figures) {
        let Self { peer, sockets, down, meter, events, sent, .. } = self;
        let Some(path) = down else { return };
        while let Some((role, source, bytes)) = path.arrived(now) {
            let socket = sockets.get(place(role)).and_then(Option::as_ref);
            let Some(local) = socket.map(|socket| socket.local) else { continue };
            let bytes = bytes.as_slice();
            peer.handle(now, Input::Datagram { transport: role, source, local, bytes });
            take_events(now, peer, meter, events, sent, figures);
        }
        figures.impaired_down += path.take_lost();
    }

    fn send_media(&mut self, now: Instant, figures: &mut Figures) {
        let connected = self.peer.connected(TransportRole::Send);
        for Sent { line, sending } in &mut self.sent {
            if sending.next_due().is_none_or(|due| due > now) {
                continue;
            }
            // Until the transport is up packets go nowhere: encoders start before networks do.
            for packet in sending.source().take(now) {
                let bytes = packet.payload.len() as u64;
                if connected && self.peer.write(now, *line, packet).is_ok() {
                    figures.sent_packets += 1;
                    figures.sent_bytes += bytes;
                }
            }
        }
    }

    fn transmit(&mut self, now: Instant, sender: &mut Sender, figures: &mut Figures) {
        let mut used: Option<usize> = None;
        loop {
            let transmit = match &mut self.up {
                Some(path) => {
                    while let Some(transmit) = self.peer.poll_transmit() {
                        let bytes = transmit.contents.clone();
                        path.send(now, &bytes, || transmit);
                    }
                    figures.impaired_up += path.take_lost();
                    path.arrived(now)
                }
                None => self.peer.poll_transmit(),
            };
            let Some(transmit) = transmit else { break };
            let to = place(transmit.transport);
            if used.is_some_and(|used| used != to) {
                self.flush(used, sender);
            }
            if let Some(socket) = self.sockets.get(to).and_then(Option::as_ref) {
                sender.push(socket, transmit.destination, &transmit.contents);
                used = Some(to);
            }
        }
        self.flush(used, sender);
        figures.unsent += std::mem::take(&mut sender.unsent);
    }

    fn flush(&self, place: Option<usize>, sender: &mut Sender) {
        let socket = place.and_then(|place| self.sockets.get(place)?.as_ref());
        if let Some(socket) = socket {
            sender.flush(socket);
        }
    }

    /// When [`Self::turn`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let sources = self.sent.iter().filter_map(|sent| sent.sending.next_due());
        let up = self.up.as_ref().and_then(Path::next_arrival);
        let down = self.down.as_ref().and_then(Path::next_arrival);
        sources.chain(up).chain(down).chain(self.peer.next_timeout()).min()
    }

    /// Which encodings of the track on a line anybody wants.
    pub(super) fn demand(&mut self, now: Instant, line: usize, active: &[bool]) {
        if let Some(sent) = self.sent.iter_mut().find(|sent| sent.line == line) {
            for (encoding, active) in active.iter().enumerate() {
                sent.sending.source().set_active(now, encoding, *active);
            }
        }
    }

    /// Somebody begins or ends to speak.
    pub(super) fn speak(&mut self, speaks: bool) {
        for sent in &mut self.sent {
            if let Sending::Audio(source) = &mut sent.sending {
                source.set_level(if speaks { SPEAKING } else { SILENT });
            }
        }
    }

    pub(super) fn rest(&mut self, slot: usize) {
        self.meter.rest(slot);
    }

    /// A second is over: measures what is measured now and then.
    pub(super) fn sample(&mut self, rebase: bool, figures: &mut Figures) {
        self.meter.skew(figures);
        if rebase {
            self.meter.rebase();
        }
    }

    /// Says goodbye.
    pub(super) fn close(&mut self, now: Instant, sender: &mut Sender, figures: &mut Figures) {
        self.peer.close(now);
        self.up = None;
        self.transmit(now, sender, figures);
    }

    /// Answers a server's offer for receiving.
    pub(super) fn answer(&mut self, now: Instant, offer: &str) -> Result<String, String> {
        let socket = self.sockets.get(place(TransportRole::Receive)).and_then(Option::as_ref);
        let local = socket.map(|socket| socket.local).ok_or("it has no socket for receiving")?;
        self.peer.answer_offer(now, local, offer).map_err(|error| error.to_string())
    }
}

/// Takes what the peer has to tell; `true` when a keyframe was asked for.
fn take_events(
    now: Instant,
    peer: &mut MediaPeer,
    meter: &mut Meter,
    events: &UnboundedSender<CallerEvent>,
    sent: &mut [Sent],
    figures: &mut Figures,
) -> bool {
    let mut asked = false;
    // An error of `send` only says that the session is over.
    let tell = |event| drop(events.send(event));
    while let Some(event) = peer.poll_event() {
        match event {
            MediaEvent::Rtp(packet) => {
                let outcome = meter.packet(&packet, figures);
                if outcome.first_sound {
                    tell(CallerEvent::FirstSound(now));
                }
                if outcome.first_frame {
                    tell(CallerEvent::FirstFrame(now));
                }
                if let Some(mid) = outcome.keyframe {
                    asked |= peer.request_keyframe(now, &mid);
                }
            }
            MediaEvent::KeyframeRequest { line, encoding } => {
                figures.keyframe_requests_received += 1;
                if let Some(sent) = sent.iter_mut().find(|sent| sent.line == line) {
                    sent.sending.source().request_keyframe_of(encoding);
                }
            }
            MediaEvent::Connected(role) => tell(CallerEvent::Connected(role)),
            MediaEvent::Disconnected(role) => tell(CallerEvent::Disconnected(role)),
            MediaEvent::Closed { reason, .. } => tell(CallerEvent::Closed(reason)),
            _ => {}
        }
    }
    asked
}

/// How soon a caller whose peer has no deadline is looked at again.
pub(super) const IDLE: Duration = Duration::from_secs(1);
