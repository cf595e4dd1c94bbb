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

    /// A participant with the right to do so ended the call for everyone.
    #[must_use]
    pub fn ended_for_everyone() -> Self {
        Self::new(0, 4097, "A participant ended the call for everyone.")
    }

    /// The access token expired and was not renewed.
    #[must_use]
    pub fn token_expired() -> Self {
        Self::new(495, 4507, "The access token expired and was not renewed.")
    }

    /// Turned away from the lobby.
    #[must_use]
    pub fn rejected_in_lobby() -> Self {
        Self::new(403, 70005, "Someone in the call turned the participant away from the lobby.")
    }

    /// Nobody let the participant in from the lobby in time.
    #[must_use]
    pub fn lobby_timed_out() -> Self {
        Self::new(408, 70004, "Nobody let the participant in from the lobby in time.")
    }

    /// The join could not be carried out when the participant was let in.
    #[must_use]
    pub fn setup_failed() -> Self {
        Self::new(410, 3111, "The media offers could not be used.")
    }

    /// The caller hung up before anybody answered.
    #[must_use]
    pub fn canceled() -> Self {
        Self::new(487, 0, "The caller hung up.")
    }

    /// Another device of the same identity accepted.
    #[must_use]
    pub fn accepted_elsewhere() -> Self {
        Self::new(487, 10003, "The call was accepted on another device.")
    }

    /// Nobody answered in time.
    #[must_use]
    pub fn not_answered() -> Self {
        Self::new(487, 10004, "The call was not answered in time.")
    }

    /// The call was declined.
    #[must_use]
    pub fn declined() -> Self {
        Self::new(603, 0, "The call was declined.")
    }

    /// All devices of those who were called were busy.
    #[must_use]
    pub fn busy() -> Self {
        Self::new(486, 0, "Those who were called are busy.")
    }

    /// No device of those who were called is connected.
    #[must_use]
    pub fn no_agent() -> Self {
        Self::new(480, 10037, "Those who were called have no device connected.")
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

    /// A service moved the participant into another call, in which it is now.
    #[must_use]
    pub fn moved() -> Self {
        Self::new(0, 70006, "The participant was moved into another call.")
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
            Self::ended_for_everyone(),
            Self::token_expired(),
            Self::rejected_in_lobby(),
            Self::lobby_timed_out(),
            Self::setup_failed(),
            Self::canceled(),
            Self::accepted_elsewhere(),
            Self::not_answered(),
            Self::declined(),
            Self::busy(),
            Self::no_agent(),
            Self::removed_from_room(),
            Self::not_invited(),
            Self::room_expired(),
            Self::room_not_open(),
            Self::token_revoked(),
            Self::media_lost(),
            Self::unreachable(),
            Self::moved(),
            Self::server_stopped(),
            Self::server_failed(),
        ]
    }
}
