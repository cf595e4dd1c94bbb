//! Switching without dependency descriptor, step by step: simulcast, VP8, VP9.

use super::{Captured, Readers, capture};
use crate::layers::{Layer, Packet, Reader, Selector, UpSwitch, Verdict, Vp8};
use crate::transport::Codec;

fn layer(spatial: u8, temporal: u8) -> Layer {
    Layer { spatial, temporal }
}

/// Simulcast: only one encoding at a time, changed at keyframes of the wished one.
#[test]
fn simulcast_switches_at_keyframes() {
    for (name, temporal) in [("vp9-simulcast-dd", 2), ("vp8-simulcast", 2)] {
        let mut readers = Readers::new(name);
        let mut selector = Selector::default();
        selector.want(Some(layer(2, temporal)));
        let mut encodings = Vec::new();
        for (turn, packet) in capture(name).iter().enumerate() {
            if turn == 100 {
                selector.want(Some(layer(0, 0)));
                assert_eq!(selector.waits_for_keyframe(), Some(0), "{name}");
            }
            let info = readers.read(packet).unwrap();
            let before = selector.current().map(|at| at.spatial);
            if let Verdict::Forward { starts, .. } = selector.choose(&info) {
                let encoding = packet.encoding.unwrap();
                assert_eq!(selector.current().map(|at| at.spatial), Some(encoding));
                assert_eq!(starts, before != Some(encoding));
                assert!(!starts || info.starts_keyframe());
                if starts {
                    encodings.push(encoding);
                }
            }
        }
        // The first keyframe that comes is better than nothing; then nearer to the wish.
        let up: Vec<u8> = encodings.iter().copied().take_while(|&to| to != 2).collect();
        assert!(up.windows(2).all(|pair| pair[0] < pair[1]), "{name} {encodings:?}");
        assert_eq!(encodings.last(), Some(&0), "{name} {encodings:?}");
        assert!(encodings.contains(&2), "{name} {encodings:?}");
        assert_eq!(selector.current(), Some(layer(0, 0)));
        assert_eq!(selector.waits_for_keyframe(), None);
    }
}

/// RW-02: what comes late from before a switch is not let in, and a keyframe whose first packet comes
/// late begins nothing: the rest of it was dropped.
#[test]
fn late_packets_do_not_cross_a_switch() {
    let name = "vp8-simulcast";
    let packets = capture(name);
    let mut readers = Readers::new(name);
    let mut selector = Selector::default();
    selector.want(Some(layer(0, 2)));
    let of = |encoding: u8| packets.iter().filter(move |p| p.encoding == Some(encoding));
    let low: Vec<_> = of(0).take(8).collect();
    let high: Vec<_> = of(2).take(8).collect();
    let mut choose = |selector: &mut Selector, packet: &Captured| {
        selector.choose(&readers.read(packet).unwrap()) != Verdict::Drop
    };
    for packet in &low[..5] {
        assert!(choose(&mut selector, packet));
    }
    selector.want(Some(layer(2, 2)));
    assert!(!choose(&mut selector, high[1]), "the keyframe's second packet, too early");
    assert!(!choose(&mut selector, high[0]), "its first, too late");
    assert!(choose(&mut selector, low[6]), "the old encoding goes on");
    assert!(choose(&mut selector, low[5]), "reordered");
    let key = of(2).skip(8).position(is_key).unwrap() + 8;
    let next: Vec<_> = of(2).skip(key).take(2).collect();
    assert!(choose(&mut selector, next[0]));
    assert!(choose(&mut selector, next[1]));
    assert!(!choose(&mut selector, low[7]), "the old encoding");
    assert!(!choose(&mut selector, high[7]), "the new one before the switch");
}

/// Found by the simulator, seed 2843: a keyframe that says of itself that nothing refers to it was begun
/// with and dropped; what followed was forwarded, nothing was waited for, and no picture ever came.
#[test]
fn what_is_not_of_the_wished_layer_begins_nothing() {
    let name = "vp8-simulcast";
    let packets = capture(name);
    let key = packets.iter().position(|p| p.encoding == Some(0) && is_key(p)).unwrap();
    let mut readers = Readers::new(name);
    let mut selector = Selector::default();
    selector.want(Some(layer(0, 0)));
    let mut rest = packets[key..].iter().filter(|packet| packet.encoding == Some(0));
    let mut info = readers.read(rest.next().unwrap()).unwrap();
    info.layer.temporal = 1;
    assert_eq!(selector.choose(&info), Verdict::Drop);
    assert_eq!(selector.waits_for_keyframe(), Some(0));
    let next = readers.read(rest.next().unwrap()).unwrap();
    assert_eq!(selector.choose(&next), Verdict::Drop, "what follows is of no use");
}

fn is_key(packet: &Captured) -> bool {
    Vp8::parse(&packet.payload).unwrap().keyframe
}

/// VP8 without dependency descriptor: references as RFC 7741 implies them.
#[test]
fn vp8_temporal_layers_switch_by_the_sync_bit() {
    let name = "vp8-l1t3";
    let packets = capture(name);
    for turn in 0..60 {
        let mut readers = Readers::new(name);
        let mut selector = Selector::default();
        selector.want(Some(layer(0, 0)));
        // The latest forwarded frame of each layer, and which frame each layer had last in truth.
        let (mut truth, mut sent) = ([0u64; 3], [0u64; 3]);
        let (mut frame, mut dropped) = (0u64, true);
        for (at, packet) in packets.iter().enumerate() {
            if at == turn {
                selector.want(Some(layer(0, 2)));
            }
            let info = readers.read(packet).unwrap();
            let forwarded = selector.choose(&info) != Verdict::Drop;
            let temporal = usize::from(info.layer.temporal);
            if !info.starts_frame {
                assert_eq!(forwarded, !dropped, "a frame in part");
                continue;
            }
            frame += 1;
            dropped = !forwarded;
            let sync = info.starts_keyframe() || info.up_switch != UpSwitch::No;
            let needs = if sync { 0..=0 } else { 0..=temporal };
            for needed in needs.filter(|_| forwarded && !info.starts_keyframe()) {
                assert_eq!(truth[needed], sent[needed], "wish at {turn}, packet {at}");
            }
            truth[temporal] = frame;
            if forwarded {
                sent[temporal] = frame;
            }
        }
        assert_eq!(selector.current(), Some(layer(0, 2)), "{turn}");
    }
}

/// By hand: VP8 frames of one packet each as (temporal, sync), and what is forwarded at each.
#[test]
fn vp8_goes_up_one_temporal_layer_at_a_time() {
    let mut reader = Reader::new(Codec::Vp8, None);
    let mut selector = Selector::default();
    selector.want(Some(layer(0, 0)));
    // T2 may be joined only after T1: a later T2 may need the T1 that was not forwarded.
    let frames = [(0, false), (2, true), (1, false), (2, false), (0, false), (2, true), (1, true)];
    let frames = frames.into_iter().chain([(2, false), (0, false), (2, true), (1, false)]);
    let mut forwarded = String::new();
    for (at, (temporal, sync)) in frames.enumerate() {
        let payload = [0x90, 0x20, temporal << 6 | u8::from(sync) << 5, u8::from(at > 0)];
        let (seq, time) = (u64::try_from(at).unwrap(), u32::try_from(at).unwrap());
        let info =
            reader.read(Packet { seq, time, marker: true, payload: &payload, descriptor: None });
        let verdict = selector.choose(&info.unwrap());
        forwarded.push(if verdict == Verdict::Drop { '-' } else { '+' });
        selector.want(Some(layer(0, 2)));
    }
    assert_eq!(forwarded, "+---+-+-+++");
}

/// By hand: a VP9 layer frame of a temporal layer that is not forwarded is not joined there.
#[test]
fn a_spatial_layer_is_joined_where_the_lower_one_is_forwarded() {
    let mut reader = Reader::new(Codec::Vp9 { profile: 0 }, None);
    let mut selector = Selector::default();
    selector.want(Some(layer(0, 0)));
    // (time, spatial, temporal, P); U is never set; a structure of two layers with the first.
    let frames =
        [(0, 0, 0, false), (1, 0, 1, true), (1, 1, 1, false), (2, 0, 0, true), (2, 1, 0, false)];
    let mut forwarded = String::new();
    for (at, (time, spatial, temporal, inter)) in frames.into_iter().enumerate() {
        let first = 0x3c | u8::from(inter) << 6 | u8::from(at == 0) << 1;
        let mut payload = vec![first, temporal << 5 | spatial << 1 | u8::from(spatial > 0)];
        payload.extend(inter.then_some(2));
        payload.extend((at == 0).then_some(0x20));
        payload.push(0);
        let seq = u64::try_from(at).unwrap();
        let info =
            reader.read(Packet { seq, time, marker: false, payload: &payload, descriptor: None });
        let verdict = selector.choose(&info.unwrap());
        forwarded.push(if verdict == Verdict::Drop { '-' } else { '+' });
        selector.want(Some(layer(1, 0)));
    }
    assert_eq!(forwarded, "+--++");
}

/// A new SSRC: nothing of it before its keyframe, whatever its numbers are.
#[test]
fn a_stream_that_goes_on_under_other_numbers_begins_at_its_keyframe() {
    let packets = capture("vp8-l1t3");
    let mut readers = Readers::new("vp8-l1t3");
    let mut selector = Selector::default();
    selector.want(Some(layer(0, 2)));
    for packet in &packets[..20] {
        selector.choose(&readers.read(packet).unwrap());
    }
    selector.lose();
    let mut readers = Readers::new("vp8-l1t3");
    let mut started = None;
    for (at, packet) in packets.iter().enumerate().skip(10) {
        let packet = Captured { seq: packet.seq - 20_000, ..packet.clone() };
        let info = readers.read(&packet).unwrap();
        if let Verdict::Forward { starts, .. } = selector.choose(&info) {
            assert_eq!(starts, started.is_none());
            assert!(!starts || info.starts_keyframe());
            started.get_or_insert(at);
        }
    }
    assert_eq!(started, Some(31));
}
