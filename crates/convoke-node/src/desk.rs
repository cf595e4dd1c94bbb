//! A worker's desk: commands in, replies and events out.
//!
//! Owns: the inbox, who waits for which reply, which rooms the worker has (and telling the table of
//! shards), joins to be undone.
//! Never: waits for anyone but an empty inbox; touches a datagram.

use std::collections::{BTreeSet, HashMap};
use std::future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use convoke_core::{
    Action, Command, CommandError, Event, Input, LeaveReason, Outbox, ParticipantId, Reply,
    RequestId, RoomChange, RoomId, Worker,
};
use tokio::sync::{mpsc, oneshot};

use crate::events::EventSender;
use crate::shards::{Placed, Shards};

/// The request number of commands whose reply nobody waits for. Callers' numbers begin at 1.
pub(crate) const NOBODY: RequestId = RequestId(0);

/// What comes through an inbox.
#[derive(Debug)]
pub(crate) enum Message {
    /// A command, and where its reply goes.
    Command {
        command: Command,
        reply: oneshot::Sender<Result<Reply, CommandError>>,
        /// For a join: tells that it succeeded.
        join: Option<Join>,
        /// For a join: its place.
        placed: Option<Placed>,
    },
    /// The caller of this join is gone: if it succeeded, it is undone.
    Undo { request: RequestId, room: RoomId, join: Join },
    /// Panics.
    #[cfg(any(test, feature = "test-failure"))]
    Fail,
}

/// A join, as known to its caller and to the worker.
#[derive(Debug, Clone)]
pub(crate) struct Join {
    pub(crate) participant: ParticipantId,
    pub(crate) succeeded: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Pending {
    room: RoomId,
    reply: oneshot::Sender<Result<Reply, CommandError>>,
    join: Option<Join>,
    placed: Option<Placed>,
    undo: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Desk {
    inbox: mpsc::Receiver<Message>,
    /// Taken while waiting.
    first: Option<Message>,
    pending: HashMap<RequestId, Pending>,
    rooms: BTreeSet<RoomId>,
    undo: Vec<(RoomId, ParticipantId)>,
    events: EventSender,
    shards: Arc<Shards>,
}

impl Desk {
    pub(crate) fn new(
        inbox: mpsc::Receiver<Message>,
        events: EventSender,
        shards: Arc<Shards>,
    ) -> Self {
        Self {
            inbox,
            first: None,
            pending: HashMap::new(),
            rooms: BTreeSet::new(),
            undo: Vec::new(),
            events,
            shards,
        }
    }

    /// Waits until there is a message; for ever once the inbox is closed.
    pub(crate) async fn ready(&mut self) {
        if self.first.is_none() {
            self.first = self.inbox.recv().await;
        }
        if self.first.is_none() {
            future::pending::<()>().await;
        }
    }

    /// Whether a message waits.
    pub(crate) fn has_message(&self) -> bool {
        self.first.is_some() || !self.inbox.is_empty()
    }

    /// Carries out the next message. `false` when there is none.
    pub(crate) fn handle_next(
        &mut self,
        now: Instant,
        core: &mut Worker,
        out: &mut Outbox,
    ) -> bool {
        let Some(message) = self.first.take().or_else(|| self.inbox.try_recv().ok()) else {
            return false;
        };
        match message {
            Message::Command { command, reply, join, placed } => {
                let (request, room) = (command.request, command.room);
                let peers = placed.as_ref().map(|placed| placed.is_fresh.then(|| placed.peers()));
                let pending = Pending { room, reply, join, placed, undo: false };
                self.pending.insert(request, pending);
                match peers {
                    // It closed meanwhile: made again here, it would be linked to nothing.
                    Some(None) if !core.has_room(room) => {
                        let result = Err(CommandError::NoSuchRoom);
                        out.events.push(Event::Reply { request, result });
                        return true;
                    }
                    Some(Some(peers)) => peers.into_iter().for_each(|peer| {
                        let command =
                            Command { request: NOBODY, room, action: Action::Link { peer } };
                        core.handle(now, Input::Command(command), out);
                    }),
                    _ => {}
                }
                core.handle(now, Input::Command(command), out);
            }
            Message::Undo { request, room, join } => match self.pending.get_mut(&request) {
                Some(pending) => pending.undo = true,
                None if join.succeeded.load(Relaxed) => self.undo.push((room, join.participant)),
                None => {}
            },
            #[cfg(any(test, feature = "test-failure"))]
            Message::Fail => std::panic::resume_unwind(Box::new("asked to fail")),
        }
        true
    }

    /// Delivers replies and events. `true` when joins must then be undone.
    pub(crate) fn deliver(&mut self, events: &mut Vec<Event>) -> bool {
        for event in events.drain(..) {
            match event {
                Event::Reply { request, result } => self.reply(request, result),
                Event::RoomClosed { room } => {
                    self.rooms.remove(&room);
                    self.shards.gone(room, LeaveReason::Left);
                    self.events.send(event);
                }
                Event::Room {
                    room,
                    change: RoomChange::ParticipantLeft { participant, .. },
                    ..
                } => {
                    self.shards.left(room, participant);
                    self.events.send(event);
                }
                event => self.events.send(event),
            }
        }
        self.events.catch_up();
        !self.undo.is_empty()
    }

    fn reply(&mut self, request: RequestId, result: Result<Reply, CommandError>) {
        let Some(mut pending) = self.pending.remove(&request) else {
            return;
        };
        if result.is_ok() {
            pending.placed.iter_mut().for_each(Placed::settle);
        }
        // A place that was in vain is free before its caller hears of it.
        pending.placed = None;
        if let (Some(join), Ok(_)) = (pending.join, &result) {
            self.rooms.insert(pending.room);
            join.succeeded.store(true, Relaxed);
            if pending.undo {
                self.undo.push((pending.room, join.participant));
            }
        }
        // A caller that does not listen any more says so by `Undo` where it matters.
        let _ = pending.reply.send(result);
    }

    /// Undoes the joins of callers that are gone.
    pub(crate) fn undo(&mut self, now: Instant, core: &mut Worker, out: &mut Outbox) {
        for (room, participant) in self.undo.drain(..) {
            let action = Action::Leave { participant, reason: LeaveReason::Left };
            let command = Command { request: NOBODY, room, action };
            core.handle(now, Input::Command(command), out);
        }
    }

    /// Removes everyone.
    pub(crate) fn close_rooms(&mut self, now: Instant, core: &mut Worker, out: &mut Outbox) {
        for room in &self.rooms {
            let action = Action::CloseRoom { reason: LeaveReason::Stopped };
            let command = Command { request: NOBODY, room: *room, action };
            core.handle(now, Input::Command(command), out);
        }
    }

    /// Takes no more messages; those that wait fail.
    pub(crate) fn close(&mut self) {
        self.inbox.close();
        self.drop_messages();
    }

    /// The core is lost, with all its rooms: whoever waits is told.
    pub(crate) fn fail(&mut self) {
        self.undo.clear();
        for room in &self.rooms {
            self.shards.gone(*room, LeaveReason::Failed);
        }
        self.pending.clear();
        self.drop_messages();
        self.events.send_failed(std::mem::take(&mut self.rooms));
    }

    fn drop_messages(&mut self) {
        self.first = None;
        while self.inbox.try_recv().is_ok() {}
    }

    /// Events dropped so far.
    pub(crate) fn events_dropped(&self) -> u64 {
        self.events.dropped_ever()
    }

    /// Data messages dropped so far.
    pub(crate) fn data_dropped(&self) -> u64 {
        self.events.data_dropped_ever()
    }
}
