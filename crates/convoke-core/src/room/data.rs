//! Data messages: who gets what, by which way, and what happens to who sends or reads too badly.
//!
//! Owns: senders' permissions and rates, the fan-out, the queues of durable messages and their
//! bound.
//! Never: names str0m, or lets a receiver's slowness reach anyone else.
//!
//! The way to a receiver is its own open channel of the message's kind, else an event that its
//! signalling delivers.
//!
//! - **Lossy**: given to the transport if it takes it at once, else dropped.
//! - **Durable**: given to the transport; what it does not take waits in the receiver's queue.
//!   Beyond [`DataLimits::queue_bytes`] the channel is closed, what waited is lost, and the receiver
//!   is told; later messages reach it by events.
//! - **Order** of durable messages, when a channel opens: what went by events is given
//!   [`HANDOVER`] to arrive; until then the queue holds what follows. When that is more than the
//!   queue takes, it goes by events as well, and the time begins anew. When the receiver closes its
//!   channel: what waits here follows by events, in order.
//! - **Too fast**: commands are refused with the time to wait. On a channel there is nobody to
//!   refuse, and holding messages back would need memory: lossy ones are dropped, and a durable one
//!   closes the sender's channel.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Io, Participant, Room};
use crate::api::{
    CommandError, DATA_RECIPIENTS_MAX, DATA_TOPIC_BYTES_MAX, DataCloseReason, DataClosed, DataDrop,
    DataEvent, DataLimits, DataMessage, Event, RelayMessage, Reliability,
};
use crate::frame::{self, DataFrame};
use crate::ids::ParticipantId;
use crate::rate::Rate;
use crate::transport::{DataHeard, Written};

/// How long after the last event a new channel waits before durable messages take it.
const HANDOVER: Duration = Duration::from_secs(1);

/// What a queued message costs beside its bytes, so that small ones cannot fill the memory.
const LETTER_BYTES: usize = 128;

/// When a room's held messages are to be looked at.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    /// For the worker to take.
    pub(crate) wanted: Option<Instant>,
    /// See [`crate::timers::Timers::set`].
    pub(crate) scheduled: Option<Instant>,
}

impl Timer {
    fn want(&mut self, at: Instant) {
        self.wanted = Some(self.wanted.map_or(at, |earlier| earlier.min(at)));
    }
}

/// A participant's part.
#[derive(Debug, Default)]
pub(super) struct Data {
    /// Of what it sends.
    rate: Rate,
    /// Its durable channel was closed for sending too fast: what of it is still under way is not
    /// taken, until it opens another.
    cut: bool,
    /// Durable messages for its channel; empty while it has none.
    queue: VecDeque<Arc<Letter>>,
    /// What they cost.
    queued: usize,
    /// When a durable message last left for it as an event.
    by_event: Option<Instant>,
    /// Until when the queue waits for such messages to arrive.
    held: Option<Instant>,
}

/// A message on its way, shared by all who get it.
#[derive(Debug)]
struct Letter {
    from: ParticipantId,
    reliability: Reliability,
    topic: Arc<str>,
    payload: Arc<[u8]>,
    /// As it goes onto a channel.
    frame: Arc<[u8]>,
}

impl Letter {
    fn new(
        from: ParticipantId,
        reliability: Reliability,
        topic: Arc<str>,
        payload: Arc<[u8]>,
    ) -> Self {
        let frame = frame::write(from, &topic, &payload);
        Self { from, reliability, topic, payload, frame }
    }

    fn cost(&self) -> usize {
        LETTER_BYTES + self.frame.len()
    }
}

/// Why a frame is not taken.
enum Untaken {
    Drop(DataDrop),
    TooFast(Duration),
}

impl Room {
    /// Sends a message that came as a command.
    pub(crate) fn send_data(
        &mut self,
        io: &mut Io<'_>,
        key: usize,
        message: DataMessage,
    ) -> Result<(), CommandError> {
        let DataMessage { to, reliability, topic, payload } = message;
        let sender = self.participants.get_mut(key).ok_or(CommandError::NoSuchParticipant)?;
        if !sender.permissions.data {
            return Err(CommandError::NotAllowed("sending data"));
        }
        if payload.len() > io.data_limits.payload_bytes {
            return Err(CommandError::Limit("bytes of one data payload"));
        }
        if topic.len() > DATA_TOPIC_BYTES_MAX {
            return Err(CommandError::Limit("bytes of one data topic"));
        }
        if to.as_ref().is_some_and(|to| to.len() > DATA_RECIPIENTS_MAX) {
            return Err(CommandError::Limit("recipients of one data message"));
        }
        let bytes = topic.len() + payload.len();
        let taken = sender.data.rate.take(io.now, &io.data_limits, bytes);
        taken.map_err(|retry_after| CommandError::TooFast { retry_after })?;
        let letter = Letter::new(sender.id, reliability, topic, payload);
        self.post(io, key, to.as_deref(), letter);
        Ok(())
    }

    /// A participant's data channels tell something.
    pub(crate) fn data_heard(&mut self, io: &mut Io<'_>, key: usize, heard: DataHeard) {
        match heard {
            DataHeard::Message { reliability, binary, bytes } => {
                self.data_message(io, key, reliability, binary, &bytes);
            }
            DataHeard::Opened(Reliability::Durable) => {
                let Some(participant) = self.participants.get_mut(key) else { return };
                participant.data.cut = false;
                let arrived = participant.data.by_event.map(|at| at + HANDOVER);
                match arrived.filter(|at| *at > io.now) {
                    Some(at) => self.hold(key, at),
                    None => self.flush(io, key),
                }
            }
            DataHeard::Closed(Reliability::Durable) => {
                let open = |key| {
                    io.seats
                        .get(key)
                        .is_some_and(|seat| seat.transport.has_data(Reliability::Durable))
                };
                let other = self.participants.get(key).is_some_and(|p| transports(p).any(open));
                if !other {
                    self.flush_by_events(io, key);
                }
            }
            DataHeard::Drained => self.flush(io, key),
            DataHeard::Opened(Reliability::Lossy) | DataHeard::Closed(Reliability::Lossy) => {}
            DataHeard::Refused(reason) => io.stats.data.count_drops(reason, 1),
        }
    }

    /// Gives what was held to the channels whose time has come.
    pub(crate) fn poll_data(&mut self, io: &mut Io<'_>) {
        for key in self.keys() {
            match self.participants.get(key).and_then(|participant| participant.data.held) {
                Some(at) if at <= io.now => self.flush(io, key),
                Some(at) => self.data_timer.want(at),
                None => {}
            }
        }
    }

    fn data_message(
        &mut self,
        io: &mut Io<'_>,
        key: usize,
        reliability: Reliability,
        binary: bool,
        bytes: &[u8],
    ) {
        let Some(sender) = self.participants.get_mut(key) else { return };
        let durable = reliability == Reliability::Durable;
        if durable && sender.data.cut {
            return io.stats.data.count_drops(DataDrop::TooFast, 1);
        }
        match take_frame(io.now, &io.data_limits, sender, binary, bytes) {
            Ok(frame) => {
                let (topic, payload) = (frame.topic.into(), frame.payload.into());
                let to = Some(frame.to.as_slice()).filter(|to| !to.is_empty());
                let letter = Letter::new(sender.id, reliability, topic, payload);
                self.post(io, key, to, letter);
            }
            Err(Untaken::Drop(reason)) => io.stats.data.count_drops(reason, 1),
            Err(Untaken::TooFast(wait)) => {
                io.stats.data.count_drops(DataDrop::TooFast, 1);
                if durable {
                    sender.data.cut = true;
                    self.close_durable(io, key, DataCloseReason::TooFast, Some(wait));
                    self.flush_by_events(io, key);
                }
            }
        }
    }

    /// The fan-out: one message to everyone whom it is for.
    fn post(
        &mut self,
        io: &mut Io<'_>,
        sender: usize,
        to: Option<&[ParticipantId]>,
        letter: Letter,
    ) {
        io.stats.data.count_in(letter.reliability, letter.payload.len());
        self.relay_data(io, to, &letter);
        self.spread(io, sender, to, letter);
    }

    /// A message of someone on another shard, for those on this one.
    pub(super) fn mirror_data(
        &mut self,
        io: &mut Io<'_>,
        (sender, from): (usize, ParticipantId),
        to: Option<&[ParticipantId]>,
        reliability: Reliability,
        (topic, payload): (Arc<str>, Arc<[u8]>),
    ) {
        self.spread(io, sender, to, Letter::new(from, reliability, topic, payload));
    }

    /// The shards that have someone whom it is for get it once.
    fn relay_data(&self, io: &mut Io<'_>, to: Option<&[ParticipantId]>, letter: &Letter) {
        for link in self.link_keys() {
            let there = |id: &ParticipantId| self.mirrored(link, *id).is_ok();
            let to: Option<Vec<ParticipantId>> =
                to.map(|to| to.iter().copied().filter(there).collect());
            if to.as_ref().is_some_and(Vec::is_empty) {
                continue;
            }
            let message = RelayMessage::Data {
                from: letter.from,
                to,
                reliability: letter.reliability,
                topic: Arc::clone(&letter.topic),
                payload: Arc::clone(&letter.payload),
            };
            self.relay_to(io, link, message);
        }
    }

    /// To everyone on this shard whom it is for.
    fn spread(
        &mut self,
        io: &mut Io<'_>,
        sender: usize,
        to: Option<&[ParticipantId]>,
        letter: Letter,
    ) {
        let letter = Arc::new(letter);
        let mut by_event = Vec::new();
        for key in self.recipients(sender, to) {
            if !self.deliver(io, key, &letter)
                && let Some(participant) = self.participants.get(key)
            {
                by_event.push(participant.id);
            }
        }
        self.tell_data(io, by_event, &letter);
    }

    fn recipients(&self, sender: usize, to: Option<&[ParticipantId]>) -> Vec<usize> {
        let Some(to) = to else {
            return self.locals.iter().copied().filter(|key| *key != sender).collect();
        };
        let known = to.iter().filter_map(|id| self.local_key_of(*id));
        let mut keys: Vec<usize> = known.filter(|key| *key != sender).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    fn tell_data(&self, io: &mut Io<'_>, to: Vec<ParticipantId>, letter: &Letter) {
        if to.is_empty() {
            return;
        }
        io.stats.data.count_by_event(letter.reliability, to.len());
        io.events.push(Event::Data(DataEvent {
            room: self.id,
            to,
            from: letter.from,
            reliability: letter.reliability,
            topic: Arc::clone(&letter.topic),
            payload: Arc::clone(&letter.payload),
        }));
    }

    /// By the receiver's channel, or into its queue. `false` when it must go by an event.
    fn deliver(&mut self, io: &mut Io<'_>, key: usize, letter: &Arc<Letter>) -> bool {
        match letter.reliability {
            Reliability::Durable => self.deliver_durable(io, key, letter),
            Reliability::Lossy => {
                let Some(receiver) = self.participants.get(key) else { return true };
                let written = write(io, receiver, letter);
                if written == Written::Full {
                    io.stats.data.count_drops(DataDrop::SlowReader, 1);
                }
                written != Written::Closed
            }
        }
    }

    fn deliver_durable(&mut self, io: &mut Io<'_>, key: usize, letter: &Arc<Letter>) -> bool {
        let Some(receiver) = self.participants.get_mut(key) else { return true };
        let data = &receiver.data;
        let (held, waits) = (data.held.is_some(), data.held.is_some() || !data.queue.is_empty());
        let written = if waits { Written::Full } else { write(io, receiver, letter) };
        let fits = receiver.data.queued + letter.cost() <= io.data_limits.queue_bytes;
        match written {
            Written::Yes => return true,
            Written::Full if fits => {
                receiver.data.queued += letter.cost();
                receiver.data.queue.push_back(Arc::clone(letter));
                return true;
            }
            Written::Full if held => {
                self.flush_by_events(io, key);
                self.hold(key, io.now + HANDOVER);
            }
            Written::Full => {
                let lost = receiver.data.queue.len() as u64;
                receiver.data.queue.clear();
                receiver.data.queued = 0;
                io.stats.data.count_drops(DataDrop::SlowReader, lost);
                self.close_durable(io, key, DataCloseReason::SlowReader, None);
            }
            // None is open, or it takes nothing any more.
            Written::Closed => close_durable(io, receiver),
        }
        if let Some(receiver) = self.participants.get_mut(key) {
            receiver.data.by_event = Some(io.now);
        }
        false
    }

    fn hold(&mut self, key: usize, until: Instant) {
        if let Some(receiver) = self.participants.get_mut(key) {
            receiver.data.held = Some(until);
            self.data_timer.want(until);
        }
    }

    /// Gives the channel what waits for it.
    fn flush(&mut self, io: &mut Io<'_>, key: usize) {
        let Some(receiver) = self.participants.get_mut(key) else { return };
        if receiver.data.held.is_some_and(|at| at > io.now) {
            return;
        }
        receiver.data.held = None;
        while let Some(letter) = receiver.data.queue.front().map(Arc::clone) {
            match write(io, receiver, &letter) {
                Written::Yes => {
                    receiver.data.queued -= letter.cost();
                    receiver.data.queue.pop_front();
                }
                Written::Full => return,
                Written::Closed => {
                    close_durable(io, receiver);
                    return self.flush_by_events(io, key);
                }
            }
        }
    }

    /// What waited for the channel goes by events.
    fn flush_by_events(&mut self, io: &mut Io<'_>, key: usize) {
        let Some(receiver) = self.participants.get_mut(key) else { return };
        receiver.data.held = None;
        receiver.data.queued = 0;
        let (id, queue) = (receiver.id, std::mem::take(&mut receiver.data.queue));
        if !queue.is_empty() {
            receiver.data.by_event = Some(io.now);
        }
        for letter in queue {
            self.tell_data(io, vec![id], &letter);
        }
    }

    /// Closes a participant's durable channel and tells it why.
    fn close_durable(
        &mut self,
        io: &mut Io<'_>,
        key: usize,
        reason: DataCloseReason,
        retry_after: Option<Duration>,
    ) {
        let Some(participant) = self.participants.get(key) else { return };
        close_durable(io, participant);
        io.stats.data.count_closed(reason);
        io.events.push(Event::DataClosed(DataClosed {
            room: self.id,
            participant: participant.id,
            reliability: Reliability::Durable,
            reason,
            retry_after,
        }));
    }
}

/// Whether the sender may send this frame, and has not sent too much.
fn take_frame<'a>(
    now: Instant,
    limits: &DataLimits,
    sender: &mut Participant,
    binary: bool,
    bytes: &'a [u8],
) -> Result<DataFrame<'a>, Untaken> {
    let frame = DataFrame::read(bytes).filter(|_| binary);
    let frame = frame.ok_or(Untaken::Drop(DataDrop::Malformed))?;
    if !sender.permissions.data {
        return Err(Untaken::Drop(DataDrop::NotAllowed));
    }
    if frame.payload.len() > limits.payload_bytes {
        return Err(Untaken::Drop(DataDrop::TooLarge));
    }
    let bytes = frame.topic.len() + frame.payload.len();
    sender.data.rate.take(now, limits, bytes).map_err(Untaken::TooFast)?;
    Ok(frame)
}

/// The transports on which channels may be; the one that is meant for them first.
fn transports(participant: &Participant) -> impl Iterator<Item = usize> {
    [participant.send, participant.receive].into_iter().flatten()
}

/// Gives a message to the receiver's channel of its kind.
fn write(io: &mut Io<'_>, receiver: &Participant, letter: &Letter) -> Written {
    for key in transports(receiver) {
        let Some(seat) = io.seats.get_mut(key) else { continue };
        if !seat.transport.has_data(letter.reliability) {
            continue;
        }
        let was_touched = seat.transport.touched;
        let written = seat.transport.write_data(letter.reliability, &letter.frame);
        if seat.transport.touched && !was_touched {
            io.touch(key);
        }
        if written == Written::Yes {
            io.stats.data.count_by_channel(letter.reliability);
        }
        return written;
    }
    Written::Closed
}

fn close_durable(io: &mut Io<'_>, participant: &Participant) {
    for key in transports(participant) {
        let Some(seat) = io.seats.get_mut(key) else { continue };
        if seat.transport.has_data(Reliability::Durable) {
            seat.transport.close_data(Reliability::Durable);
            io.touch(key);
        }
    }
}
