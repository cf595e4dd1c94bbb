//! Codecs as the core sees them: identity, compatibility, and what a payload begins.
//!
//! Owns: the codec table and keyframe detection.
//! Never: changes payloads.

use str0m::format::PayloadParams;

/// A codec with what decides whether a receiver can take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Codec {
    /// RFC 7587.
    Opus,
    /// Opus with redundancy (RFC 2198).
    OpusRed,
    /// RFC 7741.
    Vp8,
    /// RFC 9628, with its profile.
    Vp9 { profile: u8 },
    /// RFC 6184, with what its `profile-level-id` means and its packetization mode.
    H264 { profile: H264Profile, mode: u8 },
    /// The AV1 RTP specification, with its profile.
    Av1 { profile: u8 },
}

/// The profile part of a `profile-level-id` (RFC 6184 §8.1), without the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum H264Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
    ConstrainedHigh,
    High,
    Other(u8, u8),
}

impl H264Profile {
    /// From a `profile-level-id` as a number (RFC 6184 §8.1, Table 5).
    pub(crate) fn from_profile_level_id(id: u32) -> Self {
        let [_, idc, iop, _] = id.to_be_bytes();
        match (idc, iop) {
            (0x42, i) if i & 0x4f == 0x40 => Self::ConstrainedBaseline,
            (0x4d, i) if i & 0x8f == 0x80 => Self::ConstrainedBaseline,
            (0x58, i) if i & 0xcf == 0xc0 => Self::ConstrainedBaseline,
            (0x42, i) if i & 0x4f == 0x00 => Self::Baseline,
            (0x58, i) if i & 0xcf == 0x80 => Self::Baseline,
            (0x4d, i) if i & 0xaf == 0x00 => Self::Main,
            (0x64, 0x00) => Self::High,
            (0x64, 0x0c) => Self::ConstrainedHigh,
            _ => Self::Other(idc, iop),
        }
    }

    /// Whether a decoder of `self` decodes a stream of `stream` (RFC 6184 §8.1: a profile decodes
    /// its subsets).
    fn decodes(self, stream: Self) -> bool {
        use H264Profile::{Baseline, ConstrainedBaseline, ConstrainedHigh, High, Main};
        self == stream
            || matches!(
                (self, stream),
                (Baseline | Main | ConstrainedHigh | High, ConstrainedBaseline)
                    | (High, Main | ConstrainedHigh)
            )
    }
}

impl Codec {
    pub(crate) fn of(params: &PayloadParams) -> Option<Self> {
        use str0m::format::Codec as Theirs;
        let spec = params.spec();
        let format = &spec.format;
        let profile = |p: Option<u32>| u8::try_from(p.unwrap_or(0)).unwrap_or(u8::MAX);
        Some(match spec.codec {
            Theirs::Opus => Self::Opus,
            Theirs::Vp8 => Self::Vp8,
            Theirs::Vp9 => Self::Vp9 { profile: profile(format.profile_id) },
            Theirs::H264 => Self::H264 {
                // RFC 6184 §8.1: without a profile-level-id, Baseline at level 1.
                profile: H264Profile::from_profile_level_id(
                    format.profile_level_id.unwrap_or(0x42_00_0a),
                ),
                mode: format.packetization_mode.unwrap_or(0),
            },
            Theirs::Av1 => Self::Av1 { profile: format.profile.unwrap_or(0) },
            _ => return None,
        })
    }

    /// RTP clock rate in Hz.
    pub(crate) fn clock_rate(self) -> u32 {
        match self {
            Self::Opus | Self::OpusRed => 48_000,
            Self::Vp8 | Self::Vp9 { .. } | Self::H264 { .. } | Self::Av1 { .. } => 90_000,
        }
    }

    pub(crate) fn is_audio(self) -> bool {
        matches!(self, Self::Opus | Self::OpusRed)
    }

    /// Whether a receiver that negotiated `self` can decode a stream of `stream`.
    pub(crate) fn decodes(self, stream: Self) -> bool {
        match (self, stream) {
            (
                Self::H264 { profile: mine, mode: my_mode },
                Self::H264 { profile: theirs, mode: their_mode },
            ) => my_mode == their_mode && mine.decodes(theirs),
            // Redundancy is taken off for it.
            (Self::Opus, Self::OpusRed) => true,
            (mine, theirs) => mine == theirs,
        }
    }

    /// Whether a receiver can start decoding at this packet: the first packet of a keyframe, for
    /// H.264 the one with the parameter sets.
    pub(crate) fn starts_keyframe(self, payload: &[u8]) -> bool {
        match self {
            Self::Opus | Self::OpusRed => true,
            Self::Vp8 => str0m::format::detect_vp8_keyframe(payload),
            Self::Vp9 { .. } => vp9_starts_keyframe(payload),
            Self::H264 { .. } => h264_has_sps(payload),
            Self::Av1 { .. } => str0m::format::detect_av1_keyframe(payload),
        }
    }
}

/// Whether a VP9 payload begins a frame (B) that is not predicted from another picture (P); every
/// packet of a keyframe has P clear, but a receiver can use it from its first only (RFC 9628 §4.2).
fn vp9_starts_keyframe(payload: &[u8]) -> bool {
    payload.first().is_some_and(|flags| flags & 0x08 != 0 && flags & 0x40 == 0)
}

/// Whether an H.264 payload holds a sequence parameter set: alone, in a STAP-A, or at the start of
/// an FU-A (RFC 6184 §5.6-5.8).
fn h264_has_sps(payload: &[u8]) -> bool {
    const SPS: u8 = 7;
    const STAP_A: u8 = 24;
    const FU_A: u8 = 28;
    let Some((first, rest)) = payload.split_first() else { return false };
    match first & 0x1f {
        SPS => true,
        STAP_A => {
            let mut rest = rest;
            while let [high, low, tail @ ..] = rest {
                let size = usize::from(u16::from_be_bytes([*high, *low]));
                if tail.first().is_some_and(|nal| nal & 0x1f == SPS) && size > 0 {
                    return true;
                }
                let Some(next) = tail.get(size..) else { return false };
                rest = next;
            }
            false
        }
        FU_A => rest.first().is_some_and(|fu| fu & 0x80 != 0 && fu & 0x1f == SPS),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(id: &str) -> H264Profile {
        H264Profile::from_profile_level_id(u32::from_str_radix(id, 16).unwrap())
    }

    /// JN-03.
    #[test]
    fn jn_03_h264_profiles_compare_by_meaning_not_by_string() {
        use H264Profile::*;
        let table = [
            ("42e01f", ConstrainedBaseline),
            ("42C02A", ConstrainedBaseline),
            ("42e034", ConstrainedBaseline),
            ("42001f", Baseline),
            ("4d0032", Main),
            ("4d001f", Main),
            ("640c1f", ConstrainedHigh),
            ("640032", High),
            ("f4001f", Other(0xf4, 0)),
        ];
        for (id, expected) in table {
            assert_eq!(profile(id), expected, "{id}");
        }
    }

    /// JN-03.
    #[test]
    fn jn_03_a_receiver_takes_subsets_of_its_profile_in_its_own_mode() {
        let h264 = |id: &str, mode| Codec::H264 { profile: profile(id), mode };
        assert!(h264("42001f", 1).decodes(h264("42e01f", 1)));
        assert!(h264("640032", 1).decodes(h264("640c1f", 1)));
        assert!(!h264("42e01f", 1).decodes(h264("42e01f", 0)));
        assert!(!h264("42e01f", 1).decodes(h264("640c1f", 1)));
        assert!(!h264("42e01f", 1).decodes(h264("42001f", 1)));
        assert!(!Codec::Vp8.decodes(Codec::Vp9 { profile: 0 }));
    }

    #[test]
    fn vp9_starts_at_the_first_packet_of_a_keyframe() {
        let vp9 = Codec::Vp9 { profile: 0 };
        // I and L always; then P, B, E.
        for (flags, starts) in [(0xa8, true), (0xac, true), (0xa0, false), (0xa4, false)] {
            assert_eq!(vp9.starts_keyframe(&[flags, 0x80, 1]), starts, "{flags:x}");
            assert!(!vp9.starts_keyframe(&[flags | 0x40, 0x80, 1]));
        }
        assert!(!vp9.starts_keyframe(&[]));
    }

    #[test]
    fn h264_starts_at_the_parameter_sets() {
        let stap = [0x18, 0, 3, 0x67, 1, 2, 0, 2, 0x68, 1, 0, 2, 0x65, 9];
        let table: [(&[u8], bool); 8] = [
            (&[0x67, 0x42, 0, 0x1f], true),
            (&stap, true),
            (&[0x18, 0, 2, 0x68, 1, 0, 3, 0x67, 1, 2], true),
            (&[0x7c, 0x87, 1], true),
            (&[0x7c, 0x85, 1], false),
            (&[0x65, 1], false),
            (&[0x18, 0xff, 0xff, 0x61], false),
            (&[], false),
        ];
        for (payload, expected) in table {
            assert_eq!(h264_has_sps(payload), expected, "{payload:x?}");
        }
    }
}
