//! Translation of encodings, layers, demand and explanations.
//!
//! Owns: how the core's words for quality look on the wire and back.
//! Never: keeps state or decides.

use std::time::Duration;

use convoke_node::core::{self, Rid};
use convoke_protocol as wire;
use convoke_protocol::{ErrorCode, ServerMessage};

use super::{participant_id, track_id};
use crate::refusal::Refusal;

/// Encodings of one track that can be declared.
const MAX_ENCODINGS: usize = 4;

pub(super) fn slot_state(state: core::SlotState) -> wire::SlotState {
    match state {
        core::SlotState::Empty => wire::SlotState::Empty,
        core::SlotState::Waiting => wire::SlotState::Waiting,
        core::SlotState::Active => wire::SlotState::Active,
        core::SlotState::Paused => wire::SlotState::Paused,
        core::SlotState::CodecNotSupported => wire::SlotState::CodecNotSupported,
    }
}

pub(super) fn layer(layer: core::Layer) -> wire::Layer {
    wire::Layer { spatial: layer.spatial, temporal: layer.temporal }
}

pub(super) fn reason(reason: core::SlotReason) -> wire::SlotReason {
    match reason {
        core::SlotReason::Wish => wire::SlotReason::Wish,
        core::SlotReason::Bandwidth => wire::SlotReason::Bandwidth,
        core::SlotReason::NotPublished => wire::SlotReason::NotPublished,
        core::SlotReason::NoKeyframe => wire::SlotReason::NoKeyframe,
        core::SlotReason::Hidden => wire::SlotReason::Hidden,
        core::SlotReason::Muted => wire::SlotReason::Muted,
        core::SlotReason::Codec => wire::SlotReason::Codec,
        _ => wire::SlotReason::Unknown,
    }
}

/// The encodings of a track declaration; `at` is the declaration's path for errors.
pub(super) fn read_encodings(
    encodings: Vec<wire::Encoding>,
    at: &str,
) -> Result<Vec<core::EncodingDeclaration>, Refusal> {
    if encodings.len() > MAX_ENCODINGS {
        let text = format!("at most {MAX_ENCODINGS} encodings are accepted");
        let field = format!("{at}.encodings");
        return Err(Refusal::new(ErrorCode::LimitExceeded, text).field(field));
    }
    let several = encodings.len() > 1;
    encodings
        .into_iter()
        .enumerate()
        .map(|(index, encoding)| {
            read_encoding(encoding, several, &format!("{at}.encodings[{index}]"))
        })
        .collect()
}

fn read_encoding(
    encoding: wire::Encoding,
    several: bool,
    at: &str,
) -> Result<core::EncodingDeclaration, Refusal> {
    let invalid = |message: &str| {
        Err(Refusal::new(ErrorCode::TrackInvalid, message).field(format!("{at}.rid")))
    };
    let rid = match encoding.rid.as_deref().map(Rid::new) {
        Some(None) => return invalid("`rid` must be 1 to 8 letters, digits, `-` and `_`"),
        None if several => return invalid("each of several encodings needs its `rid`"),
        None => None,
        Some(rid) => rid,
    };
    Ok(core::EncodingDeclaration {
        rid,
        width: encoding.width,
        height: encoding.height,
        max_bitrate_bps: encoding.max_bitrate.map(u64::from),
        max_frame_rate: encoding.max_framerate,
    })
}

/// What a publisher is told of the demand for its track.
pub(crate) fn demand(
    call_id: String,
    client_id: &str,
    encodings: &[core::EncodingDemand],
) -> ServerMessage {
    let encodings = encodings.iter().map(|encoding| wire::EncodingDemand {
        rid: encoding.rid.map(|rid| rid.to_string()),
        active: encoding.active,
    });
    ServerMessage::Demand(wire::Demand {
        call_id,
        client_id: client_id.to_owned(),
        encodings: encodings.collect(),
    })
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// What a participant sends and receives.
pub(crate) fn explanation(of: &core::Explanation) -> wire::Explanation {
    wire::Explanation {
        estimate: of.estimate_bps,
        allocated: of.allocated_bps,
        desired: of.desired_bps,
        audio: of.audio_bps,
        rtt_ms: of.rtt.map(millis),
        loss: of.loss,
        slots: of.slots.iter().map(slot).collect(),
        tracks: of.tracks.iter().map(track).collect(),
    }
}

fn slot(of: &core::SlotExplanation) -> wire::SlotExplanation {
    wire::SlotExplanation {
        mid: of.mid.to_string(),
        participant_id: of.assigned.map(|(who, _)| participant_id(who)),
        track_id: of.assigned.map(|(_, what)| track_id(what)),
        state: slot_state(of.state),
        reason: of.reason.map(reason),
        wished_width: of.wished.0,
        wished_height: of.wished.1,
        priority: of.priority,
        allocated: of.allocated.map(layer),
        layer: of.layer.map(layer),
        width: of.size.map(|size| size.0),
        height: of.size.map(|size| size.1),
        bitrate: of.bitrate_bps,
        last_keyframe_ms: of.last_keyframe.map(millis),
    }
}

fn track(of: &core::TrackExplanation) -> wire::TrackExplanation {
    let encodings = of.encodings.iter().map(|encoding| wire::EncodingExplanation {
        rid: encoding.rid.map(|rid| rid.to_string()),
        width: encoding.size.map(|size| size.0),
        height: encoding.size.map(|size| size.1),
        bitrate: encoding.bitrate_bps,
        framerate: encoding.frame_rate,
        flowing: encoding.flowing,
        keyframe_requests: encoding.keyframe_requests,
    });
    wire::TrackExplanation {
        track_id: track_id(of.track),
        client_id: of.client_id.to_string(),
        wanted: of.wanted.map(layer),
        encodings: encodings.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_read_whole_or_refused_by_field() {
        let encoding = |rid: Option<&str>| wire::Encoding {
            rid: rid.map(str::to_owned),
            width: Some(320),
            max_bitrate: Some(150_000),
            ..wire::Encoding::default()
        };
        let read = read_encodings(vec![encoding(Some("q")), encoding(Some("h"))], "track").unwrap();
        assert_eq!(read[1].rid, Rid::new("h"));
        assert_eq!(read[0].max_bitrate_bps, Some(150_000));
        assert_eq!(read_encodings(vec![encoding(None)], "track").unwrap()[0].rid, None);
        let table = [
            (vec![encoding(Some("q")), encoding(None)], "track.encodings[1].rid"),
            (vec![encoding(Some("much too long"))], "track.encodings[0].rid"),
            (vec![encoding(Some("a")); 5], "track.encodings"),
        ];
        for (encodings, field) in table {
            let refusal = read_encodings(encodings, "track").unwrap_err();
            assert_eq!(refusal.field.as_deref(), Some(field));
        }
    }
}
