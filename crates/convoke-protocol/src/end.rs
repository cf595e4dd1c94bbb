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

    /// The scheduled room's participants were changed: this one is no longer among them.
    #[must_use]
    pub fn removed_from_room() -> Self {
        Self::new(0, 5317, "The participant was taken off the room's list.")
    }

    /// The identity is not on the scheduled room's list.
    #[must_use]
    pub fn not_invited() -> Self {
        Self::new(403, 5828, "The identity is not on the room's list of participants.")
    }

    /// The scheduled room's time is over.
    #[must_use]
    pub fn room_expired() -> Self {
        Self::new(403, 5829, "The room's time is over.")
    }

    /// The scheduled room's time has not come.
    #[must_use]
    pub fn room_not_open() -> Self {
        Self::new(403, 5830, "The room's time has not come.")
    }

    /// The token was revoked, or its identity deleted.
    #[must_use]
    pub fn token_revoked() -> Self {
        Self::new(401, 70003, "The access token was revoked.")
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
            Self::removed_from_room(),
            Self::not_invited(),
            Self::room_expired(),
            Self::room_not_open(),
            Self::token_revoked(),
            Self::media_lost(),
            Self::unreachable(),
            Self::server_stopped(),
            Self::server_failed(),
        ]
    }
}
