//! One participant's signalling, which outlives its WebSocket.
//!
//! Owns: whether a WebSocket is attached, what its client knows (so that no change is lost or told
//! twice), the resume tokens' hashes, and the one ending.
//! Never: waits or talks to the core; `control` does, and asks here what to do.
//!
//! ```text
//! Waiting --admit--> Joining                                      (in the lobby: not in the core)
//! Joining --joined--> Live --begin_leave / begin_expiry--> Leaving --finish--> Ended
//!    `------------------`-------------------- finish -----------------------------^
//! ```
//! `finish` may come at any time, for the core may remove a participant at any time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::SystemTime;

use axum::extract::ws::Utf8Bytes;
use convoke_node::core::{ParticipantId, Permissions, RoomId};
use convoke_protocol::{EndReason, Ended, Role, ServerMessage, close};

use crate::agent::Via;
use crate::calls::Call;
use crate::convert;
use crate::ids::{AgentId, ResumeHash};
use crate::moderation::Bearer;
use crate::outlet::Outlet;
use crate::ringing;
use crate::spans;
use crate::sync::lock;

/// One participant of one call.
#[derive(Debug)]
pub(crate) struct Session {
    call: Arc<Call>,
    participant: ParticipantId,
    /// The room of the call that it is in.
    room: AtomicU64,
    wire_id: String,
    bearer: Bearer,
    /// Changes held back while a snapshot is under way, at most.
    most_held: usize,
    state: Mutex<State>,
    /// Held while the core is told whether the client is reachable, so that the last word counts.
    pub(crate) reach: tokio::sync::Mutex<()>,
    /// The permissions that the core was told last, if it has any. Held while it is told.
    pub(crate) granted: tokio::sync::Mutex<Option<Permissions>>,
    /// What it rang when it started the call.
    ring: OnceLock<Weak<ringing::Call>>,
    /// From its coming to its end; see [`spans`].
    span: Mutex<tracing::Span>,
}

#[derive(Debug)]
struct State {
    life: Life,
    /// The WebSocket, while there is one.
    outlet: Option<Outlet>,
    knows: Knows,
    /// Changes were lost: after the snapshot under way, another is needed.
    stale: bool,
    /// Counts attachments and detachments: a grace time belongs to one of them.
    turns: u64,
    /// The `requestId` of the `leave` under way.
    leave: Option<u32>,
    /// The resume tokens that are good: the newest, and the one last used.
    hashes: Vec<ResumeHash>,
    /// It came from the lobby: no request waits for `joined`.
    unasked: bool,
    /// When it came: into the call, or else into its lobby.
    since: SystemTime,
}

/// How a participant is there, as an onlooker is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// In the lobby.
    Waiting,
    /// On its way in.
    Joining,
    Connected,
    /// Without its WebSocket, which may come back.
    Unreachable,
    Leaving,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Waiting,
    Joining,
    Live,
    Leaving,
    Ended,
}

/// What the client knows of the call.
#[derive(Debug)]
enum Knows {
    /// A snapshot is under way; later changes wait for it.
    Awaiting { asked: bool, held: Vec<(u64, Utf8Bytes)> },
    /// The last snapshot's version.
    Since(u64),
}

/// Data messages held back while a snapshot is under way, at most.
const DATA_HELD: usize = 64;

/// What became of a data message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DataPushed {
    /// It is on its way, or held back until the snapshot that is under way has gone.
    Taken,
    /// There is no WebSocket, or its client does not know the call yet.
    Detached,
    /// The client reads too slowly for what may be lost.
    Dropped,
    /// The client was too slow and is detached now: the turn for [`Session::begin_expiry`].
    TooSlow(u64),
}

/// The session is over: what was wanted of it cannot be had.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Over;

/// A snapshot was delivered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// Another snapshot is needed.
    pub(crate) stale: bool,
}

impl Session {
    pub(crate) fn new(
        call: Arc<Call>,
        participant: ParticipantId,
        bearer: Bearer,
        outlet: Outlet,
        most_held: usize,
    ) -> Self {
        let state = State {
            life: Life::Joining,
            outlet: Some(outlet),
            knows: Knows::Awaiting { asked: true, held: Vec::new() },
            stale: false,
            turns: 0,
            leave: None,
            hashes: Vec::new(),
            unasked: false,
            since: SystemTime::now(),
        };
        let wire_id = convert::participant_id(participant);
        let span = spans::participant(call.span(), call.wire_id(), &wire_id);
        Self {
            room: AtomicU64::new(call.room().0),
            call,
            participant,
            wire_id,
            bearer,
            most_held,
            state: Mutex::new(state),
            reach: tokio::sync::Mutex::new(()),
            granted: tokio::sync::Mutex::new(None),
            ring: OnceLock::new(),
            span: Mutex::new(span),
        }
    }

    /// A span for the carrying out of its join.
    pub(crate) fn join_span(&self, via: Via) -> tracing::Span {
        spans::join(&lock(&self.span), via)
    }

    pub(crate) fn call(&self) -> &Arc<Call> {
        &self.call
    }

    /// The room of the call that it is in, or will be: its events and commands are of that room.
    pub(crate) fn room(&self) -> RoomId {
        RoomId(self.room.load(Ordering::Acquire))
    }

    /// It was placed in this room.
    pub(crate) fn place_in(&self, room: RoomId) {
        self.room.store(room.0, Ordering::Release);
    }

    pub(crate) fn participant(&self) -> ParticipantId {
        self.participant
    }

    /// The participant's id on the wire.
    pub(crate) fn wire_id(&self) -> &str {
        &self.wire_id
    }

    /// What it is in the call.
    pub(crate) fn role(&self) -> Option<Role> {
        self.call.moderation().role(&self.bearer)
    }

    pub(crate) fn identity(&self) -> &Arc<str> {
        &self.bearer.identity
    }

    /// The call that it started rings.
    pub(crate) fn set_ring(&self, ring: &Arc<ringing::Call>) {
        // Set once, by the one start.
        let _ = self.ring.set(Arc::downgrade(ring));
    }

    /// What it rang, while that rings.
    pub(crate) fn ring(&self) -> Option<Arc<ringing::Call>> {
        self.ring.get().and_then(Weak::upgrade)
    }

    /// Who it is by its token.
    pub(crate) fn bearer(&self) -> &Bearer {
        &self.bearer
    }

    /// Puts it into the lobby, and tells its client so.
    pub(crate) fn wait(&self, told: &ServerMessage) {
        let mut state = lock(&self.state);
        (state.life, state.unasked) = (Life::Waiting, true);
        if let Some(outlet) = &state.outlet {
            // A client too slow for it is closed by its outlet.
            let _ = outlet.send(told);
        }
    }

    /// Lets it in from the lobby: its join is carried out from now on.
    pub(crate) fn admit(&self) -> Result<(), Over> {
        let mut state = lock(&self.state);
        if state.life != Life::Waiting {
            return Err(Over);
        }
        state.life = Life::Joining;
        Ok(())
    }

    /// Whether it waits in the lobby.
    pub(crate) fn is_waiting(&self) -> bool {
        lock(&self.state).life == Life::Waiting
    }

    /// Whether it is in the lobby, or on its way in from there: without its WebSocket it is lost.
    pub(crate) fn is_outside(&self) -> bool {
        let state = lock(&self.state);
        state.life == Life::Waiting || (state.life == Life::Joining && state.unasked)
    }

    /// Whether the core has, as far as is known, this participant.
    pub(crate) fn is_live(&self) -> bool {
        matches!(lock(&self.state).life, Life::Live | Life::Leaving)
    }

    pub(crate) fn is_ended(&self) -> bool {
        lock(&self.state).life == Life::Ended
    }

    /// How it is there, and since when; `None` when it is over.
    pub(crate) fn presence(&self) -> Option<(Presence, SystemTime)> {
        let state = lock(&self.state);
        let presence = match state.life {
            Life::Waiting => Presence::Waiting,
            Life::Joining => Presence::Joining,
            Life::Live if state.outlet.is_none() => Presence::Unreachable,
            Life::Live => Presence::Connected,
            Life::Leaving => Presence::Leaving,
            Life::Ended => return None,
        };
        Some((presence, state.since))
    }

    pub(crate) fn is_attached(&self) -> bool {
        lock(&self.state).outlet.is_some()
    }

    /// Tells the client of a change, in its turn. `Some` when the client was too slow and is
    /// detached now: the turn for [`Session::begin_expiry`].
    pub(crate) fn push(&self, version: u64, text: &Utf8Bytes) -> Option<u64> {
        let mut state = lock(&self.state);
        if matches!(state.life, Life::Waiting | Life::Ended) || state.outlet.is_none() {
            return None;
        }
        match &mut state.knows {
            Knows::Awaiting { held, .. } if held.len() < self.most_held => {
                held.push((version, text.clone()));
            }
            Knows::Awaiting { held, .. } => {
                // The snapshot does not bring back what is of no version.
                held.retain(|(version, _)| *version == u64::MAX);
                state.stale = true;
            }
            Knows::Since(snapshot) if version <= *snapshot => {}
            Knows::Since(_) => return state.send(text.clone()),
        }
        None
    }

    /// Passes on a data message, which is of no version and in no snapshot.
    pub(crate) fn push_data(&self, durable: bool, text: &Utf8Bytes) -> DataPushed {
        let mut state = lock(&self.state);
        let (Some(outlet), false) = (state.outlet.clone(), state.life == Life::Ended) else {
            return DataPushed::Detached;
        };
        match &mut state.knows {
            Knows::Awaiting { held, .. } if unversioned(held) < self.most_held.min(DATA_HELD) => {
                held.push((u64::MAX, text.clone()));
                return DataPushed::Taken;
            }
            Knows::Awaiting { asked: true, .. } => return DataPushed::Detached,
            _ if !durable => {
                let waits = matches!(state.knows, Knows::Awaiting { .. });
                let taken = !waits && outlet.send_lossy(text.clone()).is_ok();
                return if taken { DataPushed::Taken } else { DataPushed::Dropped };
            }
            // A gap in durable messages must be told.
            Knows::Awaiting { .. } => outlet.close(close::SLOW_READER),
            Knows::Since(_) => {
                let turn = state.send(text.clone());
                return turn.map_or(DataPushed::Taken, DataPushed::TooSlow);
            }
        }
        DataPushed::TooSlow(state.detach())
    }

    /// The core accepted the join: delivers `joined`, then what was held back.
    pub(crate) fn joined(
        &self,
        version: u64,
        text: Utf8Bytes,
        hash: ResumeHash,
    ) -> Result<Delivered, Over> {
        let mut state = lock(&self.state);
        if state.life != Life::Joining {
            return Err(Over);
        }
        (state.life, state.unasked) = (Life::Live, false);
        state.since = SystemTime::now();
        state.hashes.push(hash);
        Ok(state.deliver(version, text))
    }

    /// Attaches `outlet`, which showed the resume token `used` and gets `fresh`. An older outlet is
    /// closed. A snapshot must follow. The resume token that is void now.
    pub(crate) fn attach(
        &self,
        outlet: Outlet,
        used: ResumeHash,
        fresh: ResumeHash,
    ) -> Result<Option<ResumeHash>, Over> {
        let mut state = lock(&self.state);
        if state.life != Life::Live || !state.hashes.contains(&used) {
            return Err(Over);
        }
        if let Some(old) = state.outlet.replace(outlet) {
            old.close(close::TAKEN_OVER);
        }
        state.turns += 1;
        state.stale = false;
        state.knows = Knows::Awaiting { asked: true, held: Vec::new() };
        let void = state.hashes.iter().find(|hash| **hash != used).copied();
        state.hashes = vec![fresh, used];
        Ok(void)
    }

    /// Delivers `resumed`, then what was held back.
    pub(crate) fn resumed(
        &self,
        agent: AgentId,
        version: u64,
        text: Utf8Bytes,
    ) -> Result<Delivered, Over> {
        let mut state = lock(&self.state);
        if state.life != Life::Live || !state.is_attached_to(agent) {
            return Err(Over);
        }
        Ok(state.deliver(version, text))
    }

    /// Changes were lost, or may come out of order: holds back further ones until
    /// [`Session::refreshed`].
    pub(crate) fn begin_refresh(&self) {
        let mut state = lock(&self.state);
        match state.knows {
            Knows::Awaiting { .. } => state.stale = true,
            Knows::Since(_) => state.knows = Knows::Awaiting { asked: false, held: Vec::new() },
        }
    }

    /// Delivers a snapshot that was not asked for, unless one that was is under way.
    pub(crate) fn refreshed(&self, version: u64, text: Utf8Bytes) -> Delivered {
        let mut state = lock(&self.state);
        match state.knows {
            Knows::Awaiting { asked: false, .. } if state.life != Life::Ended => {
                state.deliver(version, text)
            }
            _ => Delivered { stale: false },
        }
    }

    /// The WebSocket of `agent` is gone. `Some` when the session had it and is detached now: the
    /// turn for [`Session::begin_expiry`].
    pub(crate) fn detach(&self, agent: AgentId) -> Option<u64> {
        let mut state = lock(&self.state);
        if state.life == Life::Ended || !state.is_attached_to(agent) {
            return None;
        }
        Some(state.detach())
    }

    /// The grace time of detachment `turn` is over. Whether the participant must leave; it can no
    /// longer be resumed then.
    pub(crate) fn begin_expiry(&self, turn: u64) -> bool {
        let mut state = lock(&self.state);
        let due = state.life == Life::Live && state.turns == turn && state.outlet.is_none();
        if due {
            state.life = Life::Leaving;
        }
        due
    }

    /// The client wants to leave. `Over` when it is leaving or gone already.
    pub(crate) fn begin_leave(&self, request_id: Option<u32>) -> Result<(), Over> {
        let mut state = lock(&self.state);
        let outside = state.life == Life::Joining && state.unasked;
        if !outside && !matches!(state.life, Life::Live | Life::Waiting) {
            return Err(Over);
        }
        state.life = Life::Leaving;
        state.leave = request_id;
        Ok(())
    }

    /// The core did not take the `leave`.
    pub(crate) fn abort_leave(&self) {
        let mut state = lock(&self.state);
        if state.life == Life::Leaving {
            state.life = Life::Live;
            state.leave = None;
        }
    }

    /// Ends the session and tells its client, unless that waits for an answer which will say so.
    /// `Some`, the void resume tokens, only the first time.
    pub(crate) fn finish(&self, reason: EndReason) -> Option<Vec<ResumeHash>> {
        let mut state = lock(&self.state);
        if state.life == Life::Ended {
            return None;
        }
        let asked = matches!(state.knows, Knows::Awaiting { asked: true, .. });
        // What waits for an answer is told by that; in the lobby nothing does.
        let asked = asked && !state.unasked;
        state.life = Life::Ended;
        // It may be held for long after; its span is not.
        let span = std::mem::replace(&mut *lock(&self.span), tracing::Span::none());
        span.record("code", reason.code);
        span.record("subcode", reason.sub_code);
        if let Some(outlet) = state.outlet.take()
            && !asked
        {
            let call_id = self.call.wire_id().to_owned();
            let ended = Ended { request_id: state.leave, call_id, reason };
            // A client too slow for it is closed by its outlet.
            let _ = outlet.send(&ServerMessage::Ended(ended));
        }
        Some(std::mem::take(&mut state.hashes))
    }
}

/// How many of those held back are of no version.
fn unversioned(held: &[(u64, Utf8Bytes)]) -> usize {
    held.iter().filter(|(version, _)| *version == u64::MAX).count()
}

impl State {
    fn is_attached_to(&self, agent: AgentId) -> bool {
        self.outlet.as_ref().is_some_and(|outlet| outlet.agent() == agent)
    }

    /// Sends; `Some(turn)` when that detached the client.
    fn send(&mut self, text: Utf8Bytes) -> Option<u64> {
        let outlet = self.outlet.as_ref()?;
        if outlet.send_text(text).is_ok() {
            return None;
        }
        Some(self.detach())
    }

    fn detach(&mut self) -> u64 {
        self.outlet = None;
        self.turns += 1;
        self.turns
    }

    /// Sends a snapshot, then what was held back and is newer. A client too slow for that is closed
    /// by its outlet; its WebSocket's end detaches it.
    fn deliver(&mut self, version: u64, text: Utf8Bytes) -> Delivered {
        let before = std::mem::replace(&mut self.knows, Knows::Since(version));
        if let Some(outlet) = &self.outlet {
            let mut taken = outlet.send_text(text).is_ok();
            if let Knows::Awaiting { held, .. } = before {
                for (_, text) in held.into_iter().filter(|(change, _)| *change > version) {
                    taken = taken && outlet.send_text(text).is_ok();
                }
            }
        }
        Delivered { stale: std::mem::take(&mut self.stale) }
    }
}

#[cfg(test)]
mod tests;
