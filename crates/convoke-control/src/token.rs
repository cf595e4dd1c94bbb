//! Access tokens: what a verified JWT says.
//!
//! Owns: the claims (see `PROTOCOL.md` §3.2), their limits, and what a bad token is told.
//! Never: reads a clock (the caller says what time it is), or puts a token into an error or log.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use convoke_protocol::{ErrorCode, GroupId, GroupIdError, Role, Scope};
use serde_json::{Map, Value};

use crate::keys::{KeySet, TokenRules};

/// The longest token, in bytes.
pub const MAX_TOKEN: usize = 8 * 1024;
/// The longest identity and the longest display name, in bytes.
pub const MAX_NAME: usize = 256;
/// The claim that holds the generation of an identity.
pub(crate) const GENERATION: &str = "gen";
/// The last second of the year 9999: no later time is taken for one.
const MAX_TIME: f64 = 253_402_300_799.0;

/// What a good token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// `sub`: who it is for.
    pub identity: String,
    /// `name`.
    pub display_name: Option<String>,
    /// `scp`, without those that are not known.
    pub scopes: Vec<Scope>,
    /// `groupId`: the only call that it may join.
    pub group_id: Option<GroupId>,
    /// `role`: what it is in the calls that it joins.
    pub role: Option<Role>,
    /// `guest`: it waits in the lobby of calls that make guests wait.
    pub guest: bool,
    /// `exp`.
    pub expires_at: SystemTime,
    /// `iat`.
    pub issued_at: Option<SystemTime>,
    /// `gen`: which of the identity's generations it is of. It counts only in the server's own.
    pub(crate) generation: Option<i64>,
    /// The id of the key that signed it.
    pub(crate) kid: String,
}

/// What is wrong with a token. The texts name the part at fault and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// There is none.
    #[error("the token is empty; get one from your app's server")]
    Missing,
    /// It is too long.
    #[error("the token has {0} bytes; at most {MAX_TOKEN} are accepted")]
    Long(usize),
    /// The header cannot be read, or its `alg` is unknown (`none`, for one).
    #[error("the token is no JWT, or its header's `alg` is not supported: use HS256 or EdDSA")]
    Header,
    /// The header has `crit`.
    #[error("the token's header has `crit`, which is not supported; leave it out")]
    Critical,
    /// The payload is no JSON object.
    #[error("the token's payload is not a JSON object")]
    Payload,
    /// No `kid`, though there are several keys.
    #[error("the token's header has no `kid`, but the server has several keys; name one")]
    NoKid,
    /// No such key.
    #[error("the token's header names a `kid` that the server does not know")]
    UnknownKid,
    /// The algorithm is not that of the key.
    #[error("the token's `alg` is not the one that key {kid:?} is for")]
    Algorithm {
        /// Which key.
        kid: String,
    },
    /// The signature does not hold.
    #[error(
        "the token's signature does not hold under key {kid:?}; check which key it was signed with"
    )]
    Signature {
        /// Which key.
        kid: String,
    },
    /// A claim is missing or wrong.
    #[error("the token's `{claim}` {reason}")]
    Claim {
        /// Which.
        claim: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// `exp` has passed.
    #[error("the token expired {} s ago (`exp`); get a new one", ago.as_secs())]
    Expired {
        /// How long ago.
        ago: Duration,
    },
    /// The issuer's keys could not be had.
    #[error("the keys of the token's issuer cannot be had now; try again later")]
    NoIssuerKeys,
    /// It was revoked.
    #[error("the token was revoked; get a new one")]
    Revoked,
    /// `nbf` has not come.
    #[error("the token is valid only in {} s (`nbf`); check the clock of whoever made it", wait.as_secs())]
    NotYetValid {
        /// How long it takes.
        wait: Duration,
    },
}

impl TokenError {
    /// The protocol's code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Missing => ErrorCode::TokenMissing,
            Self::Expired { .. } => ErrorCode::TokenExpired,
            Self::NotYetValid { .. } => ErrorCode::TokenNotYetValid,
            Self::NoIssuerKeys => ErrorCode::Busy,
            Self::Revoked => ErrorCode::TokenRevoked,
            _ => ErrorCode::TokenInvalid,
        }
    }

    fn claim(claim: &'static str, reason: impl Into<String>) -> Self {
        Self::Claim { claim, reason: reason.into() }
    }
}

impl KeySet {
    /// Checks a token.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<AccessToken, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing);
        }
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Long(token.len()));
        }
        let (kid, claims) = self.open_named(token)?;
        check_party(&claims, self.rules())?;
        let expires_at = check_times(&claims, self.rules().leeway, now)?;
        Ok(AccessToken {
            identity: name(&claims, "sub")?
                .filter(|sub| !sub.is_empty())
                .ok_or_else(|| TokenError::claim("sub", "is missing; it names the identity"))?,
            display_name: name(&claims, "name")?,
            scopes: scopes(&claims)?,
            group_id: group_id(&claims)?,
            role: role(&claims)?,
            guest: guest(&claims)?,
            expires_at,
            issued_at: time(&claims, "iat")?,
            generation: claims.get(GENERATION).and_then(Value::as_i64),
            kid: kid.to_owned(),
        })
    }
}

#[cfg(test)]
impl AccessToken {
    /// Of someone called alice, long over.
    pub(crate) fn test() -> Self {
        Self {
            identity: "alice".to_owned(),
            display_name: None,
            scopes: vec![Scope::Voip],
            group_id: None,
            role: None,
            guest: false,
            expires_at: UNIX_EPOCH,
            issued_at: None,
            generation: None,
            kid: String::new(),
        }
    }
}

impl AccessToken {
    /// Whether it is over at `now`, the leeway granted.
    ///
    /// # Errors
    /// [`TokenError::Expired`].
    pub fn check_expiry(&self, leeway: Duration, now: SystemTime) -> Result<(), TokenError> {
        match now.duration_since(self.expires_at) {
            Ok(ago) if ago >= leeway => Err(TokenError::Expired { ago }),
            _ => Ok(()),
        }
    }

    /// Whether it may start calls.
    #[must_use]
    pub fn may_start(&self) -> bool {
        self.scopes.contains(&Scope::Voip)
    }

    /// Whether it may join calls that run.
    #[must_use]
    pub fn may_join(&self) -> bool {
        self.may_start() || self.scopes.contains(&Scope::VoipJoin)
    }
}

/// `text` as an identity or display name: within the limit, and without control characters, which
/// could break a log line or header in two.
pub(crate) fn check_name(text: &str) -> Result<(), String> {
    if text.len() > MAX_NAME {
        return Err(format!("has {} bytes; at most {MAX_NAME} are allowed", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err("contains control characters; remove them".to_owned());
    }
    Ok(())
}

fn text<'a>(
    claims: &'a Map<String, Value>,
    claim: &'static str,
) -> Result<Option<&'a str>, TokenError> {
    match claims.get(claim) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenError::claim(claim, "must be text")),
    }
}

fn name(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<String>, TokenError> {
    let Some(found) = text(claims, claim)? else { return Ok(None) };
    check_name(found).map_err(|reason| TokenError::claim(claim, reason))?;
    Ok(Some(found.to_owned()))
}

/// A NumericDate (RFC 7519 §2), which may have a fraction.
fn time(
    claims: &Map<String, Value>,
    claim: &'static str,
) -> Result<Option<SystemTime>, TokenError> {
    let seconds = match claims.get(claim) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_f64().unwrap_or(f64::NAN),
        Some(_) => return Err(TokenError::claim(claim, "must be a number: seconds since 1970")),
    };
    if !(0.0..=MAX_TIME).contains(&seconds) {
        return Err(TokenError::claim(claim, "is out of range: seconds since 1970 are meant"));
    }
    Ok(Some(UNIX_EPOCH + Duration::from_secs_f64(seconds)))
}

pub(crate) fn check_times(
    claims: &Map<String, Value>,
    leeway: Duration,
    now: SystemTime,
) -> Result<SystemTime, TokenError> {
    let expires = time(claims, "exp")?
        .ok_or_else(|| TokenError::claim("exp", "is missing; give an expiry time"))?;
    let begins = time(claims, "nbf")?;
    if begins.is_some_and(|nbf| nbf > expires) {
        return Err(TokenError::claim("nbf", "is after `exp`; the token is never valid"));
    }
    if let Ok(ago) = now.duration_since(expires)
        && ago >= leeway
    {
        return Err(TokenError::Expired { ago });
    }
    if let Some(Ok(wait)) = begins.map(|nbf| nbf.duration_since(now))
        && wait > leeway
    {
        return Err(TokenError::NotYetValid { wait });
    }
    Ok(expires)
}

pub(crate) fn check_party(
    claims: &Map<String, Value>,
    rules: &TokenRules,
) -> Result<(), TokenError> {
    if let Some(wanted) = &rules.issuer
        && text(claims, "iss")? != Some(wanted.as_str())
    {
        return Err(TokenError::claim("iss", "is not the issuer that the server expects"));
    }
    let Some(wanted) = &rules.audience else { return Ok(()) };
    let meant = match claims.get("aud") {
        Some(Value::String(one)) => one == wanted,
        Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(wanted)),
        _ => false,
    };
    if meant {
        Ok(())
    } else {
        Err(TokenError::claim("aud", "does not name the audience that the server expects"))
    }
}

fn scopes(claims: &Map<String, Value>) -> Result<Vec<Scope>, TokenError> {
    let wrong = || TokenError::claim("scp", "must be text or an array of texts");
    let names: Vec<&str> = match claims.get("scp") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(names)) => names.split_ascii_whitespace().collect(),
        Some(Value::Array(names)) => {
            names.iter().map(Value::as_str).collect::<Option<_>>().ok_or_else(wrong)?
        }
        Some(_) => return Err(wrong()),
    };
    let known = [("voip", Scope::Voip), ("voip.join", Scope::VoipJoin)];
    Ok(known.iter().filter(|(name, _)| names.contains(name)).map(|(_, scope)| *scope).collect())
}

fn group_id(claims: &Map<String, Value>) -> Result<Option<GroupId>, TokenError> {
    let Some(found) = text(claims, "groupId")? else { return Ok(None) };
    let parsed: Result<GroupId, GroupIdError> = found.parse();
    parsed.map(Some).map_err(|error| TokenError::claim("groupId", format!("is wrong: {error}")))
}

fn role(claims: &Map<String, Value>) -> Result<Option<Role>, TokenError> {
    let Some(found) = text(claims, "role")? else { return Ok(None) };
    let known = Role::ALL.iter().copied().find(|role| role.as_str() == found);
    let wrong = || {
        let names: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
        TokenError::claim("role", format!("is unknown; give one of {}", names.join(", ")))
    };
    known.map(Some).ok_or_else(wrong)
}

fn guest(claims: &Map<String, Value>) -> Result<bool, TokenError> {
    match claims.get("guest") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(guest)) => Ok(*guest),
        Some(_) => Err(TokenError::claim("guest", "must be true or false")),
    }
}

#[cfg(test)]
mod tests;
