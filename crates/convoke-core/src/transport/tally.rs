//! What a transport counts of itself: retransmission, and why it failed.
//!
//! Owns: the counters of one transport, which its worker adds up when it is asked.
//! Never: costs a packet that is sent for the first time anything.

use str0m::stats::MediaEgressStats;
use str0m::{IceConnectionState, RtcError};

use super::Transport;
use crate::api::{Again, TransportFailure};

/// The padding bit of an RTP header (RFC 3550 §5.1).
const PADDING: u8 = 0x20;

/// See the module.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) again: Again,
    /// Which payload types are those of retransmission.
    rtx_types: [bool; 128],
    /// What each m-line had been asked to send again when that was told last.
    nacks: Vec<(str0m::media::Mid, u64)>,
    ice_up: bool,
    refused: bool,
    failure: Option<TransportFailure>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            again: Again::default(),
            rtx_types: [false; 128],
            nacks: Vec::new(),
            ice_up: false,
            refused: false,
            failure: None,
        }
    }
}

impl Tally {
    /// A datagram was authenticated and of use. RTCP's types are none of those of retransmission
    /// (RFC 5761 §4).
    pub(super) fn came(&mut self, datagram: &[u8]) {
        if let [128..=191, second, ..] = datagram
            && self.rtx_types.get(usize::from(second & 0x7f)) == Some(&true)
        {
            self.again.packets_in += 1;
            self.again.bytes_in += datagram.len() as u64;
        }
    }

    /// An RTP packet leaves that was not written now: one again, or padding, which does not count.
    pub(super) fn left(&mut self, datagram: &[u8]) {
        if datagram.first().is_some_and(|byte| byte & PADDING == 0) {
            self.again.packets_out += 1;
            self.again.bytes_out += datagram.len() as u64;
        }
    }

    /// What str0m counted of one stream that is sent.
    pub(super) fn stats(&mut self, stats: &MediaEgressStats) {
        let Some((_, before)) = self.nacks.iter_mut().find(|(mid, _)| *mid == stats.mid) else {
            self.again.nacks += stats.nacks;
            self.nacks.push((stats.mid, stats.nacks));
            return;
        };
        // A stream that was forgotten and declared again counts from nothing.
        let more = stats.nacks.checked_sub(*before).unwrap_or(stats.nacks);
        self.again.nacks += more;
        *before = stats.nacks;
    }

    /// The state of ICE changed.
    pub(super) fn ice(&mut self, state: IceConnectionState) {
        self.ice_up |=
            matches!(state, IceConnectionState::Connected | IceConnectionState::Completed);
    }

    /// What was sent by the peer was refused.
    pub(super) fn refused(&mut self, error: &RtcError) {
        self.refused |= matches!(error, RtcError::Dtls(_));
    }

    /// str0m gave up by itself: a peer's certificate is looked at, and the handshake's time is up, while
    /// outputs are taken.
    pub(super) fn gave_up(&mut self, error: &RtcError) {
        let failure = match error {
            RtcError::RemoteSdp(_) => TransportFailure::Fingerprint,
            RtcError::Dtls(_) if self.refused => TransportFailure::DtlsRefused,
            RtcError::Dtls(_) => TransportFailure::DtlsTimeout,
            _ => return,
        };
        self.failure.get_or_insert(failure);
    }
}

impl Transport {
    /// Retransmission so far.
    pub(crate) fn again(&self) -> Again {
        self.tally.again
    }

    /// Why it is beyond use, if it never was up; by then it is.
    pub(crate) fn failure(&self) -> Option<TransportFailure> {
        let early = || self.tally.failure.unwrap_or(TransportFailure::ClosedEarly);
        (!self.connected).then(early)
    }

    /// Why nothing came from its peer for the media timeout.
    pub(crate) fn silence(&self) -> TransportFailure {
        match &self.tally {
            _ if self.connected => TransportFailure::ConsentLost,
            Tally { failure: Some(failure), .. } => *failure,
            Tally { refused: true, .. } => TransportFailure::DtlsRefused,
            Tally { ice_up: true, .. } => TransportFailure::DtlsTimeout,
            _ => TransportFailure::IceTimeout,
        }
    }

    /// Which payload types are those of retransmission, of what was negotiated.
    pub(super) fn learn_retransmission(&mut self) {
        let negotiated = |params: &&str0m::format::PayloadParams| {
            let payloads = self.lines.iter().flat_map(|line| &line.payloads);
            payloads.into_iter().any(|(payload_type, _)| *payload_type == *params.pt())
        };
        let params = self.rtc.codec_config().params().iter().filter(negotiated);
        let types = params.filter_map(str0m::format::PayloadParams::resend);
        let types: Vec<u8> = types.map(|payload_type| *payload_type).collect();
        self.tally.rtx_types =
            std::array::from_fn(|at| types.iter().any(|one| usize::from(*one) == at));
    }
}
