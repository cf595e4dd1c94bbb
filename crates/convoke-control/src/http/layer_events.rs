//! What a watcher can be told as it happens (draft-ietf-wish-whep, "Server Sent Events").
//!
//! Owns: the URL, and the events `active`, `inactive` and `layers`.
//! Never: keeps a session alive, or more than one stream for each: it is asked for anew.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{OriginalUri, Path, Request, State};
use axum::http::header::{ACCEPT, ALLOW, CACHE_CONTROL, LOCATION};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use super::layers::{JSON, layers};
use super::problem::Problem;
use super::whip::{ACCEPT_POST, check_type, invalid, own, read_body, wrong_method};
use crate::agent::Via;
use crate::control::Inner;
use crate::whip::HttpSession;

/// The events there are, as they are announced.
pub(super) const EVENTS: &str = "active,inactive,layers";
const METHODS: &str = "GET, OPTIONS, POST";
/// How often it is looked after what has changed.
const EVERY: Duration = Duration::from_secs(1);
/// The largest list of events, in bytes.
const MAX_LIST: usize = 1024;

pub(super) async fn events(
    State(inner): State<Arc<Inner>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let done = match *request.method() {
        Method::POST => subscribe(&inner, &id, request).await,
        Method::GET => follow(&inner, &id, request).await,
        Method::OPTIONS => {
            Ok((StatusCode::OK, [(ALLOW, METHODS), (ACCEPT_POST, JSON)]).into_response())
        }
        _ => Ok(wrong_method(METHODS)),
    };
    done.unwrap_or_else(|problem| problem.into_response())
}

/// Which events are wanted, of those there are: all where nothing is said.
fn read_list(text: &str) -> Result<String, Problem> {
    if text.trim().is_empty() {
        return Ok(EVENTS.to_owned());
    }
    let list: Vec<String> =
        serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
    // Those of later versions are left out.
    let known = EVENTS.split(',').filter(|one| list.iter().any(|wanted| wanted == one));
    Ok(known.collect::<Vec<_>>().join(","))
}

/// Answers with the URL of a stream of the events that are wanted.
async fn subscribe(inner: &Arc<Inner>, id: &str, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    own(inner, Via::Whep, id, &parts.headers).await?;
    let body = read_body(inner, body, MAX_LIST).await?;
    if !body.is_empty() {
        check_type(&parts.headers, JSON, ACCEPT_POST)?;
    }
    let list = read_list(&body)?;
    let original = parts.extensions.get::<OriginalUri>().map(|original| original.0.path());
    let location = format!("{}?events={list}", original.unwrap_or(parts.uri.path()));
    let location = HeaderValue::try_from(location).map_err(|_| invalid("the URL is no URL"))?;
    Ok((StatusCode::CREATED, [(LOCATION, location)]).into_response())
}

/// What the query asks for.
fn wanted(uri: &Uri) -> String {
    let mut query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    query.find(|(name, _)| name == "events").map_or(EVENTS.to_owned(), |(_, value)| value.into())
}

async fn follow(inner: &Arc<Inner>, id: &str, request: Request) -> Result<Response, Problem> {
    let wanted = wanted(request.uri());
    let headers = request.headers().clone();
    drop(request);
    let (http, _) = own(inner, Via::Whep, id, &headers).await?;
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*");
    if !["text/event-stream", "text/*", "*/*"].iter().any(|kind| accept.contains(kind)) {
        let text = "this is a stream: accept text/event-stream";
        return Err(Problem::new(StatusCode::NOT_ACCEPTABLE, "notAcceptable", text));
    }
    let Ok(place) = Arc::clone(&http.stream).try_acquire_owned() else {
        let text = "this session has a stream of events already";
        return Err(Problem::new(StatusCode::CONFLICT, "streamOpen", text).retry_after(EVERY));
    };
    let told = Told { inner: Arc::clone(inner), http, wanted, last: Vec::new(), _place: place };
    let batches = stream::unfold((told, Duration::ZERO), |(mut told, mut wait)| async move {
        loop {
            tokio::time::sleep(wait).await;
            wait = EVERY;
            if told.http.session.is_ended() {
                return None;
            }
            let news = told.news().await;
            if !news.is_empty() {
                let news = news.into_iter().map(Ok::<_, Infallible>).collect::<Vec<_>>();
                return Some((stream::iter(news), (told, wait)));
            }
        }
    });
    let events = futures_util::StreamExt::flatten(batches);
    let stream = Sse::new(events).keep_alive(KeepAlive::default());
    Ok(([(CACHE_CONTROL, "no-store")], stream).into_response())
}

/// A stream, and what was told last under each name.
struct Told {
    inner: Arc<Inner>,
    http: Arc<HttpSession>,
    wanted: String,
    last: Vec<(&'static str, String)>,
    _place: OwnedSemaphorePermit,
}

impl Told {
    /// What is not as it was last told.
    async fn news(&mut self) -> Vec<Event> {
        let Ok(all) = self.inner.renditions(&self.http).await else { return Vec::new() };
        let flows = all.iter().any(|one| one.bitrate_bps > 0);
        let presence = if flows { "active" } else { "inactive" };
        let layers = layers(&self.http, &all).await;
        // Bitrates change all the time: told with what else has changed.
        let shape: Vec<_> =
            all.iter().map(|one| (&one.rid, one.size, one.bitrate_bps > 0)).collect();
        let states = [
            ("presence", presence, presence.to_owned(), json!({})),
            ("layers", "layers", format!("{shape:?}"), layers),
        ];
        let mut news = Vec::new();
        for (key, name, state, data) in states {
            let known = self.last.iter_mut().find(|(known, _)| *known == key);
            match known {
                Some((_, before)) if *before == state => continue,
                Some((_, before)) => *before = state,
                None => self.last.push((key, state)),
            }
            if self.wanted.split(',').any(|wanted| wanted == name) {
                news.push(Event::default().event(name).data(data.to_string()));
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_cut_down_to_what_there_is() {
        assert_eq!(read_list("").unwrap(), EVENTS);
        assert_eq!(read_list("[\"scte35\",\"layers\",\"active\"]").unwrap(), "active,layers");
        assert_eq!(read_list("[]").unwrap(), "");
        assert!(read_list("{}").is_err());
    }
}
