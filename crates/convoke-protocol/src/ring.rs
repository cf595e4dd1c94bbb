//! Ringing: starting a call by calling someone.
//!
//! Owns: its messages in both directions.
//! Never: decides how a ring ends; the server does.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::client::body;
use crate::end::EndReason;
use crate::types::{SessionDescription, TrackDeclaration};

body! {
    /// `startCall`: starts a call and rings. Answered by `joined`, or by `error` with no state made.
    StartCall {
        /// The identities to ring, each once.
        targets: Vec<String>,
        /// Of the app's own, for those who are called.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        custom_context: Option<String>,
        /// How long to ring; the server's own time when absent.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        timeout_ms: Option<u32>,
        /// As in `join`.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        send: Option<SessionDescription>,
        /// As in `join`.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        receive: Option<SessionDescription>,
        /// As in `join`.
        #[ts(as = "Option<Vec<TrackDeclaration>>", optional)]
        #[serde(default)]
        tracks: Vec<TrackDeclaration>,
    }
}

body! {
    /// `acceptCall`: joins the call that rings. Answered by `joined`, or by `error`.
    AcceptCall {
        /// From `incomingCall`.
        incoming_call_id: String,
        /// As in `join`.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        send: Option<SessionDescription>,
        /// As in `join`.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        receive: Option<SessionDescription>,
        /// As in `join`.
        #[ts(as = "Option<Vec<TrackDeclaration>>", optional)]
        #[serde(default)]
        tracks: Vec<TrackDeclaration>,
    }
}

body! {
    /// `rejectCall`: answered by `ack`.
    RejectCall {
        /// From `incomingCall`.
        incoming_call_id: String,
        /// Only this device is busy; the identity's others go on ringing. False when absent: the
        /// call is declined on all of them.
        #[ts(as = "Option<bool>", optional)]
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        busy: bool,
    }
}

/// `incomingCall`: somebody calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct IncomingCall {
    /// The ring; named in `acceptCall` and `rejectCall`.
    pub incoming_call_id: String,
    /// The group ID of the call.
    pub group_id: String,
    /// The identity that calls.
    pub from: String,
    /// Its name to show; may be empty.
    pub display_name: String,
    /// Of the calling app's own.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub custom_context: Option<String>,
    /// How long it will ring yet.
    pub timeout_ms: u32,
}

/// `incomingCallEnded`: a call rings no more on this device, other than by its own accepting or
/// rejecting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct IncomingCallEnded {
    /// From `incomingCall`.
    pub incoming_call_id: String,
    /// Why.
    #[serde(flatten)]
    pub reason: EndReason,
}

/// How far the ringing of one identity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum RingState {
    /// It rings on its devices, or one is waited for.
    Ringing,
    /// One device accepted.
    Accepted,
    /// It was declined.
    Declined,
    /// All devices were busy.
    Busy,
    /// Nobody answered in time.
    TimedOut,
    /// No device is connected.
    Unreachable,
    /// The caller hung up first.
    Canceled,
    /// The device that accepted could not join.
    Failed,
}

/// One identity that is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct RingTarget {
    /// Who.
    pub identity: String,
    /// How far it is.
    pub state: RingState,
}

/// `ringUpdated`: how far the ringing that this client started is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct RingUpdated {
    /// The call.
    pub call_id: String,
    /// Everyone who is called.
    pub targets: Vec<RingTarget>,
}
