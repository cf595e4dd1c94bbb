//! HTTP requests that the server itself makes: to webhooks, for the keys of other issuers, and to the
//! callback addresses of app servers.
//!
//! Owns: their time limits and how much of an answer is read.
//! Never: follows a redirect. Whether an address may be sent to is for those to know who name it.

use std::sync::LazyLock;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The most that is read of an answer.
const ANSWER_BYTES: usize = 256 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutboundError {
    #[error("the system's root certificates cannot be read")]
    NoRoots,
    #[error("no answer in time")]
    Slow,
    #[error("{0}")]
    Failed(String),
}

/// One for all, so that connections are used again.
static CLIENT: LazyLock<Option<Http>> = LazyLock::new(|| {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let roots = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider).ok()?;
    let connector = roots.https_or_http().enable_http1().build();
    Some(Client::builder(TokioExecutor::new()).build(connector))
});

/// Sends a request and reads the answer.
pub(crate) async fn send(
    method: Method,
    uri: &Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    patience: Duration,
) -> Result<(StatusCode, Bytes), OutboundError> {
    let client = CLIENT.as_ref().ok_or(OutboundError::NoRoots)?;
    let failed = |error: &dyn std::error::Error| OutboundError::Failed(causes(error));
    let mut request = Request::builder().method(method).uri(uri);
    if let Some(known) = request.headers_mut() {
        known.extend(headers);
    }
    let request = request.body(Full::new(body)).map_err(|error| failed(&error))?;
    let exchange = async {
        let answer = client.request(request).await.map_err(|error| failed(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| OutboundError::Failed(error.to_string()))?;
        Ok((status, body.to_bytes()))
    };
    tokio::time::timeout(patience, exchange).await.unwrap_or(Err(OutboundError::Slow))
}

/// An error with what caused it: the first alone says little.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
