//! Sending: groups, what the kernel would not take yet, and what is then dropped.
//!
//! Owns: the order of sending and the bounded queue of what waits.
//! Never: names a socket: the [`Sink`] does the system calls.
//!
//! Groups (see `gso`) leave many to a call where the sink can do that. An error then stops before the
//! group that it is for, as `sendmmsg` does: that group is sent by itself, which says what is wrong with it,
//! and the next call goes on after it.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use convoke_core::Transmit;

use crate::gso::{GROUP_BYTES_MAX, group_len};

/// Groups in one call at most: what a call costs by itself is then little beside what they cost.
pub(crate) const GROUPS_MAX: usize = 64;

/// Takes datagrams to the kernel.
pub(crate) trait Sink {
    /// Datagrams that one group takes at most, if they are of one size (see [`group_len`]).
    fn segments_max(&self) -> usize;

    /// Whether [`Self::send_groups`] can be called. Where it says that it cannot, this is `false` from then on.
    fn takes_groups(&self) -> bool;

    /// One system call for the groups at the front of `transmits`, of which `lengths` has how many datagrams
    /// each is. Says how many groups were taken, which are at least one; an error is for the first alone.
    fn send_groups(&mut self, transmits: &[Transmit], lengths: &[usize]) -> io::Result<usize>;

    /// One system call for one group. `contents` is one datagram, or several of `segment` bytes each, of which
    /// the last may be shorter.
    fn send(
        &mut self,
        local: SocketAddr,
        destination: SocketAddr,
        contents: &[u8],
        segment: Option<usize>,
    ) -> io::Result<()>;
}

/// What was done; ever growing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SendCounts {
    /// System calls.
    pub(crate) calls: u64,
    /// Groups of more than one datagram.
    pub(crate) gso_groups: u64,
    /// The datagrams of those.
    pub(crate) gso_datagrams: u64,
    /// Datagrams that the kernel refused, or that waited too long for it.
    pub(crate) drops: u64,
}

impl SendCounts {
    /// A group of so many was taken.
    fn group(&mut self, datagrams: usize) {
        if datagrams > 1 {
            self.gso_groups += 1;
            self.gso_datagrams += u64::try_from(datagrams).unwrap_or(0);
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct SendQueue {
    /// STUN and DTLS: without them there is no media, so they are not dropped for it.
    control: VecDeque<Transmit>,
    media: VecDeque<Transmit>,
    waiting_max: usize,
    /// The lengths of the groups of a call.
    lengths: Vec<usize>,
    /// What a group is put together in that is sent by itself.
    group: Vec<u8>,
    counts: SendCounts,
}

impl SendQueue {
    /// `waiting_max`: see [`crate::NodeConfig::send_queue`].
    pub(crate) fn new(waiting_max: usize) -> Self {
        Self {
            control: VecDeque::new(),
            media: VecDeque::new(),
            waiting_max,
            lengths: Vec::with_capacity(GROUPS_MAX),
            group: Vec::with_capacity(GROUP_BYTES_MAX),
            counts: SendCounts::default(),
        }
    }

    /// Whether something waits for the kernel.
    pub(crate) fn waits(&self) -> bool {
        !self.control.is_empty() || !self.media.is_empty()
    }

    /// What was done so far.
    pub(crate) fn counts(&self) -> SendCounts {
        self.counts
    }

    /// Sends what waits, then `transmits`, in their order; what the kernel would not take now
    /// waits for the next call. Leaves `transmits` empty.
    pub(crate) fn flush(&mut self, sink: &mut impl Sink, transmits: &mut Vec<Transmit>) {
        let mut sent = 0;
        if self.send_waiting(sink) {
            sent = self.send_all(sink, transmits);
        }
        for transmit in transmits.drain(..).skip(sent) {
            self.push(transmit);
        }
    }

    /// `true` when nothing waits any more.
    fn send_waiting(&mut self, sink: &mut impl Sink) -> bool {
        for class in [Class::Control, Class::Media] {
            let mut queue = std::mem::take(self.queue(class));
            let sent = self.send_all(sink, queue.make_contiguous());
            queue.drain(..sent);
            let blocked = !queue.is_empty();
            *self.queue(class) = queue;
            if blocked {
                return false;
            }
        }
        true
    }

    /// How many were dealt with before the kernel would block.
    fn send_all(&mut self, sink: &mut impl Sink, transmits: &[Transmit]) -> usize {
        let mut rest = transmits;
        while !rest.is_empty() {
            let (done, blocked) = match self.send_groups(sink, rest) {
                Ok(done) if done > 0 => (done, false),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => (0, true),
                Ok(_) | Err(_) => self.send_first(sink, rest),
            };
            rest = rest.get(done..).unwrap_or_default();
            if blocked {
                break;
            }
        }
        transmits.len() - rest.len()
    }

    /// As many groups as one call takes. How many datagrams that were; 0 where there is but one or
    /// the sink cannot do it.
    fn send_groups(&mut self, sink: &mut impl Sink, transmits: &[Transmit]) -> io::Result<usize> {
        if !sink.takes_groups() || transmits.len() < 2 {
            return Ok(0);
        }
        let segments_max = sink.segments_max();
        self.lengths.clear();
        let mut rest = transmits;
        while !rest.is_empty() && self.lengths.len() < GROUPS_MAX {
            let length = group_len(rest, segments_max);
            self.lengths.push(length);
            rest = rest.get(length..).unwrap_or_default();
        }
        self.counts.calls += 1;
        let groups = sink.send_groups(transmits, &self.lengths)?;
        let mut datagrams = 0;
        for length in self.lengths.iter().take(groups) {
            self.counts.group(*length);
            datagrams += length;
        }
        Ok(datagrams)
    }

    /// The first group by itself. How many datagrams were dealt with, and whether the kernel would block.
    fn send_first(&mut self, sink: &mut impl Sink, transmits: &[Transmit]) -> (usize, bool) {
        let (group, _) = transmits.split_at(group_len(transmits, sink.segments_max()));
        match self.send_group(sink, group) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return (0, true),
            Err(_) if group.len() > 1 => {
                // Perhaps only the grouping was refused.
                let done = group.iter().take_while(|one| self.send_alone(sink, one)).count();
                return (done, done < group.len());
            }
            Err(_) => self.counts.drops += 1,
        }
        (group.len(), false)
    }

    /// `false` when the kernel would block.
    fn send_alone(&mut self, sink: &mut impl Sink, transmit: &Transmit) -> bool {
        match self.send_group(sink, std::slice::from_ref(transmit)) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return false,
            Err(_) => self.counts.drops += 1,
            Ok(()) => {}
        }
        true
    }

    fn send_group(&mut self, sink: &mut impl Sink, group: &[Transmit]) -> io::Result<()> {
        let Some(first) = group.first() else {
            return Ok(());
        };
        self.counts.calls += 1;
        if group.len() == 1 {
            return sink.send(first.local, first.destination, &first.contents, None);
        }
        self.group.clear();
        for transmit in group {
            self.group.extend_from_slice(&transmit.contents);
        }
        let segment = Some(first.contents.len());
        sink.send(first.local, first.destination, &self.group, segment)?;
        self.counts.group(group.len());
        Ok(())
    }

    /// Lets it wait; at the bound the oldest media makes room, or else the oldest of all.
    fn push(&mut self, transmit: Transmit) {
        if self.control.len() + self.media.len() >= self.waiting_max {
            if self.media.pop_front().is_none() {
                self.control.pop_front();
            }
            self.counts.drops += 1;
        }
        self.queue(Class::of(&transmit)).push_back(transmit);
    }

    fn queue(&mut self, class: Class) -> &mut VecDeque<Transmit> {
        match class {
            Class::Control => &mut self.control,
            Class::Media => &mut self.media,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Class {
    Control,
    Media,
}

impl Class {
    /// By the first byte (RFC 7983 §7): 128 to 191 is RTP or RTCP.
    fn of(transmit: &Transmit) -> Self {
        match transmit.contents.first() {
            Some(128..=191) => Self::Media,
            _ => Self::Control,
        }
    }
}

#[cfg(test)]
mod tests;
