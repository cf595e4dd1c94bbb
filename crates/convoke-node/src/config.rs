//! The settings of a node.
//!
//! Owns: [`NodeConfig`] and its defaults.
//! Never: reads files or the environment; the binary does.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use convoke_core::{Limits, WorkerConfig};
use tokio::sync::Semaphore;

/// Workers that a node can have: a room's id names its worker in one byte.
pub(crate) const WORKERS_MAX: usize = 256;

/// Settings of a node. [`NodeConfig::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Worker threads; 0 = one per core. At most 256.
    pub workers: usize,
    /// The addresses that media sockets are bound to: one, or a wildcard, or up to [`crate::BINDS_MAX`] of which
    /// each has a socket of its own on each worker.
    pub bind: Vec<IpAddr>,
    /// The first worker's UDP port; worker `n` takes `port + n`. 0 = any free ports.
    pub port: u16,
    /// The addresses that clients are told (candidates), instead of `bind`; needed behind NAT or
    /// in Docker, and when `bind` is a wildcard, unless there is a STUN server: then it is the address that
    /// this host's packets leave from, beside what the server says. With several in `bind` none, or one for
    /// each of them, in their order.
    pub advertise: Vec<IpAddr>,
    /// Limits of each worker.
    pub limits: Limits,
    /// See [`convoke_core::WorkerConfig::media_timeout`].
    pub media_timeout: Duration,
    /// See [`convoke_core::WorkerConfig::keyframe_interval`].
    pub keyframe_interval: Duration,
    /// Commands that may wait for a worker; beyond that [`crate::HandleError::Busy`]. At least 2:
    /// a join takes two places until it is answered, one for itself and one for its undoing.
    pub inbox: usize,
    /// Events that may wait for their reader; beyond that they are dropped and
    /// [`crate::NodeEvent::Lagged`] says so.
    pub events: usize,
    /// Datagrams handled in one turn at most, so that a flood does not starve timers and commands.
    pub datagrams_per_turn: usize,
    /// Asked-for socket buffers, in bytes.
    pub socket_buffer: usize,
    /// Participants that a worker has of one call before the next come to another worker, so that
    /// the call spans both; 0 = a call never spans workers.
    pub participants_per_shard: usize,
    /// Messages that may wait on the way from other workers to one, media and all else each; beyond
    /// that the oldest media is dropped. At least 64.
    pub relay_queue: usize,
    /// Datagrams of each socket that may wait while the kernel takes none; beyond that the oldest
    /// media is dropped.
    pub send_queue: usize,
    /// Media over TCP, for clients whose networks let no UDP through; `None` = by UDP only.
    pub tcp: Option<TcpConfig>,
    /// Who is asked for the address that a NAT gives the media sockets; `None` = nobody.
    pub stun: Option<StunConfig>,
}

/// A STUN server (RFC 8489). What it says is told to clients beside the other addresses, with the port of the
/// socket that asked. [`StunConfig::new`] has the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StunConfig {
    /// A name or an IP address.
    pub host: String,
    /// Its UDP port.
    pub port: u16,
    /// How often it is asked, once it answered.
    pub interval: Duration,
}

impl StunConfig {
    /// Asks every 5 minutes.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port, interval: Duration::from_secs(300) }
    }
}

/// Settings of media over TCP: one port for all workers. [`TcpConfig::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct TcpConfig {
    /// Where clients connect. They are told [`NodeConfig::advertise`] with this port, or this address; where
    /// several are bound, of a wildcard all that it hears, and of one of them what is told of that.
    pub listen: SocketAddr,
    /// Connections at once; more are closed. A participant has one or two.
    pub connections: usize,
    /// Of them, from one address (of IPv6 a /64). 0 = any number.
    pub connections_per_address: usize,
    /// How long a connection may take to prove whose it is, by STUN.
    pub hello_timeout: Duration,
    /// Datagrams that may wait for a connection whose peer is slow; beyond that media is dropped.
    pub send_queue: usize,
    /// A connection whose peer takes nothing for so long, while something waits, is closed.
    pub send_timeout: Duration,
}

impl TcpConfig {
    /// The defaults: 4,000 connections, 400 of one address, 5 s until the first valid STUN message,
    /// 256 waiting datagrams, 10 s without taking any.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            connections: 4_000,
            connections_per_address: 400,
            hello_timeout: Duration::from_secs(5),
            send_queue: 256,
            send_timeout: Duration::from_secs(10),
        }
    }
}

impl NodeConfig {
    /// The defaults: one worker per core, nothing advertised but `bind`, an inbox of 1,024
    /// commands, 65,536 events, 256 datagrams per turn, socket buffers of 4 MiB, 200 participants
    /// per shard, relay queues of 4,096 messages, a send queue of 4,096 datagrams, no TCP, no STUN server; the core's
    /// own defaults for the rest.
    #[must_use]
    pub fn new(bind: IpAddr, port: u16) -> Self {
        let core = WorkerConfig::new(Vec::new());
        Self {
            workers: 0,
            bind: vec![bind],
            port,
            advertise: Vec::new(),
            limits: core.limits,
            media_timeout: core.media_timeout,
            keyframe_interval: core.keyframe_interval,
            inbox: 1_024,
            events: 65_536,
            datagrams_per_turn: 256,
            socket_buffer: 4 * 1024 * 1024,
            participants_per_shard: 200,
            relay_queue: 4_096,
            send_queue: 4_096,
            tcp: None,
            stun: None,
        }
    }

    /// With every bound in the range that works.
    pub(crate) fn bounded(mut self) -> Self {
        if self.workers == 0 {
            self.workers = std::thread::available_parallelism().map_or(1, usize::from);
        }
        self.workers = self.workers.min(WORKERS_MAX);
        self.inbox = self.inbox.clamp(2, Semaphore::MAX_PERMITS);
        self.events = self.events.clamp(1, Semaphore::MAX_PERMITS);
        self.datagrams_per_turn = self.datagrams_per_turn.max(1);
        self.relay_queue = self.relay_queue.clamp(64, 1 << 20);
        self.send_queue = self.send_queue.max(1);
        self
    }
}
