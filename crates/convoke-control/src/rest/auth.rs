//! Who asks, and whether they may.
//!
//! Owns: the one gate before every route that needs a key: body limit, authentication and its
//! failures, rate, role, API version, in this order.
//! Never: lets a handler run for a request that did not pass.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, OriginalUri, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use convoke_store::Change;
use percent_encoding::percent_decode_str;

use super::error::{ApiError, Code, Shape};
use super::signature;
use super::time::now_ms;
use crate::control::Inner;
use crate::services::{Role, ServiceKey, Services};

/// The oldest and the newest `api-version` that is spoken here, as dates.
const VERSIONS: std::ops::RangeInclusive<&str> = "2022-06-01"..="2026-03-12";
/// The longest request id that is kept.
const MAX_REQUEST_ID: usize = 64;

/// What stands before a group of routes.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) inner: Arc<Inner>,
    pub(crate) role: Role,
}

/// A request that passed.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) services: Services,
    pub(crate) key: Arc<ServiceKey>,
    request_id: String,
}

impl Caller {
    /// For the audit log.
    pub(crate) fn change(&self, action: &'static str) -> Change {
        let (actor, request_id) = (self.key.name().to_string(), self.request_id.clone());
        Change { at: now_ms(), actor, action, request_id }
    }
}

/// The gate itself.
pub(crate) async fn admit(
    State(gate): State<Gate>,
    OriginalUri(original): OriginalUri,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    let shape = Shape::of(&path);
    let (mut parts, body) = request.into_parts();
    let mut response = match gate.check(&parts, &original, body, shape).await {
        Ok((caller, body)) => {
            let reads = parts.method == Method::GET || parts.method == Method::HEAD;
            parts.extensions.insert(caller);
            let answer = next.run(Request::from_parts(parts, Body::from(body)));
            if reads { answer.await } else { to_the_end(answer).await }
        }
        Err(error) => error.into_response(),
    };
    let response = match response.extensions_mut().remove::<ApiError>() {
        Some(error) => error.shaped(shape).into_response(),
        None => response,
    };
    gate.inner.counters.request(&path, response.status().as_u16());
    response
}

/// A change is carried out whether or not its client waits for it: what is in the store must act too.
async fn to_the_end(answer: impl Future<Output = Response> + Send + 'static) -> Response {
    tokio::spawn(answer).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a request failed");
        ApiError::new(Code::InternalError, "the server failed over this; it was logged")
            .into_response()
    })
}

impl Gate {
    async fn check(
        &self,
        parts: &Parts,
        original: &Uri,
        body: Body,
        shape: Shape,
    ) -> Result<(Caller, Bytes), ApiError> {
        let config = self.inner.config();
        let services = config.services.as_ref();
        let services = services.ok_or_else(|| ApiError::new(Code::NotFound, "nothing is here"))?;
        let (most, within) = (services.limits.body_bytes, config.times.body);
        let body = tokio::time::timeout(within, to_bytes(body, most)).await.map_err(|_| {
            let text = format!("the body took longer than {within:?} to come");
            ApiError::new(Code::RequestTimeout, text)
        })?;
        let body = body.map_err(|_| {
            let text = format!("the body could not be read, or has more than {most} bytes");
            ApiError::new(Code::RequestTooLarge, text)
        })?;
        let now = SystemTime::now();
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        let address = config.proxies.client(peer, &parts.headers);
        let (failures, failing) = (&services.failures, services.limits.failures_per_minute);
        let wait = |one| failures.must_wait(&one, failing, Instant::now());
        if let Some(wait) = address.and_then(wait) {
            let text = "too many wrong keys came from this address";
            return Err(ApiError::new(Code::TooManyFailures, text).retry_after(wait));
        }
        let key = authenticate(services, &parts.method, original, &parts.headers, &body, now);
        if let (Err(_), Some(address)) = (&key, address) {
            failures.spend(address, failing, Instant::now());
        }
        let key = key?;
        if !services.allow(&key, Instant::now()) {
            let text = "too many requests with this key";
            let wait = Duration::from_secs(1);
            return Err(ApiError::new(Code::TooManyRequests, text).retry_after(wait));
        }
        if !key.may(self.role) {
            let text = format!("this key does not have the role {:?}", self.role);
            return Err(ApiError::new(Code::Forbidden, text));
        }
        if percent_decode_str(parts.uri.path()).decode_utf8().is_err() {
            return Err(ApiError::new(Code::BadRequest, "the path is not UTF-8").target("path"));
        }
        if shape == Shape::Acs {
            check_version(parts.uri.query())?;
        }
        let request_id = parts.headers.get("x-ms-client-request-id");
        let request_id = request_id.and_then(|id| id.to_str().ok()).unwrap_or_default();
        let request_id = request_id.get(..MAX_REQUEST_ID).unwrap_or(request_id).to_owned();
        Ok((Caller { services: services.clone(), key, request_id }, body))
    }
}

fn authenticate(
    services: &Services,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
    now: SystemTime,
) -> Result<Arc<ServiceKey>, ApiError> {
    let refuse = |text: String| {
        tracing::debug!(reason = text, "a request was not authenticated");
        ApiError::new(Code::Unauthorized, text)
    };
    let (keys, window) = (&services.keys, services.limits.window);
    if signature::is_signed(headers) {
        let signed = signature::read(method, uri, headers, body, window, now)
            .map_err(|error| refuse(error.to_string()))?;
        return keys
            .by_signature(&signed.messages, &signed.signature)
            .ok_or_else(|| refuse("the signature does not hold under any key".to_owned()));
    }
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(given) = given else {
        return Err(refuse("sign the request, or send `Authorization: Bearer`".to_owned()));
    };
    let bearer = given.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let found = bearer.and_then(|(_, shown)| keys.by_bearer(shown.trim(), now));
    found.ok_or_else(|| refuse("no such key, or its token is not valid".to_owned()))
}

/// Whether the version is one that is spoken here. Some SDKs send the name of a constant instead of
/// its value on later pages.
fn check_version(query: Option<&str>) -> Result<(), ApiError> {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let given = pairs.find(|(name, _)| name == "api-version").map(|(_, value)| value);
    let Some(given) = given else {
        let text = "the query has no `api-version`";
        return Err(ApiError::new(Code::MissingApiVersion, text).target("api-version"));
    };
    let date = given.strip_suffix("-preview").unwrap_or(&given);
    let is_date = date.len() == 10
        && date.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    if (is_date && VERSIONS.contains(&date)) || given.starts_with("ApiVersion.V") {
        return Ok(());
    }
    let text =
        format!("`api-version` must be a date from {} to {}", VERSIONS.start(), VERSIONS.end());
    Err(ApiError::new(Code::UnsupportedApiVersion, text).target("api-version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_goes_on_though_its_client_has_hung_up() {
        let (to, done) = tokio::sync::oneshot::channel();
        let answer = async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            to.send(()).unwrap();
            Response::default()
        };
        let waits = tokio::time::timeout(Duration::from_millis(5), to_the_end(answer));
        waits.await.unwrap_err();
        done.await.unwrap();
    }

    #[test]
    fn versions_of_sdks_are_spoken_and_others_are_refused() {
        let code = |query: Option<&str>| check_version(query).map_err(|error| error.code);
        for good in [
            "api-version=2023-10-01",
            "a=b&api-version=2025-03-13",
            "api-version=2026-03-12",
            "api-version=2024-09-01-preview",
            "api-version=ApiVersion.V2025_03_13",
        ] {
            assert_eq!(code(Some(good)), Ok(()), "{good}");
        }
        for bad in [
            "api-version=",
            "api-version=1",
            "api-version=2999-01-01",
            "api-version=2019-01-01",
            "api-version=2023-10-0x",
            "api-version=2023-10-01'--",
        ] {
            assert_eq!(code(Some(bad)), Err(Code::UnsupportedApiVersion), "{bad}");
        }
        assert_eq!(code(None), Err(Code::MissingApiVersion));
        assert_eq!(code(Some("api_version=2023-10-01")), Err(Code::MissingApiVersion));
    }
}
