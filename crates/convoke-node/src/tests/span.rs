//! Calls that span worker threads.

use convoke_core::{Action, Event, LeaveReason, ParticipantId, Reply, RoomChange, RoomId};

use super::peer::{Peer, drive};
use super::*;
use crate::{HandleError, Node, NodeEvent};

fn spanning(workers: usize, per_shard: usize) -> NodeConfig {
    NodeConfig { participants_per_shard: per_shard, ..config(workers) }
}

async fn roster(handle: &Handle, room: RoomId, participant: ParticipantId) -> Vec<u32> {
    match handle.command(room, Action::Snapshot { participant }).await {
        Ok(Reply::Snapshot(snapshot)) => {
            let mut ids: Vec<u32> =
                snapshot.participants.iter().map(|view| view.participant.0).collect();
            ids.sort_unstable();
            ids
        }
        other => panic!("{other:?}"),
    }
}

/// Waits until everyone sees everyone on the roster.
async fn agree(handle: &Handle, all: &[(RoomId, ParticipantId)]) {
    let mut expected: Vec<u32> = all.iter().map(|(_, participant)| participant.0).collect();
    expected.sort_unstable();
    let end = Instant::now() + PATIENCE;
    for (room, participant) in all {
        while roster(handle, *room, *participant).await != expected {
            assert!(Instant::now() < end, "{participant} of {room} does not see {expected:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_call_over_three_workers_has_media_every_way() {
    let (node, mut events) = Node::start(spanning(3, 1)).await.unwrap();
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    let handle = node.handle();
    let first = handle.new_room();
    let mut peers = Vec::new();
    let mut all = Vec::new();
    for _ in 0..3 {
        let (mut peer, request) = Peer::new("127.0.0.1", handle.new_participant(), true, 2);
        all.push((peer.join(&handle, first, request).await.room, peer.participant));
        peers.push(peer);
    }
    let mut workers: Vec<u64> = all.iter().map(|(room, _)| room.0 & 0xff).collect();
    workers.sort_unstable();
    assert_eq!(workers, [0, 1, 2]);
    drive(&mut peers, "everyone sees both others", |peers| {
        peers.iter().all(|peer| peer.seen().len() == 2)
    })
    .await;
    agree(&handle, &all).await;
    for peer in &peers {
        let ports: std::collections::BTreeSet<u16> =
            peer.heard_from.iter().map(|from| from.port()).collect();
        assert_eq!(ports.len(), 1, "each talks to its own worker alone");
    }
    eventually(&handle, "relayed packets are counted", |s| {
        s.iter().all(|w| w.core.relay_in[1] > 0 && w.core.relay_out[1] > 0 && w.core.shards == 1)
    })
    .await;
    let last = all[2];
    handle.leave(last.0, last.1, LeaveReason::Left).await.unwrap();
    agree(&handle, &all[..2]).await;
    eventually(&handle, "its shard is gone", |s| {
        s.iter().map(|w| w.core.rooms).sum::<u64>() == 2
            && s.iter().map(|w| w.core.shards).sum::<u64>() == 2
    })
    .await;
    assert_eq!(handle.rooms_of(first).len(), 2);
    peers.iter_mut().for_each(Peer::fall_silent);
    let heard = drive(&mut peers[..2], "the goodbyes are heard", |peers| {
        peers.iter().all(|peer| peer.closed == 2)
    });
    tokio::join!(heard, node.shutdown());
}

#[tokio::test]
async fn a_worker_that_fails_takes_its_shard_and_a_rejoin_makes_it_anew() {
    let (node, mut events) = Node::start(spanning(2, 1)).await.unwrap();
    let handle = node.handle();
    let first = handle.new_room();
    let mut all = Vec::new();
    for _ in 0..2 {
        let participant = handle.new_participant();
        all.push((handle.join(first, viewer(participant)).await.unwrap().room, participant));
    }
    agree(&handle, &all).await;
    handle.fail_worker(all[0].0);
    let mut left = None;
    let mut failed = None;
    while left.is_none() || failed.is_none() {
        match tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap() {
            NodeEvent::Core(Event::Room {
                room,
                change: RoomChange::ParticipantLeft { participant, reason },
                ..
            }) => {
                assert_eq!((room, participant), (all[1].0, all[0].1));
                left = Some(reason);
            }
            NodeEvent::WorkerFailed { rooms, .. } => failed = Some(rooms),
            _ => {}
        }
    }
    assert_eq!((left, failed), (Some(LeaveReason::Failed), Some(vec![all[0].0])));
    agree(&handle, &all[1..]).await;
    let participant = handle.new_participant();
    let joined = handle.join(first, viewer(participant)).await.unwrap();
    assert_ne!(joined.room, all[0].0, "a shard's id is not used again");
    agree(&handle, &[all[1], (joined.room, participant)]).await;
}

#[tokio::test]
async fn a_place_in_a_room_that_closes_is_asked_for_again() {
    let (node, mut events) = Node::start(spanning(2, 2)).await.unwrap();
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    let handle = node.handle();
    let first = handle.new_room();
    let [one, two] = [handle.new_participant(), handle.new_participant()];
    handle.join(first, viewer(one)).await.unwrap();
    let place = handle.place(first, two);
    assert_eq!(place.room(), first);
    handle.leave(first, one, LeaveReason::Left).await.unwrap();
    let moved = place.join(viewer(two)).await;
    assert!(matches!(moved, Err(HandleError::Moved)), "{moved:?}");
    let joined = handle.join(first, viewer(two)).await.unwrap();
    assert_eq!(joined.snapshot.participants.len(), 1);
    let refused = handle.command(first, Action::Join(viewer(one))).await;
    assert!(matches!(refused, Err(HandleError::Refused(_))), "{refused:?}");
}

/// Many join and leave at once, over shards that come and go: in the end everyone agrees, and
/// nothing is left when all have gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_comes_and_goes_agrees_in_the_end() {
    let (node, mut events) = Node::start(spanning(3, 2)).await.unwrap();
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    let handle = node.handle();
    let first = handle.new_room();
    let one = |round: u64, stays: bool| {
        let handle = handle.clone();
        async move {
            let participant = handle.new_participant();
            tokio::time::sleep(Duration::from_micros(round * 700)).await;
            let room = handle.join(first, viewer(participant)).await.unwrap().room;
            if !stays {
                tokio::time::sleep(Duration::from_micros(round * 300)).await;
                handle.leave(room, participant, LeaveReason::Left).await.unwrap();
            }
            (room, participant, stays)
        }
    };
    let tasks: Vec<_> = (0..60).map(|n| tokio::spawn(one(n % 20, n % 12 == 0))).collect();
    let mut stayed = Vec::new();
    for task in tasks {
        let (room, participant, stays) = task.await.unwrap();
        if stays {
            stayed.push((room, participant));
        }
    }
    agree(&handle, &stayed).await;
    for (room, participant) in stayed {
        handle.leave(room, participant, LeaveReason::Left).await.unwrap();
    }
    eventually(&handle, "nothing is left", |s| {
        s.iter().all(|w| (w.core.rooms, w.core.participants, w.core.shards) == (0, 0, 0))
    })
    .await;
    assert!(handle.rooms_of(first).is_empty());
}
