//! One voice's activity on three time scales.
//!
//! Owns: the recent past of one voice as bits, and how much of it was active on each scale.
//! Never: compares voices; that is `score`'s business.
//!
//! ```text
//! frame       20 ms   steps of loudness above the floor, 0 to 15
//! immediate  160 ms   mean steps of the last 8 frames                      0 to 15
//! medium     600 ms   frames of the last 30 that are active                0 to 30
//! long       1.4 s    blocks (100 ms, 3 of 5 frames active) of the last 14 0 to 14
//! ```

/// Steps of loudness: what the paper counts as active sub-bands, of which a level has but one.
pub(super) const STEPS: u8 = 15;
/// Frames of the medium scale: longer than most breaths, so that a speaker who talks on is not
/// taken for one who stopped; shorter than the 700 ms that a challenger needs, so that it delays
/// nobody.
pub(super) const FRAMES: u8 = 30;
/// Blocks of the long scale.
pub(super) const BLOCKS: u8 = 14;

const NIBBLE: u32 = 4;
const NIBBLES: u32 = u32::BITS / NIBBLE;
const FRAMES_MASK: u32 = (1 << FRAMES) - 1;
const BLOCKS_MASK: u16 = (1 << BLOCKS) - 1;
const BLOCK_FRAMES: u8 = 5;
/// Most of a block: it bridges the dips between sounds and does not see a click.
const BLOCK_ACTIVE: u8 = 3;
/// Silent frames after which nothing is left.
const ALL_FRAMES: u32 = (BLOCKS as u32 + 1) * BLOCK_FRAMES as u32;

#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Steps of the last frames, 4 bits each, newest lowest.
    steps: u32,
    frames: u32,
    blocks: u16,
    block_frames: u8,
    block_active: u8,
}

impl Activity {
    pub(super) fn push(&mut self, steps: u8) {
        let active = steps > 0;
        self.steps = self.steps << NIBBLE | u32::from(steps.min(STEPS));
        self.frames = (self.frames << 1 | u32::from(active)) & FRAMES_MASK;
        self.block_frames += 1;
        self.block_active += u8::from(active);
        if self.block_frames >= BLOCK_FRAMES {
            let block = self.block_active >= BLOCK_ACTIVE;
            self.blocks = (self.blocks << 1 | u16::from(block)) & BLOCKS_MASK;
            self.block_frames = 0;
            self.block_active = 0;
        }
    }

    /// Frames of which nothing was heard.
    pub(super) fn silence(&mut self, frames: u32) {
        if frames >= ALL_FRAMES {
            *self = Self::default();
            return;
        }
        for _ in 0..frames {
            self.push(0);
        }
    }

    /// Rounded up, so that one active frame shows.
    pub(super) fn immediate(&self) -> u8 {
        let sum: u32 = (0..NIBBLES).map(|n| self.steps >> (n * NIBBLE) & 0xf).sum();
        u8::try_from(sum.div_ceil(NIBBLES)).unwrap_or(STEPS)
    }

    pub(super) fn medium(&self) -> u8 {
        u8::try_from(self.frames.count_ones()).unwrap_or(FRAMES)
    }

    pub(super) fn long(&self) -> u8 {
        u8::try_from(self.blocks.count_ones()).unwrap_or(BLOCKS)
    }

    /// Two of the last three frames: sound begins, and a single click does not.
    pub(super) fn begins(&self) -> bool {
        (self.frames & 0b111).count_ones() >= 2
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames == 0 && self.blocks == 0 && self.block_active == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn three_scales() {
        type Case = (&'static [(u8, usize)], u8, u8, u8);
        // (frames as steps, immediate, medium, long)
        let table: &[Case] = &[
            (&[], 0, 0, 0),
            (&[(1, 1)], 1, 1, 0),
            (&[(15, 5)], 10, 5, 1),
            (&[(15, 70)], 15, 30, 14),
            (&[(15, 70), (0, 8)], 0, 22, 13),
            (&[(15, 70), (0, 30)], 0, 0, 8),
            (&[(15, 70), (0, 70)], 0, 0, 0),
            (&[(15, 2), (0, 3)], 4, 2, 0),
        ];
        for (frames, immediate, medium, long) in table {
            let mut activity = Activity::default();
            for (steps, count) in *frames {
                (0..*count).for_each(|_| activity.push(*steps));
            }
            let got = (activity.immediate(), activity.medium(), activity.long());
            assert_eq!(got, (*immediate, *medium, *long), "{frames:?}");
        }
    }

    proptest! {
        #[test]
        fn counts_stay_in_range_and_silence_ends_all(
            steps in prop::collection::vec(any::<u8>(), 0..200),
            silent in 0u32..200,
        ) {
            let mut activity = Activity::default();
            let mut same = Activity::default();
            for step in steps {
                activity.push(step);
                same.push(step);
                prop_assert!(activity.immediate() <= STEPS);
                prop_assert!(activity.medium() <= FRAMES && activity.long() <= BLOCKS);
            }
            activity.silence(silent);
            (0..silent).for_each(|_| same.push(0));
            prop_assert_eq!(
                (activity.immediate(), activity.medium(), activity.long()),
                (same.immediate(), same.medium(), same.long())
            );
            activity.silence(ALL_FRAMES);
            prop_assert!(activity.is_empty());
        }
    }
}
