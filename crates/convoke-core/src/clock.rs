//! A participant's sampling clock, mapped to ours.
//!
//! Owns: the offset between a sender's wall clock (NTP in its sender reports, RFC 3550 §6.4.1)
//! and our monotonic clock, one for all of a participant's tracks, so that what was sampled
//! together is played together whatever slots it sits in.
//! Never: reads a clock.
//!
//! The offset is the least transit seen: `arrival - sampled` with the smallest queueing. It leaks
//! upward so slowly that it follows drifting clocks (100 ppm) and nothing else.

use std::time::{Duration, Instant, SystemTime};

/// Upward leak per packet: 50 packets/s of audio make 100 µs/s.
const LEAK: Duration = Duration::from_micros(2);
/// A wall clock that disagrees by more was stepped (NTP, suspend): begin anew.
const STEP: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(crate) struct SamplingClock {
    /// A moment by the sender's clock and by ours.
    anchor: Option<(SystemTime, Instant)>,
}

impl SamplingClock {
    /// When a packet that arrived at `now` was sampled, by our clock; never after `now`. Without a
    /// sender report yet, `now`.
    pub(crate) fn sampled(&mut self, now: Instant, captured: Option<SystemTime>) -> Instant {
        let Some(captured) = captured else { return now };
        let Some((theirs, ours)) = self.anchor else {
            self.anchor = Some((captured, now));
            return now;
        };
        // Where the anchor would be if this packet had the least transit.
        let (estimate, sampled) = match captured.duration_since(theirs) {
            Ok(since) => (now.checked_sub(since), ours.checked_add(since)),
            Err(before) => {
                (now.checked_add(before.duration()), ours.checked_sub(before.duration()))
            }
        };
        let (Some(estimate), Some(sampled)) = (estimate, sampled) else {
            self.anchor = Some((captured, now));
            return now;
        };
        let distance =
            estimate.saturating_duration_since(ours).max(ours.saturating_duration_since(estimate));
        if distance > STEP {
            self.anchor = Some((captured, now));
            return now;
        }
        if estimate < ours {
            self.anchor = Some((theirs, estimate));
            return now;
        }
        self.anchor = Some((theirs, ours + LEAK.min(distance)));
        sampled.min(now)
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
        assert_eq!(clock.sampled(start, None), start);
        // 20 ms packets with 10 ms transit and jitter of up to 30 ms.
        let mut worst = Duration::ZERO;
        for n in 0..500u64 {
            let jitter = ms((n * 7) % 31);
            let sampled = start + ms(20 * n);
            let got = clock.sampled(sampled + ms(10) + jitter, Some(wall + ms(20 * n)));
            if n > 50 {
                worst = worst.max(got - sampled);
            }
        }
        assert!(worst < ms(11), "{worst:?}");
        let later = start + ms(10_000);
        assert_eq!(clock.sampled(later, Some(wall + Duration::from_secs(7_200))), later);
    }

    #[test]
    fn never_in_the_future() {
        let mut clock = SamplingClock::default();
        let start = Instant::now();
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
        clock.sampled(start + Duration::from_secs(1), Some(wall));
        let early = start + Duration::from_secs(1);
        assert!(clock.sampled(early, Some(wall + Duration::from_secs(3))) <= early);
    }
}
