//! The table of named scenarios: the cases that must always hold.

use std::time::Duration;

use convoke_client::media::Codec;
use convoke_client::source::PausedClock;
use convoke_protocol::Source;

use crate::link::{Burst, LinkConfig};
use crate::scenario::{Act, ActorSpec, Look, PublishSpec, Scenario, Target};
use crate::tables::{CAMERAS, Camera, NETWORKS, Network, SPECIAL, tabled};

/// Those of whole calls; [`crate::tables`] has those of layers and bandwidth.
const CALLS: [&str; 28] = [
    "two",
    "codecs",
    "late-joiner",
    "nine-mics-eight-slots",
    "twenty-cameras-sixteen-slots",
    "loss-5",
    "loss-20",
    "far",
    "loss-handshake",
    "loss-bursty",
    "reordering",
    "reordered-switches",
    "uplink-loss",
    "narrow-downlink",
    "wraps",
    "ssrc-collision",
    "picture-id-wrap",
    "mute-valley-runs",
    "mute-valley-stands",
    "mute-valley-jumps",
    "sends-while-muted",
    "views",
    "looks-at-people",
    "screens",
    "cut-and-return",
    "killed",
    "ice-restart",
    "two-rooms-two-workers",
];

/// All of them.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let networks = NETWORKS.iter().map(Network::name);
    let cameras = CAMERAS.iter().map(Camera::name);
    CALLS.into_iter().chain(networks).chain(cameras).chain(SPECIAL).collect()
}

fn people(count: usize, spec: &ActorSpec) -> Vec<ActorSpec> {
    vec![spec.clone(); count]
}

fn lossy(up: LinkConfig, down: LinkConfig) -> ActorSpec {
    ActorSpec { uplink: up, downlink: down, ..ActorSpec::new() }
}

fn loss(loss: f64) -> LinkConfig {
    LinkConfig { loss, delay: Duration::from_millis(20), ..LinkConfig::default() }
}

/// The scenario of this name.
#[must_use]
pub fn named(name: &str) -> Option<Scenario> {
    let scenario = match name {
        "two" => Scenario::new(name, people(2, &ActorSpec::new())),
        "codecs" => codecs(name),
        "late-joiner" => late_joiner(name),
        "nine-mics-eight-slots" => nine_mics(name),
        "twenty-cameras-sixteen-slots" => twenty_cameras(name),
        "loss-5" => Scenario::new(name, people(3, &lossy(loss(0.0), loss(0.05)))).lasting(6_000),
        "loss-20" => Scenario::new(name, people(3, &lossy(loss(0.0), loss(0.2)))).lasting(8_000),
        "far" => {
            let far = LinkConfig { delay: Duration::from_millis(150), ..LinkConfig::default() };
            Scenario::new(name, people(3, &lossy(far, far))).lasting(5_000)
        }
        "loss-handshake" => {
            let bad = LinkConfig { loses_handshakes: true, ..loss(0.1) };
            Scenario::new(name, people(3, &lossy(bad, bad))).lasting(18_000)
        }
        "uplink-loss" => {
            Scenario::new(name, people(3, &lossy(loss(0.05), loss(0.0)))).lasting(6_000)
        }
        "loss-bursty" | "reordering" | "narrow-downlink" => bad_networks(name),
        "reordered-switches" => reordered_switches(name),
        "wraps" | "ssrc-collision" | "picture-id-wrap" => numbers(name),
        "mute-valley-runs" => mute_valley(name, PausedClock::Runs),
        "mute-valley-stands" => mute_valley(name, PausedClock::Stands),
        "mute-valley-jumps" => mute_valley(name, PausedClock::Jumps),
        "sends-while-muted" => sends_while_muted(name),
        "views" => views(name),
        "looks-at-people" => looks_at_people(name),
        "screens" => screens(name),
        "cut-and-return" => cut_and_return(name),
        "killed" => killed(name),
        "ice-restart" => ice_restart(name),
        "two-rooms-two-workers" => two_rooms(name),
        _ => return tabled(name),
    };
    Some(scenario)
}

fn codecs(name: &str) -> Scenario {
    let with = |codec| ActorSpec {
        publish: vec![PublishSpec::microphone(), PublishSpec::camera(codec)],
        ..ActorSpec::new()
    };
    let mut actors: Vec<ActorSpec> = Codec::VIDEO.iter().map(|codec| with(*codec)).collect();
    // One slot that must switch between all of them.
    actors.push(ActorSpec { video_slots: 1, ..ActorSpec::viewer() });
    let mut scenario = Scenario::new(name, actors).lasting(6_000);
    for (index, at) in (1_000..5_000).step_by(400).enumerate() {
        let at_track = Target::Track(index % 4, Source::Camera);
        let look = Look::new(0, at_track);
        scenario = scenario.step(at, 4, Act::View(vec![look]));
    }
    scenario
}

fn late_joiner(name: &str) -> Scenario {
    let mut actors = people(3, &ActorSpec::new());
    actors.push(ActorSpec { joins: false, ..ActorSpec::viewer() });
    actors.push(ActorSpec { joins: false, ..ActorSpec::new() });
    Scenario::new(name, actors).step(3_000, 3, Act::Join).step(4_000, 4, Act::Join).lasting(6_000)
}

fn nine_mics(name: &str) -> Scenario {
    let spec = ActorSpec {
        audio_slots: 8,
        video_slots: 0,
        publish: vec![PublishSpec::microphone()],
        ..ActorSpec::new()
    };
    let mut actors = people(10, &spec);
    // All are silent but for one after the other.
    for actor in &mut actors {
        actor.publish[0].level = 90;
    }
    let mut scenario = Scenario::new(name, actors).lasting(8_000);
    for who in 0..10 {
        let at = 1_000 + who as u64 * 500;
        scenario = scenario.step(at, who, Act::Level(20)).step(at + 700, who, Act::Level(90));
    }
    scenario
}

fn twenty_cameras(name: &str) -> Scenario {
    let spec = ActorSpec { audio_slots: 8, video_slots: 16, ..ActorSpec::new() };
    let mut actors = people(20, &spec);
    for (index, actor) in actors.iter_mut().enumerate() {
        // Some speak; all at once would make everyone's slots change places all the time.
        actor.publish[0].level = if index < 4 { 30 } else { 90 };
        actor.publish[1].fps = 5;
        actor.publish[1].bps = 60_000;
    }
    Scenario::new(name, actors).step(1_500, 3, Act::Leave).step(2_000, 4, Act::Leave).lasting(3_000)
}

fn bad_networks(name: &str) -> Scenario {
    let ms = Duration::from_millis;
    let config = match name {
        "loss-bursty" => LinkConfig {
            burst: Some(Burst { every: ms(700), lasts: ms(40), loss: 0.7 }),
            delay: ms(30),
            ..LinkConfig::default()
        },
        "reordering" => LinkConfig { jitter: ms(10), reorders: 0.05, ..LinkConfig::default() },
        _ => LinkConfig { rate_bps: Some(700_000), ..LinkConfig::default() },
    };
    let both = if name == "narrow-downlink" { LinkConfig::default() } else { config };
    Scenario::new(name, people(3, &lossy(both, config))).lasting(6_000)
}

/// Late packets around many switches: none may get a number of the stream after it.
fn reordered_switches(name: &str) -> Scenario {
    let uplink = LinkConfig {
        reorders: 0.2,
        overtaken_by: Duration::from_millis(60),
        ..LinkConfig::default()
    };
    let mut spec = ActorSpec { uplink, ..ActorSpec::new() };
    spec.publish[1].fps = 30;
    spec.publish[1].bps = 400_000;
    let mut scenario = Scenario::new(name, people(3, &spec)).lasting(6_000);
    scenario.actors.push(ActorSpec { audio_slots: 1, video_slots: 1, ..ActorSpec::viewer() });
    for (index, at) in (1_000..5_500).step_by(150).enumerate() {
        let at_track = Target::Track(index % 3, Source::Camera);
        let look = Look::new(0, at_track);
        scenario = scenario.step(at, 3, Act::View(vec![look]));
    }
    scenario
}

/// Numbers that wrap or collide at the source.
fn numbers(name: &str) -> Scenario {
    let mut spec = ActorSpec::new();
    for track in &mut spec.publish {
        match name {
            "wraps" => {
                track.first_sequence = Some(65_500);
                track.first_rtp_time = Some(u32::MAX - 50_000);
            }
            "ssrc-collision" => track.ssrc = Some(0x1234_5678 + u32::from(track.fps == 0)),
            _ => track.first_picture_id = Some(32_760),
        }
    }
    if name == "ssrc-collision" {
        // Within one transport the two lines must differ; between publishers they collide.
        spec.publish[1].ssrc = Some(0x2345_6789);
    }
    let mut scenario = Scenario::new(name, people(3, &spec)).lasting(5_000);
    scenario.actors.push(ActorSpec { video_slots: 1, ..ActorSpec::viewer() });
    for (index, at) in (1_000..4_500).step_by(300).enumerate() {
        let at_track = Target::Track(index % 3, Source::Camera);
        let look = Look::new(0, at_track);
        scenario = scenario.step(at, 3, Act::View(vec![look]));
    }
    scenario
}

/// Thirty seconds of nothing, twice.
fn mute_valley(name: &str, paused_clock: PausedClock) -> Scenario {
    let mut actors = people(2, &ActorSpec::new());
    for track in &mut actors[0].publish {
        track.paused_clock = paused_clock;
    }
    let mut scenario = Scenario::new(name, actors).lasting(68_000);
    for at in [2_000, 34_000] {
        for source in [Source::Microphone, Source::Camera] {
            scenario = scenario.step(at, 0, Act::Mute(source, true)).step(
                at + 30_000,
                0,
                Act::Mute(source, false),
            );
        }
    }
    scenario
}

fn sends_while_muted(name: &str) -> Scenario {
    let mut actors = people(3, &ActorSpec::new());
    for track in &mut actors[0].publish {
        track.sends_while_muted = true;
    }
    Scenario::new(name, actors)
        .step(1_000, 0, Act::Mute(Source::Camera, true))
        .step(1_500, 0, Act::Mute(Source::Microphone, true))
        .step(3_000, 0, Act::Mute(Source::Camera, false))
        .step(3_500, 0, Act::Mute(Source::Microphone, false))
        .lasting(5_000)
}

fn views(name: &str) -> Scenario {
    let pin = |slot, who, priority| Look {
        priority,
        ..Look::new(slot, Target::Track(who, Source::Camera))
    };
    let follow = Look::new;
    let spec = ActorSpec { video_slots: 3, ..ActorSpec::new() };
    Scenario::new(name, people(5, &spec))
        .step(800, 0, Act::View(vec![pin(2, 1, 0), pin(0, 4, 0)]))
        .step(1_200, 0, Act::View(vec![pin(0, 1, 0), pin(2, 4, 0)]))
        .step(1_600, 0, Act::View(vec![pin(0, 2, 1), pin(1, 2, 9)]))
        .step(2_000, 0, Act::View(vec![follow(0, Target::ActiveSpeaker)]))
        .step(2_200, 1, Act::Level(90))
        .step(2_400, 0, Act::View(vec![follow(1, Target::ScreenShare), pin(0, 3, 0)]))
        .step(2_800, 2, Act::Publish(PublishSpec::screen(Codec::Vp9)))
        .step(3_200, 3, Act::Unpublish(Source::Camera))
        .step(3_400, 0, Act::View(Vec::new()))
        .step(3_800, 0, Act::View(vec![pin(1, 4, 0)]))
        .step(4_200, 4, Act::Leave)
        .lasting(5_000)
}

/// One looks at people, whatever they publish.
fn looks_at_people(name: &str) -> Scenario {
    let look = |slot, who, priority| Look { priority, ..Look::new(slot, Target::Participant(who)) };
    let pin = Look::new(1, Target::Track(2, Source::Camera));
    let spec = ActorSpec { video_slots: 2, ..ActorSpec::new() };
    let screen = || Act::Publish(PublishSpec::screen(Codec::Vp8));
    Scenario::new(name, people(4, &spec))
        .step(800, 0, Act::View(vec![look(0, 1, 0), look(1, 2, 0)]))
        .step(1_200, 1, screen())
        .step(1_600, 1, Act::Mute(Source::Screen, true))
        .step(2_000, 1, Act::Mute(Source::Camera, true))
        .step(2_400, 1, Act::Mute(Source::Screen, false))
        .step(2_800, 1, Act::Unpublish(Source::Screen))
        .step(3_000, 0, Act::View(vec![look(0, 2, 1), pin]))
        .step(3_400, 0, Act::View(vec![look(0, 2, 1), look(1, 2, 9)]))
        .step(3_800, 2, screen())
        .step(4_200, 0, Act::View(vec![look(1, 2, 0), Look::new(0, Target::ActiveSpeaker)]))
        .step(4_600, 2, Act::Leave)
        .step(5_000, 0, Act::View(vec![look(0, 0, 0)]))
        .step(5_400, 0, Act::View(Vec::new()))
        .step(5_600, 2, Act::Join)
        .lasting(6_500)
}

fn screens(name: &str) -> Scenario {
    let spec = ActorSpec { video_slots: 2, ..ActorSpec::new() };
    // Whoever follows the speaker sees a camera, however many screens there are.
    let speaker = Look::new(0, Target::ActiveSpeaker);
    let mut scenario =
        Scenario::new(name, people(4, &spec)).step(600, 3, Act::View(vec![speaker])).lasting(5_000);
    for who in 0..3 {
        let at = 1_000 + who as u64 * 400;
        scenario = scenario.step(at, who, Act::Publish(PublishSpec::screen(Codec::Vp8))).step(
            at + 2_000,
            who,
            Act::Unpublish(Source::Screen),
        );
    }
    scenario
}

fn cut_and_return(name: &str) -> Scenario {
    let mut scenario = Scenario::new(name, people(3, &ActorSpec::new()))
        // Short, long, and too long.
        .step(1_000, 0, Act::Cut)
        .step(2_000, 0, Act::Restore)
        .step(3_000, 0, Act::Reachable(false))
        .step(3_000, 0, Act::Cut)
        .step(9_000, 0, Act::Restore)
        .step(9_100, 0, Act::Reachable(true))
        .step(10_000, 1, Act::Cut)
        .step(28_000, 1, Act::Restore)
        .step(28_500, 1, Act::Join)
        .lasting(30_000);
    scenario.media_timeout = Duration::from_secs(12);
    scenario
}

fn killed(name: &str) -> Scenario {
    let mut scenario = Scenario::new(name, people(5, &ActorSpec::new()))
        .step(50, 4, Act::Kill)
        .step(1_000, 1, Act::Kill)
        .step(1_500, 2, Act::Close)
        .step(9_000, 1, Act::Join)
        .lasting(10_000);
    scenario.media_timeout = Duration::from_secs(4);
    scenario
}

fn ice_restart(name: &str) -> Scenario {
    Scenario::new(name, people(3, &ActorSpec::new()))
        .step(1_000, 0, Act::RestartIce { new_address: false })
        .step(2_500, 0, Act::RestartIce { new_address: true })
        .step(4_000, 1, Act::RestartIce { new_address: true })
        .lasting(6_000)
}

fn two_rooms(name: &str) -> Scenario {
    let mut actors = people(6, &ActorSpec::new());
    for (index, actor) in actors.iter_mut().enumerate() {
        actor.room = 1 + index as u64 % 3;
    }
    let mut scenario = Scenario::new(name, actors).step(2_000, 0, Act::CloseRoom).lasting(4_000);
    scenario.workers = 2;
    scenario
}
