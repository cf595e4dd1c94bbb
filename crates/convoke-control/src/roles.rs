//! What each role may do.
//!
//! Owns: the table of `PROTOCOL.md` §18, as capabilities for clients and as permissions for the core.
//! Never: knows who has which role; `moderation` does.

use convoke_node::core::Permissions;
use convoke_protocol::{Capabilities, Capability, CapabilityReason, LobbyPolicy, Role};

/// What a participant may do: its role, what was taken from it in this call, and the call's lobby.
pub(crate) fn capabilities(
    role: Option<Role>,
    left: Permissions,
    lobby: LobbyPolicy,
) -> Capabilities {
    let own = of_role(role);
    let media = |by_role: bool, left: bool| match (by_role, left) {
        (false, _) => Capability::absent(CapabilityReason::RoleRestricted),
        (_, false) => Capability::absent(CapabilityReason::MeetingRestricted),
        _ => Capability::CAPABLE,
    };
    let moderates = if role == Some(Role::Presenter) {
        Capability::CAPABLE
    } else {
        Capability::absent(CapabilityReason::RoleRestricted)
    };
    let no_lobby = CapabilityReason::CapabilityNotApplicableForTheCallType;
    Capabilities {
        turn_video_on: media(own.camera, left.camera),
        unmute_mic: media(own.microphone, left.microphone),
        share_screen: media(own.screen, left.screen),
        raise_hand: Capability::CAPABLE,
        mute_others: moderates,
        remove_participant: moderates,
        spotlight_participant: moderates,
        remove_participants_spotlight: moderates,
        manage_lobby: if lobby == LobbyPolicy::Nobody {
            Capability::absent(no_lobby)
        } else {
            moderates
        },
        hang_up_for_every_one: moderates,
        manage_roles: moderates,
    }
}

/// The same for the core, which enforces it.
pub(crate) fn permissions(role: Option<Role>, left: Permissions) -> Permissions {
    let own = of_role(role);
    Permissions {
        microphone: own.microphone && left.microphone,
        camera: own.camera && left.camera,
        screen: own.screen && left.screen,
        receive: own.receive && left.receive,
        data: own.data && left.data,
    }
}

fn of_role(role: Option<Role>) -> Permissions {
    match role {
        None | Some(Role::Presenter | Role::Collaborator) => Permissions::ALL,
        Some(Role::Attendee) => Permissions { screen: false, ..Permissions::ALL },
        Some(Role::Consumer) => Permissions {
            microphone: false,
            camera: false,
            screen: false,
            receive: true,
            data: false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: [Option<Role>; 5] = [
        None,
        Some(Role::Presenter),
        Some(Role::Collaborator),
        Some(Role::Attendee),
        Some(Role::Consumer),
    ];

    #[test]
    fn capabilities_and_permissions_say_the_same() {
        for role in EVERY {
            for bits in 0_u8..8 {
                let left = Permissions {
                    microphone: bits & 1 > 0,
                    camera: bits & 2 > 0,
                    screen: bits & 4 > 0,
                    ..Permissions::ALL
                };
                let able = capabilities(role, left, LobbyPolicy::Guests);
                let may = permissions(role, left);
                assert_eq!(able.unmute_mic.is_present, may.microphone);
                assert_eq!(able.turn_video_on.is_present, may.camera);
                assert_eq!(able.share_screen.is_present, may.screen);
                assert!(may.receive);
                assert_eq!(may.data, role != Some(Role::Consumer));
            }
        }
    }

    #[test]
    fn without_a_role_everyone_is_an_equal() {
        assert_eq!(permissions(None, Permissions::ALL), Permissions::ALL);
        let able = capabilities(None, Permissions::ALL, LobbyPolicy::Nobody);
        assert!(able.share_screen.is_present && !able.mute_others.is_present);
    }

    #[test]
    fn only_presenters_moderate_and_only_where_there_is_a_lobby_do_they_manage_it() {
        for role in EVERY {
            let presents = role == Some(Role::Presenter);
            let able = capabilities(role, Permissions::ALL, LobbyPolicy::Everyone);
            for capability in [
                able.mute_others,
                able.remove_participant,
                able.spotlight_participant,
                able.remove_participants_spotlight,
                able.manage_lobby,
                able.hang_up_for_every_one,
                able.manage_roles,
            ] {
                assert_eq!(capability.is_present, presents, "{role:?}");
            }
            let able = capabilities(role, Permissions::ALL, LobbyPolicy::Nobody);
            let reason = CapabilityReason::CapabilityNotApplicableForTheCallType;
            assert_eq!(able.manage_lobby, Capability::absent(reason));
        }
    }
}
