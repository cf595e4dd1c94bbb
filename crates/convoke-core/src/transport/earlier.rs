//! After an ICE restart: checks with the credentials of before.
//!
//! Owns: those credentials, and the answers to checks of the pair in use that were made with them.
//! Never: learns an address, moves anything, or answers once the peer has nominated a pair anew.
//!
//! Until then media goes by the earlier pair, whose consent (RFC 7675) the peer goes on to check (RFC 8445
//! §9); for long, where the answer to its offer was lost.

use str0m::ice::{IceCreds, StunMessage};

use super::{Transport, consent};
use crate::api::Outbox;
use crate::demux::Pair;

impl Transport {
    /// The local user name fragment of before an ICE restart, as long as it is good.
    pub(crate) fn earlier_ufrag(&self) -> Option<&str> {
        self.earlier.as_ref().map(|earlier| earlier.ufrag.as_str())
    }

    /// ICE was restarted. Of several restarts the credentials stay that the pair in use was made with.
    pub(super) fn keep_earlier(&mut self, before: IceCreds) {
        if self.earlier.is_none() && self.paths.current().is_some() {
            self.earlier = Some(before);
        }
    }

    /// Answers a check with the credentials of before. `None`: it is none.
    pub(super) fn answer_earlier(&self, pair: &Pair, bytes: &[u8], out: &mut Outbox) -> Option<()> {
        let earlier = self.earlier.as_ref()?;
        let message = StunMessage::parse(bytes).ok().filter(StunMessage::is_binding_request)?;
        let (local, _) = message.split_username()?;
        if local != earlier.ufrag || self.paths.current() != Some(*pair) {
            return None;
        }
        consent::answer(&message, pair, &earlier.pass, out)
    }
}
