//! The calls that live now.
//!
//! Owns: which group ID is which call, who is in it, and its beginning and end. A call begins with
//! the first join of a token that may start one, and ends when the last session has gone; a join
//! under way keeps it, a failed one leaves nothing.
//! Never: waits, or talks to the core.
//!
//! Locks are taken in the order: table, members, session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use convoke_node::core::{ParticipantId, RoomId};
use convoke_protocol::GroupId;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::sync::watch;

use crate::ids::CallId;
use crate::session::Session;
use crate::sync::lock;

/// One live call.
#[derive(Debug)]
pub(crate) struct Call {
    group: GroupId,
    room: RoomId,
    wire_id: String,
    members: Mutex<Members>,
}

#[derive(Debug, Default)]
struct Members {
    sessions: HashMap<ParticipantId, Arc<Session>>,
    /// Nobody can enter any more.
    over: bool,
}

/// Why a call cannot be entered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EnterError {
    /// It does not run, and may not be started.
    NotRunning,
    /// There are as many calls as there may be.
    TooManyCalls,
    /// The participant id is taken.
    IdTaken,
}

impl Call {
    fn new(group: GroupId, room: RoomId) -> Self {
        let wire_id = CallId::random().to_string();
        Self { group, room, wire_id, members: Mutex::default() }
    }

    /// The call's id on the wire.
    pub(crate) fn wire_id(&self) -> &str {
        &self.wire_id
    }

    pub(crate) fn group(&self) -> GroupId {
        self.group
    }

    /// Its first room. A large call has others on other workers; each session knows its own.
    pub(crate) fn room(&self) -> RoomId {
        self.room
    }

    pub(crate) fn is_over(&self) -> bool {
        lock(&self.members).over
    }

    pub(crate) fn session(&self, participant: ParticipantId) -> Option<Arc<Session>> {
        lock(&self.members).sessions.get(&participant).cloned()
    }

    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        lock(&self.members).sessions.values().cloned().collect()
    }

    /// Those in one of the call's rooms.
    pub(crate) fn sessions_in(&self, room: RoomId) -> Vec<Arc<Session>> {
        let mut sessions = self.sessions();
        sessions.retain(|session| session.room() == room);
        sessions
    }

    /// Calls `f` for every session, under the lock: `f` must be quick.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&Arc<Session>)) {
        lock(&self.members).sessions.values().for_each(&mut f);
    }
}

/// All calls.
#[derive(Debug)]
pub(crate) struct CallTable {
    by_group: DashMap<GroupId, Arc<Call>>,
    /// By the number that all its rooms share.
    by_number: DashMap<u64, Arc<Call>>,
    count: watch::Sender<usize>,
    most: usize,
}

impl CallTable {
    pub(crate) fn new(most: usize) -> Self {
        let count = watch::Sender::new(0);
        Self { by_group: DashMap::new(), by_number: DashMap::new(), count, most }
    }

    /// How many calls live.
    pub(crate) fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Follows [`CallTable::count`].
    pub(crate) fn watch(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// The call that a room belongs to.
    pub(crate) fn by_room(&self, room: RoomId) -> Option<Arc<Call>> {
        self.by_number.get(&room.call()).map(|call| Arc::clone(&call))
    }

    pub(crate) fn by_group(&self, group: GroupId) -> Option<Arc<Call>> {
        self.by_group.get(&group).map(|call| Arc::clone(&call))
    }

    pub(crate) fn all(&self) -> Vec<Arc<Call>> {
        self.by_group.iter().map(|call| Arc::clone(&call)).collect()
    }

    /// Registers a session in the call of `group`, which `may_start` begins if need be. The session
    /// must be given back by [`CallTable::leave`].
    pub(crate) fn enter(
        &self,
        group: GroupId,
        may_start: bool,
        new_room: impl FnOnce() -> RoomId,
        session: impl FnOnce(&Arc<Call>) -> Session,
    ) -> Result<Arc<Session>, EnterError> {
        let entry = self.by_group.entry(group);
        if let Entry::Occupied(occupied) = &entry {
            let call = occupied.get();
            let mut members = lock(&call.members);
            if !may_start && !members.sessions.values().any(|one| one.is_live()) {
                return Err(EnterError::NotRunning);
            }
            let session = Arc::new(session(call));
            if members.sessions.contains_key(&session.participant()) {
                return Err(EnterError::IdTaken);
            }
            members.sessions.insert(session.participant(), Arc::clone(&session));
            return Ok(session);
        }
        if !may_start {
            return Err(EnterError::NotRunning);
        }
        if self.count() >= self.most {
            return Err(EnterError::TooManyCalls);
        }
        let call = Arc::new(Call::new(group, new_room()));
        let session = Arc::new(session(&call));
        lock(&call.members).sessions.insert(session.participant(), Arc::clone(&session));
        self.by_number.insert(call.room.call(), Arc::clone(&call));
        entry.insert(call);
        self.count.send_modify(|count| *count += 1);
        Ok(session)
    }

    /// Takes a session out; the call ends with its last one. Whether it ended.
    pub(crate) fn leave(&self, session: &Arc<Session>) -> bool {
        let call = session.call();
        {
            let mut members = lock(&call.members);
            let participant = session.participant();
            if members.sessions.get(&participant).is_some_and(|one| Arc::ptr_eq(one, session)) {
                members.sessions.remove(&participant);
            }
        }
        self.remove_if(call, |members| members.sessions.is_empty())
    }

    /// Ends a call whatever is in it, so that the next join makes a fresh one.
    pub(crate) fn kill(&self, call: &Arc<Call>) -> bool {
        self.remove_if(call, |_| true)
    }

    fn remove_if(&self, call: &Arc<Call>, condition: impl Fn(&Members) -> bool) -> bool {
        let removed = self.by_group.remove_if(&call.group, |_, found| {
            let mut members = lock(&call.members);
            let ends = Arc::ptr_eq(found, call) && condition(&members);
            members.over |= ends;
            ends
        });
        if removed.is_none() {
            return false;
        }
        self.by_number.remove(&call.room.call());
        self.count.send_modify(|count| *count = count.saturating_sub(1));
        true
    }
}

#[cfg(test)]
mod tests;
