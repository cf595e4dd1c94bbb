//! RFC 9628 against pion's reading, and the rewriting of its numbers.

use super::{bytes, capture, expected, infos, part};
use crate::layers::{FrameInfo, Keyframe, Layer, UpSwitch, Vp9, Vp9Edit};

const CAPTURES: [&str; 6] = [
    "vp9-l3t3",
    "vp9-l3t3-key",
    "vp9-l3t3-dd",
    "vp9-l3t3-key-dd",
    "vp9-simulcast-dd",
    "vp9-non-flexible",
];

fn list(values: impl IntoIterator<Item = impl ToString>) -> String {
    let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    values.join(",")
}

fn describe(vp9: &Vp9, payload: &[u8]) -> String {
    let flags = [
        vp9.picture_id.is_some(),
        vp9.inter_picture,
        vp9.layer.is_some(),
        vp9.flexible,
        vp9.starts_frame,
        vp9.ends_frame,
        vp9.structure.is_some(),
        vp9.not_for_upper,
    ];
    let flags: String = flags.map(|flag| u8::from(flag).to_string()).concat();
    let id = vp9.picture_id.map_or("-".into(), |id| id.value.to_string());
    let (mut layer, mut tl0) = ("-".to_owned(), "-".to_owned());
    if let Some(found) = vp9.layer {
        let (up, inter) = (u8::from(found.switches_up), u8::from(found.inter_layer));
        layer = format!("{}/{} U{up}D{inter}", found.spatial, found.temporal);
        tl0 = found.tl0.map_or(tl0, |tl0| tl0.to_string());
    }
    let mut references = list(&vp9.references);
    if references.is_empty() {
        references = ".".into();
    }
    let mut structure = String::new();
    if let Some(found) = &vp9.structure {
        structure = format!(
            " n{} w{} h{} g{}",
            found.spatial_layers,
            list(found.resolutions.iter().map(|size| size.0)),
            list(found.resolutions.iter().map(|size| size.1)),
            found.group.as_ref().map_or(0, Vec::len),
        );
    }
    assert!(vp9.len < payload.len());
    format!("{flags} {id} {layer} {tl0} {references}{structure} +{}", vp9.len)
}

#[test]
fn descriptors_read_as_pion_reads_them() {
    for name in CAPTURES {
        for (packet, line) in capture(name).iter().zip(expected(name)) {
            let vp9 = Vp9::parse(&packet.payload).unwrap();
            assert_eq!(describe(&vp9, &packet.payload), part(&line, 'V'), "{name} {line}");
        }
    }
}

/// Said twice, in the payload and in the dependency descriptor: both say the same.
#[test]
fn payload_and_dependency_descriptor_agree() {
    for name in ["vp9-l3t3-dd", "vp9-l3t3-key-dd", "vp9-simulcast-dd"] {
        let mut without = super::Readers::new(name);
        for (mut packet, described) in capture(name).into_iter().zip(infos(name)) {
            packet.descriptor = None;
            let plain = without.read(&packet).unwrap();
            let same = |info: &FrameInfo| {
                let bounds = (info.starts_frame, info.ends_frame, info.starts_picture);
                (info.layer, bounds, info.keyframe, info.inter_layer, info.picture_id)
            };
            assert_eq!(same(&plain), same(&described), "{name} {}", packet.seq);
            assert!(described.targets.is_some() && plain.targets.is_none());
        }
    }
}

#[test]
fn a_layer_frame_that_needs_only_the_lower_one_can_be_joined() {
    let infos = infos("vp9-l3t3");
    // The encoder begins with one layer and adds two without a keyframe.
    let first = infos.iter().find(|info| info.layer.spatial == 1).unwrap();
    assert_eq!((first.keyframe, first.starts_picture), (Keyframe::Layer, false));
    let base = infos.iter().find(|info| info.time == first.time).unwrap();
    assert_eq!((base.keyframe, base.starts_picture), (Keyframe::No, true));
    assert_eq!((base.top_spatial, infos[0].top_spatial), (Some(2), Some(0)));
    assert!(infos.iter().all(|info| info.up_switch == UpSwitch::ToAny));
}

/// KF-04: for simulcast the RID picks the layer; each packet itself says spatial layer 0.
#[test]
fn simulcast_encodings_are_the_spatial_layers() {
    let mut seen = [false; 3];
    for (packet, info) in capture("vp9-simulcast-dd").iter().zip(infos("vp9-simulcast-dd")) {
        let own = Vp9::parse(&packet.payload).unwrap().layer.unwrap();
        assert_eq!(own.spatial, 0);
        assert_eq!(Some(info.layer.spatial), packet.encoding);
        assert_eq!(info.layer.temporal, own.temporal);
        seen[usize::from(info.layer.spatial)] = true;
        for spatial in 0..3 {
            let part = info.is_part_of(Layer { spatial, temporal: 2 });
            assert_eq!(part, spatial == info.layer.spatial);
        }
    }
    assert_eq!(seen, [true; 3]);
}

/// Real packets first, then every combination by hand.
#[test]
fn rewriting_touches_the_numbers_only() {
    let edit = Vp9Edit { picture_id: Some(0x1234), tl0: Some(0x77) };
    for name in CAPTURES {
        for packet in capture(name) {
            let before = Vp9::parse(&packet.payload).unwrap();
            let prefix = before.rewrite(&packet.payload, edit).unwrap();
            let after = Vp9::parse(&prefix.join(&packet.payload)).unwrap();
            assert_eq!(after.picture_id.unwrap().value, 0x1234);
            let unnumbered =
                Vp9 { picture_id: before.picture_id, len: before.len, ..after.clone() };
            assert_eq!(unnumbered, before);
            let grows = !before.picture_id.unwrap().wide;
            let rewritten = prefix.bytes().len() + prefix.rest(&packet.payload).len();
            assert_eq!(rewritten, packet.payload.len() + usize::from(grows));
        }
    }
    let table: [(&str, &str); 5] = [
        // Non-flexible with layers, both widths.
        ("ac 9234 a5 55 ee", "ac 9234 a5 77 ee"),
        ("ac 12 a5 55 ee", "ac 9234 a5 77 ee"),
        // Flexible: no TL0PICIDX; references stay.
        ("fc 9111 a5 05 06 ee", "fc 9234 a5 05 06 ee"),
        // No picture id.
        ("2c a5 55 ee", "2c a5 77 ee"),
        // Structure behind the numbers.
        ("8a 12 18 0140 00b4 01 04 01 ee", "8a 9234 18 0140 00b4 01 04 01 ee"),
    ];
    for (payload, rewritten) in table {
        let [payload, rewritten] = [payload, rewritten].map(|hex| bytes(&hex.replace(' ', "")));
        let prefix = Vp9::parse(&payload).unwrap().rewrite(&payload, edit).unwrap();
        assert_eq!(&*prefix.join(&payload), rewritten);
    }
    let bare = [0x1c, 0xee];
    assert_eq!(Vp9::parse(&bare).unwrap().rewrite(&bare, edit), None);
}

#[test]
fn truncated_and_oversized_descriptors_are_refused() {
    // Eight layers, sizes, and a group of two pictures.
    let mut whole = bytes("aa9234a555f8");
    whole.extend([[0x01, 0x40, 0x00, 0xb4]; 8].concat());
    whole.extend(bytes("021401780102"));
    for len in 0..=whole.len() {
        assert_eq!(Vp9::parse(&whole[..len]), None, "{len}");
    }
    whole.push(0xee);
    let structure = Vp9::parse(&whole).unwrap().structure.unwrap();
    assert_eq!((structure.spatial_layers, structure.resolutions.len()), (8, 8));
    let group = structure.group.unwrap();
    assert_eq!(group[0].references, [1]);
    assert_eq!((group[1].temporal, group[1].switches_up), (3, true));
    assert_eq!(group[1].references, [1, 2]);
    // A fourth reference.
    assert_eq!(Vp9::parse(&bytes("fc9111a503050701ee")), None);
}
