//! What is forwarded can be decoded: real streams, any wishes, reordering; the references are those
//! of the encoders' dependency descriptors, whether the selector sees them or not.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use super::{Captured, Readers, capture, infos};
use crate::layers::{FrameInfo, Layer, Selector, SeqMap, Verdict};

fn layer(spatial: u8, temporal: u8) -> Layer {
    Layer { spatial, temporal }
}

/// A capture with each packet's frame, and what frames need.
struct Stream {
    packets: Vec<Captured>,
    /// By packet.
    frames: Vec<(Option<u8>, u64)>,
    layers: HashMap<(Option<u8>, u64), Layer>,
    needs: HashMap<(Option<u8>, u64), Vec<u64>>,
    /// How many packets a frame has.
    sizes: HashMap<(Option<u8>, u64), usize>,
}

impl Stream {
    /// From the dependency descriptors; `strip` hides them from the selector then.
    fn new(name: &str, strip: bool) -> Self {
        let mut packets = capture(name);
        let infos = infos(name);
        let mut stream = Self {
            frames: Vec::new(),
            layers: HashMap::new(),
            needs: HashMap::new(),
            sizes: HashMap::new(),
            packets: Vec::new(),
        };
        for info in &infos {
            let targets = info.targets.as_ref().unwrap();
            let number = u64::from(info.frame_number.unwrap());
            let frame = (info.encoding, number);
            let needs = targets.references.iter().map(|diff| number - u64::from(diff)).collect();
            stream.frames.push(frame);
            stream.layers.insert(frame, info.layer);
            stream.needs.insert(frame, needs);
            *stream.sizes.entry(frame).or_default() += 1;
        }
        if strip {
            packets.iter_mut().for_each(|packet| packet.descriptor = None);
        }
        stream.packets = packets;
        stream
    }

    /// Forwards in the given order of packets, with a wish before some of them.
    fn run(&self, name: &str, order: &[usize], wishes: &BTreeMap<usize, Option<Layer>>) -> Run {
        let mut readers = Readers::new(name);
        let mut selector = Selector::default();
        let mut run = Run::default();
        for (turn, &at) in order.iter().enumerate() {
            if let Some(&wish) = wishes.get(&turn) {
                selector.want(wish);
                run.wish = wish;
            }
            let Some(info) = readers.read(&self.packets[at]) else { continue };
            run.steps.push(match selector.choose(&info) {
                Verdict::Drop => (at, info, None),
                Verdict::Forward { marker, .. } => (at, info, Some(marker)),
            });
            run.at.push(selector.current());
        }
        run.waits = selector.waits_for_keyframe();
        run
    }

    /// Each frame forwarded at all was forwarded whole, and after it all that it needs.
    fn check(&self, run: &Run) -> Result<(), TestCaseError> {
        let mut forwarded: HashMap<(Option<u8>, u64), usize> = HashMap::new();
        for (at, _, marker) in &run.steps {
            if marker.is_some() {
                *forwarded.entry(self.frames[*at]).or_default() += 1;
            }
        }
        for (frame, count) in &forwarded {
            prop_assert_eq!(self.sizes[frame], *count, "in part: {:?}", frame);
            for need in &self.needs[frame] {
                let need = (frame.0, *need);
                prop_assert!(forwarded.contains_key(&need), "{:?} needs {:?}", frame, need);
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Run {
    /// Packet, what it said, and the marker if forwarded.
    steps: Vec<(usize, FrameInfo, Option<bool>)>,
    at: Vec<Option<Layer>>,
    wish: Option<Layer>,
    waits: Option<u8>,
}

impl Run {
    /// The layers of forwarded frames from packet `from` on.
    fn layers(&self, from: usize) -> BTreeSet<Layer> {
        let forwarded = self.steps.iter().filter(|(at, _, marker)| *at >= from && marker.is_some());
        forwarded.map(|(_, info, _)| info.layer).collect()
    }
}

fn in_order(stream: &Stream) -> Vec<usize> {
    (0..stream.packets.len()).collect()
}

const SCALABLE: [(&str, bool); 10] = [
    ("vp8-l1t3-dd", false),
    ("h264-l1t2-dd", false),
    ("h264-l1t2-dd", true),
    ("av1-l1t3-dd", false),
    ("av1-l3t3-dd", false),
    ("av1-l3t3-key-dd", false),
    ("vp9-l3t3-dd", false),
    ("vp9-l3t3-dd", true),
    ("vp9-l3t3-key-dd", false),
    ("vp9-l3t3-key-dd", true),
];

/// Where decoding can begin, the packets of the capture that begin a keyframe.
fn keyframes(name: &str) -> Vec<usize> {
    let infos = infos(name);
    (0..infos.len()).filter(|&at| infos[at].starts_keyframe()).collect()
}

/// Each layer by itself, wished from the start: after the last keyframe exactly its frames come.
#[test]
fn each_layer_can_be_had_alone() {
    for (name, strip) in SCALABLE {
        let stream = Stream::new(name, strip);
        let all: BTreeSet<Layer> = stream.layers.values().copied().collect();
        for &wish in &all {
            let wishes = BTreeMap::from([(0, Some(wish))]);
            let run = stream.run(name, &in_order(&stream), &wishes);
            stream.check(&run).unwrap();
            let last = *keyframes(name).last().unwrap();
            let got = run.layers(last + 1);
            let top: Vec<Layer> = got.iter().copied().filter(|l| !l.is_within(wish)).collect();
            assert!(top.is_empty(), "{name} {wish:?}: {top:?}");
            assert!(got.contains(&wish), "{name} {strip} {wish:?}: {got:?}");
            assert_eq!(*run.at.last().unwrap(), Some(wish), "{name}");
            assert_eq!(run.waits, None);
        }
    }
}

/// In key-SVC lower layers' frames between keyframes are not what a higher layer needs.
#[test]
fn key_svc_does_not_forward_what_is_not_shown() {
    for strip in [false, true] {
        let stream = Stream::new("vp9-l3t3-key-dd", strip);
        let wishes = BTreeMap::from([(0, Some(layer(2, 2)))]);
        let run = stream.run("vp9-l3t3-key-dd", &in_order(&stream), &wishes);
        let last = *keyframes("vp9-l3t3-key-dd").last().unwrap();
        let time = stream.packets[last].time;
        let later = run.steps.iter().filter(|(at, info, _)| *at > last && info.time != time);
        for (at, info, marker) in later {
            assert_eq!(marker.is_some(), info.layer.spatial == 2, "{at} {info:?}");
        }
    }
}

/// Down at once: with the next picture, where the lower layer was forwarded all along.
#[test]
fn down_takes_effect_with_the_next_picture() {
    for (name, strip) in SCALABLE.into_iter().filter(|(name, _)| !name.contains("key")) {
        let stream = Stream::new(name, strip);
        let top = *stream.layers.values().max().unwrap();
        let turn = stream.packets.len() - 20;
        for spatial in 0..=top.spatial {
            for temporal in 0..=top.temporal {
                let lower = layer(spatial, temporal);
                let wishes = BTreeMap::from([(0, Some(top)), (turn, Some(lower))]);
                let run = stream.run(name, &in_order(&stream), &wishes);
                stream.check(&run).unwrap();
                let picture = stream.packets[turn - 1].time;
                let next = (turn..).find(|&at| stream.packets[at].time != picture).unwrap();
                assert_eq!(run.at[next], Some(lower), "{name} {strip} {lower:?}");
                assert!(run.layers(next).iter().all(|got| got.is_within(lower)));
            }
        }
    }
}

/// In key-SVC the lower spatial layer was not forwarded: its keyframe is waited for meanwhile.
#[test]
fn key_svc_goes_down_at_a_keyframe() {
    let name = "vp9-l3t3-key-dd";
    for strip in [false, true] {
        let stream = Stream::new(name, strip);
        let last = *keyframes(name).last().unwrap();
        let turn = last - 30;
        let wishes = BTreeMap::from([(0, Some(layer(2, 2))), (turn, Some(layer(1, 1)))]);
        let run = stream.run(name, &in_order(&stream), &wishes);
        stream.check(&run).unwrap();
        assert_eq!(run.at[last - 1].unwrap().spatial, 2, "still");
        assert_eq!(run.at[last], Some(layer(1, 1)));
        let waiting = stream.run(name, &in_order(&stream)[..last], &wishes);
        assert_eq!(waiting.waits, Some(1));
    }
}

/// Temporal layers come back at switching points, well before the next keyframe.
#[test]
fn temporal_layers_come_back_without_a_keyframe() {
    for (name, strip) in SCALABLE {
        let stream = Stream::new(name, strip);
        let top = *stream.layers.values().max().unwrap();
        let base = layer(top.spatial, 0);
        let last = *keyframes(name).last().unwrap();
        let (down, up) = (last + 4, last + 8);
        let wishes = BTreeMap::from([(0, Some(top)), (down, Some(base)), (up, Some(top))]);
        let run = stream.run(name, &in_order(&stream), &wishes);
        stream.check(&run).unwrap();
        assert_eq!(*run.at.last().unwrap(), Some(top), "{name} {strip}");
    }
}

/// A layer that the encoder adds without a keyframe is joined where it depends on lower ones only.
#[test]
fn full_svc_joins_a_layer_that_is_added() {
    for strip in [false, true] {
        let stream = Stream::new("vp9-l3t3-dd", strip);
        let wishes = BTreeMap::from([(0, Some(layer(2, 2)))]);
        let run = stream.run("vp9-l3t3-dd", &in_order(&stream), &wishes);
        stream.check(&run).unwrap();
        let joined = run.at.iter().position(|at| *at == Some(layer(2, 2))).unwrap();
        assert!(joined < keyframes("vp9-l3t3-dd")[1], "{strip}: {joined}");
    }
}

/// The marker stands on the last packet of what is forwarded of a picture, and nowhere else but
/// where a picture was continued by a layer just joined.
#[test]
fn each_forwarded_picture_ends_with_a_marker() {
    for (name, strip) in SCALABLE {
        let stream = Stream::new(name, strip);
        let all: BTreeSet<Layer> = stream.layers.values().copied().collect();
        for &wish in &all {
            let wishes = BTreeMap::from([(0, Some(wish))]);
            let run = stream.run(name, &in_order(&stream), &wishes);
            let mut pictures: BTreeMap<u32, Vec<(Option<Layer>, bool)>> = BTreeMap::new();
            for ((_, info, marker), at) in run.steps.iter().zip(&run.at) {
                if let Some(marker) = marker {
                    pictures.entry(info.time).or_default().push((*at, *marker));
                }
            }
            let newest = stream.packets.last().unwrap().time;
            pictures.remove(&newest);
            for (time, packets) in pictures {
                let (last, before) = packets.split_last().unwrap();
                assert!(last.1, "{name} {strip} {wish:?} {time}");
                let joined =
                    before.iter().any(|(at, _)| at.map(|l| l.spatial) != last.0.map(|l| l.spatial));
                assert!(joined || before.iter().all(|(_, marker)| !marker), "{name} {time}");
            }
        }
    }
}

fn wishes() -> impl Strategy<Value = BTreeMap<usize, Option<Layer>>> {
    let wish = prop_oneof![
        1 => Just(None),
        8 => (0..3u8, 0..3u8).prop_map(|(spatial, temporal)| Some(layer(spatial, temporal))),
    ];
    prop::collection::btree_map(0..220usize, wish, 1..12).prop_map(|mut wishes| {
        wishes.entry(0).or_insert(Some(layer(2, 2)));
        wishes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Any wishes at any time, mid-frame too.
    #[test]
    fn what_is_forwarded_can_be_decoded(wishes in wishes(), case in 0..SCALABLE.len()) {
        let (name, strip) = SCALABLE[case];
        let stream = Stream::new(name, strip);
        // Pausing ends a picture in the middle: nothing to check there.
        let wishes: BTreeMap<_, _> = wishes.into_iter().filter(|(_, wish)| wish.is_some()).collect();
        let run = stream.run(name, &in_order(&stream), &wishes);
        stream.check(&run)?;
    }

    /// The same with packets out of order, up to 12 places.
    #[test]
    fn reordering_does_not_break_what_is_forwarded(
        wishes in wishes(),
        case in 0..SCALABLE.len(),
        delays in prop::collection::vec(prop_oneof![3 => Just(0usize), 1 => 0..12usize], 240),
    ) {
        let (name, strip) = SCALABLE[case];
        let stream = Stream::new(name, strip);
        let wishes: BTreeMap<_, _> = wishes.into_iter().filter(|(_, wish)| wish.is_some()).collect();
        let mut order = in_order(&stream);
        order.sort_by_key(|&at| at + delays[at]);
        let run = stream.run(name, &order, &wishes);
        stream.check(&run)?;
    }

    /// Pauses, also in the middle of a picture: what is forwarded after one needs nothing from before.
    #[test]
    fn what_follows_a_pause_begins_anew(wishes in wishes(), case in 0..SCALABLE.len()) {
        let (name, strip) = SCALABLE[case];
        let stream = Stream::new(name, strip);
        let mut readers = Readers::new(name);
        let mut selector = Selector::default();
        let mut sent = BTreeSet::new();
        for (at, packet) in stream.packets.iter().enumerate() {
            if let Some(&wish) = wishes.get(&at) {
                selector.want(wish);
            }
            let Verdict::Forward { starts, .. } = selector.choose(&readers.read(packet).unwrap())
            else {
                continue;
            };
            if starts {
                sent.clear();
            }
            let frame = stream.frames[at];
            for need in &stream.needs[&frame] {
                prop_assert!(sent.contains(&(frame.0, *need)), "{:?} needs {}", frame, need);
            }
            sent.insert(frame);
        }
    }

    /// The whole way: loss, reordering, wishes, numbering. Nothing that was dropped on purpose is
    /// needed; gaps in our numbers are packets that never came, or came too late to close up over.
    #[test]
    fn loss_stays_loss_and_drops_leave_no_gap(
        wishes in wishes(),
        case in 0..SCALABLE.len(),
        fates in prop::collection::vec(
            prop_oneof![8 => Just(Some(0usize)), 2 => (0..12usize).prop_map(Some), 1 => Just(None)],
            240,
        ),
    ) {
        let (name, strip) = SCALABLE[case];
        let stream = Stream::new(name, strip);
        let wishes: BTreeMap<_, _> = wishes.into_iter().filter(|(_, wish)| wish.is_some()).collect();
        let mut order = in_order(&stream);
        order.retain(|&at| fates[at].is_some());
        order.sort_by_key(|&at| at + fates[at].unwrap());
        let run = stream.run(name, &order, &wishes);
        let (mut map, mut used, mut gaps) = (None::<SeqMap>, BTreeSet::new(), 0);
        let mut dropped = BTreeSet::new();
        let mut first = 0;
        for (at, info, marker) in &run.steps {
            match (&mut map, marker) {
                (None, None) => {}
                (None, Some(_)) => {
                    map = Some(SeqMap::start(info.seq, 500));
                    first = info.seq;
                    used.insert(500);
                }
                (Some(map), Some(_)) => {
                    if let Some(out) = map.forward(info.seq) {
                        prop_assert!(used.insert(out), "twice");
                    } else {
                        prop_assert!(info.seq < first);
                    }
                }
                (Some(map), None) => {
                    dropped.insert(stream.frames[*at]);
                    gaps += u64::from(map.drop(info.seq).is_some());
                }
            }
        }
        for (at, _, marker) in &run.steps {
            for need in stream.needs[&stream.frames[*at]].iter().filter(|_| marker.is_some()) {
                prop_assert!(!dropped.contains(&(None, *need)), "{} needs {}", at, need);
            }
        }
        if let Some(map) = map {
            let last = run.steps.iter().map(|step| step.1.seq).max().unwrap();
            let came = run.steps.iter().filter(|step| step.1.seq >= first).count();
            let lost = last - first + 1 - u64::try_from(came).unwrap();
            prop_assert_eq!(map.next() - 500 - u64::try_from(used.len()).unwrap(), lost + gaps);
        }
    }

    /// Simulcast: each frame whole and decodable within its encoding; never two encodings at once.
    #[test]
    fn simulcast_stays_decodable(wishes in wishes()) {
        let name = "vp9-simulcast-dd";
        let stream = Stream::new(name, false);
        let wishes: BTreeMap<_, _> = wishes.into_iter().filter(|(_, wish)| wish.is_some()).collect();
        let run = stream.run(name, &in_order(&stream), &wishes);
        for (_, info, marker) in &run.steps {
            if marker.is_some() {
                prop_assert_eq!(Some(info.layer.spatial), info.encoding);
            }
        }
        let forwarded: BTreeSet<(Option<u8>, u64)> = run
            .steps
            .iter()
            .filter(|step| step.2.is_some())
            .map(|(at, ..)| stream.frames[*at])
            .collect();
        for frame in &forwarded {
            for need in &stream.needs[frame] {
                prop_assert!(forwarded.contains(&(frame.0, *need)), "{:?} needs {}", frame, need);
            }
        }
    }
}
