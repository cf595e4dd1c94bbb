//! A slot's ladder: the rungs that make sense for it, each dearer and better than the one below.
//!
//! Owns: what a wish means in rungs.
//! Never: knows bandwidth.

use super::{Kind, Layer, Rung, Want, Wish};

/// Bitrates beyond this are taken for this, so that sums cannot overflow.
const BITRATE_MAX_BPS: u64 = 1_000_000_000_000;
/// A camera's larger picture at fewer frames a second than this is no better than a smaller one.
const FLUENT_FPS: u32 = 15;
/// What is forwarded now is not taken away for half of that: from there it may climb by frame rate,
/// without a keyframe.
const FLUENT_FPS_NOW: u32 = 8;

/// A rung of a slot's ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Foot {
    pub(super) layer: Layer,
    /// Never less than that of the rung below.
    pub(super) bitrate_bps: u64,
    /// Never less than that of the rung below.
    pub(super) pixels: u64,
}

/// What a wish asks for, whether it flows or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) layer: Layer,
    pub(super) bitrate_bps: u64,
}

/// Appends the ladder of `want` to `feet`, lowest first, and returns the target (`None` if hidden
/// or nothing is known of the track). `current` stays in the ladder while it flows and is within
/// the wish, so that noise in the measurements takes nothing away; but not if it is clearly choppy.
/// `rungs` is scratch.
pub(super) fn build(
    want: &Want<'_>,
    current: Option<Layer>,
    rungs: &mut Vec<Rung>,
    feet: &mut Vec<Foot>,
) -> Option<Target> {
    rungs.clear();
    rungs.extend(
        want.rungs
            .iter()
            .map(|rung| Rung { bitrate_bps: rung.bitrate_bps.min(BITRATE_MAX_BPS), ..*rung }),
    );
    rungs.sort_unstable_by_key(|rung| rung.layer);
    rungs.dedup_by_key(|rung| rung.layer);
    let target = target(rungs, want)?;
    keep_usable(rungs, want, target.layer);
    if want.kind == Kind::Camera {
        drop_choppy(rungs, current);
    }
    drop_dominated(rungs, current);
    let (mut bitrate_bps, mut pixels) = (0, 0);
    for rung in rungs.iter() {
        bitrate_bps = rung.bitrate_bps.max(bitrate_bps);
        pixels = (u64::from(rung.width) * u64::from(rung.height)).max(pixels);
        feet.push(Foot { layer: rung.layer, bitrate_bps, pixels });
    }
    Some(target)
}

/// The best rung that a publisher should send for a slot that has `current`: one size more than
/// it has, so that the next step is there when bandwidth comes, but never beyond the target.
pub(super) fn next_size(rungs: &[Rung], current: Option<Layer>, target: Layer) -> Layer {
    let layers = || rungs.iter().map(|rung| rung.layer).filter(|layer| *layer <= target);
    let larger = |spatial: u8| current.is_none_or(|current| spatial > current.spatial);
    let spatial = layers().map(|layer| layer.spatial).filter(|spatial| larger(*spatial)).min();
    let best = layers().filter(|layer| Some(layer.spatial) == spatial).max();
    best.unwrap_or(target)
}

/// The smallest picture that fills the wished box, else the largest; of that the highest frame
/// rate within the wish, else the lowest. `rungs` is sorted.
fn target(rungs: &[Rung], want: &Want<'_>) -> Option<Target> {
    let largest = rungs.last()?.layer.spatial;
    let spatial = match want.wish {
        Wish::Hidden => return None,
        Wish::Any => largest,
        Wish::Within { width, height } => rungs
            .iter()
            .find(|rung| covers(rung.width, width) || covers(rung.height, height))
            .map_or(largest, |rung| rung.layer.spatial),
    };
    let of_size = || rungs.iter().filter(|rung| rung.layer.spatial == spatial);
    let rung =
        of_size().rfind(|rung| within_rate(rung.fps, want.fps_max)).or_else(|| of_size().next())?;
    Some(Target { layer: rung.layer, bitrate_bps: rung.bitrate_bps })
}

/// Whether a side of a picture fills a side of a box. A tenth is forgiven: nobody sees it, and a
/// border would otherwise cost the next size. A picture that is fitted whole is not enlarged as
/// soon as one side fills the box.
fn covers(side: u32, wished: u32) -> bool {
    side > 0 && u64::from(side) * 11 >= u64::from(wished) * 10
}

/// Whether a frame rate is within the wish. An eighth is forgiven: rates are measured.
fn within_rate(fps: u32, fps_max: Option<u32>) -> bool {
    fps_max.is_none_or(|most| u64::from(fps) * 8 <= u64::from(most) * 9)
}

/// Keeps what flows and is within the wish; if that is nothing, the lowest that flows.
fn keep_usable(rungs: &mut Vec<Rung>, want: &Want<'_>, target: Layer) {
    let lowest = rungs.iter().find(|rung| rung.flowing).copied();
    let mut size = None;
    rungs.retain(|rung| {
        let slowest = size.replace(rung.layer.spatial) != Some(rung.layer.spatial);
        let rate = slowest || within_rate(rung.fps, want.fps_max);
        rung.flowing && rate && rung.layer <= target
    });
    if rungs.is_empty() {
        rungs.extend(lowest);
    }
}

/// Drops a camera's rungs that would trade fluency for size: above the smallest size, those of few
/// frames, unless the size has no more of them.
fn drop_choppy(rungs: &mut Vec<Rung>, current: Option<Layer>) {
    let smallest = rungs.first().map(|rung| rung.layer.spatial);
    let mut size = None;
    rungs.reverse();
    rungs.retain(|rung| {
        let fastest = size.replace(rung.layer.spatial) != Some(rung.layer.spatial);
        // A rung that was all of its size when it was given may turn out to be the slowest of it.
        let least = if Some(rung.layer) == current { FLUENT_FPS_NOW } else { FLUENT_FPS };
        let fluent = rung.fps == 0 || rung.fps >= least;
        fastest || fluent || Some(rung.layer.spatial) == smallest
    });
    rungs.reverse();
}

/// Drops what costs as much as something better, and what is not measured (unless it is the
/// lowest: then there may be no other way to a picture).
fn drop_dominated(rungs: &mut Vec<Rung>, current: Option<Layer>) {
    let lowest = rungs.first().map(|rung| rung.layer);
    let mut cheapest = u64::MAX;
    rungs.reverse();
    rungs.retain(|rung| {
        let spared = Some(rung.layer) == current;
        if rung.bitrate_bps == 0 {
            return spared || Some(rung.layer) == lowest;
        }
        let better = rung.bitrate_bps < cheapest;
        cheapest = cheapest.min(rung.bitrate_bps);
        better || spared
    });
    rungs.reverse();
}
