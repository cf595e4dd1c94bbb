//! One room: its people, their tracks and slots, and the fan-out between them.
//!
//! Owns: the roster and its version (one writer, so the order of changes is total), the edges from
//! tracks to slots, the forwarding loop.
//! Never: creates transports (the worker does), reads a clock, or knows SDP.

mod data;
mod explain;
mod keyframes;
mod meter;
mod mirror;
mod path;
mod probe;
mod publish;
mod quality;
mod reconcile;
mod relay;
mod remb;
mod speech;
mod track;
mod view;
mod want;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use slab::Slab;

use crate::api::{
    DataLimits, DropReason, Event, Layer, LeaveReason, MediaKind, Permissions, Relay, RoomChange,
    SlotReason, SlotState, SlotWish, Stats, TransportRole,
};
use crate::clock::SamplingClock;
use crate::forward::rewrite::Incoming;
use crate::forward::select::Candidate;
use crate::forward::{Choice, Forwarder, Kind};
use crate::ids::{Mid, ParticipantId, RoomId, TrackId};
use crate::layers::{FrameInfo, descriptor};
use crate::speaker::Speakers;
use crate::transport::{Codec, DescriptorBytes, Line, MediaPacket, Outgoing, Transport};
use quality::Quality;
use relay::Link;
use track::{Heard, Track};

pub(crate) use publish::TrackError;
pub(crate) use relay::LinkError;

/// A transport with whose it is.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) transport: Transport,
    /// The room's key in its worker.
    pub(crate) room: usize,
    /// The participant's key in its room.
    pub(crate) participant: usize,
    /// See [`crate::timers::Timers::set`].
    pub(crate) drive_scheduled: Option<Instant>,
    pub(crate) liveness_scheduled: Option<Instant>,
    /// Whether its peer has been told to be silent ([`crate::TransportState::Disconnected`]).
    pub(crate) silent: bool,
}

/// What a room needs of its worker while it handles one thing.
pub(crate) struct Io<'a> {
    pub(crate) now: Instant,
    pub(crate) seats: &'a mut Slab<Seat>,
    /// Transports that must be driven at the end of the turn.
    pub(crate) touched: &'a mut Vec<usize>,
    pub(crate) stats: &'a mut Stats,
    pub(crate) events: &'a mut Vec<Event>,
    /// Messages for other shards.
    pub(crate) relays: &'a mut Vec<Relay>,
    pub(crate) keyframe_interval: Duration,
    pub(crate) data_limits: DataLimits,
}

impl Io<'_> {
    pub(crate) fn touch(&mut self, key: usize) {
        self.touched.push(key);
    }

    fn is_connected(&self, key: usize) -> bool {
        self.seats.get(key).is_some_and(|seat| seat.transport.connected)
    }
}

/// Someone in the room.
#[derive(Debug)]
pub(crate) struct Participant {
    pub(crate) id: ParticipantId,
    /// The link that it is mirrored from; `None` for one of this shard, who alone has transports
    /// and slots.
    home: Option<usize>,
    pub(crate) identity: Arc<str>,
    pub(crate) display_name: Arc<str>,
    pub(crate) permissions: Permissions,
    pub(crate) reachable: bool,
    /// Transport keys in the worker.
    pub(crate) send: Option<usize>,
    pub(crate) receive: Option<usize>,
    /// Track keys, in order of publishing.
    tracks: Vec<usize>,
    /// The track bound to each m-line of the send transport.
    by_line: Vec<Option<usize>>,
    /// In m-line order.
    slots: Vec<Slot>,
    wishes: Vec<SlotWish>,
    clock: SamplingClock,
    data: data::Data,
    quality: Quality,
}

/// One m-line of a receive transport.
#[derive(Debug)]
struct Slot {
    line: usize,
    mid: Mid,
    kind: MediaKind,
    /// Among those of its kind.
    index: usize,
    /// The track key that it is for.
    assigned: Option<usize>,
    state: SlotState,
    forwarder: Forwarder,
    /// The tracks that have an edge to it.
    edges: [Option<usize>; 2],
    /// The layer that it is for (video).
    allocated: Option<Layer>,
    /// What that is counted with, in bit/s.
    bitrate_bps: u64,
    /// Why it is not more.
    limit: SlotReason,
    /// What its participant is told of that.
    reason: Option<SlotReason>,
    /// The best that the publisher should send for its sake.
    upstream: Option<Layer>,
    /// When a keyframe was last forwarded.
    last_keyframe: Option<Instant>,
    /// What its participant was last told of it.
    told: Told,
}

/// What a participant knows of a slot.
type Told = (Option<TrackId>, SlotState, Option<Layer>, Option<SlotReason>);

/// A packet that may be forwarded.
#[derive(Debug)]
struct Admitted {
    /// The track's key.
    key: usize,
    csrc: u32,
    /// When it was sampled, by our clock.
    sampled: Instant,
    newest: bool,
    /// Which of the track's encodings it is of.
    encoding: usize,
    /// What a video packet says of its layer.
    info: Option<FrameInfo>,
}

/// The edge from a track to a slot. The other kind leads to another shard: [`relay`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Subscription {
    participant: usize,
    slot: usize,
}

/// One room; see the module's docs.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) id: RoomId,
    version: u64,
    participants: Slab<Participant>,
    by_id: FxHashMap<ParticipantId, usize>,
    /// Everyone's keys by order of joining, as it was heard here.
    order: Vec<usize>,
    /// Those of this shard's own.
    locals: Vec<usize>,
    tracks: Slab<Track>,
    track_keys: FxHashMap<TrackId, usize>,
    /// The call's other shards.
    links: Slab<Link>,
    /// Whether this shard wants the audio of others.
    wants_audio: bool,
    next_track: u32,
    /// Counts tracks, mirrored ones included.
    next_arrival: u64,
    /// Track keys, most deserving first: audio and video (see [`reconcile`]).
    ranks: Ranks,
    /// When [`Self::poll_keyframes`] is due, for the worker to take.
    pub(crate) keyframe_poll: Option<Instant>,
    /// When [`Self::poll_quality`] is due, for the worker to take.
    pub(crate) quality_poll: Option<Instant>,
    /// See [`crate::timers::Timers::set`].
    pub(crate) quality_scheduled: Option<Instant>,
    /// When layers are measured again.
    next_round: Option<Instant>,
    /// See [`crate::timers::Timers::set`].
    pub(crate) keyframes_scheduled: Option<Instant>,
    /// The microphones' voices, by track key.
    speakers: Speakers,
    /// See [`crate::timers::Timers::set`].
    pub(crate) speech_scheduled: Option<Instant>,
    /// For durable messages that wait for their time.
    pub(crate) data_timer: data::Timer,
    /// Scratch: slots whose state changed in a fan-out.
    changed: Vec<Subscription>,
}

/// Track keys by kind, most deserving of a slot first.
#[derive(Debug, Default)]
struct Ranks {
    audio: Vec<usize>,
    video: Vec<usize>,
}

impl Ranks {
    fn of(&self, kind: MediaKind) -> &Vec<usize> {
        match kind {
            MediaKind::Audio => &self.audio,
            MediaKind::Video => &self.video,
        }
    }

    fn of_mut(&mut self, kind: MediaKind) -> &mut Vec<usize> {
        match kind {
            MediaKind::Audio => &mut self.audio,
            MediaKind::Video => &mut self.video,
        }
    }
}

impl Room {
    pub(crate) fn new(id: RoomId) -> Self {
        Self {
            id,
            version: 0,
            participants: Slab::new(),
            by_id: FxHashMap::default(),
            order: Vec::new(),
            locals: Vec::new(),
            tracks: Slab::new(),
            track_keys: FxHashMap::default(),
            links: Slab::new(),
            wants_audio: false,
            next_track: 1,
            next_arrival: 0,
            ranks: Ranks::default(),
            keyframe_poll: None,
            quality_poll: None,
            quality_scheduled: None,
            next_round: None,
            keyframes_scheduled: None,
            speakers: Speakers::default(),
            speech_scheduled: None,
            data_timer: data::Timer::default(),
            changed: Vec::new(),
        }
    }

    /// This shard's own participants.
    pub(crate) fn len(&self) -> usize {
        self.locals.len()
    }

    /// The call's participants, as far as is known here.
    pub(crate) fn len_of_call(&self) -> usize {
        self.order.len()
    }

    /// The key of one of this shard's own participants.
    pub(crate) fn local_key_of(&self, id: ParticipantId) -> Option<usize> {
        let key = self.key_of(id)?;
        self.participants.get(key).filter(|participant| participant.home.is_none()).map(|_| key)
    }

    /// The key of anyone in the call.
    pub(crate) fn key_of(&self, id: ParticipantId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn participant(&self, key: usize) -> Option<&Participant> {
        self.participants.get(key)
    }

    /// Tracks published on this shard.
    pub(crate) fn track_count(&self) -> usize {
        self.tracks.iter().filter(|(_, track)| track.home.is_none()).count()
    }

    /// Keys of this shard's own participants, by order of joining.
    pub(crate) fn keys(&self) -> Vec<usize> {
        self.locals.clone()
    }

    /// The key that the next participant will have.
    pub(crate) fn next_key(&self) -> usize {
        self.participants.vacant_key()
    }

    /// The participant's id, if its state is another now.
    pub(crate) fn change_reachable(
        &mut self,
        key: usize,
        reachable: bool,
    ) -> Option<ParticipantId> {
        let participant = self.participants.get_mut(key)?;
        let changed = participant.reachable != reachable;
        participant.reachable = reachable;
        changed.then_some(participant.id)
    }

    /// Tells this shard's own of a change, and other shards, if it is not `home`'s already.
    pub(crate) fn announce(&mut self, io: &mut Io<'_>, home: Option<usize>, change: RoomChange) {
        if home.is_none() {
            self.relay_change(io, &change);
        }
        self.version += 1;
        io.events.push(Event::Room { room: self.id, version: self.version, change });
    }

    /// Adds a participant whose transports are seated; `random` feeds its slots.
    pub(crate) fn join(
        &mut self,
        io: &mut Io<'_>,
        mut participant: Participant,
        random: &mut dyn FnMut() -> u32,
    ) -> usize {
        if let Some(seat) = participant.receive.and_then(|key| io.seats.get(key)) {
            sync_slots(&mut participant.slots, &seat.transport.lines, random);
        }
        if let Some(seat) = participant.send.and_then(|key| io.seats.get(key)) {
            participant.by_line.resize(seat.transport.lines.len(), None);
        }
        let key = self.add(io, participant);
        self.reconcile(io, key);
        self.update_audio_want(io);
        key
    }

    /// Takes a participant into the roster.
    fn add(&mut self, io: &mut Io<'_>, participant: Participant) -> usize {
        let (id, home) = (participant.id, participant.home);
        let key = self.participants.insert(participant);
        self.by_id.insert(id, key);
        self.order.push(key);
        if home.is_none() {
            self.locals.push(key);
        }
        if let Some(view) = self.participant_view(key) {
            self.announce(io, home, RoomChange::ParticipantJoined(view));
        }
        key
    }

    /// Removes a participant: the one ending. Returns its transport keys, to be closed.
    pub(crate) fn remove(
        &mut self,
        io: &mut Io<'_>,
        key: usize,
        reason: LeaveReason,
    ) -> [Option<usize>; 2] {
        let Some(participant) = self.participants.get_mut(key) else { return [None, None] };
        let (id, home) = (participant.id, participant.home);
        let transports = [participant.send.take(), participant.receive.take()];
        for slot in 0..participant.slots.len() {
            self.release(key, slot);
        }
        let tracks = self.participants.get_mut(key).map(|p| std::mem::take(&mut p.tracks));
        let mut affected = Vec::new();
        for track in tracks.unwrap_or_default() {
            affected.extend(self.detach(io.now, track));
        }
        self.participants.remove(key);
        self.by_id.remove(&id);
        self.order.retain(|other| *other != key);
        self.locals.retain(|other| *other != key);
        self.announce(io, home, RoomChange::ParticipantLeft { participant: id, reason });
        self.reconcile_many(io, affected);
        if home.is_none() {
            self.update_audio_want(io);
        }
        transports
    }

    /// One packet of one m-line: to whom it belongs, and then to its subscriptions.
    pub(crate) fn forward(
        &mut self,
        io: &mut Io<'_>,
        participant: usize,
        line: usize,
        packet: &MediaPacket,
    ) {
        match self.admit(io, participant, line, packet) {
            Ok(admitted) => {
                if packet.codec.is_audio() {
                    // Before the fan-out: a voice's first packet that counts is heard itself.
                    self.hear(io, admitted.key, packet);
                }
                self.fan_out(io, &admitted, packet);
                self.relay_media(io, &admitted, packet);
            }
            Err(reason) => io.drop_one(reason),
        }
    }

    /// Whether a packet may be forwarded, and as what.
    fn admit(
        &mut self,
        io: &mut Io<'_>,
        participant: usize,
        line: usize,
        packet: &MediaPacket,
    ) -> Result<Admitted, DropReason> {
        let owner = self.participants.get_mut(participant).ok_or(DropReason::NotPublished)?;
        let key = owner.by_line.get(line).copied().flatten().ok_or(DropReason::NotPublished)?;
        let track = self.tracks.get_mut(key).ok_or(DropReason::NotPublished)?;
        let audio = packet.codec.is_audio();
        if track.muted || audio != (track.source.kind() == MediaKind::Audio) {
            return Err(DropReason::NotAllowed);
        }
        let heard = track.hear(io.now, packet).ok_or(DropReason::OtherEncoding)?;
        if heard.reordered {
            track.update_rungs(io.now);
            self.tell_ladder(io, key);
            self.restart(io, key);
        }
        self.admitted(io, key, packet, heard).ok_or(DropReason::Unreadable)
    }

    /// What is to be forwarded of a packet that its track has heard.
    fn admitted(
        &mut self,
        io: &Io<'_>,
        key: usize,
        packet: &MediaPacket,
        heard: Heard,
    ) -> Option<Admitted> {
        if !packet.codec.is_audio() && heard.info.is_none() {
            return None;
        }
        if heard.returned {
            // Requests that it could not hear are due again.
            self.poll_keyframes_at(io.now);
        }
        let track = self.tracks.get_mut(key)?;
        // Broken redundancy; where it is encrypted nobody can tell.
        if packet.codec == Codec::OpusRed && packet.primary.is_none() && !track.encrypted {
            return None;
        }
        let owner = track.owner;
        let owner = self.participants.get_mut(owner)?;
        let encoding = track.encodings.get_mut(heard.encoding)?;
        let sampled = encoding.sampled(io.now, packet, &mut owner.clock);
        let csrc = owner.id.0;
        let Heard { newest, encoding, info, .. } = heard;
        Some(Admitted { key, csrc, sampled, newest, encoding, info })
    }

    /// A track's encodings were numbered anew: who has one starts again.
    fn restart(&mut self, io: &mut Io<'_>, track: usize) {
        let subscriptions = self.tracks.get(track).map(|track| track.subscriptions.clone());
        for subscription in subscriptions.unwrap_or_default() {
            let participant = self.participants.get_mut(subscription.participant);
            if let Some(slot) = participant.and_then(|p| p.slots.get_mut(subscription.slot)) {
                slot.forwarder.lose(track);
            }
            self.allocate(io, subscription.participant);
        }
    }

    /// The fan-out: one packet of one track to its subscriptions.
    fn fan_out(&mut self, io: &mut Io<'_>, admitted: &Admitted, packet: &MediaPacket) {
        let Some(track) = self.tracks.get(admitted.key) else { return };
        let candidate = candidate(admitted, packet);
        for subscription in &track.subscriptions {
            let Some(subscriber) = self.participants.get_mut(subscription.participant) else {
                continue;
            };
            let Some(slot) = subscriber.slots.get_mut(subscription.slot) else { continue };
            let Some(transport) = subscriber.receive else { continue };
            // A keyframe that cannot be delivered must not count as a start.
            let seat = io.seats.get_mut(transport).filter(|seat| seat.transport.connected);
            let Some(seat) = seat else { continue };
            let opaque = track.encrypted && packet.codec == Codec::OpusRed;
            let payload_type = seat.transport.payload_for(slot.line, packet.codec, opaque);
            let Some(payload_type) = payload_type else {
                if slot.refuse_codec(admitted.key) {
                    self.changed.push(*subscription);
                }
                continue;
            };
            if slot.accept_codec(admitted.key) {
                self.changed.push(*subscription);
            }
            let (numbers, marker) = match slot.forwarder.choose(io.now, &candidate) {
                Choice::Forward { numbers, marker } => (numbers, marker),
                Choice::Switch { numbers, marker, track } => {
                    io.stats.slot_switches += u64::from(track);
                    if slot.assigned == Some(admitted.key) {
                        slot.settle(false);
                    }
                    self.changed.push(*subscription);
                    if !packet.codec.is_audio() {
                        // A keyframe: nobody who has it has use for what went before.
                        seat.transport.forget_sent(slot.line);
                    }
                    (numbers, marker)
                }
                Choice::Skip => continue,
                Choice::Late => {
                    io.drop_one(DropReason::Late);
                    continue;
                }
                Choice::Lost => {
                    if slot.assigned == Some(admitted.key) {
                        slot.settle(false);
                    }
                    self.changed.push(*subscription);
                    continue;
                }
            };
            if candidate.starts_keyframe() {
                slot.last_keyframe = Some(io.now);
            }
            let outgoing = Outgoing {
                packet,
                payload_type,
                seq: numbers.seq,
                time: numbers.time,
                marker,
                opaque,
                sampled: admitted.sampled,
                csrc: admitted.csrc,
                prefix: numbers.prefix,
                descriptor: rewritten_descriptor(admitted, packet, numbers.frame_number),
            };
            let was_touched = seat.transport.touched;
            if seat.transport.write(slot.line, outgoing) {
                if !was_touched {
                    io.touched.push(transport);
                }
                io.stats.count_out(packet.codec.is_audio(), packet.payload.len());
            }
        }
        if !self.changed.is_empty() {
            self.after_switches(io, admitted.key);
        }
    }

    /// Tells of slots that changed in a fan-out of `track`, and cuts the edges that ended.
    fn after_switches(&mut self, io: &mut Io<'_>, track: usize) {
        let changed = std::mem::take(&mut self.changed);
        for subscription in &changed {
            self.refresh_edges(subscription.participant, subscription.slot);
            let slot = self.slot(subscription.participant, subscription.slot);
            let waits = slot.and_then(|slot| slot.forwarder.waits_for_keyframe(track));
            if let Some(spatial) = waits {
                self.request_keyframe(io, track, spatial, true);
            }
            let unallocated = self
                .slot(subscription.participant, subscription.slot)
                .is_some_and(|slot| slot.kind == MediaKind::Video && slot.allocated.is_none());
            if unallocated {
                self.allocate(io, subscription.participant);
            } else {
                self.tell_slots(io, subscription.participant);
            }
        }
        self.changed = changed;
        self.changed.clear();
    }

    fn slot(&self, participant: usize, slot: usize) -> Option<&Slot> {
        self.participants.get(participant)?.slots.get(slot)
    }

    /// A participant's receive transport was renegotiated: slots follow its m-lines.
    pub(crate) fn renegotiated(
        &mut self,
        io: &mut Io<'_>,
        key: usize,
        role: TransportRole,
        random: &mut dyn FnMut() -> u32,
    ) {
        let Some(participant) = self.participants.get_mut(key) else { return };
        let seat = match role {
            TransportRole::Send => participant.send,
            TransportRole::Receive => participant.receive,
        };
        let Some(seat) = seat.and_then(|seat| io.seats.get(seat)) else { return };
        let lines = &seat.transport.lines;
        match role {
            TransportRole::Receive => {
                let gone: Vec<usize> = participant
                    .slots
                    .iter()
                    .enumerate()
                    .filter(|(_, slot)| lines.get(slot.line).is_none_or(|line| !line.sends))
                    .map(|(index, _)| index)
                    .collect();
                sync_slots(&mut participant.slots, lines, random);
                for slot in gone {
                    self.release(key, slot);
                }
                self.reconcile(io, key);
                self.update_audio_want(io);
            }
            TransportRole::Send => {
                participant.by_line.resize(lines.len(), None);
                let gone: Vec<usize> = participant
                    .by_line
                    .iter()
                    .zip(lines)
                    .filter(|(_, line)| !line.receives)
                    .filter_map(|(track, _)| *track)
                    .collect();
                for track in gone {
                    self.unpublish_key(io, track);
                }
            }
        }
    }
}

impl Participant {
    pub(crate) fn new(
        request: &crate::api::JoinRequest,
        send: Option<usize>,
        receive: Option<usize>,
    ) -> Self {
        Self {
            id: request.participant,
            home: None,
            identity: Arc::clone(&request.identity),
            display_name: Arc::clone(&request.display_name),
            permissions: request.permissions,
            reachable: true,
            send,
            receive,
            tracks: Vec::new(),
            by_line: Vec::new(),
            slots: Vec::new(),
            wishes: Vec::new(),
            clock: SamplingClock::default(),
            data: data::Data::default(),
            quality: Quality::default(),
        }
    }
}

impl Io<'_> {
    pub(crate) fn drop_one(&mut self, reason: DropReason) {
        self.stats.count_drop(reason);
    }
}

impl Slot {
    /// The subscriber cannot take the codec of `track`. True if that is new.
    fn refuse_codec(&mut self, track: usize) -> bool {
        if self.forwarder.sending() == Some(track) {
            self.forwarder.stop();
        }
        if self.assigned != Some(track) || self.state == SlotState::CodecNotSupported {
            return false;
        }
        self.state = SlotState::CodecNotSupported;
        self.settle(false);
        true
    }

    /// The subscriber can take the codec of `track`. True if it could not before: then anything is
    /// welcome until the next allocation.
    fn accept_codec(&mut self, track: usize) -> bool {
        if self.assigned != Some(track) || self.state != SlotState::CodecNotSupported {
            return false;
        }
        self.state = SlotState::Waiting;
        self.forwarder.want_layer(track, Some(Layer { spatial: 0, temporal: u8::MAX }));
        true
    }
}

fn candidate<'a>(admitted: &'a Admitted, packet: &'a MediaPacket) -> Candidate<'a> {
    let numbers = Incoming {
        track: admitted.key,
        seq: packet.seq,
        time: packet.time,
        clock_rate: packet.codec.clock_rate(),
        audio: packet.codec.is_audio(),
        captured: packet.captured,
    };
    let kind = match &admitted.info {
        Some(info) => Kind::Video(info),
        None => Kind::Audio { newest: admitted.newest },
    };
    let (ssrc, marker) = (packet.ssrc, packet.marker);
    Candidate { ssrc, marker, numbers, payload: &packet.payload, kind }
}

/// The packet's dependency descriptor with the slot's frame number.
fn rewritten_descriptor(
    admitted: &Admitted,
    packet: &MediaPacket,
    frame_number: Option<u16>,
) -> Option<Arc<DescriptorBytes>> {
    let original = packet.descriptor.as_ref()?;
    let targets = admitted.info.as_ref()?.targets.as_ref()?;
    let frame_number = frame_number?;
    if frame_number == targets.descriptor.frame_number {
        return Some(Arc::clone(original));
    }
    let edit = descriptor::Edit { frame_number, ..descriptor::Edit::default() };
    let bytes = descriptor::rewrite(&original.0, &targets.descriptor, &targets.structure, edit);
    Some(Arc::new(DescriptorBytes(bytes)))
}

impl Transport {
    /// See [`Line::payload_for`].
    /// What is opaque cannot be made to fit another codec.
    fn payload_for(&self, line: usize, codec: Codec, opaque: bool) -> Option<u8> {
        let line = self.lines.get(line).filter(|line| !opaque || line.takes(codec))?;
        line.payload_for(codec)
    }
}

/// Adds a slot for each new m-line that we send on. Slots keep their place for ever.
fn sync_slots(slots: &mut Vec<Slot>, lines: &[Line], random: &mut dyn FnMut() -> u32) {
    for (number, line) in lines.iter().enumerate() {
        if !line.sends || slots.iter().any(|slot| slot.mid == line.mid) {
            continue;
        }
        let index = slots.iter().filter(|slot| slot.kind == line.kind).count();
        slots.push(Slot {
            line: number,
            mid: line.mid,
            kind: line.kind,
            index,
            assigned: None,
            state: SlotState::Empty,
            forwarder: Forwarder::new([random(), random()]),
            edges: [None; 2],
            allocated: None,
            bitrate_bps: 0,
            limit: SlotReason::Wish,
            reason: None,
            upstream: None,
            last_keyframe: None,
            told: (None, SlotState::Empty, None, None),
        });
    }
}
