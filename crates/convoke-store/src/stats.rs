//! How the store does.
//!
//! Owns: the count, the failures and the time of operations, and how far webhooks are behind.
//! Never: names a metric, or holds an operation up.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::events;
use crate::store::{Store, StoreError};

const OLDEST: &str = "SELECT at FROM event WHERE position > $1 ORDER BY position LIMIT 1";
const BURIED: &str = "SELECT COUNT(*) FROM dead_letter WHERE webhook = $1";

#[cfg(test)]
pub(crate) const ALL: &[&str] = &[OLDEST, BURIED];

/// The upper bounds of the buckets of [`Operations`], in seconds.
pub const OPERATION_BUCKETS: [f64; 8] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 3.0];

/// Operations so far, failed ones among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Operations {
    /// How many.
    pub count: u64,
    /// That found the database down or too slow.
    pub failed: u64,
    /// The time that they took.
    pub took: Duration,
    /// How many took at most so long, and longer than the bound before.
    pub buckets: [u64; OPERATION_BUCKETS.len()],
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    count: AtomicU64,
    failed: AtomicU64,
    took_us: AtomicU64,
    buckets: [AtomicU64; OPERATION_BUCKETS.len()],
}

impl Counters {
    pub(crate) fn count(&self, took: Duration, failed: bool) {
        self.count.fetch_add(1, Relaxed);
        self.failed.fetch_add(u64::from(failed), Relaxed);
        self.took_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
        let at = OPERATION_BUCKETS.iter().position(|bound| took.as_secs_f64() <= *bound);
        if let Some(bucket) = at.and_then(|at| self.buckets.get(at)) {
            bucket.fetch_add(1, Relaxed);
        }
    }

    fn read(&self) -> Operations {
        Operations {
            count: self.count.load(Relaxed),
            failed: self.failed.load(Relaxed),
            took: Duration::from_micros(self.took_us.load(Relaxed)),
            buckets: self.buckets.each_ref().map(|bucket| bucket.load(Relaxed)),
        }
    }
}

/// How far a webhook is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    /// Events that it has yet to be told.
    pub events: i64,
    /// When the oldest of them happened, in milliseconds since 1970.
    pub oldest_at: Option<i64>,
    /// Its dead letters.
    pub dead_letters: i64,
}

impl Store {
    /// Reads and writes so far.
    #[must_use]
    pub fn operations(&self) -> [Operations; 2] {
        self.counters().each_ref().map(Counters::read)
    }

    /// How far a webhook is behind.
    ///
    /// # Errors
    /// When the store is down.
    pub async fn lag(&self, webhook: &str) -> Result<Lag, StoreError> {
        self.read(async |tx| {
            let newest = events::newest(tx).await?;
            let told = crate::webhooks::told(tx, webhook).await?.unwrap_or(newest);
            let oldest = tx.row(OLDEST, &[told.into()]).await?;
            let dead = tx.row(BURIED, &[webhook.into()]).await?.ok_or(StoreError::NotFound)?;
            Ok(Lag {
                events: newest - told,
                oldest_at: oldest.map(|row| row.int(0)).transpose()?,
                dead_letters: dead.int(0)?,
            })
        })
        .await
    }
}
