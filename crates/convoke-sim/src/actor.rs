//! One participant's client: media peer, sources, links, and what it knows of the call.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use convoke_client::check::{Grace, SlotChecker};
use convoke_client::media::{
    Input as PeerInput, MediaConfig, MediaError, MediaEvent, MediaPeer, Offers, Received, SendLine,
};
use convoke_core::{
    EncodingDemand, Layer, MediaKind, ParticipantId, Permissions, RoomId, SlotState, SlotView,
    Snapshot,
};
use convoke_protocol::{MediaKind as WireKind, Source, TransportRole};

use crate::link::Link;
use crate::playing::{LINES, Player, Playing};
use crate::scenario::{ActorSpec, LayersSpec};

/// How long packets of a former assignment may still come: they are on their way, or the next
/// source has no keyframe yet.
const GRACE: Grace = Grace { before: Duration::ZERO, after: Duration::from_secs(3) };

/// How often a receiver that cannot decode asks again.
const KEYFRAME_ASK_EVERY: Duration = Duration::from_millis(500);

/// One slot as its client sees it.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) kind: MediaKind,
    pub(crate) index: usize,
    pub(crate) checker: SlotChecker,
    /// When the assignment or its state last changed.
    pub(crate) changed: Instant,
    pub(crate) ssrc: Option<u32>,
    /// When the layer changed while the track stayed.
    pub(crate) layer_changes: Vec<Instant>,
    /// Those of size: a frame rate that changes is hardly noticed.
    pub(crate) size_changes: Vec<Instant>,
    layer: Option<Layer>,
    /// Which layer was told when.
    told: Vec<(Instant, Layer)>,
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
    /// What it may do.
    pub(crate) permissions: Permissions,
    /// It waits in the lobby.
    pub(crate) waits: bool,
    /// It was removed.
    pub(crate) removed: bool,
}

pub(crate) fn role_index(role: TransportRole) -> usize {
    match role {
        TransportRole::Send => 0,
        TransportRole::Receive => 1,
    }
}

impl Watched {
    /// The slot table says something new of it.
    fn changed(&mut self, now: Instant, was: SlotView, is: &SlotView) {
        self.changed = now;
        self.checker.assign(now, is.assigned.map(|(p, _)| p.0));
        if is.state != SlotState::Active {
            self.checker.rest();
        }
        let stays = is.assigned == was.assigned && is.assigned.is_some();
        if stays && is.layer.is_some() && self.layer.is_some() && is.layer != self.layer {
            self.layer_changes.push(now);
            if is.layer.map(|layer| layer.spatial) != self.layer.map(|layer| layer.spatial) {
                self.size_changes.push(now);
            }
        }
        if self.layer != is.layer {
            self.told.extend(is.layer.map(|layer| (now, layer)));
        }
        self.layer = is.layer;
    }

    /// The layers that were told for some time between `from` and `to`.
    pub(crate) fn layers_within(&self, from: Instant, to: Instant) -> impl Iterator<Item = Layer> {
        let first = self.told.iter().rposition(|(at, _)| *at <= from).unwrap_or(0);
        self.told.iter().skip(first).filter(move |(at, _)| *at <= to).map(|(_, layer)| *layer)
    }
}

/// The most changes in any minute after `from`.
pub(crate) fn most_in_a_minute(changes: &[Instant], from: Instant) -> usize {
    let late: Vec<Instant> = changes.iter().copied().filter(|at| *at >= from).collect();
    let within = |start: &Instant| {
        let end = *start + Duration::from_secs(60);
        late.iter().filter(|at| (*start..end).contains(*at)).count()
    };
    late.iter().map(within).max().unwrap_or(0)
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
        config.dependency_descriptor = self.spec.descriptor;
        let line = |source: &Source| {
            let published = self.spec.publish.iter().find(|p| p.source == *source);
            let layers = published.and_then(|p| p.layers.as_ref());
            let rids = layers.map(LayersSpec::rids).unwrap_or_default();
            SendLine {
                rids: rids.iter().map(|rid| (*rid).into()).collect(),
                first_sequence: published.and_then(|p| p.first_sequence),
                ssrc: published.and_then(|p| p.ssrc),
                ..SendLine::new(*source)
            }
        };
        config.send = if self.spec.sends { LINES.iter().map(line).collect() } else { Vec::new() };
        MediaPeer::new(config, seed, now)
    }
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
                    layer_changes: Vec::new(),
                    size_changes: Vec::new(),
                    layer: slot.layer,
                    told: slot.layer.map(|layer| (now, layer)).into_iter().collect(),
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
                        let count = playing.asked.len().max(encoding + 1);
                        playing.asked.resize(count, 0);
                        playing.asked[encoding] += 1;
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
            let Some(known) = self.known.slots.iter_mut().find(|s| s.mid == slot.mid) else {
                continue;
            };
            let known = std::mem::replace(known, *slot);
            let index = usize::try_from(slot.index).unwrap_or(usize::MAX);
            let watched = self.slots.iter_mut().find(|s| s.kind == slot.kind && s.index == index);
            if let Some(watched) = watched {
                watched.changed(now, known, slot);
            }
        }
    }

    /// The server said which encodings of a track are wanted.
    pub(crate) fn demanded(&mut self, now: Instant, client_id: &str, encodings: &[EncodingDemand]) {
        let playing = self.playing.iter_mut().find(|p| p.client_id == client_id);
        let Some(playing) = playing else { return };
        playing.wanted = encodings.iter().map(|encoding| encoding.active).collect();
        if !playing.spec.ignores_demand {
            for (index, encoding) in encodings.iter().enumerate() {
                playing.player.as_source().set_active(now, index, encoding.active);
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
