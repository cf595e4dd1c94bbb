//! What is in force in one call: roles, restrictions, removals, the lobby's rule, spotlight and
//! raised hands.
//!
//! Owns: these as plain state, for as long as the call lives. Identities are what they hold of, so
//! that leaving and coming again changes nothing.
//! Never: talks to clients or the core (`moderate` and `lobby` do), or reads a clock.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use convoke_node::core::{ParticipantId, Permissions};
use convoke_protocol::{Capabilities, LobbyPolicy, Role};

use crate::roles;

/// Identities of which something is kept, at most, for each sort of thing.
const IDENTITIES: usize = 4_096;
/// Participants in the spotlight at once (ACS: the same).
pub(crate) const SPOTLIGHT: usize = 7;
/// Raised hands at once.
const HANDS: usize = 1_024;

/// Who somebody is by its token.
#[derive(Debug, Clone)]
pub(crate) struct Bearer {
    pub(crate) identity: Arc<str>,
    pub(crate) display_name: Arc<str>,
    pub(crate) role: Option<Role>,
    pub(crate) guest: bool,
    /// What its client says that it is.
    pub(crate) app: Arc<str>,
}

/// A bound was reached; it is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full(pub(crate) &'static str);

/// The moderation of one call.
#[derive(Debug, Default)]
pub(crate) struct Moderation {
    lobby: LobbyPolicy,
    roles: HashMap<Arc<str>, Role>,
    left: HashMap<Arc<str>, Permissions>,
    removed: HashSet<Arc<str>>,
    admitted: HashSet<Arc<str>>,
    spotlight: Vec<ParticipantId>,
    hands: Vec<ParticipantId>,
}

impl Moderation {
    /// Of a call that `starter` begins.
    pub(crate) fn new(lobby: LobbyPolicy, starter: &Bearer) -> Self {
        let mut moderation = Self { lobby, ..Self::default() };
        if lobby != LobbyPolicy::Nobody && starter.role.is_none() && !starter.guest {
            // Someone must be able to let others in.
            moderation.roles.insert(Arc::clone(&starter.identity), Role::Presenter);
        }
        moderation
    }

    /// From now on; who is in stays in, who waits goes on waiting.
    pub(crate) fn set_lobby(&mut self, lobby: LobbyPolicy) {
        self.lobby = lobby;
    }

    /// The role given in this call, else that of the token.
    pub(crate) fn role(&self, who: &Bearer) -> Option<Role> {
        self.roles.get(&who.identity).copied().or(who.role)
    }

    /// Gives an identity a role, or takes back what was given.
    pub(crate) fn set_role(&mut self, identity: &str, role: Option<Role>) -> Result<(), Full> {
        let Some(role) = role else {
            self.roles.remove(identity);
            return Ok(());
        };
        put(&mut self.roles, identity, role, "identities with a role")
    }

    /// What an identity may do is, beside its role, at most this.
    pub(crate) fn restrict(&mut self, identity: &str, left: Permissions) -> Result<(), Full> {
        if left == Permissions::ALL {
            self.left.remove(identity);
            return Ok(());
        }
        put(&mut self.left, identity, left, "identities with permissions of their own")
    }

    fn left(&self, who: &Bearer) -> Permissions {
        self.left.get(&who.identity).copied().unwrap_or(Permissions::ALL)
    }

    pub(crate) fn capabilities(&self, who: &Bearer) -> Capabilities {
        roles::capabilities(self.role(who), self.left(who), self.lobby)
    }

    pub(crate) fn permissions(&self, who: &Bearer) -> Permissions {
        roles::permissions(self.role(who), self.left(who))
    }

    /// Whether it must wait in the lobby.
    pub(crate) fn must_wait(&self, who: &Bearer) -> bool {
        let free = self.role(who) == Some(Role::Presenter) || self.admitted.contains(&who.identity);
        match self.lobby {
            LobbyPolicy::Nobody => false,
            LobbyPolicy::Guests => who.guest && !free,
            LobbyPolicy::Everyone => !free,
        }
    }

    /// It was let in, and will not wait again.
    pub(crate) fn admit(&mut self, identity: &Arc<str>) {
        if self.admitted.len() < IDENTITIES {
            self.admitted.insert(Arc::clone(identity));
        }
    }

    /// The identity may not come in again.
    pub(crate) fn remove(&mut self, identity: &Arc<str>) -> Result<(), Full> {
        if self.removed.len() >= IDENTITIES && !self.removed.contains(identity) {
            return Err(Full("removed identities"));
        }
        self.admitted.remove(identity);
        self.removed.insert(Arc::clone(identity));
        Ok(())
    }

    /// The identity may come in again. Whether it could not.
    pub(crate) fn readmit(&mut self, identity: &str) -> bool {
        self.removed.remove(identity)
    }

    pub(crate) fn is_removed(&self, identity: &str) -> bool {
        self.removed.contains(identity)
    }

    pub(crate) fn spotlight(&self) -> &[ParticipantId] {
        &self.spotlight
    }

    /// Puts these into the spotlight, behind those who are there. Whether that changed it.
    pub(crate) fn start_spotlight(&mut self, who: &[ParticipantId]) -> Result<bool, Full> {
        let mut after = self.spotlight.clone();
        for id in who {
            if !after.contains(id) {
                after.push(*id);
            }
        }
        if after.len() > SPOTLIGHT {
            return Err(Full("participants in the spotlight"));
        }
        let changed = after != self.spotlight;
        self.spotlight = after;
        Ok(changed)
    }

    /// Takes these, or all, out of the spotlight. Whether that changed it.
    pub(crate) fn stop_spotlight(&mut self, who: Option<&[ParticipantId]>) -> bool {
        take_out(&mut self.spotlight, who)
    }

    pub(crate) fn hands(&self) -> &[ParticipantId] {
        &self.hands
    }

    /// Whether that changed anything.
    pub(crate) fn raise_hand(&mut self, who: ParticipantId) -> Result<bool, Full> {
        if self.hands.contains(&who) {
            return Ok(false);
        }
        if self.hands.len() >= HANDS {
            return Err(Full("raised hands"));
        }
        self.hands.push(who);
        Ok(true)
    }

    /// Whether that changed anything.
    pub(crate) fn lower_hands(&mut self, who: &[ParticipantId]) -> bool {
        take_out(&mut self.hands, Some(who))
    }
}

fn take_out(from: &mut Vec<ParticipantId>, who: Option<&[ParticipantId]>) -> bool {
    let before = from.len();
    from.retain(|id| who.is_some_and(|who| !who.contains(id)));
    from.len() < before
}

fn put<T>(
    into: &mut HashMap<Arc<str>, T>,
    identity: &str,
    value: T,
    what: &'static str,
) -> Result<(), Full> {
    if into.len() >= IDENTITIES && !into.contains_key(identity) {
        return Err(Full(what));
    }
    into.insert(identity.into(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(identity: &str, role: Option<Role>, guest: bool) -> Bearer {
        Bearer { identity: identity.into(), display_name: "".into(), role, guest, app: "".into() }
    }

    #[test]
    fn whoever_starts_a_call_with_a_lobby_can_let_others_in() {
        let (alice, guest) = (bearer("alice", None, false), bearer("guest", None, true));
        for policy in [LobbyPolicy::Guests, LobbyPolicy::Everyone] {
            let call = Moderation::new(policy, &alice);
            assert_eq!(call.role(&alice), Some(Role::Presenter));
            assert!(!call.must_wait(&alice) && call.must_wait(&guest));
            let call = Moderation::new(policy, &guest);
            assert_eq!(call.role(&guest), None, "a guest does not let itself in");
            assert!(call.must_wait(&guest));
        }
        let attendee = bearer("a", Some(Role::Attendee), false);
        let call = Moderation::new(LobbyPolicy::Everyone, &attendee);
        assert!(call.must_wait(&attendee), "a role of its own is kept");
        let call = Moderation::new(LobbyPolicy::Nobody, &alice);
        assert_eq!(call.role(&alice), None);
        assert!(!call.must_wait(&guest));
    }

    #[test]
    fn a_role_given_in_the_call_counts_before_that_of_the_token() {
        let alice = bearer("alice", Some(Role::Attendee), false);
        let mut call = Moderation::new(LobbyPolicy::Nobody, &alice);
        assert!(!call.permissions(&alice).screen);
        call.set_role("alice", Some(Role::Presenter)).unwrap();
        assert!(call.permissions(&alice).screen);
        call.set_role("alice", None).unwrap();
        assert_eq!(call.role(&alice), Some(Role::Attendee));
    }

    #[test]
    fn who_was_let_in_does_not_wait_again_until_it_is_removed() {
        let guest = bearer("guest", None, true);
        let mut call = Moderation::new(LobbyPolicy::Guests, &guest);
        call.admit(&guest.identity);
        assert!(!call.must_wait(&guest));
        call.remove(&guest.identity).unwrap();
        assert!(call.is_removed("guest") && call.must_wait(&guest));
        assert!(call.readmit("guest") && !call.readmit("guest"));
        assert!(!call.is_removed("guest"));
    }

    #[test]
    fn a_spotlight_that_would_be_too_large_is_left_as_it_was() {
        let mut call = Moderation::default();
        let ids: Vec<ParticipantId> = (1..=8).map(ParticipantId).collect();
        assert_eq!(call.start_spotlight(&ids[..7]), Ok(true));
        assert_eq!(call.start_spotlight(&ids[..7]), Ok(false));
        assert!(call.start_spotlight(&ids[7..]).is_err());
        assert_eq!(call.spotlight(), &ids[..7]);
        assert!(call.stop_spotlight(Some(&ids[1..3])));
        assert_eq!(call.spotlight().len(), 5);
        assert!(call.stop_spotlight(None) && !call.stop_spotlight(None));
    }

    #[test]
    fn hands_stand_in_the_order_of_raising() {
        let mut call = Moderation::default();
        for id in [3, 1, 2, 3] {
            call.raise_hand(ParticipantId(id)).unwrap();
        }
        assert_eq!(call.hands(), [3, 1, 2].map(ParticipantId));
        assert!(call.lower_hands(&[ParticipantId(1)]));
        assert!(!call.lower_hands(&[ParticipantId(1)]));
        assert_eq!(call.hands(), [3, 2].map(ParticipantId));
    }
}
