//! Data messages between participants, as they go over the WebSocket.
//!
//! The frames on data channels are laid out in `PROTOCOL.md`; they are no JSON.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// How hard it is tried to deliver a data message (the words of ACS, in lower case).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum Reliability {
    /// In order and retransmitted until it arrives.
    Durable,
    /// Once, at best, and in any order.
    Lossy,
}

/// `data` from a client: a message to others. Answered by `ack` once the server has taken it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct SendData {
    /// The client's number for this request; the reply repeats it.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request_id: Option<u32>,
    /// From `joined`.
    pub call_id: String,
    /// The `participantId`s of those who shall get it; everyone else when absent, nobody when
    /// empty.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<Vec<String>>,
    /// How hard it is tried.
    pub reliability: Reliability,
    /// What it is about; at most 64 bytes.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub topic: Option<String>,
    /// What it says: base64 (RFC 4648 §4, with padding) of at most 16 KiB.
    pub payload: String,
}

/// `data` from the server: a message of another participant. Has no version and is in no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Data {
    /// The call.
    pub call_id: String,
    /// The `participantId` of who sent it.
    pub from: String,
    /// How hard it was tried.
    pub reliability: Reliability,
    /// What it is about.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub topic: Option<String>,
    /// What it says, in base64.
    pub payload: String,
}

/// Why the server closed a data channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum DataCloseReason {
    /// This client did not read what it was sent; what waited for it is lost.
    SlowReader,
    /// This client sent too much too fast; its last message was not taken.
    TooFast,
}

/// `dataClosed`: the server closed a data channel of this client's. What follows comes over the
/// WebSocket until the client opens another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct DataClosed {
    /// The call.
    pub call_id: String,
    /// Which channel.
    pub reliability: Reliability,
    /// Why.
    pub reason: DataCloseReason,
    /// How long to wait before another is opened, where waiting helps.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_after_ms: Option<u32>,
}
