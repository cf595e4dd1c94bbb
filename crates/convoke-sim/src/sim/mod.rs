//! The virtual world: one queue of what is on its way, one clock, and everyone in it.
//!
//! Owns: the order in which things happen. At one instant: arrivals, then steps, then clients, then
//! workers.
//! Never: lets two runs with one seed differ.

mod acts;
mod check;
mod moderate;
mod quality;
mod queue;
mod span;
mod ways;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use convoke_client::check::{Delays, WireChecker, rtp_numbers};
use convoke_client::media::Input as PeerInput;
use convoke_core::{
    Action, Command, CommandError, Entropy, Event, Input, Outbox, ParticipantId, Permissions,
    Reply, RequestId, RoomChange, RoomId, TransportState, Worker, WorkerConfig,
};
use convoke_protocol::TransportRole;

use crate::actor::{Actor, Fate, Live};
use crate::laws::{self, Spin, Versions};
use crate::link::{Link, Sent};
use crate::model::ModelRoom;
use crate::report::Report;
use crate::scenario::Scenario;
use quality::Quality;
use queue::{Queue, What};
use ways::Ways;

/// Broken laws that a report keeps.
const MAX_VIOLATIONS: usize = 64;
/// How often tables are compared beside the steps.
const CHECK_EVERY: Duration = Duration::from_millis(250);
/// From the last step to the measuring: everything has settled by then.
const SETTLE: Duration = Duration::from_millis(1_500);
/// How long is measured.
const MEASURE: Duration = Duration::from_millis(1_500);
/// From the end of all sources to the counting of gaps.
const QUIET: Duration = Duration::from_millis(800);

/// What is known of one room from outside.
#[derive(Debug, Default)]
struct RoomState {
    model: ModelRoom,
    versions: Versions,
}

/// Whose an address is.
#[derive(Debug, Clone, Copy)]
struct Home {
    actor: usize,
    role: TransportRole,
    /// The address that this transport had first: its streams go by it.
    first: SocketAddr,
}

/// What a test does to what is received.
#[cfg(test)]
type Tamper = fn(&mut convoke_client::media::Received);

struct Sim {
    /// Applied to what clients receive, before it is looked at: to show that faults are seen.
    #[cfg(test)]
    tamper: Tamper,
    scenario: Scenario,
    start: Instant,
    now: Instant,
    random: fastrand::Rng,
    queue: Queue,
    workers: Vec<Worker>,
    spins: Vec<Spin>,
    out: Outbox,
    actors: Vec<Actor>,
    addresses: HashMap<SocketAddr, Home>,
    rooms: HashMap<RoomId, RoomState>,
    span: span::Span,
    wire: WireChecker,
    ways: Ways,
    next_request: u64,
    next_participant: u32,
    delays: Delays,
    quality: Quality,
    report: Report,
    /// What went on its way when, if asked for.
    trace: Option<Vec<String>>,
}

/// Runs a scenario to its end. The thread's `fastrand` generator is seeded with it.
#[must_use]
pub fn run(scenario: &Scenario, seed: u64) -> Report {
    // The media stack takes ICE names and SSRCs from the thread's generator.
    fastrand::seed(seed);
    let mut sim = Sim::new(scenario.clone(), seed);
    sim.play();
    sim.finish()
}

/// As [`run`], with a line for everything that went on its way: the tool for a run that must be
/// understood.
#[must_use]
pub fn run_traced(scenario: &Scenario, seed: u64) -> (Report, Vec<String>) {
    fastrand::seed(seed);
    let mut sim = Sim::new(scenario.clone(), seed);
    sim.trace = Some(Vec::new());
    sim.play();
    let trace = sim.trace.take().unwrap_or_default();
    (sim.finish(), trace)
}

/// Zero of virtual time: any instant will do, but one for all runs, as the media stack relates its
/// first to the calendar.
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

/// The media stack sends what is due at one instant in no fixed order; a run must have one. RTP
/// goes by stream, after all else; within a stream the stack keeps the order.
fn order(bytes: &[u8]) -> Option<u32> {
    rtp_numbers(bytes).map(|(_, ssrc)| ssrc)
}

fn worker_addr(index: usize) -> SocketAddr {
    let port = 3_478 + u16::try_from(index).unwrap_or(0);
    SocketAddr::from(([192, 0, 2, 1], port))
}

impl Sim {
    fn new(scenario: Scenario, seed: u64) -> Self {
        let start = origin();
        let mut random = fastrand::Rng::with_seed(seed);
        let workers = (0..scenario.workers.max(1)).map(|index| {
            let mut config = WorkerConfig::new(vec![worker_addr(index)]);
            config.media_timeout = scenario.media_timeout;
            Worker::new(config, Entropy::from_seed(seed ^ index as u64), start)
        });
        let workers: Vec<Worker> = workers.collect();
        let actors = scenario.actors.iter().map(|spec| Actor {
            spec: spec.clone(),
            up: Link::new(spec.uplink, random.u64(..)).since(start),
            down: Link::new(spec.downlink, random.u64(..)).since(start),
            live: None,
            generation: 0,
            was_cut: false,
            next_address: 0,
            next_client_id: 0,
            permissions: Permissions::ALL,
            waits: false,
            removed: false,
        });
        let actors: Vec<Actor> = actors.collect();
        let report = Report {
            scenario: scenario.name.clone(),
            seed,
            span: scenario.span,
            relay_delay_ms: scenario.relay_delay.as_millis(),
            ..Report::default()
        };
        let mut sim = Self {
            #[cfg(test)]
            tamper: |_| {},
            start,
            now: start,
            random,
            queue: Queue::default(),
            spins: workers.iter().map(|_| Spin::default()).collect(),
            workers,
            out: Outbox::default(),
            actors,
            addresses: HashMap::new(),
            rooms: HashMap::new(),
            span: span::Span::default(),
            wire: WireChecker::default(),
            ways: Ways::default(),
            next_request: 0,
            next_participant: 0,
            delays: Delays::default(),
            quality: Quality::default(),
            report,
            trace: None,
            scenario,
        };
        sim.schedule();
        sim
    }

    fn schedule(&mut self) {
        for (index, step) in self.scenario.steps.clone().iter().enumerate() {
            self.push(self.start + step.at, What::Step(index));
        }
        let mut at = self.start + CHECK_EVERY;
        while at < self.start + self.scenario.length + SETTLE + MEASURE {
            self.push(at, What::Check);
            at += CHECK_EVERY;
        }
    }

    fn push(&mut self, at: Instant, what: What) {
        if let Some(trace) = &mut self.trace {
            let (sent, arrives) = (self.now - self.start, at - self.start);
            trace.push(format!("{sent:?} -> {arrives:?} {}", what.line()));
        }
        self.queue.push(at, what);
    }

    fn broken(&mut self, what: impl std::fmt::Display) {
        let seconds = (self.now - self.start).as_secs_f64();
        if self.report.violations.len() < MAX_VIOLATIONS {
            self.report.violations.push(format!("at {seconds:.3}s: {what}"));
        }
    }

    /// The whole call.
    fn play(&mut self) {
        for actor in 0..self.actors.len() {
            if self.actors[actor].spec.joins {
                self.join(actor);
            }
        }
        let last_step = self.scenario.steps.iter().map(|s| s.at).max().unwrap_or_default();
        let settled = self.start + self.scenario.length.max(last_step) + SETTLE;
        self.run_until(settled);
        let before = self.counts();
        self.run_until(settled + MEASURE);
        self.check_flow(&before);
        self.rate_of_pictures(&before, MEASURE.as_secs_f64());
        self.check_bounds();
        for actor in &mut self.actors {
            if let Some(live) = &mut actor.live {
                live.hush(self.now);
            }
        }
        self.run_until(settled + MEASURE + QUIET);
        self.check_gaps();
        self.everyone_leaves();
    }

    fn run_until(&mut self, end: Instant) {
        while let Some(next) = self.next_instant().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.arrivals();
            self.clients();
            self.workers();
        }
        self.now = end;
    }

    fn next_instant(&self) -> Option<Instant> {
        let queued = self.queue.next();
        let workers = self.workers.iter().filter_map(Worker::next_timeout);
        let clients = self.actors.iter().filter_map(|a| a.live.as_ref()?.next_due());
        queued.into_iter().chain(workers).chain(clients).min()
    }

    /// Everything that is due in the queue.
    fn arrivals(&mut self) {
        while let Some(what) = self.queue.pop(self.now) {
            match what {
                What::ToServer { worker, source, local, bytes } => {
                    let input = Input::Datagram { source, local, bytes: &bytes };
                    self.workers[worker].handle(self.now, input, &mut self.out);
                    self.take_outbox(worker);
                }
                What::ToClient { actor, source, local, bytes } => {
                    self.client_datagram(actor, source, local, &bytes);
                }
                What::Answers { actor, generation, send, receive } => {
                    self.answers(actor, generation, send.as_deref(), receive.as_deref());
                }
                What::Answer { actor, generation, role, sdp } => {
                    self.answer(actor, generation, role, &sdp);
                }
                What::Demand { actor, generation, client_id, encodings } => {
                    let (now, actor) = (self.now, &mut self.actors[actor]);
                    if let Some(live) =
                        actor.live.as_mut().filter(|_| actor.generation == generation)
                    {
                        live.demanded(now, &client_id, &encodings);
                    }
                }
                What::Step(index) => {
                    let step = self.scenario.steps[index].clone();
                    self.act(step.who, step.act);
                    self.check_tables();
                }
                What::Relay(relay) => self.relay_arrives(*relay),
                What::Check => {
                    self.check_tables();
                    self.look_at_quality();
                }
            }
        }
    }

    fn client_datagram(
        &mut self,
        index: usize,
        source: SocketAddr,
        local: SocketAddr,
        bytes: &[u8],
    ) {
        let Some(home) = self.addresses.get(&local).copied() else { return };
        let transport = home.role;
        let Some(live) = self.actors[index].live.as_mut().filter(|l| l.fate == Fate::In) else {
            return;
        };
        let connected = live.peer.connected(transport);
        let before = self.report.received;
        live.peer.handle(self.now, PeerInput::Datagram { transport, source, local, bytes });
        self.client_events(index);
        if let Some((sequence, ssrc)) = rtp_numbers(bytes) {
            let taken = self.report.received > before;
            self.ways.came((home.first, ssrc), sequence, connected, taken);
        }
    }

    /// Clients make packets, and what they have to say goes on its way.
    fn clients(&mut self) {
        for index in 0..self.actors.len() {
            let actor = &mut self.actors[index];
            let Some(live) = actor.live.as_mut().filter(|l| l.fate == Fate::In) else { continue };
            if live.next_due().is_some_and(|due| due <= self.now) {
                live.turn(self.now);
                self.client_events(index);
            }
            self.client_transmits(index);
        }
    }

    fn client_transmits(&mut self, index: usize) {
        let Some(live) = &mut self.actors[index].live else { return };
        let mut transmits: Vec<_> = std::iter::from_fn(|| live.peer.poll_transmit()).collect();
        transmits.sort_by_key(|t| (t.local, order(&t.contents)));
        for transmit in transmits {
            let actor = &mut self.actors[index];
            let bytes = transmit.contents;
            let Sent::Arrives(at) = actor.up.send(self.now, &bytes) else { continue };
            let (source, local) = (transmit.local, transmit.destination);
            let worker = (0..self.workers.len()).find(|w| worker_addr(*w) == local);
            if let Some(worker) = worker {
                self.push(at, What::ToServer { worker, source, local, bytes });
            }
        }
    }

    fn client_events(&mut self, index: usize) {
        let Some(live) = &mut self.actors[index].live else { return };
        #[cfg_attr(not(test), expect(unused_mut))]
        let mut received = live.events();
        #[cfg(test)]
        received.iter_mut().for_each(self.tamper);
        let mut broken = Vec::new();
        let got_video = received.iter().any(|p| p.kind == convoke_protocol::MediaKind::Video);
        for packet in &received {
            self.report.received += 1;
            let at = packet.at.saturating_duration_since(self.start).as_micros();
            let csrc = u64::from(packet.csrc.unwrap_or(0));
            let kind = u64::from(packet.kind == convoke_protocol::MediaKind::Video);
            let place = (index as u64) << 32 | kind << 16 | packet.index as u64;
            for word in [at as u64, place, packet.sequence, csrc, u64::from(packet.rtp_time)] {
                let digest = self.report.digest ^ word;
                self.report.digest = digest.wrapping_mul(0x0100_0000_01b3).rotate_left(17);
            }
            let Some(slot) = live.slot_of(packet) else {
                broken.push(format!("a packet came on {}, which is no slot", packet.mid));
                continue;
            };
            slot.checker.packet(packet);
            if slot.ssrc.replace(packet.ssrc).is_some_and(|ssrc| ssrc != packet.ssrc) {
                broken.push(format!("slot {} changed its SSRC", packet.mid));
            }
            for violation in slot.checker.take_violations() {
                broken.push(format!("slot {} of actor {index}: {violation}", packet.mid));
            }
        }
        if got_video {
            live.ask_for_keyframes(self.now);
        }
        for fault in broken {
            self.broken(fault);
        }
    }

    /// Workers whose turn is open or whose deadline came.
    fn workers(&mut self) {
        for index in 0..self.workers.len() {
            if self.workers[index].next_timeout().is_none_or(|at| at > self.now) {
                continue;
            }
            self.report.turns += 1;
            self.workers[index].handle(self.now, Input::Timeout, &mut self.out);
            // A pacer has packets leave some microseconds apart: those turns are of use.
            let idle = self.out.transmits.is_empty() && self.out.events.is_empty();
            let fault = idle
                .then(|| self.workers[index].stats().transports)
                .and_then(|transports| self.spins[index].turn(self.now, transports));
            if let Some(fault) = fault {
                self.broken(format!("worker {index}: {fault}"));
                // Let time go on all the same.
                self.now += Duration::from_millis(1);
            }
            self.take_outbox(index);
        }
    }

    /// Puts a worker's datagrams on their links, and hears its events. Replies are returned.
    fn take_outbox(&mut self, worker: usize) -> Vec<(RequestId, Result<Reply, CommandError>)> {
        let mut transmits = std::mem::take(&mut self.out.transmits);
        transmits.sort_by_key(|t| (t.destination, order(&t.contents)));
        for transmit in transmits {
            let (local, destination) = (transmit.local, transmit.destination);
            if local != worker_addr(worker) {
                self.broken(format!("worker {worker} sends from {local}"));
            }
            let bytes = transmit.contents;
            let home = self.addresses.get(&destination).copied();
            let stream = home.map_or(destination, |home| home.first);
            if let Some(violation) = self.wire.datagram(local, stream, &bytes) {
                self.broken(format!("on the wire to {destination}: {violation}"));
            }
            let Some(Home { actor, first, .. }) = home else { continue };
            let sent = self.actors[actor].down.send(self.now, &bytes);
            if let Some((_, ssrc)) = rtp_numbers(&bytes) {
                self.ways.sent(first, ssrc, sent);
            }
            if let Sent::Arrives(at) = sent {
                let (source, local) = (local, destination);
                self.push(at, What::ToClient { actor, source, local, bytes });
            }
        }
        let mut replies = Vec::new();
        for event in std::mem::take(&mut self.out.events) {
            match event {
                Event::Reply { request, result } => replies.push((request, result)),
                event => self.event(event),
            }
        }
        self.take_relays();
        replies
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Room { room, version, change } => {
                let state = self.rooms.entry(room).or_default();
                let mut faults: Vec<String> = state.versions.event(version).into_iter().collect();
                for actor in &mut self.actors {
                    let here = actor.live.as_mut().filter(|live| live.room == room);
                    if let Some(live) = here.filter(|live| live.known.version < version) {
                        faults.extend(laws::apply(&mut live.known.participants, &change));
                        live.known.version = version;
                    }
                }
                if let RoomChange::ParticipantLeft { participant, .. } = change {
                    faults.extend(self.left(room, participant));
                }
                for fault in faults {
                    self.broken(fault);
                }
            }
            Event::Slots { room, participant, version, slots } => {
                let state = self.rooms.entry(room).or_default();
                let fault = state.versions.event(version);
                let now = self.now;
                if let Some(live) = self.live(participant)
                    && live.known.version < version
                {
                    live.slots_changed(now, &slots);
                    live.known.version = version;
                }
                if let Some(fault) = fault {
                    self.broken(fault);
                }
            }
            Event::Speakers { room, version, dominant, speaking } => {
                let state = self.rooms.entry(room).or_default();
                let mut faults: Vec<String> = state.versions.event(version).into_iter().collect();
                // Another shard may not have heard yet that someone is gone.
                let told = self.is_told();
                let model = self.model(room);
                let present = |id| !told || model.participants.iter().any(|p| p.id == id);
                let strangers = speaking.iter().copied().chain(dominant).filter(|id| !present(*id));
                faults.extend(strangers.map(|id| format!("{id} speaks but is not in {room}")));
                for fault in faults {
                    self.broken(fault);
                }
            }
            Event::Transport { participant, state, .. } => {
                let known = self.live(participant).is_some();
                if !known && state == TransportState::Connected {
                    self.broken(format!("{participant} connected after it was gone"));
                }
            }
            Event::Demand { participant, client_id, encodings, .. } => {
                let is_it = |a: &Actor| a.live.as_ref().is_some_and(|l| l.id == participant);
                let Some(actor) = self.actors.iter().position(is_it) else { return };
                let at = self.now + self.actors[actor].spec.downlink.delay;
                let generation = self.actors[actor].generation;
                let client_id = client_id.to_string();
                self.push(at, What::Demand { actor, generation, client_id, encodings });
            }
            Event::RoomClosed { room } => {
                self.rooms.entry(room).or_default().versions = Versions::default();
                let people = self.model(room).participants.clone();
                let here = |id| {
                    let mut lives = self.actors.iter().filter_map(|a| a.live.as_ref());
                    lives.any(|live| live.id == id && live.room == room)
                };
                if people.iter().any(|participant| here(participant.id)) {
                    self.broken(format!("{room} was closed with people in it"));
                }
            }
            _ => {}
        }
    }

    /// Someone is out: known from the command that did it, or the server found out.
    fn left(&mut self, room: RoomId, participant: ParticipantId) -> Option<String> {
        if !self.model(room).remove(participant) {
            return None;
        }
        let timeout = self.scenario.media_timeout;
        let now = self.now;
        let index = self
            .actors
            .iter()
            .position(|a| a.live.as_ref().is_some_and(|l| l.id == participant))?;
        let actor = &mut self.actors[index];
        let cut = actor.was_cut;
        self.end_of(index).and_then(|live| match live.fate {
            Fate::Dying { since } if now > since + timeout * 2 => {
                Some(format!("{participant} was gone for long before it was removed"))
            }
            Fate::In if !cut => Some(format!("{participant} was removed, but it is well")),
            _ => None,
        })
    }

    /// A presence is over: what it saw goes into the report.
    fn end_of(&mut self, index: usize) -> Option<Live> {
        let actor = &mut self.actors[index];
        let live = actor.live.take()?;
        actor.generation += 1;
        self.note(index, &live);
        Some(live)
    }

    fn live(&mut self, participant: ParticipantId) -> Option<&mut Live> {
        self.actors.iter_mut().filter_map(|a| a.live.as_mut()).find(|l| l.id == participant)
    }

    /// Gives a command, and hears everything that follows at once.
    fn command(&mut self, room: RoomId, action: Action) -> Result<Reply, CommandError> {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        let worker = self.worker_of(room);
        let command = Input::Command(Command { request, room, action });
        self.workers[worker].handle(self.now, command, &mut self.out);
        let mut replies = self.take_outbox(worker);
        match replies.pop() {
            Some((answered, result)) if answered == request && replies.is_empty() => result,
            _ => {
                self.broken("a command was not answered exactly once");
                Err(CommandError::NoSuchRoom)
            }
        }
    }
}

#[cfg(test)]
mod tests;
