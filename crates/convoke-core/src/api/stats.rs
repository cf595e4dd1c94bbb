//! What a worker counts: drops by reason, packets and bytes, gauges of now.
//!
//! Owns: the counters and their labels.
//! Never: decides what is dropped.

use super::{DataStats, RelayDrop};

/// Why a datagram or packet was dropped; counted in [`Stats::drops`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum DropReason {
    /// The first byte belongs to no protocol of RFC 7983.
    NotDemultiplexed,
    /// From an unknown address, and no STUN.
    UnknownSource,
    /// STUN for an unknown user name.
    UnknownUfrag,
    /// STUN whose integrity did not hold.
    BadIntegrity,
    /// The transport refused it.
    Malformed,
    /// RTP on an m-line where nothing is published.
    NotPublished,
    /// RTP while the track is muted or not allowed.
    NotAllowed,
    /// RTP from before a switch point.
    Late,
    /// An RTP payload larger than any path carries ([`crate::PAYLOAD_BYTES_MAX`]).
    Oversize,
    /// RTP of an encoding that its track does not have.
    OtherEncoding,
    /// RTP whose payload descriptor cannot be read.
    Unreadable,
    /// Video that waited too long for a busy worker.
    LateVideo,
    /// Audio that waited too long for a busy worker.
    LateAudio,
}

impl DropReason {
    /// All of them, in the order of [`Stats::drops`].
    pub const ALL: [Self; 13] = [
        Self::NotDemultiplexed,
        Self::UnknownSource,
        Self::UnknownUfrag,
        Self::BadIntegrity,
        Self::Malformed,
        Self::NotPublished,
        Self::NotAllowed,
        Self::Late,
        Self::Oversize,
        Self::OtherEncoding,
        Self::Unreadable,
        Self::LateVideo,
        Self::LateAudio,
    ];

    /// The metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NotDemultiplexed => "not_demultiplexed",
            Self::UnknownSource => "unknown_source",
            Self::UnknownUfrag => "unknown_ufrag",
            Self::BadIntegrity => "bad_integrity",
            Self::Malformed => "malformed",
            Self::NotPublished => "not_published",
            Self::NotAllowed => "not_allowed",
            Self::Late => "late",
            Self::Oversize => "oversize",
            Self::OtherEncoding => "other_encoding",
            Self::Unreadable => "unreadable",
            Self::LateVideo => "late_video",
            Self::LateAudio => "late_audio",
        }
    }
}

/// Counters since the worker began, and gauges of now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Rooms now.
    pub rooms: u64,
    /// Participants now.
    pub participants: u64,
    /// Transports now.
    pub transports: u64,
    /// Published tracks now.
    pub tracks: u64,
    /// Datagrams in.
    pub datagrams_in: u64,
    /// Datagrams out.
    pub datagrams_out: u64,
    /// RTP packets in, audio and video (after SRTP).
    pub rtp_in: [u64; 2],
    /// RTP payload bytes in, audio and video.
    pub rtp_bytes_in: [u64; 2],
    /// RTP packets forwarded, audio and video.
    pub rtp_out: [u64; 2],
    /// RTP payload bytes forwarded, audio and video.
    pub rtp_bytes_out: [u64; 2],
    /// Keyframe requests heard from subscribers (PLI, FIR).
    pub keyframe_requests_in: u64,
    /// Keyframe requests sent to publishers.
    pub keyframe_requests_out: u64,
    /// Times that a slot changed from one track to another.
    pub slot_switches: u64,
    /// Times that a slot's layer changed.
    pub layer_switches: u64,
    /// Times that an estimate fell without consequence and was begun anew.
    pub estimates_restarted: u64,
    /// Peers dropped because their handling panicked.
    pub peer_panics: u64,
    /// Drops, in the order of [`DropReason::ALL`].
    pub drops: [u64; DropReason::ALL.len()],
    /// Rooms that are linked to other shards now.
    pub shards: u64,
    /// RTP packets from other shards, audio and video.
    pub relay_in: [u64; 2],
    /// RTP payload bytes from other shards, audio and video.
    pub relay_bytes_in: [u64; 2],
    /// RTP packets to other shards, audio and video.
    pub relay_out: [u64; 2],
    /// RTP payload bytes to other shards, audio and video.
    pub relay_bytes_out: [u64; 2],
    /// Relay messages dropped, in the order of [`RelayDrop::ALL`].
    pub relay_drops: [u64; RelayDrop::ALL.len()],
    /// Data messages.
    pub data: DataStats,
}

impl Stats {
    pub(crate) fn count_drop(&mut self, reason: DropReason) {
        if let Some(count) = self.drops.get_mut(reason as usize) {
            *count += 1;
        }
    }

    pub(crate) fn count_relay_drop(&mut self, reason: RelayDrop) {
        if let Some(count) = self.relay_drops.get_mut(reason as usize) {
            *count += 1;
        }
    }

    pub(crate) fn count_relay_in(&mut self, audio: bool, bytes: usize) {
        count(&mut self.relay_in, &mut self.relay_bytes_in, audio, bytes);
    }

    pub(crate) fn count_relay_out(&mut self, audio: bool, bytes: usize) {
        count(&mut self.relay_out, &mut self.relay_bytes_out, audio, bytes);
    }

    pub(crate) fn count_in(&mut self, audio: bool, bytes: usize) {
        count(&mut self.rtp_in, &mut self.rtp_bytes_in, audio, bytes);
    }

    pub(crate) fn count_out(&mut self, audio: bool, bytes: usize) {
        count(&mut self.rtp_out, &mut self.rtp_bytes_out, audio, bytes);
    }
}

fn count(packets: &mut [u64; 2], sum: &mut [u64; 2], audio: bool, bytes: usize) {
    let kind = usize::from(!audio);
    if let (Some(packets), Some(sum)) = (packets.get_mut(kind), sum.get_mut(kind)) {
        *packets += 1;
        *sum += bytes as u64;
    }
}
