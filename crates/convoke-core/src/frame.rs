//! The frames of data messages on data channels, as `PROTOCOL.md` lays them out.
//!
//! Owns: reading what clients send and writing what they get; all numbers are big endian.
//! Never: judges who may send what to whom.
//!
//! ```text
//! from a client: version = 1 | n | n × u32 recipient (none: everyone else) | topic length | topic | payload
//! to a client:   version = 1 | u32 sender                                  | topic length | topic | payload
//! ```

use std::sync::Arc;

use crate::api::DATA_TOPIC_BYTES_MAX;
use crate::ids::ParticipantId;

const VERSION: u8 = 1;

/// The bytes of the longest frame from a client beyond its payload.
pub(crate) const HEADER_BYTES_MAX: usize =
    1 + 1 + 4 * crate::api::DATA_RECIPIENTS_MAX + 1 + DATA_TOPIC_BYTES_MAX;

/// A frame from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFrame<'a> {
    /// Everyone else when empty.
    pub to: Vec<ParticipantId>,
    /// At most [`DATA_TOPIC_BYTES_MAX`] bytes.
    pub topic: &'a str,
    /// The rest of the frame.
    pub payload: &'a [u8],
}

impl<'a> DataFrame<'a> {
    /// Reads a frame; `None` when it is none.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (&version, rest) = bytes.split_first()?;
        if version != VERSION {
            return None;
        }
        let (&count, rest) = rest.split_first()?;
        let (to, rest) = rest.split_at_checked(4 * usize::from(count))?;
        let (to, _) = to.as_chunks::<4>();
        let to = to.iter().map(|csrc| ParticipantId(u32::from_be_bytes(*csrc))).collect();
        let (&length, rest) = rest.split_first()?;
        let (topic, payload) = rest.split_at_checked(usize::from(length))?;
        if topic.len() > DATA_TOPIC_BYTES_MAX {
            return None;
        }
        Some(Self { to, topic: std::str::from_utf8(topic).ok()?, payload })
    }
}

/// The frame of a message for its receivers. The topic's length was checked.
pub(crate) fn write(from: ParticipantId, topic: &str, payload: &[u8]) -> Arc<[u8]> {
    let length = u8::try_from(topic.len()).unwrap_or(0);
    let topic = topic.get(..usize::from(length)).unwrap_or_default();
    let mut frame = Vec::with_capacity(6 + topic.len() + payload.len());
    frame.push(VERSION);
    frame.extend(from.0.to_be_bytes());
    frame.push(length);
    frame.extend(topic.as_bytes());
    frame.extend(payload);
    frame.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn from_client(to: &[u32], topic: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![1, u8::try_from(to.len()).unwrap()];
        frame.extend(to.iter().flat_map(|csrc| csrc.to_be_bytes()));
        frame.push(u8::try_from(topic.len()).unwrap());
        frame.extend(topic);
        frame.extend(payload);
        frame
    }

    #[test]
    fn the_example_of_the_specification_is_read() {
        let bytes =
            [1, 1, 0x7f, 0x3a, 0x01, 0xc2, 4, b'c', b'h', b'a', b't', b'h', b'e', b'l', b'l', b'o'];
        let frame = DataFrame::read(&bytes).unwrap();
        assert_eq!(frame.to, [ParticipantId(0x7f3a_01c2)]);
        assert_eq!((frame.topic, frame.payload), ("chat", &b"hello"[..]));
        let answer = write(ParticipantId(0x7f3a_01c2), "chat", b"hello");
        assert_eq!(&*answer, b"\x01\x7f\x3a\x01\xc2\x04chathello");
    }

    #[test]
    fn what_is_cut_off_or_of_another_version_is_no_frame() {
        let whole = from_client(&[1, 2], b"topic", b"");
        assert!(DataFrame::read(&whole).is_some());
        for end in 0..whole.len() {
            assert_eq!(DataFrame::read(&whole[..end]), None, "{end}");
        }
        assert_eq!(DataFrame::read(&[0, 0, 0]), None);
        assert_eq!(DataFrame::read(&[2, 0, 0]), None);
    }

    #[test]
    fn a_topic_has_up_to_64_bytes_of_utf_8_and_recipients_are_up_to_255() {
        let read = |topic: &[u8]| DataFrame::read(&from_client(&[], topic, b"x")).is_some();
        assert!(read(&[b'a'; 64]) && !read(&[b'a'; 65]));
        assert!(read("ä".as_bytes()) && !read(&[0xc3]));
        let everyone: Vec<u32> = (0..255).collect();
        let longest = from_client(&everyone, &[b'a'; 64], b"");
        assert_eq!(longest.len(), HEADER_BYTES_MAX);
        assert_eq!(DataFrame::read(&longest).unwrap().to.len(), 255);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            to in prop::collection::vec(any::<u32>(), 0..256),
            topic in "\\PC{0,16}",
            payload in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let bytes = from_client(&to, topic.as_bytes(), &payload);
            let frame = DataFrame::read(&bytes).unwrap();
            prop_assert!(frame.to.iter().map(|id| id.0).eq(to.iter().copied()));
            prop_assert_eq!((frame.topic, frame.payload), (topic.as_str(), payload.as_slice()));
        }

        #[test]
        fn anything_is_read_without_panic_and_again_the_same(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            if let Some(frame) = DataFrame::read(&bytes) {
                let to: Vec<u32> = frame.to.iter().map(|id| id.0).collect();
                prop_assert_eq!(from_client(&to, frame.topic.as_bytes(), frame.payload), bytes);
            }
        }
    }
}
