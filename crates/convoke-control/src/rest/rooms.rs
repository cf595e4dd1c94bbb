//! `/rooms`: scheduled rooms (the ACS Rooms resource).
//!
//! Owns: how rooms look by HTTP, their defaults, and that a change is told to the call that runs.
//! Never: knows who is in a call.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, OriginalUri, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use convoke_store::{Created, Role, Room, RoomPatch, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::auth::Caller;
use super::body::{self, Read};
use super::error::{ApiError, Code};
use super::paging::Page;
use super::repeat;
use super::time::{format, now_ms};
use crate::control::Inner;

/// How long a room is open if nothing is said: 180 days.
const OPEN_MS: i64 = 180 * 24 * 3600 * 1000;

/// A new room, or a change of one. What is absent or null stays, or has its default.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoomBody {
    /// From when on it can be joined (RFC 3339); by default now.
    #[schema(format = DateTime)]
    valid_from: Option<String>,
    /// Until when (RFC 3339); by default 180 days after `validFrom`.
    #[schema(format = DateTime)]
    valid_until: Option<String>,
    /// Whether participants may call telephones; by default not.
    pstn_dial_out_enabled: Option<bool>,
    /// By raw id. Only when it is made; later see `/participants`.
    #[schema(value_type = Option<BTreeMap<String, Participant>>)]
    participants: Option<BTreeMap<String, Option<Participant>>>,
}

/// A change of the list: by raw id, `null` removes.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct ParticipantsBody {
    #[schema(value_type = BTreeMap<String, Participant>)]
    #[serde(default)]
    participants: BTreeMap<String, Option<Participant>>,
}

/// As what somebody may come in.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct Participant {
    /// `Presenter`, `Attendee` (the default), `Consumer` or `Collaborator`.
    #[schema(example = "Attendee")]
    role: Option<String>,
}

/// A room.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoomReply {
    id: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    valid_from: String,
    #[schema(format = DateTime)]
    valid_until: String,
    pstn_dial_out_enabled: bool,
}

/// A page of rooms.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rooms {
    value: Vec<RoomReply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_link: Option<String>,
}

/// Somebody on a room's list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Listed {
    raw_id: String,
    role: String,
}

/// A page of a room's list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListedPage {
    value: Vec<Listed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_link: Option<String>,
}

impl From<&Room> for RoomReply {
    fn from(room: &Room) -> Self {
        Self {
            id: room.id.clone(),
            created_at: format(room.created_at),
            valid_from: format(room.valid_from),
            valid_until: format(room.valid_until),
            pstn_dial_out_enabled: room.pstn_dial_out,
        }
    }
}

fn failed(error: StoreError) -> ApiError {
    ApiError::store(error, Code::RoomNotFound)
}

fn read_role(participant: &Participant, target: &str) -> Result<Role, ApiError> {
    let Some(role) = &participant.role else { return Ok(Role::default()) };
    role.parse().map_err(|_| {
        let text = "the role must be Presenter, Attendee, Consumer or Collaborator";
        ApiError::new(Code::BadRequest, text).target(format!("{target}.role"))
    })
}

type Entry = (String, Option<Role>);

fn read_list(list: BTreeMap<String, Option<Participant>>) -> Result<Vec<Entry>, ApiError> {
    let read = |(raw_id, participant): (String, Option<Participant>)| {
        let target = format!("participants.{raw_id:.64}");
        body::name(&raw_id, &target)?;
        let role = participant.map(|one| read_role(&one, &target)).transpose()?;
        Ok((raw_id, role))
    };
    list.into_iter().map(read).collect()
}

fn too_many(most: usize) -> ApiError {
    let text = format!("a room has at most {most} participants");
    ApiError::new(Code::BadRequest, text).target("participants")
}

fn times(body: &RoomBody) -> Result<(Option<i64>, Option<i64>), ApiError> {
    let read = |text: &Option<String>, target| {
        text.as_ref().map(|text| body::moment(text, target)).transpose()
    };
    Ok((read(&body.valid_from, "validFrom")?, read(&body.valid_until, "validUntil")?))
}

/// 17 digits that begin with 99, as ACS's are.
fn new_id() -> String {
    format!("99{:015}", rand::random_range(0..1_000_000_000_000_000_u64))
}

/// Makes a room.
#[utoipa::path(
    post, path = "/rooms", tag = "Rooms", request_body = RoomBody,
    params(
        ("Repeatability-Request-ID" = Option<String>, Header,
            description = "A UUID; sent again with it, the request is answered as the first was"),
        ("Repeatability-First-Sent" = Option<String>, Header,
            description = "When it was first sent (RFC 9110 date)"),
    ),
    responses((status = 201, description = "Made", body = RoomReply))
)]
pub(crate) async fn create(
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let mut asked: RoomBody = body::read(&headers, &body)?;
    let (from, until) = times(&asked)?;
    let most = caller.services.limits.room_participants;
    let list = read_list(asked.participants.take().unwrap_or_default())?;
    let list: Vec<_> =
        list.into_iter().filter_map(|(raw_id, role)| Some((raw_id, role?))).collect();
    if list.len() > most {
        return Err(too_many(most));
    }
    let now = now_ms();
    let valid_from = from.unwrap_or(now);
    let room = Room {
        id: new_id(),
        created_at: now,
        valid_from,
        valid_until: until.unwrap_or_else(|| valid_from.saturating_add(OPEN_MS)),
        pstn_dial_out: asked.pstn_dial_out_enabled.unwrap_or_default(),
    };
    let reply = json!(RoomReply::from(&room)).to_string();
    let repeat = repeat::read(&headers, &caller, "POST /rooms", &body, &reply)?;
    let (store, change) = (&caller.services.store, caller.change("room.create"));
    let reply = match store.create_room(&room, &list, &change, repeat.as_ref()).await {
        Ok(Created::Now) => reply,
        Ok(Created::Before(reply)) => reply,
        Err(StoreError::Invalid(reason)) if repeat.is_some() && reason.contains("request id") => {
            return Err(ApiError::new(Code::RepeatabilityInvalid, reason));
        }
        Err(error) => return Err(failed(error)),
    };
    let kind = [("content-type", "application/json")];
    let mut response = (StatusCode::CREATED, kind, reply).into_response();
    if repeat.is_some() {
        let accepted = axum::http::HeaderValue::from_static("accepted");
        response.headers_mut().insert("repeatability-result", accepted);
    }
    Ok(response)
}

/// Lists rooms.
#[utoipa::path(
    get, path = "/rooms", tag = "Rooms",
    params(
        ("limit" = Option<i64>, Query, description = "The most that is answered"),
        ("continuation" = Option<String>, Query, description = "From `nextLink`"),
    ),
    responses((status = 200, description = "A page", body = Rooms))
)]
pub(crate) async fn list(
    Extension(caller): Extension<Caller>,
    OriginalUri(uri): OriginalUri,
) -> Result<Json<Rooms>, ApiError> {
    let page = Page::read(&uri, caller.services.limits.page)?;
    let mut rooms =
        caller.services.store.rooms(&page.after, page.read_limit()).await.map_err(failed)?;
    let next_link = page.cut(&mut rooms, |room| room.id.clone());
    Ok(Json(Rooms { value: rooms.iter().map(RoomReply::from).collect(), next_link }))
}

/// A room.
#[utoipa::path(
    get, path = "/rooms/{id}", tag = "Rooms",
    params(("id" = String, Path, description = "The room's id")),
    responses((status = 200, description = "The room", body = RoomReply))
)]
pub(crate) async fn show(
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<RoomReply>, ApiError> {
    body::name(&id, "id")?;
    let room = caller.services.store.room(&id).await.map_err(failed)?;
    Ok(Json(RoomReply::from(&room)))
}

/// Changes a room. A call that runs outside of the new times is ended.
#[utoipa::path(
    patch, path = "/rooms/{id}", tag = "Rooms",
    params(("id" = String, Path, description = "The room's id")),
    request_body(content = RoomBody, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "The room as it is now", body = RoomReply))
)]
pub(crate) async fn update(
    State(inner): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Read(asked): Read<RoomBody>,
) -> Result<Json<RoomReply>, ApiError> {
    body::name(&id, "id")?;
    let (valid_from, valid_until) = times(&asked)?;
    let patch = RoomPatch { valid_from, valid_until, pstn_dial_out: asked.pstn_dial_out_enabled };
    let change = caller.change("room.update");
    let room = caller.services.store.update_room(&id, patch, &change).await.map_err(failed)?;
    inner.room_updated(&room).await;
    Ok(Json(RoomReply::from(&room)))
}

/// Deletes a room; its call is ended.
#[utoipa::path(
    delete, path = "/rooms/{id}", tag = "Rooms",
    params(("id" = String, Path, description = "The room's id")),
    responses((status = 204, description = "Deleted"))
)]
pub(crate) async fn delete(
    State(inner): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    body::name(&id, "id")?;
    let change = caller.change("room.delete");
    caller.services.store.delete_room(&id, &change).await.map_err(failed)?;
    inner.room_deleted(&id).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists who may join a room.
#[utoipa::path(
    get, path = "/rooms/{id}/participants", tag = "Rooms",
    params(
        ("id" = String, Path, description = "The room's id"),
        ("limit" = Option<i64>, Query, description = "The most that is answered"),
        ("continuation" = Option<String>, Query, description = "From `nextLink`"),
    ),
    responses((status = 200, description = "A page", body = ListedPage))
)]
pub(crate) async fn participants(
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    OriginalUri(uri): OriginalUri,
) -> Result<Json<ListedPage>, ApiError> {
    body::name(&id, "id")?;
    let page = Page::read(&uri, caller.services.limits.page)?;
    let store = &caller.services.store;
    let list = store.room_participants(&id, &page.after, page.read_limit()).await;
    let mut list = list.map_err(failed)?;
    let next_link = page.cut(&mut list, |(raw_id, _)| raw_id.clone());
    let listed = |(raw_id, role): (String, Role)| Listed { raw_id, role: role.to_string() };
    Ok(Json(ListedPage { value: list.into_iter().map(listed).collect(), next_link }))
}

/// Adds, changes and removes (`null`) who may join a room. It acts at once in its call.
#[utoipa::path(
    patch, path = "/rooms/{id}/participants", tag = "Rooms",
    params(("id" = String, Path, description = "The room's id")),
    request_body(content = ParticipantsBody, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "Changed"))
)]
pub(crate) async fn patch_participants(
    State(inner): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Read(asked): Read<ParticipantsBody>,
) -> Result<Json<serde_json::Value>, ApiError> {
    body::name(&id, "id")?;
    let list = read_list(asked.participants)?;
    let most = caller.services.limits.room_participants;
    let change = caller.change("room.patchParticipants");
    let changed = caller.services.store.patch_participants(&id, &list, most, &change).await;
    changed.map_err(|error| match error {
        StoreError::TooMany(most) => too_many(most),
        error => failed(error),
    })?;
    inner.room_list_changed(&id, &list).await;
    Ok(Json(json!({})))
}
