//! Who must be heard: onsets, the order of the audible, and that it does not churn.

use std::time::Duration;

use super::super::{Change, Heard, Onset};
use super::scene::*;

const ROOM: Sound = Noise { middle: -66, spread: 3 };
const VOICE: Sound = Talk { loud: -22, room: -66 };

#[test]
fn an_onset_is_found_by_its_second_packet() {
    let quiet = [
        ROOM,
        Steady(-127),
        Noise { middle: -45, spread: 4 },
        Nothing,
        Clicks { level: -9, every_ms: 900 },
    ];
    for before in quiet {
        // The first words ever, and the first after an hour's worth of silence.
        for begins in [0, 200, 20_000] {
            let parts = [(0, 0, begins, before), (0, begins, begins + 1_000, Steady(-22))];
            let played = play(1, begins + 1_000, 1, &parts);
            // The first packet is at `begins`; noise may have had a loud one just before it.
            let onset = played.onset(0, begins);
            assert!(onset.is_some_and(|at| at <= begins + 20), "{before:?} {begins}: {onset:?}");
        }
    }
}

#[test]
fn an_onset_after_comfort_noise_or_without_levels_is_found_too() {
    for seed in 0..20 {
        let parts = [(0, 0, 5_000, SizedNoise), (0, 5_000, 6_000, SizedTalk)];
        let played = play(seed, 6_000, 1, &parts);
        assert_eq!(played.onset(0, 5_000), Some(5_020), "{seed}");
    }
}

#[test]
fn a_click_evicts_nobody() {
    let parts = [
        (0, 0, 20_000, VOICE),
        (1, 0, 20_000, Clicks { level: -3, every_ms: 500 }),
        (2, 0, 20_000, Clicks { level: 0, every_ms: 100 }),
    ];
    let played = play(1, 20_000, 1, &parts);
    assert!(played.onset(1, 0).is_none() && played.onset(2, 0).is_none(), "{:?}", played.onsets);
    assert!(played.audible[100..].iter().all(|audible| audible == &[0]));
}

#[test]
fn the_least_recently_active_gives_way() {
    // 0 stopped first, 1 then; 2 talks on; 3 begins.
    let parts = [
        (0, 0, 4_000, VOICE),
        (0, 4_000, 12_000, ROOM),
        (1, 0, 7_000, VOICE),
        (1, 7_000, 12_000, ROOM),
        (2, 0, 12_000, VOICE),
        (4, 0, 12_000, ROOM),
        (3, 10_000, 12_000, Steady(-20)),
    ];
    let played = play(3, 10_040, 3, &parts);
    assert_eq!(played.audible.last().map(Vec::as_slice), Some(&[3, 2, 1][..]));
    let speakers = &played.speakers;
    // Smaller counts are the beginnings of larger ones.
    assert_eq!(speakers.audible(0), [0usize; 0]);
    assert_eq!(speakers.audible(2), [3, 2]);
    assert_eq!(speakers.audible(99), [3, 2, 1, 0]);
}

#[test]
fn clicks_keep_nobody_audible() {
    let parts = [(0, 0, 4_000, VOICE), (0, 4_000, 9_000, Clicks { level: -5, every_ms: 400 })];
    let played = play(1, 9_000, 2, &parts);
    assert!(!played.speakers.voices[&0].state.sounding);
    assert!(!played.speakers.voices[&0].state.speaking);
}

/// All were heard within the last second; the one who paused goes first, though it began late.
#[test]
fn among_talkers_the_one_who_paused_gives_way() {
    let parts = [
        (0, 0, 6_000, VOICE),
        (2, 3_500, 6_000, Steady(-20)),
        (1, 4_000, 5_000, Steady(-20)),
        (1, 5_000, 6_000, ROOM),
        (3, 5_500, 6_000, Steady(-20)),
    ];
    let played = play(1, 5_540, 3, &parts);
    assert_eq!(played.speakers.audible(4), [3, 0, 2, 1]);
}

#[test]
fn the_dominant_speaker_draws_breath_and_keeps_its_slot() {
    let parts = [
        (0, 0, 5_000, VOICE),
        (0, 5_000, 6_000, ROOM),
        (2, 4_000, 6_000, Steady(-20)),
        (3, 5_500, 6_000, Steady(-20)),
    ];
    let played = play(1, 5_540, 2, &parts);
    assert_eq!(played.speakers.dominant(), Some(0));
    assert_eq!(played.speakers.audible(3), [3, 0, 2]);
}

#[test]
fn who_is_muted_makes_room_and_begins_anew() {
    let parts = [(0, 0, 5_000, VOICE), (1, 2_000, 5_000, VOICE)];
    let Played { mut speakers, end, .. } = play(1, 5_000, 2, &parts);
    assert_eq!(speakers.audible(2), [1, 0]);
    speakers.mute(1);
    assert_eq!(speakers.audible(2), [0, 1]);
    let loud = Heard { level: Some(-20), payload: 80, dtx: false };
    assert_eq!(speakers.heard(end, 1, loud), None);
    let onset = speakers.heard(end + Duration::from_millis(20), 1, loud);
    assert_eq!(onset, Some(Onset { who: 1 }));
    assert_eq!(speakers.audible(2), [1, 0]);
}

#[test]
fn what_happens_between_two_messages_is_told_in_the_second() {
    let Played { mut speakers, end, .. } = play(1, 5_000, 2, &[(0, 0, 5_000, VOICE)]);
    speakers.remove(end, 0);
    assert_eq!(speakers.poll_change(end), Some(Change::default()), "nothing told for a while");
    // Another speaks, is shown, and leaves at once.
    let loud = Heard { level: Some(-20), payload: 80, dtx: false };
    let mut now = end;
    let shown = loop {
        now += Duration::from_millis(20);
        speakers.heard(now, 0, loud);
        speakers.handle_timeout(now);
        if let Some(change) = speakers.poll_change(now).filter(|c| c.dominant.is_some()) {
            break change;
        }
    };
    assert_eq!(shown, Change { dominant: Some(0), speaking: vec![0] });
    speakers.remove(now, 0);
    let due = now + Duration::from_millis(200);
    assert_eq!(speakers.next_deadline(), Some(due));
    assert_eq!(speakers.poll_change(due - Duration::from_millis(1)), None);
    assert_eq!(speakers.poll_change(due), Some(Change::default()));
    assert_eq!(speakers.next_deadline(), None);
}

#[test]
fn slots_do_not_churn() {
    // (talkers at once, slots, most changes in a minute once all have begun)
    for (talkers, slots, most) in [(3, 3, 0), (3, 5, 0), (4, 3, 0), (8, 3, 0), (12, 5, 0)] {
        for seed in 0..10 {
            let parts: Vec<Part> = (0..talkers).map(|key| (key, 0, 62_000, VOICE)).collect();
            let played = play(seed, 62_000, slots, &parts);
            let swaps = played.swaps(2_000);
            assert!(swaps <= most, "{talkers} talkers, {slots} slots, {seed}: {swaps}");
        }
    }
}

#[test]
fn a_conversation_of_slots_size_moves_nothing_and_a_newcomer_moves_one() {
    let mut parts = Vec::new();
    for turn in 0..20u32 {
        let key = (turn % 3) as usize;
        parts.push((key, turn * 3_000, turn * 3_000 + 3_000, VOICE));
    }
    parts.push((7, 30_000, 60_000, VOICE));
    let played = play(1, 60_000, 4, &parts);
    // Four voices, four slots: each comes in once.
    assert_eq!(played.swaps(0), 4, "{:?}", played.onsets);
    let played = play(1, 60_000, 3, &parts);
    // With three, each onset of the rotation puts out whoever is silent longest, never a talker.
    let talker = |ms: u32| ((ms / 3_000) % 3) as usize;
    for (frame, audible) in played.audible.iter().enumerate().skip(1_600) {
        let ms = frame as u32 * FRAME_MS;
        if ms % 3_000 >= 40 {
            assert!(audible.contains(&7), "{ms}: {audible:?}");
            assert!(audible.contains(&talker(ms)) || ms % 3_000 < 1_000, "{ms}: {audible:?}");
        }
    }
}

/// More talk than there are slots; once someone stops, who was put out comes back.
#[test]
fn who_was_put_out_comes_back_when_another_stops() {
    for seed in 0..10 {
        let parts = [
            (0, 0, 20_000, VOICE),
            (1, 0, 6_000, VOICE),
            (1, 6_000, 20_000, ROOM),
            (2, 3_000, 20_000, VOICE),
        ];
        let played = play(seed, 20_000, 2, &parts);
        let back = &played.audible[(7_700 / FRAME_MS) as usize..];
        assert!(back.iter().all(|audible| audible.contains(&0) && audible.contains(&2)), "{seed}");
    }
}

#[test]
fn recent_speakers_keep_their_places() {
    let parts = [
        (0, 0, 5_000, VOICE),
        (0, 5_000, 40_000, ROOM),
        (1, 6_000, 11_000, VOICE),
        (1, 11_000, 40_000, ROOM),
        // Goes on while another comes and goes.
        (2, 12_000, 30_000, VOICE),
        (2, 30_000, 40_000, ROOM),
        (3, 18_000, 21_000, VOICE),
        (3, 21_000, 40_000, ROOM),
    ];
    for seed in 0..10 {
        let played = play(seed, 40_000, 2, &parts);
        let orders: Vec<&[usize]> = played.recent.iter().map(|(_, keys)| keys.as_slice()).collect();
        let expected: [&[usize]; 5] = [&[0], &[1, 0], &[2, 1, 0], &[3, 2, 1, 0], &[2, 3, 1, 0]];
        assert_eq!(orders, expected, "{seed}: {:?}", played.recent);
    }
}

/// A large room costs what its talkers cost.
#[test]
fn a_thousand_mostly_silent() {
    const PEOPLE: usize = 1_000;
    let mut parts: Vec<Part> = (0..PEOPLE)
        .map(|key| {
            let sound = match key % 4 {
                0 => Steady(-127),
                1 => Noise { middle: -60, spread: 3 },
                2 => Noise { middle: -48, spread: 2 },
                _ => SizedNoise,
            };
            (key, 0, 30_000, sound)
        })
        .collect();
    for (key, part) in parts.iter_mut().enumerate().take(3) {
        *part = (key, 0, 30_000, VOICE);
    }
    let played = play(1, 30_000, 4, &parts);
    // What decisions look at: the talkers, and those whose noise was not known yet.
    let mean = played.looked_at as f64 / played.decisions as f64;
    assert!(mean <= 3.1, "{mean}");
    assert!(played.decisions <= 100);
    assert_eq!(played.speakers.voices.len(), PEOPLE);
    assert!(played.speakers.listed.len() <= 4);
    assert!((0..3).any(|key| played.share(key, 3_000, 30_000) > 0.2));
    assert!((3..PEOPLE).all(|key| !played.ever(key)));
    // All leave: nothing stays.
    let mut speakers = played.speakers;
    let now = std::time::Instant::now();
    (0..PEOPLE).for_each(|key| speakers.remove(now, key));
    assert!(speakers.voices.is_empty() && speakers.listed.is_empty());
    assert!(speakers.recent().is_empty() && speakers.audible(9).is_empty());
    assert_eq!(speakers.dominant(), None);
}

#[test]
fn clients_are_told_who_speaks_and_not_too_often() {
    // Thirty who say short things all the time.
    let mut parts = Vec::new();
    for key in 0..30u32 {
        for n in 0..30 {
            let at = n * 1_000 + key * 53 % 1_000;
            parts.push((key as usize, at, at + 340, Steady(-20)));
            parts.push((key as usize, at + 340, at + 1_000, ROOM));
        }
    }
    let played = play(1, 30_000, 4, &parts);
    assert!(played.told.len() > 60, "{}", played.told.len());
    for pair in played.told.windows(2) {
        assert!(pair[1].0 - pair[0].0 >= 200, "{pair:?}");
    }
    for (at, change) in &played.told {
        assert!(change.speaking.len() <= 16 && change.speaking.is_sorted(), "{at}: {change:?}");
    }
    // One who talks is shown within half a second and while he does.
    let played = play(1, 12_000, 4, &[(5, 0, 2_000, ROOM), (5, 2_000, 9_000, VOICE)]);
    let speaking: Vec<_> = played.told.iter().filter(|(_, c)| c.speaking == [5]).collect();
    assert!(speaking[0].0 <= 2_600, "{:?}", played.told);
    assert!(played.told.last().is_some_and(|(_, c)| c.speaking.is_empty()));
}
