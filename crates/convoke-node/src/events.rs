//! The one stream of events out of a node.
//!
//! Owns: [`Events`], its bound, and what happens beyond it.
//! Never: lets a slow reader hold up media: at the bound events are dropped, counted and told.

use std::collections::BTreeSet;

use convoke_core::{Event, RoomId};
use tokio::sync::mpsc;

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

/// What a node tells its owner, in order per room.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<NodeEvent>,
}

impl Events {
    /// The next event; `None` when the node has stopped. Nothing is lost when the future is
    /// dropped.
    pub async fn recv(&mut self) -> Option<NodeEvent> {
        self.receiver.recv().await
    }
}

/// The stream and the end that every worker clones.
pub(crate) fn channel(bound: usize) -> (mpsc::Sender<NodeEvent>, Events) {
    let (sender, receiver) = mpsc::channel(bound);
    (sender, Events { receiver })
}

/// A worker's end. What did not fit is told at its place in the order, as soon as there is room.
#[derive(Debug)]
pub(crate) struct EventSender {
    worker: usize,
    sender: mpsc::Sender<NodeEvent>,
    dropped: u64,
    failed: Option<BTreeSet<RoomId>>,
    dropped_ever: u64,
}

impl EventSender {
    pub(crate) fn new(worker: usize, sender: mpsc::Sender<NodeEvent>) -> Self {
        Self { worker, sender, dropped: 0, failed: None, dropped_ever: 0 }
    }

    /// Sends or drops.
    pub(crate) fn send(&mut self, event: Event) {
        if !self.catch_up() || !self.try_send(NodeEvent::Core(event)) {
            self.dropped += 1;
            self.dropped_ever += 1;
        }
    }

    /// Tells that the worker failed; never dropped, but several failures may become one event.
    pub(crate) fn send_failed(&mut self, rooms: BTreeSet<RoomId>) {
        self.failed.get_or_insert_default().extend(rooms);
        self.catch_up();
    }

    /// Tells what is overdue. `false` when there is still no room for it.
    pub(crate) fn catch_up(&mut self) -> bool {
        if self.dropped > 0 {
            if !self.try_send(NodeEvent::Lagged { dropped: self.dropped }) {
                return false;
            }
            self.dropped = 0;
        }
        if let Some(rooms) = &self.failed {
            let rooms = rooms.iter().copied().collect();
            if !self.try_send(NodeEvent::WorkerFailed { worker: self.worker, rooms }) {
                return false;
            }
            self.failed = None;
        }
        true
    }

    /// Dropped since the worker's thread began.
    pub(crate) fn dropped_ever(&self) -> u64 {
        self.dropped_ever
    }

    /// `false` when full. A reader that is gone takes everything.
    fn try_send(&self, event: NodeEvent) -> bool {
        !matches!(self.sender.try_send(event), Err(mpsc::error::TrySendError::Full(_)))
    }
}

#[cfg(test)]
mod tests;
