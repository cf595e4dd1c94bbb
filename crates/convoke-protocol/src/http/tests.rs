use proptest::prelude::*;

use super::*;

/// What a browser offers, shortened.
const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 AA\r\n\
    a=setup:actpass\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n\
    m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=bundle-only\r\na=ice-ufrag:abcd\r\n\
    a=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 AA\r\na=mid:1\r\na=sendonly\r\n\
    a=rtcp-mux\r\n";

fn without(line: &str) -> String {
    assert!(OFFER.contains(line));
    OFFER.replace(line, "")
}

#[test]
fn a_good_offer_is_taken_in_the_one_direction() {
    let offer = read_offer(OFFER, Way::Publish).unwrap();
    assert_eq!((offer.audio.as_deref(), offer.video.as_deref()), (Some("0"), Some("1")));
    assert_eq!((&*offer.ufrag, &*offer.pwd), ("abcd", "0123456789012345678901"));
    assert_eq!(offer.sdp.matches("a=sendonly\r\n").count(), 2);
    assert!(!offer.sdp.contains("a=sendrecv"));
    let unix = OFFER.replace("\r\n", "\n");
    assert_eq!(read_offer(&unix, Way::Publish).unwrap(), offer, "line ends do not matter");
    // Without a word on direction it is both (RFC 8866 §6.7).
    let silent = without("a=sendrecv\r\n").replace("a=sendonly\r\n", "");
    assert_eq!(read_offer(&silent, Way::Publish).unwrap().sdp, offer.sdp);
    let watched = read_offer(&silent, Way::Watch).unwrap();
    assert_eq!(watched.sdp.matches("a=recvonly\r\n").count(), 2);
}

#[test]
fn a_restart_changes_the_credentials_and_drops_candidates() {
    let offer = read_offer(OFFER, Way::Publish).unwrap();
    let again = offer.restarted("wxyz", "9876543210987654321098");
    assert_eq!(again.sdp.matches("a=ice-ufrag:wxyz\r\n").count(), 2);
    assert_eq!(again.sdp.matches("a=ice-pwd:9876543210987654321098\r\n").count(), 2);
    assert!(!again.sdp.contains("abcd") && !again.sdp.contains("candidate"));
    assert_eq!(read_offer(&again.sdp, Way::Publish).unwrap(), again);
}

#[test]
fn what_is_no_sdp_is_malformed_and_what_does_not_fit_is_unsuitable() {
    let malformed = [
        String::new(),
        "hello".to_owned(),
        format!("{OFFER}rubbish\r\n"),
        OFFER.replace("m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=audio"),
        OFFER.replace("a=sendrecv", "a=x:\u{7}"),
    ];
    for text in malformed {
        let error = read_offer(&text, Way::Publish).unwrap_err();
        assert!(matches!(error, OfferError::Malformed(_)), "{text}: {error}");
    }
    let video = OFFER.split_once("m=video").unwrap().1;
    let unsuitable = [
        "v=0\r\n".to_owned(),
        without("a=rtcp-mux\r\n"),
        without("a=fingerprint:sha-256 AA\r\n"),
        without("a=mid:1\r\n"),
        without("a=group:BUNDLE 0 1\r\n"),
        without("a=bundle-only\r\n"),
        OFFER.replace("BUNDLE 0 1", "BUNDLE 0"),
        without("a=ice-pwd:0123456789012345678901\r\n"),
        OFFER.replace("a=ice-ufrag:abcd", "a=ice-ufrag:abc"),
        OFFER.replacen("a=ice-ufrag:abcd", "a=ice-ufrag:abce", 1),
        OFFER.replace("a=sendonly", "a=recvonly"),
        OFFER.replace("a=sendrecv", "a=inactive"),
        OFFER.replace("m=video 0 UDP/TLS/RTP/SAVPF", "m=application 0 UDP/DTLS/SCTP"),
        format!("{OFFER}m=video{}", video.replace("mid:1", "mid:2")),
    ];
    for text in unsuitable {
        let error = read_offer(&text, Way::Publish).unwrap_err();
        assert!(matches!(error, OfferError::Unsuitable(_)), "{text}: {error}");
    }
    let error = read_offer(&OFFER.replace("a=sendrecv", "a=sendonly"), Way::Watch).unwrap_err();
    assert_eq!(error.to_string(), "m-line 0 is `sendonly`; offer `recvonly`");
}

#[test]
fn fragments_are_read_as_rfc_9725_shows_them() {
    let text = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
        a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
        a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw\r\n\
        a=candidate:473322822 1 tcp 1518280447 x.local 9 typ host tcptype active\r\n\
        a=end-of-candidates\r\n";
    let fragment = read_fragment(text).unwrap();
    let credentials = ("EsAw".to_owned(), "P2uYro0UCOQ4zxjKXaWCBui1".to_owned());
    assert_eq!(fragment.credentials, Some(credentials));
    assert_eq!((fragment.candidates, &fragment.mids[..]), (2, &["0".to_owned()][..]));
    assert_eq!(read_fragment("a=end-of-candidates").unwrap(), Fragment::default());
}

#[test]
fn bad_fragments_are_refused_with_their_line() {
    for (text, at) in [
        ("", "empty"),
        ("hello", "line 1"),
        ("a=ice-ufrag:abc", "line 1"),
        ("a=ice-ufrag:abcd\na=ice-pwd:short", "line 2"),
        ("a=ice-ufrag:abcd", "together"),
        ("a=ice-ufrag:abcd\na=ice-ufrag:abce", "different"),
        ("m=audio 9", "line 1"),
        ("a=mid:0\na=mid:0", "line 2"),
        ("a=candidate:", "foundation"),
        ("a=candidate:1 0 udp 1 10.0.0.1 9 typ host", "component"),
        ("a=candidate:1 1 udp 0 10.0.0.1 9 typ host", "priority"),
        ("a=candidate:1 1 udp 1 10.0.0.1 65536 typ host", "port"),
        ("a=candidate:1 1 udp 1 10.0.0.1 9 typ", "typ"),
        ("a=candidate:1 1", "transport"),
    ] {
        let error = read_fragment(text).unwrap_err().to_string();
        assert!(error.contains(at), "{text}: {error}");
    }
}

#[test]
fn the_answer_to_a_restart_has_the_first_section_alone() {
    let answer =
        format!("{}a=end-of-candidates\r\n", OFFER.replace("a=group", "a=ice-lite\r\na=group"));
    let text = answer_fragment(&answer);
    let wanted = "a=ice-lite\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
        a=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\na=ice-ufrag:abcd\r\n\
        a=ice-pwd:0123456789012345678901\r\na=mid:0\r\n";
    assert_eq!(text, wanted);
    assert_eq!(read_fragment(&text).unwrap().candidates, 1);
}

proptest! {
    #[test]
    fn no_text_is_too_bad(text in "\\PC{0,200}", cut in 0..OFFER.len(), with in "\\PC{0,8}") {
        let _ = read_fragment(&text);
        let _ = read_offer(&text, Way::Watch);
        let broken = format!("{}{with}{}", &OFFER[..cut], &OFFER[cut..]);
        let _ = read_fragment(&broken);
        if let Ok(offer) = read_offer(&broken, Way::Publish) {
            prop_assert_eq!(read_offer(&offer.sdp, Way::Publish), Ok(offer));
        }
    }
}
