//! The room as data for others.
//!
//! Owns: snapshots and views.
//! Never: changes anything.

use std::sync::Arc;

use super::Room;
use crate::api::{ParticipantView, SlotView, Snapshot};

impl Room {
    /// The room as one participant sees it.
    pub(crate) fn snapshot(&self, key: usize) -> Snapshot {
        let slots = self.participants.get(key).map_or(0, |participant| participant.slots.len());
        Snapshot {
            version: self.version,
            participants: self.order.iter().filter_map(|key| self.participant_view(*key)).collect(),
            slots: (0..slots).filter_map(|slot| self.slot_view(key, slot)).collect(),
        }
    }

    pub(super) fn participant_view(&self, key: usize) -> Option<ParticipantView> {
        let participant = self.participants.get(key)?;
        Some(ParticipantView {
            participant: participant.id,
            identity: Arc::clone(&participant.identity),
            display_name: Arc::clone(&participant.display_name),
            reachable: participant.reachable,
            tracks: participant.tracks.iter().filter_map(|key| self.track_view(*key)).collect(),
        })
    }

    pub(super) fn slot_view(&self, key: usize, slot: usize) -> Option<SlotView> {
        let slot = self.participants.get(key)?.slots.get(slot)?;
        let assigned = slot.assigned.and_then(|track| {
            let track = self.tracks.get(track)?;
            Some((self.participants.get(track.owner)?.id, track.id))
        });
        Some(SlotView {
            mid: slot.mid,
            kind: slot.kind,
            index: u32::try_from(slot.index).unwrap_or(u32::MAX),
            assigned,
            state: slot.state,
            layer: slot.allocated,
            reason: slot.reason,
        })
    }
}
