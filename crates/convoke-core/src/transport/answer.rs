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

use std::fmt::Write as _;

use crate::api::MediaKind;

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
}

/// Restarts that count.
const RESTARTS_MAX: u32 = 99;

/// Below 2^23, where clients' own begin: relayed ones have a type preference of 0, and use its bits from
/// the highest down. The order among ours is that of their local preferences.
fn priority(of_str0m: u32, restarts: u32) -> u32 {
    ((restarts.min(RESTARTS_MAX) + 1) << 16) | ((of_str0m >> 8) & 0xffff)
}

impl Rewrite<'_> {
    /// The answer with the changes made.
    pub(crate) fn apply(&self, answer: &str) -> String {
        let candidates: Vec<String> = answer
            .lines()
            .filter(|line| line.starts_with("a=candidate:"))
            .map(|line| self.candidate(line))
            .collect();
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
        for line in section {
            self.line(out, slot, line);
        }
        let rejected =
            section.first().and_then(|m| m.split(' ').nth(1)).is_none_or(|port| port == "0");
        let has_candidates = section.iter().any(|line| line.starts_with("a=candidate:"));
        if !rejected && !has_candidates {
            for candidate in candidates {
                push_line(out, candidate);
            }
            push_line(out, "a=end-of-candidates");
        }
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
        if line.starts_with("a=candidate:") {
            return push_line(out, &self.candidate(line));
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
        let out = Rewrite { slots: &slots, credentials: Some(("new", "newpwd")), restarts: 0 }
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
        let out = Rewrite { slots: &[], credentials: None, restarts: 0 }.apply(ANSWER);
        assert!(out.contains("a=msid:rand om\r\n") && out.contains("a=ice-ufrag:old\r\n"));
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
        let rewrite = Rewrite { slots: &[], credentials: None, restarts: 1 };
        let line = "a=candidate:1 1 udp 2130706175 10.0.0.1 9 typ host ufrag abcd";
        let want =
            format!("a=candidate:1 1 udp {} 10.0.0.1 9 typ host ufrag abcd", priority(first, 1));
        assert_eq!(rewrite.candidate(line), want);
    }
}
