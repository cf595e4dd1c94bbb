//! How much a receiver's REMB is, and how long it counts (draft-alvestrand-rmcat-remb-03).
//!
//! Owns: when the last one is forgotten, and what it comes to on the wire.
//! Never: judges what it says.
//!
//! A receiver measures the video that comes. While all of it is paused nothing is measured, and no further
//! REMB is sent: what was said last would stand for ever. So it is forgotten after a while, the least is sent
//! as to a receiver of whom nothing is known, and the receiver speaks anew.

use std::time::{Duration, Instant};

/// After so long without a word the first is forgotten; each further one after twice as long.
const PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE_MAX: Duration = Duration::from_secs(40);
/// Who was sent video for so long since the last was forgotten can take it.
const GOOD_FOR: Duration = Duration::from_secs(30);

/// Headers of IP, UDP, RTP with its extensions, and SRTP's tag, in bits: what each packet takes beside its
/// payload.
const HEADERS: u64 = 8 * 81;
/// A packet's payload, in bits, where a picture takes several.
const FULL: u64 = 8 * 1_100;

/// In bit/s on the wire, of video in so many pictures a second. Receivers (libwebrtc, aiortc) measure payloads,
/// and say as much as they got when nothing is wrong: it must not look like less than is sent.
pub(super) fn on_wire(bps: u64, fps: u32) -> u64 {
    let headers = (bps / FULL).saturating_mul(HEADERS).saturating_add(HEADERS * u64::from(fps));
    bps.saturating_add(headers)
}

#[derive(Debug)]
pub(super) struct Remb {
    heard: Option<Instant>,
    /// When pictures began to flow after a pause.
    flows_since: Option<Instant>,
    patience: Duration,
}

impl Default for Remb {
    fn default() -> Self {
        Self { heard: None, flows_since: None, patience: PATIENCE }
    }
}

impl Remb {
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    /// Whether the last word is to be forgotten now, given whether any video flows that is wanted. Once for
    /// each word.
    pub(super) fn is_stale(&mut self, now: Instant, flows: bool) -> bool {
        if flows {
            let since = *self.flows_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= GOOD_FOR {
                self.patience = PATIENCE;
            }
            return false;
        }
        self.flows_since = None;
        let stale = self.heard.is_some_and(|heard| now >= heard + self.patience);
        if stale {
            self.heard = None;
            self.patience = (self.patience * 2).min(PATIENCE_MAX);
        }
        stale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn as_much_as_was_got_is_no_less_than_was_sent() {
        for (fps, payload_bytes) in [(30, 60_u64), (30, 500), (30, 4_000), (15, 1_100), (60, 9_000)]
        {
            let packets = payload_bytes.div_ceil(1_100);
            let got = 8 * payload_bytes * fps;
            let sent = got + HEADERS * packets * fps;
            let estimate = on_wire(got, u32::try_from(fps).unwrap());
            assert!(estimate >= sent, "{estimate} of {sent}");
            // Congestion is said as 85 % of what was got.
            let less = on_wire(got * 85 / 100, u32::try_from(fps).unwrap());
            assert!(less < sent || payload_bytes < 200, "{less} of {sent}");
        }
    }

    #[test]
    fn any_number_can_be_said() {
        assert_eq!(on_wire(u64::MAX, u32::MAX), u64::MAX);
        assert_eq!(on_wire(0, 0), 0);
    }

    /// After how many seconds without video the last word is forgotten.
    fn forgotten_after(remb: &mut Remb, now: &mut Instant) -> u32 {
        remb.heard(*now);
        for second in 1.. {
            *now += SECOND;
            if remb.is_stale(*now, false) {
                assert!(!remb.is_stale(*now + SECOND * 3_600, false), "once");
                return second;
            }
        }
        unreachable!()
    }

    #[test]
    fn a_line_that_is_bad_is_tried_ever_less_often() {
        #[allow(clippy::disallowed_methods, reason = "tests are where time comes from")]
        let (mut remb, mut now) = (Remb::default(), Instant::now());
        let mut next = |flowed: u32| {
            for _ in 0..=flowed {
                now += SECOND;
                assert!(!remb.is_stale(now, true), "while pictures flow");
            }
            forgotten_after(&mut remb, &mut now)
        };
        assert_eq!([0, 2, 2, 2, 2].map(&mut next), [5, 10, 20, 40, 40]);
        assert_eq!(next(30), 5, "it was good for a while");
    }
}
