//! What a scrape gathers about paths: how long packets take through the server, what paths are
//! estimated to carry, what is sent again, why transports fail.
//!
//! Owns: the names. Each stands in `METRICS.md`, as those of `collect`.
//! Never: keeps a value.

use convoke_node::core::{ESTIMATE_BUCKETS, TransportFailure};
use convoke_node::{FORWARD_BUCKETS, WorkerStats};

use super::collect::float;
use super::families::Families;

pub(super) fn collect(out: &mut Families, workers: &[WorkerStats]) {
    let total = |f: &dyn Fn(&WorkerStats) -> u64| -> u64 { workers.iter().map(f).sum() };
    let sum = |f: fn(&WorkerStats) -> u64| float(total(&f));

    let buckets = each(workers, |worker| worker.forward_buckets);
    let took: f64 = workers.iter().map(|worker| worker.forward_time.as_secs_f64()).sum();
    let help = "From the receiving of a forwarded RTP packet to its sending.";
    let count = total(&|worker| worker.forwarded);
    let name = "convoke_forward_delay_seconds";
    out.histogram(name, help, &FORWARD_BUCKETS, &buckets, count, took);

    let bounds = ESTIMATE_BUCKETS.map(|bps| float(bps) / 8.0);
    let buckets = each(workers, |worker| worker.core.estimate_buckets);
    let seen = total(&|worker| worker.core.estimate_count);
    let bytes = sum(|worker| worker.core.estimate_sum_bps) / 8.0;
    let help = "What the paths to subscribers are estimated to carry, seen twice a second.";
    let name = "convoke_estimate_bytes_per_second";
    out.histogram(name, help, &bounds, &buckets, seen, bytes);

    let both = |received, sent| [("received", received), ("sent", sent)];
    let packets =
        both(sum(|worker| worker.core.again.packets_in), sum(|w| w.core.again.packets_out));
    let help = "RTP packets of retransmission: of use when received, sent again.";
    out.by_label("convoke_retransmission_packets_total", help, "direction", packets);
    let bytes = both(sum(|worker| worker.core.again.bytes_in), sum(|w| w.core.again.bytes_out));
    let help = "Their bytes, as datagrams.";
    out.by_label("convoke_retransmission_bytes_total", help, "direction", bytes);
    let nacks = sum(|worker| worker.core.again.nacks);
    let help = "Requests to send again, from subscribers whose path is estimated.";
    out.counter("convoke_nacks_received_total", help, nacks);

    let failures = TransportFailure::ALL.iter().enumerate().map(|(at, reason)| {
        let failed = |worker: &WorkerStats| worker.core.failures.get(at).copied().unwrap_or(0);
        (reason.label(), float(total(&failed)))
    });
    let help = "Transports that failed, each with its participant.";
    let failures: Vec<_> = failures.collect();
    out.by_label("convoke_transport_failures_total", help, "reason", failures);
}

fn each<const N: usize>(workers: &[WorkerStats], f: fn(&WorkerStats) -> [u64; N]) -> [u64; N] {
    let mut buckets = [0; N];
    for worker in workers {
        for (sum, own) in buckets.iter_mut().zip(f(worker)) {
            *sum += own;
        }
    }
    buckets
}
