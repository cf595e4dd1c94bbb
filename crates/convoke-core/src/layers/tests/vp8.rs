//! RFC 7741 against tshark's reading, and the rewriting of picture numbers (RW-03).

use super::{capture, expected, infos, part};
use crate::layers::{FrameMap, Keyframe, Layer, Shift, UpSwitch, Vp8, Vp8Edit};

const CAPTURES: [&str; 4] = ["vp8-l1t3", "vp8-l1t3-dd", "vp8-simulcast", "vp8-7bit"];

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or("-".into(), |value| value.to_string())
}

/// N, S, PID, PictureID, TL0PICIDX, TID, Y, KEYIDX and the frame type of a first packet, as tshark
/// gives them.
#[test]
fn descriptors_read_as_tshark_reads_them() {
    for name in CAPTURES {
        for (packet, line) in capture(name).iter().zip(expected(name)) {
            let vp8 = Vp8::parse(&packet.payload).unwrap();
            let first = packet.payload[0];
            let read = [
                u8::from(vp8.non_reference).to_string(),
                (first >> 4 & 1).to_string(),
                (first & 7).to_string(),
                or_dash(vp8.picture_id.map(|id| id.value)),
                or_dash(vp8.tl0),
                or_dash(vp8.temporal),
                or_dash(vp8.temporal.map(|_| u8::from(vp8.layer_sync))),
            ];
            let read = read.join(" ");
            let theirs: Vec<&str> = part(&line, 'P').split(' ').collect();
            assert_eq!(read, theirs[..7].join(" "), "{name} {line}");
            // tshark shows the key index byte even if only TID counts (K is not set).
            if let Some(key_idx) = vp8.key_idx {
                assert_eq!(key_idx.to_string(), theirs[7], "{name} {line}");
            }
            assert_eq!(vp8.starts_frame, theirs[8] != "-", "{name} {line}");
            assert_eq!(vp8.keyframe, theirs[8] == "0", "{name} {line}");
        }
    }
}

#[test]
fn summaries_name_layer_switching_points_and_bounds() {
    let infos = infos("vp8-l1t3");
    let layers: Vec<_> = infos.iter().filter(|info| info.starts_frame).take(9).collect();
    let temporal: Vec<u8> = layers.iter().map(|info| info.layer.temporal).collect();
    assert_eq!(temporal, [0, 2, 1, 2, 0, 2, 1, 2, 0]);
    assert_eq!(layers[0].keyframe, Keyframe::Stream);
    assert!(layers[0].starts_picture && layers[0].starts_keyframe());
    assert_eq!((layers[1].up_switch, layers[1].discardable), (UpSwitch::ToThis, true));
    assert_eq!(layers[3].up_switch, UpSwitch::No);
    assert_eq!(infos.iter().filter(|info| info.starts_keyframe()).count(), 3);
    for info in &infos {
        assert_eq!(info.ends_frame, info.ends_picture);
        assert_eq!(info.starts_frame, info.starts_picture);
    }
}

/// Each combination of fields, in both widths of the PictureID.
#[test]
fn rewriting_touches_the_numbers_only() {
    let edit = Vp8Edit { picture_id: Some(0x1234), tl0: Some(0x77), key_idx: Some(0x05) };
    let table: [(&[u8], &[u8]); 8] = [
        (&[0x90, 0xf0, 0x92, 0x34, 0x55, 0xe7, 9], &[0x90, 0xf0, 0x92, 0x34, 0x77, 0xe5, 9]),
        (&[0x90, 0xf0, 0x12, 0x55, 0xa7, 9], &[0x90, 0xf0, 0x92, 0x34, 0x77, 0xa5, 9]),
        (&[0xb0, 0x80, 0x7f, 9], &[0xb0, 0x80, 0x92, 0x34, 9]),
        (&[0x80, 0x40, 0x01, 9], &[0x80, 0x40, 0x77, 9]),
        (&[0x80, 0x60, 0x01, 0xc3, 9], &[0x80, 0x60, 0x77, 0xc3, 9]),
        (&[0x80, 0x10, 0x1f, 9], &[0x80, 0x10, 0x05, 9]),
        (&[0x80, 0x30, 0xff, 9], &[0x80, 0x30, 0xe5, 9]),
        (&[0x80, 0xa0, 0x80, 0x01, 0x60, 9], &[0x80, 0xa0, 0x92, 0x34, 0x60, 9]),
    ];
    for (payload, rewritten) in table {
        let vp8 = Vp8::parse(payload).unwrap();
        let prefix = vp8.rewrite(payload, edit).unwrap();
        assert_eq!(&*prefix.join(payload), rewritten, "{payload:x?}");
        assert_eq!([prefix.bytes(), prefix.rest(payload)].concat(), rewritten);
        let again = Vp8::parse(rewritten).unwrap();
        let (before, after) = (vp8.temporal, again.temporal);
        assert_eq!((before, vp8.layer_sync), (after, again.layer_sync));
    }
    for payload in [&[0x10, 9][..], &[0x90, 0x20, 0x60, 9]] {
        assert_eq!(
            Vp8::parse(payload).unwrap().rewrite(payload, edit),
            None,
            "nothing to renumber"
        );
    }
}

#[test]
fn a_later_partition_starts_no_frame() {
    for (first, starts) in [(0x10, true), (0x11, false), (0x17, false), (0x00, false)] {
        let vp8 = Vp8::parse(&[first, 0]).unwrap();
        assert_eq!((vp8.starts_frame, vp8.keyframe), (starts, starts), "{first:x}");
    }
    assert!(!Vp8::parse(&[0x10, 1]).unwrap().keyframe);
}

#[test]
fn truncated_descriptors_are_refused() {
    let whole = [0x90, 0xf0, 0x92, 0x34, 0x55, 0xa7, 0x00];
    for len in 0..whole.len() {
        assert_eq!(Vp8::parse(&whole[..len]), None, "{len}");
    }
    assert!(Vp8::parse(&whole).is_some());
}

/// RW-03: PictureID +1 for each forwarded frame, modulo 2^15, and TL0PICIDX consistent modulo 2^8,
/// with T2 or T1 and T2 dropped, at the wraps of source and slot.
#[test]
fn dropped_temporal_layers_look_like_no_loss() {
    let packets = capture("vp8-l1t3");
    for temporal_max in 0..=2 {
        for (source_id, source_tl0) in [(32_740u16, 250u8), (0, 0)] {
            let (mut ids, mut tl0s) = (None, None);
            let (mut last_id, mut last_tl0) = (None, None);
            let first = Vp8::parse(&packets[0].payload).unwrap();
            let shift = source_id.wrapping_sub(first.picture_id.unwrap().value);
            let shift_tl0 = source_tl0.wrapping_sub(first.tl0.unwrap());
            let out = (32_760, 252);
            for packet in &packets {
                let vp8 = Vp8::parse(&packet.payload).unwrap();
                let id = vp8.picture_id.unwrap().value.wrapping_add(shift) & 0x7fff;
                let tl0 = vp8.tl0.unwrap().wrapping_add(shift_tl0);
                let ids = ids.get_or_insert_with(|| FrameMap::start(id, 15, out.0));
                let tl0s = tl0s.get_or_insert_with(|| Shift::start(tl0.into(), 8, out.1));
                if vp8.temporal.unwrap() > temporal_max {
                    ids.drop(id);
                    continue;
                }
                let id = u16::try_from(ids.forward(id).unwrap() & 0x7fff).unwrap();
                let tl0 = u8::try_from(tl0s.map(tl0.into()).unwrap() & 0xff).unwrap();
                let edit = Vp8Edit { picture_id: Some(id), tl0: Some(tl0), key_idx: None };
                let sent = vp8.rewrite(&packet.payload, edit).unwrap().join(&packet.payload);
                let sent = Vp8::parse(&sent).unwrap();
                let (id, tl0) = (sent.picture_id.unwrap().value, sent.tl0.unwrap());
                if let (Some(last_id), Some(last_tl0)) = (last_id, last_tl0) {
                    let step = u16::from(sent.starts_frame);
                    assert_eq!(id, (last_id + step) & 0x7fff);
                    let base = u8::from(sent.starts_frame && sent.temporal == Some(0));
                    assert_eq!(tl0, u8::wrapping_add(last_tl0, base));
                } else {
                    assert_eq!((u64::from(id), u64::from(tl0)), out);
                }
                (last_id, last_tl0) = (Some(id), Some(tl0));
            }
        }
    }
}

#[test]
fn simulcast_encodings_are_the_spatial_layers() {
    for info in infos("vp8-simulcast") {
        assert_eq!(Some(info.layer.spatial), info.encoding);
        assert!(info.is_part_of(Layer { spatial: info.layer.spatial, temporal: 2 }));
        assert!(!info.is_part_of(Layer { spatial: info.layer.spatial + 1, temporal: 2 }));
    }
}
