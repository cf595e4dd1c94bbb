//! Requests that are sent twice (OASIS Repeatable Requests 1.0).
//!
//! Owns: the reading of its headers, and what makes two requests the same.
//! Never: keeps replies where the store does, in the transaction of the change. What acts on calls,
//! which are in memory, is remembered in memory: [`Repeats`].

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use aws_lc_rs::digest;
use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use convoke_store::Repeat;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::auth::Caller;
use super::error::{ApiError, Code};
use super::time;
use crate::revocations::REMEMBERED;
use crate::sync::lock;

/// The longest id.
const MAX_ID: usize = 128;
/// Requests that are remembered in memory; beyond it the oldest are forgotten.
const REPEATS: usize = 16_384;

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

/// What a request is answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Option<Value>,
}

impl Reply {
    pub(crate) fn new(status: StatusCode, body: Value) -> Self {
        Self { status, body: Some(body) }
    }

    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, body: None }
    }

    pub(crate) fn into_response(self) -> Response {
        match self.body {
            Some(body) => (self.status, Json(body)).into_response(),
            None => self.status.into_response(),
        }
    }
}

#[derive(Debug, Default)]
struct Kept {
    digest: String,
    /// Held while the first is carried out; those sent again wait for it.
    reply: OnceCell<Reply>,
}

#[derive(Debug, Default)]
struct Table {
    by_key: HashMap<String, Arc<Kept>>,
    order: VecDeque<(Instant, String)>,
}

/// Replies to requests that act on what is in memory.
#[derive(Debug, Default)]
pub(crate) struct Repeats(Mutex<Table>);

impl Repeats {
    fn keep(&self, repeat: Repeat, now: Instant) -> Result<Arc<Kept>, ApiError> {
        let mut table = lock(&self.0);
        let old = |at: &Instant| now.duration_since(*at) >= REMEMBERED;
        while table.order.front().is_some_and(|(at, _)| old(at)) || table.order.len() >= REPEATS {
            let Some((_, key)) = table.order.pop_front() else { break };
            table.by_key.remove(&key);
        }
        if let Some(kept) = table.by_key.get(&repeat.key) {
            if kept.digest == repeat.digest {
                return Ok(Arc::clone(kept));
            }
            let text = "this request id was used for another request";
            return Err(ApiError::new(Code::RepeatabilityInvalid, text));
        }
        let kept = Arc::new(Kept { digest: repeat.digest, reply: OnceCell::new() });
        table.by_key.insert(repeat.key.clone(), Arc::clone(&kept));
        table.order.push_back((now, repeat.key));
        Ok(kept)
    }

    /// Carries a request out, or answers it as it was answered before. A refusal changes nothing, and
    /// is not remembered.
    pub(crate) async fn once(
        &self,
        repeat: Option<Repeat>,
        run: impl Future<Output = Result<Reply, ApiError>>,
    ) -> Result<Response, ApiError> {
        let Some(repeat) = repeat else { return Ok(run.await?.into_response()) };
        let kept = self.keep(repeat, Instant::now())?;
        let reply = kept.reply.get_or_try_init(|| run).await?.clone();
        let mut response = reply.into_response();
        let accepted = HeaderValue::from_static("accepted");
        response.headers_mut().insert("repeatability-result", accepted);
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeat(key: &str, digest: &str) -> Option<Repeat> {
        let (key, digest, reply) = (key.to_owned(), digest.to_owned(), String::new());
        Some(Repeat { key, digest, reply })
    }

    #[tokio::test]
    async fn what_is_sent_again_is_carried_out_once() {
        let repeats = Repeats::default();
        let good = async || Ok(Reply::empty(StatusCode::NO_CONTENT));
        let bad = async || Err(ApiError::new(Code::BadRequest, "no"));
        assert!(repeats.once(repeat("a", "1"), bad()).await.is_err());
        assert!(repeats.once(repeat("a", "1"), good()).await.is_ok(), "refusals are forgotten");
        let again = repeats.once(repeat("a", "1"), bad()).await.unwrap();
        assert_eq!(again.status(), StatusCode::NO_CONTENT);
        let other = repeats.once(repeat("a", "2"), good()).await.unwrap_err();
        assert_eq!(other.code, Code::RepeatabilityInvalid);
        assert!(repeats.once(None, bad()).await.is_err());
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let (repeats, now) = (Repeats::default(), Instant::now());
        for at in 0..=REPEATS {
            repeats.keep(repeat(&at.to_string(), "1").unwrap(), now).unwrap();
        }
        let table = lock(&repeats.0);
        assert_eq!((table.by_key.len(), table.order.len()), (REPEATS, REPEATS));
        assert!(!table.by_key.contains_key("0") && table.by_key.contains_key("1"));
    }
}
