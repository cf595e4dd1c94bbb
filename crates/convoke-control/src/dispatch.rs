//! From the node's events to the clients.
//!
//! Owns: the order of what clients hear of their call, and the snapshots that heal it.
//! Never: waits for a client or a worker while events come in.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::ws::Utf8Bytes;
use convoke_node::core::{
    Action, Event, LeaveReason, ParticipantId, Reply, RoomChange, RoomId, Snapshot, TransportRole,
    TransportState,
};
use convoke_node::{Events, HandleError, NodeEvent};
use convoke_protocol::{self as wire, EndReason, ServerMessage, encode};

use crate::calls::Call;
use crate::control::Inner;
use crate::convert;
use crate::session::Session;

/// Runs until the node stops.
pub(crate) async fn dispatch(inner: Arc<Inner>, mut events: Events) {
    let read = async {
        while let Some(event) = events.recv().await {
            inner.on_event(event);
        }
    };
    tokio::select! {
        () = read => {}
        () = refresh_all(&inner) => {}
    }
    inner.disconnect_all(&EndReason::server_stopped());
    for call in inner.calls.all() {
        inner.calls.kill(&call);
        for session in call.everyone() {
            inner.end_session(&session, EndReason::server_stopped());
        }
    }
}

/// Takes new snapshots for everyone, each time that is asked for.
async fn refresh_all(inner: &Arc<Inner>) {
    loop {
        inner.refresh.notified().await;
        for call in inner.calls.all() {
            for session in call.sessions() {
                inner.refresh(&session).await;
            }
        }
    }
}

impl Inner {
    fn on_event(self: &Arc<Self>, event: NodeEvent) {
        match event {
            NodeEvent::Core(event) => self.on_core(event),
            NodeEvent::Lagged { dropped } => {
                self.counters.events_lagged.fetch_add(dropped, Relaxed);
                tracing::warn!(dropped, "events were dropped; taking new snapshots");
                for call in self.calls.all() {
                    call.for_each(|session| session.begin_refresh());
                }
                self.refresh.notify_one();
                self.rosters_changed();
            }
            NodeEvent::WorkerFailed { worker, rooms } => {
                tracing::error!(worker, rooms = rooms.len(), "a worker failed");
                rooms.into_iter().for_each(|room| self.on_room_lost(room));
            }
            _ => {}
        }
    }

    fn on_core(self: &Arc<Self>, event: Event) {
        match event {
            Event::Room { room, version, change } => self.on_change(room, version, &change),
            Event::Slots { room, participant, version, slots } => {
                self.on_slots(room, participant, version, &slots);
            }
            Event::Transport { role, state, .. } => {
                let receive = role == TransportRole::Receive;
                self.counters.transport(receive, state == TransportState::Connected);
            }
            Event::Speakers { room, version, dominant, speaking } => {
                self.on_speakers(room, version, dominant, &speaking);
            }
            Event::Demand { room, participant, client_id, encodings } => {
                self.on_demand(room, participant, &client_id, &encodings);
            }
            Event::Data(data) => self.on_data(&data),
            Event::DataClosed(closed) => self.on_data_closed(&closed),
            Event::RoomClosed { room } => self.on_room_closed(room),
            // Replies go to their callers.
            _ => {}
        }
    }

    fn on_change(self: &Arc<Self>, room: RoomId, version: u64, change: &RoomChange) {
        let Some(call) = self.calls.by_room(room) else { return };
        if let RoomChange::ParticipantLeft { participant, reason } = change
            && let Some(session) = call.session(*participant).filter(|one| one.room() == room)
        {
            self.end_session(&session, convert::end_reason(*reason));
        }
        if !matches!(change, RoomChange::Reachable { .. }) {
            self.roster_changed(&call);
        }
        let message = convert::change(call.wire_id().to_owned(), version, change);
        self.push_to_all(&call, room, version, &message);
    }

    fn on_slots(
        self: &Arc<Self>,
        room: RoomId,
        participant: ParticipantId,
        version: u64,
        slots: &[convoke_node::core::SlotView],
    ) {
        let Some(call) = self.calls.by_room(room) else { return };
        let Some(session) = call.session(participant) else { return };
        let call_id = call.wire_id().to_owned();
        let changed = wire::SlotsChanged { call_id, version, slots: convert::slots(slots) };
        let text = Utf8Bytes::from(encode(&ServerMessage::Slots(changed)));
        self.push(&session, version, &text);
    }

    /// What is wanted of a track is for its publisher alone; where it is lost, the next snapshot
    /// brings it anew.
    fn on_demand(
        self: &Arc<Self>,
        room: RoomId,
        participant: ParticipantId,
        client_id: &str,
        encodings: &[convoke_node::core::EncodingDemand],
    ) {
        let Some(call) = self.calls.by_room(room) else { return };
        let Some(session) = call.session(participant) else { return };
        let call_id = call.wire_id().to_owned();
        let text = encode(&convert::quality::demand(call_id, client_id, encodings)).into();
        // Of no version: it is never older than a snapshot.
        self.push(&session, u64::MAX, &text);
    }

    fn on_speakers(
        self: &Arc<Self>,
        room: RoomId,
        version: u64,
        dominant: Option<ParticipantId>,
        speaking: &[ParticipantId],
    ) {
        let Some(call) = self.calls.by_room(room) else { return };
        let message = ServerMessage::Speakers(wire::Speakers {
            call_id: call.wire_id().to_owned(),
            version,
            dominant: dominant.map(convert::participant_id),
            speaking: speaking.iter().copied().map(convert::participant_id).collect(),
        });
        self.push_to_all(&call, room, version, &message);
    }

    /// Tells those in one room: the others hear of it from their own, in its order.
    fn push_to_all(
        self: &Arc<Self>,
        call: &Call,
        room: RoomId,
        version: u64,
        message: &ServerMessage,
    ) {
        let text = Utf8Bytes::from(encode(message));
        call.for_each(|session| {
            if session.room() == room {
                self.push(session, version, &text);
            }
        });
    }

    pub(crate) fn push(self: &Arc<Self>, session: &Arc<Session>, version: u64, text: &Utf8Bytes) {
        if let Some(turn) = session.push(version, text) {
            self.lost(Arc::clone(session), turn);
        }
    }

    /// The worker failed: whoever was in the room is told. If nobody is in another room of the call,
    /// it is over, and the next join begins afresh.
    fn on_room_lost(self: &Arc<Self>, room: RoomId) {
        let Some(call) = self.calls.by_room(room) else { return };
        let lost = call.sessions_in(room);
        let mut over = false;
        if lost.len() == call.sessions().len() {
            self.calls.kill(&call);
            over = true;
        }
        for session in lost {
            self.end_session(&session, EndReason::server_failed());
        }
        if over {
            self.call_over(&call, &EndReason::server_failed());
        }
    }

    /// Everyone's leaving was told before this, so that nobody should be left but those who join
    /// just now, and whose join makes the room anew. Whoever else is left is checked.
    fn on_room_closed(self: &Arc<Self>, room: RoomId) {
        let Some(call) = self.calls.by_room(room) else { return };
        for session in call.sessions_in(room).into_iter().filter(|session| session.is_live()) {
            session.begin_refresh();
            let this = Arc::clone(self);
            tokio::spawn(async move { this.refresh(&session).await });
        }
    }

    /// Takes snapshots for a session until its client is up to date, or finds that it is over.
    pub(crate) async fn refresh(self: &Arc<Self>, session: &Arc<Session>) {
        let participant = session.participant();
        let snapshot = || Action::Snapshot { participant };
        while session.is_live() {
            session.begin_refresh();
            match self.insist(session.room(), snapshot).await {
                Ok(Reply::Snapshot(snapshot)) => {
                    let text = snapshot_message(session, &snapshot);
                    if !session.refreshed(snapshot.version, text).stale {
                        // What is in no snapshot may have been lost as well.
                        return self.tell_standing(session, true);
                    }
                }
                Err(HandleError::Refused(_)) => {
                    return self.end_session(session, EndReason::server_failed());
                }
                Ok(_) | Err(_) => {
                    tracing::warn!(participant = session.wire_id(), "no snapshot to be had");
                    return self.remove(session, LeaveReason::Failed).await;
                }
            }
        }
    }
}

fn snapshot_message(session: &Session, snapshot: &Snapshot) -> Utf8Bytes {
    let message = ServerMessage::Snapshot(wire::Snapshot {
        call_id: session.call().wire_id().to_owned(),
        version: snapshot.version,
        participants: convert::participants(&snapshot.participants),
        slots: convert::slots(&snapshot.slots),
    });
    encode(&message).into()
}
