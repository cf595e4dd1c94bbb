use super::*;

fn closed(room: u64) -> Event {
    Event::RoomClosed { room: RoomId(room) }
}

fn setup(bound: usize) -> (EventSender, Events) {
    let (sender, events) = channel(bound);
    (EventSender::new(3, sender), events)
}

async fn next(events: &mut Events) -> String {
    match events.recv().await.unwrap() {
        NodeEvent::Core(Event::RoomClosed { room }) => format!("closed {}", room.0),
        NodeEvent::Lagged { dropped } => format!("lagged {dropped}"),
        NodeEvent::WorkerFailed { worker, rooms } => format!("failed {worker} {rooms:?}"),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn overflow_is_told_at_its_place() {
    let (mut sender, mut events) = setup(2);
    for room in 1..=5 {
        sender.send(closed(room));
    }
    assert_eq!(sender.dropped_ever(), 3);
    assert_eq!(next(&mut events).await, "closed 1");
    // One place: the note takes it, and 6 is lost too.
    sender.send(closed(6));
    assert_eq!(next(&mut events).await, "closed 2");
    assert_eq!(next(&mut events).await, "lagged 3");
    sender.send(closed(7));
    assert_eq!(next(&mut events).await, "lagged 1");
    assert_eq!(next(&mut events).await, "closed 7");
    assert_eq!(sender.dropped_ever(), 4);
}

#[tokio::test]
async fn overflow_is_told_even_if_nothing_follows() {
    let (mut sender, mut events) = setup(1);
    sender.send(closed(1));
    sender.send(closed(2));
    assert!(!sender.catch_up());
    assert_eq!(next(&mut events).await, "closed 1");
    assert!(sender.catch_up());
    assert_eq!(next(&mut events).await, "lagged 1");
}

#[tokio::test]
async fn a_failure_is_never_dropped() {
    let (mut sender, mut events) = setup(1);
    sender.send(closed(1));
    sender.send_failed([RoomId(4)].into());
    sender.send_failed([RoomId(5)].into());
    sender.send(closed(2));
    assert_eq!(next(&mut events).await, "closed 1");
    sender.catch_up();
    assert_eq!(next(&mut events).await, "lagged 1");
    sender.catch_up();
    assert_eq!(next(&mut events).await, "failed 3 [RoomId(4), RoomId(5)]");
    drop(sender);
    assert!(events.recv().await.is_none());
}

#[test]
fn without_a_reader_nothing_lags() {
    let (mut sender, events) = setup(1);
    drop(events);
    sender.send(closed(1));
    sender.send(closed(2));
    assert!(sender.catch_up());
    assert_eq!(sender.dropped_ever(), 0);
}

fn data(bytes: usize) -> Event {
    Event::Data(convoke_core::DataEvent {
        room: RoomId(1),
        to: vec![convoke_core::ParticipantId(1)],
        from: convoke_core::ParticipantId(2),
        reliability: convoke_core::Reliability::Durable,
        topic: "".into(),
        payload: vec![0; bytes].into(),
    })
}

#[tokio::test]
async fn data_messages_leave_half_of_the_places_to_changes_and_need_no_snapshot() {
    let (mut sender, mut events) = setup(4);
    for _ in 0..4 {
        sender.send(data(1));
    }
    assert_eq!((sender.data_dropped_ever(), sender.dropped_ever()), (2, 0));
    sender.send(closed(1));
    sender.send(closed(2));
    for _ in 0..2 {
        assert!(next(&mut events).await.contains("Data"));
    }
    assert_eq!(next(&mut events).await, "closed 1");
    assert_eq!(next(&mut events).await, "closed 2");
}

#[tokio::test]
async fn data_messages_are_bounded_by_bytes_and_give_them_back() {
    let (mut sender, mut events) = setup(1_000);
    let half = DATA_BYTES_MAX / 2 - DATA_EVENT_BYTES - 4;
    sender.send(data(half));
    sender.send(data(half));
    sender.send(data(0));
    assert_eq!(sender.data_dropped_ever(), 1);
    for _ in 0..10 {
        next(&mut events).await;
        sender.send(data(half));
    }
    assert_eq!(sender.data_dropped_ever(), 1);
}
