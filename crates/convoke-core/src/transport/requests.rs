//! Requests to send again, before str0m sees them.
//!
//! Owns: which numbers of a generic NACK (RFC 4585 §6.2.1) are worth an answer: none within most of a round
//! trip of its last, nor more than a few times in all.
//! Never: answers; reads anything that was not authenticated.
//!
//! str0m sends a packet again each time that it is asked to, and says nothing of what it was asked. What
//! its cipher opened is seen here first (see [`super::opened`]), and the numbers that are not worth an answer
//! are replaced in it.

use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

/// A request that follows so soon was not made because the answer is lost, whatever the round trip.
const AGAIN_MIN: Duration = Duration::from_millis(5);
/// A packet is sent again so often at most.
const TIMES_MAX: u8 = 6;
/// A packet is not kept longer than this, so its requests need not be either.
const FORGET: Duration = Duration::from_secs(3);
/// Requests that are remembered; further ones wait until some are forgotten.
const REMEMBERED_MAX: usize = 2_048;

/// Payload type of transport-layer feedback, and its format for generic NACKs (RFC 4585 §6.1).
const RTPFB: u8 = 205;
const NACK: u8 = 1;

/// What one peer asked for lately.
#[derive(Debug, Default)]
pub(super) struct Requests {
    answered: FxHashMap<(u32, u16), (Instant, u8)>,
    rtt: Duration,
    now: Option<Instant>,
    /// The first eight bytes of the datagram, which are not encrypted (RFC 3711 §3.4).
    head: [u8; 8],
}

impl Requests {
    /// The round trip, as receiver reports say.
    pub(super) fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = rtt;
    }

    /// A datagram of RTCP is about to be opened.
    pub(super) fn begin(&mut self, now: Instant, datagram: &[u8]) {
        self.now = Some(now);
        self.head = datagram.first_chunk().copied().unwrap_or_default();
    }

    /// Takes what needs no answer out of a compound packet, given without its first eight bytes.
    pub(super) fn sift(&mut self, opened: &mut [u8]) {
        let Some(now) = self.now else { return };
        let [a, b, c, d, ..] = self.head;
        // The body of the first packet begins where its sender's SSRC ends.
        let (mut at, mut head, mut skipped) = (0, [a, b, c, d], 8);
        loop {
            let [first, kind, high, low] = head;
            if first >> 6 != 2 {
                return; // padding of the cipher
            }
            let length = 4 * (usize::from(u16::from_be_bytes([high, low])) + 1);
            let end = at + length.saturating_sub(skipped);
            let Some(packet) = opened.get_mut(at..end) else { return };
            if (first & 0x1f, kind) == (NACK, RTPFB)
                && let Some(body) = packet.get_mut(8 - skipped.min(8)..)
            {
                self.sift_nack(now, body);
            }
            let Some(next) = opened.get(end..).and_then(|rest| rest.first_chunk()) else { return };
            (at, head, skipped) = (end, *next, 0);
        }
    }

    /// From the SSRC of the media on.
    fn sift_nack(&mut self, now: Instant, body: &mut [u8]) {
        let Some((ssrc, entries)) = body.split_first_chunk_mut::<4>() else { return };
        let ssrc = u32::from_be_bytes(*ssrc);
        for entry in entries.as_chunks_mut::<4>().0 {
            let [a, b, c, d] = *entry;
            let (first, mask) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            let after = (0..16u16).filter(|bit| mask >> bit & 1 == 1);
            let asked = std::iter::once(first).chain(after.map(|bit| first.wrapping_add(bit + 1)));
            let (mut kept, mut rest) = (None, 0);
            for number in asked {
                if !self.is_worth(now, ssrc, number) {
                    continue;
                }
                match kept {
                    None => kept = Some(number),
                    Some(kept) => rest |= 1u16 << (number.wrapping_sub(kept) - 1),
                }
            }
            // An entry must name something: what is half the numbers away is not kept.
            let kept = kept.unwrap_or(first.wrapping_add(0x8000));
            let ([a, b], [c, d]) = (kept.to_be_bytes(), rest.to_be_bytes());
            *entry = [a, b, c, d];
        }
    }

    fn is_worth(&mut self, now: Instant, ssrc: u32, number: u16) -> bool {
        if let Some((last, times)) = self.answered.get_mut(&(ssrc, number)) {
            let since = now.saturating_duration_since(*last);
            if since >= FORGET {
                *times = 0;
            } else if since < (self.rtt * 3 / 4).max(AGAIN_MIN) || *times >= TIMES_MAX {
                // Peers repeat after a round trip by their own measure.
                return false;
            }
            (*last, *times) = (now, *times + 1);
            return true;
        }
        if self.answered.len() >= REMEMBERED_MAX {
            let young = |(last, _): &(Instant, u8)| now.saturating_duration_since(*last) < FORGET;
            self.answered.retain(|_, answered| young(answered));
            if self.answered.len() >= REMEMBERED_MAX {
                return false;
            }
        }
        self.answered.insert((ssrc, number), (now, 1));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    /// A compound packet: a receiver report without blocks if `reports`, then a NACK.
    fn compound(reports: bool, ssrc: u32, entries: &[(u16, u16)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        if reports {
            bytes.extend([0x80, 201, 0, 1, 0, 0, 0, 1]);
        }
        bytes.extend([0x81, RTPFB, 0, 2 + entries.len() as u8, 0, 0, 0, 1]);
        bytes.extend(ssrc.to_be_bytes());
        for (first, mask) in entries {
            bytes.extend(first.to_be_bytes());
            bytes.extend(mask.to_be_bytes());
        }
        bytes
    }

    /// What is asked for, as str0m would read it.
    fn asked(bytes: &[u8], entries: usize) -> Vec<u16> {
        let from = bytes.len() - 4 * entries;
        let entry =
            |e: &[u8; 4]| (u16::from_be_bytes([e[0], e[1]]), u16::from_be_bytes([e[2], e[3]]));
        let numbers = |(first, mask): (u16, u16)| {
            let after = (0..16).filter(move |bit| mask >> bit & 1 == 1);
            std::iter::once(first).chain(after.map(move |bit| first.wrapping_add(bit + 1)))
        };
        bytes[from..].as_chunks::<4>().0.iter().map(entry).flat_map(numbers).collect()
    }

    fn sift(requests: &mut Requests, now: Instant, bytes: &[u8], entries: usize) -> Vec<u16> {
        let mut bytes = bytes.to_vec();
        requests.begin(now, &bytes);
        requests.sift(&mut bytes[8..]);
        asked(&bytes, entries)
    }

    #[test]
    fn a_number_is_answered_once_in_a_round_trip_and_a_few_times_in_all() {
        let start = Instant::now();
        for reports in [false, true] {
            let mut requests = Requests::default();
            requests.set_rtt(100 * MS);
            let bytes = compound(reports, 7, &[(10, 0)]);
            let answered = |ms: &u32| sift(&mut requests, start + *ms * MS, &bytes, 1) == [10];
            let at: Vec<u32> = (0..2_000).step_by(10).filter(answered).collect();
            assert_eq!(at, [0, 80, 160, 240, 320, 400]);
            assert_eq!(sift(&mut requests, start + 6_000 * MS, &bytes, 1), [10], "another packet");
            let other = compound(reports, 8, &[(10, 0)]);
            assert_eq!(sift(&mut requests, start + 6_000 * MS, &other, 1), [10], "another stream");
        }
    }

    #[test]
    fn what_is_new_in_an_entry_stays() {
        let start = Instant::now();
        let mut requests = Requests::default();
        sift(&mut requests, start, &compound(false, 7, &[(10, 0b101)]), 1);
        let more = compound(true, 7, &[(10, 0b1111), (10, 0b1)]);
        // 10, 11 and 13 of 10 to 14 were asked for; of the second entry nothing is new.
        assert_eq!(sift(&mut requests, start, &more, 2), [12, 14, 10 + 0x8000]);
    }

    #[test]
    fn what_is_remembered_has_an_end_and_is_forgotten() {
        let start = Instant::now();
        let mut requests = Requests::default();
        let worth = |requests: &mut Requests, now| {
            (0..5_000).filter(|number| requests.is_worth(now, 7, *number)).count()
        };
        assert_eq!(worth(&mut requests, start), REMEMBERED_MAX);
        assert_eq!(worth(&mut requests, start + FORGET), REMEMBERED_MAX);
        assert!(requests.answered.len() <= REMEMBERED_MAX);
    }

    proptest! {
        #[test]
        fn anything_is_borne_and_nothing_but_entries_changes(
            head in any::<[u8; 8]>(), body in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let mut requests = Requests::default();
            let mut sifted = body.clone();
            requests.begin(Instant::now(), &head);
            requests.sift(&mut sifted);
            prop_assert_eq!(sifted.len(), body.len());
            // What was asked for the first time is asked still, but for numbers that were named twice.
            let is_nack = head[0] >> 6 == 2 && head[0] & 0x1f == NACK && head[1] == RTPFB;
            if !is_nack && !body.as_chunks::<4>().0.iter().any(|c| c[1] == RTPFB) {
                prop_assert_eq!(sifted, body);
            }
        }
    }
}
