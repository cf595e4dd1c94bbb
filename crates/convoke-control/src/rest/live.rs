//! `/calls/live` and below `/calls/{id}`: what runs now, and what operators do about it.
//!
//! Owns: how running calls and those in them look by HTTP, and ending, muting and removing with its
//! audit entry, which is written before anything is done.
//! Never: knows of calls that are over; `records` does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, OriginalUri, Path, State};
use axum::http::StatusCode;
use convoke_node::HandleError;
use convoke_node::core::{Action, Reply};
use convoke_protocol::{EndReason, Explanation, Participant, Role, Source};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::Caller;
use super::body::{self, Read};
use super::error::{ApiError, Code};
use super::paging::Page;
use super::time::{format, to_ms};
use crate::calls::Call;
use crate::control::Inner;
use crate::convert;
use crate::moderation::Full;
use crate::session::{Presence, Session};

/// A call that runs.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LiveCall {
    id: String,
    /// What it is joined by: `groups/GUID` or `rooms/ID`.
    locator: String,
    /// How many are in it.
    participants: usize,
    /// How many wait in its lobby.
    waiting: usize,
}

/// A page of calls that run.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LiveCalls {
    value: Vec<LiveCall>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_link: Option<String>,
}

/// How somebody is in a call.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ParticipantState {
    /// Waits in the lobby.
    InLobby,
    /// Is on its way in.
    Joining,
    Connected,
    /// Lost its WebSocket, which may come back within the grace time.
    Unreachable,
    /// Is on its way out.
    Leaving,
}

/// Something that a participant publishes.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LiveTrack {
    track_id: String,
    /// `microphone`, `camera`, `screen` or `screenAudio`.
    #[schema(value_type = String)]
    source: Source,
    muted: bool,
}

/// Somebody in a call, or in its lobby.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LiveParticipant {
    participant_id: String,
    identity: String,
    display_name: String,
    /// `Presenter`, `Attendee`, `Consumer` or `Collaborator`; absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    role: Option<Role>,
    state: ParticipantState,
    /// When it came into the call; of those who wait, into the lobby.
    #[schema(format = DateTime)]
    joined_at: String,
    /// Whether its microphone is muted, or it has none.
    muted: bool,
    tracks: Vec<LiveTrack>,
    /// What it sends and receives, layer by layer, and why: the `explanation` of `PROTOCOL.md`. Only
    /// where one participant is asked for, and only of those who are in the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    explanation: Option<Explanation>,
}

/// A page of those in a call and in its lobby.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LiveParticipants {
    value: Vec<LiveParticipant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_link: Option<String>,
}

/// Whom it is about.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct Whom {
    /// The identity, on all its devices.
    identity: String,
}

/// Whom it is about, if not everyone.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct PerhapsWhom {
    /// The identity, on all its devices; absent or null: everyone.
    identity: Option<String>,
}

/// What was muted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Muted {
    /// How many microphones were not muted before.
    muted: usize,
}

impl From<Presence> for ParticipantState {
    fn from(presence: Presence) -> Self {
        match presence {
            Presence::Waiting => Self::InLobby,
            Presence::Joining => Self::Joining,
            Presence::Connected => Self::Connected,
            Presence::Unreachable => Self::Unreachable,
            Presence::Leaving => Self::Leaving,
        }
    }
}

/// The call, if it runs.
pub(super) fn find(inner: &Inner, id: &str) -> Result<Arc<Call>, ApiError> {
    body::name(id, "id")?;
    let found = inner.calls.by_wire_id(id);
    found.ok_or_else(|| ApiError::new(Code::CallNotRunning, "no such call runs now"))
}

fn absent() -> ApiError {
    ApiError::new(Code::ParticipantNotFound, "nobody of this id or identity is in the call now")
}

fn busy() -> ApiError {
    let text = "the call's media worker is too busy; it may be done in part; try again";
    ApiError::new(Code::ServerBusy, text).retry_after(Duration::from_secs(1))
}

fn full(Full(what): Full) -> ApiError {
    let text = format!("there are too many {what} in this call");
    ApiError::new(Code::LimitExceeded, text).retry_after(Duration::from_secs(60))
}

/// What everyone in the call publishes, by participant. Of those alone whom the core knows.
async fn published(inner: &Inner, call: &Call) -> Result<HashMap<String, Participant>, ApiError> {
    let sessions = call.sessions();
    let Some(session) = sessions.iter().find(|session| session.is_live()) else {
        return Ok(HashMap::new());
    };
    let participant = session.participant();
    let snapshot = match inner.command(session.room(), Action::Snapshot { participant }).await {
        Ok(Reply::Snapshot(snapshot)) => snapshot,
        // It has left just now.
        Ok(_) | Err(HandleError::Refused(_)) => return Ok(HashMap::new()),
        Err(_) => return Err(busy()),
    };
    let all = convert::participants(&snapshot.participants);
    Ok(all.into_iter().map(|one| (one.participant_id.clone(), one)).collect())
}

async fn explained(inner: &Inner, session: &Session) -> Result<Option<Explanation>, ApiError> {
    let participant = session.participant();
    match inner.command(session.room(), Action::Explain { participant }).await {
        Ok(Reply::Explained(explanation)) => Ok(Some(convert::quality::explanation(&explanation))),
        Ok(_) | Err(HandleError::Refused(_)) => Ok(None),
        Err(_) => Err(busy()),
    }
}

/// `None` when it is over.
fn shown(session: &Session, published: &HashMap<String, Participant>) -> Option<LiveParticipant> {
    let (presence, since) = session.presence()?;
    let tracks = published.get(session.wire_id()).map(|one| &one.tracks[..]).unwrap_or_default();
    let tracks: Vec<LiveTrack> = tracks
        .iter()
        .map(|track| LiveTrack {
            track_id: track.track_id.clone(),
            source: track.source,
            muted: track.muted,
        })
        .collect();
    let sounds = |track: &LiveTrack| track.source == Source::Microphone && !track.muted;
    Some(LiveParticipant {
        participant_id: session.wire_id().to_owned(),
        identity: session.identity().to_string(),
        display_name: session.bearer().display_name.to_string(),
        role: session.role(),
        state: presence.into(),
        joined_at: format(to_ms(since)),
        muted: !tracks.iter().any(sounds),
        tracks,
        explanation: None,
    })
}

/// Lists the calls that run, by id.
#[utoipa::path(
    get, path = "/calls/live", tag = "Live calls",
    params(
        ("limit" = Option<i64>, Query, description = "The most that is answered"),
        ("continuation" = Option<String>, Query, description = "From `nextLink`"),
    ),
    responses((status = 200, description = "A page", body = LiveCalls))
)]
pub(crate) async fn list(
    Extension(caller): Extension<Caller>,
    State(inner): State<Arc<Inner>>,
    OriginalUri(uri): OriginalUri,
) -> Result<Json<LiveCalls>, ApiError> {
    let page = Page::read(&uri, caller.services.limits.page)?;
    let mut calls = inner.calls.all();
    calls.retain(|call| call.wire_id() > page.after.as_str());
    calls.sort_by(|a, b| a.wire_id().cmp(b.wire_id()));
    let next_link = page.cut(&mut calls, |call| call.wire_id().to_owned());
    let value = calls
        .iter()
        .map(|call| LiveCall {
            id: call.wire_id().to_owned(),
            locator: call.locator().to_string(),
            participants: call.sessions().len(),
            waiting: call.waiting().len(),
        })
        .collect();
    Ok(Json(LiveCalls { value, next_link }))
}

/// Lists who is in a call that runs, and who waits in its lobby, by participant id.
#[utoipa::path(
    get, path = "/calls/{id}/participants", tag = "Live calls",
    params(
        ("id" = String, Path, description = "The call's id"),
        ("limit" = Option<i64>, Query, description = "The most that is answered"),
        ("continuation" = Option<String>, Query, description = "From `nextLink`"),
    ),
    responses((status = 200, description = "A page", body = LiveParticipants))
)]
pub(crate) async fn participants(
    Extension(caller): Extension<Caller>,
    State(inner): State<Arc<Inner>>,
    Path(id): Path<String>,
    OriginalUri(uri): OriginalUri,
) -> Result<Json<LiveParticipants>, ApiError> {
    let page = Page::read(&uri, caller.services.limits.page)?;
    let call = find(&inner, &id)?;
    let published = published(&inner, &call).await?;
    let mut sessions = call.everyone();
    sessions.retain(|session| session.wire_id() > page.after.as_str());
    sessions.sort_by(|a, b| a.wire_id().cmp(b.wire_id()));
    let next_link = page.cut(&mut sessions, |session| session.wire_id().to_owned());
    let value = sessions.iter().filter_map(|session| shown(session, &published)).collect();
    Ok(Json(LiveParticipants { value, next_link }))
}

/// One participant, what it sends and receives, and why.
#[utoipa::path(
    get, path = "/calls/{id}/participants/{participant}", tag = "Live calls",
    params(
        ("id" = String, Path, description = "The call's id"),
        ("participant" = String, Path, description = "The participant's id"),
    ),
    responses((status = 200, description = "The participant", body = LiveParticipant))
)]
pub(crate) async fn participant(
    State(inner): State<Arc<Inner>>,
    Path((id, participant)): Path<(String, String)>,
) -> Result<Json<LiveParticipant>, ApiError> {
    body::name(&participant, "participant")?;
    let call = find(&inner, &id)?;
    let everyone = call.everyone();
    let session = everyone.iter().find(|one| one.wire_id() == participant).ok_or_else(absent)?;
    let mut found = shown(session, &published(&inner, &call).await?).ok_or_else(absent)?;
    if session.is_live() {
        found.explanation = explained(&inner, session).await?;
    }
    Ok(Json(found))
}

/// Ends a call for everyone in it and in its lobby.
#[utoipa::path(
    post, path = "/calls/{id}/:end", tag = "Live calls",
    params(("id" = String, Path, description = "The call's id")),
    responses((status = 204, description = "It has ended"))
)]
pub(crate) async fn end(
    Extension(caller): Extension<Caller>,
    State(inner): State<Arc<Inner>>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let call = find(&inner, &id)?;
    audit(&caller, "call.end", &call, None).await?;
    inner.end_call(&call, EndReason::call_ended()).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Mutes the microphones of an identity, or of everyone. They may unmute.
#[utoipa::path(
    post, path = "/calls/{id}/:mute", tag = "Live calls", request_body = PerhapsWhom,
    params(("id" = String, Path, description = "The call's id")),
    responses((status = 200, description = "Muted", body = Muted))
)]
pub(crate) async fn mute(
    Extension(caller): Extension<Caller>,
    State(inner): State<Arc<Inner>>,
    Path(id): Path<String>,
    Read(PerhapsWhom { identity }): Read<PerhapsWhom>,
) -> Result<Json<Muted>, ApiError> {
    let call = find(&inner, &id)?;
    let mut sessions = call.sessions();
    if let Some(identity) = &identity {
        body::name(identity, "identity")?;
        sessions.retain(|session| &**session.identity() == identity);
        if sessions.is_empty() {
            return Err(absent());
        }
    }
    audit(&caller, "call.mute", &call, identity.as_deref()).await?;
    let muted = inner.mute_all(sessions, None).await.map_err(|_| busy())?;
    Ok(Json(Muted { muted }))
}

/// Removes an identity from a call and its lobby; while the call lives it cannot come in again.
#[utoipa::path(
    post, path = "/calls/{id}/:remove", tag = "Live calls", request_body = Whom,
    params(("id" = String, Path, description = "The call's id")),
    responses((status = 204, description = "It is out"))
)]
pub(crate) async fn remove(
    Extension(caller): Extension<Caller>,
    State(inner): State<Arc<Inner>>,
    Path(id): Path<String>,
    Read(Whom { identity }): Read<Whom>,
) -> Result<StatusCode, ApiError> {
    body::name(&identity, "identity")?;
    let call = find(&inner, &id)?;
    let identity = Arc::from(identity);
    if !call.everyone().iter().any(|session| *session.identity() == identity) {
        return Err(absent());
    }
    audit(&caller, "call.remove", &call, Some(&identity)).await?;
    inner.remove_identity(&call, &identity).await.map_err(full)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Before it is done: what was done is in the log in any case.
async fn audit(
    caller: &Caller,
    action: &'static str,
    call: &Call,
    identity: Option<&str>,
) -> Result<(), ApiError> {
    let target = match identity {
        Some(identity) => format!("{} {identity}", call.wire_id()),
        None => call.wire_id().to_owned(),
    };
    let written = caller.services.store.audit(caller.change(action), &target).await;
    written.map_err(|error| ApiError::store(error, Code::CallNotRunning))
}
