//! A slot's choice: what it forwards, and what it waits for.
//!
//! Owns: two enums, so that impossible mixes cannot be written.
//! Never: numbers packets itself; that is [`super::rewrite`]'s.
//!
//! A slot that is given another track goes on with the old one until the new one's first usable
//! packet (video: the start of a keyframe), then cuts over; what comes late from before the cut is
//! dropped. With one encoding per track a stream is a track and its SSRC; layers will refine it.

use std::time::Instant;

use super::rewrite::{Incoming, Numbers, Rewriter};

/// A jump of more sequence numbers than this is a new stream under an old name: going on would
/// show the receiver a gap of that size.
const JUMP_MAX: u64 = 1_000;

/// What is forwarded now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    Nothing,
    /// One stream of a track (by its key in the room).
    Stream {
        track: usize,
        ssrc: u32,
    },
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Nothing,
    /// The first usable packet of a track.
    Start {
        track: usize,
    },
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// It leaves with these numbers.
    Forward(Numbers),
    /// It is the first of what was waited for, and leaves with these numbers; the stream of
    /// `left` (if any) is no longer forwarded.
    Switch { numbers: Numbers, left: Option<usize> },
    /// It is not for this slot now (another stream, or no keyframe yet).
    Skip,
    /// It is from before the switch.
    Late,
    /// The stream jumped; its next keyframe is waited for.
    Lost,
}

/// One packet as the choice sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    /// The track's key in the room.
    pub(crate) track: usize,
    pub(crate) ssrc: u32,
    /// Whether a receiver can start here.
    pub(crate) start: bool,
    pub(crate) numbers: Incoming,
}

/// One slot's state.
#[derive(Debug)]
pub(crate) struct Forwarder {
    sending: Sending,
    waiting: Waiting,
    rewriter: Rewriter,
}

impl Forwarder {
    pub(crate) fn new(random: [u32; 2]) -> Self {
        Self {
            sending: Sending::Nothing,
            waiting: Waiting::Nothing,
            rewriter: Rewriter::new(random),
        }
    }

    /// The track whose packets leave now.
    pub(crate) fn sending(&self) -> Option<usize> {
        match self.sending {
            Sending::Nothing => None,
            Sending::Stream { track, .. } => Some(track),
        }
    }

    /// The track whose first usable packet is waited for.
    pub(crate) fn waiting(&self) -> Option<usize> {
        match self.waiting {
            Waiting::Nothing => None,
            Waiting::Start { track } => Some(track),
        }
    }

    /// Wants `track` from its next usable packet on; what is sent now goes on until then.
    pub(crate) fn want(&mut self, track: usize) {
        self.waiting =
            if self.sending() == Some(track) { Waiting::Nothing } else { Waiting::Start { track } };
    }

    /// Stops what is sent now, and goes on waiting for what is waited for.
    pub(crate) fn stop(&mut self) {
        self.sending = Sending::Nothing;
    }

    /// Wants nothing and sends nothing.
    pub(crate) fn clear(&mut self) {
        self.sending = Sending::Nothing;
        self.waiting = Waiting::Nothing;
    }

    /// What becomes of one packet.
    pub(crate) fn choose(&mut self, now: Instant, packet: Candidate) -> Choice {
        let Candidate { track, ssrc, start, numbers } = packet;
        if self.waiting == (Waiting::Start { track }) {
            if !start {
                return Choice::Skip;
            }
            let left = self.sending().filter(|left| *left != track);
            self.sending = Sending::Stream { track, ssrc };
            self.waiting = Waiting::Nothing;
            return Choice::Switch { numbers: self.rewriter.start(now, numbers), left };
        }
        match self.sending {
            Sending::Stream { track: mine, ssrc: my_ssrc } if mine == track => {
                if ssrc != my_ssrc || self.rewriter.distance(numbers.seq) > JUMP_MAX {
                    return self.restart(now, packet);
                }
                match self.rewriter.continue_with(now, numbers) {
                    Some(numbers) => Choice::Forward(numbers),
                    None => Choice::Late,
                }
            }
            _ => Choice::Skip,
        }
    }

    /// The track goes on as another stream: new SSRC, or a jump in its numbers.
    fn restart(&mut self, now: Instant, packet: Candidate) -> Choice {
        let Candidate { track, ssrc, start, numbers } = packet;
        if start {
            self.sending = Sending::Stream { track, ssrc };
            let numbers = self.rewriter.start(now, numbers);
            return Choice::Switch { numbers, left: None };
        }
        self.sending = Sending::Nothing;
        if self.waiting == Waiting::Nothing {
            self.waiting = Waiting::Start { track };
        }
        Choice::Lost
    }
}
