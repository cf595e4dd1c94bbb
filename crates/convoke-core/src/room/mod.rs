//! One room: its people, their tracks and slots, and the fan-out between them.
//!
//! Owns: the roster and its version (one writer, so the order of changes is total), the edges from
//! tracks to slots, the forwarding loop.
//! Never: creates transports (the worker does), reads a clock, or knows SDP.

mod data;
mod publish;
mod reconcile;
mod speech;
mod view;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use slab::Slab;

use crate::api::{
    DataLimits, DropReason, Event, LeaveReason, MediaKind, Permissions, RoomChange, SlotState,
    SlotWish, Source, Stats, TransportRole,
};
use crate::clock::SamplingClock;
use crate::forward::rewrite::Incoming;
use crate::forward::select::Candidate;
use crate::forward::{Choice, Forwarder, Keyframes};
use crate::ids::{Mid, ParticipantId, RoomId, TrackId};
use crate::speaker::Speakers;
use crate::transport::{Codec, Line, MediaPacket, Outgoing, Transport};

pub(crate) use publish::TrackError;

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
    /// What its participant was last told of it.
    told: (Option<TrackId>, SlotState),
}

/// A stream that has been silent for this long gives its place to another of its track.
const ENCODING_IDLE: Duration = Duration::from_millis(500);

/// The one encoding of a track that is forwarded: a publisher that offers several (simulcast,
/// RFC 8853) is taken by the first that comes, as layers are not chosen yet.
#[derive(Debug, Clone, Copy)]
struct Encoding {
    ssrc: u32,
    heard: Instant,
    /// The highest extended sequence number so far.
    highest: u64,
}

/// What a participant publishes.
#[derive(Debug)]
struct Track {
    id: TrackId,
    owner: usize,
    client_id: Arc<str>,
    source: Source,
    muted: bool,
    encrypted: bool,
    line: usize,
    mid: Mid,
    subscriptions: Vec<Subscription>,
    encoding: Option<Encoding>,
    keyframes: Keyframes,
}

impl Track {
    /// Whether `packet` is the newest of the encoding that is forwarded; `None` if it is of
    /// another.
    fn takes(&mut self, now: Instant, packet: &MediaPacket) -> Option<bool> {
        let ssrc = packet.ssrc;
        let (same, idle) = self.encoding.map_or((false, true), |encoding| {
            let silent = now.saturating_duration_since(encoding.heard);
            (encoding.ssrc == ssrc, silent >= ENCODING_IDLE)
        });
        if !same && !idle {
            return None;
        }
        let before = self.encoding.filter(|_| same).map(|encoding| encoding.highest);
        let highest = before.map_or(packet.seq, |highest| highest.max(packet.seq));
        self.encoding = Some(Encoding { ssrc, heard: now, highest });
        Some(before.is_none_or(|before| packet.seq > before))
    }
}

/// A packet that may be forwarded.
#[derive(Debug, Clone, Copy)]
struct Admitted {
    /// The track's key.
    key: usize,
    csrc: u32,
    /// When it was sampled, by our clock.
    sampled: Instant,
    /// Whether a receiver can start here.
    start: bool,
}

/// The edge from a track to a slot. A relay to another worker or node will be another kind.
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
    /// Keys by order of joining.
    order: Vec<usize>,
    tracks: Slab<Track>,
    next_track: u32,
    /// Track keys, most deserving first: audio and video (see [`reconcile`]).
    ranks: Ranks,
    /// When [`Self::poll_keyframes`] is due, for the worker to take.
    pub(crate) keyframe_poll: Option<Instant>,
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
            tracks: Slab::new(),
            next_track: 1,
            ranks: Ranks::default(),
            keyframe_poll: None,
            keyframes_scheduled: None,
            speakers: Speakers::default(),
            speech_scheduled: None,
            data_timer: data::Timer::default(),
            changed: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn key_of(&self, id: ParticipantId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn participant(&self, key: usize) -> Option<&Participant> {
        self.participants.get(key)
    }

    pub(crate) fn track_count(&self) -> usize {
        self.tracks.len()
    }

    /// Keys of everyone, by order of joining.
    pub(crate) fn keys(&self) -> Vec<usize> {
        self.order.clone()
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

    pub(crate) fn announce(&mut self, io: &mut Io<'_>, change: RoomChange) {
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
        let id = participant.id;
        let key = self.participants.insert(participant);
        self.by_id.insert(id, key);
        self.order.push(key);
        if let Some(view) = self.participant_view(key) {
            self.announce(io, RoomChange::ParticipantJoined(view));
        }
        self.reconcile(io, key);
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
        let id = participant.id;
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
        self.announce(io, RoomChange::ParticipantLeft { participant: id, reason });
        self.reconcile_many(io, affected);
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
        match self.admit(io.now, participant, line, packet) {
            Ok(admitted) => {
                if packet.codec.is_audio() {
                    // Before the fan-out: a voice's first packet that counts is heard itself.
                    self.hear(io, admitted.key, packet);
                }
                self.fan_out(io, admitted, packet);
            }
            Err(reason) => io.drop_one(reason),
        }
    }

    /// Whether a packet may be forwarded, and as what.
    fn admit(
        &mut self,
        now: Instant,
        participant: usize,
        line: usize,
        packet: &MediaPacket,
    ) -> Result<Admitted, DropReason> {
        let owner = self.participants.get_mut(participant).ok_or(DropReason::NotPublished)?;
        let key = owner.by_line.get(line).copied().flatten().ok_or(DropReason::NotPublished)?;
        let track = self.tracks.get_mut(key).ok_or(DropReason::NotPublished)?;
        if track.muted || packet.codec.is_audio() != (track.source.kind() == MediaKind::Audio) {
            return Err(DropReason::NotAllowed);
        }
        let newest = track.takes(now, packet).ok_or(DropReason::OtherEncoding)?;
        if packet.keyframe && !packet.codec.is_audio() {
            track.keyframes.arrived();
        }
        // Nothing starts at a packet that was overtaken: what overtook it would be missing, or has
        // been forwarded before.
        let start = packet.keyframe && newest;
        let sampled = owner.clock.sampled(now, packet.captured);
        Ok(Admitted { key, csrc: owner.id.0, sampled, start })
    }

    /// The fan-out: one packet of one track to its subscriptions.
    fn fan_out(&mut self, io: &mut Io<'_>, admitted: Admitted, packet: &MediaPacket) {
        let Admitted { key, csrc, sampled, start } = admitted;
        let Some(track) = self.tracks.get(key) else { return };
        let candidate = candidate(key, packet, start);
        for subscription in &track.subscriptions {
            let Some(subscriber) = self.participants.get_mut(subscription.participant) else {
                continue;
            };
            let Some(slot) = subscriber.slots.get_mut(subscription.slot) else { continue };
            let Some(transport) = subscriber.receive else { continue };
            // A keyframe that cannot be delivered must not count as a start.
            let seat = io.seats.get_mut(transport).filter(|seat| seat.transport.connected);
            let Some(seat) = seat else { continue };
            let Some(payload_type) = seat.transport.payload_for(slot.line, packet.codec) else {
                if slot.set_state(key, SlotState::CodecNotSupported) {
                    slot.forwarder.stop();
                    self.changed.push(*subscription);
                }
                continue;
            };
            let numbers = match slot.forwarder.choose(io.now, candidate) {
                Choice::Forward(numbers) => numbers,
                Choice::Switch { numbers, .. } => {
                    slot.set_state(key, SlotState::Active);
                    self.changed.push(*subscription);
                    numbers
                }
                Choice::Skip => continue,
                Choice::Late => {
                    io.drop_one(DropReason::Late);
                    continue;
                }
                Choice::Lost => {
                    slot.set_state(key, SlotState::Waiting);
                    self.changed.push(*subscription);
                    continue;
                }
            };
            let (seq, time, vp8) = (numbers.seq, numbers.time, numbers.vp8);
            let outgoing = Outgoing { packet, payload_type, seq, time, sampled, csrc, vp8 };
            let was_touched = seat.transport.touched;
            if seat.transport.write(slot.line, outgoing) {
                if !was_touched {
                    io.touched.push(transport);
                }
                io.stats.count_out(packet.codec.is_audio(), packet.payload.len());
            }
        }
        if !self.changed.is_empty() {
            self.after_switches(io, key);
        }
    }

    /// Tells of slots that changed in a fan-out of `track`, and cuts the edges that ended.
    fn after_switches(&mut self, io: &mut Io<'_>, track: usize) {
        let changed = std::mem::take(&mut self.changed);
        let mut lost = false;
        for subscription in &changed {
            self.refresh_edges(subscription.participant, subscription.slot);
            let slot = self.slot(subscription.participant, subscription.slot);
            lost |= slot.is_some_and(|slot| slot.state == SlotState::Waiting);
            io.stats.slot_switches += 1;
            self.tell_slots(io, subscription.participant);
        }
        if lost {
            self.request_keyframe(io, track);
        }
        self.changed = changed;
        self.changed.clear();
    }

    fn slot(&self, participant: usize, slot: usize) -> Option<&Slot> {
        self.participants.get(participant)?.slots.get(slot)
    }

    /// A subscriber asks for a keyframe of what it receives on an m-line.
    pub(crate) fn keyframe_wanted(&mut self, io: &mut Io<'_>, participant: usize, line: usize) {
        io.stats.keyframe_requests_in += 1;
        let Some(participant) = self.participants.get(participant) else { return };
        let slot = participant.slots.iter().find(|slot| slot.line == line);
        if let Some(track) = slot.and_then(|slot| slot.forwarder.sending().or(slot.assigned)) {
            self.request_keyframe(io, track);
        }
    }

    /// Asks a track's publisher for a keyframe, within its budget.
    fn request_keyframe(&mut self, io: &mut Io<'_>, track: usize) {
        let Some(state) = self.tracks.get_mut(track) else { return };
        if state.source.kind() == MediaKind::Audio || state.muted {
            return;
        }
        let owner = self.participants.get(state.owner).and_then(|owner| owner.send);
        if !owner.is_some_and(|seat| io.is_connected(seat)) {
            // It begins with a keyframe anyway; when it connects, it is asked if someone waits.
            return;
        }
        let send = state.keyframes.request(io.now, io.keyframe_interval);
        // Sent or kept, it is looked at again when the interval ends.
        let again = state.keyframes.next(io.keyframe_interval).unwrap_or(io.now);
        self.poll_keyframes_at(again);
        if send {
            self.send_keyframe_request(io, track);
        }
    }

    fn poll_keyframes_at(&mut self, at: Instant) {
        self.keyframe_poll = Some(self.keyframe_poll.map_or(at, |earlier| earlier.min(at)));
    }

    fn send_keyframe_request(&self, io: &mut Io<'_>, track: usize) {
        let Some(track) = self.tracks.get(track) else { return };
        let owner = self.participants.get(track.owner);
        let Some(key) = owner.and_then(|owner| owner.send) else { return };
        let Some(seat) = io.seats.get_mut(key) else { return };
        seat.transport.request_keyframe(track.line);
        io.stats.keyframe_requests_out += 1;
        io.touch(key);
    }

    /// Serves keyframe requests whose interval has ended, and those that went unanswered.
    pub(crate) fn poll_keyframes(&mut self, io: &mut Io<'_>) {
        for index in 0..self.ranks.video.len() {
            let Some(key) = self.ranks.video.get(index).copied() else { break };
            let waiting = self.is_waited_for(io, key);
            let Some(track) = self.tracks.get_mut(key) else { continue };
            if track.muted || !(waiting || track.keyframes.is_wanted()) {
                continue;
            }
            let send = track.keyframes.poll(io.now, io.keyframe_interval, waiting);
            let again = track.keyframes.next(io.keyframe_interval).unwrap_or(io.now);
            self.poll_keyframes_at(again);
            if send {
                self.send_keyframe_request(io, key);
            }
        }
    }

    /// Whether a connected subscriber waits for this video track to start.
    fn is_waited_for(&self, io: &Io<'_>, key: usize) -> bool {
        let Some(track) = self.tracks.get(key) else { return false };
        track.subscriptions.iter().any(|subscription| {
            let Some(subscriber) = self.participants.get(subscription.participant) else {
                return false;
            };
            let waits = subscriber.slots.get(subscription.slot).is_some_and(|slot| {
                slot.forwarder.waiting() == Some(key) && slot.state != SlotState::CodecNotSupported
            });
            waits && subscriber.receive.is_some_and(|seat| io.is_connected(seat))
        })
    }

    /// A participant's transport is up: what waits for it is asked for.
    pub(crate) fn connected(&mut self, io: &mut Io<'_>, key: usize, role: TransportRole) {
        let Some(participant) = self.participants.get(key) else { return };
        let tracks: Vec<usize> = match role {
            TransportRole::Receive => {
                participant.slots.iter().filter_map(|slot| slot.forwarder.waiting()).collect()
            }
            TransportRole::Send => participant.tracks.clone(),
        };
        for track in tracks {
            if role == TransportRole::Receive || self.is_waited_for(io, track) {
                self.request_keyframe(io, track);
            }
        }
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
        }
    }
}

impl Io<'_> {
    pub(crate) fn drop_one(&mut self, reason: DropReason) {
        self.stats.count_drop(reason);
    }
}

impl Slot {
    /// Sets the state if the slot is for `track` and the state is another. True if it changed.
    fn set_state(&mut self, track: usize, state: SlotState) -> bool {
        if self.assigned != Some(track) || self.state == state {
            return false;
        }
        self.state = state;
        true
    }
}

fn candidate(track: usize, packet: &MediaPacket, start: bool) -> Candidate {
    let numbers = Incoming {
        seq: packet.seq,
        time: packet.time,
        clock_rate: packet.codec.clock_rate(),
        audio: packet.codec.is_audio(),
        vp8: packet.vp8_numbers(),
    };
    Candidate { track, ssrc: packet.ssrc, start, numbers }
}

impl Transport {
    /// See [`Line::payload_for`].
    fn payload_for(&self, line: usize, codec: Codec) -> Option<u8> {
        self.lines.get(line).and_then(|line| line.payload_for(codec))
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
            told: (None, SlotState::Empty),
        });
    }
}
