//! A run: everyone takes part, and once a second all is counted.
//!
//! Owns: the course of a run, and whether its figures are valid.
//! Never: knows what kind of server it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::engine::{Engine, Sample};
use crate::figures::{Figures, Times};
use crate::meter::Shared;
use crate::plan::Plan;
use crate::probe::{self, Probe, Reading, ServerFigures};
use crate::scenario::Scenario;
use crate::target::Target;
use crate::visit::{Note, Stage};

/// How long everyone may take to leave.
const GOODBYES: Duration = Duration::from_secs(15);
/// The load test's own timers may be so late before delays say more of it than of the server.
const LAG_MS_MAX: f64 = 20.0;
/// The same for its busiest thread, as a share of the time.
const BUSY_MAX: f64 = 0.95;

/// A shorter piece of time is not shown, only counted; in seconds.
const MOMENT_LEAST: f64 = 0.2;

/// How a run is made.
#[derive(Debug, Clone, Copy)]
pub struct RunOptions {
    /// Threads for the callers' media.
    pub threads: usize,
    /// Show a progress bar.
    pub progress: bool,
}

/// One second of a run.
#[derive(Debug, Clone, Default)]
pub struct Second {
    /// Its end, from the beginning of the run.
    pub at: f64,
    /// How long it was.
    pub seconds: f64,
    /// Callers in their calls.
    pub callers: usize,
    /// What was counted in it.
    pub figures: Figures,
    /// The server's processor time in it, in cores.
    pub server_cores: Option<f64>,
    /// The server's memory at its end.
    pub server_rss: Option<u64>,
    /// The busiest thread's share of the time.
    pub busy: f64,
}

/// What happened to the participants.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Who joined at least once.
    pub joined: BTreeSet<usize>,
    /// Who could not join or not stay at least once.
    pub failed: BTreeSet<usize>,
    /// Joins that succeeded.
    pub joins: u64,
    /// From the beginning to the server's yes.
    pub join: Times,
    /// To the last transport.
    pub connect: Times,
    /// To the first picture.
    pub first_frame: Times,
    /// To the first sound.
    pub first_sound: Times,
    /// Times that signalling came back.
    pub reconnects: u64,
    /// By kind.
    pub errors: BTreeMap<&'static str, u64>,
    /// The first error of each kind in full.
    pub examples: BTreeMap<&'static str, String>,
}

impl Ledger {
    fn take(&mut self, note: Note) {
        match note {
            Note::Joined(who, after) => {
                self.joined.insert(who);
                self.joins += 1;
                self.join.add_time(after);
            }
            Note::Connected(after) => self.connect.add_time(after),
            Note::FirstFrame(after) => self.first_frame.add_time(after),
            Note::FirstSound(after) => self.first_sound.add_time(after),
            Note::Reconnected => self.reconnects += 1,
            Note::Failed(who, failure) => {
                self.failed.insert(who);
                self.error(failure);
            }
            Note::Mishap(failure) => self.error(failure),
        }
    }

    fn error(&mut self, failure: crate::target::Failure) {
        *self.errors.entry(failure.kind).or_default() += 1;
        self.examples.entry(failure.kind).or_insert(failure.what);
    }
}

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// What happened to the participants, all through the run.
    pub ledger: Ledger,
    /// All seconds, those before what is measured included.
    pub timeline: Vec<Second>,
    /// What was counted in the time that is measured.
    pub figures: Figures,
    /// How long that was.
    pub seconds: f64,
    /// Where it begins, from the beginning of the run.
    pub from: f64,
    /// What the server did in it.
    pub server: ServerFigures,
    /// The server's memory before anybody joined.
    pub empty_rss: Option<u64>,
    /// Whether anybody was to send media.
    pub has_media: bool,
    /// Datagrams that the kernel dropped at the callers' sockets.
    pub own_drops: u64,
    /// The load test's own processor time, in cores.
    pub own_cores: f64,
    /// The busiest thread's share of the time.
    pub busy: f64,
    /// Why the figures say nothing of the server; empty when they do.
    pub invalid: Vec<String>,
}

fn heights(scenario: &Scenario) -> (Vec<u16>, Vec<u16>) {
    let height = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
    let sent = scenario.video.encodings.iter().map(|e| height(e.height.0)).collect();
    let view = &scenario.view;
    let first = view.first_height.map_or(view.height.0, |first| first.0);
    (sent, vec![height(first), height(view.height.0)])
}

fn stage<T: Target>(
    target: T,
    scenario: Arc<Scenario>,
    engine: Engine,
    notes: tokio::sync::mpsc::UnboundedSender<Note>,
) -> Stage<T> {
    let plan = Plan::new(&scenario);
    let (heights, tiles) = heights(&scenario);
    let now = Instant::now();
    let meters = Shared {
        epoch: now,
        impaired_up: plan.participants.iter().map(|p| p.paths[0].is_some()).collect(),
        heights,
        tiles,
    };
    let rooms = 0..scenario.calls.rooms.0;
    let first = |room| AtomicUsize::new(plan.publishers(room).next().unwrap_or(usize::MAX));
    Stage {
        target,
        engine,
        meters: Arc::new(meters),
        begun: now,
        visits: plan.participants.iter().map(|_| AtomicU64::new(0)).collect(),
        speakers: rooms.clone().map(first).collect(),
        sending: rooms.map(|_| Mutex::default()).collect(),
        notes,
        next_visit: AtomicU64::new(1),
        scenario,
        plan,
    }
}

/// Carries a scenario out.
///
/// # Errors
/// When the threads cannot be had.
pub async fn run<T: Target>(
    target: T,
    scenario: Arc<Scenario>,
    probe: Probe,
    options: RunOptions,
) -> std::io::Result<Outcome> {
    let (engine, threads) = Engine::start(options.threads)?;
    let (notes, heard) = unbounded_channel();
    let stage = Arc::new(stage(target, scenario, engine.clone(), notes));
    let (over, is_over) = watch::channel(false);
    let mut clerk = Clerk::new(&stage.plan, heard, probe, options);
    let mut callers = JoinSet::new();
    for participant in stage.plan.participants.clone() {
        callers.spawn(stage.clone().take_part(participant, is_over.clone()));
    }
    let turns = tokio::spawn(take_turns(stage.clone()));
    clerk.count(&engine, &stage).await;
    turns.abort();
    let _ = over.send(true);
    let goodbyes = async { while callers.join_next().await.is_some() {} };
    if tokio::time::timeout(GOODBYES, goodbyes).await.is_err() {
        tracing::warn!("not everyone left in time");
    }
    let outcome = clerk.finish();
    tokio::task::spawn_blocking(move || engine.stop(threads)).await?;
    Ok(outcome)
}

/// In each room somebody else speaks after each turn.
async fn take_turns<T: Target>(stage: Arc<Stage<T>>) {
    let publishers: Vec<Vec<usize>> =
        (0..stage.speakers.len()).map(|room| stage.plan.publishers(room).collect()).collect();
    let mut turn = 0_usize;
    loop {
        tokio::time::sleep(stage.scenario.audio.turn.0).await;
        turn += 1;
        for (speaker, publishers) in stage.speakers.iter().zip(&publishers) {
            let Some(next) = publishers.get(turn % publishers.len().max(1)).copied() else {
                continue;
            };
            let before = speaker.swap(next, Ordering::Relaxed);
            for (who, speaks) in [(before, false), (next, true)] {
                let visit = stage.visits.get(who).map_or(0, |visit| visit.load(Ordering::Relaxed));
                if visit != 0 && before != next {
                    stage.engine.speak(visit, speaks);
                }
            }
        }
    }
}

/// Counts.
struct Clerk {
    heard: UnboundedReceiver<Note>,
    probe: Probe,
    bar: ProgressBar,
    outcome: Outcome,
    from: Duration,
    until: Duration,
    participants: usize,
    busy: Vec<(Duration, Duration)>,
}

impl Clerk {
    fn new(plan: &Plan, heard: UnboundedReceiver<Note>, probe: Probe, options: RunOptions) -> Self {
        let bar = if options.progress {
            ProgressBar::new(plan.until.as_secs().max(1))
        } else {
            ProgressBar::hidden()
        };
        let style = ProgressStyle::with_template("[{elapsed_precise}] {bar:30} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self {
            heard,
            bar,
            outcome: Outcome {
                from: plan.from.as_secs_f64(),
                has_media: plan.participants.iter().any(|participant| participant.publishes),
                empty_rss: probe.glance().rss_bytes,
                ..Outcome::default()
            },
            probe,
            from: plan.from,
            until: plan.until,
            participants: plan.participants.len(),
            busy: Vec::new(),
        }
    }

    async fn count<T: Target>(&mut self, engine: &Engine, stage: &Stage<T>) {
        let begun = stage.begun;
        self.seconds(engine, begun, self.from, false).await;
        let own = own_cpu();
        let drops = probe::socket_drops(std::process::id()).unwrap_or(0);
        let before = self.probe.read().await;
        self.busy.clear();
        // What was counted meanwhile belongs to what is measured.
        let start = Instant::now();
        self.second(engine.sample(true).await, begun, false);
        self.seconds(engine, begun, self.until, true).await;
        self.outcome.seconds = start.elapsed().as_secs_f64();
        let after = self.probe.read().await;
        let drops_after = probe::socket_drops(std::process::id()).unwrap_or(0);
        self.outcome.own_drops = drops_after.saturating_sub(drops);
        self.outcome.own_cores = (own_cpu() - own) / self.outcome.seconds.max(1e-3);
        self.server(&before, &after);
    }

    async fn seconds(&mut self, engine: &Engine, begun: Instant, until: Duration, measured: bool) {
        loop {
            let left = (begun + until).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(Duration::from_secs(1))).await;
            let sample = engine.sample(false).await;
            self.second(sample, begun, measured);
        }
    }

    fn second(&mut self, samples: Vec<Sample>, begun: Instant, measured: bool) {
        while let Ok(note) = self.heard.try_recv() {
            self.outcome.ledger.take(note);
        }
        let at = begun.elapsed().as_secs_f64();
        let since = self.outcome.timeline.last().map_or(0.0, |second| second.at);
        let mut second = Second { at, seconds: (at - since).max(1e-3), ..Second::default() };
        self.busy.resize(samples.len(), (Duration::ZERO, Duration::ZERO));
        for (sample, total) in samples.iter().zip(&mut self.busy) {
            second.figures.merge(&sample.figures);
            second.callers += sample.callers;
            let share = sample.busy.as_secs_f64() / sample.wall.as_secs_f64().max(1e-6);
            second.busy = second.busy.max(share);
            *total = (total.0 + sample.busy, total.1 + sample.wall);
        }
        let glance = self.probe.glance();
        second.server_rss = glance.rss_bytes;
        second.server_cores = glance.cpu.map(|[user, sys]| user + sys);
        if measured {
            self.outcome.figures.merge(&second.figures);
        }
        self.show(&second);
        // What is left over at a border says nothing of a second.
        if second.seconds >= MOMENT_LEAST {
            self.outcome.timeline.push(second);
        }
    }

    fn show(&self, second: &Second) {
        let ledger = &self.outcome.ledger;
        self.bar.set_position(second.at as u64);
        self.bar.set_message(format!(
            "{}/{} in calls, {} failed, {:.1}k packets/s, p99 {:.1} ms, {} freezes",
            second.callers,
            self.participants,
            ledger.failed.len(),
            second.figures.received_packets as f64 / second.seconds / 1e3,
            second
                .figures
                .video_delay
                .ms(0.99)
                .or(second.figures.audio_delay.ms(0.99))
                .unwrap_or(0.0),
            self.outcome.figures.freezes,
        ));
    }

    fn server(&mut self, before: &Reading, after: &Reading) {
        let outcome = &mut self.outcome;
        let measured = outcome.timeline.iter().filter(|second| second.at >= outcome.from);
        let rss = measured.filter_map(|second| second.server_rss).max();
        let received = [outcome.figures.received_packets, outcome.figures.received_bytes];
        outcome.server = ServerFigures::between(before, after, outcome.seconds, received, rss);
    }

    fn finish(mut self) -> Outcome {
        while let Ok(note) = self.heard.try_recv() {
            self.outcome.ledger.take(note);
        }
        self.bar.finish_and_clear();
        let mut outcome = self.outcome;
        let share =
            |(busy, wall): &(Duration, Duration)| busy.as_secs_f64() / wall.as_secs_f64().max(1e-6);
        outcome.busy = self.busy.iter().map(share).fold(0.0, f64::max);
        // Each second knows the processor time since the server's start: differences are shown.
        let mut before = None;
        for second in &mut outcome.timeline {
            let now = second.server_cores;
            second.server_cores =
                now.zip(before).map(|(now, before): (f64, f64)| (now - before) / second.seconds);
            before = now.or(before);
        }
        outcome.invalid = invalid(&outcome);
        outcome
    }
}

/// What makes the figures say more of the load test than of the server.
fn invalid(outcome: &Outcome) -> Vec<String> {
    let mut reasons = Vec::new();
    let lag = outcome.figures.lag.ms(0.99).unwrap_or(0.0);
    if lag > LAG_MS_MAX {
        reasons.push(format!(
            "the load test's own timers were {lag:.0} ms late (p99; {LAG_MS_MAX} at most)"
        ));
    }
    if outcome.own_drops > 0 {
        let drops = outcome.own_drops;
        reasons.push(format!("the callers' own sockets were full: {drops} datagrams dropped"));
    }
    if outcome.figures.unsent > 0 {
        let unsent = outcome.figures.unsent;
        reasons.push(format!("the callers could not send {unsent} datagrams"));
    }
    if outcome.busy > BUSY_MAX {
        let busy = outcome.busy * 100.0;
        reasons.push(format!("a thread of the load test was busy {busy:.0} % of the time"));
    }
    if outcome.has_media && outcome.figures.received_packets == 0 {
        reasons.push("no media reached anybody".to_owned());
    }
    reasons
}

/// Processor seconds of this process.
fn own_cpu() -> f64 {
    let probe = Probe { pids: vec![std::process::id()], metrics_url: None };
    probe.glance().cpu.map_or(0.0, |[user, sys]| user + sys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Failure;

    #[test]
    fn a_run_without_media_or_with_a_late_load_test_is_not_valid() {
        let mut outcome = Outcome::default();
        assert!(invalid(&outcome).is_empty(), "nobody was to send any");
        outcome.has_media = true;
        assert_eq!(invalid(&outcome).len(), 1);
        outcome.figures.received_packets = 1;
        assert!(invalid(&outcome).is_empty());
        outcome.figures.lag.add(1_000_000);
        outcome.own_drops = 3;
        outcome.busy = 0.99;
        outcome.figures.unsent = 1;
        let reasons = invalid(&outcome).join("\n");
        for word in ["late", "3 datagrams dropped", "busy 99 %", "could not send 1"] {
            assert!(reasons.contains(word), "{word}: {reasons}");
        }
    }

    #[test]
    fn participants_count_once_however_often_they_come() {
        let mut ledger = Ledger::default();
        let ms = Duration::from_millis;
        ledger.take(Note::Joined(3, ms(5)));
        ledger.take(Note::Joined(3, ms(7)));
        ledger.take(Note::Failed(3, Failure::new("refused", "busy")));
        ledger.take(Note::Failed(4, Failure::new("refused", "again")));
        assert_eq!((ledger.joined.len(), ledger.joins, ledger.failed.len()), (1, 2, 2));
        assert_eq!(ledger.errors.get("refused"), Some(&2));
        assert_eq!(ledger.examples.get("refused").map(String::as_str), Some("busy"));
    }
}
