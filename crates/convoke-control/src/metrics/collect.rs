//! What a scrape gathers.
//!
//! Owns: the names. Each stands in `METRICS.md`, which a test holds against this.
//! Never: keeps a value.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use convoke_node::core::{DropReason, RelayDrop};
use convoke_node::{TcpStats, WorkerStats};
use convoke_store::Operations;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::families::{Families, Label};
use super::operation::Lags;
use super::{CLOSES, Counters, JOIN_BUCKETS, LIMITED, outcomes};
use crate::calling::callback::OUTCOMES as CALLBACKS;

/// Where the values of a scrape come from.
pub(crate) trait Source: Send + Sync {
    /// The control plane's counters.
    fn counters(&self) -> &Counters;
    /// The workers.
    fn workers(&self) -> Vec<WorkerStats>;
    /// The TCP port of the media workers.
    fn tcp(&self) -> TcpStats;
    /// Calls now, WebSockets now.
    fn gauges(&self) -> (usize, usize);
    /// WHIP and WHEP sessions now.
    fn http_sessions(&self) -> [u64; 2];
    /// Call connections that are not over, and what became of callbacks.
    fn calling(&self) -> (usize, [u64; CALLBACKS.len()]);
    /// What the kernel dropped at the media sockets, where it says so.
    fn kernel_drops(&self) -> Option<u64>;
    /// Reads and writes of the store, if there is one.
    fn store(&self) -> Option<[Operations; 2]>;
    /// How far webhooks are behind.
    fn lags(&self) -> Lags;
    /// Whether joins are refused because the server will stop.
    fn is_draining(&self) -> bool;
}

/// The one collector.
pub(crate) struct Collect<S> {
    source: S,
    described: Vec<Desc>,
}

impl<S: Source> Collect<S> {
    /// Gathers from `source`.
    pub(crate) fn new(source: S) -> Self {
        let mut this = Self { source, described: Vec::new() };
        let describe = |family: &MetricFamily| {
            let (name, help) = (family.name().to_owned(), family.help().to_owned());
            let labels = family.get_metric().first().map(prometheus::proto::Metric::get_label);
            let labels = labels.unwrap_or_default().iter().map(|l| l.name().to_owned()).collect();
            Desc::new(name, help, labels, std::collections::HashMap::new())
        };
        let described = this.collect().iter().map(describe).filter_map(Result::ok).collect();
        this.described = described;
        this
    }
}

impl<S: Source> Collector for Collect<S> {
    fn desc(&self) -> Vec<&Desc> {
        self.described.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Families::default();
        control(&mut families, &self.source);
        let workers = self.source.workers();
        media(&mut families, &workers);
        super::paths::collect(&mut families, &workers);
        relay(&mut families, &workers);
        super::data::collect(&mut families, self.source.counters(), &workers);
        super::operation::collect(&mut families, &self.source, &workers);
        shell(&mut families, &workers);
        super::tcp::collect(&mut families, &self.source.tcp());
        super::stun::collect(&mut families, &workers);
        families.all
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus values are floats")]
pub(super) fn float(value: u64) -> f64 {
    value as f64
}

fn control(out: &mut Families, source: &impl Source) {
    let counters = source.counters();
    let (calls, agents) = source.gauges();
    out.gauge("convoke_calls", "Calls that live now.", float(calls as u64));
    let (connections, callbacks) = source.calling();
    let help = "Call connections of app servers that are not over.";
    out.gauge("convoke_call_connections", help, float(connections as u64));
    let callbacks = CALLBACKS.into_iter().zip(callbacks.map(float));
    let help = "Callbacks to app servers.";
    out.by_label("convoke_callbacks_total", help, "outcome", callbacks);
    out.gauge("convoke_agents", "Agent WebSockets open now.", float(agents as u64));
    let [publishing, watching] = source.http_sessions().map(float);
    out.gauge("convoke_whip_sessions", "WHIP sessions now.", publishing);
    out.gauge("convoke_whep_sessions", "WHEP sessions now.", watching);
    let draining = f64::from(u8::from(source.is_draining()));
    out.gauge("convoke_draining", "1 while new joins are refused before a stop.", draining);
    let load = |counters: &[_]| -> Vec<f64> {
        counters.iter().map(|one: &std::sync::atomic::AtomicU64| float(one.load(Relaxed))).collect()
    };
    let one = |counter: &std::sync::atomic::AtomicU64| float(counter.load(Relaxed));
    let help = "Calls that began.";
    out.counter("convoke_calls_started_total", help, one(&counters.calls_started));
    let joins = outcomes().zip(load(&counters.joins));
    out.by_label("convoke_joins_total", "Joins answered.", "outcome", joins);
    let [whip, whep] = &counters.http_joins;
    let both = [("whip", whip), ("whep", whep)].into_iter().flat_map(|(via, counters)| {
        outcomes().zip(load(counters)).map(move |(outcome, value)| {
            ([("via", via), ("outcome", outcome)] as [Label; 2], value)
        })
    });
    let both: Vec<_> = both.collect();
    let samples = both.iter().map(|(labels, value)| (labels.as_slice(), *value));
    out.counters("convoke_http_joins_total", "WHIP and WHEP joins answered.", samples);
    let resumes = outcomes().zip(load(&counters.resumes));
    out.by_label("convoke_resumes_total", "Resumes answered.", "outcome", resumes);
    let errors = outcomes().zip(load(&counters.errors)).filter(|(code, _)| *code != "ok");
    let help = "Errors that clients were told.";
    out.by_label("convoke_protocol_errors_total", help, "code", errors);
    let closes = CLOSES.into_iter().zip(load(&counters.closes));
    out.by_label("convoke_agents_closed_total", "Agent WebSockets ended.", "reason", closes);
    let help = "Messages from clients.";
    out.counter("convoke_agent_messages_received_total", help, one(&counters.messages));
    let help = "Requests refused for their Origin.";
    out.counter("convoke_origins_refused_total", help, one(&counters.origin_refused));
    let help = "HTTP connections that were taken.";
    out.counter("convoke_http_connections_total", help, one(&counters.connections));
    let help = "HTTP connections that were turned away.";
    let refused = ["full", "address"].into_iter().zip(load(&counters.connections_refused));
    out.by_label("convoke_http_connections_refused_total", help, "reason", refused);
    let help = "HTTP connections closed because a request's head took too long.";
    out.counter("convoke_http_connections_slow_total", help, one(&counters.connections_slow));
    let help = "Refused because one address or identity does or holds too much.";
    let limited = LIMITED.into_iter().zip(load(&counters.limited));
    out.by_label("convoke_limited_total", help, "limit", limited);
    let help = "Participants removed because they did not resume in time.";
    out.counter("convoke_resume_graces_expired_total", help, one(&counters.graces_expired));
    let help = "Events of the node that the control plane was too slow for.";
    out.counter("convoke_events_lagged_total", help, one(&counters.events_lagged));
    let [sends, receives] = &counters.transports;
    let role_states =
        [("send", sends), ("receive", receives)].into_iter().flat_map(|(role, both)| {
            ["disconnected", "connected"].into_iter().zip(load(both)).map(move |(state, value)| {
                ([("role", role), ("state", state)] as [Label; 2], value)
            })
        });
    let samples: Vec<_> = role_states.collect();
    let help = "Transports that went up or down.";
    let samples = samples.iter().map(|(labels, value)| (labels.as_slice(), *value));
    out.counters("convoke_transport_changes_total", help, samples);
    out.histogram(
        "convoke_join_duration_seconds",
        "From a join's arrival to its answer, successful ones.",
        &JOIN_BUCKETS,
        &counters.join_buckets.each_ref().map(|bucket| bucket.load(Relaxed)),
        counters.join_count.load(Relaxed),
        Duration::from_micros(counters.join_micros.load(Relaxed)).as_secs_f64(),
    );
}

fn media(out: &mut Families, workers: &[WorkerStats]) {
    let sum = |f: fn(&WorkerStats) -> u64| float(workers.iter().map(f).sum());
    out.gauge("convoke_rooms", "Rooms now.", sum(|w| w.core.rooms));
    out.gauge("convoke_participants", "Participants now.", sum(|w| w.core.participants));
    out.gauge("convoke_transports", "Transports now.", sum(|w| w.core.transports));
    out.gauge("convoke_tracks", "Published tracks now.", sum(|w| w.core.tracks));
    let kinds = |f: fn(&WorkerStats) -> [u64; 2]| {
        let [audio, video] = workers.iter().map(f).fold([0, 0], |[a, v], [x, y]| [a + x, v + y]);
        [("audio", float(audio)), ("video", float(video))]
    };
    let mut by_kind = |name: &str, help: &str, f| out.by_label(name, help, "kind", kinds(f));
    let help = "RTP packets received, after SRTP.";
    by_kind("convoke_rtp_packets_received_total", help, |w| w.core.rtp_in);
    let help = "RTP payload bytes received.";
    by_kind("convoke_rtp_bytes_received_total", help, |w| w.core.rtp_bytes_in);
    let help = "RTP packets forwarded.";
    by_kind("convoke_rtp_packets_forwarded_total", help, |w| w.core.rtp_out);
    let help = "RTP payload bytes forwarded.";
    by_kind("convoke_rtp_bytes_forwarded_total", help, |w| w.core.rtp_bytes_out);
    let drops = DropReason::ALL.iter().enumerate().map(|(at, reason)| {
        let dropped = |w: &WorkerStats| w.core.drops.get(at).copied().unwrap_or(0);
        (reason.label(), float(workers.iter().map(dropped).sum()))
    });
    let help = "Datagrams and packets dropped.";
    out.by_label("convoke_packets_dropped_total", help, "reason", drops.collect::<Vec<_>>());
    let asked = [
        ("received", sum(|w| w.core.keyframe_requests_in)),
        ("sent", sum(|w| w.core.keyframe_requests_out)),
    ];
    let help =
        "Keyframe requests: received from subscribers or made for a slot, sent to publishers.";
    out.by_label("convoke_keyframe_requests_total", help, "direction", asked);
    let help = "Times that a slot changed from one track to another.";
    out.counter("convoke_slot_switches_total", help, sum(|w| w.core.slot_switches));
    let help = "Times that a slot's layer changed.";
    out.counter("convoke_layer_switches_total", help, sum(|w| w.core.layer_switches));
    let help = "Times that an estimate fell without consequence and was begun anew.";
    let restarted = sum(|w| w.core.estimates_restarted);
    out.counter("convoke_estimates_restarted_total", help, restarted);
    let help = "Peers dropped because their handling panicked.";
    out.counter("convoke_peer_panics_total", help, sum(|w| w.core.peer_panics));
}

fn relay(out: &mut Families, workers: &[WorkerStats]) {
    let sum = |f: fn(&WorkerStats) -> u64| float(workers.iter().map(f).sum());
    let help = "Rooms that are shards of a call on several workers now.";
    out.gauge("convoke_relay_shards", help, sum(|w| w.core.shards));
    let mut both = |name: &str,
                    help: &str,
                    came: fn(&WorkerStats) -> [u64; 2],
                    went: fn(&WorkerStats) -> [u64; 2]| {
        let each = |f: fn(&WorkerStats) -> [u64; 2], kind: usize| {
            float(workers.iter().map(|w| f(w).get(kind).copied().unwrap_or(0)).sum())
        };
        let samples =
            [("received", came), ("sent", went)].into_iter().flat_map(|(direction, f)| {
                [("audio", 0), ("video", 1)].map(|(kind, at)| {
                    ([("direction", direction), ("kind", kind)] as [Label; 2], each(f, at))
                })
            });
        let samples: Vec<_> = samples.collect();
        out.counters(name, help, samples.iter().map(|(labels, v)| (labels.as_slice(), *v)));
    };
    let help = "RTP packets between the shards of calls.";
    both("convoke_relay_packets_total", help, |w| w.core.relay_in, |w| w.core.relay_out);
    let help = "RTP payload bytes between the shards of calls.";
    both("convoke_relay_bytes_total", help, |w| w.core.relay_bytes_in, |w| w.core.relay_bytes_out);
    let drops = RelayDrop::ALL.iter().enumerate().map(|(at, reason)| {
        let dropped = |w: &WorkerStats| w.core.relay_drops.get(at).copied().unwrap_or(0);
        (reason.label(), float(workers.iter().map(dropped).sum()))
    });
    let help = "Relayed media packets dropped because another worker was slow.";
    out.counter("convoke_relay_overflows_total", help, sum(|w| w.relay_overflows));
    let help = "Times that a link between shards was told everything anew, as words were lost.";
    out.counter("convoke_relay_resyncs_total", help, sum(|w| w.relay_resyncs));
    let help = "Messages between shards dropped.";
    out.by_label("convoke_relay_dropped_total", help, "reason", drops.collect::<Vec<_>>());
}

fn shell(out: &mut Families, workers: &[WorkerStats]) {
    let sum = |f: fn(&WorkerStats) -> u64| float(workers.iter().map(f).sum());
    let both = |received, sent| [("received", received), ("sent", sent)];
    let help = "Datagrams of the media sockets.";
    let datagrams = both(sum(|w| w.core.datagrams_in), sum(|w| w.core.datagrams_out));
    out.by_label("convoke_datagrams_total", help, "direction", datagrams);
    let help = "System calls of the media sockets.";
    let calls = both(sum(|w| w.receive_calls), sum(|w| w.send_calls));
    out.by_label("convoke_socket_calls_total", help, "direction", calls);
    let help = "Datagrams that the kernel would not take, or that could not be answered.";
    let drops = both(sum(|w| w.receive_drops), sum(|w| w.send_drops));
    out.by_label("convoke_socket_drops_total", help, "direction", drops);
    let help = "Datagrams that left as segments of a group to one peer (segmentation offload).";
    out.counter("convoke_datagrams_segmented_total", help, sum(|w| w.gso_datagrams));
    out.gauge("convoke_workers", "Worker threads.", float(workers.len() as u64));
    out.counter("convoke_worker_turns_total", "Turns of the workers.", sum(|w| w.turns));
    let busy: Duration = workers.iter().map(|w| w.busy).sum();
    let help = "Time that the workers spent in turns.";
    out.counter("convoke_worker_busy_seconds_total", help, busy.as_secs_f64());
    let idle = workers.iter().map(|w| w.last_turn).max().unwrap_or_default();
    let help = "Time since the slowest worker came round.";
    out.gauge("convoke_worker_last_turn_seconds", help, idle.as_secs_f64());
    let help = "Times that a worker panicked and was restarted.";
    out.counter("convoke_worker_failures_total", help, sum(|w| w.failures));
    let help = "Commands refused because a worker's inbox was full.";
    out.counter("convoke_commands_refused_total", help, sum(|w| w.commands_refused));
    let help = "Events dropped because the control plane was slow.";
    out.counter("convoke_events_dropped_total", help, sum(|w| w.events_dropped));
}
