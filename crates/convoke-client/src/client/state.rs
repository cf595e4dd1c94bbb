//! What a client knows of its call: roster and slots, by the version rules of the protocol.
//!
//! Owns: applying snapshots and changes in order.
//! Never: does I/O.

use convoke_protocol::{
    Connection, EndReason, Participant, ServerMessage, Slot, Track, TransportRole,
};

use super::moderation::Standing;

/// The call as this client sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct CallState {
    /// The server's id of the call.
    pub call_id: String,
    /// The group ID in canonical form; empty in a scheduled room.
    pub group_id: String,
    /// This client's own id in the call.
    pub participant_id: String,
    /// The state count of the last snapshot.
    snapshot_version: u64,
    /// Everyone, this client included, in order of joining.
    pub participants: Vec<Participant>,
    /// This client's slots, in m-line order.
    pub slots: Vec<Slot>,
    /// Roles, spotlight, hands, lobby, ringing.
    pub standing: Standing,
}

/// How the call changed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum CallChange {
    /// Everything may have changed: look at the state.
    Snapshot,
    /// Someone joined.
    ParticipantJoined(Participant),
    /// Someone left.
    ParticipantLeft {
        /// Who.
        participant: Participant,
        /// Why.
        reason: EndReason,
    },
    /// Someone's signalling was lost or came back.
    ParticipantUpdated {
        /// Who.
        participant_id: String,
        /// What it is now.
        connection: Connection,
    },
    /// Someone publishes a track.
    TrackPublished {
        /// Whose.
        participant_id: String,
        /// What.
        track: Track,
    },
    /// Someone stopped publishing a track.
    TrackUnpublished {
        /// Whose.
        participant_id: String,
        /// What.
        track: Track,
    },
    /// A track was muted or unmuted.
    TrackUpdated {
        /// Whose.
        participant_id: String,
        /// The track as it is now.
        track: Track,
    },
    /// Some slots changed.
    Slots(Vec<Slot>),
    /// Who speaks changed.
    Speakers {
        /// Who has the floor, if anyone.
        dominant: Option<String>,
        /// Everyone who speaks now.
        speaking: Vec<String>,
    },
}

impl CallState {
    /// The state that a `joined` brings; `None` for any other message.
    #[must_use]
    pub fn from_joined(message: &ServerMessage) -> Option<Self> {
        let ServerMessage::Joined(joined) = message else { return None };
        Some(Self {
            call_id: joined.call_id.clone(),
            group_id: joined.group_id.clone(),
            participant_id: joined.participant_id.clone(),
            snapshot_version: joined.version,
            participants: joined.participants.clone(),
            slots: joined.slots.clone(),
            standing: Standing::default(),
        })
    }

    /// This client's own entry in the roster.
    #[must_use]
    pub fn own(&self) -> Option<&Participant> {
        self.participants.iter().find(|p| p.participant_id == self.participant_id)
    }

    /// Takes a message; `None` when it changes nothing (stale, of another call, no change).
    pub fn apply(&mut self, message: &ServerMessage) -> Option<CallChange> {
        match message {
            ServerMessage::Resumed(r) if r.call_id == self.call_id => {
                self.participant_id.clone_from(&r.participant_id);
                self.snapshot(r.version, &r.participants, &r.slots)
            }
            ServerMessage::Snapshot(s)
                if s.call_id == self.call_id && s.version >= self.snapshot_version =>
            {
                self.snapshot(s.version, &s.participants, &s.slots)
            }
            ServerMessage::Answer(a)
                if a.call_id == self.call_id && a.transport == TransportRole::Receive =>
            {
                self.slots.clone_from(&a.slots);
                Some(CallChange::Slots(a.slots.clone()))
            }
            _ => self.change(message),
        }
    }

    fn snapshot(
        &mut self,
        version: u64,
        participants: &[Participant],
        slots: &[Slot],
    ) -> Option<CallChange> {
        self.snapshot_version = version;
        self.participants = participants.to_vec();
        self.slots = slots.to_vec();
        Some(CallChange::Snapshot)
    }

    fn is_new(&self, call_id: &str, version: u64) -> bool {
        call_id == self.call_id && version > self.snapshot_version
    }

    fn participant(&mut self, id: &str) -> Option<&mut Participant> {
        self.participants.iter_mut().find(|p| p.participant_id == id)
    }

    fn change(&mut self, message: &ServerMessage) -> Option<CallChange> {
        match message {
            ServerMessage::ParticipantJoined(m) if self.is_new(&m.call_id, m.version) => {
                if self.participant(&m.participant.participant_id).is_some() {
                    return None;
                }
                self.participants.push(m.participant.clone());
                Some(CallChange::ParticipantJoined(m.participant.clone()))
            }
            ServerMessage::ParticipantLeft(m) if self.is_new(&m.call_id, m.version) => {
                let is_it = |p: &Participant| p.participant_id == m.participant_id;
                let at = self.participants.iter().position(is_it)?;
                let participant = self.participants.remove(at);
                Some(CallChange::ParticipantLeft { participant, reason: m.reason.clone() })
            }
            ServerMessage::ParticipantUpdated(m) if self.is_new(&m.call_id, m.version) => {
                self.participant(&m.participant_id)?.connection = m.connection;
                let participant_id = m.participant_id.clone();
                Some(CallChange::ParticipantUpdated { participant_id, connection: m.connection })
            }
            ServerMessage::Slots(m) if self.is_new(&m.call_id, m.version) => {
                for slot in &m.slots {
                    if let Some(known) = self.slots.iter_mut().find(|s| s.mid == slot.mid) {
                        known.clone_from(slot);
                    }
                }
                Some(CallChange::Slots(m.slots.clone()))
            }
            _ => self.track_change(message),
        }
    }

    fn track_change(&mut self, message: &ServerMessage) -> Option<CallChange> {
        match message {
            ServerMessage::TrackPublished(m) if self.is_new(&m.call_id, m.version) => {
                let tracks = &mut self.participant(&m.participant_id)?.tracks;
                if tracks.iter().any(|t| t.track_id == m.track.track_id) {
                    return None;
                }
                tracks.push(m.track.clone());
                let (participant_id, track) = (m.participant_id.clone(), m.track.clone());
                Some(CallChange::TrackPublished { participant_id, track })
            }
            ServerMessage::TrackUnpublished(m) if self.is_new(&m.call_id, m.version) => {
                let tracks = &mut self.participant(&m.participant_id)?.tracks;
                let at = tracks.iter().position(|t| t.track_id == m.track_id)?;
                let track = tracks.remove(at);
                let participant_id = m.participant_id.clone();
                Some(CallChange::TrackUnpublished { participant_id, track })
            }
            ServerMessage::TrackUpdated(m) if self.is_new(&m.call_id, m.version) => {
                let tracks = &mut self.participant(&m.participant_id)?.tracks;
                tracks.iter_mut().find(|t| t.track_id == m.track.track_id)?.clone_from(&m.track);
                let (participant_id, track) = (m.participant_id.clone(), m.track.clone());
                Some(CallChange::TrackUpdated { participant_id, track })
            }
            ServerMessage::Speakers(m) if self.is_new(&m.call_id, m.version) => {
                let (dominant, speaking) = (m.dominant.clone(), m.speaking.clone());
                Some(CallChange::Speakers { dominant, speaking })
            }
            _ => None,
        }
    }
}
