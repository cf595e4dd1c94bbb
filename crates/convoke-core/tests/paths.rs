//! What the worker counts of paths: why transports fail, what is sent again, what is estimated.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests are where time comes from"
)]

mod common;

use std::time::Duration;

use common::{SECOND, World, config};
use convoke_client::media::Codec;
use convoke_core::{Stats, TransportFailure};

fn failures(stats: &Stats) -> Vec<(&'static str, u64)> {
    let all = TransportFailure::ALL.iter().zip(stats.failures);
    all.filter(|(_, count)| *count > 0).map(|(reason, count)| (reason.label(), count)).collect()
}

/// STUN (RFC 7983: first byte below 4).
fn is_stun(bytes: &[u8]) -> bool {
    matches!(bytes, [0..4, ..])
}

fn is_dtls(bytes: &[u8]) -> bool {
    matches!(bytes, [20..64, ..])
}

/// Joins one whose datagrams pass only as `gate` says, until it is gone; what is counted then.
fn fate(gate: impl FnMut(&[u8]) -> bool + 'static) -> Vec<(&'static str, u64)> {
    let mut gate = gate;
    let mut world = World::new(config(), 1);
    world.gate = Some(Box::new(move |_, _, bytes| gate(bytes)));
    world.join(1, None);
    for _ in 0..90 {
        world.run(SECOND);
        if world.worker.stats().participants == 0 {
            break;
        }
    }
    assert_eq!(world.worker.stats().participants, 0, "a failed one is removed");
    failures(&world.worker.stats())
}

#[test]
fn a_transport_that_never_was_up_says_why() {
    assert_eq!(fate(|_| false), [("ice_timeout", 1)]);
    assert_eq!(fate(is_stun), [("dtls_timeout", 1)]);
    // The second flight of the client ends the handshake; without it there is none.
    let mut flights = 0;
    let first_flight = move |bytes: &[u8]| {
        flights += u32::from(is_dtls(bytes));
        is_stun(bytes) || flights <= 1
    };
    assert_eq!(fate(first_flight), [("dtls_timeout", 1)]);
}

#[test]
fn who_goes_silent_lost_consent_and_who_says_goodbye_did_not_fail() {
    let mut world = World::new(config(), 1);
    for id in 1..=3 {
        world.join(id, None);
    }
    world.run(2 * SECOND);
    world.leave(0);
    world.peers[1].cut = true;
    let now = world.now;
    world.peers[2].media.close(now);
    world.run(40 * SECOND);
    assert_eq!(world.worker.stats().participants, 0);
    assert_eq!(failures(&world.worker.stats()), [("consent_lost", 1)]);
}

/// DT-05: the certificate of the connection is not the one of the offer: somebody stands in between.
#[test]
fn dt_05_another_certificate_than_the_offers_is_told_apart() {
    let mut world = World::new(config(), 1);
    world.join_with_offer(1, |offer| {
        let lines = offer.lines().map(|line| match line.strip_prefix("a=fingerprint:sha-256 ") {
            Some(print) => {
                let first = if print.starts_with("00") { "11" } else { "00" };
                format!("a=fingerprint:sha-256 {first}{}\r\n", &print[2..])
            }
            None => format!("{line}\r\n"),
        });
        lines.collect()
    });
    world.run(5 * SECOND);
    assert_eq!(world.worker.stats().participants, 0);
    assert_eq!(failures(&world.worker.stats()), [("fingerprint", 1)]);
}

#[test]
fn what_is_lost_and_sent_again_is_counted_both_ways() {
    let mut world = World::new(config(), 1);
    world.join(1, Some(Codec::Vp8));
    let viewer = world.join(2, None);
    world.run(3 * SECOND);
    let before = world.worker.stats();
    let publisher = world.peers[0].local[0];
    let mut count = 0u32;
    let large = |bytes: &[u8]| matches!(bytes, [128..192, ..]) && bytes.len() >= 600;
    world.gate = Some(Box::new(move |source, _, bytes| {
        count += u32::from(source == publisher && large(bytes));
        !(source == publisher && large(bytes) && count.is_multiple_of(20))
    }));
    world.peers[viewer].lose_every = 0;
    let watching = world.peers[viewer].local[1];
    let mut sent = 0u32;
    world.outgate = Some(Box::new(move |_, destination, bytes| {
        sent += u32::from(destination == watching && large(bytes));
        !(destination == watching && large(bytes) && sent.is_multiple_of(20))
    }));
    world.run(5 * SECOND);
    (world.gate, world.outgate) = (None, None);
    world.run(2 * SECOND);
    let (was, is) = (before.again, world.worker.stats().again);
    assert!(is.packets_in > was.packets_in + 5, "{is:?}");
    assert!(is.bytes_in - was.bytes_in > 600 * (is.packets_in - was.packets_in), "{is:?}");
    assert!(is.packets_out > was.packets_out + 5, "{is:?}");
    assert!(is.bytes_out > was.bytes_out, "{is:?}");
    assert!(is.nacks > was.nacks + 5, "{is:?}");
    // Nothing is forgotten with those who go.
    world.leave(viewer);
    world.leave(0);
    world.run(SECOND);
    assert_eq!(world.worker.stats().again, is);
}

#[test]
fn nothing_is_sent_again_where_nothing_is_lost_or_probed() {
    let mut world = World::new(config(), 1);
    world.join(1, None);
    world.join(2, None);
    world.run(5 * SECOND);
    let again = world.worker.stats().again;
    assert_eq!((again.packets_in, again.nacks), (0, 0), "{again:?}");
}

#[test]
fn each_estimate_is_seen_twice_a_second() {
    let mut world = World::new(config(), 1);
    world.join(1, Some(Codec::Vp8));
    world.join(2, None);
    world.run(5 * SECOND);
    let before = world.worker.stats();
    world.run(10 * SECOND);
    let after = world.worker.stats();
    let seen = after.estimate_count - before.estimate_count;
    assert!((18..=44).contains(&seen), "two who receive, for ten seconds: {seen}");
    let in_buckets: u64 = after.estimate_buckets.iter().sum();
    assert!(in_buckets <= after.estimate_count);
    assert!(after.estimate_sum_bps > before.estimate_sum_bps);
}

/// Times in the next `seconds` at which the worker has just answered a check and expects no more than others.
fn calm(world: &mut World, seconds: u64) -> usize {
    let end = world.now + SECOND * seconds as u32;
    let mut calm = 0;
    while world.now < end {
        let before = world.now;
        world.run(Duration::from_millis(5));
        calm += usize::from(world.worker.is_calm(before + Duration::from_nanos(1)));
    }
    calm
}

#[test]
fn a_worker_is_calm_while_nothing_but_checks_of_idle_peers_comes() {
    let mut world = World::new(config(), 31);
    let peers = [1, 2, 3].map(|id| world.join(id, None));
    world.peers.iter_mut().for_each(|peer| peer.audio = None);
    world.run(SECOND * 5);
    let checks = calm(&mut world, 60);
    assert!(checks > 20, "each of six transports is checked every 3 s, some together: {checks}");
    // A command: for a second it is not.
    let _ = world.snapshot(peers[0]);
    world.run(SECOND / 2);
    let since = world.now - SECOND / 2;
    assert!(!world.worker.is_calm(since));
    world.run(SECOND * 3);
    assert!(calm(&mut world, 10) >= 3);
    // Media: for longer.
    world.join(4, Some(Codec::Vp8));
    world.run(SECOND * 2);
    assert_eq!(calm(&mut world, 20), 0);
    world.leave(3);
    world.run(SECOND * 5);
    assert!(calm(&mut world, 20) >= 6);
}
