//! One worker: demultiplexing, rooms, transports and deadlines behind one entry point.
//!
//! Owns: every transport and room, and the order in which they are driven.
//! Never: decides what is forwarded (rooms do) or names str0m (transports do).
//!
//! A turn: datagrams and commands come in, each handled at once; packets toward subscribers are
//! only queued. [`Input::Timeout`] ends the turn: every transport that was touched, and every one
//! whose deadline is due, is driven once, so that a subscriber's packets leave together.

/// What a room needs of its worker, borrowed by field so that the room can be borrowed beside it.
macro_rules! io {
    ($worker:ident, $now:ident, $out:ident) => {
        Io {
            now: $now,
            seats: &mut $worker.seats,
            touched: &mut $worker.touched,
            stats: &mut $worker.stats,
            events: &mut $out.events,
            relays: &mut $out.relays,
            keyframe_interval: $worker.config.keyframe_interval,
            data_limits: $worker.config.limits.data,
        }
    };
}

mod capture;
mod commands;

use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use slab::Slab;

use crate::api::{
    Again, Capture, DataStats, DropReason, Event, Input, LeaveReason, MediaKind, Outbox, Reflexive,
    Relay, RelayDrop, Stats, TransportRole, TransportState, WorkerConfig,
};
use crate::demux::{Class, Demux, Pair, Protocol, classify};
use crate::entropy::{Entropy, Random};
use crate::ids::RoomId;
use crate::room::{Io, Room, Seat};
use crate::timers::{Due, Timers};
use crate::transport::{Crypto, Health, Received, on_grid, stun_ufrag};

/// Deadlines served in one turn at most; the rest is due at once in the next.
const DEADLINES_PER_TURN: usize = 4_096;

/// A peer that is silent for this part of the media timeout is told to be disconnected.
const SILENCE_DIVISOR: u32 = 3;

/// So long nothing but checks and reports of idle peers comes to a worker that is calm.
const CALM: Duration = Duration::from_secs(1);

/// What a worker that cannot keep up does without: what comes in has waited for it, and the rest would
/// wait longer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shed {
    /// Nothing.
    #[default]
    Nothing,
    /// Video, which costs most and recovers with its next keyframe.
    Video,
    /// All media.
    Media,
}

/// One worker; see the module's docs.
#[derive(Debug)]
pub struct Worker {
    config: WorkerConfig,
    /// When it began: where the grid of deadlines that can wait begins.
    epoch: Instant,
    crypto: Option<Crypto>,
    random: Random,
    seats: Slab<Seat>,
    rooms: Slab<Room>,
    room_keys: FxHashMap<RoomId, usize>,
    demux: Demux,
    timers: Timers,
    touched: Vec<usize>,
    stats: Stats,
    /// Scratch: what a transport heard.
    received: Vec<Received>,
    /// When the present turn began, while something waits for its end.
    turn: Option<Instant>,
    shed: Shed,
    /// When a check or report of an idle peer came last, and when anything else did.
    checked: Instant,
    busy: Instant,
    /// By room key; none nearly always.
    captures: FxHashMap<usize, Capture>,
}

impl Worker {
    /// A worker with no rooms. `entropy` feeds all its randomness but DTLS keys.
    #[must_use]
    pub fn new(config: WorkerConfig, entropy: Entropy, now: Instant) -> Self {
        Self {
            config,
            epoch: now,
            crypto: Crypto::shared(now),
            random: Random::new(entropy),
            seats: Slab::new(),
            rooms: Slab::new(),
            room_keys: FxHashMap::default(),
            demux: Demux::default(),
            timers: Timers::default(),
            touched: Vec::new(),
            stats: Stats::default(),
            received: Vec::new(),
            turn: None,
            shed: Shed::Nothing,
            checked: now,
            busy: now,
            captures: FxHashMap::default(),
        }
    }

    /// What is dropped of the media that comes in from now on, and counted
    /// ([`DropReason::LateVideo`], [`DropReason::LateAudio`]).
    pub fn set_shed(&mut self, shed: Shed) {
        self.shed = shed;
    }

    /// The addresses that answers tell from now on beside the candidates.
    pub fn set_reflexive(&mut self, reflexive: Reflexive) {
        self.config.reflexive = reflexive;
    }

    /// Handles one input. `now` must not go back.
    pub fn handle(&mut self, now: Instant, input: Input<'_>, out: &mut Outbox) {
        let (udp, tcp) = (out.transmits.len(), out.frames.len());
        match input {
            Input::Datagram { source, local, bytes } => {
                self.stats.datagrams_in += 1;
                let pair = Pair { protocol: Protocol::Udp, source, local };
                self.datagram(now, &pair, bytes, out);
            }
            Input::Frame { source, local, bytes } => {
                self.stats.datagrams_in += 1;
                let pair = Pair { protocol: Protocol::Tcp, source, local };
                self.datagram(now, &pair, bytes, out);
            }
            Input::Command(command) => {
                self.busy = now;
                self.command(now, command, out);
            }
            Input::Relay(relay) => {
                self.busy = now;
                self.relayed(now, relay, out);
            }
            Input::Part { datagrams } => {
                self.drive_touched(now, out.datagrams().saturating_add(datagrams), out);
            }
            Input::Timeout => self.end_turn(now, out),
        }
        self.stats.datagrams_out += (out.datagrams() - udp - tcp) as u64;
        if !self.captures.is_empty() {
            self.capture_sent(now, &out.transmits, Protocol::Udp, udp);
            self.capture_sent(now, &out.frames, Protocol::Tcp, tcp);
        }
    }

    /// When [`Input::Timeout`] is due at the latest; in the past while a turn is open.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        match (self.turn, self.timers.next()) {
            (Some(turn), Some(next)) => Some(turn.min(next)),
            (turn, next) => turn.or(next),
        }
    }

    /// Whether something of the present turn waits for its end.
    #[must_use]
    pub fn has_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Whether an idle peer has shown since then that it lives, and nothing else has happened for a second: what
    /// comes next is likely the same of another, and can wait for some milliseconds.
    #[must_use]
    pub fn is_calm(&self, since: Instant) -> bool {
        self.checked >= since && self.checked.saturating_duration_since(self.busy) >= CALM
    }

    /// Counters and gauges.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            rooms: self.rooms.len() as u64,
            participants: self.participants() as u64,
            transports: self.seats.len() as u64,
            tracks: self.rooms.iter().map(|(_, room)| room.track_count() as u64).sum(),
            shards: self.rooms.iter().filter(|(_, room)| room.is_linked()).count() as u64,
            data: DataStats { channels: self.data_channels(), ..self.stats.data },
            again: self.again(),
            ..self.stats
        }
    }

    /// Whether a room exists here.
    #[must_use]
    pub fn has_room(&self, room: RoomId) -> bool {
        self.room_keys.contains_key(&room)
    }

    /// Whether a room is linked to another shard.
    #[must_use]
    pub fn is_linked(&self, room: RoomId, peer: RoomId) -> bool {
        let room = self.room_keys.get(&room).and_then(|key| self.rooms.get(*key));
        room.is_some_and(|room| room.is_linked_to(peer))
    }

    fn relayed(&mut self, now: Instant, relay: Relay, out: &mut Outbox) {
        let Relay { to, from, message } = relay;
        let Some(key) = self.room_keys.get(&to).copied() else {
            return self.stats.count_relay_drop(RelayDrop::NoSuchRoom);
        };
        let Some(room) = self.rooms.get_mut(key) else { return };
        room.relayed(&mut io!(self, now, out), from, message);
        self.schedule_room(key);
        if !self.touched.is_empty() {
            self.turn.get_or_insert(now);
        }
    }

    /// RTP packets forwarded so far.
    #[must_use]
    pub fn forwarded(&self) -> u64 {
        let [audio, video] = self.stats.rtp_out;
        audio + video
    }

    /// Retransmission, of transports that are no more and of those that are.
    fn again(&self) -> Again {
        let mut all = self.stats.again;
        for (_, seat) in &self.seats {
            all += seat.transport.again();
        }
        all
    }

    fn data_channels(&self) -> u64 {
        self.seats.iter().map(|(_, seat)| seat.transport.data_channels() as u64).sum()
    }

    fn participants(&self) -> usize {
        self.rooms.iter().map(|(_, room)| room.len()).sum()
    }

    fn datagram(&mut self, now: Instant, pair: &Pair, bytes: &[u8], out: &mut Outbox) {
        let known = self.demux.by_pair(pair);
        let key = match (classify(bytes), known) {
            (Class::Unknown, _) => return self.stats.count_drop(DropReason::NotDemultiplexed),
            (Class::Stun, _) => match self.route_stun(now, pair, bytes, known, out) {
                Ok(key) => key,
                Err(reason) => return self.stats.count_drop(reason),
            },
            (Class::Dtls | Class::Rtp, Some(key)) => key,
            (Class::Dtls | Class::Rtp, None) => {
                return self.stats.count_drop(DropReason::UnknownSource);
            }
        };
        let Some(seat) = self.seats.get_mut(key) else { return };
        if self.shed != Shed::Nothing {
            match seat.transport.kind_of(bytes) {
                Some(MediaKind::Video) => return self.stats.count_drop(DropReason::LateVideo),
                Some(MediaKind::Audio) if self.shed == Shed::Media => {
                    return self.stats.count_drop(DropReason::LateAudio);
                }
                _ => {}
            }
        }
        let mut received = std::mem::take(&mut self.received);
        let health = seat.transport.receive(now, pair, bytes, out, &mut received);
        match health {
            Health::Idle => self.checked = now,
            Health::Refused => self.stats.count_drop(DropReason::Malformed),
            Health::Well | Health::Dead | Health::Panicked => {}
        }
        if health != Health::Idle {
            self.busy = now;
        }
        if !self.captures.is_empty() {
            self.capture_received(now, key, (pair.source, pair.local), bytes, &received);
        }
        self.heard(now, key, &mut received, out);
        self.received = received;
        self.after(now, key, health, out);
    }

    /// STUN goes by its user name, whatever its address; only a message whose integrity holds
    /// teaches a new address.
    fn route_stun(
        &mut self,
        now: Instant,
        pair: &Pair,
        bytes: &[u8],
        known: Option<usize>,
        out: &mut Outbox,
    ) -> Result<usize, DropReason> {
        let Some(ufrag) = stun_ufrag(bytes) else {
            return known.ok_or(DropReason::UnknownSource);
        };
        let key = self.demux.by_ufrag(&ufrag).ok_or(DropReason::UnknownUfrag)?;
        if known == Some(key) {
            return Ok(key);
        }
        let seat = self.seats.get(key).ok_or(DropReason::UnknownUfrag)?;
        if !seat.transport.authenticates(now, pair, bytes) {
            return Err(DropReason::BadIntegrity);
        }
        let forgotten = self.demux.learn(key, *pair);
        close_tcp(forgotten, out);
        Ok(key)
    }

    /// Hands what a transport heard to its room.
    fn heard(&mut self, now: Instant, key: usize, received: &mut Vec<Received>, out: &mut Outbox) {
        if received.is_empty() {
            return;
        }
        let Some(seat) = self.seats.get(key) else { return received.clear() };
        let (room_key, participant, role) = (seat.room, seat.participant, seat.transport.role);
        let Some(room) = self.rooms.get_mut(room_key) else { return received.clear() };
        let mut io = io!(self, now, out);
        for heard in received.drain(..) {
            match heard {
                Received::Rtp { line, packet } => {
                    io.stats.count_in(packet.codec.is_audio(), packet.payload.len());
                    room.forward(&mut io, participant, line, &packet);
                }
                Received::Unusable(reason) => io.drop_one(reason),
                Received::KeyframeRequest { line } => {
                    room.keyframe_wanted(&mut io, participant, line);
                }
                Received::Data(heard) => room.data_heard(&mut io, participant, heard),
                Received::Estimate { bps, can_probe } => {
                    room.estimated(&mut io, participant, bps, can_probe);
                }
                Received::Path { rtt, loss, sent_bytes, paced_bps } => {
                    room.path(&mut io, participant, (rtt, loss), sent_bytes, paced_bps);
                }
                Received::Connected => {
                    let id = room.participant(participant).map(|p| p.id);
                    if let Some(participant) = id {
                        let (room, state) = (room.id, TransportState::Connected);
                        io.events.push(Event::Transport { room, participant, role, state });
                    }
                    room.connected(&mut io, participant, role);
                }
            }
        }
        self.schedule_room(room_key);
    }

    /// Looks after a transport that was handled: its deadline, its end.
    fn after(&mut self, now: Instant, key: usize, health: Health, out: &mut Outbox) {
        if health == Health::Panicked {
            self.stats.peer_panics += 1;
        }
        let Some(seat) = self.seats.get_mut(key) else { return };
        if matches!(health, Health::Dead | Health::Panicked) {
            let reason = match health {
                Health::Panicked => LeaveReason::Failed,
                _ if seat.transport.connected => LeaveReason::Left,
                _ => LeaveReason::MediaLost,
            };
            let (room, participant) = (seat.room, seat.participant);
            if health == Health::Dead
                && let Some(failure) = seat.transport.failure()
            {
                self.stats.count_failure(failure);
            }
            self.remove_participant(now, room, participant, reason, out);
            return;
        }
        if seat.silent && seat.transport.heard == now {
            seat.silent = false;
            self.tell_transport(key, TransportState::Connected, out);
        }
        let Some(seat) = self.seats.get_mut(key) else { return };
        let deadline = seat.transport.deadline();
        self.timers.set(&mut seat.drive_scheduled, deadline, Due::Transport(key));
        if !self.touched.is_empty() {
            self.turn.get_or_insert(now);
        }
    }

    fn tell_transport(&self, key: usize, state: TransportState, out: &mut Outbox) {
        let Some(seat) = self.seats.get(key) else { return };
        let Some(room) = self.rooms.get(seat.room) else { return };
        let Some(participant) = room.participant(seat.participant) else { return };
        out.events.push(Event::Transport {
            room: room.id,
            participant: participant.id,
            role: seat.transport.role,
            state,
        });
    }

    fn end_turn(&mut self, now: Instant, out: &mut Outbox) {
        self.turn = None;
        // Driving may touch others (a keyframe request, a forwarded packet): two rounds settle
        // what belongs to this turn, what then remains is due at once.
        for _ in 0..2 {
            self.drive_touched(now, usize::MAX, out);
        }
        for _ in 0..DEADLINES_PER_TURN {
            let Some((at, due)) = self.timers.pop(now) else { break };
            self.due(now, at, due, out);
        }
        self.drive_touched(now, usize::MAX, out);
        if !self.touched.is_empty() {
            self.turn = Some(now);
        }
        if self.seats.is_empty() && self.rooms.is_empty() {
            self.timers.clear();
        }
    }

    /// Until so many datagrams are in `out`: what is touched meanwhile comes after all others.
    fn drive_touched(&mut self, now: Instant, datagrams: usize, out: &mut Outbox) {
        let mut touched = std::mem::take(&mut self.touched);
        let mut driven = 0;
        for key in &touched {
            if out.datagrams() >= datagrams {
                break;
            }
            driven += 1;
            if self.seats.get(*key).is_some_and(|seat| seat.transport.touched) {
                self.drive(now, *key, out);
            }
        }
        touched.drain(..driven);
        touched.append(&mut self.touched);
        self.touched = touched;
    }

    fn drive(&mut self, now: Instant, key: usize, out: &mut Outbox) {
        let Some(seat) = self.seats.get_mut(key) else { return };
        let mut received = std::mem::take(&mut self.received);
        let health = seat.transport.drive(now, out, &mut received);
        self.heard(now, key, &mut received, out);
        self.received = received;
        self.after(now, key, health, out);
    }

    fn due(&mut self, now: Instant, at: Instant, due: Due, out: &mut Outbox) {
        match due {
            Due::Transport(key) => {
                let Some(seat) = self.seats.get_mut(key) else { return };
                if seat.drive_scheduled != Some(at) {
                    return;
                }
                seat.drive_scheduled = None;
                if seat.transport.deadline() <= now {
                    self.drive(now, key, out);
                } else {
                    let deadline = seat.transport.deadline();
                    self.timers.set(&mut seat.drive_scheduled, deadline, due);
                }
            }
            Due::Liveness(key) => self.check_liveness(now, at, key, out),
            Due::Keyframes(key) => {
                let Some(room) = self.rooms.get_mut(key) else { return };
                if room.keyframes_scheduled != Some(at) {
                    return;
                }
                room.keyframes_scheduled = None;
                room.poll_keyframes(&mut io!(self, now, out));
                self.schedule_room(key);
            }
            Due::Data(key) => {
                let Some(room) = self.rooms.get_mut(key) else { return };
                if room.data_timer.scheduled != Some(at) {
                    return;
                }
                room.data_timer.scheduled = None;
                room.poll_data(&mut io!(self, now, out));
                self.schedule_room(key);
            }
            Due::Quality(key) => {
                let Some(room) = self.rooms.get_mut(key) else { return };
                if room.quality_scheduled != Some(at) {
                    return;
                }
                room.quality_scheduled = None;
                room.poll_quality(&mut io!(self, now, out));
                self.schedule_room(key);
            }
            Due::Speech(key) => {
                let Some(room) = self.rooms.get_mut(key) else { return };
                if room.speech_scheduled != Some(at) {
                    return;
                }
                room.speech_scheduled = None;
                room.poll_speech(&mut io!(self, now, out));
                self.schedule_room(key);
            }
        }
    }

    fn schedule_room(&mut self, key: usize) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        if let Some(at) = room.keyframe_poll.take() {
            self.timers.set(&mut room.keyframes_scheduled, at, Due::Keyframes(key));
        }
        if let Some(at) = room.data_timer.wanted.take() {
            self.timers.set(&mut room.data_timer.scheduled, at, Due::Data(key));
        }
        if let Some(at) = room.quality_poll.take() {
            self.timers.set(&mut room.quality_scheduled, at, Due::Quality(key));
        }
        if let Some(at) = room.next_speech_poll() {
            self.timers.set(&mut room.speech_scheduled, at, Due::Speech(key));
        }
    }

    fn check_liveness(&mut self, now: Instant, at: Instant, key: usize, out: &mut Outbox) {
        let Some(seat) = self.seats.get_mut(key) else { return };
        if seat.liveness_scheduled != Some(at) {
            return;
        }
        seat.liveness_scheduled = None;
        let lost = seat.transport.heard + self.config.media_timeout;
        if lost <= now {
            let (room, participant) = (seat.room, seat.participant);
            self.stats.count_failure(seat.transport.silence());
            return self.remove_participant(now, room, participant, LeaveReason::MediaLost, out);
        }
        let silent = seat.transport.heard + self.config.media_timeout / SILENCE_DIVISOR;
        let next = if seat.silent || silent <= now { lost } else { silent };
        let next = on_grid(self.epoch, next);
        self.timers.set(&mut seat.liveness_scheduled, next, Due::Liveness(key));
        if silent <= now && !seat.silent && seat.transport.connected {
            seat.silent = true;
            self.tell_transport(key, TransportState::Disconnected, out);
        }
    }

    /// The one ending of a participant, whatever the reason; ends the room with its last.
    fn remove_participant(
        &mut self,
        now: Instant,
        room_key: usize,
        participant: usize,
        reason: LeaveReason,
        out: &mut Outbox,
    ) {
        let Some(room) = self.rooms.get_mut(room_key) else { return };
        let mut io = io!(self, now, out);
        let transports = room.remove(&mut io, participant, reason);
        for key in transports.into_iter().flatten() {
            self.close_seat(now, key, out);
        }
        self.close_if_empty(now, room_key, reason, out);
        if !self.touched.is_empty() {
            self.turn.get_or_insert(now);
        }
    }

    fn close_seat(&mut self, now: Instant, key: usize, out: &mut Outbox) {
        if let Some(mut seat) = self.seats.try_remove(key) {
            seat.transport.close(now, out);
            self.stats.again += seat.transport.again();
        }
        close_tcp(self.demux.remove(key), out);
    }

    /// Ends a room that nobody of its own is in: a shard goes with its last participant, whoever is
    /// on others.
    fn close_if_empty(
        &mut self,
        now: Instant,
        room_key: usize,
        reason: LeaveReason,
        out: &mut Outbox,
    ) {
        if self.rooms.get(room_key).is_some_and(|room| room.len() == 0)
            && let Some(mut room) = self.rooms.try_remove(room_key)
        {
            room.close_links(&mut io!(self, now, out), reason);
            self.captures.remove(&room_key);
            self.room_keys.remove(&room.id);
            out.events.push(Event::RoomClosed { room: room.id });
            if self.rooms.is_empty() && self.seats.is_empty() {
                self.timers.clear();
            }
        }
    }

    /// Seats a transport; its room and participant keys must be right already.
    fn seat(&mut self, now: Instant, seat: Seat) -> usize {
        let ufrag = seat.transport.ufrag().to_owned();
        let key = self.seats.insert(seat);
        self.demux.add(key, &ufrag, None);
        if let Some(seat) = self.seats.get_mut(key) {
            let deadline = seat.transport.deadline();
            self.timers.set(&mut seat.drive_scheduled, deadline, Due::Transport(key));
            let at = on_grid(self.epoch, now + self.config.media_timeout / SILENCE_DIVISOR);
            self.timers.set(&mut seat.liveness_scheduled, at, Due::Liveness(key));
        }
        self.touched.push(key);
        key
    }

    fn role_of(room: &Room, participant: usize, role: TransportRole) -> Option<usize> {
        let participant = room.participant(participant)?;
        match role {
            TransportRole::Send => participant.send,
            TransportRole::Receive => participant.receive,
        }
    }
}

/// Of what a transport came by, the connections are of no use without it.
fn close_tcp(pairs: impl IntoIterator<Item = Pair>, out: &mut Outbox) {
    let connections = pairs.into_iter().filter(|pair| pair.protocol == Protocol::Tcp);
    out.closed.extend(connections.map(|pair| (pair.source, pair.local)));
}

#[cfg(test)]
mod tests;
