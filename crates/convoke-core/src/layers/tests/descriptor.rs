//! The dependency descriptor against LiveKit's reader, and its rewriting.

use std::sync::Arc;

use super::{capture, expected, infos};
use crate::layers::descriptor::{
    Descriptor, Edit, Indication, Indications, References, Structure, Structures, Understood,
    rewrite,
};
use crate::layers::{Layer, Targets};

const CAPTURES: [&str; 8] = [
    "vp8-l1t3-dd",
    "vp9-l3t3-dd",
    "vp9-l3t3-key-dd",
    "vp9-simulcast-dd",
    "av1-l1t3-dd",
    "av1-l3t3-dd",
    "av1-l3t3-key-dd",
    "h264-l1t2-dd",
];

fn list(values: impl IntoIterator<Item = impl ToString>) -> String {
    let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    values.join(",")
}

fn or_dot(text: String) -> String {
    if text.is_empty() { ".".into() } else { text }
}

fn letters(indications: Indications, structure: &Structure) -> String {
    let letter = |target| match indications.get(target) {
        Indication::NotPresent => '-',
        Indication::Discardable => 'D',
        Indication::Switch => 'S',
        Indication::Required => 'R',
    };
    (0..usize::from(structure.target_count)).map(letter).collect()
}

fn named(layer: Layer) -> String {
    format!("{}/{}", layer.spatial, layer.temporal)
}

fn describe(descriptor: &Descriptor, structure: &Structure) -> String {
    let template = descriptor.template_in(structure).unwrap();
    let indications = descriptor.own_indications.unwrap_or(template.indications);
    let references = descriptor.own_references.unwrap_or(template.references);
    let chains = descriptor.own_chain_diffs.as_ref().unwrap_or(&template.chain_diffs);
    let announced = descriptor.attached.as_ref().map(|attached| attached.all_targets());
    let active = descriptor.active.or(announced).map_or("-".into(), |mask| format!("{mask:x}"));
    let mut line = format!(
        "{}{} {} {} {} {} {} {active}",
        u8::from(descriptor.starts_frame),
        u8::from(descriptor.ends_frame),
        descriptor.frame_number,
        named(template.layer),
        letters(indications, structure),
        or_dot(list(references.iter())),
        or_dot(list(chains)),
    );
    if let Some(attached) = &descriptor.attached {
        let sizes = attached.resolutions.iter();
        line += &format!(
            " S{} {} {} {} {}",
            attached.first_template,
            attached.target_count,
            attached.chain_count,
            or_dot(list(&attached.protected_by)),
            or_dot(list(sizes.map(|(width, height)| format!("{}x{}", width + 1, height + 1)))),
        );
        for template in &attached.templates {
            line += &format!(
                " T{}:{}:{}:{}",
                named(template.layer),
                letters(template.indications, attached),
                list(template.references.iter()),
                list(&template.chain_diffs),
            );
        }
    }
    line
}

fn understood(bytes: &[u8], memory: &mut Structures) -> (Descriptor, Arc<Structure>, u32) {
    match Descriptor::read(bytes, memory).unwrap() {
        Understood::Fully { descriptor, structure, active } => (descriptor, structure, active),
        Understood::NotYet => panic!("not yet"),
    }
}

/// Every packet with its structure, by encoding.
fn each(name: &str, mut check: impl FnMut(&[u8], &Descriptor, &Arc<Structure>, u32, &str)) {
    let mut memories = [(); 4].map(|()| Structures::default());
    for (packet, line) in capture(name).iter().zip(expected(name)) {
        let memory = &mut memories[usize::from(packet.encoding.unwrap_or(3))];
        let raw = packet.descriptor.as_ref().unwrap();
        let (descriptor, structure, active) = understood(raw, memory);
        check(raw, &descriptor, &structure, active, &line);
    }
}

#[test]
fn descriptors_read_as_livekit_reads_them() {
    let mut own = 0;
    for name in CAPTURES {
        let mut attached = 0;
        each(name, |_, descriptor, structure, _, line| {
            let (_, line) = line.split_once(' ').unwrap();
            let read = describe(descriptor, structure);
            assert_eq!(read, line[..read.len().min(line.len())], "{name} {line}");
            let next = line[read.len()..].trim_start().chars().next();
            assert!(matches!(next, None | Some('P' | 'V' | 'A' | 'N')), "{name} {line}");
            attached += usize::from(descriptor.attached.is_some());
            own += usize::from(descriptor.own_references.is_some());
        });
        assert!(attached >= 2, "{name}");
    }
    assert!(own > 10, "{own}");
}

#[test]
fn what_was_read_is_written_bit_for_bit() {
    for name in CAPTURES {
        each(name, |raw, descriptor, structure, _, line| {
            assert_eq!(descriptor.to_bytes(structure), raw, "{name} {line}");
        });
    }
}

#[test]
fn a_new_frame_number_changes_two_bytes() {
    for name in CAPTURES {
        each(name, |raw, descriptor, structure, _, _| {
            let edit = Edit { frame_number: 0xfffe, ..Edit::default() };
            let rewritten = rewrite(raw, descriptor, structure, edit);
            assert_eq!(rewritten[1..3], [0xff, 0xfe]);
            assert_eq!((rewritten[0], &rewritten[3..]), (raw[0], &raw[3..]));
        });
    }
}

/// A receiver that never saw the structure, and gets fewer decode targets.
#[test]
fn a_structure_can_be_sent_again_with_any_packet() {
    for name in CAPTURES {
        each(name, |raw, descriptor, structure, _, _| {
            let active = Some(1);
            let edit = Edit { frame_number: 7, active, attach: Some(structure) };
            let rewritten = rewrite(raw, descriptor, structure, edit);
            let mut memory = Structures::default();
            let (again, attached, now) = understood(&rewritten, &mut memory);
            assert_eq!((&attached, now), (structure, 1));
            let number = (7, descriptor.frame_number);
            assert_eq!((again.frame_number, descriptor.frame_number), number);
            let rest = Descriptor {
                frame_number: descriptor.frame_number,
                attached: descriptor.attached.clone(),
                active: descriptor.active,
                ..again
            };
            assert_eq!(&rest, descriptor);
        });
    }
}

#[test]
fn what_is_active_is_remembered_until_it_changes() {
    let masks = |name: &str| {
        let mut masks: Vec<u32> = Vec::new();
        each(name, |_, _, _, active, _| masks.push(active));
        masks.dedup();
        masks
    };
    // Bandwidth comes up: one, two, three spatial layers of three temporal ones each.
    assert_eq!(masks("vp9-l3t3-key-dd"), [0x007, 0x1ff]);
    assert_eq!(masks("av1-l3t3-key-dd"), [0x03f, 0x1ff]);
    assert_eq!(masks("vp8-l1t3-dd"), [0x7]);
}

#[test]
fn targets_know_their_layers_and_what_they_contain() {
    let layer = |spatial, temporal| Layer { spatial, temporal };
    for (name, key) in [("vp9-l3t3-key-dd", true), ("vp9-l3t3-dd", false)] {
        let infos = infos(name);
        let Targets { structure, .. } = infos[0].targets.as_ref().unwrap();
        let layers: Vec<Layer> =
            (0..3).flat_map(|spatial| (0..3).map(move |t| layer(spatial, t))).collect();
        assert_eq!(structure.target_layers(), layers);
        let target = |spatial, temporal| structure.target(layer(spatial, temporal)).unwrap();
        assert!(structure.contains(target(2, 2), target(2, 0)));
        // In key-SVC the lower layers go on without being part of the higher ones.
        assert_eq!(structure.contains(target(2, 2), target(1, 2)), !key);
        assert!(!structure.contains(target(1, 0), target(1, 1)));
        assert_eq!(structure.spatial_layers(), 3);
        assert_eq!(structure.target(layer(3, 0)), None);
    }
}

#[test]
fn packets_before_their_structure_are_unknown_not_wrong() {
    let packets = capture("av1-l3t3-dd");
    let mut memory = Structures::default();
    let raw = |at: usize| packets[at].descriptor.as_deref().unwrap();
    assert_eq!(Descriptor::read(raw(1), &mut memory), Some(Understood::NotYet));
    assert!(matches!(Descriptor::read(raw(0), &mut memory), Some(Understood::Fully { .. })));
    assert!(matches!(Descriptor::read(raw(1), &mut memory), Some(Understood::Fully { .. })));
    // A template beyond those of any structure that came.
    assert_eq!(Descriptor::read(&[0xff, 0, 1], &mut memory), Some(Understood::NotYet));
    for len in 0..3 {
        assert_eq!(Descriptor::read(&raw(0)[..len], &mut memory), None);
    }
    for len in 4..raw(0).len() {
        let cut = Descriptor::read(&raw(0)[..len], &mut Structures::default());
        assert_eq!(cut, None, "{len}");
    }
}

/// A late packet of the structure before the present one.
#[test]
fn two_structures_are_remembered_and_old_news_ignored() {
    let packets = capture("av1-l3t3-dd");
    let raw: Vec<&[u8]> = packets.iter().map(|p| p.descriptor.as_deref().unwrap()).collect();
    let mut memory = Structures::default();
    let (first, old, _) = understood(raw[0], &mut memory);
    // The next structure's templates are numbered on from the old ones.
    let mut next = Structure::clone(&old);
    next.first_template = 40;
    let keyframe = Descriptor {
        template: 41,
        frame_number: 100,
        attached: Some(Arc::new(next.clone())),
        active: None,
        ..first
    };
    let keyframe = keyframe.to_bytes(&next);
    assert_eq!(*understood(&keyframe, &mut memory).1, next);
    assert_eq!(understood(raw[1], &mut memory).1, old);
    assert_eq!(*understood(&[0x80 | 40, 0, 101], &mut memory).1, next);
    // What was active of it long ago does not count again; what is new does.
    assert_eq!(understood(raw[0], &mut memory).2, 0x3f);
    let activity = |frame: u16, active| {
        let descriptor = Descriptor {
            template: 40,
            frame_number: frame,
            attached: None,
            active: Some(active),
            starts_frame: true,
            ends_frame: true,
            own_indications: None,
            own_references: None,
            own_chain_diffs: None,
        };
        descriptor.to_bytes(&next)
    };
    assert_eq!(understood(&activity(120, 7), &mut memory).2, 7);
    assert_eq!(understood(&activity(110, 1), &mut memory).2, 7, "late");
    assert_eq!(understood(&activity(121, 3), &mut memory).2, 3);
}

/// Differences of 4, 8 and 12 bits, indications and chains that differ from the template.
#[test]
fn what_differs_from_the_template_is_written_in_the_size_it_needs() {
    let packets = capture("av1-l3t3-dd");
    let mut memory = Structures::default();
    let raw = packets[0].descriptor.as_deref().unwrap();
    let (first, structure, _) = understood(raw, &mut memory);
    for (diff, size) in [(1, 4), (16, 4), (17, 8), (256, 8), (257, 12), (4_096, 12)] {
        let mut references = References::default();
        references.push(diff).unwrap();
        let descriptor = Descriptor {
            attached: None,
            active: None,
            own_indications: Some(structure.templates[3].indications),
            own_references: Some(references),
            own_chain_diffs: Some(vec![255, 0, 16]),
            ..first.clone()
        };
        let bytes = descriptor.to_bytes(&structure);
        let bits: usize = 24 + 5 + 9 * 2 + 2 + size + 2 + 3 * 8;
        assert_eq!(bytes.len(), bits.div_ceil(8));
        assert_eq!(understood(&bytes, &mut memory).0, descriptor);
    }
}
