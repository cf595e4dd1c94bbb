//! Messages from the client app to the server.
//!
//! Every message may carry a `requestId` of the client's choice, which the reply repeats.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use crate::codec::BodyError;
use crate::data::SendData;
use crate::moderation::{
    Admit, LobbyPolicy, LowerHands, MuteParticipants, RaiseHand, Reject, RemoveParticipant,
    SetRole, StartSpotlight, StopSpotlight,
};
use crate::ring::{AcceptCall, RejectCall, StartCall};
use crate::types::{SessionDescription, SlotWish, TrackDeclaration, TransportRole};

macro_rules! client_messages {
    ($( $(#[$doc:meta])* $name:ident($body:ident) = $wire:literal, )*) => {
        /// Any message from the client.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
        #[serde(tag = "type", rename_all = "camelCase")]
        pub enum ClientMessage {
            $( $(#[$doc])* #[serde(rename = $wire)] $name($body), )*
        }

        impl ClientMessage {
            /// The `type` of every client message.
            pub const TYPES: &'static [&'static str] = &[$($wire),*];

            /// Reads the body of a message of type `name`; `None` for an unknown type. Not serde's own
            /// way for tagged enums, since that one forgets the path of a wrong field.
            pub(crate) fn read(name: &str, body: &Value) -> Option<Result<Self, BodyError>> {
                match name {
                    $( $wire => {
                        Some(serde_path_to_error::deserialize(body).map(Self::$name))
                    } )*
                    _ => None,
                }
            }

            /// The request id that a reply must repeat.
            #[must_use]
            pub fn request_id(&self) -> Option<u32> {
                match self { $( Self::$name(body) => body.request_id, )* }
            }
        }
    };
}

client_messages! {
    /// Authenticates; must be first. Sent again, it renews the token.
    Hello(Hello) = "hello",
    /// Joins (or starts) the group call.
    Join(Join) = "join",
    /// Takes up a participant whose WebSocket was lost.
    Resume(Resume) = "resume",
    /// Renegotiates one transport, or restarts its ICE.
    Offer(OfferMessage) = "offer",
    /// Publishes a track on an m-line of the send transport.
    Publish(Publish) = "publish",
    /// Stops publishing a track.
    Unpublish(Unpublish) = "unpublish",
    /// Mutes or unmutes a published track.
    Mute(Mute) = "mute",
    /// Says what the video slots should show.
    View(ViewMessage) = "view",
    /// Asks what this client sends and receives, and why.
    Explain(Explain) = "explain",
    /// Sends a message to other participants.
    Data(SendData) = "data",
    /// Gives another participant a role.
    SetRole(SetRole) = "setRole",
    /// Mutes others.
    MuteParticipants(MuteParticipants) = "muteParticipants",
    /// Removes another participant.
    RemoveParticipant(RemoveParticipant) = "removeParticipant",
    /// Puts participants into the spotlight.
    StartSpotlight(StartSpotlight) = "startSpotlight",
    /// Takes participants out of the spotlight.
    StopSpotlight(StopSpotlight) = "stopSpotlight",
    /// Raises the client's hand.
    RaiseHand(RaiseHand) = "raiseHand",
    /// Lowers hands.
    LowerHands(LowerHands) = "lowerHands",
    /// Lets participants in from the lobby.
    Admit(Admit) = "admit",
    /// Turns participants in the lobby away.
    Reject(Reject) = "reject",
    /// Starts a call and rings.
    StartCall(StartCall) = "startCall",
    /// Joins a call that rings.
    AcceptCall(AcceptCall) = "acceptCall",
    /// Declines a call that rings.
    RejectCall(RejectCall) = "rejectCall",
    /// Leaves the call.
    Leave(Leave) = "leave",
    /// Asks for a `pong`; also keeps the session alive.
    Ping(Ping) = "ping",
}

macro_rules! body {
    ($(#[$doc:meta])* $name:ident { $( $(#[$fdoc:meta])* $field:ident : $ty:ty, )* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            /// The client's number for this request; the reply repeats it.
            #[ts(optional)]
            #[serde(skip_serializing_if = "Option::is_none", default)]
            pub request_id: Option<u32>,
            $( $(#[$fdoc])* pub $field: $ty, )*
        }
    };
}

pub(crate) use body;

body! {
    /// `hello`: who the app acts for. Answered by `welcome`.
    Hello {
        /// [`crate::PROTOCOL_VERSION`].
        protocol: u32,
        /// The access token (JWT, RFC 7519). Never put it in a URL.
        token: String,
        /// A name to show where the token gives none; at most 256 bytes.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        display_name: Option<String>,
        /// Name and version of the app or SDK, for logs.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        user_agent: Option<String>,
    }
}

body! {
    /// `join`: answered by `joined`, or by `error` with no state made.
    Join {
        /// The group call ID: a GUID in any usual spelling. Exactly one of this and `roomId` is
        /// given.
        #[ts(as = "Option<String>", optional)]
        #[serde(default, skip_serializing_if = "String::is_empty")]
        group_id: String,
        /// The id of a scheduled room.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        room_id: Option<String>,
        /// The offer of the send transport; absent for a viewer.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        send: Option<SessionDescription>,
        /// The offer of the receive transport (its m-lines are the slots); absent for a pure sender.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        receive: Option<SessionDescription>,
        /// Tracks published from the start; none when absent.
        #[ts(as = "Option<Vec<TrackDeclaration>>", optional)]
        #[serde(default)]
        tracks: Vec<TrackDeclaration>,
        /// Who shall wait in the lobby, if this join starts the call; the server's default when
        /// absent.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        lobby: Option<LobbyPolicy>,
    }
}

body! {
    /// `resume`: answered by `resumed`, or by `error` (`resumeInvalid`) when the grace time is over.
    Resume {
        /// From `joined`.
        resume_token: String,
    }
}

body! {
    /// `offer`: answered by `answer`.
    OfferMessage {
        /// From `joined`.
        call_id: String,
        /// Which transport the offer is for.
        transport: TransportRole,
        /// The new offer.
        sdp: String,
    }
}

body! {
    /// `publish`: answered by `trackPublished` to everyone and by `ack` to the publisher.
    Publish {
        /// From `joined`.
        call_id: String,
        /// What is published.
        track: TrackDeclaration,
    }
}

body! {
    /// `unpublish`: answered by `ack`.
    Unpublish {
        /// From `joined`.
        call_id: String,
        /// The track's `clientId`.
        client_id: String,
    }
}

body! {
    /// `mute`: answered by `ack`.
    Mute {
        /// From `joined`.
        call_id: String,
        /// The track's `clientId`.
        client_id: String,
        /// The wanted state.
        muted: bool,
    }
}

body! {
    /// `view`: answered by `ack`; slots that are not named are filled by the default policy.
    /// `slots: null` or absent returns all of them to the default policy.
    ViewMessage {
        /// From `joined`.
        call_id: String,
        /// The wishes, at most one for a video slot.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        slots: Option<Vec<SlotWish>>,
    }
}

body! {
    /// `explain`: answered by `explained`.
    Explain {
        /// From `joined`.
        call_id: String,
    }
}

body! {
    /// `leave`: answered by `ended`.
    Leave {
        /// From `joined` or `inLobby`.
        call_id: String,
        /// Ends the call for everyone; false when absent.
        #[ts(as = "Option<bool>", optional)]
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        for_everyone: bool,
    }
}

body! {
    /// `ping`: answered by `pong`.
    Ping {}
}
