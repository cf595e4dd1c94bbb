//! The signalling messages between a client app (the *agent*) and the server.
//!
//! Owns: the shape of every message on the agent WebSocket, the error and end-reason vocabulary,
//! the parsing of group call IDs, and of what WHIP and WHEP clients send (`http`). `PROTOCOL.md`
//! beside this crate is the written specification;
//! the TypeScript types of the web SDK are generated from these types.
//! Never: does I/O, keeps state, or knows the media core.

#![forbid(unsafe_code)]

mod client;
pub mod close;
mod codec;
mod data;
mod end;
mod error;
mod explain;
mod group_id;
pub mod http;
mod moderation;
mod ring;
mod server;
mod types;
pub mod typescript;

pub use client::{
    ClientMessage, Explain, Hello, Join, Leave, Mute, OfferMessage, Ping, Publish, Resume,
    Unpublish, ViewMessage,
};
pub use codec::{DecodeError, decode_client, decode_server, encode};
pub use data::{Data, DataCloseReason, DataClosed, Reliability, SendData};
pub use end::EndReason;
pub use error::{ErrorCode, ErrorReply};
pub use explain::{EncodingExplanation, Explanation, SlotExplanation, TrackExplanation};
pub use group_id::{GroupId, GroupIdError};
pub use moderation::{
    Admit, Capabilities, CapabilitiesChanged, Capability, CapabilityReason, InLobby,
    LobbyParticipant, LobbyParticipantsUpdated, LobbyPolicy, LowerHands, Moved, MuteParticipants,
    MutedByOthers, RaiseHand, RaisedHandsChanged, Reject, RemoveParticipant, Role, RoleChanged,
    SetRole, SpotlightChanged, StartSpotlight, StopSpotlight,
};
pub use ring::{
    AcceptCall, IncomingCall, IncomingCallEnded, RejectCall, RingState, RingTarget, RingUpdated,
    StartCall,
};
pub use server::{
    Ack, Answer, Demand, Ended, Explained, Joined, ParticipantJoined, ParticipantLeft,
    ParticipantUpdated, Pong, Resumed, ServerMessage, SlotsChanged, Snapshot, Speakers,
    TrackPublished, TrackUnpublished, TrackUpdated, Welcome,
};
pub use types::{
    Connection, Encoding, EncodingDemand, Follow, IceServer, Layer, Limits, MediaKind, Participant,
    Scope, SessionDescription, Slot, SlotReason, SlotState, SlotWish, Source, Track,
    TrackDeclaration, TransportRole,
};

/// The protocol version that this crate speaks; sent in [`Hello`] and checked by the server.
pub const PROTOCOL_VERSION: u32 = 1;

/// The WebSocket subprotocol name offered by clients (RFC 6455 §1.9).
pub const SUBPROTOCOL: &str = "convoke.v1";
