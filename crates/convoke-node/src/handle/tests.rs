use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use convoke_core::Permissions;
use tokio::sync::mpsc::Receiver;

use super::*;
use crate::mailbox::Mailbox;

/// Handles of workers that nobody works for.
fn setup<const N: usize>(inbox: usize) -> (Handle, [Receiver<Message>; N]) {
    let mut links = Vec::new();
    let inboxes = std::array::from_fn(|_| {
        let (inbox, messages) = mpsc::channel(inbox);
        let stats = Arc::new(StatsBlock::new(Instant::now()));
        links.push(WorkerLink { inbox, stats, addresses: Vec::new() });
        messages
    });
    let mailboxes: Arc<[Mailbox]> = (0..N).map(|_| Mailbox::new(64)).collect();
    (Handle::new(links, Arc::new(Shards::new(mailboxes, 200)), Tcp::default()), inboxes)
}

fn request(participant: u32) -> JoinRequest {
    JoinRequest {
        participant: ParticipantId(participant),
        identity: "me".into(),
        display_name: "Me".into(),
        permissions: Permissions::ALL,
        send_offer: None,
        receive_offer: None,
        tracks: Vec::new(),
    }
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_full_inbox_is_busy_and_a_closed_one_is_gone() {
    let (handle, [messages]) = setup::<1>(3);
    let room = handle.new_room();
    // A join takes two places.
    let mut first = pin!(handle.join(room, request(1)));
    assert!(poll_once(first.as_mut()).is_pending());
    let second = poll_once(pin!(handle.join(room, request(2))));
    assert!(matches!(second, Poll::Ready(Err(HandleError::Busy))), "{second:?}");
    let mut leave = pin!(handle.leave(room, ParticipantId(1), LeaveReason::Left));
    assert!(poll_once(leave.as_mut()).is_pending());
    let another = poll_once(pin!(handle.leave(room, ParticipantId(1), LeaveReason::Left)));
    assert!(matches!(another, Poll::Ready(Err(HandleError::Busy))), "{another:?}");
    assert_eq!(handle.stats()[0].commands_refused, 2);

    drop(messages);
    assert!(matches!(poll_once(first), Poll::Ready(Err(HandleError::Gone))));
    let late = poll_once(pin!(handle.join(room, request(3))));
    assert!(matches!(late, Poll::Ready(Err(HandleError::Gone))), "{late:?}");
}

#[test]
fn a_cancelled_join_is_undone_behind_itself_even_if_the_inbox_is_full() {
    let (handle, [mut messages]) = setup::<1>(2);
    let room = handle.new_room();
    {
        let mut join = pin!(handle.join(room, request(7)));
        assert!(poll_once(join.as_mut()).is_pending());
    }
    let Message::Command { command, .. } = messages.try_recv().unwrap() else {
        panic!("not the join");
    };
    let Message::Undo { request, room: undone, join } = messages.try_recv().unwrap() else {
        panic!("not the undoing");
    };
    assert_eq!((request, undone, join.participant), (command.request, room, ParticipantId(7)));
}

#[test]
fn an_answered_join_is_not_undone() {
    let (handle, [mut messages]) = setup::<1>(2);
    let mut join = pin!(handle.join(handle.new_room(), request(7)));
    assert!(poll_once(join.as_mut()).is_pending());
    let Message::Command { reply, .. } = messages.try_recv().unwrap() else {
        panic!("not the join");
    };
    let snapshot = Snapshot { version: 1, participants: Vec::new(), slots: Vec::new() };
    reply.send(Ok(Reply::Joined { send_answer: None, receive_answer: None, snapshot })).unwrap();
    assert!(matches!(poll_once(join), Poll::Ready(Ok(_))));
    assert!(messages.try_recv().is_err());
}

#[test]
fn rooms_are_spread_and_carry_their_worker() {
    let (handle, _messages) = setup::<3>(2);
    let rooms: Vec<RoomId> = (0..9).map(|_| handle.new_room()).collect();
    for worker in 0..3 {
        assert_eq!(rooms.iter().filter(|room| room.0 & 0xff == worker).count(), 3);
    }
    let distinct: std::collections::BTreeSet<_> = rooms.iter().collect();
    assert_eq!(distinct.len(), 9);
}

#[test]
fn no_room_is_placed_on_a_worker_that_is_gone() {
    let (handle, [_one, two, _three]) = setup::<3>(2);
    drop(two);
    assert!((0..9).all(|_| handle.new_room().0 & 0xff != 1));
}

#[test]
fn a_room_of_no_worker_does_not_exist() {
    let (handle, _messages) = setup::<1>(2);
    let answer = poll_once(pin!(handle.join(RoomId(0x1ff), request(1))));
    let refused = HandleError::Refused(CommandError::NoSuchRoom).to_string();
    assert!(matches!(answer, Poll::Ready(Err(e)) if e.to_string() == refused));
}
