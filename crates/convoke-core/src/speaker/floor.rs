//! One voice's noise floor: what is loud is what stands out from it.
//!
//! Owns: the floor, and how many steps above it a level is.
//! Never: knows other voices; a whisper in a quiet room stands out as a shout in a factory does.
//!
//! The floor is the quietest 100 ms of about eight seconds: every talker pauses that long, and the
//! mean of 100 ms hides the dips of noise. A noise that sets in would need those eight seconds, so
//! what hardly moves for three becomes the floor as a whole. Until then it is *flat* from half a
//! second on, and whoever compares voices prefers those that are not.

use super::activity::STEPS;
use super::level::{LOUDEST, QUIETEST};

/// Frames (20 ms) in a block.
const BLOCK: u8 = 5;
/// Blocks that must lie close together to be flat: 500 ms. Less than what makes a speaker, so that
/// a noise is found flat before it could be taken for one.
const STEADY_BLOCKS: usize = 5;
/// Flat for so many blocks more is noise, 3 s in all: no voice holds a tone so long.
const NOISE_BLOCKS: u8 = 25;
/// Flat and nowhere below this is noise at once: a full-scale sine has -3 dBov, and no speech stays
/// so loud.
const CLIPPED: i8 = -6;
/// How close, in dB from the lowest to the highest frame: a hum or fan moves less, speech (20 dB
/// and more within a word) never so little.
const STEADY_DB: i8 = 10;
/// Blocks that share one minimum, and how many minima are kept: 8 s in steps of 1 s.
const SPAN_BLOCKS: u8 = 10;
const SPANS: usize = 8;
/// What is assumed before anything was heard: louder than a quiet room, so that room noise does
/// not count as sound at first, quieter than speech, so that a first word does.
const PRIOR: i8 = -50;
/// A level counts as sound this far above the floor: three standard deviations of usual noise.
const MARGIN: i16 = 9;
/// Width of a step of loudness.
const STEP_DB: i16 = 3;

#[derive(Debug)]
pub(super) struct Floor {
    level: i8,
    block: Block,
    /// Lowest and highest frame of the last blocks, newest first.
    ranges: [(i8, i8); STEADY_BLOCKS],
    /// Quietest block of each span, newest first.
    minima: [i8; SPANS],
    blocks: u8,
    /// Blocks at whose end all was flat, in a row.
    flat_blocks: u8,
    /// What last stood out was flat.
    flat: bool,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    frames: u8,
    sum: i16,
    low: i8,
    high: i8,
}

const EMPTY: Block = Block { frames: 0, sum: 0, low: LOUDEST, high: QUIETEST };

impl Default for Floor {
    fn default() -> Self {
        Self {
            level: PRIOR,
            block: EMPTY,
            // As far apart as can be: nothing is steady yet.
            ranges: [(QUIETEST, LOUDEST); STEADY_BLOCKS],
            minima: [PRIOR; SPANS],
            blocks: 0,
            flat_blocks: 0,
            flat: false,
        }
    }
}

impl Floor {
    /// The floor of a voice of which only this level is known.
    pub(super) fn at(level: i8) -> Self {
        Self { level, minima: [level; SPANS], ..Self::default() }
    }

    /// What last stood out was as loud for half a second: more like a noise than a voice. That it
    /// ends makes it no voice; that sound begins anew may.
    pub(super) fn is_flat(&self) -> bool {
        self.flat
    }

    /// Steps above the floor, 0 when nothing stands out.
    pub(super) fn steps(&self, level: i8) -> u8 {
        let above = i16::from(level) - i16::from(self.level.max(QUIETEST)) - MARGIN;
        if above < 0 {
            return 0;
        }
        u8::try_from(above / STEP_DB + 1).unwrap_or(STEPS).min(STEPS)
    }

    /// Learns from one frame. If it is `crude`, what is flat is noise at once.
    pub(super) fn learn(&mut self, level: i8, crude: bool) {
        let level = level.clamp(QUIETEST, LOUDEST);
        let block = &mut self.block;
        block.frames += 1;
        block.sum += i16::from(level);
        block.low = block.low.min(level);
        block.high = block.high.max(level);
        if block.frames >= BLOCK {
            self.end_block(crude);
        }
    }

    fn end_block(&mut self, crude: bool) {
        let block = std::mem::replace(&mut self.block, EMPTY);
        let mean = i8::try_from(block.sum / i16::from(BLOCK)).unwrap_or(QUIETEST);
        self.blocks += 1;
        if self.blocks > SPAN_BLOCKS {
            self.blocks = 1;
            self.minima.rotate_right(1);
            if let Some(newest) = self.minima.first_mut() {
                *newest = mean;
            }
        } else if let Some(newest) = self.minima.first_mut() {
            *newest = mean.min(*newest);
        }
        self.level = self.minima.iter().copied().min().unwrap_or(PRIOR);

        self.ranges.rotate_right(1);
        if let Some(newest) = self.ranges.first_mut() {
            *newest = (block.low, block.high);
        }
        let low = self.ranges.iter().map(|range| range.0).min().unwrap_or(QUIETEST);
        let high = self.ranges.iter().map(|range| range.1).max().unwrap_or(LOUDEST);
        let is_flat = high - low <= STEADY_DB;
        self.flat_blocks = if is_flat { self.flat_blocks.saturating_add(1) } else { 0 };
        if self.steps(mean) > 0 {
            self.flat = is_flat;
        }
        let enough = if crude || low >= CLIPPED { 0 } else { NOISE_BLOCKS };
        // Never above what was heard just now: a sound that ends here has left its noise behind.
        let middle = i8::midpoint(low, high).min(mean);
        if self.flat_blocks > enough && middle > self.level {
            self.minima = [middle; SPANS];
            self.level = middle;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(levels: impl IntoIterator<Item = i8>) -> Floor {
        let mut floor = Floor::default();
        levels.into_iter().for_each(|level| floor.learn(level, false));
        floor
    }

    #[test]
    fn steps_count_from_the_floor() {
        let quiet = after([-90; 50]);
        for (level, steps) in
            [(-127, 0), (-75, 0), (-67, 0), (-66, 1), (-63, 2), (-20, STEPS), (0, STEPS)]
        {
            assert_eq!(quiet.steps(level), steps, "{level}");
        }
    }

    #[test]
    fn first_words_count_and_first_noise_does_not() {
        let new = Floor::default();
        assert!(new.steps(-35) > 0);
        assert_eq!(new.steps(-45), 0);
    }

    #[test]
    fn noise_that_sets_in_is_flat_soon_and_then_the_floor() {
        // (crude, level, blocks until it is the floor)
        for (crude, level, blocks) in [(false, -45, 30), (true, -45, 5), (false, -4, 5)] {
            let mut floor = after([-70; 500]);
            let noise = |floor: &mut Floor, blocks: i8| {
                (0..blocks * 5).for_each(|n| floor.learn(level + n % 4, crude));
            };
            noise(&mut floor, 4);
            assert!(floor.steps(level) > 0 && !floor.is_flat());
            noise(&mut floor, 1);
            assert!(floor.is_flat());
            if blocks > 5 {
                noise(&mut floor, blocks - 6);
                assert!(floor.steps(level) > 0, "{level} {crude}");
                noise(&mut floor, 1);
            }
            assert_eq!(floor.steps(level + 3), 0, "{level} {crude}");
            // And it is forgotten as soon as it stops.
            (0..5).for_each(|_| floor.learn(-70, crude));
            assert!(floor.steps(level) > 0 && floor.is_flat(), "it was noise");
            (0..5).for_each(|_| floor.learn(-30, crude));
            assert!(!floor.is_flat(), "this may be speech");
        }
    }

    #[test]
    fn silence_makes_no_voice_flat() {
        let floor = after([-70; 100].into_iter().chain([-20, -40, -25, -60].repeat(10)));
        assert!(!floor.is_flat());
        let mut floor = floor;
        (0..100).for_each(|_| floor.learn(-70, false));
        assert!(!floor.is_flat());
    }

    #[test]
    fn speech_does_not_lift_it_while_there_are_pauses() {
        let talk = (0..1500).map(|n| match (n % 300, n % 12) {
            (0..20, _) => -60,
            (_, 0..8) => -20,
            _ => -35,
        });
        let floor = after(talk);
        assert!(floor.level <= -55, "{}", floor.level);
    }

    #[test]
    fn wide_noise_is_the_floor_within_nine_seconds() {
        let noise = (0..450i32).map(|n| -45 + ((n * 37) % 13) as i8);
        let floor = after(std::iter::repeat_n(-70, 200).chain(noise));
        assert!(floor.steps(-39) == 0, "{}", floor.level);
    }
}
