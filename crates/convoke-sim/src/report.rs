//! What a run found.

use serde::Serialize;

/// One slot at the end of a run.
#[derive(Debug, Clone, Serialize)]
pub struct SlotLine {
    /// Whose, by index in the scenario.
    pub actor: usize,
    /// Audio or video.
    pub kind: String,
    /// The slot's index among its kind.
    pub index: usize,
    /// Packets received.
    pub packets: u64,
    /// Sequence numbers that never came.
    pub missing: u64,
    /// Changes of source.
    pub switches: u64,
    /// Frames that a decoder could show.
    pub frames_decoded: u64,
    /// Frames of which every packet came.
    pub frames_complete: u64,
    /// Frames that came whole, but could not be decoded.
    pub frames_undecodable: u64,
    /// Pictures shown.
    pub pictures: u64,
    /// Freezes.
    pub freezes: u64,
    /// How long they lasted together, in milliseconds.
    pub frozen_ms: f64,
    /// Changes of size: seconds, width, height.
    pub sizes: Vec<(f64, u16, u16)>,
    /// Changes of layer while the track stayed.
    pub layer_changes: usize,
}

/// A finished run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The scenario.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Workers that each room spanned.
    pub span: usize,
    /// How long messages between them were on their way, in milliseconds.
    pub relay_delay_ms: u128,
    /// Virtual seconds.
    pub virtual_seconds: f64,
    /// Turns of all workers.
    pub turns: u64,
    /// RTP packets that reached the server.
    pub rtp_in: u64,
    /// RTP packets that left it.
    pub rtp_out: u64,
    /// RTP packets received in slots.
    pub received: u64,
    /// Datagrams that links lost.
    pub link_lost: u64,
    /// Sequence numbers that the server skipped.
    pub server_gaps: u64,
    /// Changes of source in slots.
    pub switches: u64,
    /// Keyframe requests that publishers heard.
    pub keyframe_requests: u64,
    /// Pictures in a second, the mean over video slots that are active at the end.
    pub frame_rate: f64,
    /// Freezes in all slots.
    pub freezes: u64,
    /// Changes of layer in all slots while the track stayed.
    pub layer_changes: u64,
    /// The most changes of size of one slot in any minute, once the call had settled.
    pub size_changes_a_minute: usize,
    /// The share of the narrowest downlink's capacity that was used since then: the least.
    pub utilisation: Option<f64>,
    /// The greatest distance of a participant's sound and picture, in milliseconds.
    pub skew_ms: f64,
    /// From the source to the slot, in milliseconds: half of all packets, and all but 1%.
    pub delay_ms_p50: f64,
    /// See `delay_ms_p50`.
    pub delay_ms_p99: f64,
    /// From a join to the first decodable frame of any other participant, in milliseconds.
    pub first_frame_ms: Vec<f64>,
    /// Each slot.
    pub slots: Vec<SlotLine>,
    /// Broken laws, with the virtual time at which they were seen.
    pub violations: Vec<String>,
    /// The same run always has the same digest.
    pub digest: u64,
}

impl Report {
    /// The command that repeats this run.
    #[must_use]
    pub fn replay(&self) -> String {
        let spanning = match (self.span, self.relay_delay_ms) {
            (0 | 1, _) => String::new(),
            (span, delay) => format!(" --span {span} --relay-delay {delay}"),
        };
        format!(
            "cargo run --release -p convoke-sim -- run --scenario {} --seed {}{spanning}",
            self.scenario, self.seed
        )
    }

    /// What is wrong and how to see it again, if something is.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        if self.violations.is_empty() {
            return None;
        }
        let faults: Vec<&str> = self.violations.iter().take(12).map(String::as_str).collect();
        Some(format!(
            "scenario {} broke {} laws with seed {}:\n  {}\nreplay: {}",
            self.scenario,
            self.violations.len(),
            self.seed,
            faults.join("\n  "),
            self.replay()
        ))
    }

    /// One line for people.
    #[must_use]
    pub fn line(&self) -> String {
        let first = self.first_frame_ms.iter().copied().fold(0.0, f64::max);
        let used =
            self.utilisation.map_or("   -".to_owned(), |used| format!("{:3.0}%", used * 100.0));
        format!(
            "{:<28} seed {:<6} {:>5.1}s {:>6} in {:>7} out {:>6} lost {:>5.1} fps {:>3} freezes \
             {:>2} sizes/min {used} used {:>5.1} ms skew {:>4} keys delay {:>5.1}/{:>6.1} ms \
             first {:>6.0} ms {}",
            self.scenario,
            self.seed,
            self.virtual_seconds,
            self.rtp_in,
            self.rtp_out,
            self.link_lost,
            self.frame_rate,
            self.freezes,
            self.size_changes_a_minute,
            self.skew_ms,
            self.keyframe_requests,
            self.delay_ms_p50,
            self.delay_ms_p99,
            first,
            if self.violations.is_empty() { "ok" } else { "BROKEN" }
        )
    }
}
