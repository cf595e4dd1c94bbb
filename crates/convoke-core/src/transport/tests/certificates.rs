//! Clients whose certificates no authority would let pass: the fingerprint decides (RFC 8827 §6.5).

use str0m::change::SdpAnswer;
use str0m::config::DtlsCert;
use str0m::media::{Direction, MediaKind as StrKind};
use str0m::{Candidate, Output};

use super::*;

/// Of a UTCTime in DER: its tag and length.
const UTC_TIME: [u8; 2] = [0x17, 13];

/// A certificate that is valid from and until. Its signature is then none.
fn valid(from: &[u8; 13], until: &[u8; 13]) -> DtlsCert {
    let provider = str0m_aws_lc_rs::default_provider();
    let mut made = provider.dtls_provider.generate_certificate().unwrap();
    let der = &mut made.certificate;
    let at = (0..der.len()).filter(|at| der[*at..].starts_with(&UTC_TIME));
    let at: Vec<usize> = at.filter(|at| der.get(at + 14) == Some(&b'Z')).collect();
    let [before, after] = at[..] else { panic!("two dates at {at:?}") };
    der[before + 2..][..13].copy_from_slice(from);
    der[after + 2..][..13].copy_from_slice(until);
    made
}

/// All that a client sends now.
fn sent(client: &mut Rtc) -> Vec<str0m::net::Transmit> {
    let mut sent = Vec::new();
    loop {
        match client.poll_output().unwrap() {
            Output::Timeout(_) => return sent,
            Output::Event(_) => {}
            Output::Transmit(one) => sent.push(one),
        }
    }
}

/// Whether a client with this certificate is connected within three seconds.
fn connects(certificate: DtlsCert) -> bool {
    let mut now = Instant::now();
    let mut client = Rtc::builder()
        .set_crypto_provider(Arc::new(str0m_aws_lc_rs::default_provider()))
        .set_dtls_cert(certificate)
        .build(now);
    client.add_local_candidate(Candidate::host(address(1), "udp").unwrap());
    let mut api = client.sdp_api();
    api.add_media(StrKind::Audio, Direction::SendOnly, None, None, None);
    let (offer, pending) = api.apply().unwrap();
    let (crypto, candidates) = (Crypto::shared(Instant::now()).unwrap(), [address(9)]);
    let (mut transport, answer) = Transport::accept(
        now,
        TransportRole::Send,
        &offer.to_sdp_string(),
        credentials(1),
        settings(&crypto, &candidates),
    )
    .unwrap();
    let answer = SdpAnswer::from_sdp_string(&answer).unwrap();
    client.sdp_api().accept_answer(pending, answer).unwrap();
    for _ in 0..300 {
        now += Duration::from_millis(10);
        let (mut out, mut received) = (Outbox::default(), Vec::new());
        client.handle_input(Input::Timeout(now)).unwrap();
        let mut up = sent(&mut client);
        loop {
            for one in up.drain(..) {
                let pair = udp(one.source, one.destination);
                transport.receive(now, &pair, &one.contents, &mut out, &mut received);
            }
            transport.drive(now, &mut out, &mut received);
            if out.transmits.is_empty() {
                break;
            }
            for one in out.transmits.drain(..) {
                let (from, to) = (one.local, one.destination);
                let receive = Receive::new(Protocol::Udp, from, to, &one.contents).unwrap();
                client.handle_input(Input::Receive(now, receive)).unwrap();
                up.extend(sent(&mut client));
            }
        }
    }
    transport.connected && client.is_connected()
}

/// DT-05: a client whose certificate is expired, not valid yet, or not rightly signed is connected like any
/// other.
#[test]
fn dt_05_the_fingerprint_decides_not_dates_or_signatures() {
    for (from, until) in [
        (b"250101000000Z", b"480101000000Z"),
        (b"000101000000Z", b"010101000000Z"),
        (b"480101000000Z", b"490101000000Z"),
    ] {
        assert!(connects(valid(from, until)), "{}", String::from_utf8_lossy(until));
    }
}
