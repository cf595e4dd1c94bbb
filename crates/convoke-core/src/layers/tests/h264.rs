//! NAL unit marks against tshark's reading.

use super::{capture, expected, h264_codec, infos, part};
use crate::layers::h264::H264;
use crate::layers::{Keyframe, Layer, UpSwitch};

/// NRI and kind of a packet's first slice, as tshark lists its NAL units.
fn slice(line: &str) -> Option<(u8, u8)> {
    let fields: Vec<&str> = part(line, 'N').split(' ').collect();
    let [_, inner, nri, kinds, ..] = fields[..] else { panic!("{line}") };
    let mut units: Vec<(String, String)> = Vec::new();
    if inner == "-" {
        let pairs = nri.split(',').zip(kinds.split(','));
        units.extend(pairs.map(|(nri, kind)| (nri.into(), kind.into())));
    } else {
        units.push((nri.into(), inner.into()));
    }
    let mut units = units.iter().map(|(nri, kind)| (nri.parse().unwrap(), kind.parse().unwrap()));
    units.find(|&(_, kind): &(u8, u8)| (1..=5).contains(&kind))
}

#[test]
fn references_and_parameter_sets_read_as_tshark_reads_them() {
    for name in ["h264-l1t2-dd", "h264-stap"] {
        for (packet, line) in capture(name).iter().zip(expected(name)) {
            let h264 = H264::parse(h264_codec(), &packet.payload).unwrap();
            let fields: Vec<&str> = part(&line, 'N').split(' ').collect();
            let has_sps = fields[3].split(',').chain([fields[1]]).any(|kind| kind == "7");
            assert_eq!(h264.keyframe, has_sps, "{name} {line}");
            let disposable = slice(&line).is_some_and(|(nri, _)| nri == 0);
            assert_eq!(h264.non_reference, disposable, "{name} {line}");
            assert_eq!(h264.temporal, u8::from(disposable));
        }
    }
}

/// Three packets of parameter sets and slice, then fragments; B-frames nothing refers to.
#[test]
fn only_the_first_packet_of_a_picture_starts_it() {
    for name in ["h264-l1t2-dd", "h264-stap", "h264-fragments"] {
        let mut packets = capture(name);
        packets.iter_mut().for_each(|packet| packet.descriptor = None);
        let mut readers = super::Readers::new(name);
        let mut last = None;
        let mut upper = 0;
        for packet in &packets {
            let info = readers.read(packet).unwrap();
            let first = last.replace(packet.time) != Some(packet.time);
            assert_eq!(info.starts_frame, first, "{name} {}", packet.seq);
            assert_eq!(info.starts_picture, first);
            assert_eq!(info.ends_frame, packet.marker);
            if info.layer.temporal > 0 {
                upper += 1;
                assert!(info.discardable);
                assert_eq!(info.up_switch, UpSwitch::ToThis);
            }
        }
        assert_eq!(upper > 0, name != "h264-stap", "{name}");
    }
}

/// The encoder's mark and its dependency descriptor say the same of temporal layers.
#[test]
fn nri_and_dependency_descriptor_agree() {
    let mut without = super::Readers::new("h264-l1t2-dd");
    for (mut packet, described) in capture("h264-l1t2-dd").into_iter().zip(infos("h264-l1t2-dd")) {
        packet.descriptor = None;
        let plain = without.read(&packet).unwrap();
        assert_eq!(plain.layer, described.layer, "{}", packet.seq);
        assert_eq!(plain.discardable, described.discardable, "{}", packet.seq);
        assert_eq!(plain.starts_keyframe(), described.starts_keyframe(), "{}", packet.seq);
    }
}

/// A prefix NAL unit in front of a slice, alone and aggregated (H.264 Annex G.7.3.1.1).
#[test]
fn a_prefix_unit_gives_the_temporal_id() {
    let prefix = [0x6e, 0x80, 0x00, 0x4f];
    let alone = H264::parse(h264_codec(), &prefix).unwrap();
    assert_eq!((alone.temporal, alone.starts_frame), (2, true));
    let mut stap = vec![0x78, 0, 4];
    stap.extend(prefix);
    stap.extend([0, 3, 0x61, 0x80, 0]);
    let stap = H264::parse(h264_codec(), &stap).unwrap();
    assert_eq!((stap.temporal, stap.starts_frame, stap.non_reference), (2, true, false));
    // Without the SVC extension flag it is MVC's, and says nothing.
    assert_eq!(H264::parse(h264_codec(), &[0x6e, 0x00, 0x00, 0x4f]).unwrap().temporal, 0);
}

#[test]
fn malformed_payloads_are_refused() {
    let table: [&[u8]; 6] = [
        &[],
        &[0x18],
        &[0x18, 0, 9, 0x67],
        &[0x18, 0, 0],
        &[0x7c],
        // STAP-B, which nobody negotiates.
        &[0x19, 0, 0, 0, 1, 0x67],
    ];
    for payload in table {
        assert_eq!(H264::parse(h264_codec(), payload), None, "{payload:x?}");
    }
}

#[test]
fn a_keyframe_starts_at_the_parameter_sets() {
    let infos = infos("h264-fragments");
    let starts: Vec<_> = infos.iter().filter(|info| info.keyframe == Keyframe::Stream).collect();
    assert!(starts.len() >= 2);
    assert!(starts.iter().all(|info| info.layer == Layer::default()));
}

#[test]
fn a_keyframe_is_of_the_lowest_layer_whatever_it_says() {
    // Parameter sets and a slice whose `nal_ref_idc` is 0, aggregated.
    let stap = [24, 0, 4, 0x67, 0x42, 0xe0, 0x1f, 0, 2, 0x68, 0xce, 0, 2, 0x01, 0x88];
    let h264 = H264::parse(h264_codec(), &stap).unwrap();
    assert!(h264.keyframe && !h264.non_reference);
    assert_eq!(h264.temporal, 0);
}
