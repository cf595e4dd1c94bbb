//! Call automation: app servers that hold calls as ACS's Call Automation lets them.
//!
//! Owns: the call connections, what of a call they are told, the contexts by which calls that ring
//! are answered, and requests that were sent twice.
//! Never: knows HTTP (`rest::calling` does), or makes a call wait. A connection has no media and is
//! no participant: it controls.
//!
//! Locks are taken in the order: ring, then a connection's, then a callback's lane.

mod act;
pub(crate) mod callback;
pub(crate) mod connection;
pub(crate) mod incoming;
pub(crate) mod moving;
mod roster;

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use dashmap::DashMap;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

pub(crate) use act::{CallingError, Guest, Opening};
use callback::{Callback, Callbacks, Event};
use connection::{Asked, Machine, Phase, Told};
use incoming::Incoming;
use moving::Seats;
use roster::Watch;

use crate::calls::Call;
use crate::rest::repeat::Repeats;
use crate::rest::time::{format, now_ms};
use crate::sync::lock;

/// Settings of call automation, with their defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallingConfig {
    /// Call connections at once: 10,000.
    pub connections: usize,
    /// Call connections of one call: 16.
    pub connections_per_call: usize,
    /// How long somebody who is moved may take to come into the other call: 20 s.
    pub move_within: Duration,
    /// Hosts that callbacks may go to; `*.` stands for any below. Empty, the default: any.
    pub callback_hosts: Vec<String>,
    /// How long an event is tried: 5 minutes.
    pub callback_retry_for: Duration,
    /// How long one attempt may take: 10 s.
    pub callback_timeout: Duration,
    /// Requests to receivers at once: 256.
    pub callbacks_in_flight: usize,
    /// Events that wait for one receiver of one connection: 256.
    pub callback_queue: usize,
}

impl Default for CallingConfig {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_call: 16,
            move_within: Duration::from_secs(20),
            callback_hosts: Vec::new(),
            callback_retry_for: Duration::from_secs(300),
            callback_timeout: Duration::from_secs(10),
            callbacks_in_flight: 256,
            callback_queue: 256,
        }
    }
}

/// A raw id as ACS's bodies have it.
pub(crate) fn identifier(raw_id: &str) -> Value {
    if raw_id.starts_with("8:acs:") {
        return json!({
            "kind": "communicationUser",
            "rawId": raw_id,
            "communicationUser": { "id": raw_id },
        });
    }
    json!({ "kind": "unknown", "rawId": raw_id })
}

/// An app server's hold on a call.
pub(crate) struct Connection {
    pub(crate) id: Arc<str>,
    correlation: String,
    pub(crate) callback: Callback,
    pub(crate) source: Option<String>,
    pub(crate) targets: Vec<String>,
    pub(crate) answered_by: Option<String>,
    call: OnceLock<Arc<Call>>,
    machine: Mutex<Machine>,
    _place: OwnedSemaphorePermit,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Connection {
    fn new(opening: &Opening, ring: Option<String>, place: OwnedSemaphorePermit) -> Self {
        let begun = Asked { context: opening.context.clone(), callback: None };
        Self {
            id: Uuid::new_v4().to_string().into(),
            correlation: Uuid::new_v4().to_string(),
            callback: opening.callback.clone(),
            source: opening.source.clone(),
            targets: opening.targets.clone(),
            answered_by: opening.answered_by.clone(),
            call: OnceLock::new(),
            machine: Mutex::new(Machine::new(begun, ring)),
            _place: place,
        }
    }

    /// The call, once there is one.
    pub(crate) fn call(&self) -> Option<&Arc<Call>> {
        self.call.get()
    }

    pub(crate) fn phase(&self) -> Phase {
        lock(&self.machine).phase()
    }

    /// Names all that the app server is told of it.
    pub(crate) fn correlation(&self) -> &str {
        &self.correlation
    }

    /// An event as it goes out: CloudEvents 1.0, an array with one.
    fn event(&self, told: Told) -> Event {
        let superseded = told.kind == "ParticipantsUpdated";
        let mut data = told.extra;
        data["callConnectionId"] = (*self.id).into();
        data["correlationId"] = self.correlation.clone().into();
        data["serverCallId"] = self.call().map_or("", |call| call.wire_id()).into();
        if let Some(context) = told.asked.context {
            data["operationContext"] = context.into();
        }
        if let Some(outcome) = told.outcome {
            data["resultInformation"] = json!({
                "code": outcome.code,
                "subCode": outcome.sub_code,
                "message": outcome.message,
            });
        }
        let source = format!("calling/callConnections/{}", self.id);
        let body = json!([{
            "id": Uuid::new_v4().to_string(),
            "source": source,
            "type": format!("Microsoft.Communication.{}", told.kind),
            "specversion": "1.0",
            "datacontenttype": "application/json",
            "time": format(now_ms()),
            "subject": source,
            "data": data,
        }]);
        Event { body: Bytes::from(body.to_string()), born: Instant::now(), superseded }
    }
}

/// All of it.
pub(crate) struct Calling {
    pub(crate) config: CallingConfig,
    connections: DashMap<Arc<str>, Arc<Connection>>,
    /// Calls that connections are of, by id.
    watches: DashMap<String, Arc<Watch>>,
    incoming: DashMap<String, Incoming>,
    seats: Seats,
    callbacks: Arc<Callbacks>,
    places: Arc<Semaphore>,
    pub(crate) repeats: Repeats,
}

impl Calling {
    pub(crate) fn new(config: CallingConfig) -> Self {
        let places = config.connections.min(Semaphore::MAX_PERMITS);
        Self {
            connections: DashMap::new(),
            watches: DashMap::new(),
            incoming: DashMap::new(),
            seats: Seats::default(),
            callbacks: Arc::new(Callbacks::new(config.clone())),
            places: Arc::new(Semaphore::new(places)),
            repeats: Repeats::default(),
            config,
        }
    }

    /// A connection that is not over.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Connection>> {
        self.connections.get(id).map(|found| Arc::clone(&found))
    }

    pub(crate) fn count(&self) -> usize {
        self.connections.len()
    }

    /// Whether nothing is left of anything, callbacks included.
    pub(crate) fn is_empty(&self) -> bool {
        self.connections.is_empty()
            && self.watches.is_empty()
            && self.incoming.is_empty()
            && self.seats.is_empty()
            && self.callbacks.is_idle()
    }

    /// What became of callbacks; see [`callback::OUTCOMES`].
    pub(crate) fn told(&self) -> [u64; callback::OUTCOMES.len()] {
        self.callbacks.counts()
    }

    pub(crate) fn is_told(&self) -> bool {
        self.callbacks.is_idle()
    }

    /// Does something to a connection's state; what is to be told of it is queued before anybody
    /// else gets to it, so that it is told in this order.
    fn with<T>(&self, connection: &Connection, f: impl FnOnce(&mut Machine) -> T) -> T {
        let mut machine = lock(&connection.machine);
        let result = f(&mut machine);
        for told in machine.take() {
            tracing::debug!(connection = &*connection.id, event = told.kind, "call automation");
            let to = told.asked.callback.clone().unwrap_or_else(|| connection.callback.clone());
            self.callbacks.push(&connection.id, &to, connection.event(told));
        }
        result
    }
}
