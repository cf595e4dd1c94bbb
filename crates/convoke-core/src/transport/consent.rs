//! Checks by which a peer only sees that we still agree to be sent to (RFC 7675).
//!
//! Owns: the answers to those of an idle transport, and the last of them that str0m has not been shown.
//! Never: answers one that would change anything: that names another path, or nominates anew.
//!
//! For each datagram str0m looks at its deadlines, and there makes reports of streams on which nothing goes.
//! An idle peer sends little but such checks, one in 2.5 to 5 s, and their answer depends on nothing but the
//! password. str0m takes a peer for gone that it has not been shown a check of for 15 s, so the last is
//! kept, and shown to it when it is driven anyway, before it looks at its deadlines.

use std::time::{Duration, Instant};

use str0m::Input;
use str0m::ice::StunMessage;
use str0m::net::{Protocol, Receive};

use super::{Transport, protocol};
use crate::api::{Outbox, Transmit};
use crate::demux::Pair;

/// The largest answer: header, address, integrity, fingerprint.
const ANSWER_BYTES_MAX: usize = 128;

/// The largest check that is kept; peers write about 100 bytes.
const KEPT_BYTES_MAX: usize = 256;

/// str0m sees the first that comes after so long a silence: it may think the peer gone.
const SILENCE: Duration = Duration::from_secs(14);

/// The transaction id of a STUN message (RFC 8489 §5).
const TRANSACTION: std::ops::Range<usize> = 8..20;

/// The checks of one peer.
#[derive(Debug, Default)]
pub(super) struct Consent {
    /// When the last came that was truly of the peer.
    came: Option<Instant>,
    /// The last that was answered, until str0m is shown it; empty: none. And the pair that it came by.
    kept: Vec<u8>,
    pair: Option<Pair>,
    /// What str0m was shown and shall not answer once more.
    answered: Option<[u8; TRANSACTION.end - TRANSACTION.start]>,
}

impl Consent {
    /// Whether str0m is to see the one that came now.
    fn shows(&self, now: Instant, length: usize) -> bool {
        let is_late = |came| now.saturating_duration_since(came) >= SILENCE;
        length > KEPT_BYTES_MAX || self.came.is_none_or(is_late)
    }

    /// str0m took one.
    pub(super) fn has_shown(&mut self, now: Instant) {
        self.came = Some(now);
    }

    fn keep(&mut self, now: Instant, pair: &Pair, bytes: &[u8]) {
        self.came = Some(now);
        self.kept.clear();
        self.kept.extend_from_slice(bytes);
        self.pair = Some(*pair);
    }

    /// Whether this is str0m's answer to what was answered before.
    pub(super) fn is_answered(&mut self, stun: &[u8]) -> bool {
        let same = self.answered.is_some_and(|id| stun.get(TRANSACTION) == Some(id.as_slice()));
        if same {
            self.answered = None;
        }
        same
    }
}

impl Transport {
    /// Answers a check that changes nothing, of a peer that nothing goes to or comes from. `None`: it is for
    /// str0m.
    pub(super) fn answer_idle(
        &mut self,
        now: Instant,
        pair: &Pair,
        bytes: &[u8],
        out: &mut Outbox,
    ) -> Option<()> {
        if !self.timing.is_idle() {
            return None;
        }
        let message = StunMessage::parse(bytes).ok().filter(StunMessage::is_binding_request)?;
        let (local, _) = message.split_username()?;
        let in_use = local == self.ufrag && self.paths.is_in_use(pair);
        if !in_use || self.consent.shows(now, bytes.len()) {
            return None;
        }
        let nominates = message.use_candidate().then(|| message.trans_id());
        if !self.paths.is_settled(pair, nominates) {
            return None;
        }
        answer(&message, pair, &self.rtc.direct_api().local_ice_credentials().pass, out)?;
        if let Some(transaction) = nominates {
            self.paths.nominates_again(pair, transaction);
        }
        self.consent.keep(now, pair, bytes);
        Some(())
    }

    /// Shows str0m the check that it has not seen, as if it came now. To be called before anything else
    /// that makes it look at its deadlines.
    pub(super) fn show_check(&mut self, now: Instant) {
        self.consent.answered = None;
        let Some(pair) = self.consent.pair.take() else { return };
        let mut kept = std::mem::take(&mut self.consent.kept);
        self.consent.answered = kept.get(TRANSACTION).and_then(|id| id.try_into().ok());
        let receive = Receive::new(protocol(&pair), pair.source, pair.local, &kept);
        // An error would be of this message alone, and it has been answered.
        if let Ok(check) = receive {
            let _ = self.rtc.handle_input(Input::Receive(now, check));
        }
        kept.clear();
        self.consent.kept = kept;
    }
}

/// Answers a binding request (RFC 8489) where it came from. `None`: its integrity does not hold.
pub(super) fn answer(
    message: &StunMessage<'_>,
    pair: &Pair,
    password: &str,
    out: &mut Outbox,
) -> Option<()> {
    let provider = str0m_aws_lc_rs::default_provider().sha1_hmac_provider;
    let hmac = |key: &[u8], parts: &[&[u8]]| provider.sha1_hmac(key, parts);
    if !message.verify(password.as_bytes(), hmac) {
        return None;
    }
    let answer = StunMessage::binding_reply(message.trans_id(), pair.source);
    let mut contents = vec![0; ANSWER_BYTES_MAX];
    let length = answer.to_bytes(Some(password.as_bytes()), &mut contents, hmac).ok()?;
    contents.truncate(length);
    let to = match protocol(pair) {
        Protocol::Udp => &mut out.transmits,
        _ => &mut out.frames,
    };
    to.push(Transmit { local: pair.local, destination: pair.source, contents });
    Some(())
}
