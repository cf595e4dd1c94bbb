//! `/calling`: Call Automation, as Azure Communication Services has it.
//!
//! Owns: its paths and verbs, and what is answered to those that need a capability which this
//! server does not have.
//! Never: acts on a call; `crate::calling` does.
//!
//! A verb is what follows the last colon of a path. Start reading at `begin.rs`.

pub(crate) mod begin;
mod bodies;
pub(crate) mod view;
pub(crate) mod within;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{
    Extension, FromRequest, FromRequestParts as _, OriginalUri, Path, Request, State,
};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use serde::de::DeserializeOwned;

use super::auth::Caller;
use super::body::{self, Read};
use super::error::{ApiError, Code};
use super::repeat::{self, Reply};
use crate::calling::{CallingError, Connection};
use crate::calls::Call;
use crate::control::Inner;
use bodies::{CallLocator, Located, RecordBody, lacks};

/// Verbs of a connection that need what is not here, each with its name.
const LACKING: [(&str, &str); 14] = [
    ("play", "`playAudio`"),
    ("interruptAudioAndAnnounce", "`playAudio`"),
    ("cancelAllMediaOperations", "`playAudio`"),
    ("recognize", "`recognize`"),
    ("startContinuousDtmfRecognition", "`dtmf`"),
    ("stopContinuousDtmfRecognition", "`dtmf`"),
    ("sendDtmfTones", "`dtmf`"),
    ("hold", "`hold`"),
    ("unhold", "`hold`"),
    ("startTranscription", "`transcription`"),
    ("stopTranscription", "`transcription`"),
    ("updateTranscription", "`transcription`"),
    ("startMediaStreaming", "`mediaStreaming`"),
    ("stopMediaStreaming", "`mediaStreaming`"),
];

/// What a connection takes, without a verb and with one.
const OF_CONNECTION: &str = "GET,HEAD,DELETE";
const OF_VERB: &str = "POST";

/// The methods that a path of a connection takes, where its route, which is one for all verbs, does
/// not say so.
pub(super) fn methods(path: &str) -> Option<&'static str> {
    let segment = path.strip_prefix("/calling/callConnections/")?;
    if segment.contains('/') {
        return None;
    }
    Some(if segment.contains(':') { OF_VERB } else { OF_CONNECTION })
}

pub(super) fn router() -> Router<Arc<Inner>> {
    let one = "/calling/callConnections/{id}";
    Router::new()
        .without_v07_checks()
        .route("/calling/callConnections", post(begin::create))
        .route("/calling/callConnections:answer", post(begin::answer))
        .route("/calling/callConnections:redirect", post(begin::redirect))
        .route("/calling/callConnections:reject", post(begin::reject))
        .route("/calling/callConnections:connect", post(begin::connect))
        .route(one, get(within::show).delete(within::hang_up).post(verb))
        .route(&format!("{one}/participants"), get(within::list))
        .route(&format!("{one}/participants/{{raw_id}}"), get(within::participant))
        .route(&format!("{one}/participants:add"), post(within::add))
        .route(&format!("{one}/participants:remove"), post(within::remove))
        .route(&format!("{one}/participants:mute"), post(within::mute))
        .route(&format!("{one}/participants:cancelAddParticipant"), post(within::cancel))
        .route(&format!("{one}/participants:moveHere"), post(within::move_here))
        .route("/calling/recordings", post(record))
        .route("/calling/recordings/{id}", any(recording))
        .route("/calling/{*rest}", any(nothing))
}

/// A request that may act.
pub(super) struct Ask {
    pub(super) inner: Arc<Inner>,
    pub(super) caller: Caller,
    headers: HeaderMap,
    bytes: Bytes,
}

impl FromRequest<Arc<Inner>> for Ask {
    type Rejection = Response;

    async fn from_request(request: Request, state: &Arc<Inner>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let caller = Extension::<Caller>::from_request_parts(&mut parts, state).await;
        let Extension(caller) = caller.map_err(IntoResponse::into_response)?;
        let (inner, headers) = (Arc::clone(state), parts.headers.clone());
        let bytes = Bytes::from_request(Request::from_parts(parts, body), state).await;
        let bytes = bytes.map_err(IntoResponse::into_response)?;
        Ok(Self { inner, caller, headers, bytes })
    }
}

impl Ask {
    fn body<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        body::read(&self.headers, &self.bytes)
    }

    /// Carries it out, unless it was carried out before.
    async fn once(
        &self,
        operation: &str,
        run: impl Future<Output = Result<Reply, ApiError>>,
    ) -> Result<Response, ApiError> {
        let repeat = repeat::read(&self.headers, &self.caller, operation, &self.bytes, "")?;
        self.inner.calling.repeats.once(repeat, run).await
    }

    /// Before it acts.
    async fn audit(&self, action: &'static str, target: &str) -> Result<(), ApiError> {
        let store = &self.caller.services.store;
        let written = store.audit(self.caller.change(action), target).await;
        written.map_err(|error| ApiError::store(error, Code::CallConnectionNotFound))
    }

    /// A connection that is not over.
    fn connection(&self, id: &str) -> Result<Arc<Connection>, ApiError> {
        find(&self.inner, id)
    }
}

fn find(inner: &Inner, id: &str) -> Result<Arc<Connection>, ApiError> {
    let text = "there is no such call connection, or it is over";
    inner.calling.find(id).ok_or_else(|| ApiError::new(Code::CallConnectionNotFound, text))
}

fn no_call() -> ApiError {
    ApiError::new(Code::CallNotFound, "no such call runs").target("callLocator")
}

/// A call that runs.
fn locate(inner: &Inner, locator: &CallLocator) -> Result<Arc<Call>, ApiError> {
    let call = match locator.read()? {
        Located::By(locator) => inner.calls.by_locator(&locator),
        Located::Id(id) => inner.running(&id),
    };
    call.ok_or_else(no_call)
}

/// Why something could not be done, in ACS's words.
fn refused(inner: &Inner, error: CallingError) -> ApiError {
    let limit = |text: String| {
        let wait = inner.config().times.retry_after;
        ApiError::new(Code::LimitExceeded, text).retry_after(wait)
    };
    let busy = |text: &str| {
        ApiError::new(Code::ServerBusy, text).retry_after(inner.config().times.retry_after)
    };
    match error {
        CallingError::Connections(most) => {
            limit(format!("at most {most} call connections at once"))
        }
        CallingError::ConnectionsOfCall(most) => {
            limit(format!("a call has at most {most} call connections at once"))
        }
        CallingError::Invitations(most) => limit(format!(
            "at most {most} invitations and moves of a connection are under way at once"
        )),
        CallingError::NotConnected => {
            ApiError::new(Code::CallNotEstablished, "the call of this connection is not up yet")
        }
        CallingError::NoParticipant => {
            ApiError::new(Code::ParticipantNotFound, "nobody of this identity is in the call")
        }
        CallingError::Present => {
            let text = "it is in the call already, or being called into it";
            ApiError::new(Code::ParticipantAlreadyInCall, text)
        }
        CallingError::NotRinging => {
            let text = "no call rings by this context (any more)";
            ApiError::new(Code::IncomingCallNotFound, text).target("incomingCallContext")
        }
        CallingError::Transferee => {
            let text = "`transferee` is missing: several are in the call, say who is to go";
            ApiError::new(Code::BadRequest, text).target("transferee")
        }
        CallingError::Itself => {
            let text = "`targetParticipant` is the transferee itself";
            ApiError::new(Code::BadRequest, text).target("targetParticipant")
        }
        CallingError::SameCall => {
            let text = "`fromCall` is a connection of the same call";
            ApiError::new(Code::BadRequest, text).target("fromCall")
        }
        CallingError::InRoom => {
            lacks("`inviteIntoRoom`: put the participant on the room's list, so that it can join")
        }
        CallingError::Busy => busy("a media worker is busy; try again"),
        CallingError::Draining => busy("the server begins no calls because it will stop"),
        CallingError::Ring(error) => {
            ApiError::new(Code::BadRequest, error.to_string()).target(error.field)
        }
    }
}

/// `POST` of a connection's id with a verb.
async fn verb(Path(segment): Path<String>, ask: Ask) -> Result<Response, ApiError> {
    let Some((id, verb)) = segment.rsplit_once(':') else {
        return Err(ApiError::wrong_method(OF_CONNECTION));
    };
    let connection = ask.connection(id)?;
    match verb {
        "terminate" => within::terminate(&ask, &connection).await,
        "transferToParticipant" => within::transfer(&ask, &connection).await,
        other => match LACKING.iter().find(|(verb, _)| *verb == other) {
            Some((_, capability)) => Err(lacks(capability)),
            None => Err(ApiError::new(Code::NotFound, "a call connection has no such verb")),
        },
    }
}

async fn record(
    State(inner): State<Arc<Inner>>,
    Read(asked): Read<RecordBody>,
) -> Result<Response, ApiError> {
    match (&asked.call_locator, &asked.call_connection_id) {
        (_, Some(id)) => drop(find(&inner, id)?),
        (Some(locator), None) => drop(locate(&inner, locator)?),
        (None, None) => {
            let text = "give `callLocator` or `callConnectionId`";
            return Err(ApiError::new(Code::BadRequest, text).target("callLocator"));
        }
    }
    Err(lacks("`recording`"))
}

async fn recording() -> ApiError {
    ApiError::new(Code::RecordingNotFound, "there is no such recording")
}

async fn nothing(OriginalUri(_): OriginalUri) -> ApiError {
    ApiError::new(Code::NotFound, "nothing is here")
}
