//! What is done by a call connection: looking, inviting, removing, muting, handing over, ending.
//!
//! Owns: these requests and their replies; outcomes that take time come as events.
//! Never: waits for somebody to answer.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, OriginalUri, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::super::auth::Caller;
use super::super::body;
use super::super::error::ApiError;
use super::super::paging::Page;
use super::super::repeat::Reply;
use super::bodies::{
    AddBody, CancelBody, MoveBody, MuteBody, RemoveBody, TransferBody, custom, display_name,
    invitation_timeout, lacks, read_all,
};
use super::view::{ParticipantReply, ParticipantsReply, Properties, Taken};
use super::{Ask, OF_VERB, find, refused};
use crate::calling::connection::{Outcome, Purpose, Seen};
use crate::calling::{CallingError, Connection, Guest};
use crate::control::Inner;

/// A call connection.
#[utoipa::path(
    get, path = "/calling/callConnections/{callConnectionId}", tag = "Call automation",
    params(("callConnectionId" = String, Path, description = "The connection's id")),
    responses((status = 200, description = "The connection", body = Properties))
)]
pub(crate) async fn show(
    State(inner): State<Arc<Inner>>,
    Path(id): Path<String>,
) -> Result<Json<Properties>, ApiError> {
    not_a_verb(&id)?;
    Ok(Json(Properties::from(&*find(&inner, &id)?)))
}

/// No connection has a colon in its id: what has one is a verb, which is for `POST` alone.
fn not_a_verb(id: &str) -> Result<(), ApiError> {
    if id.contains(':') { Err(ApiError::wrong_method(OF_VERB)) } else { Ok(()) }
}

async fn people(inner: &Inner, connection: &Connection) -> Result<Vec<Seen>, ApiError> {
    let Some(call) = connection.call() else { return Ok(Vec::new()) };
    let people = inner.people(call).await;
    people.ok_or_else(|| refused(inner, CallingError::Busy))
}

/// Lists who is in the call, by identity.
#[utoipa::path(
    get, path = "/calling/callConnections/{callConnectionId}/participants", tag = "Call automation",
    params(("callConnectionId" = String, Path, description = "The connection's id")),
    responses((status = 200, description = "A page", body = ParticipantsReply))
)]
pub(crate) async fn list(
    State(inner): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    OriginalUri(uri): OriginalUri,
) -> Result<Json<ParticipantsReply>, ApiError> {
    let connection = find(&inner, &id)?;
    let page = Page::read(&uri, caller.services.limits.page)?;
    let mut people = people(&inner, &connection).await?;
    people.retain(|one| one.identity > page.after);
    let next_link = page.cut(&mut people, |one| one.identity.clone());
    let value = people.iter().map(ParticipantReply::from).collect();
    Ok(Json(ParticipantsReply { value, next_link }))
}

/// Somebody in the call.
#[utoipa::path(
    get, path = "/calling/callConnections/{callConnectionId}/participants/{rawId}",
    tag = "Call automation",
    params(
        ("callConnectionId" = String, Path, description = "The connection's id"),
        ("rawId" = String, Path, description = "The raw id"),
    ),
    responses((status = 200, description = "The participant", body = ParticipantReply))
)]
pub(crate) async fn participant(
    State(inner): State<Arc<Inner>>,
    Path((id, raw_id)): Path<(String, String)>,
) -> Result<Json<ParticipantReply>, ApiError> {
    let connection = find(&inner, &id)?;
    let people = people(&inner, &connection).await?;
    let found = people.iter().find(|one| one.identity == raw_id);
    let found = found.ok_or_else(|| refused(&inner, CallingError::NoParticipant))?;
    Ok(Json(found.into()))
}

/// Ends the connection; the call goes on. One that still rings rings no more.
#[utoipa::path(
    delete, path = "/calling/callConnections/{callConnectionId}", tag = "Call automation",
    params(("callConnectionId" = String, Path, description = "The connection's id")),
    responses((status = 204, description = "Over"))
)]
pub(crate) async fn hang_up(Path(id): Path<String>, ask: Ask) -> Result<Response, ApiError> {
    not_a_verb(&id)?;
    let connection = ask.connection(&id)?;
    ask.audit("calling.hangUp", &connection.id).await?;
    let outcome = Outcome::new(200, "The app server hung up.");
    ask.inner.disconnect(&connection, outcome);
    Ok(Reply::empty(StatusCode::NO_CONTENT).into_response())
}

/// Ends the call for everyone.
#[utoipa::path(
    post, path = "/calling/callConnections/{callConnectionId}:terminate", tag = "Call automation",
    params(("callConnectionId" = String, Path, description = "The connection's id")),
    responses((status = 204, description = "Over"))
)]
pub(super) async fn terminate(
    ask: &Ask,
    connection: &Arc<Connection>,
) -> Result<Response, ApiError> {
    ask.once(&format!("POST {}:terminate", connection.id), async {
        ask.audit("calling.terminate", &connection.id).await?;
        ask.inner.terminate(connection).await;
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    })
    .await
}

/// As whom a connection calls.
fn caller_of(ask: &Ask, connection: &Connection) -> String {
    let source = connection.answered_by.clone().or_else(|| connection.source.clone());
    source.unwrap_or_else(|| ask.caller.services.automation())
}

/// Calls somebody into the call.
#[utoipa::path(
    post, path = "/calling/callConnections/{callConnectionId}/participants:add",
    tag = "Call automation", request_body = AddBody,
    params(("callConnectionId" = String, Path, description = "The connection's id")),
    responses((status = 202, description = "It rings", body = Taken))
)]
pub(crate) async fn add(Path(id): Path<String>, ask: Ask) -> Result<Response, ApiError> {
    let run = async {
        let inner = &ask.inner;
        let connection = ask.connection(&id)?;
        let mut asked: AddBody = ask.body()?;
        if asked.source_caller_id_number.is_some() {
            return Err(lacks("`telephony`").target("sourceCallerIdNumber"));
        }
        let operation = asked.asked(inner)?;
        let guest = Guest {
            identity: asked.participant_to_add.read("participantToAdd")?,
            from: caller_of(&ask, &connection),
            display_name: display_name(asked.source_display_name.as_deref())?,
            custom_context: custom(asked.custom_calling_context)?,
            timeout: invitation_timeout(asked.invitation_timeout_in_seconds)?,
        };
        ask.audit("calling.addParticipant", &format!("{id} {}", guest.identity)).await?;
        let seen = Seen { identity: guest.identity.clone(), muted: false };
        let context = operation.context.clone();
        let invited = inner.invite(&connection, guest, Purpose::Add, operation);
        let invitation = invited.map_err(|error| refused(inner, error))?;
        let taken = Taken {
            participant: Some((&seen).into()),
            invitation_id: Some(invitation),
            operation_context: context,
            ..Taken::default()
        };
        Ok(Reply::new(StatusCode::ACCEPTED, json!(taken)))
    };
    ask.once(&format!("POST {id}/participants:add"), run).await
}

/// Takes an invitation back, if it is not accepted yet.
#[utoipa::path(
    post, path = "/calling/callConnections/{callConnectionId}/participants:cancelAddParticipant",
    tag = "Call automation", request_body = CancelBody,
    params(("callConnectionId" = String, Path, description = "The connection's id")),
    responses((status = 202, description = "Taken", body = Taken))
)]
pub(crate) async fn cancel(Path(id): Path<String>, ask: Ask) -> Result<Response, ApiError> {
    let run = async {
        let inner = &ask.inner;
        let connection = ask.connection(&id)?;
        let mut asked: CancelBody = ask.body()?;
        let operation = asked.asked(inner)?;
        body::name(&asked.invitation_id, "invitationId")?;
        let target = format!("{id} {}", asked.invitation_id);
        ask.audit("calling.cancelAddParticipant", &target).await?;
        let taken = Taken {
            invitation_id: Some(asked.invitation_id.clone()),
            operation_context: operation.context.clone(),
            ..Taken::default()
        };
        inner.cancel_invitation(&connection, &asked.invitation_id, operation);
        Ok(Reply::new(StatusCode::ACCEPTED, json!(taken)))
    };
    ask.once(&format!("POST {id}/participants:cancelAddParticipant"), run).await
}

/// Removes somebody from the call.
#[utoipa::path(
    post, path = "/calling/callConnections/{callConnectionId}/participants:remove",
    tag = "Call automation", request_body = RemoveBody,
    params(("callConnectionId" = String, Path, description = "The connection's id")),
    responses((status = 202, description = "Taken", body = Taken))
)]
pub(crate) async fn remove(Path(id): Path<String>, ask: Ask) -> Result<Response, ApiError> {
    let run = async {
        let inner = &ask.inner;
        let connection = ask.connection(&id)?;
        let mut asked: RemoveBody = ask.body()?;
        let operation = asked.asked(inner)?;
        let identity = asked.participant_to_remove.read("participantToRemove")?;
        ask.audit("calling.removeParticipant", &format!("{id} {identity}")).await?;
        let operation_context = operation.context.clone();
        let taken = Taken { operation_context, ..Taken::default() };
        let removed = inner.expel(&connection, &identity, operation);
        removed.map_err(|error| refused(inner, error))?;
        Ok(Reply::new(StatusCode::ACCEPTED, json!(taken)))
    };
    ask.once(&format!("POST {id}/participants:remove"), run).await
}

/// Mutes microphones. They may be unmuted by those whose they are.
#[utoipa::path(
    post, path = "/calling/callConnections/{callConnectionId}/participants:mute",
    tag = "Call automation", request_body = MuteBody,
    params(("callConnectionId" = String, Path, description = "The connection's id")),
    responses((status = 200, description = "Muted", body = Taken))
)]
pub(crate) async fn mute(Path(id): Path<String>, ask: Ask) -> Result<Response, ApiError> {
    let run = async {
        let inner = &ask.inner;
        let connection = ask.connection(&id)?;
        let mut asked: MuteBody = ask.body()?;
        let operation_context = asked.asked(inner)?.context;
        let identities = read_all(&asked.target_participants, "targetParticipants")?;
        let target = format!("{id} {}", identities.join(" "));
        ask.audit("calling.muteParticipant", &target).await?;
        let muted = inner.silence(&connection, &identities).await;
        muted.map_err(|error| refused(inner, error))?;
        let taken = Taken { operation_context, ..Taken::default() };
        Ok(Reply::new(StatusCode::OK, json!(taken)))
    };
    ask.once(&format!("POST {id}/participants:mute"), run).await
}

/// Moves participants of another call into this one. They are told, and come by themselves.
#[utoipa::path(
    post, path = "/calling/callConnections/{callConnectionId}/participants:moveHere",
    tag = "Call automation", request_body = MoveBody,
    params(("callConnectionId" = String, Path, description = "The connection's id")),
    responses((status = 202, description = "They are told", body = Taken))
)]
pub(crate) async fn move_here(Path(id): Path<String>, ask: Ask) -> Result<Response, ApiError> {
    let run = async {
        let inner = &ask.inner;
        let connection = ask.connection(&id)?;
        let mut asked: MoveBody = ask.body()?;
        let operation = asked.asked(inner)?;
        let identities = read_all(&asked.target_participants, "targetParticipants")?;
        body::name(&asked.from_call, "fromCall")?;
        let from = ask.connection(&asked.from_call).map_err(|error| error.target("fromCall"))?;
        let target = format!("{id} {} {}", from.id, identities.join(" "));
        ask.audit("calling.moveParticipants", &target).await?;
        let moved = inner.move_here(&connection, &from, &identities, &operation);
        moved.map_err(|error| refused(inner, error))?;
        let seen = |identity: String| ParticipantReply::from(&Seen { identity, muted: false });
        let taken = Taken {
            participants: Some(identities.into_iter().map(seen).collect()),
            operation_context: operation.context,
            ..Taken::default()
        };
        Ok(Reply::new(StatusCode::ACCEPTED, json!(taken)))
    };
    ask.once(&format!("POST {id}/participants:moveHere"), run).await
}

/// Hands a call with one participant over: somebody is called into it, and once they are in, the
/// connection ends. Of several, the transferee goes to a call of its own with the one who is called.
#[utoipa::path(
    post, path = "/calling/callConnections/{callConnectionId}:transferToParticipant",
    tag = "Call automation", request_body = TransferBody,
    params(("callConnectionId" = String, Path, description = "The connection's id")),
    responses((status = 202, description = "It rings", body = Taken))
)]
pub(super) async fn transfer(
    ask: &Ask,
    connection: &Arc<Connection>,
) -> Result<Response, ApiError> {
    let run = async {
        let inner = &ask.inner;
        let mut asked: TransferBody = ask.body()?;
        let operation = asked.asked(inner)?;
        let transferee = asked.transferee.as_ref().map(|one| one.read("transferee")).transpose()?;
        let guest = Guest {
            identity: asked.target_participant.read("targetParticipant")?,
            from: caller_of(ask, connection),
            display_name: String::new(),
            custom_context: custom(asked.custom_calling_context)?,
            timeout: None,
        };
        let target = format!("{} {}", connection.id, guest.identity);
        ask.audit("calling.transfer", &target).await?;
        let operation_context = operation.context.clone();
        let done = inner.transfer(connection, guest, transferee.as_deref(), operation);
        done.map_err(|error| refused(inner, error))?;
        let taken = Taken { operation_context, ..Taken::default() };
        Ok(Reply::new(StatusCode::ACCEPTED, json!(taken)))
    };
    ask.once(&format!("POST {}:transferToParticipant", connection.id), run).await
}
