//! The dependency descriptor as a header extension of the media stack: raw bytes in and out.
//!
//! Owns: its name in SDP (AV1 RTP specification, Appendix A) and its way through the stack.
//! Never: looks into the bytes; whoever sends or receives them does.

use std::sync::Arc;

use str0m::rtp::{Extension, ExtensionSerializer, ExtensionValues};

const URI: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
/// The id under which it is offered; one that the stack's own extensions leave free.
pub(super) const ID: u8 = 12;
/// The longest value of a one-byte header (RFC 8285 §4.2).
const ONE_BYTE_MAX: usize = 16;
/// The longest value of a two-byte header (RFC 8285 §4.3).
const TWO_BYTE_MAX: usize = 255;

/// A descriptor's bytes.
#[derive(Debug, Clone)]
pub(super) struct RawDescriptor(pub(super) Arc<[u8]>);

/// The extension, for the stack's settings.
pub(super) fn extension() -> Extension {
    Extension::with_serializer(URI, Raw)
}

#[derive(Debug)]
struct Raw;

fn of(values: &ExtensionValues) -> Option<&[u8]> {
    let bytes = &values.user_values.get::<RawDescriptor>()?.0;
    (1..=TWO_BYTE_MAX).contains(&bytes.len()).then_some(bytes)
}

impl ExtensionSerializer for Raw {
    fn write_to(&self, buf: &mut [u8], values: &ExtensionValues) -> usize {
        let Some(bytes) = of(values) else { return 0 };
        let Some(target) = buf.get_mut(..bytes.len()) else { return 0 };
        target.copy_from_slice(bytes);
        bytes.len()
    }

    fn parse_value(&self, buf: &[u8], values: &mut ExtensionValues) -> bool {
        values.user_values.set(RawDescriptor(buf.into()));
        true
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }

    fn requires_two_byte_form(&self, values: &ExtensionValues) -> bool {
        of(values).is_some_and(|bytes| bytes.len() > ONE_BYTE_MAX)
    }
}
