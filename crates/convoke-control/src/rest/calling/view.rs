//! Replies of call automation.
//!
//! Owns: how connections and participants look by HTTP.
//! Never: asks a call for anything.

use serde::Serialize;
use utoipa::ToSchema;

use crate::calling::Connection;
use crate::calling::connection::{Phase, Seen};

/// Somebody.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Who {
    /// `communicationUser`, or `unknown` for identities that are not ACS's.
    kind: &'static str,
    raw_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    communication_user: Option<Id>,
}

/// An id.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Id {
    id: String,
}

/// A call connection.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Properties {
    call_connection_id: String,
    /// The call's id, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    server_call_id: Option<String>,
    /// `connecting` or `connected`.
    #[schema(example = "connected")]
    call_connection_state: &'static str,
    callback_uri: String,
    correlation_id: String,
    targets: Vec<Who>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Who>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_by: Option<Id>,
}

/// Somebody in a call.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ParticipantReply {
    identifier: Who,
    /// No microphone of it is on.
    is_muted: bool,
    is_on_hold: bool,
}

/// A page of those in a call.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ParticipantsReply {
    pub(super) value: Vec<ParticipantReply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_link: Option<String>,
}

/// An operation was taken.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Taken {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) participant: Option<ParticipantReply>,
    /// Those who are moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) participants: Option<Vec<ParticipantReply>>,
    /// What cancels it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) invitation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) operation_context: Option<String>,
}

impl From<&str> for Who {
    fn from(raw_id: &str) -> Self {
        let id = raw_id.to_owned();
        let user = raw_id.starts_with("8:acs:").then(|| Id { id: id.clone() });
        let kind = if user.is_some() { "communicationUser" } else { "unknown" };
        Self { kind, raw_id: id, communication_user: user }
    }
}

impl From<&Seen> for ParticipantReply {
    fn from(seen: &Seen) -> Self {
        let identifier = Who::from(seen.identity.as_str());
        Self { identifier, is_muted: seen.muted, is_on_hold: false }
    }
}

impl From<&Connection> for Properties {
    fn from(connection: &Connection) -> Self {
        let call = connection.call();
        Self {
            call_connection_id: connection.id.to_string(),
            server_call_id: call.map(|call| call.wire_id().to_owned()),
            call_connection_state: match connection.phase() {
                // What became of one that is over already is told by an event.
                Phase::Connecting | Phase::Disconnected => "connecting",
                Phase::Connected => "connected",
            },
            callback_uri: connection.callback.expose(),
            correlation_id: connection.correlation().to_owned(),
            targets: connection.targets.iter().map(|one| one.as_str().into()).collect(),
            source: connection.source.as_deref().map(Who::from),
            answered_by: connection.answered_by.clone().map(|id| Id { id }),
        }
    }
}
