//! What the shards of one call tell each other: plain data, whatever carries it.
//!
//! Owns: the messages of a relay and their parts.
//! Never: sends or receives; shells carry messages, rooms write and read them.
//!
//! A call that outgrows its worker has a room on each of several workers: its **shards**. Each holds
//! its own participants and mirrors those of the others. Shards are linked each with each, and what
//! came over a link goes over no other: there are no loops to be broken. Messages of one link must
//! arrive in order, media may be lost.

use std::sync::Arc;
use std::time::Duration;

use super::{
    EncodingDeclaration, Layer, LeaveReason, MediaKind, ParticipantView, Reliability, RoomChange,
};
use crate::ids::{ParticipantId, RoomId, TrackId};
use crate::transport::MediaPacket;

/// Spatial layers (or simulcast encodings) of one track at most.
pub const SPATIAL_LAYERS_MAX: usize = 4;

/// A message from one shard to another.
#[derive(Debug, Clone)]
pub struct Relay {
    /// The shard that it is for.
    pub to: RoomId,
    /// The shard that says it.
    pub from: RoomId,
    /// What it says.
    pub message: RelayMessage,
}

/// What a shard says to another.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RelayMessage {
    /// Everyone on the sender's shard; whatever was told before is replaced. Sent when a link comes
    /// up, and again where messages were lost.
    Snapshot {
        /// The participants, in order of joining.
        participants: Vec<ParticipantView>,
        /// What is known of their tracks.
        ladders: Vec<Ladder>,
        /// Whether the sender wants the other's in return.
        answer: bool,
    },
    /// The sender's own roster changed.
    Change {
        /// What.
        change: RoomChange,
        /// With [`RoomChange::TrackPublished`]: what is known of the track.
        ladder: Option<Ladder>,
    },
    /// What is known of a track of the sender's changed.
    Ladder(Ladder),
    /// One packet of a track of the sender's, as its publisher sent it.
    Media {
        /// The track.
        track: TrackId,
        /// The encoding that it is of, as the track's [`Ladder`] counts.
        encoding: u8,
        /// Packets of the same encoding, since the last that crossed, which nobody on the other side
        /// wants: numbering closes up over them.
        withheld: Vec<Withheld>,
        /// The packet.
        packet: Arc<RelayPacket>,
    },
    /// What the sender wants of a track of the receiver's; replaces what it wanted before.
    Want {
        /// The track.
        track: TrackId,
        /// Which of its layers are to cross.
        layers: WantedLayers,
        /// The best that its publisher should send for the sender's sake, though it need not cross
        /// yet.
        upstream: Option<Layer>,
    },
    /// Someone on the sender's shard needs a keyframe of a track of the receiver's.
    Keyframe {
        /// The track.
        track: TrackId,
        /// Of this spatial layer (simulcast: encoding).
        spatial: u8,
        /// Whether someone waits for it to be switched to it, and does not merely lack packets.
        waiting: bool,
    },
    /// A data message of a participant on the sender's shard.
    Data {
        /// Who sent it.
        from: ParticipantId,
        /// For whom on the receiver's shard; everyone when absent.
        to: Option<Vec<ParticipantId>>,
        /// How hard it is tried.
        reliability: Reliability,
        /// What it is about.
        topic: Arc<str>,
        /// What it says.
        payload: Arc<[u8]>,
    },
    /// The link ends: the sender's participants are gone, and it wants nothing any more.
    Bye {
        /// Why those go that the receiver still has.
        reason: LeaveReason,
    },
}

impl RelayMessage {
    /// Whether it may be lost: all but media and lossy data must arrive, and in order.
    #[must_use]
    pub fn may_be_lost(&self) -> bool {
        matches!(self, Self::Media { .. } | Self::Data { reliability: Reliability::Lossy, .. })
    }
}

/// A media packet as it crosses. Opaque; its payload is shared, never copied.
#[derive(Debug)]
pub struct RelayPacket(pub(crate) MediaPacket);

impl RelayPacket {
    /// Audio or video.
    #[must_use]
    pub fn kind(&self) -> MediaKind {
        if self.0.codec.is_audio() { MediaKind::Audio } else { MediaKind::Video }
    }

    /// The size of its payload, in bytes.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.0.payload.len()
    }

    /// The publisher's SSRC.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        self.0.ssrc
    }

    /// The publisher's sequence number, extended (RFC 3711 §3.3.1).
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.0.seq
    }
}

/// Consecutive packets of one frame that do not cross.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Withheld {
    /// The first one's extended sequence number.
    pub seq: u64,
    /// How many.
    pub count: u16,
    /// Their RTP timestamp.
    pub time: u32,
    /// Their VP8 or VP9 picture id.
    pub picture_id: Option<u16>,
    /// Their layer.
    pub layer: Layer,
}

/// What is known of a track's layers where it is published.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ladder {
    /// The track.
    pub track: TrackId,
    /// Its encodings, lowest first; at most [`SPATIAL_LAYERS_MAX`].
    pub encodings: Vec<EncodingDeclaration>,
    /// Its layers, lowest first; none for audio.
    pub rungs: Vec<LadderRung>,
}

/// One layer of a [`Ladder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LadderRung {
    /// Which.
    pub layer: Layer,
    /// What it takes, in bit/s on the wire.
    pub bitrate_bps: u64,
    /// Width in pixels; 0 if not known.
    pub width: u32,
    /// Height in pixels; 0 if not known.
    pub height: u32,
    /// Frames in a second; 0 if not known.
    pub fps: u32,
    /// Whether the publisher sends it now.
    pub flowing: bool,
}

/// For each spatial layer of a track (or simulcast encoding) the highest temporal layer that is
/// wanted. Audio is wanted where the first is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WantedLayers(pub [Option<u8>; SPATIAL_LAYERS_MAX]);

impl WantedLayers {
    /// All there is of an audio track.
    pub const AUDIO: Self = Self([Some(0), None, None, None]);

    /// Whether nothing is wanted.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Wants this layer too.
    pub fn add(&mut self, layer: Layer) {
        if let Some(temporal) = self.0.get_mut(usize::from(layer.spatial)) {
            *temporal = (*temporal).max(Some(layer.temporal));
        }
    }

    /// Whether `other` wants nothing beyond this.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).all(|(mine, other)| *mine >= other)
    }

    /// Whether a packet of `layer` is needed. In one encoding with several spatial layers (not
    /// `simulcast`) the higher build on the lower.
    #[must_use]
    pub fn includes(&self, layer: Layer, simulcast: bool) -> bool {
        let above = if simulcast { 1 } else { SPATIAL_LAYERS_MAX };
        let from = self.0.iter().skip(usize::from(layer.spatial)).take(above);
        from.flatten().any(|temporal| layer.temporal <= *temporal)
    }

    /// Whether any packets are needed of the encoding that carries `layer`.
    #[must_use]
    pub fn includes_encoding_of(&self, layer: Layer, simulcast: bool) -> bool {
        if simulcast {
            self.0.get(usize::from(layer.spatial)).is_some_and(Option::is_some)
        } else {
            !self.is_nothing()
        }
    }
}

/// Why a relay message was dropped; counted in [`super::Stats::relay_drops`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum RelayDrop {
    /// For a shard that does not exist (any more).
    NoSuchRoom,
    /// From a shard that the addressed one is not linked to.
    NotLinked,
    /// It names what the addressed shard itself, or a third one, published: it went in a circle.
    Echo,
    /// About a track or participant that is not known (any more).
    Unknown,
    /// Media of a track that is muted.
    Muted,
    /// Media whose payload descriptor cannot be read, or of an encoding that the track has not.
    Unreadable,
}

impl RelayDrop {
    /// All of them, in the order of [`super::Stats::relay_drops`].
    pub const ALL: [Self; 6] = [
        Self::NoSuchRoom,
        Self::NotLinked,
        Self::Echo,
        Self::Unknown,
        Self::Muted,
        Self::Unreadable,
    ];

    /// The metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NoSuchRoom => "no_such_room",
            Self::NotLinked => "not_linked",
            Self::Echo => "echo",
            Self::Unknown => "unknown",
            Self::Muted => "muted",
            Self::Unreadable => "unreadable",
        }
    }
}

/// A smaller want than the last one told is told only when it has been so for this long: what is
/// let go of too soon must be asked for again.
pub(crate) const WANT_LESS_AFTER: Duration = Duration::from_millis(900);

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(spatial: u8, temporal: u8) -> Layer {
        Layer { spatial, temporal }
    }

    #[test]
    fn wanted_layers_are_a_set_for_simulcast_and_a_bound_for_scalable_coding() {
        let mut wanted = WantedLayers::default();
        assert!(wanted.is_nothing());
        wanted.add(layer(0, 1));
        wanted.add(layer(2, 0));
        wanted.add(layer(9, 0));
        assert!(wanted.covers(&WantedLayers::AUDIO) && !WantedLayers::AUDIO.covers(&wanted));
        assert!(wanted.includes(layer(0, 1), true) && wanted.includes(layer(2, 0), true));
        for other in [layer(0, 2), layer(1, 0), layer(2, 1), layer(3, 0), layer(9, 0)] {
            assert!(!wanted.includes(other, true), "{other:?}");
        }
        for (within, expected) in [
            (layer(0, 1), true),
            (layer(1, 0), true),
            (layer(2, 0), true),
            (layer(1, 1), false),
            (layer(3, 0), false),
        ] {
            assert_eq!(wanted.includes(within, false), expected, "{within:?}");
        }
        assert!(!wanted.includes_encoding_of(layer(1, 0), true));
        assert!(wanted.includes_encoding_of(layer(3, 0), false));
    }
}
