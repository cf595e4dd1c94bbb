//! The one stream of events out of a node.
//!
//! Owns: [`Events`], its bound, and what happens beyond it.
//! Never: lets a slow reader hold up media: at the bound events are dropped, counted and told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use convoke_core::{Event, RoomId};
use tokio::sync::mpsc;

/// Bytes of data messages that may wait for the reader of all workers' events. They also take at
/// most half of the places: changes of calls must find one.
const DATA_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a data message costs beside its payload.
const DATA_EVENT_BYTES: usize = 128;

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
    data_bytes: Arc<AtomicUsize>,
}

impl Events {
    /// The next event; `None` when the node has stopped. Nothing is lost when the future is
    /// dropped.
    pub async fn recv(&mut self) -> Option<NodeEvent> {
        let event = self.receiver.recv().await;
        if let Some(NodeEvent::Core(event)) = &event
            && let Some(bytes) = data_bytes(event)
        {
            self.data_bytes.fetch_sub(bytes, Relaxed);
        }
        event
    }
}

/// What a data message costs while it waits; `None` for other events.
fn data_bytes(event: &Event) -> Option<usize> {
    match event {
        Event::Data(data) => Some(DATA_EVENT_BYTES + 4 * data.to.len() + data.payload.len()),
        _ => None,
    }
}

/// The end that every worker clones.
#[derive(Debug, Clone)]
pub(crate) struct Sink {
    sender: mpsc::Sender<NodeEvent>,
    data_bytes: Arc<AtomicUsize>,
}

/// The stream and its other end.
pub(crate) fn channel(bound: usize) -> (Sink, Events) {
    let (sender, receiver) = mpsc::channel(bound);
    let data_bytes = Arc::new(AtomicUsize::new(0));
    (Sink { sender, data_bytes: Arc::clone(&data_bytes) }, Events { receiver, data_bytes })
}

/// A worker's end. What did not fit is told at its place in the order, as soon as there is room.
#[derive(Debug)]
pub(crate) struct EventSender {
    worker: usize,
    sink: Sink,
    dropped: u64,
    failed: Option<BTreeSet<RoomId>>,
    dropped_ever: u64,
    data_dropped_ever: u64,
}

impl EventSender {
    pub(crate) fn new(worker: usize, sink: Sink) -> Self {
        Self { worker, sink, dropped: 0, failed: None, dropped_ever: 0, data_dropped_ever: 0 }
    }

    /// Sends or drops. A dropped data message needs no new snapshot: it is in none.
    pub(crate) fn send(&mut self, event: Event) {
        if let Some(bytes) = data_bytes(&event) {
            if !self.catch_up() || !self.try_send_data(event, bytes) {
                self.data_dropped_ever += 1;
            }
            return;
        }
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

    /// Data messages dropped since the worker's thread began.
    pub(crate) fn data_dropped_ever(&self) -> u64 {
        self.data_dropped_ever
    }

    fn try_send_data(&self, event: Event, bytes: usize) -> bool {
        let Sink { sender, data_bytes } = &self.sink;
        let before = data_bytes.fetch_add(bytes, Relaxed);
        let fits = before + bytes <= DATA_BYTES_MAX;
        let has_room = sender.capacity() > sender.max_capacity() / 2;
        let taken = fits && has_room && self.try_send(NodeEvent::Core(event));
        if !taken {
            data_bytes.fetch_sub(bytes, Relaxed);
        }
        taken
    }

    /// `false` when full. A reader that is gone takes everything.
    fn try_send(&self, event: NodeEvent) -> bool {
        !matches!(self.sink.sender.try_send(event), Err(mpsc::error::TrySendError::Full(_)))
    }
}

#[cfg(test)]
mod tests;
