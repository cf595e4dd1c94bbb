//! What a scrape gathers about media over TCP.
//!
//! Owns: the names. Each stands in `METRICS.md`, as those of `collect`.
//! Never: keeps a value.

use convoke_node::{TcpEnd, TcpStats};

use super::collect::float;
use super::families::Families;

pub(super) fn collect(out: &mut Families, stats: &TcpStats) {
    let both = |[received, sent]: [u64; 2]| [("received", float(received)), ("sent", float(sent))];
    out.gauge("convoke_tcp_connections", "Media connections over TCP.", float(stats.open));
    let help = "Media connections over TCP that were taken.";
    out.counter("convoke_tcp_connections_total", help, float(stats.accepted));
    let help = "Media connections over TCP that were closed at once, as there were too many.";
    let refused = ["full", "address"].into_iter().zip(stats.refused.map(float));
    out.by_label("convoke_tcp_connections_refused_total", help, "reason", refused);
    let help = "Media connections over TCP that ended.";
    let ended = TcpEnd::ALL.map(TcpEnd::label).into_iter().zip(stats.ended.map(float));
    out.by_label("convoke_tcp_connections_ended_total", help, "reason", ended);
    let help = "Datagrams over TCP.";
    out.by_label("convoke_tcp_datagrams_total", help, "direction", both(stats.datagrams));
    let help = "Datagrams over TCP that a worker or a peer did not keep up with.";
    out.by_label("convoke_tcp_drops_total", help, "direction", both(stats.drops));
}
