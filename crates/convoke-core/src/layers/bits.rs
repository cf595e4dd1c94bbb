//! Bits, most significant first.
//!
//! Owns: reading and writing `f(n)` and `ns(n)` as the AV1 bitstream and RTP specifications define
//! them (AV1 specification §4.10).
//! Never: reads past the end; there is a `None` instead.

/// Reads bits from the front of a slice.
#[derive(Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// In bits.
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// `f(count)`, at most 32 bits.
    pub(super) fn bits(&mut self, count: u32) -> Option<u32> {
        let mut value = 0u32;
        for _ in 0..count.min(32) {
            value = value << 1 | u32::from(self.flag()?);
        }
        Some(value)
    }

    /// `f(count)` for at most 8 bits.
    pub(super) fn byte(&mut self, count: u32) -> Option<u8> {
        u8::try_from(self.bits(count)?).ok()
    }

    /// `f(count)` for at most 16 bits.
    pub(super) fn short(&mut self, count: u32) -> Option<u16> {
        u16::try_from(self.bits(count)?).ok()
    }

    /// `ns(n)`: a value below `n`, in one bit less where it fits.
    pub(super) fn non_symmetric(&mut self, n: u32) -> Option<u32> {
        let (width, short) = widths(n)?;
        let value = self.bits(width - 1)?;
        if value < short {
            return Some(value);
        }
        Some((value << 1) - short + u32::from(self.flag()?))
    }
}

/// Appends bits to bytes.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits free in the last byte.
    free: u32,
}

impl BitWriter {
    pub(super) fn flag(&mut self, bit: bool) {
        if self.free == 0 {
            self.bytes.push(0);
            self.free = 8;
        }
        self.free -= 1;
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << self.free;
        }
    }

    /// The lowest `count` bits of `value`.
    pub(super) fn bits(&mut self, value: u32, count: u32) {
        for at in (0..count.min(32)).rev() {
            self.flag(value >> at & 1 == 1);
        }
    }

    pub(super) fn non_symmetric(&mut self, value: u32, n: u32) {
        let Some((width, short)) = widths(n) else { return };
        if value < short {
            self.bits(value, width - 1);
        } else {
            self.bits(value + short, width);
        }
    }

    /// The bytes; the last one is filled with zero bits.
    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// For `ns(n)`: the bits of a long value, and how many values are short.
fn widths(n: u32) -> Option<(u32, u32)> {
    let width = n.checked_ilog2()? + 1;
    Some((width, u32::try_from((1u64 << width) - u64::from(n)).ok()?))
}
