//! Who is in the calls that connections are of.
//!
//! Owns: which connections a call has, and that each is told of its roster soon after it changes,
//! once for changes that come together.
//! Never: is on the way of a call's events: it is told that something changed, and looks later.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use convoke_node::core::{Action, ParticipantView, Reply, Source};
use convoke_protocol::EndReason;

use super::connection::Seen;
use super::{Calling, CallingError, Connection};
use crate::calls::Call;
use crate::control::Inner;
use crate::sync::lock;

/// How long changes are collected before they are told.
const TOGETHER: Duration = Duration::from_millis(100);

/// The connections of one call.
pub(crate) struct Watch {
    call: Arc<Call>,
    connections: Mutex<Vec<Arc<Connection>>>,
    /// A look is due.
    due: AtomicBool,
    /// Held while it is looked and told, so that what is told last is newest.
    turn: tokio::sync::Mutex<()>,
}

impl Calling {
    /// A connection is of this call from now on.
    pub(super) fn watch(
        &self,
        call: &Arc<Call>,
        connection: &Arc<Connection>,
    ) -> Result<(), CallingError> {
        let entry = self.watches.entry(call.wire_id().to_owned());
        let watch = entry.or_insert_with(|| {
            Arc::new(Watch {
                call: Arc::clone(call),
                connections: Mutex::default(),
                due: AtomicBool::new(false),
                turn: tokio::sync::Mutex::default(),
            })
        });
        let mut connections = lock(&watch.connections);
        let most = self.config.connections_per_call;
        if connections.len() >= most {
            return Err(CallingError::ConnectionsOfCall(most));
        }
        // Set here alone, once.
        let _ = connection.call.set(Arc::clone(call));
        connections.push(Arc::clone(connection));
        Ok(())
    }

    /// A connection is over.
    pub(super) fn unwatch(&self, connection: &Connection) {
        let Some(call) = connection.call() else { return };
        self.watches.remove_if(call.wire_id(), |_, watch| {
            let mut connections = lock(&watch.connections);
            connections.retain(|one| one.id != connection.id);
            connections.is_empty()
        });
    }

    fn watch_of(&self, call: &Call) -> Option<Arc<Watch>> {
        self.watches.get(call.wire_id()).map(|watch| Arc::clone(&watch))
    }
}

impl Inner {
    /// The connections of a call.
    pub(super) fn connections_of(&self, call: &Call) -> Vec<Arc<Connection>> {
        let watch = self.calling.watch_of(call);
        watch.map(|watch| lock(&watch.connections).clone()).unwrap_or_default()
    }

    /// Somebody came or went, or was muted or unmuted.
    pub(crate) fn roster_changed(self: &Arc<Self>, call: &Call) {
        if self.calling.watches.is_empty() {
            return;
        }
        if let Some(watch) = self.calling.watch_of(call) {
            self.look(&watch);
        }
    }

    /// Changes were lost: all are looked at.
    pub(crate) fn rosters_changed(self: &Arc<Self>) {
        let all: Vec<_> = self.calling.watches.iter().map(|watch| Arc::clone(&watch)).collect();
        all.iter().for_each(|watch| self.look(watch));
    }

    fn look(self: &Arc<Self>, watch: &Arc<Watch>) {
        if watch.due.swap(true, Ordering::AcqRel) {
            return;
        }
        let (this, watch) = (Arc::clone(self), Arc::clone(watch));
        tokio::spawn(async move {
            tokio::time::sleep(TOGETHER).await;
            let _turn = watch.turn.lock().await;
            // What changes from here on is looked at again.
            watch.due.store(false, Ordering::Release);
            let Some(seen) = this.people(&watch.call).await else {
                // A worker that is busy is asked again, for as long as anybody wants to know.
                if !lock(&watch.connections).is_empty() {
                    this.look(&watch);
                }
                return;
            };
            let connections = lock(&watch.connections).clone();
            for connection in connections {
                this.calling.with(&connection, |machine| machine.roster(seen.clone()));
            }
        });
    }

    /// Who is in a call, by identity; `None` when that cannot be had.
    pub(crate) async fn people(&self, call: &Call) -> Option<Vec<Seen>> {
        let mut live = call.sessions();
        live.retain(|session| session.is_live());
        if live.is_empty() {
            return Some(Vec::new());
        }
        for session in live {
            let participant = session.participant();
            let snapshot = || Action::Snapshot { participant };
            // One that goes just now cannot say; the next can.
            if let Ok(Reply::Snapshot(snapshot)) = self.insist(session.room(), snapshot).await {
                return Some(by_identity(&snapshot.participants));
            }
        }
        if call.is_over() { Some(Vec::new()) } else { None }
    }

    /// A call is over: so are its connections.
    pub(crate) fn call_over(self: &Arc<Self>, call: &Arc<Call>, reason: &EndReason) {
        self.recorder.ended(call, reason);
        for connection in self.connections_of(call) {
            self.disconnect(&connection, reason.clone().into());
        }
    }
}

/// Somebody on several devices is muted when it is on all of them.
fn by_identity(participants: &[ParticipantView]) -> Vec<Seen> {
    let mut muted: BTreeMap<&str, bool> = BTreeMap::new();
    for one in participants {
        let microphones = one.tracks.iter().filter(|track| track.source == Source::Microphone);
        let silent = microphones.into_iter().all(|track| track.muted);
        *muted.entry(&one.identity).or_insert(true) &= silent;
    }
    muted
        .into_iter()
        .map(|(identity, muted)| Seen { identity: identity.to_owned(), muted })
        .collect()
}
