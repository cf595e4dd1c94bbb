//! What each video slot of one subscriber gets, and why: a pure function.
//!
//! Owns: the division of a subscriber's bandwidth among its slots, the memory that keeps it from
//! flapping, and what is to be asked of a publisher.
//! Never: reads a clock, forwards, probes, asks for keyframes or signals; the room does.
//!
#![doc = include_str!("allocate.md")]

mod fill;
mod history;
mod ladder;
mod memory;
mod plan;
pub(crate) mod upstream;

#[cfg(test)]
mod tests;

use std::time::Instant;

pub(crate) use crate::api::Layer;
use crate::ids::TrackId;

/// A subscriber's video slot; the caller's number, unique among the wants of one subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SlotId(pub(crate) u32);

/// What a video track shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A shared screen: before all cameras, and resolution before frame rate.
    Screen,
    /// A camera.
    Camera,
}

/// How large a slot is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Wish {
    /// Not known: the best there is.
    Any,
    /// Not shown at all: nothing is sent.
    Hidden,
    /// In a box of physical pixels into which the picture is fitted whole; a side that is not
    /// known is `u32::MAX`.
    Within {
        /// The box's width.
        width: u32,
        /// The box's height.
        height: u32,
    },
}

impl Wish {
    /// A wish as clients say it: either side may be unknown, and 0 means not visible.
    pub(crate) fn from_pixels(width: Option<u32>, height: Option<u32>) -> Self {
        match (width, height) {
            (None, None) => Self::Any,
            (Some(0), _) | (_, Some(0)) => Self::Hidden,
            (width, height) => Self::Within {
                width: width.unwrap_or(u32::MAX),
                height: height.unwrap_or(u32::MAX),
            },
        }
    }
}

/// One rung that a track has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rung {
    /// Which.
    pub(crate) layer: Layer,
    /// What forwarding it takes, in bit/s on the wire: for SVC with all layers below it, for a
    /// simulcast encoding its own. Smoothed by the caller over a second or more. 0 means not
    /// measured: such a rung is climbed to only where there is no other.
    pub(crate) bitrate_bps: u64,
    /// Pixels; 0 if not known.
    pub(crate) width: u32,
    /// Pixels; 0 if not known.
    pub(crate) height: u32,
    /// Frames per second; 0 if not known.
    pub(crate) fps: u32,
    /// Whether the publisher sends it now.
    pub(crate) flowing: bool,
}

/// What one video slot wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Want<'a> {
    /// The slot.
    pub(crate) slot: SlotId,
    /// The track that sits in it.
    pub(crate) track: TrackId,
    /// What the track shows.
    pub(crate) kind: Kind,
    /// Higher is served first, and wholly first; see the specification before using it.
    pub(crate) priority: u8,
    /// How large it is shown.
    pub(crate) wish: Wish,
    /// The most frames per second that are of use.
    pub(crate) fps_max: Option<u32>,
    /// What the track has, in any order.
    pub(crate) rungs: &'a [Rung],
}

/// What is known of one subscriber.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demand<'a> {
    /// What the path carries, in bit/s on the wire; `None` where nobody estimates.
    pub(crate) estimate_bps: Option<u64>,
    /// What is set aside for audio, and served before any video.
    pub(crate) audio_bps: u64,
    /// The video slots that hold a track, the most deserving first among equals.
    pub(crate) wants: &'a [Want<'a>],
}

/// Why a slot gets what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    /// It has what was wished.
    Wish,
    /// The path does not carry more.
    Bandwidth,
    /// The path does not carry even the lowest rung.
    Paused,
    /// The publisher does not send what was wished: nothing, or only what is forwarded now.
    NotPublished,
    /// It is not shown.
    Invisible,
}

/// What one slot gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The slot.
    pub(crate) slot: SlotId,
    /// What is to be forwarded.
    pub(crate) rung: Option<Layer>,
    /// Why not more.
    pub(crate) reason: Reason,
    /// What it is counted with, in bit/s.
    pub(crate) bitrate_bps: u64,
    /// The best rung that the publisher should send for this slot's sake; see [`upstream`].
    pub(crate) upstream: Option<Layer>,
}

/// What all slots get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allocation {
    /// One for each want, in the same order.
    pub(crate) decisions: Vec<Decision>,
    /// The sum of the decisions' bitrates, without audio.
    pub(crate) allocated_bps: u64,
    /// What all wishes and audio would take, with headroom: what estimation may aim at.
    pub(crate) desired_bps: u64,
    /// The estimate at which the next upgrade would be granted; `None` if nothing that flows is
    /// held back. Never above `desired_bps`.
    pub(crate) probe_to_bps: Option<u64>,
    /// When an upgrade that only has to wait becomes due: call again then, even if nothing changed.
    pub(crate) again_at: Option<Instant>,
    /// How many rungs and steps were looked at: what the call cost.
    pub(crate) work: usize,
}

/// What is remembered of one subscriber between calls. Starts empty; bounded by the number of
/// wants of the last call.
#[derive(Debug, Default)]
pub(crate) struct State {
    estimated: bool,
    history: history::History,
    /// Sorted by slot.
    slots: Vec<memory::Memory>,
    scratch: plan::Scratch,
}

/// Without an estimate, upgrades above each slot's lowest rung share this.
const UNESTIMATED_BPS: u64 = 2_500_000;

/// Divides a subscriber's bandwidth. Pure: what it says depends on its arguments alone.
///
/// Call it when an estimate, a want or a bitrate changed, and at [`Allocation::again_at`].
pub(crate) fn allocate(now: Instant, demand: &Demand<'_>, state: &mut State) -> Allocation {
    if state.estimated != demand.estimate_bps.is_some() {
        state.estimated = demand.estimate_bps.is_some();
        state.history.clear();
    }
    let limit_bps = demand.estimate_bps.unwrap_or(UNESTIMATED_BPS);
    state.history.record(now, limit_bps);
    plan::Plan::new(now, demand, state).carry_out(limit_bps, demand, state)
}

/// The estimate that `total_bps` needs before anything is added to make that total: fifteen
/// percent more.
fn with_headroom(total_bps: u64) -> u64 {
    total_bps.saturating_mul(115).div_ceil(100)
}
