//! One worker: demultiplexing, rooms, transports and deadlines behind one entry point.

use std::time::Instant;

use crate::api::{Input, Outbox, Stats, WorkerConfig};

/// One worker; see the crate's docs.
#[derive(Debug)]
pub struct Worker {
    stats: Stats,
}

impl Worker {
    /// A worker with no rooms. `seed` feeds all its randomness but DTLS keys.
    #[must_use]
    pub fn new(_config: WorkerConfig, _seed: u64, _now: Instant) -> Self {
        Self { stats: Stats::default() }
    }

    /// Handles one input. `now` must not go back.
    pub fn handle(&mut self, _now: Instant, _input: Input<'_>, _out: &mut Outbox) {}

    /// When [`Input::Timeout`] is due at the latest; in the past while a turn is open.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// Counters and gauges.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }
}
