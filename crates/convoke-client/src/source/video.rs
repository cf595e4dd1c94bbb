//! Video that looks like an encoder's output to a forwarding server.

use std::time::{Duration, Instant};

use super::payload::{Head, Packetizer, Style};
use super::{MediaSource, PausedClock, Stamp, micros};
use crate::media::{Codec, Packet};

/// Frames of one [`MediaSource::take`] at most; a caller that was away longer lost the rest.
const MAX_BURST: u32 = 4;
/// How much larger a keyframe is than the mean frame.
const KEYFRAME_FACTOR: usize = 4;
/// The smallest time between two keyframes that were asked for.
const KEYFRAME_SPACING: Duration = Duration::from_millis(100);

/// A video source's settings.
#[derive(Debug, Clone)]
pub struct VideoConfig {
    /// The codec to imitate.
    pub codec: Codec,
    /// See [`Stamp::publisher`].
    pub publisher: u32,
    /// See [`Stamp::track`].
    pub track: u16,
    /// Zero of [`Stamp::sent_us`]; receiver and sender must agree on it.
    pub epoch: Instant,
    /// When the first frame is due.
    pub start: Instant,
    /// Frames in a second.
    pub fps: u32,
    /// Bits in a second, payload only.
    pub bps: u32,
    /// Width and height that keyframes claim.
    pub size: (u16, u16),
    /// Bytes of the largest packet's payload.
    pub packet_bytes: usize,
    /// A keyframe at least this often, if at all.
    pub keyframe_every: Option<Duration>,
    /// The first RTP timestamp; random when absent.
    pub first_rtp_time: Option<u32>,
    /// The first picture id (15 bits; VP8 and VP9); random when absent.
    pub first_picture_id: Option<u16>,
    /// What the RTP clock does over a pause.
    pub paused_clock: PausedClock,
}

impl VideoConfig {
    /// 640x360, 30 frames/s, 600 kbit/s, keyframes only on request.
    #[must_use]
    pub fn new(codec: Codec, publisher: u32, epoch: Instant, start: Instant) -> Self {
        Self {
            codec,
            publisher,
            track: 1,
            epoch,
            start,
            fps: 30,
            bps: 600_000,
            size: (640, 360),
            packet_bytes: 1_100,
            keyframe_every: None,
            first_rtp_time: None,
            first_picture_id: None,
            paused_clock: PausedClock::default(),
        }
    }
}

/// Synthetic video; see [`VideoConfig`].
#[derive(Debug)]
pub struct VideoSource {
    config: VideoConfig,
    random: fastrand::Rng,
    packetizer: Packetizer,
    due: Instant,
    rtp_time: u32,
    frame: u32,
    keyframe_wanted: bool,
    last_keyframe: Option<Instant>,
    paused_at: Option<Instant>,
    /// Nobody wants it.
    unwanted: bool,
}

impl VideoSource {
    /// A source that begins with a keyframe at `config.start`.
    #[must_use]
    pub fn new(config: VideoConfig, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let rtp_time = config.first_rtp_time.unwrap_or_else(|| random.u32(..));
        let picture_id = config.first_picture_id.unwrap_or_else(|| random.u16(..));
        let style = Style { sizes: vec![config.size], ..Style::default() };
        let packetizer = Packetizer::new(config.codec, picture_id, random.u8(..), style);
        Self {
            due: config.start,
            config,
            random,
            packetizer,
            rtp_time,
            frame: 0,
            keyframe_wanted: true,
            last_keyframe: None,
            paused_at: None,
            unwanted: false,
        }
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.config.fps.max(1)
    }

    fn ticks(&self) -> u32 {
        90_000 / self.config.fps.max(1)
    }

    fn is_keyframe(&mut self, now: Instant) -> bool {
        let since = self.last_keyframe.map(|at| now.saturating_duration_since(at));
        let asked = self.keyframe_wanted && since.is_none_or(|s| s >= KEYFRAME_SPACING);
        let periodic = match (since, self.config.keyframe_every) {
            (Some(since), Some(every)) => since >= every,
            (since, _) => since.is_none(),
        };
        if asked || periodic {
            self.keyframe_wanted = false;
            self.last_keyframe = Some(now);
        }
        asked || periodic
    }

    fn frame_bytes(&mut self, keyframe: bool) -> usize {
        let mean = self.config.bps / 8 / self.config.fps.max(1);
        let mean = usize::try_from(mean).unwrap_or(usize::MAX).max(100);
        // Between 70% and 130% of the mean.
        let size = mean * self.random.usize(70..=130) / 100;
        if keyframe { size * KEYFRAME_FACTOR } else { size }
    }

    fn make_frame(&mut self, now: Instant, packets: &mut Vec<Packet>) {
        let keyframe = self.is_keyframe(now);
        let room = self.config.packet_bytes.saturating_sub(Stamp::LEN).max(64);
        let size = self.frame_bytes(keyframe).min(room * 1_000);
        let count = size.div_ceil(room).max(self.packetizer.least_packets(keyframe));
        self.packetizer.begin_picture(0);
        self.packetizer.begin_frame(Head { key_picture: keyframe, ..Head::default() });
        for index in 0..count {
            let stamp = Stamp {
                publisher: self.config.publisher,
                track: self.config.track,
                keyframe,
                frame: self.frame,
                picture: self.frame,
                references: [u16::from(!keyframe), 0, 0],
                size: self.config.size,
                packet: u16::try_from(index).unwrap_or(u16::MAX),
                packets: u16::try_from(count).unwrap_or(u16::MAX),
                sent_us: micros(self.config.epoch, now),
                ..Stamp::default()
            };
            let mut payload = Vec::with_capacity(size / count + 64);
            self.packetizer.head(index, count, &mut payload);
            let head = payload.len();
            payload.resize(head.max((size / count).min(room)), 0);
            if let Some(noise) = payload.get_mut(head..) {
                self.random.fill(noise);
            }
            stamp.write(&mut payload);
            packets.push(Packet {
                marker: index + 1 == count,
                ..Packet::new(self.config.codec, self.rtp_time, payload)
            });
        }
        self.frame = self.frame.wrapping_add(1);
    }

    fn advance(&mut self, frames: u32) {
        self.due += self.interval() * frames;
        self.rtp_time = self.rtp_time.wrapping_add(self.ticks().wrapping_mul(frames));
    }

    /// Whole frames between the next due one and `now`.
    fn frames_late(&self, now: Instant) -> u32 {
        let late = now.saturating_duration_since(self.due).as_nanos();
        u32::try_from(late / self.interval().as_nanos().max(1)).unwrap_or(u32::MAX)
    }
}

impl MediaSource for VideoSource {
    fn next_due(&self) -> Option<Instant> {
        (self.paused_at.is_none() && !self.unwanted).then_some(self.due)
    }

    fn take(&mut self, now: Instant) -> Vec<Packet> {
        let mut packets = Vec::new();
        if self.paused_at.is_some() || self.unwanted {
            return packets;
        }
        let skip = self.frames_late(now).saturating_sub(MAX_BURST);
        self.advance(skip);
        while self.due <= now {
            self.make_frame(now, &mut packets);
            self.advance(1);
        }
        packets
    }

    fn request_keyframe(&mut self) {
        self.keyframe_wanted = true;
    }

    fn set_active(&mut self, now: Instant, encoding: usize, active: bool) {
        if encoding == 0 && std::mem::replace(&mut self.unwanted, !active) && active {
            self.keyframe_wanted = true;
            if self.paused_at.is_none() {
                let away = self.frames_late(now);
                self.advance(away);
            }
        }
    }

    fn set_paused(&mut self, now: Instant, paused: bool) {
        match (paused, self.paused_at) {
            (true, None) => self.paused_at = Some(now),
            (false, Some(_)) => {
                self.paused_at = None;
                self.keyframe_wanted = true;
                match self.config.paused_clock {
                    PausedClock::Runs => {
                        let away = self.frames_late(now);
                        self.advance(away);
                    }
                    PausedClock::Stands => self.due = self.due.max(now),
                    PausedClock::Jumps => {
                        self.due = self.due.max(now);
                        self.rtp_time = self.random.u32(..);
                    }
                }
            }
            _ => {}
        }
    }
}
