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

/// Why a participant's transport failed; counted in [`Stats::failures`]. Who leaves, is removed or says
/// goodbye has not failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum TransportFailure {
    /// No connectivity check of the peer came (RFC 8445 §7.3): its network lets no UDP through, or
    /// cannot reach the advertised addresses.
    IceTimeout,
    /// ICE was up, and the DTLS handshake was not over in time.
    DtlsTimeout,
    /// A message of the peer's handshake was refused, and no handshake was over in time.
    DtlsRefused,
    /// The peer's certificate is not the one of its SDP (RFC 8122 §6.2).
    Fingerprint,
    /// The peer ended DTLS before it was up.
    ClosedEarly,
    /// It was up, and nothing authenticated came for the media timeout (RFC 7675).
    ConsentLost,
}

impl TransportFailure {
    /// All of them, in the order of [`Stats::failures`].
    pub const ALL: [Self; 6] = [
        Self::IceTimeout,
        Self::DtlsTimeout,
        Self::DtlsRefused,
        Self::Fingerprint,
        Self::ClosedEarly,
        Self::ConsentLost,
    ];

    /// The metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::IceTimeout => "ice_timeout",
            Self::DtlsTimeout => "dtls_timeout",
            Self::DtlsRefused => "dtls_refused",
            Self::Fingerprint => "fingerprint",
            Self::ClosedEarly => "closed_early",
            Self::ConsentLost => "consent_lost",
        }
    }
}

/// The upper bounds of [`Stats::estimate_buckets`], in bit/s.
pub const ESTIMATE_BUCKETS: [u64; 9] =
    [100_000, 250_000, 500_000, 1_000_000, 2_000_000, 3_000_000, 5_000_000, 8_000_000, 16_000_000];

/// Retransmission (RFC 4588).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Again {
    /// Packets that came again from publishers, and were of use.
    pub packets_in: u64,
    /// Their bytes, as datagrams.
    pub bytes_in: u64,
    /// Packets sent again: those that were asked for, and older ones with which a path is probed.
    pub packets_out: u64,
    /// Their bytes, as datagrams.
    pub bytes_out: u64,
    /// Requests for them (RFC 4585 NACK) from subscribers whose path is estimated.
    pub nacks: u64,
}

impl std::ops::AddAssign for Again {
    fn add_assign(&mut self, other: Self) {
        self.packets_in += other.packets_in;
        self.bytes_in += other.bytes_in;
        self.packets_out += other.packets_out;
        self.bytes_out += other.bytes_out;
        self.nacks += other.nacks;
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
    /// Transports that failed, in the order of [`TransportFailure::ALL`].
    pub failures: [u64; TransportFailure::ALL.len()],
    /// Retransmission.
    pub again: Again,
    /// What subscribers' paths were estimated to carry, seen twice a second where there is video: at
    /// most so much, and more than the bound before.
    pub estimate_buckets: [u64; ESTIMATE_BUCKETS.len()],
    /// How many estimates were seen.
    pub estimate_count: u64,
    /// Their sum, in bit/s.
    pub estimate_sum_bps: u64,
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

    pub(crate) fn count_failure(&mut self, failure: TransportFailure) {
        if let Some(count) = self.failures.get_mut(failure as usize) {
            *count += 1;
        }
    }

    pub(crate) fn count_estimate(&mut self, bps: u64) {
        let at = ESTIMATE_BUCKETS.iter().position(|bound| bps <= *bound);
        if let Some(bucket) = at.and_then(|at| self.estimate_buckets.get_mut(at)) {
            *bucket += 1;
        }
        self.estimate_count += 1;
        self.estimate_sum_bps += bps;
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
