//! A client on real sockets, driven by hand.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use convoke_client::media::{
    Codec, Input, MediaConfig, MediaEvent, MediaPeer, Offers, Received, SendLine,
};
use convoke_client::source::{
    AudioConfig, AudioSource, MediaSource, Stamp, VideoConfig, VideoSource,
};
use convoke_core::{JoinRequest, Mid, ParticipantId, RoomId, Source, TrackDeclaration};
use convoke_protocol::{Source as WireSource, TransportRole};

use super::tcp::Frames;
use super::{PATIENCE, viewer};
use crate::{Handle, Joined};

/// One participant that may publish a camera and may have video slots.
pub(super) struct Peer {
    media: MediaPeer,
    sockets: [UdpSocket; 2],
    /// Nothing goes by UDP then.
    pub(super) by_tcp: Option<[Frames; 2]>,
    /// The addresses that it takes for its own.
    locals: [SocketAddr; 2],
    video: Option<VideoSource>,
    audio: Option<AudioSource>,
    /// Zero of the time in its packets.
    pub(super) epoch: Instant,
    /// Where datagrams really go, for a candidate behind NAT.
    pub(super) nat: Option<SocketAddr>,
    candidate: Option<SocketAddr>,
    pub(super) participant: ParticipantId,
    /// The server's ICE user name fragments of its transports.
    pub(super) ufrags: Vec<String>,
    pub(super) received: Vec<Received>,
    pub(super) heard_from: BTreeSet<SocketAddr>,
    /// Transports that the server closed.
    pub(super) closed: usize,
}

/// What a peer sends, and how many slots it has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines {
    pub(super) camera: bool,
    pub(super) microphone: bool,
    pub(super) audio: usize,
    pub(super) video: usize,
}

const ROLES: [TransportRole; 2] = [TransportRole::Send, TransportRole::Receive];

impl Peer {
    pub(super) fn new(
        bind: &str,
        participant: ParticipantId,
        publish: bool,
        slots: usize,
    ) -> (Self, JoinRequest) {
        let sockets = [socket(bind.parse().unwrap()), socket(bind.parse().unwrap())];
        Self::with_sockets(sockets, participant, publish, slots)
    }

    /// One that sends from these.
    pub(super) fn with_sockets(
        sockets: [UdpSocket; 2],
        participant: ParticipantId,
        publish: bool,
        slots: usize,
    ) -> (Self, JoinRequest) {
        let lines = Lines { camera: publish, microphone: false, audio: 0, video: slots };
        Self::with(sockets, participant, lines)
    }

    /// One with these lines.
    pub(super) fn with(
        sockets: [UdpSocket; 2],
        participant: ParticipantId,
        lines: Lines,
    ) -> (Self, JoinRequest) {
        let now = Instant::now();
        let locals = sockets.each_ref().map(|s| s.local_addr().unwrap());
        let [send, receive] = locals;
        let mut config = MediaConfig::new(send, receive);
        let sends =
            [(lines.camera, WireSource::Camera), (lines.microphone, WireSource::Microphone)];
        let sends = sends.into_iter().filter_map(|(is, source)| is.then_some(source));
        config.send = sends.map(SendLine::new).collect();
        config.audio_slots = lines.audio;
        config.video_slots = lines.video;
        let (media, offers) = MediaPeer::new(config, 1, now).unwrap();
        let mut video = VideoConfig::new(Codec::Vp8, participant.0, now, now);
        video.bps = 1_500_000;
        let peer = Self {
            media,
            sockets,
            by_tcp: None,
            locals,
            video: lines.camera.then(|| VideoSource::new(video, 1)),
            audio: lines
                .microphone
                .then(|| AudioSource::new(AudioConfig::new(participant.0, now, now), 2)),
            epoch: now,
            nat: None,
            candidate: None,
            participant,
            ufrags: Vec::new(),
            received: Vec::new(),
            heard_from: BTreeSet::new(),
            closed: 0,
        };
        let request = request(participant, offers, lines);
        (peer, request)
    }

    /// Joins and takes the answers.
    pub(super) async fn join(
        &mut self,
        handle: &Handle,
        room: RoomId,
        request: JoinRequest,
    ) -> Joined {
        let joined = handle.join(room, request).await.unwrap();
        let (send, receive) = (joined.send_answer.as_deref(), joined.receive_answer.as_deref());
        self.media.accept_answers(Instant::now(), send, receive).unwrap();
        let ufrag = |sdp: &str| {
            sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).unwrap().to_owned()
        };
        self.ufrags = [send, receive].into_iter().flatten().map(ufrag).collect();
        joined
    }

    /// Whether media could come.
    pub(super) fn is_connected(&self) -> bool {
        self.media.connected(TransportRole::Receive)
    }

    /// Publishers of the whole packets received.
    pub(super) fn seen(&self) -> BTreeSet<u32> {
        self.received.iter().filter_map(|p| Stamp::read(&p.payload)).map(|s| s.publisher).collect()
    }

    /// Sends no media any more. What it is sent otherwise could fill its sockets while it is not driven, and
    /// a goodbye is sent once.
    pub(super) fn fall_silent(&mut self) {
        (self.video, self.audio) = (None, None);
    }

    /// What a NAT does that forgot it: its datagrams come from other ports, and what is sent to the
    /// earlier ones goes nowhere. It does not know.
    pub(super) fn rebind(&mut self) {
        self.sockets = self.locals.map(|local| socket(local.ip()));
    }

    /// Sends what it would not: from where it sends its own.
    pub(super) fn send_raw(&self, bytes: &[u8], to: SocketAddr) {
        for socket in &self.sockets {
            socket.send_to(bytes, to).unwrap();
        }
    }

    /// Where it really sends from.
    pub(super) fn addresses(&self) -> [SocketAddr; 2] {
        self.sockets.each_ref().map(|socket| socket.local_addr().unwrap())
    }

    fn turn(&mut self) {
        let now = Instant::now();
        let mut buffer = [0; 2_048];
        for ((role, socket), local) in ROLES.into_iter().zip(&self.sockets).zip(self.locals) {
            while let Ok((len, source)) = socket.recv_from(&mut buffer) {
                assert!(self.by_tcp.is_none(), "{len} bytes by UDP");
                self.heard_from.insert(source);
                let source = self.candidate.filter(|_| self.nat.is_some()).unwrap_or(source);
                let bytes = &buffer[..len];
                self.media.handle(now, Input::Datagram { transport: role, source, local, bytes });
            }
        }
        for (role, frames) in ROLES.into_iter().zip(self.by_tcp.iter_mut().flatten()) {
            let Some(source) = self.candidate else { continue };
            let local = self.sockets[usize::from(role == TransportRole::Receive)].local_addr();
            let local = local.unwrap();
            while let Some(frame) = frames.next() {
                let bytes = &frame;
                self.media.handle(now, Input::Datagram { transport: role, source, local, bytes });
            }
        }
        if let (Some(video), true) = (&mut self.video, self.media.connected(TransportRole::Send)) {
            for packet in video.take(now) {
                self.media.write(now, 0, packet).unwrap();
            }
        }
        if let (Some(audio), true) = (&mut self.audio, self.media.connected(TransportRole::Send)) {
            let line = usize::from(self.video.is_some());
            for packet in audio.take(now) {
                self.media.write(now, line, packet).unwrap();
            }
        }
        self.media.handle(now, Input::Timeout);
        while let Some(transmit) = self.media.poll_transmit() {
            let index = usize::from(transmit.transport == TransportRole::Receive);
            let socket = &self.sockets[index];
            self.candidate = Some(transmit.destination);
            if let Some(frames) = &mut self.by_tcp {
                frames[index].send_datagram(&transmit.contents);
                continue;
            }
            // From loopback no way leads elsewhere: such candidates are tried in vain.
            let _ = socket.send_to(&transmit.contents, self.nat.unwrap_or(transmit.destination));
        }
        while let Some(event) = self.media.poll_event() {
            match event {
                MediaEvent::Rtp(packet) => self.received.push(packet),
                MediaEvent::Closed { .. } => self.closed += 1,
                MediaEvent::KeyframeRequest { .. } => {
                    if let Some(video) = &mut self.video {
                        video.request_keyframe();
                    }
                }
                _ => {}
            }
        }
    }
}

pub(super) fn socket(bind: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((bind, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

fn request(participant: ParticipantId, offers: Offers, lines: Lines) -> JoinRequest {
    let sources = [(lines.camera, Source::Camera), (lines.microphone, Source::Microphone)];
    let sources = sources.into_iter().filter_map(|(is, source)| is.then_some(source));
    let track = |(mid, source): (&String, Source)| TrackDeclaration {
        client_id: format!("{source:?}").into(),
        source,
        mid: Mid::new(mid).unwrap(),
        muted: false,
        encodings: Vec::new(),
        encrypted: false,
    };
    JoinRequest {
        tracks: offers.send_mids.iter().zip(sources).map(track).collect(),
        send_offer: offers.send,
        receive_offer: offers.receive,
        ..viewer(participant)
    }
}

/// Drives all of them until it holds, or fails.
pub(super) async fn drive(peers: &mut [Peer], what: &str, holds: impl Fn(&[Peer]) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds(peers) {
        assert!(Instant::now() < end, "{what}");
        drive_once(peers).await;
    }
}

/// One turn of all of them, and time for the server.
pub(super) async fn drive_once(peers: &mut [Peer]) {
    peers.iter_mut().for_each(Peer::turn);
    tokio::time::sleep(Duration::from_millis(1)).await;
}
