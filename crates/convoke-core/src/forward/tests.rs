//! The laws of a slot's numbering and choice, and of the keyframe budget.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::keyframe::Keyframes;
use super::rewrite::{Incoming, Numbers};
use super::select::{Candidate, Choice, Forwarder};
use crate::transport::Vp8Numbers;

const MS: Duration = Duration::from_millis(1);

fn video(seq: u64, time: u32) -> Incoming {
    Incoming { seq, time, clock_rate: 90_000, audio: false, vp8: None }
}

fn audio(seq: u64, time: u32) -> Incoming {
    Incoming { seq, time, clock_rate: 48_000, audio: true, vp8: None }
}

fn packet(track: usize, start: bool, numbers: Incoming) -> Candidate {
    Candidate { track, ssrc: 100 + u32::try_from(track).unwrap(), start, numbers }
}

fn numbers(choice: Choice) -> Option<Numbers> {
    match choice {
        Choice::Forward(numbers) | Choice::Switch { numbers, .. } => Some(numbers),
        Choice::Skip | Choice::Late | Choice::Lost => None,
    }
}

fn vp8(picture_id: u16, tl0: u8) -> Option<Vp8Numbers> {
    Some(Vp8Numbers { picture_id: Some(picture_id), tl0_pic_idx: Some(tl0), key_idx: None })
}

/// RW-02: a late packet from before the switch never gets a number inside the new stream.
#[test]
fn late_packets_around_a_switch_are_dropped_not_misnumbered() {
    let now = Instant::now();
    let mut slot = Forwarder::new([5, 9]);
    slot.want(1);
    assert!(matches!(slot.choose(now, packet(1, true, video(50, 0))), Choice::Switch { .. }));
    slot.want(2);
    // The new track before its keyframe, and the old one until then.
    assert_eq!(slot.choose(now, packet(2, false, video(100, 0))), Choice::Skip);
    let old = slot.choose(now + 10 * MS, packet(1, false, video(51, 3_000)));
    let old = numbers(old).unwrap();
    let switch = slot.choose(now + 20 * MS, packet(2, true, video(102, 90)));
    let Choice::Switch { numbers: new, left: Some(1) } = switch else { panic!("{switch:?}") };
    assert_eq!(new.seq, old.seq + 1);
    // 101 belongs before the keyframe; 52 is of the old stream.
    assert_eq!(slot.choose(now + 21 * MS, packet(2, false, video(101, 90))), Choice::Late);
    assert_eq!(slot.choose(now + 21 * MS, packet(1, false, video(52, 6_000))), Choice::Skip);
    let next = numbers(slot.choose(now + 30 * MS, packet(2, false, video(103, 3_090)))).unwrap();
    assert_eq!((next.seq, next.time.wrapping_sub(new.time)), (new.seq + 1, 3_000));
}

/// RW-03: PictureID and TL0PICIDX go on over a switch, at their wraps too.
#[test]
fn vp8_picture_numbers_go_on_over_a_switch_at_the_wraps() {
    let now = Instant::now();
    for (before, after) in [(32_766u16, 5u16), (10, 32_760), (0, 0)] {
        for tl0 in [250u8, 255, 0] {
            let mut slot = Forwarder::new([0, 0]);
            slot.want(1);
            let first = Incoming { vp8: vp8(before, tl0), ..video(10, 0) };
            let second = Incoming {
                vp8: vp8((before + 1) & 0x7fff, tl0.wrapping_add(1)),
                ..video(11, 3_000)
            };
            numbers(slot.choose(now, packet(1, true, first))).unwrap();
            let last = numbers(slot.choose(now + 33 * MS, packet(1, false, second))).unwrap();
            slot.want(2);
            for step in 0..20u16 {
                let incoming = Incoming {
                    vp8: vp8((after + step) & 0x7fff, 7u8.wrapping_add(step.to_le_bytes()[0])),
                    ..video(500 + u64::from(step), u32::from(step) * 3_000)
                };
                let at = now + MS * 33 * u32::from(step + 2);
                let got = numbers(slot.choose(at, packet(2, step == 0, incoming))).unwrap();
                let (got, last) = (got.vp8.unwrap(), last.vp8.unwrap());
                let expected = (last.picture_id.unwrap() + 1 + step) & 0x7fff;
                assert_eq!(got.picture_id, Some(expected));
                let expected = last.tl0_pic_idx.unwrap().wrapping_add(1 + step.to_le_bytes()[0]);
                assert_eq!(got.tl0_pic_idx, Some(expected));
            }
        }
    }
}

#[test]
fn audio_that_follows_at_once_follows_by_exactly_one_packet() {
    let start = Instant::now();
    for (gap, expected) in [(0, 960), (5, 960), (39, 960), (40, 1_920), (1_000, 48_000)] {
        let mut slot = Forwarder::new([1, 77]);
        slot.want(1);
        let first = numbers(slot.choose(start, packet(1, true, audio(9, 123)))).unwrap();
        slot.want(2);
        let second = slot.choose(start + gap * MS, packet(2, true, audio(4_000, 99_999)));
        let step = numbers(second).unwrap().time.wrapping_sub(first.time);
        assert_eq!(step, expected, "after {gap} ms");
    }
}

/// RW-06: whatever a sender's clock does over a pause, ours goes on with the wall clock.
#[test]
fn a_clock_that_stood_jumped_or_ran_is_anchored_to_the_wall() {
    let start = Instant::now();
    let pause = Duration::from_secs(30);
    for jump in [960u32, 30 * 48_000 + 960, 0x8000_0000, 5_000_000, 0u32.wrapping_sub(48_000)] {
        let mut slot = Forwarder::new([1, u32::MAX - 100]);
        slot.want(1);
        let first = numbers(slot.choose(start, packet(1, true, audio(9, 1_000)))).unwrap();
        let resumed = packet(1, true, audio(10, 1_000u32.wrapping_add(jump)));
        let second = numbers(slot.choose(start + pause, resumed)).unwrap();
        assert_eq!(second.seq, first.seq + 1);
        let advance = i64::from(second.time.wrapping_sub(first.time));
        assert!((advance - 30 * 48_000).abs() <= 9_600, "jump {jump}: {advance}");
        // And it runs on from there.
        let next = packet(1, true, audio(11, 1_000u32.wrapping_add(jump).wrapping_add(960)));
        let third = numbers(slot.choose(start + pause + 20 * MS, next)).unwrap();
        assert_eq!(third.time.wrapping_sub(second.time), 960);
    }
}

/// SR-02: numbering that starts again, or a new SSRC, begins a new stream; video at a keyframe.
#[test]
fn a_jump_or_a_new_ssrc_is_a_new_stream() {
    let now = Instant::now();
    let mut slot = Forwarder::new([1, 1]);
    slot.want(1);
    let first = numbers(slot.choose(now, packet(1, true, video(40_000, 0)))).unwrap();
    assert_eq!(slot.choose(now + MS, packet(1, false, video(70_000, 90))), Choice::Lost);
    assert_eq!(slot.choose(now + 2 * MS, packet(1, false, video(70_001, 90))), Choice::Skip);
    let again = numbers(slot.choose(now + 3 * MS, packet(1, true, video(70_002, 90)))).unwrap();
    assert_eq!(again.seq, first.seq + 1);
    let other = Candidate { ssrc: 9, ..packet(1, true, video(3, 5)) };
    let other = numbers(slot.choose(now + 4 * MS, other)).unwrap();
    assert_eq!(other.seq, first.seq + 2);
}

/// KF-03: a request inside the interval is kept; a keyframe older than it does not satisfy it.
#[test]
fn the_budget_keeps_what_it_cannot_send_yet() {
    let interval = 500 * MS;
    let start = Instant::now();
    let mut budget = Keyframes::default();
    assert!(budget.request(start, interval), "A's");
    budget.arrived();
    assert!(!budget.request(start + 100 * MS, interval), "B's, inside the interval");
    assert!(!budget.poll(start + 499 * MS, interval, false));
    assert!(budget.poll(start + 500 * MS, interval, false), "kept, and sent when it ends");
    // One that begins after the request satisfies it.
    budget.arrived();
    assert!(!budget.request(start + 600 * MS, interval));
    budget.arrived();
    assert!(!budget.poll(start + 2_000 * MS, interval, false));
}

#[test]
fn unanswered_requests_are_repeated_ever_less_often() {
    let interval = 500 * MS;
    let start = Instant::now();
    let mut budget = Keyframes::default();
    assert!(budget.request(start, interval));
    let sent: Vec<u32> =
        (1..20_000).filter(|ms| budget.poll(start + *ms * MS, interval, true)).collect();
    assert_eq!(sent, [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500]);
    budget.arrived();
    assert!(
        budget.poll(start + 20_001 * MS, interval, true),
        "answered: the interval is short again"
    );
}

#[derive(Debug, Clone)]
enum Step {
    /// A packet of a track: sequence delta (may be late), whether it starts a keyframe.
    Packet {
        track: usize,
        delta: i64,
        start: bool,
    },
    Want(usize),
    Stop,
    Wait(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0..3usize, -20..25i64, prop::bool::weighted(0.3))
            .prop_map(|(track, delta, start)| Step::Packet { track, delta, start }),
        2 => (0..3usize).prop_map(Step::Want),
        1 => Just(Step::Stop),
        2 => (0..2_000u16).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..400)
}

proptest! {
    /// Over any packets, reordering, switches and pauses: no number for two packets, nothing from
    /// before a switch after it, gaps only where the stream has them, time forward at a switch.
    #[test]
    fn a_slot_is_one_continuous_stream(
        steps in steps(),
        seed in any::<[u32; 2]>(),
        bases in any::<[u32; 3]>(),
        is_audio in any::<bool>(),
    ) {
        let mut now = Instant::now();
        let mut slot = Forwarder::new(seed);
        slot.want(0);
        let mut heads = bases.map(|base| u64::from(base % 100_000) + 100);
        let mut used: HashMap<u64, (usize, u64)> = HashMap::new();
        let mut sent: HashSet<(usize, u64)> = HashSet::new();
        let mut highest: Option<(u64, u32)> = None;
        let mut stream: Option<(usize, u64, u64)> = None;
        let mut first = true;
        for step in steps {
            match step {
                Step::Want(track) => slot.want(track),
                Step::Stop => slot.stop(),
                Step::Wait(ms) => now += MS * u32::from(ms),
                Step::Packet { track, delta, start } => {
                    now += MS;
                    let seq = heads[track].saturating_add_signed(delta);
                    heads[track] = heads[track].max(seq);
                    if !sent.insert((track, seq)) {
                        continue;
                    }
                    let time = u32::try_from(seq & 0xffff_ffff).unwrap().wrapping_mul(960);
                    let incoming = if is_audio { audio(seq, time) } else { video(seq, time) };
                    let start = start || is_audio;
                    let choice = slot.choose(now, packet(track, start, incoming));
                    if let Some(out) = numbers(choice) {
                        if first {
                            prop_assert!(out.seq < 1 << 15);
                            first = false;
                        }
                        prop_assert_eq!(used.insert(out.seq, (track, seq)), None);
                        if let Choice::Switch { .. } = choice {
                            prop_assert!(start);
                            if let Some((seq_before, time_before)) = highest {
                                prop_assert_eq!(out.seq, seq_before + 1);
                                let step = out.time.wrapping_sub(time_before).cast_signed();
                                prop_assert!(step > 0, "time went back by {}", -step);
                            }
                            stream = Some((track, seq, out.seq));
                        }
                        let (of, from, to) = stream.expect("a stream begins with a switch");
                        prop_assert_eq!(of, track);
                        prop_assert!(seq >= from, "from before the switch");
                        prop_assert_eq!(out.seq - to, seq - from);
                        if highest.is_none_or(|(seq, _)| out.seq > seq) {
                            highest = Some((out.seq, out.time));
                        }
                    }
                }
            }
        }
    }
}
