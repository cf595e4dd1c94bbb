//! Writing dependency descriptors.
//!
//! Owns: AV1 RTP specification, Appendix A.8, as far as senders need it: each frame is one of its
//! pattern's templates, and the structure goes with keyframes.
//! Never: reads one.

use super::scalability::Pattern;

/// Bits, most significant first.
#[derive(Debug, Default)]
struct Bits {
    bytes: Vec<u8>,
    free: u32,
}

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        for at in (0..count).rev() {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            self.free -= 1;
            if let Some(last) = self.bytes.last_mut() {
                *last |= u8::from(value >> at & 1 == 1) << self.free;
            }
        }
    }

    /// `ns(n)` (AV1 bitstream specification §4.10.7).
    fn put_below(&mut self, value: u32, n: u32) {
        let width = n.checked_ilog2().map_or(1, |log| log + 1);
        let short = (1_u32 << width).saturating_sub(n);
        if value < short {
            self.put(value, width - 1);
        } else {
            self.put(value + short, width);
        }
    }
}

fn short(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// The descriptor of one packet: whether it is the first and last of its frame, the frame's template
/// and number. `sizes` (one for each spatial layer) goes with the first packet of a keyframe, and
/// the structure with it.
pub(super) fn descriptor(
    pattern: &Pattern,
    (first, last): (bool, bool),
    template: usize,
    number: u16,
    sizes: Option<&[(u16, u16)]>,
) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(first.into(), 1);
    bits.put(last.into(), 1);
    bits.put(short(template), 6);
    bits.put(number.into(), 16);
    if let Some(sizes) = sizes {
        // A structure; all decode targets are active, and nothing differs from the template.
        bits.put(0b10000, 5);
        structure(&mut bits, pattern, sizes);
    }
    bits.bytes
}

fn structure(bits: &mut Bits, pattern: &Pattern, sizes: &[(u16, u16)]) {
    let targets = short(pattern.decode_targets());
    bits.put(0, 6);
    bits.put(targets.saturating_sub(1), 5);
    for (template, next) in pattern.templates.iter().zip(pattern.templates.iter().skip(1)) {
        let step = match (next.spatial == template.spatial, next.temporal == template.temporal) {
            (true, true) => 0,
            (true, false) => 1,
            (false, _) => 2,
        };
        bits.put(step, 2);
    }
    bits.put(3, 2);
    for indication in pattern.templates.iter().flat_map(|template| template.indications.bytes()) {
        let value = match indication {
            b'D' => 1,
            b'S' => 2,
            b'R' => 3,
            _ => 0,
        };
        bits.put(value, 2);
    }
    for template in pattern.templates {
        for reference in template.references {
            bits.put(1, 1);
            bits.put(u32::from(*reference).saturating_sub(1), 4);
        }
        bits.put(0, 1);
    }
    let chains = short(pattern.chains());
    bits.put_below(chains, targets + 1);
    if chains > 0 {
        pattern.protected_by.iter().for_each(|chain| bits.put_below((*chain).into(), chains));
        let diffs = pattern.templates.iter().flat_map(|template| template.chains);
        diffs.for_each(|diff| bits.put((*diff).into(), 4));
    }
    bits.put(1, 1);
    for (width, height) in sizes {
        bits.put(u32::from(*width).saturating_sub(1), 16);
        bits.put(u32::from(*height).saturating_sub(1), 16);
    }
}
