//! A scenario from a seed: small calls, many kinds of trouble.

use std::time::Duration;

use convoke_client::media::Codec;
use convoke_client::source::{PausedClock, Scalability};
use convoke_protocol::Source;

use crate::link::{Burst, LinkConfig};
use crate::scenario::{Act, ActorSpec, LayersSpec, Look, PublishSpec, Scenario, Target};

/// Who joins at the start is connected by then.
const CONNECTED_MS: u64 = 1_200;

/// The scenario that a seed decides.
#[must_use]
pub fn random(seed: u64) -> Scenario {
    // Another stream than the run's own, which has the same seed.
    let mut random = fastrand::Rng::with_seed(seed ^ 0x5ce0_a210);
    let count = random.usize(2..=6);
    let trouble = random.f64() < 0.6;
    let actors: Vec<ActorSpec> = (0..count).map(|_| actor(&mut random, trouble)).collect();
    let length = random.u64(3_000..=6_000);
    let mut scenario = Scenario::new("random", actors).lasting(length);
    if random.f64() < 0.2 {
        scenario.workers = 2;
        for actor in &mut scenario.actors {
            actor.room = random.u64(1..=2);
        }
    }
    for _ in 0..random.usize(3..=12) {
        let who = random.usize(0..count);
        let at = random.u64(0..length);
        let act = act(&mut random, count);
        // Not in a handshake, for the same reason as in `link`.
        let early = !scenario.actors[who].joins || at < CONNECTED_MS;
        if act == Act::Cut && early {
            continue;
        }
        scenario = scenario.step(at, who, act.clone());
        if act == Act::Cut {
            scenario = scenario.step(at + random.u64(100..2_500), who, Act::Restore);
        }
        if act == Act::Reachable(false) {
            scenario = scenario.step(at + random.u64(100..1_000), who, Act::Reachable(true));
        }
    }
    scenario
}

fn pick<T: Copy>(random: &mut fastrand::Rng, from: &[T]) -> T {
    from[random.usize(0..from.len())]
}

fn actor(random: &mut fastrand::Rng, trouble: bool) -> ActorSpec {
    let mut publish = Vec::new();
    let sends = random.f64() < 0.9;
    if sends && random.f64() < 0.9 {
        publish.push(publication(random, Source::Microphone));
    }
    if sends && random.f64() < 0.8 {
        publish.push(publication(random, Source::Camera));
    }
    if sends && random.f64() < 0.15 {
        publish.push(publication(random, Source::Screen));
        publish.push(publication(random, Source::ScreenAudio));
    }
    let receives = !sends || random.f64() < 0.95;
    // Layers are for the camera that is there from the start: its m-line is made for them.
    if let Some(camera) = publish.iter_mut().find(|p| p.source == Source::Camera)
        && random.f64() < 0.4
    {
        layered(random, camera);
    }
    let described = publish.iter().filter_map(|p| p.layers.as_ref()).any(|l| l.descriptor);
    ActorSpec {
        room: 1,
        audio_slots: if receives { random.usize(1..=4) } else { 0 },
        video_slots: if receives { random.usize(1..=5) } else { 0 },
        publish,
        sends,
        uplink: link(random, trouble),
        downlink: link(random, trouble),
        joins: random.f64() < 0.8,
        descriptor: described || random.bool(),
    }
}

/// Gives a camera layers: simulcast of any codec, or scalable coding where there is any.
fn layered(random: &mut fastrand::Rng, camera: &mut PublishSpec) {
    let scalable = matches!(camera.codec, Codec::Vp9 | Codec::Av1) && random.bool();
    let descriptor = random.f64() < 0.4;
    let mut layers = if scalable {
        LayersSpec::scalable(pick(random, &[Scalability::L3T3, Scalability::L3T3Key]))
    } else {
        LayersSpec::simulcast()
    };
    layers.descriptor = descriptor;
    layers.flexible = random.bool();
    layers.encrypted = descriptor && random.f64() < 0.3;
    if !scalable {
        layers.encodings.truncate(random.usize(1..=3));
        layers.mode = pick(random, &[Scalability::L1T1, Scalability::L1T3]);
    }
    // AV1 tells of its layers in the descriptor only; see `tables::OPEN`.
    layers.descriptor |= camera.codec == Codec::Av1 && layers.mode != Scalability::L1T1;
    camera.layers = Some(layers);
    camera.fps = 15;
}

fn publication(random: &mut fastrand::Rng, source: Source) -> PublishSpec {
    let codec = match source {
        Source::Microphone | Source::ScreenAudio => Codec::Opus,
        Source::Camera | Source::Screen => pick(random, &Codec::VIDEO),
    };
    let clocks = [PausedClock::Runs, PausedClock::Stands, PausedClock::Jumps];
    PublishSpec {
        source,
        codec,
        muted: random.f64() < 0.15,
        level: random.u8(15..100),
        fps: random.u32(5..=20),
        bps: random.u32(60_000..300_000),
        // Near its wrap a lost start would leave the receiver's rollover count behind for ever
        // (RFC 3711 §3.3.1); the scenario `wraps` has it on a clean network.
        first_sequence: None,
        first_rtp_time: (random.f64() < 0.3).then(|| u32::MAX - random.u32(0..300_000)),
        first_picture_id: (random.f64() < 0.3).then(|| random.u16(32_700..32_768)),
        paused_clock: pick(random, &clocks),
        sends_while_muted: random.f64() < 0.1,
        ssrc: None,
        ..PublishSpec::microphone()
    }
}

fn link(random: &mut fastrand::Rng, trouble: bool) -> LinkConfig {
    // A round trip stays below the handshake's retransmission timer: that is random, and with it
    // runs would not repeat.
    let delay = Duration::from_millis(random.u64(0..25));
    let mut link = LinkConfig { delay, ..LinkConfig::default() };
    if !trouble {
        return link;
    }
    match random.u8(0..8) {
        0 => link.loss = 0.01,
        1 => link.loss = 0.05,
        2 => {
            let ms = Duration::from_millis;
            link.burst = Some(Burst { every: ms(900), lasts: ms(40), loss: 0.6 });
        }
        3 => link.jitter = Duration::from_millis(random.u64(1..15)),
        4 => {
            link.jitter = Duration::from_millis(random.u64(1..15));
            link.reorders = 0.05;
        }
        5 => {
            link.loss = 0.02;
            link.jitter = Duration::from_millis(10);
            link.reorders = 0.02;
        }
        6 => {
            link.rate_bps = Some(random.u64(300_000..3_000_000));
            link.queue = Duration::from_millis(random.u64(100..1_000));
        }
        _ => {}
    }
    link
}

fn act(random: &mut fastrand::Rng, count: usize) -> Act {
    let sources = [Source::Microphone, Source::Camera, Source::Screen, Source::ScreenAudio];
    match random.u8(0..28) {
        0..=3 => Act::Join,
        4 => Act::Leave,
        5 => Act::Close,
        6 => Act::Kill,
        7..=9 => {
            let source = pick(random, &sources);
            Act::Publish(publication(random, source))
        }
        10..=11 => Act::Unpublish(pick(random, &sources)),
        12..=13 => Act::Mute(pick(random, &sources), true),
        14..=17 => Act::Mute(pick(random, &sources), false),
        18 => Act::Level(random.u8(10..120)),
        19..=22 => Act::View((0..random.usize(0..4)).map(|_| look(random, count)).collect()),
        23 => Act::Cut,
        24 => Act::RestartIce { new_address: false },
        25 => Act::RestartIce { new_address: true },
        26 if random.bool() => Act::Reachable(false),
        26 => Act::DownRate(pick(random, &[Some(400_000), Some(1_500_000), None])),
        _ if random.f64() < 0.1 => Act::CloseRoom,
        _ => Act::Level(20),
    }
}

fn look(random: &mut fastrand::Rng, count: usize) -> Look {
    let source = if random.bool() { Source::Camera } else { Source::Screen };
    let at = match random.u8(0..4) {
        0 => Target::ActiveSpeaker,
        1 => Target::ScreenShare,
        _ => Target::Track(random.usize(0..count), source),
    };
    let sizes = [None, Some((1_280, 720)), Some((640, 360)), Some((320, 180)), Some((0, 0))];
    let rates = [None, None, Some(15), Some(5)];
    Look {
        priority: random.u8(0..3),
        size: pick(random, &sizes),
        frame_rate: pick(random, &rates),
        ..Look::new(random.usize(0..5), at)
    }
}
