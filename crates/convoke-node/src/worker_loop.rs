//! The loop of one worker thread.
//!
//! Owns: the order of things in a turn, the one clock reading per turn, what happens on a panic
//! and at the end.
//! Never: blocks but in `wait`; decides about media.
//!
//! ```text
//! rest, where it is calm -> wait for datagrams, messages, a deadline or the end
//! turn: receive <= datagrams_per_turn, as many by TCP -> mail of other workers -> messages <= MESSAGES_PER_TURN
//!       -> core: Part, and send, while more than DATAGRAMS_PER_FLUSH are to be sent
//!       -> core: Timeout, again while deadlines are due -> replies and events -> mail to others
//!       -> send -> publish counters
//! ```

use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::time::{Duration, Instant};

use convoke_core::{Entropy, Input, Outbox, Reflexive, Shed, Worker, WorkerConfig};
use tokio::sync::watch;
use tokio::time::Sleep;

use crate::addresses::serves;
use crate::desk::Desk;
use crate::mailbox::Mail;
use crate::ports::Ports;
use crate::stats::{Meter, ShellCounts};
use crate::stun::Asker;
use crate::tcp::Links;

/// Messages in one turn at most.
const MESSAGES_PER_TURN: usize = 64;
/// After this long in a turn no further message is begun: a join costs far more than a datagram,
/// and a storm of them must not be heard in running calls.
const MESSAGES_TIME: Duration = Duration::from_millis(2);
/// Times that the core is driven in one turn at most; then sockets and messages have their turn.
const DRIVES_PER_TURN: usize = 32;
/// Datagrams that wait to be sent while more transports are driven: what they fill of the processor's cache
/// is sent, and used again.
const DATAGRAMS_PER_FLUSH: usize = 256;
/// A deadline this near is due: tokio's timers are as coarse, and pacers ask for microseconds. The
/// core is then driven at the deadline's own time, so its clock runs this much ahead at most.
const SLACK: Duration = Duration::from_millis(1);
/// Before who is calm looks for the next check of an idle peer: each of them would wake the thread, which
/// costs as much as its answer. The first of what else begins then waits as long.
const REST: Duration = Duration::from_millis(20);
/// The loop comes round this often, so that its health can be seen.
const TICK: Duration = Duration::from_millis(500);
/// While another worker has no room for what must be told it, it is tried again this often.
const BEHIND: Duration = Duration::from_millis(10);
/// When turns have left datagrams over for so long, those that are read now have waited in the kernel:
/// video first is of no use any more, then all media is not.
const LATE_VIDEO: Duration = Duration::from_millis(100);
const LATE_MEDIA: Duration = Duration::from_secs(1);
/// Transports have this long to say goodbye when the node stops.
const GOODBYE_MAX: Duration = Duration::from_millis(250);

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Yes.
    No,
    /// Stop, with goodbyes.
    Drain,
    /// Stop at once.
    Now,
}

/// Settings of a loop.
#[derive(Debug, Clone)]
pub(crate) struct LoopConfig {
    pub(crate) core: WorkerConfig,
    pub(crate) datagrams_per_turn: usize,
    /// Where the TCP port listens, if what a NAT gives the UDP socket is told for it too.
    pub(crate) tcp_behind_nat: Option<SocketAddr>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct WorkerLoop {
    config: LoopConfig,
    core: Worker,
    outbox: Outbox,
    port: Ports,
    tcp: Links,
    stun: Option<Asker>,
    desk: Desk,
    mail: Mail,
    stop: watch::Receiver<Stop>,
    meter: Meter,
    sleep: Pin<Box<Sleep>>,
    tick: Instant,
    /// When the turn began, by the clock.
    start: Instant,
    /// The time that the core is told; never back, and never more than [`SLACK`] after `start`.
    now: Instant,
    /// When the last turn was over, by the clock.
    idle_since: Instant,
    /// Since when each turn has left datagrams over.
    behind_since: Option<Instant>,
    delay: Delay,
}

/// What was forwarded, and since when it waits to leave.
#[derive(Debug, Default)]
struct Delay {
    /// What the core had forwarded when it was asked last.
    counted: u64,
    /// What the kernel has not yet taken all of: since when it waits, and how many it were.
    waiting: Option<(Instant, u64)>,
}

impl WorkerLoop {
    /// Must be called within the worker's runtime.
    pub(crate) fn new(
        config: LoopConfig,
        (port, tcp, stun): (Ports, Links, Option<Asker>),
        (desk, mail): (Desk, Mail),
        stop: watch::Receiver<Stop>,
        meter: Meter,
    ) -> Self {
        let now = Instant::now();
        Self {
            core: fresh_core(&config, now),
            config,
            outbox: Outbox::default(),
            port,
            tcp,
            stun,
            desk,
            mail,
            stop,
            meter,
            sleep: Box::pin(tokio::time::sleep_until(now.into())),
            tick: now,
            start: now,
            now,
            idle_since: now,
            behind_since: None,
            delay: Delay::default(),
        }
    }

    /// Until stopped.
    pub(crate) async fn run(mut self) {
        loop {
            self.wait().await;
            if !self.turn_or_restart() {
                return;
            }
            match self.stop.has_changed() {
                Ok(false) => continue,
                Ok(true) => {}
                Err(_) => return self.finish(Stop::Now).await,
            }
            let stop = *self.stop.borrow_and_update();
            if stop != Stop::No {
                return self.finish(stop).await;
            }
        }
    }

    /// Until there is something to do. What is left over from the last turn is done after a glance
    /// at the sockets only.
    async fn wait(&mut self) {
        let due = self.core.next_timeout().map(|at| at.checked_sub(SLACK).unwrap_or(at));
        let is_due = due.is_some_and(|at| at <= self.idle_since);
        let has_more = self.desk.has_message() || self.mail.has_any();
        if is_due || self.port.has_received() || self.tcp.has_received() || has_more {
            return tokio::task::yield_now().await;
        }
        self.rest(due);
        let tick = if self.mail.is_behind() { self.start + BEHIND } else { self.tick };
        let wake = due.map_or(tick, |at| at.min(tick)).into();
        if self.sleep.deadline() != wake || self.sleep.is_elapsed() {
            self.sleep.as_mut().reset(wake);
        }
        tokio::select! {
            biased;
            _ = self.port.ready() => {}
            () = self.tcp.ready() => {}
            () = found(&mut self.stun) => {}
            () = self.desk.ready() => {}
            () = self.mail.ready() => {}
            _ = self.stop.changed() => self.stop.mark_changed(),
            () = &mut self.sleep => {}
        }
    }

    /// Until checks of several idle peers have come, where it is calm. The thread sleeps: each datagram would
    /// wake the poller.
    fn rest(&self, due: Option<Instant>) {
        if self.core.is_calm(self.start) && !self.port.has_unsent() {
            let due = due.map_or(REST, |due| due.saturating_duration_since(self.idle_since));
            std::thread::sleep(REST.min(due));
        }
    }

    /// `false` when there is no core any more.
    fn turn_or_restart(&mut self) -> bool {
        self.start = Instant::now();
        self.now = self.now.max(self.start);
        if self.start >= self.tick {
            self.tick = self.start + TICK;
        }
        let turned = catch_unwind(AssertUnwindSafe(|| self.turn()));
        // A core that cannot even be made again ends the thread; its handles say `Gone`.
        let alive = turned.is_ok() || catch_unwind(AssertUnwindSafe(|| self.restart())).is_ok();
        let shell = ShellCounts {
            send: self.port.send_counts(),
            receive: self.port.receive_counts(),
            events_dropped: self.desk.events_dropped(),
            mail: self.mail.counts(),
            data_dropped: self.desk.data_dropped(),
            stun: self.stun.as_ref().map(Asker::stats).unwrap_or_default(),
        };
        if self.meter.is_core_due(self.start) {
            self.meter.core(self.start, &self.core.stats());
        }
        self.idle_since = Instant::now();
        self.count_forwarded();
        self.meter.turn(self.start, self.idle_since, shell);
        alive
    }

    /// Packets take from the beginning of the turn that received them to the end of the one in which the
    /// last of them left; what waited in the kernel before is not known.
    fn count_forwarded(&mut self) {
        let total = self.core.forwarded();
        // A core that was begun again has forwarded less than the one before.
        let fresh = total.checked_sub(self.delay.counted).unwrap_or(total);
        self.delay.counted = total;
        let (since, before) = self.delay.waiting.take().unwrap_or((self.start, 0));
        let packets = before + fresh;
        if packets == 0 {
            return;
        }
        if self.port.has_unsent() {
            self.delay.waiting = Some((since, packets));
        } else {
            self.meter.forwarded(since, self.idle_since, packets);
        }
    }

    fn turn(&mut self) {
        let limit = self.config.datagrams_per_turn;
        self.core.set_shed(shed(self.behind_since, self.start));
        let all =
            self.port.receive(self.now, limit, &mut self.stun, &mut self.core, &mut self.outbox)
                & self.tcp.receive(self.now, limit, &mut self.core, &mut self.outbox);
        self.behind_since = if all { None } else { self.behind_since.or(Some(self.start)) };
        self.look_at_nat();
        self.mail.receive(self.now, &mut self.core, &mut self.outbox);
        self.handle_messages();
        self.drive();
        // Before the events: a room that they tell to be over has said all by then.
        self.mail.send(&mut self.outbox.relays);
        if self.desk.deliver(&mut self.outbox.events) {
            self.desk.undo(self.now, &mut self.core, &mut self.outbox);
            self.core.handle(self.now, Input::Timeout, &mut self.outbox);
            self.desk.deliver(&mut self.outbox.events);
        }
        self.mail.send(&mut self.outbox.relays);
        self.port.flush(&mut self.outbox.transmits);
        self.tcp.flush(&mut self.outbox);
    }

    /// Before commands: a join is told what was heard in the same turn.
    fn look_at_nat(&mut self) {
        let Some(stun) = &mut self.stun else { return };
        stun.turn(self.start, &mut self.outbox.transmits);
        let Some(ips) = stun.news() else { return };
        let core = &mut self.config.core;
        let port = core.candidates.first().map_or(0, SocketAddr::port);
        let of_tcp = self.config.tcp_behind_nat.into_iter();
        core.reflexive = Reflexive {
            udp: ips.iter().map(|ip| SocketAddr::new(*ip, port)).collect(),
            tcp: of_tcp.flat_map(|tcp| told_for_tcp(tcp, &ips)).collect(),
        };
        self.core.set_reflexive(core.reflexive.clone());
    }

    fn handle_messages(&mut self) {
        for _ in 0..MESSAGES_PER_TURN {
            if !self.desk.handle_next(self.now, &mut self.core, &mut self.outbox)
                || self.start.elapsed() >= MESSAGES_TIME
            {
                return;
            }
        }
    }

    /// Ends the core's turn, and goes on while it has deadlines that are due.
    fn drive(&mut self) {
        self.drive_parts();
        let horizon = self.start + SLACK;
        for _ in 0..DRIVES_PER_TURN {
            self.core.handle(self.now, Input::Timeout, &mut self.outbox);
            match self.core.next_timeout() {
                Some(deadline) if deadline <= horizon => self.now = self.now.max(deadline),
                _ => return,
            }
        }
    }

    /// What was forwarded leaves in parts.
    fn drive_parts(&mut self) {
        while self.core.has_touched() {
            let part = Input::Part { datagrams: DATAGRAMS_PER_FLUSH };
            self.core.handle(self.now, part, &mut self.outbox);
            if self.outbox.transmits.len() < DATAGRAMS_PER_FLUSH {
                return;
            }
            self.port.flush(&mut self.outbox.transmits);
        }
    }

    /// A fresh core on the same port. The rooms are told to be gone.
    fn restart(&mut self) {
        tracing::error!("worker failed: its rooms are lost, it starts again empty");
        self.meter.failed();
        self.outbox = Outbox::default();
        self.desk.fail();
        self.mail.forget();
        self.tcp.close_all();
        let fresh = fresh_core(&self.config, self.now);
        let failed = std::mem::replace(&mut self.core, fresh);
        // Its invariants are broken: it may panic again.
        let _ = catch_unwind(AssertUnwindSafe(move || {
            let _failed = failed;
        }));
    }

    /// The end: everyone is removed, and told as far as time allows.
    async fn finish(mut self, stop: Stop) {
        self.say_goodbye(stop).await;
        self.meter.core(self.start, &self.core.stats());
    }

    async fn say_goodbye(&mut self, stop: Stop) {
        self.desk.close();
        let removed = catch_unwind(AssertUnwindSafe(|| {
            self.desk.close_rooms(self.now, &mut self.core, &mut self.outbox);
        }));
        if removed.is_err() || !self.turn_or_restart() || stop == Stop::Now {
            return;
        }
        self.tcp.close_all();
        let end = self.start + GOODBYE_MAX;
        let unsaid = |this: &Self| {
            this.core.stats().transports > 0 || this.port.has_unsent() || this.tcp.has_open()
        };
        while self.idle_since < end && unsaid(self) {
            self.tick = end;
            self.wait().await;
            if !self.turn_or_restart() {
                return;
            }
        }
    }
}

/// For ever where nothing is looked up.
async fn found(stun: &mut Option<Asker>) {
    match stun {
        Some(stun) => stun.ready().await,
        None => std::future::pending().await,
    }
}

fn told_for_tcp(listen: SocketAddr, ips: &[IpAddr]) -> impl Iterator<Item = SocketAddr> {
    let heard = ips.iter().filter(move |ip| serves(listen.ip(), **ip));
    heard.map(move |ip| SocketAddr::new(*ip, listen.port()))
}

/// What is dropped, of a worker that has been behind since then.
fn shed(behind_since: Option<Instant>, now: Instant) -> Shed {
    match behind_since.map(|since| now.saturating_duration_since(since)) {
        Some(behind) if behind >= LATE_MEDIA => Shed::Media,
        Some(behind) if behind >= LATE_VIDEO => Shed::Video,
        _ => Shed::Nothing,
    }
}

fn fresh_core(config: &LoopConfig, now: Instant) -> Worker {
    Worker::new(config.core.clone(), Entropy::from_bytes(rand::random()), now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stays_behind_sheds_video_first() {
        let start = Instant::now();
        let after = |time| shed(Some(start), start + time);
        assert_eq!(shed(None, start + LATE_MEDIA), Shed::Nothing);
        assert_eq!(after(LATE_VIDEO / 2), Shed::Nothing);
        assert_eq!(after(LATE_VIDEO), Shed::Video);
        assert_eq!(after(LATE_MEDIA), Shed::Media);
    }
}
