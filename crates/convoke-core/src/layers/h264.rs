//! What an H.264 payload says about layers.
//!
//! Owns: RFC 6184 §5.2-5.8 as far as NAL unit headers: reference or not, the temporal id of a prefix
//! NAL unit (H.264 Annex G.7.3.1.1), the first macroblock.
//! Never: decides what a keyframe is; that is [`Codec::starts_keyframe`]'s, for all of the core.
//!
//! H.264 as browsers send it has no layer ids. Two marks are taken: a prefix NAL unit (type 14) in
//! front of each slice, and `nal_ref_idc` 0, which makes a picture that nothing refers to the upper
//! of two temporal layers. Everything else needs the dependency descriptor.

use crate::transport::Codec;

const SLICE: u8 = 1;
const IDR: u8 = 5;
const PREFIX: u8 = 14;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// One packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct H264 {
    /// Holds the parameter sets of a keyframe.
    pub(super) keyframe: bool,
    /// Begins with something other than the rest of a slice.
    pub(super) starts_frame: bool,
    /// Nothing refers to its picture.
    pub(super) non_reference: bool,
    pub(super) temporal: u8,
}

impl H264 {
    pub(super) fn parse(codec: Codec, payload: &[u8]) -> Option<Self> {
        let (&first, rest) = payload.split_first()?;
        let mut seen = Seen::default();
        match first & 0x1f {
            STAP_A => {
                let mut rest = rest;
                while let [high, low, tail @ ..] = rest {
                    let size = usize::from(u16::from_be_bytes([*high, *low]));
                    // What does not fit is no NAL unit; those before it count all the same.
                    let Some((nal, after)) = tail.split_at_checked(size) else { break };
                    let Some((&header, body)) = nal.split_first() else { break };
                    seen.nal(header, body, true);
                    rest = after;
                }
            }
            FU_A => {
                let (&fu, body) = rest.split_first()?;
                seen.nal(first & 0xe0 | fu & 0x1f, body, fu & 0x80 != 0);
            }
            1..=23 => seen.nal(first, rest, true),
            _ => return None,
        }
        let keyframe = codec.starts_keyframe(payload);
        // Whatever a broken stream says of itself: all that follows needs its keyframes.
        let non_reference = !keyframe && seen.slice_reference == Some(false);
        let temporal = seen.temporal.unwrap_or(u8::from(non_reference));
        Some(Self {
            keyframe,
            starts_frame: seen.starts_frame?,
            non_reference,
            temporal: if keyframe { 0 } else { temporal },
        })
    }
}

/// What the NAL units of a packet add up to.
#[derive(Debug, Default)]
struct Seen {
    starts_frame: Option<bool>,
    slice_reference: Option<bool>,
    temporal: Option<u8>,
}

impl Seen {
    /// `whole` unless `body` is a later fragment.
    fn nal(&mut self, header: u8, body: &[u8], whole: bool) {
        let kind = header & 0x1f;
        if matches!(kind, SLICE..=IDR) {
            self.slice_reference.get_or_insert(header & 0x60 != 0);
            // first_mb_in_slice is ue(v): 0 is a single 1 bit.
            let first = whole && body.first().is_some_and(|byte| byte & 0x80 != 0);
            self.starts_frame.get_or_insert(first);
            return;
        }
        self.starts_frame.get_or_insert(whole);
        if kind == PREFIX
            && let [flags, _, ids, ..] = body
            && flags & 0x80 != 0
        {
            self.temporal.get_or_insert(ids >> 5);
        }
    }
}
