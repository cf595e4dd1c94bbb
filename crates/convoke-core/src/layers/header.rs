//! A payload whose first bytes differ per receiver.
//!
//! Owns: [`Prefix`], the way in which a rewritten payload descriptor is handed on.
//! Never: touches the shared payload. What is rewritten stands in the first bytes of a payload, so
//! a receiver's packet is a few bytes of its own followed by the untouched rest:
//!
//! ```text
//! shared payload:  | descriptor        | media ...                |
//!                  |<-- replaced -->|<-- rest (shared) ---------->|
//! sent:            | prefix         | rest                        |
//! ```

use std::sync::Arc;

/// The most a rewritten payload descriptor takes: VP8 with all its fields.
const PREFIX_MAX: usize = 8;

/// A picture id and the width of its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PictureId {
    pub(crate) value: u16,
    /// 15 bits, not 7.
    pub(crate) wide: bool,
}

impl PictureId {
    /// The bits that count.
    pub(crate) fn bits(self) -> u32 {
        if self.wide { 15 } else { 7 }
    }

    /// From the front of `bytes` (RFC 7741 §4.2 and RFC 9628 §4.2: M, then 7 or 15 bits).
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (&first, rest) = bytes.split_first()?;
        if first & 0x80 == 0 {
            return Some((Self { value: first.into(), wide: false }, rest));
        }
        let (&second, rest) = rest.split_first()?;
        Some((Self { value: u16::from_be_bytes([first & 0x7f, second]), wide: true }, rest))
    }
}

/// New first bytes, and how many of the payload's they replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Prefix {
    bytes: [u8; PREFIX_MAX],
    len: u8,
    replaces: u8,
}

impl Prefix {
    /// The bytes to send first.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// What of `payload` follows them.
    pub(crate) fn rest<'a>(&self, payload: &'a [u8]) -> &'a [u8] {
        payload.get(usize::from(self.replaces)..).unwrap_or_default()
    }

    /// The whole rewritten payload, for an egress that wants it in one piece.
    pub(crate) fn join(&self, payload: &[u8]) -> Arc<[u8]> {
        [self.bytes(), self.rest(payload)].concat().into()
    }

    pub(super) fn push(&mut self, byte: u8) {
        if let Some(free) = self.bytes.get_mut(usize::from(self.len)) {
            *free = byte;
            self.len += 1;
        }
    }

    /// Always 15 bits, so that a slot's numbering is of one width whatever feeds it.
    pub(super) fn push_picture_id(&mut self, id: u16) {
        let [high, low] = id.to_be_bytes();
        self.push(0x80 | high);
        self.push(low);
    }

    pub(super) fn replacing(mut self, count: usize) -> Self {
        self.replaces = u8::try_from(count).unwrap_or(u8::MAX);
        self
    }
}
