//! Times as they come and go by HTTP.
//!
//! Owns: RFC 3339 (bodies), RFC 9110 dates (headers), and milliseconds since 1970 (the store).
//! Never: reads a clock, but for [`now_ms`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    to_ms(SystemTime::now())
}

pub(crate) fn to_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC with milliseconds.
pub(crate) fn format(ms: i64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or_default());
    humantime::format_rfc3339_millis(time).to_string()
}

/// Reads RFC 3339 with any offset, from 1970 on; `None` for anything else.
pub(crate) fn parse(text: &str) -> Option<i64> {
    if !text.is_ascii() || text.len() > 40 {
        return None;
    }
    let upper = text.to_ascii_uppercase();
    if upper.ends_with('Z') {
        return humantime::parse_rfc3339(&upper).ok().map(to_ms);
    }
    let at = upper.len().checked_sub(6)?;
    let (local, offset) = (upper.get(..at)?, upper.get(at..)?);
    let sign = match offset.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    if !(0..24).contains(&hours) || !(0..60).contains(&minutes) {
        return None;
    }
    let local = to_ms(humantime::parse_rfc3339(&format!("{local}Z")).ok()?);
    let utc = local - sign * (hours * 60 + minutes) * 60_000;
    (utc >= 0).then_some(utc)
}

/// Reads a date of a header (RFC 9110 §5.6.7).
pub(crate) fn parse_http(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sdks_send_is_read() {
        let expected = 1_767_323_045_000;
        for text in [
            "2026-01-02T03:04:05.000Z",
            "2026-01-02T03:04:05Z",
            "2026-01-02t03:04:05z",
            "2026-01-02T03:04:05+00:00",
            "2026-01-02T04:34:05+01:30",
            "2026-01-01T19:04:05.0-08:00",
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
        assert_eq!(format(expected), "2026-01-02T03:04:05.000Z");
        assert_eq!(parse(&format(expected + 7)), Some(expected + 7));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "Z",
            "now",
            "2026-01-02",
            "2026-13-02T03:04:05Z",
            "2026-01-02T03:04:05",
            "2026-01-02T03:04:05+24:00",
            "2026-01-02T03:04:05 +01:00",
            "2026-01-02T03:04:05+é:00",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
