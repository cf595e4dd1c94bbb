//! What a WHEP session shows.
//!
//! Owns: its pin and the size it asks for, as wishes for its two slots.
//! Never: decides which encoding is sent: a size is a wish, and what the path carries counts.

use std::sync::Arc;

use convoke_node::core::{
    Action, Mid, ParticipantId, Reply, Show, SlotWish, TrackExplanation, TrackId,
};
use convoke_protocol::http::HttpOffer;
use convoke_protocol::{ErrorCode, Participant, ServerMessage, Source, Track, decode_server};

use super::HttpSession;
use crate::control::Inner;
use crate::convert;
use crate::refusal::Refusal;
use crate::requests::unexpected;
use crate::session::Session;

/// Whom or what a session was asked to show.
#[derive(Debug, Clone)]
pub(crate) enum PinText {
    /// A participant's id, or else an identity.
    Participant(String),
    /// A video track's id.
    Track(String),
}

/// What a session shows.
#[derive(Debug)]
pub(crate) struct View {
    audio: Option<Mid>,
    video: Option<Mid>,
    pin: Pin,
    size: Option<(u32, u32)>,
}

#[derive(Debug)]
enum Pin {
    /// Whatever the default policy says.
    None,
    Track(TrackId, ParticipantId),
    Participant(ParticipantId),
    Identity(Present),
}

/// The participants of an identity, in order of coming.
#[derive(Debug)]
struct Present {
    identity: Arc<str>,
    own: String,
    there: Vec<(String, Vec<String>)>,
}

/// What of the messages to a session concerns an identity's presence, by how they begin.
const ROSTER: [&str; 5] =
    ["participantJoined", "participantLeft", "trackPublished", "trackUnpublished", "snapshot"];

impl Present {
    fn new(identity: Arc<str>, own: &str, roster: &[Participant]) -> Self {
        let mut present = Self { identity, own: own.to_owned(), there: Vec::new() };
        roster.iter().for_each(|participant| present.came(participant));
        present
    }

    fn came(&mut self, participant: &Participant) {
        if participant.identity == *self.identity && participant.participant_id != self.own {
            let tracks = participant.tracks.iter().map(|track| track.track_id.clone()).collect();
            self.there.push((participant.participant_id.clone(), tracks));
        }
    }

    /// The newest that publishes, else the newest: who comes again is seen before its old session is
    /// found to be dead.
    fn choice(&self) -> Option<ParticipantId> {
        let publishes = self.there.iter().rfind(|(_, tracks)| !tracks.is_empty());
        let (id, _) = publishes.or(self.there.last())?;
        convert::read_participant_id(id)
    }

    fn hear(&mut self, message: ServerMessage) {
        let tracks = |there: &mut Vec<(String, Vec<String>)>, id: &str| {
            there.iter().position(|(known, _)| known == id)
        };
        match message {
            ServerMessage::ParticipantJoined(m) => self.came(&m.participant),
            ServerMessage::ParticipantLeft(m) => {
                self.there.retain(|(id, _)| *id != m.participant_id);
            }
            ServerMessage::TrackPublished(m) => {
                if let Some(at) = tracks(&mut self.there, &m.participant_id)
                    && let Some((_, tracks)) = self.there.get_mut(at)
                    && !tracks.contains(&m.track.track_id)
                {
                    tracks.push(m.track.track_id);
                }
            }
            ServerMessage::TrackUnpublished(m) => {
                if let Some(at) = tracks(&mut self.there, &m.participant_id)
                    && let Some((_, tracks)) = self.there.get_mut(at)
                {
                    tracks.retain(|track| *track != m.track_id);
                }
            }
            ServerMessage::Snapshot(m) => {
                self.there.clear();
                m.participants.iter().for_each(|participant| self.came(participant));
            }
            _ => {}
        }
    }
}

impl View {
    /// The view of somebody who finds `roster`.
    pub(crate) fn new(
        offer: &HttpOffer,
        pin: Option<PinText>,
        own: &str,
        roster: &[Participant],
    ) -> Result<Self, Refusal> {
        let mid = |mid: &Option<String>| mid.as_deref().and_then(Mid::new);
        let pin = match pin {
            None => Pin::None,
            Some(PinText::Track(id)) => read_track(&id, own, roster)?,
            Some(PinText::Participant(text)) => {
                let known = roster.iter().find(|one| one.participant_id == text);
                match known.and_then(|one| convert::read_participant_id(&one.participant_id)) {
                    Some(id) => Pin::Participant(id),
                    None => Pin::Identity(Present::new(text.into(), own, roster)),
                }
            }
        };
        Ok(Self { audio: mid(&offer.audio), video: mid(&offer.video), pin, size: None })
    }

    /// Whether it changes with who is there.
    pub(super) fn follows(&self) -> bool {
        matches!(self.pin, Pin::Identity(_))
    }

    /// Its wishes: none where all is as it would be anyway.
    fn wishes(&self) -> Vec<SlotWish> {
        let nobody = ParticipantId(0);
        let (audio, video) = match &self.pin {
            Pin::None => (None, self.size.map(|_| Show::Default)),
            Pin::Track(track, owner) => {
                (Some(Show::Participant(*owner)), Some(Show::Track(*track)))
            }
            Pin::Participant(id) => (Some(Show::Participant(*id)), Some(Show::Participant(*id))),
            Pin::Identity(present) => {
                let show = Show::Participant(present.choice().unwrap_or(nobody));
                (Some(show), Some(show))
            }
        };
        let wish = |(mid, show): (Mid, Show), size: Option<(u32, u32)>| SlotWish {
            mid,
            show,
            width: size.map(|(width, _)| width),
            height: size.map(|(_, height)| height),
            max_frame_rate: None,
            priority: 0,
        };
        let audio = self.audio.zip(audio).map(|one| wish(one, None));
        let video = self.video.zip(video).map(|one| wish(one, self.size));
        audio.into_iter().chain(video).collect()
    }

    /// Whether what its call was just told matters here.
    fn hear(&mut self, text: &str) -> bool {
        let Pin::Identity(present) = &mut self.pin else { return false };
        let kind = text.strip_prefix("{\"type\":\"").and_then(|rest| rest.split('"').next());
        if !kind.is_some_and(|kind| ROSTER.contains(&kind)) {
            return false;
        }
        let before = present.choice();
        if let Ok(message) = decode_server(text) {
            present.hear(message);
        }
        present.choice() != before
    }

    /// Whether a client means the picture: by the index of its m-line, or by its mid.
    pub(crate) fn is_video(&self, media: &str, offer: &HttpOffer) -> bool {
        self.video.is_some_and(|mid| mid.as_str() == media)
            || offer.video_at.is_some_and(|index| media.parse() == Ok(index))
    }
}

fn read_track(id: &str, own: &str, roster: &[Participant]) -> Result<Pin, Refusal> {
    let has = |one: &Participant| {
        let mut tracks = one.tracks.iter();
        let track = tracks.find(|track: &&Track| track.track_id == id)?;
        Some((convert::read_participant_id(&one.participant_id)?, track.source))
    };
    let others = roster.iter().filter(|one| one.participant_id != own);
    let found = others.filter_map(has).next();
    match (found, convert::read_track_id(id)) {
        (Some((owner, Source::Camera | Source::Screen)), Some(track)) => {
            Ok(Pin::Track(track, owner))
        }
        (Some(_), _) => Err(Refusal::new(ErrorCode::TrackInvalid, "pin a track of video")),
        _ => Err(Refusal::new(ErrorCode::TrackNotFound, "nobody publishes such a track now")),
    }
}

/// An encoding of what is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rendition {
    pub(crate) rid: Option<String>,
    pub(crate) size: Option<(u32, u32)>,
    pub(crate) bitrate_bps: u64,
}

impl Inner {
    /// Tells the core what a session shows.
    pub(crate) async fn sync_view(&self, session: &Session, view: &View) -> Result<(), Refusal> {
        let (participant, wishes) = (session.participant(), view.wishes());
        let action = || Action::SetView { participant, wishes: wishes.clone() };
        let done = self.insist(session.room(), action).await;
        done.map(drop).map_err(|error| self.refuse(&error))
    }

    /// A session's call was told something.
    pub(super) async fn view_hears(&self, http: &HttpSession, text: &str) {
        let Some(view) = &http.view else { return };
        let mut view = view.lock().await;
        if view.hear(text)
            && let Err(refusal) = self.sync_view(&http.session, &view).await
        {
            tracing::warn!(code = refusal.code.as_str(), "a view was not told");
        }
    }

    /// Asks for a size, or with `None` for the best there is.
    pub(crate) async fn set_size(
        &self,
        http: &HttpSession,
        size: Option<(u32, u32)>,
    ) -> Result<(), Refusal> {
        let Some(view) = &http.view else { return Err(unexpected()) };
        let mut view = view.lock().await;
        view.size = size;
        self.sync_view(&http.session, &view).await
    }

    /// The encodings of the picture that a session is shown, lowest first; none where there is no
    /// picture.
    pub(crate) async fn renditions(&self, http: &HttpSession) -> Result<Vec<Rendition>, Refusal> {
        let shown = self.explained(&http.session).await?.slots.into_iter();
        let video = match &http.view {
            Some(view) => view.lock().await.video,
            None => None,
        };
        let shown = shown.filter(|slot| Some(slot.mid) == video).find_map(|slot| slot.assigned);
        let Some((owner, track)) = shown else { return Ok(Vec::new()) };
        let Some(owner) = http.session.call().session(owner) else { return Ok(Vec::new()) };
        let published = self.explained(&owner).await?.tracks.into_iter();
        let of = |one: TrackExplanation| {
            let rendition = |one: convoke_node::core::EncodingExplanation| Rendition {
                rid: one.rid.map(|rid| rid.to_string()),
                size: one.size,
                bitrate_bps: if one.flowing { one.bitrate_bps } else { 0 },
            };
            one.encodings.into_iter().map(rendition).collect()
        };
        Ok(published.filter(|one| one.track == track).map(of).next().unwrap_or_default())
    }

    async fn explained(
        &self,
        session: &Session,
    ) -> Result<convoke_node::core::Explanation, Refusal> {
        let action = Action::Explain { participant: session.participant() };
        match self.command(session.room(), action).await {
            Ok(Reply::Explained(explanation)) => Ok(*explanation),
            Ok(_) => Err(unexpected()),
            Err(error) => Err(self.refuse(&error)),
        }
    }
}
