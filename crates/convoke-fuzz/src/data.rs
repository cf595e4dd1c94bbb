//! Data messages of participants: frames on channels, channels that open and close, commands.

use std::time::Duration;

use convoke_core::{
    Action, CommandError, DataFrame, DataLimits, DataMessage, Event, ParticipantId, Permissions,
    Reliability,
};
use convoke_protocol::Reliability as Wire;

use crate::world::World;

/// Longest virtual time of one record, in milliseconds.
const STEP_MS_MAX: u64 = 3_000;
/// Records that are carried out; a longer input ends there.
const RECORDS_MAX: usize = 128;
/// Turns in which channels that a client opened are open.
const OPEN_TURNS: usize = 50;

/// Carries out `bytes` in a call of three: two with data channels, one without. The input is
/// records as of [`crate::write_records`], after one byte without meaning:
///
/// ```text
/// kind 0, 1  a frame of these bytes on the first client's durable, lossy channel
/// kind 2, 3  the same of the second client
/// kind 4     the first client opens a channel; the bytes are its label, its kind by their number
/// kind 5     it opens a durable channel
/// kind 6     it closes its durable channels
/// kind 7     time passes: the bytes are milliseconds, big endian
/// kind 8     a command of the third client: the first byte is the topic's length
/// kind 9     the first client's permission changes
/// others     nothing
/// ```
///
/// Whatever comes, no peer's handling panics, nobody gets its own message, every message is taken or
/// counted, and nothing is left when the room is closed.
pub fn data(bytes: &[u8]) {
    frame(bytes);
    let mut world = World::new();
    world.join_with(true, true);
    world.join_with(false, true);
    world.join(false);
    world.connect();
    for _ in 0..OPEN_TURNS {
        world.step(Duration::from_millis(10));
    }
    assert_eq!(world.worker.stats().data.channels, 4, "a good client's channels open");
    let Some((_, mut rest)) = bytes.split_first() else { return };
    for _ in 0..RECORDS_MAX {
        let Some((&[kind, high, low], after)) = rest.split_first_chunk::<3>() else { break };
        let length = usize::from(u16::from_be_bytes([high, low])).min(after.len());
        let (bytes, after) = after.split_at(length);
        rest = after;
        carry_out(&mut world, kind, bytes);
        check_events(&mut world);
    }
    world.step(Duration::from_millis(50));
    let limits = DataLimits::default();
    for client in &world.clients {
        for data in &client.data {
            assert!(data.payload.len() <= limits.payload_bytes && data.topic.len() <= 64);
        }
    }
    world.close();
}

/// What is read can be written again, byte for byte.
fn frame(bytes: &[u8]) {
    let Some(frame) = DataFrame::read(bytes) else { return };
    let mut again = vec![1, u8::try_from(frame.to.len()).expect("one byte")];
    again.extend(frame.to.iter().flat_map(|id| id.0.to_be_bytes()));
    again.push(u8::try_from(frame.topic.len()).expect("one byte"));
    again.extend(frame.topic.as_bytes());
    again.extend(frame.payload);
    assert_eq!(again, bytes);
}

fn carry_out(world: &mut World, kind: u8, bytes: &[u8]) {
    let now = world.now;
    match kind {
        0..4 => {
            let reliability = if kind.is_multiple_of(2) { Wire::Durable } else { Wire::Lossy };
            let client = &mut world.clients[usize::from(kind / 2)];
            // str0m, which our client is made of, cannot send an empty message.
            if !bytes.is_empty() && client.peer.send_data_frame(now, reliability, bytes).is_ok() {
                world.step(Duration::from_millis(5));
            }
        }
        4 => {
            let label = String::from_utf8_lossy(&bytes[..bytes.len().min(100)]);
            let reliability =
                if bytes.len().is_multiple_of(2) { Wire::Durable } else { Wire::Lossy };
            let _ = world.clients[0].peer.open_data_as(now, &label, reliability);
            world.step(Duration::from_millis(5));
        }
        5 => {
            let _ = world.clients[0].peer.open_data(now, Wire::Durable);
            world.step(Duration::from_millis(5));
        }
        6 => {
            world.clients[0].peer.close_data(now, Wire::Durable);
            world.step(Duration::from_millis(5));
        }
        7 => {
            let time = bytes.iter().take(8).fold(0, |ms, byte| ms << 8 | u64::from(*byte));
            world.step(Duration::from_millis(time % STEP_MS_MAX));
        }
        8 => command(world, bytes),
        9 => {
            let participant = ParticipantId(1);
            let permissions = Permissions { data: bytes.len() % 2 == 1, ..Permissions::ALL };
            world.command(Action::SetPermissions { participant, permissions }).expect("allowed");
        }
        _ => {}
    }
}

fn command(world: &mut World, bytes: &[u8]) {
    let (length, rest) =
        bytes.split_first().map_or((0, bytes), |(l, rest)| (usize::from(*l), rest));
    let text = String::from_utf8_lossy(rest);
    let topic = &text[..text.floor_char_boundary(length)];
    let message = DataMessage {
        to: length.is_multiple_of(3).then(|| vec![ParticipantId(1), ParticipantId(99)]),
        reliability: if length.is_multiple_of(2) {
            Reliability::Durable
        } else {
            Reliability::Lossy
        },
        topic: topic.into(),
        payload: rest.into(),
    };
    let fits = topic.len() <= 64 && rest.len() <= DataLimits::default().payload_bytes;
    let before = world.worker.stats().data.messages_in.iter().sum::<u64>();
    let participant = ParticipantId(3);
    let result = world.command(Action::SendData { participant, message });
    let taken = world.worker.stats().data.messages_in.iter().sum::<u64>() - before;
    match result {
        Ok(_) => assert!(fits && taken == 1),
        Err(CommandError::TooFast { .. }) => assert_eq!(taken, 0),
        Err(CommandError::Limit(_)) => assert!(!fits && taken == 0),
        Err(error) => panic!("{error}"),
    }
}

/// Events are for others than the sender.
fn check_events(world: &mut World) {
    for event in world.out.events.drain(..) {
        if let Event::Data(data) = event {
            assert!(!data.to.is_empty() && !data.to.contains(&data.from), "{data:?}");
        }
    }
}
