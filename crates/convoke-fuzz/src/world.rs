//! A worker with a live room in virtual time.
//!
//! Owns: the worker, its clients, the clock, and the laws that hold after every input.
//! Never: sleeps.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use convoke_client::media::{
    self, Codec, MediaConfig, MediaError, MediaEvent, MediaPeer, Packet, ReceivedData, SendLine,
};
use convoke_core::{
    Action, Command, CommandError, Entropy, Event, Input, JoinRequest, LeaveReason, Mid, Outbox,
    ParticipantId, Permissions, Reply, RequestId, RoomId, Source, TrackDeclaration, Worker,
    WorkerConfig,
};
use convoke_protocol::{Source as WireSource, TransportRole};

/// The one candidate of the worker.
pub(crate) const SERVER: SocketAddr = addr(1, 40_000);
/// Turns that a handshake over virtual links takes at most.
const HANDSHAKE_TURNS: usize = 400;

pub(crate) const ROOM: RoomId = RoomId(1);

const fn addr(host: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)), port)
}

/// One participant with its two addresses.
pub(crate) struct Client {
    pub(crate) id: ParticipantId,
    pub(crate) peer: MediaPeer,
    pub(crate) received: usize,
    pub(crate) data: Vec<ReceivedData>,
}

impl Client {
    pub(crate) fn address(&self, role: TransportRole) -> SocketAddr {
        let [send, receive] = client_addresses(self.id);
        match role {
            TransportRole::Send => send,
            TransportRole::Receive => receive,
        }
    }
}

/// Of the send and the receive transport.
fn client_addresses(id: ParticipantId) -> [SocketAddr; 2] {
    let host = u8::try_from(10 + id.0).expect("few participants");
    [addr(host, 1), addr(host, 2)]
}

/// See the module.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) worker: Worker,
    pub(crate) out: Outbox,
    pub(crate) clients: Vec<Client>,
    requests: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        let mut config = WorkerConfig::new(vec![SERVER]);
        config.media_timeout = Duration::from_secs(20);
        Self {
            now,
            worker: Worker::new(config, Entropy::from_seed(1), now),
            out: Outbox::default(),
            clients: Vec::new(),
            requests: 0,
        }
    }

    /// Carries out a command, ends the turn, and gives its reply.
    pub(crate) fn command(&mut self, action: Action) -> Result<Reply, CommandError> {
        self.requests += 1;
        let request = RequestId(self.requests);
        let command = Command { request, room: ROOM, action };
        self.worker.handle(self.now, Input::Command(command), &mut self.out);
        self.end_turn();
        let mut reply = None;
        self.out.events.retain(|event| match event {
            Event::Reply { request: of, result } if *of == request => {
                assert!(reply.replace(result.clone()).is_none(), "two replies");
                false
            }
            _ => true,
        });
        reply.expect("every command is answered at once")
    }

    /// A publisher of microphone and camera that never says anything: cheap, where only the room
    /// must not be empty.
    pub(crate) fn join_silent(&mut self) {
        let track = |source, mid| TrackDeclaration {
            client_id: format!("{source:?}").into(),
            source,
            mid: Mid::new(mid).expect("a mid"),
            muted: false,
            encodings: Vec::new(),
            encrypted: false,
        };
        let join = JoinRequest {
            send_offer: Some(SILENT_OFFER.to_owned()),
            tracks: vec![track(Source::Microphone, "0"), track(Source::Camera, "1")],
            ..request(ParticipantId(1))
        };
        let reply = self.command(Action::Join(join));
        assert!(matches!(reply, Ok(Reply::Joined { .. })), "{reply:?}");
    }

    /// A publisher of microphone and camera, or a viewer with two slots of each kind.
    pub(crate) fn join(&mut self, publishes: bool) {
        self.join_with(publishes, false);
    }

    /// As [`Self::join`], perhaps with data channels.
    pub(crate) fn join_with(&mut self, publishes: bool, data_channel: bool) {
        let id = ParticipantId(u32::try_from(self.clients.len()).expect("few") + 1);
        let [send, receive] = client_addresses(id);
        let mut config = MediaConfig::new(send, receive);
        config.send.clear();
        config.data_channel = data_channel;
        (config.audio_slots, config.video_slots) = (2, 2);
        if publishes {
            config.send = [WireSource::Microphone, WireSource::Camera].map(SendLine::new).to_vec();
            (config.audio_slots, config.video_slots) = (0, 0);
        }
        let (mut peer, offers) = MediaPeer::new(config, u64::from(id.0), self.now).expect("a peer");
        let sources = [Source::Microphone, Source::Camera];
        let tracks = offers.send_mids.iter().zip(sources).map(|(mid, source)| TrackDeclaration {
            client_id: format!("{source:?}").into(),
            source,
            mid: Mid::new(mid).expect("a mid"),
            muted: false,
            encodings: Vec::new(),
            encrypted: false,
        });
        let join = JoinRequest {
            tracks: tracks.collect(),
            send_offer: offers.send,
            receive_offer: offers.receive,
            ..request(id)
        };
        let reply = self.command(Action::Join(join)).expect("a good join");
        let Reply::Joined { send_answer, receive_answer, .. } = reply else {
            panic!("not joined: {reply:?}");
        };
        peer.accept_answers(self.now, send_answer.as_deref(), receive_answer.as_deref())
            .expect("a good answer");
        self.clients.push(Client { id, peer, received: 0, data: Vec::new() });
    }

    /// Lets time pass until every client is connected.
    pub(crate) fn connect(&mut self) {
        for _ in 0..HANDSHAKE_TURNS {
            if self.clients.iter().all(|client| {
                [TransportRole::Send, TransportRole::Receive]
                    .iter()
                    .all(|role| !client.peer.has(*role) || client.peer.connected(*role))
            }) {
                return;
            }
            self.step(Duration::from_millis(10));
        }
        panic!("a good client does not connect");
    }

    /// Time passes: deadlines, and everything that the clients have to say, without loss.
    pub(crate) fn step(&mut self, time: Duration) {
        self.now += time;
        for index in 0..self.clients.len() {
            self.clients[index].peer.handle(self.now, media::Input::Timeout);
            while let Some(sent) = self.clients[index].peer.poll_transmit() {
                if sent.destination == SERVER {
                    self.datagram(sent.local, &sent.contents);
                }
            }
        }
        self.end_turn();
    }

    pub(crate) fn datagram(&mut self, source: SocketAddr, bytes: &[u8]) {
        let input = Input::Datagram { source, local: SERVER, bytes };
        self.worker.handle(self.now, input, &mut self.out);
    }

    /// Queues a packet on the publisher's microphone or camera.
    pub(crate) fn publish(&mut self, codec: Codec, rtp_time: u32, marker: bool, payload: &[u8]) {
        let line = usize::from(codec != Codec::Opus);
        let level = (codec == Codec::Opus).then_some(30);
        let packet = Packet { marker, level, ..Packet::new(codec, rtp_time, payload) };
        let client = &mut self.clients[0];
        match client.peer.write(self.now, line, packet) {
            Ok(()) | Err(MediaError::TooLarge(_)) => {}
            Err(error) => panic!("a negotiated codec: {error}"),
        }
    }

    /// Ends the worker's turn and delivers what it says.
    pub(crate) fn end_turn(&mut self) {
        self.worker.handle(self.now, Input::Timeout, &mut self.out);
        for transmit in std::mem::take(&mut self.out.transmits) {
            assert_eq!(transmit.local, SERVER, "sent from an address that is no candidate");
            self.deliver(transmit.destination, &transmit.contents);
        }
        let stats = self.worker.stats();
        assert_eq!(stats.peer_panics, 0, "a panic in a peer");
    }

    fn deliver(&mut self, destination: SocketAddr, bytes: &[u8]) {
        for client in &mut self.clients {
            for role in [TransportRole::Send, TransportRole::Receive] {
                if client.address(role) == destination {
                    let local = destination;
                    let input =
                        media::Input::Datagram { transport: role, source: SERVER, local, bytes };
                    client.peer.handle(self.now, input);
                }
            }
            while let Some(event) = client.peer.poll_event() {
                match event {
                    MediaEvent::Rtp(_) => client.received += 1,
                    MediaEvent::Data(data) => {
                        assert_ne!(data.from, client.id.0, "its own message");
                        client.data.push(data);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Everyone leaves: nothing may be left behind.
    pub(crate) fn close(mut self) {
        let reply = self.command(Action::CloseRoom { reason: LeaveReason::RoomClosed });
        assert!(matches!(reply, Ok(Reply::Done)), "{reply:?}");
        let stats = self.worker.stats();
        let gauges = [stats.rooms, stats.participants, stats.transports, stats.tracks];
        assert_eq!(stats.data.channels, 0, "a data channel of nobody");
        assert_eq!(gauges, [0; 4], "something is left: {stats:?}");
        self.end_turn();
        assert_eq!(self.worker.next_timeout(), None, "a deadline of nobody");
    }
}

const SILENT_OFFER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
    a=group:BUNDLE 0 1\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901234\r\n\
    a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:\
    10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\na=setup:actpass\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\n\
    a=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sendonly\r\n\
    a=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n";

/// A join without media.
pub(crate) fn request(participant: ParticipantId) -> JoinRequest {
    JoinRequest {
        participant,
        identity: "fuzz".into(),
        display_name: "Fuzz".into(),
        permissions: Permissions::ALL,
        send_offer: None,
        receive_offer: None,
        tracks: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The targets reach what they are meant to reach: media that passes a live room.
    #[test]
    fn payloads_reach_the_viewer() {
        let mut world = World::new();
        world.join(true);
        world.join(false);
        world.connect();
        let key_frame = [0x10, 0x50, 0x01, 0, 0x9d, 0x01, 0x2a, 0x80, 2, 0x68, 1];
        for time in 0..20_u32 {
            world.publish(Codec::Opus, time * 960, false, &[0xf8, 0xff]);
            world.publish(Codec::Vp8, time * 3_000, true, &key_frame);
            world.step(Duration::from_millis(20));
        }
        assert!(world.clients[1].received > 20, "{:?}", world.worker.stats());
        world.close();
    }
}
