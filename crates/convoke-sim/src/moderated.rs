//! A random history of permissions, lobby and removals, from a seed.

use std::time::Duration;

use convoke_client::media::Codec;
use convoke_core::Permissions;
use convoke_protocol::Source;

use crate::scenario::{Act, ActorSpec, PublishSpec, Scenario};

/// What the roles of the control plane let a participant do, and one who may not receive.
const SETS: [Permissions; 4] = [
    Permissions::ALL,
    Permissions { screen: false, ..Permissions::ALL },
    Permissions { microphone: false, camera: false, screen: false, ..Permissions::ALL },
    Permissions { receive: false, ..Permissions::ALL },
];

/// The scenario that a seed decides: on a good network, so that what does not flow was not let.
#[must_use]
pub fn moderated(seed: u64) -> Scenario {
    let mut random = fastrand::Rng::with_seed(seed ^ 0x10b1_4e11);
    let count = random.usize(3..=6);
    let actor = |at: usize| {
        let camera = PublishSpec { sends_while_muted: true, ..PublishSpec::camera(Codec::Vp8) };
        let publish = vec![PublishSpec::microphone(), camera];
        // The first is always there, and sees everyone.
        ActorSpec { audio_slots: 6, video_slots: 8, publish, joins: at == 0, ..ActorSpec::new() }
    };
    let length = 8_000;
    let mut scenario = Scenario::new("moderated", (0..count).map(actor).collect()).lasting(length);
    for who in 1..count {
        let first = if random.bool() { Act::Join } else { Act::Knock };
        scenario = scenario.step(random.u64(0..800), who, first);
        for _ in 0..random.usize(2..=6) {
            let act = act(&mut random);
            scenario = scenario.step(random.u64(800..length), who, act);
        }
    }
    // What was toggled fast settles like anything else.
    if random.f64() < 0.3 {
        for step in 0..20_u64 {
            let set = SETS[usize::try_from(step % 4).unwrap_or(0)];
            scenario = scenario.step(3_000 + step * 50, 1, Act::Permit(set));
        }
    }
    scenario.media_timeout = Duration::from_secs(12);
    scenario
}

fn act(random: &mut fastrand::Rng) -> Act {
    match random.u8(0..16) {
        0..=5 => Act::Permit(SETS[random.usize(0..SETS.len())]),
        6..=8 => Act::Admit,
        9 => Act::Knock,
        10 => Act::Join,
        11 => Act::Remove,
        12 => Act::Leave,
        13 => Act::Publish(PublishSpec::microphone()),
        14 => Act::Publish(PublishSpec::camera(Codec::Vp8)),
        _ => {
            Act::Publish(PublishSpec { source: Source::Screen, ..PublishSpec::screen(Codec::Vp8) })
        }
    }
}
