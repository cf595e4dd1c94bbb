//! Checks by which a peer only sees that we still agree to be sent to (RFC 7675).
//!
//! Owns: the answers to those of an idle transport, and when str0m is shown one.
//! Never: answers one that would change anything: that names another path, or nominates anew.
//!
//! For each datagram str0m looks at its deadlines, and there makes reports of streams on which nothing goes.
//! An idle peer sends little but such checks, one in 2.5 to 5 s, and their answer depends on nothing but the
//! password. str0m takes a peer for gone that it has not been shown a check of for 15 s, so it is shown
//! one before two more could be lost.

use std::time::{Duration, Instant};

use str0m::ice::StunMessage;
use str0m::net::Protocol;

use super::{Transport, protocol};
use crate::api::{Outbox, Transmit};
use crate::demux::Pair;

/// The largest answer: header, address, integrity, fingerprint.
const ANSWER_BYTES_MAX: usize = 128;

/// Within this time str0m is shown the next one, even if two more are lost.
const SHOWN_WITHIN: Duration = Duration::from_secs(14);

/// The checks of one peer.
#[derive(Debug, Default)]
pub(super) struct Consent {
    /// When the last came, and the last that str0m was shown.
    came: Option<Instant>,
    shown: Option<Instant>,
}

impl Consent {
    /// Whether str0m is to see the one that came now, from time to time that is.
    fn shows(&mut self, now: Instant) -> bool {
        let since = |then: Option<Instant>| then.map(|then| now.saturating_duration_since(then));
        let (gap, shown) = (since(self.came), since(self.shown));
        self.came = Some(now);
        let late = gap.zip(shown).is_none_or(|(gap, shown)| shown + 3 * gap >= SHOWN_WITHIN);
        if late {
            self.shown = Some(now);
        }
        late
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
            self.consent = Consent::default();
            return None;
        }
        let message = StunMessage::parse(bytes).ok().filter(StunMessage::is_binding_request)?;
        let (local, _) = message.split_username()?;
        let in_use = local == self.ufrag && self.paths.is_in_use(pair);
        if !in_use || self.consent.shows(now) {
            return None;
        }
        let nominates = message.use_candidate().then(|| message.trans_id());
        if !self.paths.is_settled(*pair, nominates) {
            return None;
        }
        answer(&message, pair, &self.rtc.direct_api().local_ice_credentials().pass, out)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest time between two that are shown, in seconds, of checks that come `every` so many
    /// milliseconds, of which those with `lost` numbers do not come; and how many are not shown.
    fn longest_unseen(every: u64, lost: impl Fn(u64) -> bool) -> (f64, usize) {
        let begun = Instant::now();
        let mut consent = Consent::default();
        let (mut last, mut longest, mut spared) = (begun, Duration::ZERO, 0);
        for number in (0..400).filter(|number| !lost(*number)) {
            let now = begun + Duration::from_millis(every * number);
            if consent.shows(now) {
                longest = longest.max(now - last);
                last = now;
            } else {
                spared += 1;
            }
        }
        (longest.as_secs_f64(), spared)
    }

    #[test]
    fn str0m_is_shown_checks_in_time_though_two_in_a_row_are_lost() {
        for every in [500, 1_000, 2_500, 3_000, 4_000, 5_000] {
            let (longest, spared) = longest_unseen(every, |_| false);
            assert!(longest < 15.0, "every {every} ms: {longest} s");
            assert!(every > 3_000 || spared >= 199, "every {every} ms: {spared} of 400");
            // Of those that come every 5 s it would take the third for the first after 15 s in any case.
            for first in (2..40).filter(|_| every < 5_000) {
                let lost = |number| number == first || number == first + 1;
                let (longest, _) = longest_unseen(every, lost);
                assert!(longest < 15.0, "every {every} ms, without {first}: {longest} s");
            }
        }
    }
}
