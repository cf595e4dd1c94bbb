//! Aggregation and OBU headers against pion's reading.

use super::{capture, expected, infos, part};
use crate::layers::av1::Av1;
use crate::layers::{FrameInfo, Layer};

const CAPTURES: [&str; 3] = ["av1-l1t3-dd", "av1-l3t3-dd", "av1-l3t3-key-dd"];

#[test]
fn headers_read_as_pion_reads_them() {
    for name in CAPTURES {
        for (packet, line) in capture(name).iter().zip(expected(name)) {
            let av1 = Av1::parse(&packet.payload).unwrap();
            let fields: Vec<&str> = part(&line, 'A').trim_start_matches('|').split('|').collect();
            let [continues, goes_on, _, new_sequence, ref obus @ ..] = fields[..] else { panic!() };
            let kinds: Vec<&str> = obus.iter().map(|obu| obu.split('@').next().unwrap()).collect();
            assert_eq!(av1.keyframe, new_sequence == "1", "{name} {line}");
            assert_eq!(av1.keyframe, kinds.contains(&"1"), "{name} {line}");
            assert_eq!(av1.starts_frame, continues == "0", "{name} {line}");
            assert_eq!(av1.ends_frame, goes_on == "0", "{name} {line}");
            let layer = obus.iter().find_map(|obu| obu.split_once('@')).map(|(_, layer)| layer);
            let ours = av1.layer.map(|layer| format!("{}/{}", layer.spatial, layer.temporal));
            assert_eq!(ours.as_deref(), layer, "{name} {line}");
        }
    }
}

/// KF-04: AV1 with and without dependency descriptor.
#[test]
fn payload_and_dependency_descriptor_agree() {
    for name in CAPTURES {
        let mut without = super::Readers::new(name);
        for (mut packet, described) in capture(name).into_iter().zip(infos(name)) {
            packet.descriptor = None;
            let plain = without.read(&packet).unwrap();
            let same = |info: &FrameInfo| {
                let bounds = (info.starts_frame, info.ends_frame, info.starts_picture);
                (info.layer, bounds, info.ends_picture, info.starts_keyframe())
            };
            assert_eq!(same(&plain), same(&described), "{name} {}", packet.seq);
        }
    }
}

#[test]
fn elements_are_walked_and_bounded() {
    let layer = |spatial, temporal| Some(Layer { spatial, temporal });
    // W = 0: every element has a size; sequence header, then a frame of layer 1/2.
    let sized = Av1::parse(&[0x08, 2, 0x08, 0, 3, 0x34, 0x48, 9]).unwrap();
    assert!(sized.keyframe && sized.starts_frame && sized.ends_frame);
    assert_eq!(sized.layer, layer(1, 2));
    // A size in two bytes.
    let mut long = vec![0x00, 0x80 | 72, 1, 0x34, 0x20];
    long.resize(1 + 2 + 200, 0);
    assert_eq!(Av1::parse(&long).unwrap().layer, layer(0, 1));
    // A fragment that goes on; the end of one, then a tile group of another OBU.
    let first = Av1::parse(&[0x50, 0x30, 1, 2]).unwrap();
    assert!(first.starts_frame && !first.ends_frame && !first.keyframe);
    let rest = Av1::parse(&[0xa0, 1, 7, 0x24, 0x00, 1]).unwrap();
    assert!(!rest.starts_frame && rest.ends_frame);
    assert_eq!(rest.layer, layer(0, 0));
    let table: [&[u8]; 7] = [
        &[],
        &[0x10],
        // An element longer than the packet, a size without end, an OBU header cut short.
        &[0x00, 5, 0x30],
        &[0x00, 0x80, 0x80, 0x80, 0x80, 0x80, 1],
        &[0x10, 0x34],
        // The forbidden bit; an empty element.
        &[0x10, 0xb0, 0],
        &[0x00, 0, 2, 0x30],
    ];
    for payload in table {
        assert_eq!(Av1::parse(payload), None, "{payload:x?}");
    }
}
