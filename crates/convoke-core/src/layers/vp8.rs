//! The VP8 payload descriptor.
//!
//! Owns: RFC 7741 §4.2 (descriptor), the one bit of §4.3 that says keyframe, and a keyframe's size.
//! Never: reads further into the frame.
//!
//! ```text
//!  0 1 2 3 4 5 6 7
//! |X|R|N|S|R| PID |  S: starts a partition, N: non-reference
//! |I|L|T|K| RSV   |  if X
//! |M| PictureID   |  if I; 7 bits, or 15 if M
//! |   TL0PICIDX   |  if L
//! |TID|Y| KEYIDX  |  if T or K
//! ```

use super::header::{PictureId, Prefix};

/// One packet's descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vp8 {
    /// N: no other frame refers to this one.
    pub(crate) non_reference: bool,
    /// S with partition 0: the first packet of a frame.
    pub(crate) starts_frame: bool,
    pub(crate) picture_id: Option<PictureId>,
    pub(crate) tl0: Option<u8>,
    /// TID, where T says that it counts.
    pub(crate) temporal: Option<u8>,
    /// Y: depends on the base layer only. Meaningless without a temporal id.
    pub(crate) layer_sync: bool,
    pub(crate) key_idx: Option<u8>,
    /// In the first packet of a keyframe.
    pub(crate) keyframe: bool,
    /// The picture's width and height, in the first packet of a keyframe.
    pub(crate) size: Option<(u16, u16)>,
    /// Where the frame's bytes begin.
    pub(crate) len: usize,
}

/// What of a descriptor is renumbered; fields that it lacks are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Vp8Edit {
    /// 15 bits.
    pub(crate) picture_id: Option<u16>,
    pub(crate) tl0: Option<u8>,
    /// 5 bits.
    pub(crate) key_idx: Option<u8>,
}

impl Vp8 {
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        let (&first, mut rest) = payload.split_first()?;
        let mut extension = 0;
        if first & 0x80 != 0 {
            let (&byte, after) = rest.split_first()?;
            (extension, rest) = (byte, after);
        }
        let has = |bit: u8| extension & bit != 0;
        let mut picture_id = None;
        if has(0x80) {
            let (id, after) = PictureId::read(rest)?;
            (picture_id, rest) = (Some(id), after);
        }
        let mut tl0 = None;
        if has(0x40) {
            let (&index, after) = rest.split_first()?;
            (tl0, rest) = (Some(index), after);
        }
        let mut layers = 0;
        if has(0x20) || has(0x10) {
            let (&byte, after) = rest.split_first()?;
            (layers, rest) = (byte, after);
        }
        // A packet carries at least one byte of the frame.
        let frame = rest.first()?;
        let starts_frame = first & 0x17 == 0x10;
        let keyframe = starts_frame && frame & 1 == 0;
        Some(Self {
            non_reference: first & 0x20 != 0,
            starts_frame,
            picture_id,
            tl0,
            temporal: has(0x20).then_some(layers >> 6),
            layer_sync: has(0x20) && layers & 0x20 != 0,
            key_idx: has(0x10).then_some(layers & 0x1f),
            keyframe,
            size: keyframe.then(|| picture_size(rest)).flatten(),
            len: payload.len() - rest.len(),
        })
    }

    /// The descriptor of `payload`, of which `self` was parsed, with new numbers. `None` if there
    /// is nothing to renumber. A 7-bit PictureID becomes a 15-bit one, and the payload a byte longer.
    pub(crate) fn rewrite(&self, payload: &[u8], edit: Vp8Edit) -> Option<Prefix> {
        let [first, extension, ..] = *payload else { return None };
        if self.picture_id.is_none() && self.tl0.is_none() && self.key_idx.is_none() {
            return None;
        }
        let mut prefix = Prefix::default();
        prefix.push(first);
        prefix.push(extension);
        if let Some(id) = self.picture_id {
            prefix.push_picture_id(edit.picture_id.unwrap_or(id.value) & 0x7fff);
        }
        if let Some(tl0) = self.tl0 {
            prefix.push(edit.tl0.unwrap_or(tl0));
        }
        if extension & 0x30 != 0 {
            let layers = *payload.get(self.len.checked_sub(1)?)?;
            prefix.push(match (self.key_idx, edit.key_idx) {
                (Some(_), Some(new)) => layers & 0xe0 | new & 0x1f,
                _ => layers,
            });
        }
        Some(prefix.replacing(self.len))
    }
}

/// The size in a keyframe's header (RFC 6386 §9.1): a start code, then 14 bits each.
fn picture_size(frame: &[u8]) -> Option<(u16, u16)> {
    let [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = *frame else { return None };
    let side = |low, high| u16::from_le_bytes([low, high]) & 0x3fff;
    Some((side(w0, w1), side(h0, h1)))
}
