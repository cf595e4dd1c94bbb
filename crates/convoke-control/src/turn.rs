//! TURN servers that clients are told of.
//!
//! Owns: the short-lived credentials, which every client gets of its own.
//! Never: shows the secret, or talks to a TURN server: it checks the credentials by itself.
//!
//! The scheme is that of draft-uberti-behave-turn-rest-00, which coturn calls `use-auth-secret`: the
//! user name is the time of expiry and the identity, the password its HMAC-SHA1.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use convoke_protocol::IceServer;

/// Bytes of a TURN secret, at least.
pub const MIN_TURN_SECRET: usize = 16;

/// One TURN server, or several that share a secret, and STUN servers.
#[derive(Clone)]
pub struct Turn {
    urls: Vec<String>,
    secret: Option<hmac::Key>,
    lifetime: Duration,
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").field("urls", &self.urls).finish_non_exhaustive()
    }
}

/// Why a TURN server cannot be told of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TurnError {
    /// No URL was given.
    #[error("there is no URL")]
    NoUrl,
    /// Neither of the schemes of RFC 7064 and RFC 7065.
    #[error("{0:?} is no URL such as turn:turn.example.com:3478?transport=udp")]
    Url(String),
    /// TURN does not work without.
    #[error("a turn: URL needs a secret")]
    NoSecret,
    /// Guessable.
    #[error("the secret has fewer than {MIN_TURN_SECRET} bytes")]
    Short,
}

impl Turn {
    /// These `turn:`, `turns:`, `stun:` and `stuns:` URLs. The secret is the text that the TURN server
    /// has (`static-auth-secret`), byte for byte.
    ///
    /// # Errors
    /// When clients could not use them.
    pub fn new(
        urls: Vec<String>,
        secret: Option<&[u8]>,
        lifetime: Duration,
    ) -> Result<Self, TurnError> {
        let rest = |url: &str, schemes: [&str; 2]| {
            schemes.iter().any(|scheme| url.strip_prefix(scheme).is_some_and(|s| !s.is_empty()))
        };
        let is_turn = |url: &String| rest(url, ["turn:", "turns:"]);
        let known = |url: &String| is_turn(url) || rest(url, ["stun:", "stuns:"]);
        match urls.iter().find(|url| !known(url)) {
            Some(wrong) => return Err(TurnError::Url(wrong.clone())),
            None if urls.is_empty() => return Err(TurnError::NoUrl),
            None => {}
        }
        match secret {
            None if urls.iter().any(is_turn) => return Err(TurnError::NoSecret),
            Some(secret) if secret.len() < MIN_TURN_SECRET => return Err(TurnError::Short),
            _ => {}
        }
        let key = |secret| hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
        Ok(Self { urls, secret: secret.map(key), lifetime })
    }

    /// What one client is told, good for the lifetime from now on.
    pub(crate) fn server(&self, identity: &str, now: SystemTime) -> IceServer {
        let expires = (now + self.lifetime).duration_since(UNIX_EPOCH).unwrap_or_default();
        let signed = self.secret.as_ref().map(|secret| {
            let username = format!("{}:{identity}", expires.as_secs());
            let credential = STANDARD.encode(hmac::sign(secret, username.as_bytes()));
            (username, credential)
        });
        let (username, credential) = signed.unzip();
        IceServer { urls: self.urls.clone(), username, credential }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: &str = "GiJtGL2rlmR4zTFvck/naLX4yE8=";
    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn credentials_are_those_of_the_scheme() {
        let urls = vec!["turn:turn.example.com".to_owned()];
        let turn = Turn::new(urls.clone(), Some(b"0123456789abcdef"), DAY).unwrap();
        let at = UNIX_EPOCH + Duration::from_secs(1_433_895_918 - 86_400);
        let told = turn.server("8:acs:alice", at);
        assert_eq!(told.urls, urls);
        assert_eq!(told.username.as_deref(), Some("1433895918:8:acs:alice"));
        // printf 1433895918:8:acs:alice | openssl dgst -sha1 -hmac 0123456789abcdef -binary | base64
        assert_eq!(told.credential.as_deref(), Some(EXPECTED));
        assert!(!format!("{turn:?}").contains("0123456789abcdef"));
    }

    #[test]
    fn stun_needs_no_secret_and_turn_does() {
        let new = |urls: &[&str], secret| {
            Turn::new(urls.iter().map(|&url| url.into()).collect(), secret, DAY).map(drop)
        };
        let secret = Some(&b"0123456789abcdef"[..]);
        assert_eq!(new(&["stun:a", "stuns:a:5349"], None), Ok(()));
        assert_eq!(new(&["stun:a", "turns:a:443?transport=tcp"], secret), Ok(()));
        assert_eq!(new(&["turn:a"], None), Err(TurnError::NoSecret));
        assert_eq!(new(&["turn:a"], Some(b"short")), Err(TurnError::Short));
        assert_eq!(new(&[], secret), Err(TurnError::NoUrl));
        for wrong in ["", "turn:", "http://a", "turn.example.com"] {
            assert_eq!(new(&["turn:a", wrong], secret), Err(TurnError::Url(wrong.into())));
        }
    }
}
