//! What a run came to, as files.
//!
//! Owns: the shape of `report.json`, which changes only by additions, and the summary's figures.
//! Never: measures, or decides what is good; the scenario's expectations do.

mod comparison;
mod html;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value;

use crate::figures::{Figures, Times};
use crate::probe::ServerFigures;
use crate::run::{Outcome, Second};
use crate::scenario::Scenario;

pub use comparison::{Compared, Comparison};
pub use html::page;

/// The version of the report's shape.
pub const SCHEMA: u32 = 1;

macro_rules! summary {
    ($($(#[$doc:meta])* $name:ident: $of:ty,)*) => {
        /// The figures that matter most. `null` is what could not be measured.
        #[derive(Debug, Clone, Default, PartialEq, Serialize)]
        pub struct Summary {
            $($(#[$doc])* pub $name: $of,)*
            /// Whether the figures say something of the server.
            pub valid: bool,
        }

        /// The names of the summary's figures.
        pub const SUMMARY: &[&str] = &[$(stringify!($name)),*];
    };
}

summary! {
    /// Participants who joined at least once.
    participants_joined: u64,
    /// Participants who at least once could not join, not stay, or saw nothing.
    participants_failed: u64,
    /// From the beginning of a join, WebSocket included, to the server's yes.
    join_ms_p95: Option<f64>,
    /// To the first picture that could be shown, from when there was somebody to see.
    first_frame_ms_p95: Option<f64>,
    /// From a caller's sending to another's receiving, audio and video.
    forward_delay_ms_p50: Option<f64>,
    /// See above.
    forward_delay_ms_p99: Option<f64>,
    /// Freezes (W3C webrtc-stats) of all tiles.
    freezes: u64,
    /// Gaps of all voices.
    audio_gaps: u64,
    /// RTP packets that never came, where no impaired path lies between.
    server_lost_packets: u64,
    /// RTP packets that the server forwarded in a second.
    forwarded_packets_per_second: f64,
    /// Processor time of the server for each.
    server_cpu_ns_per_forwarded_packet: Option<f64>,
    /// Cores that the server kept busy, on average.
    server_cpu_cores: Option<f64>,
    /// The server's largest memory.
    server_rss_bytes: Option<u64>,
    /// What of it came with the participants, for each.
    server_rss_bytes_per_participant: Option<u64>,
    /// By what share its memory was larger in the last quarter than in the second, of runs of minutes.
    server_rss_growth: Option<f64>,
}

/// Percentiles in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many.
    pub count: u64,
    /// Half of them are below.
    pub p50: Option<f64>,
    /// 95 % of them are below.
    pub p95: Option<f64>,
    /// 99 % of them are below.
    pub p99: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
}

impl From<&Times> for Percentiles {
    fn from(times: &Times) -> Self {
        Self {
            count: times.count(),
            p50: times.ms(0.5),
            p95: times.ms(0.95),
            p99: times.ms(0.99),
            max: times.ms_max(),
        }
    }
}

/// One bound of the scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// As in the scenario.
    pub name: String,
    /// The bound.
    pub bound: f64,
    /// The figure; `null` was not measured, and does not hold.
    pub value: Option<f64>,
    /// Whether it holds.
    pub holds: bool,
}

/// Joins and first media, all through the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Joins {
    /// Joins that succeeded, each return counted.
    pub joins: u64,
    /// To the server's yes.
    pub join_ms: Percentiles,
    /// To the last transport.
    pub connect_ms: Percentiles,
    /// To the first picture.
    pub first_frame_ms: Percentiles,
    /// To the first sound.
    pub first_sound_ms: Percentiles,
    /// Times that signalling was lost and came back.
    pub reconnects: u64,
    /// What went wrong, by kind.
    pub errors: BTreeMap<String, u64>,
    /// The first of each kind in full.
    pub error_examples: BTreeMap<String, String>,
}

/// What reached the callers in the time that is measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Media {
    /// RTP packets that callers sent.
    pub sent_packets: u64,
    /// RTP packets that callers received.
    pub received_packets: u64,
    /// Received payload.
    pub received_bits_per_second: f64,
    /// Pictures that a decoder could show.
    pub frames_decoded: u64,
    /// Frames that came whole, but without what they refer to.
    pub frames_undecodable: u64,
    /// Freezes.
    pub freezes: u64,
    /// How long they lasted together.
    pub frozen_seconds: f64,
    /// Audio packets in time.
    pub audio_packets: u64,
    /// Gaps in voices.
    pub audio_gaps: u64,
    /// Audio, from sending to receiving.
    pub audio_delay_ms: Percentiles,
    /// Video, from sending to receiving.
    pub video_delay_ms: Percentiles,
    /// Between sound and picture of one publisher, by its sender reports.
    pub av_skew_ms: Percentiles,
    /// Changes of publisher in slots.
    pub switches: u64,
    /// Changes of size in tiles.
    pub resizes: u64,
    /// The share of pictures that had the size that was wished.
    pub as_wished: Option<f64>,
    /// The share that was smaller.
    pub below_wish: Option<f64>,
    /// Keyframe requests of receivers.
    pub keyframe_requests_sent: u64,
    /// Keyframe requests that reached publishers.
    pub keyframe_requests_received: u64,
    /// Packets without a whole stamp.
    pub damaged_packets: u64,
}

/// Who lost what.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Loss {
    /// Never came, though no impaired path lies between.
    pub server: u64,
    /// Never came, and an impaired path lies between publisher and receiver.
    pub behind_impaired_paths: u64,
    /// RTP packets that impairments dropped on their way to the server.
    pub impaired_up: u64,
    /// RTP packets that impairments dropped on their way from the server.
    pub impaired_down: u64,
    /// Datagrams that the kernel dropped at the server's sockets.
    pub server_socket_drops: Option<u64>,
    /// Datagrams that the kernel dropped at the callers' sockets.
    pub own_socket_drops: u64,
}

/// The load test itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Harness {
    /// Why the figures say nothing of the server.
    pub invalid: Vec<String>,
    /// How late its timers were.
    pub lag_ms: Percentiles,
    /// Its processor time, in cores.
    pub cpu_cores: f64,
    /// The same for each packet that it received.
    pub cpu_ns_per_received_packet: Option<f64>,
    /// The busiest thread's share of the time.
    pub busiest_thread: f64,
    /// Datagrams that its sockets did not take.
    pub unsent: u64,
}

/// One second.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Moment {
    /// Its end, in seconds from the beginning of the run.
    pub at: f64,
    /// Callers in their calls.
    pub callers: usize,
    /// Packets received in a second.
    pub received_packets_per_second: f64,
    /// Payload received, in bit/s.
    pub received_bits_per_second: f64,
    /// Half of all packets took less.
    pub delay_ms_p50: Option<f64>,
    /// 99 % of all packets took less.
    pub delay_ms_p99: Option<f64>,
    /// Freezes.
    pub freezes: u64,
    /// Gaps in voices.
    pub audio_gaps: u64,
    /// The server's processor time, in cores.
    pub server_cpu_cores: Option<f64>,
    /// The server's memory.
    pub server_rss_bytes: Option<u64>,
    /// 99 % of the load test's timers were less late.
    pub lag_ms_p99: Option<f64>,
    /// Its busiest thread's share of the time.
    pub busiest_thread: f64,
}

/// `report.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// This program's version.
    pub version: &'static str,
    /// The target's name.
    pub target: String,
    /// The scenario's name.
    pub scenario: String,
    /// The scenario, defaults filled in.
    pub settings: Scenario,
    /// When the report was made: seconds since the Unix epoch.
    pub made_at: u64,
    /// Processors, system and memory of the machine.
    pub machine: Machine,
    /// Where what is measured begins, and how long it is, in seconds.
    pub measured: [f64; 2],
    /// What matters most.
    pub summary: Summary,
    /// The scenario's bounds.
    pub expectations: Vec<Verdict>,
    /// Joins and first media.
    pub joins: Joins,
    /// Media.
    pub media: Media,
    /// Losses.
    pub loss: Loss,
    /// The server.
    pub server: ServerFigures,
    /// The load test.
    pub harness: Harness,
    /// Second by second.
    pub timeline: Vec<Moment>,
}

/// Where the run was made.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Machine {
    /// Processors that this program may use.
    pub processors: usize,
    /// What the first says that it is.
    pub processor: String,
    /// The kernel.
    pub kernel: String,
    /// Memory.
    pub memory_bytes: u64,
}

impl Machine {
    fn this() -> Self {
        let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
        let value = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = value(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kib = memory.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0);
        Self {
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            processor: value(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_bytes: kib * 1024,
        }
    }
}

fn delays(figures: &Figures) -> Times {
    let mut all = figures.audio_delay.clone();
    all.merge(&figures.video_delay);
    all
}

fn never_came(missing: i64) -> u64 {
    u64::try_from(missing).unwrap_or(0)
}

fn summary(outcome: &Outcome) -> Summary {
    let Outcome { ledger, figures, server, seconds, .. } = outcome;
    let delays = delays(figures);
    Summary {
        participants_joined: ledger.joined.len() as u64,
        participants_failed: ledger.failed.len() as u64,
        join_ms_p95: ledger.join.ms(0.95),
        first_frame_ms_p95: ledger.first_frame.ms(0.95),
        forward_delay_ms_p50: delays.ms(0.5),
        forward_delay_ms_p99: delays.ms(0.99),
        freezes: figures.freezes,
        audio_gaps: figures.audio_gaps,
        server_lost_packets: never_came(figures.missing),
        forwarded_packets_per_second: server.forwarded_packets as f64 / seconds.max(1e-3),
        server_cpu_ns_per_forwarded_packet: server.cpu_ns_per_forwarded_packet,
        server_cpu_cores: server.cpu_cores,
        server_rss_bytes: server.rss_bytes,
        server_rss_bytes_per_participant: rss_each(outcome),
        server_rss_growth: rss_growth(outcome),
        valid: outcome.invalid.is_empty(),
    }
}

/// The memory that came with the participants, for each.
fn rss_each(outcome: &Outcome) -> Option<u64> {
    let came = outcome.server.rss_bytes?.saturating_sub(outcome.empty_rss?);
    came.checked_div(outcome.ledger.joined.len() as u64)
}

/// In less time it says nothing: what is asked for first, such as caches, is still being filled.
const GROWTH_SECONDS_MIN: usize = 120;

/// By what share the median memory of the last quarter of what is measured is above that of the second.
fn rss_growth(outcome: &Outcome) -> Option<f64> {
    let measured = outcome.timeline.iter().filter(|second| second.at >= outcome.from);
    let rss: Vec<u64> = measured.filter_map(|second| second.server_rss).collect();
    if rss.len() < GROWTH_SECONDS_MIN {
        return None;
    }
    let quarter = rss.len() / 4;
    let median = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part.get(part.len() / 2).map(|bytes| *bytes as f64)
    };
    let before = median(rss.get(quarter..2 * quarter)?)?;
    let after = median(rss.get(rss.len() - quarter..)?)?;
    (before > 0.0).then(|| after / before - 1.0)
}

fn verdicts(scenario: &Scenario, summary: &Summary) -> Vec<Verdict> {
    let figures = serde_json::to_value(summary).unwrap_or(Value::Null);
    let verdict = |(expectation, bound): (&crate::scenario::Expectation, &f64)| {
        let value = figures.get(expectation.figure()).and_then(Value::as_f64);
        Verdict {
            name: expectation.name().to_owned(),
            bound: *bound,
            value,
            holds: value.is_some_and(|value| expectation.holds(value, *bound)),
        }
    };
    scenario.expect.iter().map(verdict).collect()
}

fn joins(outcome: &Outcome) -> Joins {
    let ledger = &outcome.ledger;
    let named = |(kind, count): (&&str, &u64)| ((*kind).to_owned(), *count);
    let example = |(kind, what): (&&str, &String)| ((*kind).to_owned(), what.clone());
    Joins {
        joins: ledger.joins,
        join_ms: (&ledger.join).into(),
        connect_ms: (&ledger.connect).into(),
        first_frame_ms: (&ledger.first_frame).into(),
        first_sound_ms: (&ledger.first_sound).into(),
        reconnects: ledger.reconnects,
        errors: ledger.errors.iter().map(named).collect(),
        error_examples: ledger.examples.iter().map(example).collect(),
    }
}

fn media(outcome: &Outcome) -> Media {
    let f = &outcome.figures;
    let wished = f.frames_as_wished + f.frames_below_wish + f.frames_above_wish;
    let share = |count: u64| (wished > 0).then(|| count as f64 / wished as f64);
    Media {
        sent_packets: f.sent_packets,
        received_packets: f.received_packets,
        received_bits_per_second: f.received_bytes as f64 * 8.0 / outcome.seconds.max(1e-3),
        frames_decoded: f.frames_decoded,
        frames_undecodable: f.frames_undecodable,
        freezes: f.freezes,
        frozen_seconds: f.frozen_us as f64 / 1e6,
        audio_packets: f.audio_packets,
        audio_gaps: f.audio_gaps,
        audio_delay_ms: (&f.audio_delay).into(),
        video_delay_ms: (&f.video_delay).into(),
        av_skew_ms: (&f.skew).into(),
        switches: f.switches,
        resizes: f.resizes,
        as_wished: share(f.frames_as_wished),
        below_wish: share(f.frames_below_wish),
        keyframe_requests_sent: f.keyframe_requests_sent,
        keyframe_requests_received: f.keyframe_requests_received,
        damaged_packets: f.damaged,
    }
}

fn moment(second: &Second) -> Moment {
    let delays = delays(&second.figures);
    Moment {
        at: second.at,
        callers: second.callers,
        received_packets_per_second: second.figures.received_packets as f64 / second.seconds,
        received_bits_per_second: second.figures.received_bytes as f64 * 8.0 / second.seconds,
        delay_ms_p50: delays.ms(0.5),
        delay_ms_p99: delays.ms(0.99),
        freezes: second.figures.freezes,
        audio_gaps: second.figures.audio_gaps,
        server_cpu_cores: second.server_cores,
        server_rss_bytes: second.server_rss,
        lag_ms_p99: second.figures.lag.ms(0.99),
        busiest_thread: second.busy,
    }
}

impl Report {
    /// The report of a run.
    #[must_use]
    pub fn new(target: &str, name: &str, scenario: &Scenario, outcome: &Outcome) -> Self {
        let summary = summary(outcome);
        let figures = &outcome.figures;
        let received = figures.received_packets;
        let own_ns = outcome.own_cores * outcome.seconds * 1e9;
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            target: target.to_owned(),
            scenario: name.to_owned(),
            settings: scenario.clone(),
            made_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs()),
            machine: Machine::this(),
            measured: [outcome.from, outcome.seconds],
            expectations: verdicts(scenario, &summary),
            summary,
            joins: joins(outcome),
            media: media(outcome),
            loss: Loss {
                server: never_came(figures.missing),
                behind_impaired_paths: never_came(figures.missing_impaired),
                impaired_up: figures.impaired_up,
                impaired_down: figures.impaired_down,
                server_socket_drops: outcome.server.socket_drops,
                own_socket_drops: outcome.own_drops,
            },
            server: outcome.server.clone(),
            harness: Harness {
                invalid: outcome.invalid.clone(),
                lag_ms: (&figures.lag).into(),
                cpu_cores: outcome.own_cores,
                cpu_ns_per_received_packet: (received > 0).then(|| own_ns / received as f64),
                busiest_thread: outcome.busy,
                unsent: figures.unsent,
            },
            timeline: outcome.timeline.iter().map(moment).collect(),
        }
    }

    /// Whether all of the scenario's bounds hold.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.expectations.iter().all(|verdict| verdict.holds)
    }

    /// Writes `report.json` and `report.html` into a folder, which is made.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let json = serde_json::to_string_pretty(self).map_err(io::Error::other)?;
        write(folder, &format!("{json}\n"), &page(&[self], &[]))
    }
}

/// Writes the two files of a report.
pub(crate) fn write(folder: &Path, json: &str, html: &str) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("report.json"), json)?;
    std::fs::write(folder.join("report.html"), html)
}

#[cfg(test)]
mod tests;
