use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn told(bind: &str, advertise: &[&str]) -> Result<Vec<IpAddr>, StartError> {
    let advertise: Vec<IpAddr> = advertise.iter().map(|a| ip(a)).collect();
    advertised(ip(bind), &advertise)
}

/// DE-01.
#[test]
fn de_01_only_configured_addresses_are_told() {
    assert_eq!(told("127.0.0.1", &[]).unwrap(), [ip("127.0.0.1")]);
    assert_eq!(told("10.0.0.5", &["203.0.113.7"]).unwrap(), [ip("203.0.113.7")]);
    let two = ["203.0.113.7", "2001:db8::1", "203.0.113.7"];
    assert_eq!(told("::", &two).unwrap(), [ip("203.0.113.7"), ip("2001:db8::1")]);
    assert_eq!(told("::", &["::ffff:10.0.0.5"]).unwrap(), [ip("10.0.0.5")]);
}

/// DE-01.
#[test]
fn de_01_what_no_client_can_use_is_refused() {
    for (bind, advertise) in [
        ("0.0.0.0", &[][..]),
        ("::", &[]),
        ("::ffff:0.0.0.0", &[]),
        ("10.0.0.5", &["0.0.0.0"]),
        ("10.0.0.5", &["224.0.0.1"]),
        ("10.0.0.5", &["255.255.255.255"]),
        ("10.0.0.5", &["169.254.7.7"]),
        ("169.254.7.7", &[]),
        ("::", &["2001:db8::1", "fe80::1"]),
        ("fe80::1", &[]),
        ("::", &["::ffff:169.254.7.7"]),
    ] {
        let refused = told(bind, advertise);
        assert!(
            matches!(refused, Err(StartError::NothingToAdvertise(_))),
            "{bind} {advertise:?}: {refused:?}"
        );
    }
}

/// DE-01.
#[test]
fn de_01_a_family_that_the_socket_does_not_hear_is_refused() {
    for (bind, advertise) in
        [("0.0.0.0", "2001:db8::1"), ("10.0.0.5", "::1"), ("2001:db8::1", "10.0.0.5")]
    {
        let refused = told(bind, &[advertise]);
        assert!(matches!(refused, Err(StartError::NotServed { .. })), "{bind} {advertise}");
    }
}

fn map(bound: &str, told: &[&str]) -> AddressMap {
    let told: Vec<IpAddr> = told.iter().map(|a| ip(a)).collect();
    AddressMap::new(addr(bound), &told)
}

#[test]
fn a_bound_address_is_its_own_candidate() {
    let mut map = map("127.0.0.1:5000", &["127.0.0.1"]);
    let peer = addr("127.0.0.1:9");
    assert_eq!(map.arrived(peer, Some(ip("127.0.0.1"))), Some(addr("127.0.0.1:5000")));
    assert_eq!(map.arrived(peer, None), Some(addr("127.0.0.1:5000")));
    assert_eq!(map.source_ip(addr("127.0.0.1:5000"), &peer), None, "the socket has one address");
}

/// DE-01.
#[test]
fn de_01_behind_nat_the_advertised_address_stands_for_the_bound_one() {
    let mut map = map("127.0.0.1:5000", &["203.0.113.7", "203.0.113.8"]);
    assert_eq!(map.candidates(), [addr("203.0.113.7:5000"), addr("203.0.113.8:5000")]);
    let peer = addr("198.51.100.1:9");
    assert_eq!(map.arrived(peer, Some(ip("127.0.0.1"))), Some(addr("203.0.113.7:5000")));
    assert_eq!(map.source_ip(addr("203.0.113.7:5000"), &peer), None);
}

/// DE-01.
#[test]
fn de_01_on_a_wildcard_the_destination_decides_and_the_answer_leaves_from_it() {
    let mut map = map("0.0.0.0:5000", &["127.0.0.1", "127.0.0.2"]);
    let peer = addr("127.0.0.1:9");
    assert_eq!(map.arrived(peer, Some(ip("127.0.0.2"))), Some(addr("127.0.0.2:5000")));
    assert_eq!(map.source_ip(addr("127.0.0.2:5000"), &peer), Some(ip("127.0.0.2")));
    assert_eq!(map.source_ip(addr("127.0.0.1:5000"), &peer), Some(ip("127.0.0.1")));
}

/// DE-01.
#[test]
fn de_01_on_a_wildcard_behind_nat_the_answer_leaves_from_where_the_peer_sent_to() {
    let mut map = map("0.0.0.0:5000", &["203.0.113.7"]);
    let candidate = addr("203.0.113.7:5000");
    let (one, two) = (addr("198.51.100.1:9"), addr("198.51.100.2:9"));
    assert_eq!(map.arrived(one, Some(ip("127.0.0.2"))), Some(candidate));
    assert_eq!(map.arrived(two, Some(ip("127.0.0.3"))), Some(candidate));
    assert_eq!(map.source_ip(candidate, &one), Some(ip("127.0.0.2")));
    assert_eq!(map.source_ip(candidate, &two), Some(ip("127.0.0.3")));
    let stranger = addr("198.51.100.3:9");
    assert_eq!(map.source_ip(candidate, &stranger), None, "never an address that is not ours");
}

#[test]
fn strangers_do_not_make_it_grow_or_forget_live_peers() {
    let mut map = map("0.0.0.0:5000", &["203.0.113.7"]);
    let candidate = addr("203.0.113.7:5000");
    let live = addr("198.51.100.1:9");
    for stranger in 0..4 * LEARNED_MAX {
        if stranger % 1_000 == 0 {
            map.arrived(live, Some(ip("127.0.0.2")));
        }
        let bits = u32::try_from(stranger).unwrap();
        map.arrived(SocketAddr::new(IpAddr::V4(bits.into()), 7), Some(ip("127.0.0.9")));
        assert_eq!(map.source_ip(candidate, &live), Some(ip("127.0.0.2")));
    }
    assert!(map.learned.young.len() + map.learned.old.len() <= 2 * LEARNED_MAX);
}

#[test]
fn a_peer_that_finds_the_candidate_itself_is_answered_from_it() {
    let mut map = map("0.0.0.0:5000", &["127.0.0.1"]);
    let peer = addr("127.0.0.1:9");
    map.arrived(peer, Some(ip("127.0.0.2")));
    assert_eq!(map.source_ip(addr("127.0.0.1:5000"), &peer), Some(ip("127.0.0.2")));
    map.arrived(peer, Some(ip("127.0.0.1")));
    assert_eq!(map.source_ip(addr("127.0.0.1:5000"), &peer), Some(ip("127.0.0.1")));
}

#[test]
fn what_cannot_be_answered_is_dropped() {
    let mut map = map("[::]:5000", &["127.0.0.1"]);
    assert_eq!(map.arrived(addr("127.0.0.1:0"), Some(ip("127.0.0.1"))), None);
    assert_eq!(map.arrived(addr("[2001:db8::1]:9"), Some(ip("2001:db8::2"))), None);
}

#[test]
fn a_dual_stack_socket_speaks_ipv4() {
    let mut map = map("[::]:5000", &["127.0.0.1", "::1"]);
    let peer = from_socket(addr("[::ffff:127.0.0.1]:9"));
    assert_eq!(peer, addr("127.0.0.1:9"));
    assert_eq!(map.arrived(peer, Some(ip("::ffff:127.0.0.1"))), Some(addr("127.0.0.1:5000")));
    assert_eq!(map.for_socket(peer), addr("[::ffff:127.0.0.1]:9"));
    assert_eq!(map.for_socket(addr("[::1]:9")), addr("[::1]:9"));
}
