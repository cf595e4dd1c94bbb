//! Other issuers of access tokens, known by their public keys (RFC 7517).
//!
//! Owns: fetching a key set from a file or URL, and how long it is believed: it is looked at again
//! every few minutes and for a key that is not in it, but not oftener than a stranger's tokens may
//! make us; when it cannot be had, the last one is good for a day.
//! Never: lets a token choose its algorithm: it belongs to the key's type.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use axum::body::Bytes;
use axum::http::{Method, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::control::Inner;
use crate::keys::{Key, KeySet, MAX_KEYS, TokenRules};
use crate::outbound;
use crate::sync::lock;
use crate::token::{AccessToken, TokenError};

/// After so long the keys are fetched again.
const REFRESH: Duration = Duration::from_secs(600);
/// The shortest time between two attempts.
const PAUSE: Duration = Duration::from_secs(10);
/// For so long old keys are good when new ones cannot be had.
const STALE: Duration = Duration::from_secs(24 * 3600);
const PATIENCE: Duration = Duration::from_secs(5);

/// Where an issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Jwks {
    /// A file, read again when it may have changed.
    File(PathBuf),
    /// A URL.
    Url(Uri),
}

/// An issuer of access tokens that is not this server's own. Cheap to clone.
#[derive(Clone)]
pub struct ExternalIssuer(Arc<State>);

struct State {
    issuer: String,
    rules: TokenRules,
    jwks: Jwks,
    cached: Mutex<Option<Cached>>,
    /// When it was last tried. Held while it is: one at a time.
    tried: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Clone)]
struct Cached {
    keys: Arc<KeySet>,
    at: Instant,
}

impl fmt::Debug for ExternalIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("ExternalIssuer");
        debug.field("rules", &self.0.rules).field("jwks", &self.0.jwks).finish_non_exhaustive()
    }
}

impl ExternalIssuer {
    /// Tokens whose `iss` is `issuer` are checked by these keys (Ed25519 and RS256).
    #[must_use]
    pub fn new(
        issuer: impl Into<String>,
        audience: Option<String>,
        leeway: Duration,
        jwks: Jwks,
    ) -> Self {
        let issuer = issuer.into();
        let rules = TokenRules { leeway, issuer: Some(issuer.clone()), audience };
        let (cached, tried) = (Mutex::default(), tokio::sync::Mutex::default());
        Self(Arc::new(State { issuer, rules, jwks, cached, tried }))
    }

    /// Whether it is the same issuer, whose keys are fetched from the same place: what is known of them
    /// is still good then.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let (ours, theirs) = (&*self.0, &*other.0);
        let fetched = matches!(ours.jwks, Jwks::Url(_));
        fetched && ours.jwks == theirs.jwks && ours.rules == theirs.rules
    }

    async fn verify(&self, token: &str, now: SystemTime) -> Result<AccessToken, TokenError> {
        let cached = match self.cached() {
            Some(cached) if cached.at.elapsed() < REFRESH => Some(cached),
            old => self.refresh(old.map(|old| old.at)).await,
        };
        let cached = cached.ok_or(TokenError::NoIssuerKeys)?;
        match cached.keys.verify(token, now) {
            Err(TokenError::UnknownKid) => {
                let newer = self.refresh(Some(cached.at)).await;
                newer.ok_or(TokenError::UnknownKid)?.keys.verify(token, now)
            }
            result => result,
        }
    }

    fn cached(&self) -> Option<Cached> {
        lock(&self.0.cached).clone().filter(|cached| cached.at.elapsed() < STALE)
    }

    /// Newer keys than those of `than`, if they can be had now; else what there is.
    async fn refresh(&self, than: Option<Instant>) -> Option<Cached> {
        let mut tried = self.0.tried.lock().await;
        let cached = self.cached();
        let newer = cached.as_ref().is_some_and(|cached| than.is_none_or(|at| cached.at > at));
        if newer || tried.is_some_and(|at| at.elapsed() < PAUSE) {
            return cached;
        }
        let began = Instant::now();
        let first = cached.is_none();
        let fetched = self.fetch().await;
        // The first keys leave a try for one that is newer still.
        *tried = (!first || fetched.is_err()).then_some(began);
        match fetched {
            Ok(keys) => {
                let fresh = Cached { keys: Arc::new(keys), at: Instant::now() };
                *lock(&self.0.cached) = Some(fresh.clone());
                Some(fresh)
            }
            Err(reason) => {
                tracing::warn!(issuer = self.0.issuer, reason, "no keys of a token issuer");
                cached
            }
        }
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let bytes = match &self.0.jwks {
            Jwks::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
                let read = read.map_err(|error| error.to_string())?;
                Bytes::from(read.map_err(|error| error.to_string())?)
            }
            Jwks::Url(url) => {
                let sent = outbound::send(Method::GET, url, Vec::new(), Bytes::new(), PATIENCE);
                let (status, body) = sent.await.map_err(|error| error.to_string())?;
                if !status.is_success() {
                    return Err(format!("answered {status}"));
                }
                body
            }
        };
        read(&bytes, &self.0.rules)
    }
}

/// The usable keys of a set; others are passed over.
fn read(bytes: &[u8], rules: &TokenRules) -> Result<KeySet, String> {
    let set: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let keys = set["keys"].as_array().ok_or("no JWK set: it has no `keys`")?;
    let mut usable: Vec<Key> = Vec::new();
    for key in keys.iter().filter_map(read_key) {
        if usable.len() < MAX_KEYS && !usable.iter().any(|known| known.kid() == key.kid()) {
            usable.push(key);
        }
    }
    KeySet::new(usable, rules.clone()).map_err(|error| error.to_string())
}

fn read_key(key: &Value) -> Option<Key> {
    let text = |name: &str| key[name].as_str();
    if text("use").is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let kid = text("kid")?;
    match (text("kty")?, text("crv"), text("alg")) {
        ("OKP", Some("Ed25519"), None | Some("EdDSA" | "Ed25519")) => {
            Key::eddsa_jwk(kid, text("x")?).ok()
        }
        ("RSA", _, None | Some("RS256")) => Key::rs256_jwk(kid, text("n")?, text("e")?).ok(),
        _ => None,
    }
}

/// The `iss` of a token, which says by which keys it is to be checked, and nothing more.
fn claimed_issuer(token: &str) -> Option<String> {
    let payload = token.split('.').nth(1)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    claims["iss"].as_str().map(str::to_owned)
}

impl Inner {
    /// What a token of another issuer says; `None` if it is of none that is configured.
    pub(crate) async fn verify_external(
        &self,
        token: &str,
        now: SystemTime,
    ) -> Option<Result<AccessToken, TokenError>> {
        let config = self.config();
        if config.issuers.is_empty() || token.len() > crate::token::MAX_TOKEN {
            return None;
        }
        let claimed = claimed_issuer(token)?;
        let issuer = config.issuers.iter().find(|one| one.0.issuer == claimed)?;
        let checked = issuer.verify(token, now).await.and_then(|mut token| {
            token.generation = None;
            let services = config.services.as_ref();
            let ours = services.map(|services| format!("8:acs:{}_", services.resource));
            if ours.is_some_and(|ours| token.identity.starts_with(&ours)) {
                return Err(TokenError::Claim {
                    claim: "sub",
                    reason: "is an identity of this server, for which only it issues tokens".into(),
                });
            }
            Ok(token)
        });
        Some(checked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_can_be_used_are_taken_and_not_too_many() {
        let rules = TokenRules::default();
        let x = URL_SAFE_NO_PAD.encode([7_u8; 32]);
        let n = URL_SAFE_NO_PAD.encode([0xff_u8; 256]);
        let good = serde_json::json!({ "keys": [
            { "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": x },
            { "kty": "RSA", "kid": "b", "n": n, "e": "AQAB", "alg": "RS256", "use": "sig" },
            { "kty": "RSA", "kid": "weak", "n": URL_SAFE_NO_PAD.encode([0xff_u8; 128]), "e": "AQAB" },
            { "kty": "RSA", "kid": "c", "n": n, "e": "AQAB", "alg": "HS256" },
            { "kty": "oct", "kid": "d", "k": x },
            { "kty": "OKP", "crv": "Ed25519", "x": x },
            { "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": x },
            { "kty": "OKP", "crv": "X25519", "kid": "e", "x": x, "use": "enc" },
            7,
        ] });
        let keys = read(good.to_string().as_bytes(), &rules).unwrap();
        assert_eq!(keys.kids(), ["a", "b"]);
        let many: Vec<_> = (0..200)
            .map(|n| serde_json::json!({ "kty": "OKP", "crv": "Ed25519", "kid": n.to_string(), "x": x }))
            .collect();
        let many = serde_json::json!({ "keys": many }).to_string();
        assert_eq!(read(many.as_bytes(), &rules).unwrap().kids().len(), MAX_KEYS);
        for bad in ["", "[]", "{}", "{\"keys\":1}", "{\"keys\":[]}"] {
            assert!(read(bad.as_bytes(), &rules).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_token_claims_is_read_with_suspicion() {
        let token = |payload: &str| format!("x.{}.y", URL_SAFE_NO_PAD.encode(payload));
        assert_eq!(claimed_issuer(&token("{\"iss\":\"a\"}")).as_deref(), Some("a"));
        for payload in ["", "[]", "{}", "{\"iss\":1}", "nonsense"] {
            assert_eq!(claimed_issuer(&token(payload)), None);
        }
        for token in ["", ".", "..", "a.*.b", "no dots"] {
            assert_eq!(claimed_issuer(token), None);
        }
    }
}
