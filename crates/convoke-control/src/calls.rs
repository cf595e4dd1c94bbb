//! The calls that live now.
//!
//! Owns: which group ID or scheduled room is which call, who is in it, and its beginning and end. A call begins with
//! the first join of a token that may start one, and ends when the last session has gone; a join
//! under way keeps it, and so does someone in its lobby; a failed join leaves nothing.
//! Never: waits, or talks to the core.
//!
//! Locks are taken in the order: table, moderation, members, session.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use convoke_node::core::{ParticipantId, RoomId};
use convoke_protocol::{GroupId, ServerMessage};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::sync::watch;

use crate::ids::CallId;
use crate::join::Wanted;
use crate::moderation::Moderation;
use crate::recorder::CallLog;
use crate::scheduled::RoomTimes;
use crate::session::Session;
use crate::spans;
use crate::sync::lock;

/// What a call is joined by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Locator {
    Group(GroupId),
    /// A scheduled room, by its id.
    Room(Arc<str>),
}

/// One live call.
#[derive(Debug)]
pub(crate) struct Call {
    locator: Locator,
    /// A scheduled room's times.
    times: Mutex<Option<RoomTimes>>,
    /// What was recorded of it.
    pub(crate) log: Mutex<CallLog>,
    room: RoomId,
    wire_id: String,
    /// See [`spans`].
    span: tracing::Span,
    moderation: Mutex<Moderation>,
    members: Mutex<Members>,
}

/// Someone in a lobby, with the join that is carried out when it is let in.
#[derive(Debug, Clone)]
pub(crate) struct Waiter {
    pub(crate) session: Arc<Session>,
    pub(crate) wanted: Arc<Wanted>,
}

#[derive(Debug, Default)]
struct Members {
    sessions: HashMap<ParticipantId, Arc<Session>>,
    /// In the lobby, in order of coming; not among `sessions`.
    waiting: Vec<Waiter>,
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
    /// The identity was removed from the call.
    Removed,
    /// The lobby is full.
    LobbyFull,
}

/// Participants in one lobby, at most.
const LOBBY: usize = 250;
impl From<GroupId> for Locator {
    fn from(group: GroupId) -> Self {
        Self::Group(group)
    }
}

impl fmt::Display for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(group) => write!(f, "groups/{group}"),
            Self::Room(room) => write!(f, "rooms/{room}"),
        }
    }
}

impl Call {
    fn new(locator: Locator, room: RoomId, two_party: bool) -> Self {
        let wire_id = CallId::random().to_string();
        let span = spans::call(&wire_id);
        Self {
            locator,
            times: Mutex::default(),
            log: Mutex::new(CallLog::new(two_party)),
            room,
            wire_id,
            span,
            moderation: Mutex::default(),
            members: Mutex::default(),
        }
    }

    /// What is in force in it. While this is held nobody else is told of its moderation, so that
    /// the last word that a client hears is the last that was true.
    pub(crate) fn moderation(&self) -> MutexGuard<'_, Moderation> {
        lock(&self.moderation)
    }

    /// What its participants' spans belong to.
    pub(crate) fn span(&self) -> &tracing::Span {
        &self.span
    }

    /// The times of its scheduled room, if it is of one.
    pub(crate) fn times(&self) -> Option<RoomTimes> {
        *lock(&self.times)
    }

    pub(crate) fn set_times(&self, times: RoomTimes) {
        *lock(&self.times) = Some(times);
    }

    /// The call's id on the wire.
    pub(crate) fn wire_id(&self) -> &str {
        &self.wire_id
    }

    pub(crate) fn locator(&self) -> &Locator {
        &self.locator
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

    /// Those in the lobby, in order of coming.
    pub(crate) fn waiting(&self) -> Vec<Waiter> {
        lock(&self.members).waiting.clone()
    }

    /// Those in the call and those in its lobby.
    pub(crate) fn everyone(&self) -> Vec<Arc<Session>> {
        let members = lock(&self.members);
        let waiting = members.waiting.iter().map(|waiter| Arc::clone(&waiter.session));
        members.sessions.values().cloned().chain(waiting).collect()
    }

    /// Lets those out of the lobby into the call that are named, or all. From then on they are on
    /// their way in.
    pub(crate) fn admit(&self, who: Option<&[ParticipantId]>) -> Vec<Waiter> {
        let mut members = lock(&self.members);
        let chosen =
            |waiter: &mut Waiter| who.is_none_or(|who| who.contains(&waiter.session.participant()));
        let mut admitted: Vec<Waiter> = members.waiting.extract_if(.., chosen).collect();
        // Who is leaving just now will be taken out by that.
        admitted.retain(|waiter| waiter.session.admit().is_ok());
        for Waiter { session, .. } in &admitted {
            members.sessions.insert(session.participant(), Arc::clone(session));
        }
        admitted
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

impl Members {
    fn take_in(
        &mut self,
        moderation: &Moderation,
        session: &Arc<Session>,
        wanted: &Arc<Wanted>,
        in_lobby: impl FnOnce(&Session) -> ServerMessage,
    ) -> Result<(), EnterError> {
        let id = session.participant();
        let mut waiting = self.waiting.iter().map(|waiter| waiter.session.participant());
        if self.sessions.contains_key(&id) || waiting.any(|one| one == id) {
            return Err(EnterError::IdTaken);
        }
        if wanted.invited || !moderation.must_wait(session.bearer()) {
            self.sessions.insert(id, Arc::clone(session));
            return Ok(());
        }
        if self.waiting.len() >= LOBBY {
            return Err(EnterError::LobbyFull);
        }
        session.wait(&in_lobby(session));
        let (session, wanted) = (Arc::clone(session), Arc::clone(wanted));
        self.waiting.push(Waiter { session, wanted });
        Ok(())
    }
}

/// All calls.
#[derive(Debug)]
pub(crate) struct CallTable {
    by_locator: DashMap<Locator, Arc<Call>>,
    /// By the number that all its rooms share.
    by_number: DashMap<u64, Arc<Call>>,
    count: watch::Sender<usize>,
    most: usize,
}

impl CallTable {
    pub(crate) fn new(most: usize) -> Self {
        let count = watch::Sender::new(0);
        Self { by_locator: DashMap::new(), by_number: DashMap::new(), count, most }
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

    pub(crate) fn by_locator(&self, locator: &Locator) -> Option<Arc<Call>> {
        self.by_locator.get(locator).map(|call| Arc::clone(&call))
    }

    /// The call of an id that clients and records know. A walk through all: for what is rare.
    pub(crate) fn by_wire_id(&self, id: &str) -> Option<Arc<Call>> {
        self.by_locator.iter().find(|call| call.wire_id == id).map(|call| Arc::clone(&call))
    }

    pub(crate) fn all(&self) -> Vec<Arc<Call>> {
        self.by_locator.iter().map(|call| Arc::clone(&call)).collect()
    }

    /// Registers a session in the call that is wanted, which begins if need be and may be; in its
    /// lobby where it must wait, which `in_lobby` tells it. The session must be given back by
    /// [`CallTable::leave`].
    pub(crate) fn enter(
        &self,
        wanted: &Arc<Wanted>,
        new_room: impl FnOnce() -> RoomId,
        session: impl FnOnce(&Arc<Call>) -> Session,
        in_lobby: impl FnOnce(&Session) -> ServerMessage,
    ) -> Result<Arc<Session>, EnterError> {
        let entry = self.by_locator.entry(wanted.locator.clone());
        if let Entry::Occupied(occupied) = &entry {
            let call = occupied.get();
            let moderation = call.moderation();
            let mut members = lock(&call.members);
            if !wanted.may_start && !members.sessions.values().any(|one| one.is_live()) {
                return Err(EnterError::NotRunning);
            }
            let session = Arc::new(session(call));
            if moderation.is_removed(session.identity()) {
                return Err(EnterError::Removed);
            }
            members.take_in(&moderation, &session, wanted, in_lobby)?;
            return Ok(session);
        }
        if !wanted.may_start {
            return Err(EnterError::NotRunning);
        }
        if self.count() >= self.most {
            return Err(EnterError::TooManyCalls);
        }
        let call = Arc::new(Call::new(wanted.locator.clone(), new_room(), wanted.two_party));
        let session = Arc::new(session(&call));
        {
            let mut moderation = call.moderation();
            *moderation = Moderation::new(wanted.lobby, session.bearer());
            lock(&call.members).take_in(&moderation, &session, wanted, in_lobby)?;
        }
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
            members.waiting.retain(|waiter| !Arc::ptr_eq(&waiter.session, session));
        }
        self.remove_if(call, |members| members.sessions.is_empty() && members.waiting.is_empty())
    }

    /// Ends a call whatever is in it, so that the next join makes a fresh one.
    pub(crate) fn kill(&self, call: &Arc<Call>) -> bool {
        self.remove_if(call, |_| true)
    }

    fn remove_if(&self, call: &Arc<Call>, condition: impl Fn(&Members) -> bool) -> bool {
        let removed = self.by_locator.remove_if(&call.locator, |_, found| {
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
