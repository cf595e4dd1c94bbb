//! The laws between two packets that are neighbours in a slot's sequence.
//!
//! Owns: what must hold between their timestamps, markers, frames and picture numbers.
//! Never: remembers more than the two.

use convoke_protocol::MediaKind;

use super::Violation;
use crate::media::{Codec, Received};
use crate::source::{PictureIds, Stamp, picture_ids};

/// The least distance of two audio packets: 20 ms at 48 kHz.
const AUDIO_STEP: u32 = 960;

/// What is remembered of a packet.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    rtp_time: u32,
    marker: bool,
    csrc: u32,
    codec: Codec,
    ids: PictureIds,
    /// The dependency descriptor's frame number.
    frame_number: Option<u16>,
    pub(super) stamp: Stamp,
}

impl Entry {
    pub(super) fn new(packet: &Received, csrc: u32, stamp: Stamp) -> Self {
        let number = packet.descriptor.as_deref().and_then(|bytes| bytes.get(1..3));
        Self {
            rtp_time: packet.rtp_time,
            marker: packet.marker,
            csrc,
            codec: packet.codec,
            ids: if stamp.opaque {
                PictureIds::default()
            } else {
                picture_ids(packet.codec, &packet.payload)
            },
            frame_number: number
                .and_then(|number| Some(u16::from_be_bytes(number.try_into().ok()?))),
            stamp,
        }
    }

    /// Whether it is the same packet as `other`, sent again.
    pub(super) fn is(&self, stamp: &Stamp, rtp_time: u32) -> bool {
        self.stamp == *stamp && self.rtp_time == rtp_time
    }

    fn source(&self) -> (u32, u16, u8) {
        (self.csrc, self.stamp.track, self.stamp.encoding)
    }

    /// The first packet of a frame that refers to no other.
    fn starts_keyframe(&self) -> bool {
        self.stamp.keyframe && self.stamp.packet == 0
    }

    fn is_last_of_frame(&self) -> bool {
        self.stamp.packet + 1 == self.stamp.packets
    }
}

/// The laws between `(before, a)` and `(after, b)`, where nothing that came lies between them.
pub(super) fn check(
    kind: MediaKind,
    (before, a): (u64, &Entry),
    (after, b): (u64, &Entry),
    found: &mut Vec<Violation>,
) {
    let step = b.rtp_time.wrapping_sub(a.rtp_time);
    if step.cast_signed() < 0 {
        let ticks = a.rtp_time.wrapping_sub(b.rtp_time);
        found.push(Violation::TimestampBack { before, after, ticks });
    } else if kind == MediaKind::Audio && step < AUDIO_STEP {
        found.push(Violation::AudioStep { before, after, ticks: step });
    }
    if before + 1 != after {
        return;
    }
    let same = a.source() == b.source();
    if kind == MediaKind::Video && !same && !b.starts_keyframe() {
        found.push(Violation::NoKeyframeAtSwitch { sequence: after, csrc: b.csrc });
    }
    if same {
        found.extend(same_encoding(kind, after, a, b));
    }
    if kind == MediaKind::Video {
        let same_picture = same && a.stamp.picture == b.stamp.picture;
        // The next source may cut in before a picture is over, and so may the same one that comes back
        // with a keyframe; a layer that is joined comes when the one below has its marker already.
        let cut = !same_picture && b.starts_keyframe() && !a.marker;
        if same && a.marker == same_picture && !joins_layer(a, b) && !cut {
            found.push(Violation::Marker { sequence: before, marker: a.marker });
        }
        if same_picture && step != 0 {
            found.push(Violation::PictureTorn { sequence: after });
        }
        numbers(after, a, b, same, found);
    }
}

/// Whether `b` begins a higher layer of a picture that `a` ended.
pub(super) fn joins_layer(a: &Entry, b: &Entry) -> bool {
    let same_picture = a.source() == b.source() && a.stamp.picture == b.stamp.picture;
    let higher = b.stamp.spatial > a.stamp.spatial && b.stamp.packet == 0;
    same_picture && higher && a.marker && a.is_last_of_frame()
}

/// Whole frames may be left out on purpose, parts of frames not.
fn same_encoding(kind: MediaKind, sequence: u64, a: &Entry, b: &Entry) -> Option<Violation> {
    let (old, new) = (&a.stamp, &b.stamp);
    if (new.frame, new.packet) <= (old.frame, old.packet) {
        return Some(Violation::Reordered { sequence });
    }
    let follows = if new.frame == old.frame {
        new.packet == old.packet + 1
    } else {
        new.packet == 0 && (a.is_last_of_frame() || new.keyframe)
    };
    (kind == MediaKind::Video && !follows).then_some(Violation::HiddenLoss { sequence })
}

/// The numbers by which receivers find references.
fn numbers(sequence: u64, a: &Entry, b: &Entry, same: bool, found: &mut Vec<Violation>) {
    let mut broken =
        |what, from, to| found.push(Violation::PictureIds { sequence, what, from, to });
    let new_picture = !same || a.stamp.picture != b.stamp.picture;
    let pictures = b.stamp.picture.wrapping_sub(a.stamp.picture) as u16;
    // What was left out before a keyframe may be forgotten: nothing after it refers to it.
    let counted = same && !b.starts_keyframe();
    if a.codec == b.codec {
        if let (Some(from), Some(to)) = (a.ids.picture_id, b.ids.picture_id) {
            let step = to.wrapping_sub(from) & 0x7fff;
            let right = match (b.codec, counted) {
                // Closed up over what was left out.
                (Codec::Vp8, _) => step == u16::from(new_picture),
                (_, true) => step == pictures & 0x7fff,
                (_, false) => (1..1 << 14).contains(&step),
            };
            if !right {
                broken("PictureID", from, to);
            }
        }
        if let (Some(from), Some(to)) = (a.ids.tl0_pic_idx, b.ids.tl0_pic_idx)
            && to != from.wrapping_add(u8::from(new_picture && b.stamp.temporal == 0))
        {
            broken("TL0PICIDX", from.into(), to.into());
        }
    }
    if let (Some(from), Some(to)) = (a.frame_number, b.frame_number) {
        let step = to.wrapping_sub(from);
        let frames = b.stamp.frame.wrapping_sub(a.stamp.frame) as u16;
        if if counted { step != frames } else { !(1..1 << 15).contains(&step) } {
            broken("frame number", from, to);
        }
    }
}
