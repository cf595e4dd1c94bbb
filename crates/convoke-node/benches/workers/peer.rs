//! Participants, and a call: a camera that sends as fast as it is forwarded, and viewers who do nothing.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use convoke_client::media::{Input, MediaConfig, MediaEvent, MediaPeer, Packet, SendLine};
use convoke_core::{JoinRequest, Mid, Permissions, RoomId, Source, TrackDeclaration};
use convoke_node::Handle;
use convoke_protocol::{Source as WireSource, TransportRole};

use crate::camera::{Camera, VIDEO};

/// Packets of a camera on their way to its viewers at most: some milliseconds of a worker's time.
const WINDOW: u64 = 128;
/// What is not forwarded by then was lost on its way to the server.
const LOST_AFTER: Duration = Duration::from_millis(50);
/// Longer than a handshake takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// The least that a socket may buffer: what is sent to a viewer is dropped early.
const SINK_BYTES: usize = 2_048;

/// One participant with one transport.
pub(crate) struct Peer {
    media: MediaPeer,
    socket: UdpSocket,
    local: SocketAddr,
    role: TransportRole,
}

impl Peer {
    /// Joins, with a camera or with so many slots, and returns when its transport is up.
    pub(crate) async fn join(
        handle: &Handle,
        room: RoomId,
        role: TransportRole,
        slots: usize,
    ) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        let local = socket.local_addr().expect("an address");
        let mut config = MediaConfig::new(local, local);
        config.audio_slots = 0;
        match role {
            TransportRole::Send => {
                config.send = vec![SendLine::new(WireSource::Camera)];
                config.video_slots = 0;
            }
            TransportRole::Receive => {
                config.send = Vec::new();
                config.video_slots = slots;
            }
        }
        let participant = handle.new_participant();
        let seed = u64::from(participant.0);
        let (media, offers) = MediaPeer::new(config, seed, Instant::now()).expect("offers");
        let request = JoinRequest {
            participant,
            identity: "someone".into(),
            display_name: "".into(),
            permissions: Permissions::ALL,
            tracks: offers.send_mids.iter().map(|mid| declaration(mid)).collect(),
            send_offer: offers.send.clone(),
            // Without feedback nothing is estimated.
            receive_offer: offers.receive.as_deref().map(without_feedback),
        };
        let joined = handle.join(room, request).await.expect("joins");
        let mut peer = Self { media, socket, local, role };
        let (send, receive) = (joined.send_answer.as_deref(), joined.receive_answer.as_deref());
        peer.media.accept_answers(Instant::now(), send, receive).expect("answers");
        let until = Instant::now() + PATIENCE;
        while !peer.media.connected(role) {
            assert!(Instant::now() < until, "the handshake does not end");
            peer.turn(Instant::now());
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        peer
    }

    /// Leaves it alone: what comes for it is dropped by the kernel.
    pub(crate) fn into_sink(self) -> UdpSocket {
        let sink = socket2::SockRef::from(&self.socket).set_recv_buffer_size(SINK_BYTES);
        sink.expect("a smaller buffer");
        self.socket
    }

    /// Sends a packet with the next [`Self::turn`].
    pub(crate) fn write(&mut self, now: Instant, packet: Packet) {
        self.media.write(now, 0, packet).expect("writes");
    }

    /// Reads, does what is due, sends. Whether a keyframe is asked for.
    pub(crate) fn turn(&mut self, now: Instant) -> bool {
        let mut buffer = [0; 2_048];
        while let Ok((length, source)) = self.socket.recv_from(&mut buffer) {
            let (transport, local, bytes) = (self.role, self.local, &buffer[..length]);
            self.media.handle(now, Input::Datagram { transport, source, local, bytes });
        }
        self.media.handle(now, Input::Timeout);
        let mut asked = false;
        while let Some(event) = self.media.poll_event() {
            asked |= matches!(event, MediaEvent::KeyframeRequest { .. });
        }
        while let Some(transmit) = self.media.poll_transmit() {
            // A full buffer loses a packet, as a network does.
            let _ = self.socket.send_to(&transmit.contents, transmit.destination);
        }
        asked
    }
}

/// See the module.
pub(crate) struct Call {
    camera: Camera,
    publisher: Peer,
    /// The first one's socket says what was forwarded.
    first: UdpSocket,
    _others: Vec<UdpSocket>,
    sent: u64,
    forwarded: u64,
    progress: Instant,
}

impl Call {
    /// A new call, with everyone connected.
    pub(crate) async fn begin(handle: &Handle, viewers: usize) -> Self {
        let room = handle.new_room();
        let publisher = Peer::join(handle, room, TransportRole::Send, 0).await;
        let first = Peer::join(handle, room, TransportRole::Receive, 1).await.socket;
        let mut others = Vec::new();
        for _ in 1..viewers {
            others.push(Peer::join(handle, room, TransportRole::Receive, 1).await.into_sink());
        }
        let (sent, forwarded, progress) = (0, 0, Instant::now());
        let camera = Camera::new(VIDEO);
        Self { camera, publisher, first, _others: others, sent, forwarded, progress }
    }

    /// Sends as much as may be on its way.
    pub(crate) fn film(&mut self, now: Instant) {
        let mut buffer = [0; 2_048];
        let before = self.forwarded;
        while let Ok(length) = self.first.recv(&mut buffer) {
            // RTP, not reports or checks (RFC 5761 §4).
            let is_media = length > 1_000 && matches!(buffer, [128..=191, ..]);
            self.forwarded += u64::from(is_media);
        }
        if self.forwarded != before {
            self.progress = now;
        } else if now.duration_since(self.progress) > LOST_AFTER {
            (self.forwarded, self.progress) = (self.sent, now);
        }
        while self.sent < self.forwarded + WINDOW {
            let packet = self.camera.take();
            self.publisher.write(now, packet);
            self.sent += 1;
        }
        self.camera.keyframe |= self.publisher.turn(now);
    }
}

fn without_feedback(offer: &str) -> String {
    let kept = |line: &&str| !line.trim_end().ends_with("transport-cc");
    offer.split_inclusive('\n').filter(kept).collect()
}

fn declaration(mid: &str) -> TrackDeclaration {
    TrackDeclaration {
        client_id: "camera".into(),
        source: Source::Camera,
        mid: Mid::new(mid).expect("a mid"),
        muted: false,
        encodings: Vec::new(),
        encrypted: false,
    }
}
