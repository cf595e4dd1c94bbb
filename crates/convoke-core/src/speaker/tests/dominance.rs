//! Who is dominant, scene by scene.

use super::scene::*;

const MINUTE: u32 = 60_000;
const ROOM: Sound = Noise { middle: -66, spread: 3 };
const VOICE: Sound = Talk { loud: -22, room: -66 };

/// Never more than a change a second, nor five words a second to clients.
#[track_caller]
fn calm(played: &Played) {
    for pair in played.changes.windows(2) {
        assert!(pair[1].0 - pair[0].0 >= 1_000, "{pair:?}");
    }
    for pair in played.told.windows(2) {
        assert!(pair[1].0 - pair[0].0 >= 200, "{pair:?}");
    }
}

/// SP-02: hum, bursts of speech, a click each two seconds, no extension, a broken one.
#[test]
fn sp02_hum_clicks_and_missing_levels() {
    const A: usize = 0;
    const B: usize = 1;
    const C: usize = 2;
    const D: usize = 3;
    const E: usize = 4;
    let broken = [Garbage, Steady(5), Steady(-128), Steady(0), Steady(-1)];
    let bursts = [(400, 200), (1_000, 500), (2_000, 1_000), (3_000, 3_000)];
    let mut shares = Vec::new();
    for d in [SizedNoise, SizedConstant] {
        for e in broken {
            for (on_ms, off_ms) in bursts {
                let mut parts = vec![
                    (A, 0, MINUTE, Steady(-45)),
                    (C, 0, MINUTE, Clicks { level: -5, every_ms: 2_000 }),
                    (D, 0, MINUTE, d),
                    (E, 0, MINUTE, e),
                ];
                let mut at = 0;
                while at < MINUTE {
                    let stop = (at + on_ms).min(MINUTE);
                    parts.push((B, at, stop, Steady(-20)));
                    parts.push((B, stop, (stop + off_ms).min(MINUTE), Steady(-60)));
                    at = stop + off_ms;
                }
                let played = play(1, MINUTE, 2, &parts);
                let case = format!("D {d:?}, E {e:?}, B {on_ms} on {off_ms} off");
                let share = played.share(B, 0, MINUTE);
                assert!(share >= 0.8, "{case}: B leads {share:.2}: {:?}", played.changes);
                assert!([A, C, D, E].iter().all(|key| !played.ever(*key)), "{case}");
                calm(&played);
                shares.push((share * 1_000.0) as u32);
            }
        }
    }
    assert_eq!(spread_of(shares), (985, 985, 985), "permille, as in speaker.md");
}

#[test]
fn sp02_bursts_of_natural_speech() {
    let mut shares = Vec::new();
    for seed in 0..20 {
        let played = play(
            seed,
            MINUTE,
            2,
            &[
                (0, 0, MINUTE, Noise { middle: -45, spread: 3 }),
                (1, 0, MINUTE, Talk { loud: -20, room: -60 }),
                (2, 0, MINUTE, Clicks { level: -5, every_ms: 2_000 }),
                (3, 0, MINUTE, SizedNoise),
                (4, 0, MINUTE, Garbage),
            ],
        );
        assert!(played.share(1, 0, MINUTE) >= 0.95, "{seed}: {:?}", played.changes);
        assert!([0, 2, 3, 4].iter().all(|key| !played.ever(*key)), "{seed}");
        calm(&played);
        shares.push((played.share(1, 0, MINUTE) * 1_000.0) as u32);
    }
    assert_eq!(spread_of(shares), (980, 985, 985), "permille, as in speaker.md");
}

/// Least, median and most of some figures.
fn spread_of(mut all: Vec<u32>) -> (u32, u32, u32) {
    all.sort_unstable();
    (all[0], all[all.len() / 2], all[all.len() - 1])
}

/// A tone that was first, while it is not known yet to be noise.
#[test]
fn a_flat_voice_yields_to_speech_as_if_it_were_silent() {
    for seed in 0..20 {
        let parts = [(0, 0, 10_000, Steady(-30)), (1, 0, 1_000, ROOM), (1, 1_000, 10_000, VOICE)];
        let played = play(seed, 10_000, 2, &parts);
        assert_eq!(played.changes.first(), Some(&(900, Some(0))), "{seed}");
        assert!(played.since(1, 1_000).is_some_and(|at| at <= 2_600), "{:?}", played.changes);
        assert!(played.changes.len() == 2, "{seed}");
    }
}

#[test]
fn of_two_who_begin_together_the_one_that_is_not_flat_is_taken() {
    for seed in 0..20 {
        // The tone is louder, and neither ever pauses.
        let lively = Noise { middle: -25, spread: 8 };
        let played = play(seed, 2_800, 2, &[(0, 0, 2_800, Steady(-9)), (1, 0, 2_800, lively)]);
        assert!(played.ever(1) && !played.ever(0), "{seed}: {:?}", played.changes);
    }
}

/// Hand-over: the other begins `gap_ms` after the first stops. The figures are in `speaker.md`.
#[test]
fn two_alternating_speakers() {
    let whisper = Talk { loud: -55, room: -75 };
    // (pause between them, sound, silence, latencies)
    let cases = [
        (0, VOICE, ROOM, (660, 900, 1_340)),
        (300, VOICE, ROOM, (660, 900, 1_340)),
        (1_000, VOICE, ROOM, (680, 900, 1_240)),
        (0, SizedTalk, SizedNoise, (640, 900, 1_280)),
        (300, whisper, Noise { middle: -75, spread: 3 }, (660, 900, 1_340)),
    ];
    for (gap_ms, voice, room, figures) in cases {
        let mut latencies = Vec::new();
        for seed in 0..15u32 {
            // Turns of uneven length, so that decisions fall anywhere within them.
            let mut parts = vec![(0, 0, 1_000, room), (1, 0, 1_000, room)];
            let mut at = 1_000;
            for turn in 0..8u32 {
                let (who, other) = ((turn % 2) as usize, (1 - turn % 2) as usize);
                let length = 6_000 + 20 * ((seed * 8 + turn) * 7 % 31);
                parts.push((who, at, at + length, voice));
                parts.push((other, at, at + length, room));
                parts.push((who, at + length, at + length + gap_ms, room));
                parts.push((other, at + length, at + length + gap_ms, room));
                at += length + gap_ms;
            }
            let played = play(u64::from(seed), at, 2, &parts);
            calm(&played);
            for part in parts[2..].chunks(4) {
                let (who, from, to, _) = part[0];
                let since = played.since(who, from).filter(|since| *since < to);
                let since = since.unwrap_or_else(|| panic!("{gap_ms} {voice:?} {seed}: {part:?}"));
                latencies.push(since - from);
            }
        }
        assert_eq!(spread_of(latencies), figures, "{gap_ms} {voice:?}: ms, as in speaker.md");
    }
}

/// Another talks over the speaker for four seconds. In a breath it may be taken up, and yields.
#[test]
fn in_double_talk_the_speaker_stays() {
    let mut kept = 0;
    for seed in 0..100 {
        let parts = [
            (0, 0, 20_000, VOICE),
            (1, 0, 10_000, ROOM),
            (1, 10_000, 14_000, Talk { loud: -12, room: -60 }),
            (1, 14_000, 20_000, ROOM),
        ];
        let played = play(seed, 20_000, 2, &parts);
        assert!(played.share(0, 2_000, 10_000) == 1.0, "{seed}");
        assert!([1, 3].contains(&played.changes.len()), "{seed}: {:?}", played.changes);
        assert!(played.share(0, 17_000, 20_000) == 1.0, "{seed}: {:?}", played.changes);
        calm(&played);
        kept += usize::from(played.changes.len() == 1);
    }
    assert_eq!(kept, 57, "of 100, as in speaker.md");
}

#[test]
fn a_word_of_agreement_takes_nothing() {
    for seed in 0..20 {
        let mut parts = vec![(0, 0, 30_000, VOICE)];
        for n in 0..10 {
            let at = n * 3_000;
            parts.push((1, at, at + 400, Steady(-18)));
            parts.push((1, at + 400, at + 3_000, ROOM));
        }
        let played = play(seed, 30_000, 2, &parts);
        assert!(!played.ever(1), "{seed}");
        assert_eq!(played.recent.len(), 1, "{seed}: nor a place: {:?}", played.recent);
    }
}

#[test]
fn a_whisper_in_a_quiet_room_is_speech() {
    for seed in 0..20 {
        let whisper = Talk { loud: -56, room: -80 };
        let parts = [
            (0, 0, 20_000, Noise { middle: -80, spread: 2 }),
            (1, 0, 20_000, Noise { middle: -45, spread: 4 }),
            (0, 20_000, 30_000, whisper),
            (1, 20_000, 30_000, Noise { middle: -45, spread: 4 }),
        ];
        let played = play(seed, 30_000, 2, &parts);
        assert!(!played.ever(1), "{seed}: louder noise");
        assert!(played.since(0, 20_000).is_some_and(|at| at <= 22_000), "{seed}");
        assert!(played.share(0, 22_000, 30_000) == 1.0, "{seed}");
    }
}

#[test]
fn a_cough_does_not_win() {
    // Lengths and pauses of a cough, in ms; alone, and over a speaker that pauses.
    for fit in [&[300u32][..], &[500], &[250, 250], &[200, 200, 200]] {
        for phase in (0..300).step_by(20) {
            let mut parts = vec![(0, 0, 5_000 + phase, ROOM)];
            let mut at = 5_000 + phase;
            for length in fit {
                parts.push((0, at, at + length, Steady(-8)));
                parts.push((0, at + length, at + length + 200, ROOM));
                at += length + 200;
            }
            parts.push((0, at, 10_000, ROOM));
            let played = play(1, 10_000, 2, &parts);
            assert!(!played.ever(0), "{fit:?} at {phase}");
            assert!(played.recent.is_empty(), "{fit:?} at {phase}");

            parts.push((1, 0, 4_900, VOICE));
            parts.push((1, 4_900, 6_500, ROOM));
            parts.push((1, 6_500, 10_000, VOICE));
            let played = play(1, 10_000, 2, &parts);
            assert!(played.share(1, 2_000, 10_000) == 1.0, "{fit:?} at {phase}");
        }
    }
}

#[test]
fn hum_never_wins_against_speech() {
    // Begins with the call, or sets in later; louder than the speech or not.
    for (level, spread) in [(-45, 0), (-45, 3), (-30, 3), (-15, 1), (-12, 4), (0, 0)] {
        for from in [0, 10_000, 40_000] {
            for seed in 0..5 {
                let parts = [
                    (0, 0, from, Noise { middle: -70, spread: 2 }),
                    (0, from, MINUTE, Noise { middle: level, spread }),
                    (1, 0, 5_000, ROOM),
                    (1, 5_000, MINUTE, VOICE),
                ];
                let played = play(seed, MINUTE, 2, &parts);
                let case = format!("{level} {spread} from {from}: {:?}", played.changes);
                let speech = played.since(1, 5_000).expect("speech");
                assert!(speech <= 6_400, "{case}");
                assert!(played.share(1, speech, MINUTE) == 1.0, "{case}");
            }
        }
    }
}

/// A drill: neither its beginning nor its end in a breath makes it a speaker.
#[test]
fn hum_that_comes_and_goes_never_wins_against_speech() {
    for on_ms in [600, 1_000, 2_000, 4_000] {
        for seed in 0..20 {
            let mut parts = vec![(1, 0, MINUTE, VOICE), (0, 0, 4_000, ROOM)];
            let mut at = 4_000;
            while at + on_ms + 2_000 <= MINUTE {
                parts.push((0, at, at + on_ms, Noise { middle: -20, spread: 3 }));
                parts.push((0, at + on_ms, at + on_ms + 2_000, ROOM));
                at += on_ms + 2_000;
            }
            let played = play(seed, MINUTE, 2, &parts);
            assert!(!played.ever(0), "{on_ms} {seed}: {:?}", played.changes);
        }
    }
}

/// Voices of one level, as test tones and bad microphones make them, are taken when no other
/// speaks, so they alternate as well.
#[test]
fn flat_voices_alternate_more_slowly() {
    for (length, figures) in [(2_000, (900, 1_500, 1_600)), (5_000, (700, 800, 900))] {
        let mut parts = Vec::new();
        for turn in 0..8u32 {
            let (who, other) = ((turn % 2) as usize, (1 - turn % 2) as usize);
            parts.push((who, turn * length, turn * length + length, Steady(-20)));
            parts.push((other, turn * length, turn * length + length, Steady(-60)));
        }
        let played = play(1, 8 * length, 2, &parts);
        let mut latencies = Vec::new();
        for part in parts.chunks(2) {
            let since = played.since(part[0].0, part[0].1).expect("taken over");
            latencies.push(since - part[0].1);
        }
        assert_eq!(spread_of(latencies), figures, "{length}: ms, as in speaker.md");
        calm(&played);
    }
}

/// Music of little range is noise; of a wide one it is a sound like speech: it holds what it has
/// until it pauses, as a talker does, and is heard without end.
#[test]
fn music() {
    let cases = [
        (4, (1_000, 1_000, 1_000)),
        (5, (1_000, 1_000, 1_000)),
        (7, (875, 943, 1_000)),
        (14, (74, 472, 1_000)),
    ];
    for (spread, figures) in cases {
        let mut shares = Vec::new();
        for seed in 0..10 {
            let parts = [
                (0, 0, 5_000, Noise { middle: -70, spread: 2 }),
                (0, 5_000, MINUTE, Noise { middle: -28, spread }),
                (1, 0, MINUTE, VOICE),
            ];
            let played = play(seed, MINUTE, 2, &parts);
            let share = played.share(1, 2_000, MINUTE);
            shares.push((share * 1_000.0) as u32);
            assert!(played.audible[260..].iter().all(|keys| keys.contains(&1)), "heard beside it");
            calm(&played);
        }
        assert_eq!(spread_of(shares), figures, "+-{spread} dB: permille, as in speaker.md");
    }
}

#[test]
fn one_who_vanishes_in_mid_word_is_released() {
    for end in (10_000..10_300).step_by(20) {
        let played = play(1, 20_000, 2, &[(0, 0, end, VOICE), (1, 0, 20_000, ROOM)]);
        assert!(played.share(0, 2_000, end) == 1.0);
        let released = played.changes.iter().find(|(_, who)| who.is_none()).map(|(at, _)| *at);
        let released = released.expect("released");
        assert!((1_980..=2_320).contains(&(released - end)), "{}", released - end);
        // And another need not wait for that.
        let played = play(1, 20_000, 2, &[(0, 0, end, VOICE), (1, end, 20_000, VOICE)]);
        let since = played.since(1, end).expect("taken over");
        assert!(since - end <= 2_000, "{}", since - end);
    }
}

/// A level stuck at the loudest: no speech, so another speaks over it at once.
#[test]
fn a_stuck_level_is_no_speech() {
    for seed in 0..10 {
        let parts = [
            (0, 0, 10_000, VOICE),
            (0, 10_000, 20_000, Steady(-3)),
            (1, 0, 11_000, ROOM),
            (1, 11_000, 40_000, VOICE),
        ];
        let played = play(seed, 40_000, 2, &parts);
        let since = played.since(1, 11_000).expect("taken over");
        assert!(since <= 13_000, "{seed}: {since}");
        assert!(played.share(1, 13_000, 40_000) == 1.0, "{seed}");
    }
}

#[test]
fn silence_releases_and_lets_the_timers_rest() {
    let played = play(1, 30_000, 2, &[(0, 0, 10_000, VOICE), (0, 10_000, 30_000, ROOM)]);
    let (at, who) = *played.changes.last().expect("changes");
    assert!(who.is_none() && (14_500..=15_800).contains(&at), "{at} {who:?}");
    assert_eq!(played.speakers.next_deadline(), None);
    assert_eq!(played.speakers.recent(), [0]);
}

#[test]
fn a_client_without_levels_speaks_too() {
    for seed in 0..20 {
        let parts = [
            (0, 0, 10_000, SizedNoise),
            (0, 10_000, 30_000, SizedTalk),
            (1, 0, 8_000, VOICE),
            (1, 8_000, 30_000, ROOM),
        ];
        let played = play(seed, 30_000, 2, &parts);
        assert!(played.since(0, 10_000).is_some_and(|at| at <= 12_000), "{seed}");
        assert!(played.share(0, 12_000, 30_000) == 1.0, "{seed}: {:?}", played.changes);
    }
}
