//! ACS's request signatures.
//!
//! Owns: what was signed. The public SDKs sign different spellings of what they send; every spelling
//! that one of them is known to use is accepted, and nothing else.
//! Never: holds a key, or routes by anything but what was sent.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, Method, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::time;

const SCHEME: &str = "HMAC-SHA256 ";
const SIGNED: &str = "SignedHeaders=x-ms-date;host;x-ms-content-sha256";

/// A signed request: what may have been signed, and the signature.
#[derive(Debug)]
pub(crate) struct Signed {
    pub(crate) messages: Vec<String>,
    pub(crate) signature: Vec<u8>,
}

/// Why a request is not well signed. For the requester all are the same; logs tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureError {
    #[error(
        "the Authorization header is not of the form `HMAC-SHA256 SignedHeaders=…&Signature=…`"
    )]
    Form,
    #[error("x-ms-date, x-ms-content-sha256 or host is missing")]
    Header,
    #[error("x-ms-date is not within the window; check the clock")]
    Window,
    #[error("x-ms-content-sha256 is not the hash of the body")]
    Hash,
}

/// Whether a request says that it is signed.
pub(crate) fn is_signed(headers: &HeaderMap) -> bool {
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    given.is_some_and(|given| given.starts_with(SCHEME))
}

/// Reads what is signed, and checks its date and the body's hash.
pub(crate) fn read(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
    window: Duration,
    now: SystemTime,
) -> Result<Signed, SignatureError> {
    use SignatureError as E;
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let given = text(AUTHORIZATION.as_str()).and_then(|given| given.strip_prefix(SCHEME));
    let (signed, signature) = given.and_then(|g| g.split_once("&Signature=")).ok_or(E::Form)?;
    if signed != SIGNED {
        return Err(E::Form);
    }
    let signature = STANDARD.decode(signature).map_err(|_| E::Form)?;
    let date = text("x-ms-date").ok_or(E::Header)?;
    let hash = text("x-ms-content-sha256").ok_or(E::Header)?;
    let host = text(HOST.as_str()).ok_or(E::Header)?;
    let at = time::parse_http(date).ok_or(E::Window)?;
    let off = now.duration_since(at).unwrap_or_else(|ahead| ahead.duration());
    if off > window {
        return Err(E::Window);
    }
    if STANDARD.encode(digest::digest(&digest::SHA256, body)) != hash {
        return Err(E::Hash);
    }
    // Some clients put the slash that ends their endpoint into the host.
    let hosts = [host.to_owned(), format!("{host}/")];
    let messages = targets(uri)
        .iter()
        .flat_map(|target| {
            hosts.iter().map(move |host| format!("{method}\n{target}\n{date};{host};{hash}"))
        })
        .collect();
    Ok(Signed { messages, signature })
}

/// The spellings of a target that SDKs sign: as it was sent; with the query encoded as a form again;
/// decoded; with the colons of raw ids in the path encoded.
fn targets(uri: &Uri) -> Vec<String> {
    let path = uri.path();
    let with = |path: &str, query: Option<&str>| match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let sent = with(path, uri.query());
    let form = uri.query().map(|query| {
        let pairs = form_urlencoded::parse(query.as_bytes());
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    });
    let decoded = percent_decode_str(&sent).decode_utf8().map(Cow::into_owned);
    let encoded: Vec<_> = path.split('/').map(encode_raw_id).collect();
    let mut all = vec![with(path, form.as_deref()), with(&encoded.join("/"), uri.query())];
    all.extend(decoded.ok());
    all.push(sent);
    all.sort();
    all.dedup();
    all
}

fn encode_raw_id(segment: &str) -> Cow<'_, str> {
    const KEEP: &percent_encoding::AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    if segment.starts_with(|first: char| first.is_ascii_digit()) && segment.contains(':') {
        let decoded = percent_decode_str(segment).decode_utf8_lossy();
        return utf8_percent_encode(&decoded, KEEP).to_string().into();
    }
    segment.into()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac;
    use axum::http::HeaderValue;

    use super::*;

    const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
    const DATE: &str = "Wed, 25 Nov 2026 02:10:35 GMT";

    fn request(signature: &str, hash: &str, host: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let value = format!("{SCHEME}{SIGNED}&Signature={signature}");
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&value).unwrap());
        headers.insert("x-ms-date", HeaderValue::from_static(DATE));
        headers.insert("x-ms-content-sha256", HeaderValue::from_str(hash).unwrap());
        headers.insert(HOST, HeaderValue::from_static(host));
        headers
    }

    fn check(
        target: &str,
        headers: &HeaderMap,
        body: &[u8],
        seconds_off: i64,
    ) -> Result<bool, SignatureError> {
        let at = time::parse_http(DATE).unwrap();
        let off = Duration::from_secs(seconds_off.unsigned_abs());
        let now = if seconds_off < 0 { at - off } else { at + off };
        let window = Duration::from_secs(300);
        let signed = read(&Method::POST, &target.parse().unwrap(), headers, body, window, now)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, KEY);
        let holds = |m: &String| hmac::verify(&key, m.as_bytes(), &signed.signature).is_ok();
        Ok(signed.messages.iter().any(holds))
    }

    fn sign(target: &str, host: &str, hash: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, KEY);
        let message = format!("POST\n{target}\n{DATE};{host};{hash}");
        STANDARD.encode(hmac::sign(&key, message.as_bytes()))
    }

    const BODY: &[u8] = b"{\"scopes\":[\"voip\"]}";
    const HASH: &str = "P1RwfEo9ooiQzNiWxaaue5mYALPNYKlNk8kSWHZrWlg=";
    const TARGET: &str = "/identities/8%3Aacs%3Ares_user/:issueAccessToken?api-version=2023-10-01";

    #[test]
    fn the_worked_example_holds() {
        let headers =
            request("u1e9IwPZuibbCLAbef1U7HYtOE/LyTQqdRIBQRKAm0E=", HASH, "127.0.0.1:8080");
        assert_eq!(check(TARGET, &headers, BODY, 0), Ok(true));
        assert_eq!(check(TARGET, &headers, BODY, 299), Ok(true));
        assert_eq!(check(TARGET, &headers, BODY, -299), Ok(true));
        assert_eq!(check(TARGET, &headers, BODY, 301), Err(SignatureError::Window));
        assert_eq!(check(TARGET, &headers, BODY, -301), Err(SignatureError::Window));
        assert_eq!(check(TARGET, &headers, b"{}", 0), Err(SignatureError::Hash));
        for other in [
            "/identities",
            "/rooms?api-version=2023-10-01",
            "/identities/x/:issueAccessToken?api-version=2023-10-01",
        ] {
            assert_eq!(check(other, &headers, BODY, 0), Ok(false), "{other}");
        }
    }

    #[test]
    fn every_spelling_that_sdks_sign_is_accepted() {
        for (sent, signed) in [
            ("/rooms?t=a:b", "/rooms?t=a%3Ab"),
            ("/rooms?t=a%20b", "/rooms?t=a+b"),
            ("/rooms?x", "/rooms?x="),
            ("/rooms?t=a/b~c*d", "/rooms?t=a%2Fb%7Ec*d"),
            ("/rooms/a%3Ab%20c?api-version=1", "/rooms/a:b c?api-version=1"),
            (
                "/calling/callConnections/c/participants/8:acs:a_b?v=1",
                "/calling/callConnections/c/participants/8%3Aacs%3Aa_b?v=1",
            ),
            (
                "/identities/8:acs:a_b/:revokeAccessTokens",
                "/identities/8:acs:a_b/:revokeAccessTokens",
            ),
        ] {
            let headers = request(&sign(signed, "h:1", HASH), HASH, "h:1");
            assert_eq!(check(sent, &headers, BODY, 0), Ok(true), "{sent}");
        }
        let headers = request(&sign("/rooms", "h:1/", HASH), HASH, "h:1");
        assert_eq!(check("/rooms", &headers, BODY, 0), Ok(true), "the endpoint's slash");
        let headers = request(&sign("/rooms", "other:1", HASH), HASH, "h:1");
        assert_eq!(check("/rooms", &headers, BODY, 0), Ok(false));
    }

    #[test]
    fn what_is_not_of_the_form_is_refused() {
        let good = request(&sign("/rooms", "h:1", HASH), HASH, "h:1");
        for value in [
            "HMAC-SHA256 ",
            "HMAC-SHA256 SignedHeaders=host&Signature=AAAA",
            "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=*",
            "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256",
        ] {
            let mut headers = good.clone();
            headers.insert(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            assert_eq!(check("/rooms", &headers, BODY, 0), Err(SignatureError::Form), "{value}");
        }
        for name in ["x-ms-date", "x-ms-content-sha256", "host"] {
            let mut headers = good.clone();
            headers.remove(name);
            assert_eq!(check("/rooms", &headers, BODY, 0), Err(SignatureError::Header), "{name}");
        }
        let mut headers = good;
        headers.insert("x-ms-date", HeaderValue::from_static("yesterday"));
        assert_eq!(check("/rooms", &headers, BODY, 0), Err(SignatureError::Window));
    }
}
