//! A request that is refused: the protocol's code with words, field and waiting time.
//!
//! Owns: how a refusal becomes an `error` message.
//! Never: decides; the tables of the core's errors are in `convert`.

use std::time::Duration;

use convoke_protocol::{ErrorCode, ErrorReply, ServerMessage};

use crate::config::millis;
use crate::token::TokenError;

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    message: String,
    pub(crate) field: Option<String>,
    retry_after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None, retry_after: None }
    }

    pub(crate) fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    pub(crate) fn into_message(self, request_id: Option<u32>) -> ServerMessage {
        ServerMessage::Error(ErrorReply {
            request_id,
            code: self.code,
            message: self.message,
            field: self.field,
            retry_after_ms: self.retry_after.map(millis),
        })
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        Self::new(error.code(), error.to_string()).field("token")
    }
}
