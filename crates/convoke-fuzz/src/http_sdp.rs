//! The bodies that WHIP and WHEP clients send.

use convoke_protocol::http::{Way, answer_fragment, read_fragment, read_offer};

/// What the first byte says that the rest is.
const PUBLISHES: u8 = b'P';
const WATCHES: u8 = b'W';

/// Reads `bytes` as an offer or as an ICE fragment. An offer that was taken is taken again as it was
/// written, also after an ICE restart.
pub fn http_sdp(bytes: &[u8]) {
    let _ = http_sdp_taken(bytes);
}

/// Whether it was taken.
///
/// # Panics
/// When a promise is broken.
#[must_use]
pub fn http_sdp_taken(bytes: &[u8]) -> bool {
    let Some((kind, rest)) = bytes.split_first() else { return false };
    let Ok(text) = std::str::from_utf8(rest) else { return false };
    let way = match *kind {
        PUBLISHES => Way::Publish,
        WATCHES => Way::Watch,
        _ => {
            let read = read_fragment(text);
            if let Err(error) = &read {
                assert!((1..500).contains(&error.to_string().len()), "{error}");
            }
            return read.is_ok();
        }
    };
    match read_offer(text, way) {
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
        Ok(offer) => {
            assert!(offer.audio.is_some() || offer.video.is_some());
            assert_eq!(offer.video.is_some(), offer.video_at.is_some());
            assert_eq!(read_offer(&offer.sdp, way).as_ref(), Ok(&offer));
            let again = offer.restarted("fresh", "a+fresh+password+of+22+chars");
            assert_eq!(read_offer(&again.sdp, way).as_ref(), Ok(&again));
            let answer = answer_fragment(&again.sdp);
            // What an offer may repeat, a fragment may not.
            if let Ok(fragment) = read_fragment(&answer) {
                assert_eq!(fragment.candidates, 0);
                assert!(fragment.credentials.is_none_or(|(ufrag, _)| ufrag == "fresh"));
            }
            true
        }
    }
}
