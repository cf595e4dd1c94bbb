//! Where clients come from, and how much of the server one address or identity may take.
//!
//! Owns: what counts as one address, which proxies are believed, and the tables of who holds or did
//! how much of late.
//! Never: counts a trusted proxy's own address, which would stand for everyone; reads a clock.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use ipnet::IpNet;

use crate::limiter::Limiter;
use crate::sync::lock;

/// Who is remembered in one table of rates. Beyond it no more are, until others have been quiet.
const REMEMBERED: usize = 65_536;

/// The header in which proxies say for whom they ask.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// One address: of IPv6 the /64, for each host has many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Address(IpAddr);

impl Address {
    fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// The proxies whose `X-Forwarded-For` is believed. This machine by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxies(Vec<IpNet>);

impl Default for Proxies {
    fn default() -> Self {
        let loopback = [IpAddr::from([127, 0, 0, 0]), Ipv6Addr::LOCALHOST.into()];
        let networks = loopback.into_iter().zip([8, 128]);
        Self(networks.filter_map(|(address, bits)| IpNet::new(address, bits).ok()).collect())
    }
}

impl Proxies {
    /// No proxy is believed, and every address is counted.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Networks such as `10.0.0.0/8`, or single addresses.
    ///
    /// # Errors
    /// The text that is neither.
    pub fn parse<'a>(networks: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let one = |text: &'a str| {
            let address = || text.parse::<IpAddr>().map(IpNet::from);
            text.parse::<IpNet>().or_else(|_| address()).map_err(|_| text)
        };
        networks.into_iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a connection from there is a proxy's.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// A connection's address, if it is to be counted.
    pub(crate) fn connection(&self, peer: IpAddr) -> Option<Address> {
        (!self.trusts(peer)).then(|| Address::of(peer))
    }

    /// Whom a request comes from, if that is known: through proxies, the last address in the header
    /// that none of them has. What stands before it is the sender's own word.
    pub(crate) fn client(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> Option<Address> {
        let peer = peer?.ip();
        if !self.trusts(peer) {
            return Some(Address::of(peer));
        }
        let values: Vec<&str> =
            headers.get_all(FORWARDED_FOR).iter().map(|v| v.to_str().unwrap_or("?")).collect();
        let hops = values.iter().rev().flat_map(|value| value.rsplit(','));
        for hop in hops {
            let address = read_hop(hop.trim())?;
            if !self.trusts(address) {
                return Some(Address::of(address));
            }
        }
        None
    }
}

/// An address, as some proxies write it with a port.
fn read_hop(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|both| both.ip()))
}

/// How many of something each of many holds.
#[derive(Debug)]
pub(crate) struct Seats<K: Hash + Eq>(Arc<Mutex<HashMap<K, usize>>>);

impl<K: Hash + Eq> Default for Seats<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Hash + Eq + Clone> Seats<K> {
    /// One more for `key`, unless it has as many as it may; 0: as many as it wants.
    pub(crate) fn take(&self, key: K, most: usize) -> Option<Seat<K>> {
        let mut held = lock(&self.0);
        let count = held.entry(key.clone()).or_default();
        if most > 0 && *count >= most {
            return None;
        }
        *count += 1;
        drop(held);
        Some(Seat { key, held: Arc::clone(&self.0) })
    }
}

/// One of what [`Seats`] counts; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Seat<K: Hash + Eq> {
    key: K,
    held: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Hash + Eq> Drop for Seat<K> {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        let Some(count) = held.get_mut(&self.key) else { return };
        *count -= 1;
        if *count == 0 {
            held.remove(&self.key);
        }
    }
}

/// How often each of many did something within the last minute. The bound is given with each use: it
/// may change, and 0 means none.
#[derive(Debug)]
pub(crate) struct Rates<K: Hash + Eq>(Mutex<HashMap<K, (u32, Limiter)>>);

impl<K: Hash + Eq> Default for Rates<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq> Rates<K> {
    /// How long `key` must wait, if it must.
    pub(crate) fn must_wait(&self, key: &K, per_minute: u32, now: Instant) -> Option<Duration> {
        let mut all = lock(&self.0);
        let (_, limiter) = all.get_mut(key).filter(|(of, _)| *of == per_minute)?;
        let wait = limiter.wait(now);
        (!wait.is_zero()).then_some(wait)
    }

    /// `key` did it once more. Whether it might.
    pub(crate) fn spend(&self, key: K, per_minute: u32, now: Instant) -> bool {
        if per_minute == 0 {
            return true;
        }
        let mut all = lock(&self.0);
        if all.len() >= REMEMBERED {
            all.retain(|_, (_, limiter)| !limiter.is_full(now));
        }
        if all.len() >= REMEMBERED && !all.contains_key(&key) {
            return true;
        }
        let fresh = || (per_minute, Limiter::per_minute(per_minute, now));
        let (of, limiter) = all.entry(key).or_insert_with(fresh);
        if *of != per_minute {
            (*of, *limiter) = fresh();
        }
        limiter.allow(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn client(proxies: &Proxies, peer: &str, forwarded: &[&str]) -> Option<Address> {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        proxies.client(Some(SocketAddr::new(ip(peer), 1)), &headers)
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_their_last_word() {
        let proxies = Proxies::parse(["10.0.0.0/8", "2001:db8::1"]).unwrap();
        let found = |peer, forwarded: &[&str]| client(&proxies, peer, forwarded);
        let one = Some(Address::of(ip("192.0.2.1")));
        assert_eq!(found("192.0.2.1", &[]), one);
        assert_eq!(found("192.0.2.1", &["198.51.100.1"]), one, "its own word is nothing");
        assert_eq!(found("10.1.2.3", &["192.0.2.1"]), one);
        assert_eq!(found("::ffff:10.1.2.3", &["192.0.2.1"]), one);
        assert_eq!(found("10.1.2.3", &["198.51.100.1, 192.0.2.1"]), one);
        assert_eq!(found("10.1.2.3", &["198.51.100.1", "192.0.2.1, 10.9.9.9"]), one);
        assert_eq!(found("2001:db8::1", &["192.0.2.1:4711"]), one);
        assert_eq!(found("10.1.2.3", &["[2001:db8:7::1]"]), Some(Address::of(ip("2001:db8:7::2"))));
        for unknown in [&[][..], &["10.9.9.9"], &["unknown"], &[""], &["192.0.2.1, unknown"]] {
            assert_eq!(found("10.1.2.3", unknown), None, "{unknown:?}");
        }
        assert_eq!(proxies.client(None, &HeaderMap::new()), None);
    }

    #[test]
    fn this_machine_is_a_proxy_by_default() {
        let proxies = Proxies::default();
        for own in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(proxies.connection(ip(own)), None, "{own}");
            assert!(Proxies::none().connection(ip(own)).is_some(), "{own}");
        }
        assert!(proxies.connection(ip("192.0.2.1")).is_some());
        assert_eq!(Proxies::parse(["10.0.0.0/8", "everyone"]), Err("everyone"));
    }

    #[test]
    fn a_seat_is_given_back_and_nothing_is_kept_of_it() {
        let seats = Seats::default();
        let first = seats.take("a", 2).unwrap();
        let second = seats.take("a", 2).unwrap();
        assert!(seats.take("a", 2).is_none());
        assert!(seats.take("b", 2).is_some(), "others have their own");
        assert!(seats.take("a", 0).is_some(), "0 is no bound");
        drop(first);
        assert!(seats.take("a", 2).is_some());
        drop(second);
        assert!(lock(&seats.0).is_empty());
    }

    #[test]
    fn who_does_too_much_waits_and_others_do_not() {
        let (rates, start) = (Rates::default(), Instant::now());
        let [bad, neighbour, other] =
            ["2001:db8::1", "2001:db8::ffff", "2001:db8:0:1::1"].map(|a| Address::of(ip(a)));
        for _ in 0..2 {
            assert!(rates.spend(bad, 3, start));
        }
        assert_eq!(rates.must_wait(&bad, 3, start), None);
        assert!(rates.spend(neighbour, 3, start));
        assert_eq!(rates.must_wait(&bad, 3, start), Some(Duration::from_secs(20)));
        assert!(!rates.spend(bad, 3, start));
        assert_eq!(rates.must_wait(&other, 3, start), None);
        assert_eq!(rates.must_wait(&bad, 3, start + Duration::from_secs(21)), None);
        assert!(rates.spend(bad, 4, start), "another bound begins anew");
        assert!(rates.spend(bad, 0, start), "0 is no bound");
    }

    #[test]
    fn memory_is_bounded_and_the_quiet_are_forgotten() {
        let (rates, start) = (Rates::default(), Instant::now());
        for n in 0..=REMEMBERED {
            rates.spend(n, 1, start);
        }
        assert_eq!(lock(&rates.0).len(), REMEMBERED);
        rates.spend(usize::MAX, 1, start + Duration::from_secs(61));
        assert_eq!(lock(&rates.0).len(), 1);
    }
}
