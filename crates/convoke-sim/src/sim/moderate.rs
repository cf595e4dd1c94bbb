//! What is done to participants: permissions, removal, the lobby.
//!
//! Owns: the way from these acts to commands and the model.
//! Never: makes a client obey: who may no longer send goes on sending.

use convoke_core::{Action, LeaveReason, Permissions};

use super::Sim;
use crate::playing;
use crate::scenario::Act;

impl Sim {
    pub(super) fn moderate(&mut self, who: usize, act: &Act) {
        match act {
            Act::Permit(permissions) => self.permit(who, *permissions),
            Act::Remove => {
                self.actors[who].removed = true;
                self.actors[who].waits = false;
                self.remove(who);
            }
            Act::Knock => {
                let actor = &mut self.actors[who];
                // In the lobby nothing is in the core: so no packet can come or go.
                actor.waits = actor.live.is_none() && !actor.removed;
            }
            Act::Admit => {
                let actor = &mut self.actors[who];
                if std::mem::take(&mut actor.waits) && actor.live.is_none() {
                    self.join(who);
                }
            }
            _ => {}
        }
    }

    fn permit(&mut self, who: usize, permissions: Permissions) {
        self.actors[who].permissions = permissions;
        let Some((participant, room, live)) = self.present(who) else { return };
        for playing in &mut live.playing {
            playing.ghost |= !permissions.may_publish(playing::core_source(playing.spec.source));
        }
        if let Some(participant) = self.model(room).participant(participant) {
            participant.receives = permissions.receive;
            participant.tracks.retain(|track| permissions.may_publish(track.source));
        }
        let reply = self.command(room, Action::SetPermissions { participant, permissions });
        self.must_be_done(&reply);
    }

    fn remove(&mut self, who: usize) {
        let Some((participant, room, _)) = self.present(who) else { return };
        self.model(room).remove(participant);
        self.end_of(who);
        let reason = LeaveReason::Removed;
        let reply = self.command(room, Action::Leave { participant, reason });
        self.must_be_done(&reply);
    }
}
