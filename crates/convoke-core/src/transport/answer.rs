//! What we change in str0m's SDP answers: one place.
//!
//! Owns: our own msid per slot, candidates in every section and their priorities, replaced ICE credentials.
//! Never: changes what was negotiated (codecs, extensions, directions).
//!
//! - str0m mirrors or invents an msid per m-line. Slots of the same index must share one media
//!   stream id so that browsers lip-sync them (RFC 8830 §2, W3C WebRTC §5.1).
//! - Some stacks read candidates only from the last section of a bundle, str0m writes them only
//!   into the first.
//! - Chromium keeps to its pair of before an ICE restart for as long as that ranks highest, which is until
//!   nothing came by it for 3.5 s. A pair ranks by the lower priority of its two ends first (RFC 8445
//!   §6.1.2.3): ours is lower than those of clients, and higher after each restart.
//! - Addresses that a NAT gives us are told, but no datagram names them when it comes here, so that str0m
//!   has no use for them as candidates.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::api::{MediaKind, Reflexive};

/// A slot's place in the answer.
pub(crate) struct SlotLine<'a> {
    pub(crate) mid: &'a str,
    pub(crate) kind: MediaKind,
    pub(crate) index: usize,
}

/// The changes to make.
pub(crate) struct Rewrite<'a> {
    pub(crate) slots: &'a [SlotLine<'a>],
    /// New (ufrag, pwd), where str0m drew its own.
    pub(crate) credentials: Option<(&'a str, &'a str)>,
    /// ICE restarts so far.
    pub(crate) restarts: u32,
    /// What is told beside the candidates that str0m knows.
    pub(crate) reflexive: &'a Reflexive,
}

/// Restarts that count.
const RESTARTS_MAX: u32 = 99;

/// The highest local preference of what a NAT gives us: less than str0m's of our own by UDP (from 65,535
/// down), more than its of TCP (RFC 6544 §4.2, below 40,960 for passive ones); and so for TCP.
const REFLEXIVE_UDP: u16 = 0xc000;
const REFLEXIVE_TCP: u16 = 0x1000;

/// Below 2^23, where clients' own begin: relayed ones have a type preference of 0, and use its bits from
/// the highest down. The order among ours is that of their local preferences.
fn priority(of_str0m: u32, restarts: u32) -> u32 {
    from_preference((of_str0m >> 8) & 0xffff, restarts)
}

fn from_preference(local: u32, restarts: u32) -> u32 {
    ((restarts.min(RESTARTS_MAX) + 1) << 16) | local
}

/// An address, the highest preference of its kind, its protocol, and how its line ends.
type Told<'a> = (&'a SocketAddr, u16, &'static str, &'static str);

impl Rewrite<'_> {
    /// The answer with the changes made.
    pub(crate) fn apply(&self, answer: &str) -> String {
        let known = answer.lines().filter(|line| line.starts_with("a=candidate:"));
        let known = known.map(|line| self.candidate(line));
        let candidates: Vec<String> = known.chain(self.reflexive()).collect();
        let mut out = String::with_capacity(answer.len() + answer.len() / 4);
        let mut sections = split_sections(answer).into_iter();
        if let Some(session) = sections.next() {
            for line in session {
                self.line(&mut out, None, line);
            }
        }
        for section in sections {
            self.section(&mut out, &section, &candidates);
        }
        out
    }

    fn section(&self, out: &mut String, section: &[&str], candidates: &[String]) {
        let mid = section.iter().find_map(|line| line.strip_prefix("a=mid:"));
        let slot = self.slots.iter().find(|slot| Some(slot.mid) == mid);
        let of_candidates = ["a=candidate:", "a=end-of-candidates"];
        for line in section {
            if !of_candidates.iter().any(|start| line.starts_with(start)) {
                self.line(out, slot, line);
            }
        }
        let rejected =
            section.first().and_then(|m| m.split(' ').nth(1)).is_none_or(|port| port == "0");
        if !rejected {
            for candidate in candidates {
                push_line(out, candidate);
            }
            push_line(out, "a=end-of-candidates");
        }
    }

    /// The lines of what a NAT gives us, as host candidates: clients need no base (RFC 8839 §5.1) to send
    /// there.
    fn reflexive(&self) -> impl Iterator<Item = String> {
        let line = |(number, (address, first, protocol, end)): (usize, Told<'_>)| {
            let behind = u16::try_from(number).unwrap_or(u16::MAX);
            let preference = first.saturating_sub(behind);
            let priority = from_preference(preference.into(), self.restarts);
            let (ip, port) = (address.ip(), address.port());
            format!("a=candidate:nat{number} 1 {protocol} {priority} {ip} {port} typ host{end}")
        };
        let Reflexive { udp, tcp } = self.reflexive;
        let udp = udp.iter().map(|address| (address, REFLEXIVE_UDP, "udp", ""));
        let tcp = tcp.iter().map(|address| (address, REFLEXIVE_TCP, "tcp", " tcptype passive"));
        udp.chain(tcp).enumerate().map(line)
    }

    /// With its priority, and the user name fragment that it may name (RFC 8839 §5.1).
    fn candidate(&self, line: &str) -> String {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if let Some(word) = words.get_mut(3)
            && let Ok(of_str0m) = word.parse()
        {
            *word = priority(of_str0m, self.restarts).to_string();
        }
        let named = words.iter().position(|word| word == "ufrag");
        if let (Some(at), Some((ufrag, _))) = (named, self.credentials)
            && let Some(word) = words.get_mut(at + 1)
        {
            ufrag.clone_into(word);
        }
        words.join(" ")
    }

    fn line(&self, out: &mut String, slot: Option<&SlotLine<'_>>, line: &str) {
        if let Some((ufrag, pwd)) = self.credentials {
            if line.starts_with("a=ice-ufrag:") {
                return push_line(out, &format!("a=ice-ufrag:{ufrag}"));
            }
            if line.starts_with("a=ice-pwd:") {
                return push_line(out, &format!("a=ice-pwd:{pwd}"));
            }
        }
        if line.starts_with("a=msid-semantic:") {
            return push_line(out, "a=msid-semantic: WMS *");
        }
        let Some(slot) = slot else { return push_line(out, line) };
        if line.starts_with("a=msid:") {
            out.push_str("a=msid:");
            return msid(out, slot);
        }
        match line.strip_prefix("a=ssrc:").and_then(|rest| rest.split_once(' ')) {
            Some((ssrc, attribute)) if attribute.starts_with("msid:") => {
                let _ = write!(out, "a=ssrc:{ssrc} msid:");
                msid(out, slot);
            }
            _ => push_line(out, line),
        }
    }
}

fn msid(out: &mut String, slot: &SlotLine<'_>) {
    let kind = match slot.kind {
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
    };
    let _ = write!(out, "slot-{} {kind}-{}\r\n", slot.index, slot.index);
}

fn push_line(out: &mut String, line: &str) {
    out.push_str(line);
    out.push_str("\r\n");
}

/// The session part and then each section, as lines without their ends.
fn split_sections(sdp: &str) -> Vec<Vec<&str>> {
    let mut sections = vec![Vec::new()];
    for line in sdp.lines() {
        if line.starts_with("m=") {
            sections.push(Vec::new());
        }
        if let Some(section) = sections.last_mut() {
            section.push(line);
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Reflexive = Reflexive { udp: Vec::new(), tcp: Vec::new() };

    const ANSWER: &str = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
        a=group:BUNDLE 0 1\r\na=msid-semantic: WMS x y\r\na=ice-lite\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=candidate:1 1 udp 1 127.0.0.1 5 typ host ufrag old\r\n\
        a=end-of-candidates\r\na=ice-ufrag:old\r\na=ice-pwd:oldpwd\r\na=mid:0\r\n\
        a=msid:rand om\r\na=ssrc:7 cname:c\r\na=ssrc:7 msid:rand om\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=msid:other rand\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:2\r\n";

    #[test]
    fn slots_of_one_index_share_a_stream_and_every_section_has_candidates() {
        let slots = [
            SlotLine { mid: "0", kind: MediaKind::Audio, index: 0 },
            SlotLine { mid: "1", kind: MediaKind::Video, index: 0 },
        ];
        let out = Rewrite {
            slots: &slots,
            credentials: Some(("new", "newpwd")),
            restarts: 0,
            reflexive: &NONE,
        }
        .apply(ANSWER);
        assert!(out.contains("a=msid:slot-0 audio-0\r\n"));
        assert!(out.contains("a=ssrc:7 msid:slot-0 audio-0\r\n"));
        assert!(out.contains("a=msid:slot-0 video-0\r\n"));
        assert!(out.contains("a=ssrc:7 cname:c\r\n"));
        assert!(out.contains("a=ice-ufrag:new\r\n") && out.contains("a=ice-pwd:newpwd\r\n"));
        assert!(!out.contains("old"));
        assert_eq!(out.matches("a=candidate:").count(), 2, "not in the rejected section");
    }

    #[test]
    fn nothing_to_change_changes_only_the_semantic_line_and_candidates() {
        let out =
            Rewrite { slots: &[], credentials: None, restarts: 0, reflexive: &NONE }.apply(ANSWER);
        assert!(out.contains("a=msid:rand om\r\n") && out.contains("a=ice-ufrag:old\r\n"));
    }

    #[test]
    fn what_a_nat_gives_us_is_told_in_every_section_after_our_own() {
        let reflexive = Reflexive {
            udp: vec!["203.0.113.7:40000".parse().unwrap(), "[2001:db8::7]:40000".parse().unwrap()],
            tcp: vec!["203.0.113.7:7882".parse().unwrap()],
        };
        let rewrite = Rewrite { slots: &[], credentials: None, restarts: 0, reflexive: &reflexive };
        let out = rewrite.apply(ANSWER);
        let candidates: Vec<_> = out.lines().filter(|l| l.starts_with("a=candidate:")).collect();
        let want = [
            "a=candidate:nat0 1 udp 114688 203.0.113.7 40000 typ host",
            "a=candidate:nat1 1 udp 114687 2001:db8::7 40000 typ host",
            "a=candidate:nat2 1 tcp 69630 203.0.113.7 7882 typ host tcptype passive",
        ];
        assert_eq!(candidates.len(), 8, "twice, and not in the rejected section: {out}");
        assert_eq!((&candidates[1..4], &candidates[5..8]), (&want[..], &want[..]));
        assert_eq!(out.matches("a=end-of-candidates").count(), 2);
        for line in want {
            let attribute = line.trim_start_matches("a=");
            assert!(str0m::Candidate::from_sdp_string(attribute).is_ok(), "{line}");
        }
        let of_str0m = |local: u32| priority((126 << 24) | (local << 8) | 255, 0);
        assert!(of_str0m(0xfffe) > 114_688 && 114_687 > of_str0m(0x9fff));
    }

    #[test]
    fn priorities_rise_with_restarts_and_stay_below_those_of_clients() {
        let (first, second) = (2_130_706_175, 2_130_705_919);
        for restarts in 0..RESTARTS_MAX {
            assert!(priority(first, restarts) > priority(second, restarts));
            assert!(priority(second, restarts + 1) > priority(first, restarts));
        }
        let most = priority(u32::MAX, u32::MAX);
        assert!(most < 1 << 23, "{most}");
        assert_eq!(most, priority(u32::MAX, RESTARTS_MAX));
        let rewrite = Rewrite { slots: &[], credentials: None, restarts: 1, reflexive: &NONE };
        let line = "a=candidate:1 1 udp 2130706175 10.0.0.1 9 typ host ufrag abcd";
        let want =
            format!("a=candidate:1 1 udp {} 10.0.0.1 9 typ host ufrag abcd", priority(first, 1));
        assert_eq!(rewrite.candidate(line), want);
    }
}
