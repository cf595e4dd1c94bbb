//! `POST /config/:reload`: the configuration is read anew.
//!
//! Owns: the request and its reply.
//! Never: says what a key's value is.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};

use super::auth::Caller;
use super::error::{ApiError, Code};
use crate::control::Inner;
use crate::reload::Reloaded;

/// Reads the configuration file, and the files that it names, anew: what can change while calls run does.
#[utoipa::path(
    post, path = "/config/:reload", tag = "Operation",
    responses((status = 200, description = "What is changed", body = Reloaded))
)]
pub(crate) async fn reload(
    State(inner): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Reloaded>, ApiError> {
    let Some(reloads) = inner.config().reloads.clone() else {
        let text = "this server was not started with a configuration file";
        return Err(ApiError::new(Code::NotImplemented, text));
    };
    let audited = caller.services.store.audit(caller.change("config.reload"), "config").await;
    audited.map_err(|error| ApiError::store(error, Code::NotFound))?;
    match reloads.ask().await {
        Some(Ok(reloaded)) => Ok(Json(reloaded)),
        Some(Err(wrong)) => Err(ApiError::new(Code::ConfigurationInvalid, wrong)),
        None => Err(ApiError::new(Code::ServerBusy, "the server is about to stop")),
    }
}
