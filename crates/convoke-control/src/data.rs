//! Data messages of clients without a data channel: from the core's events to their WebSockets.
//!
//! Owns: what happens where a client's WebSocket is gone or slow.
//! Never: keeps a message for later.

use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use convoke_node::core::{DataClosed, DataEvent, Reliability};
use convoke_protocol::encode;

use crate::control::Inner;
use crate::convert;
use crate::metrics::count;
use crate::session::DataPushed;

impl Inner {
    /// A message for some participants of a call; written once for all of them.
    pub(crate) fn on_data(self: &Arc<Self>, data: &DataEvent) {
        let Some(call) = self.calls.by_room(data.room) else { return };
        let message = convert::data::message(call.wire_id().to_owned(), data);
        let text = Utf8Bytes::from(encode(&message));
        let durable = data.reliability == Reliability::Durable;
        let [detached, slow] = &self.counters.data_undelivered;
        for participant in &data.to {
            let Some(session) = call.session(*participant) else { continue };
            match session.push_data(durable, &text) {
                DataPushed::Taken => {}
                DataPushed::Detached => count(detached),
                DataPushed::Dropped => count(slow),
                DataPushed::TooSlow(turn) => {
                    count(slow);
                    self.lost(session, turn);
                }
            }
        }
    }

    /// The core closed a channel: its participant is told, in the order of the messages around it.
    pub(crate) fn on_data_closed(self: &Arc<Self>, closed: &DataClosed) {
        let Some(call) = self.calls.by_room(closed.room) else { return };
        let Some(session) = call.session(closed.participant) else { return };
        let message = convert::data::closed(call.wire_id().to_owned(), closed);
        // Of no version: it is never older than a snapshot.
        self.push(&session, u64::MAX, &encode(&message).into());
    }
}
