//! The summary of one packet.
//!
//! Owns: [`FrameInfo`], the same for every codec, and what follows from it alone.
//! Never: remembers other packets.

use std::sync::Arc;

use super::descriptor::{Descriptor, Indication, Indications, References, Structure};
use super::{Layer, PictureId, Vp8, Vp9};

/// Whether decoding can begin at a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyframe {
    /// It cannot.
    No,
    /// It depends on nothing.
    Stream,
    /// It depends only on lower spatial layers of the same picture: its layer can be joined from the
    /// next lower one.
    Layer,
}

/// What a payload descriptor says of going up to higher temporal layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpSwitch {
    /// Not here, or not said.
    No,
    /// This frame uses lower temporal layers only: its own can be joined from the next lower one.
    ToThis,
    /// No later frame uses a higher temporal layer's frame from before this one: all can be joined
    /// after it.
    ToAny,
}

/// A frame's place among decode targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Targets {
    pub(crate) structure: Arc<Structure>,
    /// What the packet itself said, for rewriting it.
    pub(crate) descriptor: Arc<Descriptor>,
    pub(crate) indications: Indications,
    pub(crate) references: References,
    /// What the sender sends at all.
    pub(crate) active: u32,
}

/// The numbers of the payload descriptor, with what is needed to rewrite it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Payload {
    Vp8(Vp8),
    Vp9(Vp9),
    /// Nothing to rewrite.
    Plain,
}

/// What one packet says. A *frame* is one spatial layer's part of a *picture*; all packets of a
/// picture share a timestamp (in the dependency descriptor's words, a picture is a temporal unit).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FrameInfo {
    /// Extended sequence number of the source.
    pub(crate) seq: u64,
    /// RTP timestamp of the source: names the picture.
    pub(crate) time: u32,
    /// A later packet of the encoding came before this one.
    pub(crate) is_late: bool,
    /// The simulcast encoding, if the track has several; it is then the spatial layer, whatever the
    /// packet itself says.
    pub(crate) encoding: Option<u8>,
    pub(crate) layer: Layer,
    /// The first packet of its frame.
    pub(crate) starts_frame: bool,
    /// The last packet of its frame.
    pub(crate) ends_frame: bool,
    /// The first packet of the lowest frame of its picture.
    pub(crate) starts_picture: bool,
    /// The last packet of its picture as it was sent (the marker).
    pub(crate) ends_picture: bool,
    /// For VP8, H.264 and AV1 without dependency descriptor known in a frame's first packet only.
    pub(crate) keyframe: Keyframe,
    pub(crate) up_switch: UpSwitch,
    /// No other frame refers to this one.
    pub(crate) discardable: bool,
    /// Uses a lower spatial layer's frame of the same picture.
    pub(crate) inter_layer: bool,
    /// Higher spatial layers' frames of the same picture may use this one.
    pub(crate) used_by_upper: bool,
    /// The highest spatial layer that the encoder says it has.
    pub(crate) top_spatial: Option<u8>,
    pub(crate) picture_id: Option<PictureId>,
    /// TL0PICIDX.
    pub(crate) tl0: Option<u8>,
    /// From the dependency descriptor, 16 bits.
    pub(crate) frame_number: Option<u16>,
    /// From the dependency descriptor. Where it is, it alone decides.
    pub(crate) targets: Option<Targets>,
    pub(crate) payload: Payload,
}

impl FrameInfo {
    /// Whether a receiver can begin with this packet.
    pub(crate) fn starts_keyframe(&self) -> bool {
        self.starts_frame && self.keyframe == Keyframe::Stream
    }

    /// Whether the frame is part of what a receiver at `layer` gets.
    pub(crate) fn is_part_of(&self, layer: Layer) -> bool {
        let Some(within) = self.within_encoding(layer) else { return false };
        match &self.targets {
            Some(targets) => targets
                .structure
                .target(within)
                .is_some_and(|target| targets.indications.get(target) != Indication::NotPresent),
            None if self.encoding.is_some() => self.layer.temporal <= layer.temporal,
            None => {
                let Layer { spatial, temporal } = self.layer;
                temporal <= layer.temporal
                    && (spatial == layer.spatial || spatial < layer.spatial && self.used_by_upper)
            }
        }
    }

    /// `layer` as the packet's own encoding counts; `None` if it is another encoding's.
    pub(super) fn within_encoding(&self, layer: Layer) -> Option<Layer> {
        match self.encoding {
            None => Some(layer),
            Some(encoding) if encoding == layer.spatial => Some(Layer { spatial: 0, ..layer }),
            Some(_) => None,
        }
    }

    /// The inverse of [`Self::within_encoding`].
    pub(super) fn of_track(&self, layer: Layer) -> Layer {
        Layer { spatial: self.encoding.unwrap_or(layer.spatial), ..layer }
    }
}
