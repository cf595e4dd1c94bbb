//! What happened, for whoever asks: by page, by long poll, or as a stream (SSE).
//!
//! Owns: how an event looks (CloudEvents 1.0, JSON) in each format, and waiting for the next.
//! Never: keeps a place for a reader: it says after which number it wants to go on.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, FromRequestParts, OriginalUri, Path, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use convoke_store::{Event, Store, StoreError};
use futures_util::stream;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::auth::Caller;
use super::body;
use super::error::{ApiError, Code};
use super::event_grid::{self, Calls};
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

/// How events are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EventFormat {
    /// With our own types: all events.
    #[default]
    Convoke,
    /// As ACS tells them through Event Grid: calls alone; what ACS has no type for is left out.
    EventGrid,
}

impl EventFormat {
    /// By the name that configuration and queries have for it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "convoke" => Some(Self::Convoke),
            "eventGrid" => Some(Self::EventGrid),
            _ => None,
        }
    }

    /// The name by which it is found.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Convoke => "convoke",
            Self::EventGrid => "eventGrid",
        }
    }

    /// The events that it has, as CloudEvents.
    pub(crate) async fn view<'a>(
        self,
        store: &Store,
        events: &'a [Event],
    ) -> Result<Vec<(&'a Event, Value)>, StoreError> {
        if self == Self::Convoke {
            return Ok(events.iter().map(|event| (event, cloud_event(event))).collect());
        }
        let mut calls = Calls::new(store);
        let mut view = Vec::new();
        for event in events {
            if let Some(told) = event_grid::translate(event, &mut calls).await? {
                view.push((event, told));
            }
        }
        Ok(view)
    }
}

/// Which events: of one stream, or all. Numbers are those of the stream, or of the whole log.
#[derive(Clone)]
struct Source {
    store: Store,
    stream: Option<String>,
    missing: Code,
    /// The call that it is of, by id.
    call: Option<(Arc<Inner>, String)>,
    format: EventFormat,
}

/// An event as it is told, and its number in its source.
type Told = (i64, Value);

/// What the query asks for.
struct Asked {
    /// `None`: after the newest.
    after: Option<i64>,
    limit: i64,
    wait: Duration,
    format: EventFormat,
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
    let mut asked =
        Asked { after: Some(0), limit: most, wait: Duration::ZERO, format: EventFormat::default() };
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
            "format" => {
                let wrong = || {
                    let text = "`format` is \"convoke\" or \"eventGrid\"";
                    ApiError::new(Code::BadRequest, text).target("format")
                };
                asked.format = EventFormat::named(&value).ok_or_else(wrong)?;
            }
            _ => {}
        }
    }
    Ok(asked)
}

impl Source {
    /// What there is after a number, and the number up to which it was looked through. Events that the
    /// format does not have are passed over: nothing is told only when there is nothing left.
    async fn read(&self, after: i64, limit: i64) -> Result<(Vec<Told>, i64), StoreError> {
        let mut after = after;
        loop {
            let found = self.page(after, limit).await?;
            after = found.last().map_or(after, |event| self.number(event));
            let view = self.format.view(&self.store, &found).await?;
            if !view.is_empty() || found.is_empty() {
                let told = view.into_iter().map(|(event, told)| (self.number(event), told));
                return Ok((told.collect(), after));
            }
        }
    }

    async fn page(&self, after: i64, limit: i64) -> Result<Vec<Event>, StoreError> {
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
    ) -> Result<(Vec<Told>, i64), StoreError> {
        let mut news = self.store.watch_events();
        let mut after = after;
        loop {
            news.mark_unchanged();
            let (found, seen) = self.read(after, limit).await?;
            after = seen;
            if !found.is_empty() || tokio::time::Instant::now() >= until {
                return Ok((found, seen));
            }
            let look = tokio::time::Instant::now() + LOOK;
            // An error means that the store is gone; the next look will say so.
            let _ = tokio::time::timeout_at(until.min(look), news.changed()).await;
        }
    }

    async fn answer(
        mut self,
        uri: &Uri,
        headers: &HeaderMap,
        most: usize,
    ) -> Result<Response, ApiError> {
        let mut asked = asked(uri, most)?;
        self.format = asked.format;
        let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
        if accept.is_some_and(|accept| accept.contains("text/event-stream")) {
            let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
            asked.after = last.and_then(|id| id.parse().ok()).or(asked.after);
            let missing = self.missing;
            let after = self.begin(asked.after).await?;
            let first = self.read(after, asked.limit).await;
            let first = first.map_err(|error| ApiError::store(error, missing))?;
            return Ok(self.sse(asked.limit, first));
        }
        let until = tokio::time::Instant::now() + asked.wait;
        let missing = self.missing;
        let after = self.begin(asked.after).await?;
        let found = self.wait(after, asked.limit, until).await;
        let (found, _) = found.map_err(|error| ApiError::store(error, missing))?;
        let value = found.into_iter().map(|(_, told)| told).collect();
        Ok(([(CACHE_CONTROL, "no-store")], Json(Events { value })).into_response())
    }

    /// Never ends by itself, but when the store is down: the client comes back with the last id.
    fn sse(self, limit: i64, first: (Vec<Told>, i64)) -> Response {
        let start = (self, first);
        let batches = stream::unfold(start, move |(source, (ready, after))| async move {
            let (found, after) = if ready.is_empty() {
                let until = tokio::time::Instant::now() + WAIT_MAX;
                source.wait(after, limit, until).await.ok()?
            } else {
                (ready, after)
            };
            let tell = |(number, told): &Told| {
                sse::Event::default().id(number.to_string()).data(told.to_string())
            };
            let told: Vec<_> = found.iter().map(tell).map(Ok::<_, Infallible>).collect();
            Some((stream::iter(told), (source, (Vec::new(), after))))
        });
        let events = futures_util::StreamExt::flatten(batches);
        Sse::new(events).keep_alive(KeepAlive::default()).into_response()
    }
}

/// Who reads, and how.
pub(crate) struct Reader {
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
}

impl FromRequestParts<Arc<Inner>> for Reader {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, inner: &Arc<Inner>) -> Result<Self, Response> {
        let caller = Extension::from_request_parts(parts, inner).await;
        let Extension(caller) = caller.map_err(IntoResponse::into_response)?;
        let Ok(OriginalUri(uri)) = OriginalUri::from_request_parts(parts, inner).await;
        Ok(Self { caller, uri, headers: parts.headers.clone() })
    }
}

impl Reader {
    /// One stream by its name, or all.
    async fn of(
        self,
        stream: Option<String>,
        missing: Code,
        call: Option<(Arc<Inner>, String)>,
    ) -> Result<Response, ApiError> {
        let (store, format) = (self.caller.services.store.clone(), EventFormat::default());
        let source = Source { store, stream, missing, call, format };
        source.answer(&self.uri, &self.headers, self.caller.services.limits.page).await
    }
}

/// Everything that happened, numbered through in `id`.
#[utoipa::path(
    get, path = "/events", tag = "Events",
    params(
        ("after" = Option<String>, Query, description = "Go on after this number, or `newest`"),
        ("wait" = Option<i64>, Query, description = "Seconds to wait for something, at most 60"),
        ("limit" = Option<i64>, Query, description = "The most that is answered"),
        ("format" = Option<String>, Query, description = "`convoke`, or `eventGrid` for ACS's types"),
    ),
    responses((status = 200, description = "A page; with `Accept: text/event-stream` a stream (SSE)", body = Events))
)]
pub(crate) async fn all(reader: Reader) -> Result<Response, ApiError> {
    reader.of(None, Code::NotFound, None).await
}

/// What happened to a room. As `/events`, numbered in `sequence`.
#[utoipa::path(
    get, path = "/rooms/{id}/events", tag = "Events",
    params(("id" = String, Path, description = "The room's id")),
    responses((status = 200, description = "A page", body = Events))
)]
pub(crate) async fn of_room(Path(id): Path<String>, reader: Reader) -> Result<Response, ApiError> {
    body::name(&id, "id")?;
    reader.of(Some(format!("rooms/{id}")), Code::RoomNotFound, None).await
}

/// What happened in a call. As `/events`, numbered in `sequence`.
#[utoipa::path(
    get, path = "/calls/{id}/events", tag = "Events",
    params(("id" = String, Path, description = "The call's id")),
    responses((status = 200, description = "A page", body = Events))
)]
pub(crate) async fn of_call(
    State(inner): State<Arc<Inner>>,
    Path(id): Path<String>,
    reader: Reader,
) -> Result<Response, ApiError> {
    body::name(&id, "id")?;
    reader.of(Some(format!("calls/{id}")), Code::CallNotFound, Some((inner, id))).await
}

/// What happened to an identity. As `/events`, numbered in `sequence`.
#[utoipa::path(
    get, path = "/identities/{id}/events", tag = "Events",
    params(("id" = String, Path, description = "The raw id")),
    responses((status = 200, description = "A page", body = Events))
)]
pub(crate) async fn of_identity(
    Path(id): Path<String>,
    reader: Reader,
) -> Result<Response, ApiError> {
    body::name(&id, "id")?;
    reader.of(Some(format!("identities/{id}")), Code::IdentityNotFound, None).await
}
