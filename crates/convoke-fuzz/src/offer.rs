//! SDP offers of a stranger.

use std::time::Duration;

use convoke_core::{
    Action, CommandError, JoinRequest, LeaveReason, Mid, ParticipantId, Reply, Source,
    TrackDeclaration, TransportRole,
};

use crate::world::{World, request};

/// Flags, in the first byte.
const SEND: u8 = 1;
const RECEIVE: u8 = 2;
const TRACK: u8 = 4;
/// Offers in mid-call; what comes after them is not looked at. Each takes time, and who is beside them is
/// silent: it must not be given up for that.
const OFFERS_MAX: usize = 200;

/// Joins with an offer and offers again, beside a live publisher.
///
/// The first byte holds flags (1: offer it on the send transport, 2: on the receive transport, 4:
/// declare a camera on its last m-line); the rest is SDP, and after each NUL another one, which is
/// offered on the same transports in mid-call. Refused or joined: after the leave nothing is left.
pub fn sdp_offer(bytes: &[u8]) {
    offers_joined(bytes);
}

/// The same, and tells how many of the offers were accepted.
pub fn offers_joined(bytes: &[u8]) -> usize {
    let Some((flags, text)) = bytes.split_first() else {
        return 0;
    };
    let text = String::from_utf8_lossy(text);
    let mut offers = text.split('\0');
    let first = offers.next().unwrap_or_default();
    let mut world = World::new();
    world.join_silent();
    let before = world.worker.stats();

    let me = ParticipantId(99);
    let join = join(me, *flags, first);
    let mut accepted = 0;
    match world.command(Action::Join(join)) {
        Ok(Reply::Joined { send_answer, receive_answer, .. }) => {
            assert_eq!(send_answer.is_some(), flags & SEND != 0);
            assert_eq!(receive_answer.is_some(), flags & RECEIVE != 0);
            accepted += 1;
            let again = offers.take(OFFERS_MAX);
            accepted +=
                again.map(|offer| offer_again(&mut world, me, *flags, offer)).sum::<usize>();
        }
        Ok(other) => panic!("a join is answered by {other:?}"),
        Err(error) => {
            assert_readable(&error);
            assert_eq!(world.worker.stats(), before, "a refused join left something");
        }
    }
    world.step(Duration::from_millis(20));
    let leave = Action::Leave { participant: me, reason: LeaveReason::Left };
    assert!(matches!(world.command(leave), Ok(Reply::Done)));
    let after = world.worker.stats();
    assert_eq!(
        (after.participants, after.transports, after.tracks),
        (before.participants, before.transports, before.tracks),
    );
    world.close();
    accepted
}

fn join(me: ParticipantId, flags: u8, offer: &str) -> JoinRequest {
    let wanted = |flag: u8| (flags & flag != 0).then(|| offer.to_owned());
    let mid = offer.lines().rev().find_map(|line| Mid::new(line.strip_prefix("a=mid:")?.trim()));
    let track = mid.filter(|_| flags & TRACK != 0).map(|mid| TrackDeclaration {
        client_id: "camera".into(),
        source: Source::Camera,
        mid,
        muted: false,
        encodings: Vec::new(),
        encrypted: false,
    });
    JoinRequest {
        send_offer: wanted(SEND),
        receive_offer: wanted(RECEIVE),
        tracks: Vec::from_iter(track),
        ..request(me)
    }
}

fn offer_again(world: &mut World, me: ParticipantId, flags: u8, offer: &str) -> usize {
    let roles = [(SEND, TransportRole::Send), (RECEIVE, TransportRole::Receive)];
    let mut accepted = 0;
    for (_, role) in roles.into_iter().filter(|(flag, _)| flags & flag != 0) {
        let sdp = offer.to_owned();
        match world.command(Action::Offer { participant: me, role, sdp }) {
            Ok(Reply::Answer { sdp, .. }) => {
                assert!(sdp.starts_with("v=0\r\n"), "{sdp}");
                accepted += 1;
            }
            Ok(other) => panic!("an offer is answered by {other:?}"),
            Err(error) => assert_readable(&error),
        }
        world.step(Duration::from_millis(20));
    }
    accepted
}

/// What the client is told says what to mend, and does not repeat the whole offer.
fn assert_readable(error: &CommandError) {
    let text = error.to_string();
    assert!(text.len() < 1_024, "an error of {} bytes: {text}", text.len());
    assert!(!matches!(error, CommandError::Internal(_)), "our own fault: {text}");
}
