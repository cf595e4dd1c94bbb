//! One thread of callers: a poller, a heap of deadlines, batches.
//!
//! Owns: when which of its callers is driven. Reads the clock.
//! Never: knows what a caller is about.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};
use rustc_hash::FxHashMap;

use super::caller::{Caller, IDLE};
use super::socket::{Batch, Sender};
use super::{NewCaller, Sample, ToWorker};
use crate::figures::Figures;

const WAKE: Token = Token(usize::MAX);
/// Sockets that are looked at in one turn.
const EVENTS: usize = 1_024;
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_millis(250);

/// See the module.
pub(super) struct Worker {
    poll: Poll,
    commands: Receiver<ToWorker>,
    callers: Vec<Option<Caller>>,
    free: Vec<usize>,
    places: FxHashMap<u64, usize>,
    deadlines: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Sockets that may have more than was read, as tokens.
    unread: Vec<usize>,
    touched: Vec<usize>,
    batch: Batch,
    sender: Sender,
    figures: Figures,
    busy: Duration,
    since: Instant,
}

impl Worker {
    pub(super) fn new(commands: Receiver<ToWorker>) -> io::Result<(Self, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let worker = Self {
            poll,
            commands,
            callers: Vec::new(),
            free: Vec::new(),
            places: FxHashMap::default(),
            deadlines: BinaryHeap::new(),
            unread: Vec::new(),
            touched: Vec::new(),
            batch: Batch::new(),
            sender: Sender::default(),
            figures: Figures::default(),
            busy: Duration::ZERO,
            since: Instant::now(),
        };
        Ok((worker, waker))
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut woke = Instant::now();
        loop {
            let wait = self.wait(Instant::now());
            self.busy += woke.elapsed();
            if let Err(error) = self.poll.poll(&mut events, Some(wait))
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "the callers' poller failed");
                return;
            }
            woke = Instant::now();
            if !self.hear() {
                return;
            }
            let mut ready = std::mem::take(&mut self.unread);
            ready.extend(
                events.iter().map(|event| event.token()).filter(|t| *t != WAKE).map(|t| t.0),
            );
            for token in ready {
                self.read(token);
            }
            for place in std::mem::take(&mut self.touched) {
                self.turn(place);
            }
            self.timers();
        }
    }

    fn wait(&self, now: Instant) -> Duration {
        if !self.unread.is_empty() {
            return Duration::ZERO;
        }
        let next = self.deadlines.peek();
        next.map_or(WAIT_MAX, |Reverse((at, _))| at.saturating_duration_since(now).min(WAIT_MAX))
    }

    /// Takes what it was told; `false` when it is to end.
    fn hear(&mut self) -> bool {
        while let Ok(command) = self.commands.try_recv() {
            let now = Instant::now();
            match command {
                ToWorker::Add(caller) => self.add(*caller),
                ToWorker::Demand(visit, line, active) => {
                    self.change(visit, |caller| caller.demand(now, line, &active));
                }
                ToWorker::Speak(visit, speaks) => self.change(visit, |caller| caller.speak(speaks)),
                ToWorker::Rest(visit, slots) => {
                    self.change(visit, |caller| slots.iter().for_each(|slot| caller.rest(*slot)));
                }
                ToWorker::Offer(visit, offer, to) => {
                    let mut answer = Err("the caller is gone".to_owned());
                    self.change(visit, |caller| answer = caller.answer(now, &offer));
                    let _ = to.send(answer);
                }
                ToWorker::Remove(visit) => self.remove(visit),
                ToWorker::Sample(rebase, to) => drop(to.send(self.sample(rebase))),
                ToWorker::Stop => return false,
            }
        }
        true
    }

    fn add(&mut self, new: NewCaller) {
        let visit = new.visit;
        let mut caller = match Caller::new(new) {
            Ok(caller) => caller,
            Err(error) => return tracing::error!(%error, "a caller's sockets"),
        };
        let place = self.free.pop().unwrap_or(self.callers.len());
        for (index, socket) in caller.sockets() {
            let token = Token(place * 2 + index);
            let socket = &mut socket.socket;
            if let Err(error) = self.poll.registry().register(socket, token, Interest::READABLE) {
                tracing::error!(%error, "a caller's socket");
            }
        }
        if place == self.callers.len() {
            self.callers.push(Some(caller));
        } else if let Some(free) = self.callers.get_mut(place) {
            *free = Some(caller);
        }
        self.places.insert(visit, place);
        self.turn(place);
    }

    fn change(&mut self, visit: u64, change: impl FnOnce(&mut Caller)) {
        let Some(place) = self.places.get(&visit).copied() else { return };
        if let Some(caller) = self.callers.get_mut(place).and_then(Option::as_mut) {
            change(caller);
            self.touched.push(place);
        }
    }

    fn remove(&mut self, visit: u64) {
        let Some(place) = self.places.remove(&visit) else { return };
        let Some(mut caller) = self.callers.get_mut(place).and_then(Option::take) else { return };
        caller.close(Instant::now(), &mut self.sender, &mut self.figures);
        for (_, socket) in caller.sockets() {
            // The socket closes with the caller in any case.
            let _ = self.poll.registry().deregister(&mut socket.socket);
        }
        self.free.push(place);
    }

    fn read(&mut self, token: usize) {
        let (place, index) = (token / 2, token % 2);
        let Some(caller) = self.callers.get_mut(place).and_then(Option::as_mut) else { return };
        if caller.receive(Instant::now(), index, &mut self.batch, &mut self.figures) {
            self.unread.push(token);
        }
        self.touched.push(place);
    }

    fn turn(&mut self, place: usize) {
        let Some(caller) = self.callers.get_mut(place).and_then(Option::as_mut) else { return };
        let now = Instant::now();
        caller.turn(now, &mut self.sender, &mut self.figures);
        let deadline = caller.deadline().unwrap_or(now + IDLE);
        if caller.scheduled.is_none_or(|at| at > deadline) {
            caller.scheduled = Some(deadline);
            self.deadlines.push(Reverse((deadline, place)));
        }
    }

    /// Drives whoever is due. Entries that were overtaken by an earlier one are passed over.
    fn timers(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((at, place))) = self.deadlines.peek().copied() {
            if at > now {
                return;
            }
            self.deadlines.pop();
            let Some(caller) = self.callers.get_mut(place).and_then(Option::as_mut) else {
                continue;
            };
            if caller.scheduled != Some(at) {
                continue;
            }
            caller.scheduled = None;
            let due = caller.deadline().filter(|due| *due <= now);
            if let Some(due) = due {
                self.figures.lag.add_time(now.saturating_duration_since(due));
            }
            self.turn(place);
        }
    }

    fn sample(&mut self, rebase: bool) -> Sample {
        for caller in self.callers.iter_mut().flatten() {
            caller.sample(rebase, &mut self.figures);
        }
        let wall = self.since.elapsed();
        self.since += wall;
        Sample {
            figures: std::mem::take(&mut self.figures),
            busy: std::mem::take(&mut self.busy),
            wall,
            callers: self.places.len(),
        }
    }
}
