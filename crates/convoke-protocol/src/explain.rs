//! What a participant sends and receives, and why: the answer to "why is it blurry".
//!
//! Owns: the body of `explained`.
//! Never: decides anything.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::types::{Layer, SlotReason, SlotState};

/// What one participant sends and receives, and why. All bitrates are in bit/s.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What the path to the participant is estimated to carry; absent where nobody estimates (no
    /// transport-wide congestion control on the receive transport).
    #[ts(optional, type = "number")]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub estimate: Option<u64>,
    /// What its video slots are counted with.
    #[ts(type = "number")]
    pub allocated: u64,
    /// What all its wishes and audio would take, with headroom.
    #[ts(type = "number")]
    pub desired: u64,
    /// What is set aside for audio.
    #[ts(type = "number")]
    pub audio: u64,
    /// The round trip on the receive transport.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rtt_ms: Option<u32>,
    /// The share of packets to the participant that was lost lately, 0 to 1.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub loss: Option<f32>,
    /// Its slots, in m-line order.
    pub slots: Vec<SlotExplanation>,
    /// What it publishes.
    pub tracks: Vec<TrackExplanation>,
}

/// One slot of an [`Explanation`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct SlotExplanation {
    /// The `a=mid` of the slot's m-line.
    pub mid: String,
    /// Whose track is assigned.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub participant_id: Option<String>,
    /// Which track is assigned.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub track_id: Option<String>,
    /// What it is doing.
    pub state: SlotState,
    /// Why not more (video slots that hold a track).
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<SlotReason>,
    /// The wished width.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub wished_width: Option<u32>,
    /// The wished height.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub wished_height: Option<u32>,
    /// The wish's priority.
    pub priority: u8,
    /// What was allocated to it.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub allocated: Option<Layer>,
    /// What is forwarded now.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub layer: Option<Layer>,
    /// The width of what is forwarded, if known.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub width: Option<u32>,
    /// The height of what is forwarded, if known.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub height: Option<u32>,
    /// What it is counted with.
    #[ts(type = "number")]
    pub bitrate: u64,
    /// Milliseconds since the last keyframe that was forwarded.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_keyframe_ms: Option<u32>,
}

/// One published track of an [`Explanation`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct TrackExplanation {
    /// The server's id of the track.
    pub track_id: String,
    /// The publisher's own id of it.
    pub client_id: String,
    /// The best that anybody wants of it; absent when nobody watches.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub wanted: Option<Layer>,
    /// Its encodings, lowest first.
    pub encodings: Vec<EncodingExplanation>,
}

/// One encoding of a [`TrackExplanation`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct EncodingExplanation {
    /// Its RID; absent for the only encoding.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rid: Option<String>,
    /// The width of its pictures, if known.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub width: Option<u32>,
    /// The height of its pictures, if known.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub height: Option<u32>,
    /// Measured.
    #[ts(type = "number")]
    pub bitrate: u64,
    /// Measured frames in a second.
    pub framerate: u32,
    /// Whether it comes in now.
    pub flowing: bool,
    /// Keyframes asked for so far.
    #[ts(type = "number")]
    pub keyframe_requests: u64,
}
