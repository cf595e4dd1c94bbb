//! Idle peers: their consent checks are answered, most of them without str0m, and nothing else is.

use str0m::ice::StunMessage;

use super::*;

/// What our side does with one datagram.
fn receive(pair: &mut Pair, path: &demux::Pair, bytes: &[u8]) -> (Health, Vec<crate::Transmit>) {
    let mut out = Outbox::default();
    let health = pair.transport.receive(pair.now, path, bytes, &mut out, &mut Vec::new());
    (health, out.transmits)
}

/// The peer's checks of the next `seconds`, each with its path, as they come.
fn checks(
    pair: &mut Pair,
    seconds: u64,
    mut each: impl FnMut(&mut Pair, demux::Pair, Vec<u8>) -> Vec<crate::Transmit>,
) {
    for _ in 0..seconds * 20 {
        pair.now += Duration::from_millis(50);
        pair.peer.handle(pair.now, PeerInput::Timeout);
        while let Some(transmit) = pair.peer.poll_transmit() {
            if transmit.transport != WireRole::Receive {
                continue;
            }
            let path = udp(transmit.local, transmit.destination);
            let answers = if classify(&transmit.contents) == Class::Stun {
                each(pair, path, transmit.contents.to_vec())
            } else {
                receive(pair, &path, &transmit.contents).1
            };
            for answer in answers {
                let (source, local) = (answer.local, answer.destination);
                let input = PeerInput::Datagram {
                    transport: WireRole::Receive,
                    source,
                    local,
                    bytes: &answer.contents,
                };
                pair.peer.handle(pair.now, input);
            }
        }
        if pair.transport.deadline() <= pair.now {
            pair.transport.drive(pair.now, &mut Outbox::default(), &mut Vec::new());
        }
    }
}

fn idle() -> Pair {
    let mut pair = Pair::new();
    for _ in 0..500 {
        pair.step(Duration::from_millis(10));
    }
    assert!(pair.transport.timing.is_idle());
    pair
}

#[test]
fn each_check_of_an_idle_peer_is_answered_without_str0m() {
    let mut pair = idle();
    let (mut asked, mut by_str0m) = (0, 0);
    checks(&mut pair, 120, |pair, path, check| {
        // The other candidate of ours is checked, too.
        let in_use = pair.transport.paths.is_in_use(&path);
        asked += usize::from(in_use);
        let deadline = pair.transport.deadline();
        let (health, answers) = receive(pair, &path, &check);
        assert_eq!((health, answers.len()), (if in_use { Health::Idle } else { Health::Well }, 1));
        by_str0m += usize::from(in_use && pair.transport.deadline() != deadline);
        let request = StunMessage::parse(&check).unwrap();
        let answer = StunMessage::parse(&answers[0].contents).unwrap();
        assert_eq!(answer.trans_id(), request.trans_id());
        assert_eq!(answer.mapped_address(), Some(path.source));
        assert_eq!((answers[0].destination, answers[0].local), (path.source, path.local));
        assert_eq!(pair.transport.heard, pair.now);
        answers
    });
    assert!((38..50).contains(&asked), "one in 3 s: {asked}");
    assert_eq!(by_str0m, 0, "of {asked}");
    assert!(pair.transport.rtc.is_connected() && pair.peer.connected(WireRole::Receive));
}

/// str0m gives a pair up that it is shown no check of for 15 s, and looks at its deadlines less often than
/// that: it is shown one first, whichever are lost.
#[test]
fn lost_checks_do_not_make_str0m_give_an_idle_peer_up() {
    for lost in 1..=3 {
        let (mut pair, mut number) = (idle(), 0);
        checks(&mut pair, 300, |pair, path, check| {
            number += 1;
            assert!(pair.transport.rtc.is_connected(), "{lost} lost, check {number}");
            if pair.transport.paths.is_in_use(&path) && number % 7 < lost {
                return Vec::new();
            }
            receive(pair, &path, &check).1
        });
        assert!(pair.transport.rtc.is_connected(), "{lost} lost");
    }
}

/// Whom str0m gave up by then it takes back, as it is shown the first that comes again.
#[test]
fn an_idle_peer_that_was_silent_for_long_comes_back() {
    let (mut pair, mut number) = (idle(), 0);
    let begun = pair.now;
    checks(&mut pair, 60, |pair, path, check| {
        let silent = begun + Duration::from_secs(6)..begun + Duration::from_secs(26);
        if silent.contains(&pair.now) {
            return Vec::new();
        }
        number += usize::from(pair.now > silent.end);
        let answers = receive(pair, &path, &check).1;
        assert_eq!(answers.len(), 1);
        answers
    });
    assert!(number >= 10 && pair.transport.rtc.is_connected());
    pair.transport.touched = true;
    let mut out = Outbox::default();
    pair.transport.drive(pair.now, &mut out, &mut Vec::new());
    let checks = out.transmits.iter().filter(|t| classify(&t.contents) == Class::Stun);
    assert_eq!(checks.count(), 0, "what was answered is not answered again: {out:?}");
}

#[test]
fn a_check_of_an_idle_peer_that_is_not_truly_its_own_is_not_answered() {
    let mut pair = idle();
    let (mut tried, mut nominate) = (0, 0);
    checks(&mut pair, 30, |pair, path, check| {
        let heard = pair.transport.heard;
        let in_use = pair.transport.paths.is_in_use(&path);
        for at in [20, check.len() - 9, check.len() - 20] {
            let mut forged = check.clone();
            forged[at] ^= 1;
            let (health, answers) = receive(pair, &path, &forged);
            assert!(answers.is_empty() && health != Health::Dead, "{at}: {answers:?}");
            tried += 1;
        }
        assert_eq!(pair.transport.heard, heard);
        nominate += usize::from(StunMessage::parse(&check).unwrap().use_candidate());
        let (health, answers) = receive(pair, &path, &check);
        // Nor does a copy make the true one, of the same transaction, look repeated.
        assert_eq!(health == Health::Idle, in_use);
        answers
    });
    assert!(tried >= 27 && nominate > 0, "{tried} {nominate}");
}

/// From another address it is a new path, which str0m has to know.
#[test]
fn a_check_from_elsewhere_wakes_str0m() {
    let mut pair = idle();
    let mut last = Vec::new();
    checks(&mut pair, 12, |pair, path, check| {
        last.clone_from(&check);
        receive(pair, &path, &check).1
    });
    let deadline = pair.transport.deadline();
    pair.now += Duration::from_millis(100);
    let (_, answers) = receive(&mut pair, &udp(address(77), address(9)), &last);
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(answers[0].destination, address(77));
    assert_ne!(pair.transport.deadline(), deadline);
    assert!(!pair.transport.paths.is_in_use(&udp(address(77), address(9))));
}
