//! Cross-origin requests of web pages (the Fetch standard, CORS).
//!
//! Owns: the headers, by the same policy of origins as agents have.
//! Never: lets a page's request through that may not read the answer.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::control::Inner;

/// What a page may read of an answer.
const EXPOSED: &str = "Location, Link, ETag, Accept-Patch, Retry-After, WWW-Authenticate";
/// What it may send.
const HEADERS: &str = "Authorization, Content-Type, If-Match";
const METHODS: &str = "POST, PATCH, DELETE, OPTIONS";
/// How long a browser may remember it, in seconds.
const MAX_AGE: &str = "7200";

/// Refuses the pages that may not connect, and tells the others' browsers that they may.
pub(super) async fn share(
    State(inner): State<Arc<Inner>>,
    request: Request,
    next: Next,
) -> Response {
    if let Err(problem) = inner.check_origin(request.headers()) {
        return problem.into_response();
    }
    let origin = request.headers().get(ORIGIN).cloned();
    let asks = request.method() == Method::OPTIONS
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin else { return response };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    if asks {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    }
    response
}
