//! A participant's sampling clock, mapped to ours.
//!
//! Owns: the offset between a sender's wall clock (NTP in its sender reports, RFC 3550 §6.4.1)
//! and our monotonic clock, one for all of a participant's tracks, so that what was sampled
//! together is played together whatever slots it sits in.
//! Never: reads a clock.
//!
//! The offset is the least transit seen: `arrival - sampled` with the smallest queueing. It leaks
//! upward so slowly that it follows drifting clocks (100 ppm) and nothing else, and it goes down no
//! faster than [`SLEW`]: a queue that drains must not part the reports of sound and picture, which
//! are a report's interval apart. What this maps to lies a constant [`HEADROOM`] in the past, so
//! that it can be told even while the offset is still too large.

use std::time::{Duration, Instant, SystemTime};

/// Upward leak per packet: 50 packets/s of audio make 100 µs/s.
const LEAK: Duration = Duration::from_micros(2);
/// A wall clock that disagrees by more was stepped (NTP, suspend): begin anew.
const STEP: Duration = Duration::from_secs(5);
/// The same for a stream's own clock, which stands still while some senders are muted.
const STREAM_STEP: Duration = Duration::from_millis(500);
/// Where a stream's own time begins: it may go back.
const STREAM_BASE: Duration = Duration::from_secs(1 << 32);
/// The offset goes down by at most this share of the time that passes: 10 ms in a second.
const SLEW: u32 = 100;
/// In which no more than this counts, whatever the pause was.
const SLEWED: Duration = Duration::from_secs(1);
/// How long before a packet's arrival it was sampled at the latest, as far as is told.
const HEADROOM: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct SamplingClock {
    anchor: Option<Anchor>,
    /// A clock that disagrees by more was stepped.
    step: Duration,
}

impl Default for SamplingClock {
    fn default() -> Self {
        Self { anchor: None, step: STEP }
    }
}

#[derive(Debug, Clone, Copy)]
struct Anchor {
    /// A moment by the sender's clock and by ours.
    theirs: SystemTime,
    ours: Instant,
    /// When it last moved.
    moved: Instant,
}

impl SamplingClock {
    /// When a packet that arrived at `now` was sampled, by our clock, less a constant; never after
    /// `now`.
    pub(crate) fn sampled(&mut self, now: Instant, captured: SystemTime) -> Instant {
        self.sampled_by(now, now, captured)
    }

    /// The same for a packet that would have arrived at `arrived`, not after `now`, had it not
    /// queued on its way: as its [`StreamClock`] has it.
    pub(crate) fn sampled_by(
        &mut self,
        now: Instant,
        arrived: Instant,
        captured: SystemTime,
    ) -> Instant {
        let sampled = self.follow(now, arrived, captured).unwrap_or_else(|| {
            self.anchor = Some(Anchor { theirs: captured, ours: arrived, moved: now });
            arrived
        });
        sampled.checked_sub(HEADROOM).unwrap_or(sampled).min(now)
    }

    /// By the anchor, which this packet moves; `None` where it must be made anew.
    fn follow(&mut self, now: Instant, arrived: Instant, captured: SystemTime) -> Option<Instant> {
        let anchor = self.anchor.as_mut()?;
        let ours = anchor.ours;
        // Where the anchor would be if this packet had the least transit.
        let estimate = match captured.duration_since(anchor.theirs) {
            Ok(since) => arrived.checked_sub(since)?,
            Err(before) => arrived.checked_add(before.duration())?,
        };
        let less = ours.saturating_duration_since(estimate);
        let more = estimate.saturating_duration_since(ours);
        if less.max(more) > self.step {
            return None;
        }
        let passed = now.saturating_duration_since(anchor.moved).min(SLEWED);
        anchor.ours = ours.checked_sub(less.min(passed / SLEW))? + LEAK.min(more);
        anchor.moved = now;
        match captured.duration_since(anchor.theirs) {
            Ok(since) => anchor.ours.checked_add(since),
            Err(before) => anchor.ours.checked_sub(before.duration()),
        }
    }
}

/// The same for one stream, by its timestamps alone: they say how far apart its packets were sampled
/// before its sender has reported on it. Audio is reported on every five seconds (RFC 3550 §6.2), and
/// what arrives meanwhile queues on its way.
#[derive(Debug)]
pub(crate) struct StreamClock {
    clock: SamplingClock,
    /// Timestamp and clock rate of the packet before, and the moment that stands for it.
    last: Option<(u32, u32, SystemTime)>,
}

impl Default for StreamClock {
    fn default() -> Self {
        let clock = SamplingClock { anchor: None, step: STREAM_STEP };
        Self { clock, last: None }
    }
}

impl StreamClock {
    /// When a packet that came at `now` would have arrived, had it not queued on its way.
    pub(crate) fn arrived(&mut self, now: Instant, time: u32, clock_rate: u32) -> Instant {
        (self.sampled(now, time, clock_rate) + HEADROOM).min(now)
    }

    /// When a packet that arrived at `now` was sampled, as [`SamplingClock::sampled`] tells it.
    pub(crate) fn sampled(&mut self, now: Instant, time: u32, clock_rate: u32) -> Instant {
        let moment = self.moment(time, clock_rate).unwrap_or(SystemTime::UNIX_EPOCH + STREAM_BASE);
        self.last = Some((time, clock_rate, moment));
        self.clock.sampled(now, moment)
    }

    fn moment(&self, time: u32, clock_rate: u32) -> Option<SystemTime> {
        let (last, _, moment) = self.last.filter(|(_, rate, _)| *rate == clock_rate)?;
        let ticks = time.wrapping_sub(last).cast_signed();
        let micros = u64::from(ticks.unsigned_abs()) * 1_000_000 / u64::from(clock_rate.max(1));
        let distance = Duration::from_micros(micros);
        if ticks < 0 { moment.checked_sub(distance) } else { moment.checked_add(distance) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_does_not_show_and_steps_begin_anew() {
        let mut clock = SamplingClock::default();
        let start = Instant::now();
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let ms = Duration::from_millis;
        // 20 ms packets with 10 ms transit and jitter of up to 30 ms.
        let mut worst = Duration::ZERO;
        for n in 0..500u64 {
            let jitter = ms((n * 7) % 31);
            let sampled = start + ms(20 * n);
            let got = clock.sampled(sampled + ms(10) + jitter, wall + ms(20 * n));
            if n > 50 {
                worst = worst.max(got + HEADROOM - sampled);
            }
        }
        assert!(worst < ms(11), "{worst:?}");
        let later = start + ms(10_000);
        let stepped = clock.sampled(later, wall + Duration::from_secs(7_200));
        assert_eq!(stepped, later - HEADROOM);
    }

    #[test]
    fn a_queue_that_drains_moves_nothing_at_once() {
        let mut clock = SamplingClock::default();
        let start = Instant::now() + HEADROOM;
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let ms = Duration::from_millis;
        // Transit falls from 500 ms to 10 ms in half a second.
        let mut errors = Vec::new();
        for n in 0..3_000u64 {
            let transit = ms(500u64.saturating_sub(n * 20).max(10));
            let sampled = start + ms(20 * n);
            let got = clock.sampled(sampled + transit, wall + ms(20 * n));
            errors.push(got + HEADROOM - sampled);
        }
        // Between two reports of one stream, 2 s, it moves no more than sound and picture may part.
        let parted = errors.windows(100).map(|w| w[0].abs_diff(w[99])).max().unwrap();
        assert!(parted <= ms(21), "{parted:?}");
        // In the end it is true.
        assert!(*errors.last().unwrap() < ms(11), "{:?}", errors.last());
    }

    #[test]
    fn never_in_the_future() {
        let mut clock = SamplingClock::default();
        let start = Instant::now();
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
        clock.sampled(start + Duration::from_secs(1), wall);
        let early = start + Duration::from_secs(1);
        assert!(clock.sampled(early, wall + Duration::from_secs(3)) <= early);
    }

    #[test]
    fn a_stream_without_reports_keeps_its_own_time() {
        let mut clock = StreamClock::default();
        let start = Instant::now() + HEADROOM;
        let ms = Duration::from_millis;
        // 20 ms packets, jitter of up to 200 ms, timestamps that wrap; every tenth is late.
        let mut worst = Duration::ZERO;
        for n in 0..500u64 {
            let n = if n % 10 == 9 { n - 3 } else { n };
            let time = (u32::MAX - 96_000).wrapping_add(960 * u32::try_from(n).unwrap());
            let sampled = start + ms(20 * n);
            let got = clock.sampled(sampled + ms((n * 7) % 201), time, 48_000) + HEADROOM;
            worst = worst.max(got.saturating_duration_since(sampled));
            assert!(got >= sampled);
        }
        assert!(worst < ms(11), "{worst:?}");
        // Muted for two seconds, and the clock stood still.
        let time = (u32::MAX - 96_000).wrapping_add(960 * 500);
        let later = start + ms(20 * 500 + 2_000);
        assert_eq!(clock.sampled(later, time, 48_000) + HEADROOM, later);
    }
}
