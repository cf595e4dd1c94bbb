//! The laws of layered streams: what may be left out, and what a viewer sees of it.

use super::*;
use crate::source::{LayeredConfig, LayeredSource, Scalability};

/// Two seconds of a publisher as a forwarder sends it that keeps what `keeps` says, closes up the
/// numbers, and sets the marker where the picture ends for the receiver.
struct Forwarded {
    epoch: Instant,
    packets: Vec<Received>,
}

fn forwarded(config: LayeredConfig, keeps: impl Fn(&Stamp) -> bool) -> Forwarded {
    let epoch = config.start;
    let mut source = LayeredSource::new(config, 4);
    let mut packets: Vec<Received> = Vec::new();
    for ms in 0..2_000 {
        let now = epoch + Duration::from_millis(ms);
        let made = source.take(now);
        let kept = made.into_iter().filter(|p| keeps(&Stamp::read(&p.payload).unwrap()));
        for packet in kept {
            let sequence = 100 + packets.len() as u64;
            packets.push(received(packet, now, sequence, 1));
        }
    }
    let picture = |p: &Received| Stamp::read(&p.payload).unwrap().picture;
    for at in 0..packets.len() {
        let next = packets.get(at + 1).map(picture);
        packets[at].marker = next != Some(picture(&packets[at]));
    }
    Forwarded { epoch, packets }
}

impl Forwarded {
    fn check(&self) -> SlotReport {
        let mut checker = SlotChecker::new(MediaKind::Video, self.epoch, None);
        self.packets.iter().for_each(|packet| checker.packet(packet));
        checker.report()
    }

    /// Without the packets that `lost` says; the gaps stay.
    fn without(mut self, lost: impl Fn(&Stamp) -> bool) -> Self {
        self.packets.retain(|p| !lost(&Stamp::read(&p.payload).unwrap()));
        self
    }
}

fn one(codec: Codec, mode: Scalability) -> LayeredConfig {
    let now = Instant::now();
    let mut config = LayeredConfig::scalable(codec, 1, now, now);
    config.mode = mode;
    config
}

#[test]
fn upper_layers_may_be_left_out() {
    for (codec, mode) in [
        (Codec::H264, Scalability::L1T3),
        (Codec::Av1, Scalability::L3T3),
        (Codec::Av1, Scalability::L3T3Key),
    ] {
        for (spatial, temporal, pictures) in [(2, 2, 60), (2, 1, 30), (0, 2, 60), (1, 0, 15)] {
            let keeps = |s: &Stamp| {
                let lower = mode != Scalability::L3T3Key || s.picture == 0;
                let fits = s.spatial == spatial || s.spatial < spatial && lower;
                (fits || mode == Scalability::L1T3) && s.temporal <= temporal
            };
            let report = forwarded(one(codec, mode), keeps).check();
            assert_eq!(report.violations, [], "{mode:?} {spatial} {temporal}");
            assert_eq!(report.shown.pictures, pictures);
            assert_eq!(report.shown.freezes, 0);
            let height = if mode == Scalability::L1T3 { 720 } else { 180 << spatial };
            assert_eq!(report.shown.size.unwrap().1, height, "{mode:?} {spatial}");
        }
    }
}

#[test]
fn what_others_need_may_not() {
    // The last pictures of a group refer to the one in its middle.
    let report = forwarded(one(Codec::Av1, Scalability::L1T3), |s| s.temporal != 1).check();
    broken(&report, |v| matches!(v, Violation::Undecodable { .. }));
    assert_eq!(report.sources[&(1, 1)].frames_decoded, 30);
    let report = forwarded(one(Codec::Vp9, Scalability::L3T3), |s| s.spatial != 1).check();
    broken(&report, |v| matches!(v, Violation::Undecodable { .. }));
    assert_eq!(report.shown.size, Some((320, 180)));
    // What the network lost is another matter.
    let whole = forwarded(one(Codec::Av1, Scalability::L1T3), |_| true);
    let report = whole.without(|s| s.frame == 2).check();
    assert_eq!(report.violations, []);
    assert_eq!(report.sources[&(1, 1)].frames_undecodable, 1);
}

#[test]
fn a_marker_in_the_wrong_place_is_seen() {
    let mut stream = forwarded(one(Codec::Vp9, Scalability::L3T3), |s| s.spatial < 2);
    let marked = stream.packets.iter().position(|p| p.marker).unwrap();
    stream.packets[marked].marker = false;
    broken(&stream.check(), |v| matches!(v, Violation::Marker { marker: false, .. }));
    stream.packets[marked].marker = true;
    stream.packets[0].marker = true;
    broken(&stream.check(), |v| matches!(v, Violation::Marker { sequence: 100, marker: true }));
    stream.packets[0].marker = false;
    // At the end of a layer that is not the highest: as when the next one is joined.
    let stamp = |p: &Received| Stamp::read(&p.payload).unwrap();
    let end = stream.packets.iter().position(|p| stamp(p).packet + 1 == stamp(p).packets).unwrap();
    stream.packets[end].marker = true;
    let report = stream.check();
    assert_eq!((report.violations.len(), report.early_markers), (0, 1));
    stream.packets[end].marker = false;
    stream.packets[marked].rtp_time += 1;
    broken(&stream.check(), |v| matches!(v, Violation::PictureTorn { .. }));
}

#[test]
fn parts_of_frames_may_not_be_left_out() {
    let mut stream = forwarded(one(Codec::Vp9, Scalability::L3T3), |_| true);
    let part = stream.packets.iter().position(|p| Stamp::read(&p.payload).unwrap().packet == 1);
    stream.packets.remove(part.unwrap());
    for (packet, sequence) in stream.packets.iter_mut().zip(100..) {
        packet.sequence = sequence;
    }
    broken(&stream.check(), |v| matches!(v, Violation::HiddenLoss { .. }));
}

#[test]
fn numbers_of_layered_pictures_are_checked() {
    for (codec, descriptor, byte, what) in [
        (Codec::Vp9, false, 2, "PictureID"),
        (Codec::Vp9, false, 4, "TL0PICIDX"),
        (Codec::Av1, true, 2, "frame number"),
    ] {
        let mut config = one(codec, Scalability::L3T3);
        (config.flexible, config.descriptor) = (false, descriptor);
        config.first_picture_id = Some(if descriptor { 65_500 } else { 32_740 });
        config.first_tl0 = Some(250);
        let mut stream = forwarded(config, |s| s.temporal < 2);
        assert_eq!(stream.check().violations, [], "{what}");
        let at = stream.packets.len() / 2;
        for packet in &mut stream.packets[at..] {
            let bytes = packet.descriptor.as_mut().unwrap_or(&mut packet.payload);
            let mut changed = bytes.to_vec();
            changed[byte] = changed[byte].wrapping_add(7);
            *bytes = changed.into();
        }
        broken(
            &stream.check(),
            |v| matches!(v, Violation::PictureIds { what: w, .. } if *w == what),
        );
    }
}

/// One encoding, then the other; each packet keeps its own clock's step.
fn switched(with_keyframe: bool) -> SlotReport {
    let now = Instant::now();
    let mut config = LayeredConfig::simulcast(Codec::Av1, 1, now, now);
    config.first_rtp_time = Some(0);
    let from = if with_keyframe { 30 } else { 31 };
    let mut source = LayeredSource::new(config, 4);
    let mut stream = Forwarded { epoch: now, packets: Vec::new() };
    for ms in 0..2_000 {
        if ms == 999 {
            source.request_keyframe_of(2);
        }
        for packet in source.take(now + Duration::from_millis(ms)) {
            let stamp = Stamp::read(&packet.payload).unwrap();
            let right = if stamp.picture < from { 0 } else { 2 };
            if packet.encoding == right {
                let sequence = stream.packets.len() as u64;
                let at = now + Duration::from_millis(ms);
                let mut packet = received(packet, at, sequence, 1);
                packet.rtp_time = stamp.picture * 3_000;
                stream.packets.push(packet);
            }
        }
    }
    stream.check()
}

#[test]
fn a_change_of_encoding_is_a_change_of_size_and_needs_a_keyframe() {
    let report = switched(true);
    assert_eq!(report.violations, []);
    assert_eq!((report.switches, report.shown.resizes), (0, 1));
    let sizes: Vec<_> = report.shown.sizes.iter().map(|(_, size)| *size).collect();
    assert_eq!(sizes, [(320, 180), (1_280, 720)]);
    assert_eq!(report.sources[&(1, 1)].frames_decoded, 60);
    broken(&switched(false), |v| matches!(v, Violation::NoKeyframeAtSwitch { .. }));
}

#[test]
fn freezes_are_counted_as_browsers_do() {
    let gap = |from: u32, to: u32| move |s: &Stamp| (from..to).contains(&s.picture);
    let config = || one(Codec::H264, Scalability::L1T1);
    let frozen = |lost: &dyn Fn(&Stamp) -> bool| {
        // Keyframes from each picture on: only time counts.
        let mut stream = forwarded(config(), |s| !lost(s));
        for packet in &mut stream.packets {
            let mut stamp = Stamp::read(&packet.payload).unwrap();
            stamp.keyframe = true;
            let mut payload = packet.payload.to_vec();
            payload.truncate(payload.len() - Stamp::LEN);
            stamp.write(&mut payload);
            packet.payload = payload.into();
        }
        stream.check().shown
    };
    assert_eq!(frozen(&gap(20, 24)).freezes, 0, "167 ms are not 150 more than the mean");
    let shown = frozen(&gap(20, 26));
    assert_eq!(shown.freezes, 1);
    assert!((225..=240).contains(&shown.frozen.as_millis()), "{shown:?}");
    assert_eq!(shown.frozen, shown.freeze_log[0].1);

    let mut screen = Screen::default();
    let start = Instant::now();
    let mut at = |ms: u64, picture: u32, rest: bool| {
        if rest {
            screen.rest();
        }
        screen.frame(start + Duration::from_millis(ms), &Stamp { picture, ..Stamp::default() });
        screen.shown().freezes
    };
    (0..10).for_each(|n| assert_eq!(at(u64::from(n) * 33, n, false), 0));
    assert_eq!(at(3_000, 10, true), 0, "it was away on purpose");
    (0..10).for_each(|n| assert_eq!(at(3_033 + u64::from(n) * 33, 11 + n, false), 0));
    assert_eq!(at(6_000, 30, false), 1);
}
