//! What is on its way, in the order in which it arrives.
//!
//! Owns: the queue, and how its entries look in a trace.
//! Never: lets two entries of one instant change places between runs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::Instant;

use convoke_client::check::rtp_numbers;
use convoke_core::{EncodingDemand, Relay};
use convoke_protocol::TransportRole;

/// Something on its way.
#[derive(Debug)]
pub(super) enum What {
    ToServer { worker: usize, source: SocketAddr, local: SocketAddr, bytes: Vec<u8> },
    ToClient { actor: usize, source: SocketAddr, local: SocketAddr, bytes: Vec<u8> },
    Answers { actor: usize, generation: u32, send: Option<String>, receive: Option<String> },
    Answer { actor: usize, generation: u32, role: TransportRole, sdp: String },
    Demand { actor: usize, generation: u32, client_id: String, encodings: Vec<EncodingDemand> },
    Relay(Box<Relay>),
    Step(usize),
    Check,
}

impl What {
    pub(super) fn line(&self) -> String {
        match self {
            Self::ToServer { source, bytes, .. } => format!("{source} up {}", describe(bytes)),
            Self::ToClient { local, bytes, .. } => format!("{local} down {}", describe(bytes)),
            Self::Answers { actor, .. } => format!("actor {actor} gets its answers"),
            Self::Answer { actor, role, .. } => format!("actor {actor} gets an answer ({role:?})"),
            Self::Demand { actor, client_id, encodings, .. } => {
                let active = encodings.iter().map(|e| e.active).collect::<Vec<_>>();
                format!("actor {actor} is told what is wanted of {client_id}: {active:?}")
            }
            Self::Relay(relay) => format!("{} tells {}", relay.from, relay.to),
            Self::Step(index) => format!("step {index}"),
            Self::Check => "check".to_owned(),
        }
    }
}

fn describe(bytes: &[u8]) -> String {
    match (rtp_numbers(bytes), bytes.first()) {
        (Some((sequence, ssrc)), _) => format!("RTP {ssrc:#x} {sequence} ({} B)", bytes.len()),
        // Its size differs from run to run.
        (None, Some(20..64)) => "DTLS".to_owned(),
        (None, Some(0..2)) => format!("STUN ({} B)", bytes.len()),
        (None, _) => format!("RTCP ({} B)", bytes.len()),
    }
}

#[derive(Debug)]
struct Queued {
    at: Instant,
    order: u64,
    what: What,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// The queue: by time, then by the order of pushing.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<Queued>>,
    order: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at: Instant, what: What) {
        self.order += 1;
        self.heap.push(Reverse(Queued { at, order: self.order, what }));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(queued)| queued.at)
    }

    /// The next that arrives by `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<What> {
        self.next().filter(|at| *at <= now)?;
        self.heap.pop().map(|Reverse(queued)| queued.what)
    }
}
