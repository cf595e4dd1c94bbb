//! What happens in calls, on its way to the store.
//!
//! Owns: that of each call it is told in order: begun, came, went, over; and a bounded queue to the
//! task that writes. When the store is down, what waits is kept and written later.
//! Never: makes a call wait.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use convoke_node::core::ParticipantId;
use convoke_protocol::EndReason;
use convoke_store::{CallChange, Store};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::calls::Call;
use crate::rest::time::now_ms;
use crate::session::Session;
use crate::sync::lock;

/// Changes that wait for the store. Beyond it the newest are lost and counted.
const QUEUE: usize = 65_536;
/// Changes in one transaction.
const BATCH: usize = 256;
const RETRY: Duration = Duration::from_secs(1);

/// What was recorded of one call.
#[derive(Debug)]
pub(crate) struct CallLog {
    begun: bool,
    /// It is between two people, and nobody else ever was in it.
    two_party: bool,
    /// Who was in it, while it is.
    two: Vec<Arc<str>>,
    present: HashSet<ParticipantId>,
    /// Gone before it was recorded that they came.
    early: HashSet<ParticipantId>,
}

impl CallLog {
    /// Of a call that is meant to be between two people, or not.
    pub(crate) fn new(two_party: bool) -> Self {
        let (present, early) = Default::default();
        Self { begun: false, two_party, two: Vec::new(), present, early }
    }

    fn enter(&mut self, identity: &Arc<str>) {
        if self.two_party && !self.two.contains(identity) {
            self.two.push(Arc::clone(identity));
            self.two_party = self.two.len() <= 2;
        }
    }

    /// What is told of somebody who came or went.
    fn about(&self, session: &Session) -> Value {
        let bearer = session.bearer();
        let mut about = json!({
            "displayName": &*bearer.display_name,
            "userAgent": &*bearer.app,
            "isTwoParty": self.two_party,
        });
        let role = bearer.role.and_then(|role| serde_json::to_value(role).ok());
        if let Some(role) = role {
            about["role"] = role;
        }
        about
    }
}

/// The way to the task that writes. Without a store everything is dropped.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorder(Option<mpsc::Sender<CallChange>>);

impl Recorder {
    /// Starts the task. It ends with the last recorder, when all is written.
    pub(crate) fn start(store: Store) -> Self {
        let (to, mut from) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let mut batch = Vec::new();
            while from.recv_many(&mut batch, BATCH).await > 0 {
                while let Err(error) = store.record(&batch).await {
                    tracing::warn!(%error, waiting = from.len(), "call records wait for the store");
                    tokio::time::sleep(RETRY).await;
                }
                batch.clear();
            }
        });
        Self(Some(to))
    }

    fn send(&self, change: CallChange) {
        if let Some(queue) = &self.0
            && queue.try_send(change).is_err()
        {
            tracing::error!("a call record was lost: too many wait for the store");
        }
    }

    pub(crate) fn joined(&self, session: &Session) {
        let call = session.call();
        let mut log = lock(&call.log);
        if log.early.remove(&session.participant()) {
            return;
        }
        let at = now_ms();
        log.enter(session.identity());
        if !log.begun {
            log.begun = true;
            let locator = call.locator().to_string();
            let mut more = json!({
                "startedBy": &**session.identity(),
                "isTwoParty": log.two_party,
            });
            if let Some(role) = log.about(session).get("role") {
                more["startedByRole"] = role.clone();
            }
            self.send(CallChange::Started { call: call.wire_id().to_owned(), locator, at, more });
        }
        log.present.insert(session.participant());
        self.send(CallChange::Joined {
            call: call.wire_id().to_owned(),
            participant: session.wire_id().to_owned(),
            identity: session.identity().to_string(),
            at,
            more: log.about(session),
        });
    }

    pub(crate) fn left(&self, session: &Session, reason: &EndReason) {
        let call = session.call();
        let mut log = lock(&call.log);
        if !log.present.remove(&session.participant()) {
            log.early.insert(session.participant());
            return;
        }
        self.send(CallChange::Left {
            call: call.wire_id().to_owned(),
            participant: session.wire_id().to_owned(),
            identity: session.identity().to_string(),
            at: now_ms(),
            code: reason.code.into(),
            sub_code: reason.sub_code.into(),
            more: log.about(session),
        });
    }

    /// It rings for somebody, and app servers may take it.
    pub(crate) fn incoming(&self, call: &Call, data: Value) {
        let (call, at) = (call.wire_id().to_owned(), now_ms());
        self.send(CallChange::Incoming { call, data, at });
    }

    pub(crate) fn ended(&self, call: &Call, reason: &EndReason) {
        let mut log = lock(&call.log);
        if std::mem::take(&mut log.begun) {
            let more = json!({
                "code": reason.code,
                "subCode": reason.sub_code,
                "message": reason.message,
                "isTwoParty": log.two_party,
            });
            let call = call.wire_id().to_owned();
            self.send(CallChange::Ended { call, at: now_ms(), more });
        }
    }
}
