//! How much one participant may send: token buckets in virtual time.
//!
//! Owns: the buckets of messages and of bytes, each as deep as one second's worth.
//! Never: decides what happens to what is refused.

use std::time::{Duration, Instant};

use crate::api::DataLimits;

/// How far a bucket can be ahead of the clock: one second's worth goes at once.
const DEPTH: Duration = Duration::from_secs(1);

/// Both buckets of one participant, full at first.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    /// When each will be full again, if it is not: messages and bytes.
    full_at: [Option<Instant>; 2],
}

impl Rate {
    /// Takes one message of `bytes`, or says how long to wait for it; then nothing is taken.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        limits: &DataLimits,
        bytes: usize,
    ) -> Result<(), Duration> {
        let costs = [
            cost(1, limits.messages_per_second),
            cost(u64::try_from(bytes).unwrap_or(u64::MAX), limits.bytes_per_second),
        ];
        let mut after = [now; 2];
        let mut wait = Duration::ZERO;
        for ((after, full_at), cost) in after.iter_mut().zip(self.full_at).zip(costs) {
            *after = full_at.map_or(now, |at| at.max(now)) + cost;
            let ahead = after.saturating_duration_since(now);
            wait = wait.max(ahead.saturating_sub(DEPTH));
        }
        if wait > Duration::ZERO {
            return Err(wait);
        }
        self.full_at = after.map(Some);
        Ok(())
    }
}

/// The time in which so many come back; no more than a bucket holds, so that a full one serves all.
fn cost(units: u64, per_second: u32) -> Duration {
    let nanoseconds = u128::from(units) * 1_000_000_000 / u128::from(per_second.max(1));
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)).min(DEPTH)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits(messages_per_second: u32, bytes_per_second: u32) -> DataLimits {
        DataLimits { messages_per_second, bytes_per_second, ..DataLimits::default() }
    }

    #[test]
    fn a_second_s_worth_goes_at_once_and_no_more() {
        let (now, limits) = (Instant::now(), limits(10, 1_000_000));
        let mut rate = Rate::default();
        for _ in 0..10 {
            assert_eq!(rate.take(now, &limits, 1), Ok(()));
        }
        assert_eq!(rate.take(now, &limits, 1), Err(Duration::from_millis(100)));
        let later = now + Duration::from_millis(100);
        assert_eq!(rate.take(later, &limits, 1), Ok(()));
        assert!(rate.take(later, &limits, 1).is_err());
    }

    #[test]
    fn bytes_count_too_and_a_refusal_takes_nothing() {
        let (now, limits) = (Instant::now(), limits(1_000_000, 1_000));
        let mut rate = Rate::default();
        assert_eq!(rate.take(now, &limits, 600), Ok(()));
        assert_eq!(rate.take(now, &limits, 500), Err(Duration::from_millis(100)));
        assert_eq!(rate.take(now, &limits, 400), Ok(()));
        // More than the bucket holds needs a full one.
        let later = now + Duration::from_secs(1);
        assert_eq!(rate.take(later, &limits, 1 << 40), Ok(()));
        assert_eq!(rate.take(later, &limits, 1_000), Err(Duration::from_secs(1)));
    }

    proptest! {
        /// Over any time no more passes than the rate and one bucket.
        #[test]
        fn the_rate_holds(steps in prop::collection::vec((0u64..400, 0usize..600), 1..200)) {
            let (start, limits) = (Instant::now(), limits(7, 1_000));
            let (mut now, mut rate) = (start, Rate::default());
            let (mut messages, mut bytes) = (0u64, 0u64);
            for (milliseconds, size) in steps {
                now += Duration::from_millis(milliseconds);
                if rate.take(now, &limits, size).is_ok() {
                    (messages, bytes) = (messages + 1, bytes + size as u64);
                }
                let elapsed = now.duration_since(start).as_millis() as u64;
                prop_assert!(messages * 1_000 <= 7 * (elapsed + 1_000) + 1);
                prop_assert!(bytes <= elapsed + 1_000);
            }
        }
    }
}
