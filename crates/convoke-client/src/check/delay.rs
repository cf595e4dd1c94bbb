//! A histogram of delays in fixed memory: sixteen buckets to the octave (6% wide).

use std::time::Duration;

const OCTAVES: usize = 32;
const STEPS: usize = 16;

/// Delays and their percentiles.
#[derive(Debug, Clone)]
pub struct Delays {
    buckets: Box<[u64]>,
    count: u64,
    max_us: u64,
}

impl Default for Delays {
    fn default() -> Self {
        Self { buckets: vec![0; OCTAVES * STEPS].into(), count: 0, max_us: 0 }
    }
}

fn bucket(us: u64) -> usize {
    if us < STEPS as u64 {
        return usize::try_from(us).unwrap_or(0);
    }
    let octave = us.ilog2();
    let step = (us >> (octave - 4)) & 0xf;
    let index = (octave - 3) as usize * STEPS + usize::try_from(step).unwrap_or(0);
    index.min(OCTAVES * STEPS - 1)
}

/// The upper end of a bucket.
fn top_us(index: usize) -> u64 {
    let (octave, step) = (index / STEPS, (index % STEPS) as u64);
    match octave {
        0 => step,
        _ => ((STEPS as u64 + step + 1) << (octave - 1)) - 1,
    }
}

impl Delays {
    /// Counts one delay.
    pub fn add(&mut self, delay: Duration) {
        let us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get_mut(bucket(us)) {
            *bucket += 1;
        }
        self.count += 1;
        self.max_us = self.max_us.max(us);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max_us = self.max_us.max(other.max_us);
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The largest.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.max_us)
    }

    /// The delay that the given share (0 to 1) does not exceed; zero when there are none.
    #[must_use]
    pub fn percentile(&self, share: f64) -> Duration {
        let wanted = (self.count as f64 * share.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            // The last bucket has no upper end.
            if index + 1 == self.buckets.len() {
                break;
            }
            if seen >= wanted {
                return Duration::from_micros(top_us(index).min(self.max_us));
            }
        }
        self.max()
    }
}
