//! What the server says when it refuses something.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::end::EndReason;

/// Stable error codes. `PROTOCOL.md` says for each what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum ErrorCode {
    /// A message came before `hello` was accepted.
    NotAuthenticated,
    /// `hello.token` is empty.
    TokenMissing,
    /// The token is malformed, of a wrong algorithm, or its signature or key is not ours.
    TokenInvalid,
    /// The token's `exp` has passed.
    TokenExpired,
    /// The token's `nbf` has not come.
    TokenNotYetValid,
    /// The token was revoked, or its identity deleted.
    TokenRevoked,
    /// The token is restricted to another group ID.
    TokenWrongCall,
    /// The token's scopes do not allow this.
    ScopeMissing,
    /// The client speaks another protocol version.
    ProtocolVersion,
    /// The group ID is not a GUID.
    GroupIdInvalid,
    /// No such call runs, and this token may not start one.
    CallNotFound,
    /// There is no such scheduled room.
    RoomNotFound,
    /// The identity is not among the participants of the room.
    RoomNotInvited,
    /// The room's `validFrom` has not come.
    RoomNotOpen,
    /// The room's `validUntil` has passed.
    RoomExpired,
    /// This agent is in that call already.
    AlreadyJoined,
    /// The message names a call that this agent is not in.
    NotInCall,
    /// An SDP could not be parsed or used.
    SdpInvalid,
    /// An SDP has no audio m-line.
    SdpWithoutAudio,
    /// A limit was reached; the message says which.
    LimitExceeded,
    /// The server is overloaded; try again later.
    Busy,
    /// The server is draining; join elsewhere or later.
    Draining,
    /// A track declaration is wrong: unknown mid, wrong kind, or used twice.
    TrackInvalid,
    /// No such track of this client.
    TrackNotFound,
    /// A view names an unknown slot or track, or a slot twice.
    ViewInvalid,
    /// The resume token is unknown, or its grace time is over: join anew.
    ResumeInvalid,
    /// The participant may not do this.
    NotAllowed,
    /// No such participant in this call or its lobby.
    ParticipantNotFound,
    /// The identity was removed from this call.
    RemovedFromCall,
    /// The call that is to be accepted or rejected does not ring (any more) on this device.
    IncomingCallNotFound,
    /// The message is no JSON object, or a field is missing or of a wrong type.
    MalformedMessage,
    /// The message's `type` is unknown.
    UnknownType,
    /// A fault of ours; it was logged.
    Internal,
}

impl ErrorCode {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::NotAuthenticated,
        Self::TokenMissing,
        Self::TokenInvalid,
        Self::TokenExpired,
        Self::TokenNotYetValid,
        Self::TokenRevoked,
        Self::TokenWrongCall,
        Self::ScopeMissing,
        Self::ProtocolVersion,
        Self::GroupIdInvalid,
        Self::CallNotFound,
        Self::RoomNotFound,
        Self::RoomNotInvited,
        Self::RoomNotOpen,
        Self::RoomExpired,
        Self::AlreadyJoined,
        Self::NotInCall,
        Self::SdpInvalid,
        Self::SdpWithoutAudio,
        Self::LimitExceeded,
        Self::Busy,
        Self::Draining,
        Self::TrackInvalid,
        Self::TrackNotFound,
        Self::ViewInvalid,
        Self::ResumeInvalid,
        Self::NotAllowed,
        Self::ParticipantNotFound,
        Self::RemovedFromCall,
        Self::IncomingCallNotFound,
        Self::MalformedMessage,
        Self::UnknownType,
        Self::Internal,
    ];

    /// The name on the wire; also a metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAuthenticated => "notAuthenticated",
            Self::TokenMissing => "tokenMissing",
            Self::TokenInvalid => "tokenInvalid",
            Self::TokenExpired => "tokenExpired",
            Self::TokenNotYetValid => "tokenNotYetValid",
            Self::TokenRevoked => "tokenRevoked",
            Self::TokenWrongCall => "tokenWrongCall",
            Self::ScopeMissing => "scopeMissing",
            Self::ProtocolVersion => "protocolVersion",
            Self::GroupIdInvalid => "groupIdInvalid",
            Self::CallNotFound => "callNotFound",
            Self::RoomNotFound => "roomNotFound",
            Self::RoomNotInvited => "roomNotInvited",
            Self::RoomNotOpen => "roomNotOpen",
            Self::RoomExpired => "roomExpired",
            Self::AlreadyJoined => "alreadyJoined",
            Self::NotInCall => "notInCall",
            Self::SdpInvalid => "sdpInvalid",
            Self::SdpWithoutAudio => "sdpWithoutAudio",
            Self::LimitExceeded => "limitExceeded",
            Self::Busy => "busy",
            Self::Draining => "draining",
            Self::TrackInvalid => "trackInvalid",
            Self::TrackNotFound => "trackNotFound",
            Self::ViewInvalid => "viewInvalid",
            Self::ResumeInvalid => "resumeInvalid",
            Self::NotAllowed => "notAllowed",
            Self::ParticipantNotFound => "participantNotFound",
            Self::RemovedFromCall => "removedFromCall",
            Self::IncomingCallNotFound => "incomingCallNotFound",
            Self::MalformedMessage => "malformedMessage",
            Self::UnknownType => "unknownType",
            Self::Internal => "internal",
        }
    }
}

/// `error`: what was refused, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct ErrorReply {
    /// The request that was refused, if it gave a number.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request_id: Option<u32>,
    /// Stable; decide by this.
    pub code: ErrorCode,
    /// For people: what is wrong and how to mend it. Not stable.
    pub message: String,
    /// The field at fault, as a path (`tracks[0].mid`).
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub field: Option<String>,
    /// How long to wait before trying again, where trying again helps.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_after_ms: Option<u32>,
    /// The ACS code and sub-code, where ACS has them for this.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<EndReason>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_one_on_the_wire() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
