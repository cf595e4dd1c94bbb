//! `GET /log`: the last lines of the log.
//!
//! Owns: how they look by HTTP.
//! Never: writes one.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, Code};
use crate::control::Inner;

/// The last lines of the log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Lines {
    /// As they were written, oldest first; long ones are cut.
    value: Vec<String>,
}

/// The last lines of this server's log, as many as `log.recent_lines` says.
#[utoipa::path(
    get, path = "/log", tag = "Operation",
    responses((status = 200, description = "The lines", body = Lines))
)]
pub(crate) async fn recent(State(inner): State<Arc<Inner>>) -> Result<Json<Lines>, ApiError> {
    let Some(log) = inner.config().recent_log.clone() else {
        let text = "this server keeps no lines of its log; set log.recent_lines";
        return Err(ApiError::new(Code::NotImplemented, text));
    };
    Ok(Json(Lines { value: log.lines() }))
}
