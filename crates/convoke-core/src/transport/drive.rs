//! When str0m is driven, and how its outputs are taken.
//!
//! Owns: the one drain loop, the way in which what was written leaves, deadlines.
//! Never: writes packets; knows what an event means.
//!
//! str0m asks for far more attention than it needs. A pacer gives one packet for each timeout and wants
//! another at once, an estimator wants to be asked 40 times a second and more, a transport that could
//! send is padded for ever with packets of 31 bytes. All of these are ticks that compute from the time
//! that passed, so fewer of them do the same:
//! - while it is known that more was written, the next timeout follows upon a packet at once, and after
//!   the last one it is left alone for [`SETTLE`], its own deadlines permitting, and unless it may be
//!   probing: a probe is measured by when its packets left;
//! - an estimator is asked [`ESTIMATOR_STEP_MIN`] after it was, and not padded unless padding was wished;
//! - over which no media went for [`IDLE_AFTER`] is looked at every [`IDLE_STEP`], together with others whose
//!   time is near ([`IDLE_GRID`]), and its estimator sleeps: str0m pads at 50 kbit/s whenever anything comes
//!   in, which feedback on that padding does for ever. While it sleeps the estimate is next to nothing, and
//!   padding with it; what it was is put back when something is to be sent or looked for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use str0m::bwe::Bitrate;
use str0m::net::Protocol;
use str0m::{Input, Output, PacerReason, Reason};

use super::egress::RTX_CACHE_PACKETS;
use super::{Health, Received, Transport};
use crate::api::{Outbox, Transmit};
use crate::demux::{self, Class, Pair, classify};

/// Consecutive due deadlines handled in one drive; what remains is due at once in the next turn.
const DEADLINES_PER_DRIVE: usize = 96;

/// What a pacer lets pass between two packets at least.
const PACER_STEP: Duration = Duration::from_micros(1);

/// A deadline so near is due: a pacer that is not done asks for its next step.
const PACER_STEP_MAX: Duration = Duration::from_micros(100);

/// The estimator wants to be asked again after a round trip, which on a LAN is at once; nothing changes
/// so fast, and on longer paths it asks for this.
const ESTIMATOR_STEP_MIN: Duration = Duration::from_millis(25);

/// After the last packet that was written str0m is asked this much later what else there is: retransmissions
/// and probes that began with it.
const SETTLE: Duration = Duration::from_millis(5);

/// It may be probing for so long after its aim was changed, or a packet of a probe or a retransmission left.
const PROBING: Duration = Duration::from_secs(1);

/// A transport over which no media went for so long is idle.
const IDLE_AFTER: Duration = Duration::from_secs(2);

/// How often an idle transport is looked at. All that str0m then does is to report that there is nothing to
/// report, and that is not sent; whatever comes in is answered at once, and str0m is shown that the peer lives
/// ([`super::consent`]) before it can think otherwise.
const IDLE_STEP: Duration = Duration::from_secs(240);

/// The same of one that may have data channels, while it has none: the association's own deadlines are seen
/// only when they are the next, and it may be about to open one.
const IDLE_STEP_DATA: Duration = Duration::from_millis(500);

/// Idle transports are looked at when a multiple of this has passed, so that one turn is for many.
const IDLE_GRID: Duration = Duration::from_millis(100);

/// Estimates are averages over this time.
const AVERAGED: Duration = Duration::from_secs(3);

/// The estimate of one that sleeps, in bit/s.
const ASLEEP_BPS: u64 = 1;
/// Packets that were not written now, sent again or padding, in one drain: more than what is kept of
/// one stream was asked for more than once.
const AGAIN_PER_DRAIN: usize = RTX_CACHE_PACKETS;

/// When a transport is to be driven.
#[derive(Debug)]
pub(super) struct Timing {
    /// As str0m said when it was drained last, but for what can wait.
    asked: Instant,
    /// When it is drained at the latest after packets that left without it.
    settle: Option<Instant>,
    /// Whether str0m wanted nothing more at once when it was drained last.
    calm: bool,
    /// Whether str0m estimates what the path carries, and therefore paces.
    paced: bool,
    /// Whether data channels were negotiated.
    pub(super) has_data: bool,
    /// Where the grid of idle transports begins: the same for all of a worker.
    epoch: Instant,
    /// Packets that were written since the last drive.
    pub(super) queued: usize,
    /// Whether padding is to keep a bitrate up.
    pub(super) sustains: bool,
    /// When media was last sent or received, or something looked for.
    pub(super) active: Instant,
    /// Whether the next drive counts as activity, as the aim was changed.
    pub(super) woken: bool,
    /// Until when it may be probing.
    probing: Instant,
    /// Whether it was idle when str0m was drained last.
    idle: bool,
    /// Whether what leaves now was asked for, such as a keyframe request, and is not str0m's own idea.
    pub(super) wanted: bool,
    /// Whether the estimator sleeps.
    pub(super) asleep: bool,
    /// The estimate when it last was awake, in bit/s.
    pub(super) estimate_bps: Option<u64>,
    /// Whether it was woken since the last drive, and when it was woken last.
    stirred: bool,
    woke: Option<Instant>,
}

impl Timing {
    pub(super) fn new(now: Instant, epoch: Instant, paced: bool) -> Self {
        Self {
            asked: now,
            has_data: false,
            epoch,
            settle: None,
            calm: false,
            paced,
            queued: 0,
            sustains: false,
            active: now,
            woken: false,
            probing: now + PROBING,
            idle: false,
            wanted: false,
            asleep: false,
            estimate_bps: None,
            stirred: false,
            woke: None,
        }
    }

    /// The estimator begins anew from so much, in bit/s: of what it said before nothing is to be
    /// believed, and its averages tell of that for seconds.
    pub(super) fn begins_anew(&mut self, bps: u64) {
        self.estimate_bps = Some(bps);
        self.stirred = true;
    }

    /// Notes when it was woken, or began anew.
    fn note_stirred(&mut self, now: Instant) {
        if std::mem::take(&mut self.stirred) {
            self.woke = Some(now);
        }
    }

    /// An estimate over the last seconds, without the time in which the estimator slept, or of before
    /// it began anew.
    pub(super) fn since_awake(&self, now: Instant, bps: u64) -> u64 {
        let recently = |woke| now.saturating_duration_since(woke) < AVERAGED;
        let slept = self.woke.is_some_and(recently);
        bps.max(self.estimate_bps.filter(|_| slept).unwrap_or(0))
    }

    /// Whether nothing goes either way, and str0m has nothing to do but to see that time passes.
    pub(super) fn is_idle(&self) -> bool {
        self.idle && !self.has_data && self.queued == 0 && !self.woken
    }

    pub(super) fn deadline(&self) -> Instant {
        self.settle.map_or(self.asked, |settle| settle.min(self.asked))
    }

    /// Takes what str0m asks for.
    fn ask(&mut self, now: Instant, deadline: Instant, reason: Reason, quiet: bool) {
        use PacerReason::{Handle, Immediate, Padding, Probe1, Probe2};
        let is_idle = quiet
            && (self.paced || !self.has_data)
            && !self.sustains
            && now.saturating_duration_since(self.active) > IDLE_AFTER;
        self.idle = is_idle;
        let not_before = match reason {
            Reason::BweDelayControl | Reason::Stats | Reason::Pacer(Handle | Padding)
                if is_idle && self.has_data =>
            {
                on_grid(self.epoch, now + IDLE_STEP_DATA)
            }
            Reason::BweDelayControl
            | Reason::Stats
            | Reason::Feedback
            | Reason::Ice
            | Reason::PauseCheck
            | Reason::Pacer(Handle | Padding)
                if is_idle && !self.has_data =>
            {
                on_grid(self.epoch, now + IDLE_STEP)
            }
            Reason::BweDelayControl => now + ESTIMATOR_STEP_MIN,
            Reason::Pacer(Padding) if !self.sustains => now + ESTIMATOR_STEP_MIN,
            _ => deadline,
        };
        if matches!(reason, Reason::Pacer(Probe1 | Probe2)) {
            self.probing = now + PROBING;
        }
        self.asked = deadline.max(not_before);
        self.settle = None;
        self.calm = !matches!(reason, Reason::Pacer(Immediate));
    }
}

/// What came out of str0m.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A packet that was written.
    Written,
    /// Nothing more.
    Nothing,
}

impl Transport {
    /// Sends what was queued and serves due deadlines.
    pub(crate) fn drive(
        &mut self,
        now: Instant,
        out: &mut Outbox,
        received: &mut Vec<Received>,
    ) -> Health {
        if self.dead {
            return Health::Dead;
        }
        self.timing.wanted = std::mem::take(&mut self.touched);
        self.told_bytes = self.media_bytes;
        let queued = std::mem::take(&mut self.timing.queued);
        if queued > 0 || self.timing.woken {
            self.timing.active = now;
        }
        self.timing.note_stirred(now);
        if std::mem::take(&mut self.timing.woken) {
            self.timing.probing = now + PROBING;
        }
        let handled = catch_unwind(AssertUnwindSafe(|| {
            self.show_check(now);
            let at = match self.send_written(now, queued, out, received) {
                Ok(at) => at,
                Err(health) => return health,
            };
            self.serve_deadlines(now, at, out, received)
        }));
        self.timing.wanted = false;
        self.rest();
        self.settle(handled)
    }

    /// Lets the estimator of an idle transport sleep.
    pub(super) fn rest(&mut self) {
        let awake = self.timing.idle && self.timing.paced && !self.timing.asleep && !self.dead;
        // One that has no estimate yet does not pad.
        if awake && self.timing.estimate_bps.is_some() {
            self.timing.asleep = true;
            self.rtc.bwe().reset(Bitrate::from(ASLEEP_BPS));
        }
    }

    /// Something is to be sent, or looked for.
    pub(super) fn wake(&mut self) {
        if std::mem::take(&mut self.timing.asleep)
            && let Some(bps) = self.timing.estimate_bps
        {
            self.rtc.bwe().reset(Bitrate::from(bps));
            self.timing.begins_anew(bps);
        }
    }

    /// Sends the packets that were written, without asking for anything else, where a pacer holds
    /// them. `Err` when that was all there is to do for now; else the time to go on at.
    fn send_written(
        &mut self,
        now: Instant,
        queued: usize,
        out: &mut Outbox,
        received: &mut Vec<Received>,
    ) -> Result<Instant, Health> {
        let mut at = now;
        if !self.timing.paced || !self.timing.calm || queued == 0 || queued > DEADLINES_PER_DRIVE {
            return Ok(at);
        }
        for _ in 0..queued {
            if self.rtc.handle_input(Input::Timeout(at)).is_err() {
                return Err(Health::Dead);
            }
            at += PACER_STEP;
            if self.next_written(now, out, received) == Next::Nothing {
                return Ok(at);
            }
        }
        if self.timing.asked <= now || self.timing.probing > now {
            return Ok(at);
        }
        self.timing.settle = Some(now + SETTLE);
        Err(Health::Well)
    }

    /// Takes outputs up to the next packet that was written.
    fn next_written(
        &mut self,
        now: Instant,
        out: &mut Outbox,
        received: &mut Vec<Received>,
    ) -> Next {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Transmit(transmit)) => {
                    if self.transmit(now, transmit, out) {
                        return Next::Written;
                    }
                }
                Ok(Output::Event(event)) => self.event(now, event, received),
                // Of what went wrong the drain is told again.
                Ok(Output::Timeout(_)) => return Next::Nothing,
                Err(error) => {
                    self.tally.gave_up(&error);
                    return Next::Nothing;
                }
            }
        }
    }

    /// Whether it is a packet that was written.
    fn transmit(&mut self, now: Instant, transmit: str0m::net::Transmit, out: &mut Outbox) -> bool {
        let ssrc = rtp_ssrc(&transmit.contents);
        let class = classify(&transmit.contents);
        if ssrc.is_some() {
            self.media_bytes += transmit.contents.len() as u64;
        } else if class == Class::Rtp && self.timing.idle && !self.timing.wanted {
            // RTCP that reports that there is nothing to report.
            return false;
        }
        let written = ssrc.is_some_and(|ssrc| self.used_ssrcs.contains(&ssrc));
        if ssrc.is_some() && !written {
            self.timing.probing = now + PROBING;
            self.tally.left(&transmit.contents);
        }
        let is_check = class == Class::Stun;
        if is_check && self.consent.is_answered(&transmit.contents) {
            return false;
        }
        let told = Pair {
            protocol: match transmit.proto {
                Protocol::Udp => demux::Protocol::Udp,
                _ => demux::Protocol::Tcp,
            },
            source: transmit.destination,
            local: transmit.source,
        };
        let pair = self.paths.current().filter(|_| !is_check).unwrap_or(told);
        let to = match pair.protocol {
            demux::Protocol::Udp => &mut out.transmits,
            demux::Protocol::Tcp => &mut out.frames,
        };
        to.push(Transmit {
            local: pair.local,
            destination: pair.source,
            contents: transmit.contents.into(),
        });
        written
    }

    fn serve_deadlines(
        &mut self,
        now: Instant,
        mut at: Instant,
        out: &mut Outbox,
        received: &mut Vec<Received>,
    ) -> Health {
        for _ in 0..DEADLINES_PER_DRIVE {
            if self.rtc.handle_input(Input::Timeout(at)).is_err() {
                return Health::Dead;
            }
            let health = self.drain(now, out, received);
            if health != Health::Well || self.timing.asked > now + PACER_STEP_MAX {
                return health;
            }
            at = self.timing.asked.max(at);
        }
        Health::Well
    }

    /// The one drain loop. One packet of requests can name each packet that is kept many times, and
    /// where no pacer is, all of them leave at once: there is a bound to that.
    pub(super) fn drain(
        &mut self,
        now: Instant,
        out: &mut Outbox,
        received: &mut Vec<Received>,
    ) -> Health {
        let mut again = 0;
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(deadline)) => {
                    let reason = self.rtc.last_timeout_reason();
                    let quiet = self.connected && self.data_channels() == 0;
                    self.timing.ask(now, deadline, reason, quiet);
                    return if self.rtc.is_alive() { Health::Well } else { Health::Dead };
                }
                Ok(Output::Transmit(transmit)) => {
                    again += usize::from(!self.transmit(now, transmit, out));
                    if again > AGAIN_PER_DRAIN {
                        again = 0;
                        self.forget_all_sent();
                    }
                }
                Ok(Output::Event(event)) => self.event(now, event, received),
                Err(error) => {
                    self.tally.gave_up(&error);
                    return Health::Dead;
                }
            }
        }
    }
}

/// The next point of the grid at `at` or after it.
pub(crate) fn on_grid(epoch: Instant, at: Instant) -> Instant {
    let since = at.saturating_duration_since(epoch).as_nanos();
    let points = since.div_ceil(IDLE_GRID.as_nanos());
    epoch + IDLE_GRID * u32::try_from(points).unwrap_or(u32::MAX)
}

/// The SSRC of a datagram that is RTP, not RTCP (RFC 5761 §4).
pub(super) fn rtp_ssrc(datagram: &[u8]) -> Option<u32> {
    match *datagram {
        [128..=191, kind, _, _, _, _, _, _, a, b, c, d, ..]
            if !(64..96).contains(&(kind & 0x7f)) =>
        {
            Some(u32::from_be_bytes([a, b, c, d]))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_not_averaged_with_what_was_said_before_it_began_anew() {
        let now = Instant::now();
        let mut timing = Timing::new(now, now, true);
        timing.estimate_bps = Some(400_000);
        assert_eq!(timing.since_awake(now, 300_000), 300_000);
        timing.begins_anew(2_000_000);
        timing.note_stirred(now);
        let within = now + AVERAGED - Duration::from_millis(1);
        assert_eq!(timing.since_awake(within, 900_000), 2_000_000, "the average is of both");
        assert_eq!(timing.since_awake(within, 2_100_000), 2_100_000);
        timing.estimate_bps = Some(1_200_000);
        assert_eq!(timing.since_awake(within, 900_000), 1_200_000, "it fell since");
        assert_eq!(timing.since_awake(now + AVERAGED, 900_000), 900_000);
    }
}
