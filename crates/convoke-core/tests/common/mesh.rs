//! Several workers with one call: a world for each shard, and the links between them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use convoke_client::media::Codec;
use convoke_client::source::{VideoConfig, VideoSource};
use convoke_core::{
    Action, Input, LeaveReason, MediaKind, Relay, RelayMessage, RoomId, WorkerConfig,
};

use super::World;

/// What went over one direction of a link.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Media packets, audio and video.
    pub media: [usize; 2],
    /// Video packets, by SSRC.
    pub by_ssrc: HashMap<u32, usize>,
    /// Packets that went twice.
    pub twice: usize,
    /// Keyframe requests.
    pub keyframes: usize,
    /// Everything else.
    pub words: usize,
    /// Packets named as withheld.
    pub withheld: usize,
    seen: HashSet<(u32, u64)>,
}

/// A call over several workers.
pub struct Mesh {
    pub worlds: Vec<World>,
    /// How long a message is on its way.
    pub delay: Duration,
    /// Loses everything that is said meanwhile.
    pub deaf: bool,
    /// The latest media that crossed.
    pub latest: Option<Relay>,
    pub traffic: HashMap<(usize, usize), Traffic>,
    on_way: VecDeque<(Instant, Relay)>,
}

/// The room of a shard.
pub fn shard(index: usize) -> RoomId {
    RoomId(7 << 8 | index as u64).with_shard(u8::try_from(index).expect("few shards"))
}

impl Mesh {
    /// So many workers, nobody there yet.
    pub fn new(workers: usize) -> Self {
        let world = |index: usize| {
            let port = 9_000 + u16::try_from(index).expect("few workers");
            let config = WorkerConfig::new(vec![SocketAddr::from(([127, 0, 0, 1], port))]);
            let mut world = World::new(config, index as u64 + 1);
            world.room = shard(index);
            world
        };
        let mut worlds: Vec<World> = (0..workers).map(world).collect();
        let now = worlds[0].now;
        for world in &mut worlds {
            (world.now, world.start) = (now, now);
        }
        let (traffic, on_way) = (HashMap::new(), VecDeque::new());
        Self { worlds, delay: Duration::ZERO, deaf: false, latest: None, traffic, on_way }
    }

    /// Links two shards with each other.
    pub fn link(&mut self, one: usize, other: usize) {
        for (here, there) in [(one, other), (other, one)] {
            self.worlds[here].command(Action::Link { peer: shard(there) }).expect("links");
        }
        self.pump();
    }

    pub fn link_all(&mut self) {
        for one in 0..self.worlds.len() {
            for other in one + 1..self.worlds.len() {
                self.link(one, other);
            }
        }
    }

    /// One participant on each shard, ids from 1, each with a camera of this codec.
    pub fn of_one_each(workers: usize, camera: Option<Codec>) -> Self {
        let mut mesh = Self::new(workers);
        mesh.link_all();
        for index in 0..workers {
            mesh.join(index, index as u32 + 1, camera);
        }
        mesh
    }

    pub fn join(&mut self, world: usize, id: u32, camera: Option<Codec>) -> usize {
        let world = &mut self.worlds[world];
        let peer = world.join(id, camera);
        // Small enough that bandwidth is never the reason.
        world.peers[peer].video = camera.map(|codec| {
            let mut config = VideoConfig::new(codec, id, world.start, world.now);
            config.bps = 120_000;
            (1, VideoSource::new(config, u64::from(id)))
        });
        self.pump();
        peer
    }

    pub fn leave(&mut self, world: usize, peer: usize) {
        self.worlds[world].leave(peer);
        self.pump();
    }

    pub fn unlink(&mut self, world: usize, other: usize, reason: LeaveReason) {
        self.worlds[world].command(Action::Unlink { peer: shard(other), reason }).expect("done");
        self.pump();
    }

    pub fn command(&mut self, world: usize, action: Action) {
        self.worlds[world].command(action).expect("carried out");
        self.pump();
    }

    /// Says something over a link, whoever it may be.
    pub fn say(&mut self, from: RoomId, to: usize, message: RelayMessage) {
        let world = &mut self.worlds[to];
        let relay = Relay { to: shard(to), from, message };
        world.worker.handle(world.now, Input::Relay(relay), &mut world.out);
        self.pump();
    }

    pub fn run(&mut self, duration: Duration) {
        let end = self.worlds[0].now + duration;
        while self.worlds[0].now < end {
            self.worlds.iter_mut().for_each(World::begin_step);
            for _ in 0..4 {
                self.worlds.iter_mut().for_each(World::exchange);
                self.pump();
            }
        }
    }

    /// Hands on what workers have to say to each other, until they are silent.
    pub fn pump(&mut self) {
        loop {
            let mut said = Vec::new();
            for world in &mut self.worlds {
                said.append(&mut world.out.relays);
            }
            let now = self.worlds[0].now;
            for relay in said {
                self.count(&relay);
                if self.deaf {
                    continue;
                }
                self.on_way.push_back((now + self.delay, relay));
            }
            let arrived = |(at, _): &(Instant, Relay)| *at <= now;
            if !self.on_way.front().is_some_and(arrived) {
                break;
            }
            while let Some((_, relay)) = self.on_way.pop_front_if(|entry| arrived(entry)) {
                let to = usize::from(relay.to.shard());
                if let Some(world) = self.worlds.get_mut(to) {
                    world.worker.handle(now, Input::Relay(relay), &mut world.out);
                }
            }
        }
        // Replies and events of what came over links.
        self.worlds.iter_mut().for_each(World::settle);
    }

    fn count(&mut self, relay: &Relay) {
        let link = (usize::from(relay.from.shard()), usize::from(relay.to.shard()));
        let traffic = self.traffic.entry(link).or_default();
        match &relay.message {
            RelayMessage::Media { packet, withheld, .. } => {
                self.latest = Some(relay.clone());
                let video = packet.kind() == MediaKind::Video;
                traffic.media[usize::from(video)] += 1;
                if video {
                    *traffic.by_ssrc.entry(packet.ssrc()).or_default() += 1;
                }
                traffic.withheld += withheld.iter().map(|w| usize::from(w.count)).sum::<usize>();
                traffic.twice +=
                    usize::from(!traffic.seen.insert((packet.ssrc(), packet.sequence())));
            }
            RelayMessage::Keyframe { .. } => traffic.keyframes += 1,
            _ => traffic.words += 1,
        }
    }

    /// What went from one shard to another.
    pub fn went(&mut self, from: usize, to: usize) -> &Traffic {
        self.traffic.entry((from, to)).or_default()
    }

    /// Counts from now on.
    pub fn forget_traffic(&mut self) {
        self.traffic.clear();
        for world in &mut self.worlds {
            world.peers.iter_mut().for_each(|peer| peer.received.clear());
        }
    }

    /// Relay messages dropped, all reasons and workers.
    pub fn drops(&self) -> u64 {
        self.worlds.iter().map(|w| w.worker.stats().relay_drops.iter().sum::<u64>()).sum()
    }
}
