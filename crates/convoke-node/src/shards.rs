//! Which rooms a call has on this node, and who is placed where.
//!
//! Owns: the placement of participants, and with it the making and ending of links between the shards
//! of a call.
//! Never: is asked on the way of a packet; holds its lock while anything waits.
//!
//! A participant goes to the first of its call's shards that has fewer than so many and whose worker is
//! not measured to be at its capacity, else to a new one on the least loaded worker that has none of the
//! call. Every worker keeps this table true for its own
//! rooms: a room that closes, or is lost with its worker, is taken out at once and the others are
//! unlinked from it. A join that finds its room closed meanwhile is refused, and placed again.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use convoke_core::{Action, LeaveReason, ParticipantId, RoomId};

use crate::mailbox::{Mailbox, worker_of};

/// Shards of one call at most: each is linked to all others.
const SHARDS_MAX: usize = 32;

/// Names a worker of those for which its argument is true.
type Chooser<'a> = &'a dyn Fn(&dyn Fn(usize) -> bool) -> Option<usize>;

/// What is known of the workers.
#[derive(Clone, Copy)]
pub(crate) struct Workers<'a> {
    /// For a new shard.
    pub(crate) least_loaded: Chooser<'a>,
    /// Whether a worker is measured to be at its capacity.
    pub(crate) is_full: &'a dyn Fn(usize) -> bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Shards {
    /// By the number of the call.
    calls: Mutex<HashMap<u64, Call>>,
    mailboxes: Arc<[Mailbox]>,
    /// Participants of one shard, before another is made; 0 = never.
    per_shard: usize,
}

#[derive(Debug, Default)]
struct Call {
    shards: Vec<Shard>,
    latest: u8,
}

#[derive(Debug)]
struct Shard {
    room: RoomId,
    participants: BTreeSet<ParticipantId>,
}

/// A participant's place in a room, which is given up again unless the join succeeds.
#[derive(Debug)]
pub(crate) struct Placed {
    shards: Arc<Shards>,
    pub(crate) room: RoomId,
    participant: ParticipantId,
    /// Whether the room is to be made.
    pub(crate) is_fresh: bool,
    settled: bool,
}

impl Placed {
    /// The shards that a fresh room must be linked to. To be asked when it is made, as they come and
    /// go meanwhile; of changes after that the room's worker is told.
    pub(crate) fn peers(&self) -> Vec<RoomId> {
        let mut rooms = self.shards.rooms(self.room);
        rooms.retain(|room| *room != self.room);
        rooms
    }

    /// The join succeeded: from now on the room's events tell.
    pub(crate) fn settle(&mut self) {
        self.settled = true;
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        if !self.settled {
            self.shards.give_up(self.room, self.participant);
        }
    }
}

impl Call {
    /// A number that no shard has; `None` when all are taken.
    fn next_number(&mut self) -> Option<u8> {
        let taken = |number: u8| self.shards.iter().any(|shard| shard.room.shard() == number);
        let all = (1..=u8::MAX).map(|step| self.latest.wrapping_add(step));
        let next = all.filter(|number| *number != 0).find(|number| !taken(*number))?;
        self.latest = next;
        Some(next)
    }

    fn shard_of(&mut self, room: RoomId) -> Option<&mut Shard> {
        self.shards.iter_mut().find(|shard| shard.room == room)
    }
}

impl Shards {
    pub(crate) fn new(mailboxes: Arc<[Mailbox]>, per_shard: usize) -> Self {
        Self { calls: Mutex::default(), mailboxes, per_shard }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Places a participant of the call whose first room is `first`.
    pub(crate) fn place(
        this: &Arc<Self>,
        first: RoomId,
        participant: ParticipantId,
        workers: Workers<'_>,
    ) -> Placed {
        let mut calls = this.lock();
        let call = calls.entry(first.call()).or_default();
        let known = call.shards.iter().find(|shard| shard.participants.contains(&participant));
        if let Some(room) = known.map(|shard| shard.room) {
            // Its room will refuse it, and it keeps its place.
            let shards = Arc::clone(this);
            return Placed { shards, room, participant, is_fresh: false, settled: true };
        }
        let (room, is_fresh) = this.choose(call, first, workers);
        if is_fresh {
            for shard in &call.shards {
                this.errand(shard.room, Action::Link { peer: room });
            }
            call.shards.push(Shard { room, participants: BTreeSet::new() });
        }
        if let Some(shard) = call.shard_of(room) {
            shard.participants.insert(participant);
        }
        drop(calls);
        Placed { shards: Arc::clone(this), room, participant, is_fresh, settled: false }
    }

    /// The room, and whether it is new.
    fn choose(&self, call: &mut Call, first: RoomId, workers: Workers<'_>) -> (RoomId, bool) {
        let size = |shard: &&Shard| shard.participants.len();
        let has_place = |shard: &&Shard| self.per_shard == 0 || size(shard) < self.per_shard;
        let is_full = |shard: &&Shard| (workers.is_full)(worker_of(shard.room));
        let with_place = call.shards.iter().filter(has_place);
        if let Some(shard) = with_place.clone().find(|shard| !is_full(shard)) {
            return (shard.room, false);
        }
        // One that is at its capacity will do, where no other worker has more to give.
        let crowded = with_place.min_by_key(size).map(|shard| shard.room);
        let Some(smallest) = call.shards.iter().min_by_key(size).map(|shard| shard.room) else {
            return (first, true);
        };
        let may_span = self.per_shard > 0 && call.shards.len() < SHARDS_MAX;
        let is_free = |worker: usize| {
            call.shards.iter().all(|s| worker_of(s.room) != worker)
                && (crowded.is_none() || !(workers.is_full)(worker))
        };
        let worker = if may_span { (workers.least_loaded)(&is_free) } else { None };
        let worker = worker.and_then(|worker| u64::try_from(worker).ok());
        let number = worker.and_then(|_| call.next_number());
        let (Some(worker), Some(number)) = (worker, number) else {
            return (crowded.unwrap_or(smallest), false);
        };
        (RoomId(first.0 & !0xff | worker).with_shard(number), true)
    }

    /// The rooms that a call has now.
    pub(crate) fn rooms(&self, first: RoomId) -> Vec<RoomId> {
        let calls = self.lock();
        let call = calls.get(&first.call());
        call.map(|call| call.shards.iter().map(|shard| shard.room).collect()).unwrap_or_default()
    }

    /// A participant left its room.
    pub(crate) fn left(&self, room: RoomId, participant: ParticipantId) {
        if let Some(shard) = self.lock().get_mut(&room.call()).and_then(|c| c.shard_of(room)) {
            shard.participants.remove(&participant);
        }
    }

    /// A room is gone: the call's others are unlinked from it.
    pub(crate) fn gone(&self, room: RoomId, reason: LeaveReason) {
        self.remove_if(room, reason, |_| true);
    }

    /// A participant did not come in. A room that was meant for it alone was not made.
    fn give_up(&self, room: RoomId, participant: ParticipantId) {
        self.left(room, participant);
        self.remove_if(room, LeaveReason::Left, |shard| shard.participants.is_empty());
    }

    fn remove_if(&self, room: RoomId, reason: LeaveReason, is_over: impl Fn(&Shard) -> bool) {
        let mut calls = self.lock();
        let Some(call) = calls.get_mut(&room.call()) else { return };
        let before = call.shards.len();
        call.shards.retain(|shard| shard.room != room || !is_over(shard));
        if call.shards.len() == before {
            return;
        }
        for shard in &call.shards {
            self.errand(shard.room, Action::Unlink { peer: room, reason });
        }
        if call.shards.is_empty() {
            calls.remove(&room.call());
        }
    }

    fn errand(&self, room: RoomId, action: Action) {
        if let Some(mailbox) = self.mailboxes.get(worker_of(room)) {
            mailbox.send_errand(room, action);
        }
    }
}

#[cfg(test)]
mod tests;
