//! Redundant audio (RED, RFC 2198): taken apart for those who did not negotiate it.
//!
//! Owns: the primary block of a RED payload, and the payload types inside one.
//! Never: makes redundancy of its own; what the publisher sent passes.

use std::sync::Arc;

use str0m::rtp::{RedDecoder, RedEncoder, RedundantBlock};

/// The newest block: what a receiver without RED gets. `None` if the payload is no RED.
pub(super) fn primary(payload: &[u8]) -> Option<Arc<[u8]>> {
    let blocks = RedDecoder::decode(payload).ok()?;
    let primary = blocks.into_iter().find(|block| block.is_primary)?;
    Some(primary.payload.into())
}

/// The payload with `payload_type` on its blocks, as its receiver negotiated it; `None` if they
/// carry it already.
pub(super) fn with_payload_type(payload: &[u8], payload_type: u8) -> Option<Arc<[u8]>> {
    let blocks = RedDecoder::decode(payload).ok()?;
    if blocks.iter().all(|block| block.pt == payload_type) {
        return None;
    }
    let redundant: Vec<RedundantBlock> = blocks
        .iter()
        .filter(|block| !block.is_primary)
        .map(|block| RedundantBlock {
            pt: payload_type,
            timestamp_offset: block.timestamp_offset,
            payload: block.payload.to_vec(),
        })
        .collect();
    let primary = blocks.iter().find(|block| block.is_primary)?;
    Some(RedEncoder::encode(payload_type, primary.payload, &redundant).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Chromium sends it: one block of redundancy, 960 ticks old, then the newest.
    const RED: [u8; 11] = [0x80 | 111, 0x0f, 0x00, 0x03, 111, 1, 2, 3, 7, 8, 9];

    #[test]
    fn the_primary_block_is_the_newest() {
        assert_eq!(primary(&RED).as_deref(), Some(&[7, 8, 9][..]));
        assert_eq!(primary(&[111, 5]).as_deref(), Some(&[5][..]));
        for broken in [&[][..], &[0x80 | 111], &[0x80 | 111, 0x0f, 0x00, 0x30, 111, 1]] {
            assert_eq!(primary(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn blocks_carry_the_receivers_payload_type() {
        assert_eq!(with_payload_type(&RED, 111), None);
        let changed = with_payload_type(&RED, 109).unwrap();
        let mut expected = RED;
        (expected[0], expected[4]) = (0x80 | 109, 109);
        assert_eq!(&*changed, expected);
    }
}
