//! How a request is refused.
//!
//! Owns: the codes, each with its status, and the two shapes: ACS's error object on ACS's paths,
//! problem details (RFC 9457) elsewhere.
//! Never: tells more than the requester should know.

use std::time::Duration;

use axum::Json;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use convoke_store::StoreError;
use serde_json::json;

/// How errors look on a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Shape {
    /// `{"error": {"code", "message"}}`.
    Acs,
    /// `application/problem+json`.
    #[default]
    Problem,
}

/// The first segments of ACS's paths.
const ACS: [&str; 5] = ["/identities", "/rooms", "/calling", "/teamsUser", "/access"];

impl Shape {
    pub(crate) fn of(path: &str) -> Self {
        let below = |prefix: &&str| {
            path.strip_prefix(*prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':']))
        };
        if ACS.iter().any(below) { Self::Acs } else { Self::Problem }
    }
}

macro_rules! codes {
    ($( $(#[doc = $doc:literal])* $name:ident = $status:ident, )*) => {
        /// Why a request was refused: stable. ACS's paths spell it as it is here, others with a
        /// small first letter.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Code { $( $(#[doc = $doc])* $name, )* }

        impl Code {
            /// All of them, with what they mean.
            pub(crate) const ALL: &'static [(Self, &'static str)] =
                &[$( (Self::$name, concat!($($doc),*)), )*];

            pub(crate) fn status(self) -> StatusCode {
                match self { $( Self::$name => StatusCode::$status, )* }
            }

            pub(crate) fn acs(self) -> &'static str {
                match self { $( Self::$name => stringify!($name), )* }
            }
        }
    };
}

codes! {
    /// The body or a parameter is wrong; the message and `target` say which part.
    BadRequest = BAD_REQUEST,
    /// The body is no JSON of the expected form.
    InvalidBody = BAD_REQUEST,
    /// `api-version` is absent.
    MissingApiVersion = BAD_REQUEST,
    /// `api-version` is not one that is spoken here.
    UnsupportedApiVersion = BAD_REQUEST,
    /// A page was asked for that no reply named.
    InvalidContinuation = BAD_REQUEST,
    /// The repeatability headers are wrong, or the id was used for another request.
    RepeatabilityInvalid = BAD_REQUEST,
    /// No key, a wrong key or signature, or a date outside the window.
    Unauthorized = UNAUTHORIZED,
    /// The key does not have the role that this needs.
    Forbidden = FORBIDDEN,
    /// Nothing is here.
    NotFound = NOT_FOUND,
    /// There is no such identity.
    IdentityNotFound = NOT_FOUND,
    /// There is no such room.
    RoomNotFound = NOT_FOUND,
    /// There is no record of such a call.
    CallNotFound = NOT_FOUND,
    /// There is no such call connection, or it is over.
    CallConnectionNotFound = NOT_FOUND,
    /// Nobody of this identity is in the call.
    ParticipantNotFound = NOT_FOUND,
    /// No call rings by this context (any more).
    IncomingCallNotFound = NOT_FOUND,
    /// There is no such recording.
    RecordingNotFound = NOT_FOUND,
    /// There is no such capture (any more).
    CaptureNotFound = NOT_FOUND,
    /// No such call runs now.
    CallNotRunning = NOT_FOUND,
    /// There is no such webhook, or it has no such dead letter.
    WebhookNotFound = NOT_FOUND,
    /// The path does not take this method.
    MethodNotAllowed = METHOD_NOT_ALLOWED,
    /// The call of this connection is not up yet.
    CallNotEstablished = CONFLICT,
    /// The call is being captured.
    CaptureRunning = CONFLICT,
    /// The participant is in the call, or being called into it.
    ParticipantAlreadyInCall = CONFLICT,
    /// `Repeatability-First-Sent` is too long ago: whether it was carried out is no longer known.
    RepeatabilityExpired = PRECONDITION_FAILED,
    /// The body took too long to come.
    RequestTimeout = REQUEST_TIMEOUT,
    /// The configuration file is wrong; the message says what. Nothing was changed.
    ConfigurationInvalid = UNPROCESSABLE_ENTITY,
    /// The body is too large.
    RequestTooLarge = PAYLOAD_TOO_LARGE,
    /// The body is not JSON by its `Content-Type`.
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE,
    /// Too many requests with this key; try again after `Retry-After`.
    TooManyRequests = TOO_MANY_REQUESTS,
    /// As much is held as may be; the message names the bound.
    LimitExceeded = TOO_MANY_REQUESTS,
    /// Too many wrong keys came from this address; try again after `Retry-After`.
    TooManyFailures = TOO_MANY_REQUESTS,
    /// A fault of ours; it was logged.
    InternalError = INTERNAL_SERVER_ERROR,
    /// This server does not have that feature, or was not configured for it.
    NotImplemented = NOT_IMPLEMENTED,
    /// This operation needs a capability that this server does not have; the message names it.
    NotSupported = NOT_IMPLEMENTED,
    /// The webhook's receiver did not take it.
    WebhookFailed = BAD_GATEWAY,
    /// What is kept cannot be reached now; try again after `Retry-After`.
    StoreUnavailable = SERVICE_UNAVAILABLE,
    /// The media worker is busy (then it may be done in part), or the server will stop; try again
    /// after `Retry-After`.
    ServerBusy = SERVICE_UNAVAILABLE,
}

impl Code {
    /// The code as problem details spell it.
    pub(crate) fn problem(self) -> String {
        let name = self.acs();
        let first = name.get(..1).unwrap_or_default().to_ascii_lowercase();
        format!("{first}{}", name.get(1..).unwrap_or_default())
    }
}

/// A refusal.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) code: Code,
    message: String,
    target: Option<String>,
    retry_after: Option<Duration>,
    /// What a path takes whose method was wrong, if that is known.
    allow: &'static str,
    shape: Shape,
}

impl ApiError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            target: None,
            retry_after: None,
            allow: "",
            shape: Shape::default(),
        }
    }

    /// For a path that takes these methods.
    pub(crate) fn wrong_method(allow: &'static str) -> Self {
        let text = "this path does not take this method";
        Self { allow, ..Self::new(Code::MethodNotAllowed, text) }
    }

    /// The part at fault.
    pub(crate) fn target(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }

    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    pub(crate) fn shaped(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    /// What the store said; `missing` is the code for what is not there.
    pub(crate) fn store(error: StoreError, missing: Code) -> Self {
        match error {
            StoreError::NotFound => {
                let known = Code::ALL.iter().find(|(code, _)| *code == missing);
                Self::new(missing, known.map_or("not found", |(_, text)| text.trim()))
            }
            StoreError::Invalid(reason) => Self::new(Code::BadRequest, reason),
            error @ StoreError::TooMany(_) => Self::new(Code::BadRequest, error.to_string()),
            error => {
                tracing::warn!(%error, "a request needs the store");
                let text = "what is kept cannot be reached now; try again";
                Self::new(Code::StoreUnavailable, text).retry_after(Duration::from_secs(1))
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        // The gate gives it the shape of its path.
        let again = self.clone();
        let status = self.code.status();
        let (kind, body) = match self.shape {
            Shape::Acs => {
                let mut error = json!({ "code": self.code.acs(), "message": self.message });
                if let Some(target) = self.target {
                    error["target"] = target.into();
                }
                ("application/json", json!({ "error": error }))
            }
            Shape::Problem => {
                let mut body = json!({
                    "type": "about:blank",
                    "title": status.canonical_reason().unwrap_or("Error"),
                    "status": status.as_u16(),
                    "detail": self.message,
                    "code": self.code.problem(),
                });
                if let Some(target) = self.target {
                    body["target"] = target.into();
                }
                ("application/problem+json", body)
            }
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert("x-ms-error-code", HeaderValue::from_static(self.code.acs()));
        if status == StatusCode::UNAUTHORIZED {
            let known = HeaderValue::from_static("HMAC-SHA256, Bearer");
            headers.insert(WWW_AUTHENTICATE, known);
        }
        if !self.allow.is_empty() {
            headers.insert(ALLOW, HeaderValue::from_static(self.allow));
        }
        if let Some(wait) = self.retry_after {
            // Whole seconds, never too few and never "at once".
            let wait = wait.saturating_add(Duration::from_millis(999)).as_secs().max(1);
            headers.insert(RETRY_AFTER, HeaderValue::from(wait));
        }
        response.extensions_mut().insert(again);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acs_paths_have_acs_errors() {
        for path in ["/identities", "/rooms/1", "/calling/callConnections:answer", "/rooms/1/x"] {
            assert_eq!(Shape::of(path), Shape::Acs, "{path}");
        }
        for path in ["/", "/roomsx", "/events", "/calls/1", "/x/rooms"] {
            assert_eq!(Shape::of(path), Shape::Problem, "{path}");
        }
    }

    #[test]
    fn problems_begin_small() {
        assert_eq!(Code::RoomNotFound.problem(), "roomNotFound");
    }
}
