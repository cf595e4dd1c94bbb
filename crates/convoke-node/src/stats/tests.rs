use super::*;

/// Every value is another one.
fn numbered() -> Stats {
    decode(1..)
}

#[test]
fn every_value_survives() {
    let stats = numbered();
    assert_eq!(decode(encode(&stats)), stats);
    assert_eq!(encode(&stats).to_vec(), (1..=VALUES as u64).collect::<Vec<_>>());
    assert_eq!(stats.participants, 2, "`StatsBlock::load` reads it by place");
}

fn setup() -> (Arc<StatsBlock>, Meter, Instant) {
    let now = Instant::now();
    let block = Arc::new(StatsBlock::new(now));
    (Arc::clone(&block), Meter::new(block, now), now)
}

const NOTHING: ShellCounts = ShellCounts {
    send: SendCounts { calls: 0, gso_groups: 0, gso_datagrams: 0, drops: 0 },
    receive: (0, 0),
    events_dropped: 0,
    mail: MailCounts { media_dropped: 0, resyncs: 0 },
    data_dropped: 0,
    stun: StunStats { outcomes: [0; StunOutcome::ALL.len()], addresses: 0, remapped: 0 },
};

#[test]
fn counters_go_on_and_gauges_begin_again_after_a_failure() {
    let (block, mut meter, now) = setup();
    meter.core(now, &numbered());
    meter.failed();
    assert!(meter.is_core_due(now), "what it was is not what it is");
    meter.core(now, &Stats::default());
    let stats = block.read(now);
    assert_eq!(stats.failures, 1);
    assert_eq!(stats.core.participants, 0);
    assert_eq!(stats.core.datagrams_in, numbered().datagrams_in);
    meter.core(now, &numbered());
    assert_eq!(block.read(now).core.datagrams_in, 2 * numbered().datagrams_in);
    assert_eq!(block.read(now).core.participants, 2);
}

#[test]
fn turns_are_published_as_they_are() {
    let (block, mut meter, now) = setup();
    let shell = ShellCounts {
        send: SendCounts { calls: 1, gso_groups: 2, gso_datagrams: 3, drops: 4 },
        receive: (5, 6),
        events_dropped: 7,
        data_dropped: 8,
        mail: MailCounts { media_dropped: 9, resyncs: 10 },
        stun: StunStats { outcomes: [11, 12, 13, 14], addresses: 15, remapped: 16 },
    };
    let end = now + Duration::from_millis(2);
    meter.turn(now, end, shell);
    let stats = block.read(end + Duration::from_millis(5));
    assert_eq!((stats.turns, stats.busy), (1, Duration::from_millis(2)));
    assert_eq!(stats.last_turn, Duration::from_millis(5));
    assert_eq!(stats.turn_buckets, [0, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!((stats.send_calls, stats.gso_groups), (1, 2));
    assert_eq!((stats.gso_datagrams, stats.send_drops), (3, 4));
    assert_eq!((stats.receive_calls, stats.receive_drops, stats.events_dropped), (5, 6, 7));
    assert_eq!(stats.data_dropped, 8);
    assert_eq!((stats.relay_overflows, stats.relay_resyncs), (9, 10));
    assert_eq!(stats.stun, shell.stun);
}

#[test]
fn what_is_forwarded_is_counted_with_the_time_that_it_took() {
    let (block, mut meter, now) = setup();
    meter.forwarded(now, now + Duration::from_micros(300), 5);
    meter.forwarded(now, now + Duration::from_secs(1), 2);
    let stats = block.read(now);
    assert_eq!(stats.forward_buckets, [0, 0, 5, 0, 0, 0, 0, 0, 0]);
    assert_eq!(stats.forwarded, 7);
    assert_eq!(stats.forward_time, Duration::from_micros(5 * 300 + 2_000_000));
}

#[test]
fn load_is_of_people_work_and_new_rooms() {
    let (block, mut meter, now) = setup();
    assert_eq!(block.load(), 0);
    let core = Stats { participants: 10, ..Stats::default() };
    meter.core(now, &core);
    assert_eq!(block.load(), 10);
    for _ in 0..3 {
        block.room_placed();
    }
    assert_eq!(block.load(), 22);
    // Half a second of work in one second; two of the three rooms are forgotten.
    meter.turn(now, now + Duration::from_millis(500), NOTHING);
    meter.turn(now + WINDOW, now + WINDOW, NOTHING);
    assert_eq!(block.load(), 10 + 500 + 4);
    assert_eq!(block.read(now + WINDOW).busy_permille, 500);
    meter.turn(now + 2 * WINDOW, now + 2 * WINDOW, NOTHING);
    assert_eq!(block.load(), 10);
}
