//! A worker's TCP connections: what they bring, and what is sent in them.
//!
//! Owns: which connection leads to which peer, their queues, what is dropped when one is full.
//! Never: reads or writes a socket; waits for a connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use bytes::BytesMut;
use convoke_core::{Input, Outbox, Worker};
use tokio::sync::mpsc;

use super::connection::Connection;
use super::counters::OUT;
use super::{Accepted, Ends, INLET, Incoming, Shared, Tcp, TcpEnd};

/// So many places of a queue are for STUN and DTLS alone: without them there is no media.
const CONTROL_PLACES: usize = 16;

/// See the module.
#[derive(Debug)]
pub(crate) struct Links {
    shared: Arc<Shared>,
    /// Whether there is a port at all.
    is_on: bool,
    inlet: mpsc::Receiver<Incoming>,
    /// For the connections; it also keeps the inlet open.
    inlet_sender: mpsc::Sender<Incoming>,
    /// Taken while waiting.
    first: Option<Incoming>,
    links: HashMap<Ends, Link>,
    /// Tasks that have not ended.
    open: usize,
    next: u64,
}

/// The worker's side of one connection. Dropped, the connection ends when it has sent what waits.
#[derive(Debug)]
struct Link {
    number: u64,
    queue: mpsc::Sender<Vec<u8>>,
    proven: Arc<AtomicBool>,
}

impl Links {
    /// A worker's connections, none yet, and the way in for them.
    pub(crate) fn new(tcp: &Tcp) -> (Self, mpsc::Sender<Incoming>) {
        let (inlet_sender, inlet) = mpsc::channel(INLET);
        let links = Self {
            shared: Arc::clone(&tcp.shared),
            is_on: !tcp.candidates.is_empty(),
            inlet,
            inlet_sender: inlet_sender.clone(),
            first: None,
            links: HashMap::new(),
            open: 0,
            next: 0,
        };
        (links, inlet_sender)
    }

    /// Waits until something came; for ever without a port.
    pub(crate) async fn ready(&mut self) {
        if !self.is_on {
            return std::future::pending().await;
        }
        if self.first.is_none() {
            self.first = self.inlet.recv().await;
        }
    }

    /// Whether something waits for the next turn.
    pub(crate) fn has_received(&self) -> bool {
        self.is_on && (self.first.is_some() || !self.inlet.is_empty())
    }

    /// Whether connections have not ended yet.
    pub(crate) fn has_open(&self) -> bool {
        self.open > 0
    }

    /// Hands what came to the core, at most `limit`. `true` when that was all. Within the worker's
    /// runtime.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        limit: usize,
        core: &mut Worker,
        out: &mut Outbox,
    ) -> bool {
        if !self.is_on {
            return true;
        }
        for _ in 0..limit {
            let Some(incoming) = self.first.take().or_else(|| self.inlet.try_recv().ok()) else {
                return true;
            };
            match incoming {
                Incoming::Accepted(accepted) => {
                    if let Some((ends, first)) = self.open(*accepted) {
                        deliver(now, ends, &first, core, out);
                    }
                }
                Incoming::Datagram(ends, bytes) => deliver(now, ends, &bytes, core, out),
                Incoming::Ended(ends, number) => {
                    self.open -= 1;
                    if self.links.get(&ends).is_some_and(|link| link.number == number) {
                        self.links.remove(&ends);
                    }
                }
            }
        }
        false
    }

    fn open(&mut self, accepted: Accepted) -> Option<(Ends, BytesMut)> {
        let Accepted { stream, ends, first, rest, deadline, place } = accepted;
        let Ok(stream) = tokio::net::TcpStream::from_std(stream) else {
            self.shared.counters.ended(TcpEnd::Peer);
            return None;
        };
        self.next += 1;
        let (number, proven) = (self.next, Arc::new(AtomicBool::new(false)));
        let (queue, waiting) = mpsc::channel(self.shared.config.send_queue + CONTROL_PLACES);
        let connection = Connection {
            ends,
            inlet: self.inlet_sender.clone(),
            waiting,
            proven: Arc::clone(&proven),
            deadline,
            shared: Arc::clone(&self.shared),
        };
        let inlet = self.inlet_sender.clone();
        tokio::spawn(async move {
            connection.run(stream, rest).await;
            drop(place);
            let _ = inlet.send(Incoming::Ended(ends, number)).await;
        });
        self.open += 1;
        // An earlier one between these ends is dead: its peer could not have connected anew.
        self.links.insert(ends, Link { number, queue, proven });
        Some((ends, first))
    }

    /// Queues what is to be sent, and ends what is of no use any more. Leaves both empty.
    pub(crate) fn flush(&mut self, out: &mut Outbox) {
        if !out.frames.is_empty() {
            let (mut all, mut drops) = (0, 0);
            for frame in out.frames.drain(..) {
                let ends = Ends { peer: frame.destination, local: frame.local };
                let sent = self.links.get(&ends).is_some_and(|link| link.send(frame.contents));
                all += 1;
                drops += u64::from(!sent);
            }
            self.shared.counters.passed(OUT, all - drops, drops);
        }
        for (peer, local) in out.closed.drain(..) {
            self.links.remove(&Ends { peer, local });
        }
    }

    /// Ends all of them.
    pub(crate) fn close_all(&mut self) {
        self.links.clear();
    }
}

impl Link {
    /// `false` when it was dropped.
    fn send(&self, datagram: Vec<u8>) -> bool {
        self.proven.store(true, Relaxed);
        let is_media = matches!(datagram.first(), Some(128..=191));
        let full = is_media && self.queue.capacity() <= CONTROL_PLACES;
        !full && self.queue.try_send(datagram).is_ok()
    }
}

fn deliver(now: Instant, ends: Ends, bytes: &[u8], core: &mut Worker, out: &mut Outbox) {
    let input = Input::Frame { source: ends.peer, local: ends.local, bytes };
    core.handle(now, input, out);
}
