//! What one video packet says about layers, and how its numbers are rewritten for a receiver.
//!
//! Owns: reading payload descriptors ([`vp8`], [`vp9`], [`h264`], [`av1`]) and the dependency
//! descriptor ([`descriptor`]) into one summary ([`FrameInfo`]); the choice of packets for a wished
//! layer ([`Selector`]); numbering that closes up over dropped packets ([`numbers`]).
//! Never: touches a transport, reads a clock, or lets a malformed packet cost more than itself.
//!
//! One [`Reader`] belongs to one encoding (one SSRC) of a track and reads each packet once; one
//! [`Selector`] belongs to one subscription and judges each summary. Simulcast and scalable coding
//! differ only in what a [`Layer`]'s spatial part counts: encodings, or layers of the one encoding.
//!
//! RFC 7741 (VP8), RFC 9628 (VP9), RFC 6184 (H.264), the AV1 RTP specification.

mod av1;
mod bits;
pub(crate) mod descriptor;
mod frame;
mod h264;
mod header;
pub(crate) mod numbers;
mod read;
mod select;
mod vp8;
mod vp9;

pub(crate) use crate::api::Layer;
pub(crate) use frame::{FrameInfo, Payload};
#[cfg(test)]
pub(crate) use frame::{Keyframe, Targets, UpSwitch};
pub(crate) use header::{PictureId, Prefix};
pub(crate) use numbers::{FrameMap, SeqMap, Shift};
pub(crate) use read::{Packet, Reader};
pub(crate) use select::{Selector, Verdict};
pub(crate) use vp8::{Vp8, Vp8Edit};
pub(crate) use vp9::{Vp9, Vp9Edit};

impl Layer {
    /// Not above `bound` in either part.
    pub(crate) fn is_within(self, bound: Self) -> bool {
        self.spatial <= bound.spatial && self.temporal <= bound.temporal
    }

    /// The lower of each part.
    pub(crate) fn meet(self, other: Self) -> Self {
        Self {
            spatial: self.spatial.min(other.spatial),
            temporal: self.temporal.min(other.temporal),
        }
    }
}

#[cfg(test)]
mod tests;
