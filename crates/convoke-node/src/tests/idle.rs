//! Participants who do nothing, and what they cost.

use std::net::UdpSocket;

use stun_types::attribute::{AttributeType, RawAttribute, Username};
use stun_types::message::{
    BINDING, IntegrityAlgorithm, Message, MessageIntegrityCredentials, MessageWrite,
    MessageWriteExt, MessageWriteVec, ShortTermCredentials,
};

use super::media::start;
use super::peer::{Peer, drive, drive_once, socket};
use super::*;

/// RFC 8445 §16.1.
const PRIORITY: u16 = 0x0024;
const ICE_CONTROLLING: u16 = 0x802a;

fn attribute<'a>(sdp: &'a str, name: &str) -> &'a str {
    let mut lines = sdp.lines().filter_map(|line| line.strip_prefix(name));
    lines.next().expect(name).trim_end()
}

/// A check of consent (RFC 7675), with a transaction of its own.
fn check(offer: &str, answer: &str) -> Vec<u8> {
    let ufrag = |sdp| attribute(sdp, "a=ice-ufrag:").to_owned();
    let user_name = format!("{}:{}", ufrag(answer), ufrag(offer));
    let password = attribute(answer, "a=ice-pwd:").to_owned();
    let mut message = Message::builder_request(BINDING, MessageWriteVec::new());
    message.add_attribute(&Username::new(&user_name).unwrap()).unwrap();
    for (kind, value) in
        [(PRIORITY, [0x6e, 0xff, 0xff, 0xff].as_slice()), (ICE_CONTROLLING, &[1; 8])]
    {
        message.add_attribute(&RawAttribute::new(AttributeType::new(kind), value)).unwrap();
    }
    let password = MessageIntegrityCredentials::from(ShortTermCredentials::new(password));
    message.add_message_integrity(&password, IntegrityAlgorithm::Sha1).unwrap();
    message.add_fingerprint().unwrap();
    message.finish()
}

fn answers(socket: &UdpSocket) -> u64 {
    let mut buffer = [0; 1_500];
    std::iter::from_fn(|| socket.recv_from(&mut buffer).ok()).count() as u64
}

/// Each wakes the thread else, which costs as much as the answer. Who does more is never waited with.
#[tokio::test]
async fn checks_of_who_is_idle_are_answered_several_at_a_time() {
    let (_node, handle, room) = start(config(1)).await;
    let ours = [socket(LOOPBACK), socket(LOOPBACK)];
    let copy = ours[1].try_clone().unwrap();
    let (mut peer, request) = Peer::with_sockets(ours, handle.new_participant(), false, 1);
    let offer = request.receive_offer.clone().unwrap();
    let answer = peer.join(&handle, room, request).await.receive_answer.unwrap();
    let mut peers = [peer];
    let is_connected = |peers: &[Peer]| peers[0].is_connected();
    drive(&mut peers, "it is connected", is_connected).await;
    // By then it is idle, and nothing but its checks has come for longer than a second.
    let calm = Instant::now() + Duration::from_secs(6);
    while Instant::now() < calm {
        drive_once(&mut peers).await;
    }
    let server = *peers[0].heard_from.first().unwrap();
    let _ = answers(&copy);
    let (start, before) = (Instant::now(), handle.stats()[0].turns);
    let mut answered = 0;
    for _ in 0..300 {
        for _ in 0..2 {
            copy.send_to(&check(&offer, &answer), server).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        answered += answers(&copy);
    }
    let (turns, elapsed) = (handle.stats()[0].turns - before, start.elapsed());
    let end = Instant::now() + PATIENCE;
    while answered < 600 {
        assert!(Instant::now() < end, "{answered} of 600");
        tokio::time::sleep(Duration::from_millis(1)).await;
        answered += answers(&copy);
    }
    // One in 20 ms, and two a second that are for their own sake.
    let most = elapsed.as_millis() as u64 / 20 + elapsed.as_millis() as u64 / 500 + 10;
    assert!(turns <= most, "{turns} turns in {elapsed:?}, not {most}");
}
