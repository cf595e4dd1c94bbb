//! `POST /dev/token`: tokens for the demo, in development mode only.
//!
//! Owns: the request and its reply.
//! Never: answers anything but 404 when development mode is off.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use convoke_protocol::Role;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::problem::Problem;
use crate::control::Inner;
use crate::mint::TokenRequest;

/// How long a development token lives.
const LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// The largest request, in bytes.
pub(crate) const MAX_BODY: usize = 4096;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    display_name: String,
    identity: Option<String>,
    role: Option<Role>,
    #[serde(default)]
    guest: bool,
}

pub(crate) async fn token(
    State(inner): State<Arc<Inner>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    mint(&inner, &headers, body).unwrap_or_else(|problem| problem.into_response())
}

fn mint(
    inner: &Inner,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let config = inner.config();
    let Some(minter) = &config.dev_minter else { return Err(Problem::not_found()) };
    inner.check_origin(headers)?;
    let invalid = |text: String| Problem::new(StatusCode::BAD_REQUEST, "requestInvalid", text);
    let body = body.map_err(|rejection| {
        Problem::new(rejection.status(), "requestTooLarge", rejection.body_text())
    })?;
    // A page elsewhere cannot send this type without asking first (CORS), and is never answered.
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.trim_start().to_ascii_lowercase().starts_with("application/json") {
        let text = "the content type must be application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "contentType", text));
    }
    let request: Request =
        serde_json::from_slice(&body).map_err(|error| invalid(error.to_string()))?;
    let identity = match request.identity {
        Some(identity) if !identity.is_empty() => identity,
        _ => format!("dev:{}", Uuid::new_v4()),
    };
    let rules = config.keys.rules();
    let wanted = TokenRequest {
        display_name: Some(request.display_name),
        role: request.role,
        guest: request.guest,
        lifetime: LIFETIME,
        issuer: rules.issuer.clone(),
        audience: rules.audience.clone(),
        ..TokenRequest::new(identity)
    };
    let token = minter.mint(&wanted, SystemTime::now());
    let token = token.map_err(|error| invalid(error.to_string()))?;
    let reply = json!({ "token": token, "identity": wanted.identity });
    Ok(([(CACHE_CONTROL, "no-store")], Json(reply)).into_response())
}
