//! The VP9 payload descriptor.
//!
//! Owns: RFC 9628 §4.2 in both modes, with the scalability structure (§4.2.1).
//! Never: reads into the frame: its header is not needed, and may be encrypted.
//!
//! ```text
//!  0 1 2 3 4 5 6 7
//! |I|P|L|F|B|E|V|Z|
//! |M| PictureID   |  if I; 7 bits, or 15 if M
//! | TID |U| SID |D|  if L
//! |   TL0PICIDX   |  if L and not F
//! |   P_DIFF    |N|  if P and F; up to three, while N
//! | structure     |  if V
//! ```

use super::header::{PictureId, Prefix};

/// References of one picture in flexible mode (RFC 9628 §4.2: at most three).
const REFERENCES_MAX: usize = 3;
/// N_S is three bits.
const SPATIAL_MAX: usize = 8;

/// One packet's descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vp9 {
    pub(crate) picture_id: Option<PictureId>,
    /// P: uses earlier pictures.
    pub(crate) inter_picture: bool,
    /// F.
    pub(crate) flexible: bool,
    /// B: the first packet of a layer frame.
    pub(crate) starts_frame: bool,
    /// E: the last packet of a layer frame.
    pub(crate) ends_frame: bool,
    /// Z: not used by higher spatial layers.
    pub(crate) not_for_upper: bool,
    /// L.
    pub(crate) layer: Option<Vp9Layer>,
    /// P_DIFF: how many pictures back the references lie.
    pub(crate) references: Vec<u8>,
    pub(crate) structure: Option<ScalabilityStructure>,
    /// Where the frame's bytes begin.
    pub(crate) len: usize,
}

/// The layer indices of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vp9Layer {
    pub(crate) temporal: u8,
    /// U: later pictures of higher temporal layers use none of those before this picture.
    pub(crate) switches_up: bool,
    pub(crate) spatial: u8,
    /// D: uses the next lower spatial layer of the same picture.
    pub(crate) inter_layer: bool,
    pub(crate) tl0: Option<u8>,
}

/// What the encoder says of its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScalabilityStructure {
    /// 1 to 8.
    pub(crate) spatial_layers: u8,
    /// Width and height of each spatial layer; empty if not said.
    pub(crate) resolutions: Vec<(u16, u16)>,
    /// One entry for each picture of a group; `None` if not said.
    pub(crate) group: Option<Vec<GroupPicture>>,
}

/// One picture of a group of pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupPicture {
    pub(crate) temporal: u8,
    pub(crate) switches_up: bool,
    pub(crate) references: Vec<u8>,
}

/// What of a descriptor is renumbered; fields that it lacks are ignored.
///
/// Unlike VP8's, VP9 picture ids are never closed up over dropped pictures: P_DIFF and the place in
/// a group of pictures are counted in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Vp9Edit {
    /// 15 bits.
    pub(crate) picture_id: Option<u16>,
    pub(crate) tl0: Option<u8>,
}

impl Vp9 {
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        let (&first, mut rest) = payload.split_first()?;
        let has = |bit: u8| first & bit != 0;
        let (inter_picture, flexible) = (has(0x40), has(0x10));
        let mut picture_id = None;
        if has(0x80) {
            let (id, after) = PictureId::read(rest)?;
            (picture_id, rest) = (Some(id), after);
        }
        let mut layer = None;
        if has(0x20) {
            let (found, after) = read_layer(rest, flexible)?;
            (layer, rest) = (Some(found), after);
        }
        let mut references = Vec::new();
        if inter_picture && flexible {
            (references, rest) = read_references(rest)?;
        }
        let mut structure = None;
        if has(0x02) {
            let (found, after) = read_structure(rest)?;
            (structure, rest) = (Some(found), after);
        }
        // A packet carries at least one byte of the frame.
        rest.first()?;
        Some(Self {
            picture_id,
            inter_picture,
            flexible,
            starts_frame: has(0x08),
            ends_frame: has(0x04),
            not_for_upper: has(0x01),
            layer,
            references,
            structure,
            len: payload.len() - rest.len(),
        })
    }

    /// The descriptor of `payload`, of which `self` was parsed, with new numbers. `None` if there
    /// is nothing to renumber. A 7-bit picture id becomes a 15-bit one, and the payload a byte longer.
    pub(crate) fn rewrite(&self, payload: &[u8], edit: Vp9Edit) -> Option<Prefix> {
        let mut prefix = Prefix::default();
        let mut replaced = 1;
        prefix.push(*payload.first()?);
        if let Some(id) = self.picture_id {
            prefix.push_picture_id(edit.picture_id.unwrap_or(id.value) & 0x7fff);
            replaced += if id.wide { 2 } else { 1 };
        }
        let tl0 = self.layer.and_then(|layer| layer.tl0);
        if let Some(tl0) = tl0 {
            prefix.push(*payload.get(replaced)?);
            prefix.push(edit.tl0.unwrap_or(tl0));
            replaced += 2;
        }
        (self.picture_id.is_some() || tl0.is_some()).then(|| prefix.replacing(replaced))
    }
}

fn read_layer(bytes: &[u8], flexible: bool) -> Option<(Vp9Layer, &[u8])> {
    let (&indices, mut rest) = bytes.split_first()?;
    let mut tl0 = None;
    if !flexible {
        let (&index, after) = rest.split_first()?;
        (tl0, rest) = (Some(index), after);
    }
    let layer = Vp9Layer {
        temporal: indices >> 5,
        switches_up: indices & 0x10 != 0,
        spatial: indices >> 1 & 0x07,
        inter_layer: indices & 0x01 != 0,
        tl0,
    };
    Some((layer, rest))
}

fn read_references(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut references = Vec::new();
    let mut rest = bytes;
    while references.len() < REFERENCES_MAX {
        let (&byte, after) = rest.split_first()?;
        references.push(byte >> 1);
        rest = after;
        if byte & 1 == 0 {
            return Some((references, rest));
        }
    }
    // A fourth is announced: not VP9.
    None
}

/// ```text
/// | N_S |Y|G|-|-|-|
/// | width, height |  if Y; 16 bits each, N_S + 1 times
/// |      N_G      |  if G
/// | TID |U| R |-|-|  N_G times, each with
/// |    P_DIFF     |  R times
/// ```
fn read_structure(bytes: &[u8]) -> Option<(ScalabilityStructure, &[u8])> {
    let (&head, mut rest) = bytes.split_first()?;
    let spatial_layers = (head >> 5) + 1;
    let mut resolutions = Vec::new();
    if head & 0x10 != 0 {
        for _ in 0..usize::from(spatial_layers).min(SPATIAL_MAX) {
            let (&[w1, w2, h1, h2], after) = rest.split_first_chunk()?;
            resolutions.push((u16::from_be_bytes([w1, w2]), u16::from_be_bytes([h1, h2])));
            rest = after;
        }
    }
    let mut group = None;
    if head & 0x08 != 0 {
        let (&count, after) = rest.split_first()?;
        rest = after;
        let mut pictures = Vec::new();
        for _ in 0..count {
            let (&picture, after) = rest.split_first()?;
            let (references, after) = after.split_at_checked(usize::from(picture >> 2 & 0x03))?;
            pictures.push(GroupPicture {
                temporal: picture >> 5,
                switches_up: picture & 0x10 != 0,
                references: references.to_vec(),
            });
            rest = after;
        }
        group = Some(pictures);
    }
    Some((ScalabilityStructure { spatial_layers, resolutions, group }, rest))
}
