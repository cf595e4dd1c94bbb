use super::*;

const FIRST: RoomId = RoomId(5 << 8);

fn setup(per_shard: usize) -> Arc<Shards> {
    let mailboxes: Arc<[Mailbox]> = (0..4).map(|_| Mailbox::new(64)).collect();
    Arc::new(Shards::new(mailboxes, per_shard))
}

/// Places on the lowest worker of `workers` that may be.
fn place(shards: &Arc<Shards>, workers: usize, participant: u32) -> Placed {
    place_beside(shards, workers, &[], participant)
}

/// The same with some workers at their capacity.
fn place_beside(shards: &Arc<Shards>, workers: usize, full: &[usize], participant: u32) -> Placed {
    let least_loaded = |may_be: &dyn Fn(usize) -> bool| (0..workers).find(|w| may_be(*w));
    let is_full = |worker| full.contains(&worker);
    let choice = Workers { least_loaded: &least_loaded, is_full: &is_full };
    Shards::place(shards, FIRST, ParticipantId(participant), choice)
}

#[test]
fn a_call_leaves_a_worker_that_is_at_its_capacity_while_there_is_another() {
    let shards = setup(100);
    let join = |full: &[usize], participant| {
        let mut placed = place_beside(&shards, 2, full, participant);
        placed.settle();
        placed.room
    };
    assert_eq!(join(&[], 1), FIRST);
    assert_eq!(join(&[0, 1], 2), FIRST, "nobody has more to give");
    let other = join(&[0], 3);
    assert_eq!(worker_of(other), 1);
    assert_eq!(join(&[0], 4), other);
    assert_eq!(join(&[], 5), FIRST, "there is room again");
    let alone = setup(0);
    let placed = place_beside(&alone, 2, &[], 1);
    assert_eq!(placed.room, FIRST);
    assert_eq!(place_beside(&alone, 2, &[0], 2).room, FIRST, "spanning is off");
}

fn join(shards: &Arc<Shards>, workers: usize, participant: u32) -> RoomId {
    let mut placed = place(shards, workers, participant);
    placed.settle();
    placed.room
}

#[test]
fn shards_fill_one_after_the_other_and_then_alike() {
    let shards = setup(2);
    let rooms: Vec<RoomId> = (1..=9).map(|id| join(&shards, 3, id)).collect();
    assert_eq!(rooms[..2], [FIRST, FIRST]);
    let distinct: BTreeSet<RoomId> = rooms.iter().copied().collect();
    assert_eq!(distinct.len(), 3, "{rooms:?}");
    let workers: BTreeSet<usize> = distinct.iter().map(|room| worker_of(*room)).collect();
    assert_eq!(workers.len(), 3);
    let numbers: BTreeSet<u8> = distinct.iter().map(|room| room.shard()).collect();
    assert_eq!(numbers.len(), 3);
    assert!(rooms.iter().all(|room| room.call() == FIRST.call()));
    let size = |of: RoomId| rooms.iter().filter(|room| **room == of).count();
    assert!(distinct.iter().all(|room| size(*room) == 3), "beyond all shards' bounds: evenly");
    // Places that become free are taken again.
    (1..=2).for_each(|id| shards.left(FIRST, ParticipantId(id)));
    assert_eq!(join(&shards, 3, 10), FIRST);
}

#[test]
fn zero_never_spans() {
    let shards = setup(0);
    assert!((1..=500).all(|id| join(&shards, 4, id) == FIRST));
}

#[test]
fn a_fresh_shard_has_all_others_as_peers_and_never_an_old_number() {
    let shards = setup(1);
    let first = join(&shards, 3, 1);
    let second = place(&shards, 3, 2);
    assert!(second.is_fresh && second.peers() == [first]);
    let third = place(&shards, 3, 3);
    assert_eq!(third.peers(), [first, second.room]);
    let given_up = second.room;
    drop(second);
    assert_eq!(third.peers(), [first], "a join that failed leaves no shard");
    let again = place(&shards, 3, 4);
    assert!(again.is_fresh && again.room != given_up);
}

#[test]
fn a_call_without_rooms_is_forgotten() {
    let shards = setup(1);
    let rooms: Vec<RoomId> = (1..=3).map(|id| join(&shards, 3, id)).collect();
    for room in rooms {
        shards.gone(room, LeaveReason::Left);
        shards.gone(room, LeaveReason::Left);
    }
    assert!(shards.lock().is_empty());
    let failed = place(&shards, 3, 1);
    assert!(failed.is_fresh && failed.room == FIRST);
    drop(failed);
    assert!(shards.lock().is_empty());
}

#[test]
fn who_is_there_already_keeps_its_place() {
    let shards = setup(2);
    let room = join(&shards, 3, 1);
    let twice = place(&shards, 3, 1);
    assert!(!twice.is_fresh && twice.room == room);
    drop(twice);
    assert_eq!(shards.rooms(FIRST), [room]);
    assert_eq!(join(&shards, 3, 2), room);
    assert_ne!(join(&shards, 3, 3), room, "the first still counts");
}
