//! Values shared by messages of both directions.
//!
//! Owns: participants, tracks, slots and wishes as they look on the wire.
//! Never: validates against live state; that is the server's work.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// Audio or video (RFC 8866 media types).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum MediaKind {
    /// An `m=audio` section.
    Audio,
    /// An `m=video` section.
    Video,
}

/// What a track shows or carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// A microphone (audio).
    Microphone,
    /// A camera (video).
    Camera,
    /// A shared screen, window or tab (video).
    Screen,
    /// The sound of a shared screen, window or tab (audio).
    ScreenAudio,
}

impl Source {
    /// The media kind that this source must be sent as.
    #[must_use]
    pub fn kind(self) -> MediaKind {
        match self {
            Self::Microphone | Self::ScreenAudio => MediaKind::Audio,
            Self::Camera | Self::Screen => MediaKind::Video,
        }
    }
}

/// Which of a participant's two transports (peer connections) is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum TransportRole {
    /// The client sends media on it, the server receives.
    Send,
    /// The client receives media on it: its m-lines are the client's slots.
    Receive,
}

/// An SDP body (RFC 8866). Offers travel to the server, answers to the client, never the reverse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct SessionDescription {
    /// The SDP text, as from `RTCSessionDescription.sdp`.
    pub sdp: String,
}

/// What the client says of a track it publishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct TrackDeclaration {
    /// The client's own id of the track; echoed in [`Track::client_id`]. 1 to 64 bytes.
    pub client_id: String,
    /// What the track carries; decides its media kind.
    pub source: Source,
    /// The `a=mid` of the m-line on the *send* transport that carries it.
    pub mid: String,
    /// Whether it starts muted (published, but silent or black by intent); false when absent.
    #[ts(as = "Option<bool>", optional)]
    #[serde(default)]
    pub muted: bool,
    /// Its encodings, lowest quality first; at most 4. Absent: the server goes by what it sees.
    #[ts(as = "Option<Vec<Encoding>>", optional)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub encodings: Vec<Encoding>,
    /// Whether its payloads are encrypted end to end: the server then goes by header extensions
    /// alone; false when absent.
    #[ts(as = "Option<bool>", optional)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub encrypted: bool,
}

/// One encoding of a video track (W3C WebRTC `RTCRtpEncodingParameters`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Encoding {
    /// Its RID (RFC 8851), 1 to 8 characters; absent for the only encoding of a track.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rid: Option<String>,
    /// The width of its pictures in pixels.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub width: Option<u32>,
    /// The height of its pictures in pixels.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub height: Option<u32>,
    /// The most that it takes, in bit/s.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_bitrate: Option<u32>,
    /// The most frames in a second.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_framerate: Option<u32>,
}

/// Whether one encoding of a published track is wanted by anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct EncodingDemand {
    /// Its RID; absent for the only encoding of a track.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rid: Option<String>,
    /// Whether it should be sent.
    pub active: bool,
}

/// A quality of a track: resolution first, frame rate second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    /// Which picture size, from 0: a simulcast encoding or an SVC spatial layer.
    pub spatial: u8,
    /// Which frame rate of that size, from 0.
    pub temporal: u8,
}

/// Why a slot gets what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum SlotReason {
    /// It has what was wished.
    Wish,
    /// The path to this client does not carry more.
    Bandwidth,
    /// The publisher does not send what was wished.
    NotPublished,
    /// A keyframe of what it should get has not come yet.
    NoKeyframe,
    /// This client does not show it.
    Hidden,
    /// The publisher muted it.
    Muted,
    /// This client did not offer the codec.
    Codec,
    /// A reason that this version has no word for.
    Unknown,
}

/// A published track, as every participant sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Track {
    /// The server's id of the track, unique in its call.
    pub track_id: String,
    /// The publisher's own id of it.
    pub client_id: String,
    /// What it carries.
    pub source: Source,
    /// Whether its publisher muted it.
    pub muted: bool,
    /// Whether its payloads are encrypted end to end; false when absent.
    #[ts(as = "Option<bool>", optional)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub encrypted: bool,
}

/// Whether a participant's app is reachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum Connection {
    /// The app's WebSocket is open.
    Connected,
    /// The app's WebSocket is gone; it may resume within the grace time.
    Reconnecting,
}

/// One participant of a call, as every other participant sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Participant {
    /// Unique in the call, and the same over a resume.
    pub participant_id: String,
    /// The 32-bit value that this participant's packets carry as CSRC (RFC 3550 §5.1) in slots.
    pub csrc: u32,
    /// The identity named by the access token's `sub`.
    pub identity: String,
    /// The name to show; may be empty.
    pub display_name: String,
    /// Whether the participant's app is reachable now.
    pub connection: Connection,
    /// What the participant publishes.
    pub tracks: Vec<Track>,
}

/// What a slot is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum SlotState {
    /// No track is assigned.
    Empty,
    /// A track is assigned; its first packet (for video: its keyframe) has not come yet.
    Waiting,
    /// Packets of the assigned track are forwarded.
    Active,
    /// A track is assigned but deliberately not forwarded (bandwidth, wish).
    Paused,
    /// A track is assigned, but this client did not offer the codec that it is sent in.
    CodecNotSupported,
}

/// One receive slot: an m-line of the client's *receive* transport.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Slot {
    /// The `a=mid` of the slot's m-line.
    pub mid: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// The slot's index among the slots of its kind, from 0, in m-line order.
    pub index: u32,
    /// Whose track is assigned, if any.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub participant_id: Option<String>,
    /// Which track is assigned, if any.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub track_id: Option<String>,
    /// What the slot is doing.
    pub state: SlotState,
    /// The layer that it is for (video slots).
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub layer: Option<Layer>,
    /// Why not more (video slots that hold a track).
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<SlotReason>,
}

/// A policy by which the server fills a video slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum Follow {
    /// The camera of whoever speaks.
    ActiveSpeaker,
    /// The screen that is shared (the newest, if several are).
    ScreenShare,
}

/// What the client wants one video slot to show. Exactly one of `trackId` and `follow` is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct SlotWish {
    /// The `a=mid` of a video slot.
    pub mid: String,
    /// Show this track.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub track_id: Option<String>,
    /// Show whatever this policy chooses.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub follow: Option<Follow>,
    /// The width at which it will be shown, in physical pixels; a hint.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub width: Option<u32>,
    /// The height at which it will be shown, in physical pixels; a hint. A side of 0 means that it
    /// is not visible: nothing is sent.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub height: Option<u32>,
    /// The most frames in a second that are of use; a hint.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_framerate: Option<u32>,
    /// Higher is served first when bandwidth is short; 0 when absent.
    #[ts(as = "Option<u8>", optional)]
    #[serde(default)]
    pub priority: u8,
}

/// An access scope (ACS words).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
pub enum Scope {
    /// May start calls and join them.
    #[serde(rename = "voip")]
    Voip,
    /// May only join calls that run.
    #[serde(rename = "voip.join")]
    VoipJoin,
}

/// As what somebody is in a scheduled room (ACS words).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
pub enum Role {
    /// May do everything.
    Presenter,
    /// May do everything but run the call.
    Collaborator,
    /// May speak, be seen and send data, but not share its screen.
    Attendee,
    /// May see and hear only.
    Consumer,
}

/// Limits the client should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// The largest accepted WebSocket message, in bytes; larger ones close the socket (1009).
    pub max_message_bytes: u32,
    /// How many audio slots a client should offer.
    pub audio_slots: u32,
    /// How many video slots a client should offer.
    pub video_slots: u32,
}

/// An `RTCIceServer` (W3C WebRTC §4.2.4) to hand to the peer connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct IceServer {
    /// `stun:` and `turn:` URLs.
    pub urls: Vec<String>,
    /// TURN user name.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub username: Option<String>,
    /// TURN password.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub credential: Option<String>,
}
