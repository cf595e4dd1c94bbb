//! The naive reference: who must receive what, computed from scratch each time.
//!
//! Owns: a roster of its own, kept from what was asked for (not from what the core says), and the
//! few rules by which slots are filled.
//! Never: shares code with the core, or remembers who had which slot.

use convoke_core::{
    MediaKind, Mid, ParticipantId, Show, SlotReason, SlotState, SlotView, SlotWish, Source, TrackId,
};

/// A published track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelTrack {
    /// Its id, as the core named it.
    pub id: TrackId,
    /// The publisher's own id.
    pub client_id: String,
    /// What it carries.
    pub source: Source,
    /// Whether it is muted.
    pub muted: bool,
}

/// Someone in the room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelParticipant {
    /// Its id.
    pub id: ParticipantId,
    /// Whether its signalling is attached.
    pub reachable: bool,
    /// Whether it may receive.
    pub receives: bool,
    /// What it publishes.
    pub tracks: Vec<ModelTrack>,
    /// Its video slots' wishes.
    pub wishes: Vec<SlotWish>,
}

/// A room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelRoom {
    /// Everyone, in order of joining.
    pub participants: Vec<ModelParticipant>,
}

/// The slots of one participant.
pub type SlotTable = Vec<SlotView>;

fn is_screen(source: Source) -> bool {
    matches!(source, Source::Screen | Source::ScreenAudio)
}

impl ModelRoom {
    /// Someone, by id.
    pub fn participant(&mut self, id: ParticipantId) -> Option<&mut ModelParticipant> {
        self.participants.iter_mut().find(|p| p.id == id)
    }

    /// Takes someone out. False if it was not there.
    pub fn remove(&mut self, id: ParticipantId) -> bool {
        let before = self.participants.len();
        self.participants.retain(|p| p.id != id);
        self.participants.len() < before
    }

    /// Tracks of a kind that others than `me` publish, unmuted.
    fn audible(&self, me: ParticipantId, kind: MediaKind) -> Vec<(ParticipantId, &ModelTrack)> {
        let others = self.participants.iter().filter(|p| p.id != me);
        others
            .flat_map(|p| p.tracks.iter().map(|t| (p.id, t)))
            .filter(|(_, t)| t.source.kind() == kind && !t.muted)
            .collect()
    }

    fn find(&self, track: TrackId) -> Option<(ParticipantId, &ModelTrack)> {
        let all = self.participants.iter().flat_map(|p| p.tracks.iter().map(move |t| (p.id, t)));
        all.into_iter().find(|(_, t)| t.id == track)
    }

    /// Whether a video slot is wished with a side of 0.
    fn is_hidden(&self, me: ParticipantId, mid: Mid) -> bool {
        let wishes = self.participants.iter().filter(|p| p.id == me).flat_map(|p| &p.wishes);
        let mut of_slot = wishes.filter(|wish| wish.mid == mid);
        of_slot.any(|wish| wish.width == Some(0) || wish.height == Some(0))
    }

    /// What is wrong with a participant's slots, as the room is now.
    #[must_use]
    pub fn faults(&self, me: ParticipantId, slots: &[SlotView]) -> Vec<String> {
        let mut faults = Vec::new();
        self.each_slot(me, slots, &mut faults);
        let Some(participant) = self.participants.iter().find(|p| p.id == me) else {
            return vec![format!("{me} is not in the room")];
        };
        if !participant.receives {
            let held = slots.iter().filter(|slot| slot.assigned.is_some());
            return held.map(|slot| format!("{me} may not receive {:?}", slot.assigned)).collect();
        }
        for kind in [MediaKind::Audio, MediaKind::Video] {
            let of_kind: Vec<&SlotView> = slots.iter().filter(|s| s.kind == kind).collect();
            let wishes: &[SlotWish] = match kind {
                MediaKind::Audio => &[],
                MediaKind::Video => &participant.wishes,
            };
            let fixed: Vec<Mid> = wishes.iter().map(|w| w.mid).collect();
            if kind == MediaKind::Video {
                self.wished(me, &of_kind, wishes, &mut faults);
            }
            self.default_policy(me, kind, &of_kind, &fixed, &mut faults);
        }
        faults
    }

    /// Each slot for itself: the track exists, is another's, is nowhere else; the state fits.
    fn each_slot(&self, me: ParticipantId, slots: &[SlotView], faults: &mut Vec<String>) {
        for (index, slot) in slots.iter().enumerate() {
            let fits = match (slot.assigned, slot.state) {
                (None, state) => state == SlotState::Empty,
                (Some((_, track)), state) => match self.find(track) {
                    None => false,
                    Some((_, track)) if track.muted => state == SlotState::Paused,
                    Some(_) if self.is_hidden(me, slot.mid) => state == SlotState::Paused,
                    // Whether it must be is not this model's business.
                    Some(_) if slot.reason == Some(SlotReason::Bandwidth) => true,
                    Some(_) => matches!(state, SlotState::Waiting | SlotState::Active),
                },
            };
            if !fits {
                faults.push(format!(
                    "slot {} of {me}: {:?} is {:?} ({:?})",
                    slot.mid, slot.assigned, slot.state, slot.reason
                ));
            }
            let Some((owner, track)) = slot.assigned else { continue };
            match self.find(track) {
                None => {
                    faults.push(format!("slot {} of {me} holds {track}, which is gone", slot.mid))
                }
                Some((real, t)) => {
                    if real != owner || owner == me || t.source.kind() != slot.kind {
                        faults.push(format!("slot {} of {me} holds {track} of {real}", slot.mid));
                    }
                }
            }
            if slots.iter().take(index).any(|s| s.assigned == slot.assigned) {
                faults.push(format!("{me} has {track} in two slots"));
            }
        }
    }

    /// The wished-for slots: pins exactly, policies by kind and number.
    fn wished(
        &self,
        me: ParticipantId,
        slots: &[&SlotView],
        wishes: &[SlotWish],
        faults: &mut Vec<String>,
    ) {
        let held = |mid: Mid| slots.iter().find(|s| s.mid == mid).and_then(|s| s.assigned);
        let mut pins: Vec<(u8, Mid, TrackId)> = wishes
            .iter()
            .filter_map(|w| match w.show {
                Show::Track(track) => Some((w.priority, w.mid, track)),
                _ => None,
            })
            .collect();
        pins.sort_by_key(|(priority, _, _)| u8::MAX - priority);
        let mut taken: Vec<TrackId> = Vec::new();
        for (_, mid, track) in pins {
            let must = self.find(track).map(|(_, t)| t.id).filter(|t| !taken.contains(t));
            taken.extend(must);
            if held(mid).map(|(_, t)| t) != must {
                faults.push(format!("{me} pinned {track} to {mid}, which holds {:?}", held(mid)));
            }
        }
        self.wished_participants(me, &held, wishes, &mut taken, faults);
        for (show, source) in
            [(Show::ScreenShare, Source::Screen), (Show::ActiveSpeaker, Source::Camera)]
        {
            let following: Vec<Mid> =
                wishes.iter().filter(|w| w.show == show).map(|w| w.mid).collect();
            let others = self.audible(me, MediaKind::Video);
            let there =
                others.iter().filter(|(_, t)| t.source == source && !taken.contains(&t.id)).count();
            let shown: Vec<TrackId> =
                following.iter().filter_map(|mid| held(*mid)).map(|(_, t)| t).collect();
            let right = shown
                .iter()
                .all(|t| self.find(*t).is_some_and(|(_, t)| t.source == source && !t.muted));
            if shown.len() != following.len().min(there) || !right {
                faults.push(format!(
                    "{me} follows {show:?} in {} slots with {there} {source:?} there: {shown:?}",
                    following.len()
                ));
            }
        }
    }

    /// Wishes for participants: the screen, else the camera, what is not muted before what is, the
    /// newest; nothing where another wish has that.
    fn wished_participants(
        &self,
        me: ParticipantId,
        held: &dyn Fn(Mid) -> Option<(ParticipantId, TrackId)>,
        wishes: &[SlotWish],
        taken: &mut Vec<TrackId>,
        faults: &mut Vec<String>,
    ) {
        let mut pins: Vec<(u8, Mid, ParticipantId)> = Vec::new();
        for wish in wishes {
            if let Show::Participant(id) = wish.show {
                pins.push((wish.priority, wish.mid, id));
            }
        }
        pins.sort_by_key(|(priority, _, _)| u8::MAX - priority);
        for (_, mid, id) in pins {
            let owner = self.participants.iter().find(|p| p.id == id && id != me);
            let pictures = owner.into_iter().flat_map(|owner| owner.tracks.iter().enumerate());
            let pictures = pictures.filter(|(_, t)| t.source.kind() == MediaKind::Video);
            let best = pictures.max_by_key(|(at, t)| (!t.muted, t.source == Source::Screen, *at));
            let must = best.map(|(_, t)| t.id).filter(|t| !taken.contains(t));
            taken.extend(must);
            if held(mid).map(|(_, t)| t) != must {
                faults.push(format!("{me} looks at {id} in {mid}, which holds {:?}", held(mid)));
            }
        }
    }

    /// All other slots: as many of the audible tracks as there is room for, screens first.
    fn default_policy(
        &self,
        me: ParticipantId,
        kind: MediaKind,
        slots: &[&SlotView],
        fixed: &[Mid],
        faults: &mut Vec<String>,
    ) {
        let (wished, free): (Vec<&SlotView>, Vec<&SlotView>) =
            slots.iter().partition(|s| fixed.contains(&s.mid));
        let elsewhere: Vec<TrackId> =
            wished.iter().filter_map(|s| s.assigned).map(|(_, t)| t).collect();
        let mut candidates = self.audible(me, kind);
        candidates.retain(|(_, t)| !elsewhere.contains(&t.id));
        let shown: Vec<TrackId> = free
            .iter()
            .filter_map(|s| s.assigned)
            .map(|(_, t)| t)
            .filter(|t| candidates.iter().any(|(_, c)| c.id == *t))
            .collect();
        let room = free.len().min(candidates.len());
        if shown.len() != room {
            faults.push(format!(
                "{me} has {} of {} {kind:?} tracks in {} free slots",
                shown.len(),
                candidates.len(),
                free.len()
            ));
        }
        let screens: Vec<TrackId> =
            candidates.iter().filter(|(_, t)| is_screen(t.source)).map(|(_, t)| t.id).collect();
        let missing = screens.iter().filter(|t| !shown.contains(t)).count();
        if missing > screens.len().saturating_sub(free.len()) {
            faults.push(format!("{me} lacks a screen although cameras are shown"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: ParticipantId = ParticipantId(1);

    fn mid(n: usize) -> Mid {
        Mid::new(&format!("m{n}")).expect("a token")
    }

    /// Me with nothing; 2 with microphone t1 and camera t2; 3 with muted microphone t3, camera t4
    /// and screen t5.
    fn room() -> ModelRoom {
        let track = |id, source, muted| ModelTrack {
            id: TrackId(id),
            client_id: format!("c{id}"),
            source,
            muted,
        };
        let participant = |id, tracks| ModelParticipant {
            id: ParticipantId(id),
            reachable: true,
            receives: true,
            tracks,
            wishes: Vec::new(),
        };
        let second = vec![track(1, Source::Microphone, false), track(2, Source::Camera, false)];
        let third = vec![
            track(3, Source::Microphone, true),
            track(4, Source::Camera, false),
            track(5, Source::Screen, false),
        ];
        ModelRoom {
            participants: vec![
                participant(1, vec![]),
                participant(2, second),
                participant(3, third),
            ],
        }
    }

    fn slots(kind: MediaKind, tracks: &[Option<(u32, u32, SlotState)>]) -> Vec<SlotView> {
        let first = if kind == MediaKind::Audio { 0 } else { 10 };
        let slot = |(index, t): (usize, &Option<(u32, u32, SlotState)>)| SlotView {
            mid: mid(first + index),
            kind,
            index: u32::try_from(index).expect("few"),
            assigned: t.map(|(p, t, _)| (ParticipantId(p), TrackId(t))),
            state: t.map_or(SlotState::Empty, |(_, _, state)| state),
            layer: None,
            reason: None,
        };
        tracks.iter().enumerate().map(slot).collect()
    }

    fn table(video: &[Option<(u32, u32, SlotState)>]) -> Vec<SlotView> {
        let mut all = slots(MediaKind::Audio, &[Some((2, 1, SlotState::Active)), None]);
        all.extend(slots(MediaKind::Video, video));
        all
    }

    const CAM2: Option<(u32, u32, SlotState)> = Some((2, 2, SlotState::Active));
    const CAM3: Option<(u32, u32, SlotState)> = Some((3, 4, SlotState::Waiting));
    const SCREEN: Option<(u32, u32, SlotState)> = Some((3, 5, SlotState::Active));

    fn says(room: &ModelRoom, slots: &[SlotView], what: &str) {
        let faults = room.faults(ME, slots);
        assert!(faults.iter().any(|f| f.contains(what)), "{faults:?}");
    }

    fn wish(slot: usize, show: Show, priority: u8) -> SlotWish {
        SlotWish {
            mid: mid(10 + slot),
            show,
            width: None,
            height: None,
            max_frame_rate: None,
            priority,
        }
    }

    #[test]
    fn right_tables_have_no_fault() {
        let mut room = room();
        assert_eq!(room.faults(ME, &table(&[CAM2, CAM3, SCREEN])), Vec::<String>::new());
        assert_eq!(room.faults(ME, &table(&[CAM2, SCREEN])), Vec::<String>::new());
        assert_eq!(room.faults(ME, &table(&[SCREEN])), Vec::<String>::new());
        assert_eq!(room.faults(ME, &table(&[None, CAM2, CAM3, SCREEN])), Vec::<String>::new());
        // A muted track may stay where there is room.
        let mut with_muted = table(&[CAM2, CAM3, SCREEN]);
        with_muted[1] = slots(MediaKind::Audio, &[None, Some((3, 3, SlotState::Paused))])[1];
        assert_eq!(room.faults(ME, &with_muted), Vec::<String>::new());
        room.participants[0].wishes =
            vec![wish(0, Show::Track(TrackId(4)), 0), wish(1, Show::ScreenShare, 0)];
        assert_eq!(room.faults(ME, &table(&[CAM3, SCREEN, CAM2])), Vec::<String>::new());
    }

    #[test]
    fn each_fault_is_found() {
        let room = room();
        says(&room, &table(&[CAM2, None, SCREEN]), "has 2 of 3 Video tracks");
        says(&room, &table(&[CAM2, CAM3]), "lacks a screen");
        says(&room, &table(&[CAM2, CAM2, SCREEN]), "in two slots");
        says(&room, &table(&[CAM2, CAM3, Some((3, 9, SlotState::Active))]), "which is gone");
        says(&room, &table(&[CAM2, CAM3, Some((2, 5, SlotState::Active))]), "holds t5 of p3");
        says(&room, &table(&[CAM2, CAM3, Some((3, 5, SlotState::Paused))]), "is Paused");
        says(&room, &table(&[CAM2, CAM3, Some((2, 1, SlotState::Active))]), "holds t1");
        let mut deaf = table(&[CAM2, CAM3, SCREEN]);
        deaf[0] = slots(MediaKind::Audio, &[None])[0];
        says(&room, &deaf, "has 0 of 1 Audio tracks");
        let mut muted_plays = table(&[CAM2, CAM3, SCREEN]);
        muted_plays[1] = slots(MediaKind::Audio, &[None, Some((3, 3, SlotState::Active))])[1];
        says(&room, &muted_plays, "is Active");
        assert!(!room.faults(ParticipantId(9), &[]).is_empty());
    }

    #[test]
    fn faults_against_wishes_are_found() {
        let mut room = room();
        let all = table(&[CAM2, SCREEN, CAM3]);
        room.participants[0].wishes = vec![wish(0, Show::Track(TrackId(4)), 0)];
        says(&room, &all, "pinned t4");
        room.participants[0].wishes = vec![wish(0, Show::ScreenShare, 0)];
        says(&room, &all, "follows ScreenShare");
        room.participants[0].wishes = vec![wish(1, Show::ActiveSpeaker, 0)];
        says(&room, &all, "follows ActiveSpeaker");
        let look = |id| Show::Participant(ParticipantId(id));
        room.participants[0].wishes = vec![wish(0, look(3), 0)];
        says(&room, &all, "looks at p3");
        assert_eq!(room.faults(ME, &table(&[SCREEN, CAM2, CAM3])), Vec::<String>::new());
        room.participants[0].wishes = vec![wish(0, look(1), 0), wish(1, look(9), 0)];
        says(&room, &all, "looks at p1");
        says(&room, &all, "looks at p9");
        // Of two pins of one track the more important wins; the other slot stays empty.
        room.participants[0].wishes =
            vec![wish(0, Show::Track(TrackId(2)), 1), wish(2, Show::Track(TrackId(2)), 5)];
        says(&room, &all, "pinned t2 to m10");
        assert_eq!(room.faults(ME, &table(&[None, SCREEN, CAM2])), Vec::<String>::new());
    }
}
