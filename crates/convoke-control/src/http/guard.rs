//! Addresses that show wrong access tokens over plain HTTP.
//!
//! Owns: counting them together with those of WebSockets, and turning the address away for a while.
//! Never: looks at a token.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use convoke_protocol::ErrorCode;

use crate::control::Inner;

/// Where a request comes from, as its connection has it.
pub(super) fn peer(extensions: &axum::http::Extensions) -> Option<SocketAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer)
}

/// Answers 429 to an address that has shown too many, and counts what the answer says was wrong.
pub(super) async fn guard(
    State(inner): State<Arc<Inner>>,
    request: Request,
    next: Next,
) -> Response {
    let peer = peer(request.extensions());
    let Some(address) = inner.config().proxies.client(peer, request.headers()) else {
        return next.run(request).await;
    };
    if let Err(problem) = inner.check_failures(&address) {
        return problem.into_response();
    }
    let response = next.run(request).await;
    let refusal = response.extensions().get::<ErrorCode>();
    if matches!(refusal, Some(ErrorCode::TokenInvalid | ErrorCode::TokenMissing)) {
        let most = inner.config().limits.failures_per_minute;
        inner.wrong_tokens.spend(address, most, Instant::now());
    }
    response
}
