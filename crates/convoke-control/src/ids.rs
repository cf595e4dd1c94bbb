//! Ids and secrets that the control plane makes.
//!
//! Owns: how they look on the wire. They are opaque to clients; the prefix is for people.
//! Never: reuses one.

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// One live call. Not the group ID: a group ID used again makes a new call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CallId(u128);

/// One WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AgentId(u64);

impl CallId {
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }
}

impl AgentId {
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{:032x}", self.0)
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a{:016x}", self.0)
    }
}

/// What opens a `resume`: 256 random bits. Only its hash is kept.
pub(crate) struct ResumeToken(String);

/// SHA-256 of a resume token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ResumeHash([u8; 32]);

impl fmt::Debug for ResumeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumeHash(…)")
    }
}

impl ResumeToken {
    pub(crate) fn random() -> Self {
        let mut bytes = [0_u8; 32];
        rand::fill(&mut bytes);
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    pub(crate) fn hash(&self) -> ResumeHash {
        ResumeHash::of(&self.0)
    }

    /// The text, for the client alone.
    pub(crate) fn expose(self) -> String {
        self.0
    }
}

impl ResumeHash {
    pub(crate) fn of(text: &str) -> Self {
        let mut hash = [0; 32];
        let full = digest::digest(&digest::SHA256, text.as_bytes());
        for (to, from) in hash.iter_mut().zip(full.as_ref()) {
            *to = *from;
        }
        Self(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_a_fixed_width_and_their_prefix() {
        assert_eq!(CallId(1).to_string(), "c00000000000000000000000000000001");
        assert_eq!(AgentId(255).to_string(), "a00000000000000ff");
    }

    #[test]
    fn a_resume_token_has_256_bits_and_its_hash_is_stable() {
        let token = ResumeToken::random();
        let hash = token.hash();
        let text = token.expose();
        assert_eq!(URL_SAFE_NO_PAD.decode(&text).unwrap().len(), 32);
        assert!(ResumeHash::of(&text) == hash);
        assert!(ResumeHash::of("x") != hash);
    }
}
