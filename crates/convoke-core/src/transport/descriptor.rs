//! The dependency descriptor's bytes, through str0m and out again.
//!
//! Owns: how a header extension that str0m does not know passes it.
//! Never: reads the descriptor; [`crate::layers::descriptor`] does.

use std::sync::Arc;

use str0m::rtp::{Extension, ExtensionSerializer, ExtensionValues};

use crate::layers::descriptor::URI;

/// The one-byte form of header extensions (RFC 8285 §4.2) holds so much.
const ONE_BYTE_FORM_MAX: usize = 16;

/// A dependency descriptor as it stands in its packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DescriptorBytes(pub(crate) Vec<u8>);

#[derive(Debug)]
struct Pass;

impl ExtensionSerializer for Pass {
    fn write_to(&self, buf: &mut [u8], values: &ExtensionValues) -> usize {
        let Some(DescriptorBytes(bytes)) = values.user_values.get() else { return 0 };
        match buf.get_mut(..bytes.len()) {
            Some(to) => {
                to.copy_from_slice(bytes);
                bytes.len()
            }
            None => 0,
        }
    }

    fn parse_value(&self, bytes: &[u8], values: &mut ExtensionValues) -> bool {
        values.user_values.set_arc(Arc::new(DescriptorBytes(bytes.to_vec())));
        true
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }

    fn requires_two_byte_form(&self, values: &ExtensionValues) -> bool {
        let value = values.user_values.get::<DescriptorBytes>();
        value.is_some_and(|DescriptorBytes(bytes)| bytes.len() > ONE_BYTE_FORM_MAX)
    }
}

/// The extension, for the extension map.
pub(super) fn extension() -> Extension {
    Extension::with_serializer(URI, Pass)
}
