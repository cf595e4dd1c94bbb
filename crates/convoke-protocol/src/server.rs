//! Messages from the server to the client app.
//!
//! Messages that change the picture of a call carry `version`: the call's state count after the
//! change. A client that holds a snapshot ignores changes whose version is not greater.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use crate::codec::BodyError;
use crate::data::{Data, DataClosed};
use crate::end::EndReason;
use crate::error::ErrorReply;
use crate::explain::Explanation;
use crate::moderation::{
    CapabilitiesChanged, InLobby, LobbyParticipantsUpdated, Moved, MutedByOthers,
    RaisedHandsChanged, Role, RoleChanged, SpotlightChanged,
};
use crate::ring::{IncomingCall, IncomingCallEnded, RingUpdated};
use crate::types::{
    Connection, EncodingDemand, IceServer, Limits, Participant, Scope, SessionDescription, Slot,
    Track, TransportRole,
};

macro_rules! server_messages {
    ($( $(#[$doc:meta])* $name:ident($body:ident) = $wire:literal, )*) => {
        /// Any message from the server.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
        #[serde(tag = "type", rename_all = "camelCase")]
        pub enum ServerMessage {
            $( $(#[$doc])* #[serde(rename = $wire)] $name($body), )*
        }

        impl ServerMessage {
            /// The `type` of every server message.
            pub const TYPES: &'static [&'static str] = &[$($wire),*];

            /// See [`crate::ClientMessage::read`].
            pub(crate) fn read(name: &str, body: &Value) -> Option<Result<Self, BodyError>> {
                match name {
                    $( $wire => {
                        Some(serde_path_to_error::deserialize(body).map(Self::$name))
                    } )*
                    _ => None,
                }
            }
        }
    };
}

server_messages! {
    /// The token was accepted.
    Welcome(Welcome) = "welcome",
    /// The client is in the call.
    Joined(Joined) = "joined",
    /// The client is back in the call.
    Resumed(Resumed) = "resumed",
    /// The state of the call anew, unasked for: changes before it were lost.
    Snapshot(Snapshot) = "snapshot",
    /// The answer to an `offer`.
    Answer(Answer) = "answer",
    /// A request without a reply of its own was carried out.
    Ack(Ack) = "ack",
    /// Someone joined.
    ParticipantJoined(ParticipantJoined) = "participantJoined",
    /// Someone left.
    ParticipantLeft(ParticipantLeft) = "participantLeft",
    /// Someone's connection state changed.
    ParticipantUpdated(ParticipantUpdated) = "participantUpdated",
    /// Someone publishes a track.
    TrackPublished(TrackPublished) = "trackPublished",
    /// Someone stopped publishing a track.
    TrackUnpublished(TrackUnpublished) = "trackUnpublished",
    /// Someone muted or unmuted a track.
    TrackUpdated(TrackUpdated) = "trackUpdated",
    /// Some of this client's slots changed.
    Slots(SlotsChanged) = "slots",
    /// Which encodings of one of this client's tracks are wanted.
    Demand(Demand) = "demand",
    /// The answer to `explain`.
    Explained(Explained) = "explained",
    /// Who speaks changed.
    Speakers(Speakers) = "speakers",
    /// A message of another participant.
    Data(Data) = "data",
    /// The server closed a data channel of this client's.
    DataClosed(DataClosed) = "dataClosed",
    /// The client waits in the lobby.
    InLobby(InLobby) = "inLobby",
    /// What this client is in the call.
    RoleChanged(RoleChanged) = "roleChanged",
    /// What this client may do in the call.
    CapabilitiesChanged(CapabilitiesChanged) = "capabilitiesChanged",
    /// Who is in the spotlight.
    SpotlightChanged(SpotlightChanged) = "spotlightChanged",
    /// Who has a hand raised.
    RaisedHandsChanged(RaisedHandsChanged) = "raisedHandsChanged",
    /// Who waits in the lobby.
    LobbyParticipantsUpdated(LobbyParticipantsUpdated) = "lobbyParticipantsUpdated",
    /// Someone muted this client.
    MutedByOthers(MutedByOthers) = "mutedByOthers",
    /// This client shall go into another call.
    Moved(Moved) = "moved",
    /// Somebody calls.
    IncomingCall(IncomingCall) = "incomingCall",
    /// A call rings no more.
    IncomingCallEnded(IncomingCallEnded) = "incomingCallEnded",
    /// How far this client's ringing is.
    RingUpdated(RingUpdated) = "ringUpdated",
    /// The client's part in the call is over.
    Ended(Ended) = "ended",
    /// Something was refused.
    Error(ErrorReply) = "error",
    /// The answer to `ping`.
    Pong(Pong) = "pong",
}

macro_rules! reply {
    ($(#[$doc:meta])* $name:ident { $( $(#[$fdoc:meta])* $field:ident : $ty:ty, )* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            /// The number of the request that this answers.
            #[ts(optional)]
            #[serde(skip_serializing_if = "Option::is_none", default)]
            pub request_id: Option<u32>,
            $( $(#[$fdoc])* pub $field: $ty, )*
        }
    };
}

macro_rules! change {
    ($(#[$doc:meta])* $name:ident { $( $(#[$fdoc:meta])* $field:ident : $ty:ty, )* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            /// The call that changed.
            pub call_id: String,
            /// The call's state count after the change.
            #[ts(type = "number")]
            pub version: u64,
            $( $(#[$fdoc])* pub $field: $ty, )*
        }
    };
}

reply! {
    /// `welcome`: the agent is authenticated.
    Welcome {
        /// The server's id of this agent (this WebSocket).
        agent_id: String,
        /// The identity that the token names.
        identity: String,
        /// The name that others will see.
        display_name: String,
        /// What the token allows.
        scopes: Vec<Scope>,
        /// When the token expires: milliseconds since the Unix epoch.
        #[ts(type = "number")]
        expires_at_ms: u64,
        /// Limits to keep.
        limits: Limits,
        /// Send a `ping` at least this often; twice this long without a message and the server
        /// takes the WebSocket for dead.
        ping_interval_ms: u32,
        /// For both peer connections.
        ice_servers: Vec<IceServer>,
    }
}

reply! {
    /// `joined`: answers, roster and slot table in one.
    Joined {
        /// The server's id of the call; every later message names it.
        call_id: String,
        /// The group ID, in canonical form (lower case with hyphens); absent in a scheduled room.
        #[ts(as = "Option<String>", optional)]
        #[serde(default, skip_serializing_if = "String::is_empty")]
        group_id: String,
        /// The id of the scheduled room, where that is what was joined.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        room_id: Option<String>,
        /// As what this client is in the room, where it is in one.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        role: Option<Role>,
        /// This client's own id in the call.
        participant_id: String,
        /// Secret; opens `resume` for this participant.
        resume_token: String,
        /// How long a lost WebSocket may take to resume.
        resume_grace_ms: u32,
        /// The answer for the send transport, if it was offered.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        send: Option<SessionDescription>,
        /// The answer for the receive transport, if it was offered.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        receive: Option<SessionDescription>,
        /// The call's state count.
        #[ts(type = "number")]
        version: u64,
        /// Everyone in the call, this client included.
        participants: Vec<Participant>,
        /// All of this client's slots, in m-line order.
        slots: Vec<Slot>,
    }
}

reply! {
    /// `resumed`: a snapshot that replaces all that the client knew.
    Resumed {
        /// The call.
        call_id: String,
        /// The group ID, in canonical form; absent in a scheduled room.
        #[ts(as = "Option<String>", optional)]
        #[serde(default, skip_serializing_if = "String::is_empty")]
        group_id: String,
        /// The id of the scheduled room, where that is what was joined.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        room_id: Option<String>,
        /// As what this client is in the room, where it is in one.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        role: Option<Role>,
        /// This client's own id in the call, as before.
        participant_id: String,
        /// Replaces the old resume token.
        resume_token: String,
        /// The call's state count.
        #[ts(type = "number")]
        version: u64,
        /// Everyone in the call, this client included.
        participants: Vec<Participant>,
        /// All of this client's slots.
        slots: Vec<Slot>,
    }
}

reply! {
    /// `answer`: to an `offer`.
    Answer {
        /// The call.
        call_id: String,
        /// Which transport it is for.
        transport: TransportRole,
        /// The SDP answer.
        sdp: String,
        /// All slots after the answer (receive transport only; empty otherwise).
        slots: Vec<Slot>,
    }
}

reply! {
    /// `explained`: to an `explain`.
    Explained {
        /// The call.
        call_id: String,
        /// What and why.
        explanation: Explanation,
    }
}

reply! {
    /// `ack`: done.
    Ack {}
}

reply! {
    /// `pong`: to a `ping`.
    Pong {}
}

change! {
    /// `snapshot`: replaces all that the client knew of the call. Sent unasked for when the server
    /// had to skip changes; like every change it is ignored when its version is not greater.
    Snapshot {
        /// Everyone in the call, this client included.
        participants: Vec<Participant>,
        /// All of this client's slots.
        slots: Vec<Slot>,
    }
}

change! {
    /// `participantJoined`.
    ParticipantJoined {
        /// Who.
        participant: Participant,
    }
}

change! {
    /// `participantLeft`: also ends the participant's tracks.
    ParticipantLeft {
        /// Who.
        participant_id: String,
        /// Why.
        reason: EndReason,
    }
}

change! {
    /// `participantUpdated`.
    ParticipantUpdated {
        /// Who.
        participant_id: String,
        /// The new connection state.
        connection: Connection,
    }
}

change! {
    /// `trackPublished`.
    TrackPublished {
        /// Whose.
        participant_id: String,
        /// What.
        track: Track,
    }
}

change! {
    /// `trackUnpublished`.
    TrackUnpublished {
        /// Whose.
        participant_id: String,
        /// Which.
        track_id: String,
    }
}

change! {
    /// `trackUpdated`.
    TrackUpdated {
        /// Whose.
        participant_id: String,
        /// The track as it is now.
        track: Track,
    }
}

change! {
    /// `slots`: only those that changed.
    SlotsChanged {
        /// The slots as they are now.
        slots: Vec<Slot>,
    }
}

change! {
    /// `speakers`: at most five times a second. Not part of a snapshot: after `joined` or
    /// `resumed` nobody is known to speak until the next of these.
    Speakers {
        /// The participant who has the floor, if anyone; changes at most once a second.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        dominant: Option<String>,
        /// The participants who speak now, at most 16.
        speaking: Vec<String>,
    }
}

/// `demand`: which encodings of a track of this client's anybody wants. It should send those and
/// no others. Each replaces the former one of the same track.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Demand {
    /// The call.
    pub call_id: String,
    /// The client's own id of the track.
    pub client_id: String,
    /// All its encodings, lowest first.
    pub encodings: Vec<EncodingDemand>,
}

/// `ended`: the client's part in the call is over; its transports are closed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// The `leave` that this answers, if it does.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request_id: Option<u32>,
    /// The call.
    pub call_id: String,
    /// Why.
    #[serde(flatten)]
    pub reason: EndReason,
}
