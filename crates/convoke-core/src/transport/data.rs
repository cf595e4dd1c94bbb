//! The data channels of one transport (RFC 8831): opened by the peer in band, two kinds, no others.
//!
//! Owns: which channels are open, what str0m may buffer for each, and the closing of those that
//! nobody asked for.
//! Never: reads a frame, or decides who gets what; the room does.
//!
//! str0m always reads: what a peer sends is bounded by what the room takes, not by a window. What
//! we send is bounded here: str0m refuses to buffer more than [`BUFFER_BYTES`], the room queues
//! beyond it. Bytes that a channel leaves behind when it closes stay in the SCTP association until
//! the peer takes them; it gets no new channel while there are more than [`ORPHANED_BYTES_MAX`].

use std::panic::{AssertUnwindSafe, catch_unwind};

use str0m::Rtc;
use str0m::channel::{ChannelId, Reliability as Str0mReliability};

use super::{Received, Transport};
use crate::api::{DataDrop, Reliability};

/// What str0m buffers for all channels of a transport together: throughput is at most this per
/// round trip, 20 Mbit/s over 100 ms.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;
/// Lossy messages are not given to str0m beyond this: late ones are worth nothing, and durable
/// ones need the room.
const LOSSY_BUFFER_BYTES: usize = BUFFER_BYTES / 4;
/// What waits in the room is given to str0m once so little is buffered for the durable channel.
/// Less than what str0m holds of it whenever it refuses, so that it is always told.
const LOW_BYTES: usize = BUFFER_BYTES / 2;
/// The largest message that is taken (`a=max-message-size`, RFC 8841 §6).
pub(super) const MESSAGE_BYTES_MAX: u32 = 64 * 1024;
/// The largest payload that can be allowed: with its header it fits into one message.
pub const DATA_PAYLOAD_BYTES_MAX: usize = 60 * 1024;
const _: () =
    assert!(DATA_PAYLOAD_BYTES_MAX + crate::frame::HEADER_BYTES_MAX <= MESSAGE_BYTES_MAX as usize);
/// Channels open at once on one transport. Two are of use; a client that closes and opens quickly
/// has more for a moment.
const CHANNELS_MAX: usize = 16;
/// Bytes left behind by closed channels, beyond which no new one is taken.
const ORPHANED_BYTES_MAX: usize = 1024 * 1024;

/// What the data channels of a transport tell.
#[derive(Debug)]
pub(crate) enum DataHeard {
    /// There is a channel of this kind now, or another one than before.
    Opened(Reliability),
    /// There is none of this kind any more.
    Closed(Reliability),
    /// str0m takes more durable messages.
    Drained,
    /// A message came; `binary` as its sender says.
    Message { reliability: Reliability, binary: bool, bytes: Vec<u8> },
    /// Something was refused.
    Refused(DataDrop),
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is on its way.
    Yes,
    /// Enough waits already.
    Full,
    /// There is no open channel of this kind.
    Closed,
}

/// The open channels of a transport, oldest first.
#[derive(Debug, Default)]
pub(super) struct Channels {
    open: Vec<Channel>,
    orphaned: usize,
}

#[derive(Debug, Clone, Copy)]
struct Channel {
    id: ChannelId,
    reliability: Reliability,
    /// What str0m held for it when last asked: never less than what it holds now.
    buffered: usize,
}

impl Channels {
    /// The newest: it is the one to send on.
    fn newest(&mut self, reliability: Reliability) -> Option<&mut Channel> {
        self.open.iter_mut().rev().find(|channel| channel.reliability == reliability)
    }

    fn by_id(&self, id: ChannelId) -> Option<&Channel> {
        self.open.iter().find(|channel| channel.id == id)
    }

    fn remove(&mut self, id: ChannelId) -> Option<Reliability> {
        let at = self.open.iter().position(|channel| channel.id == id)?;
        let gone = self.open.remove(at);
        self.orphaned += gone.buffered;
        Some(gone.reliability)
    }
}

impl Transport {
    /// Channels open now.
    pub(crate) fn data_channels(&self) -> usize {
        self.data.open.len()
    }

    /// Whether messages of this kind can be sent.
    pub(crate) fn has_data(&self, reliability: Reliability) -> bool {
        !self.dead && self.data.open.iter().any(|channel| channel.reliability == reliability)
    }

    /// Gives a message to the newest channel of its kind; the next drive sends it.
    pub(crate) fn write_data(&mut self, reliability: Reliability, frame: &[u8]) -> Written {
        if self.dead {
            return Written::Closed;
        }
        let Some(channel) = self.data.newest(reliability) else { return Written::Closed };
        let write = || write(&mut self.rtc, channel, frame);
        match catch_unwind(AssertUnwindSafe(write)) {
            Ok(written) => {
                self.touched |= written == Written::Yes;
                written
            }
            Err(_) => {
                // The next drive finds it dead, and its participant is removed.
                self.dead = true;
                self.touched = true;
                Written::Closed
            }
        }
    }

    /// Closes all channels of a kind.
    pub(crate) fn close_data(&mut self, reliability: Reliability) {
        let all: Vec<ChannelId> = self
            .data
            .open
            .iter()
            .filter(|channel| channel.reliability == reliability)
            .map(|channel| channel.id)
            .collect();
        self.refresh_data();
        for id in all {
            self.data.remove(id);
            self.close_channel(id);
            self.touched = true;
        }
    }

    fn close_channel(&mut self, id: ChannelId) {
        let close = || self.rtc.direct_api().close_data_channel(id);
        if catch_unwind(AssertUnwindSafe(close)).is_err() {
            self.dead = true;
        }
    }

    /// Asks str0m what it still holds. Done before each DTLS datagram, so that what a channel
    /// leaves behind is known when the datagram closes it.
    pub(super) fn refresh_data(&mut self) {
        for channel in self.data.open.iter_mut().filter(|channel| channel.buffered > 0) {
            let held = self.rtc.channel(channel.id).map(|mut held| held.buffered_amount());
            channel.buffered = held.unwrap_or(channel.buffered);
            if channel.buffered == 0 {
                // SCTP takes messages in their order: what was left behind earlier is gone too.
                self.data.orphaned = 0;
            }
        }
    }

    pub(super) fn channel_opened(
        &mut self,
        id: ChannelId,
        label: &str,
        received: &mut Vec<Received>,
    ) {
        let reliability = Reliability::ALL.into_iter().find(|one| one.label() == label);
        let fits = reliability.filter(|reliability| self.is_as_agreed(id, *reliability));
        let has_room =
            self.data.open.len() < CHANNELS_MAX && self.data.orphaned <= ORPHANED_BYTES_MAX;
        let Some(reliability) = fits.filter(|_| has_room) else {
            self.close_channel(id);
            received.push(Received::Data(DataHeard::Refused(DataDrop::ChannelRefused)));
            return;
        };
        if let Some(mut channel) = self.rtc.channel(id) {
            channel.set_buffered_amount_low_threshold(LOW_BYTES);
        }
        // The acknowledgement of the opening (RFC 8832) is the first byte.
        self.data.open.push(Channel { id, reliability, buffered: 1 });
        received.push(Received::Data(DataHeard::Opened(reliability)));
    }

    fn is_as_agreed(&mut self, id: ChannelId, reliability: Reliability) -> bool {
        let Some(channel) = self.rtc.channel(id) else { return false };
        channel.config().is_some_and(|config| match reliability {
            Reliability::Durable => {
                config.ordered && config.reliability == Str0mReliability::Reliable
            }
            Reliability::Lossy => {
                let once = Str0mReliability::MaxRetransmits { retransmits: 0 };
                !config.ordered && config.reliability == once
            }
        })
    }

    pub(super) fn channel_closed(&mut self, id: ChannelId, received: &mut Vec<Received>) {
        // One that we closed is gone already.
        let Some(reliability) = self.data.remove(id) else { return };
        let heard = match self.data.newest(reliability) {
            Some(_) => DataHeard::Opened(reliability),
            None => DataHeard::Closed(reliability),
        };
        received.push(Received::Data(heard));
    }

    pub(super) fn channel_message(
        &self,
        id: ChannelId,
        binary: bool,
        bytes: Vec<u8>,
        received: &mut Vec<Received>,
    ) {
        if let Some(channel) = self.data.by_id(id) {
            let reliability = channel.reliability;
            received.push(Received::Data(DataHeard::Message { reliability, binary, bytes }));
        }
    }

    pub(super) fn channel_drained(&self, id: ChannelId, received: &mut Vec<Received>) {
        if self.data.by_id(id).is_some_and(|c| c.reliability == Reliability::Durable) {
            received.push(Received::Data(DataHeard::Drained));
        }
    }
}

fn write(rtc: &mut Rtc, channel: &mut Channel, frame: &[u8]) -> Written {
    let Some(mut open) = rtc.channel(channel.id) else { return Written::Closed };
    channel.buffered = open.buffered_amount();
    if channel.reliability == Reliability::Lossy
        && channel.buffered + frame.len() > LOSSY_BUFFER_BYTES
    {
        return Written::Full;
    }
    match open.write(true, frame) {
        Ok(true) => {
            channel.buffered += frame.len();
            Written::Yes
        }
        Ok(false) => Written::Full,
        // The peer takes no message of this size, or is closing.
        Err(_) => Written::Closed,
    }
}
