//! `/captures` and `POST /calls/{id}/:capture`: RTP headers of a running call, for Wireshark.
//!
//! Owns: how captures look by HTTP, and the audit entries of their beginning and stopping, which are
//! written before anything is done.
//! Never: allows payloads; the configuration does.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::Caller;
use super::body::{self, Read};
use super::error::{ApiError, Code};
use super::live::find;
use super::time::{format, to_ms};
use crate::captures::{CAPTURES_MAX, Ended, Limit, NotBegun, Recording};
use crate::control::Inner;

/// What to capture, within what the configuration allows.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Begin {
    /// For how long; as long as may be if absent.
    #[schema(minimum = 1)]
    seconds: Option<u64>,
    /// The largest file; as large as may be if absent.
    #[schema(minimum = 1024)]
    bytes: Option<u64>,
    /// With the payloads of what is received. False if absent.
    #[serde(default)]
    payloads: bool,
}

/// A capture.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Capture {
    id: String,
    call_id: String,
    #[schema(format = DateTime)]
    began_at: String,
    payloads: bool,
    /// After so long it ends.
    seconds: u64,
    /// When its file has this size it ends.
    bytes_max: u64,
    /// The size of its file now.
    bytes: u64,
    packets: u64,
    /// Packets that are not in it, as they came too fast.
    dropped: u64,
    /// How it ended; absent while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Ended>,
}

/// The captures that are kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Captures {
    value: Vec<Capture>,
}

fn shown(one: &Recording) -> Capture {
    Capture {
        id: one.id.clone(),
        call_id: one.call.clone(),
        began_at: format(to_ms(one.began)),
        payloads: one.payloads,
        seconds: one.limit.time.as_secs(),
        bytes_max: one.limit.bytes as u64,
        bytes: one.size() as u64,
        packets: one.packets.load(Relaxed),
        dropped: one.dropped.load(Relaxed),
        ended: one.ended(),
    }
}

fn known(inner: &Inner, id: &str) -> Result<Arc<Recording>, ApiError> {
    body::name(id, "id")?;
    let found = inner.captures.by_id(id);
    found.ok_or_else(|| ApiError::new(Code::CaptureNotFound, "no such capture is kept"))
}

fn refused(why: NotBegun) -> ApiError {
    match why {
        NotBegun::Running => ApiError::new(Code::CaptureRunning, "the call is being captured"),
        NotBegun::TooMany => {
            let text = format!("{CAPTURES_MAX} captures run; stop one");
            ApiError::new(Code::LimitExceeded, text)
        }
    }
}

/// Captures the RTP headers of a call that runs, for a bounded time and size.
#[utoipa::path(
    post, path = "/calls/{id}/:capture", tag = "Captures", request_body = Begin,
    params(("id" = String, Path, description = "The call's id")),
    responses((status = 201, description = "It has begun", body = Capture))
)]
pub(crate) async fn begin(
    Extension(caller): Extension<Caller>,
    State(inner): State<Arc<Inner>>,
    Path(id): Path<String>,
    Read(Begin { seconds, bytes, payloads }): Read<Begin>,
) -> Result<(StatusCode, Json<Capture>), ApiError> {
    let limits = caller.services.limits;
    if limits.capture_time.as_secs() == 0 {
        let text = "captures are not allowed here; see services.capture_time";
        return Err(ApiError::new(Code::NotImplemented, text));
    }
    if payloads && !limits.capture_payloads {
        let text = "payloads are not allowed here; see services.capture_payloads";
        return Err(ApiError::new(Code::Forbidden, text).target("payloads"));
    }
    let within = |value: Option<u64>, least: u64, most: u64, name: &'static str| match value {
        None => Ok(most),
        Some(value) if (least..=most).contains(&value) => Ok(value),
        Some(_) => {
            let text = format!("`{name}` must be from {least} to {most}");
            Err(ApiError::new(Code::BadRequest, text).target(name))
        }
    };
    let most = u64::try_from(limits.capture_bytes).unwrap_or(u64::MAX);
    let limit = Limit {
        time: Duration::from_secs(within(seconds, 1, limits.capture_time.as_secs(), "seconds")?),
        bytes: usize::try_from(within(bytes, 1_024, most, "bytes")?).unwrap_or(usize::MAX),
    };
    let call = find(&inner, &id)?;
    inner.captures.may_begin(call.wire_id()).map_err(refused)?;
    let action = if payloads { "capture.startWithPayloads" } else { "capture.start" };
    audit(&caller, action, call.wire_id()).await?;
    let recording = inner.capture(&call, limit, payloads).map_err(refused)?;
    Ok((StatusCode::CREATED, Json(shown(&recording))))
}

/// Lists the captures that are kept: those that run, and some that are over.
#[utoipa::path(
    get, path = "/captures", tag = "Captures",
    responses((status = 200, description = "All of them", body = Captures))
)]
pub(crate) async fn list(State(inner): State<Arc<Inner>>) -> Json<Captures> {
    Json(Captures { value: inner.captures.all().iter().map(|one| shown(one)).collect() })
}

/// One capture.
#[utoipa::path(
    get, path = "/captures/{id}", tag = "Captures",
    params(("id" = String, Path, description = "The capture's id")),
    responses((status = 200, description = "How far it is", body = Capture))
)]
pub(crate) async fn show(
    State(inner): State<Arc<Inner>>,
    Path(id): Path<String>,
) -> Result<Json<Capture>, ApiError> {
    Ok(Json(shown(&*known(&inner, &id)?)))
}

/// What was captured so far, as pcapng.
#[utoipa::path(
    get, path = "/captures/{id}/file", tag = "Captures",
    params(("id" = String, Path, description = "The capture's id")),
    responses((
        status = 200, description = "pcapng, of raw IP packets",
        body = Vec<u8>, content_type = "application/octet-stream",
    ))
)]
pub(crate) async fn file(
    State(inner): State<Arc<Inner>>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let file = known(&inner, &id)?.file();
    let headers = [
        (CONTENT_TYPE, "application/octet-stream"),
        (CONTENT_DISPOSITION, "attachment; filename=\"capture.pcapng\""),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, file).into_response())
}

/// Ends a capture; also fine if it is over.
#[utoipa::path(
    post, path = "/captures/{id}/:stop", tag = "Captures",
    params(("id" = String, Path, description = "The capture's id")),
    responses((status = 204, description = "It ends"))
)]
pub(crate) async fn stop(
    Extension(caller): Extension<Caller>,
    State(inner): State<Arc<Inner>>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let recording = known(&inner, &id)?;
    audit(&caller, "capture.stop", &recording.call).await?;
    recording.stop();
    Ok(StatusCode::NO_CONTENT)
}

async fn audit(caller: &Caller, action: &'static str, call: &str) -> Result<(), ApiError> {
    let written = caller.services.store.audit(caller.change(action), call).await;
    written.map_err(|error| ApiError::store(error, Code::CallNotRunning))
}
