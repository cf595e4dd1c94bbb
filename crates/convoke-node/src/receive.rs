//! Receiving: one batch of buffers, reused for ever, and the datagrams in it.
//!
//! Owns: the buffers; where one read ended, so that a turn can stop in the middle of a batch.
//! Never: looks into a datagram.
//!
//! `recvmmsg` fills up to [`BATCH_SIZE`] buffers; with receive offload (Linux `UDP_GRO`) each holds
//! several datagrams of one peer, `stride` bytes apart.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};

use quinn_udp::{BATCH_SIZE, RecvMeta};

use crate::addresses::from_socket;

/// The largest that a buffer must take: a UDP datagram, or several joined by the kernel.
const BUFFER_BYTES: usize = 64 * 1024;

/// A received datagram.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Received<'a> {
    /// Where it came from.
    pub(crate) source: SocketAddr,
    /// The address that it was sent to, where the system tells.
    pub(crate) destination: Option<IpAddr>,
    /// What it says.
    pub(crate) bytes: &'a [u8],
}

/// See the module.
#[derive(Debug)]
pub(crate) struct ReceiveBatch {
    memory: Vec<u8>,
    metas: [RecvMeta; BATCH_SIZE],
    /// Filled buffers.
    filled: usize,
    /// The buffer that is read next, and from where.
    buffer: usize,
    offset: usize,
}

impl ReceiveBatch {
    pub(crate) fn new() -> Self {
        Self {
            memory: vec![0; BUFFER_BYTES * BATCH_SIZE],
            metas: [RecvMeta::default(); BATCH_SIZE],
            filled: 0,
            buffer: 0,
            offset: 0,
        }
    }

    /// Whether datagrams are left.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer >= self.filled
    }

    /// Reads a new batch, in place of the old one, through `receive` (one system call). `true`
    /// when every buffer was filled, so that there may be more.
    ///
    /// # Errors
    /// Those of `receive`; the batch is then empty.
    pub(crate) fn refill(
        &mut self,
        receive: impl FnOnce(&mut [IoSliceMut<'_>], &mut [RecvMeta]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        self.filled = 0;
        self.buffer = 0;
        self.offset = 0;
        let mut chunks = self.memory.chunks_exact_mut(BUFFER_BYTES);
        let mut buffers: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        self.filled = receive(&mut buffers, &mut self.metas)?.min(BATCH_SIZE);
        Ok(self.filled == BATCH_SIZE)
    }

    /// The next datagram.
    pub(crate) fn next(&mut self) -> Option<Received<'_>> {
        let (index, meta) = self.current()?;
        let start = self.offset;
        let end = meta.len.min(start.saturating_add(meta.stride.max(1)));
        self.offset = end;
        let buffer = self.memory.chunks_exact(BUFFER_BYTES).nth(index)?;
        Some(Received {
            source: from_socket(meta.addr),
            destination: meta.dst_ip,
            bytes: buffer.get(start..end)?,
        })
    }

    /// The buffer with unread bytes; a datagram of no bytes is passed over.
    fn current(&mut self) -> Option<(usize, RecvMeta)> {
        while self.buffer < self.filled {
            let meta = self.metas.get(self.buffer).copied()?;
            if self.offset < meta.len {
                return Some((self.buffer, meta));
            }
            self.buffer += 1;
            self.offset = 0;
        }
        None
    }
}

#[cfg(test)]
mod tests;
