//! The laws of a call, as functions of what was seen.
//!
//! Owns: versions, event-kept tables against snapshots, rosters against the model, what is left at
//! the end, busy loops. Streams are checked by `convoke_client::check`, slots by [`crate::model`].
//! Never: touches the core; each law is a function so that it can be shown to fail.

use std::time::{Duration, Instant};

use convoke_core::{ParticipantView, RoomChange, Snapshot, Stats};

use crate::model::ModelRoom;

/// Turns that one worker may want in one virtual millisecond without new input.
const TURNS_PER_MS: u32 = 20;

/// Versions of one room only grow.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    last: u64,
}

impl Versions {
    pub(crate) fn event(&mut self, version: u64) -> Option<String> {
        let fault = (version <= self.last)
            .then(|| format!("version {version} came after version {}", self.last));
        self.last = self.last.max(version);
        fault
    }

    pub(crate) fn snapshot(&self, version: u64) -> Option<String> {
        (version != self.last)
            .then(|| format!("a snapshot has version {version}, the events are at {}", self.last))
    }
}

/// Applies a change to a roster that is kept from events.
pub(crate) fn apply(roster: &mut Vec<ParticipantView>, change: &RoomChange) -> Option<String> {
    let known = |roster: &[ParticipantView], id| roster.iter().position(|p| p.participant == id);
    match change {
        RoomChange::ParticipantJoined(view) => {
            if known(roster, view.participant).is_some() {
                return Some(format!("{} joined twice", view.participant));
            }
            roster.push(view.clone());
        }
        RoomChange::ParticipantLeft { participant, .. } => {
            let Some(at) = known(roster, *participant) else {
                return Some(format!("{participant} left without having joined"));
            };
            roster.remove(at);
        }
        RoomChange::Reachable { participant, reachable } => {
            let Some(at) = known(roster, *participant) else {
                return Some(format!("{participant} is unknown"));
            };
            roster[at].reachable = *reachable;
        }
        RoomChange::TrackPublished { participant, track } => {
            let Some(at) = known(roster, *participant) else {
                return Some(format!("{participant} is unknown"));
            };
            roster[at].tracks.push(track.clone());
        }
        RoomChange::TrackUnpublished { participant, track } => {
            let Some(at) = known(roster, *participant) else {
                return Some(format!("{participant} is unknown"));
            };
            let tracks = &mut roster[at].tracks;
            let before = tracks.len();
            tracks.retain(|t| t.track != *track);
            if tracks.len() == before {
                return Some(format!("{participant} unpublished {track}, which it had not"));
            }
        }
        RoomChange::TrackUpdated { participant, track } => {
            let tracks = known(roster, *participant).map(|at| &mut roster[at].tracks);
            let mut tracks = tracks.into_iter().flatten();
            let Some(known) = tracks.find(|t| t.track == track.track) else {
                return Some(format!("{participant} updated {}, which it had not", track.track));
            };
            *known = track.clone();
        }
    }
    None
}

/// What a client has put together from events is what a snapshot says.
pub(crate) fn same_as_snapshot(known: &Snapshot, snapshot: &Snapshot) -> Option<String> {
    if known.participants != snapshot.participants {
        return Some(format!(
            "the roster by events is {:?}, by snapshot {:?}",
            known.participants, snapshot.participants
        ));
    }
    if known.slots != snapshot.slots {
        let pairs = known.slots.iter().zip(&snapshot.slots);
        let differ: Vec<_> = pairs.filter(|(a, b)| a != b).collect();
        return Some(format!("slots by events and by snapshot differ: {differ:?}"));
    }
    None
}

/// The core's roster is the model's.
pub(crate) fn same_as_model(model: &ModelRoom, snapshot: &Snapshot) -> Option<String> {
    let theirs: Vec<_> = snapshot
        .participants
        .iter()
        .map(|p| {
            let tracks: Vec<_> = p
                .tracks
                .iter()
                .map(|t| (t.track, t.client_id.to_string(), t.source, t.muted))
                .collect();
            (p.participant, p.reachable, tracks)
        })
        .collect();
    let ours: Vec<_> = model
        .participants
        .iter()
        .map(|p| {
            let tracks: Vec<_> =
                p.tracks.iter().map(|t| (t.id, t.client_id.clone(), t.source, t.muted)).collect();
            (p.id, p.reachable, tracks)
        })
        .collect();
    (ours != theirs).then(|| format!("the model has {ours:?}, the core {theirs:?}"))
}

/// Nothing is left of anyone.
pub(crate) fn nothing_left(stats: &Stats, next_timeout: Option<Instant>) -> Option<String> {
    let gauges = [stats.rooms, stats.participants, stats.transports, stats.tracks];
    if gauges != [0; 4] {
        return Some(format!(
            "after all have gone there are still rooms, participants, transports, tracks: {gauges:?}"
        ));
    }
    next_timeout.map(|_| "after all have gone a timeout is still wanted".to_owned())
}

/// A worker does not spin.
#[derive(Debug, Default)]
pub(crate) struct Spin {
    since: Option<Instant>,
    turns: u32,
}

impl Spin {
    /// One turn that only a deadline asked for and that brought nothing.
    pub(crate) fn turn(&mut self, now: Instant, transports: u64) -> Option<String> {
        let same = self.since.is_some_and(|at| now < at + Duration::from_millis(1));
        if !same {
            self.since = Some(now);
            self.turns = 0;
        }
        self.turns += 1;
        // Each transport may wake once for its own pacer.
        let most = TURNS_PER_MS + u32::try_from(transports).unwrap_or(u32::MAX);
        (self.turns == most + 1).then(|| format!("more than {most} turns in 1 ms"))
    }
}

#[cfg(test)]
mod tests {
    use convoke_core::{
        LeaveReason, MediaKind, Mid, ParticipantId, SlotState, SlotView, Source, TrackId, TrackView,
    };

    use super::*;
    use crate::model::{ModelParticipant, ModelTrack};

    fn track(id: u32, muted: bool) -> TrackView {
        let (client_id, source) = (format!("c{id}").into(), Source::Camera);
        TrackView { track: TrackId(id), client_id, source, muted, encrypted: false }
    }

    fn view(id: u32, tracks: Vec<TrackView>) -> ParticipantView {
        ParticipantView {
            participant: ParticipantId(id),
            identity: "someone".into(),
            display_name: "Someone".into(),
            reachable: true,
            tracks,
        }
    }

    fn snapshot() -> Snapshot {
        let mid = Mid::new("a").expect("a token");
        let (kind, assigned, state) = (MediaKind::Video, None, SlotState::Empty);
        Snapshot {
            version: 5,
            participants: vec![view(1, vec![track(7, false)]), view(2, vec![])],
            slots: vec![SlotView {
                mid,
                kind,
                index: 0,
                assigned,
                state,
                layer: None,
                reason: None,
            }],
        }
    }

    #[test]
    fn versions_must_grow() {
        let mut versions = Versions::default();
        assert_eq!(versions.event(1), None);
        assert_eq!(versions.event(2), None);
        assert_eq!(versions.snapshot(2), None);
        assert!(versions.snapshot(1).is_some());
        assert!(versions.event(2).is_some());
        assert!(versions.event(1).is_some());
    }

    #[test]
    fn a_roster_by_events_must_be_the_snapshots() {
        let good = snapshot();
        assert_eq!(same_as_snapshot(&good, &good), None);
        let mut bad = good.clone();
        bad.participants.pop();
        assert!(same_as_snapshot(&bad, &good).is_some());
        let mut bad = good.clone();
        bad.slots[0].state = SlotState::Waiting;
        assert!(same_as_snapshot(&bad, &good).is_some());
        let mut bad = good.clone();
        bad.participants[0].tracks[0].muted = true;
        assert!(same_as_snapshot(&bad, &good).is_some());
    }

    #[test]
    fn changes_that_make_no_sense_are_seen() {
        let participant = ParticipantId(1);
        let mut roster = snapshot().participants;
        let ok = [
            RoomChange::TrackUpdated { participant, track: track(7, true) },
            RoomChange::TrackPublished { participant, track: track(8, false) },
            RoomChange::TrackUnpublished { participant, track: TrackId(7) },
            RoomChange::Reachable { participant, reachable: false },
            RoomChange::ParticipantLeft { participant, reason: LeaveReason::Left },
            RoomChange::ParticipantJoined(view(3, vec![])),
        ];
        for change in &ok {
            assert_eq!(apply(&mut roster, change), None, "{change:?}");
        }
        assert_eq!(roster.len(), 2);
        let nonsense = [
            RoomChange::ParticipantJoined(view(2, vec![])),
            RoomChange::ParticipantLeft { participant, reason: LeaveReason::Left },
            RoomChange::TrackUnpublished { participant: ParticipantId(2), track: TrackId(7) },
            RoomChange::TrackUpdated { participant: ParticipantId(2), track: track(7, true) },
            RoomChange::TrackPublished { participant, track: track(9, false) },
            RoomChange::Reachable { participant, reachable: true },
        ];
        for change in &nonsense {
            assert!(apply(&mut roster, change).is_some(), "{change:?}");
        }
    }

    #[test]
    fn the_cores_roster_must_be_the_models() {
        let model_track = ModelTrack {
            id: TrackId(7),
            client_id: "c7".into(),
            source: Source::Camera,
            muted: false,
        };
        let participant = |id, tracks| ModelParticipant {
            id: ParticipantId(id),
            reachable: true,
            receives: true,
            tracks,
            wishes: vec![],
        };
        let good = ModelRoom {
            participants: vec![participant(1, vec![model_track]), participant(2, vec![])],
        };
        assert_eq!(same_as_model(&good, &snapshot()), None);
        let mut bad = good.clone();
        bad.participants.swap(0, 1);
        assert!(same_as_model(&bad, &snapshot()).is_some());
        let mut bad = good.clone();
        bad.participants[0].tracks[0].muted = true;
        assert!(same_as_model(&bad, &snapshot()).is_some());
        let mut bad = good;
        bad.participants[1].reachable = false;
        assert!(same_as_model(&bad, &snapshot()).is_some());
    }

    #[test]
    fn leftovers_are_seen() {
        let clean = Stats::default();
        assert_eq!(nothing_left(&clean, None), None);
        assert!(nothing_left(&clean, Some(Instant::now())).is_some());
        for stats in [
            Stats { rooms: 1, ..clean },
            Stats { participants: 1, ..clean },
            Stats { transports: 1, ..clean },
            Stats { tracks: 1, ..clean },
        ] {
            assert!(nothing_left(&stats, None).is_some());
        }
    }

    #[test]
    fn spinning_is_seen() {
        let now = Instant::now();
        let mut spin = Spin::default();
        for ms in 0..100 {
            for _ in 0..TURNS_PER_MS {
                assert_eq!(spin.turn(now + Duration::from_millis(ms), 0), None);
            }
        }
        let mut spin = Spin::default();
        let faults = (0..TURNS_PER_MS * 2).filter_map(|_| spin.turn(now, 0)).count();
        assert_eq!(faults, 1);
    }
}
