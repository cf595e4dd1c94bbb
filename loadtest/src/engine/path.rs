//! One direction of an impaired path: what is on its way, and what was lost on it.
//!
//! Owns: datagrams between a caller and its socket.
//! Never: reads a clock or touches a socket.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Instant;

use convoke_client::check::rtp_numbers;
use convoke_client::link::{Link, LinkConfig, Sent};

/// Datagrams on their way, at most; more are lost.
const HELD_MAX: usize = 16_384;

#[derive(Debug)]
struct Held<T> {
    at: Instant,
    number: u64,
    datagram: T,
}

impl<T> PartialEq for Held<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Held<T> {}

impl<T> PartialOrd for Held<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Held<T> {
    /// The heap gives the greatest first: the one that arrives first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// An impaired direction; see the module.
#[derive(Debug)]
pub(super) struct Path<T> {
    link: Link,
    held: BinaryHeap<Held<T>>,
    next: u64,
    /// RTP packets lost since the last [`Self::take_lost`].
    lost: u64,
}

impl<T> Path<T> {
    pub(super) fn new(config: LinkConfig, seed: u64) -> Self {
        Self { link: Link::new(config, seed), held: BinaryHeap::new(), next: 0, lost: 0 }
    }

    /// Takes a datagram; `bytes` are what it says.
    pub(super) fn send(&mut self, now: Instant, bytes: &[u8], datagram: impl FnOnce() -> T) {
        match self.link.send(now, bytes) {
            Sent::Arrives(at) if self.held.len() < HELD_MAX => {
                self.held.push(Held { at, number: self.next, datagram: datagram() });
                self.next += 1;
            }
            _ => self.lost += u64::from(rtp_numbers(bytes).is_some()),
        }
    }

    /// The next datagram that has arrived by now.
    pub(super) fn arrived(&mut self, now: Instant) -> Option<T> {
        self.held.peek().filter(|held| held.at <= now)?;
        self.held.pop().map(|held| held.datagram)
    }

    /// When the next one arrives.
    pub(super) fn next_arrival(&self) -> Option<Instant> {
        self.held.peek().map(|held| held.at)
    }

    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rtp(number: u16) -> Vec<u8> {
        let mut bytes = vec![0x80; 1_000];
        bytes[1] = 96;
        bytes[2..4].copy_from_slice(&number.to_be_bytes());
        bytes
    }

    #[test]
    fn a_delay_is_kept_and_so_is_the_order() {
        let ms = Duration::from_millis;
        let config = LinkConfig { delay: ms(20), jitter: ms(10), ..LinkConfig::default() };
        let (mut path, start) = (Path::new(config, 1), Instant::now());
        for n in 0..100 {
            path.send(start + ms(u64::from(n)), &rtp(n), || n);
        }
        assert_eq!(path.arrived(start + ms(19)), None);
        assert!(path.next_arrival().is_some_and(|at| at >= start + ms(20)));
        let order: Vec<u16> = std::iter::from_fn(|| path.arrived(start + ms(200))).collect();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
        assert_eq!(path.take_lost(), 0);
    }

    #[test]
    fn what_is_lost_is_counted_and_only_media() {
        let config = LinkConfig { loss: 1.0, loses_handshakes: true, ..LinkConfig::default() };
        let (mut path, start) = (Path::new(config, 1), Instant::now());
        path.send(start, &rtp(1), || ());
        path.send(start, &[22; 50], || ());
        assert_eq!((path.take_lost(), path.take_lost()), (1, 0));
        assert_eq!(path.next_arrival(), None);
    }

    #[test]
    fn a_narrow_path_drops_what_its_queue_does_not_hold() {
        let queue = Duration::from_millis(100);
        // 1,000 bytes take 10 ms: ten fit into the queue and one is on its way.
        let config = LinkConfig { rate_bps: Some(800_000), queue, ..LinkConfig::default() };
        let (mut path, start) = (Path::new(config, 1), Instant::now());
        (0..50).for_each(|n| path.send(start, &rtp(n), || n));
        let end = start + Duration::from_secs(1);
        let arrived = std::iter::from_fn(|| path.arrived(end)).count();
        assert_eq!((arrived, path.take_lost()), (11, 39));
    }
}
