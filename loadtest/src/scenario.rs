//! What a run does: the scenario file.
//!
//! Owns: every key, its default and its bounds; what is refused, with its line.
//! Never: decides how it is carried out.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};

use crate::report::SUMMARY;
use crate::units::{Count, Rate, Share, Time, VideoCodec};

/// Participants of one run, at most.
pub const PARTICIPANTS_MAX: usize = 5_000;

/// A scenario that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {what}")]
pub struct ScenarioError {
    /// The file, or the shipped scenario's name.
    pub name: String,
    /// What is wrong, with the line where one is to blame.
    pub what: String,
}

/// A scenario file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// How long media is measured, after the warm-up.
    pub duration: Time,
    /// From the last planned join of `[calls]` to the beginning of what is measured.
    #[serde(default = "default_warmup")]
    pub warmup: Time,
    /// Decides what is random.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Who is in which call.
    pub calls: Calls,
    /// What microphones send.
    #[serde(default)]
    pub audio: Audio,
    /// What cameras send.
    #[serde(default)]
    pub video: Video,
    /// What participants want to see and hear.
    #[serde(default)]
    pub view: View,
    /// Participants who come on top while the run is measured.
    pub storm: Option<Storm>,
    /// Leaving and coming back.
    pub churn: Option<Churn>,
    /// Bad networks; a participant has the first whose turn it is.
    #[serde(default, rename = "impair")]
    pub impairments: Vec<Impairment>,
    /// The server, where the load test starts it.
    #[serde(default)]
    pub server: Server,
    /// What must hold: a figure of the summary with `_max` or `_min`, and its bound.
    #[serde(default)]
    pub expect: BTreeMap<Expectation, f64>,
}

/// `[calls]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calls {
    /// Calls at the same time.
    #[serde(default = "one")]
    pub rooms: Count<1, 2_000>,
    /// Participants of each.
    pub participants: Count<1, 5_000>,
    /// How many of them publish; the others only watch. All when absent.
    pub publishers: Option<Count<0, 5_000>>,
    /// Whether those who do not publish could at once, as in an app: they connect to send, too.
    #[serde(default)]
    pub may_publish: bool,
    /// The joins are spread evenly over this time.
    #[serde(default = "default_join_over")]
    pub join_over: Time,
}

/// `[audio]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audio {
    /// Whether publishers have a microphone.
    pub enabled: bool,
    /// The rate of Opus, payload only.
    pub rate: Rate,
    /// How long somebody speaks before the next one does; the others send silence meanwhile.
    pub turn: Time,
}

/// `[video]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Video {
    /// Whether publishers have a camera.
    pub enabled: bool,
    /// The codec.
    pub codec: VideoCodec,
    /// Frames in a second.
    pub fps: Count<1, 60>,
    /// Temporal layers: 1 or 3.
    pub temporal_layers: Count<1, 3>,
    /// The encodings, lowest first; several are simulcast.
    pub encodings: Vec<EncodingSpec>,
}

/// `[[video.encodings]]`
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncodingSpec {
    /// The pictures' height; the width is 16:9.
    pub height: Count<90, 2_160>,
    /// Payload only.
    pub rate: Rate,
}

/// `[view]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct View {
    /// Videos that a participant shows.
    pub tiles: Count<0, 64>,
    /// Voices that a participant hears at once.
    pub voices: Count<0, 16>,
    /// The height at which tiles are shown.
    pub height: Count<0, 2_160>,
    /// The height of the first tile, where it is larger than the others.
    pub first_height: Option<Count<0, 2_160>>,
    /// Participants name the cameras of their tiles; otherwise the server chooses.
    pub named: bool,
    /// Participants turn the page, and wish for other cameras, as often; never when absent.
    pub page_every: Option<Time>,
}

/// `[storm]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storm {
    /// Joins, spread over the rooms.
    pub joins: Count<1, 5_000>,
    /// From the beginning of what is measured.
    #[serde(default)]
    pub after: Time,
    /// They are spread evenly over this time.
    pub over: Time,
    /// Whether they publish, too.
    #[serde(default)]
    pub publish: bool,
}

/// `[churn]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Churn {
    /// How many of the participants come and go.
    #[serde(default = "everyone")]
    pub share: Share,
    /// How long they stay, half to one and a half times.
    pub stay: Time,
    /// How long they are away, half to one and a half times.
    #[serde(default = "default_away")]
    pub away: Time,
}

/// Which way an impairment works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To the server.
    Up,
    /// From the server.
    Down,
    /// Both.
    #[default]
    Both,
}

/// `[[impair]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Impairment {
    /// How many of the participants have it.
    pub share: Share,
    /// Which way.
    #[serde(default)]
    pub direction: Direction,
    /// The share of datagrams that is lost at random.
    #[serde(default = "nobody")]
    pub loss: Share,
    /// One way.
    #[serde(default)]
    pub delay: Time,
    /// Up to so much more, at random; the order is kept.
    #[serde(default)]
    pub jitter: Time,
    /// What the path carries; no limit when absent.
    pub rate: Option<Rate>,
    /// How long a datagram waits for a path with a `rate` before it is dropped.
    #[serde(default = "default_queue")]
    pub queue: Time,
}

/// `[server]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Its media worker threads; what the server chooses when absent.
    pub workers: Option<Count<1, 256>>,
}

/// The name of a bound: a figure of the summary with `_max` or `_min`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Expectation(String);

impl Expectation {
    /// The figure's name.
    #[must_use]
    pub fn figure(&self) -> &str {
        self.0.trim_end_matches("_max").trim_end_matches("_min")
    }

    /// As it stands in the scenario.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whether `value` keeps `bound`.
    #[must_use]
    pub fn holds(&self, value: f64, bound: f64) -> bool {
        if self.0.ends_with("_max") { value <= bound } else { value >= bound }
    }
}

impl<'de> Deserialize<'de> for Expectation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let expectation = Self(name);
        let bounded = ["_max", "_min"].iter().any(|end| expectation.0.ends_with(end));
        if bounded && SUMMARY.contains(&expectation.figure()) {
            return Ok(expectation);
        }
        Err(D::Error::custom(format!(
            "\"{}\" is no figure of the summary with _max or _min; the figures are {}",
            expectation.0,
            SUMMARY.join(", ")
        )))
    }
}

fn one<const LEAST: u64, const MOST: u64>() -> Count<LEAST, MOST> {
    Count(1)
}

fn everyone() -> Share {
    Share(1.0)
}

fn nobody() -> Share {
    Share(0.0)
}

fn default_seed() -> u64 {
    1
}

fn default_warmup() -> Time {
    Time::ms(2_000)
}

fn default_join_over() -> Time {
    Time::ms(1_000)
}

fn default_away() -> Time {
    Time::ms(2_000)
}

fn default_queue() -> Time {
    Time::ms(300)
}

impl Default for Audio {
    fn default() -> Self {
        Self { enabled: true, rate: Rate(32_000), turn: Time::ms(3_000) }
    }
}

impl Default for Video {
    fn default() -> Self {
        let encoding = |height, bps| EncodingSpec { height: Count(height), rate: Rate(bps) };
        Self {
            enabled: true,
            codec: VideoCodec::Vp8,
            fps: Count(30),
            temporal_layers: Count(3),
            encodings: vec![
                encoding(180, 150_000),
                encoding(360, 500_000),
                encoding(720, 1_700_000),
            ],
        }
    }
}

impl Default for View {
    fn default() -> Self {
        Self {
            tiles: Count(9),
            voices: Count(4),
            height: Count(180),
            first_height: None,
            named: false,
            page_every: None,
        }
    }
}

macro_rules! shipped {
    ($($name:literal),*) => {
        /// The scenarios that come with the load test: names and texts.
        pub const SHIPPED: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../scenarios/", $name, ".toml")))),*];
    };
}

shipped!(
    "smoke", "meeting", "webinar", "audio", "storm", "churn", "big", "soak", "lossy", "compare",
    "fanout", "idle"
);

impl Scenario {
    /// Reads a file, or the shipped scenario of that name.
    ///
    /// # Errors
    /// When there is neither, or it cannot be used.
    pub fn load(file: &Path) -> Result<(String, Self), ScenarioError> {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let shown = file.display().to_string();
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => match SHIPPED.iter().find(|(name, _)| *name == shown) {
                Some((_, text)) => (*text).to_owned(),
                None => {
                    let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
                    let names = names.join(", ");
                    let what = format!("{error}; the shipped scenarios are {names}");
                    return Err(ScenarioError { name: shown, what });
                }
            },
        };
        Self::parse(&shown, &text).map(|scenario| (stem, scenario))
    }

    /// Reads a scenario's text; `name` is for errors.
    ///
    /// # Errors
    /// When a key or value is unknown, missing or out of bounds.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScenarioError> {
        let refuse = |what: String| ScenarioError { name: name.to_owned(), what };
        let scenario: Self = toml::from_str(text).map_err(|error| refuse(error.to_string()))?;
        scenario.check().map_err(refuse)?;
        Ok(scenario)
    }

    /// What no single key can tell.
    ///
    /// # Errors
    /// What does not fit together.
    pub fn check(&self) -> Result<(), String> {
        if self.duration.0 < Duration::from_secs(1) {
            return Err("duration: less than a second measures nothing; make it longer".into());
        }
        if self.participants() > PARTICIPANTS_MAX {
            return Err(format!(
                "calls.rooms times calls.participants and storm.joins make {}; at most {}",
                self.participants(),
                PARTICIPANTS_MAX
            ));
        }
        if self.calls.publishers.is_some_and(|some| some.0 > self.calls.participants.0) {
            return Err("calls.publishers: more than calls.participants; lower it".into());
        }
        if !matches!(self.video.temporal_layers.0, 1 | 3) {
            return Err("video.temporal_layers: write 1 or 3".into());
        }
        let encodings = &self.video.encodings;
        if !(1..=3).contains(&encodings.len()) {
            return Err("video.encodings: write one to three".into());
        }
        if encodings.windows(2).any(|pair| pair[0].height.0 >= pair[1].height.0) {
            return Err("video.encodings: not in order; write the lowest first".into());
        }
        if !self.audio.enabled && !self.video.enabled {
            return Err("audio.enabled, video.enabled: both are off; switch one on".into());
        }
        let churn = self.churn.as_ref();
        if churn.is_some_and(|churn| churn.stay.0 < Duration::from_secs(1)) {
            return Err("churn.stay: less than a second; make it longer".into());
        }
        if self.audio.turn.0 < Duration::from_millis(100) {
            return Err("audio.turn: less than 100ms; make it longer".into());
        }
        Ok(())
    }

    /// Everyone who takes part, the storm included.
    #[must_use]
    pub fn participants(&self) -> usize {
        let storm = self.storm.as_ref().map_or(0, |storm| storm.joins.0);
        self.calls.rooms.0 * self.calls.participants.0 + storm
    }
}

#[cfg(test)]
mod tests;
