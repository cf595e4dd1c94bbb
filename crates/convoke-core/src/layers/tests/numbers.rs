//! The laws of numbering with deliberate drops (RW-02).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use crate::layers::numbers::{DEPTH, Window};
use crate::layers::{FrameMap, SeqMap, Shift};

/// RW-02, in its own numbers: new layer 100, [101 late], 102 = keyframe, 101.
#[test]
fn nothing_from_before_the_start_gets_a_number() {
    let mut map = SeqMap::start(102, 7);
    assert_eq!(map.forward(101), None);
    assert_eq!(map.drop(100), None);
    assert_eq!(map.forward(103), Some(8));
    assert_eq!((map.next(), map.distance(110)), (9, 7));
}

/// RW-02: 100 drop, 101 send, 99 drop, 102 send; 99 came late, so its number stays a gap.
#[test]
fn a_drop_that_comes_late_leaves_its_number_unused() {
    let mut map = SeqMap::start(98, 1_000);
    assert_eq!(map.drop(100), None);
    assert_eq!(map.forward(101), Some(1_002));
    assert_eq!(map.drop(99), Some(1_001));
    assert_eq!(map.forward(102), Some(1_003));
    // In order there is no gap at all.
    let mut map = SeqMap::start(98, 1_000);
    assert_eq!((map.drop(99), map.drop(100)), (None, None));
    assert_eq!((map.forward(101), map.forward(102)), (Some(1_001), Some(1_002)));
}

#[test]
fn late_packets_get_the_number_that_was_left_for_them() {
    let mut map = SeqMap::start(0, 50);
    let late = 100;
    for seq in (1..=300).filter(|seq| *seq != late) {
        if seq % 3 == 0 {
            map.drop(seq);
        } else {
            map.forward(seq);
        }
    }
    let expected = 50 + late - late / 3;
    assert_eq!(map.clone().forward(late), Some(expected));
    assert_eq!(map.forward(late).and(map.forward(late)), None, "once only");
    assert_eq!(map.forward(101), None, "sent before");
    assert_eq!(map.forward(99), None, "dropped before");
    let mut map = SeqMap::start(0, 50);
    map.forward(DEPTH + 1);
    assert_eq!(map.forward(1), None, "too late");
    assert_eq!(map.forward(2), Some(52));
    map.forward(1 << 40);
    assert_eq!(map.forward((1 << 40) - 1), Some(50 + (1 << 40) - 1));
}

/// RW-02: 10^6 packets, reorder depth 20, 30 % dropped, some lost.
#[test]
fn a_million_packets_keep_the_laws() {
    let mut random = 1u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random >> 20
    };
    let mut map = SeqMap::start(0, 0);
    let mut waiting: BTreeSet<(u64, u64)> = BTreeSet::new();
    let mut laws = Laws::new(0, 0);
    let total = 1_000_000u64;
    for seq in 1..total {
        if next() % 50 != 0 {
            waiting.insert((seq + next() % 20, seq));
        }
        while waiting.first().is_some_and(|&(at, _)| at <= seq) {
            let (_, seq) = waiting.pop_first().unwrap();
            let dropped = seq % 10 < 3;
            laws.step(&mut map, seq, dropped).unwrap();
        }
    }
    laws.finish(&map).unwrap();
    assert!(laws.sent.len() > 600_000, "{}", laws.sent.len());
}

/// What holds for any order of packets, kept beside the map by the simplest means.
#[derive(Debug)]
struct Laws {
    highest: u64,
    /// Source to ours, of what was sent.
    sent: BTreeMap<u64, u64>,
    used: HashMap<u64, u64>,
    /// Source numbers that take no number of ours: dropped in order.
    closed: u64,
    seen: BTreeSet<u64>,
}

impl Laws {
    fn new(first: u64, out: u64) -> Self {
        Self {
            highest: first,
            sent: BTreeMap::from([(first, out)]),
            used: HashMap::from([(out, first)]),
            closed: 0,
            seen: BTreeSet::from([first]),
        }
    }

    fn step(&mut self, map: &mut SeqMap, seq: u64, dropped: bool) -> Result<(), TestCaseError> {
        let (first, _) = self.sent.first_key_value().map(|(a, b)| (*a, *b)).unwrap();
        let fresh = !self.seen.contains(&seq);
        let in_reach = seq >= first && seq + DEPTH > self.highest;
        if dropped {
            let left = map.drop(seq);
            prop_assert_eq!(left.is_some(), fresh && in_reach && seq < self.highest);
            if let Some(left) = left {
                prop_assert_eq!(self.used.insert(left, seq), None);
            }
            self.closed += u64::from(fresh && seq > self.highest);
        } else {
            let out = map.forward(seq);
            prop_assert_eq!(out.is_some(), fresh && in_reach, "{} at {}", seq, self.highest);
            if let Some(out) = out {
                prop_assert_eq!(self.used.insert(out, seq), None, "a number for two payloads");
                let before = self.sent.range(..seq).next_back().map(|(_, out)| *out);
                let after = self.sent.range(seq..).next().map(|(_, out)| *out);
                prop_assert!(before.is_none_or(|before| before < out));
                prop_assert!(after.is_none_or(|after| out < after));
                self.sent.insert(seq, out);
            }
        }
        if in_reach {
            self.seen.insert(seq);
        }
        self.highest = self.highest.max(seq);
        Ok(())
    }

    /// Gaps are what never came (or was dropped when it was too late to close up), and no others.
    fn finish(&self, map: &SeqMap) -> Result<(), TestCaseError> {
        let (&first, &out) = self.sent.first_key_value().unwrap();
        let span = self.highest - first + 1;
        prop_assert_eq!(map.next() - out, span - self.closed);
        let never_came = span - u64::try_from(self.seen.len()).unwrap();
        let used = u64::try_from(self.used.len()).unwrap();
        prop_assert_eq!(map.next() - out - used, never_came);
        Ok(())
    }
}

proptest! {
    #[test]
    fn sequence_numbers_keep_the_laws(
        first in 0..100_000u64,
        out in 0..40_000u64,
        steps in prop::collection::vec((-150..160i64, prop::bool::weighted(0.4)), 1..500),
    ) {
        let mut map = SeqMap::start(first, out);
        let mut laws = Laws::new(first, out);
        for (delta, dropped) in steps {
            // Mostly small steps forward, sometimes far back or ahead.
            let delta = if delta > 20 { delta % 4 } else { delta };
            let seq = laws.highest.saturating_add_signed(delta);
            laws.step(&mut map, seq, dropped)?;
        }
        laws.finish(&map)?;
    }

    /// Frames: all packets of one get the same number, and the next forwarded one the next number.
    #[test]
    fn frame_numbers_close_up_over_dropped_frames(
        first in any::<u16>(),
        wide in any::<bool>(),
        out in 0..100_000u64,
        frames in prop::collection::vec((prop::bool::weighted(0.4), 1..4usize, 0..10u8), 1..400),
    ) {
        let bits = if wide { 15 } else { 7 };
        let mask = (1u16 << bits) - 1;
        let mut map = FrameMap::start(first & mask, bits, out);
        let (mut n, mut expected, mut given) = (first, out, out);
        for (dropped, packets, lost) in frames {
            n = n.wrapping_add(1);
            let id = n & mask;
            if lost == 0 {
                // The network lost all of it: it keeps its number, as it may still come.
                expected += 1;
                continue;
            }
            expected += u64::from(!dropped);
            for _ in 0..packets {
                if dropped {
                    map.drop(id);
                } else {
                    prop_assert_eq!(map.forward(id), Some(expected));
                    given = expected;
                }
            }
            // What was lost since the last leaves no gap where another stream goes on (seed 3615).
            prop_assert_eq!(map.next(), given + 1);
            if dropped {
                prop_assert_eq!(map.forward(id), None);
            }
        }
    }

    /// Frames with reordering: numbers are in the order of frames and used once.
    #[test]
    fn late_frames_get_the_number_that_was_left_for_them(
        first in any::<u16>(),
        steps in prop::collection::vec((-60..8i64, prop::bool::weighted(0.3)), 1..300),
    ) {
        let mut map = FrameMap::start(first & 0x7fff, 15, 0);
        let base = 1i64 << 20;
        let mut fate: BTreeMap<i64, bool> = BTreeMap::from([(base, false)]);
        let mut numbers: BTreeMap<i64, u64> = BTreeMap::from([(base, 0)]);
        let mut highest = base;
        for (delta, dropped) in steps {
            let delta = if delta < -8 { 1 } else { delta };
            let frame = highest + delta;
            highest = highest.max(frame);
            let dropped = *fate.entry(frame).or_insert(dropped);
            let id = u16::try_from((i64::from(first) + frame - base) & 0x7fff).unwrap();
            if dropped {
                map.drop(id);
            } else if let Some(number) = map.forward(id) {
                prop_assert!(frame >= base);
                prop_assert_eq!(*numbers.entry(frame).or_insert(number), number);
            } else {
                prop_assert!(frame < base);
            }
        }
        let in_order: Vec<u64> = numbers.values().copied().collect();
        prop_assert!(in_order.windows(2).all(|pair| pair[0] < pair[1]));
    }

    /// Shifted numbers keep their distances, whatever the width, over wraps.
    #[test]
    fn shifted_numbers_keep_their_distances(
        first in any::<u16>(),
        bits in prop::sample::select(vec![5u32, 7, 8, 15, 16]),
        out in any::<u16>(),
        steps in prop::collection::vec(-3..8i64, 1..400),
    ) {
        let mask = u16::MAX >> (16 - bits);
        let mut shift = Shift::start(first & mask, bits, u64::from(out));
        let (mut at, mut highest) = (0i64, 0i64);
        for step in steps {
            at = highest + step;
            let n = u16::try_from((i64::from(first) + at) & i64::from(mask)).unwrap();
            let expected = u64::try_from(at).ok().map(|at| u64::from(out) + at);
            prop_assert_eq!(shift.map(n), expected);
            highest = highest.max(at);
            prop_assert_eq!(shift.next(), u64::from(out) + u64::try_from(highest).unwrap() + 1);
        }
        let _ = at;
    }

    #[test]
    fn the_window_is_a_set_of_the_latest_numbers(
        steps in prop::collection::vec((0..200u64, any::<bool>()), 1..60),
    ) {
        let mut window = Window::default();
        let (mut highest, mut set) = (0u64, BTreeSet::new());
        for (step, mark) in steps {
            highest += step;
            window.advance(step);
            if mark {
                window.set(0);
                set.insert(highest);
            }
            for back in 0..DEPTH + 3 {
                let expected = back < DEPTH
                    && highest.checked_sub(back).is_some_and(|n| set.contains(&n));
                prop_assert_eq!(window.has(back), expected);
            }
        }
    }
}
