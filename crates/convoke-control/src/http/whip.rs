//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep) over HTTP.
//!
//! Owns: their URLs, methods, headers and status codes.
//! Never: decides who may come in; `whip.rs` asks the same code as agents do.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{OriginalUri, Path, Request, State};
use axum::http::header::{
    ACCEPT, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_MATCH, LINK, LOCATION,
    USER_AGENT, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use convoke_node::core::LeaveReason;
use convoke_protocol::http::{OfferError, Way, read_fragment, read_offer};
use convoke_protocol::{EndReason, ErrorCode, IceServer, Join, Source, TrackDeclaration};

use super::problem::Problem;
use super::{cors, guard, layer_events, layers};
use crate::agent::{AgentPlace, Via};
use crate::control::Inner;
use crate::refusal::Refusal;
use crate::token::{AccessToken, MAX_NAME, TokenError, check_name};
use crate::whip::{Created, HttpSession, NotCreated, PinText, Wish};

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// What the URLs of events and of layer selection are to their session.
const SSE: &str = "urn:ietf:params:whep:ext:core:server-sent-events";
const LAYERS: &str = "urn:ietf:params:whep:ext:core:layer";
/// The largest ICE fragment, in bytes.
const MAX_FRAGMENT: usize = 16 * 1024;
/// What an endpoint takes, and what a session takes.
const ENDPOINT_METHODS: &str = "GET, HEAD, OPTIONS, POST";
const SESSION_METHODS: &str = "DELETE, GET, HEAD, OPTIONS, PATCH";

pub(super) const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// The names by which a publisher's tracks are known in its call.
const AUDIO: &str = "audio";
const VIDEO: &str = "video";

pub(super) fn routes(inner: &Arc<Inner>) -> Router<Arc<Inner>> {
    Router::new()
        .route("/whip/{group}", any(publish))
        .route("/whip/rooms/{room}", any(publish_in_room))
        .route("/whip/sessions/{id}", any(published))
        .route("/whep/{group}", any(watch))
        .route("/whep/rooms/{room}", any(watch_room))
        .route("/whep/sessions/{id}", any(watched))
        .route("/whep/sessions/{id}/layer", any(layers::layer))
        .route("/whep/sessions/{id}/sse", any(layer_events::events))
        .route_layer(from_fn_with_state(Arc::clone(inner), guard::guard))
        .route_layer(from_fn_with_state(Arc::clone(inner), cors::share))
}

type Shared = State<Arc<Inner>>;

async fn publish(State(inner): Shared, Path(group): Path<String>, request: Request) -> Response {
    endpoint(&inner, Via::Whip, group, None, request).await
}

async fn publish_in_room(
    State(inner): Shared,
    Path(room): Path<String>,
    request: Request,
) -> Response {
    endpoint(&inner, Via::Whip, String::new(), Some(room), request).await
}

async fn watch(State(inner): Shared, Path(group): Path<String>, request: Request) -> Response {
    endpoint(&inner, Via::Whep, group, None, request).await
}

async fn watch_room(State(inner): Shared, Path(room): Path<String>, request: Request) -> Response {
    endpoint(&inner, Via::Whep, String::new(), Some(room), request).await
}

async fn published(State(inner): Shared, Path(id): Path<String>, request: Request) -> Response {
    session(&inner, Via::Whip, &id, request).await
}

async fn watched(State(inner): Shared, Path(id): Path<String>, request: Request) -> Response {
    session(&inner, Via::Whep, &id, request).await
}

/// The resource that sessions are made at.
async fn endpoint(
    inner: &Arc<Inner>,
    via: Via,
    group_id: String,
    room_id: Option<String>,
    request: Request,
) -> Response {
    match *request.method() {
        Method::POST => {
            let made = create(inner, via, group_id, room_id, request).await;
            made.unwrap_or_else(|problem| problem.into_response())
        }
        Method::OPTIONS => {
            let headers = [(ALLOW, ENDPOINT_METHODS), (ACCEPT_POST, SDP)];
            (StatusCode::OK, headers).into_response()
        }
        // There is nothing to see (RFC 9725 §4.1).
        Method::GET | Method::HEAD => StatusCode::NO_CONTENT.into_response(),
        _ => wrong_method(ENDPOINT_METHODS),
    }
}

/// One session.
async fn session(inner: &Arc<Inner>, via: Via, id: &str, request: Request) -> Response {
    let done = match *request.method() {
        Method::PATCH => patch(inner, via, id, request).await,
        Method::DELETE => delete(inner, via, id, request.headers()).await,
        Method::OPTIONS => {
            let headers = [(ALLOW, SESSION_METHODS), (ACCEPT_PATCH, FRAGMENT)];
            Ok((StatusCode::OK, headers).into_response())
        }
        Method::GET | Method::HEAD => Ok(StatusCode::NO_CONTENT.into_response()),
        _ => Ok(wrong_method(SESSION_METHODS)),
    };
    done.unwrap_or_else(|problem| problem.into_response())
}

pub(super) fn wrong_method(allowed: &'static str) -> Response {
    let text = format!("this resource takes {allowed}");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "methodNotAllowed", text)
        .header(ALLOW, allowed)
        .into_response()
}

async fn create(
    inner: &Arc<Inner>,
    via: Via,
    group_id: String,
    room_id: Option<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let token = authenticate(inner, &parts.headers).await?;
    check_type(&parts.headers, SDP, ACCEPT_POST)?;
    check_accept(&parts.headers)?;
    let query = Query::read(parts.uri.query().unwrap_or_default(), via)?;
    let address = inner.place_of(guard::peer(&parts.extensions), &parts.headers)?;
    let Some(place) = inner.places.take((), inner.config().limits.agents) else {
        let text = "as many clients are connected as may be; try again later";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "tooManyAgents", text)
            .retry_after(inner.config().times.retry_after));
    };
    let body = read_body(inner, body, inner.config().limits.sdp_bytes).await?;
    let way = if via == Via::Whep { Way::Watch } else { Way::Publish };
    let offer = read_offer(&body, way).map_err(|error| {
        let status = match error {
            OfferError::Malformed(_) => StatusCode::BAD_REQUEST,
            OfferError::Unsuitable(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Problem::new(status, ErrorCode::SdpInvalid.as_str(), error.to_string())
    })?;
    let display_name = query.name_for(&token);
    let tracks = if via == Via::Whip { query.tracks(&offer) } else { Vec::new() };
    let (send, receive, lobby) = (None, None, None);
    let join = Join { request_id: None, group_id, room_id, send, receive, tracks, lobby };
    let app = user_agent(&parts.headers);
    let wish = Wish { via, token, display_name, app, offer, join, pin: query.pin };
    let created = inner.create_http_session(wish, AgentPlace { place, address }).await;
    inner.counters.http_join(via, outcome(&created));
    let created = created.map_err(|reason| not_created(inner, reason))?;
    let original = parts.extensions.get::<OriginalUri>().map(|original| original.0.path());
    Ok(answer(inner, via, created, base(original.unwrap_or_default(), parts.uri.path())))
}

/// What the client says that it is.
fn user_agent(headers: &HeaderMap) -> Arc<str> {
    let app = headers.get(USER_AGENT).and_then(|app| app.to_str().ok()).unwrap_or_default();
    app.get(..app.floor_char_boundary(MAX_NAME)).unwrap_or_default().into()
}

/// Where this router is nested.
fn base<'a>(original: &'a str, path: &str) -> &'a str {
    original.strip_suffix(path).unwrap_or_default()
}

fn name_of(via: Via) -> &'static str {
    if via == Via::Whep { "whep" } else { "whip" }
}

fn answer(inner: &Inner, via: Via, created: Created, base: &str) -> Response {
    let Created { id, answer, etag, identity } = created;
    let location = format!("{base}/{}/sessions/{id}", name_of(via));
    let mut response = (StatusCode::CREATED, answer).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(SDP));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT));
    let servers = ice_servers(inner, &identity);
    let layers = format!("<{location}/layer>; rel=\"{LAYERS}\"");
    let events = format!("<{location}/sse>; rel=\"{SSE}\"; events=\"{}\"", layer_events::EVENTS);
    let extensions = [layers, events].into_iter().filter(|_| via == Via::Whep);
    let links = servers.iter().flat_map(link_values).chain(extensions).map(|link| (LINK, link));
    for (name, value) in links.chain([(LOCATION, location), (ETAG, etag)]) {
        match HeaderValue::try_from(value) {
            Ok(value) => drop(headers.append(name, value)),
            Err(_) => tracing::error!(%name, "a header could not be written"),
        }
    }
    response
}

/// The ICE servers that a client should use, with credentials of its own.
fn ice_servers(inner: &Inner, identity: &str) -> Vec<IceServer> {
    let config = inner.config();
    let turn = config.turn.iter().map(|turn| turn.server(identity, SystemTime::now()));
    config.ice_servers.iter().cloned().chain(turn).collect()
}

/// The links of one server, one for each URL (RFC 9725 §4.6).
fn link_values(server: &IceServer) -> Vec<String> {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let link = |url: &String| {
        let mut link = format!("<{url}>; rel=\"ice-server\"");
        if let (Some(username), Some(credential)) = (&server.username, &server.credential) {
            link.push_str(&format!(
                "; username=\"{}\"; credential=\"{}\"; credential-type=\"password\"",
                quoted(username),
                quoted(credential)
            ));
        }
        link
    };
    server.urls.iter().map(link).collect()
}

async fn delete(
    inner: &Arc<Inner>,
    via: Via,
    id: &str,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let (http, _) = own(inner, via, id, headers).await?;
    inner.remove(&http.session, LeaveReason::Left).await;
    Ok(StatusCode::OK.into_response())
}

async fn patch(
    inner: &Arc<Inner>,
    via: Via,
    id: &str,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let (http, token) = own(inner, via, id, &parts.headers).await?;
    check_type(&parts.headers, FRAGMENT, ACCEPT_PATCH)?;
    let Some(condition) = parts.headers.get(IF_MATCH) else {
        let text = "send If-Match with the session's ETag, or `*` to restart ICE";
        return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, "ifMatchMissing", text));
    };
    let condition = condition.to_str().unwrap_or_default();
    let body = read_body(inner, body, MAX_FRAGMENT).await?;
    let fragment = read_fragment(&body).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, "fragmentInvalid", error.to_string())
    })?;
    let mut ice = http.ice.lock().await;
    // RFC 9725's own examples quote the star.
    let any = matches!(condition.trim(), "*" | "\"*\"");
    if !any && !condition.split(',').any(|one| one.trim() == ice.etag) {
        let text = "If-Match is not the session's present ETag: ICE was restarted since";
        return Err(Problem::new(StatusCode::PRECONDITION_FAILED, "etagStale", text));
    }
    let unknown = |mid: &&String| {
        let known = [&ice.offer.audio, &ice.offer.video];
        !known.into_iter().flatten().any(|known| known == *mid)
    };
    if let Some(mid) = fragment.mids.iter().find(unknown) {
        let text = format!("the offer had no m-line with a=mid:{mid}");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "midUnknown", text));
    }
    http.renew(&token);
    let now = (ice.offer.ufrag.as_str(), ice.offer.pwd.as_str());
    let new = fragment.credentials.filter(|(ufrag, pwd)| (ufrag.as_str(), pwd.as_str()) != now);
    let Some(credentials) = new else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let answer = inner.restart_ice(&http, &mut ice, &credentials).await.map_err(refused)?;
    let etag = HeaderValue::try_from(&ice.etag).map_err(|_| internal())?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(FRAGMENT)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (ETAG, etag),
    ];
    Ok((headers, answer).into_response())
}

/// The session of a URL, if whoever asks is whoever made it.
pub(super) async fn own(
    inner: &Arc<Inner>,
    via: Via,
    id: &str,
    headers: &HeaderMap,
) -> Result<(Arc<HttpSession>, AccessToken), Problem> {
    let token = authenticate(inner, headers).await?;
    let Some(http) = inner.http_sessions.get(via, id) else {
        let text = "there is no such session (any more)";
        return Err(Problem::new(StatusCode::NOT_FOUND, "sessionNotFound", text));
    };
    if http.is_of(&token) {
        return Ok((http, token));
    }
    let text = "the token is of another identity than the session";
    Err(Problem::new(StatusCode::FORBIDDEN, ErrorCode::NotAllowed.as_str(), text))
}

/// Who asks (RFC 6750 §2.1).
async fn authenticate(inner: &Inner, headers: &HeaderMap) -> Result<AccessToken, Problem> {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = value.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let found = match bearer {
        None | Some("") => Err(TokenError::Missing),
        Some(token) => inner.verify(token, SystemTime::now()).await,
    };
    let token = found.map_err(|error| refused(error.into()))?;
    if inner.is_revoked(&token) {
        return Err(refused(TokenError::Revoked.into()));
    }
    Ok(token)
}

pub(super) fn check_type(
    headers: &HeaderMap,
    wanted: &'static str,
    accepts: HeaderName,
) -> Result<(), Problem> {
    let given = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim();
    if given.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    let text = format!("the content type must be {wanted}");
    let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "contentType", text);
    Err(problem.header(accepts, wanted))
}

/// Whether the answer's type is one that the client takes (RFC 9110 §12.5.1).
fn check_accept(headers: &HeaderMap) -> Result<(), Problem> {
    let mut given = headers.get_all(ACCEPT).iter().peekable();
    if given.peek().is_none() {
        return Ok(());
    }
    let takes = |range: &str| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let never =
            parts.any(|part| part.strip_prefix("q=").and_then(|q| q.parse().ok()) == Some(0.0));
        matches!(&*kind, "*/*" | "application/*" | SDP) && !never
    };
    let mut ranges = given.filter_map(|value| value.to_str().ok()).flat_map(|one| one.split(','));
    if ranges.any(takes) {
        return Ok(());
    }
    let text = format!("the answer is {SDP}, which the Accept header excludes");
    Err(Problem::new(StatusCode::NOT_ACCEPTABLE, "notAcceptable", text))
}

/// A body. It must come soon, for a place is kept for its sender.
pub(super) async fn read_body(inner: &Inner, body: Body, most: usize) -> Result<String, Problem> {
    let bytes = tokio::time::timeout(inner.config().times.hello, to_bytes(body, most)).await;
    let bytes = bytes.map_err(|_| {
        Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "requestTooSlow",
            "the body took too long to come",
        )
    })?;
    let bytes = bytes.map_err(|_| {
        let text = format!("the body could not be read, or has more than {most} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "requestTooLarge", text)
    })?;
    String::from_utf8(bytes.into()).map_err(|_| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::SdpInvalid.as_str(),
            "the body is no UTF-8",
        )
    })
}

/// What is asked for beside the offer.
#[derive(Debug, Default)]
struct Query {
    display_name: Option<String>,
    screen: bool,
    pin: Option<PinText>,
}

impl Query {
    fn read(text: &str, via: Via) -> Result<Self, Problem> {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            match &*name {
                "displayName" => {
                    check_name(&value)
                        .map_err(|reason| invalid(format!("displayName {reason}")))?;
                    query.display_name = Some(value.into_owned()).filter(|name| !name.is_empty());
                }
                "source" if via == Via::Whip => match &*value {
                    "camera" => query.screen = false,
                    "screen" => query.screen = true,
                    _ => return Err(invalid("source is `camera` or `screen`")),
                },
                "participant" | "track" if via == Via::Whep => {
                    if query.pin.is_some() {
                        return Err(invalid("give one of participant and track, once"));
                    }
                    check_name(&value).map_err(|reason| invalid(format!("{name} {reason}")))?;
                    let value = value.into_owned();
                    let track = name == "track";
                    query.pin = Some(if track {
                        PinText::Track(value)
                    } else {
                        PinText::Participant(value)
                    });
                }
                // Players add parameters of their own.
                _ => {}
            }
        }
        Ok(query)
    }

    /// The token's name, else the one asked for, else the identity.
    fn name_for(&self, token: &AccessToken) -> Arc<str> {
        let name = token.display_name.as_ref().or(self.display_name.as_ref());
        name.unwrap_or(&token.identity).as_str().into()
    }

    fn tracks(&self, offer: &convoke_protocol::http::HttpOffer) -> Vec<TrackDeclaration> {
        let (audio, video) = if self.screen {
            (Source::ScreenAudio, Source::Screen)
        } else {
            (Source::Microphone, Source::Camera)
        };
        let track = |mid: &Option<String>, client_id: &str, source| {
            mid.as_ref().map(|mid| TrackDeclaration {
                client_id: client_id.to_owned(),
                source,
                mid: mid.clone(),
                muted: false,
                encodings: Vec::new(),
                encrypted: false,
            })
        };
        let all = [track(&offer.audio, AUDIO, audio), track(&offer.video, VIDEO, video)];
        all.into_iter().flatten().collect()
    }
}

pub(super) fn invalid(text: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "requestInvalid", text)
}

fn internal() -> Problem {
    refused(crate::requests::unexpected())
}

/// The outcome as it is counted.
fn outcome(created: &Result<Created, NotCreated>) -> Result<(), ErrorCode> {
    match created {
        Ok(_) => Ok(()),
        Err(NotCreated::Refused(refusal)) => Err(refusal.code),
        Err(NotCreated::Waiting | NotCreated::Ended(_)) => Err(ErrorCode::NotAllowed),
    }
}

fn not_created(inner: &Inner, reason: NotCreated) -> Problem {
    let again = inner.config().times.retry_after;
    match reason {
        NotCreated::Refused(refusal) => refused(refusal),
        NotCreated::Waiting => {
            let text = "nobody has let this participant in from the lobby yet; try again";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "lobbyWaiting", text).retry_after(again)
        }
        NotCreated::Ended(reason) if reason == EndReason::rejected_in_lobby() => {
            Problem::new(StatusCode::FORBIDDEN, "lobbyRejected", reason.message)
        }
        NotCreated::Ended(reason) if reason == EndReason::lobby_timed_out() => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "lobbyWaiting", reason.message)
                .retry_after(again)
        }
        NotCreated::Ended(reason) if reason == EndReason::setup_failed() => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "sdpInvalid", reason.message)
        }
        NotCreated::Ended(reason) if reason == EndReason::token_revoked() => {
            refused(TokenError::Revoked.into())
        }
        NotCreated::Ended(reason) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "callEnded", reason.message)
                .retry_after(again)
        }
    }
}

/// A refusal of the kind that agents are told, in the words of HTTP.
pub(super) fn refused(refusal: Refusal) -> Problem {
    use ErrorCode as E;
    let wait = refusal.wait();
    let status = match refusal.code {
        // Only a missing issuer's keys make these temporary.
        E::TokenInvalid if wait.is_some() => StatusCode::SERVICE_UNAVAILABLE,
        E::NotAuthenticated
        | E::TokenMissing
        | E::TokenInvalid
        | E::TokenExpired
        | E::TokenNotYetValid
        | E::TokenRevoked => StatusCode::UNAUTHORIZED,
        E::TokenWrongCall
        | E::ScopeMissing
        | E::RoomNotInvited
        | E::RoomNotOpen
        | E::RoomExpired
        | E::NotAllowed
        | E::RemovedFromCall => StatusCode::FORBIDDEN,
        E::GroupIdInvalid | E::SdpInvalid | E::MalformedMessage => StatusCode::BAD_REQUEST,
        E::CallNotFound
        | E::RoomNotFound
        | E::NotInCall
        | E::ParticipantNotFound
        | E::TrackNotFound => StatusCode::NOT_FOUND,
        E::SdpWithoutAudio | E::TrackInvalid | E::ViewInvalid => StatusCode::UNPROCESSABLE_ENTITY,
        E::LimitExceeded | E::Busy | E::Draining => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut problem = Problem::refused(status, refusal.code, refusal.message());
    if status == StatusCode::UNAUTHORIZED {
        let challenge = match refusal.code {
            // Who shows nothing is told no error (RFC 6750 §3.1).
            E::TokenMissing => "Bearer realm=\"convoke\"",
            _ => "Bearer realm=\"convoke\", error=\"invalid_token\"",
        };
        problem = problem.header(WWW_AUTHENTICATE, challenge);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        problem = problem.retry_after(wait.unwrap_or_default());
    }
    problem
}
