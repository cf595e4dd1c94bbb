//! One direction of one participant's network, simulated: loss, delay, reordering, rate, queue.
//!
//! Owns: what becomes of a datagram, and when it arrives.
//! Never: holds a datagram; its owner does, until it arrives.

use std::time::{Duration, Instant};

use crate::check::rtp_numbers;

/// What a handshake datagram and one of RTCP count for. Keys, signatures and the order of reports
/// differ from run to run, and with them the exact sizes; a run must not depend on them.
const HANDSHAKE_BYTES: usize = 400;
const RTCP_BYTES: usize = 150;

/// Loss in bursts: the link is bad now and then, for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// Mean time between two bursts.
    pub every: Duration,
    /// Mean length of one.
    pub lasts: Duration,
    /// Loss inside a burst.
    pub loss: f64,
}

/// How a link behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinkConfig {
    /// Random loss, 0 to 1.
    pub loss: f64,
    /// Loss in bursts.
    pub burst: Option<Burst>,
    /// Propagation delay.
    pub delay: Duration,
    /// Up to so much more, evenly distributed.
    pub jitter: Duration,
    /// Chance, per packet, that it is overtaken: it alone takes up to `overtaken_by` longer.
    pub reorders: f64,
    /// See `reorders`.
    pub overtaken_by: Duration,
    /// Whether STUN and DTLS are lost as well. Then the run does not repeat exactly: the
    /// handshake's timers are random.
    pub loses_handshakes: bool,
    /// Bits in a second; no limit when absent.
    pub rate_bps: Option<u64>,
    /// How long a packet may wait for the link before it is dropped (drop-tail).
    pub queue: Duration,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            loss: 0.0,
            burst: None,
            delay: Duration::from_millis(10),
            jitter: Duration::ZERO,
            reorders: 0.0,
            overtaken_by: Duration::from_millis(30),
            loses_handshakes: false,
            rate_bps: None,
            queue: Duration::from_millis(300),
        }
    }
}

impl LinkConfig {
    /// Whether nothing is ever lost on it.
    #[must_use]
    pub fn is_lossless(&self) -> bool {
        self.loss == 0.0 && self.burst.is_none() && self.rate_bps.is_none()
    }

    /// Whether packets keep their order on it.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        self.reorders == 0.0
    }
}

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It arrives then.
    Arrives(Instant),
    /// The link's random loss took it.
    Lost,
    /// The link is cut, or had no room for it.
    Dropped,
}

/// The classes of datagrams (RFC 7983, RFC 5761 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// STUN and DTLS.
    Handshake,
    Rtp,
    Rtcp,
}

fn class(bytes: &[u8]) -> Class {
    match rtp_numbers(bytes) {
        Some(_) => Class::Rtp,
        None if bytes.first().is_some_and(|first| *first < 64) => Class::Handshake,
        None => Class::Rtcp,
    }
}

/// One direction of a network.
///
/// What befalls a datagram depends on its time and size, and on how many of its size went before at
/// that instant, not on all that went before: probes leave by whichever stream comes first in the
/// media stack's tables, and reports' sizes and numbers depend on keys.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    seed: u64,
    epoch: Option<Instant>,
    /// The instant of the last datagram, and the sizes of all at that instant.
    instant: Option<Instant>,
    sizes: Vec<usize>,
    bursts: fastrand::Rng,
    up: bool,
    /// The next (or present) burst.
    burst: Option<(Instant, Instant)>,
    free_at: Option<Instant>,
    last_arrival: Option<Instant>,
    lost: u64,
    used: Usage,
}

/// What a narrow link carried, and could have.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Bits that were carried.
    pub carried: f64,
    /// Bits that there was room for.
    pub capacity: f64,
    /// When the count was last brought up to date.
    at: Option<Instant>,
}

impl Usage {
    /// The share of the capacity that was used since `before`, if there was a limit.
    #[must_use]
    pub fn since(&self, before: &Self) -> Option<f64> {
        let capacity = self.capacity - before.capacity;
        (capacity > 0.0).then(|| (self.carried - before.carried) / capacity)
    }
}

impl Link {
    /// A link in its own random stream.
    #[must_use]
    pub fn new(config: LinkConfig, seed: u64) -> Self {
        Self {
            config,
            seed,
            epoch: None,
            instant: None,
            sizes: Vec::new(),
            bursts: fastrand::Rng::with_seed(!seed),
            up: true,
            burst: None,
            free_at: None,
            last_arrival: None,
            lost: 0,
            used: Usage::default(),
        }
    }

    /// The same, for runs that begin at `epoch`.
    #[must_use]
    pub fn since(self, epoch: Instant) -> Self {
        Self { epoch: Some(epoch), ..self }
    }

    /// From now on it has another capacity, in bit/s. What waits goes on at the old one.
    pub fn set_rate(&mut self, now: Instant, rate_bps: Option<u64>) {
        self.usage(now);
        self.config.rate_bps = rate_bps;
    }

    /// What it carried, and could have, up to now.
    pub fn usage(&mut self, now: Instant) -> Usage {
        let since = self.used.at.replace(now).unwrap_or(now);
        if let Some(rate) = self.config.rate_bps {
            let seconds = now.saturating_duration_since(since).as_secs_f64();
            self.used.capacity += rate as f64 * seconds;
        }
        self.used
    }

    /// How it behaves now.
    #[must_use]
    pub fn config(&self) -> LinkConfig {
        self.config
    }

    /// Cuts or restores the link.
    pub fn set_up(&mut self, up: bool) {
        self.up = up;
    }

    /// Whether the link is not cut.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// Datagrams lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Sends a datagram.
    pub fn send(&mut self, now: Instant, bytes: &[u8]) -> Sent {
        let sent = self.carry(now, bytes);
        self.lost += u64::from(!matches!(sent, Sent::Arrives(_)));
        sent
    }

    fn carry(&mut self, now: Instant, bytes: &[u8]) -> Sent {
        let class = class(bytes);
        let may_lose = class != Class::Handshake || self.config.loses_handshakes;
        // Retransmission of a handshake is timed by randomness that no seed decides: it would make
        // every later loss another one.
        let seed = if may_lose {
            self.seed ^ self.number(now, Self::size(class, bytes))
        } else {
            self.seed
        };
        let mut random = fastrand::Rng::with_seed(seed);
        let loss = self.config.loss.max(self.burst_loss(now));
        let lost = random.f64() < loss && may_lose;
        let jitter = self.config.jitter.mul_f64(random.f64());
        let overtaken = random.f64() < self.config.reorders && class != Class::Handshake;
        let detour = self.config.overtaken_by.mul_f64(random.f64());
        if !self.up {
            return Sent::Dropped;
        }
        if lost {
            return Sent::Lost;
        }
        let begins = self.free_at.map_or(now, |free| free.max(now));
        if begins.saturating_duration_since(now) > self.config.queue {
            return Sent::Dropped;
        }
        let done = begins + self.transmission(class, bytes);
        let arrives = done + self.config.delay + jitter;
        if class == Class::Handshake {
            // It takes its time, but leaves no trace: see above.
            return Sent::Arrives(self.last_arrival.map_or(arrives, |last| last.max(arrives)));
        }
        self.free_at = Some(done);
        if self.config.rate_bps.is_some() {
            self.usage(now);
            self.used.carried += (Self::size(class, bytes) * 8) as f64;
        }
        let arrives = self.last_arrival.map_or(arrives, |last| last.max(arrives));
        if overtaken {
            return Sent::Arrives(arrives + detour);
        }
        self.last_arrival = Some(arrives);
        Sent::Arrives(arrives)
    }

    /// A number for one datagram; see above.
    fn number(&mut self, now: Instant, size: usize) -> u64 {
        let epoch = *self.epoch.get_or_insert(now);
        if self.instant.replace(now) != Some(now) {
            self.sizes.clear();
        }
        let before = self.sizes.iter().filter(|other| **other == size).count();
        self.sizes.push(size);
        let time = now.saturating_duration_since(epoch).as_nanos() as u64;
        let parts = [time, size as u64, before as u64];
        parts.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, part| {
            let mixed = (hash ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed ^ mixed >> 29
        })
    }

    /// The loss of the burst that there is now, if any.
    fn burst_loss(&mut self, now: Instant) -> f64 {
        let Some(config) = self.config.burst else { return 0.0 };
        let mut mean = |time: Duration| time.mul_f64(-(1.0 - self.bursts.f64()).ln());
        let (mut begins, mut ends) = self.burst.unwrap_or((now, now));
        while ends <= now {
            begins = ends + mean(config.every);
            ends = begins + mean(config.lasts).max(Duration::from_millis(1));
        }
        self.burst = Some((begins, ends));
        if now >= begins { config.loss } else { 0.0 }
    }

    fn transmission(&self, class: Class, bytes: &[u8]) -> Duration {
        let Some(rate) = self.config.rate_bps else { return Duration::ZERO };
        Duration::from_nanos(Self::size(class, bytes) as u64 * 8 * 1_000_000_000 / rate.max(1))
    }

    /// Bytes on the wire.
    fn size(class: Class, bytes: &[u8]) -> usize {
        match class {
            Class::Handshake => HANDSHAKE_BYTES,
            Class::Rtcp => RTCP_BYTES,
            Class::Rtp => bytes.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(config: LinkConfig, count: u32, every: Duration) -> Vec<Option<Instant>> {
        let start = Instant::now();
        let mut link = Link::new(config, 7);
        let packet = |n: u32| {
            let mut bytes = vec![0x80; 1_000];
            let [_, _, high, low] = n.to_be_bytes();
            bytes[1..4].copy_from_slice(&[96, high, low]);
            bytes
        };
        (0..count)
            .map(|n| match link.send(start + every * n, &packet(n)) {
                Sent::Arrives(at) => Some(at),
                Sent::Lost | Sent::Dropped => None,
            })
            .collect()
    }

    #[test]
    fn loss_is_as_configured() {
        let random = LinkConfig { loss: 0.05, ..LinkConfig::default() };
        let lost = arrivals(random, 20_000, Duration::ZERO).iter().filter(|a| a.is_none()).count();
        assert!((800..1_200).contains(&lost), "{lost}");
        let ms = Duration::from_millis;
        let burst = Some(Burst { every: ms(450), lasts: ms(50), loss: 0.8 });
        let bursty = LinkConfig { burst, ..LinkConfig::default() };
        let got = arrivals(bursty, 20_000, ms(5));
        let lost = got.iter().filter(|a| a.is_none()).count();
        assert!((1_000..2_200).contains(&lost), "{lost}");
        let after_loss = got.windows(2).filter(|w| w[0].is_none() && w[1].is_none()).count();
        assert!(after_loss * 3 > lost, "losses come together: {after_loss} of {lost}");
    }

    #[test]
    fn order_is_kept_unless_told_otherwise() {
        for reorders in [0.0, 0.1] {
            let jitter = Duration::from_millis(30);
            let config = LinkConfig { jitter, reorders, ..LinkConfig::default() };
            let got = arrivals(config, 500, Duration::from_millis(1));
            assert_eq!(got.windows(2).any(|w| w[1] < w[0]), reorders > 0.0);
            assert_eq!(config.is_ordered(), reorders == 0.0);
        }
    }

    #[test]
    fn a_narrow_link_queues_and_then_drops() {
        // 1,000 bytes at 800 kbit/s take 10 ms; they come every 5 ms.
        let config = LinkConfig {
            rate_bps: Some(800_000),
            queue: Duration::from_millis(100),
            ..LinkConfig::default()
        };
        let got = arrivals(config, 1_000, Duration::from_millis(5));
        let arrived: Vec<Instant> = got.iter().flatten().copied().collect();
        assert!((500..530).contains(&arrived.len()), "{}", arrived.len());
        assert!(arrived.windows(2).all(|w| w[1] - w[0] >= Duration::from_millis(10)));
        assert!(got[..20].iter().all(Option::is_some), "the queue takes the first");
    }

    #[test]
    fn capacity_steps_and_use_are_counted() {
        let ms = Duration::from_millis;
        let start = Instant::now();
        let mut link =
            Link::new(LinkConfig { rate_bps: Some(800_000), ..LinkConfig::default() }, 1);
        let before = link.usage(start);
        let mut arrivals = Vec::new();
        for n in 0..200_u32 {
            let now = start + ms(10) * n;
            if n == 100 {
                link.set_rate(now, Some(400_000));
            }
            let mut bytes = vec![0x80; 500];
            bytes[1..4].copy_from_slice(&[96, 0, n as u8]);
            if let Sent::Arrives(at) = link.send(now, &bytes) {
                arrivals.push(at - now);
            }
        }
        assert_eq!((arrivals[50], arrivals[150]), (ms(15), ms(20)));
        let share = link.usage(start + ms(2_000)).since(&before).expect("narrow");
        assert!((share - 800_000.0 / 1_200_000.0).abs() < 0.01, "{share}");
        link.set_rate(start + ms(2_000), None);
        let then = link.usage(start + ms(2_000));
        assert_eq!(link.usage(start + ms(3_000)).since(&then), None);
    }

    #[test]
    fn fate_does_not_depend_on_what_went_before() {
        let start = Instant::now();
        let config = LinkConfig { loss: 0.5, ..LinkConfig::default() };
        let at = |n: u32| start + Duration::from_millis(u64::from(n / 2));
        let fates = |others: usize| -> Vec<Sent> {
            let mut link = Link::new(config, 3).since(start);
            let fate = |n: u32| {
                for _ in 0..others * (n as usize % 3) {
                    link.send(at(n), &[0x80; 77]);
                }
                link.send(at(n), &[0x80; 100])
            };
            (0..200).map(fate).collect()
        };
        let plain = fates(0);
        assert_eq!(plain, fates(2));
        assert!(plain.chunks(2).any(|pair| pair[0] != pair[1]), "twins have fates of their own");
        let mut forward = Link::new(config, 3).since(start);
        let dtls = |link: &mut Link| {
            (0..100).filter(|_| link.send(start, &[22; 50]) == Sent::Lost).count()
        };
        assert_eq!(dtls(&mut forward), 0);
    }

    #[test]
    fn a_cut_link_carries_nothing_and_seeds_repeat() {
        let mut link = Link::new(LinkConfig::default(), 1);
        link.set_up(false);
        assert_eq!(link.send(Instant::now(), &[0]), Sent::Dropped);
        assert_eq!((link.lost(), link.is_up()), (1, false));
        let config =
            LinkConfig { loss: 0.3, jitter: Duration::from_millis(5), ..LinkConfig::default() };
        let pattern = || -> Vec<bool> {
            arrivals(config, 200, Duration::from_millis(1)).iter().map(Option::is_some).collect()
        };
        assert_eq!(pattern(), pattern());
    }
}
