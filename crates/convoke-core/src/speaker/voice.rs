//! All that is known of one voice: a microphone's packets, made into frames of 20 ms.
//!
//! Owns: one voice's meter, floor, activity and cadence. Of fixed size.
//! Never: knows other voices, nor holds a packet.

use std::time::{Duration, Instant};

use super::Heard;
use super::activity::Activity;
use super::floor::Floor;
use super::level::{Meter, Reading};

/// What all scales count in: the usual length of an audio packet.
const FRAME: Duration = Duration::from_millis(20);
/// The longest Opus packet (RFC 6716 §3.2.5 allows 120 ms) with a little jitter. After that the
/// voice is taken to be silent: lost, gone, or between comfort noise packets.
const GAP: Duration = Duration::from_millis(130);
/// Silence this long ends a spurt: the next sound is a new beginning. Longer than the pauses
/// between words, so that nobody begins anew with each.
pub(super) const SPURT_GAP: Duration = Duration::from_secs(1);

/// Sizes are bounded by a test.
#[derive(Debug, Default)]
pub(super) struct Voice {
    meter: Meter,
    floor: Floor,
    cadence: Cadence,
    pub(super) activity: Activity,
    /// The loudest of the packets that do not make a frame yet.
    peak: u8,
    heard_at: Option<Instant>,
    /// Up to here time has been turned into frames.
    counted_to: Option<Instant>,
    /// When there was last more than a click.
    active_at: Option<Instant>,
    pub(super) state: State,
}

/// What was last decided about a voice.
#[derive(Debug, Default)]
pub(super) struct State {
    /// It is among those that each decision looks at.
    pub(super) listed: bool,
    /// It makes a sound: from its onset until [`SPURT_GAP`] of silence.
    pub(super) sounding: bool,
    /// It speaks, as clients show it.
    pub(super) speaking: bool,
    /// It was active for long enough to be no cough, and until its long scale is empty.
    pub(super) talking: bool,
}

impl Voice {
    /// Takes one packet. True when it stands out from the noise.
    pub(super) fn take(&mut self, now: Instant, heard: Heard) -> bool {
        let gap = self.heard_at.map(|at| now.saturating_duration_since(at));
        self.age(now);
        let frames = self.cadence.frames(gap, heard.dtx);
        self.heard_at = Some(now);
        self.counted_to = Some(now);
        let (reading, rescaled) = self.meter.read(heard);
        if rescaled {
            // Nobody begins to speak by it.
            self.floor = match reading {
                Reading::Level(level) => Floor::at(level),
                Reading::Silent | Reading::Unknown => Floor::default(),
            };
            self.activity = Activity::default();
            self.peak = 0;
        }
        let steps = match reading {
            Reading::Level(level) => {
                let steps = self.floor.steps(level);
                let crude = self.meter.is_crude();
                (0..frames).for_each(|_| self.floor.learn(level, crude));
                steps
            }
            Reading::Silent | Reading::Unknown => 0,
        };
        self.peak = self.peak.max(steps);
        if frames == 0 {
            return false;
        }
        let steps = std::mem::take(&mut self.peak);
        (0..frames).for_each(|_| self.activity.push(steps));
        if self.activity.begins() {
            self.active_at = Some(now);
        }
        steps > 0
    }

    /// Counts time without packets as silence.
    pub(super) fn age(&mut self, now: Instant) {
        let (Some(heard_at), Some(counted_to)) = (self.heard_at, self.counted_to) else { return };
        if now.saturating_duration_since(heard_at) <= GAP {
            return;
        }
        let missing = now.saturating_duration_since(counted_to).as_millis() / FRAME.as_millis();
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        if missing > 0 {
            self.activity.silence(missing);
            self.counted_to = Some(now);
        }
    }

    /// Its microphone went off: nothing that was heard counts any more, what was learned stays.
    pub(super) fn hush(&mut self) {
        self.activity = Activity::default();
        self.active_at = None;
        self.heard_at = None;
        self.counted_to = None;
        self.peak = 0;
    }

    pub(super) fn is_flat(&self) -> bool {
        self.floor.is_flat()
    }

    /// Nothing but clicks for so long; for ever if there never was more.
    pub(super) fn silent_for(&self, now: Instant) -> Duration {
        self.active_at.map_or(Duration::MAX, |at| now.saturating_duration_since(at))
    }

    /// No packet for so long.
    pub(super) fn gone_for(&self, now: Instant) -> Duration {
        self.heard_at.map_or(Duration::MAX, |at| now.saturating_duration_since(at))
    }

    /// When it was last active, in tenths of a second: who is active together is equal.
    pub(super) fn recency(&self, now: Instant) -> u64 {
        u64::try_from(self.silent_for(now).as_millis() / 100).unwrap_or(u64::MAX)
    }
}

/// How much time one packet stands for, from the mean interval of arrivals: packet times from
/// 2.5 ms to 120 ms all fill the same frames, and a flood of packets fills no more of them than
/// time passes.
#[derive(Debug)]
struct Cadence {
    mean_us: u32,
    /// Time of short packets that does not make a frame yet.
    credit_us: u32,
}

impl Default for Cadence {
    fn default() -> Self {
        Self { mean_us: FRAME_US, credit_us: 0 }
    }
}

const FRAME_US: u32 = 20_000;
/// A mean below this is no 20 ms packet that arrives in bursts.
const SHORT_US: u32 = 15_000;
/// Longer gaps are loss or a late burst and count as the longest packet; the mean over a burst is
/// right again when it is over.
const GAP_US: u32 = 130_000;
/// Gaps longer than this are silence (comfort noise comes every 400 ms) and say nothing.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest packet in frames.
const FRAMES_MAX: u32 = 6;
/// Weight of a new interval as a power of two: 16 packets.
const MEAN_SHIFT: u32 = 4;

impl Cadence {
    /// How many frames the packet makes.
    fn frames(&mut self, gap: Option<Duration>, dtx: bool) -> u32 {
        if let Some(gap) = gap.filter(|gap| *gap <= PAUSE && !dtx) {
            let gap_us = u32::try_from(gap.as_micros()).unwrap_or(GAP_US).min(GAP_US);
            self.mean_us = self.mean_us - (self.mean_us >> MEAN_SHIFT) + (gap_us >> MEAN_SHIFT);
        }
        if self.mean_us >= SHORT_US {
            self.credit_us = 0;
            return ((self.mean_us + FRAME_US / 2) / FRAME_US).clamp(1, FRAMES_MAX);
        }
        self.credit_us += self.mean_us;
        if self.credit_us < FRAME_US {
            return 0;
        }
        self.credit_us -= FRAME_US;
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_keep_pace_with_time_whatever_the_packet_time() {
        // (packet time in us, packets, packets that arrive at once)
        for (every_us, packets, burst) in [
            (2_500u64, 4_000u32, 1u32),
            (10_000, 1_000, 1),
            (20_000, 500, 1),
            (20_000, 500, 5),
            (40_000, 250, 1),
            (60_000, 166, 1),
            (120_000, 83, 1),
            (1_000, 10_000, 1),
        ] {
            let mut cadence = Cadence::default();
            let mut frames = 0;
            // The first half shows it the packet time.
            for n in 0..packets * 2 {
                let gap = if n % burst == 0 { every_us * u64::from(burst) } else { 0 };
                let gap = (n > 0).then(|| Duration::from_micros(gap));
                let made = cadence.frames(gap, false);
                frames += if n < packets { 0 } else { made };
            }
            // 10 s are 500 frames.
            assert!((480..=520).contains(&frames), "{every_us} us by {burst}: {frames}");
        }
    }

    #[test]
    fn comfort_noise_does_not_make_packets_seem_long() {
        let mut cadence = Cadence::default();
        for _ in 0..50 {
            assert_eq!(cadence.frames(Some(Duration::from_millis(400)), true), 1);
        }
        assert_eq!(cadence.frames(Some(Duration::from_millis(200)), false), 1);
    }

    #[test]
    fn a_voice_is_small() {
        assert!(size_of::<Voice>() <= 160, "{}", size_of::<Voice>());
    }
}
