//! Making access tokens, for development mode and the command line.
//!
//! Owns: what a minted token holds.
//! Never: is reachable by clients unless development mode was asked for.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use convoke_protocol::{GroupId, Role, Scope};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use crate::keys::{Key, KeyError, Secret, check_kid};
use crate::token::check_name;

/// The shortest and the longest life of a minted token (ACS: 1 to 24 hours; ours may be shorter).
pub const LIFETIME: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

/// What a token shall say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// Who it is for.
    pub identity: String,
    /// The name to show.
    pub display_name: Option<String>,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// The only call that it may join.
    pub group_id: Option<GroupId>,
    /// What it is in the calls that it joins.
    pub role: Option<Role>,
    /// It waits in the lobby of calls that make guests wait.
    pub guest: bool,
    /// How long it lives.
    pub lifetime: Duration,
    /// `iss`.
    pub issuer: Option<String>,
    /// `aud`.
    pub audience: Option<String>,
}

impl TokenRequest {
    /// A token of one hour with the scope `voip`.
    #[must_use]
    pub fn new(identity: impl Into<String>) -> Self {
        Self {
            identity: identity.into(),
            display_name: None,
            scopes: vec![Scope::Voip],
            group_id: None,
            role: None,
            guest: false,
            lifetime: Duration::from_secs(3600),
            issuer: None,
            audience: None,
        }
    }
}

/// Why a token was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// A field of the request is wrong.
    #[error("`{field}` {reason}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The key cannot sign.
    #[error("the key cannot sign: {0}")]
    Key(String),
}

/// Signs tokens with one key.
#[derive(Clone)]
pub struct Minter {
    kid: String,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl fmt::Debug for Minter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minter")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    scp: &'a [Scope],
    #[serde(rename = "groupId", skip_serializing_if = "Option::is_none")]
    group_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    guest: bool,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

impl Minter {
    /// Signs with a shared secret (HS256).
    ///
    /// # Errors
    /// When the key would not be accepted for checking either.
    pub fn hs256(kid: impl Into<String>, secret: &Secret) -> Result<Self, KeyError> {
        let kid = Key::hs256(kid, secret)?.kid().to_owned();
        let key = EncodingKey::from_secret(secret.expose());
        Ok(Self { kid, algorithm: Algorithm::HS256, key })
    }

    /// Signs with an Ed25519 private key (PKCS #8) as PEM: `-----BEGIN PRIVATE KEY-----`.
    ///
    /// # Errors
    /// When the id or the key cannot be used.
    pub fn eddsa_pem(kid: impl Into<String>, pem: &str) -> Result<Self, KeyError> {
        let kid = check_kid(kid.into())?;
        match EncodingKey::from_ed_pem(pem.as_bytes()) {
            Ok(key) => Ok(Self { kid, algorithm: Algorithm::EdDSA, key }),
            Err(_) => {
                Err(KeyError::Ed25519 { kid, reason: "not the PEM of an Ed25519 private key" })
            }
        }
    }

    /// The id of its key.
    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    /// Makes a token.
    ///
    /// # Errors
    /// When the request is out of limits or the key cannot sign.
    pub fn mint(&self, request: &TokenRequest, now: SystemTime) -> Result<String, MintError> {
        let wrong = |field, reason: String| MintError::Field { field, reason };
        if request.identity.is_empty() {
            return Err(wrong("identity", "is empty".to_owned()));
        }
        check_name(&request.identity).map_err(|reason| wrong("identity", reason))?;
        check_name(request.display_name.as_deref().unwrap_or_default())
            .map_err(|reason| wrong("displayName", reason))?;
        if !LIFETIME.contains(&request.lifetime) {
            return Err(wrong("lifetime", "must be from 1 second to 24 hours".to_owned()));
        }
        let iat = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims = Claims {
            sub: &request.identity,
            name: request.display_name.as_deref(),
            scp: &request.scopes,
            group_id: request.group_id.map(|id| id.to_string()),
            role: request.role,
            guest: request.guest,
            iat,
            exp: iat.saturating_add(request.lifetime.as_secs()),
            iss: request.issuer.as_deref(),
            aud: request.audience.as_deref(),
        };
        self.sign(&claims)
    }

    /// Signs claims that were found good.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> Result<String, MintError> {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.key)
            .map_err(|error| MintError::Key(error.to_string()))
    }
}
