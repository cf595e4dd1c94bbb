//! What a second worker adds: packets forwarded in a second by one worker and by two, and what each takes.
//!
//! `cargo bench -p convoke-node --bench workers` (`make bench-workers`); as root, with `chrt --rr 5` in front.
//!
//! Each worker has one call: a camera, and a hundred viewers on sockets of their own. Viewers finish
//! their handshakes and are then left alone: the kernel drops what comes for them, after all of the work. They
//! give no feedback, so nothing is estimated or paced, and nothing is sent again. Cameras send as fast as
//! their worker forwards, which the first viewer's socket tells. All of them together are one thread
//! that sleeps most of the time; what it takes is in the table, for it is not the workers'.
//!
//! What two workers forward in a second says something only where both have a processor for themselves,
//! which on two processors is not so: the cameras need some, and so does whatever else runs. The processor
//! time of a packet says whether workers are in each other's way (locks, shared cache lines, the kernel's
//! network stack): twice the one of one worker, over that of two, is what two workers carry
//! with a processor each. It does not say whether memory bandwidth or a network card is enough for more.
//!
//! `-- rooms` (`make bench-rooms`) asks instead what a forwarded packet costs in rooms of 2 to 1,000: see `rooms.rs`.

#![expect(clippy::print_stdout, reason = "a program that reports to its user")]

mod camera;
mod peer;
mod rooms;

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use convoke_node::{Handle, Node, NodeConfig};

use crate::peer::Call;

/// In each call; with it the cameras' share of the work is small.
const VIEWERS: usize = 100;
const ROUNDS: usize = 3;
const WARMING: Duration = Duration::from_millis(1_500);
const MEASURED: Duration = Duration::from_secs(3);
/// How often cameras look at what was forwarded.
const STEP: Duration = Duration::from_millis(1);

/// What was measured in a time.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    packets_per_second: f64,
    /// Of the worker threads, user and kernel, for each forwarded packet.
    cpu_ns: f64,
    /// Cores that the worker threads kept busy.
    busy: f64,
    /// Cores that everything else of this process took.
    others: f64,
}

/// Processor time of this process's threads in nanoseconds: of workers, and of all others.
fn cpu() -> (f64, f64) {
    let mut sums = (0.0, 0.0);
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let text = read("schedstat");
        let spent = text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0);
        if read("comm").starts_with("convoke-worker") {
            sums.0 += spent;
        } else {
            sums.1 += spent;
        }
    }
    sums
}

fn forwarded(handle: &Handle) -> f64 {
    handle.stats().iter().map(|worker| worker.core.rtp_out.iter().sum::<u64>() as f64).sum()
}

/// Lets cameras send for so long.
async fn pump(calls: &mut [Call], time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        for call in &mut *calls {
            call.film(Instant::now());
        }
        tokio::time::sleep(STEP).await;
    }
}

async fn measure(workers: usize) -> Figures {
    let mut config = NodeConfig::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    config.workers = workers;
    config.participants_per_shard = 0;
    // Viewers are silent from their handshakes on.
    config.media_timeout = Duration::from_secs(600);
    let (node, _events) = Node::start(config).await.expect("starts");
    let handle = node.handle();
    let mut calls = Vec::new();
    for _ in 0..workers {
        calls.push(Call::begin(&handle, VIEWERS).await);
    }
    pump(&mut calls, WARMING).await;
    let spread = handle.stats().iter().all(|worker| worker.core.participants > VIEWERS as u64);
    assert!(spread, "each worker has its call");
    let (start, packets, before) = (Instant::now(), forwarded(&handle), cpu());
    pump(&mut calls, MEASURED).await;
    let (after, seconds) = (cpu(), start.elapsed().as_secs_f64());
    let packets = forwarded(&handle) - packets;
    node.shutdown().await;
    Figures {
        packets_per_second: packets / seconds,
        cpu_ns: (after.0 - before.0) / packets.max(1.0),
        busy: (after.0 - before.0) / seconds / 1e9,
        others: (after.1 - before.1) / seconds / 1e9,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if std::env::args().any(|argument| argument == "rooms") {
        return rooms::table().await;
    }
    let mut best = [Figures::default(); 2];
    // What else runs changes: rounds of both take turns, and of each the least disturbed counts.
    for _ in 0..ROUNDS {
        for (workers, best) in (1..).zip(&mut best) {
            let figures = measure(workers).await;
            if figures.packets_per_second > best.packets_per_second {
                *best = figures;
            }
        }
    }
    println!("workers  packets/s  ns of worker/packet  busy worker cores  cores of cameras");
    for (workers, f) in (1..).zip(&best) {
        let Figures { packets_per_second, cpu_ns, busy, others } = f;
        println!("{workers:>7}{packets_per_second:>11.0}{cpu_ns:>21.0}{busy:>19.2}{others:>18.2}");
    }
    let [one, two] = best;
    let ratio = two.packets_per_second / one.packets_per_second;
    println!("{:<58}{ratio:>6.2}", "two workers forward, times one, here:");
    let ratio = 2.0 * one.cpu_ns / two.cpu_ns;
    println!("{:<58}{ratio:>6.2}", "by processor time, with a processor each:");
}
