//! What a server process costs, and what it says of itself.
//!
//! Owns: `/proc` of the server, the kernel's drops at sockets, the server's Prometheus metrics.
//! Never: knows a caller.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use procfs::process::{FDTarget, Process};
use serde::Serialize;

/// How long asking for metrics may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a server can be looked at.
#[derive(Debug, Clone, Default)]
pub struct Probe {
    /// Its processes, where they are on this machine.
    pub pids: Vec<u32>,
    /// Its metrics.
    pub metrics_url: Option<String>,
}

/// A server at one instant: counters since its start, and what it has now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// Seconds of processor time in user mode and in the kernel.
    pub cpu: Option<[f64; 2]>,
    /// Resident memory.
    pub rss_bytes: Option<u64>,
    /// Datagrams that came to full sockets of the server.
    pub socket_drops: Option<u64>,
    /// Metrics by name, all labels together, and by name and label.
    pub metrics: BTreeMap<String, f64>,
}

/// What the server did in the time that is measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ServerFigures {
    /// Processor seconds in user mode.
    pub cpu_user_seconds: Option<f64>,
    /// Processor seconds in the kernel.
    pub cpu_sys_seconds: Option<f64>,
    /// Cores that were busy, on average.
    pub cpu_cores: Option<f64>,
    /// The same for each forwarded packet, in nanoseconds.
    pub cpu_ns_per_forwarded_packet: Option<f64>,
    /// Processor seconds for each gigabit of forwarded payload.
    pub cpu_seconds_per_gbit: Option<f64>,
    /// The largest resident memory.
    pub rss_bytes: Option<u64>,
    /// RTP packets forwarded.
    pub forwarded_packets: u64,
    /// Their payload.
    pub forwarded_bytes: u64,
    /// Who counted them: `server`, or `callers` where the server does not tell.
    pub forwarded_counted_by: &'static str,
    /// System calls of its media sockets for each forwarded packet.
    pub syscalls_per_forwarded_packet: Option<f64>,
    /// Datagrams that left in one system call, on average.
    pub datagrams_per_send_call: Option<f64>,
    /// Datagrams that came in one system call, on average.
    pub datagrams_per_receive_call: Option<f64>,
    /// Datagrams that the kernel dropped at full sockets of the server.
    pub socket_drops: Option<u64>,
    /// Keyframes that it asked publishers for.
    pub keyframe_requests_sent: Option<u64>,
    /// All counters of its metrics that changed, by how much.
    pub counters: BTreeMap<String, f64>,
}

fn cpu(pid: u32) -> Option<([f64; 2], u64)> {
    let process = Process::new(i32::try_from(pid).ok()?).ok()?;
    let stat = process.stat().ok()?;
    let ticks = procfs::ticks_per_second() as f64;
    let rss = stat.rss * procfs::page_size();
    Some(([stat.utime as f64 / ticks, stat.stime as f64 / ticks], rss))
}

/// Datagrams that the kernel dropped at the open sockets of a process.
#[must_use]
pub fn socket_drops(pid: u32) -> Option<u64> {
    let process = Process::new(i32::try_from(pid).ok()?).ok()?;
    let inode = |target: FDTarget| match target {
        FDTarget::Socket(inode) => Some(inode.to_string()),
        _ => None,
    };
    let inodes: HashSet<String> =
        process.fd().ok()?.flatten().filter_map(|fd| inode(fd.target)).collect();
    let mut drops = 0;
    for table in ["udp", "udp6"] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        drops += drops_in(&text, &inodes);
    }
    Some(drops)
}

/// The drops of these sockets in a table such as `/proc/net/udp`.
fn drops_in(table: &str, inodes: &HashSet<String>) -> u64 {
    let row = |line: &str| {
        let mut fields = line.split_whitespace();
        let ours = fields.nth(9).is_some_and(|inode| inodes.contains(inode));
        ours.then(|| fields.last()?.parse::<u64>().ok()).flatten()
    };
    table.lines().skip(1).filter_map(row).sum()
}

/// The samples of a Prometheus text: the sum over all labels by name, and each label for itself as
/// `name{label="value"}`.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.rsplit_once(' ') else { continue };
        let Ok(value) = value.parse::<f64>() else { continue };
        let plain = name.split('{').next().unwrap_or(name);
        *found.entry(plain.to_owned()).or_insert(0.0) += value;
        if plain != name {
            found.insert(name.to_owned(), value);
        }
    }
    found
}

/// Asks for a page.
pub(crate) async fn get(url: String) -> Result<String, String> {
    let asking = tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build().into();
        let mut answer = agent.get(&url).call().map_err(|error| error.to_string())?;
        answer.body_mut().read_to_string().map_err(|error| error.to_string())
    });
    asking.await.unwrap_or_else(|error| Err(error.to_string()))
}

impl Probe {
    /// The cheap part of a reading: processor time and memory.
    #[must_use]
    pub fn glance(&self) -> Reading {
        let mut reading = Reading::default();
        for ([user, sys], rss) in self.pids.iter().filter_map(|pid| cpu(*pid)) {
            let [u, s] = reading.cpu.get_or_insert([0.0, 0.0]);
            *u += user;
            *s += sys;
            *reading.rss_bytes.get_or_insert(0) += rss;
        }
        reading
    }

    /// All of it.
    pub async fn read(&self) -> Reading {
        let mut reading = self.glance();
        if let Some(url) = self.metrics_url.clone() {
            match get(url).await {
                Ok(text) => reading.metrics = samples(&text),
                Err(error) => tracing::warn!(error, "the server's metrics"),
            }
        }
        let drops = self.pids.iter().filter_map(|pid| socket_drops(*pid));
        reading.socket_drops = drops.reduce(|a, b| a + b);
        reading
    }
}

impl ServerFigures {
    /// What was between two readings. `received` are packets and payload bytes that reached the
    /// callers, for a server that does not tell what it forwarded.
    #[must_use]
    pub fn between(
        before: &Reading,
        after: &Reading,
        seconds: f64,
        received: [u64; 2],
        rss_bytes: Option<u64>,
    ) -> Self {
        let counter = |name: &str| {
            let (old, new) = (before.metrics.get(name)?, after.metrics.get(name)?);
            Some(new - old)
        };
        let told = counter("convoke_rtp_packets_forwarded_total")
            .zip(counter("convoke_rtp_bytes_forwarded_total"));
        let [packets, bytes] = told.map_or(received, |(p, b)| [p as u64, b as u64]);
        let ratio =
            |a: Option<f64>, b: Option<f64>| a.zip(b).filter(|(_, b)| *b > 0.0).map(|(a, b)| a / b);
        let cpu = before.cpu.zip(after.cpu).map(|([u, s], [v, t])| [v - u, t - s]);
        let total = cpu.map(|[user, sys]| user + sys);
        let forwarded = Some(packets as f64);
        let of =
            |name: &str, direction: &str| counter(&format!("{name}{{direction=\"{direction}\"}}"));
        let calls = |direction| {
            ratio(
                of("convoke_datagrams_total", direction),
                of("convoke_socket_calls_total", direction),
            )
        };
        let changed = after.metrics.iter().filter(|(name, _)| name.contains("_total"));
        let changed = changed.filter_map(|(name, _)| Some((name.clone(), counter(name)?)));
        Self {
            cpu_user_seconds: cpu.map(|[user, _]| user),
            cpu_sys_seconds: cpu.map(|[_, sys]| sys),
            cpu_cores: total.map(|total| total / seconds.max(1e-3)),
            cpu_ns_per_forwarded_packet: ratio(total.map(|t| t * 1e9), forwarded),
            cpu_seconds_per_gbit: ratio(total, Some(bytes as f64 * 8.0 / 1e9)),
            rss_bytes,
            forwarded_packets: packets,
            forwarded_bytes: bytes,
            forwarded_counted_by: if told.is_some() { "server" } else { "callers" },
            syscalls_per_forwarded_packet: ratio(counter("convoke_socket_calls_total"), forwarded),
            datagrams_per_send_call: calls("sent"),
            datagrams_per_receive_call: calls("received"),
            socket_drops: before
                .socket_drops
                .zip(after.socket_drops)
                .map(|(a, b)| b.saturating_sub(a)),
            keyframe_requests_sent: of("convoke_keyframe_requests_total", "sent").map(|n| n as u64),
            counters: changed.filter(|(_, value)| *value != 0.0).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# TYPE a counter\na_total{kind=\"audio\"} 2\na_total{kind=\"video\"} 3\nb 1.5\n";

    #[test]
    fn metrics_are_summed_over_labels_and_kept_by_label() {
        let found = samples(TEXT);
        assert_eq!(found.get("a_total"), Some(&5.0));
        assert_eq!(found.get("a_total{kind=\"video\"}"), Some(&3.0));
        assert_eq!(found.get("b"), Some(&1.5));
    }

    #[test]
    fn drops_of_our_own_sockets_only() {
        let table = "sl local rem st tx rx tr tm uid timeout inode ref pointer drops\n\
            1: 0100007F:1F90 00000000:0000 07 0:0 00:0 0 0 0 77 2 x 5\n\
            2: 0100007F:1F91 00000000:0000 07 0:0 00:0 0 0 0 78 2 x 9\n";
        let ours: HashSet<String> = ["77".to_owned()].into();
        assert_eq!(drops_in(table, &ours), 5);
        let _ = socket_drops(std::process::id()).expect("a process can see its own sockets");
    }

    #[test]
    fn figures_are_differences_and_absent_without_a_process() {
        let reading = |n: f64| Reading {
            cpu: Some([n, n]),
            metrics: [
                ("convoke_rtp_packets_forwarded_total", 1000.0 * n),
                ("convoke_rtp_bytes_forwarded_total", 1e6 * n),
                ("convoke_socket_calls_total{direction=\"sent\"}", 100.0 * n),
                ("convoke_datagrams_total{direction=\"sent\"}", 400.0 * n),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
            ..Reading::default()
        };
        let found = ServerFigures::between(&reading(1.0), &reading(2.0), 4.0, [1, 1], Some(9));
        assert_eq!(found.cpu_ns_per_forwarded_packet, Some(2e6));
        assert_eq!((found.cpu_cores, found.datagrams_per_send_call), (Some(0.5), Some(4.0)));
        assert_eq!((found.forwarded_packets, found.forwarded_counted_by), (1000, "server"));
        let none = Reading::default();
        let found = ServerFigures::between(&none, &none, 4.0, [7, 8], None);
        assert_eq!((found.cpu_cores, found.syscalls_per_forwarded_packet), (None, None));
        assert_eq!((found.forwarded_packets, found.forwarded_counted_by), (7, "callers"));
    }
}
