//! Which datagrams leave in one system call.
//!
//! Owns: the grouping rule, as a pure function.
//! Never: sends.
//!
//! Segmentation offload (Linux `UDP_SEGMENT`) takes consecutive datagrams of one source and
//! destination and of one size; only the last may be shorter.

use convoke_core::Transmit;

/// The largest datagram that is grouped. The kernel refuses a segment above the interface's MTU
/// with an error after which segmentation is off for good, and forwarded packets are as long as
/// their publishers made them: so only what fits the smallest MTU of IPv6 (RFC 8200 §5) is grouped.
pub(crate) const SEGMENT_MAX: usize = 1_280 - 40 - 8;

/// The bytes of one group: an UDP payload (RFC 768) of IPv4 without options.
pub(crate) const GROUP_BYTES_MAX: usize = 65_535 - 20 - 8;

/// How many datagrams from the front of `transmits` go into the next call: 0 only if it is empty.
pub(crate) fn group_len(transmits: &[Transmit], segments_max: usize) -> usize {
    let Some((first, rest)) = transmits.split_first() else {
        return 0;
    };
    let segment = first.contents.len();
    if segment == 0 || segment > SEGMENT_MAX {
        return 1;
    }
    let fitting = segments_max.min(GROUP_BYTES_MAX / segment);
    let mut count = 1;
    for next in rest {
        let size = next.contents.len();
        let fits = size > 0 && size <= segment;
        let same_path = next.destination == first.destination && next.local == first.local;
        if count >= fitting || !fits || !same_path {
            break;
        }
        count += 1;
        if size < segment {
            break;
        }
    }
    count
}

#[cfg(test)]
mod tests;
