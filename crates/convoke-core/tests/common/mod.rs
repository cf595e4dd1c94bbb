//! A worker and some native peers in virtual time, joined by a perfect network.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use convoke_client::media::{
    Codec, Input as PeerInput, MediaConfig, MediaEvent, MediaPeer, Offers, Received, ReceivedData,
    SendLine,
};
use convoke_client::source::{AudioConfig, AudioSource, MediaSource, VideoConfig, VideoSource};
use convoke_core::{
    Action, Command, CommandError, Entropy, Event, Input, JoinRequest, LeaveReason, Mid, Outbox,
    ParticipantId, Permissions, Reply, RequestId, RoomId, SlotView, Snapshot, Source,
    TrackDeclaration, Worker, WorkerConfig,
};
use convoke_protocol::{Source as WireSource, TransportRole as WireRole};

pub mod check;
pub mod forger;
pub mod mesh;

pub const SECOND: Duration = Duration::from_secs(1);
pub const MS: Duration = Duration::from_millis(1);

/// What a gate kept: where it came from, where it went, and the bytes.
pub type Datagrams = Rc<RefCell<Vec<(SocketAddr, SocketAddr, Vec<u8>)>>>;

/// Records what comes from `address` and is as `wanted`; nothing is held back.
pub fn tap(world: &mut World, address: SocketAddr, wanted: fn(&[u8]) -> bool) -> Datagrams {
    let seen: Datagrams = Rc::default();
    let kept = Rc::clone(&seen);
    world.gate = Some(Box::new(move |source, local, bytes| {
        if source == address && wanted(bytes) {
            kept.borrow_mut().push((source, local, bytes.to_vec()));
        }
        true
    }));
    seen
}

pub const ROOM: RoomId = RoomId(7);
pub const SERVER: ([u8; 4], u16) = ([127, 0, 0, 1], 9_000);

/// What one peer does and got.
pub struct Peer {
    pub id: ParticipantId,
    pub media: MediaPeer,
    pub local: [SocketAddr; 2],
    pub offers: Offers,
    pub slots: Vec<SlotView>,
    pub received: Vec<Received>,
    pub keyframe_requests: usize,
    pub audio: Option<AudioSource>,
    pub video: Option<(usize, VideoSource)>,
    pub connected: usize,
    pub cut: bool,
    /// Comes by TCP, from the same addresses.
    pub tcp: bool,
    /// Gets no DTLS: data messages do not arrive, ICE and media do.
    pub deaf: bool,
    /// Every so many datagrams one of its is lost, in both directions together; 0 for none.
    pub lose_every: usize,
    pub passed: usize,
    pub data: Vec<ReceivedData>,
    /// Openings and closings of data channels that it saw.
    pub channels: [usize; 2],
    pub level: Option<u8>,
}

pub struct World {
    pub now: Instant,
    pub start: Instant,
    pub worker: Worker,
    pub room: RoomId,
    pub out: Outbox,
    pub events: Vec<Event>,
    pub peers: Vec<Peer>,
    pub replies: HashMap<RequestId, Result<Reply, CommandError>>,
    /// Sees each datagram to the worker; what it returns false for is held back.
    pub gate: Option<Gate>,
    /// The same for each datagram from the worker: source, destination, bytes.
    pub outgate: Option<Gate>,
    request: u64,
    next_port: u16,
}

/// What passes: source, destination, bytes.
pub type Gate = Box<dyn FnMut(SocketAddr, SocketAddr, &[u8]) -> bool>;

pub fn config() -> WorkerConfig {
    WorkerConfig::new(vec![SocketAddr::from(SERVER)])
}

impl World {
    pub fn new(config: WorkerConfig, seed: u64) -> Self {
        let now = Instant::now();
        Self {
            now,
            start: now,
            worker: Worker::new(config, Entropy::from_seed(seed), now),
            room: ROOM,
            out: Outbox::default(),
            events: Vec::new(),
            peers: Vec::new(),
            replies: HashMap::new(),
            gate: None,
            outgate: None,
            request: 0,
            next_port: 20_000,
        }
    }

    pub fn command(&mut self, action: Action) -> Result<Reply, CommandError> {
        self.request += 1;
        let request = RequestId(self.request);
        let command = Command { request, room: self.room, action };
        self.worker.handle(self.now, Input::Command(command), &mut self.out);
        self.settle();
        self.replies.remove(&request).expect("every command is answered at once")
    }

    pub fn media(
        &mut self,
        edit: impl FnOnce(&mut MediaConfig),
    ) -> (MediaPeer, Offers, [SocketAddr; 2]) {
        let port = self.next_port;
        self.next_port += 2;
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut config = MediaConfig::new(address(port), address(port + 1));
        config.audio_slots = 4;
        config.video_slots = 4;
        config.send =
            vec![SendLine::new(WireSource::Microphone), SendLine::new(WireSource::Camera)];
        edit(&mut config);
        let local = [config.send_addr, config.receive_addr];
        let (peer, offers) = MediaPeer::new(config, u64::from(port), self.now).expect("offers");
        (peer, offers, local)
    }

    pub fn request(&self, id: u32, offers: &Offers, tracks: Vec<TrackDeclaration>) -> JoinRequest {
        JoinRequest {
            participant: ParticipantId(id),
            identity: format!("user-{id}").into(),
            display_name: "".into(),
            permissions: Permissions::ALL,
            send_offer: offers.send.clone(),
            receive_offer: offers.receive.clone(),
            tracks,
        }
    }

    /// Joins a peer that publishes a microphone and, if given, a camera with a codec.
    pub fn join(&mut self, id: u32, camera: Option<Codec>) -> usize {
        self.join_with(id, camera, |_| {})
    }

    pub fn join_with(
        &mut self,
        id: u32,
        camera: Option<Codec>,
        edit: impl FnOnce(&mut MediaConfig),
    ) -> usize {
        let (mut media, offers, local) = self.media(edit);
        let mut tracks = vec![declaration("mic", Source::Microphone, &offers.send_mids[0])];
        if camera.is_some() {
            tracks.push(declaration("cam", Source::Camera, &offers.send_mids[1]));
        }
        let request = self.request(id, &offers, tracks);
        let snapshot = self.answered(&mut media, request);
        let (epoch, now) = (self.start, self.now);
        let peer = self.add(id, media, local, offers);
        let state = &mut self.peers[peer];
        state.slots = snapshot.slots;
        state.audio = Some(AudioSource::new(AudioConfig::new(id, epoch, now), u64::from(id)));
        state.video = camera.map(|codec| {
            (1, VideoSource::new(VideoConfig::new(codec, id, epoch, now), u64::from(id)))
        });
        peer
    }

    /// Joins a peer that publishes nothing, both of whose offers were changed on their way.
    pub fn join_with_offer(&mut self, id: u32, edit: impl Fn(&str) -> String) -> usize {
        let (mut media, offers, local) = self.media(|_| {});
        let edited = Offers {
            send: offers.send.as_deref().map(&edit),
            receive: offers.receive.as_deref().map(&edit),
            ..offers.clone()
        };
        let request = self.request(id, &edited, Vec::new());
        self.answered(&mut media, request);
        self.add(id, media, local, offers)
    }

    /// Joins, and takes the answers to what was offered.
    fn answered(&mut self, media: &mut MediaPeer, request: JoinRequest) -> Snapshot {
        let Reply::Joined { send_answer, receive_answer, snapshot } =
            self.command(Action::Join(request)).expect("joins")
        else {
            panic!("joined")
        };
        media
            .accept_answers(self.now, send_answer.as_deref(), receive_answer.as_deref())
            .expect("answers");
        snapshot
    }

    /// A peer whose answers were accepted.
    pub fn add(
        &mut self,
        id: u32,
        media: MediaPeer,
        local: [SocketAddr; 2],
        offers: Offers,
    ) -> usize {
        self.peers.push(Peer {
            id: ParticipantId(id),
            media,
            local,
            offers,
            slots: Vec::new(),
            received: Vec::new(),
            keyframe_requests: 0,
            audio: None,
            video: None,
            connected: 0,
            cut: false,
            tcp: false,
            deaf: false,
            lose_every: 0,
            passed: 0,
            data: Vec::new(),
            channels: [0; 2],
            level: None,
        });
        self.peers.len() - 1
    }

    pub fn leave(&mut self, peer: usize) {
        let participant = self.peers[peer].id;
        self.command(Action::Leave { participant, reason: LeaveReason::Left }).expect("leaves");
        self.peers[peer].cut = true;
    }

    pub fn snapshot(&mut self, peer: usize) -> Snapshot {
        let participant = self.peers[peer].id;
        match self.command(Action::Snapshot { participant }) {
            Ok(Reply::Snapshot(snapshot)) => snapshot,
            other => panic!("{other:?}"),
        }
    }

    /// Runs for a while in steps of 5 ms.
    pub fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.begin_step();
            for _ in 0..4 {
                self.exchange();
            }
        }
    }

    /// Lets 5 ms pass: peers write.
    pub fn begin_step(&mut self) {
        self.now += Duration::from_millis(5);
        for peer in &mut self.peers {
            peer.write(self.now);
            peer.media.handle(self.now, PeerInput::Timeout);
        }
    }

    /// Carries what is on its way.
    pub fn exchange(&mut self) {
        for peer in &mut self.peers {
            while let Some(transmit) = peer.media.poll_transmit() {
                let passes = self.gate.as_mut().is_none_or(|gate| {
                    gate(transmit.local, transmit.destination, &transmit.contents)
                });
                if peer.cut || !passes || peer.loses() {
                    continue;
                }
                let (source, local) = (transmit.local, transmit.destination);
                let bytes = &transmit.contents;
                let input = match peer.tcp {
                    true => Input::Frame { source, local, bytes },
                    false => Input::Datagram { source, local, bytes },
                };
                self.worker.handle(self.now, input, &mut self.out);
            }
        }
        if self.worker.next_timeout().is_some_and(|at| at <= self.now) {
            self.worker.handle(self.now, Input::Timeout, &mut self.out);
        }
        self.settle();
        let datagrams = std::mem::take(&mut self.out.transmits).into_iter().map(|one| (one, false));
        let frames = std::mem::take(&mut self.out.frames).into_iter().map(|one| (one, true));
        for (transmit, tcp) in datagrams.chain(frames) {
            let passes = self
                .outgate
                .as_mut()
                .is_none_or(|gate| gate(transmit.local, transmit.destination, &transmit.contents));
            if !passes {
                continue;
            }
            for peer in self.peers.iter_mut().filter(|peer| !peer.cut && peer.tcp == tcp) {
                peer.deliver(self.now, transmit.destination, transmit.local, &transmit.contents);
            }
        }
        for peer in &mut self.peers {
            peer.collect();
        }
    }

    pub fn settle(&mut self) {
        for event in std::mem::take(&mut self.out.events) {
            match &event {
                Event::Reply { request, result } => {
                    self.replies.insert(*request, result.clone());
                    continue;
                }
                Event::Slots { participant, slots, .. } => {
                    if let Some(peer) = self.peers.iter_mut().find(|p| p.id == *participant) {
                        for slot in slots {
                            if let Some(known) = peer.slots.iter_mut().find(|s| s.mid == slot.mid) {
                                *known = *slot;
                            }
                        }
                    }
                }
                _ => {}
            }
            self.events.push(event);
        }
    }

    /// The packets that `peer` got of `from`, by kind of codec.
    pub fn got(&self, peer: usize, from: u32, codec: Codec) -> Vec<&Received> {
        let received = self.peers[peer].received.iter();
        received.filter(|r| r.csrc == Some(from) && r.codec == codec).collect()
    }
}

impl Peer {
    fn write(&mut self, now: Instant) {
        if let Some(audio) = &mut self.audio {
            if let Some(level) = self.level {
                audio.set_level(level);
            }
            for packet in audio.take(now) {
                let _ = self.media.write(now, 0, packet);
            }
        }
        if let Some((line, video)) = &mut self.video {
            for packet in video.take(now) {
                let _ = self.media.write(now, *line, packet);
            }
        }
    }

    fn loses(&mut self) -> bool {
        self.passed += 1;
        self.lose_every > 0 && self.passed.is_multiple_of(self.lose_every)
    }

    fn deliver(&mut self, now: Instant, to: SocketAddr, from: SocketAddr, bytes: &[u8]) {
        if !self.local.contains(&to) || self.loses() {
            return;
        }
        if self.deaf && bytes.first().is_some_and(|first| (20..64).contains(first)) {
            return;
        }
        for (transport, local) in [WireRole::Send, WireRole::Receive].into_iter().zip(self.local) {
            if local == to {
                let input = PeerInput::Datagram { transport, source: from, local, bytes };
                self.media.handle(now, input);
            }
        }
    }

    fn collect(&mut self) {
        while let Some(event) = self.media.poll_event() {
            match event {
                MediaEvent::Connected(_) => self.connected += 1,
                MediaEvent::Rtp(received) => self.received.push(received),
                MediaEvent::Data(data) => self.data.push(data),
                MediaEvent::DataChannel { open, .. } => self.channels[usize::from(!open)] += 1,
                MediaEvent::KeyframeRequest { .. } => {
                    self.keyframe_requests += 1;
                    if let Some((_, video)) = &mut self.video {
                        video.request_keyframe();
                    }
                }
                _ => {}
            }
        }
    }
}

pub fn declaration(name: &str, source: Source, mid: &str) -> TrackDeclaration {
    TrackDeclaration {
        client_id: Arc::from(name),
        source,
        mid: Mid::new(mid).expect("mid"),
        muted: false,
        encodings: Vec::new(),
        encrypted: false,
    }
}
