//! A media peer of WHIP and WHEP: one transport over a real socket, and counts of what came.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use convoke_client::media::{Codec, Input, MediaConfig, MediaEvent, MediaPeer, Packet, SendLine};
use convoke_client::source::{
    AudioConfig, AudioSource, EncodingConfig, LayeredConfig, LayeredSource, MediaSource, Stamp,
};
use convoke_protocol::{MediaKind, Source, TransportRole};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::support::PATIENCE;

/// What has come so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) connected: bool,
    /// Packets by kind and publisher.
    packets: HashMap<(MediaKind, u32), u32>,
    /// Width of the last picture of each publisher.
    widths: HashMap<u32, u16>,
}

impl Seen {
    pub(crate) fn audio(&self, publisher: u32) -> u32 {
        self.packets.get(&(MediaKind::Audio, publisher)).copied().unwrap_or(0)
    }

    pub(crate) fn video(&self, publisher: u32) -> u32 {
        self.packets.get(&(MediaKind::Video, publisher)).copied().unwrap_or(0)
    }

    pub(crate) fn width(&self, publisher: u32) -> u16 {
        self.widths.get(&publisher).copied().unwrap_or(0)
    }
}

enum Do {
    Answer(String),
    Restart(oneshot::Sender<String>),
    SetLevel(u8),
}

pub(crate) struct Peer {
    pub(crate) offer: String,
    role: TransportRole,
    to: mpsc::UnboundedSender<Do>,
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sizes of the simulcast encodings.
const SIZES: [(u16, u16); 3] = [(320, 180), (640, 360), (1280, 720)];

struct Run {
    media: MediaPeer,
    role: TransportRole,
    socket: UdpSocket,
    audio: Option<AudioSource>,
    video: Option<LayeredSource>,
    from: mpsc::UnboundedReceiver<Do>,
    seen: watch::Sender<Seen>,
}

impl Peer {
    /// Sends sound and a picture in as many simulcast encodings.
    pub(crate) async fn publisher(number: u32, rids: &[&str]) -> Self {
        Self::start(number, TransportRole::Send, &[Source::Microphone, Source::Camera], rids).await
    }

    pub(crate) async fn sending(number: u32, sources: &[Source]) -> Self {
        Self::start(number, TransportRole::Send, sources, &[]).await
    }

    pub(crate) async fn watcher() -> Self {
        Self::start(0, TransportRole::Receive, &[], &[]).await
    }

    async fn start(number: u32, role: TransportRole, sources: &[Source], rids: &[&str]) -> Self {
        let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        let address = socket.local_addr().unwrap();
        let line = |source: &Source| match source {
            Source::Camera => SendLine::simulcast(*source, rids),
            _ => SendLine::new(*source),
        };
        let slots = usize::from(role == TransportRole::Receive);
        let config = MediaConfig {
            send: sources.iter().map(line).collect(),
            audio_slots: slots,
            video_slots: slots,
            ..MediaConfig::new(address, address)
        };
        let now = Instant::now();
        let (media, offers) = MediaPeer::new(config, u64::from(number), now).unwrap();
        let offer = offers.send.or(offers.receive).unwrap();
        let has = |kind| sources.iter().any(|source| source.kind() == kind);
        let audio = has(MediaKind::Audio)
            .then(|| AudioSource::new(AudioConfig::new(number, now, now), u64::from(number)));
        let video = has(MediaKind::Video).then(|| {
            let encodings = SIZES.iter().take(rids.len().max(1)).map(|size| EncodingConfig {
                size: *size,
                bps: u32::from(size.0) * 500,
                active: true,
            });
            let config = LayeredConfig {
                encodings: encodings.collect(),
                ..LayeredConfig::simulcast(Codec::Vp8, number, now, now)
            };
            LayeredSource::new(config, u64::from(number))
        });
        let (to, from) = mpsc::unbounded_channel();
        let (tell, seen) = watch::channel(Seen::default());
        let run = Run { media, role, socket, audio, video, from, seen: tell };
        let task = tokio::spawn(run.run());
        Self { offer, role, to, seen, task }
    }

    pub(crate) fn answer(&self, sdp: &str) {
        assert!(self.to.send(Do::Answer(sdp.to_owned())).is_ok());
    }

    /// How loud the sound claims to be.
    pub(crate) fn set_level(&self, level: u8) {
        assert!(self.to.send(Do::SetLevel(level)).is_ok());
    }

    /// The offer of an ICE restart.
    pub(crate) async fn restart(&self) -> String {
        let (to, from) = oneshot::channel();
        assert!(self.to.send(Do::Restart(to)).is_ok());
        from.await.unwrap()
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits until what was seen is as wanted.
    pub(crate) async fn wait(&mut self, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let found = tokio::time::timeout(PATIENCE, self.seen.wait_for(wanted)).await;
        let found = found.map(|seen| seen.expect("the peer runs").clone());
        found.unwrap_or_else(|_| panic!("{:?}: {:?}", self.role, self.seen()))
    }
}

impl Run {
    async fn run(mut self) {
        let mut bytes = [0; 2048];
        loop {
            let until = self.turn(Instant::now());
            tokio::select! {
                received = self.socket.recv_from(&mut bytes) => {
                    let Ok((len, source)) = received else { continue };
                    let (transport, local) = (self.role, self.socket.local_addr().unwrap());
                    let bytes = &bytes[..len];
                    let input = Input::Datagram { transport, source, local, bytes };
                    self.media.handle(Instant::now(), input);
                }
                wanted = self.from.recv() => match wanted {
                    Some(wanted) => self.carry_out(wanted),
                    None => return,
                },
                () = tokio::time::sleep_until(until.into()) => {}
            }
        }
    }

    fn carry_out(&mut self, wanted: Do) {
        let now = Instant::now();
        match wanted {
            Do::Answer(sdp) if self.media.answered(self.role) => {
                self.media.accept_answer(now, self.role, &sdp).unwrap();
            }
            Do::Answer(sdp) => {
                self.media.accept_answers(now, Some(&sdp), Some(&sdp)).unwrap();
            }
            Do::Restart(reply) => {
                let _ = reply.send(self.media.restart_ice(self.role, None).unwrap());
            }
            Do::SetLevel(level) => self.audio.as_mut().unwrap().set_level(level),
        }
    }

    fn turn(&mut self, now: Instant) -> Instant {
        let mut due: Vec<Instant> = Vec::new();
        let sources: [Option<&mut dyn MediaSource>; 2] = [
            self.audio.as_mut().map(|one| one as &mut dyn MediaSource),
            self.video.as_mut().map(|one| one as &mut dyn MediaSource),
        ];
        for (line, source) in sources.into_iter().flatten().enumerate() {
            let packets: Vec<Packet> = source.take(now);
            due.extend(source.next_due());
            for packet in packets {
                if self.media.connected(self.role) {
                    let _ = self.media.write(now, line, packet);
                }
            }
        }
        self.media.handle(now, Input::Timeout);
        while let Some(transmit) = self.media.poll_transmit() {
            let _ = self.socket.try_send_to(&transmit.contents, transmit.destination);
        }
        while let Some(event) = self.media.poll_event() {
            self.heard(event);
        }
        due.extend(self.media.next_timeout());
        due.into_iter().min().unwrap_or(now + Duration::from_secs(1))
    }

    fn heard(&mut self, event: MediaEvent) {
        match event {
            MediaEvent::Connected(_) => {
                // As encoders begin: what was made before went nowhere.
                if let Some(video) = &mut self.video {
                    (0..SIZES.len()).for_each(|encoding| video.request_keyframe_of(encoding));
                }
                self.seen.send_modify(|seen| seen.connected = true);
            }
            MediaEvent::Disconnected(_) | MediaEvent::Closed { .. } => {
                self.seen.send_modify(|seen| seen.connected = false);
            }
            MediaEvent::KeyframeRequest { encoding, .. } => {
                if let Some(video) = &mut self.video {
                    video.request_keyframe_of(encoding);
                }
            }
            MediaEvent::Rtp(packet) => {
                let Some(stamp) = Stamp::read(&packet.payload) else { return };
                self.seen.send_modify(|seen| {
                    *seen.packets.entry((packet.kind, stamp.publisher)).or_default() += 1;
                    if packet.kind == MediaKind::Video {
                        seen.widths.insert(stamp.publisher, stamp.size.0);
                    }
                });
            }
            _ => {}
        }
    }
}
