//! One participant's way through a run: join, stay, leave, perhaps come back.
//!
//! Owns: the order of these, and the times that are noted.
//! Never: touches media; the engine does.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use convoke_client::source::{
    AudioConfig, AudioSource, EncodingConfig, FrameSizes, LayeredConfig, LayeredSource, Scalability,
};
use convoke_protocol::{Source, TransportRole};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use crate::engine::{CallerEvent, Engine, NewCaller, SILENT, Sending, Sent};
use crate::meter::{Meter, Shared};
use crate::plan::{Participant, Plan};
use crate::scenario::Scenario;
use crate::target::{Ask, Failure, News, Seat, Seated, Target};

/// A participant who saw and heard nothing for so long, though others send, counts as failed.
const NOTHING_SEEN: Duration = Duration::from_secs(10);
/// Transports that are not up by then count as failed.
const CONNECTING: Duration = Duration::from_secs(15);

/// What a participant noted.
#[derive(Debug)]
pub enum Note {
    /// It joined; so long after it began to.
    Joined(usize, Duration),
    /// All its transports were up.
    Connected(Duration),
    /// It saw the first picture.
    FirstFrame(Duration),
    /// It heard the first sound.
    FirstSound(Duration),
    /// Its signalling came back.
    Reconnected,
    /// It could not join, or not stay.
    Failed(usize, Failure),
    /// Something else went wrong.
    Mishap(Failure),
}

/// What all participants of a run share.
#[derive(Debug)]
pub struct Stage<T> {
    /// The server.
    pub target: T,
    /// What is done.
    pub scenario: Arc<Scenario>,
    /// Who takes part.
    pub plan: Plan,
    /// Their media.
    pub engine: Engine,
    /// For their meters.
    pub meters: Arc<Shared>,
    /// When the run began.
    pub begun: Instant,
    /// By participant: its present visit, or 0.
    pub visits: Vec<AtomicU64>,
    /// By room: who speaks.
    pub speakers: Vec<AtomicUsize>,
    /// By room: the publishers whose media is up, and since when.
    pub sending: Vec<Mutex<Vec<(usize, Instant)>>>,
    /// Where notes go.
    pub notes: UnboundedSender<Note>,
    /// The next visit's number.
    pub next_visit: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Target> Stage<T> {
    fn note(&self, note: Note) {
        // Fails only after the run.
        let _ = self.notes.send(note);
    }

    /// Since when somebody else sends in the room.
    fn others_since(&self, participant: &Participant) -> Option<Instant> {
        let sending = locked(self.sending.get(participant.room)?);
        let others = sending.iter().filter(|(who, _)| *who != participant.number);
        others.map(|(_, since)| *since).min()
    }

    fn sends(&self, participant: &Participant, since: Option<Instant>) {
        let Some(sending) = self.sending.get(participant.room) else { return };
        let mut sending = locked(sending);
        sending.retain(|(who, _)| *who != participant.number);
        sending.extend(since.map(|since| (participant.number, since)));
    }

    /// Takes part until `over` says that the run is over.
    pub async fn take_part(
        self: Arc<Self>,
        participant: Participant,
        mut over: watch::Receiver<bool>,
    ) {
        let mut random = fastrand::Rng::with_seed(self.scenario.seed ^ participant.number as u64);
        let mut spread = |time: Duration| time.mul_f64(0.5 + random.f64());
        let mut begin = self.begun + participant.joins_at;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(begin.into()) => {}
                () = ended(&mut over) => return,
            }
            let churn = self.scenario.churn.as_ref().filter(|_| participant.churns);
            let stay = churn.map(|churn| spread(churn.stay.0));
            self.visit(&participant, stay, &mut over).await;
            let Some(churn) = churn else { return };
            begin = Instant::now() + spread(churn.away.0);
        }
    }

    async fn visit(
        &self,
        participant: &Participant,
        stay: Option<Duration>,
        over: &mut watch::Receiver<bool>,
    ) {
        let begun = Instant::now();
        let visit = self.next_visit.fetch_add(1, Ordering::Relaxed);
        let ask = Ask {
            participant: participant.number,
            visit,
            room: participant.room,
            publishes: participant.publishes,
            scenario: self.scenario.clone(),
        };
        let joining = self.target.join(ask.clone());
        let seated = tokio::select! {
            seated = joining => seated,
            () = ended(over) => return,
        };
        let seated = match seated {
            Ok(seated) => seated,
            Err(failure) => return self.note(Note::Failed(participant.number, failure)),
        };
        self.note(Note::Joined(participant.number, seated.at.duration_since(begun)));
        let seat = Stay {
            stage: self,
            participant,
            visit,
            begun,
            waiting: usize::from(!ask.lines().is_empty()) + usize::from(receives(&ask)),
            first: [None, None],
            page: 0,
        };
        if let Some(slot) = self.visits.get(participant.number) {
            slot.store(visit, Ordering::Relaxed);
        }
        seat.stay(ask, seated, stay.map(|stay| begun + stay), over).await;
        if let Some(slot) = self.visits.get(participant.number) {
            slot.store(0, Ordering::Relaxed);
        }
        self.sends(participant, None);
        self.engine.remove(visit);
    }
}

fn receives(ask: &Ask) -> bool {
    // Where nobody else publishes, some servers make nothing to receive with.
    let only = ask.publishes && ask.scenario.calls.publishers.is_some_and(|some| some.0 == 1);
    !only && ask.scenario.view.tiles.0 + ask.scenario.view.voices.0 > 0
}

/// One visit, from the join on.
struct Stay<'a, T> {
    stage: &'a Stage<T>,
    participant: &'a Participant,
    visit: u64,
    begun: Instant,
    /// Transports that are not up yet.
    waiting: usize,
    /// The first sound and the first picture.
    first: [Option<Instant>; 2],
    page: usize,
}

impl<T: Target> Stay<'_, T> {
    async fn stay(
        mut self,
        ask: Ask,
        seated: Seated<T::Seat>,
        until: Option<Instant>,
        over: &mut watch::Receiver<bool>,
    ) {
        let Seated { peer, sockets, mut seat, .. } = seated;
        let (events, mut heard) = unbounded_channel();
        let engine = &self.stage.engine;
        engine.add(NewCaller {
            visit: self.visit,
            peer,
            send: sockets.send,
            receive: sockets.receive,
            sent: sources(&ask, self.stage.meters.epoch),
            paths: self.participant.paths,
            meter: Meter::new(self.stage.meters.clone(), self.participant.paths[1].is_some()),
            events,
        });
        let speaker = self.stage.speakers.get(self.participant.room);
        if speaker.is_some_and(|s| s.load(Ordering::Relaxed) == self.participant.number) {
            engine.speak(self.visit, true);
        }
        let forever = self.begun + Duration::from_secs(7 * 86_400);
        let mut connect_by = self.begun + CONNECTING;
        let page_every = self.stage.scenario.view.page_every.map(|time| time.0);
        let mut page_at = page_every.map_or(forever, |every| self.begun + every);
        let fine = loop {
            tokio::select! {
                news = seat.next() => match self.news(news, &mut seat).await {
                    Ok(()) => {}
                    Err(failure) => break Err(failure),
                },
                Some(event) = heard.recv() => match self.event(event) {
                    Ok(()) => {}
                    Err(failure) => break Err(failure),
                },
                () = tokio::time::sleep_until(connect_by.into()) => {
                    if self.waiting > 0 {
                        break Err(Failure::new("transport", "ICE or DTLS did not come up in time"));
                    }
                    connect_by = forever;
                }
                () = tokio::time::sleep_until(page_at.into()) => {
                    page_at += page_every.unwrap_or(forever - self.begun);
                    self.page += 1;
                    seat.look(self.page);
                }
                () = tokio::time::sleep_until(until.unwrap_or(forever).into()) => break Ok(()),
                () = ended(over) => break Ok(()),
            }
        };
        let fine = fine.and_then(|()| self.judge(&ask));
        if let Err(failure) = fine {
            self.stage.note(Note::Failed(self.participant.number, failure));
        }
        if let Err(failure) = seat.leave().await {
            tracing::debug!(%failure, "leaving");
        }
    }

    async fn news(&mut self, news: News, seat: &mut T::Seat) -> Result<(), Failure> {
        let engine = &self.stage.engine;
        match news {
            News::Demand(active) => {
                // The camera's line comes after the microphone's.
                engine.demand(self.visit, 1, active);
            }
            News::Rest(slots) => engine.rest(self.visit, slots),
            News::Offer(offer) => {
                let answer = engine.answer(self.visit, offer).await;
                seat.answer(answer.map_err(|error| Failure::new("media", error))?).await?;
            }
            News::Reconnecting => self
                .stage
                .note(Note::Mishap(Failure::new("signalling_lost", "the WebSocket was lost"))),
            News::Reconnected => self.stage.note(Note::Reconnected),
            News::Ended(reason) => return Err(Failure::new("ended", reason)),
        }
        Ok(())
    }

    fn event(&mut self, event: CallerEvent) -> Result<(), Failure> {
        match event {
            CallerEvent::Connected(role) => {
                if role == TransportRole::Send && self.participant.publishes {
                    self.stage.sends(self.participant, Some(Instant::now()));
                }
                self.waiting = self.waiting.saturating_sub(1);
                if self.waiting == 0 {
                    self.stage.note(Note::Connected(self.begun.elapsed()));
                }
            }
            CallerEvent::Disconnected(role) => {
                self.stage.note(Note::Mishap(Failure::new("transport_lost", format!("{role:?}"))))
            }
            CallerEvent::Closed(reason) => return Err(Failure::new("transport", reason)),
            CallerEvent::FirstSound(at) => {
                self.first[0] = Some(at);
                self.stage.note(Note::FirstSound(self.since(at)));
            }
            CallerEvent::FirstFrame(at) => {
                self.first[1] = Some(at);
                self.stage.note(Note::FirstFrame(self.since(at)));
            }
        }
        Ok(())
    }

    /// How long media took: from when this participant began to join, or from when there was
    /// somebody to see, whichever came later.
    fn since(&self, at: Instant) -> Duration {
        let others = self.stage.others_since(self.participant);
        at.saturating_duration_since(others.map_or(self.begun, |others| others.max(self.begun)))
    }

    /// Whether it saw what there was to see.
    fn judge(&self, ask: &Ask) -> Result<(), Failure> {
        let Some(others) = self.stage.others_since(self.participant) else { return Ok(()) };
        let long = others.max(self.begun).elapsed() >= NOTHING_SEEN;
        let scenario = &ask.scenario;
        let pictures = scenario.video.enabled && scenario.view.tiles.0 > 0;
        let sounds = scenario.audio.enabled && scenario.view.voices.0 > 0;
        if long && pictures && self.first[1].is_none() {
            return Err(Failure::new("no_picture", "no picture could be shown"));
        }
        if long && sounds && !pictures && self.first[0].is_none() {
            return Err(Failure::new("no_sound", "no sound came"));
        }
        Ok(())
    }
}

/// Waits for the end of the run.
async fn ended(over: &mut watch::Receiver<bool>) {
    // Fails only when the run is over, too.
    let _ = over.wait_for(|over| *over).await;
}

/// How large frames are.
fn recording() -> Option<Arc<FrameSizes>> {
    static SIZES: OnceLock<Option<Arc<FrameSizes>>> = OnceLock::new();
    let read = || FrameSizes::parse(include_str!("../traces/vp8.txt")).map(Arc::new);
    SIZES.get_or_init(read).clone()
}

/// What a caller sends, in the order of its send lines.
fn sources(ask: &Ask, epoch: Instant) -> Vec<Sent> {
    let now = Instant::now();
    let publisher = u32::try_from(ask.participant).unwrap_or(u32::MAX);
    let mut random = fastrand::Rng::with_seed(ask.scenario.seed ^ ask.visit << 20);
    let Scenario { audio, video, .. } = &*ask.scenario;
    let encoding = |spec: &crate::scenario::EncodingSpec| {
        let height = u16::try_from(spec.height.0).unwrap_or(u16::MAX);
        let size = (u16::try_from(spec.height.0 * 16 / 9).unwrap_or(u16::MAX), height);
        let bps = u32::try_from(spec.rate.0).unwrap_or(u32::MAX);
        EncodingConfig { size, bps, active: true }
    };
    let mut make = |source: Source| {
        // Not everyone's frames at the same instant.
        let start = now + Duration::from_micros(random.u64(0..33_000));
        if source == Source::Camera {
            let config = LayeredConfig {
                fps: u32::try_from(video.fps.0).unwrap_or(30),
                mode: match video.temporal_layers.0 {
                    1 => Scalability::L1T1,
                    _ => Scalability::L1T3,
                },
                sizes: recording(),
                descriptor: video.codec == crate::units::VideoCodec::Av1,
                encodings: video.encodings.iter().map(encoding).collect(),
                ..LayeredConfig::simulcast(video.codec.codec(), publisher, epoch, start)
            };
            return Sending::Video(LayeredSource::new(config, random.u64(..)));
        }
        let bytes = usize::try_from(audio.rate.0 / 8 / 50).unwrap_or(80).clamp(60, 1_200);
        let config =
            AudioConfig { bytes, level: SILENT, ..AudioConfig::new(publisher, epoch, start) };
        Sending::Audio(AudioSource::new(config, random.u64(..)))
    };
    let numbered = ask.sources().into_iter();
    numbered.map(|(line, source)| Sent { line, sending: make(source) }).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_recording_can_be_read() {
        assert!(super::recording().is_some());
    }
}
