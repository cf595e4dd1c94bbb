//! The keys by which access tokens are checked.
//!
//! Owns: which algorithm belongs to which key, and how a token's `kid` chooses one.
//! Never: lets a token choose its algorithm (RFC 8725 §3.1), or shows a secret.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::crypto::verify;
use jsonwebtoken::{Algorithm, DecodingKey, Header};

use crate::token::TokenError;

/// The fewest bytes of an HS256 secret (RFC 7518 §3.2).
pub const MIN_SECRET: usize = 32;
/// The fewest different bytes of an HS256 secret: fewer are a placeholder.
const MIN_DIFFERENT: usize = 8;
/// The fewest bytes of an RSA modulus (RFC 7518 §3.3).
const MIN_RSA: usize = 256;
/// The most keys of a set.
pub const MAX_KEYS: usize = 64;
/// The longest key id, in bytes.
pub const MAX_KID: usize = 128;
/// The largest leeway for clocks that differ.
pub const MAX_LEEWAY: Duration = Duration::from_secs(60);

/// Bytes that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Wraps the bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// 32 random bytes.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = vec![0; MIN_SECRET];
        rand::fill(bytes.as_mut_slice());
        Self(bytes)
    }

    /// The bytes, to be handed on and not shown.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes in base64 (RFC 4648 §4), as an ACS access key is written. Not to be shown either.
    #[must_use]
    pub fn expose_base64(&self) -> String {
        STANDARD.encode(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a key or set of keys cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The key id is empty or too long.
    #[error("key id {0:?} must have 1 to {MAX_KID} bytes")]
    Kid(String),
    /// Two keys have one id.
    #[error("key id {0:?} is used twice")]
    Twice(String),
    /// No key at all, or too many.
    #[error("{0} keys; there must be 1 to {MAX_KEYS}")]
    Count(usize),
    /// The secret is too short.
    #[error(
        "key {kid:?}: the secret has {bytes} bytes; HS256 needs at least {MIN_SECRET} (RFC 7518 §3.2)"
    )]
    Short {
        /// Which key.
        kid: String,
        /// How long it is.
        bytes: usize,
    },
    /// The secret is a placeholder.
    #[error("key {0:?}: the secret looks like a placeholder; make a random one")]
    Placeholder(String),
    /// Not an Ed25519 public key.
    #[error("key {kid:?}: {reason}")]
    Ed25519 {
        /// Which key.
        kid: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Not an RSA public key that is long enough.
    #[error("key {0:?}: not an RSA public key of at least 2048 bits")]
    Rsa(String),
    /// The leeway is too large.
    #[error("the leeway for clocks must be at most {} s", MAX_LEEWAY.as_secs())]
    Leeway,
}

/// One key: its id, its algorithm, its material.
#[derive(Clone)]
pub struct Key {
    kid: String,
    algorithm: Algorithm,
    material: DecodingKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl Key {
    /// A shared secret for HS256.
    ///
    /// # Errors
    /// When the id or the secret cannot be used.
    pub fn hs256(kid: impl Into<String>, secret: &Secret) -> Result<Self, KeyError> {
        let kid = check_kid(kid.into())?;
        let bytes = secret.expose();
        if bytes.len() < MIN_SECRET {
            return Err(KeyError::Short { kid, bytes: bytes.len() });
        }
        let mut different = bytes.to_vec();
        different.sort_unstable();
        different.dedup();
        if different.len() < MIN_DIFFERENT {
            return Err(KeyError::Placeholder(kid));
        }
        let material = DecodingKey::from_secret(bytes);
        Ok(Self { kid, algorithm: Algorithm::HS256, material })
    }

    /// An Ed25519 public key (RFC 8410) as PEM: `-----BEGIN PUBLIC KEY-----`.
    ///
    /// # Errors
    /// When the id or the key cannot be used.
    pub fn eddsa_pem(kid: impl Into<String>, pem: &str) -> Result<Self, KeyError> {
        let kid = check_kid(kid.into())?;
        let material = DecodingKey::from_ed_pem(pem.as_bytes());
        let usable =
            material.ok().filter(|key| key.try_get_as_bytes().is_ok_and(|k| k.len() == 32));
        match usable {
            Some(material) => Ok(Self { kid, algorithm: Algorithm::EdDSA, material }),
            None => Err(KeyError::Ed25519 { kid, reason: "not the PEM of an Ed25519 public key" }),
        }
    }

    /// An Ed25519 public key as the `x` of a JWK (RFC 8037 §2): base64url of 32 bytes.
    ///
    /// # Errors
    /// When the id or the key cannot be used.
    pub fn eddsa_jwk(kid: impl Into<String>, x: &str) -> Result<Self, KeyError> {
        let kid = check_kid(kid.into())?;
        match URL_SAFE_NO_PAD.decode(x) {
            Ok(bytes) if bytes.len() == 32 => {
                let material = DecodingKey::from_ed_der(&bytes);
                Ok(Self { kid, algorithm: Algorithm::EdDSA, material })
            }
            _ => Err(KeyError::Ed25519 { kid, reason: "`x` must be base64url of 32 bytes" }),
        }
    }

    /// An RSA public key of at least 2048 bits as the `n` and `e` of a JWK (RFC 7518 §6.3), for RS256.
    ///
    /// # Errors
    /// When the id or the key cannot be used.
    pub fn rs256_jwk(kid: impl Into<String>, n: &str, e: &str) -> Result<Self, KeyError> {
        let kid = check_kid(kid.into())?;
        let long = URL_SAFE_NO_PAD.decode(n).is_ok_and(|modulus| modulus.len() >= MIN_RSA);
        match DecodingKey::from_rsa_components(n, e) {
            Ok(material) if long => Ok(Self { kid, algorithm: Algorithm::RS256, material }),
            _ => Err(KeyError::Rsa(kid)),
        }
    }

    /// The key's id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }
}

pub(crate) fn check_kid(kid: String) -> Result<String, KeyError> {
    if kid.is_empty() || kid.len() > MAX_KID { Err(KeyError::Kid(kid)) } else { Ok(kid) }
}

/// What every token must fulfil beside its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRules {
    /// How much the clocks may differ: at most [`MAX_LEEWAY`]. 10 s by default.
    pub leeway: Duration,
    /// If given, `iss` must be this.
    pub issuer: Option<String>,
    /// If given, `aud` must be or hold this.
    pub audience: Option<String>,
}

impl Default for TokenRules {
    fn default() -> Self {
        Self { leeway: Duration::from_secs(10), issuer: None, audience: None }
    }
}

/// What a token claims.
pub(crate) type Claims = serde_json::Map<String, serde_json::Value>;

/// All keys that are accepted, and the rules. Several keys allow one to be replaced without a gap.
#[derive(Debug, Clone)]
pub struct KeySet {
    keys: Vec<Key>,
    rules: TokenRules,
}

impl KeySet {
    /// Collects keys.
    ///
    /// # Errors
    /// When there are none or too many, two share an id, or the leeway is too large.
    pub fn new(keys: Vec<Key>, rules: TokenRules) -> Result<Self, KeyError> {
        if keys.is_empty() || keys.len() > MAX_KEYS {
            return Err(KeyError::Count(keys.len()));
        }
        if rules.leeway > MAX_LEEWAY {
            return Err(KeyError::Leeway);
        }
        for (at, key) in keys.iter().enumerate() {
            if keys.iter().skip(at + 1).any(|other| other.kid == key.kid) {
                return Err(KeyError::Twice(key.kid.clone()));
            }
        }
        Ok(Self { keys, rules })
    }

    /// No keys: all tokens are of other issuers (see [`crate::ExternalIssuer`]).
    #[must_use]
    pub fn none(rules: TokenRules) -> Self {
        Self { keys: Vec::new(), rules }
    }

    #[cfg(test)]
    pub(crate) fn kids(&self) -> Vec<&str> {
        self.keys.iter().map(Key::kid).collect()
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &TokenRules {
        &self.rules
    }

    /// The claims of `token`, after its signature held under the key that `kid` names, and that id.
    pub(crate) fn open_named(&self, token: &str) -> Result<(&str, Claims), TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Header)?;
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let key = self.choose(&header)?;
        if header.alg != key.algorithm {
            return Err(TokenError::Algorithm { kid: key.kid.clone() });
        }
        // Only the signature is jsonwebtoken's work: the claims are checked in `token`, with better
        // words.
        let refused = || TokenError::Signature { kid: key.kid.clone() };
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Header)?;
        let holds = verify(signature, message.as_bytes(), &key.material, key.algorithm);
        if !holds.map_err(|_| refused())? {
            return Err(refused());
        }
        let payload = message.split_once('.').and_then(|(_, p)| URL_SAFE_NO_PAD.decode(p).ok());
        let claims = serde_json::from_slice(&payload.unwrap_or_default());
        Ok((key.kid(), claims.map_err(|_| TokenError::Payload)?))
    }

    fn choose(&self, header: &Header) -> Result<&Key, TokenError> {
        match (&header.kid, self.keys.as_slice()) {
            (Some(kid), keys) => {
                keys.iter().find(|key| key.kid == *kid).ok_or(TokenError::UnknownKid)
            }
            (None, [only]) => Ok(only),
            (None, _) => Err(TokenError::NoKid),
        }
    }
}
