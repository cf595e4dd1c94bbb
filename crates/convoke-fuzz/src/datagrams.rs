//! Datagrams of strangers and of participants gone bad.

use std::net::SocketAddr;
use std::time::Duration;

use convoke_client::media::{Codec, Input};
use convoke_protocol::TransportRole;

use crate::world::World;

/// Longest virtual time of one record, in milliseconds.
const STEP_MS_MAX: u64 = 30_000;
/// Records that are carried out; a longer input ends there.
const RECORDS_MAX: usize = 256;

/// One thing that happens. An input is a flag byte (1: the clients connect first) and records:
///
/// ```text
/// kind (1 byte), length (2 bytes, big endian), so many bytes
/// kind 0..4  a datagram of these bytes: from the publisher's address, the viewer's, a stranger's,
///            a stranger's other port
/// kind 4..8  the client's next own datagram (publisher, viewer, …), with these bytes XORed in
/// kind 8     time passes: the bytes are milliseconds, big endian
/// kind 9     the bytes go, as an RTP payload, through the publisher's encryption; their first
///            byte chooses the codec and the marker, two more the RTP time
/// others     nothing
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// See above.
    pub kind: u8,
    /// See above.
    pub bytes: &'a [u8],
}

/// The input of these records, for seeds.
#[must_use]
pub fn write_records(connect: bool, records: &[Record<'_>]) -> Vec<u8> {
    let mut out = vec![u8::from(connect)];
    for record in records {
        let length = u16::try_from(record.bytes.len()).expect("a datagram's length");
        out.push(record.kind);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(record.bytes);
    }
    out
}

/// Carries out `bytes` against a worker with a publisher and a viewer. Whatever comes, no peer's
/// handling panics, every datagram is counted, and nothing is left when the room is closed.
pub fn datagrams(bytes: &[u8]) {
    let Some((flags, mut rest)) = bytes.split_first() else {
        return;
    };
    let mut world = World::new();
    world.join(true);
    world.join(false);
    if flags & 1 != 0 {
        world.connect();
    }
    for _ in 0..RECORDS_MAX {
        let Some((record, after)) = next_record(rest) else {
            break;
        };
        rest = after;
        carry_out(&mut world, record);
    }
    world.step(Duration::from_millis(50));
    world.close();
}

fn next_record(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (&[kind, high, low], rest) = bytes.split_first_chunk::<3>()?;
    let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
    let (bytes, after) = rest.split_at(length);
    Some((Record { kind, bytes }, after))
}

fn carry_out(world: &mut World, record: Record<'_>) {
    let before = world.worker.stats();
    match record.kind {
        kind @ 0..4 => {
            let source = source(world, kind);
            world.datagram(source, record.bytes);
            assert_eq!(world.worker.stats().datagrams_in, before.datagrams_in + 1);
        }
        kind @ 4..8 => mutate(world, usize::from(kind) % 2, record.bytes),
        8 => {
            let time = record.bytes.iter().take(8).fold(0, |ms, byte| ms << 8 | u64::from(*byte));
            world.step(Duration::from_millis(time % STEP_MS_MAX));
        }
        9 => publish(world, record.bytes),
        _ => {}
    }
}

fn source(world: &World, kind: u8) -> SocketAddr {
    match kind {
        0 => world.clients[0].address(TransportRole::Send),
        1 => world.clients[1].address(TransportRole::Receive),
        kind => ([127, 0, 0, 99], 1_000 + u16::from(kind)).into(),
    }
}

/// Changes what a client really says.
fn mutate(world: &mut World, client: usize, mask: &[u8]) {
    let now = world.now;
    let peer = &mut world.clients[client].peer;
    peer.handle(now, Input::Timeout);
    let Some(mut sent) = peer.poll_transmit() else {
        return;
    };
    for (byte, mask) in sent.contents.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    world.datagram(sent.local, &sent.contents);
    world.end_turn();
}

fn publish(world: &mut World, bytes: &[u8]) {
    let connected = world.clients[0].peer.connected(TransportRole::Send);
    let Some((&[kind, high, low], payload)) = bytes.split_first_chunk::<3>() else {
        return;
    };
    if !connected || payload.is_empty() {
        return;
    }
    let codecs = [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];
    let codec = codecs[usize::from(kind) % codecs.len()];
    let rtp_time = u32::from(u16::from_be_bytes([high, low])) << 8;
    world.publish(codec, rtp_time, kind & 0x80 != 0, payload);
    world.step(Duration::from_millis(5));
}
