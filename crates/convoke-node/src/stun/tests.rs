use super::*;

const SERVER: &str = "192.0.2.3:3478";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn asker(locals: &[&str]) -> (Asker, oneshot::Receiver<()>) {
    let locals: Vec<SocketAddr> = locals.iter().map(|local| address(local)).collect();
    let config = StunConfig::new("192.0.2.3", 3478);
    Asker::new(config, locals.clone(), &locals, true)
}

/// What it sends in a turn.
fn turn(asker: &mut Asker, now: Instant) -> Vec<Transmit> {
    let mut out = Vec::new();
    // An address that is no name is there in the turn after.
    asker.turn(now, &mut out);
    asker.turn(now, &mut out);
    out
}

fn reply(request: &[u8], seen: &str) -> Vec<u8> {
    let request = Message::from_bytes(request).unwrap();
    let mut message = Message::builder_success(&request, MessageWriteVec::new());
    let seen = XorMappedAddress::new(address(seen), request.transaction_id());
    message.add_attribute(&seen).unwrap();
    message.finish()
}

fn outcomes(asker: &Asker) -> [u64; 4] {
    asker.stats().outcomes
}

#[test]
fn what_the_server_sees_is_told_and_asked_anew_after_the_interval() {
    let (mut asker, mut over) = asker(&["10.0.0.5:40000"]);
    let start = Instant::now();
    let asked = turn(&mut asker, start);
    assert_eq!((asked.len(), asked[0].destination), (1, address(SERVER)));
    assert_eq!(asked[0].local, address("10.0.0.5:40000"), "the socket that it is about");
    assert!(over.try_recv().is_err());
    assert!(asker.answered(
        start,
        address(SERVER),
        &reply(&asked[0].contents, "203.0.113.7:40000")
    ));
    assert_eq!(asker.news(), Some(ips(&["203.0.113.7"])));
    assert_eq!(asker.news(), None, "once");
    assert!(over.try_recv().is_ok());
    let stats = StunStats { outcomes: [1, 0, 0, 0], addresses: 1, remapped: 0 };
    assert_eq!(asker.stats(), stats);

    let interval = asker.config.interval;
    assert!(turn(&mut asker, start + interval - Duration::from_millis(1)).is_empty());
    let again = turn(&mut asker, start + interval);
    assert_eq!(again.len(), 1);
    assert_ne!(again[0].contents, asked[0].contents, "another transaction");
    let answer = reply(&again[0].contents, "203.0.113.8:40000");
    assert!(asker.answered(start + interval, address(SERVER), &answer));
    assert_eq!(asker.news(), Some(ips(&["203.0.113.8"])), "another address instead");
}

#[test]
fn no_answer_is_waited_for_a_while_and_asked_for_ever_less_often() {
    let (mut asker, mut over) = asker(&["10.0.0.5:40000"]);
    let start = Instant::now();
    let mut sent = Vec::new();
    // By a clock that is as coarse as a worker's.
    for tick in 0..3_000_u32 {
        let now = start + tick * Duration::from_millis(100);
        sent.extend(turn(&mut asker, now).into_iter().map(|one| (tick / 10, one.contents)));
    }
    assert_eq!(asker.news(), None);
    assert!(over.try_recv().is_ok(), "a start does not wait for ever");
    let rounds: Vec<Vec<u32>> = sent
        .chunk_by(|a, b| a.1 == b.1)
        .map(|round| round.iter().map(|one| one.0).collect())
        .collect();
    assert!(rounds.iter().all(|round| round.len() <= TIMES as usize), "{rounds:?}");
    let firsts: Vec<u32> = rounds.iter().map(|round| round[0]).collect();
    assert_eq!(firsts, [0, 12, 30, 57, 105, 192], "waits of 5, 10, 20, 40, 80 s after 7.5 s");
    assert_eq!(outcomes(&asker)[1], 6);
}

#[test]
fn what_was_found_stays_told_when_the_server_is_silent_later() {
    let (mut asker, _over) = asker(&["10.0.0.5:40000"]);
    let start = Instant::now();
    let asked = turn(&mut asker, start);
    asker.answered(start, address(SERVER), &reply(&asked[0].contents, "203.0.113.7:40000"));
    asker.news();
    for second in 0..400 {
        turn(&mut asker, start + Duration::from_secs(second));
    }
    assert_eq!((outcomes(&asker)[0], outcomes(&asker)[1] > 0), (1, true));
    assert_eq!((asker.news(), asker.told_beside()), (None, ips(&["203.0.113.7"])));
}

#[test]
fn forged_answers_are_left_to_whoever_wants_them() {
    let (mut asker, _over) = asker(&["10.0.0.5:40000"]);
    let now = Instant::now();
    let asked = turn(&mut asker, now);
    let right = reply(&asked[0].contents, "198.51.100.66:40000");
    let mut other = right.clone();
    other[19] ^= 1;
    for (source, bytes, why) in [
        ("192.0.2.4:3478", &right[..], "another address"),
        ("192.0.2.3:3479", &right[..], "another port"),
        (SERVER, &other[..], "another transaction"),
        (SERVER, &right[..19], "cut"),
        (SERVER, &[][..], "nothing"),
    ] {
        assert!(!asker.answered(now, address(source), bytes), "{why}");
    }
    assert_eq!((asker.news(), outcomes(&asker)), (None, [0; 4]));
    assert!(asker.answered(now, address(SERVER), &reply(&asked[0].contents, "203.0.113.7:40000")));
    assert_eq!(asker.news(), Some(ips(&["203.0.113.7"])));
    assert!(!asker.answered(now, address(SERVER), &right), "nothing is asked any more");
}

#[test]
fn answers_that_are_of_no_use_are_refused() {
    for seen in [
        "0.0.0.0:1",
        "203.0.113.7:0",
        "224.0.0.1:1",
        "255.255.255.255:1",
        "127.0.0.1:1",
        "[2001:db8::1]:1",
    ] {
        let (mut asker, _over) = asker(&["10.0.0.5:40000"]);
        let now = Instant::now();
        let asked = turn(&mut asker, now);
        assert!(asker.answered(now, address(SERVER), &reply(&asked[0].contents, seen)), "{seen}");
        assert_eq!((asker.news(), outcomes(&asker)), (None, [0, 0, 1, 0]), "{seen}");
    }
    let (mut asker, _over) = asker(&["10.0.0.5:40000"]);
    let now = Instant::now();
    let asked = turn(&mut asker, now);
    let request = Message::from_bytes(&asked[0].contents).unwrap();
    let error = Message::builder_error(&request, MessageWriteVec::new()).finish();
    assert!(asker.answered(now, address(SERVER), &error));
    assert_eq!(outcomes(&asker), [0, 0, 1, 0]);
}

#[test]
fn another_port_is_counted_and_an_address_of_ours_not_told_twice() {
    let (mut asker, _over) = asker(&["10.0.0.5:40000", "10.0.0.6:40000", "[2001:db8::5]:40000"]);
    let now = Instant::now();
    let asked = turn(&mut asker, now);
    assert_eq!(asked.len(), 2, "no server of IPv6");
    assert!(asker.answered(now, address(SERVER), &reply(&asked[1].contents, "203.0.113.7:51234")));
    assert!(asker.answered(now, address(SERVER), &reply(&asked[0].contents, "10.0.0.5:40000")));
    assert_eq!(asker.news(), Some(ips(&["203.0.113.7"])));
    assert_eq!(asker.stats(), StunStats { outcomes: [2, 0, 0, 0], addresses: 1, remapped: 1 });
}

#[tokio::test]
async fn a_name_is_looked_up_for_both_families() {
    let locals = [address("127.0.0.1:40000"), address("[::1]:40000")];
    let config = StunConfig::new("localhost", 3478);
    let (mut asker, _over) = Asker::new(config, locals.to_vec(), &locals, false);
    let mut out = Vec::new();
    asker.turn(Instant::now(), &mut out);
    assert!(out.is_empty(), "nobody waits for it");
    asker.ready().await;
    asker.turn(Instant::now(), &mut out);
    assert!(out.iter().any(|one| one.destination == address("127.0.0.1:3478")), "{out:?}");
    assert!(out.iter().all(|one| one.destination.is_ipv4() == one.local.is_ipv4()), "{out:?}");
}

#[tokio::test]
async fn a_name_without_an_address_is_counted_and_tried_again() {
    // A label that is too long is asked of no name server.
    let config = StunConfig::new("a".repeat(64), 3478);
    let locals = [address("127.0.0.1:40000")];
    let (mut asker, over) = Asker::new(config, locals.to_vec(), &locals, true);
    let now = Instant::now();
    asker.turn(now, &mut Vec::new());
    asker.ready().await;
    assert!(turn(&mut asker, now).is_empty());
    assert!(over.await.is_ok());
    assert_eq!(outcomes(&asker), [0, 0, 0, 1]);
    asker.turn(now + BACK_OFF, &mut Vec::new());
    assert!(matches!(asker.state, State::LookingUp(_)));
}
