//! Joins a call with synthetic media for some seconds and prints what came in.
//!
//! `cargo run -p convoke-client --example native_call -- URL TOKEN GROUP_ID [SECONDS]`

#![expect(clippy::print_stdout, reason = "a program that reports to its user")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use convoke_client::check::SlotChecker;
use convoke_client::media::Codec;
use convoke_client::source::{AudioConfig, AudioSource, VideoConfig, VideoSource};
use convoke_client::{Client, ClientOptions, JoinOptions, Publication};
use convoke_protocol::Source;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (url, token, group, seconds) = match arguments.as_slice() {
        [url, token, group] => (url, token, group, 10),
        [url, token, group, seconds] => (url, token, group, seconds.parse()?),
        _ => return Err("usage: native_call URL TOKEN GROUP_ID [SECONDS]".into()),
    };
    let client = Client::connect(url, token, ClientOptions::default()).await?;
    let epoch = Instant::now();
    let microphone = Publication::with_source(Source::Microphone, move |start| {
        Box::new(AudioSource::new(AudioConfig::new(start.csrc, epoch, start.now), 1))
    });
    let camera = Publication::with_source(Source::Camera, move |start| {
        let config = VideoConfig::new(Codec::Vp8, start.csrc, epoch, start.now);
        Box::new(VideoSource::new(config, 2))
    });
    let options = JoinOptions { publish: vec![microphone, camera], ..JoinOptions::default() };
    let call = client.join(group, options).await?;
    let mut packets = call.packets();
    println!("joined as {}", call.state().participant_id);

    let mut slots = BTreeMap::new();
    let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
    while let Ok(Some(packet)) = tokio::time::timeout_at(end, packets.next()).await {
        let checker = slots
            .entry(packet.mid.clone())
            .or_insert_with(|| SlotChecker::new(packet.kind, epoch, None));
        checker.packet(&packet);
    }
    for (mid, checker) in &slots {
        let report = checker.report();
        println!(
            "slot {mid}: {} packets, {} missing, {} switches, {} faults",
            report.packets, report.missing, report.switches, report.violation_count
        );
        for ((csrc, track), source) in &report.sources {
            let (decoded, complete) = (source.frames_decoded, source.frames_complete);
            println!("  from {csrc:#x}, track {track}: {decoded} frames of {complete} decodable");
        }
    }
    println!("{} in the call", call.state().participants.len());
    call.leave().await?;
    Ok(())
}
