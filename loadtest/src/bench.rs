//! `convoke-loadtest bench`: several servers under the same load, in one table.
//!
//! Owns: which loads, and the table.
//! Never: measures; that is `run`'s.
//!
//! Each server forwards first one call of [`SCENARIO`], the same for all. Then it forwards as many as
//! should take 70 % of a core; where the callers cannot keep up with that, as many as they can.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use convoke_loadtest::report::Report;
use convoke_loadtest::run::Outcome;
use convoke_loadtest::scenario::Scenario;
use convoke_loadtest::units::Count;

use super::{Common, Failure, Name, allow_files, measure_own, measure_peer, peers_folder};

const SCENARIO: &str = "fanout";
/// The share of a core at which delays are measured.
const SHARE: f64 = 0.7;
/// As many runs to find a load that the callers can keep up with.
const TRIES: usize = 4;

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// The server to start; otherwise CONVOKE_BIN, or the one beside this program
    #[arg(long, value_name = "FILE")]
    server_binary: Option<PathBuf>,
    /// Threads for the callers' media
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The folder with what peers/install.sh installed; that of the source when absent
    #[arg(long, value_name = "DIR")]
    peers: Option<PathBuf>,
    /// What a packet takes at least on this machine, in nanoseconds, as the bench `floor` says
    #[arg(long, value_name = "NS")]
    floor: Option<f64>,
}

/// A server, as it is started.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    label: &'static str,
    name: Name,
    workers: Option<usize>,
}

const CANDIDATES: [Candidate; 4] = [
    Candidate { label: "convoke, 1 worker", name: Name::Convoke, workers: Some(1) },
    Candidate { label: "convoke, 2 workers", name: Name::Convoke, workers: Some(2) },
    Candidate { label: "janus", name: Name::Janus, workers: None },
    Candidate { label: "mediasoup", name: Name::Mediasoup, workers: None },
];

/// One run's figures.
#[derive(Debug, Clone, Default)]
struct Figures {
    rooms: usize,
    cores: f64,
    packet_ns: f64,
    user_ns: f64,
    sys_ns: f64,
    packets_per_second: f64,
    delay_ms: [f64; 2],
    participant_bytes: f64,
    valid: bool,
}

impl Figures {
    fn new(rooms: usize, scenario: &Scenario, outcome: &Outcome) -> Self {
        let summary = Report::new("", SCENARIO, scenario, outcome).summary;
        let server = &outcome.server;
        let packets = server.forwarded_packets.max(1) as f64;
        let each = |seconds: Option<f64>| seconds.unwrap_or(f64::NAN) * 1e9 / packets;
        let first = outcome.timeline.iter().find_map(|second| second.server_rss).unwrap_or(0);
        let grown = server.rss_bytes.unwrap_or(0).saturating_sub(first);
        let nan = f64::NAN;
        Self {
            rooms,
            cores: server.cpu_cores.unwrap_or(nan),
            packet_ns: server.cpu_ns_per_forwarded_packet.unwrap_or(nan),
            user_ns: each(server.cpu_user_seconds),
            sys_ns: each(server.cpu_sys_seconds),
            packets_per_second: packets / outcome.seconds.max(1e-3),
            delay_ms: [summary.forward_delay_ms_p50, summary.forward_delay_ms_p99]
                .map(|delay| delay.unwrap_or(nan)),
            participant_bytes: grown as f64 / scenario.participants().max(1) as f64,
            valid: summary.valid,
        }
    }
}

/// A server's two runs.
#[derive(Debug)]
struct Row {
    label: &'static str,
    result: Result<[Figures; 2], String>,
}

impl BenchArgs {
    fn scenario(&self, rooms: usize, workers: Option<usize>) -> Result<Arc<Scenario>, String> {
        let (_, mut scenario) =
            Scenario::load(SCENARIO.as_ref()).map_err(|error| error.to_string())?;
        scenario.calls.rooms.0 = rooms;
        scenario.server.workers = workers.map(Count);
        allow_files(&scenario).map_err(|Failure(_, what)| what)?;
        Ok(Arc::new(scenario))
    }

    async fn measure(&self, candidate: Candidate, rooms: usize) -> Result<Figures, String> {
        let scenario = self.scenario(rooms, candidate.workers)?;
        let common = Common {
            scenario: SCENARIO.into(),
            server_binary: self.server_binary.clone(),
            report: None,
            threads: self.threads,
            quiet: false,
            duration: None,
        };
        let outcome = match candidate.name {
            Name::Convoke => measure_own(&common, scenario.clone()).await.map_err(|f| f.1)?,
            name => {
                let folder = peers_folder(self.peers.as_deref());
                measure_peer(name, &folder, &common, scenario.clone()).await?
            }
        };
        Ok(Figures::new(rooms, &scenario, &outcome))
    }

    async fn row(&self, candidate: Candidate) -> Row {
        let label = candidate.label;
        let alone = match self.measure(candidate, 1).await {
            Ok(alone) => alone,
            Err(reason) => return Row { label, result: Err(reason) },
        };
        let mut loaded = alone.clone();
        let mut rooms = rooms_for(alone.cores);
        for _ in 0..TRIES {
            if rooms <= 1 {
                break;
            }
            match self.measure(candidate, rooms).await {
                Ok(figures) if figures.valid => {
                    loaded = figures;
                    break;
                }
                Ok(_) => rooms = rooms * 3 / 4,
                Err(reason) => return Row { label, result: Err(reason) },
            }
        }
        Row { label, result: Ok([alone, loaded]) }
    }
}

/// As many calls as should take [`SHARE`] of a core, if one takes `cores`.
fn rooms_for(cores: f64) -> usize {
    if cores > 0.0 { ((SHARE / cores) as usize).clamp(1, 16) } else { 1 }
}

pub(super) async fn command(args: BenchArgs) -> Result<u8, Failure> {
    let mut rows = Vec::new();
    for candidate in CANDIDATES {
        eprintln!("{}", candidate.label);
        rows.push(args.row(candidate).await);
    }
    print!("{}", table(&rows, args.floor));
    Ok(if rows.iter().all(|row| row.result.is_ok()) { 0 } else { 1 })
}

fn table(rows: &[Row], floor: Option<f64>) -> String {
    let mut text = String::from(
        "\n                    one call of 51, ns of CPU a packet | under load\n\
         server                 all   user    sys  MiB/person | packets/s  cores  calls  p50 ms  p99 ms\n",
    );
    for row in rows {
        match &row.result {
            Ok([alone, loaded]) => {
                let mark =
                    if alone.valid && loaded.valid { "" } else { "  (callers at their limit)" };
                text += &format!(
                    "{:<19}{:>7.0}{:>7.0}{:>7.0}{:>12.2} |{:>10.0}{:>7.2}{:>7}{:>8.2}{:>8.2}{mark}\n",
                    row.label,
                    alone.packet_ns,
                    alone.user_ns,
                    alone.sys_ns,
                    alone.participant_bytes / f64::from(1 << 20),
                    loaded.packets_per_second,
                    loaded.cores,
                    loaded.rooms,
                    loaded.delay_ms[0],
                    loaded.delay_ms[1],
                );
            }
            Err(reason) => text += &format!("{:<19} not measured: {reason}\n", row.label),
        }
    }
    if let Some(floor) = floor {
        text += &format!("floor: {floor:.0} ns (AES-GCM and GSO send alone)\n");
        let ours = rows.first().and_then(|row| row.result.as_ref().ok());
        if let Some([alone, _]) = ours {
            text += &format!("convoke takes {:.1} times the floor\n", alone.packet_ns / floor);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_calls_as_take_seven_tenths_of_a_core() {
        for (cores, rooms) in [(0.099, 7), (0.36, 1), (2.0, 1), (0.001, 16), (f64::NAN, 1)] {
            assert_eq!(rooms_for(cores), rooms, "{cores}");
        }
    }

    #[test]
    fn the_table_says_what_was_not_measured_and_what_is_not_valid() {
        let figures = Figures { packet_ns: 9_000.0, valid: true, ..Figures::default() };
        let late = Figures { valid: false, ..figures.clone() };
        let rows = [
            Row { label: "convoke", result: Ok([figures.clone(), figures.clone()]) },
            Row { label: "slow", result: Ok([figures, late]) },
            Row { label: "janus", result: Err("is not there".to_owned()) },
        ];
        let text = table(&rows, Some(4_500.0));
        assert!(text.contains("janus               not measured: is not there"), "{text}");
        assert!(text.contains("2.0 times the floor"), "{text}");
        let marked = text.lines().filter(|line| line.contains("at their limit"));
        assert_eq!(marked.collect::<Vec<_>>().len(), 1, "{text}");
    }
}
