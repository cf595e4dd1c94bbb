//! Scenarios of layers and bandwidth, as tables.
//!
//! Owns: each network with what viewers behind it must get, and each kind of layered camera.
//! Never: code where a row will do.

use std::time::Duration;

use convoke_client::media::Codec;
use convoke_client::source::Scalability;

use crate::link::{Burst, LinkConfig};
use crate::scenario::{Act, ActorSpec, Bounds, LayersSpec, Look, PublishSpec, Scenario, Target};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const CLEAN: LinkConfig = LinkConfig {
    loss: 0.0,
    burst: None,
    delay: ms(20),
    jitter: Duration::ZERO,
    reorders: 0.0,
    overtaken_by: ms(30),
    loses_handshakes: false,
    rate_bps: None,
    queue: ms(300),
};

const fn lossy(loss: f64) -> LinkConfig {
    LinkConfig { loss, ..CLEAN }
}

/// Loss of this share, all of it in bursts of 80 ms in which most is lost.
const fn bursty(every_ms: u64) -> LinkConfig {
    LinkConfig { burst: Some(Burst { every: ms(every_ms), lasts: ms(80), loss: 0.8 }), ..CLEAN }
}

const fn far(delay_ms: u64) -> LinkConfig {
    LinkConfig { delay: ms(delay_ms), ..CLEAN }
}

const fn narrow(kbps: u64, queue_ms: u64) -> LinkConfig {
    LinkConfig { rate_bps: Some(kbps * 1_000), queue: ms(queue_ms), ..CLEAN }
}

/// One row of [`NETWORKS`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Network {
    name: &'static str,
    /// Of the viewer that is looked at; both ways where it is not about capacity.
    link: LinkConfig,
    /// Of the publishers.
    uplink: LinkConfig,
    /// When the viewer's downlink gets which capacity, in kbit/s.
    steps: &'static [(u64, Option<u64>)],
    length_ms: u64,
    /// Heights that the viewer's two slots show at the end; 720 and 180 are wished.
    heights: Option<[u16; 2]>,
    freezes: Option<u64>,
    longest_freeze_ms: Option<u64>,
    audio: Option<f64>,
    utilisation: Option<f64>,
    estimate: Option<u64>,
    switches: usize,
    skew_ms: u64,
}

const ROW: Network = Network {
    name: "",
    link: CLEAN,
    uplink: CLEAN,
    steps: &[],
    length_ms: 20_000,
    heights: Some([720, 180]),
    freezes: Some(0),
    longest_freeze_ms: None,
    audio: Some(0.99),
    utilisation: None,
    estimate: None,
    switches: 6,
    skew_ms: 40,
};

/// Two simulcast cameras, a viewer behind this network, and one on a clean network beside it.
pub static NETWORKS: [Network; 20] = [
    Network { name: "net-clean", estimate: Some(1_500_000), ..ROW },
    // A packet that is lost with its first repetition costs a moment.
    Network {
        name: "net-loss-1",
        link: lossy(0.01),
        freezes: Some(1),
        longest_freeze_ms: Some(400),
        ..ROW
    },
    Network { name: "net-loss-5", link: lossy(0.05), freezes: None, ..ROW },
    Network { name: "net-loss-20", link: lossy(0.2), freezes: None, heights: None, ..ROW },
    Network { name: "net-burst-1", link: bursty(6_000), freezes: None, ..ROW },
    Network { name: "net-burst-5", link: bursty(1_200), freezes: None, heights: None, ..ROW },
    Network { name: "net-burst-20", link: bursty(240), freezes: None, heights: None, ..ROW },
    Network { name: "net-rtt-20", link: far(10), ..ROW },
    Network { name: "net-rtt-100", link: far(50), ..ROW },
    Network { name: "net-rtt-400", link: far(200), ..ROW },
    Network {
        name: "net-100k",
        link: narrow(100, 1_000),
        heights: None,
        audio: None,
        freezes: None,
        ..ROW
    },
    Network { name: "net-300k", link: narrow(300, 500), heights: Some([180, 180]), ..ROW },
    Network { name: "net-1m", link: narrow(1_000, 300), heights: Some([360, 180]), ..ROW },
    Network { name: "net-2m-deep", link: narrow(2_000, 1_000), ..ROW },
    Network { name: "net-5m-shallow", link: narrow(5_000, 100), ..ROW },
    Network {
        name: "net-steps",
        link: narrow(3_000, 300),
        steps: &[(15_000, Some(600)), (30_000, Some(3_000))],
        length_ms: 55_000,
        freezes: Some(4),
        // For about a second the path carries a third of what is sent.
        audio: Some(0.975),
        ..ROW
    },
    Network {
        name: "net-reordering",
        link: LinkConfig { jitter: ms(10), reorders: 0.05, ..CLEAN },
        ..ROW
    },
    // Delays that come and go and mean nothing: a busy machine, a radio that sleeps.
    Network { name: "net-jitter", link: LinkConfig { jitter: ms(40), ..CLEAN }, ..ROW },
    Network {
        name: "net-jitter-steps",
        link: LinkConfig { jitter: ms(25), ..narrow(3_000, 300) },
        steps: &[(15_000, Some(600)), (30_000, Some(3_000))],
        length_ms: 55_000,
        freezes: Some(8),
        audio: Some(0.94),
        // Its path becomes clearly better (see `allocate.md`, 3).
        switches: 8,
        ..ROW
    },
    Network {
        name: "net-uplink-loss",
        uplink: lossy(0.05),
        freezes: None,
        audio: Some(0.92),
        estimate: Some(1_500_000),
        ..ROW
    },
];

impl Network {
    /// The scenario's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    fn scenario(&self) -> Scenario {
        let camera = PublishSpec::layered(Codec::Vp8, LayersSpec::simulcast());
        let publisher = ActorSpec { uplink: self.uplink, ..ActorSpec::publisher(camera) };
        let viewer = ActorSpec { audio_slots: 2, video_slots: 2, ..ActorSpec::viewer() };
        let uplink = LinkConfig { rate_bps: None, ..self.link };
        let behind = ActorSpec { downlink: self.link, uplink, ..viewer.clone() };
        let actors = vec![publisher.clone(), publisher, behind, viewer];
        let wish =
            || Act::View(vec![Look::camera(0, 0, (1_280, 720)), Look::camera(1, 1, (320, 180))]);
        let mut scenario = Scenario::new(self.name, actors)
            .step(100, 2, wish())
            .step(100, 3, wish())
            .lasting(self.length_ms);
        for (at, kbps) in self.steps {
            scenario = scenario.step(*at, 2, Act::DownRate(kbps.map(|kbps| kbps * 1_000)));
        }
        let mut heights = vec![(3, 0, 720), (3, 1, 180)];
        heights.extend(self.heights.iter().flat_map(|[big, small]| [(2, 0, *big), (2, 1, *small)]));
        scenario.bounds = Bounds {
            freezes: self.freezes,
            switches: self.switches,
            longest_freeze: self.longest_freeze_ms.map(ms),
            audio: self.audio,
            utilisation: self.utilisation,
            estimate: self.estimate,
            heights,
            skew: ms(self.skew_ms),
            ..Bounds::default()
        };
        scenario
    }
}

/// One row of [`CAMERAS`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Camera {
    name: &'static str,
    codec: Codec,
    mode: Scalability,
    simulcast: bool,
    flexible: bool,
    descriptor: bool,
    encrypted: bool,
}

const SIMULCAST: Camera = Camera {
    name: "",
    codec: Codec::Vp8,
    mode: Scalability::L1T3,
    simulcast: true,
    flexible: true,
    descriptor: false,
    encrypted: false,
};
const SCALABLE: Camera =
    Camera { codec: Codec::Vp9, mode: Scalability::L3T3, simulcast: false, ..SIMULCAST };

/// Two such cameras, and a viewer who wants ever another size.
pub static CAMERAS: [Camera; 17] = [
    Camera { name: "simulcast-vp8", ..SIMULCAST },
    Camera { name: "simulcast-vp9", codec: Codec::Vp9, ..SIMULCAST },
    Camera { name: "simulcast-vp9-fixed", codec: Codec::Vp9, flexible: false, ..SIMULCAST },
    Camera { name: "simulcast-h264", codec: Codec::H264, ..SIMULCAST },
    Camera { name: "simulcast-av1", codec: Codec::Av1, ..SIMULCAST },
    Camera { name: "simulcast-vp8-dd", descriptor: true, ..SIMULCAST },
    Camera { name: "simulcast-h264-dd", codec: Codec::H264, descriptor: true, ..SIMULCAST },
    Camera { name: "simulcast-av1-dd", codec: Codec::Av1, descriptor: true, ..SIMULCAST },
    Camera { name: "simulcast-encrypted", descriptor: true, encrypted: true, ..SIMULCAST },
    Camera { name: "svc-vp9", ..SCALABLE },
    Camera { name: "svc-vp9-fixed", flexible: false, ..SCALABLE },
    Camera { name: "svc-vp9-dd", descriptor: true, ..SCALABLE },
    Camera { name: "svc-vp9-key", mode: Scalability::L3T3Key, ..SCALABLE },
    Camera { name: "svc-vp9-key-dd", mode: Scalability::L3T3Key, descriptor: true, ..SCALABLE },
    Camera { name: "svc-av1-dd", codec: Codec::Av1, descriptor: true, ..SCALABLE },
    Camera {
        name: "svc-av1-key-dd",
        codec: Codec::Av1,
        mode: Scalability::L3T3Key,
        descriptor: true,
        ..SCALABLE
    },
    Camera {
        name: "svc-av1-encrypted",
        codec: Codec::Av1,
        descriptor: true,
        encrypted: true,
        ..SCALABLE
    },
];

/// What the core does not do yet: to be found by name, but not among those that must hold.
///
/// AV1 without dependency descriptor says nothing of where one may go up, or how large its spatial
/// layers are.
static OPEN: [Camera; 1] = [Camera { name: "svc-av1", codec: Codec::Av1, ..SCALABLE }];

impl Camera {
    /// The scenario's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What is published.
    #[must_use]
    pub fn publication(&self) -> PublishSpec {
        let layers = if self.simulcast {
            LayersSpec { mode: self.mode, ..LayersSpec::simulcast() }
        } else {
            LayersSpec::scalable(self.mode)
        };
        let layers = LayersSpec {
            flexible: self.flexible,
            descriptor: self.descriptor,
            encrypted: self.encrypted,
            ..layers
        };
        PublishSpec::layered(self.codec, layers)
    }

    /// Whoever receives it, and publishes nothing.
    fn viewer(&self) -> ActorSpec {
        let descriptor = self.descriptor;
        ActorSpec { audio_slots: 2, video_slots: 2, descriptor, ..ActorSpec::viewer() }
    }

    fn scenario(&self) -> Scenario {
        let publisher = ActorSpec::publisher(self.publication());
        let mut actors = vec![publisher.clone(), publisher, self.viewer()];
        if !self.encrypted {
            // One that did not offer the descriptor gets the same.
            actors.push(ActorSpec { descriptor: false, ..self.viewer() });
        }
        let (big, middle, small) = ((1_280, 720), (640, 360), (320, 180));
        let slow = |look: Look| Look { frame_rate: Some(5), ..look };
        let views = [
            (500, vec![Look::camera(0, 0, big), Look::camera(1, 1, small)]),
            (5_000, vec![Look::camera(0, 0, small), Look::camera(1, 1, big)]),
            (8_000, vec![slow(Look::camera(0, 0, middle)), Look::camera(1, 1, (0, 0))]),
            (11_000, vec![Look::camera(0, 1, middle), Look::camera(1, 0, middle)]),
            (14_000, vec![Look::camera(0, 1, big), Look::camera(1, 0, small)]),
        ];
        let mut scenario = Scenario::new(self.name, actors).lasting(17_000);
        for who in 2..scenario.actors.len() {
            for (at, view) in &views {
                scenario = scenario.step(*at, who, Act::View(view.clone()));
            }
        }
        let ends = |who| [(who, 0, 720), (who, 1, 180)];
        scenario.bounds = Bounds {
            freezes: Some(0),
            audio: Some(0.999),
            heights: (2..scenario.actors.len()).flat_map(ends).collect(),
            first_picture: Some(ms(2_000)),
            ..Bounds::default()
        };
        scenario
    }
}

/// Scenarios that are no row of a table.
pub(crate) const SPECIAL: [&str; 9] = [
    "nobody-watches",
    "first-watcher",
    "late-joiner-66000",
    "layer-wraps-vp8",
    "layer-wraps-vp9",
    "layer-collision",
    "layer-mute-valley",
    "two-hundred",
    "speakers-on-a-narrow-path",
];

/// The scenario of this name, if it is in one of the tables.
pub(crate) fn tabled(name: &str) -> Option<Scenario> {
    let network = NETWORKS.iter().find(|network| network.name == name).map(Network::scenario);
    let camera =
        || CAMERAS.iter().chain(&OPEN).find(|camera| camera.name == name).map(Camera::scenario);
    network.or_else(camera).or_else(|| special(name))
}

fn special(name: &str) -> Option<Scenario> {
    let scenario = match name {
        "nobody-watches" => nobody_watches(name),
        "first-watcher" => first_watcher(name),
        "late-joiner-66000" => late_joiner(name),
        "layer-wraps-vp8" => numbers(name, SIMULCAST),
        "layer-wraps-vp9" => numbers(name, Camera { flexible: false, ..SCALABLE }),
        "layer-collision" => numbers(name, SIMULCAST),
        "layer-mute-valley" => mute_valley(name),
        "two-hundred" => two_hundred(name),
        "speakers-on-a-narrow-path" => speakers(name),
        _ => return None,
    };
    Some(scenario)
}

/// No video is sent, as long as the others only listen.
fn nobody_watches(name: &str) -> Scenario {
    let camera = ActorSpec::publisher(SIMULCAST.publication());
    let listener = ActorSpec { video_slots: 0, ..SIMULCAST.viewer() };
    let mut scenario = Scenario::new(name, vec![camera.clone(), camera, listener]).lasting(20_000);
    scenario.bounds.video_in = Some(100);
    scenario.bounds.audio = Some(0.999);
    scenario
}

fn first_watcher(name: &str) -> Scenario {
    let camera = ActorSpec::publisher(SIMULCAST.publication());
    let viewer = ActorSpec { joins: false, ..SIMULCAST.viewer() };
    let mut scenario =
        Scenario::new(name, vec![camera.clone(), camera, viewer]).step(10_000, 2, Act::Join);
    scenario.length = ms(14_000);
    // A handshake, a round trip for the demand, an interval between keyframes.
    scenario.bounds.first_picture = Some(ms(800));
    scenario.bounds.keyframe_requests = 1.0;
    scenario
}

/// Someone comes when the source's sequence numbers have gone round.
fn late_joiner(name: &str) -> Scenario {
    let camera = PublishSpec {
        fps: 60,
        bps: 1_250_000,
        packet_bytes: 130,
        ignores_demand: true,
        ..PublishSpec::camera(Codec::Vp8)
    };
    let viewer = ActorSpec { joins: false, ..SIMULCAST.viewer() };
    let actors = vec![ActorSpec::publisher(camera), viewer];
    let mut scenario = Scenario::new(name, actors).step(35_000, 1, Act::Join).lasting(37_000);
    scenario.bounds.first_picture = Some(ms(1_500));
    scenario.bounds.settled = ms(36_500);
    scenario.bounds.freezes = Some(0);
    scenario
}

/// Everything wraps or collides at the source while layers change.
fn numbers(name: &str, camera: Camera) -> Scenario {
    let mut actors = vec![ActorSpec::publisher(camera.publication()); 2];
    for track in actors.iter_mut().flat_map(|actor| &mut actor.publish) {
        if name == "layer-collision" {
            let first = if track.codec == Codec::Opus { 0x1000_0000 } else { 0x2000_0000 };
            track.ssrc = Some(first);
        } else {
            track.first_sequence = Some(65_400);
            track.first_rtp_time = Some(u32::MAX - 200_000);
            track.first_picture_id = Some(32_740);
        }
    }
    actors.push(camera.viewer());
    let sizes = [(1_280, 720), (320, 180), (640, 360)];
    let mut scenario = Scenario::new(name, actors).lasting(12_000);
    for (turn, at) in (500..11_500).step_by(700).enumerate() {
        let look = |slot: usize| {
            let size = sizes.get((turn + slot) % 3).copied().unwrap_or_default();
            Look::camera(slot, (turn / 4 + slot) % 2, size)
        };
        scenario = scenario.step(at, 2, Act::View(vec![look(0), look(1)]));
    }
    // The wishes change more often than paths do.
    scenario.bounds.switches = usize::MAX;
    scenario.bounds.layer_changes = usize::MAX;
    scenario.bounds.audio = Some(0.999);
    scenario
}

fn mute_valley(name: &str) -> Scenario {
    let camera = ActorSpec::publisher(SIMULCAST.publication());
    let viewer = SIMULCAST.viewer();
    let mut scenario = Scenario::new(name, vec![camera.clone(), camera, viewer]).lasting(42_000);
    let wish = vec![Look::camera(0, 0, (1_280, 720)), Look::camera(1, 1, (320, 180))];
    scenario = scenario.step(200, 2, Act::View(wish));
    for source in [convoke_protocol::Source::Microphone, convoke_protocol::Source::Camera] {
        scenario = scenario.step(6_000, 0, Act::Mute(source, true)).step(
            36_000,
            0,
            Act::Mute(source, false),
        );
    }
    scenario.bounds.freezes = Some(0);
    scenario.bounds.heights = vec![(2, 0, 720), (2, 1, 180)];
    scenario
}

/// A large room in which people come and go, and few speak.
fn two_hundred(name: &str) -> Scenario {
    let mut camera = PublishSpec { fps: 2, bps: 12_000, ..PublishSpec::camera(Codec::Vp8) };
    camera.layers = None;
    let spec = ActorSpec {
        audio_slots: 3,
        video_slots: 4,
        publish: vec![PublishSpec { muted: true, ..PublishSpec::microphone() }, camera],
        ..ActorSpec::new()
    };
    let mut actors = vec![spec; 200];
    for (who, actor) in actors.iter_mut().enumerate() {
        if let Some(microphone) = actor.publish.first_mut() {
            microphone.muted = who >= 3;
        }
        actor.joins = who < 190;
    }
    let mut scenario = Scenario::new(name, actors).lasting(3_000);
    for turn in 0..10_usize {
        let at = 1_500 + 100 * turn as u64;
        scenario = scenario.step(at, 190 + turn, Act::Join).step(at, 10 + turn, Act::Leave);
    }
    scenario
}

/// Whoever speaks is shown large, on a path that does not carry all.
fn speakers(name: &str) -> Scenario {
    let publisher = ActorSpec::publisher(SIMULCAST.publication());
    let mut actors = vec![publisher; 4];
    for actor in actors.iter_mut().skip(1) {
        actor.publish.iter_mut().for_each(|track| track.level = 90);
    }
    actors.push(ActorSpec {
        downlink: narrow(1_500, 300),
        audio_slots: 4,
        video_slots: 4,
        ..ActorSpec::viewer()
    });
    let speaker = Look { size: Some((1_280, 720)), ..Look::new(0, Target::ActiveSpeaker) };
    let mut scenario = Scenario::new(name, actors).step(200, 4, Act::View(vec![speaker]));
    for turn in 0..4_usize {
        let at = 10_000 + 6_000 * turn as u64;
        scenario = scenario.step(at, turn, Act::Level(90)).step(at, (turn + 1) % 4, Act::Level(20));
    }
    scenario.length = ms(34_000);
    scenario.bounds.audio = Some(0.99);
    scenario
}
