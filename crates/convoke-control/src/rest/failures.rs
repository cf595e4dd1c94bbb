//! Who showed wrong keys lately.
//!
//! Owns: how many wrong keys an address may show, so that nobody tries them by the million.
//! Never: counts loopback addresses, which are those of a proxy on this machine and would stand for
//! everyone; reads a clock.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::limiter::Limiter;
use crate::sync::lock;

/// Addresses that are remembered. Beyond it no more are, until others have been quiet.
const ADDRESSES: usize = 65_536;

/// Counts failed authentications by address.
#[derive(Debug)]
pub(crate) struct Failures {
    per_minute: u32,
    by_address: Mutex<HashMap<IpAddr, Limiter>>,
}

impl Failures {
    /// So many in a minute; 0: as many as come.
    pub(crate) fn new(per_minute: u32) -> Self {
        Self { per_minute, by_address: Mutex::default() }
    }

    /// How long an address must wait before it is listened to again, if it must.
    pub(crate) fn must_wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let address = counted(address)?;
        let wait = lock(&self.by_address).get_mut(&address)?.wait(now);
        (!wait.is_zero()).then_some(wait)
    }

    /// An address showed a wrong key.
    pub(crate) fn failed(&self, address: IpAddr, now: Instant) {
        let Some(address) = counted(address).filter(|_| self.per_minute > 0) else { return };
        let mut by_address = lock(&self.by_address);
        if by_address.len() >= ADDRESSES {
            by_address.retain(|_, limiter| !limiter.is_full(now));
        }
        if by_address.len() < ADDRESSES || by_address.contains_key(&address) {
            let fresh = || Limiter::per_minute(self.per_minute, now);
            by_address.entry(address).or_insert_with(fresh).allow(now);
        }
    }
}

/// What is counted: of IPv6 the network, for each host has many addresses.
fn counted(address: IpAddr) -> Option<IpAddr> {
    let address = address.to_canonical();
    if address.is_loopback() {
        return None;
    }
    Some(match address {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_too_many_failures_waits_and_others_do_not() {
        let (failures, start) = (Failures::new(3), Instant::now());
        let [bad, neighbour, other] =
            ["2001:db8::1", "2001:db8::ffff", "2001:db8:0:1::1"].map(|a| a.parse().unwrap());
        for _ in 0..2 {
            failures.failed(bad, start);
        }
        assert_eq!(failures.must_wait(bad, start), None);
        failures.failed(neighbour, start);
        assert_eq!(failures.must_wait(bad, start), Some(Duration::from_secs(20)));
        assert_eq!(failures.must_wait(other, start), None);
        assert_eq!(failures.must_wait(bad, start + Duration::from_secs(21)), None);
    }

    #[test]
    fn spellings_of_one_address_are_one_and_loopback_is_none() {
        let (failures, now) = (Failures::new(1), Instant::now());
        failures.failed("192.0.2.1".parse().unwrap(), now);
        assert!(failures.must_wait("::ffff:192.0.2.1".parse().unwrap(), now).is_some());
        for own in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            failures.failed(own.parse().unwrap(), now);
            assert_eq!(failures.must_wait(own.parse().unwrap(), now), None, "{own}");
        }
        let off = Failures::new(0);
        off.failed("192.0.2.1".parse().unwrap(), now);
        assert_eq!(off.must_wait("192.0.2.1".parse().unwrap(), now), None);
    }

    #[test]
    fn memory_is_bounded_and_the_quiet_are_forgotten() {
        let (failures, start) = (Failures::new(1), Instant::now());
        let address = |n: u32| IpAddr::from(n.wrapping_add(0x0a00_0000).to_be_bytes());
        for n in 0..=u32::try_from(ADDRESSES).unwrap() {
            failures.failed(address(n), start);
        }
        assert_eq!(lock(&failures.by_address).len(), ADDRESSES);
        failures.failed(address(u32::MAX >> 8), start + Duration::from_secs(61));
        assert_eq!(lock(&failures.by_address).len(), 1);
    }
}
