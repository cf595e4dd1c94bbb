//! A call in virtual time: one worker, native peers, a network that takes a step each way.
//!
//! Owns: what counts as the server's work: everything in [`World::serve`], nothing else.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use convoke_client::media::{Input as PeerInput, MediaConfig, MediaEvent, MediaPeer, SendLine};
use convoke_core::{
    Action, Command, Entropy, Event, Input, JoinRequest, Mid, Outbox, ParticipantId, Permissions,
    Reply, RequestId, RoomId, Source, TrackDeclaration, Transmit, Worker, WorkerConfig,
};
use convoke_protocol::{Source as WireSource, TransportRole};

use crate::video::Video;

/// As late as the shell sees a deadline at most.
pub(crate) const STEP: Duration = Duration::from_millis(1);

const SERVER: ([u8; 4], u16) = ([127, 0, 0, 1], 9_000);
const ROOM: RoomId = RoomId(7);
const FIRST_PORT: usize = 10_000;

/// Who joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joiner {
    /// Sends a camera's video, and has slots.
    Publisher,
    /// Has slots alone.
    Viewer,
    /// Has lines to send on and slots, as an app has, and publishes nothing.
    Idle,
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) worker: Worker,
    /// Whether the server's work is measured now.
    pub(crate) measuring: bool,
    /// The time that measured work took.
    pub(crate) spent: Duration,
    /// What the first peer sends.
    pub(crate) video: Option<Video>,
    pub(crate) connected: usize,
    out: Outbox,
    peers: Vec<MediaPeer>,
    on_the_way: Vec<Transmit>,
    joined: Option<Reply>,
}

/// Work that is counted: callgrind collects while this runs (see `main.rs`).
#[inline(never)]
fn measured_turn(worker: &mut Worker, now: Instant, input: Input<'_>, out: &mut Outbox) {
    black_box(&worker);
    worker.handle(now, input, out);
}

impl World {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        let mut config = WorkerConfig::new(vec![SocketAddr::from(SERVER)]);
        config.limits.room_participants = 10_000;
        config.limits.participants = 10_000;
        Self {
            now,
            worker: Worker::new(config, Entropy::from_seed(1), now),
            measuring: false,
            spent: Duration::ZERO,
            video: None,
            connected: 0,
            out: Outbox::default(),
            peers: Vec::new(),
            on_the_way: Vec::new(),
            joined: None,
        }
    }

    /// Lets somebody join, and returns when they are connected.
    pub(crate) fn join(&mut self, who: Joiner) {
        let index = self.peers.len();
        let mut config = MediaConfig::new(address(2 * index), address(2 * index + 1));
        match who {
            Joiner::Publisher => config.send = vec![SendLine::new(WireSource::Camera)],
            Joiner::Viewer => config.send = Vec::new(),
            Joiner::Idle => {}
        }
        let transports = if who == Joiner::Viewer { 1 } else { 2 };
        let (mut media, offers) = MediaPeer::new(config, index as u64, self.now).expect("offers");
        let camera = offers.send_mids.first().filter(|_| who == Joiner::Publisher);
        let request = JoinRequest {
            participant: ParticipantId(u32::try_from(index).expect("few") + 1),
            identity: format!("user-{index}").into(),
            display_name: "".into(),
            permissions: Permissions::ALL,
            tracks: camera.iter().map(|mid| declaration(mid)).collect(),
            send_offer: offers.send.clone(),
            receive_offer: offers.receive.clone(),
        };
        let (request_id, action) = (RequestId(index as u64), Action::Join(request));
        self.serve(Input::Command(Command { request: request_id, room: ROOM, action }));
        self.take_events();
        let Some(Reply::Joined { send_answer, receive_answer, .. }) = self.joined.take() else {
            panic!("joins")
        };
        let (send, receive) = (send_answer.as_deref(), receive_answer.as_deref());
        media.accept_answers(self.now, send, receive).expect("answers");
        self.peers.push(media);
        let wanted = self.connected + transports;
        while self.connected < wanted {
            self.step();
        }
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.step();
        }
    }

    fn step(&mut self) {
        self.now += STEP;
        for transmit in std::mem::take(&mut self.on_the_way) {
            self.deliver(&transmit);
        }
        if let (Some(video), Some(peer)) = (&mut self.video, self.peers.first_mut())
            && let Some(packet) = video.take(self.now)
        {
            peer.write(self.now, 0, packet).expect("writes");
        }
        let mut sent = Vec::new();
        for peer in &mut self.peers {
            if peer.next_timeout().is_some_and(|at| at <= self.now) {
                peer.handle(self.now, PeerInput::Timeout);
            }
            while let Some(event) = peer.poll_event() {
                match event {
                    MediaEvent::Connected(_) => self.connected += 1,
                    MediaEvent::KeyframeRequest { .. } => {
                        if let Some(video) = &mut self.video {
                            video.request_keyframe();
                        }
                    }
                    _ => {}
                }
            }
            sent.extend(std::iter::from_fn(|| peer.poll_transmit()));
        }
        // Browsers do not report on what they do not send.
        let idle = self.video.is_none();
        sent.retain(|transmit| !idle || !is_rtcp(&transmit.contents));
        for transmit in sent {
            let (source, local) = (transmit.local, transmit.destination);
            self.serve(Input::Datagram { source, local, bytes: &transmit.contents });
        }
        while self.worker.next_timeout().is_some_and(|at| at <= self.now) {
            self.serve(Input::Timeout);
        }
        self.take_events();
        self.on_the_way.append(&mut self.out.transmits);
    }

    /// The one way into the server.
    fn serve(&mut self, input: Input<'_>) {
        if self.measuring {
            let start = Instant::now();
            measured_turn(&mut self.worker, self.now, input, &mut self.out);
            self.spent += start.elapsed();
        } else {
            self.worker.handle(self.now, input, &mut self.out);
        }
    }

    fn take_events(&mut self) {
        for event in self.out.events.drain(..) {
            if let Event::Reply { result, .. } = event {
                self.joined = Some(result.expect("joins"));
            }
        }
    }

    fn deliver(&mut self, transmit: &Transmit) {
        let port = usize::from(transmit.destination.port()) - FIRST_PORT;
        let transport = [TransportRole::Send, TransportRole::Receive][port % 2];
        let (source, local) = (transmit.local, transmit.destination);
        let input = PeerInput::Datagram { transport, source, local, bytes: &transmit.contents };
        if let Some(peer) = self.peers.get_mut(port / 2) {
            peer.handle(self.now, input);
        }
    }
}

/// RFC 5761 §4.
fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, 192..=223, ..])
}

fn address(index: usize) -> SocketAddr {
    let port = u16::try_from(FIRST_PORT + index).expect("few");
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn declaration(mid: &str) -> TrackDeclaration {
    TrackDeclaration {
        client_id: "camera".into(),
        source: Source::Camera,
        mid: Mid::new(mid).expect("mid"),
        muted: false,
        encodings: Vec::new(),
        encrypted: false,
    }
}
