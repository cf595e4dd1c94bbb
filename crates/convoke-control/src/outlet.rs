//! The way out to one WebSocket: a bounded queue that never blocks its writers.
//!
//! Owns: what waits for a client, by count and bytes, and the one reason for closing it.
//! Never: waits. A client that does not read fills its own queue and is closed; nobody else notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::ws::Utf8Bytes;
use convoke_protocol::{ServerMessage, encode};
use tokio::sync::{mpsc, watch};

use crate::config::Limits;
use crate::ids::AgentId;

/// The writers' end. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Outlet {
    agent: AgentId,
    queue: mpsc::Sender<Utf8Bytes>,
    waiting: Arc<AtomicUsize>,
    most: usize,
    /// What finds no room is dropped, and closes nothing.
    forgiving: bool,
    close: Arc<watch::Sender<Option<u16>>>,
}

/// The socket's end.
#[derive(Debug)]
pub(crate) struct Drain {
    queue: mpsc::Receiver<Utf8Bytes>,
    waiting: Arc<AtomicUsize>,
    close: watch::Receiver<Option<u16>>,
}

/// The queue is full, or its socket gone: the message was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotTaken;

/// Makes both ends.
pub(crate) fn outlet(agent: AgentId, limits: &Limits) -> (Outlet, Drain) {
    let (to, from) = mpsc::channel(limits.queue_messages.max(1));
    let waiting = Arc::new(AtomicUsize::new(0));
    let (close, closed) = watch::channel(None);
    let outlet = Outlet {
        agent,
        queue: to,
        waiting: Arc::clone(&waiting),
        most: limits.queue_bytes,
        forgiving: false,
        close: Arc::new(close),
    };
    (outlet, Drain { queue: from, waiting, close: closed })
}

impl Outlet {
    /// For a client that need not hear everything: it is never closed for reading slowly.
    pub(crate) fn forgiving(self) -> Self {
        Self { forgiving: true, ..self }
    }

    /// Whose it is.
    pub(crate) fn agent(&self) -> AgentId {
        self.agent
    }

    /// Queues a text, or closes the socket as a slow reader's.
    pub(crate) fn send_text(&self, text: Utf8Bytes) -> Result<(), NotTaken> {
        let bytes = text.len();
        let before = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.most;
        if fits && self.queue.try_send(text).is_ok() {
            return Ok(());
        }
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        if self.forgiving {
            return Ok(());
        }
        self.close(convoke_protocol::close::SLOW_READER);
        Err(NotTaken)
    }

    /// Queues a text that may be lost, where less than half of the queue is used: it must never be
    /// what closes the socket.
    pub(crate) fn send_lossy(&self, text: Utf8Bytes) -> Result<(), NotTaken> {
        let bytes = text.len();
        let before = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.most / 2;
        let places = self.queue.capacity() > self.queue.max_capacity() / 2;
        if fits && places && self.queue.try_send(text).is_ok() {
            return Ok(());
        }
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        Err(NotTaken)
    }

    /// Queues a message, or closes the socket as a slow reader's.
    pub(crate) fn send(&self, message: &ServerMessage) -> Result<(), NotTaken> {
        self.send_text(encode(message).into())
    }

    /// Closes the socket after what waits has gone out. The first reason counts.
    pub(crate) fn close(&self, code: u16) {
        self.close.send_if_modified(|reason| {
            let first = reason.is_none();
            if first {
                *reason = Some(code);
            }
            first
        });
    }

    /// A receiver of the reason for closing.
    pub(crate) fn closing(&self) -> watch::Receiver<Option<u16>> {
        self.close.subscribe()
    }
}

/// What the socket shall do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Send this.
    Text(Utf8Bytes),
    /// Send what [`Drain::rest`] gives, then close with this code.
    Close(u16),
}

impl Drain {
    /// The next thing to do.
    pub(crate) async fn next(&mut self) -> Next {
        let text = tokio::select! {
            biased;
            closing = self.close.wait_for(Option::is_some) => {
                let code = closing.ok().and_then(|code| *code);
                return Next::Close(code.unwrap_or(convoke_protocol::close::GOING_AWAY));
            }
            text = self.queue.recv() => text,
        };
        match text {
            Some(text) => Next::Text(self.taken(text)),
            None => Next::Close(convoke_protocol::close::GOING_AWAY),
        }
    }

    /// A receiver of the reason for closing.
    pub(crate) fn closing(&self) -> watch::Receiver<Option<u16>> {
        self.close.clone()
    }

    /// What still waits.
    pub(crate) fn rest(&mut self) -> Option<Utf8Bytes> {
        let text = self.queue.try_recv().ok()?;
        Some(self.taken(text))
    }

    fn taken(&self, text: Utf8Bytes) -> Utf8Bytes {
        self.waiting.fetch_sub(text.len(), Ordering::Relaxed);
        text
    }
}

#[cfg(test)]
mod tests {
    use convoke_protocol::close;

    use super::*;

    fn small() -> (Outlet, Drain) {
        let limits = Limits { queue_messages: 3, queue_bytes: 10, ..Limits::default() };
        outlet(AgentId::random(), &limits)
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_closes_as_slow() {
        let (outlet, mut drain) = small();
        for text in ["a", "b", "c"] {
            assert_eq!(outlet.send_text(text.into()), Ok(()));
        }
        assert_eq!(outlet.send_text("d".into()), Err(NotTaken));
        assert_eq!(drain.next().await, Next::Close(close::SLOW_READER));
        assert_eq!(drain.rest(), Some("a".into()));
    }

    #[tokio::test]
    async fn a_forgiving_one_drops_what_finds_no_room_and_is_not_closed() {
        let (outlet, mut drain) = small();
        let outlet = outlet.forgiving();
        for text in ["a", "b", "c", "d"] {
            assert_eq!(outlet.send_text(text.into()), Ok(()));
        }
        for text in ["a", "b", "c"] {
            assert_eq!(drain.next().await, Next::Text(text.into()));
        }
        assert_eq!(outlet.send_text("12345678901".into()), Ok(()));
        assert_eq!(outlet.send_text("e".into()), Ok(()));
        assert_eq!(drain.next().await, Next::Text("e".into()));
    }

    #[tokio::test]
    async fn bytes_count_too_and_are_given_back() {
        let (outlet, mut drain) = small();
        for _ in 0..5 {
            assert_eq!(outlet.send_text("12345678".into()), Ok(()));
            assert_eq!(drain.next().await, Next::Text("12345678".into()));
        }
        assert_eq!(outlet.send_text("12345678901".into()), Err(NotTaken));
    }

    #[tokio::test]
    async fn what_may_be_lost_takes_half_of_the_queue_and_closes_nothing() {
        let limits = Limits { queue_messages: 4, queue_bytes: 10, ..Limits::default() };
        let (outlet, mut drain) = outlet(AgentId::random(), &limits);
        assert_eq!(outlet.send_lossy("123456".into()), Err(NotTaken));
        assert_eq!(outlet.send_lossy("12345".into()), Ok(()));
        assert_eq!(outlet.send_lossy("1".into()), Err(NotTaken));
        assert_eq!(outlet.send_text("1".into()), Ok(()), "others still find a place");
        assert_eq!(outlet.send_lossy("".into()), Err(NotTaken), "half of the places");
        assert_eq!(drain.next().await, Next::Text("12345".into()));
        assert_eq!(drain.next().await, Next::Text("1".into()));
        assert_eq!(outlet.send_lossy("12345".into()), Ok(()));
    }

    #[tokio::test]
    async fn the_first_reason_for_closing_counts() {
        let (outlet, mut drain) = small();
        outlet.close(close::TAKEN_OVER);
        outlet.close(close::TOO_BIG);
        assert_eq!(drain.next().await, Next::Close(close::TAKEN_OVER));
    }

    #[tokio::test]
    async fn what_nobody_can_write_to_any_more_closes() {
        let (outlet, mut drain) = small();
        assert_eq!(outlet.send_text("a".into()), Ok(()));
        drop(outlet);
        let next = drain.next().await;
        assert!(matches!(next, Next::Close(_)), "{next:?}");
    }
}
