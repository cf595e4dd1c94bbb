//! The callers' media, on a few threads.
//!
//! Owns: the threads, what they are told, and what they report.
//! Never: speaks a signalling protocol; the targets do.

mod caller;
mod path;
mod socket;
mod worker;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SendError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::Waker;
use tokio::sync::oneshot;

pub use caller::{CallerEvent, NewCaller, SILENT, SPEAKING, Sending, Sent};
pub(crate) use socket::bind;

use crate::figures::Figures;
use worker::Worker;

/// What a thread is told.
#[derive(Debug)]
pub(crate) enum ToWorker {
    Add(Box<NewCaller>),
    /// Which encodings of the track on a line are wanted.
    Demand(u64, usize, Vec<bool>),
    Speak(u64, bool),
    /// These video slots are not meant to show anything.
    Rest(u64, Vec<usize>),
    /// The server offers; the answer is wanted.
    Offer(u64, String, oneshot::Sender<Result<String, String>>),
    Remove(u64),
    /// Give what was counted since the last time; with `true`, counting begins anew.
    Sample(bool, oneshot::Sender<Sample>),
    Stop,
}

/// What a thread counted.
#[derive(Debug, Default)]
pub struct Sample {
    /// Of media.
    pub figures: Figures,
    /// How long it was not waiting.
    pub busy: Duration,
    /// How long all of it was.
    pub wall: Duration,
    /// Callers now.
    pub callers: usize,
}

#[derive(Debug, Clone)]
struct Way {
    commands: Sender<ToWorker>,
    waker: Arc<Waker>,
}

impl Way {
    fn tell(&self, command: ToWorker) -> Result<(), SendError<ToWorker>> {
        self.commands.send(command)?;
        // Fails only when the thread is gone, which the next command finds.
        let _ = self.waker.wake();
        Ok(())
    }
}

/// The threads; see the module. Cheap to clone; [`Engine::stop`] ends them.
#[derive(Debug, Clone)]
pub struct Engine {
    ways: Arc<[Way]>,
}

/// The threads' handles.
#[derive(Debug)]
pub struct Threads(Vec<JoinHandle<()>>);

impl Engine {
    /// Starts so many threads.
    ///
    /// # Errors
    /// When the system has no more threads or pollers.
    pub fn start(threads: usize) -> io::Result<(Self, Threads)> {
        let mut ways = Vec::new();
        let mut handles = Vec::new();
        for index in 0..threads.max(1) {
            let (commands, receiver): (Sender<ToWorker>, Receiver<ToWorker>) = channel();
            let (worker, waker) = Worker::new(receiver)?;
            let name = format!("callers-{index}");
            handles.push(std::thread::Builder::new().name(name).spawn(move || worker.run())?);
            ways.push(Way { commands, waker: Arc::new(waker) });
        }
        Ok((Self { ways: ways.into() }, Threads(handles)))
    }

    fn way(&self, visit: u64) -> Option<&Way> {
        let count = u64::try_from(self.ways.len()).unwrap_or(1);
        self.ways.get(usize::try_from(visit % count.max(1)).unwrap_or(0))
    }

    fn tell(&self, visit: u64, command: ToWorker) {
        if let Some(way) = self.way(visit) {
            // Fails only after the end, when nobody cares.
            let _ = way.tell(command);
        }
    }

    /// Takes a caller.
    pub fn add(&self, caller: NewCaller) {
        self.tell(caller.visit, ToWorker::Add(Box::new(caller)));
    }

    /// Which encodings of the track on a send line anybody wants.
    pub fn demand(&self, visit: u64, line: usize, active: Vec<bool>) {
        self.tell(visit, ToWorker::Demand(visit, line, active));
    }

    /// Begins or ends to speak.
    pub fn speak(&self, visit: u64, speaks: bool) {
        self.tell(visit, ToWorker::Speak(visit, speaks));
    }

    /// These video slots are not meant to show anything now.
    pub fn rest(&self, visit: u64, slots: Vec<usize>) {
        self.tell(visit, ToWorker::Rest(visit, slots));
    }

    /// Answers a server's offer for receiving.
    ///
    /// # Errors
    /// When the offer cannot be used, or the caller is gone.
    pub async fn answer(&self, visit: u64, offer: String) -> Result<String, String> {
        let (to, answer) = oneshot::channel();
        self.tell(visit, ToWorker::Offer(visit, offer, to));
        answer.await.unwrap_or_else(|_| Err("the caller is gone".to_owned()))
    }

    /// Says goodbye.
    pub fn remove(&self, visit: u64) {
        self.tell(visit, ToWorker::Remove(visit));
    }

    /// What was counted since the last time, by thread; with `rebase`, counting begins anew.
    pub async fn sample(&self, rebase: bool) -> Vec<Sample> {
        let mut waiting = Vec::new();
        for way in self.ways.iter() {
            let (to, sample) = oneshot::channel();
            if way.tell(ToWorker::Sample(rebase, to)).is_ok() {
                waiting.push(sample);
            }
        }
        let mut samples = Vec::new();
        for sample in waiting {
            samples.extend(sample.await.ok());
        }
        samples
    }

    /// Ends the threads.
    pub fn stop(&self, threads: Threads) {
        for way in self.ways.iter() {
            let _ = way.tell(ToWorker::Stop);
        }
        for thread in threads.0 {
            // A panic was printed by the thread.
            let _ = thread.join();
        }
    }
}
