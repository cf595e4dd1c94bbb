//! Translation between the wire and the core.
//!
//! Owns: how the core's ids, views, changes and reasons look on the wire and back, and the one
//! table from the core's errors to the protocol's.
//! Never: keeps state or decides.

pub(crate) mod data;
pub(crate) mod quality;

use std::sync::Arc;
use std::time::Duration;

use convoke_node::HandleError;
use convoke_node::core::{
    self, CommandError, LeaveReason, Mid, ParticipantId, RoomChange, TrackId,
};
use convoke_protocol as wire;
use convoke_protocol::{EndReason, ErrorCode, ServerMessage};

use crate::refusal::Refusal;

/// The longest `clientId`, in bytes.
const MAX_CLIENT_ID: usize = 64;

pub(crate) fn participant_id(id: ParticipantId) -> String {
    format!("p{:08x}", id.0)
}

/// The reverse of [`participant_id`]; no other spelling is taken.
pub(crate) fn read_participant_id(text: &str) -> Option<ParticipantId> {
    let id = ParticipantId(u32::from_str_radix(text.strip_prefix('p')?, 16).ok()?);
    (participant_id(id) == text).then_some(id)
}

pub(crate) fn track_id(id: TrackId) -> String {
    format!("t{:x}", id.0)
}

/// The reverse of [`track_id`]; no other spelling is taken.
pub(crate) fn read_track_id(text: &str) -> Option<TrackId> {
    let id = TrackId(u32::from_str_radix(text.strip_prefix('t')?, 16).ok()?);
    (track_id(id) == text).then_some(id)
}

fn source(source: core::Source) -> wire::Source {
    match source {
        core::Source::Microphone => wire::Source::Microphone,
        core::Source::Camera => wire::Source::Camera,
        core::Source::Screen => wire::Source::Screen,
        core::Source::ScreenAudio => wire::Source::ScreenAudio,
    }
}

fn read_source(source: wire::Source) -> core::Source {
    match source {
        wire::Source::Microphone => core::Source::Microphone,
        wire::Source::Camera => core::Source::Camera,
        wire::Source::Screen => core::Source::Screen,
        wire::Source::ScreenAudio => core::Source::ScreenAudio,
    }
}

pub(crate) fn read_role(role: wire::TransportRole) -> core::TransportRole {
    match role {
        wire::TransportRole::Send => core::TransportRole::Send,
        wire::TransportRole::Receive => core::TransportRole::Receive,
    }
}

fn connection(reachable: bool) -> wire::Connection {
    if reachable { wire::Connection::Connected } else { wire::Connection::Reconnecting }
}

fn track(view: &core::TrackView) -> wire::Track {
    wire::Track {
        track_id: track_id(view.track),
        client_id: view.client_id.to_string(),
        source: source(view.source),
        muted: view.muted,
        encrypted: view.encrypted,
    }
}

fn participant(view: &core::ParticipantView) -> wire::Participant {
    wire::Participant {
        participant_id: participant_id(view.participant),
        csrc: view.participant.0,
        identity: view.identity.to_string(),
        display_name: view.display_name.to_string(),
        connection: connection(view.reachable),
        tracks: view.tracks.iter().map(track).collect(),
    }
}

fn slot(view: &core::SlotView) -> wire::Slot {
    wire::Slot {
        mid: view.mid.to_string(),
        kind: match view.kind {
            core::MediaKind::Audio => wire::MediaKind::Audio,
            core::MediaKind::Video => wire::MediaKind::Video,
        },
        index: view.index,
        participant_id: view.assigned.map(|(who, _)| participant_id(who)),
        track_id: view.assigned.map(|(_, what)| track_id(what)),
        state: quality::slot_state(view.state),
        layer: view.layer.map(quality::layer),
        reason: view.reason.map(quality::reason),
    }
}

pub(crate) fn participants(views: &[core::ParticipantView]) -> Vec<wire::Participant> {
    views.iter().map(participant).collect()
}

pub(crate) fn slots(views: &[core::SlotView]) -> Vec<wire::Slot> {
    views.iter().map(slot).collect()
}

/// What everyone in the call is told of a change.
pub(crate) fn change(call_id: String, version: u64, change: &RoomChange) -> ServerMessage {
    match change {
        RoomChange::ParticipantJoined(who) => {
            let participant = participant(who);
            ServerMessage::ParticipantJoined(wire::ParticipantJoined {
                call_id,
                version,
                participant,
            })
        }
        RoomChange::ParticipantLeft { participant, reason } => {
            ServerMessage::ParticipantLeft(wire::ParticipantLeft {
                call_id,
                version,
                participant_id: participant_id(*participant),
                reason: end_reason(*reason),
            })
        }
        RoomChange::Reachable { participant, reachable } => {
            ServerMessage::ParticipantUpdated(wire::ParticipantUpdated {
                call_id,
                version,
                participant_id: participant_id(*participant),
                connection: connection(*reachable),
            })
        }
        RoomChange::TrackPublished { participant, track: view } => {
            ServerMessage::TrackPublished(wire::TrackPublished {
                call_id,
                version,
                participant_id: participant_id(*participant),
                track: track(view),
            })
        }
        RoomChange::TrackUnpublished { participant, track } => {
            ServerMessage::TrackUnpublished(wire::TrackUnpublished {
                call_id,
                version,
                participant_id: participant_id(*participant),
                track_id: track_id(*track),
            })
        }
        RoomChange::TrackUpdated { participant, track: view } => {
            ServerMessage::TrackUpdated(wire::TrackUpdated {
                call_id,
                version,
                participant_id: participant_id(*participant),
                track: track(view),
            })
        }
    }
}

/// Why a participant's part ended, in the words of the wire.
pub(crate) fn end_reason(reason: LeaveReason) -> EndReason {
    match reason {
        LeaveReason::Left => EndReason::left(),
        LeaveReason::Removed => EndReason::removed(),
        LeaveReason::RoomClosed => EndReason::call_ended(),
        LeaveReason::Expired => EndReason::token_expired(),
        LeaveReason::Unreachable => EndReason::unreachable(),
        LeaveReason::MediaLost => EndReason::media_lost(),
        LeaveReason::Stopped => EndReason::server_stopped(),
        // A reason of a newer core is a failure as far as this version knows.
        LeaveReason::Failed | _ => EndReason::server_failed(),
    }
}

/// The reverse of [`end_reason`]; an unknown reason ends the call like any host's wish.
pub(crate) fn read_end_reason(reason: &EndReason) -> LeaveReason {
    let known = [
        LeaveReason::Left,
        LeaveReason::Removed,
        LeaveReason::RoomClosed,
        LeaveReason::Expired,
        LeaveReason::Unreachable,
        LeaveReason::MediaLost,
        LeaveReason::Stopped,
        LeaveReason::Failed,
    ];
    let same = |one: &LeaveReason| {
        let one = end_reason(*one);
        (one.code, one.sub_code) == (reason.code, reason.sub_code)
    };
    known.into_iter().find(same).unwrap_or(LeaveReason::RoomClosed)
}

/// A track declaration; `at` is its path for errors.
pub(crate) fn read_declaration(
    track: wire::TrackDeclaration,
    at: &str,
) -> Result<core::TrackDeclaration, Refusal> {
    let invalid = |message: &str, field: &str| {
        Refusal::new(ErrorCode::TrackInvalid, message).field(format!("{at}.{field}"))
    };
    if track.client_id.is_empty() || track.client_id.len() > MAX_CLIENT_ID {
        return Err(invalid("`clientId` must have 1 to 64 bytes", "clientId"));
    }
    let mid = Mid::new(&track.mid).ok_or_else(|| {
        invalid("`mid` must be the `a=mid` of an m-line of the send transport", "mid")
    })?;
    Ok(core::TrackDeclaration {
        client_id: Arc::from(track.client_id),
        source: read_source(track.source),
        mid,
        muted: track.muted,
        encodings: quality::read_encodings(track.encodings, at)?,
        encrypted: track.encrypted,
    })
}

/// The wishes of a view.
pub(crate) fn read_wishes(wishes: Vec<wire::SlotWish>) -> Result<Vec<core::SlotWish>, Refusal> {
    wishes.into_iter().enumerate().map(|(at, wish)| read_wish(wish, at)).collect()
}

fn read_wish(wish: wire::SlotWish, at: usize) -> Result<core::SlotWish, Refusal> {
    let invalid = |message: &str, field: &str| {
        Refusal::new(ErrorCode::ViewInvalid, message).field(format!("slots[{at}].{field}"))
    };
    let mid = Mid::new(&wish.mid).ok_or_else(|| invalid("no video slot has this `mid`", "mid"))?;
    let show = match (&wish.track_id, wish.follow) {
        (Some(track), None) => core::Show::Track(
            read_track_id(track).ok_or_else(|| invalid("no such track", "trackId"))?,
        ),
        (None, Some(wire::Follow::ActiveSpeaker)) => core::Show::ActiveSpeaker,
        (None, Some(wire::Follow::ScreenShare)) => core::Show::ScreenShare,
        _ => return Err(invalid("give exactly one of `trackId` and `follow`", "trackId")),
    };
    Ok(core::SlotWish {
        mid,
        show,
        width: wish.width,
        height: wish.height,
        max_frame_rate: wish.max_framerate,
        priority: wish.priority,
    })
}

/// What a client is told when the core or its worker refuses: the one table. `retry` is the waiting
/// time for what will pass.
pub(crate) fn refusal(error: &HandleError, retry: Duration) -> Refusal {
    let HandleError::Refused(refused) = error else {
        return busy(retry);
    };
    let text = refused.to_string();
    match refused {
        CommandError::NoSuchRoom | CommandError::NoSuchParticipant => {
            Refusal::new(ErrorCode::NotInCall, "the call is over; join anew").field("callId")
        }
        CommandError::ParticipantExists => busy(retry),
        CommandError::NoSuchTrack(_) => {
            let text = "this participant publishes no such track";
            Refusal::new(ErrorCode::TrackNotFound, text).field("clientId")
        }
        CommandError::Sdp { role, reason } => {
            let role = match role {
                core::TransportRole::Send => "send",
                core::TransportRole::Receive => "receive",
            };
            Refusal::new(ErrorCode::SdpInvalid, reason.clone()).field(format!("{role}.sdp"))
        }
        CommandError::Track { index, reason } => {
            Refusal::new(ErrorCode::TrackInvalid, reason.clone()).field(format!("tracks[{index}]"))
        }
        CommandError::View { index, reason } => {
            Refusal::new(ErrorCode::ViewInvalid, reason.clone()).field(format!("slots[{index}]"))
        }
        CommandError::NotAllowed(_) => Refusal::new(ErrorCode::NotAllowed, text),
        CommandError::Limit(_) => Refusal::new(ErrorCode::LimitExceeded, text),
        CommandError::TooFast { retry_after } => {
            let text = "this participant sends data too fast; try again after `retryAfterMs`";
            let wait = data::whole_millis(*retry_after);
            Refusal::new(ErrorCode::Busy, text).retry_after(wait)
        }
        CommandError::Internal(_) | _ => {
            let text = "the server failed over this; the fault was logged";
            Refusal::new(ErrorCode::Internal, text)
        }
    }
}

/// What a client is told that shall try again.
pub(crate) fn busy(retry: Duration) -> Refusal {
    Refusal::new(ErrorCode::Busy, "the server is busy; try again").retry_after(retry)
}

#[cfg(test)]
mod tests;
