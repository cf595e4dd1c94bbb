//! What a viewer of one slot sees over time.
//!
//! Owns: pictures, freezes and sizes, counted as W3C WebRTC-stats counts them
//! (`framesDecoded`, `freezeCount`, `totalFreezesDuration`).
//! Never: decides what can be decoded.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::source::Stamp;

/// Intervals that make up the mean.
const INTERVALS: usize = 30;
/// So many are needed before anything counts as a freeze.
const INTERVALS_LEAST: usize = 5;
/// A gap is a freeze beyond three intervals, and beyond one and this.
const FREEZE: Duration = Duration::from_millis(150);
/// Freezes remembered.
const FREEZES_MAX: usize = 256;
/// Changes of size remembered.
const SIZES_MAX: usize = 64;

/// What was shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// Pictures.
    pub pictures: u64,
    /// Gaps that a viewer takes for a freeze.
    pub freezes: u64,
    /// How long they lasted together.
    pub frozen: Duration,
    /// When each was over, and how long it lasted: the first few.
    pub freeze_log: Vec<(Instant, Duration)>,
    /// From when on which width and height were shown: the changes, the first few.
    pub sizes: Vec<(Instant, (u16, u16))>,
    /// Changes of size, all.
    pub resizes: u64,
    /// The size of the last picture that is over.
    pub size: Option<(u16, u16)>,
}

/// Watches one slot.
#[derive(Debug, Clone, Default)]
pub struct Screen {
    shown: Shown,
    last: Option<Instant>,
    picture: Option<(u32, u16, u8, u32)>,
    /// When the present picture began, and its largest layer so far.
    latest: Option<(Instant, (u16, u16))>,
    intervals: VecDeque<Duration>,
}

impl Screen {
    /// What was shown so far.
    #[must_use]
    pub fn shown(&self) -> &Shown {
        &self.shown
    }

    /// The slot is empty, paused or handed to another on purpose: no freeze.
    pub fn rest(&mut self) {
        self.last = None;
        self.intervals.clear();
    }

    /// A frame was decoded.
    pub fn frame(&mut self, now: Instant, stamp: &Stamp) {
        let picture = (stamp.publisher, stamp.track, stamp.encoding, stamp.picture);
        if self.picture.replace(picture) != Some(picture) {
            // Of a picture's spatial layers the largest is shown: known when the next begins.
            if let Some((at, size)) = self.latest.replace((now, stamp.size)) {
                self.resize(at, size);
            }
            self.next_picture(now);
        } else if let Some((_, size)) = &mut self.latest {
            *size = (*size).max(stamp.size);
        }
    }

    fn resize(&mut self, at: Instant, size: (u16, u16)) {
        let before = self.shown.size.replace(size);
        if before == Some(size) {
            return;
        }
        self.shown.resizes += u64::from(before.is_some());
        if self.shown.sizes.len() < SIZES_MAX {
            self.shown.sizes.push((at, size));
        }
    }

    fn next_picture(&mut self, now: Instant) {
        self.shown.pictures += 1;
        let Some(last) = self.last.replace(now) else { return };
        let gap = now.saturating_duration_since(last);
        if self.intervals.len() >= INTERVALS_LEAST {
            let count = u32::try_from(self.intervals.len()).unwrap_or(u32::MAX);
            let mean = self.intervals.iter().sum::<Duration>() / count;
            if gap > (mean * 3).max(mean + FREEZE) {
                self.shown.freezes += 1;
                self.shown.frozen += gap;
                if self.shown.freeze_log.len() < FREEZES_MAX {
                    self.shown.freeze_log.push((now, gap));
                }
            }
        }
        self.intervals.push_back(gap);
        if self.intervals.len() > INTERVALS {
            self.intervals.pop_front();
        }
    }
}
