//! Bodies of call automation: what ACS's SDKs send, checked.
//!
//! Owns: the bounds of their parts, and the words for what is wrong with one.
//! Never: takes quietly what this server cannot do: that is refused as not supported.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::super::body;
use super::super::error::{ApiError, Code};
use crate::calling::callback::Callback;
use crate::calling::connection::Asked;
use crate::calls::Locator;
use crate::control::Inner;
use crate::token::check_name;

/// The longest `operationContext`, in bytes.
pub(super) const CONTEXT: usize = 4_096;
/// Participants that one request may name.
pub(super) const TARGETS: usize = 50;
/// How long an invitation may ring, in seconds.
pub(super) const INVITATION: std::ops::RangeInclusive<u64> = 5..=120;

/// Somebody.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identifier {
    /// The raw id.
    raw_id: Option<String>,
    /// The raw id again.
    communication_user: Option<UserId>,
    #[schema(ignore)]
    phone_number: Option<Value>,
    #[schema(ignore)]
    microsoft_teams_user: Option<Value>,
    #[schema(ignore)]
    microsoft_teams_app: Option<Value>,
    #[schema(ignore)]
    teams_extension_user: Option<Value>,
}

/// A user's raw id.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub(crate) struct UserId {
    id: String,
}

/// How to find a call that runs.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CallLocator {
    /// `groupCallLocator`, `roomCallLocator` or `serverCallLocator`.
    #[schema(example = "serverCallLocator")]
    kind: String,
    group_call_id: Option<String>,
    room_id: Option<String>,
    /// A call's id, as events and records have it.
    server_call_id: Option<String>,
}

/// What goes to the one who is called.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CustomContext {
    /// Passed on as JSON; at most 2 KiB.
    #[serde(default)]
    voip_headers: BTreeMap<String, String>,
    #[schema(ignore)]
    #[serde(default)]
    sip_headers: BTreeMap<String, String>,
}

/// A body with what every connection begins with, or with what comes with every operation: each
/// field by itself, so that errors can name it.
macro_rules! body {
    ($(#[$meta:meta])* $name:ident { $($fields:tt)* } begins) => {
        body! { $(#[$meta])* $name {
            $($fields)*
            /// Where events go: http or https.
            callback_uri: Option<String>,
            /// Comes back in events.
            operation_context: Option<String>,
            #[schema(ignore)]
            media_streaming_options: Option<Value>,
            #[schema(ignore)]
            transcription_options: Option<Value>,
        } }

        impl $name {
            /// Where its events go, and its context.
            pub(super) fn opening(
                &mut self,
                inner: &Inner,
            ) -> Result<(Callback, Option<String>), ApiError> {
                if self.media_streaming_options.is_some() {
                    return Err(lacks("`mediaStreaming`").target("mediaStreamingOptions"));
                }
                if self.transcription_options.is_some() {
                    return Err(lacks("`transcription`").target("transcriptionOptions"));
                }
                let uri = self.callback_uri.take();
                let uri = uri.ok_or_else(|| wrong("callbackUri", "is missing"))?;
                let callback = callback(inner, &uri, "callbackUri")?;
                Ok((callback, context(self.operation_context.take())?))
            }
        }
    };
    ($(#[$meta:meta])* $name:ident { $($fields:tt)* } operates) => {
        body! { $(#[$meta])* $name {
            $($fields)*
            /// Comes back in the reply and in the event.
            operation_context: Option<String>,
            /// Where the outcome is told instead.
            operation_callback_uri: Option<String>,
        } }

        impl $name {
            /// What goes back with the outcome.
            pub(super) fn asked(&mut self, inner: &Inner) -> Result<Asked, ApiError> {
                let read = |uri: String| callback(inner, &uri, "operationCallbackUri");
                let callback = self.operation_callback_uri.take().map(read).transpose()?;
                Ok(Asked { context: context(self.operation_context.take())?, callback })
            }
        }
    };
    ($(#[$meta:meta])* $name:ident { $($fields:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, Default, Deserialize, ToSchema)]
        #[serde(rename_all = "camelCase")]
        pub(crate) struct $name { $($fields)* }
    };
}

body! {
    /// A call to begin.
    CreateBody {
        /// 1 to 50.
        pub(super) targets: Vec<Identifier>,
        pub(super) source: Option<UserId>,
        pub(super) source_display_name: Option<String>,
        #[schema(ignore)]
        pub(super) source_caller_id_number: Option<Value>,
        pub(super) custom_calling_context: Option<CustomContext>,
    } begins
}

body! {
    /// A call to answer.
    AnswerBody {
        /// From the event `Microsoft.Communication.IncomingCall`.
        pub(super) incoming_call_context: String,
        pub(super) answered_by: Option<UserId>,
    } begins
}

body! {
    /// A call to hand on.
    RedirectBody {
        pub(super) incoming_call_context: String,
        pub(super) target: Identifier,
    }
}

body! {
    /// A call to reject.
    RejectBody {
        pub(super) incoming_call_context: String,
        /// `none`, `busy` or `forbidden`.
        pub(super) call_reject_reason: Option<String>,
    }
}

body! {
    /// A call to attach to.
    ConnectBody {
        pub(super) call_locator: CallLocator,
    } begins
}

body! {
    /// Somebody to call into the call.
    AddBody {
        pub(super) participant_to_add: Identifier,
        pub(super) source_display_name: Option<String>,
        #[schema(ignore)]
        pub(super) source_caller_id_number: Option<Value>,
        /// 5 to 120; `calls.ring_timeout` if absent.
        pub(super) invitation_timeout_in_seconds: Option<u64>,
        pub(super) custom_calling_context: Option<CustomContext>,
    } operates
}

body! {
    /// An invitation to take back.
    CancelBody {
        pub(super) invitation_id: String,
    } operates
}

body! {
    /// Somebody to remove.
    RemoveBody {
        pub(super) participant_to_remove: Identifier,
    } operates
}

body! {
    /// Those to mute.
    MuteBody {
        /// 1 to 50.
        pub(super) target_participants: Vec<Identifier>,
    } operates
}

body! {
    /// Those to move.
    MoveBody {
        /// 1 to 50.
        pub(super) target_participants: Vec<Identifier>,
        /// The connection of the call in which they are.
        pub(super) from_call: String,
    } operates
}

body! {
    /// To whom the call is handed.
    TransferBody {
        pub(super) target_participant: Identifier,
        /// Who is handed over; may be absent where one is in the call.
        pub(super) transferee: Option<Identifier>,
        pub(super) custom_calling_context: Option<CustomContext>,
    } operates
}

/// What is to be recorded.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecordBody {
    pub(super) call_locator: Option<CallLocator>,
    pub(super) call_connection_id: Option<String>,
}

fn wrong(target: &str, reason: impl std::fmt::Display) -> ApiError {
    ApiError::new(Code::BadRequest, format!("`{target}` {reason}")).target(target)
}

/// Refuses what this server cannot do, by the name of what it lacks.
pub(super) fn lacks(capability: &str) -> ApiError {
    ApiError::new(
        Code::NotSupported,
        format!("this server does not have the capability {capability}"),
    )
}

impl Identifier {
    /// The raw id.
    pub(super) fn read(&self, target: &str) -> Result<String, ApiError> {
        let raw = self.raw_id.as_deref();
        if self.phone_number.is_some() || raw.is_some_and(|raw| raw.starts_with("4:")) {
            return Err(lacks("`telephony`: only users can be called").target(target));
        }
        let teams =
            [&self.microsoft_teams_user, &self.microsoft_teams_app, &self.teams_extension_user];
        if teams.into_iter().any(Option::is_some) {
            return Err(lacks("`teams`: only users of this server can be called").target(target));
        }
        let user = self.communication_user.as_ref().map(|user| user.id.as_str());
        if raw.zip(user).is_some_and(|(raw, user)| raw != user) {
            return Err(wrong(target, "has two different ids"));
        }
        let id = raw.or(user).ok_or_else(|| wrong(target, "has no `rawId`"))?;
        body::name(id, target)?;
        Ok(id.to_owned())
    }
}

pub(super) fn read_all(list: &[Identifier], target: &str) -> Result<Vec<String>, ApiError> {
    if list.is_empty() || list.len() > TARGETS {
        return Err(wrong(target, format!("must name 1 to {TARGETS}")));
    }
    let mut all: Vec<String> = Vec::new();
    for (at, one) in list.iter().enumerate() {
        let at = format!("{target}[{at}]");
        let id = one.read(&at)?;
        if all.contains(&id) {
            return Err(wrong(&at, "is named twice; leave one out"));
        }
        all.push(id);
    }
    Ok(all)
}

/// A user's id where only that may be.
pub(super) fn user(id: Option<&UserId>, target: &str) -> Result<Option<String>, ApiError> {
    let Some(UserId { id }) = id else { return Ok(None) };
    body::name(id, target)?;
    Ok(Some(id.clone()))
}

pub(super) fn display_name(name: Option<&str>) -> Result<String, ApiError> {
    let name = name.unwrap_or_default();
    check_name(name).map_err(|reason| wrong("sourceDisplayName", reason))?;
    Ok(name.to_owned())
}

fn context(context: Option<String>) -> Result<Option<String>, ApiError> {
    if context.as_ref().is_some_and(|context| context.len() > CONTEXT) {
        return Err(wrong("operationContext", format!("has more than {CONTEXT} bytes")));
    }
    Ok(context)
}

fn callback(inner: &Inner, text: &str, target: &str) -> Result<Callback, ApiError> {
    let hosts = &inner.calling.config.callback_hosts;
    Callback::read(text, hosts).map_err(|reason| wrong(target, reason))
}

/// The context as the one who is called gets it.
pub(super) fn custom(context: Option<CustomContext>) -> Result<Option<String>, ApiError> {
    let target = "customCallingContext";
    let Some(CustomContext { voip_headers, sip_headers }) = context else { return Ok(None) };
    if !sip_headers.is_empty() {
        return Err(lacks("`telephony`: SIP headers go nowhere").target(target));
    }
    if voip_headers.is_empty() {
        return Ok(None);
    }
    let text = json!(voip_headers).to_string();
    if text.len() > crate::ringing::CONTEXT {
        let most = crate::ringing::CONTEXT;
        return Err(wrong(target, format!("has more than {most} bytes as JSON")));
    }
    Ok(Some(text))
}

pub(super) fn invitation_timeout(seconds: Option<u64>) -> Result<Option<Duration>, ApiError> {
    if seconds.is_some_and(|seconds| !INVITATION.contains(&seconds)) {
        let (least, most) = (INVITATION.start(), INVITATION.end());
        let reason = format!("must be from {least} to {most}");
        return Err(wrong("invitationTimeoutInSeconds", reason));
    }
    Ok(seconds.map(Duration::from_secs))
}

/// What a locator stands for.
pub(super) enum Located {
    By(Locator),
    Id(String),
}

impl CallLocator {
    pub(super) fn read(&self) -> Result<Located, ApiError> {
        let need = |id: &Option<String>, target: &str| {
            let target = format!("callLocator.{target}");
            let id = id.clone().ok_or_else(|| wrong(&target, "is missing"))?;
            body::name(&id, &target)?;
            Ok::<_, ApiError>(id)
        };
        match self.kind.as_str() {
            "groupCallLocator" => {
                let id = need(&self.group_call_id, "groupCallId")?;
                let group = id.parse().map_err(|_| wrong("callLocator.groupCallId", "is no GUID"));
                Ok(Located::By(Locator::Group(group?)))
            }
            "roomCallLocator" => {
                let id = need(&self.room_id, "roomId")?;
                Ok(Located::By(Locator::Room(id.into())))
            }
            "serverCallLocator" => Ok(Located::Id(need(&self.server_call_id, "serverCallId")?)),
            _ => {
                let text = "must be groupCallLocator, roomCallLocator or serverCallLocator";
                Err(wrong("callLocator.kind", text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identifier(json: Value) -> Result<String, Code> {
        let read: Identifier = serde_json::from_value(json).unwrap();
        read.read("x").map_err(|error| error.code)
    }

    #[test]
    fn identifiers_are_users_of_here() {
        let id = "8:acs:a_b";
        for good in [
            json!({ "kind": "communicationUser", "rawId": id, "communicationUser": { "id": id } }),
            json!({ "communicationUser": { "id": id } }),
            json!({ "rawId": id }),
        ] {
            assert_eq!(identifier(good), Ok(id.to_owned()));
        }
        for telephone in [
            json!({ "rawId": "4:+1555", "phoneNumber": { "value": "+1555" } }),
            json!({ "phoneNumber": { "value": "+1555" } }),
            json!({ "rawId": "4:+1555" }),
            json!({ "rawId": "8:orgid:x", "microsoftTeamsUser": { "userId": "x" } }),
        ] {
            assert_eq!(identifier(telephone), Err(Code::NotSupported));
        }
        for bad in [
            json!({}),
            json!({ "rawId": "" }),
            json!({ "rawId": "a\nb" }),
            json!({ "rawId": id, "communicationUser": { "id": "8:acs:a_c" } }),
            json!({ "rawId": "x".repeat(257) }),
        ] {
            assert_eq!(identifier(bad), Err(Code::BadRequest));
        }
    }

    #[test]
    fn lists_and_times_have_bounds() {
        let list = |count: usize| -> Vec<Identifier> {
            let one = |at| serde_json::from_value(json!({ "rawId": format!("{at}") })).unwrap();
            (0..count).map(one).collect()
        };
        assert!(read_all(&list(TARGETS), "targets").is_ok());
        assert!(read_all(&list(0), "targets").is_err());
        assert!(read_all(&list(TARGETS + 1), "targets").is_err());
        let twice = [list(1), list(1)].concat();
        assert!(read_all(&twice, "targets").is_err());
        for (seconds, good) in [(4, false), (5, true), (120, true), (121, false)] {
            assert_eq!(invitation_timeout(Some(seconds)).is_ok(), good, "{seconds}");
        }
        assert!(context(Some("x".repeat(CONTEXT))).is_ok());
        assert!(context(Some("x".repeat(CONTEXT + 1))).is_err());
        assert!(display_name(Some(&"x".repeat(256))).is_ok());
        assert!(display_name(Some(&"x".repeat(257))).is_err());
        let headers = |bytes: usize| {
            let voip_headers = [("k".to_owned(), "x".repeat(bytes - 8))].into();
            custom(Some(CustomContext { voip_headers, ..CustomContext::default() }))
        };
        assert_eq!(headers(2_048).unwrap().unwrap().len(), 2_048);
        assert!(headers(2_049).is_err());
    }
}
