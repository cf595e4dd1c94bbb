//! Values that are written as text in the configuration file: durations, sizes, addresses.
//!
//! Owns: their spelling, both ways, and the sentence that says what was expected.
//! Never: knows keys or sections.

use std::fmt::Display;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value with a spelling of its own.
pub(crate) trait Text: Sized {
    /// Completes "expected …".
    const EXPECTED: &'static str;
    /// Reads it.
    fn parse(text: &str) -> Option<Self>;
    /// Writes it so that [`Text::parse`] reads the same value.
    fn spell(&self) -> String;
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) usize);

const UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

impl Text for Size {
    const EXPECTED: &'static str = "a size with its unit, such as \"256KiB\" or \"4MiB\"";

    fn parse(text: &str) -> Option<Self> {
        let (unit, factor) = UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
        let number: u64 = text[..text.len() - unit.len()].trim_end().parse().ok()?;
        usize::try_from(number.checked_mul(*factor)?).ok().map(Self)
    }

    fn spell(&self) -> String {
        let bytes = self.0 as u64;
        let best = UNITS[..3].iter().rev().find(|(_, f)| bytes >= *f && bytes.is_multiple_of(*f));
        best.map_or_else(
            || format!("{bytes}B"),
            |(unit, factor)| format!("{}{unit}", bytes / factor),
        )
    }
}

impl Text for Duration {
    const EXPECTED: &'static str =
        "a duration with its unit, such as \"5s\", \"500ms\" or \"1h 30m\"";

    fn parse(text: &str) -> Option<Self> {
        humantime::parse_duration(text).ok()
    }

    fn spell(&self) -> String {
        // The months and years of humantime are no whole days.
        let days = self.as_secs() / 86_400;
        if days > 1 && *self == Self::from_secs(days * 86_400) {
            return format!("{days}days");
        }
        humantime::format_duration(*self).to_string()
    }
}

/// Values whose `FromStr` and `Display` are their spelling.
macro_rules! as_written {
    ($type:ty, $expected:literal) => {
        impl Text for $type {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Option<Self> {
                from_str(text)
            }

            fn spell(&self) -> String {
                display(self)
            }
        }
    };
}

fn from_str<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn display(value: &impl Display) -> String {
    value.to_string()
}

as_written!(SocketAddr, "an IP address and port, such as \"127.0.0.1:8080\" or \"[::]:8080\"");
as_written!(
    IpAddr,
    "an IP address (names are not looked up), such as \"203.0.113.7\" or \"2001:db8::7\""
);

/// A STUN server: a name or an IP address, and its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StunServer {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// RFC 8489 §18.6.
const STUN_PORT: u16 = 3478;

impl Text for StunServer {
    const EXPECTED: &'static str = "a STUN server's name or IP address, with its port where that is not \
        3478, such as \"stun.example.com\", \"203.0.113.9:3478\" or \"[2001:db8::9]:3478\"";

    fn parse(text: &str) -> Option<Self> {
        let port = |text: &str| text.parse().ok().filter(|port| *port != 0);
        if let Ok(SocketAddr::V6(address)) = text.parse() {
            return Some(Self {
                host: address.ip().to_string(),
                port: port(&address.port().to_string())?,
            });
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Some(Self { host: ip.to_string(), port: STUN_PORT });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, number)) => (host, port(number)?),
            None => (text, STUN_PORT),
        };
        is_host(host).then(|| Self { host: host.to_owned(), port })
    }

    fn spell(&self) -> String {
        match self.host.parse() {
            Ok(IpAddr::V6(ip)) => SocketAddr::from((ip, self.port)).to_string(),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

/// Whether it is a host name (RFC 1123 §2.1) or an IPv4 address.
fn is_host(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(letter);
    let numeric = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let name = text.strip_suffix('.').unwrap_or(text);
    name.len() <= 253
        && name.split('.').all(label)
        // Neither half an address nor a port alone.
        && (!numeric(name) || text.parse::<IpAddr>().is_ok())
}

/// The empty text stands for "none".
impl<T: Text> Text for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() { Some(None) } else { T::parse(text).map(Some) }
    }

    fn spell(&self) -> String {
        self.as_ref().map_or_else(String::new, T::spell)
    }
}

/// For plain text that may be empty.
impl Text for String {
    const EXPECTED: &'static str = "text";

    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn spell(&self) -> String {
        self.clone()
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: Text> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

struct Wrapped<T>(T);

impl<'de, T: Text> Deserialize<'de> for Wrapped<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(TextVisitor(PhantomData)).map(Wrapped)
    }
}

/// One value, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OneOrMore<T>(pub(crate) Vec<T>);

impl<T: Text> Serialize for OneOrMore<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => to.serialize_str(&one.spell()),
            several => list::serialize(several, to),
        }
    }
}

struct OneOrMoreVisitor<T>(PhantomData<T>);

impl<'de, T: Text> Visitor<'de> for OneOrMoreVisitor<T> {
    type Value = OneOrMore<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, or a list of them", T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        TextVisitor(PhantomData).visit_str(text).map(|one| OneOrMore(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Wrapped(one)) = from.next_element()? {
            all.push(one);
        }
        Ok(OneOrMore(all))
    }
}

impl<'de, T: Text> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(OneOrMoreVisitor(PhantomData))
    }
}

/// `#[serde(with = "units::text")]` for one [`Text`] value.
pub(crate) mod text {
    use super::{Deserializer, PhantomData, Serializer, Text, TextVisitor};

    pub(crate) fn serialize<T: Text, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&value.spell())
    }

    pub(crate) fn deserialize<'de, T: Text, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        from.deserialize_str(TextVisitor(PhantomData))
    }
}

/// `#[serde(with = "units::list")]` for a list of [`Text`] values.
pub(crate) mod list {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Text, Wrapped};

    pub(crate) fn serialize<T: Text, S: Serializer>(
        values: &[T],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        values.iter().map(T::spell).collect::<Vec<_>>().serialize(to)
    }

    pub(crate) fn deserialize<'de, T: Text, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<T>, D::Error> {
        let items = Vec::<Wrapped<T>>::deserialize(from)?;
        Ok(items.into_iter().map(|item| item.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check = |text: &str, bytes: Option<usize>| {
            assert_eq!(Size::parse(text).map(|s| s.0), bytes, "{text}")
        };
        check("0B", Some(0));
        check("256KiB", Some(262_144));
        check("4 MiB", Some(4_194_304));
        check("10kB", Some(10_000));
        check("1GiB", Some(1 << 30));
        for wrong in [
            "",
            "256",
            "KiB",
            "-1B",
            "1.5MiB",
            "1 TiB",
            "99999999999999999999B",
            "18446744073709551615GiB",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn what_is_spelled_is_read_again() {
        for bytes in [0, 1, 1023, 1024, 1500, 262_144, 4 << 20, 3 << 30, 1_000_000] {
            assert_eq!(Size::parse(&Size(bytes).spell()), Some(Size(bytes)));
        }
        for duration in [0, 1, 999, 1_000, 90_000, 3_600_000].map(Duration::from_millis) {
            assert_eq!(Duration::parse(&duration.spell()), Some(duration));
        }
        assert_eq!(Option::<SocketAddr>::parse(""), Some(None));
        assert_eq!(Option::<SocketAddr>::parse("nowhere"), None);
    }

    #[test]
    fn stun_servers() {
        let check = |text: &str, host: &str, port: u16, spelled: &str| {
            let server = StunServer::parse(text).expect(text);
            assert_eq!((server.host.as_str(), server.port), (host, port), "{text}");
            assert_eq!(server.spell(), spelled);
            assert_eq!(StunServer::parse(spelled), Some(server));
        };
        check("stun.example.com", "stun.example.com", 3478, "stun.example.com:3478");
        check("stun.example.com:19302", "stun.example.com", 19302, "stun.example.com:19302");
        check("203.0.113.9", "203.0.113.9", 3478, "203.0.113.9:3478");
        check("2001:db8::9", "2001:db8::9", 3478, "[2001:db8::9]:3478");
        check("[2001:db8::9]", "2001:db8::9", 3478, "[2001:db8::9]:3478");
        check("[2001:db8::9]:9", "2001:db8::9", 9, "[2001:db8::9]:9");
        for wrong in [
            "",
            "3478",
            ":3478",
            "stun:stun.example.com",
            "stun:stun.example.com:3478",
            "https://stun.example.com",
            "stun.example.com:0",
            "stun.example.com:70000",
            "203.0.113.9:0",
            "[2001:db8::9]:0",
            "203.0.113",
            "a..b",
            "two names",
        ] {
            assert_eq!(StunServer::parse(wrong), None, "{wrong}");
        }
        assert_eq!(StunServer::parse(&"a".repeat(64)), None);
    }

    #[test]
    fn one_or_more() {
        let check = |written: &str, values: &[&str], spelled: &str| {
            let table: toml::Table = format!("a = {written}").parse().expect("TOML");
            let read: OneOrMore<IpAddr> = table["a"].clone().try_into().expect(written);
            assert_eq!(read.0.iter().map(IpAddr::to_string).collect::<Vec<_>>(), values);
            assert_eq!(toml::Value::try_from(&read).expect("TOML").to_string(), spelled);
        };
        check("\"::1\"", &["::1"], "\"::1\"");
        check("[\"::1\"]", &["::1"], "\"::1\"");
        check("[\"::1\", \"127.0.0.1\"]", &["::1", "127.0.0.1"], "[\"::1\", \"127.0.0.1\"]");
        check("[]", &[], "[]");
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(<Duration as Text>::parse("5s"), Some(Duration::from_secs(5)));
        assert_eq!(<Duration as Text>::parse("1h 30m"), Some(Duration::from_secs(5_400)));
        for wrong in ["5", "", "five seconds", "-5s", "5 parsecs"] {
            assert_eq!(<Duration as Text>::parse(wrong), None, "{wrong}");
        }
    }
}
