//! What a worker publishes about itself, without a lock: its own counters once a turn, the core's
//! four times a second (gathering them takes a walk over the rooms).
//!
//! Owns: [`WorkerStats`], the block of atomics behind it, the worker's meter.
//! Never: names a metric; the control plane does.
//!
//! Each value is read and written alone, so two values of one reading may be a turn apart.

use std::array;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use convoke_core::{
    Again, DataCloseReason, DataDrop, DataStats, DropReason, ESTIMATE_BUCKETS, RelayDrop, Stats,
    TransportFailure,
};

use crate::mailbox::MailCounts;
use crate::send::SendCounts;
use crate::stun::{StunOutcome, StunStats};

/// The upper bounds of [`WorkerStats::turn_buckets`], in seconds.
pub const TURN_BUCKETS: [f64; 8] = [0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1];

/// The upper bounds of [`WorkerStats::forward_buckets`], in seconds.
pub const FORWARD_BUCKETS: [f64; 9] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05];

/// One worker as seen from outside.
#[derive(Debug, Clone, Copy, Default)]
pub struct WorkerStats {
    /// The core's counters (over restarts) and gauges, at most a second old.
    pub core: Stats,
    /// Turns of the loop.
    pub turns: u64,
    /// Time spent in turns, without waiting.
    pub busy: Duration,
    /// The share of the last second that was spent in turns, in thousandths: 1,000 is a full core.
    pub busy_permille: u64,
    /// Turns that took at most so long, and longer than the bound before.
    pub turn_buckets: [u64; TURN_BUCKETS.len()],
    /// RTP packets forwarded in turns that took at most so long from their receiving to the last of their
    /// sending, and longer than the bound before.
    pub forward_buckets: [u64; FORWARD_BUCKETS.len()],
    /// How many were forwarded.
    pub forwarded: u64,
    /// The sum of what they took.
    pub forward_time: Duration,
    /// Time since the loop last came round: under a second unless a turn takes that long.
    pub last_turn: Duration,
    /// `sendmsg` and `sendmmsg` calls.
    pub send_calls: u64,
    /// `recvmsg`/`recvmmsg` calls.
    pub receive_calls: u64,
    /// Datagrams that the kernel would not take.
    pub send_drops: u64,
    /// Datagrams that could not be answered (source port 0, a family that is not advertised) and
    /// were not shown to the core.
    pub receive_drops: u64,
    /// Groups of several datagrams to one peer, which the kernel or the network card takes apart (segmentation
    /// offload).
    pub gso_groups: u64,
    /// The datagrams of those.
    pub gso_datagrams: u64,
    /// Events dropped because the reader was slow.
    pub events_dropped: u64,
    /// Relayed media packets dropped because another worker was slow.
    pub relay_overflows: u64,
    /// Times that a link to another worker was told everything anew, as words had found no room.
    pub relay_resyncs: u64,
    /// Data messages dropped because the reader was slow; not among the events above.
    pub data_dropped: u64,
    /// Commands refused with [`crate::HandleError::Busy`].
    pub commands_refused: u64,
    /// Times that the worker panicked and was restarted empty.
    pub failures: u64,
    /// Of the NAT before its socket; all 0 without a STUN server.
    pub stun: StunStats,
}

/// Gauges, the first of [`encode`]'s values.
const GAUGES: usize = 6;
/// Those of data messages, the gauge apart.
const DATA_VALUES: usize = 8 + DataCloseReason::ALL.len() + DataDrop::ALL.len();
/// Those of relays, the gauge apart.
const RELAY_VALUES: usize = 8 + RelayDrop::ALL.len();
/// Those of paths: failures, retransmission, estimates.
const PATH_VALUES: usize = TransportFailure::ALL.len() + 5 + ESTIMATE_BUCKETS.len() + 2;
/// All of [`encode`]'s values.
const VALUES: usize =
    GAUGES + 2 + 8 + 6 + DropReason::ALL.len() + DATA_VALUES + RELAY_VALUES + PATH_VALUES;

/// Every value in a fixed order, gauges first. Exhaustive, so that a new one cannot be forgotten.
fn encode(stats: &Stats) -> [u64; VALUES] {
    let Stats {
        rooms,
        participants,
        transports,
        tracks,
        datagrams_in,
        datagrams_out,
        rtp_in,
        rtp_bytes_in,
        rtp_out,
        rtp_bytes_out,
        keyframe_requests_in,
        keyframe_requests_out,
        slot_switches,
        layer_switches,
        estimates_restarted,
        peer_panics,
        drops,
        data,
        shards,
        relay_in,
        relay_bytes_in,
        relay_out,
        relay_bytes_out,
        relay_drops,
        failures,
        again,
        estimate_buckets,
        estimate_count,
        estimate_sum_bps,
    } = *stats;
    let DataStats {
        channels,
        messages_in,
        bytes_in,
        out_by_channel,
        out_by_event,
        closed,
        drops: data_drops,
    } = data;
    let gauges = [rooms, participants, transports, tracks, channels, shards];
    let datagrams = [datagrams_in, datagrams_out];
    let media = [rtp_in, rtp_bytes_in, rtp_out, rtp_bytes_out];
    let keyframes = [keyframe_requests_in, keyframe_requests_out];
    let switches = [slot_switches, layer_switches, estimates_restarted, peer_panics];
    let rest = keyframes.into_iter().chain(switches);
    let data = [messages_in, bytes_in, out_by_channel, out_by_event].into_iter().flatten();
    let data = data.chain(closed).chain(data_drops);
    let relay = [relay_in, relay_bytes_in, relay_out, relay_bytes_out].into_iter().flatten();
    let relay = relay.chain(relay_drops);
    let Again { packets_in, bytes_in, packets_out, bytes_out, nacks } = again;
    let again = [packets_in, bytes_in, packets_out, bytes_out, nacks];
    let estimates = estimate_buckets.into_iter().chain([estimate_count, estimate_sum_bps]);
    let paths = failures.into_iter().chain(again).chain(estimates);
    let media = media.into_iter().flatten().chain(rest).chain(drops);
    let all = gauges.into_iter().chain(datagrams).chain(media).chain(data);
    let mut all = all.chain(relay).chain(paths);
    array::from_fn(|_| all.next().unwrap_or(0))
}

fn decode(values: impl IntoIterator<Item = u64>) -> Stats {
    let mut values = values.into_iter();
    let mut next = || values.next().unwrap_or(0);
    let mut stats = Stats {
        rooms: next(),
        participants: next(),
        transports: next(),
        tracks: next(),
        data: DataStats { channels: next(), ..DataStats::default() },
        shards: next(),
        datagrams_in: next(),
        datagrams_out: next(),
        rtp_in: [next(), next()],
        rtp_bytes_in: [next(), next()],
        rtp_out: [next(), next()],
        rtp_bytes_out: [next(), next()],
        keyframe_requests_in: next(),
        keyframe_requests_out: next(),
        slot_switches: next(),
        layer_switches: next(),
        estimates_restarted: next(),
        peer_panics: next(),
        drops: array::from_fn(|_| next()),
        ..Stats::default()
    };
    stats.data = DataStats {
        channels: stats.data.channels,
        messages_in: [next(), next()],
        bytes_in: [next(), next()],
        out_by_channel: [next(), next()],
        out_by_event: [next(), next()],
        closed: array::from_fn(|_| next()),
        drops: array::from_fn(|_| next()),
    };
    stats.relay_in = [next(), next()];
    stats.relay_bytes_in = [next(), next()];
    stats.relay_out = [next(), next()];
    stats.relay_bytes_out = [next(), next()];
    stats.relay_drops = array::from_fn(|_| next());
    stats.failures = array::from_fn(|_| next());
    stats.again = Again {
        packets_in: next(),
        bytes_in: next(),
        packets_out: next(),
        bytes_out: next(),
        nacks: next(),
    };
    stats.estimate_buckets = array::from_fn(|_| next());
    stats.estimate_count = next();
    stats.estimate_sum_bps = next();
    stats
}

/// Written by one worker, read by anyone. Alone on its cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct StatsBlock {
    epoch: Instant,
    core: [AtomicU64; VALUES],
    turns: AtomicU64,
    turn_buckets: [AtomicU64; TURN_BUCKETS.len()],
    forward_buckets: [AtomicU64; FORWARD_BUCKETS.len()],
    forwarded: AtomicU64,
    forward_ns: AtomicU64,
    busy_ns: AtomicU64,
    last_turn_ns: AtomicU64,
    sends: [AtomicU64; 4],
    receives: [AtomicU64; 2],
    events_dropped: AtomicU64,
    mail: [AtomicU64; 2],
    data_dropped: AtomicU64,
    stun_outcomes: [AtomicU64; StunOutcome::ALL.len()],
    stun_gauges: [AtomicU64; 2],
    failures: AtomicU64,
    busy_permille: AtomicU64,
    /// Written by the handles, so on lines of its own.
    demand: Demand,
}

/// What the handles count about a worker.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Demand {
    recent_rooms: AtomicU64,
    commands_refused: AtomicU64,
}

impl StatsBlock {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            core: array::from_fn(|_| AtomicU64::default()),
            turns: AtomicU64::default(),
            turn_buckets: array::from_fn(|_| AtomicU64::default()),
            forward_buckets: array::from_fn(|_| AtomicU64::default()),
            forwarded: AtomicU64::default(),
            forward_ns: AtomicU64::default(),
            busy_ns: AtomicU64::default(),
            last_turn_ns: AtomicU64::default(),
            sends: array::from_fn(|_| AtomicU64::default()),
            receives: array::from_fn(|_| AtomicU64::default()),
            events_dropped: AtomicU64::default(),
            mail: array::from_fn(|_| AtomicU64::default()),
            data_dropped: AtomicU64::default(),
            stun_outcomes: array::from_fn(|_| AtomicU64::default()),
            stun_gauges: array::from_fn(|_| AtomicU64::default()),
            failures: AtomicU64::default(),
            busy_permille: AtomicU64::default(),
            demand: Demand::default(),
        }
    }

    pub(crate) fn read(&self, now: Instant) -> WorkerStats {
        let [send_calls, gso_groups, gso_datagrams, send_drops] = load(&self.sends);
        let [receive_calls, receive_drops] = load(&self.receives);
        let [relay_overflows, relay_resyncs] = load(&self.mail);
        let [addresses, remapped] = load(&self.stun_gauges);
        let last_turn = self.epoch + Duration::from_nanos(self.last_turn_ns.load(Relaxed));
        WorkerStats {
            core: decode(load(&self.core)),
            turns: self.turns.load(Relaxed),
            busy: Duration::from_nanos(self.busy_ns.load(Relaxed)),
            busy_permille: self.busy_permille.load(Relaxed),
            turn_buckets: load(&self.turn_buckets),
            forward_buckets: load(&self.forward_buckets),
            forwarded: self.forwarded.load(Relaxed),
            forward_time: Duration::from_nanos(self.forward_ns.load(Relaxed)),
            last_turn: now.saturating_duration_since(last_turn),
            send_calls,
            receive_calls,
            send_drops,
            receive_drops,
            gso_groups,
            gso_datagrams,
            events_dropped: self.events_dropped.load(Relaxed),
            relay_overflows,
            relay_resyncs,
            data_dropped: self.data_dropped.load(Relaxed),
            commands_refused: self.demand.commands_refused.load(Relaxed),
            failures: self.failures.load(Relaxed),
            stun: StunStats { outcomes: load(&self.stun_outcomes), addresses, remapped },
        }
    }

    /// How loaded the worker is, in participants: those it has, its busy share (a full core counts
    /// as 1,000), and 4 for each room that was placed on it of late and may not be filled yet.
    pub(crate) fn load(&self) -> u64 {
        let participants = self.core.get(1).map_or(0, |p| p.load(Relaxed));
        let recent = self.demand.recent_rooms.load(Relaxed);
        participants + self.busy_permille.load(Relaxed) + 4 * recent
    }

    /// Whether the worker is measured to be near the end of its core.
    pub(crate) fn is_full(&self) -> bool {
        self.busy_permille.load(Relaxed) >= FULL_PERMILLE
    }

    /// A room was placed here.
    pub(crate) fn room_placed(&self) {
        self.demand.recent_rooms.fetch_add(1, Relaxed);
    }

    /// A command found no place.
    pub(crate) fn command_refused(&self) {
        self.demand.commands_refused.fetch_add(1, Relaxed);
    }
}

fn load<const N: usize>(values: &[AtomicU64; N]) -> [u64; N] {
    values.each_ref().map(|value| value.load(Relaxed))
}

fn store<const N: usize>(values: &[AtomicU64; N], now: [u64; N]) {
    for (value, now) in values.iter().zip(now) {
        value.store(now, Relaxed);
    }
}

/// A worker that is busy for more than this share of its core gets nobody more, as long as another is
/// not: what a call costs is known only when its people send.
const FULL_PERMILLE: u64 = 750;

/// Over this time the busy share is taken, and half of the recently placed rooms forgotten.
const WINDOW: Duration = Duration::from_secs(1);

/// The core's counters are taken this often.
const CORE_INTERVAL: Duration = Duration::from_millis(250);

/// What the shell counts, beside the core.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShellCounts {
    pub(crate) send: SendCounts,
    /// Calls and drops.
    pub(crate) receive: (u64, u64),
    pub(crate) events_dropped: u64,
    pub(crate) mail: MailCounts,
    pub(crate) data_dropped: u64,
    pub(crate) stun: StunStats,
}

/// The worker's side of a [`StatsBlock`].
#[derive(Debug)]
pub(crate) struct Meter {
    block: Arc<StatsBlock>,
    turns: u64,
    busy: Duration,
    failures: u64,
    /// The counters of the cores that failed.
    before: [u64; VALUES],
    last: [u64; VALUES],
    core_due: Instant,
    window_start: Instant,
    window_busy: Duration,
}

impl Meter {
    pub(crate) fn new(block: Arc<StatsBlock>, now: Instant) -> Self {
        Self {
            block,
            turns: 0,
            busy: Duration::ZERO,
            failures: 0,
            before: [0; VALUES],
            last: [0; VALUES],
            core_due: now,
            window_start: now,
            window_busy: Duration::ZERO,
        }
    }

    /// Whether the core's counters are to be published with this turn.
    pub(crate) fn is_core_due(&self, now: Instant) -> bool {
        now >= self.core_due
    }

    /// Publishes the core's counters.
    pub(crate) fn core(&mut self, now: Instant, core: &Stats) {
        self.core_due = now + CORE_INTERVAL;
        self.last = encode(core);
        let mut values = self.last;
        for (value, before) in values.iter_mut().zip(self.before).skip(GAUGES) {
            *value += before;
        }
        store(&self.block.core, values);
    }

    /// A turn from `start` to `end` is over: publishes the shell's counters.
    pub(crate) fn turn(&mut self, start: Instant, end: Instant, shell: ShellCounts) {
        let spent = end.saturating_duration_since(start);
        self.turns += 1;
        self.busy += spent;
        self.window_busy += spent;
        // One writer: no need for an exclusive addition.
        let at = TURN_BUCKETS.iter().position(|bound| spent.as_secs_f64() <= *bound);
        if let Some(bucket) = at.and_then(|at| self.block.turn_buckets.get(at)) {
            bucket.store(bucket.load(Relaxed) + 1, Relaxed);
        }
        let SendCounts { calls, gso_groups, gso_datagrams, drops } = shell.send;
        let block = &self.block;
        store(&block.sends, [calls, gso_groups, gso_datagrams, drops]);
        store(&block.receives, shell.receive.into());
        let MailCounts { media_dropped, resyncs } = shell.mail;
        store(&block.mail, [media_dropped, resyncs]);
        let StunStats { outcomes, addresses, remapped } = shell.stun;
        store(&block.stun_outcomes, outcomes);
        store(&block.stun_gauges, [addresses, remapped]);
        block.turns.store(self.turns, Relaxed);
        block.busy_ns.store(nanoseconds(self.busy), Relaxed);
        block.events_dropped.store(shell.events_dropped, Relaxed);
        block.data_dropped.store(shell.data_dropped, Relaxed);
        let since_epoch = end.saturating_duration_since(block.epoch);
        block.last_turn_ns.store(nanoseconds(since_epoch), Relaxed);
        self.close_window(end);
    }

    /// `packets` were forwarded that had been received in the turn that began at `start`, and the last
    /// of them had left by `end`.
    pub(crate) fn forwarded(&mut self, start: Instant, end: Instant, packets: u64) {
        let took = end.saturating_duration_since(start);
        let add = |counter: &AtomicU64, more| counter.store(counter.load(Relaxed) + more, Relaxed);
        let at = FORWARD_BUCKETS.iter().position(|bound| took.as_secs_f64() <= *bound);
        if let Some(bucket) = at.and_then(|at| self.block.forward_buckets.get(at)) {
            add(bucket, packets);
        }
        add(&self.block.forwarded, packets);
        add(&self.block.forward_ns, nanoseconds(took).saturating_mul(packets));
    }

    /// The core failed: its counters go on from where they were.
    pub(crate) fn failed(&mut self) {
        self.failures += 1;
        self.block.failures.store(self.failures, Relaxed);
        for (before, last) in self.before.iter_mut().zip(self.last).skip(GAUGES) {
            *before += last;
        }
        self.last = [0; VALUES];
        self.core_due = self.block.epoch;
    }

    fn close_window(&mut self, now: Instant) {
        let window = now.saturating_duration_since(self.window_start);
        if window < WINDOW {
            return;
        }
        let share = 1_000 * self.window_busy.as_nanos() / window.as_nanos();
        self.block.busy_permille.store(u64::try_from(share).unwrap_or(1_000).min(1_000), Relaxed);
        let recent = &self.block.demand.recent_rooms;
        // Placed meanwhile: counted the next time.
        let forgotten = recent.load(Relaxed).div_ceil(2);
        recent.fetch_sub(forgotten, Relaxed);
        self.window_start = now;
        self.window_busy = Duration::ZERO;
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
