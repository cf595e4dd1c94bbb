//! What a scrape gathers about data messages.
//!
//! Owns: the names. Each stands in `METRICS.md`, as those of `collect`.
//! Never: keeps a value.

use std::sync::atomic::Ordering::Relaxed;

use convoke_node::WorkerStats;
use convoke_node::core::{DataCloseReason, DataDrop, DataStats, Reliability};

use super::Counters;
use super::collect::float;
use super::families::{Families, Label};

pub(super) fn collect(out: &mut Families, counters: &Counters, workers: &[WorkerStats]) {
    let sum = |f: &dyn Fn(&DataStats) -> u64| {
        float(workers.iter().map(|worker| f(&worker.core.data)).sum())
    };
    let pair = |f: fn(&DataStats) -> [u64; 2]| {
        Reliability::ALL.map(|reliability| {
            let one = move |stats: &DataStats| {
                f(stats).get(reliability as usize).copied().unwrap_or_default()
            };
            (reliability.label(), sum(&one))
        })
    };
    out.gauge("convoke_data_channels", "Data channels open now.", sum(&|data| data.channels));
    let mut by_kind = |name: &str, help: &str, f| out.by_label(name, help, "reliability", pair(f));
    let help = "Data messages taken from senders.";
    by_kind("convoke_data_messages_received_total", help, |data| data.messages_in);
    let help = "Their payload bytes.";
    by_kind("convoke_data_bytes_received_total", help, |data| data.bytes_in);
    let ways = [
        ("channel", pair(|data| data.out_by_channel)),
        ("websocket", pair(|data| data.out_by_event)),
    ];
    let samples = ways.into_iter().flat_map(|(way, both)| {
        both.map(|(kind, value)| ([("reliability", kind), ("path", way)] as [Label; 2], value))
    });
    let samples: Vec<_> = samples.collect();
    let help = "Data messages sent, one for each receiver.";
    let samples = samples.iter().map(|(labels, value)| (labels.as_slice(), *value));
    out.counters("convoke_data_messages_sent_total", help, samples);
    let closed = DataCloseReason::ALL.iter().enumerate().map(|(at, reason)| {
        let one = move |data: &DataStats| data.closed.get(at).copied().unwrap_or_default();
        (reason.label(), sum(&one))
    });
    let help = "Data channels that the server closed.";
    out.by_label("convoke_data_channels_closed_total", help, "reason", closed.collect::<Vec<_>>());
    let drops = DataDrop::ALL.iter().enumerate().map(|(at, reason)| {
        let one = move |data: &DataStats| data.drops.get(at).copied().unwrap_or_default();
        (reason.label(), sum(&one))
    });
    let help = "Data messages that the media workers dropped.";
    out.by_label("convoke_data_dropped_total", help, "reason", drops.collect::<Vec<_>>());
    let [detached, slow] = counters.data_undelivered.each_ref().map(|one| float(one.load(Relaxed)));
    let overloaded = float(workers.iter().map(|worker| worker.data_dropped).sum());
    let lost = [("detached", detached), ("slow_reader", slow), ("overloaded", overloaded)];
    let help = "Data messages that did not go out by a WebSocket.";
    out.by_label("convoke_data_undelivered_total", help, "reason", lost);
}
