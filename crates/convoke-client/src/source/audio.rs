//! Opus-like audio: a packet every 20 ms.

use std::time::{Duration, Instant};

use super::{MediaSource, PausedClock, Stamp, micros};
use crate::media::{Codec, Packet};

const FRAME: Duration = Duration::from_millis(20);
const FRAME_TICKS: u32 = 960;
/// Opus TOC (RFC 6716 §3.1): CELT, fullband, 20 ms, mono, one frame.
const TOC: u8 = 31 << 3;
/// Packets of one [`MediaSource::take`] at most; a caller that was away longer lost the rest.
const MAX_BURST: u32 = 50;

/// An audio source's settings.
#[derive(Debug, Clone)]
pub struct AudioConfig {
    /// See [`Stamp::publisher`].
    pub publisher: u32,
    /// See [`Stamp::track`].
    pub track: u16,
    /// Zero of [`Stamp::sent_us`]; receiver and sender must agree on it.
    pub epoch: Instant,
    /// When the first packet is due.
    pub start: Instant,
    /// Bytes of a packet's payload.
    pub bytes: usize,
    /// The level of RFC 6464, in -dBov (0 loudest, 127 silence).
    pub level: u8,
    /// The first RTP timestamp; random when absent.
    pub first_rtp_time: Option<u32>,
    /// What the RTP clock does over a pause.
    pub paused_clock: PausedClock,
}

impl AudioConfig {
    /// Speech at about 32 kbit/s.
    #[must_use]
    pub fn new(publisher: u32, epoch: Instant, start: Instant) -> Self {
        Self {
            publisher,
            track: 0,
            epoch,
            start,
            bytes: 80,
            level: 30,
            first_rtp_time: None,
            paused_clock: PausedClock::default(),
        }
    }
}

/// Opus-like audio; see [`AudioConfig`].
#[derive(Debug)]
pub struct AudioSource {
    config: AudioConfig,
    random: fastrand::Rng,
    due: Instant,
    rtp_time: u32,
    frame: u32,
    talkspurt: bool,
    paused_at: Option<Instant>,
}

impl AudioSource {
    /// A source that begins at `config.start`.
    #[must_use]
    pub fn new(config: AudioConfig, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let rtp_time = config.first_rtp_time.unwrap_or_else(|| random.u32(..));
        let due = config.start;
        Self { config, random, due, rtp_time, frame: 0, talkspurt: true, paused_at: None }
    }

    /// Changes how loud the source is (RFC 6464, -dBov).
    pub fn set_level(&mut self, level: u8) {
        self.config.level = level;
    }

    fn packet(&mut self, now: Instant) -> Packet {
        let stamp = Stamp {
            publisher: self.config.publisher,
            track: self.config.track,
            keyframe: true,
            frame: self.frame,
            picture: self.frame,
            packets: 1,
            sent_us: micros(self.config.epoch, now),
            ..Stamp::default()
        };
        let body = self.config.bytes.saturating_sub(Stamp::LEN + 1);
        let mut payload = Vec::with_capacity(1 + body + Stamp::LEN);
        payload.push(TOC);
        payload.resize(1 + body, 0);
        if let Some(noise) = payload.get_mut(1..) {
            self.random.fill(noise);
        }
        stamp.write(&mut payload);
        Packet {
            marker: std::mem::take(&mut self.talkspurt),
            level: Some(self.config.level),
            ..Packet::new(Codec::Opus, self.rtp_time, payload)
        }
    }

    fn advance(&mut self, frames: u32) {
        self.due += FRAME * frames;
        self.rtp_time = self.rtp_time.wrapping_add(FRAME_TICKS.wrapping_mul(frames));
    }
}

impl MediaSource for AudioSource {
    fn next_due(&self) -> Option<Instant> {
        self.paused_at.is_none().then_some(self.due)
    }

    fn take(&mut self, now: Instant) -> Vec<Packet> {
        let mut packets = Vec::new();
        if self.paused_at.is_some() {
            return packets;
        }
        let late = now.saturating_duration_since(self.due).as_millis() / FRAME.as_millis();
        self.advance(u32::try_from(late).unwrap_or(u32::MAX).saturating_sub(MAX_BURST));
        while self.due <= now {
            packets.push(self.packet(now));
            self.frame = self.frame.wrapping_add(1);
            self.advance(1);
        }
        packets
    }

    fn set_paused(&mut self, now: Instant, paused: bool) {
        match (paused, self.paused_at) {
            (true, None) => self.paused_at = Some(now),
            (false, Some(_)) => {
                self.paused_at = None;
                self.talkspurt = true;
                let away = now.saturating_duration_since(self.due).as_millis() / FRAME.as_millis();
                match self.config.paused_clock {
                    PausedClock::Runs => self.advance(u32::try_from(away).unwrap_or(u32::MAX)),
                    PausedClock::Stands => self.due = now,
                    PausedClock::Jumps => {
                        self.due = now;
                        self.rtp_time = self.random.u32(..);
                    }
                }
            }
            _ => {}
        }
    }
}
