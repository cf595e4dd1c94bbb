//! Data messages of a call: by the data channel where it is open, else by the WebSocket.
//!
//! Owns: the choice between the two, and what the app sees of both.
//! Never: promises more than `PROTOCOL.md` §17.5 does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use convoke_protocol::{ClientMessage, Data, DataClosed, Reliability, SendData, ServerMessage};
use tokio::sync::oneshot;

use super::RequestError;
use super::call::{Call, CallEvent};
use super::driver::ToDriver;
use super::state::CallState;
use crate::media::{DataMessage, MediaError, ReceivedData};

/// What a server takes unless it is configured otherwise, in bytes. Larger payloads go by the
/// WebSocket, where a refusal is told.
const PAYLOAD_BYTES: usize = 16 * 1024;

/// A data message to other participants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallData {
    /// The ids of those who shall get it; everyone else when absent, nobody when empty.
    pub to: Option<Vec<String>>,
    /// How hard it is tried.
    pub reliability: Reliability,
    /// What it is about, at most 64 bytes; empty for none.
    pub topic: Arc<str>,
    /// What it says, at most 16 KiB unless the server is configured otherwise.
    pub payload: Arc<[u8]>,
}

/// A data message of another participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallDataReceived {
    /// The id of who sent it; absent while its arrival in the call has not been told yet, and after
    /// it has left.
    pub from: Option<String>,
    /// How hard it was tried.
    pub reliability: Reliability,
    /// What it is about; empty for none.
    pub topic: Arc<str>,
    /// What it says.
    pub payload: Arc<[u8]>,
}

/// Why a data message was not sent.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The server refused it, or could not be asked.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Too much waits on the data channel; try again later.
    #[error("the data channel is full")]
    Full,
}

/// Which channels are open, as the call's task knows it.
#[derive(Debug, Default)]
pub(super) struct OpenChannels {
    durable: AtomicBool,
    lossy: AtomicBool,
}

impl OpenChannels {
    fn of(&self, reliability: Reliability) -> &AtomicBool {
        match reliability {
            Reliability::Durable => &self.durable,
            Reliability::Lossy => &self.lossy,
        }
    }

    pub(super) fn set(&self, reliability: Reliability, open: bool) {
        self.of(reliability).store(open, Relaxed);
    }
}

/// By the channel, if it is open. `None`: by the WebSocket.
pub(super) type ByChannel = Option<Result<(), DataError>>;

impl Call {
    /// Whether messages of this kind go by a data channel now.
    #[must_use]
    pub fn data_channel_open(&self, reliability: Reliability) -> bool {
        self.channels.of(reliability).load(Relaxed)
    }

    /// Sends a data message, by the data channel if one is open, else by the WebSocket. Messages
    /// whose order counts are sent one after the other: each awaited before the next.
    ///
    /// # Errors
    /// When the server refuses it or cannot be asked, or the data channel is full.
    pub async fn send_data(&self, data: CallData) -> Result<(), DataError> {
        if data.payload.len() <= PAYLOAD_BYTES {
            let (answer, answered) = oneshot::channel();
            let command = ToDriver::Data(data.clone(), answer);
            self.commands.send(command).await.map_err(|_| RequestError::Closed)?;
            if let Some(sent) = answered.await.map_err(|_| RequestError::Closed)? {
                return sent;
            }
        }
        let CallData { to, reliability, topic, payload } = data;
        let message = ClientMessage::Data(SendData {
            request_id: None,
            call_id: self.call_id(),
            to,
            reliability,
            topic: Some(topic.to_string()).filter(|topic| !topic.is_empty()),
            payload: STANDARD.encode(payload),
        });
        match self.agent.request(message).await? {
            ServerMessage::Ack(_) => Ok(()),
            _ => Err(RequestError::Unexpected.into()),
        }
    }
}

/// The message as it goes onto a channel. Whoever is not in the call is passed over here already.
pub(super) fn to_channel(state: &CallState, data: CallData) -> DataMessage {
    let csrc = |id: &String| {
        state.participants.iter().find(|p| p.participant_id == *id).map(|known| known.csrc)
    };
    let CallData { to, reliability, topic, payload } = data;
    let to = to.map(|ids| ids.iter().filter_map(csrc).collect());
    DataMessage { to, reliability, topic, payload }
}

/// What became of it there.
pub(super) fn by_channel(sent: Result<(), MediaError>) -> ByChannel {
    match sent {
        Ok(()) => Some(Ok(())),
        Err(MediaError::DataFull(_)) => Some(Err(DataError::Full)),
        // No channel, or nothing that fits into a frame: the server says what is wrong with it.
        Err(_) => None,
    }
}

/// A message that came by a channel.
pub(super) fn from_channel(state: &CallState, data: ReceivedData) -> CallEvent {
    let ReceivedData { from, reliability, topic, payload } = data;
    let from = state.participants.iter().find(|known| known.csrc == from);
    let from = from.map(|known| known.participant_id.clone());
    CallEvent::Data(CallDataReceived { from, reliability, topic, payload })
}

/// A message that came by the WebSocket; `None` when it is of another call or no base64.
pub(super) fn from_socket(state: &CallState, data: &Data) -> Option<CallEvent> {
    if data.call_id != state.call_id {
        return None;
    }
    Some(CallEvent::Data(CallDataReceived {
        from: Some(data.from.clone()),
        reliability: data.reliability,
        topic: data.topic.as_deref().unwrap_or_default().into(),
        payload: STANDARD.decode(&data.payload).ok()?.into(),
    }))
}

/// The server closed a channel of ours.
pub(super) fn closed(state: &CallState, closed: &DataClosed) -> Option<CallEvent> {
    let wait = |ms| Duration::from_millis(u64::from(ms));
    (closed.call_id == state.call_id).then(|| CallEvent::DataClosed {
        reliability: closed.reliability,
        reason: closed.reason,
        retry_after: closed.retry_after_ms.map(wait),
    })
}
