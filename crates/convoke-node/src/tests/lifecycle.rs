use std::net::{Ipv6Addr, UdpSocket};

use convoke_core::{Action, Event, LeaveReason, Reply, RoomChange, RoomId};

use super::*;
use crate::{Events, HandleError, Node, NodeEvent, StartError};

async fn next(events: &mut Events) -> Event {
    match tokio::time::timeout(PATIENCE, events.recv()).await {
        Ok(Some(NodeEvent::Core(event))) => event,
        other => panic!("no event of the core: {other:?}"),
    }
}

#[tokio::test]
async fn what_cannot_be_told_to_clients_does_not_start() {
    let wildcard = NodeConfig::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    let error = Node::start(wildcard).await.unwrap_err();
    assert!(matches!(error, StartError::NothingToAdvertise(_)));
    assert!(error.to_string().contains("0.0.0.0"), "{error}");

    let mut config = config(1);
    config.advertise = vec![Ipv6Addr::LOCALHOST.into()];
    let error = Node::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::NotServed { .. }), "{error}");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let addr = taken.local_addr().unwrap();
    let mut config = config(1);
    config.port = addr.port();
    let error = Node::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::Bind { addr: named, .. } if named == addr));
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
}

#[tokio::test]
async fn too_few_ports_above_the_first_is_an_error() {
    let mut config = config(3);
    config.port = u16::MAX - 1;
    let error = Node::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::Bind { .. }), "{error}");
}

#[tokio::test]
async fn workers_take_the_ports_from_the_first_on() {
    // A free pair is looked for; others may take ports meanwhile.
    for _ in 0..20 {
        let first = UdpSocket::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap().port();
        let mut config = config(2);
        config.port = first;
        let Ok((node, _events)) = Node::start(config).await else { continue };
        let ports: Vec<u16> = node.handle().media_addresses().iter().map(|a| a.port()).collect();
        assert_eq!(ports, [first, first + 1]);
        return;
    }
    panic!("no free pair of ports");
}

#[tokio::test]
async fn a_call_begins_and_ends() {
    let (node, mut events) = Node::start(config(2)).await.unwrap();
    let handle = node.handle();
    let room = handle.new_room();
    let (one, two) = (handle.new_participant(), handle.new_participant());
    assert_ne!(one, two);

    handle.join(room, viewer(one)).await.unwrap();
    let joined = handle.join(room, viewer(two)).await.unwrap();
    assert_eq!(joined.snapshot.participants.len(), 2);
    let again = handle.join(room, viewer(two)).await;
    assert!(matches!(again, Err(HandleError::Refused(_))), "{again:?}");
    let reply = handle.command(room, Action::Snapshot { participant: one }).await.unwrap();
    assert!(matches!(reply, Reply::Snapshot(snapshot) if snapshot.participants.len() == 2));
    eventually(&handle, "two are there", |s| s[(room.0 & 0xff) as usize].core.participants == 2)
        .await;
    handle.leave(room, one, LeaveReason::Left).await.unwrap();
    handle.leave(room, one, LeaveReason::Left).await.unwrap();
    handle.leave(room, two, LeaveReason::Removed).await.unwrap();

    let mut told = Vec::new();
    loop {
        match next(&mut events).await {
            Event::Room { change: RoomChange::ParticipantJoined(who), .. } => {
                told.push(format!("+{}", who.participant));
            }
            Event::Room { change: RoomChange::ParticipantLeft { participant, reason }, .. } => {
                told.push(format!("-{participant} {reason:?}"));
            }
            Event::RoomClosed { room: closed } => break assert_eq!(closed, room),
            _ => {}
        }
    }
    let [joined_one, joined_two] = [one, two].map(|p| format!("+{p}"));
    let left = [format!("-{one} Left"), format!("-{two} Removed")];
    assert_eq!(told, [[joined_one, joined_two], left].concat());
}

#[tokio::test]
async fn a_join_whose_caller_goes_away_leaves_nobody() {
    let (node, _events) = Node::start(config(1)).await.unwrap();
    let handle = node.handle();
    let room = handle.new_room();
    let stays = handle.new_participant();
    handle.join(room, viewer(stays)).await.unwrap();
    for round in 0..200_u64 {
        let participant = handle.new_participant();
        let mut join = Box::pin(handle.join(room, viewer(participant)));
        let answered = poll_once(&mut join).is_ready();
        std::thread::sleep(Duration::from_micros(round * 5));
        drop(join);
        if answered {
            handle.leave(room, participant, LeaveReason::Left).await.unwrap();
        }
    }
    // Refused because `stays` is there: undoing that must not remove it.
    let mut again = Box::pin(handle.join(room, viewer(stays)));
    let _ = poll_once(&mut again);
    std::thread::sleep(Duration::from_millis(5));
    drop(again);

    let end = Instant::now() + PATIENCE;
    loop {
        let reply = handle.command(room, Action::Snapshot { participant: stays }).await.unwrap();
        let Reply::Snapshot(snapshot) = reply else { panic!("{reply:?}") };
        if let [alone] = &snapshot.participants[..] {
            break assert_eq!(alone.participant, stays);
        }
        assert!(Instant::now() < end, "{} are still there", snapshot.participants.len());
    }
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    std::pin::Pin::new(future).poll(&mut context)
}

#[tokio::test]
async fn a_worker_that_panics_starts_again_empty() {
    let (node, mut events) = Node::start(config(1)).await.unwrap();
    let handle = node.handle();
    let addresses = handle.media_addresses();
    let room = handle.new_room();
    let one = handle.new_participant();
    handle.join(room, viewer(one)).await.unwrap();
    handle.fail_worker(room);
    // Behind the failing message in the inbox: fails with the worker, or is heard by the new one.
    let pending = handle.command(room, Action::Snapshot { participant: one }).await;
    assert!(pending.is_err(), "{pending:?}");
    let rooms = loop {
        match tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap() {
            NodeEvent::WorkerFailed { worker: 0, rooms } => break rooms,
            NodeEvent::Core(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(rooms, [room]);
    handle.join(room, viewer(one)).await.unwrap();
    assert_eq!(handle.media_addresses(), addresses);
    eventually(&handle, "it is there again", |s| s[0].core.participants == 1).await;
    eventually(&handle, "it is counted", |s| s[0].failures == 1).await;
}

#[tokio::test]
async fn what_waits_at_a_panicking_worker_is_gone() {
    let (node, _events) = Node::start(config(1)).await.unwrap();
    let handle = node.handle();
    let room = handle.new_room();
    // Behind the failing message in the inbox, unless the worker is quick.
    let mut gone = 0;
    for _ in 0..50 {
        handle.fail_worker(room);
        let mut join = Box::pin(handle.join(room, viewer(handle.new_participant())));
        let joined = match poll_once(&mut join) {
            std::task::Poll::Ready(joined) => joined,
            std::task::Poll::Pending => join.await,
        };
        match joined {
            Err(HandleError::Gone) => gone += 1,
            Ok(_) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert!(gone > 0, "none of 50 was caught by the panic");
    eventually(&handle, "failures are counted", |s| s[0].failures > 0).await;
    let end = Instant::now() + PATIENCE;
    while handle.join(room, viewer(handle.new_participant())).await.is_err() {
        assert!(Instant::now() < end, "it does not come back");
    }
}

#[tokio::test]
async fn shutdown_removes_everyone_and_frees_the_ports() {
    let (node, mut events) = Node::start(config(2)).await.unwrap();
    let handle = node.handle();
    let rooms: [RoomId; 2] = std::array::from_fn(|_| handle.new_room());
    for room in rooms {
        handle.join(room, viewer(handle.new_participant())).await.unwrap();
    }
    node.shutdown().await;
    let (mut stopped, mut closed) = (0, 0);
    while let Some(event) = events.recv().await {
        match event {
            NodeEvent::Core(Event::Room {
                change: RoomChange::ParticipantLeft { reason: LeaveReason::Stopped, .. },
                ..
            }) => stopped += 1,
            NodeEvent::Core(Event::RoomClosed { .. }) => closed += 1,
            _ => {}
        }
    }
    assert_eq!((stopped, closed), (2, 2));
    assert!(handle.stats().iter().all(|s| s.core.rooms == 0 && s.core.participants == 0));
    let late = handle.join(rooms[0], viewer(handle.new_participant())).await;
    assert!(matches!(late, Err(HandleError::Gone)), "{late:?}");
    for addr in handle.media_addresses() {
        UdpSocket::bind(addr).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_stops_too() {
    let (node, mut events) = Node::start(config(1)).await.unwrap();
    let handle = node.handle();
    handle.join(handle.new_room(), viewer(handle.new_participant())).await.unwrap();
    drop(node);
    UdpSocket::bind(handle.media_addresses()[0]).unwrap();
    while events.recv().await.is_some() {}
}

#[test]
fn no_runtime_is_needed_to_start_drive_and_stop() {
    let mut start = Box::pin(Node::start(config(1)));
    let (node, _events) = block_on(&mut start).unwrap();
    let handle = node.handle();
    let mut join = Box::pin(handle.join(handle.new_room(), viewer(handle.new_participant())));
    block_on(&mut join).unwrap();
    block_on(&mut Box::pin(node.shutdown()));
}

fn block_on<F: Future + Unpin>(future: &mut F) -> F::Output {
    loop {
        if let std::task::Poll::Ready(output) = poll_once(future) {
            return output;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[tokio::test]
async fn a_slow_reader_is_told_that_it_lags() {
    let mut config = config(1);
    config.events = 4;
    let (node, mut events) = Node::start(config).await.unwrap();
    let handle = node.handle();
    let room = handle.new_room();
    for _ in 0..10 {
        handle.join(room, viewer(handle.new_participant())).await.unwrap();
    }
    eventually(&handle, "six are dropped", |s| s[0].events_dropped == 6).await;
    let mut lagged = 0;
    let mut heard = 0;
    while lagged == 0 {
        match tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap() {
            NodeEvent::Lagged { dropped } => lagged = dropped,
            _ => heard += 1,
        }
    }
    assert_eq!((heard, lagged), (4, 6));
}

#[tokio::test]
async fn an_idle_worker_comes_round() {
    let (node, _events) = Node::start(config(1)).await.unwrap();
    let handle = node.handle();
    let before = handle.stats()[0].turns;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let stats = handle.stats()[0];
    assert!(stats.last_turn < Duration::from_secs(1), "{stats:?}");
    assert!(stats.turns > before);
    // Two turns a second, with room for a loaded machine; not a busy loop.
    assert!(stats.turns - before < 20, "{stats:?}");
}
