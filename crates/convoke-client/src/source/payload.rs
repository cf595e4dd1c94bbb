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

/// What a payload says of its frame.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Head {
    /// Of a picture that refers to no other.
    pub(super) key_picture: bool,
    pub(super) spatial: u8,
    pub(super) temporal: u8,
    /// Needs the base layer only, though it is above it (VP8's Y).
    pub(super) sync: bool,
    /// No other frame refers to it.
    pub(super) discardable: bool,
    /// Refers to the next lower spatial layer of its picture.
    pub(super) inter_layer: bool,
    /// Is referred to by the next higher spatial layer of its picture.
    pub(super) used_by_upper: bool,
    /// How many pictures back its other references lie; 0 stands for none.
    pub(super) pictures_back: [u8; 2],
}

/// How a stream is written.
#[derive(Debug, Clone, Default)]
pub(super) struct Style {
    /// The sizes of the spatial layers, lowest first.
    pub(super) sizes: Vec<(u16, u16)>,
    /// Temporal layers in a period of four pictures, told to VP9's receivers in non-flexible mode.
    pub(super) group: bool,
    /// VP9's flexible mode.
    pub(super) flexible: bool,
    /// Layers are told in the payload of AV1.
    pub(super) layered: bool,
    /// VP8 without its optional fields: Chromium leaves them out beside a dependency descriptor.
    pub(super) bare: bool,
    /// Nothing in the payload can be read.
    pub(super) opaque: bool,
}

/// Writes descriptors for one stream.
#[derive(Debug)]
pub(super) struct Packetizer {
    codec: Codec,
    style: Style,
    picture_id: u16,
    tl0_pic_idx: u8,
    head: Head,
}

impl Packetizer {
    pub(super) fn new(codec: Codec, picture_id: u16, tl0: u8, style: Style) -> Self {
        let (picture_id, head) = (picture_id & 0x7fff, Head::default());
        Self { codec, style, picture_id, tl0_pic_idx: tl0, head }
    }

    /// The packets that a frame needs at least.
    pub(super) fn least_packets(&self, keyframe: bool) -> usize {
        // An H.264 keyframe: the parameter sets, and two fragments of the picture.
        match self.codec {
            Codec::H264 if keyframe => 3,
            _ => 1,
        }
    }

    /// The next picture begins.
    pub(super) fn begin_picture(&mut self, temporal: u8) {
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        if temporal == 0 {
            self.tl0_pic_idx = self.tl0_pic_idx.wrapping_add(1);
        }
    }

    /// The next frame of the picture begins.
    pub(super) fn begin_frame(&mut self, head: Head) {
        self.head = head;
    }

    /// Writes what comes before the picture data in packet `index` of `count`.
    pub(super) fn head(&self, index: usize, count: usize, out: &mut Vec<u8>) {
        let (first, last) = (index == 0, index + 1 == count);
        match self.codec {
            _ if self.style.opaque => {}
            Codec::Opus => {}
            Codec::Vp8 => self.vp8(first, out),
            Codec::Vp9 => self.vp9(first, last, out),
            Codec::H264 => self.h264(index, count, out),
            Codec::Av1 => self.av1(first, last, out),
        }
    }

    fn starts_keyframe(&self, first: bool) -> bool {
        first && self.head.key_picture && self.head.spatial == 0
    }

    fn size(&self) -> (u16, u16) {
        self.style.sizes.get(usize::from(self.head.spatial)).copied().unwrap_or_default()
    }

    /// RFC 7741 §4.2 and §4.3.
    fn vp8(&self, first: bool, out: &mut Vec<u8>) {
        let [high, low] = self.picture_id.to_be_bytes();
        // X, N, and S on the first packet; then I, L and T.
        let start = if first { 0x10 } else { 0 } | if self.head.discardable { 0x20 } else { 0 };
        if self.style.bare {
            out.push(start);
        } else {
            let sync = if self.head.sync { 0x20 } else { 0 };
            let layer = self.head.temporal << 6 | sync;
            out.extend_from_slice(&[0x80 | start, 0xe0, 0x80 | high, low, self.tl0_pic_idx, layer]);
        }
        if first {
            // Frame tag (RFC 6386 §9.1): inverse key bit, version 0, shown.
            out.extend_from_slice(&[0x10 | u8::from(!self.head.key_picture), 0x02, 0]);
        }
        if self.starts_keyframe(first) {
            let (width, height) = self.size();
            out.extend_from_slice(&[0x9d, 0x01, 0x2a]);
            out.extend_from_slice(&width.to_le_bytes());
            out.extend_from_slice(&height.to_le_bytes());
        }
    }

    /// RFC 9628 §4.2.
    fn vp9(&self, first: bool, last: bool, out: &mut Vec<u8>) {
        let [high, low] = self.picture_id.to_be_bytes();
        let (head, flexible) = (&self.head, self.style.flexible);
        let top = usize::from(head.spatial) + 1 >= self.style.sizes.len();
        let structure = self.starts_keyframe(first);
        let bits = [
            (0x80, true),                                               // I: picture id
            (0x40, !head.key_picture), // P: inter-picture predicted
            (0x20, true),              // L: layer indices
            (0x10, flexible),          // F
            (0x08, first),             // B
            (0x04, last),              // E
            (0x02, structure),         // V
            (0x01, self.style.layered && (top || !head.used_by_upper)), // Z
        ];
        let flags = bits.iter().filter(|(_, on)| *on).fold(0, |all, (bit, _)| all | bit);
        // U: in these patterns no picture uses one of a higher temporal layer from before this.
        let up = if self.style.layered { 0x10 } else { 0 };
        let layer = head.temporal << 5 | up | head.spatial << 1 | u8::from(head.inter_layer);
        out.extend_from_slice(&[flags, 0x80 | high, low, layer]);
        if !flexible {
            out.push(self.tl0_pic_idx);
        } else if !head.key_picture {
            let mut diffs = head.pictures_back.iter().filter(|diff| **diff > 0).peekable();
            while let Some(diff) = diffs.next() {
                out.push(diff << 1 | u8::from(diffs.peek().is_some()));
            }
        }
        if structure {
            self.vp9_structure(out);
        }
        match (first, head.key_picture, head.spatial) {
            (true, true, 0) => out.extend_from_slice(&[0x82, 0x49, 0x83, 0x42]),
            (true, _, _) => out.push(0x86),
            _ => {}
        }
    }

    /// RFC 9628 §4.2.1: spatial layers with their sizes, and a group of pictures if there is one.
    fn vp9_structure(&self, out: &mut Vec<u8>) {
        let layers = u8::try_from(self.style.sizes.len().saturating_sub(1)).unwrap_or(0);
        let group = self.style.group && !self.style.flexible;
        out.push(layers << 5 | 0x10 | if group { 0x08 } else { 0 });
        for (width, height) in &self.style.sizes {
            out.extend_from_slice(&width.to_be_bytes());
            out.extend_from_slice(&height.to_be_bytes());
        }
        if group {
            // Four pictures: temporal layer, U, one reference each.
            out.extend_from_slice(&[4, 0x14, 4, 0x54, 1, 0x34, 2, 0x54, 1]);
        }
    }

    /// RFC 6184 §5.4, packetization mode 1: parameter sets in a STAP-A, pictures in FU-A.
    fn h264(&self, index: usize, count: usize, out: &mut Vec<u8>) {
        let keyframe = self.head.key_picture;
        if keyframe && index == 0 {
            out.push(0x60 | NAL_STAP_A);
            for set in [&SPS[..], &PPS[..]] {
                let len = u16::try_from(set.len()).unwrap_or(0);
                out.extend_from_slice(&len.to_be_bytes());
                out.extend_from_slice(set);
            }
            return;
        }
        let nal = if keyframe { NAL_IDR } else { NAL_SLICE };
        let importance = if self.head.discardable { 0 } else { 0x60 };
        let first = index == usize::from(keyframe);
        if first && index + 1 == count {
            // The slice header begins with first_mb_in_slice, 0.
            out.extend_from_slice(&[importance | nal, 0x80]);
            return;
        }
        let start = if first { 0x80 } else { 0 };
        let end = if index + 1 == count { 0x40 } else { 0 };
        out.extend_from_slice(&[importance | NAL_FU_A, start | end | nal]);
        if first {
            out.push(0x80);
        }
    }

    /// AOMedia RTP §4.4: one temporal unit; a new coded sequence on keyframes.
    fn av1(&self, first: bool, last: bool, out: &mut Vec<u8>) {
        let continued = if first { 0 } else { 0x80 };
        let goes_on = if last { 0 } else { 0x40 };
        if self.starts_keyframe(first) {
            // N; two OBUs: a sequence header with its length, then the frame to the end.
            out.extend_from_slice(&[goes_on | 0x20 | 0x08, 2, 0x08, 0x00]);
        } else {
            out.push(continued | goes_on | 0x10);
        }
        match (first, self.style.layered) {
            (true, true) => {
                out.extend_from_slice(&[0x34, self.head.temporal << 5 | self.head.spatial << 3]);
            }
            (true, false) => out.push(0x30),
            _ => {}
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

/// The numbers in a payload descriptor that must go on over a change of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PictureIds {
    /// PictureID, when it is the 15-bit one.
    pub picture_id: Option<u16>,
    /// TL0PICIDX.
    pub tl0_pic_idx: Option<u8>,
}

/// Reads a payload descriptor of VP8 (RFC 7741 §4.2) or VP9 (RFC 9628 §4.2); nothing of another codec.
#[must_use]
pub fn picture_ids(codec: Codec, payload: &[u8]) -> PictureIds {
    match codec {
        Codec::Vp8 => vp8_ids(payload),
        Codec::Vp9 => vp9_ids(payload),
        Codec::Opus | Codec::H264 | Codec::Av1 => None,
    }
    .unwrap_or_default()
}

fn vp8_ids(payload: &[u8]) -> Option<PictureIds> {
    let [first, flags, rest @ ..] = payload else { return None };
    if first & 0x80 == 0 {
        return None;
    }
    let (picture_id, rest) = if flags & 0x80 != 0 { picture_id(rest)? } else { (None, rest) };
    let tl0_pic_idx = if flags & 0x40 != 0 { Some(*rest.first()?) } else { None };
    Some(PictureIds { picture_id, tl0_pic_idx })
}

fn vp9_ids(payload: &[u8]) -> Option<PictureIds> {
    let (flags, rest) = payload.split_first()?;
    let (picture_id, rest) = if flags & 0x80 != 0 { picture_id(rest)? } else { (None, rest) };
    let has_tl0 = flags & 0x20 != 0 && flags & 0x10 == 0;
    let tl0_pic_idx = if has_tl0 { Some(*rest.get(1)?) } else { None };
    Some(PictureIds { picture_id, tl0_pic_idx })
}

/// M and the id; the 7-bit form is stepped over.
fn picture_id(bytes: &[u8]) -> Option<(Option<u16>, &[u8])> {
    match bytes {
        [high, low, rest @ ..] if high & 0x80 != 0 => {
            Some((Some(u16::from_be_bytes([high & 0x7f, *low])), rest))
        }
        [high, rest @ ..] if high & 0x80 == 0 => Some((None, rest)),
        _ => None,
    }
}
