//! The filling: who is served in which order.
//!
//! Owns: the order of steps and the walk along it. Without memory; whether a step is granted is
//! the caller's to say.
//! Never: lets a later step influence an earlier one. All laws of priority follow from that.

/// One rung that one slot could climb. The order of the fields is the order of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Step {
    /// The class: screens before cameras, then higher priority. Smaller is first.
    pub(super) rank: u16,
    /// Breadth first: the picture's pixels, but 0 for a slot's lowest rung.
    pub(super) pixels: u64,
    /// The rung's number in its slot's ladder, from 1.
    pub(super) level: usize,
    /// Among equals, who has this rung already comes before who would newly get it.
    pub(super) new: bool,
    /// The want's place in the demand.
    pub(super) want: usize,
    /// What it takes beyond the rung below.
    pub(super) delta_bps: u64,
}

/// Walks the sorted `steps`, raising `levels` (one for each want, all 0 at first). A step is asked
/// for only if its slot stands right below it; `grant` is told what would be spent with it.
/// Returns what is spent.
pub(super) fn fill(
    steps: &[Step],
    levels: &mut [usize],
    mut grant: impl FnMut(&Step, u64) -> bool,
) -> u64 {
    let mut spent_bps = 0u64;
    for step in steps {
        let Some(level) = levels.get_mut(step.want) else { continue };
        let total_bps = spent_bps.saturating_add(step.delta_bps);
        if *level + 1 == step.level && grant(step, total_bps) {
            *level = step.level;
            spent_bps = total_bps;
        }
    }
    spent_bps
}
