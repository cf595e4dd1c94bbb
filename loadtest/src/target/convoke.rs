//! Convoke as a target.
//!
//! Owns: tokens, joins, wishes, and what of the call's messages matters here.
//! Never: keeps a roster beyond the cameras that it may wish for.

use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use convoke_client::media::MediaPeer;
use convoke_client::{Client, ClientOptions, ConnectError, RequestError};
use convoke_client::{Seat as CallSeat, SeatEvent};
use convoke_control::{Minter, TokenRequest};
use convoke_protocol::{
    ClientMessage, Encoding, Follow, Join, Leave, MediaKind, Participant, ServerMessage,
    SessionDescription, Slot, SlotState, SlotWish, Source, Track, TrackDeclaration, ViewMessage,
};
use uuid::Uuid;

use super::{Ask, Failure, News, RIDS, Seat, Seated, Sockets, Target, media_config};
use crate::scenario::Scenario;

/// How long connecting, and each request, may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Cameras of others that are remembered.
const CAMERAS_MAX: usize = 256;
/// The client's own id of its camera.
const CAMERA: &str = "camera";

/// See the module.
#[derive(Debug)]
pub struct Convoke {
    url: String,
    minter: Minter,
    bind: IpAddr,
    /// Decides the group IDs, so that two runs never meet.
    run: Uuid,
}

impl Convoke {
    /// The server at `url`, for which `minter` makes tokens.
    #[must_use]
    pub fn new(url: String, minter: Minter, bind: IpAddr) -> Self {
        Self { url, minter, bind, run: Uuid::new_v4() }
    }

    fn token(&self, ask: &Ask) -> Result<String, Failure> {
        let request = TokenRequest {
            lifetime: Duration::from_secs(12 * 3600),
            ..TokenRequest::new(format!("caller-{}", ask.participant))
        };
        self.minter.mint(&request, SystemTime::now()).map_err(|e| Failure::new("token", e))
    }

    fn group_id(&self, room: usize) -> String {
        Uuid::from_u128(self.run.as_u128() ^ room as u128).to_string()
    }
}

fn refused(error: &RequestError) -> Failure {
    let kind = match error {
        RequestError::Refused(_) => "refused",
        RequestError::Timeout(_) => "timeout",
        RequestError::Disconnected => "disconnected",
        _ => "signalling",
    };
    Failure::new(kind, error)
}

fn unconnected(error: &ConnectError) -> Failure {
    let kind = match error {
        ConnectError::Refused(_) => "refused",
        ConnectError::Timeout(_) => "timeout",
        _ => "connect",
    };
    Failure::new(kind, error)
}

fn encodings(scenario: &Scenario) -> Vec<Encoding> {
    let video = &scenario.video;
    let several = video.encodings.len() > 1;
    let number = |n: usize| u32::try_from(n).ok();
    let encoding = |(spec, rid): (&crate::scenario::EncodingSpec, &&str)| Encoding {
        rid: several.then(|| (*rid).to_owned()),
        width: number(spec.height.0 * 16 / 9),
        height: number(spec.height.0),
        max_bitrate: u32::try_from(spec.rate.0).ok(),
        max_framerate: number(video.fps.0),
    };
    video.encodings.iter().zip(RIDS.iter()).map(encoding).collect()
}

fn declarations(ask: &Ask, mids: &[String]) -> Vec<TrackDeclaration> {
    let declare = |(line, source): (usize, Source)| {
        let camera = source == Source::Camera;
        let mid = mids.get(line)?;
        Some(TrackDeclaration {
            client_id: if camera { CAMERA } else { "microphone" }.to_owned(),
            source,
            mid: mid.clone(),
            muted: false,
            encodings: if camera { encodings(&ask.scenario) } else { Vec::new() },
            encrypted: false,
        })
    };
    ask.sources().into_iter().filter_map(declare).collect()
}

impl Target for Convoke {
    type Seat = ConvokeSeat;

    async fn join(&self, ask: Ask) -> Result<Seated<ConvokeSeat>, Failure> {
        let options = ClientOptions {
            user_agent: concat!("convoke-loadtest/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: PATIENCE,
            request_timeout: PATIENCE,
            bind: Some(self.bind),
            ..ClientOptions::default()
        };
        let token = self.token(&ask)?;
        let connecting = Client::connect(&self.url, &token, options);
        let client = connecting.await.map_err(|error| unconnected(&error))?;
        let view = &ask.scenario.view;
        let sends = !ask.lines().is_empty();
        let slots = [view.voices.0, view.tiles.0];
        let sockets = Sockets::bind(self.bind, sends, slots != [0, 0]);
        let sockets = sockets.map_err(|e| Failure::new("socket", e))?;
        let addresses = sockets.addresses().map_err(|e| Failure::new("socket", e))?;
        let config = media_config(&ask, addresses, slots);
        let media = |error| Failure::new("media", error);
        let (mut peer, offers) =
            MediaPeer::new(config, ask.visit, Instant::now()).map_err(media)?;
        let describe = |sdp: Option<String>| sdp.map(|sdp| SessionDescription { sdp });
        let join = Join {
            request_id: None,
            group_id: self.group_id(ask.room),
            room_id: None,
            lobby: None,
            tracks: declarations(&ask, &offers.send_mids),
            send: describe(offers.send),
            receive: describe(offers.receive),
        };
        let (joined, seat) = client.join_bare(join).await.map_err(|error| refused(&error))?;
        let at = Instant::now();
        let sdp = |answer: Option<SessionDescription>| answer.map(|answer| answer.sdp);
        let (send, receive) = (sdp(joined.send), sdp(joined.receive));
        peer.accept_answers(at, send.as_deref(), receive.as_deref()).map_err(media)?;
        let mut seat = ConvokeSeat {
            _client: client,
            seat,
            call_id: joined.call_id,
            own: joined.participant_id,
            mids: offers.video_mids,
            cameras: Vec::new(),
            held: Vec::new(),
            page: 0,
            ask,
        };
        seat.roster(&joined.participants);
        seat.slots(&joined.slots);
        seat.wish();
        Ok(Seated { peer, sockets, seat, at })
    }
}

/// A place in one of Convoke's calls.
#[derive(Debug)]
pub struct ConvokeSeat {
    _client: Client,
    seat: CallSeat,
    call_id: String,
    own: String,
    /// The video slots'.
    mids: Vec<String>,
    /// Others' cameras: whose, and the track.
    cameras: Vec<(String, String)>,
    /// The track in each video slot.
    held: Vec<Option<String>>,
    page: usize,
    ask: Ask,
}

impl ConvokeSeat {
    fn roster(&mut self, participants: &[Participant]) {
        self.cameras.clear();
        for participant in participants {
            for track in &participant.tracks {
                self.published(&participant.participant_id, track);
            }
        }
    }

    /// `true` when there is another camera to wish for.
    fn published(&mut self, whose: &str, track: &Track) -> bool {
        let camera = track.source == Source::Camera && whose != self.own;
        let is_new = camera
            && self.ask.scenario.view.named
            && self.cameras.len() < CAMERAS_MAX
            && !self.cameras.iter().any(|(_, known)| *known == track.track_id);
        if is_new {
            self.cameras.push((whose.to_owned(), track.track_id.clone()));
        }
        is_new
    }

    fn wish(&self) {
        let view = &self.ask.scenario.view;
        let count = self.cameras.len();
        let number = |n: usize| u32::try_from(n).ok();
        let wish = |(tile, mid): (usize, &String)| {
            let named = view.named && count > 0;
            let at = (self.page * self.mids.len() + tile) % count.max(1);
            let height = view.first_height.filter(|_| tile == 0).map_or(view.height.0, |h| h.0);
            SlotWish {
                mid: mid.clone(),
                track_id: self.cameras.get(at).filter(|_| named).map(|(_, track)| track.clone()),
                follow: (!named).then_some(Follow::ActiveSpeaker),
                width: number(height * 16 / 9),
                height: number(height),
                max_framerate: None,
                priority: u8::from(tile == 0),
            }
        };
        let tiles =
            if view.named && count > 0 { count.min(self.mids.len()) } else { self.mids.len() };
        let slots: Vec<SlotWish> = self.mids.iter().take(tiles).enumerate().map(wish).collect();
        if slots.is_empty() {
            return;
        }
        let call_id = self.call_id.clone();
        let message = ViewMessage { request_id: None, call_id, slots: Some(slots) };
        let request = self.seat.request(ClientMessage::View(message));
        tokio::spawn(async move {
            if let Err(error) = request.await {
                tracing::debug!(%error, "a wish was not taken");
            }
        });
    }

    /// The video slots that are not meant to show anything, or that went to another track.
    fn slots(&mut self, slots: &[Slot]) -> Vec<usize> {
        let mut rest = Vec::new();
        for slot in slots.iter().filter(|slot| slot.kind == MediaKind::Video) {
            let index = usize::try_from(slot.index).unwrap_or(usize::MAX);
            if index >= self.mids.len() {
                continue;
            }
            self.held.resize(self.held.len().max(index + 1), None);
            let shows = matches!(slot.state, SlotState::Active);
            let Some(held) = self.held.get_mut(index) else { continue };
            let other = *held != slot.track_id;
            held.clone_from(&slot.track_id);
            if !shows || other {
                rest.push(index);
            }
        }
        rest
    }

    fn message(&mut self, message: ServerMessage) -> Option<News> {
        match message {
            ServerMessage::Slots(changed) => {
                let rest = self.slots(&changed.slots);
                (!rest.is_empty()).then_some(News::Rest(rest))
            }
            ServerMessage::Snapshot(snapshot) => {
                self.roster(&snapshot.participants);
                Some(News::Rest(self.slots(&snapshot.slots)))
            }
            ServerMessage::Resumed(resumed) => {
                self.roster(&resumed.participants);
                Some(News::Rest(self.slots(&resumed.slots)))
            }
            ServerMessage::Demand(demand) if demand.client_id == CAMERA => {
                Some(News::Demand(demand.encodings.iter().map(|e| e.active).collect()))
            }
            ServerMessage::ParticipantJoined(joined) => {
                let Participant { participant_id, tracks, .. } = &joined.participant;
                let mut more = false;
                for track in tracks {
                    more |= self.published(participant_id, track);
                }
                self.wish_for_more(more);
                None
            }
            ServerMessage::TrackPublished(published) => {
                let more = self.published(&published.participant_id, &published.track);
                self.wish_for_more(more);
                None
            }
            ServerMessage::ParticipantLeft(left) => {
                let before = self.cameras.len();
                self.cameras.retain(|(whose, _)| *whose != left.participant_id);
                self.wish_for_more(self.cameras.len() != before);
                None
            }
            ServerMessage::Ended(ended) => Some(News::Ended(format!("{:?}", ended.reason))),
            _ => None,
        }
    }

    /// The cameras changed: the tiles are chosen anew where one may be free or gone.
    fn wish_for_more(&self, changed: bool) {
        if changed && self.cameras.len() <= self.mids.len() + 1 {
            self.wish();
        }
    }
}

impl Seat for ConvokeSeat {
    async fn next(&mut self) -> News {
        loop {
            match self.seat.next().await {
                Some(SeatEvent::Message(message)) => {
                    if let Some(news) = self.message(message) {
                        return news;
                    }
                }
                Some(SeatEvent::Reconnecting) => return News::Reconnecting,
                Some(SeatEvent::Reconnected) => return News::Reconnected,
                Some(SeatEvent::Over(reason)) => return News::Ended(format!("{reason:?}")),
                Some(_) => {}
                None => return News::Ended("the signalling is over".to_owned()),
            }
        }
    }

    fn look(&mut self, page: usize) {
        self.page = page;
        self.wish();
    }

    async fn answer(&mut self, _sdp: String) -> Result<(), Failure> {
        Err(Failure::new("signalling", "this server never offers"))
    }

    async fn leave(mut self) -> Result<(), Failure> {
        let leave = Leave { request_id: None, call_id: self.call_id.clone(), for_everyone: false };
        let request = self.seat.request(ClientMessage::Leave(leave));
        tokio::pin!(request);
        loop {
            tokio::select! {
                answer = &mut request => return answer.map(|_| ()).map_err(|e| refused(&e)),
                // What waits is read, so that the answer can come.
                event = self.seat.next() => if event.is_none() {
                    return request.await.map(|_| ()).map_err(|e| refused(&e));
                },
            }
        }
    }
}
