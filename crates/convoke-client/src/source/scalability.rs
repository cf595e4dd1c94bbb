//! Which frames a layered stream has, and which of them need which.
//!
//! Owns: the patterns of Chromium's encoders for each scalability mode (W3C WebRTC-SVC), in the terms
//! of the dependency descriptor: templates, decode targets, chains.
//! Never: writes bytes, or knows a codec but for VP8's own pattern.

use crate::media::Codec;

/// How an encoding is layered (W3C WebRTC-SVC §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Scalability {
    /// One layer.
    #[default]
    L1T1,
    /// Three temporal layers.
    L1T3,
    /// Three spatial and three temporal layers.
    L3T3,
    /// The same, with prediction between spatial layers at keyframes only.
    L3T3Key,
}

impl Scalability {
    /// Spatial layers.
    #[must_use]
    pub fn spatial_layers(self) -> u8 {
        match self {
            Self::L1T1 | Self::L1T3 => 1,
            Self::L3T3 | Self::L3T3Key => 3,
        }
    }

    /// Temporal layers.
    #[must_use]
    pub fn temporal_layers(self) -> u8 {
        match self {
            Self::L1T1 => 1,
            Self::L1T3 | Self::L3T3 | Self::L3T3Key => 3,
        }
    }
}

/// One kind of frame.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) spatial: u8,
    pub(super) temporal: u8,
    /// For each decode target: not present, discardable, switch or required.
    pub(super) indications: &'static str,
    /// How many frames back its references lie.
    pub(super) references: &'static [u16],
    /// How many frames back each chain's last frame lies.
    pub(super) chains: &'static [u8],
}

/// The course of a stream.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) templates: &'static [Template],
    /// The chain that protects each decode target; empty without chains.
    pub(super) protected_by: &'static [u8],
    /// The templates of a keyframe's picture, by spatial layer.
    pub(super) key: &'static [usize],
    /// The templates of each picture of a period, by spatial layer; a keyframe stands in for the
    /// first.
    pub(super) period: &'static [&'static [usize]],
    /// The pictures of a period that need the base layer only, though they are above it.
    pub(super) syncs: &'static [usize],
}

impl Pattern {
    pub(super) fn of(mode: Scalability, codec: Codec) -> &'static Self {
        match (mode, codec) {
            (Scalability::L1T1, _) => &L1T1,
            (Scalability::L1T3, Codec::Vp8) => &L1T3_VP8,
            (Scalability::L1T3, _) => &L1T3,
            (Scalability::L3T3, _) => &L3T3,
            (Scalability::L3T3Key, _) => &L3T3_KEY,
        }
    }

    pub(super) fn decode_targets(&self) -> usize {
        self.templates.first().map_or(0, |template| template.indications.len())
    }

    pub(super) fn chains(&self) -> usize {
        self.templates.first().map_or(0, |template| template.chains.len())
    }
}

const fn t(
    spatial: u8,
    temporal: u8,
    indications: &'static str,
    references: &'static [u16],
    chains: &'static [u8],
) -> Template {
    Template { spatial, temporal, indications, references, chains }
}

static L1T1: Pattern = Pattern {
    templates: &[t(0, 0, "S", &[], &[0]), t(0, 0, "S", &[1], &[1])],
    protected_by: &[0],
    key: &[0],
    period: &[&[1]],
    syncs: &[],
};

static L1T3: Pattern = Pattern {
    templates: &[
        t(0, 0, "SSS", &[], &[0]),
        t(0, 0, "SSS", &[4], &[4]),
        t(0, 1, "-DS", &[2], &[2]),
        t(0, 2, "--D", &[1], &[1]),
        t(0, 2, "--D", &[1], &[3]),
    ],
    protected_by: &[0, 0, 0],
    key: &[0],
    period: &[&[1], &[3], &[2], &[4]],
    syncs: &[1, 2],
};

/// libvpx: only every other group can be joined from the base layer.
static L1T3_VP8: Pattern = Pattern {
    templates: &[
        t(0, 0, "SSS", &[], &[]),
        t(0, 0, "SSS", &[4], &[]),
        t(0, 0, "SRR", &[4], &[]),
        t(0, 1, "-SS", &[2], &[]),
        t(0, 1, "-DS", &[4, 2], &[]),
        t(0, 2, "--D", &[1], &[]),
        t(0, 2, "--D", &[3, 1], &[]),
    ],
    protected_by: &[],
    key: &[0],
    period: &[&[1], &[5], &[3], &[5], &[2], &[6], &[4], &[5]],
    syncs: &[1, 2],
};

static L3T3: Pattern = Pattern {
    templates: &[
        t(0, 0, "SSSRRRRRR", &[12], &[12, 11, 10]),
        t(0, 0, "SSSSSSSSS", &[], &[0, 0, 0]),
        t(0, 1, "-DS-RR-RR", &[6], &[6, 5, 4]),
        t(0, 2, "--D--R--R", &[3], &[3, 2, 1]),
        t(0, 2, "--D--R--R", &[3], &[9, 8, 7]),
        t(1, 0, "---SSSRRR", &[12, 1], &[1, 1, 1]),
        t(1, 0, "---SSSSSS", &[1], &[1, 1, 1]),
        t(1, 1, "----DS-RR", &[6, 1], &[7, 6, 5]),
        t(1, 2, "-----D--R", &[3, 1], &[4, 3, 2]),
        t(1, 2, "-----D--R", &[3, 1], &[10, 9, 8]),
        t(2, 0, "------SSS", &[12, 1], &[2, 1, 1]),
        t(2, 0, "------SSS", &[1], &[2, 1, 1]),
        t(2, 1, "-------DS", &[6, 1], &[8, 7, 6]),
        t(2, 2, "--------D", &[3, 1], &[5, 4, 3]),
        t(2, 2, "--------D", &[3, 1], &[11, 10, 9]),
    ],
    protected_by: &[0, 0, 0, 1, 1, 1, 2, 2, 2],
    key: &[1, 6, 11],
    period: &[&[0, 5, 10], &[3, 8, 13], &[2, 7, 12], &[4, 9, 14]],
    syncs: &[1, 2],
};

static L3T3_KEY: Pattern = Pattern {
    templates: &[
        t(0, 0, "SSSSSSSSS", &[], &[0, 0, 0]),
        t(0, 0, "SSS------", &[12], &[12, 11, 10]),
        t(0, 1, "-DS------", &[6], &[6, 5, 4]),
        t(0, 2, "--D------", &[3], &[3, 2, 1]),
        t(0, 2, "--D------", &[3], &[9, 8, 7]),
        t(1, 0, "---SSSSSS", &[1], &[1, 1, 1]),
        t(1, 0, "---SSS---", &[12], &[1, 12, 11]),
        t(1, 1, "----DS---", &[6], &[7, 6, 5]),
        t(1, 2, "-----D---", &[3], &[4, 3, 2]),
        t(1, 2, "-----D---", &[3], &[10, 9, 8]),
        t(2, 0, "------SSS", &[1], &[2, 1, 1]),
        t(2, 0, "------SSS", &[12], &[2, 1, 12]),
        t(2, 1, "-------DS", &[6], &[8, 7, 6]),
        t(2, 2, "--------D", &[3], &[5, 4, 3]),
        t(2, 2, "--------D", &[3], &[11, 10, 9]),
    ],
    protected_by: &[0, 0, 0, 1, 1, 1, 2, 2, 2],
    key: &[0, 5, 10],
    period: &[&[1, 6, 11], &[3, 8, 13], &[2, 7, 12], &[4, 9, 14]],
    syncs: &[1, 2],
};
