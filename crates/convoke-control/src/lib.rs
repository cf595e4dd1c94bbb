//! Convoke's control plane.
//!
//! Owns: everything that an HTTP client can reach: access tokens, calls, the agent WebSocket,
//! health, metrics, the demo.
//! Never: touches a packet, or decides about media; that is the core's.
//!
//! Start reading at [`Control`] (`control.rs`); then follow a client: `http.rs` opens its WebSocket,
//! `agent.rs` reads and writes it, `requests.rs` and `join.rs` carry out what it asks, `session.rs`
//! keeps what it knows of its call, and `dispatch.rs` tells it what changes. Who may what is decided
//! in `roles.rs`, `moderation.rs`, `lobby.rs` and `ring.rs`. `whip.rs` is for those who come by HTTP alone.
//!
//! ```text
//! WebSocket --agent--> requests, join --Handle--> node
//!     ^------outlet<--- session <---- dispatch <--Events--'
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod agent;
mod calling;
mod calls;
mod captures;
mod clients;
mod config;
mod control;
mod convert;
mod data;
mod dispatch;
mod http;
mod ids;
mod issuers;
mod join;
mod keys;
mod limiter;
mod listener;
mod lobby;
mod metrics;
mod mint;
mod moderate;
mod moderation;
mod outbound;
mod outlet;
mod recent;
mod recorder;
mod refusal;
mod reload;
mod requests;
mod rest;
mod revocations;
mod ring;
mod ringing;
mod roles;
mod scheduled;
mod services;
mod session;
mod spans;
mod sync;
mod tls;
mod token;
mod turn;
mod webhooks;
mod whip;

pub use calling::CallingConfig;
pub use clients::Proxies;
pub use config::{ControlConfig, Limits, Origins, Slots, Times};
pub use control::{Control, PermissionError};
pub use convoke_store as store;
pub use issuers::{ExternalIssuer, Jwks};
pub use keys::{
    Key, KeyError, KeySet, MAX_KEYS, MAX_KID, MAX_LEEWAY, MIN_SECRET, Secret, TokenRules,
};
pub use mint::{LIFETIME, MintError, Minter, TokenRequest};
pub use moderate::ModerationError;
pub use recent::{RECENT_LINE_BYTES_MAX, RecentLog};
pub use reload::{Reload, Reloaded, Reloads};
pub use rest::events::EventFormat;
pub use ringing::{RingError, RingEvent, RingRequest};
pub use services::{Issuer, Role, ServiceKey, ServiceKeys, ServiceLimits, Services};
pub use tls::{Tls, TlsError};
pub use token::{AccessToken, MAX_NAME, MAX_TOKEN, TokenError};
pub use turn::{MIN_TURN_SECRET, Turn, TurnError};
pub use webhooks::{Webhook, WebhookError};
