//! The example of the README, run as it is: media flows through a server inside another program.

mod common;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::call::{GROUP, connect, talking};
use common::{Running, get};

/// Cargo builds examples before it runs all tests, but not before it runs this one alone.
fn example() -> Command {
    let binary = Path::new(env!("CARGO_BIN_EXE_convoke"));
    let example = binary.parent().expect("a folder").join("examples").join("embed");
    if !example.exists() {
        let build = ["build", "--package", "convoke", "--example", "embed"];
        let status = Command::new(env!("CARGO")).args(build).status().expect("cargo runs");
        assert!(status.success(), "the example is built");
    }
    Command::new(example)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_flows_through_a_server_inside_another_program() {
    let mut running = Running::start(example());
    let line = running.line("try http://");
    let url = line.rsplit(' ').next().expect("a URL").to_owned();
    let base = url.trim_end_matches("calls/");
    let epoch = Instant::now();
    let mut calls = Vec::new();
    for who in ["alice", "bob"] {
        let (status, token) = get(&format!("{base}token/{who}"));
        assert_eq!(status, 200, "{token}");
        let client = connect(&url, &token).await;
        let call = client.join(GROUP, talking(epoch)).await.expect("joins");
        calls.push((client, call));
    }
    let (alice, bob) = (&calls[0].1, &calls[1].1);
    let own = bob.state().own().expect("in the roster").csrc;
    let mut packets = alice.packets();
    let mut heard = [false; 2];
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while heard != [true; 2] {
        let packet = tokio::time::timeout_at(deadline, packets.next()).await;
        let packet = packet.expect("media in time").expect("the call goes on");
        assert_eq!(packet.csrc, Some(own), "it is Bob's");
        heard[usize::from(packet.kind == convoke::protocol::MediaKind::Video)] = true;
    }
    assert_eq!(get(&format!("{url}healthz")).0, 200);
}
