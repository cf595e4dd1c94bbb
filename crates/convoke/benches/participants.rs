//! Measures the server as a process: joins of native clients one after the other, then twenty
//! participants for ten seconds. Prints a table; asserts nothing.
//!
//! `cargo bench -p convoke --bench participants` (the clients share the machine, so the server is not at its limit).

#![expect(clippy::print_stdout, reason = "a program that reports to its user")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::call::{DevServer, GROUP, connect, talking};
use common::get;

const JOINS: usize = 30;
const PARTICIPANTS: usize = 20;

/// Ticks of `/proc/PID/stat` in a second; fixed on Linux.
const TICKS: f64 = 100.0;

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("/proc");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("/proc");
    let fields: Vec<&str> = stat[stat.rfind(')').expect("a name")..].split(' ').collect();
    let ticks = |index: usize| fields[index].parse::<f64>().expect("a number");
    (ticks(12) + ticks(13)) / TICKS
}

/// The sum over the labels of one counter.
fn counter(metrics: &str, name: &str) -> f64 {
    let (_, text) = get(metrics);
    let samples = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted[at.clamp(1, sorted.len()) - 1]
}

/// From asking to join until the first packet of the one who is there already.
async fn join_once(server: &DevServer) -> (Duration, Duration) {
    let client = connect(&server.url, &server.token("guest")).await;
    let start = Instant::now();
    let call = client.join(GROUP, talking(start)).await.expect("joins");
    let joined = start.elapsed();
    let mut packets = call.packets();
    packets.next().await.expect("media");
    let media = start.elapsed();
    call.leave().await.expect("leaves");
    (joined, media)
}

fn row(what: &str, value: &str) {
    println!("{what:<48}{value:>14}");
}

#[tokio::main]
async fn main() {
    let server = DevServer::start(&[]);
    let pid = server.process.id();
    tokio::time::sleep(Duration::from_secs(1)).await;
    row("memory, idle", &format!("{} KiB", resident_kib(pid)));

    let epoch = Instant::now();
    let host = connect(&server.url, &server.token("host")).await;
    let host_call = host.join(GROUP, talking(epoch)).await.expect("joins");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (mut joined, mut media) = (Vec::new(), Vec::new());
    for _ in 0..JOINS {
        let (join, first) = join_once(&server).await;
        joined.push(join);
        media.push(first);
    }
    joined.sort();
    media.sort();
    for (what, times) in [("joined", &joined), ("first packet", &media)] {
        for (name, share) in [("p50", 0.5), ("p95", 0.95)] {
            let time = percentile(times, share).as_secs_f64() * 1e3;
            row(&format!("join to {what}, {name} of {JOINS}"), &format!("{time:.1} ms"));
        }
    }

    let mut others = Vec::new();
    for number in 1..PARTICIPANTS {
        let client = connect(&server.url, &server.token(&format!("guest-{number}"))).await;
        let call = client.join(GROUP, talking(epoch)).await.expect("joins");
        others.push((client, call));
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let forwarded = || counter(&server.metrics_url, "convoke_rtp_packets_forwarded_total");
    let (packets, cpu, start) = (forwarded(), cpu_seconds(pid), Instant::now());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let packets = forwarded() - packets;
    let (cpu, seconds) = (cpu_seconds(pid) - cpu, start.elapsed().as_secs_f64());
    row(&format!("memory, {PARTICIPANTS} participants"), &format!("{} KiB", resident_kib(pid)));
    row("packets forwarded a second", &format!("{:.0}", packets / seconds));
    row("processor, share of one core", &format!("{:.0} %", cpu / seconds * 100.0));
    row("processor time a forwarded packet", &format!("{:.2} us", cpu / packets * 1e6));
    drop((host_call, others));
}
