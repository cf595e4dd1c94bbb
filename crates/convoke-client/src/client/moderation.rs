//! Roles, moderation and the lobby in a call: what an app asks for, and what stands.
//!
//! Owns: the requests, and [`Standing`], which is kept from what the server says.
//! Never: judges what is allowed; the server does.

use convoke_protocol::{
    Admit, Capabilities, ClientMessage, EndReason, Leave, LobbyParticipant, LowerHands,
    MuteParticipants, RaiseHand, Reject, RemoveParticipant, RingTarget, Role, ServerMessage,
    SetRole, StartSpotlight, StopSpotlight,
};

use super::call::acked;
use super::driver::ToDriver;
use super::{Call, RequestError};

/// What stands in the call beside roster and slots, as this client was told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Standing {
    /// What this client is.
    pub role: Option<Role>,
    /// What it may do; `None` until the server has said so.
    pub capabilities: Option<Capabilities>,
    /// Who is in the spotlight, in order.
    pub spotlight: Vec<String>,
    /// Who has a hand raised, who did so first stands first.
    pub raised_hands: Vec<String>,
    /// Who waits in the lobby, for those who may manage it.
    pub lobby: Vec<LobbyParticipant>,
    /// How far the ringing is, for the client that started the call so.
    pub ringing: Vec<RingTarget>,
}

impl Standing {
    /// Takes a message; whether it was about this call and changed anything.
    pub(super) fn apply(&mut self, call_id: &str, message: &ServerMessage) -> bool {
        let before = self.clone();
        match message {
            ServerMessage::RoleChanged(m) if m.call_id == call_id => self.role = m.role,
            ServerMessage::CapabilitiesChanged(m) if m.call_id == call_id => {
                self.capabilities = Some(m.capabilities);
            }
            ServerMessage::SpotlightChanged(m) if m.call_id == call_id => {
                self.spotlight.clone_from(&m.participant_ids);
            }
            ServerMessage::RaisedHandsChanged(m) if m.call_id == call_id => {
                self.raised_hands.clone_from(&m.participant_ids);
            }
            ServerMessage::LobbyParticipantsUpdated(m) if m.call_id == call_id => {
                self.lobby.clone_from(&m.participants);
            }
            ServerMessage::RingUpdated(m) if m.call_id == call_id => {
                self.ringing.clone_from(&m.targets);
            }
            // What is empty after it is not told.
            ServerMessage::Resumed(m) if m.call_id == call_id => {
                self.spotlight.clear();
                self.raised_hands.clear();
                self.lobby.clear();
            }
            _ => {}
        }
        *self != before
    }
}

impl Call {
    async fn moderate(
        &self,
        message: impl FnOnce(String) -> ClientMessage,
    ) -> Result<(), RequestError> {
        acked(&self.agent.request(message(self.call_id())).await?)
    }

    /// Gives another participant's identity a role.
    ///
    /// # Errors
    /// When the server refuses or cannot be asked.
    pub async fn set_role(&self, participant_id: &str, role: Role) -> Result<(), RequestError> {
        let participant_id = participant_id.to_owned();
        let message = |call_id| SetRole { request_id: None, call_id, participant_id, role };
        self.moderate(|call_id| ClientMessage::SetRole(message(call_id))).await
    }

    /// Mutes the microphones of others; `None`: of everyone else.
    ///
    /// # Errors
    /// When the server refuses or cannot be asked.
    pub async fn mute_others(&self, who: Option<Vec<String>>) -> Result<(), RequestError> {
        let message =
            |call_id| MuteParticipants { request_id: None, call_id, participant_ids: who };
        self.moderate(|call_id| ClientMessage::MuteParticipants(message(call_id))).await
    }

    /// Removes another participant's identity, on all its devices, while the call lives.
    ///
    /// # Errors
    /// When the server refuses or cannot be asked.
    pub async fn remove(&self, participant_id: &str) -> Result<(), RequestError> {
        let participant_id = participant_id.to_owned();
        let message = |call_id| RemoveParticipant { request_id: None, call_id, participant_id };
        self.moderate(|call_id| ClientMessage::RemoveParticipant(message(call_id))).await
    }

    /// Puts participants into the spotlight.
    ///
    /// # Errors
    /// When the server refuses or cannot be asked.
    pub async fn start_spotlight(&self, who: Vec<String>) -> Result<(), RequestError> {
        let message = |call_id| StartSpotlight { request_id: None, call_id, participant_ids: who };
        self.moderate(|call_id| ClientMessage::StartSpotlight(message(call_id))).await
    }

    /// Takes participants out of the spotlight; `None`: everyone.
    ///
    /// # Errors
    /// When the server refuses or cannot be asked.
    pub async fn stop_spotlight(&self, who: Option<Vec<String>>) -> Result<(), RequestError> {
        let message = |call_id| StopSpotlight { request_id: None, call_id, participant_ids: who };
        self.moderate(|call_id| ClientMessage::StopSpotlight(message(call_id))).await
    }

    /// Raises this client's hand.
    ///
    /// # Errors
    /// When the server refuses or cannot be asked.
    pub async fn raise_hand(&self) -> Result<(), RequestError> {
        let message = |call_id| ClientMessage::RaiseHand(RaiseHand { request_id: None, call_id });
        self.moderate(message).await
    }

    /// Lowers hands; `None`: this client's own.
    ///
    /// # Errors
    /// When the server refuses or cannot be asked.
    pub async fn lower_hands(&self, who: Option<Vec<String>>) -> Result<(), RequestError> {
        let message = |call_id| LowerHands { request_id: None, call_id, participant_ids: who };
        self.moderate(|call_id| ClientMessage::LowerHands(message(call_id))).await
    }

    /// Lets participants in from the lobby; `None`: everyone who waits.
    ///
    /// # Errors
    /// When the server refuses or cannot be asked.
    pub async fn admit(&self, who: Option<Vec<String>>) -> Result<(), RequestError> {
        let message = |call_id| Admit { request_id: None, call_id, participant_ids: who };
        self.moderate(|call_id| ClientMessage::Admit(message(call_id))).await
    }

    /// Turns participants in the lobby away; `None`: everyone who waits.
    ///
    /// # Errors
    /// When the server refuses or cannot be asked.
    pub async fn reject(&self, who: Option<Vec<String>>) -> Result<(), RequestError> {
        let message = |call_id| Reject { request_id: None, call_id, participant_ids: who };
        self.moderate(|call_id| ClientMessage::Reject(message(call_id))).await
    }

    /// Ends the call for everyone.
    ///
    /// # Errors
    /// When the server refuses (then the call goes on) or cannot be told.
    pub async fn end_for_everyone(&self) -> Result<EndReason, RequestError> {
        let call_id = self.call_id();
        let leave = Leave { request_id: None, call_id, for_everyone: true };
        let answer = self.agent.request(ClientMessage::Leave(leave)).await?;
        // Closed already: the `ended` got there first.
        let _ = self.commands.send(ToDriver::Leave).await;
        match answer {
            ServerMessage::Ended(ended) => Ok(ended.reason),
            _ => Err(RequestError::Unexpected),
        }
    }
}
