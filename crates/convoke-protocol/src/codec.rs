//! Text to message and back.
//!
//! Owns: what a bad message is told, and that unknown fields are ignored.
//! Never: judges the meaning of a well-formed message.

use serde::Serialize;
use serde_json::Value;

use crate::{ClientMessage, ErrorCode, ErrorReply, ServerMessage};

/// How alike (0 to 1, Jaro-Winkler) an unknown type must be to a known one to be called a misspelling.
const ALIKE: f64 = 0.8;

/// The longest piece of a client's text that an error repeats, in bytes.
const ECHO: usize = 64;

/// The longest reason or path in an error, in bytes.
const REASON: usize = 256;

/// Why a text is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not JSON at all.
    #[error("the message is not JSON: {reason}")]
    NotJson {
        /// What the parser found, and where.
        reason: String,
    },
    /// JSON, but no object.
    #[error("the message is {found}, but must be a JSON object")]
    NotObject {
        /// What it is instead.
        found: &'static str,
    },
    /// An object without a `type` that is text.
    #[error("the message has no `type`; give one, as text")]
    NoType {
        /// The request number, if it could be read.
        request_id: Option<u32>,
    },
    /// A `type` that this version does not know.
    #[error("unknown type `{name}`{}", hint(*nearest))]
    UnknownType {
        /// The request number, if it could be read.
        request_id: Option<u32>,
        /// The type (its beginning, if it is long).
        name: String,
        /// The known type that it most looks like, if it looks like one.
        nearest: Option<&'static str>,
    },
    /// A field is missing or wrong.
    #[error("`{path}`: {reason}")]
    Field {
        /// The request number, if it could be read.
        request_id: Option<u32>,
        /// Where: `tracks[0].mid`. For a missing field, the path of the object that lacks it
        /// with the field's name appended.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

fn hint(nearest: Option<&'static str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

impl DecodeError {
    /// The number of the request, if one could be read.
    #[must_use]
    pub fn request_id(&self) -> Option<u32> {
        match self {
            Self::NotJson { .. } | Self::NotObject { .. } => None,
            Self::NoType { request_id }
            | Self::UnknownType { request_id, .. }
            | Self::Field { request_id, .. } => *request_id,
        }
    }

    /// The code that the client is told.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownType { .. } => ErrorCode::UnknownType,
            _ => ErrorCode::MalformedMessage,
        }
    }

    /// The `error` message that the client is told.
    #[must_use]
    pub fn to_reply(&self) -> ErrorReply {
        ErrorReply {
            request_id: self.request_id(),
            code: self.code(),
            message: self.to_string(),
            field: match self {
                Self::Field { path, .. } => Some(path.clone()),
                Self::NoType { .. } | Self::UnknownType { .. } => Some("type".to_owned()),
                Self::NotJson { .. } | Self::NotObject { .. } => None,
            },
            retry_after_ms: None,
            reason: None,
        }
    }
}

/// Reads a client's message. Unknown fields are ignored.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode_client(text: &str) -> Result<ClientMessage, DecodeError> {
    decode(text, ClientMessage::TYPES, ClientMessage::read)
}

/// Reads a server's message. Unknown fields are ignored.
///
/// # Errors
/// See [`DecodeError`]; a client ignores [`DecodeError::UnknownType`].
pub fn decode_server(text: &str) -> Result<ServerMessage, DecodeError> {
    decode(text, ServerMessage::TYPES, ServerMessage::read)
}

/// Writes a message.
#[must_use]
pub fn encode<M: Message>(message: &M) -> String {
    // The message types hold only text, numbers, booleans, lists and enums of names: nothing that
    // JSON cannot say, which the tests go through type by type.
    serde_json::to_string(message).unwrap_or_default()
}

/// What [`encode`] takes.
pub trait Message: Serialize + sealed::Sealed {}

impl Message for ClientMessage {}
impl Message for ServerMessage {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::ClientMessage {}
    impl Sealed for crate::ServerMessage {}
}

/// What reading a message's body fails with.
pub(crate) type BodyError = serde_path_to_error::Error<serde_json::Error>;

fn decode<M>(
    text: &str,
    types: &[&'static str],
    read: impl FnOnce(&str, &Value) -> Option<Result<M, BodyError>>,
) -> Result<M, DecodeError> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| DecodeError::NotJson { reason: error.to_string() })?;
    let Value::Object(object) = &value else {
        return Err(DecodeError::NotObject { found: kind(&value) });
    };
    let request_id =
        object.get("requestId").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
    let Some(name) = object.get("type").and_then(Value::as_str) else {
        return Err(DecodeError::NoType { request_id });
    };
    match read(name, &value) {
        Some(Ok(message)) => Ok(message),
        Some(Err(error)) => {
            let (path, reason) = explain(&error);
            Err(DecodeError::Field { request_id, path, reason })
        }
        None => {
            let name = shorten(name, ECHO).to_owned();
            let nearest = nearest(&name, types);
            Err(DecodeError::UnknownType { request_id, name, nearest })
        }
    }
}

/// The path of the field at fault, and what is wrong with it.
fn explain(error: &BodyError) -> (String, String) {
    // serde repeats the value it did not like, however long it is.
    let reason = error.inner().to_string();
    let reason = shorten(&reason, REASON);
    let path = error.path().to_string();
    let parent = if path == "." { "" } else { path.as_str() };
    // serde reports a missing field at its parent; name the field itself.
    let missing = reason.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    match missing {
        Some(field) if parent.is_empty() => (field.to_owned(), "is missing".to_owned()),
        Some(field) => (format!("{parent}.{field}"), "is missing".to_owned()),
        None => (shorten(&path, REASON).to_owned(), reason.to_owned()),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn nearest(name: &str, types: &[&'static str]) -> Option<&'static str> {
    types
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known), *known))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

fn shorten(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
