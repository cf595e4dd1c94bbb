//! The dependency descriptor: what layers a packet is of, said outside the payload.
//!
//! Owns: the header extension of the AV1 RTP specification, Appendix A, which Chromium sends with
//! every video codec: reading ([`read`]), writing ([`mod@write`]), and the structure to which its
//! packets refer ([`structure`]).
//! Never: looks at a payload; this works with encrypted ones.
//!
//! ```text
//! |S|E| template  | frame number (16)             |  always: first and last packet of the frame
//! |T|A|D|F|C| ...                                  |  if longer: structure, active decode targets,
//!                                                     own DTIs, frame diffs and chain diffs
//! ```
//! A packet names a template; the structure, sent with keyframes, says what it means. Before the
//! structure has come a packet is not understood, which is no error.

pub(crate) mod read;
pub(crate) mod structure;
pub(crate) mod write;

pub(crate) use read::{Descriptor, Understood};
pub(crate) use structure::{Structure, Structures};
pub(crate) use write::{Edit, rewrite};

/// Its name in SDP.
pub(crate) const URI: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

/// dt_cnt_minus_one is five bits.
pub(crate) const TARGETS_MAX: usize = 32;
/// Templates are named by six bits.
pub(crate) const TEMPLATES_MAX: usize = 64;
/// As the specification's MaxSpatialId and MaxTemporalId: ids are two and three bits.
pub(crate) const SPATIAL_MAX: u8 = 4;
pub(crate) const TEMPORAL_MAX: u8 = 8;
/// A frame refers to at most as many others as a decoder keeps (eight in AV1 and VP9).
pub(crate) const REFERENCES_MAX: usize = 8;

/// How a frame stands to a decode target (A.8.3, frame_dependency_definition).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Indication {
    /// Not part of it.
    NotPresent,
    /// Part of it, and no other frame of it refers to this one.
    Discardable,
    /// Once this frame can be decoded, so can all later ones of the target.
    Switch,
    /// Part of it.
    Required,
}

/// The indications of a frame, two bits for each decode target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Indications(u64);

impl Indications {
    pub(crate) fn get(self, target: usize) -> Indication {
        let shift = u32::try_from(2 * target).unwrap_or(u32::MAX);
        match self.0.checked_shr(shift).unwrap_or(0) & 3 {
            0 => Indication::NotPresent,
            1 => Indication::Discardable,
            2 => Indication::Switch,
            _ => Indication::Required,
        }
    }

    pub(super) fn set(&mut self, target: usize, bits: u8) {
        if target < TARGETS_MAX {
            self.0 |= u64::from(bits & 3) << (2 * target);
        }
    }

    fn bits(self, target: usize) -> u32 {
        match self.get(target) {
            Indication::NotPresent => 0,
            Indication::Discardable => 1,
            Indication::Switch => 2,
            Indication::Required => 3,
        }
    }
}

/// How many frames back a frame's references lie, in frame numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct References {
    diffs: [u16; REFERENCES_MAX],
    count: u8,
}

impl References {
    pub(super) fn push(&mut self, diff: u16) -> Option<()> {
        *self.diffs.get_mut(usize::from(self.count))? = diff;
        self.count += 1;
        Some(())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> {
        self.diffs.into_iter().take(self.count.into())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }
}
