//! A token bucket: how fast one client may send.
//!
//! Owns: the arithmetic.
//! Never: reads a clock.

use std::time::Instant;

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

    /// Whether one more is let through now.
    pub(crate) fn allow(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + passed * self.per_second).min(self.burst);
        let allowed = self.left >= 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
}
