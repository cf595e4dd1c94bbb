//! Which tokens are void though they have not expired.
//!
//! Owns: the answer without asking the store, and who is told at once.
//! Never: forgets one before its tokens have expired.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use convoke_node::core::LeaveReason;
use convoke_protocol::{EndReason, close};
use convoke_store::{DELETED, Revocation};
use dashmap::DashMap;

use crate::control::Inner;
use crate::token::{AccessToken, TokenError};

/// The longest life of a token that we issue, and the largest leeway: older revocations void nothing.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(25 * 3600);

/// How often the old is forgotten.
const TIDY: Duration = Duration::from_secs(3600);

/// Revocations by identity.
#[derive(Debug, Default)]
pub(crate) struct Revocations(DashMap<String, (i64, i64)>);

impl Revocations {
    pub(crate) fn new(known: Vec<Revocation>) -> Self {
        let revocations = Self::default();
        known.iter().for_each(|one| revocations.insert(one));
        revocations
    }

    pub(crate) fn insert(&self, revocation: &Revocation) {
        let mut entry = self.0.entry(revocation.identity.clone()).or_default();
        entry.0 = entry.0.max(revocation.generation);
        entry.1 = entry.1.max(revocation.at);
    }

    /// Forgets those before a time, in milliseconds since 1970.
    pub(crate) fn forget(&self, before: i64) {
        self.0.retain(|_, (_, at)| *at >= before);
    }

    /// Whether a token is void: ours by its generation, others by when they were issued.
    pub(crate) fn void(&self, token: &AccessToken) -> bool {
        let Some(entry) = self.0.get(&token.identity) else { return false };
        let (generation, at) = *entry;
        match token.generation {
            Some(of) => of < generation,
            None if generation == DELETED => true,
            None => token.issued_at.is_none_or(|issued| millis(issued) <= at),
        }
    }
}

fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl Inner {
    /// What a good token says. The generation counts only if we signed it.
    pub(crate) async fn verify(
        &self,
        token: &str,
        now: SystemTime,
    ) -> Result<AccessToken, TokenError> {
        if let Some(external) = self.verify_external(token, now).await {
            return external;
        }
        let config = self.config();
        let mut token = config.keys.verify(token, now)?;
        let issuer = config.services.as_ref().and_then(|services| services.issuer.as_ref());
        if issuer.is_none_or(|issuer| issuer.kid() != token.kid) {
            token.generation = None;
        }
        Ok(token)
    }

    /// Whether a token was revoked.
    pub(crate) fn is_revoked(&self, token: &AccessToken) -> bool {
        let config = self.config();
        config.services.as_ref().is_some_and(|services| services.revocations.void(token))
    }

    /// Forgets from time to time what is too old to matter. Runs for ever, where there is a store.
    pub(crate) async fn keep_tidy(&self) {
        let mut tick = tokio::time::interval(TIDY);
        loop {
            tick.tick().await;
            let Some(services) = self.config().services.clone() else { return };
            let now = SystemTime::now();
            let tidied = async {
                services.tidy(now).await?;
                services.trim(now).await
            };
            if let Err(error) = tidied.await {
                tracing::warn!(%error, "the store was not tidied");
            }
        }
    }

    /// Tokens of an identity became void: its agents are closed and its participants ended, now.
    pub(crate) async fn revoked(self: &Arc<Self>, revocation: &Revocation) {
        // First, so that whoever comes now sees it; whoever came before is found below.
        if let Some(services) = &self.config().services {
            services.revocations.insert(revocation);
        }
        let identity = revocation.identity.as_str();
        let calls = self.calls.all();
        let everyone = calls.iter().flat_map(|call| call.everyone());
        let void: Vec<_> = everyone.filter(|session| **session.identity() == *identity).collect();
        // Told before the door is closed: a closed agent hears nothing more.
        for session in &void {
            self.end_session(session, EndReason::token_revoked());
        }
        for agent in &self.agents {
            if agent.identity().is_some_and(|own| **own == *identity) {
                agent.outlet.close(close::TOKEN_REVOKED);
            }
        }
        for session in &void {
            self.take_out(session, LeaveReason::Removed).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(generation: Option<i64>, issued_ms: Option<u64>) -> AccessToken {
        AccessToken {
            identity: "alice".into(),
            display_name: None,
            scopes: Vec::new(),
            group_id: None,
            role: None,
            guest: false,
            expires_at: UNIX_EPOCH,
            issued_at: issued_ms.map(|ms| UNIX_EPOCH + Duration::from_millis(ms)),
            generation,
            kid: String::new(),
        }
    }

    #[test]
    fn what_is_older_is_void() {
        let revocations = Revocations::default();
        assert!(!revocations.void(&token(Some(0), None)));
        let revoke = |generation| {
            let identity = "alice".to_owned();
            revocations.insert(&Revocation { identity, generation, at: 1_000 });
        };
        revoke(1);
        assert!(revocations.void(&token(Some(0), Some(5_000))), "whatever the clock says");
        assert!(!revocations.void(&token(Some(1), Some(0))));
        assert!(revocations.void(&token(None, Some(1_000))));
        assert!(revocations.void(&token(None, None)), "who knows when it was made");
        assert!(!revocations.void(&token(None, Some(1_001))));
        revoke(DELETED);
        assert!(revocations.void(&token(Some(i64::MAX - 1), None)));
        assert!(revocations.void(&token(None, Some(9_999))));
        revocations.forget(1_001);
        assert!(!revocations.void(&token(Some(0), None)));
    }
}
