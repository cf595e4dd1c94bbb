//! Which quality goes where, and why: encodings, layers, demand and their explanation, as data.
//!
//! Owns: the words in which the core tells publishers what is wanted and subscribers what they get.
//! Never: decides; that is the allocator's and the room's.

use std::sync::Arc;
use std::time::Duration;

use super::SlotState;
use crate::ids::{Mid, ParticipantId, Rid, TrackId};

/// A quality of a track: resolution first, frame rate second.
///
/// `spatial` counts simulcast encodings (lowest first) or the spatial layers of one encoding,
/// `temporal` its temporal layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Layer {
    /// Which picture size, from 0: a simulcast encoding or an SVC spatial layer.
    pub spatial: u8,
    /// Which frame rate of that size, from 0.
    pub temporal: u8,
}

/// What a publisher says of one encoding of a track (W3C WebRTC, `RTCRtpEncodingParameters`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EncodingDeclaration {
    /// Its RID (RFC 8851), if the track has several encodings.
    pub rid: Option<Rid>,
    /// The width of its pictures in pixels, if known.
    pub width: Option<u32>,
    /// The height of its pictures in pixels, if known.
    pub height: Option<u32>,
    /// The most that it takes, in bit/s.
    pub max_bitrate_bps: Option<u64>,
    /// The most frames in a second.
    pub max_frame_rate: Option<u32>,
}

/// Whether one encoding of a published track is wanted by anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodingDemand {
    /// Which; `None` for the only one.
    pub rid: Option<Rid>,
    /// Whether it should be sent.
    pub active: bool,
}

/// Why a slot gets what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SlotReason {
    /// It has what was wished.
    Wish,
    /// The subscriber's path does not carry more.
    Bandwidth,
    /// The publisher does not send what was wished.
    NotPublished,
    /// A keyframe of what it should get has not come yet.
    NoKeyframe,
    /// The subscriber does not show it.
    Hidden,
    /// The publisher muted it.
    Muted,
    /// The subscriber did not offer the codec.
    Codec,
}

/// What one participant sends and receives, and why.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Explanation {
    /// What the path toward the participant is estimated to carry, in bit/s; `None` where nobody
    /// estimates.
    pub estimate_bps: Option<u64>,
    /// What its video slots are counted with, in bit/s.
    pub allocated_bps: u64,
    /// What all its wishes and audio would take, with headroom, in bit/s.
    pub desired_bps: u64,
    /// What is set aside for audio, in bit/s.
    pub audio_bps: u64,
    /// The round trip on the receive transport.
    pub rtt: Option<Duration>,
    /// The share of packets toward the participant that was lost lately, 0 to 1.
    pub loss: Option<f32>,
    /// Its slots, in m-line order.
    pub slots: Vec<SlotExplanation>,
    /// What it publishes.
    pub tracks: Vec<TrackExplanation>,
}

/// One slot of an [`Explanation`].
#[derive(Debug, Clone, PartialEq)]
pub struct SlotExplanation {
    /// The m-line of the receive transport.
    pub mid: Mid,
    /// What is assigned.
    pub assigned: Option<(ParticipantId, TrackId)>,
    /// What it is doing.
    pub state: SlotState,
    /// Why not more (video slots that hold a track).
    pub reason: Option<SlotReason>,
    /// The wished width and height in pixels.
    pub wished: (Option<u32>, Option<u32>),
    /// The wish's priority.
    pub priority: u8,
    /// What was allocated to it.
    pub allocated: Option<Layer>,
    /// What is forwarded now.
    pub layer: Option<Layer>,
    /// The size of what is forwarded, if known.
    pub size: Option<(u32, u32)>,
    /// What it is counted with, in bit/s.
    pub bitrate_bps: u64,
    /// Since the last keyframe that was forwarded.
    pub last_keyframe: Option<Duration>,
}

/// One published track of an [`Explanation`].
#[derive(Debug, Clone, PartialEq)]
pub struct TrackExplanation {
    /// Its id.
    pub track: TrackId,
    /// The publisher's own id.
    pub client_id: Arc<str>,
    /// The best that anybody wants of it.
    pub wanted: Option<Layer>,
    /// Its encodings, lowest first.
    pub encodings: Vec<EncodingExplanation>,
}

/// One encoding of a [`TrackExplanation`].
#[derive(Debug, Clone, PartialEq)]
pub struct EncodingExplanation {
    /// Its RID, if there are several.
    pub rid: Option<Rid>,
    /// Its picture size, if known.
    pub size: Option<(u32, u32)>,
    /// Measured, in bit/s on the wire.
    pub bitrate_bps: u64,
    /// Measured frames in a second.
    pub frame_rate: u32,
    /// Whether it comes in now.
    pub flowing: bool,
    /// Keyframes asked for so far.
    pub keyframe_requests: u64,
}
