//! Tests of the allocator: tables, laws, and its behaviour in time.

mod laws;
mod tables;
mod time;

use std::time::{Duration, Instant};

use super::{Decision, Demand, Kind, Layer, Rung, SlotId, State, Want, Wish, allocate};
use crate::ids::TrackId;

const AUDIO_BPS: u64 = 40_000;
const K: u64 = 1_000;

fn layer(spatial: u8, temporal: u8) -> Layer {
    Layer { spatial, temporal }
}

fn rung(spatial: u8, temporal: u8, kbps: u64, height: u32, fps: u32) -> Rung {
    Rung {
        layer: layer(spatial, temporal),
        bitrate_bps: kbps * K,
        width: height * 16 / 9,
        height,
        fps,
        flowing: true,
    }
}

/// Three simulcast encodings without temporal layers: 150, 500 and 1700 kbit/s.
fn plain() -> Vec<Rung> {
    vec![rung(0, 0, 150, 180, 30), rung(1, 0, 500, 360, 30), rung(2, 0, 1700, 720, 30)]
}

/// Three sizes with three frame rates each.
fn full() -> Vec<Rung> {
    vec![
        rung(0, 0, 60, 180, 8),
        rung(0, 1, 100, 180, 15),
        rung(0, 2, 150, 180, 30),
        rung(1, 0, 220, 360, 8),
        rung(1, 1, 350, 360, 15),
        rung(1, 2, 500, 360, 30),
        rung(2, 0, 750, 720, 8),
        rung(2, 1, 1200, 720, 15),
        rung(2, 2, 1700, 720, 30),
    ]
}

/// A screen with two sizes and two frame rates.
fn slides() -> Vec<Rung> {
    vec![
        rung(0, 0, 200, 720, 5),
        rung(0, 1, 400, 720, 30),
        rung(1, 0, 600, 1080, 5),
        rung(1, 1, 1500, 1080, 30),
    ]
}

/// A want that owns its rungs.
#[derive(Debug, Clone)]
struct Tile {
    track: u32,
    kind: Kind,
    priority: u8,
    wish: Wish,
    fps_max: Option<u32>,
    rungs: Vec<Rung>,
}

fn tile(kind: Kind, rungs: Vec<Rung>) -> Tile {
    Tile { track: 0, kind, priority: 0, wish: Wish::Any, fps_max: None, rungs }
}

fn camera() -> Tile {
    tile(Kind::Camera, plain())
}

fn screen() -> Tile {
    tile(Kind::Screen, slides())
}

impl Tile {
    fn height(mut self, height: u32) -> Self {
        self.wish = Wish::from_pixels(Some(height * 16 / 9), Some(height));
        self
    }

    fn wish(mut self, wish: Wish) -> Self {
        self.wish = wish;
        self
    }

    fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    fn fps(mut self, fps_max: u32) -> Self {
        self.fps_max = Some(fps_max);
        self
    }

    fn rungs(mut self, rungs: Vec<Rung>) -> Self {
        self.rungs = rungs;
        self
    }

    /// Only these sizes flow.
    fn flowing(mut self, sizes: &[u8]) -> Self {
        for rung in &mut self.rungs {
            rung.flowing = sizes.contains(&rung.layer.spatial);
        }
        self
    }
}

fn wants(tiles: &[Tile]) -> Vec<Want<'_>> {
    let want = |(slot, tile): (u32, &'_ Tile)| Want {
        slot: SlotId(slot),
        // Without a track of its own, a tile has the slot's.
        track: TrackId(if tile.track == 0 { slot + 1 } else { tile.track }),
        kind: tile.kind,
        priority: tile.priority,
        wish: tile.wish,
        fps_max: tile.fps_max,
        rungs: tiles[slot as usize].rungs.as_slice(),
    };
    (0..).zip(tiles).map(want).collect()
}

/// `360p30 Bandwidth`, or `- Paused`.
fn show(tiles: &[Tile], decisions: &[Decision]) -> Vec<String> {
    let one = |(tile, decision): (&Tile, &Decision)| {
        let rung = tile.rungs.iter().find(|rung| Some(rung.layer) == decision.rung);
        let what = rung.map_or("-".to_owned(), |rung| format!("{}p{}", rung.height, rung.fps));
        format!("{what} {:?}", decision.reason)
    };
    tiles.iter().zip(decisions).map(one).collect()
}

/// One subscriber in virtual time.
struct Viewer {
    now: Instant,
    start: Instant,
    state: State,
    tiles: Vec<Tile>,
    last: Vec<Option<Layer>>,
    /// When each slot's rung changed, the first showing left out.
    switches: Vec<Vec<Duration>>,
    again_at: Option<Instant>,
    probe_to_bps: Option<u64>,
}

impl Viewer {
    fn new(tiles: Vec<Tile>) -> Self {
        let now = Instant::now();
        let slots = tiles.len();
        Self {
            now,
            start: now,
            state: State::default(),
            tiles,
            last: Vec::new(),
            switches: vec![Vec::new(); slots],
            again_at: None,
            probe_to_bps: None,
        }
    }

    /// One call, which must keep to the estimate.
    fn call(&mut self, estimate_bps: Option<u64>) -> Vec<Decision> {
        let wants = wants(&self.tiles);
        let demand = Demand { estimate_bps, audio_bps: AUDIO_BPS, wants: &wants };
        let allocation = allocate(self.now, &demand, &mut self.state);
        if let Some(estimate_bps) = estimate_bps {
            let video_bps = estimate_bps.saturating_sub(AUDIO_BPS);
            assert!(allocation.allocated_bps <= video_bps, "{allocation:?}");
        }
        let rungs: Vec<_> = allocation.decisions.iter().map(|decision| decision.rung).collect();
        for (slot, (was, is)) in self.last.iter().zip(&rungs).enumerate() {
            if was != is {
                self.switches[slot].push(self.now - self.start);
            }
        }
        self.last = rungs;
        self.again_at = allocation.again_at;
        self.probe_to_bps = allocation.probe_to_bps;
        allocation.decisions
    }

    /// One call, for people.
    fn shown(&mut self, estimate_bps: u64) -> Vec<String> {
        let decisions = self.call(Some(estimate_bps));
        show(&self.tiles, &decisions)
    }

    /// Calls every 100 ms for `span` with what `estimate` says of the time that has passed since
    /// the viewer came.
    fn run(&mut self, span: Duration, mut estimate: impl FnMut(Duration) -> u64) -> Vec<String> {
        let end = self.now + span;
        let mut decisions = Vec::new();
        while self.now < end {
            decisions = self.call(Some(estimate(self.now - self.start)));
            self.now += Duration::from_millis(100);
        }
        show(&self.tiles, &decisions)
    }

    /// The most switches of a slot in any minute.
    fn most_in_a_minute(&self, slot: usize) -> usize {
        let switches = &self.switches[slot];
        let minute = Duration::from_secs(60);
        let from = |at: Duration| switches.iter().filter(move |s| **s >= at && **s < at + minute);
        switches.iter().map(|at| from(*at).count()).max().unwrap_or(0)
    }
}
