//! The way from one worker thread to another.
//!
//! Owns: the bounded queues between workers, their wake-up, and what happens at the bound: the oldest
//! media is dropped and counted; words are never dropped from the middle, but the link is told
//! everything anew once there is room.
//! Never: locks on the way of a packet; looks into what passes.
//!
//! ```text
//! worker a: turn -> Mail --words, media--> Mailbox of b --wake--> worker b: next turn
//! any task: Shards --errands-------------^
//! ```

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use convoke_core::{Action, Command, Input, Outbox, Relay, RoomId, Worker};
use crossbeam_queue::ArrayQueue;
use tokio::sync::Notify;

use crate::desk::NOBODY;

/// Relayed messages of either kind that are taken in one turn at most.
const RELAYS_PER_TURN: usize = 1_024;

/// A room of this worker that is to be linked or unlinked.
type Errand = (RoomId, Action);

/// What other threads have for one worker.
#[derive(Debug)]
pub(crate) struct Mailbox {
    /// What must arrive, in order.
    words: ArrayQueue<Relay>,
    media: ArrayQueue<Relay>,
    /// Links to be made or ended: rare, and few at a time, as there are few shards.
    errands: Mutex<Vec<Errand>>,
    has_errands: AtomicBool,
    wake: Notify,
}

impl Mailbox {
    pub(crate) fn new(bound: usize) -> Self {
        Self {
            words: ArrayQueue::new(bound),
            media: ArrayQueue::new(bound),
            errands: Mutex::default(),
            has_errands: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    fn has_any(&self) -> bool {
        !self.words.is_empty() || !self.media.is_empty() || self.has_errands.load(Ordering::Acquire)
    }

    /// A room of this worker is to be linked or unlinked.
    pub(crate) fn send_errand(&self, room: RoomId, action: Action) {
        self.errands.lock().unwrap_or_else(PoisonError::into_inner).push((room, action));
        self.has_errands.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Hands everything to the core, within bounds. Links come before what is said over them, and end
    /// after all that was said before.
    fn deliver(&self, now: Instant, core: &mut Worker, out: &mut Outbox) {
        let (unlinks, links): (Vec<Errand>, Vec<Errand>) =
            self.take_errands().into_iter().partition(|(_, a)| matches!(a, Action::Unlink { .. }));
        carry_out(now, links, core, out);
        // Counted first: what was said before a packet is then heard before it.
        let media = self.media.len().min(RELAYS_PER_TURN);
        for _ in 0..RELAYS_PER_TURN {
            let Some(relay) = self.words.pop() else { break };
            core.handle(now, Input::Relay(relay), out);
        }
        for _ in 0..media {
            let Some(relay) = self.media.pop() else { break };
            core.handle(now, Input::Relay(relay), out);
        }
        if self.words.is_empty() {
            carry_out(now, unlinks, core, out);
        } else {
            unlinks.into_iter().for_each(|(room, action)| self.send_errand(room, action));
        }
    }

    fn take_errands(&self) -> Vec<Errand> {
        if !self.has_errands.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.errands.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn carry_out(now: Instant, errands: Vec<Errand>, core: &mut Worker, out: &mut Outbox) {
    for (room, action) in errands {
        // A link does not make a room: that is for the join.
        if core.has_room(room) {
            let command = Command { request: NOBODY, room, action };
            core.handle(now, Input::Command(command), out);
        }
    }
}

/// What was dropped at the bound, and how often a link was told everything anew for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MailCounts {
    pub(crate) media_dropped: u64,
    pub(crate) resyncs: u64,
}

/// One worker's way to the others and from them.
#[derive(Debug)]
pub(crate) struct Mail {
    index: usize,
    mailboxes: Arc<[Mailbox]>,
    /// Links (from, to) that lost words.
    broken: BTreeSet<(RoomId, RoomId)>,
    /// Scratch: who must be woken.
    wake: Vec<usize>,
    counts: MailCounts,
}

impl Mail {
    /// Of the worker with this index.
    pub(crate) fn new(index: usize, mailboxes: Arc<[Mailbox]>) -> Self {
        let (broken, wake) = (BTreeSet::new(), Vec::new());
        Self { index, mailboxes, broken, wake, counts: MailCounts::default() }
    }

    pub(crate) fn counts(&self) -> MailCounts {
        self.counts
    }

    fn own(&self) -> Option<&Mailbox> {
        self.mailboxes.get(self.index)
    }

    /// Waits until something comes. It may have come before, see [`Self::has_any`].
    pub(crate) async fn ready(&self) {
        match self.own() {
            Some(mailbox) => mailbox.wake.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Whether something waits.
    pub(crate) fn has_any(&self) -> bool {
        self.own().is_some_and(Mailbox::has_any)
    }

    /// Hands what came to the core, within bounds.
    pub(crate) fn receive(&mut self, now: Instant, core: &mut Worker, out: &mut Outbox) {
        if let Some(mailbox) = self.own() {
            mailbox.deliver(now, core, out);
        }
        if !self.broken.is_empty() {
            self.heal(now, core, out);
        }
    }

    /// Whether links wait for being told everything anew.
    pub(crate) fn is_behind(&self) -> bool {
        !self.broken.is_empty()
    }

    /// Sends what the core has to say.
    pub(crate) fn send(&mut self, relays: &mut Vec<Relay>) {
        for relay in relays.drain(..) {
            let index = worker_of(relay.to);
            let Some(mailbox) = self.mailboxes.get(index) else { continue };
            if relay.message.may_be_lost() {
                let dropped = mailbox.media.force_push(relay);
                self.counts.media_dropped += u64::from(dropped.is_some());
            } else {
                let link = (relay.from, relay.to);
                if self.broken.contains(&link) || mailbox.words.push(relay).is_err() {
                    self.broken.insert(link);
                    continue;
                }
            }
            if !self.wake.contains(&index) {
                self.wake.push(index);
            }
        }
        for index in self.wake.drain(..) {
            if let Some(mailbox) = self.mailboxes.get(index) {
                mailbox.wake.notify_one();
            }
        }
    }

    /// Tells those everything anew who lost words and have room again.
    fn heal(&mut self, now: Instant, core: &mut Worker, out: &mut Outbox) {
        let mailboxes = &self.mailboxes;
        let has_room = |to: RoomId| {
            let mailbox = mailboxes.get(worker_of(to));
            mailbox.is_none_or(|mailbox| mailbox.words.len() * 2 <= mailbox.words.capacity())
        };
        let healed: Vec<(RoomId, RoomId)> =
            self.broken.iter().copied().filter(|(_, to)| has_room(*to)).collect();
        for (from, to) in healed {
            self.broken.remove(&(from, to));
            if core.is_linked(from, to) {
                self.counts.resyncs += 1;
                let action = Action::Link { peer: to };
                let command = Command { request: NOBODY, room: from, action };
                core.handle(now, Input::Command(command), out);
            }
        }
    }

    /// The core was lost, with all its links.
    pub(crate) fn forget(&mut self) {
        self.broken.clear();
    }
}

/// The index of the worker that a room lives on.
pub(crate) fn worker_of(room: RoomId) -> usize {
    usize::try_from(room.0 & 0xff).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
