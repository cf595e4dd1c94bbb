//! `/identities`: who may call, and their access tokens (the ACS Identity resource).
//!
//! Owns: the ids that we give, the scopes and lifetimes that can be asked for.
//! Never: keeps a token.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::auth::Caller;
use super::body::{self, Read};
use super::error::{ApiError, Code};
use super::time::{format, to_ms};
use crate::control::Inner;
use crate::services::Issuer;

/// The lifetimes that can be asked for, in minutes, and the one that is given unasked.
const MINUTES: std::ops::RangeInclusive<i64> = 60..=1440;
const MINUTES_DEFAULT: i64 = 1440;
/// The scopes that are known. Those of chat grant nothing here, but may elsewhere.
const SCOPES: [&str; 5] = ["chat", "chat.join", "chat.join.limited", "voip", "voip.join"];

/// What a new identity shall be given.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateIdentity {
    /// If given, a token with these scopes is issued too.
    #[schema(example = json!(["voip"]))]
    create_token_with_scopes: Option<Vec<String>>,
    /// How long that token lives: 60 to 1440, by default 1440.
    expires_in_minutes: Option<i64>,
}

/// What a token shall allow.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IssueToken {
    /// At least one of `voip`, `voip.join`, `chat`, `chat.join`, `chat.join.limited`.
    #[schema(example = json!(["voip"]))]
    scopes: Option<Vec<String>>,
    /// How long it lives: 60 to 1440, by default 1440.
    expires_in_minutes: Option<i64>,
}

/// An identity, perhaps with a token.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IdentityAndToken {
    identity: Identity,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<Token>,
}

/// Who may call.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Identity {
    /// Its raw id: `8:acs:RESOURCE_IDENTITY`.
    id: String,
}

/// An access token: a secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Token {
    /// A JWT. See `PROTOCOL.md`, section 3.2.
    token: String,
    /// When it expires (RFC 3339).
    #[schema(format = DateTime)]
    expires_on: String,
}

/// What was asked for, found good.
struct Wish {
    scopes: Vec<&'static str>,
    lifetime: Duration,
}

fn wish(scopes: &[String], minutes: Option<i64>, field: &str) -> Result<Wish, ApiError> {
    let wrong = |text: String, target: &str| ApiError::new(Code::BadRequest, text).target(target);
    let known = |scope: &String| {
        let found = SCOPES.iter().find(|known| *known == scope).copied();
        found.ok_or_else(|| {
            let text = format!("`{field}` must hold only {}", SCOPES.join(", "));
            wrong(text, field)
        })
    };
    let scopes = scopes.iter().map(known).collect::<Result<Vec<_>, _>>()?;
    if scopes.is_empty() {
        return Err(wrong(format!("`{field}` must name at least one scope"), field));
    }
    let minutes = minutes.unwrap_or(MINUTES_DEFAULT);
    if !MINUTES.contains(&minutes) {
        let text =
            format!("`expiresInMinutes` must be from {} to {}", MINUTES.start(), MINUTES.end());
        return Err(wrong(text, "expiresInMinutes"));
    }
    let seconds = u64::try_from(minutes * 60).unwrap_or_default();
    Ok(Wish { scopes, lifetime: Duration::from_secs(seconds) })
}

impl Wish {
    fn grant(&self, issuer: &Issuer, id: &str, generation: i64) -> Result<Token, ApiError> {
        let now = SystemTime::now();
        let issued = issuer.issue(id, &self.scopes, generation, self.lifetime, now);
        let (token, expires) = issued.map_err(|error| {
            tracing::error!(%error, "a token was not signed");
            ApiError::new(Code::InternalError, "the token could not be signed")
        })?;
        Ok(Token { token, expires_on: format(to_ms(expires)) })
    }
}

fn issuer(caller: &Caller) -> Result<&Issuer, ApiError> {
    caller.services.issuer.as_deref().ok_or_else(|| {
        let text = "this server holds no identities: their tokens come from elsewhere";
        ApiError::new(Code::NotImplemented, text)
    })
}

fn secret(status: StatusCode, reply: impl Serialize) -> Response {
    (status, [(CACHE_CONTROL, "no-store")], Json(reply)).into_response()
}

/// Makes an identity, and a token for it if scopes are given.
#[utoipa::path(
    post, path = "/identities", tag = "Identities", request_body = CreateIdentity,
    responses((status = 201, description = "Made", body = IdentityAndToken))
)]
pub(crate) async fn create(
    Extension(caller): Extension<Caller>,
    Read(asked): Read<CreateIdentity>,
) -> Result<Response, ApiError> {
    let issuer = issuer(&caller)?;
    let scopes = asked.create_token_with_scopes;
    let wish = scopes
        .map(|scopes| wish(&scopes, asked.expires_in_minutes, "createTokenWithScopes"))
        .transpose()?;
    let id = format!("8:acs:{}_{}", caller.services.resource, Uuid::new_v4());
    let token = wish.map(|wish| wish.grant(issuer, &id, 0)).transpose()?;
    let kept = caller.services.store.create_identity(&id, &caller.change("identity.create")).await;
    kept.map_err(|error| ApiError::store(error, Code::InternalError))?;
    let reply = IdentityAndToken { identity: Identity { id }, access_token: token };
    Ok(secret(StatusCode::CREATED, reply))
}

/// Issues an access token.
#[utoipa::path(
    post, path = "/identities/{id}/:issueAccessToken", tag = "Identities",
    params(("id" = String, Path, description = "The raw id")), request_body = IssueToken,
    responses((status = 200, description = "Issued", body = Token))
)]
pub(crate) async fn issue(
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Read(asked): Read<IssueToken>,
) -> Result<Response, ApiError> {
    let issuer = issuer(&caller)?;
    let wish = wish(&asked.scopes.unwrap_or_default(), asked.expires_in_minutes, "scopes")?;
    body::name(&id, "id")?;
    let missing = |error| ApiError::store(error, Code::IdentityNotFound);
    let generation = caller.services.store.generation(&id).await.map_err(missing)?;
    let token = wish.grant(issuer, &id, generation)?;
    caller.services.store.audit(caller.change("token.issue"), &id).await.map_err(missing)?;
    Ok(secret(StatusCode::OK, token))
}

/// Makes all tokens of an identity void, at once: its agents are closed (4403) and its participants
/// ended (401/70003).
#[utoipa::path(
    post, path = "/identities/{id}/:revokeAccessTokens", tag = "Identities",
    params(("id" = String, Path, description = "The raw id")),
    responses((status = 204, description = "Revoked"))
)]
pub(crate) async fn revoke(
    State(inner): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    body::name(&id, "id")?;
    let revoked = caller.services.store.revoke(&id, &caller.change("identity.revoke")).await;
    let revoked = revoked.map_err(|error| ApiError::store(error, Code::IdentityNotFound))?;
    inner.revoked(&revoked).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes an identity. Its tokens are void at once, as after a revocation.
#[utoipa::path(
    delete, path = "/identities/{id}", tag = "Identities",
    params(("id" = String, Path, description = "The raw id")),
    responses((status = 204, description = "Deleted"))
)]
pub(crate) async fn delete(
    State(inner): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    body::name(&id, "id")?;
    let change = caller.change("identity.delete");
    let deleted = caller.services.store.delete_identity(&id, &change).await;
    let deleted = deleted.map_err(|error| ApiError::store(error, Code::IdentityNotFound))?;
    inner.revoked(&deleted).await;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_within_their_bounds() {
        let check = |scopes: &[&str], minutes| {
            let scopes: Vec<_> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
            wish(&scopes, minutes, "scopes").map(|wish| wish.lifetime.as_secs() / 60).ok()
        };
        assert_eq!(check(&["voip"], None), Some(1440));
        assert_eq!(check(&["voip", "chat.join"], Some(60)), Some(60));
        for minutes in [59, 1441, 0, -1, i64::MAX, i64::MIN] {
            assert_eq!(check(&["voip"], Some(minutes)), None, "{minutes}");
        }
        assert_eq!(check(&[], None), None);
        assert_eq!(check(&["voip", "VOIP"], None), None);
    }
}
