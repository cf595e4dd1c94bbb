//! What happened, for whoever asks: by page, by long poll, or as a stream (SSE).
//!
//! Owns: how an event looks (CloudEvents 1.0, JSON), and waiting for the next.
//! Never: keeps a place for a reader: it says after which number it wants to go on.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, OriginalUri, Path, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL};
use axum::http::{HeaderMap, Uri};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use convoke_store::{Event, Store, StoreError};
use futures_util::stream;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::auth::Caller;
use super::body;
use super::error::{ApiError, Code};
use super::time::format;
use crate::control::Inner;

/// The longest a request may wait for something to happen.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How often the store is asked although nothing was written here: other servers may write to it.
const LOOK: Duration = Duration::from_secs(2);

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Events {
    /// CloudEvents 1.0; `sequence` is the number to go on after.
    value: Vec<Value>,
}

/// Which events: of one stream, or all. Numbers are those of the stream, or of the whole log.
#[derive(Clone)]
struct Source {
    store: Store,
    stream: Option<String>,
    missing: Code,
    /// The call that it is of, by id.
    call: Option<(Arc<Inner>, String)>,
}

/// What the query asks for.
struct Asked {
    /// `None`: after the newest.
    after: Option<i64>,
    limit: i64,
    wait: Duration,
}

/// An event as CloudEvents have it.
pub(crate) fn cloud_event(event: &Event) -> Value {
    // ACS's own keep their name.
    let own = event.kind.starts_with("Microsoft.");
    json!({
        "specversion": "1.0",
        "id": event.position.to_string(),
        "source": format!("/{}", event.stream),
        "type": if own { event.kind.clone() } else { format!("convoke.{}", event.kind) },
        "time": format(event.at),
        "subject": event.stream,
        "datacontenttype": "application/json",
        "sequence": event.seq.to_string(),
        "data": event.data,
    })
}

fn asked(uri: &Uri, most: usize) -> Result<Asked, ApiError> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut asked = Asked { after: Some(0), limit: most, wait: Duration::ZERO };
    let query = uri.query().unwrap_or_default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let wrong = || {
            let text = format!("`{name}` is no number in its range");
            ApiError::new(Code::BadRequest, text).target(name.to_string())
        };
        let number: Result<i64, _> = value.parse().map_err(|_| wrong());
        match &*name {
            "after" if value == "newest" => asked.after = None,
            "after" => asked.after = Some(number.ok().filter(|n| *n >= 0).ok_or_else(wrong)?),
            "limit" => {
                asked.limit = number.ok().filter(|n| (1..=most).contains(n)).ok_or_else(wrong)?;
            }
            "wait" => {
                let seconds = number.ok().and_then(|n| u64::try_from(n).ok()).ok_or_else(wrong)?;
                asked.wait = Duration::from_secs(seconds).min(WAIT_MAX);
            }
            _ => {}
        }
    }
    Ok(asked)
}

impl Source {
    async fn read(&self, after: i64, limit: i64) -> Result<Vec<Event>, StoreError> {
        let found = match &self.stream {
            Some(stream) => self.store.stream(stream, after, limit).await,
            None => self.store.events(after, limit).await,
        };
        match found {
            Err(StoreError::NotFound) if self.is_running() => Ok(Vec::new()),
            found => found,
        }
    }

    /// Whether it is of a call that runs: its begin may not be recorded yet.
    fn is_running(&self) -> bool {
        self.call.as_ref().is_some_and(|(inner, id)| inner.running(id).is_some())
    }

    /// The number after which to begin; of all events the newest, if none is given.
    async fn begin(&self, after: Option<i64>) -> Result<i64, ApiError> {
        match after {
            Some(after) => Ok(after),
            None if self.stream.is_none() => {
                let newest = self.store.newest_event().await;
                newest.map_err(|error| ApiError::store(error, self.missing))
            }
            None => {
                let text = "`newest` can be asked for of `/events` alone";
                Err(ApiError::new(Code::BadRequest, text).target("after"))
            }
        }
    }

    fn number(&self, event: &Event) -> i64 {
        if self.stream.is_some() { event.seq } else { event.position }
    }

    /// What comes after a number, waiting for it until a deadline.
    async fn wait(
        &self,
        after: i64,
        limit: i64,
        until: tokio::time::Instant,
    ) -> Result<Vec<Event>, StoreError> {
        let mut news = self.store.watch_events();
        loop {
            news.mark_unchanged();
            let found = self.read(after, limit).await?;
            if !found.is_empty() || tokio::time::Instant::now() >= until {
                return Ok(found);
            }
            let look = tokio::time::Instant::now() + LOOK;
            // An error means that the store is gone; the next look will say so.
            let _ = tokio::time::timeout_at(until.min(look), news.changed()).await;
        }
    }

    async fn answer(
        self,
        uri: &Uri,
        headers: &HeaderMap,
        most: usize,
    ) -> Result<Response, ApiError> {
        let mut asked = asked(uri, most)?;
        let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
        if accept.is_some_and(|accept| accept.contains("text/event-stream")) {
            let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
            asked.after = last.and_then(|id| id.parse().ok()).or(asked.after);
            let missing = self.missing;
            let after = self.begin(asked.after).await?;
            let first = self.read(after, asked.limit).await;
            let first = first.map_err(|error| ApiError::store(error, missing))?;
            return Ok(self.sse(after, asked.limit, first));
        }
        let until = tokio::time::Instant::now() + asked.wait;
        let missing = self.missing;
        let after = self.begin(asked.after).await?;
        let found = self.wait(after, asked.limit, until).await;
        let found = found.map_err(|error| ApiError::store(error, missing))?;
        let value = found.iter().map(cloud_event).collect();
        Ok(([(CACHE_CONTROL, "no-store")], Json(Events { value })).into_response())
    }

    /// Never ends by itself, but when the store is down: the client comes back with the last id.
    fn sse(self, after: i64, limit: i64, first: Vec<Event>) -> Response {
        let start = (self, after, first);
        let batches = stream::unfold(start, move |(source, after, ready)| async move {
            let found = if ready.is_empty() {
                let until = tokio::time::Instant::now() + WAIT_MAX;
                source.wait(after, limit, until).await.ok()?
            } else {
                ready
            };
            let after = found.last().map_or(after, |event| source.number(event));
            let tell = |event: &Event| {
                let id = source.number(event).to_string();
                sse::Event::default().id(id).data(cloud_event(event).to_string())
            };
            let told: Vec<_> = found.iter().map(tell).map(Ok::<_, Infallible>).collect();
            Some((stream::iter(told), (source, after, Vec::new())))
        });
        let events = futures_util::StreamExt::flatten(batches);
        Sse::new(events).keep_alive(KeepAlive::default()).into_response()
    }
}

async fn of(
    caller: &Caller,
    stream: Option<String>,
    missing: Code,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let source = Source { store: caller.services.store.clone(), stream, missing, call: None };
    source.answer(uri, headers, caller.services.limits.page).await
}

/// Everything that happened, numbered through in `id`.
#[utoipa::path(
    get, path = "/events", tag = "Events",
    params(
        ("after" = Option<String>, Query, description = "Go on after this number, or `newest`"),
        ("wait" = Option<i64>, Query, description = "Seconds to wait for something, at most 60"),
        ("limit" = Option<i64>, Query, description = "The most that is answered"),
    ),
    responses((status = 200, description = "A page; with `Accept: text/event-stream` a stream (SSE)", body = Events))
)]
pub(crate) async fn all(
    Extension(caller): Extension<Caller>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    of(&caller, None, Code::NotFound, &uri, &headers).await
}

/// What happened to a room. As `/events`, numbered in `sequence`.
#[utoipa::path(
    get, path = "/rooms/{id}/events", tag = "Events",
    params(("id" = String, Path, description = "The room's id")),
    responses((status = 200, description = "A page", body = Events))
)]
pub(crate) async fn of_room(
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    body::name(&id, "id")?;
    of(&caller, Some(format!("rooms/{id}")), Code::RoomNotFound, &uri, &headers).await
}

/// What happened in a call. As `/events`, numbered in `sequence`.
#[utoipa::path(
    get, path = "/calls/{id}/events", tag = "Events",
    params(("id" = String, Path, description = "The call's id")),
    responses((status = 200, description = "A page", body = Events))
)]
pub(crate) async fn of_call(
    Extension(caller): Extension<Caller>,
    State(inner): State<Arc<Inner>>,
    Path(id): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    body::name(&id, "id")?;
    let (store, stream) = (caller.services.store.clone(), Some(format!("calls/{id}")));
    let source = Source { store, stream, missing: Code::CallNotFound, call: Some((inner, id)) };
    source.answer(&uri, &headers, caller.services.limits.page).await
}

/// What happened to an identity. As `/events`, numbered in `sequence`.
#[utoipa::path(
    get, path = "/identities/{id}/events", tag = "Events",
    params(("id" = String, Path, description = "The raw id")),
    responses((status = 200, description = "A page", body = Events))
)]
pub(crate) async fn of_identity(
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    body::name(&id, "id")?;
    of(&caller, Some(format!("identities/{id}")), Code::IdentityNotFound, &uri, &headers).await
}
