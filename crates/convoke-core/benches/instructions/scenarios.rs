//! What is measured.

use std::process::ExitCode;
use std::time::Duration;

use crate::video::Video;
use crate::world::{Joiner, World};

/// The names, and what one unit of each is.
pub(crate) const SCENARIOS: [(&str, &str); 5] = [
    ("forward-1", "packet forwarded"),
    ("forward-10", "packet forwarded"),
    ("forward-100", "packet forwarded"),
    ("join-10", "join"),
    ("idle-10", "participant and second"),
];

/// 2.2 Mbit/s: a camera's best layer.
const PACKETS_PER_SECOND: u32 = 250;
/// So many until the estimators have found what that takes.
const PACKETS_PER_SECOND_FIRST: u32 = 50;
const WARMING: Duration = Duration::from_millis(2_500);

/// What a run did while it was measured.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) units: u64,
    pub(crate) spent: Duration,
}

/// Runs the scenario of this name: its number is how many others there are.
pub(crate) fn run(name: &str) -> Option<Outcome> {
    let (kind, number) = name.split_once('-')?;
    let number = number.parse().ok()?;
    match kind {
        "forward" => Some(forward(number, Duration::from_millis(400))),
        "long" => Some(forward(number, Duration::from_secs(4))),
        "join" => Some(join(number)),
        "idle" => Some(idle(number)),
        _ => None,
    }
}

/// One camera, `number` viewers: everything that the worker does for it, feedback and timers included.
fn forward(number: usize, duration: Duration) -> Outcome {
    let mut world = World::new();
    world.join(Joiner::Publisher);
    for _ in 0..number {
        world.join(Joiner::Viewer);
    }
    world.video = Some(Video::new(world.now, PACKETS_PER_SECOND_FIRST));
    world.run(WARMING);
    if let Some(video) = &mut world.video {
        video.set_rate(world.now, PACKETS_PER_SECOND);
    }
    world.run(Duration::from_millis(300));
    let forwarded = |world: &World| world.worker.stats().rtp_out[1];
    let before = forwarded(&world);
    world.measuring = true;
    world.run(duration);
    Outcome { units: forwarded(&world) - before, spent: world.spent }
}

/// Somebody joins a call of `number`, up to the end of both handshakes.
fn join(number: usize) -> Outcome {
    let mut world = World::new();
    for _ in 0..number {
        world.join(Joiner::Idle);
    }
    world.measuring = true;
    world.join(Joiner::Idle);
    Outcome { units: 1, spent: world.spent }
}

/// `number` who are connected, and nothing happens.
fn idle(number: usize) -> Outcome {
    let seconds = 10;
    let mut world = World::new();
    for _ in 0..number {
        world.join(Joiner::Idle);
    }
    world.run(5 * WARMING);
    world.measuring = true;
    world.run(Duration::from_secs(seconds));
    Outcome { units: number as u64 * seconds, spent: world.spent }
}

/// Tells the time that a scenario takes.
pub(crate) fn time(name: &str) -> ExitCode {
    let Some(outcome) = run(name) else { return ExitCode::FAILURE };
    let nanos = outcome.spent.as_nanos() / u128::from(outcome.units.max(1));
    println!("{name}: {nanos} ns each, of {}", outcome.units);
    ExitCode::SUCCESS
}
