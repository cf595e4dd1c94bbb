//! One participant's client: media peer, sources, links, and what it knows of the call.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use convoke_client::check::{Grace, SlotChecker};
use convoke_client::media::{
    Input as PeerInput, MediaConfig, MediaError, MediaEvent, MediaPeer, Offers, Received, SendLine,
};
use convoke_client::source::{AudioConfig, AudioSource, MediaSource, VideoConfig, VideoSource};
use convoke_core::{MediaKind, Mid, ParticipantId, RoomId, SlotView, Snapshot, TrackDeclaration};
use convoke_protocol::{MediaKind as WireKind, Source, TransportRole};

use crate::link::Link;
use crate::scenario::{ActorSpec, PublishSpec};

/// The m-lines of every send transport, in order.
pub(crate) const LINES: [Source; 4] =
    [Source::Microphone, Source::Camera, Source::Screen, Source::ScreenAudio];

/// How long packets of a former assignment may still come: they are on their way, or the next
/// source has no keyframe yet.
const GRACE: Grace = Grace { before: Duration::ZERO, after: Duration::from_secs(3) };

/// How often a receiver that cannot decode asks again.
const KEYFRAME_ASK_EVERY: Duration = Duration::from_millis(500);

/// A source of either kind.
#[derive(Debug)]
pub(crate) enum Player {
    Audio(AudioSource),
    Video(VideoSource),
}

impl Player {
    fn as_source(&mut self) -> &mut dyn MediaSource {
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

/// Something that is published.
#[derive(Debug)]
pub(crate) struct Playing {
    pub(crate) line: usize,
    pub(crate) client_id: String,
    pub(crate) spec: PublishSpec,
    pub(crate) player: Player,
}

/// One slot as its client sees it.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) kind: MediaKind,
    pub(crate) index: usize,
    pub(crate) checker: SlotChecker,
    /// When the assignment or its state last changed.
    pub(crate) changed: Instant,
    pub(crate) ssrc: Option<u32>,
    keyframe_asked: Option<Instant>,
}

/// What becomes of a presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    In,
    /// It went without the server being told: the server must find out by itself.
    Dying {
        since: Instant,
    },
}

/// One presence in a call.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) id: ParticipantId,
    pub(crate) room: RoomId,
    pub(crate) peer: MediaPeer,
    pub(crate) offers: Offers,
    /// The first addresses of its transports: send, receive.
    pub(crate) local: [SocketAddr; 2],
    pub(crate) playing: Vec<Playing>,
    pub(crate) known: Snapshot,
    pub(crate) slots: Vec<Watched>,
    pub(crate) joined_at: Instant,
    pub(crate) fate: Fate,
    pub(crate) disconnected: [bool; 2],
    /// Whether an ICE restart waits for its answer: only one may (RFC 3264 §4).
    pub(crate) restarting: [bool; 2],
    pub(crate) keyframe_requests: u64,
}

/// One participant over all its presences.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) spec: ActorSpec,
    pub(crate) up: Link,
    pub(crate) down: Link,
    pub(crate) live: Option<Live>,
    /// Counts presences, so that what is late from an earlier one is known.
    pub(crate) generation: u32,
    /// Whether its links lost or delayed anything on purpose.
    pub(crate) was_cut: bool,
    pub(crate) next_address: u8,
    pub(crate) next_client_id: u32,
}

pub(crate) fn role_index(role: TransportRole) -> usize {
    match role {
        TransportRole::Send => 0,
        TransportRole::Receive => 1,
    }
}

pub(crate) fn core_source(source: Source) -> convoke_core::Source {
    match source {
        Source::Microphone => convoke_core::Source::Microphone,
        Source::Camera => convoke_core::Source::Camera,
        Source::Screen => convoke_core::Source::Screen,
        Source::ScreenAudio => convoke_core::Source::ScreenAudio,
    }
}

pub(crate) fn line_of(source: Source) -> usize {
    LINES.iter().position(|line| *line == source).unwrap_or(0)
}

impl Actor {
    /// Fresh addresses: send and receive.
    pub(crate) fn addresses(&mut self, index: usize) -> [SocketAddr; 2] {
        let who = u8::try_from(index % 250).unwrap_or(0);
        let ip = Ipv4Addr::new(10, who, self.next_address, 1);
        self.next_address = self.next_address.wrapping_add(1);
        [SocketAddr::from((ip, 5_000)), SocketAddr::from((ip, 5_001))]
    }

    pub(crate) fn client_id(&mut self, source: Source) -> String {
        self.next_client_id += 1;
        format!("{source:?}-{}", self.next_client_id)
    }

    /// A peer with its offers.
    pub(crate) fn peer(
        &self,
        local: [SocketAddr; 2],
        seed: u64,
        now: Instant,
    ) -> Result<(MediaPeer, Offers), MediaError> {
        let mut config = MediaConfig::new(local[0], local[1]);
        config.audio_slots = self.spec.audio_slots;
        config.video_slots = self.spec.video_slots;
        let line = |source: &Source| {
            let published = self.spec.publish.iter().find(|p| p.source == *source);
            SendLine {
                first_sequence: published.and_then(|p| p.first_sequence),
                ssrc: published.and_then(|p| p.ssrc),
                ..SendLine::new(*source)
            }
        };
        config.send = if self.spec.sends { LINES.iter().map(line).collect() } else { Vec::new() };
        MediaPeer::new(config, seed, now)
    }
}

/// The declaration of a track on its line.
pub(crate) fn declaration(
    spec: &PublishSpec,
    client_id: &str,
    send_mids: &[String],
) -> Option<TrackDeclaration> {
    let mid = Mid::new(send_mids.get(line_of(spec.source))?)?;
    let source = core_source(spec.source);
    Some(TrackDeclaration {
        client_id: client_id.into(),
        source,
        mid,
        muted: spec.muted,
        encodings: Vec::new(),
        encrypted: false,
    })
}

/// A track's packets, from `now` on.
pub(crate) fn playing(
    spec: &PublishSpec,
    client_id: String,
    publisher: ParticipantId,
    epoch: Instant,
    now: Instant,
    seed: u64,
) -> Playing {
    // Sources of one participant do not tick together.
    let start = now + Duration::from_micros(seed % 15_000);
    let line = line_of(spec.source);
    // What is published anew on a line counts its frames anew.
    let track = client_id.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    let (first_rtp_time, paused_clock) = (spec.first_rtp_time, spec.paused_clock);
    let mut player = match spec.source.kind() {
        WireKind::Audio => Player::Audio(AudioSource::new(
            AudioConfig {
                track,
                level: spec.level,
                first_rtp_time,
                paused_clock,
                ..AudioConfig::new(publisher.0, epoch, start)
            },
            seed,
        )),
        WireKind::Video => Player::Video(VideoSource::new(
            VideoConfig {
                track,
                fps: spec.fps,
                bps: spec.bps,
                first_rtp_time,
                first_picture_id: spec.first_picture_id,
                paused_clock,
                ..VideoConfig::new(spec.codec, publisher.0, epoch, start)
            },
            seed,
        )),
    };
    if spec.muted && !spec.sends_while_muted {
        player.as_source().set_paused(now, true);
    }
    Playing { line, client_id, spec: spec.clone(), player }
}

impl Live {
    /// A presence that was let in.
    pub(crate) fn new(
        id: ParticipantId,
        room: RoomId,
        (peer, offers, local): (MediaPeer, Offers, [SocketAddr; 2]),
        known: Snapshot,
        epoch: Instant,
        now: Instant,
    ) -> Self {
        let slots = known
            .slots
            .iter()
            .map(|slot| {
                let kind = match slot.kind {
                    MediaKind::Audio => WireKind::Audio,
                    MediaKind::Video => WireKind::Video,
                };
                let mut checker = SlotChecker::new(kind, epoch, Some(GRACE));
                checker.assign(now, slot.assigned.map(|(p, _)| p.0));
                let index = usize::try_from(slot.index).unwrap_or(0);
                Watched {
                    kind: slot.kind,
                    index,
                    checker,
                    changed: now,
                    ssrc: None,
                    keyframe_asked: None,
                }
            })
            .collect();
        Self {
            id,
            room,
            peer,
            offers,
            local,
            playing: Vec::new(),
            known,
            slots,
            joined_at: now,
            fate: Fate::In,
            disconnected: [false; 2],
            restarting: [false; 2],
            keyframe_requests: 0,
        }
    }

    /// When something is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        if self.fate != Fate::In {
            return None;
        }
        let sources = self.playing.iter().filter_map(|p| p.player.next_due());
        sources.chain(self.peer.next_timeout()).min()
    }

    /// Makes packets and drives the peer.
    pub(crate) fn turn(&mut self, now: Instant) {
        for playing in &mut self.playing {
            if playing.player.next_due().is_none_or(|due| due > now) {
                continue;
            }
            for packet in playing.player.as_source().take(now) {
                // What is made before the transport is up goes nowhere.
                if self.peer.connected(TransportRole::Send) {
                    // Refused are only codecs that were not negotiated; all are.
                    let _ = self.peer.write(now, playing.line, packet);
                }
            }
        }
        if self.peer.next_timeout().is_some_and(|due| due <= now) {
            self.peer.handle(now, PeerInput::Timeout);
        }
    }

    /// Asks for keyframes where nothing can be decoded, as receivers do.
    pub(crate) fn ask_for_keyframes(&mut self, now: Instant) {
        let video = self.slots.iter_mut().filter(|s| s.kind == MediaKind::Video);
        for slot in video.filter(|s| s.checker.wants_keyframe(now)) {
            let patient = |at: Instant| now < at + KEYFRAME_ASK_EVERY;
            let mid = self.offers.video_mids.get(slot.index);
            if let Some(mid) = mid.filter(|_| !slot.keyframe_asked.is_some_and(patient)) {
                self.peer.request_keyframe(now, mid);
                slot.keyframe_asked = Some(now);
            }
        }
    }

    /// Takes the peer's events: received packets go back to the caller.
    pub(crate) fn events(&mut self) -> Vec<Received> {
        let mut received = Vec::new();
        while let Some(event) = self.peer.poll_event() {
            match event {
                MediaEvent::Rtp(packet) => received.push(packet),
                MediaEvent::Connected(role) => self.disconnected[role_index(role)] = false,
                MediaEvent::Disconnected(role) => self.disconnected[role_index(role)] = true,
                MediaEvent::KeyframeRequest { line, encoding } => {
                    self.keyframe_requests += 1;
                    if let Some(playing) = self.playing.iter_mut().find(|p| p.line == line) {
                        playing.player.as_source().request_keyframe_of(encoding);
                    }
                }
                _ => {}
            }
        }
        received
    }

    /// The slot of a received packet: audio slots come first.
    pub(crate) fn slot_of(&mut self, packet: &Received) -> Option<&mut Watched> {
        let kind = match packet.kind {
            WireKind::Audio => MediaKind::Audio,
            WireKind::Video => MediaKind::Video,
        };
        self.slots.iter_mut().find(|s| s.kind == kind && s.index == packet.index)
    }

    /// The slot table says something new.
    pub(crate) fn slots_changed(&mut self, now: Instant, changed: &[SlotView]) {
        for slot in changed {
            if let Some(known) = self.known.slots.iter_mut().find(|s| s.mid == slot.mid) {
                *known = *slot;
            }
            let index = usize::try_from(slot.index).unwrap_or(usize::MAX);
            let watched = self.slots.iter_mut().find(|s| s.kind == slot.kind && s.index == index);
            if let Some(watched) = watched {
                watched.changed = now;
                watched.checker.assign(now, slot.assigned.map(|(p, _)| p.0));
            }
        }
    }

    pub(crate) fn set_paused(&mut self, now: Instant, source: Source, paused: bool) {
        if let Some(playing) = self.playing.iter_mut().find(|p| p.spec.source == source) {
            if !playing.spec.sends_while_muted {
                playing.player.as_source().set_paused(now, paused);
            }
            playing.spec.muted = paused;
        }
    }

    pub(crate) fn set_level(&mut self, level: u8) {
        for playing in &mut self.playing {
            if let Player::Audio(audio) = &mut playing.player {
                audio.set_level(level);
            }
        }
    }

    /// Stops all sources, so that what is on its way can arrive.
    pub(crate) fn hush(&mut self, now: Instant) {
        for playing in &mut self.playing {
            playing.player.as_source().set_paused(now, true);
        }
    }

    /// From the join to the first frame that could be shown, in milliseconds.
    pub(crate) fn first_frame_ms(&self) -> Option<f64> {
        let video = self.slots.iter().filter(|s| s.kind == MediaKind::Video);
        let first = video
            .flat_map(|s| s.checker.report().sources.into_values())
            .filter_map(|source| source.first_decoded)
            .min()?;
        Some(first.saturating_duration_since(self.joined_at).as_secs_f64() * 1_000.0)
    }
}
