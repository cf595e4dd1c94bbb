//! A request that is refused: the protocol's code with words, field and waiting time.
//!
//! Owns: how a refusal becomes an `error` message.
//! Never: decides; the tables of the core's errors are in `convert`.

use std::time::Duration;

use convoke_protocol::{EndReason, ErrorCode, ErrorReply, ServerMessage};

use crate::config::millis;
use crate::token::TokenError;

/// What clients are told to wait when their issuer's keys cannot be had.
const ISSUER_WAIT: Duration = Duration::from_secs(10);

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    message: String,
    pub(crate) field: Option<String>,
    retry_after: Option<Duration>,
    reason: Option<EndReason>,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None, retry_after: None, reason: None }
    }

    pub(crate) fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Whether it may be granted later.
    pub(crate) fn is_temporary(&self) -> bool {
        self.retry_after.is_some()
    }

    /// How long to wait before trying again, where that helps.
    pub(crate) fn wait(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// With the ACS code and sub-code.
    pub(crate) fn reason(mut self, reason: EndReason) -> Self {
        self.reason = Some(reason);
        self
    }

    /// How a call ends for this, where it has an ACS code.
    pub(crate) fn end_reason(&self) -> Option<EndReason> {
        self.reason.clone()
    }

    pub(crate) fn into_message(self, request_id: Option<u32>) -> ServerMessage {
        ServerMessage::Error(ErrorReply {
            request_id,
            code: self.code,
            message: self.message,
            field: self.field,
            retry_after_ms: self.retry_after.map(millis),
            reason: self.reason,
        })
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        let refusal = Self::new(error.code(), error.to_string()).field("token");
        match error {
            TokenError::NoIssuerKeys => refusal.retry_after(ISSUER_WAIT),
            _ => refusal,
        }
    }
}
