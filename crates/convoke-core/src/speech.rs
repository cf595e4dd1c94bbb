//! Who is audible: enough to give scarce slots to those who speak.
//!
//! Owns: one track's recent levels (RFC 6464).
//! Never: names a dominant speaker; that needs time scales that this does not keep.

use std::time::{Duration, Instant};

/// Louder than this (dBov) counts as sound.
const LOUD: i8 = -50;
/// Loud packets, net of quiet ones, that make speech: 60 ms, so that a click does not.
const ONSET: u8 = 3;
const MEMORY: u8 = 10;
/// Going on speaking is reported this often.
const REFRESH: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Speech {
    loud: u8,
    reported: Option<Instant>,
}

impl Speech {
    /// Takes one packet's level. True when speech begins, and each second while it goes on.
    pub(crate) fn heard(&mut self, now: Instant, level: Option<i8>) -> bool {
        let Some(level) = level else { return false };
        if level > LOUD {
            self.loud = (self.loud + 1).min(MEMORY);
        } else {
            self.loud = self.loud.saturating_sub(1);
        }
        let due = self.reported.is_none_or(|at| now.saturating_duration_since(at) >= REFRESH);
        if self.loud >= ONSET && due {
            self.reported = Some(now);
            return true;
        }
        false
    }
}
