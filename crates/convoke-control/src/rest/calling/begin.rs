//! How a call connection begins: by calling, answering, or attaching to a call that runs; and what
//! else is done with a call that rings.
//!
//! Owns: these requests and their replies.
//! Never: has a connection yet.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::super::error::{ApiError, Code};
use super::super::repeat::Reply;
use super::bodies::{
    AnswerBody, ConnectBody, CreateBody, RedirectBody, RejectBody, custom, display_name, lacks,
    read_all, user,
};
use super::view::Properties;
use super::{Ask, locate, refused};
use crate::calling::{Connection, Opening};

fn shown(status: StatusCode, connection: &Connection) -> Reply {
    Reply::new(status, json!(Properties::from(connection)))
}

/// Calls users; the call begins with the first who accepts.
#[utoipa::path(
    post, path = "/calling/callConnections", tag = "Call automation",
    request_body = CreateBody,
    responses((status = 201, description = "It rings", body = Properties))
)]
pub(crate) async fn create(ask: Ask) -> Result<Response, ApiError> {
    let run = async {
        let inner = &ask.inner;
        let mut asked: CreateBody = ask.body()?;
        if asked.source_caller_id_number.is_some() {
            return Err(lacks("`telephony`").target("sourceCallerIdNumber"));
        }
        let (callback, context) = asked.opening(inner)?;
        let source = user(asked.source.as_ref(), "source")?;
        let opening = Opening {
            callback,
            context,
            targets: read_all(&asked.targets, "targets")?,
            source: source.clone(),
            answered_by: None,
        };
        let name = display_name(asked.source_display_name.as_deref())?;
        let custom = custom(asked.custom_calling_context)?;
        let from = source.unwrap_or_else(|| ask.caller.services.automation());
        ask.audit("calling.create", &opening.targets.join(" ")).await?;
        let connection = inner.create_call(&opening, from, name, custom);
        let connection = connection.map_err(|error| refused(inner, error))?;
        Ok(shown(StatusCode::CREATED, &connection))
    };
    ask.once("POST /calling/callConnections", run).await
}

/// Takes a call that rings, in place of the one who is called.
#[utoipa::path(
    post, path = "/calling/callConnections:answer", tag = "Call automation",
    request_body = AnswerBody,
    responses((status = 200, description = "Taken", body = Properties))
)]
pub(crate) async fn answer(ask: Ask) -> Result<Response, ApiError> {
    let run = async {
        let inner = &ask.inner;
        let mut asked: AnswerBody = ask.body()?;
        let (callback, context) = asked.opening(inner)?;
        let answered_by = user(asked.answered_by.as_ref(), "answeredBy")?;
        let found = inner.offered_to(&asked.incoming_call_context);
        let (identity, from) = found.map_err(|error| refused(inner, error))?;
        ask.audit("calling.answer", &identity).await?;
        let (targets, source) = (vec![identity], Some(from));
        let opening = Opening { callback, context, source, targets, answered_by };
        let connection = inner.answer(&opening, &asked.incoming_call_context);
        let connection = connection.map_err(|error| refused(inner, error))?;
        Ok(shown(StatusCode::OK, &connection))
    };
    ask.once("POST /calling/callConnections:answer", run).await
}

/// Calls somebody else in place of the one who is called.
#[utoipa::path(
    post, path = "/calling/callConnections:redirect", tag = "Call automation",
    request_body = RedirectBody,
    responses((status = 204, description = "Redirected"))
)]
pub(crate) async fn redirect(ask: Ask) -> Result<Response, ApiError> {
    let run = async {
        let inner = &ask.inner;
        let asked: RedirectBody = ask.body()?;
        let found = inner.offered_to(&asked.incoming_call_context);
        let (identity, from) = found.map_err(|error| refused(inner, error))?;
        let target = asked.target.read("target")?;
        if target == from || target == identity {
            let text = "`target` is who calls, or who is called already";
            return Err(ApiError::new(Code::BadRequest, text).target("target"));
        }
        ask.audit("calling.redirect", &format!("{identity} {target}")).await?;
        let done = inner.redirect(&asked.incoming_call_context, &target);
        done.map_err(|error| refused(inner, error))?;
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    };
    ask.once("POST /calling/callConnections:redirect", run).await
}

/// Rejects a call that rings, for the one who is called.
#[utoipa::path(
    post, path = "/calling/callConnections:reject", tag = "Call automation",
    request_body = RejectBody,
    responses((status = 204, description = "Rejected"))
)]
pub(crate) async fn reject(ask: Ask) -> Result<Response, ApiError> {
    let run = async {
        let inner = &ask.inner;
        let asked: RejectBody = ask.body()?;
        let busy = match asked.call_reject_reason.as_deref() {
            None | Some("none" | "forbidden") => false,
            Some("busy") => true,
            Some(_) => {
                let text = "`callRejectReason` must be none, busy or forbidden";
                return Err(ApiError::new(Code::BadRequest, text).target("callRejectReason"));
            }
        };
        let found = inner.offered_to(&asked.incoming_call_context);
        let (identity, _) = found.map_err(|error| refused(inner, error))?;
        ask.audit("calling.reject", &identity).await?;
        let done = inner.turn_down(&asked.incoming_call_context, busy);
        done.map_err(|error| refused(inner, error))?;
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    };
    ask.once("POST /calling/callConnections:reject", run).await
}

/// Attaches to a call that runs.
#[utoipa::path(
    post, path = "/calling/callConnections:connect", tag = "Call automation",
    request_body = ConnectBody,
    responses((status = 200, description = "Attached", body = Properties))
)]
pub(crate) async fn connect(ask: Ask) -> Result<Response, ApiError> {
    let run = async {
        let inner = &ask.inner;
        let mut asked: ConnectBody = ask.body()?;
        let (callback, context) = asked.opening(inner)?;
        let call = locate(inner, &asked.call_locator)?;
        ask.audit("calling.connect", call.wire_id()).await?;
        let (source, targets, answered_by) = (None, Vec::new(), None);
        let opening = Opening { callback, context, source, targets, answered_by };
        let connection = inner.connect_call(&opening, &call);
        let connection = connection.map_err(|error| refused(inner, error))?;
        Ok(shown(StatusCode::OK, &connection))
    };
    ask.once("POST /calling/callConnections:connect", run).await
}
