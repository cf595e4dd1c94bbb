//! Metrics.
//!
//! Owns: every metric's name, unit and meaning (the table is `METRICS.md`), and the counters of the
//! control plane.
//! Never: has a label whose values clients choose: no call, participant, address or text.
//!
//! All are gathered by one collector at the time of a scrape, so that counting is one atomic add.

mod collect;
mod data;
mod families;
mod operation;
mod paths;
mod stun;
mod tcp;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use convoke_protocol::ErrorCode;

pub(crate) use collect::{Collect, Source};
pub(crate) use operation::{Lags, kernel_drops};

use crate::agent::Via;

/// How a WebSocket ended, by close code; the last is any other.
pub(crate) const CLOSES: [&str; 10] = [
    "going_away",
    "too_big",
    "not_text",
    "not_authenticated",
    "token_revoked",
    "ping_timeout",
    "taken_over",
    "slow_reader",
    "too_many_messages",
    "client",
];

/// What was refused because one address or identity does or holds too much.
pub(crate) const LIMITED: [&str; 4] =
    ["agents_per_address", "agents_per_identity", "wrong_tokens", "joins"];

/// The first part of an app server's path; the last is any other.
pub(crate) const ROUTES: [&str; 11] = [
    "identities",
    "rooms",
    "calls",
    "calling",
    "events",
    "audit",
    "webhooks",
    "config",
    "log",
    "captures",
    "other",
];

/// The first figure of a status.
pub(crate) const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Which of [`LIMITED`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limited {
    AgentsPerAddress,
    AgentsPerIdentity,
    WrongTokens,
    Joins,
}

/// The upper bounds of the join durations' buckets, in seconds.
pub(crate) const JOIN_BUCKETS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// One counter for each error code, and one for success.
const OUTCOMES: usize = ErrorCode::ALL.len() + 1;

/// What the control plane counts.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) joins: [AtomicU64; OUTCOMES],
    pub(crate) resumes: [AtomicU64; OUTCOMES],
    /// Joins by WHIP and by WHEP; counted among `joins` too.
    pub(crate) http_joins: [[AtomicU64; OUTCOMES]; 2],
    pub(crate) errors: [AtomicU64; OUTCOMES],
    pub(crate) closes: [AtomicU64; CLOSES.len()],
    pub(crate) join_buckets: [AtomicU64; JOIN_BUCKETS.len()],
    pub(crate) join_count: AtomicU64,
    pub(crate) join_micros: AtomicU64,
    pub(crate) messages: AtomicU64,
    pub(crate) origin_refused: AtomicU64,
    pub(crate) graces_expired: AtomicU64,
    pub(crate) connections: AtomicU64,
    /// For want of a place, and as their address has as many as it may.
    pub(crate) connections_refused: [AtomicU64; 2],
    pub(crate) connections_slow: AtomicU64,
    /// By [`ROUTES`] and [`STATUSES`].
    pub(crate) requests: [[AtomicU64; STATUSES.len()]; ROUTES.len()],
    /// See [`LIMITED`].
    pub(crate) limited: [AtomicU64; LIMITED.len()],
    pub(crate) events_lagged: AtomicU64,
    pub(crate) calls_started: AtomicU64,
    pub(crate) transports: [[AtomicU64; 2]; 2],
    /// Data messages that a client did not get: for want of a WebSocket, and as it reads slowly.
    pub(crate) data_undelivered: [AtomicU64; 2],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            joins: zeros(),
            resumes: zeros(),
            http_joins: [zeros(), zeros()],
            errors: zeros(),
            closes: zeros(),
            join_buckets: zeros(),
            join_count: AtomicU64::default(),
            join_micros: AtomicU64::default(),
            messages: AtomicU64::default(),
            origin_refused: AtomicU64::default(),
            graces_expired: AtomicU64::default(),
            connections: AtomicU64::default(),
            connections_refused: zeros(),
            connections_slow: AtomicU64::default(),
            requests: std::array::from_fn(|_| zeros()),
            limited: zeros(),
            events_lagged: AtomicU64::default(),
            calls_started: AtomicU64::default(),
            transports: [zeros(), zeros()],
            data_undelivered: zeros(),
        }
    }
}

fn zeros<const N: usize>() -> [AtomicU64; N] {
    std::array::from_fn(|_| AtomicU64::default())
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// The label of an outcome, in the order of the counters.
pub(crate) fn outcomes() -> impl Iterator<Item = &'static str> {
    ErrorCode::ALL.iter().map(|code| code.as_str()).chain(["ok"])
}

fn count_outcome(counters: &[AtomicU64; OUTCOMES], outcome: Result<(), ErrorCode>) {
    let at = match outcome {
        Ok(()) => OUTCOMES - 1,
        Err(code) => ErrorCode::ALL.iter().position(|one| *one == code).unwrap_or(OUTCOMES - 2),
    };
    if let Some(counter) = counters.get(at) {
        count(counter);
    }
}

impl Counters {
    /// A join was answered, `took` after it came.
    pub(crate) fn join(&self, outcome: Result<(), ErrorCode>, took: Duration) {
        count_outcome(&self.joins, outcome);
        if outcome.is_err() {
            return;
        }
        let seconds = took.as_secs_f64();
        if let Some(at) = JOIN_BUCKETS.iter().position(|bound| seconds <= *bound)
            && let Some(bucket) = self.join_buckets.get(at)
        {
            count(bucket);
        }
        count(&self.join_count);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.join_micros.fetch_add(micros, Relaxed);
    }

    /// A resume was answered.
    pub(crate) fn resume(&self, outcome: Result<(), ErrorCode>) {
        count_outcome(&self.resumes, outcome);
    }

    /// A WHIP or WHEP request to join was answered.
    pub(crate) fn http_join(&self, via: Via, outcome: Result<(), ErrorCode>) {
        let [whip, whep] = &self.http_joins;
        count_outcome(if via == Via::Whep { whep } else { whip }, outcome);
    }

    /// A client was told of an error.
    pub(crate) fn error(&self, code: ErrorCode) {
        count_outcome(&self.errors, Err(code));
    }

    /// A request of an app server was answered.
    pub(crate) fn request(&self, path: &str, status: u16) {
        let first = path.trim_start_matches('/').split(['/', ':']).next().unwrap_or_default();
        let route = ROUTES.iter().position(|one| *one == first).unwrap_or(ROUTES.len() - 1);
        let status = usize::from(status / 100).saturating_sub(1);
        if let Some(counter) = self.requests.get(route).and_then(|one| one.get(status)) {
            count(counter);
        }
    }

    /// Something was refused for what its address or identity does.
    pub(crate) fn limited(&self, what: Limited) {
        if let Some(counter) = self.limited.get(what as usize) {
            count(counter);
        }
    }

    /// A WebSocket ended.
    pub(crate) fn close(&self, code: u16) {
        let known = convoke_protocol::close::ALL.iter().position(|(_, one, _)| *one == code);
        if let Some(counter) = self.closes.get(known.unwrap_or(CLOSES.len() - 1)) {
            count(counter);
        }
    }

    /// A transport's state changed.
    pub(crate) fn transport(&self, receive: bool, connected: bool) {
        let [lost, up] = match &self.transports {
            [_, receives] if receive => receives,
            [sends, _] => sends,
        };
        count(if connected { up } else { lost });
    }
}

#[cfg(test)]
mod tests;
