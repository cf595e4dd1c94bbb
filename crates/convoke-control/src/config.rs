//! Settings of the control plane.
//!
//! Owns: every knob and its default.
//! Never: reads files or the environment; the binary and embedders fill this in.

use std::time::Duration;

use convoke_protocol::{IceServer, LobbyPolicy};

use crate::calling::CallingConfig;
use crate::clients::Proxies;
use crate::issuers::ExternalIssuer;
use crate::keys::KeySet;
use crate::mint::Minter;
use crate::recent::RecentLog;
use crate::reload::Reloads;
use crate::services::Services;
use crate::turn::Turn;

/// Settings of [`crate::Control`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ControlConfig {
    /// The keys of access tokens, and their rules.
    pub keys: KeySet,
    /// Other issuers of access tokens, known by their published keys.
    pub issuers: Vec<ExternalIssuer>,
    /// Development mode: lets anyone who reaches the server make tokens at `/dev/token`.
    pub dev_minter: Option<Minter>,
    /// Which web pages may connect, beside the server's own.
    pub origins: Origins,
    /// The proxies that are believed when they say whom they ask for.
    pub proxies: Proxies,
    /// For the clients' peer connections.
    pub ice_servers: Vec<IceServer>,
    /// Beside them, TURN servers with credentials for each client.
    pub turn: Vec<Turn>,
    /// How many slots clients are told to offer.
    pub slots: Slots,
    /// Who waits in the lobby of calls whose starter does not say: nobody.
    pub lobby: LobbyPolicy,
    /// What app servers may ask for, and where it is kept: without it there is no REST.
    pub services: Option<Services>,
    /// What they hold of calls, and how they are told.
    pub calling: CallingConfig,
    /// Who reads the configuration anew when an app server asks for it, if anybody does.
    pub reloads: Option<Reloads>,
    /// The last lines of the log, if any are kept.
    pub recent_log: Option<RecentLog>,
    /// Time limits.
    pub times: Times,
    /// Bounds.
    pub limits: Limits,
}

/// Which `Origin`s (RFC 6454) may open an agent or ask for a development token. The server's own
/// always may, and so may clients that send none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Every origin.
    Any,
    /// These: `https://app.example.com`, with the port where it is not the scheme's own.
    These(Vec<String>),
}

/// How many slots clients are told to offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    /// Audio: 8.
    pub audio: u32,
    /// Video: 16.
    pub video: u32,
}

/// Time limits, with their defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// How long a client may take over the head of a request, and between requests: 10 s.
    pub head: Duration,
    /// How long it may take over a request's body: 20 s.
    pub body: Duration,
    /// How long it may take nothing of what it is sent: 30 s.
    pub send: Duration,
    /// From the upgrade to an accepted `hello`: 10 s.
    pub hello: Duration,
    /// The ping interval that clients are told; a WebSocket that is silent for twice as long is
    /// dead: 25 s.
    pub ping: Duration,
    /// How long a participant may be without its WebSocket: 30 s.
    pub grace: Duration,
    /// How long a worker may take over one command: 10 s.
    pub command: Duration,
    /// How long what is queued for a client may take to go out before its WebSocket is closed: 1 s.
    pub farewell: Duration,
    /// What refused clients are told to wait: 1 s.
    pub retry_after: Duration,
    /// How long a participant may wait in a lobby: 15 min.
    pub lobby: Duration,
    /// How long a WHIP or WHEP request is held open for someone who waits in a lobby: 30 s.
    pub lobby_hold: Duration,
    /// How long a call rings: 60 s.
    pub ring: Duration,
    /// How long a call rings for an identity that has no agent connected, which may be woken meanwhile;
    /// 0: not at all, the default.
    pub agent_wait: Duration,
    /// A worker that has not come round for this long makes `/healthz` fail: 5 s.
    pub worker_stall: Duration,
}

/// Bounds, with their defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// WebSockets open at once: 10,000.
    pub agents: usize,
    /// Of them, from one address (of IPv6 a /64); 0: as many as come: 1,000.
    pub agents_per_address: usize,
    /// Of them, of one identity; 0: as many as come: 50.
    pub agents_per_identity: usize,
    /// Connections to a listener at once, see [`crate::Control::serve`]: 12,000.
    pub connections: usize,
    /// Of them, from one address; 0: as many as come: 2,000.
    pub connections_per_address: usize,
    /// Access tokens that are none of ours, which an address may show in a minute; 0: as many as it
    /// wants: 60.
    pub failures_per_minute: u32,
    /// Joins of one identity in a minute; 0: as many as it wants: 120.
    pub joins_per_minute: u32,
    /// Calls at once: 10,000.
    pub calls: usize,
    /// Bytes of one message from a client: 512 KiB.
    pub message_bytes: usize,
    /// Bytes of one SDP offer: 256 KiB.
    pub sdp_bytes: usize,
    /// Tracks declared in one `join`: 8.
    pub tracks: usize,
    /// Wishes in one `view`: 64.
    pub wishes: usize,
    /// Messages that wait for a slow client: 512.
    pub queue_messages: usize,
    /// Bytes that wait for a slow client: 4 MiB.
    pub queue_bytes: usize,
    /// Messages a second from one client, on the long run: 50.
    pub messages_per_second: u32,
    /// Messages at once from one client: 200.
    pub message_burst: u32,
}

impl ControlConfig {
    /// The defaults, with these keys.
    #[must_use]
    pub fn new(keys: KeySet) -> Self {
        Self {
            keys,
            issuers: Vec::new(),
            dev_minter: None,
            services: None,
            reloads: None,
            recent_log: None,
            calling: CallingConfig::default(),
            origins: Origins::These(Vec::new()),
            proxies: Proxies::default(),
            ice_servers: Vec::new(),
            turn: Vec::new(),
            slots: Slots::default(),
            lobby: LobbyPolicy::default(),
            times: Times::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self { audio: 8, video: 16 }
    }
}

impl Default for Times {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(20),
            send: Duration::from_secs(30),
            hello: Duration::from_secs(10),
            ping: Duration::from_secs(25),
            grace: Duration::from_secs(30),
            command: Duration::from_secs(10),
            farewell: Duration::from_secs(1),
            retry_after: Duration::from_secs(1),
            lobby: Duration::from_secs(15 * 60),
            lobby_hold: Duration::from_secs(30),
            ring: Duration::from_secs(60),
            agent_wait: Duration::ZERO,
            worker_stall: Duration::from_secs(5),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            agents: 10_000,
            agents_per_address: 1_000,
            agents_per_identity: 50,
            connections: 12_000,
            connections_per_address: 2_000,
            failures_per_minute: 60,
            joins_per_minute: 120,
            calls: 10_000,
            message_bytes: 512 * 1024,
            sdp_bytes: 256 * 1024,
            tracks: 8,
            wishes: 64,
            queue_messages: 512,
            queue_bytes: 4 * 1024 * 1024,
            messages_per_second: 50,
            message_burst: 200,
        }
    }
}

/// A time in milliseconds, as it goes onto the wire.
pub(crate) fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
