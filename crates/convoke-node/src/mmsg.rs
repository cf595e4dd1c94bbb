//! Many groups of datagrams in one system call: Linux's `sendmmsg`.
//!
//! Owns: the arrays that the call reads, reused for ever; all of this crate's unsafe code.
//! Never: decides what is sent, or again; knows candidates.
//!
//! The safe wrappers do not do: `nix` has one set of control messages for all of a call, and no way to learn
//! how many were taken that does not read uninitialised memory; `rustix` has none of the control messages.
//!
//! Neither ECN nor priority is set: that is the socket's default, which is none.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use convoke_core::Transmit;
use socket2::SockAddr;

use crate::send::GROUPS_MAX;

/// What a control message begins with (cmsg(3)): its length as a word, level and type.
const HEADER_BYTES: usize = size_of::<usize>() + 2 * size_of::<i32>();

/// The source address of IPv6 (`in6_pktinfo`) is the longest, at 20 bytes; beside it is a segment's size.
const CONTROL_BYTES_MAX: usize = 2 * HEADER_BYTES + 24 + 8;

/// See the module.
#[derive(Debug)]
pub(crate) struct Batch {
    names: Vec<SockAddr>,
    slices: Vec<libc::iovec>,
    controls: Vec<Control>,
    headers: Vec<libc::mmsghdr>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            names: Vec::with_capacity(GROUPS_MAX),
            slices: Vec::with_capacity(GROUPS_MAX),
            controls: Vec::with_capacity(GROUPS_MAX),
            headers: Vec::with_capacity(GROUPS_MAX),
        }
    }

    /// Sends the groups at the front of `transmits`, of which `lengths` has how many datagrams each is. `path`
    /// says where one goes to, as the socket wants to have it, and which address it leaves from where the
    /// kernel must not choose. Says how many groups the kernel took.
    ///
    /// # Errors
    /// What is wrong with the first group: none was taken.
    pub(crate) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        transmits: &[Transmit],
        lengths: &[usize],
        path: impl Fn(&Transmit) -> (SocketAddr, Option<IpAddr>),
    ) -> io::Result<usize> {
        self.names.clear();
        self.slices.clear();
        self.controls.clear();
        let mut rest = transmits;
        for length in lengths {
            let (group, after) = rest.split_at_checked(*length).unwrap_or((rest, &[]));
            let Some(first) = group.first() else { break };
            rest = after;
            let (destination, source) = path(first);
            self.names.push(SockAddr::from(destination));
            self.controls
                .push(Control::new(source, (group.len() > 1).then_some(first.contents.len())));
            self.slices.extend(group.iter().map(slice_of));
        }
        self.call(socket, lengths)
    }

    fn call(&mut self, socket: BorrowedFd<'_>, lengths: &[usize]) -> io::Result<usize> {
        // None of what headers point to moves any more.
        self.headers.clear();
        let mut slices = self.slices.as_mut_slice();
        for ((name, control), length) in self.names.iter().zip(&mut self.controls).zip(lengths) {
            let (group, after) = slices.split_at_mut((*length).min(slices.len()));
            slices = after;
            self.headers.push(header(name, group, control));
        }
        let count = libc::c_uint::try_from(self.headers.len()).unwrap_or(0);
        #[expect(unsafe_code, reason = "no safe wrapper takes control messages for each message")]
        // SAFETY: `headers` has `count` initialised headers (at most GROUPS_MAX). Each points to one element of
        // `names`, one of `controls`, and a run of `slices`, with their true lengths. These are fields of
        // `self`, borrowed for the whole call, and were filled before the first header was made, so nothing
        // has moved. Slices point into `transmits`, which `send` borrows until this returns. The kernel reads
        // all of it during the call, and writes only `msg_len` of the headers.
        let sent =
            unsafe { libc::sendmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), count, 0) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// One datagram. The kernel does not write to what is sent, whatever the pointer's type says.
fn slice_of(transmit: &Transmit) -> libc::iovec {
    let contents = &transmit.contents;
    libc::iovec { iov_base: contents.as_ptr().cast_mut().cast(), iov_len: contents.len() }
}

/// One message: its datagrams one after the other.
fn header(name: &SockAddr, group: &mut [libc::iovec], control: &mut Control) -> libc::mmsghdr {
    #[expect(unsafe_code, reason = "it has private padding on some targets")]
    // SAFETY: integers and pointers, for all of which zero is a value.
    let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
    let message = &mut header.msg_hdr;
    message.msg_name = name.as_ptr().cast_mut().cast();
    message.msg_namelen = name.len();
    message.msg_iov = group.as_mut_ptr();
    message.msg_iovlen = group.len() as _;
    if control.length > 0 {
        message.msg_control = control.bytes.as_mut_ptr().cast();
        message.msg_controllen = control.length as _;
    }
    header
}

/// What is told about a message beside its destination.
#[derive(Debug, Clone, Copy)]
#[repr(align(8))]
struct Control {
    bytes: [u8; CONTROL_BYTES_MAX],
    length: usize,
}

impl Control {
    fn new(source: Option<IpAddr>, segment: Option<usize>) -> Self {
        let mut control = Self { bytes: [0; CONTROL_BYTES_MAX], length: 0 };
        if let Some(segment) = segment {
            let bytes = u16::try_from(segment).unwrap_or(u16::MAX).to_ne_bytes();
            control.push(libc::SOL_UDP, libc::UDP_SEGMENT, &bytes);
        }
        match source {
            Some(IpAddr::V4(ip)) => {
                // in_pktinfo: any interface, the source, and nothing.
                let mut bytes = [0; 12];
                bytes[4..8].copy_from_slice(&ip.octets());
                control.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &bytes);
            }
            Some(IpAddr::V6(ip)) => {
                // in6_pktinfo: the source, any interface.
                let mut bytes = [0; 20];
                bytes[..16].copy_from_slice(&ip.octets());
                control.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &bytes);
            }
            None => {}
        }
        control
    }

    /// As cmsg(3) has it: header, value, and padding to a word.
    fn push(&mut self, level: i32, kind: i32, value: &[u8]) {
        let length = HEADER_BYTES + value.len();
        let parts: [&[u8]; 4] =
            [&length.to_ne_bytes(), &level.to_ne_bytes(), &kind.to_ne_bytes(), value];
        let mut at = self.length;
        for part in parts {
            if let Some(place) = self.bytes.get_mut(at..at + part.len()) {
                place.copy_from_slice(part);
            }
            at += part.len();
        }
        self.length = at.next_multiple_of(size_of::<usize>()).min(CONTROL_BYTES_MAX);
    }
}

#[cfg(test)]
mod tests;
