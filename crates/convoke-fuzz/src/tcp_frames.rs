//! What a TCP connection brings, in frames (RFC 4571).
//!
//! Owns: the stream in pieces, and what must hold of the frames.
//! Never: opens a connection.

use bytes::BytesMut;
use convoke_core::DATAGRAM_BYTES_MAX;
use convoke_node::{Framing, TcpEnd};

/// What a stream was read as: the worker that its first frame names, all frames, and how it went wrong.
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    worker: Option<u8>,
    frames: Vec<Vec<u8>>,
    wrong: Option<TcpEnd>,
}

/// Reads the stream as a connection does, in pieces of these lengths, over and over.
fn read(stream: &[u8], pieces: &[usize]) -> Reading {
    let (mut door, mut framing) = (Framing::default(), Framing::default());
    let mut buffer = BytesMut::new();
    let mut reading = Reading { worker: None, frames: Vec::new(), wrong: None };
    let mut rest = stream;
    let mut pieces = pieces.iter().cycle();
    while !rest.is_empty() {
        let piece = pieces.next().map_or(rest.len(), |piece| (*piece).clamp(1, rest.len()));
        Framing::reserve(&mut buffer);
        buffer.extend_from_slice(&rest[..piece]);
        rest = &rest[piece..];
        if reading.worker.is_none() {
            match door.first(&mut buffer) {
                Ok(None) => {}
                Ok(Some((worker, frame))) => {
                    reading.worker = Some(worker);
                    reading.frames.push(frame.to_vec());
                }
                Err(wrong) => return Reading { wrong: Some(wrong), ..reading },
            }
        }
        while reading.worker.is_some() {
            match framing.next(&mut buffer) {
                Ok(None) => break,
                Ok(Some(frame)) => reading.frames.push(frame.to_vec()),
                Err(wrong) => return Reading { wrong: Some(wrong), ..reading },
            }
        }
        assert!(buffer.len() <= DATAGRAM_BYTES_MAX + 2, "{} bytes are kept", buffer.len());
    }
    reading
}

/// The first byte says in which pieces the rest comes.
fn split(bytes: &[u8]) -> (Vec<usize>, &[u8]) {
    let Some((first, stream)) = bytes.split_first() else { return (vec![1], bytes) };
    let (small, large) = (usize::from(first % 16) + 1, usize::from(first / 16) * 97 + 1);
    (vec![small, large], stream)
}

/// A stream is read as the same frames however it comes in pieces, no frame is larger than a datagram may
/// be, and frames that are written are read again.
pub fn tcp_frames(bytes: &[u8]) {
    let (pieces, stream) = split(bytes);
    let reading = read(stream, &pieces);
    for pieces in [&[1][..], &[usize::MAX][..], &[2, 3][..]] {
        assert_eq!(reading, read(stream, pieces), "in pieces of {pieces:?}");
    }
    let mut again = BytesMut::new();
    let mut framing = Framing::default();
    for frame in &reading.frames {
        assert!(frame.len() <= DATAGRAM_BYTES_MAX, "a frame of {} bytes", frame.len());
        framing.write(frame.clone(), &mut again);
    }
    assert!(again.len() <= stream.len(), "more than was there");
    let reread = read(&again, &pieces);
    assert_eq!(reread, Reading { wrong: None, ..reading });
}

/// Whether a connection that brings this is one of a client as far as it goes: its first frame names a
/// worker, and none is wrong.
#[must_use]
pub fn tcp_frames_taken(bytes: &[u8]) -> bool {
    let (pieces, stream) = split(bytes);
    let reading = read(stream, &pieces);
    reading.worker.is_some() && reading.wrong.is_none()
}
