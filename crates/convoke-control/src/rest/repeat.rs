//! Requests that are sent twice (OASIS Repeatable Requests 1.0).
//!
//! Owns: the reading of its headers, and what makes two requests the same.
//! Never: keeps replies; the store does, in the transaction of the change.

use std::time::SystemTime;

use aws_lc_rs::digest;
use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use convoke_store::Repeat;

use super::auth::Caller;
use super::error::{ApiError, Code};
use super::time;
use crate::revocations::REMEMBERED;

/// The longest id.
const MAX_ID: usize = 128;

/// The repeatability of a request, with the reply that it will have if it is the first.
pub(crate) fn read(
    headers: &HeaderMap,
    caller: &Caller,
    operation: &str,
    body: &[u8],
    reply: &str,
) -> Result<Option<Repeat>, ApiError> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let Some(id) = text("repeatability-request-id") else { return Ok(None) };
    let invalid = |text: &str| ApiError::new(Code::RepeatabilityInvalid, text);
    if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid("`Repeatability-Request-ID` must be a UUID"));
    }
    let sent = text("repeatability-first-sent").and_then(time::parse_http);
    let sent = sent.ok_or_else(|| {
        invalid("`Repeatability-First-Sent` must be a date such as Wed, 25 Nov 2026 02:10:35 GMT")
    })?;
    if SystemTime::now().duration_since(sent).is_ok_and(|ago| ago >= REMEMBERED) {
        let text = "the request was first sent too long ago; send it as a new one";
        return Err(ApiError::new(Code::RepeatabilityExpired, text));
    }
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(operation.as_bytes());
    hash.update(b"\n");
    hash.update(body);
    Ok(Some(Repeat {
        key: format!("{}/{id}", caller.key.name()),
        digest: URL_SAFE_NO_PAD.encode(hash.finish()),
        reply: reply.to_owned(),
    }))
}
