//! How much like speech an activity is, and by how much one voice must lead another.
//!
//! Owns: the paper's scores and thresholds (Volfin & Cohen 2013, sections 3 and 4).
//! Never: keeps anything of a voice.
//!
//! Of `n` units `v` are active. In speech that is binomial with probability `p`, in noise the
//! probability falls exponentially with rate `rate`. The score is the logarithm of their ratio:
//!
//! `ln C(n, v) + v ln p + (n - v) ln (1 - p) - ln rate + rate v`
//!
//! Two liberties: nothing scores below [`FLOOR`], so that scores have a ratio; and more activity
//! never scores less (past its peak the formula falls, and would call whoever talks without a
//! breath less of a speaker).

use super::activity::{Activity, BLOCKS, FRAMES, STEPS};

/// The score of what is no speech.
const FLOOR: f32 = 1e-10;

/// A challenger's score must be greater than the present speaker's by these factors, as natural
/// logarithms: the paper's values. On the short scales the speaker must all but have stopped; on
/// the long one the challenger must have the longer past.
const LEAD: Scores = Scores { immediate: 3.0, medium: 2.0, long: 0.0 };

/// Of 15 steps: half in speech; noise seldom reaches the second.
const IMMEDIATE: Law = Law { speech: 0.5, rate: 4.0 };
/// Of 30 frames: half in speech; seven (140 ms) are more than noise makes.
const MEDIUM: Law = Law { speech: 0.5, rate: 1.0 };
/// Of 14 blocks: four of five in speech. Seven (700 ms) are more than noise makes: two coughs of
/// 250 ms, however they lie, are at most six.
const LONG: Law = Law { speech: 0.8, rate: 0.7 };

struct Law {
    speech: f32,
    rate: f32,
}

/// One voice's scores, or a ratio of two voices'.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scores {
    immediate: f32,
    medium: f32,
    long: f32,
}

pub(super) const SILENT: Scores = Scores { immediate: FLOOR, medium: FLOOR, long: FLOOR };

impl Scores {
    /// By how much this voice leads `other`; none if it does not on each of the scales.
    pub(super) fn lead(&self, other: &Self) -> Option<Self> {
        let lead = Self {
            immediate: (self.immediate / other.immediate).ln(),
            medium: (self.medium / other.medium).ln(),
            long: (self.long / other.long).ln(),
        };
        let enough =
            lead.immediate > LEAD.immediate && lead.medium > LEAD.medium && lead.long > LEAD.long;
        enough.then_some(lead)
    }

    /// Active for longer than a cough.
    pub(super) fn is_lasting(&self) -> bool {
        self.long > FLOOR
    }

    /// Among those that lead, the medium scale decides, as in the paper; then the long one.
    pub(super) fn exceeds(&self, other: &Self) -> bool {
        (self.medium, self.long, self.immediate) > (other.medium, other.long, other.immediate)
    }
}

/// The scores of every possible activity.
#[derive(Debug)]
pub(super) struct Table {
    immediate: [f32; STEPS as usize + 1],
    medium: [f32; FRAMES as usize + 1],
    long: [f32; BLOCKS as usize + 1],
}

impl Default for Table {
    fn default() -> Self {
        Self { immediate: IMMEDIATE.scores(), medium: MEDIUM.scores(), long: LONG.scores() }
    }
}

impl Table {
    pub(super) fn of(&self, activity: &Activity) -> Scores {
        let find = |scores: &[f32], at: u8| scores.get(usize::from(at)).copied().unwrap_or(FLOOR);
        Scores {
            immediate: find(&self.immediate, activity.immediate()),
            medium: find(&self.medium, activity.medium()),
            long: find(&self.long, activity.long()),
        }
    }
}

impl Law {
    fn scores<const LEN: usize>(&self) -> [f32; LEN] {
        let last = LEN.saturating_sub(1);
        let (mut choose, mut best) = (0.0_f32, FLOOR);
        std::array::from_fn(|v| {
            if v > 0 {
                choose += ((last - v + 1) as f32 / v as f32).ln();
            }
            let (active, idle) = (v as f32, (last - v) as f32);
            let speech = choose + active * self.speech.ln() + idle * (1.0 - self.speech).ln();
            let noise = self.rate.ln() - self.rate * active;
            best = best.max(speech - noise);
            best
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speech_begins_where_it_is_said_to() {
        let table = Table::default();
        let first = |scores: &[f32]| scores.iter().position(|score| *score > FLOOR);
        assert_eq!(first(&table.immediate), Some(2), "{:?}", table.immediate);
        assert_eq!(first(&table.medium), Some(7), "{:?}", table.medium);
        assert_eq!(first(&table.long), Some(7), "{:?}", table.long);
        for scores in [&table.immediate[..], &table.medium[..], &table.long[..]] {
            assert!(scores.is_sorted(), "{scores:?}");
        }
    }

    #[test]
    fn who_leads_whom() {
        let table = Table::default();
        let of = |immediate: u8, medium: u8, long: u8| Scores {
            immediate: table.immediate[usize::from(immediate)],
            medium: table.medium[usize::from(medium)],
            long: table.long[usize::from(long)],
        };
        // (challenger, speaker, is enough)
        let cases = [
            ((10, 22, 9), (0, 0, 0), true),
            ((10, 22, 8), (0, 0, 7), true),
            // The past of the speaker is longer.
            ((10, 22, 7), (0, 0, 8), false),
            // Both talk.
            ((15, 30, 14), (10, 20, 10), false),
            // The speaker draws breath, but spoke just now.
            ((10, 22, 14), (0, 10, 10), false),
            // A whisper is enough against silence; being loud is not.
            ((2, 12, 8), (0, 0, 0), true),
            ((15, 30, 6), (0, 0, 0), false),
            ((15, 6, 14), (0, 0, 0), false),
        ];
        for ((i, m, l), (i2, m2, l2), enough) in cases {
            let lead = of(i, m, l).lead(&of(i2, m2, l2));
            assert_eq!(lead.is_some(), enough, "{:?} over {:?}", (i, m, l), (i2, m2, l2));
        }
    }
}
