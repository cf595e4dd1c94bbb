//! What Convoke keeps: identities, scheduled rooms, events, audit, call records.
//!
//! Owns: the schema, every SQL statement, and that a change, its event and its audit entry are
//! written together or not at all.
//! Never: keeps live media state, knows HTTP, or waits longer than its patience: a store that is
//! down fails ([`StoreError::Unavailable`]), and running calls do not notice.
//!
//! One SQL text runs on both backends; `tests/` runs every statement on both. Start reading at
//! [`Store`] (`store.rs`), then `backend.rs`.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod audit;
mod backend;
mod calls;
mod events;
mod identities;
mod migrate;
mod repeat;
mod retention;
mod rooms;
mod settings;
mod stats;
mod store;
mod webhooks;

#[cfg(test)]
mod tests;

pub use audit::{AuditEntry, Change};
pub use calls::{CallChange, CallRecord, Participation};
pub use events::Event;
pub use identities::{DELETED, Revocation};
pub use repeat::Repeat;
pub use retention::Trimmed;
pub use rooms::{Created, Role, Room, RoomPatch};
pub use stats::{Lag, OPERATION_BUCKETS, Operations};
pub use store::{Location, OpenError, Store, StoreConfig, StoreError};
pub use webhooks::DeadLetter;
