//! Convoke's I/O shell: worker threads with one UDP port each, and the handle to drive them.
//!
//! Owns: threads, sockets, batching, timers, the embedding API ([`Node`], [`Handle`]).
//! Never: decides anything about media.

pub use convoke_core as core;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use convoke_core::{
    Action, CommandError, Event, JoinRequest, LeaveReason, Limits, ParticipantId, Reply, RoomId,
    Snapshot, Stats,
};

/// Settings of a node.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Worker threads; 0 = one per core.
    pub workers: usize,
    /// The address that media sockets are bound to.
    pub bind: IpAddr,
    /// The first worker's UDP port; worker `n` takes `port + n`. 0 = any free ports.
    pub port: u16,
    /// The addresses that clients are told (candidates), instead of `bind`; needed behind NAT or
    /// in Docker, and when `bind` is a wildcard.
    pub advertise: Vec<IpAddr>,
    /// Limits of each worker.
    pub limits: Limits,
    /// See [`convoke_core::WorkerConfig::media_timeout`].
    pub media_timeout: Duration,
    /// See [`convoke_core::WorkerConfig::keyframe_interval`].
    pub keyframe_interval: Duration,
    /// Commands that may wait for a worker; beyond that [`HandleError::Busy`].
    pub inbox: usize,
    /// Events that may wait for their reader; beyond that they are dropped and
    /// [`NodeEvent::Lagged`] says so.
    pub events: usize,
    /// Datagrams handled in one turn at most, so that a flood does not starve timers and commands.
    pub datagrams_per_turn: usize,
    /// Asked-for socket buffers, in bytes.
    pub socket_buffer: usize,
}

/// A running node. Dropping it stops its workers.
#[derive(Debug)]
pub struct Node {}

/// What a node tells its owner, in order per room.
#[derive(Debug)]
pub struct Events {}

/// One thing that a node tells.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum NodeEvent {
    /// A worker's event (never a reply: those go to their caller).
    Core(Event),
    /// Events were dropped because the reader was slow: take new snapshots of everything.
    Lagged {
        /// How many.
        dropped: u64,
    },
    /// A worker panicked and was restarted empty: these rooms and all in them are gone.
    WorkerFailed {
        /// Which worker.
        worker: usize,
        /// The rooms it had.
        rooms: Vec<RoomId>,
    },
}

/// Drives a node from any task. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {}

/// A successful join.
#[derive(Debug, Clone)]
pub struct Joined {
    /// The answer of the send transport, if it was offered.
    pub send_answer: Option<String>,
    /// The answer of the receive transport, if it was offered.
    pub receive_answer: Option<String>,
    /// The room as the new participant sees it.
    pub snapshot: Snapshot,
}

/// Why a command was not carried out.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum HandleError {
    /// The worker's inbox is full.
    #[error("the worker is busy; try again")]
    Busy,
    /// The worker is gone (stopped, or it panicked over this).
    #[error("the worker is gone")]
    Gone,
    /// The core refused.
    #[error(transparent)]
    Refused(#[from] CommandError),
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A socket could not be bound.
    #[error("media socket {addr}: {source}")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// `bind` is a wildcard and nothing is advertised.
    #[error("{0} cannot be told to clients: set the advertised address")]
    NothingToAdvertise(IpAddr),
    /// A thread could not be started.
    #[error("worker thread: {0}")]
    Thread(std::io::Error),
}

/// One worker as seen from outside.
#[derive(Debug, Clone, Copy)]
pub struct WorkerStats {
    /// The core's counters, at most a second old.
    pub core: Stats,
    /// Turns of the loop.
    pub turns: u64,
    /// Time spent in turns, without waiting.
    pub busy: Duration,
    /// Time since the loop last came round.
    pub last_turn: Duration,
    /// `sendmsg` calls.
    pub send_calls: u64,
    /// `recvmsg`/`recvmmsg` calls.
    pub receive_calls: u64,
    /// Datagrams that the kernel would not take.
    pub send_drops: u64,
}

impl Node {
    /// Binds the sockets and starts the workers.
    ///
    /// # Errors
    /// When a socket or thread cannot be had, or no address can be told to clients.
    pub async fn start(_config: NodeConfig) -> Result<(Self, Events), StartError> {
        unreachable!()
    }

    /// A handle to drive the node.
    #[must_use]
    pub fn handle(&self) -> Handle {
        unreachable!()
    }

    /// Removes everyone with [`LeaveReason::Stopped`], lets the goodbyes out and stops the workers.
    pub async fn shutdown(self) {}
}

impl Events {
    /// The next event; `None` when the node has stopped.
    pub async fn recv(&mut self) -> Option<NodeEvent> {
        None
    }
}

impl Handle {
    /// The id for a new room, placed on the least loaded worker. The room itself is made by its
    /// first join.
    #[must_use]
    pub fn new_room(&self) -> RoomId {
        unreachable!()
    }

    /// A fresh random participant id (never 0).
    #[must_use]
    pub fn new_participant(&self) -> ParticipantId {
        unreachable!()
    }

    /// Adds a participant.
    ///
    /// # Errors
    /// See [`HandleError`]; nothing was changed.
    pub async fn join(&self, _room: RoomId, _join: JoinRequest) -> Result<Joined, HandleError> {
        unreachable!()
    }

    /// Removes a participant; also fine if it is gone.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn leave(
        &self,
        _room: RoomId,
        _participant: ParticipantId,
        _reason: LeaveReason,
    ) -> Result<(), HandleError> {
        unreachable!()
    }

    /// Any other command.
    ///
    /// # Errors
    /// See [`HandleError`]; nothing was changed.
    pub async fn command(&self, _room: RoomId, _action: Action) -> Result<Reply, HandleError> {
        unreachable!()
    }

    /// Every worker, by index.
    #[must_use]
    pub fn stats(&self) -> Vec<WorkerStats> {
        unreachable!()
    }

    /// The advertised media addresses of every worker.
    #[must_use]
    pub fn media_addresses(&self) -> Vec<SocketAddr> {
        unreachable!()
    }
}
