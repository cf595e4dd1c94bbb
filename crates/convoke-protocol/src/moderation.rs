//! Roles, capabilities, moderation and the lobby.
//!
//! Owns: their messages in both directions and the values in them, in the words of Azure
//! Communication Services where it has words.
//! Never: decides who may do what; the server does.

use serde::{Deserialize, Deserializer, Serialize};
use ts_rs::TS;

use crate::client::body;

/// What a participant is in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
pub enum Role {
    /// Does everything, moderation included.
    Presenter,
    /// Sends and receives everything, and moderates nobody.
    Collaborator,
    /// Sends a microphone and a camera, and receives everything.
    Attendee,
    /// Only receives.
    Consumer,
}

impl Role {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::Presenter, Self::Collaborator, Self::Attendee, Self::Consumer];

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Presenter => "Presenter",
            Self::Collaborator => "Collaborator",
            Self::Attendee => "Attendee",
            Self::Consumer => "Consumer",
        }
    }
}

/// Why a participant has a capability, or has it not. Reasons that this version does not know are
/// read as [`CapabilityReason::NotCapable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, TS)]
pub enum CapabilityReason {
    /// It has it.
    Capable,
    /// Nobody has it in a call of this kind.
    CapabilityNotApplicableForTheCallType,
    /// Its role does not include it.
    RoleRestricted,
    /// It was taken from it in this call.
    MeetingRestricted,
    /// A reason that this version has no word for.
    NotCapable,
}

impl<'de> Deserialize<'de> for CapabilityReason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match String::deserialize(deserializer)?.as_str() {
            "Capable" => Self::Capable,
            "CapabilityNotApplicableForTheCallType" => Self::CapabilityNotApplicableForTheCallType,
            "RoleRestricted" => Self::RoleRestricted,
            "MeetingRestricted" => Self::MeetingRestricted,
            _ => Self::NotCapable,
        })
    }
}

/// Whether a participant may do one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Capability {
    /// Whether it may.
    pub is_present: bool,
    /// Why, or why not.
    pub reason: CapabilityReason,
}

impl Capability {
    /// It may.
    pub const CAPABLE: Self = Self { is_present: true, reason: CapabilityReason::Capable };

    /// It may not.
    #[must_use]
    pub const fn absent(reason: CapabilityReason) -> Self {
        Self { is_present: false, reason }
    }
}

impl Default for Capability {
    /// What an older server says nothing of.
    fn default() -> Self {
        Self::absent(CapabilityReason::NotCapable)
    }
}

/// What a participant may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase", default)]
pub struct Capabilities {
    /// Publish a camera.
    pub turn_video_on: Capability,
    /// Publish a microphone.
    pub unmute_mic: Capability,
    /// Publish a screen and its sound.
    pub share_screen: Capability,
    /// Raise a hand.
    pub raise_hand: Capability,
    /// Mute other participants.
    pub mute_others: Capability,
    /// Remove other participants.
    pub remove_participant: Capability,
    /// Put participants into the spotlight.
    pub spotlight_participant: Capability,
    /// Take others out of the spotlight.
    pub remove_participants_spotlight: Capability,
    /// See who waits in the lobby, admit and reject.
    pub manage_lobby: Capability,
    /// End the call for everyone.
    pub hang_up_for_every_one: Capability,
    /// Give roles to others.
    pub manage_roles: Capability,
}

/// Who waits in the lobby of a call before coming in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum LobbyPolicy {
    /// Nobody.
    #[default]
    Nobody,
    /// Those whose token says `guest`.
    Guests,
    /// Everyone but presenters.
    Everyone,
}

body! {
    /// `setRole`: answered by `ack`.
    SetRole {
        /// From `joined`.
        call_id: String,
        /// Whose; it is given to the identity, on all its devices, while the call lives.
        participant_id: String,
        /// The new role.
        role: Role,
    }
}

body! {
    /// `muteParticipants`: mutes the microphones of others. Answered by `ack`.
    MuteParticipants {
        /// From `joined`.
        call_id: String,
        /// Whose; everyone else's when absent.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        participant_ids: Option<Vec<String>>,
    }
}

body! {
    /// `removeParticipant`: removes an identity, on all its devices, for as long as the call lives.
    /// Answered by `ack`.
    RemoveParticipant {
        /// From `joined`.
        call_id: String,
        /// Who.
        participant_id: String,
    }
}

body! {
    /// `startSpotlight`: answered by `ack`.
    StartSpotlight {
        /// From `joined`.
        call_id: String,
        /// Who comes into the spotlight, behind those who are there.
        participant_ids: Vec<String>,
    }
}

body! {
    /// `stopSpotlight`: answered by `ack`.
    StopSpotlight {
        /// From `joined`.
        call_id: String,
        /// Who; everyone when absent.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        participant_ids: Option<Vec<String>>,
    }
}

body! {
    /// `raiseHand`: answered by `ack`.
    RaiseHand {
        /// From `joined`.
        call_id: String,
    }
}

body! {
    /// `lowerHands`: answered by `ack`.
    LowerHands {
        /// From `joined`.
        call_id: String,
        /// Whose; the client's own when absent.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        participant_ids: Option<Vec<String>>,
    }
}

body! {
    /// `admit`: lets participants in from the lobby. Answered by `ack`.
    Admit {
        /// From `joined`.
        call_id: String,
        /// Who; everyone who waits when absent.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        participant_ids: Option<Vec<String>>,
    }
}

body! {
    /// `reject`: turns participants in the lobby away. Answered by `ack`.
    Reject {
        /// From `joined`.
        call_id: String,
        /// Who; everyone who waits when absent.
        #[ts(optional)]
        #[serde(skip_serializing_if = "Option::is_none", default)]
        participant_ids: Option<Vec<String>>,
    }
}

/// `inLobby`: the answer to a `join` that must wait. `joined`, without `requestId`, or `ended`
/// follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct InLobby {
    /// The request that this answers.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request_id: Option<u32>,
    /// The call.
    pub call_id: String,
    /// The group ID, in canonical form; absent in a scheduled room.
    #[ts(as = "Option<String>", optional)]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group_id: String,
    /// The id of the scheduled room, in one.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub room_id: Option<String>,
    /// This client's own id, the same when it is let in.
    pub participant_id: String,
    /// How long it may wait.
    pub timeout_ms: u32,
}

/// `roleChanged`: what this client is in the call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct RoleChanged {
    /// The call.
    pub call_id: String,
    /// Absent: it has no role.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub role: Option<Role>,
}

/// `capabilitiesChanged`: what this client may do in the call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct CapabilitiesChanged {
    /// The call.
    pub call_id: String,
    /// All of them.
    pub capabilities: Capabilities,
}

/// `spotlightChanged`: who is in the spotlight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct SpotlightChanged {
    /// The call.
    pub call_id: String,
    /// All of them, in order.
    pub participant_ids: Vec<String>,
}

/// `raisedHandsChanged`: who has a hand raised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct RaisedHandsChanged {
    /// The call.
    pub call_id: String,
    /// All of them, who raised it first stands first.
    pub participant_ids: Vec<String>,
}

/// Someone in the lobby.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct LobbyParticipant {
    /// Its id, the same when it is let in.
    pub participant_id: String,
    /// The identity named by its access token.
    pub identity: String,
    /// The name to show; may be empty.
    pub display_name: String,
    /// Whether its token says `guest`; false when absent.
    #[ts(as = "Option<bool>", optional)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub guest: bool,
}

/// `lobbyParticipantsUpdated`: who waits, for those who may manage the lobby.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct LobbyParticipantsUpdated {
    /// The call.
    pub call_id: String,
    /// All of them, who came first stands first.
    pub participants: Vec<LobbyParticipant>,
}

/// `mutedByOthers`: someone muted this client's microphone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct MutedByOthers {
    /// The call.
    pub call_id: String,
    /// The participant who did it; absent when a service did.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<String>,
}

/// `moved`: a service moves this client into another call. Its `join` of that, made while it is in
/// this one, ends its part in this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Moved {
    /// The call that it is in.
    pub call_id: String,
    /// The group ID of the call that it shall join.
    pub group_id: String,
    /// How long that may take.
    pub timeout_ms: u32,
    /// Why; for people.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_older_client_does_not_know_is_read_all_the_same() {
        let newer = json!({
            "unmuteMic": { "isPresent": false, "reason": "NewReason" },
            "fly": { "isPresent": true, "reason": "Capable" },
        });
        let read: Capabilities = serde_json::from_value(newer).unwrap();
        assert_eq!(read.unmute_mic, Capability::default());
        assert_eq!(read.manage_lobby, Capability::default());
    }

    #[test]
    fn every_reason_and_role_is_read_as_it_is_written() {
        for reason in [
            CapabilityReason::Capable,
            CapabilityReason::CapabilityNotApplicableForTheCallType,
            CapabilityReason::RoleRestricted,
            CapabilityReason::MeetingRestricted,
            CapabilityReason::NotCapable,
        ] {
            let text = serde_json::to_value(reason).unwrap();
            assert_eq!(serde_json::from_value::<CapabilityReason>(text).unwrap(), reason);
        }
        for role in Role::ALL {
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
    }
}
