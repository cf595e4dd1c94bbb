//! What an AV1 payload says about layers, where there is no dependency descriptor.
//!
//! Owns: the aggregation header (AV1 RTP specification §4.4) and the OBU headers behind it
//! (AV1 bitstream specification §5.3).
//! Never: reads into an OBU.
//!
//! ```text
//!  0 1 2 3 4 5 6 7
//! |Z|Y| W |N|-|-|-|  Z/Y: the first/last element is a fragment that continues one/goes on,
//!                    W: number of elements or 0, N: first packet of a coded video sequence
//! ```

use super::Layer;

const SEQUENCE_HEADER: u8 = 1;
const FRAME_HEADER: u8 = 3;
const TILE_GROUP: u8 = 4;
const FRAME: u8 = 6;

/// Elements of one packet that are looked at: far more than a sensible packet has.
const ELEMENTS_MAX: usize = 32;

/// One packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Av1 {
    /// Holds a sequence header: a receiver can start here.
    pub(super) keyframe: bool,
    /// Does not begin within a frame.
    pub(super) starts_frame: bool,
    /// Ends with a whole frame or tile group. With several tile groups that is not the end of the
    /// frame yet; the payload does not tell.
    pub(super) ends_frame: bool,
    /// From the first OBU header with an extension: all in a packet are of one layer (§4.5).
    /// `None` in a packet that has none, like the rest of a fragmented OBU.
    pub(super) layer: Option<Layer>,
}

impl Av1 {
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let (&head, mut rest) = payload.split_first()?;
        let (continues, goes_on) = (head & 0x80 != 0, head & 0x40 != 0);
        let count = usize::from(head >> 4 & 0x03);
        let mut packet = Self {
            keyframe: head & 0x08 != 0 && !continues,
            starts_frame: false,
            ends_frame: !goes_on && continues,
            layer: None,
        };
        rest.first()?;
        for index in 0..ELEMENTS_MAX {
            if rest.is_empty() {
                break;
            }
            let element;
            if count != 0 && index + 1 == count {
                (element, rest) = (rest, [].as_slice());
            } else {
                let (size, after) = leb128(rest)?;
                (element, rest) = after.split_at_checked(size)?;
            }
            if !(index == 0 && continues) {
                packet.element(index, element, goes_on)?;
            }
        }
        Some(packet)
    }

    fn element(&mut self, index: usize, element: &[u8], goes_on: bool) -> Option<()> {
        let &header = element.first()?;
        if header & 0x80 != 0 {
            return None;
        }
        let kind = header >> 3 & 0x0f;
        self.keyframe |= kind == SEQUENCE_HEADER;
        self.starts_frame |= index == 0 && kind != TILE_GROUP;
        if matches!(kind, FRAME_HEADER | TILE_GROUP | FRAME) {
            // Only the last element may go on in the next packet.
            self.ends_frame = !goes_on && kind != FRAME_HEADER;
        }
        if header & 0x04 != 0 {
            let ids = element.get(1)?;
            self.layer.get_or_insert(Layer { spatial: ids >> 3 & 0x03, temporal: ids >> 5 });
        }
        Some(())
    }
}

/// `leb128()` (AV1 bitstream specification §4.10.5), as far as a packet's sizes need it.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    let mut rest = bytes;
    for at in 0..4 {
        let (&byte, after) = rest.split_first()?;
        value |= usize::from(byte & 0x7f) << (7 * at);
        rest = after;
        if byte & 0x80 == 0 {
            return Some((value, rest));
        }
    }
    None
}
