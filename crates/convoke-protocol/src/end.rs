//! Why a participant's part in a call ended: ACS-shaped `code` and `subCode`.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// Why a call ended for a participant. `code` is SIP-like, `subCode` refines it (ACS words; the
/// sub-codes from 70000 are ours).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct EndReason {
    /// 0 for a normal end, else a SIP-like status.
    pub code: u16,
    /// The detail; see the table in `PROTOCOL.md`.
    pub sub_code: u32,
    /// For people; not stable.
    pub message: String,
}

impl EndReason {
    fn new(code: u16, sub_code: u32, message: &str) -> Self {
        Self { code, sub_code, message: message.to_owned() }
    }

    /// The participant hung up.
    #[must_use]
    pub fn left() -> Self {
        Self::new(0, 0, "The participant left the call.")
    }

    /// The call was ended for everyone.
    #[must_use]
    pub fn call_ended() -> Self {
        Self::new(0, 5000, "The call was ended for everyone.")
    }

    /// Someone with the right to do so removed the participant.
    #[must_use]
    pub fn removed() -> Self {
        Self::new(0, 5300, "The participant was removed from the call.")
    }

    /// ICE or DTLS never connected, or was lost for too long.
    #[must_use]
    pub fn media_lost() -> Self {
        Self::new(408, 10057, "The media path could not be set up or was lost.")
    }

    /// The WebSocket was lost and not resumed within the grace time.
    #[must_use]
    pub fn unreachable() -> Self {
        Self::new(430, 10315, "The app was unreachable for longer than the grace time.")
    }

    /// The server stops.
    #[must_use]
    pub fn server_stopped() -> Self {
        Self::new(503, 70001, "The server is shutting down; join again.")
    }

    /// The worker that carried the call failed; a new join works.
    #[must_use]
    pub fn server_failed() -> Self {
        Self::new(500, 70002, "The server lost the call; join again.")
    }

    /// All of them, for tables and tests.
    #[must_use]
    pub fn all() -> Vec<Self> {
        vec![
            Self::left(),
            Self::call_ended(),
            Self::removed(),
            Self::media_lost(),
            Self::unreachable(),
            Self::server_stopped(),
            Self::server_failed(),
        ]
    }
}
