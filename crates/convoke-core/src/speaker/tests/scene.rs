//! A scene: who makes which sound when, one packet each 20 ms; and what came of it.

use std::time::{Duration, Instant};

use super::super::{Change, Heard, Speakers};

pub(super) const FRAME_MS: u32 = 20;

/// A sound, as the packets that it makes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sound {
    /// No packets.
    Nothing,
    /// The same level in each packet.
    Steady(i8),
    /// Levels spread evenly about a middle: noise, or music by a wide spread.
    Noise { middle: i8, spread: i8 },
    /// Natural talk: syllables of 100 to 240 ms, dips of 20 to 80 ms, phrases of 1.2 to 3 s,
    /// breaths of 200 to 700 ms; `room` is the level behind it.
    Talk { loud: i8, room: i8 },
    /// One packet of a level each `every_ms`, else quiet.
    Clicks { level: i8, every_ms: u32 },
    /// Random levels, valid and not.
    Garbage,
    /// No level, payloads of room noise.
    SizedNoise,
    /// No level, payloads of talk, and comfort noise each 400 ms in its breaths.
    SizedTalk,
    /// No level, all payloads alike.
    SizedConstant,
}

pub(super) use Sound::*;

/// `(key, from_ms, to_ms, sound)`; a voice not mentioned at a time sends nothing.
pub(super) type Part = (usize, u32, u32, Sound);

/// What came of a scene.
#[derive(Debug)]
pub(super) struct Played {
    /// Dominant speaker after each frame.
    pub(super) dominant: Vec<Option<usize>>,
    /// `(ms, key)`.
    pub(super) onsets: Vec<(u32, usize)>,
    /// `(ms, dominant)`.
    pub(super) changes: Vec<(u32, Option<usize>)>,
    pub(super) told: Vec<(u32, Change)>,
    /// The first `slots` audible after each frame.
    pub(super) audible: Vec<Vec<usize>>,
    pub(super) recent: Vec<(u32, Vec<usize>)>,
    /// Voices that decisions looked at.
    pub(super) looked_at: usize,
    pub(super) decisions: usize,
    pub(super) speakers: Speakers,
    /// When the last frame was over.
    pub(super) end: Instant,
}

impl Played {
    /// Share of the frames of a time in which `key` was dominant.
    pub(super) fn share(&self, key: usize, from_ms: u32, to_ms: u32) -> f64 {
        let frames = &self.dominant[(from_ms / FRAME_MS) as usize..(to_ms / FRAME_MS) as usize];
        frames.iter().filter(|who| **who == Some(key)).count() as f64 / frames.len() as f64
    }

    pub(super) fn ever(&self, key: usize) -> bool {
        self.dominant.contains(&Some(key))
    }

    /// When `key` became dominant, at or after a time.
    pub(super) fn since(&self, key: usize, from_ms: u32) -> Option<u32> {
        self.changes.iter().find(|(at, who)| *at >= from_ms && *who == Some(key)).map(|(at, _)| *at)
    }

    pub(super) fn onset(&self, key: usize, from_ms: u32) -> Option<u32> {
        self.onsets.iter().find(|(at, who)| *at >= from_ms && *who == key).map(|(at, _)| *at)
    }

    /// Who came into and went out of the audible, in all.
    pub(super) fn swaps(&self, from_ms: u32) -> usize {
        let frames = &self.audible[(from_ms / FRAME_MS) as usize..];
        let came =
            |pair: &[Vec<usize>]| pair[1].iter().filter(|key| !pair[0].contains(key)).count();
        frames.windows(2).map(came).sum()
    }
}

/// A number without pattern, the same each time.
pub(super) fn scatter(seed: u64, n: u64) -> u64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n.wrapping_add(1);
    for _ in 0..2 {
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    }
    x ^ (x >> 31)
}

fn spread(seed: u64, n: u64, from: i64, to: i64) -> i64 {
    from + (scatter(seed, n) % (to - from + 1) as u64) as i64
}

/// Whether talk sounds in each of its frames.
fn syllables(seed: u64, frames: usize) -> Vec<bool> {
    let mut sounds = Vec::with_capacity(frames);
    let mut n = 0;
    while sounds.len() < frames {
        let phrase = sounds.len() + spread(seed, n, 60, 150) as usize;
        while sounds.len() < phrase {
            n += 2;
            sounds.extend(vec![true; spread(seed, n, 5, 12) as usize]);
            sounds.extend(vec![false; spread(seed, n + 1, 1, 4) as usize]);
        }
        n += 2;
        sounds.extend(vec![false; spread(seed, n, 10, 35) as usize]);
        n += 1;
    }
    sounds
}

fn packets(seed: u64, sound: Sound, frames: usize) -> Vec<Option<Heard>> {
    let said = |level: i64| {
        let level = Some(level.clamp(-128, 127) as i8);
        Some(Heard { level, payload: 80, dtx: false })
    };
    let sized = |payload: i64| Some(Heard { level: None, payload: payload as usize, dtx: false });
    let talks = syllables(seed, frames + 1);
    // Silent for at least 200 ms before and 200 ms after is a breath.
    let breath = |n: usize| !talks[n.saturating_sub(9)..=n].iter().any(|talk| *talk);
    (0..frames)
        .map(|n| {
            let at = |from: i64, to: i64| spread(seed, n as u64 + 1_000_000, from, to);
            match sound {
                Nothing => None,
                Steady(level) => said(i64::from(level)),
                Noise { middle, spread } => {
                    said(i64::from(middle) + at(-i64::from(spread), i64::from(spread)))
                }
                Talk { loud, .. } if talks[n] => said((i64::from(loud) + at(-6, 6)).min(0)),
                Talk { room, .. } => said(i64::from(room) + at(-2, 2)),
                Clicks { level, every_ms } => {
                    let click = (n as u32 * FRAME_MS).is_multiple_of(every_ms);
                    said(i64::from(if click { level } else { -70 }))
                }
                Garbage => said(at(-128, 127)),
                SizedNoise => sized(at(18, 32)),
                SizedConstant => sized(80),
                SizedTalk if talks[n] => sized(at(60, 130)),
                SizedTalk if breath(n) => {
                    (n % 20 == 0).then_some(Heard { level: None, payload: 1, dtx: true })
                }
                SizedTalk => sized(at(15, 30)),
            }
        })
        .collect()
}

/// Plays a scene. The seed makes the talk; `slots` is how many audible are recorded.
pub(super) fn play(seed: u64, total_ms: u32, slots: usize, parts: &[Part]) -> Played {
    let start = Instant::now();
    let mut played = Played {
        dominant: Vec::new(),
        onsets: Vec::new(),
        changes: Vec::new(),
        told: Vec::new(),
        audible: Vec::new(),
        recent: Vec::new(),
        looked_at: 0,
        decisions: 0,
        speakers: Speakers::default(),
        end: start + Duration::from_millis(u64::from(total_ms)),
    };
    let frames = (total_ms / FRAME_MS) as usize;
    let mut lines: Vec<(usize, usize, Vec<Option<Heard>>)> = Vec::new();
    for (n, (key, from_ms, to_ms, sound)) in parts.iter().enumerate() {
        let (from, to) = ((from_ms / FRAME_MS) as usize, (to_ms / FRAME_MS) as usize);
        let seed = seed * 1_000 + n as u64;
        lines.push((*key, from, packets(seed, *sound, to - from)));
    }
    for frame in 0..frames {
        let ms = frame as u32 * FRAME_MS;
        let now = start + Duration::from_millis(u64::from(ms));
        for (key, from, packets) in &lines {
            let packet = frame.checked_sub(*from).and_then(|n| packets.get(n).copied().flatten());
            let Some(packet) = packet else { continue };
            if played.speakers.heard(now, *key, packet).is_some() {
                played.onsets.push((ms, *key));
            }
        }
        played.turn(now, ms, slots);
    }
    played
}

impl Played {
    fn turn(&mut self, now: Instant, ms: u32, slots: usize) {
        let speakers = &mut self.speakers;
        let listed = speakers.listed.len();
        let before = speakers.dominant();
        if speakers.decide_at.is_some_and(|at| at <= now) {
            self.decisions += 1;
            self.looked_at += listed;
        }
        let recent = speakers.recent().to_vec();
        let turn = speakers.handle_timeout(now);
        assert_eq!(turn.dominant, speakers.dominant() != before, "a turn says what it changed");
        assert_eq!(turn.recent, speakers.recent() != recent, "a turn says what it changed");
        if turn.dominant {
            self.changes.push((ms, speakers.dominant()));
        }
        if turn.recent {
            self.recent.push((ms, speakers.recent().to_vec()));
        }
        if let Some(change) = speakers.poll_change(now) {
            self.told.push((ms, change));
        }
        self.dominant.push(speakers.dominant());
        self.audible.push(speakers.audible(slots).to_vec());
    }
}
