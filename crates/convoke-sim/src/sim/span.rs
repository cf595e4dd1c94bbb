//! Calls that span workers: which shard someone is on, and what the shards say to each other.
//!
//! Owns: the making of shards and links, as a node would do it, and the messages on their way.
//! Never: has anything to say where a scenario does not span.

use std::collections::{HashMap, VecDeque};

use convoke_core::{Action, Input, Relay, RelayDrop, RoomId};

use super::Sim;
use super::queue::What;
use crate::model::ModelRoom;
use crate::scenario::Act;

/// The shards of all calls.
#[derive(Debug, Default)]
pub(super) struct Span {
    /// The number of each shard that lives or lived last, by call and place.
    numbers: HashMap<(RoomId, u8), u8>,
    /// Messages that arrive at once, in order.
    said: VecDeque<Relay>,
    /// They are being handed on.
    busy: bool,
    /// Messages on their way that change what is known.
    pub(super) words: usize,
}

impl Sim {
    fn span(&self) -> u8 {
        u8::try_from(self.scenario.span.clamp(1, 16)).unwrap_or(1)
    }

    /// The shard that someone is on, or would be: participants are spread in turn.
    pub(super) fn room_of(&self, who: usize) -> RoomId {
        let call = RoomId(self.actors[who].spec.room);
        let place = u8::try_from(who % usize::from(self.span())).unwrap_or(0);
        call.with_shard(self.span.numbers.get(&(call, place)).copied().unwrap_or(place))
    }

    pub(super) fn worker_of(&self, room: RoomId) -> usize {
        let call = usize::try_from(room.with_shard(0).0).unwrap_or(0);
        (call + usize::from(room.shard() % self.span())) % self.workers.len()
    }

    /// What must be so in the call that a room is a shard of.
    pub(super) fn model(&mut self, room: RoomId) -> &mut ModelRoom {
        &mut self.rooms.entry(room.with_shard(0)).or_default().model
    }

    /// The shard for someone who joins now, linked to the others of its call if it has to be made.
    pub(super) fn open_shard(&mut self, who: usize) -> RoomId {
        let (room, span) = (self.room_of(who), self.span());
        if span == 1 || self.workers[self.worker_of(room)].has_room(room) {
            return room;
        }
        // Never a number again: what is under way to the old one must not reach the new.
        let (call, place) = (room.with_shard(0), room.shard() % span);
        let fresh = match self.span.numbers.get(&(call, place)) {
            Some(old) => old.checked_add(span).unwrap_or(place),
            None => place,
        };
        self.span.numbers.insert((call, place), fresh);
        let room = call.with_shard(fresh);
        let others = (0..span).filter(|other| *other != place);
        let others = others.filter_map(|other| self.span.numbers.get(&(call, other)));
        let others: Vec<RoomId> = others.map(|number| call.with_shard(*number)).collect();
        // Both ends are linked before either hears of the other.
        self.span.busy = true;
        for peer in others {
            if self.workers[self.worker_of(peer)].has_room(peer) {
                for (at, to) in [(peer, room), (room, peer)] {
                    let reply = self.command(at, Action::Link { peer: to });
                    if reply.is_err() {
                        self.broken(format!("{at} was not linked to {to}: {reply:?}"));
                    }
                }
            }
        }
        self.span.busy = false;
        self.take_relays();
        room
    }

    /// Whether every shard knows by now what the others said.
    pub(super) fn is_told(&self) -> bool {
        self.span.words == 0
    }

    /// Puts what workers said to each other on its way.
    pub(super) fn take_relays(&mut self) {
        for relay in std::mem::take(&mut self.out.relays) {
            if self.scenario.relay_delay.is_zero() {
                self.span.said.push_back(relay);
            } else {
                self.span.words += usize::from(!relay.message.may_be_lost());
                self.push(self.now + self.scenario.relay_delay, What::Relay(Box::new(relay)));
            }
        }
        if std::mem::replace(&mut self.span.busy, true) {
            return;
        }
        while let Some(relay) = self.span.said.pop_front() {
            self.relay(relay);
        }
        self.span.busy = false;
    }

    /// A message arrived that was on its way.
    pub(super) fn relay_arrives(&mut self, relay: Relay) {
        self.span.words -= usize::from(!relay.message.may_be_lost());
        self.relay(relay);
    }

    /// Nothing went in a circle; and where messages take no time, nothing was in vain, but that a
    /// stream which is joined midway may not be understood before its next keyframe.
    pub(super) fn check_relays(&mut self) {
        let late = [RelayDrop::NoSuchRoom, RelayDrop::NotLinked, RelayDrop::Unknown];
        let late = |reason: RelayDrop| late.contains(&reason) || reason == RelayDrop::Muted;
        let takes_time = !self.scenario.relay_delay.is_zero();
        // A call's shards are closed one after the other, and those that are left have something to say.
        let closes = self.scenario.steps.iter().any(|step| step.act == Act::CloseRoom);
        let excused = |reason| {
            reason == RelayDrop::Unreadable
                || takes_time && late(reason)
                || closes && reason == RelayDrop::NoSuchRoom
        };
        for worker in 0..self.workers.len() {
            let drops = self.workers[worker].stats().relay_drops;
            for (reason, count) in RelayDrop::ALL.into_iter().zip(drops) {
                if count > 0 && !excused(reason) {
                    let label = reason.label();
                    self.broken(format!("worker {worker} dropped {count} relays: {label}"));
                }
            }
        }
    }

    fn relay(&mut self, relay: Relay) {
        let worker = self.worker_of(relay.to);
        self.workers[worker].handle(self.now, Input::Relay(relay), &mut self.out);
        self.take_outbox(worker);
    }
}
