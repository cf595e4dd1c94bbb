//! What happened at the TCP port: written by its threads, read by anyone.
//!
//! Owns: [`TcpStats`] and the atomics behind it.
//! Never: names a metric; the control plane does.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TcpEnd {
    /// Its peer closed it, or it broke.
    Peer,
    /// Its participant left, or came by others since.
    Left,
    /// Its first frame was no STUN message to one of the workers.
    Stranger,
    /// It did not prove in time whose it is.
    Silent,
    /// A frame that is too large, or is nothing that is spoken here.
    Malformed,
    /// Its peer took nothing of what it was sent.
    Slow,
}

impl TcpEnd {
    /// All of them, in the order of [`TcpStats::ended`].
    pub const ALL: [Self; 6] =
        [Self::Peer, Self::Left, Self::Stranger, Self::Silent, Self::Malformed, Self::Slow];

    /// As a metric's label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Left => "left",
            Self::Stranger => "stranger",
            Self::Silent => "silent",
            Self::Malformed => "malformed",
            Self::Slow => "slow",
        }
    }
}

/// The TCP port as seen from outside. All but `open` only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TcpStats {
    /// Connections now.
    pub open: u64,
    /// Connections that were taken.
    pub accepted: u64,
    /// Connections that were closed at once, as there were too many: in all, of their address.
    pub refused: [u64; 2],
    /// Connections that ended, by [`TcpEnd`].
    pub ended: [u64; TcpEnd::ALL.len()],
    /// Datagrams: in, out.
    pub datagrams: [u64; 2],
    /// Datagrams that were dropped, as the worker or the peer did not keep up: in, out.
    pub drops: [u64; 2],
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) open: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: [AtomicU64; 2],
    ended: [AtomicU64; TcpEnd::ALL.len()],
    datagrams: [AtomicU64; 2],
    drops: [AtomicU64; 2],
}

/// Of [`Counters`]: what came in.
pub(crate) const IN: usize = 0;
/// Of [`Counters`]: what went out.
pub(crate) const OUT: usize = 1;

impl Counters {
    pub(crate) fn read(&self) -> TcpStats {
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        TcpStats {
            open: load(&self.open),
            accepted: load(&self.accepted),
            refused: self.refused.each_ref().map(load),
            ended: self.ended.each_ref().map(load),
            datagrams: self.datagrams.each_ref().map(load),
            drops: self.drops.each_ref().map(load),
        }
    }

    pub(crate) fn ended(&self, why: TcpEnd) {
        if let Some(counter) = self.ended.get(why as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// `direction` is [`IN`] or [`OUT`]; called once for a batch.
    pub(crate) fn passed(&self, direction: usize, datagrams: u64, drops: u64) {
        if let (Some(all), Some(lost)) = (self.datagrams.get(direction), self.drops.get(direction))
        {
            all.fetch_add(datagrams, Relaxed);
            if drops > 0 {
                lost.fetch_add(drops, Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_counter() {
        let counters = Counters::default();
        for (index, why) in TcpEnd::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, index);
            counters.ended(why);
            assert_eq!(counters.read().ended[index], 1, "{}", why.label());
        }
    }
}
