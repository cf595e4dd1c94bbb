//! What the payload types of a peer's offers mean.
//!
//! Owns: the check that each means one thing, in all bundled m-lines and for as long as the transport
//! lives (RFC 9143 §9.1, RFC 3264 §8.3.2).
//! Never: chooses codecs.
//!
//! str0m relies on it: two codecs with one payload type are a panic there.

use super::negotiate::sections;

/// The parameters that tell two configurations of one codec apart (RFC 6184 §8.1, RFC 9628 §7, AV1 RTP
/// §7.2), and what a retransmission belongs to (RFC 4588 §8.1). Others, such as Opus's `stereo`, may
/// differ.
const TELL_APART: [&str; 5] =
    ["profile-level-id", "packetization-mode", "profile-id", "profile", "apt"];

/// What each payload type means, by its number.
#[derive(Debug, Default, Clone)]
pub(super) struct PayloadTypes {
    /// Sorted: of each the encoding, and the parameters that tell apart.
    known: Vec<(u8, String)>,
}

impl PayloadTypes {
    /// Takes an offer's, too. Of one that means something else than before the number is returned, and
    /// this is of no more use.
    pub(super) fn read(&mut self, offer: &str) -> Result<(), u8> {
        for section in sections(offer) {
            let lines: Vec<&str> = section.collect();
            let mut here: Vec<(u8, String)> = Vec::new();
            for value in lines.iter().filter_map(|line| line.strip_prefix("a=rtpmap:")) {
                let Some((number, encoding)) = numbered(value) else { continue };
                let meaning = encoding.trim().to_ascii_lowercase();
                match here.iter().find(|(known, _)| *known == number) {
                    Some((_, known)) if *known != meaning => return Err(number),
                    Some(_) => {}
                    None => here.push((number, meaning)),
                }
            }
            for value in lines.iter().filter_map(|line| line.strip_prefix("a=fmtp:")) {
                let Some((number, parameters)) = numbered(value) else { continue };
                let Some((_, meaning)) = here.iter_mut().find(|(of, _)| *of == number) else {
                    continue;
                };
                let parameters = parameters.to_ascii_lowercase();
                let mut telling: Vec<&str> = parameters
                    .split(';')
                    .map(str::trim)
                    .filter(|one| TELL_APART.contains(&one.split('=').next().unwrap_or("").trim()))
                    .collect();
                telling.sort_unstable();
                for one in telling {
                    meaning.push(';');
                    meaning.push_str(one);
                }
            }
            for (number, meaning) in here {
                match self.known.binary_search_by_key(&number, |(known, _)| *known) {
                    Ok(at) if self.known.get(at).is_some_and(|(_, known)| *known != meaning) => {
                        return Err(number);
                    }
                    Ok(_) => {}
                    Err(at) => self.known.insert(at, (number, meaning)),
                }
            }
        }
        Ok(())
    }
}

/// The number before the first space, and what follows.
fn numbered(value: &str) -> Option<(u8, &str)> {
    let (number, rest) = value.split_once(' ')?;
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(lines: &[&str]) -> String {
        format!("v=0\r\n{}\r\n", lines.join("\r\n"))
    }

    const M: &str = "m=video 9 UDP/TLS/RTP/SAVPF 39 40";
    const H264: &str = "a=rtpmap:39 H264/90000";
    const MAIN: &str = "a=fmtp:39 packetization-mode=1;profile-level-id=4d001f";

    #[test]
    fn one_meaning_in_all_lines_and_offers_is_taken() {
        let same = "a=fmtp:39 profile-level-id=4D001F; packetization-mode=1;x-google-min-bitrate=9";
        let mut types = PayloadTypes::default();
        assert_eq!(types.read(&offer(&[M, H264, MAIN, M, "a=rtpmap:39 h264/90000", same])), Ok(()));
        assert_eq!(types.read(&offer(&[M, H264, MAIN, "a=rtpmap:40 VP8/90000"])), Ok(()));
        let stereo = [M, "a=rtpmap:111 opus/48000/2", M, "a=rtpmap:111 opus/48000/2"];
        assert_eq!(types.read(&offer(&[&stereo[..], &["a=fmtp:111 stereo=1"]].concat())), Ok(()));
    }

    #[test]
    fn two_meanings_are_named() {
        let vp8 = "a=rtpmap:39 VP8/90000";
        for other in [
            &[M, vp8][..],
            &[M, H264],
            &[M, H264, "a=fmtp:39 packetization-mode=0;profile-level-id=4d001f"],
            &[M, H264, "a=fmtp:39 profile-level~id=4d001f;packetization-mode=1"],
            &[M, H264, MAIN, vp8],
        ] {
            let both = [&[M, H264, MAIN][..], other].concat();
            assert_eq!(PayloadTypes::default().read(&offer(&both)), Err(39), "{other:?}");
            let mut types = PayloadTypes::default();
            assert_eq!(types.read(&offer(&[M, H264, MAIN])), Ok(()));
            assert_eq!(types.read(&offer(other)), Err(39), "later: {other:?}");
        }
    }
}
