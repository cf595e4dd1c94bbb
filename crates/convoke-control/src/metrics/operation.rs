//! What an operator needs beside calls: each worker's load, the kernel's drops, the store, webhooks and
//! requests of app servers.
//!
//! Owns: those names.
//! Never: has a label but for what the configuration names: a worker's index, a webhook.

use std::fs;
use std::sync::atomic::Ordering::Relaxed;

use convoke_node::{TURN_BUCKETS, WorkerStats};
use convoke_store::{Lag, OPERATION_BUCKETS, Operations};

use super::collect::{Source, float};
use super::families::{Families, Label};
use super::{ROUTES, STATUSES};

/// A webhook's name and how far it is behind.
pub(crate) type Lags = Vec<(String, Lag)>;

pub(super) fn collect(out: &mut Families, source: &impl Source, workers: &[WorkerStats]) {
    turns(out, workers);
    if let Some(drops) = source.kernel_drops() {
        let help =
            "Datagrams that the kernel dropped at our media sockets, whose buffers were full.";
        out.counter("convoke_socket_kernel_drops_total", help, float(drops));
    }
    requests(out, source);
    if let Some(operations) = source.store() {
        store(out, operations);
    }
    webhooks(out, &source.lags());
}

fn turns(out: &mut Families, workers: &[WorkerStats]) {
    #[expect(clippy::cast_precision_loss, reason = "Prometheus values are floats")]
    let share = |worker: &WorkerStats| worker.busy_permille as f64 / 1_000.0;
    let each = |f: &dyn Fn(&WorkerStats) -> f64| -> Vec<(String, f64)> {
        workers.iter().enumerate().map(|(index, one)| (index.to_string(), f(one))).collect()
    };
    let help = "The share of the last second that a worker spent in turns; 1 is a full core.";
    out.gauges("convoke_worker_busy_ratio", help, "worker", each(&share));
    let help = "Participants on each worker now.";
    let people = each(&|worker| float(worker.core.participants));
    out.gauges("convoke_worker_participants", help, "worker", people);
    let mut buckets = [0; TURN_BUCKETS.len()];
    for worker in workers {
        for (sum, own) in buckets.iter_mut().zip(worker.turn_buckets) {
            *sum += own;
        }
    }
    let count = workers.iter().map(|worker| worker.turns).sum();
    let took: f64 = workers.iter().map(|worker| worker.busy.as_secs_f64()).sum();
    let help = "What turns of the workers take: a datagram waits so long behind others.";
    let samples = [(&[][..], buckets.as_slice(), count, took)];
    out.histograms("convoke_worker_turn_seconds", help, &TURN_BUCKETS, samples);
}

fn requests(out: &mut Families, source: &impl Source) {
    let counts = &source.counters().requests;
    let samples = ROUTES.into_iter().zip(counts).flat_map(|(route, by_status)| {
        STATUSES.into_iter().zip(by_status).map(move |(status, count)| {
            ([("route", route), ("status", status)] as [Label; 2], float(count.load(Relaxed)))
        })
    });
    let samples: Vec<_> = samples.collect();
    let samples = samples.iter().map(|(labels, count)| (labels.as_slice(), *count));
    let help = "Requests of app servers, by the first part of their path.";
    out.counters("convoke_rest_requests_total", help, samples);
}

fn store(out: &mut Families, operations: [Operations; 2]) {
    const KINDS: [[Label; 1]; 2] = [[("kind", "read")], [("kind", "write")]];
    let both = || KINDS.iter().zip(&operations);
    let failed = both().map(|(kind, one)| (kind.as_slice(), float(one.failed)));
    let help = "Operations of the store that found it down or too slow.";
    out.counters("convoke_store_failures_total", help, failed);
    let samples = both().map(|(kind, one)| {
        (kind.as_slice(), one.buckets.as_slice(), one.count, one.took.as_secs_f64())
    });
    let help = "What operations of the store take.";
    out.histograms("convoke_store_operation_seconds", help, &OPERATION_BUCKETS, samples);
}

fn webhooks(out: &mut Families, lags: &Lags) {
    if lags.is_empty() {
        return;
    }
    let each = |f: fn(&Lag) -> i64| -> Vec<(String, f64)> {
        let value = |lag| float(u64::try_from(f(lag)).unwrap_or_default());
        lags.iter().map(|(name, lag)| (name.clone(), value(lag))).collect()
    };
    let help = "Events that a webhook has yet to be told, 10 s ago at most.";
    out.gauges("convoke_webhook_backlog_events", help, "webhook", each(|lag| lag.events));
    let now = crate::rest::time::now_ms();
    let ages = lags.iter().map(|(name, lag)| {
        let waits = lag.oldest_at.map_or(0, |at| (now - at).max(0));
        (name.clone(), float(u64::try_from(waits).unwrap_or_default()) / 1_000.0)
    });
    let help = "How long the oldest of them waits.";
    out.gauges("convoke_webhook_backlog_seconds", help, "webhook", ages.collect());
    let help = "Events that a webhook did not take in time, and that were not told since.";
    out.gauges("convoke_webhook_dead_letters", help, "webhook", each(|lag| lag.dead_letters));
}

/// What the kernel dropped at sockets with these local ports, so far.
pub(crate) fn kernel_drops(ports: &[u16]) -> Option<u64> {
    let tables = ["/proc/self/net/udp", "/proc/self/net/udp6"];
    let mut texts = tables.iter().filter_map(|table| fs::read_to_string(table).ok()).peekable();
    texts.peek()?;
    Some(texts.map(|text| drops_in(&text, ports)).sum())
}

/// The second column is `address:port` in hexadecimal, the last one what was dropped.
fn drops_in(table: &str, ports: &[u16]) -> u64 {
    let line = |line: &str| {
        let mut columns = line.split_whitespace();
        let (_, port) = columns.nth(1)?.rsplit_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        ports.contains(&port).then_some(())?;
        columns.next_back()?.parse::<u64>().ok()
    };
    table.lines().skip(1).filter_map(line).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_sockets_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  \
            timeout inode ref pointer drops\n\
            \x20 123: 0100007F:9C40 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 7\n\
            \x20 124: 00000000:9C41 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 5\n\
            \x20 125: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 100\n\
            nonsense\n";
        assert_eq!(drops_in(table, &[40_000, 40_001]), 12);
        assert_eq!(drops_in(table, &[]), 0);
        assert_eq!(drops_in("", &[40_000]), 0);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_the_kernel_drops_is_seen() {
        let receiver = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = receiver.local_addr().unwrap().port();
        assert_eq!(kernel_drops(&[port]), Some(0));
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..20_000 {
            sender.send_to(&[0; 1_000], receiver.local_addr().unwrap()).unwrap();
        }
        assert!(kernel_drops(&[port]).unwrap() > 0);
    }
}
