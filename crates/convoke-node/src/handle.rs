//! The handle: how any task drives the workers.
//!
//! Owns: [`Handle`], placement of rooms, and the promise that a join whose caller is gone leaves
//! no participant behind.
//! Never: blocks, or waits for a place in an inbox: a full one is [`HandleError::Busy`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use convoke_core::{
    Action, Command, CommandError, JoinRequest, LeaveReason, ParticipantId, Reply, RequestId,
    RoomId, Snapshot,
};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::oneshot;

use crate::desk::{Join, Message};
use crate::error::HandleError;
use crate::mailbox::worker_of;
use crate::shards::{Placed, Shards, Workers};
use crate::stats::{StatsBlock, WorkerStats};
use crate::tcp::{Tcp, TcpStats};

/// How often a join is placed whose room closes under its hands.
const JOIN_TRIES: usize = 8;

/// Drives a node from any task. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// A successful join.
#[derive(Debug, Clone)]
pub struct Joined {
    /// Where the participant is: further commands for it go to this room.
    pub room: RoomId,
    /// The answer of the send transport, if it was offered.
    pub send_answer: Option<String>,
    /// The answer of the receive transport, if it was offered.
    pub receive_answer: Option<String>,
    /// The room as the new participant sees it.
    pub snapshot: Snapshot,
}

#[derive(Debug)]
struct Shared {
    workers: Vec<WorkerLink>,
    shards: Arc<Shards>,
    tcp: Tcp,
    next_request: AtomicU64,
    next_room: AtomicU64,
}

/// A participant's place in a call, for a join that must follow. Dropped, it is free again.
#[derive(Debug)]
pub struct Place {
    handle: Handle,
    placed: Placed,
}

impl Place {
    /// The room that the participant will be in. All its events are of this room, and all commands
    /// for it go there.
    #[must_use]
    pub fn room(&self) -> RoomId {
        self.placed.room
    }

    /// Adds the participant that the place is for. If the returned future is dropped before it is
    /// done, the participant is not added, or removed again.
    ///
    /// # Errors
    /// See [`HandleError`]; nothing was changed. [`HandleError::Moved`] asks for another place.
    pub async fn join(self, join: JoinRequest) -> Result<Joined, HandleError> {
        let Self { handle, placed } = self;
        let (room, is_fresh) = (placed.room, placed.is_fresh);
        match handle.send(room, Action::Join(join), Some(placed)).await {
            Ok(Reply::Joined { send_answer, receive_answer, snapshot }) => {
                Ok(Joined { room, send_answer, receive_answer, snapshot })
            }
            Ok(other) => Err(unexpected(&other)),
            Err(HandleError::Refused(CommandError::NoSuchRoom)) if !is_fresh => {
                handle.shared.shards.gone(room, LeaveReason::Left);
                Err(HandleError::Moved)
            }
            Err(error) => Err(error),
        }
    }
}

/// A worker as its handles know it.
#[derive(Debug)]
pub(crate) struct WorkerLink {
    pub(crate) inbox: mpsc::Sender<Message>,
    pub(crate) stats: Arc<StatsBlock>,
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Handle {
    pub(crate) fn new(workers: Vec<WorkerLink>, shards: Arc<Shards>, tcp: Tcp) -> Self {
        let (next_request, next_room) = (AtomicU64::new(1), AtomicU64::new(1));
        Self { shared: Arc::new(Shared { workers, shards, tcp, next_request, next_room }) }
    }

    /// The id for a new call's first room, placed on the least loaded worker. The room itself is
    /// made by its first join.
    #[must_use]
    pub fn new_room(&self) -> RoomId {
        let index = self.least_loaded(&|_| true).unwrap_or(0);
        let number = self.shared.next_room.fetch_add(1, Relaxed);
        RoomId(number << 8 | u64::try_from(index).unwrap_or(0)).with_shard(0)
    }

    /// The worker to place a room on.
    fn least_loaded(&self, may_be: &dyn Fn(usize) -> bool) -> Option<usize> {
        let workers = self.shared.workers.iter().enumerate().filter(|(index, _)| may_be(*index));
        let (index, worker) =
            workers.min_by_key(|(_, worker)| (worker.inbox.is_closed(), worker.stats.load()))?;
        worker.stats.room_placed();
        Some(index)
    }

    /// A place for a participant of the call that began with room `first`: there while it has room,
    /// else in another of the call's rooms, or in a new one on another worker. To be used at once.
    #[must_use]
    pub fn place(&self, first: RoomId, participant: ParticipantId) -> Place {
        let least_loaded = |may_be: &dyn Fn(usize) -> bool| self.least_loaded(may_be);
        let is_full = |worker: usize| {
            self.shared.workers.get(worker).is_some_and(|worker| worker.stats.is_full())
        };
        let choice = Workers { least_loaded: &least_loaded, is_full: &is_full };
        let placed = Shards::place(&self.shared.shards, first, participant, choice);
        Place { handle: self.clone(), placed }
    }

    /// The rooms that the call that began with room `first` has now.
    #[must_use]
    pub fn rooms_of(&self, first: RoomId) -> Vec<RoomId> {
        self.shared.shards.rooms(first)
    }

    /// A fresh random participant id (never 0).
    #[must_use]
    pub fn new_participant(&self) -> ParticipantId {
        ParticipantId(rand::random::<u32>().max(1))
    }

    /// Adds a participant to the call that began with room `first`: see [`Handle::place`]. If the
    /// returned future is dropped before it is done, the participant is not added, or removed again.
    ///
    /// # Errors
    /// See [`HandleError`]; nothing was changed.
    pub async fn join(&self, first: RoomId, join: JoinRequest) -> Result<Joined, HandleError> {
        for _ in 1..JOIN_TRIES {
            match self.place(first, join.participant).join(join.clone()).await {
                Err(HandleError::Moved) => {}
                other => return other,
            }
        }
        self.place(first, join.participant).join(join).await
    }

    /// Removes a participant; also fine if it is gone.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn leave(
        &self,
        room: RoomId,
        participant: ParticipantId,
        reason: LeaveReason,
    ) -> Result<(), HandleError> {
        self.command(room, Action::Leave { participant, reason }).await.map(|_| ())
    }

    /// Any other command, for the room that [`Joined::room`] names. Sent when the future is first
    /// polled; a dropped future does not take it back.
    ///
    /// # Errors
    /// See [`HandleError`]; nothing was changed. A join is refused: [`Handle::join`] is for that.
    pub async fn command(&self, room: RoomId, action: Action) -> Result<Reply, HandleError> {
        match action {
            Action::Join(_) => Err(CommandError::NotAllowed("a join without a place").into()),
            action => self.send(room, action, None).await,
        }
    }

    async fn send(
        &self,
        room: RoomId,
        action: Action,
        placed: Option<Placed>,
    ) -> Result<Reply, HandleError> {
        let worker = self.worker(room)?;
        let request = RequestId(self.shared.next_request.fetch_add(1, Relaxed));
        let place = worker.inbox.try_reserve().map_err(|e| worker.refused(&e))?;
        let mut guard = match &action {
            Action::Join(join) => Some(worker.guard(request, room, join.participant)?),
            _ => None,
        };
        let (reply, answer) = oneshot::channel();
        let command = Command { request, room, action };
        place.send(Message::Command {
            command,
            reply,
            join: guard.as_ref().map(|guard| guard.join.clone()),
            placed,
        });
        let result = answer.await;
        if let Some(guard) = &mut guard {
            guard.disarm();
        }
        Ok(result.map_err(|_| HandleError::Gone)??)
    }

    /// Every worker, by index.
    #[must_use]
    pub fn stats(&self) -> Vec<WorkerStats> {
        let now = Instant::now();
        self.shared.workers.iter().map(|worker| worker.stats.read(now)).collect()
    }

    /// The advertised media addresses of every worker.
    #[must_use]
    pub fn media_addresses(&self) -> Vec<SocketAddr> {
        self.shared.workers.iter().flat_map(|worker| worker.addresses.iter().copied()).collect()
    }

    /// The advertised addresses of the TCP port; none when media comes by UDP only.
    #[must_use]
    pub fn tcp_addresses(&self) -> &[SocketAddr] {
        &self.shared.tcp.candidates
    }

    /// What happened at the TCP port so far; all 0 without one.
    #[must_use]
    pub fn tcp_stats(&self) -> TcpStats {
        self.shared.tcp.shared.counters.read()
    }

    /// Makes the worker of `room` panic, to test what happens then.
    #[cfg(any(test, feature = "test-failure"))]
    #[doc(hidden)]
    pub fn fail_worker(&self, room: RoomId) {
        if let Ok(worker) = self.worker(room) {
            // A full inbox: the test will notice.
            let _ = worker.inbox.try_send(Message::Fail);
        }
    }

    fn worker(&self, room: RoomId) -> Result<&WorkerLink, HandleError> {
        let worker = self.shared.workers.get(worker_of(room));
        worker.ok_or(HandleError::Refused(CommandError::NoSuchRoom))
    }
}

fn unexpected(reply: &Reply) -> HandleError {
    CommandError::Internal(format!("unexpected reply: {reply:?}")).into()
}

impl WorkerLink {
    fn guard(
        &self,
        request: RequestId,
        room: RoomId,
        participant: ParticipantId,
    ) -> Result<JoinGuard, HandleError> {
        let place = self.inbox.clone().try_reserve_owned().map_err(|e| self.refused(&e))?;
        let join = Join { participant, succeeded: Arc::default() };
        Ok(JoinGuard { place: Some(place), request, room, join })
    }

    fn refused<T>(&self, error: &TrySendError<T>) -> HandleError {
        match error {
            TrySendError::Full(_) => {
                self.stats.command_refused();
                HandleError::Busy
            }
            TrySendError::Closed(_) => HandleError::Gone,
        }
    }
}

/// Undoes a join whose caller is gone. It holds a place in the inbox from the start, so that the
/// undoing always gets through, and behind the join.
#[derive(Debug)]
struct JoinGuard {
    place: Option<mpsc::OwnedPermit<Message>>,
    request: RequestId,
    room: RoomId,
    join: Join,
}

impl JoinGuard {
    fn disarm(&mut self) {
        self.place = None;
    }
}

impl Drop for JoinGuard {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            let (request, room, join) = (self.request, self.room, self.join.clone());
            place.send(Message::Undo { request, room, join });
        }
    }
}

#[cfg(test)]
mod tests;
