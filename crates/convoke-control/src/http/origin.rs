//! Which web pages may talk to the server (RFC 6454, RFC 6455 §10.2).
//!
//! Owns: the comparison. Without it any page could use a visitor's network place.
//! Never: takes it for authentication; the token is.

use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};

use crate::config::Origins;

/// Whether the request may go on: it has no `Origin`, or that of the server itself, or an allowed
/// one. Schemes are not compared for the server's own, since TLS may end before it.
pub(crate) fn is_allowed(headers: &HeaderMap, origins: &Origins) -> bool {
    let mut given = headers.get_all(ORIGIN).iter();
    let Some(origin) = given.next() else { return true };
    if *origins == Origins::Any {
        return true;
    }
    let (Ok(origin), None) = (origin.to_str(), given.next()) else { return false };
    let own = headers.get(HOST).and_then(|host| host.to_str().ok());
    if let (Some(own), Some(there)) = (own, authority(origin))
        && own.eq_ignore_ascii_case(there)
    {
        return true;
    }
    match origins {
        Origins::Any => true,
        Origins::These(these) => {
            these.iter().any(|one| one.trim_end_matches('/').eq_ignore_ascii_case(origin))
        }
    }
}

/// The host and port of an origin. Browsers leave out the scheme's own port in both headers.
fn authority(origin: &str) -> Option<&str> {
    origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn allowed(origin: Option<&'static str>, origins: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("calls.example.com:8443"));
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        let these = origins.iter().map(|one| (*one).to_owned()).collect();
        is_allowed(&headers, &Origins::These(these))
    }

    #[test]
    fn none_and_the_servers_own_are_allowed() {
        assert!(allowed(None, &[]));
        assert!(allowed(Some("https://calls.example.com:8443"), &[]));
        assert!(allowed(Some("https://Calls.Example.com:8443"), &[]));
    }

    #[test]
    fn se_04_foreign_origins_are_refused_unless_listed() {
        for origin in [
            "https://evil.example",
            "https://calls.example.com",
            "https://calls.example.com:8443.evil.example",
            "https://evil.example/calls.example.com:8443",
            "null",
            "",
            "file://",
        ] {
            assert!(!allowed(Some(origin), &["https://app.example.com"]), "{origin:?}");
        }
        assert!(allowed(Some("https://app.example.com"), &["https://app.example.com/"]));
        assert!(!allowed(Some("http://app.example.com"), &["https://app.example.com"]));
        assert!(allowed(Some("null"), &["null"]));
    }

    #[test]
    fn two_origins_are_refused() {
        let mut headers = HeaderMap::new();
        headers.append(ORIGIN, HeaderValue::from_static("https://a.example"));
        headers.append(ORIGIN, HeaderValue::from_static("https://b.example"));
        let these = Origins::These(vec!["https://a.example".into()]);
        assert!(!is_allowed(&headers, &these));
        assert!(is_allowed(&headers, &Origins::Any));
    }
}
