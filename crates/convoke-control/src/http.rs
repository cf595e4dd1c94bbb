//! What is reachable by HTTP.
//!
//! Owns: the routes of the public and of the private side, and who may use them by `Origin`.
//! Never: puts metrics on the public side, or a secret into a URL.

mod cors;
mod demo;
mod dev;
mod guard;
mod layer_events;
mod layers;
mod origin;
mod problem;
mod whip;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, OriginalUri, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use convoke_node::{TcpStats, WorkerStats};
use convoke_protocol::SUBPROTOCOL;
use convoke_store::Operations;
#[cfg(target_os = "linux")]
use prometheus::process_collector::ProcessCollector;
use prometheus::{Encoder as _, Registry, TextEncoder};

use crate::agent::{self, AgentPlace};
use crate::clients::{Address, Seat};
use crate::control::{Control, Handover, Inner};
use crate::metrics::{Collect, Counters, Lags, Limited, Source, count, kernel_drops};
use crate::rest;
use crate::sync::lock;
use problem::Problem;

/// Each agent's buffer for what comes in, in bytes; it grows with a message and falls back. The
/// library's own is 128 KiB at once, cleared at each reading: a third of what an idle participant takes.
const AGENT_READ_BYTES: usize = 4 * 1_024;

impl Control {
    /// The public side: `/agent`, `/whip`, `/whep`, `/healthz`, `/readyz`, `/dev/token` (in
    /// development mode), what app servers ask for (see `docs/REST.md`), the operator's page `/admin`,
    /// and the demo. May be nested in another router at any path.
    pub fn router(&self) -> Router {
        let in_time = from_fn_with_state(Arc::clone(&self.inner), in_time);
        let services = self.inner.config().services.is_some();
        let services =
            services.then(|| rest::router(&self.inner).route("/admin", get(demo::admin)));
        services
            .unwrap_or_default()
            .route("/agent", any(open_agent))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .route(
                "/dev/token",
                post(dev::token).layer(DefaultBodyLimit::max(dev::MAX_BODY)).layer(in_time),
            )
            .merge(whip::routes(&self.inner))
            .fallback(missing)
            .method_not_allowed_fallback(wrong_method)
            .with_state(Arc::clone(&self.inner))
    }

    /// The private side: `/metrics`, and `/healthz` and `/readyz` again. For a listener that
    /// strangers do not reach.
    pub fn metrics_router(&self) -> Router {
        let registry = Registry::new();
        let collect = Collect::new(Arc::clone(&self.inner));
        let own = registry.register(Box::new(collect));
        // Memory, processor and open files of this process.
        #[cfg(target_os = "linux")]
        let own = own.and(registry.register(Box::new(ProcessCollector::for_self())));
        if let Err(error) = own {
            tracing::error!(%error, "metrics");
        }
        let metrics = move || std::future::ready(metrics(&registry));
        Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .fallback(|| async { Problem::not_found() })
            .with_state(Arc::clone(&self.inner))
    }
}

impl Source for Arc<Inner> {
    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn workers(&self) -> Vec<WorkerStats> {
        self.handle.stats()
    }

    fn tcp(&self) -> TcpStats {
        self.handle.tcp_stats()
    }

    fn gauges(&self) -> (usize, usize) {
        (self.calls.count(), self.agents.len())
    }

    fn http_sessions(&self) -> [u64; 2] {
        self.http_sessions.counts()
    }

    fn calling(&self) -> (usize, [u64; 4]) {
        (self.calling.count(), self.calling.told())
    }

    fn kernel_drops(&self) -> Option<u64> {
        let ports: Vec<u16> = self.handle.media_addresses().iter().map(SocketAddr::port).collect();
        kernel_drops(&ports)
    }

    fn store(&self) -> Option<[Operations; 2]> {
        self.config().services.as_ref().map(|services| services.store.operations())
    }

    fn lags(&self) -> Lags {
        lock(&self.lags).clone()
    }

    fn is_draining(&self) -> bool {
        Inner::is_draining(self)
    }
}

async fn open_agent(
    State(inner): State<Arc<Inner>>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if let Err(problem) = inner.check_origin(&headers) {
        return problem.into_response();
    }
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => {
            let text = format!("this is a WebSocket: {rejection}");
            return Problem::new(rejection.status(), "upgradeRequired", text).into_response();
        }
    };
    let upgrade = upgrade.protocols([SUBPROTOCOL]);
    let offers_some = upgrade.requested_protocols().next().is_some();
    if offers_some && upgrade.selected_protocol().is_none() {
        let text = format!("offer the subprotocol `{SUBPROTOCOL}`, or none");
        let problem = Problem::new(StatusCode::BAD_REQUEST, "subprotocolUnknown", text);
        return problem.into_response();
    }
    let address = match inner.place_of(peer.map(|Extension(ConnectInfo(peer))| peer), &headers) {
        Ok(address) => address,
        Err(problem) => return problem.into_response(),
    };
    let Some(place) = inner.places.take((), inner.config().limits.agents) else {
        let text = "as many agents are connected as may be; try again later";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "tooManyAgents", text)
            .retry_after(inner.config().times.retry_after)
            .into_response();
    };
    let most = inner.config().limits.message_bytes;
    upgrade
        .read_buffer_size(AGENT_READ_BYTES)
        .max_message_size(most)
        .max_frame_size(most)
        .on_upgrade(move |socket| agent::serve(inner, socket, AgentPlace { place, address }))
}

/// For a route whose handler does nothing but read a body.
async fn in_time(State(inner): State<Arc<Inner>>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(inner.config().times.body, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let text = "the body took too long to come";
            Problem::new(StatusCode::REQUEST_TIMEOUT, "requestTimeout", text).into_response()
        }
    }
}

async fn healthz(State(inner): State<Arc<Inner>>) -> Response {
    if inner.is_healthy() {
        return plain("ok\n");
    }
    let text = "a media worker does not come round";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "workerStalled", text).into_response()
}

async fn readyz(State(inner): State<Arc<Inner>>) -> Response {
    if Inner::is_draining(&inner) || *inner.handover.borrow() != Handover::Not {
        let text = "no new joins are taken: the server will stop";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "draining", text).into_response();
    }
    healthz(State(inner)).await
}

/// Everything that is no route.
async fn missing(method: Method, uri: Uri, original: OriginalUri, headers: HeaderMap) -> Response {
    match rest::missing(&uri) {
        Some(response) => response,
        None => demo::file(method, uri, original, headers).await,
    }
}

async fn wrong_method(uri: Uri) -> Response {
    rest::wrong_method(&uri)
}

fn plain(text: &'static str) -> Response {
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-store")];
    (headers, text).into_response()
}

fn metrics(registry: &Registry) -> Response {
    let mut text = Vec::new();
    let encoder = TextEncoder::new();
    if let Err(error) = encoder.encode(&registry.gather(), &mut text) {
        tracing::error!(%error, "metrics");
        let detail = "metrics could not be written";
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        return Problem::new(status, "internal", detail).into_response();
    }
    ([(CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response()
}

impl Inner {
    /// A place among the WebSockets of where a request comes from, if that is counted.
    fn place_of(
        &self,
        peer: Option<SocketAddr>,
        headers: &HeaderMap,
    ) -> Result<Option<(Address, Seat<Address>)>, Problem> {
        let Some(address) = self.config().proxies.client(peer, headers) else { return Ok(None) };
        let limits = &self.config().limits;
        self.check_failures(&address)?;
        match self.agents_of.0.take(address, limits.agents_per_address) {
            Some(seat) => Ok(Some((address, seat))),
            None => {
                let text = "as many agents are connected from this address as may be";
                let wait = self.config().times.retry_after;
                Err(self.limited(Limited::AgentsPerAddress, "tooManyAgentsFromAddress", text, wait))
            }
        }
    }

    /// Whether an address has shown too many wrong tokens.
    fn check_failures(&self, address: &Address) -> Result<(), Problem> {
        let most = self.config().limits.failures_per_minute;
        let Some(wait) = self.wrong_tokens.must_wait(address, most, Instant::now()) else {
            return Ok(());
        };
        let text = "too many wrong access tokens came from this address";
        Err(self.limited(Limited::WrongTokens, "tooManyFailures", text, wait))
    }

    fn limited(&self, limited: Limited, code: &'static str, text: &str, wait: Duration) -> Problem {
        self.counters.limited(limited);
        Problem::new(StatusCode::TOO_MANY_REQUESTS, code, text).retry_after(wait)
    }

    /// Whether a page of this `Origin` may talk to us.
    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if origin::is_allowed(headers, &self.config().origins) {
            return Ok(());
        }
        count(&self.counters.origin_refused);
        let text = "pages of this `Origin` may not connect; the server's operator can allow it";
        Err(Problem::new(StatusCode::FORBIDDEN, "originNotAllowed", text))
    }
}
