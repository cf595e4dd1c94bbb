//! Layered sources against the captures of Chromium's encoders, and against themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::*;
use crate::source::picture_ids;

/// One packet of a capture, as far as it is compared: the dependency descriptor and the first bytes
/// of the payload.
struct Captured {
    descriptor: Option<Vec<u8>>,
    payload: Vec<u8>,
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

/// A capture of `convoke-core`'s tests; their format is told beside them.
fn captured(name: &str) -> Vec<Captured> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../convoke-core/tests/fixtures/layers");
    let text = std::fs::read_to_string(folder.join(format!("{name}.txt"))).unwrap();
    let packet = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let descriptor = (fields[4] != "-").then(|| hex(fields[4]));
        Captured { descriptor, payload: hex(fields[6]) }
    };
    text.lines().map(packet).collect()
}

fn config(codec: Codec, mode: Scalability) -> LayeredConfig {
    let now = Instant::now();
    let mut config = match mode {
        Scalability::L1T1 | Scalability::L1T3 => LayeredConfig::simulcast(codec, 3, now, now),
        Scalability::L3T3 | Scalability::L3T3Key => LayeredConfig::scalable(codec, 3, now, now),
    };
    config.mode = mode;
    config.descriptor = true;
    config.first_picture_id = Some(1);
    config
}

fn play(config: LayeredConfig, seed: u64, ms: u64) -> Vec<Packet> {
    let start = config.start;
    let mut source = LayeredSource::new(config, seed);
    (0..ms).flat_map(|at| source.take(start + Duration::from_millis(at))).collect()
}

fn stamp(packet: &Packet) -> Stamp {
    Stamp::read(&packet.payload).unwrap()
}

/// Descriptors by frame number, the first packet of each frame.
fn by_frame<'a>(all: impl Iterator<Item = &'a [u8]>) -> BTreeMap<u16, Vec<u8>> {
    let mut frames = BTreeMap::new();
    for bytes in all.filter(|bytes| bytes[0] & 0x80 != 0) {
        let number = u16::from_be_bytes([bytes[1], bytes[2]]);
        // Whether it is the last packet as well depends on the frame's size.
        let mut bytes = bytes.to_vec();
        bytes[0] &= !0x40;
        frames.entry(number).or_insert(bytes);
    }
    frames
}

#[test]
fn descriptors_are_chromiums() {
    // Capture, codec, mode, size; from which frame of the capture on it has all layers, and how many
    // frames follow undisturbed.
    let table = [
        ("vp8-l1t3-dd", Codec::Vp8, Scalability::L1T3, (320, 180), 1, 20),
        ("av1-l1t3-dd", Codec::Av1, Scalability::L1T3, (320, 180), 1, 20),
        ("vp9-l3t3-key-dd", Codec::Vp9, Scalability::L3T3Key, (1_280, 720), 2, 40),
    ];
    for (name, codec, mode, size, from, count) in table {
        let mut config = config(codec, mode);
        config.encodings = vec![EncodingConfig { size, bps: 400_000, active: true }];
        config.first_picture_id = Some(from);
        let packets = play(config, 1, 2_000);
        let ours = by_frame(packets.iter().filter_map(|p| p.descriptor.as_deref()));
        let capture = captured(name);
        let theirs = by_frame(capture.iter().filter_map(|p| p.descriptor.as_deref()));
        for number in from..from + count {
            assert_eq!(ours.get(&number), theirs.get(&number), "{name}, frame {number}");
        }
    }
}

#[test]
fn structures_are_chromiums() {
    for (name, codec, mode) in [
        ("av1-l3t3-dd", Codec::Av1, Scalability::L3T3),
        ("av1-l3t3-key-dd", Codec::Av1, Scalability::L3T3Key),
    ] {
        let packets = play(config(codec, mode), 1, 50);
        let ours = packets[0].descriptor.clone().unwrap();
        let theirs = captured(name)[0].descriptor.clone().unwrap();
        // Theirs has two of three layers active, and says so at its end.
        assert_eq!(theirs[3], 0xc0, "{name}");
        assert_eq!(
            (ours[3] & 0x3f, &ours[4..ours.len() - 1]),
            (theirs[3] & 0x3f, &theirs[4..ours.len() - 1])
        );
    }
}

#[test]
fn vp9_payload_descriptors_are_chromiums() {
    // From the keyframe with all three layers on, for some pictures.
    let table = [("vp9-l3t3", Scalability::L3T3), ("vp9-l3t3-key-dd", Scalability::L3T3Key)];
    for (name, mode) in table {
        let starts = |payload: &[u8]| payload[0] & 0x08 != 0;
        let capture = captured(name);
        let all_layers = |p: &Captured| p.payload[0] & 0x4a == 0x0a && p.payload[4] >> 5 == 2;
        let from = capture.iter().position(all_layers).unwrap();
        let theirs: Vec<&[u8]> =
            capture[from..].iter().map(|p| &p.payload[..]).filter(|p| starts(p)).take(9).collect();
        let mut config = config(Codec::Vp9, mode);
        config.descriptor = false;
        let packets = play(config, 1, 1_000);
        let ours = packets.iter().map(|p| &p.payload[..]).filter(|p| starts(p));
        for (ours, theirs) in ours.zip(theirs) {
            // All but E, which is on the last packet of a frame, and the picture id.
            assert_eq!(ours[0] & !0x04, theirs[0] & !0x04, "{name}");
            let references = usize::from(ours[0] & 0x40 != 0);
            assert_eq!(ours[3..4 + references], theirs[3..4 + references], "{name}");
        }
    }
}

#[test]
fn every_reference_is_to_a_frame_that_its_own_decode_targets_contain() {
    for codec in Codec::VIDEO {
        for mode in [Scalability::L1T1, Scalability::L1T3, Scalability::L3T3, Scalability::L3T3Key]
        {
            let pattern = Pattern::of(mode, codec);
            let packets = play(config(codec, mode), 2, 1_500);
            let firsts = packets.iter().map(stamp).filter(|s| s.packet == 0 && s.encoding == 0);
            let frames: Vec<Stamp> = firsts.collect();
            let template = |frame: &Stamp| {
                let packet = packets.iter().find(|p| {
                    let other = stamp(p);
                    p.encoding == 0 && other.frame == frame.frame && other.packet == 0
                });
                let bytes = packet.and_then(|p| p.descriptor.clone()).unwrap();
                &pattern.templates[usize::from(bytes[0] & 0x3f)]
            };
            for target in 0..pattern.decode_targets() {
                let present = |f: &Stamp| template(f).indications.as_bytes()[target] != b'-';
                let part: BTreeSet<u32> =
                    frames.iter().filter(|f| present(f)).map(|f| f.frame).collect();
                for frame in frames.iter().filter(|f| part.contains(&f.frame)) {
                    for back in frame.references.iter().filter(|back| **back > 0) {
                        let needed = frame.frame - u32::from(*back);
                        assert!(part.contains(&needed), "{codec:?} {mode:?} {target} {frame:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn payloads_say_what_stamps_say() {
    for flexible in [true, false] {
        let mut config = config(Codec::Vp9, Scalability::L3T3);
        config.descriptor = false;
        config.flexible = flexible;
        for packet in play(config, 3, 500) {
            let (bytes, stamp) = (&packet.payload, stamp(&packet));
            assert_eq!(bytes[0] & 0x10 != 0, flexible);
            assert_eq!(bytes[3] >> 5, stamp.temporal);
            assert_eq!(bytes[3] >> 1 & 7, stamp.spatial);
            assert_eq!(bytes[3] & 1 == 1, stamp.spatial > 0);
            let ids = picture_ids(Codec::Vp9, bytes);
            assert_eq!(ids.picture_id, Some(2 + stamp.picture as u16));
            assert_eq!(ids.tl0_pic_idx.is_some(), !flexible);
        }
    }
    let mut config = config(Codec::Vp8, Scalability::L1T3);
    config.descriptor = false;
    config.first_tl0 = Some(254);
    for packet in play(config, 3, 500).iter().filter(|p| p.encoding == 2) {
        let (bytes, stamp) = (&packet.payload, stamp(packet));
        let ids = picture_ids(Codec::Vp8, bytes);
        assert_eq!(ids.picture_id, Some(2 + stamp.picture as u16));
        let base_layers = 255_u8.wrapping_add((stamp.picture / 4) as u8);
        assert_eq!(ids.tl0_pic_idx, Some(base_layers));
        assert_eq!(bytes[5] >> 6, stamp.temporal);
        let sync = matches!(stamp.picture % 8, 1 | 2);
        assert_eq!(bytes[5] & 0x20 != 0, sync, "{stamp:?}");
        assert_eq!(bytes[0] & 0x20 != 0, stamp.temporal == 2);
    }
}

#[test]
fn rates_and_sizes_are_as_told() {
    let all = config(Codec::H264, Scalability::L1T3);
    for (encoding, bps) in [(0, 150_000), (1, 500_000), (2, 1_700_000)] {
        let packets = play(all.clone(), 5, 10_000);
        let of = packets.iter().filter(|p| p.encoding == encoding);
        let bytes: usize = of.clone().map(|p| p.payload.len() - Stamp::LEN).sum();
        let rate = bytes as f64 * 8.0 / 10.0;
        assert!((rate / f64::from(bps) - 1.0).abs() < 0.15, "{encoding}: {rate}");
        let mut frames: BTreeMap<u32, usize> = BTreeMap::new();
        of.for_each(|p| *frames.entry(stamp(p).frame).or_default() += p.payload.len());
        let (key, rest) = frames.into_iter().partition::<Vec<_>, _>(|(frame, _)| *frame == 0);
        let mean = rest.iter().map(|(_, bytes)| bytes).sum::<usize>() / rest.len();
        assert!((3 * mean..5 * mean + 500).contains(&key[0].1), "{encoding}: {} {mean}", key[0].1);
    }
}

#[test]
fn encodings_come_and_go_and_begin_with_keyframes() {
    let mut config = config(Codec::Vp8, Scalability::L1T3);
    config.encodings[2].active = false;
    let start = config.start;
    let mut source = LayeredSource::new(config, 1);
    let mut seen: BTreeMap<usize, Vec<Stamp>> = BTreeMap::new();
    for ms in 0..2_000 {
        let now = start + Duration::from_millis(ms);
        match ms {
            500 => source.set_active(now, 2, true),
            800 => source.request_keyframe_of(1),
            1_000 => (0..3).for_each(|encoding| source.set_active(now, encoding, false)),
            1_100 => assert_eq!(source.next_due(), None),
            1_500 => source.set_active(now, 0, true),
            _ => {}
        }
        for packet in source.take(now) {
            seen.entry(packet.encoding).or_default().push(stamp(&packet));
        }
    }
    let keyframes = |encoding: usize| -> Vec<u64> {
        let starts = seen[&encoding].iter().filter(|s| s.keyframe && s.packet == 0);
        starts.map(|s| s.sent_us / 100_000).collect()
    };
    assert_eq!((keyframes(0), keyframes(1), keyframes(2)), (vec![0, 15], vec![0, 8], vec![5]));
    let gap = seen[&0].windows(2).map(|w| w[1].sent_us - w[0].sent_us).max();
    assert!(gap.is_some_and(|gap| (500_000..560_000).contains(&gap)), "{gap:?}");
    assert!(seen[&0].windows(2).all(|w| w[1].frame - w[0].frame <= 1));
    assert!(!source.is_active(1) && source.is_active(0));
}

#[test]
fn encrypted_payloads_say_nothing_and_the_descriptor_all() {
    let mut config = config(Codec::Vp8, Scalability::L1T3);
    config.encrypted = true;
    let packets = play(config, 1, 1_000);
    let first_bytes: BTreeSet<u8> = packets.iter().map(|p| p.payload[0]).collect();
    assert!(first_bytes.len() > 40);
    assert!(packets.iter().all(|p| p.descriptor.is_some()));
}
