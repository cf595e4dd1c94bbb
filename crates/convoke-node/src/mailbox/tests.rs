use convoke_core::{Entropy, LeaveReason, RelayMessage, WorkerConfig};

use super::*;

fn setup(bound: usize) -> (Mail, Mail, Worker, Instant) {
    let mailboxes: Arc<[Mailbox]> = (0..2).map(|_| Mailbox::new(bound)).collect();
    let now = Instant::now();
    let address = "127.0.0.1:9".parse().unwrap();
    let core = Worker::new(WorkerConfig::new(vec![address]), Entropy::from_seed(1), now);
    (Mail::new(0, Arc::clone(&mailboxes)), Mail::new(1, mailboxes), core, now)
}

fn room(worker: u64) -> RoomId {
    RoomId(1 << 8 | worker).with_shard(u8::try_from(worker).unwrap())
}

fn word() -> Relay {
    let message = RelayMessage::Bye { reason: LeaveReason::Left };
    Relay { to: room(1), from: room(0), message }
}

#[test]
fn words_beyond_the_bound_end_in_one_resync() {
    let (mut one, other, mut core, now) = setup(64);
    let mut out = Outbox::default();
    let action = Action::Link { peer: room(1) };
    let command = Command { request: NOBODY, room: room(0), action };
    core.handle(now, Input::Command(command), &mut out);
    out.relays.clear();
    one.send(&mut (0..100).map(|_| word()).collect());
    assert!(other.has_any() && one.is_behind());
    one.receive(now, &mut core, &mut out);
    assert!(one.is_behind() && out.relays.is_empty(), "no room yet");
    let mut theirs = Worker::new(
        WorkerConfig::new(vec!["127.0.0.1:9".parse().unwrap()]),
        Entropy::from_seed(2),
        now,
    );
    let mut other = other;
    other.receive(now, &mut theirs, &mut Outbox::default());
    assert!(!other.has_any());
    assert_eq!(theirs.stats().relay_drops.iter().sum::<u64>(), 64);
    one.receive(now, &mut core, &mut out);
    assert!(!one.is_behind());
    let said: Vec<_> = out.relays.iter().map(|relay| &relay.message).collect();
    assert!(matches!(said[..], [RelayMessage::Snapshot { answer: true, .. }]), "{said:?}");
    assert_eq!(one.counts(), MailCounts { media_dropped: 0, resyncs: 1 });
}

#[test]
fn a_link_that_is_gone_is_not_made_again() {
    let (mut one, mut other, mut core, now) = setup(64);
    one.send(&mut (0..100).map(|_| word()).collect());
    let mut out = Outbox::default();
    other.receive(now, &mut core, &mut out);
    one.receive(now, &mut core, &mut out);
    assert!(!one.is_behind() && out.relays.is_empty());
    assert_eq!(core.stats().rooms, 0);
}

#[test]
fn an_errand_for_a_room_that_is_gone_makes_none() {
    let (one, mut other, mut core, now) = setup(64);
    one.mailboxes[1].send_errand(room(1), Action::Link { peer: room(0) });
    assert!(other.has_any());
    let mut out = Outbox::default();
    other.receive(now, &mut core, &mut out);
    assert!(!other.has_any());
    assert_eq!(core.stats().rooms, 0);
}

#[tokio::test]
async fn mail_wakes_its_worker() {
    let (mut one, other, ..) = setup(64);
    one.send(&mut vec![word()]);
    other.ready().await;
}
