//! Descriptors of real encoders against independent readings of the same bytes, and laws.
//! The captures and how they were made: `tests/fixtures/layers/README.md`.

mod av1;
mod descriptor;
mod h264;
mod hostile;
mod numbers;
mod select;
mod switch;
mod vp8;
mod vp9;

use std::collections::BTreeMap;
use std::fs;

use super::{FrameInfo, Packet, Reader};
use crate::transport::Codec;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/layers");

/// One packet of a capture.
#[derive(Debug, Clone)]
struct Captured {
    seq: u64,
    time: u32,
    marker: bool,
    encoding: Option<u8>,
    descriptor: Option<Vec<u8>>,
    /// Of the length it had; bytes that no parser needs are zero.
    payload: Vec<u8>,
}

impl Captured {
    fn packet(&self) -> Packet<'_> {
        Packet {
            seq: self.seq,
            time: self.time,
            marker: self.marker,
            payload: &self.payload,
            descriptor: self.descriptor.as_deref(),
        }
    }
}

fn capture(name: &str) -> Vec<Captured> {
    let text = fs::read_to_string(format!("{FIXTURES}/{name}.txt")).unwrap();
    text.lines().map(captured).collect()
}

fn captured(line: &str) -> Captured {
    let fields: Vec<&str> = line.split(' ').collect();
    let [seq, time, marker, encoding, descriptor, len, head] = fields[..] else { panic!("{line}") };
    let mut payload = bytes(head);
    payload.resize(len.parse().unwrap(), 0);
    Captured {
        seq: seq.parse().unwrap(),
        time: time.parse().unwrap(),
        marker: marker == "1",
        encoding: (encoding != "-").then(|| encoding.parse().unwrap()),
        descriptor: (descriptor != "-").then(|| bytes(descriptor)),
        payload,
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Another parser's readings, one line for each packet of the capture.
fn expected(name: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("{FIXTURES}/{name}.expected")).unwrap();
    text.lines().map(ToOwned::to_owned).collect()
}

/// What follows `mark` in an expected line: the payload's reading stands last.
fn part(line: &str, mark: char) -> &str {
    let (_, part) = line.split_once(&format!(" {mark}")).unwrap();
    part
}

fn codec(name: &str) -> Codec {
    match name.split('-').next() {
        Some("vp8") => Codec::Vp8,
        Some("vp9") => Codec::Vp9 { profile: 0 },
        Some("av1") => Codec::Av1 { profile: 0 },
        Some("h264") => h264_codec(),
        other => panic!("{other:?}"),
    }
}

fn h264_codec() -> Codec {
    use crate::transport::H264Profile;
    Codec::H264 { profile: H264Profile::ConstrainedBaseline, mode: 1 }
}

/// The readers of a track's encodings.
#[derive(Debug)]
struct Readers {
    codec: Codec,
    readers: BTreeMap<Option<u8>, Reader>,
}

impl Readers {
    fn new(name: &str) -> Self {
        Self { codec: codec(name), readers: BTreeMap::new() }
    }

    fn read(&mut self, captured: &Captured) -> Option<FrameInfo> {
        let codec = self.codec;
        let reader = self.readers.entry(captured.encoding);
        reader.or_insert_with(|| Reader::new(codec, captured.encoding)).read(captured.packet())
    }
}

fn infos(name: &str) -> Vec<FrameInfo> {
    let mut readers = Readers::new(name);
    capture(name).iter().map(|captured| readers.read(captured).unwrap()).collect()
}
