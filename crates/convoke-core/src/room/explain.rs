//! Why each picture is as it is.
//!
//! Owns: the explanation of what one participant sends and receives.
//! Never: changes anything.

use std::sync::Arc;
use std::time::Instant;

use super::{Room, Slot, Track};
use crate::api::{EncodingExplanation, Explanation, MediaKind, SlotExplanation, TrackExplanation};

impl Room {
    /// What a participant sends and receives, and why.
    pub(crate) fn explain(&self, now: Instant, key: usize) -> Explanation {
        let Some(participant) = self.participants.get(key) else { return Explanation::default() };
        let quality = &participant.quality;
        let slot = |slot: &Slot| {
            let track = slot.assigned.and_then(|track| self.tracks.get(track));
            let assigned =
                track.and_then(|track| Some((self.participants.get(track.owner)?.id, track.id)));
            let wish = participant.wishes.iter().find(|wish| wish.mid == slot.mid);
            let layer = slot.assigned.and_then(|track| slot.forwarder.layer(track));
            SlotExplanation {
                mid: slot.mid,
                assigned,
                state: slot.state,
                reason: slot.reason,
                wished: wish.map_or((None, None), |wish| (wish.width, wish.height)),
                priority: wish.map_or(0, |wish| wish.priority),
                allocated: slot.allocated,
                layer,
                size: layer.zip(track).and_then(|(layer, track)| track.size_of(layer)),
                bitrate_bps: slot.bitrate_bps,
                last_keyframe: slot.last_keyframe.map(|at| now.saturating_duration_since(at)),
            }
        };
        let tracks = participant.tracks.iter().filter_map(|track| self.tracks.get(*track));
        Explanation {
            estimate_bps: quality.estimate_bps,
            allocated_bps: quality.allocated_bps,
            desired_bps: quality.desired_bps,
            audio_bps: quality.audio_bps,
            rtt: quality.path.rtt,
            loss: quality.path.loss,
            slots: participant.slots.iter().map(slot).collect(),
            tracks: tracks.map(|track| explain_track(track, now)).collect(),
        }
    }
}

fn explain_track(track: &Track, now: Instant) -> TrackExplanation {
    let audio = track.source.kind() == MediaKind::Audio;
    let encodings = track.encodings.iter().map(|encoding| {
        let (bitrate_bps, frame_rate) =
            if audio { (track.meter.bps(now), track.meter.fps(now)) } else { encoding.rate(now) };
        EncodingExplanation {
            rid: encoding.rid,
            size: encoding.size(0),
            bitrate_bps,
            frame_rate,
            flowing: encoding.is_flowing(now),
            keyframe_requests: encoding.requests,
        }
    });
    TrackExplanation {
        track: track.id,
        client_id: Arc::clone(&track.client_id),
        wanted: track.demand.wanted,
        encodings: encodings.collect(),
    }
}
