//! A token bucket: how fast one client may send.
//!
//! Owns: the arithmetic.
//! Never: reads a clock.

use std::time::{Duration, Instant};

/// Lets `burst` things through at once and `per_second` on the long run.
#[derive(Debug)]
pub(crate) struct Limiter {
    per_second: f64,
    burst: f64,
    left: f64,
    at: Instant,
}

impl Limiter {
    pub(crate) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let burst = f64::from(burst);
        Self { per_second: f64::from(per_second), burst, left: burst, at: now }
    }

    /// Lets so many through in a minute, all of them at once if need be.
    pub(crate) fn per_minute(count: u32, now: Instant) -> Self {
        let burst = f64::from(count);
        Self { per_second: burst / 60.0, burst, left: burst, at: now }
    }

    /// Whether nothing was let through lately.
    pub(crate) fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.left >= self.burst
    }

    /// How long until one more is let through; zero if it would be now.
    pub(crate) fn wait(&mut self, now: Instant) -> Duration {
        self.refill(now);
        let missing = (1.0 - self.left).max(0.0);
        Duration::try_from_secs_f64(missing / self.per_second).unwrap_or(Duration::MAX)
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + passed * self.per_second).min(self.burst);
    }

    /// Whether one more is let through now.
    pub(crate) fn allow(&mut self, now: Instant) -> bool {
        self.refill(now);
        let allowed = self.left >= 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let start = Instant::now();
        let mut limiter = Limiter::new(10, 5, start);
        assert_eq!((0..20).filter(|_| limiter.allow(start)).count(), 5);
        let later = |ms| start + Duration::from_millis(ms);
        assert!(!limiter.allow(later(99)));
        assert!(limiter.allow(later(101)));
        assert!(!limiter.allow(later(102)));
        // An hour of silence gives a burst, not an hour's worth.
        assert_eq!((0..100).filter(|_| limiter.allow(later(3_600_000))).count(), 5);
        // A clock that stands or steps back gives nothing and breaks nothing.
        assert!(!limiter.allow(start));
    }

    #[test]
    fn it_says_how_long_to_wait() {
        let start = Instant::now();
        let mut limiter = Limiter::per_minute(30, start);
        assert!(limiter.is_full(start));
        assert_eq!(limiter.wait(start), Duration::ZERO);
        assert_eq!((0..100).filter(|_| limiter.allow(start)).count(), 30);
        assert_eq!(limiter.wait(start), Duration::from_secs(2));
        assert!(!limiter.is_full(start + Duration::from_secs(59)));
        assert!(limiter.is_full(start + Duration::from_secs(61)));
    }
}
