//! One TCP connection, from its second frame on: a task on the runtime of its worker.
//!
//! Owns: the socket; when and why the connection ends.
//! Never: makes the worker or another connection wait; looks further into a datagram than its first
//! byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::counters::IN;
use super::{Ends, Framing, Incoming, Shared, TcpEnd};

/// Datagrams that one connection brings before all others and the worker have had their turn.
const RECEIVE_BATCH: u64 = 32;
/// Datagrams that leave in one system call.
const SEND_BATCH: usize = 32;

pub(super) struct Connection {
    pub(super) ends: Ends,
    pub(super) inlet: mpsc::Sender<Incoming>,
    /// What is to be sent; closed when the connection is of no use any more.
    pub(super) waiting: mpsc::Receiver<Vec<u8>>,
    /// Set with the first that is to be sent.
    pub(super) proven: Arc<AtomicBool>,
    pub(super) deadline: Instant,
    pub(super) shared: Arc<Shared>,
}

impl Connection {
    /// Until it ends; `rest` was read already.
    pub(super) async fn run(self, stream: TcpStream, rest: BytesMut) {
        let Self { ends, inlet, waiting, proven, deadline, shared } = self;
        let (read, write) = stream.into_split();
        let why = tokio::select! {
            why = receive(read, rest, ends, &inlet, &shared) => why,
            why = send(write, waiting, &shared) => why,
            why = prove(deadline, &proven) => why,
        };
        shared.counters.ended(why);
        tracing::debug!(peer = %ends.peer, why = why.label(), "a media connection ended");
    }
}

/// Ends if it has not been proven in time whose the connection is.
async fn prove(deadline: Instant, proven: &AtomicBool) -> TcpEnd {
    sleep_until(deadline).await;
    if proven.load(Relaxed) {
        return std::future::pending().await;
    }
    TcpEnd::Silent
}

async fn receive(
    mut read: OwnedReadHalf,
    mut buffer: BytesMut,
    ends: Ends,
    inlet: &mpsc::Sender<Incoming>,
    shared: &Shared,
) -> TcpEnd {
    let mut framing = Framing::default();
    loop {
        let (mut all, mut drops) = (0, 0);
        let ended = loop {
            match framing.next(&mut buffer) {
                Ok(None) => break None,
                // A null packet (RFC 4571 §2).
                Ok(Some(frame)) if frame.is_empty() => all += 1,
                Ok(Some(frame)) => {
                    all += 1;
                    // What finds no place is dropped, as by a full socket buffer.
                    drops += u64::from(inlet.try_send(Incoming::Datagram(ends, frame)).is_err());
                }
                Err(why) => break Some(why),
            }
            if all >= RECEIVE_BATCH {
                shared.counters.passed(IN, all, drops);
                (all, drops) = (0, 0);
                tokio::task::yield_now().await;
            }
        };
        shared.counters.passed(IN, all, drops);
        if let Some(why) = ended {
            return why;
        }
        Framing::reserve(&mut buffer);
        match read.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return TcpEnd::Peer,
            Ok(_) => {}
        }
    }
}

async fn send(
    mut write: OwnedWriteHalf,
    mut waiting: mpsc::Receiver<Vec<u8>>,
    shared: &Shared,
) -> TcpEnd {
    let patience = shared.config.send_timeout;
    let mut framing = Framing::default();
    let mut batch = Vec::with_capacity(SEND_BATCH);
    let mut buffer = BytesMut::new();
    loop {
        if waiting.recv_many(&mut batch, SEND_BATCH).await == 0 {
            let _ = write.shutdown().await;
            return TcpEnd::Left;
        }
        for datagram in batch.drain(..) {
            framing.write(datagram, &mut buffer);
        }
        while buffer.has_remaining() {
            match timeout(patience, write.write_buf(&mut buffer)).await {
                Err(_) => return TcpEnd::Slow,
                Ok(Ok(0) | Err(_)) => return TcpEnd::Peer,
                Ok(Ok(_)) => {}
            }
        }
    }
}
