//! Convoke's I/O shell: worker threads with one UDP port each, at one address or several, one TCP port for
//! all, and the handle to drive them.
//!
//! Owns: threads, sockets, batching, timers, the embedding API ([`Node`], [`Handle`]).
//! Never: decides anything about media.
//!
//! ```text
//!  any task            worker thread n (own runtime, own UDP port)
//!  Handle --inbox--->  worker_loop: wait -> receive -> commands -> core -> replies -> send
//!  Events <--bounded-- desk (replies, events)      port (batches, addresses, send queue)
//! ```
//!
//! Read `worker_loop.rs` first. A room lives on the worker in the low byte of its id, and on no
//! other; nothing on the way of a packet is locked. A call that outgrows a worker has a room on each of
//! several (`shards.rs`), whose messages pass through `mailbox.rs`.

// But for one system call in `mmsg`.
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub use convoke_core as core;

mod addresses;
mod binds;
mod config;
mod desk;
mod error;
mod events;
mod gso;
mod handle;
mod mailbox;
#[cfg(target_os = "linux")]
mod mmsg;
mod node;
mod port;
mod ports;
mod receive;
mod send;
mod shards;
mod stats;
mod stun;
mod tcp;
mod worker_loop;

pub use addresses::is_of_a_host;
pub use binds::BINDS_MAX;
pub use config::{NodeConfig, StunConfig, TcpConfig};
pub use error::{HandleError, StartError};
pub use events::{Events, NodeEvent};
pub use handle::{Handle, Joined, Place};
pub use node::Node;
pub use stats::{FORWARD_BUCKETS, TURN_BUCKETS, WorkerStats};
pub use stun::{StunOutcome, StunStats};
#[doc(hidden)] // For fuzzing.
pub use tcp::Framing;
pub use tcp::{TcpEnd, TcpStats};

#[cfg(test)]
mod tests;
