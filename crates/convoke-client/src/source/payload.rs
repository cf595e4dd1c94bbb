//! Payload descriptors and the first codec bytes of each packet.
//!
//! Owns: the bytes by which VP8, VP9, H.264 and AV1 packets and keyframes are known.
//! Never: decides when a frame is due or how large it is.

use str0m::format::{
    detect_av1_keyframe, detect_h264_keyframe, detect_h264_nalu, detect_vp8_keyframe,
    detect_vp9_keyframe,
};

use crate::media::Codec;

/// The H.264 NAL unit types used here (RFC 6184 §5.2).
const NAL_SLICE: u8 = 1;
const NAL_IDR: u8 = 5;
const NAL_SPS: u8 = 7;
const NAL_STAP_A: u8 = 24;
const NAL_FU_A: u8 = 28;
/// A baseline SPS (640x360) and PPS.
const SPS: [u8; 10] = [0x67, 0x42, 0xe0, 0x1f, 0xda, 0x02, 0x80, 0xbf, 0xe5, 0x80];
const PPS: [u8; 4] = [0x68, 0xce, 0x3c, 0x80];

/// Writes descriptors for one stream.
#[derive(Debug)]
pub(super) struct Packetizer {
    codec: Codec,
    picture_id: u16,
    tl0_pic_idx: u8,
    size: (u16, u16),
    keyframe: bool,
}

impl Packetizer {
    pub(super) fn new(codec: Codec, picture_id: u16, tl0: u8, size: (u16, u16)) -> Self {
        Self { codec, picture_id: picture_id & 0x7fff, tl0_pic_idx: tl0, size, keyframe: false }
    }

    /// The packets that a frame needs at least.
    pub(super) fn least_packets(&self, keyframe: bool) -> usize {
        // An H.264 keyframe: the parameter sets, and two fragments of the picture.
        match self.codec {
            Codec::H264 if keyframe => 3,
            _ => 1,
        }
    }

    /// The next frame begins.
    pub(super) fn begin_frame(&mut self, keyframe: bool) {
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        self.tl0_pic_idx = self.tl0_pic_idx.wrapping_add(1);
        self.keyframe = keyframe;
    }

    /// Writes what comes before the picture data in packet `index` of `count`.
    pub(super) fn head(&self, index: usize, count: usize, out: &mut Vec<u8>) {
        let (first, last) = (index == 0, index + 1 == count);
        match self.codec {
            Codec::Opus => {}
            Codec::Vp8 => self.vp8(first, out),
            Codec::Vp9 => self.vp9(first, last, out),
            Codec::H264 => self.h264(index, count, out),
            Codec::Av1 => self.av1(first, last, out),
        }
    }

    /// RFC 7741 §4.2 and §4.3.
    fn vp8(&self, first: bool, out: &mut Vec<u8>) {
        let [high, low] = self.picture_id.to_be_bytes();
        // X, and S on the first packet; then I, L and T; temporal layer 0.
        let start = if first { 0x10 } else { 0 };
        out.extend_from_slice(&[0x80 | start, 0xe0, 0x80 | high, low, self.tl0_pic_idx, 0]);
        if first {
            // Frame tag (RFC 6386 §9.1): inverse key bit, version 0, shown.
            out.extend_from_slice(&[0x10 | u8::from(!self.keyframe), 0x02, 0]);
        }
        if first && self.keyframe {
            out.extend_from_slice(&[0x9d, 0x01, 0x2a]);
            out.extend_from_slice(&self.size.0.to_le_bytes());
            out.extend_from_slice(&self.size.1.to_le_bytes());
        }
    }

    /// RFC 9628 §4.2, non-flexible mode, one spatial and one temporal layer.
    fn vp9(&self, first: bool, last: bool, out: &mut Vec<u8>) {
        let [high, low] = self.picture_id.to_be_bytes();
        let structure = first && self.keyframe;
        let bits = [
            (0x80, true),           // I: picture id
            (0x40, !self.keyframe), // P: inter-picture predicted
            (0x20, true),           // L: layer indices
            (0x08, first),          // B
            (0x04, last),           // E
            (0x02, structure),      // V
        ];
        let flags = bits.iter().filter(|(_, on)| *on).fold(0, |all, (bit, _)| all | bit);
        out.extend_from_slice(&[flags, 0x80 | high, low, 0, self.tl0_pic_idx]);
        if structure {
            // One spatial layer, with its size, without a picture group.
            out.push(0x10);
            out.extend_from_slice(&self.size.0.to_be_bytes());
            out.extend_from_slice(&self.size.1.to_be_bytes());
        }
        match (first, self.keyframe) {
            (true, true) => out.extend_from_slice(&[0x82, 0x49, 0x83, 0x42]),
            (true, false) => out.push(0x86),
            _ => {}
        }
    }

    /// RFC 6184 §5.4, packetization mode 1: parameter sets in a STAP-A, pictures in FU-A.
    fn h264(&self, index: usize, count: usize, out: &mut Vec<u8>) {
        if self.keyframe && index == 0 {
            out.push(0x60 | NAL_STAP_A);
            for set in [&SPS[..], &PPS[..]] {
                let len = u16::try_from(set.len()).unwrap_or(0);
                out.extend_from_slice(&len.to_be_bytes());
                out.extend_from_slice(set);
            }
            return;
        }
        let nal = if self.keyframe { NAL_IDR } else { NAL_SLICE };
        let first = index == usize::from(self.keyframe);
        if first && index + 1 == count {
            out.push(0x60 | nal);
            return;
        }
        let start = if first { 0x80 } else { 0 };
        let end = if index + 1 == count { 0x40 } else { 0 };
        out.extend_from_slice(&[0x60 | NAL_FU_A, start | end | nal]);
    }

    /// AOMedia RTP §4.4: one temporal unit; a new coded sequence on keyframes.
    fn av1(&self, first: bool, last: bool, out: &mut Vec<u8>) {
        let continued = if first { 0 } else { 0x80 };
        let goes_on = if last { 0 } else { 0x40 };
        if first && self.keyframe {
            // N; two OBUs: a sequence header with its length, then the frame to the end.
            out.extend_from_slice(&[goes_on | 0x20 | 0x08, 2, 0x08, 0x00, 0x30]);
        } else if first {
            out.extend_from_slice(&[goes_on | 0x10, 0x30]);
        } else {
            out.push(continued | goes_on | 0x10);
        }
    }
}

/// Whether `payload` is the first packet of a keyframe.
#[must_use]
pub fn starts_keyframe(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Opus => true,
        Codec::Vp8 => detect_vp8_keyframe(payload),
        // Begin of a frame, and not predicted.
        Codec::Vp9 => {
            payload.first().is_some_and(|b| b & 0x08 != 0) && detect_vp9_keyframe(payload)
        }
        Codec::H264 => detect_h264_nalu(payload, NAL_SPS) || detect_h264_keyframe(payload),
        Codec::Av1 => detect_av1_keyframe(payload),
    }
}

/// The numbers in a VP8 payload descriptor that must go on over a change of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TemporalIds {
    /// PictureID, when it is the 15-bit one.
    pub picture_id: Option<u16>,
    /// TL0PICIDX.
    pub tl0_pic_idx: Option<u8>,
}

/// Reads a VP8 payload descriptor (RFC 7741 §4.2).
#[must_use]
pub fn vp8_ids(payload: &[u8]) -> TemporalIds {
    let none = TemporalIds { picture_id: None, tl0_pic_idx: None };
    let (Some(first), Some(flags)) = (payload.first(), payload.get(1)) else { return none };
    if first & 0x80 == 0 {
        return none;
    }
    let mut at = 2;
    let mut picture_id = None;
    if flags & 0x80 != 0 {
        let Some(high) = payload.get(at) else { return none };
        if high & 0x80 == 0 {
            at += 1;
        } else {
            let Some(low) = payload.get(at + 1) else { return none };
            picture_id = Some(u16::from_be_bytes([high & 0x7f, *low]));
            at += 2;
        }
    }
    let tl0_pic_idx = (flags & 0x40 != 0).then(|| payload.get(at).copied()).flatten();
    TemporalIds { picture_id, tl0_pic_idx }
}
