//! Events of calls as ACS tells them through Event Grid.
//!
//! Owns: the shapes of `Microsoft.Communication.CallStarted`, `CallEnded`, `CallParticipantAdded` and
//! `CallParticipantRemoved`, as their documentation and the SDKs' models have them (where the two
//! differ in a name, both are told).
//! Never: keeps anything: an event looks the same whenever it is asked for.

use std::collections::HashMap;

use convoke_store::{Event, Store, StoreError};
use serde_json::{Map, Value, json};

use super::events::cloud_event;
use crate::calling::identifier;

/// What events of ACS are called, before the last part.
const PREFIX: &str = "Microsoft.Communication.";
/// The first events of a stream, among which the call's begin is.
const FIRST: i64 = 16;

/// How calls began, read from the store once for each.
pub(crate) struct Calls<'a> {
    store: &'a Store,
    begins: HashMap<String, Option<Event>>,
}

impl<'a> Calls<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store, begins: HashMap::new() }
    }

    /// How the call of a stream began; `None` when that is not in the log.
    async fn begin(&mut self, stream: &str) -> Result<Option<Event>, StoreError> {
        if let Some(known) = self.begins.get(stream) {
            return Ok(known.clone());
        }
        let first = self.store.stream(stream, 0, FIRST).await?;
        let begin = first.into_iter().find(|event| event.kind == "call.started");
        self.begins.insert(stream.to_owned(), begin.clone());
        Ok(begin)
    }
}

/// An event as a CloudEvent of ACS's; `None` when ACS has none for it.
pub(crate) async fn translate(
    event: &Event,
    calls: &mut Calls<'_>,
) -> Result<Option<Value>, StoreError> {
    let kind = match &*event.kind {
        "call.started" => "CallStarted",
        "call.ended" => "CallEnded",
        "call.participantJoined" => "CallParticipantAdded",
        "call.participantLeft" => "CallParticipantRemoved",
        own if own.starts_with(PREFIX) => return Ok(Some(cloud_event(event))),
        _ => return Ok(None),
    };
    let begin = calls.begin(&event.stream).await?;
    let data = data(event, begin.as_ref());
    let mut told = cloud_event(event);
    told["type"] = format!("{PREFIX}{kind}").into();
    told["subject"] = subject(event, &data).into();
    told["data"] = data.into();
    Ok(Some(told))
}

fn data(event: &Event, begin: Option<&Event>) -> Map<String, Value> {
    let mut data = Map::new();
    let own = &event.data;
    let call = own["call"].as_str().unwrap_or_default();
    if let Some(begin) = begin {
        about_call(&mut data, &begin.data);
    }
    data.insert("serverCallId".into(), call.into());
    data.insert("correlationId".into(), call.into());
    if let Some(two) = own.get("isTwoParty") {
        data.insert("isTwoParty".into(), two.clone());
    }
    if let Some(identity) = own["identity"].as_str() {
        data.insert("user".into(), participant(identity, own.get("role")));
        data.insert("participantId".into(), own["participant"].clone());
        copy(&mut data, own, &[("displayName", "displayName")]);
        copy(&mut data, own, &[("userAgent", "userAgent"), ("userAgent", "endpointType")]);
    }
    // Why somebody went, or why it is over.
    if let Some(code) = own.get("code") {
        let mut reason = json!({ "code": code, "subCode": own["subCode"] });
        if let Some(message) = own.get("message") {
            reason["phrase"] = message.clone();
        }
        data.insert("reason".into(), reason);
    }
    if event.kind == "call.ended"
        && let Some(begin) = begin
    {
        let seconds = json!(seconds(event.at.saturating_sub(begin.at)));
        data.insert("durationOfCall".into(), seconds.clone());
        data.insert("callDurationInSeconds".into(), seconds);
    }
    data
}

/// What every event tells of its call.
fn about_call(data: &mut Map<String, Value>, begin: &Value) {
    if let Some(identity) = begin["startedBy"].as_str() {
        data.insert("startedBy".into(), participant(identity, begin.get("startedByRole")));
    }
    let locator = begin["locator"].as_str().unwrap_or_default();
    let (group, room) = (locator.strip_prefix("groups/"), locator.strip_prefix("rooms/"));
    if let Some(id) = group {
        data.insert("group".into(), json!({ "id": id }));
    }
    if let Some(id) = room {
        data.insert("room".into(), json!({ "id": id }));
    }
    data.insert("isRoomsCall".into(), room.is_some().into());
}

/// Somebody, as the documentation has it and, in `communicationIdentifier`, as the SDKs do.
fn participant(identity: &str, role: Option<&Value>) -> Value {
    let mut who = identifier(identity);
    who["communicationIdentifier"] = identifier(identity);
    if let Some(role) = role {
        who["role"] = role.clone();
    }
    who
}

fn copy(data: &mut Map<String, Value>, from: &Value, names: &[(&str, &str)]) {
    for (theirs, ours) in names {
        if let Some(value) = from.get(*theirs) {
            data.insert((*ours).into(), value.clone());
        }
    }
}

fn subject(event: &Event, data: &Map<String, Value>) -> String {
    let call = data["serverCallId"].as_str().unwrap_or_default();
    let raw = |who: &str| data.get(who).and_then(|who| who["rawId"].as_str()).unwrap_or_default();
    match &*event.kind {
        "call.started" => format!("call/{call}/startedBy/{}", raw("startedBy")),
        "call.ended" => format!("call/{call}"),
        _ => format!("call/{call}/participant/{}", raw("user")),
    }
}

/// Milliseconds as seconds. Longer than a call lasts, they are exact in a float.
fn seconds(ms: i64) -> f64 {
    f64::from(u32::try_from(ms.max(0)).unwrap_or(u32::MAX)) / 1000.0
}
