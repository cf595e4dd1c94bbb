//! Media over TCP: ICE's passive candidates (RFC 6544), datagrams in frames (RFC 4571).
//!
//! Owns: what the door and the workers share, the framing.
//! Never: decides whose a connection is: the core does, by STUN, and until then a connection may do
//! nothing but wait for a short time.
//!
//! ```text
//! thread convoke-tcp      accept -> limits -> first frame: STUN, its user name names a worker
//!         | Accepted
//! worker n   one task for each connection on the worker's own runtime: frames in -> bounded inlet
//!            turn: inlet -> core -> outbox.frames -> the connection's bounded queue -> frames out
//! ```
//!
//! A connection has no thread of its own and shares nothing with others but its worker's inlet, in which
//! it gets no more than its turn. The core's first frame to it says that it proved who it is.

mod connection;
mod counters;
mod door;
mod framing;
mod links;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::time::Instant;

pub(crate) use counters::Counters;
pub use counters::{TcpEnd, TcpStats};
pub(crate) use door::BoundDoor;
pub use framing::Framing;
pub(crate) use links::Links;

use crate::config::TcpConfig;
use door::Place;

/// What waits for a worker's turn at most, of all its connections; beyond that datagrams are dropped, as
/// by a full socket buffer.
const INLET: usize = 1_024;

/// The TCP port, as all parts of a node know it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tcp {
    /// The advertised addresses; none without a port.
    pub(crate) candidates: Vec<SocketAddr>,
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    config: TcpConfig,
    pub(crate) counters: Counters,
}

impl Default for Shared {
    fn default() -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self { config: TcpConfig::new(nowhere), counters: Counters::default() }
    }
}

/// The two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ends {
    pub(crate) peer: SocketAddr,
    /// The candidate that it connected to.
    pub(crate) local: SocketAddr,
}

/// A connection whose first frame names a worker.
#[derive(Debug)]
pub(crate) struct Accepted {
    stream: std::net::TcpStream,
    ends: Ends,
    first: BytesMut,
    /// What was read beyond the first frame.
    rest: BytesMut,
    /// Until when it must have proved whose it is.
    deadline: Instant,
    place: Place,
}

/// What comes to a worker.
#[derive(Debug)]
pub(crate) enum Incoming {
    Accepted(Box<Accepted>),
    Datagram(Ends, BytesMut),
    /// A connection ended; the number is that of its task.
    Ended(Ends, u64),
}
