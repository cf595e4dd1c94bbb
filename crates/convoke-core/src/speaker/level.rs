//! How loud a packet is: what its sender says (RFC 6464), or else what its size suggests.
//!
//! Owns: the choice between the two for one voice, and whether what is said can be believed.
//! Never: knows what is loud for this voice; that is its noise floor's business.

use super::Heard;

/// The loudest and the quietest level of RFC 6464, in dBov.
pub(super) const LOUDEST: i8 = 0;
const SILENCE: i8 = -127;
/// Levels below this are alike: the noise of a quiet room. It also keeps the digital silence
/// (-127) that noise suppressors leave from making each breath a leap of 60 dB.
pub(super) const QUIETEST: i8 = -75;

/// A mean zigzag, in dB, that no sound makes. A zigzag is the lesser of two leaps in a row: sound
/// leaps up and stays, or down. In talk that falls to silence for single packets the mean is 3 and
/// at most 12; random bytes make 16.
const ZIGZAG_ABSURD: u16 = 13;
/// And that makes levels believed again. Random bytes do not get below 6.
const ZIGZAG_CREDIBLE: u16 = 5;
/// Packets over which it is averaged, as a power of two: 32 packets, the fewest that keep talk and
/// random bytes apart.
const ZIGZAG_SHIFT: u32 = 5;
/// After so many packets without a usable level (1 s of 20 ms packets) sizes are used instead.
/// Before that a packet that lacks its level says nothing, so that a client that leaves it out now
/// and then does not swing between two scales.
const PATIENCE: u8 = 50;

/// What one packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// dBov, or a number that behaves alike when sizes are all there is.
    Level(i8),
    /// The encoder itself says that there is nothing to hear (discontinuous transmission).
    Silent,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    Undecided,
    Said,
    Sizes,
}

/// Reads the loudness of one voice's packets.
#[derive(Debug)]
pub(super) struct Meter {
    scale: Scale,
    /// Packets in a row without a usable level.
    missing: u8,
    last: i8,
    last_leap: u8,
    /// Mean zigzag in dB, as fixed point with `ZIGZAG_SHIFT` fractional bits.
    zigzag: u16,
    absurd: bool,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            scale: Scale::Undecided,
            missing: 0,
            last: QUIETEST,
            last_leap: 0,
            zigzag: 0,
            absurd: false,
        }
    }
}

impl Meter {
    /// Levels are guessed from sizes.
    pub(super) fn is_crude(&self) -> bool {
        self.scale == Scale::Sizes
    }

    /// Reads one packet. True when what was learned on the old scale no longer holds.
    pub(super) fn read(&mut self, heard: Heard) -> (Reading, bool) {
        let said = heard.level.and_then(|level| self.believed(level));
        self.missing = if said.is_some() { 0 } else { self.missing.saturating_add(1) };
        let before = self.scale;
        self.scale = match (before, said) {
            (_, Some(_)) => Scale::Said,
            (Scale::Said, None) if self.missing < PATIENCE && !self.absurd => Scale::Said,
            _ => Scale::Sizes,
        };
        let rescaled = before != Scale::Undecided && before != self.scale;
        let reading = match (self.scale, said) {
            _ if heard.dtx => Reading::Silent,
            (Scale::Said, Some(level)) => Reading::Level(level),
            (Scale::Sizes, _) => Reading::Level(estimated(heard.payload)),
            _ => Reading::Unknown,
        };
        (reading, rescaled)
    }

    fn believed(&mut self, level: i8) -> Option<i8> {
        if !(SILENCE..=LOUDEST).contains(&level) {
            return None;
        }
        let level = level.max(QUIETEST);
        let leap = level.abs_diff(self.last);
        let zigzag = u16::from(leap.min(self.last_leap));
        self.zigzag = self.zigzag - (self.zigzag >> ZIGZAG_SHIFT) + zigzag;
        (self.last, self.last_leap) = (level, leap);
        let mean = self.zigzag >> ZIGZAG_SHIFT;
        self.absurd = if self.absurd { mean >= ZIGZAG_CREDIBLE } else { mean > ZIGZAG_ABSURD };
        (!self.absurd).then_some(level)
    }
}

/// A level guessed from a payload's size: an Opus encoder with variable bitrate spends about 10 to
/// 30 bytes on 20 ms of room noise and 60 to 160 on speech. 10 dB for each doubling, 10 bytes
/// standing for -60. Only differences matter, since each voice is compared to its own floor; a
/// constant bitrate says nothing, and such a voice is never heard to speak.
fn estimated(payload: usize) -> i8 {
    let bytes = u16::try_from(payload).unwrap_or(u16::MAX).max(1);
    let level = 10.0 * (f32::from(bytes) / 10.0).log2() - 60.0;
    // In range by the clamp, so the cast only rounds toward zero.
    level.clamp(f32::from(QUIETEST), f32::from(LOUDEST)) as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(level: i8) -> Heard {
        Heard { level: Some(level), payload: 80, dtx: false }
    }

    #[test]
    fn sizes_stand_in_for_levels() {
        for (payload, level) in
            [(0, -75), (1, -75), (5, -70), (10, -60), (20, -50), (80, -30), (160, -20), (9000, 0)]
        {
            assert_eq!(estimated(payload), level, "{payload} bytes");
        }
        assert_eq!(estimated(usize::MAX), LOUDEST);
    }

    #[test]
    fn a_level_out_of_range_is_no_level() {
        for level in [1, 5, 127, -128] {
            let mut meter = Meter::default();
            assert_eq!(meter.read(said(level)), (Reading::Level(-30), false), "{level}: by size");
        }
    }

    #[test]
    fn a_level_that_lacks_now_and_then_is_waited_for() {
        let mut meter = Meter::default();
        meter.read(said(-30));
        let without = Heard { level: None, payload: 80, dtx: false };
        for _ in 1..PATIENCE {
            assert_eq!(meter.read(without), (Reading::Unknown, false));
        }
        assert_eq!(meter.read(without), (Reading::Level(-30), true), "sizes from now on");
        assert_eq!(meter.read(said(-20)), (Reading::Level(-20), true), "said again");
    }

    #[test]
    fn dtx_is_silence_whatever_is_said() {
        let mut meter = Meter::default();
        assert_eq!(meter.read(Heard { dtx: true, ..said(-5) }).0, Reading::Silent);
    }

    #[test]
    fn leaps_that_no_sound_makes_are_not_believed() {
        let mut meter = Meter::default();
        let mut wild = (0..40).map(|n| if n % 2 == 0 { 0 } else { -100 });
        let fell = wild.position(|level| meter.read(said(level)).1);
        assert!(fell.is_some_and(|n| n < 10), "{fell:?}");
        // Talk through a gate: digital silence and full voice, ten times a second.
        let mut meter = Meter::default();
        for n in 0..500 {
            let level = if n % 5 == 0 { -127 } else { -28 + (n % 3) as i8 };
            assert_eq!(meter.read(said(level)), (Reading::Level(level.max(QUIETEST)), false));
        }
    }
}
