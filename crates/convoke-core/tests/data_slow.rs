//! DC-03: one receiver of ten reads nothing for a minute. Alone in its binary, as it looks at the
//! memory of the process.

#![allow(clippy::disallowed_methods, reason = "tests are where time comes from")]

mod common;

use std::time::Duration;

use common::{SECOND, World, config};
use convoke_client::media::DataMessage;
use convoke_core::{DataCloseReason, Event, ParticipantId};
use convoke_protocol::Reliability;

const STEP: Duration = Duration::from_millis(5);
/// 20 Mbit/s in steps of 5 ms.
const BYTES: usize = 12_500;
const RECEIVERS: usize = 10;
/// The place of the one that does not read.
const SLOW: usize = 5;
const MEMORY_MAX: usize = 16 << 20;

/// Resident memory of this process in bytes, where the system tells.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kilobytes.unwrap_or(0) * 1_024
}

struct Run {
    world: World,
    sent: u64,
    /// The last number that each peer got by its channel, and how many.
    last: [Option<u64>; RECEIVERS + 1],
    got: [u64; RECEIVERS + 1],
    /// Messages and closings that the slow one was told by events.
    told: u64,
    closed: Vec<DataCloseReason>,
}

fn number(payload: &[u8]) -> u64 {
    u64::from_be_bytes(payload[..8].try_into().unwrap())
}

impl Run {
    fn new() -> Self {
        let mut world = World::new(config(), 1);
        for id in 0..=RECEIVERS {
            let id = u32::try_from(id).unwrap() + 1;
            let peer = world.join_with(id, None, |media| media.data_channel = true);
            world.peers[peer].audio = None;
        }
        world.run(SECOND);
        world.events.clear();
        let (last, got) = ([None; RECEIVERS + 1], [0; RECEIVERS + 1]);
        Self { world, sent: 0, last, got, told: 0, closed: Vec::new() }
    }

    fn step(&mut self) {
        let mut payload = vec![0; BYTES];
        payload[..8].copy_from_slice(&self.sent.to_be_bytes());
        let (to, reliability, topic) = (None, Reliability::Durable, "".into());
        let message = DataMessage { to, reliability, topic, payload: payload.into() };
        let now = self.world.now;
        self.world.peers[0].media.send_data(now, &message).expect("the sender is not held up");
        self.sent += 1;
        self.world.run(STEP);
        for (index, peer) in self.world.peers.iter_mut().enumerate() {
            for data in peer.data.drain(..) {
                let number = number(&data.payload);
                assert!(self.last[index].is_none_or(|last| number > last), "order at {index}");
                self.last[index] = Some(number);
                self.got[index] += 1;
            }
        }
        for event in self.world.events.drain(..) {
            let slow = ParticipantId(u32::try_from(SLOW).unwrap() + 1);
            match event {
                Event::Data(data) => {
                    assert_eq!(data.to, [slow]);
                    self.told += 1;
                }
                Event::DataClosed(closed) => {
                    assert_eq!(closed.participant, slow);
                    self.closed.push(closed.reason);
                }
                _ => {}
            }
        }
    }

    fn steps(&mut self, duration: Duration) {
        for _ in 0..duration.as_millis() / STEP.as_millis() {
            self.step();
        }
    }

    /// Everyone but the slow one has all but what is under way.
    fn others_are_normal(&self) {
        for index in (1..=RECEIVERS).filter(|index| *index != SLOW) {
            assert!(
                self.got[index] + 20 >= self.sent,
                "{index}: {} of {}",
                self.got[index],
                self.sent
            );
        }
    }
}

#[test]
fn dc_03_a_receiver_that_reads_nothing_costs_little_and_nobody_else_notices() {
    let mut run = Run::new();
    run.steps(SECOND * 2);
    run.others_are_normal();
    assert!(run.got[SLOW] + 20 >= run.sent);
    let before = memory();

    run.world.peers[SLOW].deaf = true;
    let mut most = 0;
    for second in 0..60 {
        // The full rate is in the beginning and at the end; a tenth of it between, as a minute of
        // it would take the test as long.
        if (15..55).contains(&second) {
            for _ in 0..20 {
                run.step();
                run.world.run(STEP * 9);
            }
        } else {
            run.steps(SECOND);
        }
        run.others_are_normal();
        most = most.max(memory().saturating_sub(before));
    }
    assert!(most <= MEMORY_MAX, "{most} bytes");
    assert_eq!(run.closed, [DataCloseReason::SlowReader], "closed once, with its reason");
    // Since then all of it comes by events: 256 KiB and 1 MiB were kept for it, no more.
    let missed = run.sent - run.got[SLOW] - run.told;
    assert!(missed * BYTES as u64 <= 1_400_000, "{missed} messages");

    // It reads again: flowing at once by events, and by a channel once it opens one.
    run.world.peers[SLOW].deaf = false;
    let told = run.told;
    run.steps(SECOND * 5);
    assert!(run.told - told >= 900, "{}", run.told - told);
    // SCTP, which was not answered for a minute, waits up to another for its next try.
    run.world.run(SECOND * 61);
    let now = run.world.now;
    run.world.peers[SLOW].media.open_data(now, Reliability::Durable).unwrap();
    run.world.run(SECOND);
    let (told, got) = (run.told, run.got[SLOW]);
    run.steps(SECOND * 5);
    assert!(run.got[SLOW] - got >= 700, "{} by the channel", run.got[SLOW] - got);
    assert_eq!(run.told, told, "nothing by events");
    run.others_are_normal();
    assert_eq!(run.world.worker.stats().peer_panics, 0);
}
