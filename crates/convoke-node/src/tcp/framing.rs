//! Datagrams in a stream: a length of two bytes before each (RFC 4571).
//!
//! Owns: which frames there are, and what may be in one.
//! Never: keeps more of a stream than the frame that is not complete yet.

use bytes::{Bytes, BytesMut};
use convoke_core::{DATAGRAM_BYTES_MAX, addressed_worker, is_spoken};
use tokio_util::codec::{Decoder as _, Encoder as _, LengthDelimitedCodec};

use super::TcpEnd;

/// The bytes that are read from a connection at once.
pub(super) const READ_BYTES: usize = 16 * 1024;

/// One direction of a connection.
#[derive(Debug)]
pub struct Framing(LengthDelimitedCodec);

impl Default for Framing {
    fn default() -> Self {
        let codec = LengthDelimitedCodec::builder()
            .length_field_type::<u16>()
            .max_frame_length(DATAGRAM_BYTES_MAX)
            .new_codec();
        Self(codec)
    }
}

impl Framing {
    /// Makes room in `buffer` for what is read next.
    pub fn reserve(buffer: &mut BytesMut) {
        buffer.reserve(READ_BYTES);
    }

    /// Takes the first frame of a connection out of `buffer`, and the worker that it names; `None`: it is not
    /// complete. Empty ones before it say nothing.
    ///
    /// # Errors
    /// When it is too large, or no STUN message to a worker: nothing can be read after it.
    pub fn first(&mut self, buffer: &mut BytesMut) -> Result<Option<(u8, BytesMut)>, TcpEnd> {
        loop {
            return match self.0.decode(buffer) {
                Err(_) => Err(TcpEnd::Malformed),
                Ok(None) => Ok(None),
                Ok(Some(frame)) if frame.is_empty() => continue,
                Ok(Some(frame)) => match addressed_worker(&frame) {
                    Some(worker) => Ok(Some((worker, frame))),
                    None => Err(TcpEnd::Stranger),
                },
            };
        }
    }

    /// Takes the next frame out of `buffer`; `None`: it is not complete. It may be empty: a null packet
    /// (RFC 4571 §2).
    ///
    /// # Errors
    /// When it is too large, or nothing that is spoken here: nothing can be read after it.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<BytesMut>, TcpEnd> {
        match self.0.decode(buffer) {
            Ok(Some(frame)) if frame.is_empty() || is_spoken(&frame) => Ok(Some(frame)),
            Ok(None) => Ok(None),
            Ok(Some(_)) | Err(_) => Err(TcpEnd::Malformed),
        }
    }

    /// Appends a frame. What is longer than a frame may be, which no datagram of ours is, is left out.
    pub fn write(&mut self, datagram: Vec<u8>, buffer: &mut BytesMut) {
        let _ = self.0.encode(Bytes::from(datagram), buffer);
    }
}
