//! Receiving from servers that offer what they send.
//!
//! Owns: the receive transport that answers, and its slots: one for each m-line that was offered.
//! Never: offers; Convoke's own server never does, other servers do.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use convoke_protocol::{MediaKind, TransportRole};
use str0m::media::Mid;

use super::transport::{Offered, Transport};
use super::{Codec, MediaError, MediaPeer, Slot};

impl MediaPeer {
    /// A peer that only receives, and that answers offers instead of making one.
    #[must_use]
    pub fn answering(video_codecs: Vec<Codec>) -> Self {
        Self {
            send: None,
            receive: None,
            lines: Vec::new(),
            slots: HashMap::new(),
            video_codecs,
            transmits: VecDeque::new(),
            up: VecDeque::new(),
        }
    }

    /// Answers a server's offer of media, from the socket at `local`; for a peer that offered no
    /// slots. Each later offer has the m-lines of those before it.
    ///
    /// # Errors
    /// When the offer cannot be used, or `local` is no usable candidate.
    pub fn answer_offer(
        &mut self,
        now: Instant,
        local: SocketAddr,
        offer: &str,
    ) -> Result<String, MediaError> {
        let transport = match self.receive.take() {
            Some(transport) => transport,
            None => Transport::answering(
                Offered {
                    role: TransportRole::Receive,
                    lines: &[],
                    video: &self.video_codecs,
                    estimate_from_bps: None,
                    descriptor: false,
                    local,
                    data_channel: false,
                },
                now,
            )?,
        };
        let answer = self.receive.insert(transport).answer(offer, now)?;
        let mut counts = [0; 2];
        for (kind, mid) in offered(offer) {
            let place = usize::from(kind == MediaKind::Video);
            let Some(count) = counts.get_mut(place) else { continue };
            let slot = Slot { mid: mid.into(), kind, index: *count };
            self.slots.insert(Mid::from(mid), slot);
            *count += 1;
        }
        Ok(answer)
    }
}

/// The m-lines of an offer, in order.
fn offered(sdp: &str) -> Vec<(MediaKind, &str)> {
    let section = |text: &'_ str| match text.split(' ').next() {
        Some("audio") => Some(MediaKind::Audio),
        Some("video") => Some(MediaKind::Video),
        _ => None,
    };
    let with_mid = |text| {
        let mid = str::lines(text).find_map(|line| line.strip_prefix("a=mid:"))?;
        Some((section(text)?, mid.trim()))
    };
    sdp.split("\nm=").skip(1).filter_map(with_mid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m_lines_are_found_in_order() {
        let sdp = "v=0\r\nm=audio 9 X 111\r\na=mid:0\r\nm=video 9 X 96\r\na=mid:v\r\n\
                   m=application 9 X\r\na=mid:2\r\nm=audio 9 X\r\n";
        assert_eq!(offered(sdp), [(MediaKind::Audio, "0"), (MediaKind::Video, "v")]);
    }

    #[test]
    fn an_offer_is_answered_and_answered_again() {
        let (now, config) = (Instant::now(), |port| {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            super::super::MediaConfig::new(address, address)
        });
        let (_, offers) = MediaPeer::new(config(1), 1, now).expect("offers");
        let offer = offers.send.expect("sends");
        let mut peer = MediaPeer::answering(Codec::VIDEO.to_vec());
        let local = SocketAddr::from(([127, 0, 0, 1], 2));
        for _ in 0..2 {
            let answer = peer.answer_offer(now, local, &offer).expect("answers");
            assert!(answer.contains("a=recvonly"), "{answer}");
        }
        assert_eq!(peer.slots.len(), 4);
        assert!(peer.answer_offer(now, local, "nonsense").is_err());
    }
}
