//! How much of something comes in a second.
//!
//! Owns: bytes and frames over the last two seconds.
//! Never: reads a clock.

use std::time::{Duration, Instant};

const BUCKETS: usize = 8;
const BUCKET: Duration = Duration::from_millis(250);
/// Nothing is said of less time than this: a keyframe at the beginning is several frames' worth.
const LEAST: Duration = Duration::from_millis(1_750);

/// A sliding sum, in quarters of a second.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Meter {
    buckets: [(u64, u32); BUCKETS],
    /// When the newest bucket began, and how many there have been.
    newest: Option<(Instant, usize)>,
    /// The last rate that was measured over a whole span.
    last: (u64, u32),
}

impl Meter {
    pub(super) fn add(&mut self, now: Instant, bytes: u64, frame: bool) {
        self.advance(now);
        if let Some((sum, frames)) = self.buckets.first_mut() {
            *sum += bytes;
            *frames += u32::from(frame);
        }
    }

    fn advance(&mut self, now: Instant) {
        let Some((began, count)) = self.newest else {
            self.newest = Some((now, 1));
            return;
        };
        let passed = now.saturating_duration_since(began).as_millis() / BUCKET.as_millis();
        if passed == 0 {
            return;
        }
        if count >= BUCKETS {
            self.last = self.rate(began + BUCKET);
        }
        if passed >= BUCKETS as u128 {
            // Begin anew after silence: the span before says nothing of what comes.
            *self = Self { last: self.last, newest: Some((now, 1)), ..Self::default() };
            return;
        }
        let passed = usize::try_from(passed).unwrap_or(BUCKETS);
        self.buckets.rotate_right(passed);
        for bucket in self.buckets.iter_mut().take(passed) {
            *bucket = (0, 0);
        }
        let steps = u32::try_from(passed).unwrap_or(1);
        self.newest = Some((began + BUCKET * steps, (count + passed).min(BUCKETS)));
    }

    /// Bits and frames in a second, of the buckets that are complete at `now`.
    fn rate(&self, now: Instant) -> (u64, u32) {
        let Some((began, count)) = self.newest else { return self.last };
        let current = now.saturating_duration_since(began);
        let before = u32::try_from(count.saturating_sub(1)).unwrap_or(0);
        let span = current.min(BUCKET) + BUCKET * before;
        if span < LEAST {
            return self.last;
        }
        let bytes: u64 = self.buckets.iter().map(|bucket| bucket.0).sum();
        let frames: u32 = self.buckets.iter().map(|bucket| bucket.1).sum();
        let millis = u64::try_from(span.as_millis()).unwrap_or(1).max(1);
        let per_second = u64::from(frames) * 1_000 / millis;
        (bytes * 8_000 / millis, u32::try_from(per_second).unwrap_or(u32::MAX))
    }

    /// What comes now; after silence, what came last; 0 before anything was measured.
    fn now(&self, now: Instant) -> (u64, u32) {
        match self.newest {
            Some((began, _)) if now.saturating_duration_since(began) < 2 * BUCKET => self.rate(now),
            _ => self.last,
        }
    }

    /// Bits in a second.
    pub(super) fn bps(&self, now: Instant) -> u64 {
        self.now(now).0
    }

    /// Frames in a second.
    pub(super) fn fps(&self, now: Instant) -> u32 {
        self.now(now).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(meter: &mut Meter, from: Instant, seconds: u64) -> Instant {
        // 30 frames a second of 1,000 bytes: 240 kbit/s.
        for frame in 0..30 * seconds {
            meter.add(from + Duration::from_millis(frame * 100 / 3), 1_000, true);
        }
        from + Duration::from_secs(seconds)
    }

    #[test]
    fn a_steady_stream_is_measured_after_two_seconds() {
        let start = Instant::now();
        let mut meter = Meter::default();
        assert_eq!(meter.bps(start), 0);
        let half = start + Duration::from_millis(500);
        meter.add(start, 1_000, true);
        assert_eq!(meter.bps(half), 0, "too early to say");
        let end = feed(&mut meter, start, 10);
        assert!((225_000..255_000).contains(&meter.bps(end)), "{}", meter.bps(end));
        assert!((28..=32).contains(&meter.fps(end)));
    }

    #[test]
    fn after_silence_the_last_rate_stands_and_a_new_one_is_measured() {
        let start = Instant::now();
        let mut meter = Meter::default();
        let end = feed(&mut meter, start, 5);
        let later = end + Duration::from_secs(60);
        let before = meter.bps(later);
        assert!((200_000..260_000).contains(&before), "{before}");
        meter.add(later, 50, true);
        assert_eq!(meter.bps(later + Duration::from_millis(100)), before);
        let end = feed(&mut meter, later, 5);
        assert!((225_000..255_000).contains(&meter.bps(end)));
    }
}
