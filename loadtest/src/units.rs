//! The values of scenarios that have a unit or bounds.
//!
//! Owns: how they are written, and what is refused.
//! Never: fills in a default; the scenario's keys do.

use std::time::Duration;

use convoke_client::media::Codec;
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize, Serializer};

/// A duration as text: `"1500ms"`, `"10s"`, `"2m"`; at most a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time(pub Duration);

impl Time {
    /// So many milliseconds.
    #[must_use]
    pub const fn ms(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// From text.
    ///
    /// # Errors
    /// What is wrong with it, and how to write it.
    pub fn parse(text: &str) -> Result<Self, String> {
        match humantime::parse_duration(text) {
            Ok(time) if time <= Duration::from_secs(86_400) => Ok(Self(time)),
            _ => Err(format!(
                "\"{text}\" is no duration of at most a day; write \"500ms\", \"10s\" or \"2m\""
            )),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

/// Bits in a second as text: `"500kbps"`, `"2Mbps"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(pub u64);

impl Rate {
    fn parse(text: &str) -> Option<u64> {
        let units = [("Gbps", 1e9), ("Mbps", 1e6), ("kbps", 1e3), ("bps", 1.0)];
        let (number, unit) =
            units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
        let bps = number.trim().parse::<f64>().ok()? * unit;
        (1_000.0..=1e11).contains(&bps).then_some(bps as u64)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map(Self).ok_or_else(|| {
            D::Error::custom(format!(
                "\"{text}\" is no rate from 1kbps to 100Gbps; write \"500kbps\" or \"2Mbps\""
            ))
        })
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}bps", self.0))
    }
}

/// A share, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share(pub f64);

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let share = f64::deserialize(deserializer)?;
        if (0.0..=1.0).contains(&share) {
            return Ok(Self(share));
        }
        Err(D::Error::custom(format!("{share} is no share; write a number from 0 to 1")))
    }
}

/// A number of things, from `LEAST` to `MOST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Count<const LEAST: u64, const MOST: u64>(pub usize);

impl<'de, const LEAST: u64, const MOST: u64> Deserialize<'de> for Count<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let count = i64::deserialize(deserializer)?;
        let found = u64::try_from(count).ok().filter(|count| (LEAST..=MOST).contains(count));
        found.and_then(|count| usize::try_from(count).ok()).map(Self).ok_or_else(|| {
            D::Error::custom(format!("{count} is out of range; write {LEAST} to {MOST}"))
        })
    }
}

/// A video codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9 (RFC 9628).
    Vp9,
    /// AV1.
    Av1,
}

impl VideoCodec {
    /// The same in the client's words.
    #[must_use]
    pub fn codec(self) -> Codec {
        match self {
            Self::Vp8 => Codec::Vp8,
            Self::Vp9 => Codec::Vp9,
            Self::Av1 => Codec::Av1,
        }
    }
}
