//! `/calls` and `/audit`: what was.
//!
//! Owns: how call records and audit entries look by HTTP.
//! Never: says whether a call runs now.

use axum::Json;
use axum::extract::{Extension, OriginalUri, Path};
use convoke_store::{AuditEntry, CallRecord, Participation};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use super::body;
use super::error::{ApiError, Code};
use super::paging::Page;
use super::time::format;

/// Participations that are shown of one call.
const SHOWN: i64 = 10_000;

/// A call, past or present.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Call {
    id: String,
    /// What it was joined by: `groups/GUID` or `rooms/ID`.
    locator: String,
    #[schema(format = DateTime)]
    started_at: String,
    /// Absent while it runs, and if the server was killed meanwhile.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    /// Who was in it; only where one call is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    participants: Option<Vec<Part>>,
}

/// One person's part in a call.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Part {
    participant_id: String,
    identity: String,
    #[schema(format = DateTime)]
    joined_at: String,
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    left_at: Option<String>,
    /// Why it ended; see `PROTOCOL.md`, section 11.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_code: Option<i64>,
}

/// A page of calls.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Calls {
    value: Vec<Call>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_link: Option<String>,
}

/// Who changed what.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    position: i64,
    #[schema(format = DateTime)]
    at: String,
    /// The name of the service key.
    actor: String,
    /// As `room.create`.
    action: String,
    /// To what it was done.
    target: String,
    /// The caller's `x-ms-client-request-id`, perhaps empty.
    request_id: String,
}

/// A page of the audit log.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Audit {
    value: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_link: Option<String>,
}

fn call(record: CallRecord, people: Option<Vec<Participation>>) -> Call {
    let part = |one: Participation| Part {
        participant_id: one.participant,
        identity: one.identity,
        joined_at: format(one.joined_at),
        left_at: one.left_at.map(format),
        code: one.code,
        sub_code: one.sub_code,
    };
    Call {
        id: record.id,
        locator: record.locator,
        started_at: format(record.started_at),
        ended_at: record.ended_at.map(format),
        participants: people.map(|people| people.into_iter().map(part).collect()),
    }
}

/// Lists calls, past and present.
#[utoipa::path(
    get, path = "/calls", tag = "Calls",
    params(
        ("limit" = Option<i64>, Query, description = "The most that is answered"),
        ("continuation" = Option<String>, Query, description = "From `nextLink`"),
    ),
    responses((status = 200, description = "A page", body = Calls))
)]
pub(crate) async fn list(
    Extension(caller): Extension<Caller>,
    OriginalUri(uri): OriginalUri,
) -> Result<Json<Calls>, ApiError> {
    let page = Page::read(&uri, caller.services.limits.page)?;
    let found = caller.services.store.call_records(&page.after, page.read_limit()).await;
    let mut found = found.map_err(|error| ApiError::store(error, Code::CallNotFound))?;
    let next_link = page.cut(&mut found, |record| record.id.clone());
    Ok(Json(Calls { value: found.into_iter().map(|one| call(one, None)).collect(), next_link }))
}

/// A call and who was in it.
#[utoipa::path(
    get, path = "/calls/{id}", tag = "Calls",
    params(("id" = String, Path, description = "The call's id")),
    responses((status = 200, description = "The call", body = Call))
)]
pub(crate) async fn show(
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Call>, ApiError> {
    body::name(&id, "id")?;
    let found = caller.services.store.call_record(&id, SHOWN).await;
    let (record, people) = found.map_err(|error| ApiError::store(error, Code::CallNotFound))?;
    Ok(Json(call(record, Some(people))))
}

/// Lists who changed what.
#[utoipa::path(
    get, path = "/audit", tag = "Audit",
    params(
        ("limit" = Option<i64>, Query, description = "The most that is answered"),
        ("continuation" = Option<String>, Query, description = "From `nextLink`"),
    ),
    responses((status = 200, description = "A page", body = Audit))
)]
pub(crate) async fn audit(
    Extension(caller): Extension<Caller>,
    OriginalUri(uri): OriginalUri,
) -> Result<Json<Audit>, ApiError> {
    let page = Page::read(&uri, caller.services.limits.page)?;
    let after = if page.after.is_empty() { Some(0) } else { page.after.parse().ok() };
    let after = after.ok_or_else(|| {
        let text = "no page has this `continuation`; use `nextLink` as it is";
        ApiError::new(Code::InvalidContinuation, text).target("continuation")
    })?;
    let found = caller.services.store.audits(after, page.read_limit()).await;
    let mut found = found.map_err(|error| ApiError::store(error, Code::NotFound))?;
    let next_link = page.cut(&mut found, |entry| entry.position.to_string());
    let shown = |entry: AuditEntry| Entry {
        position: entry.position,
        at: format(entry.at),
        actor: entry.actor,
        action: entry.action,
        target: entry.target,
        request_id: entry.request_id,
    };
    Ok(Json(Audit { value: found.into_iter().map(shown).collect(), next_link }))
}
