//! Bodies of requests.
//!
//! Owns: reading JSON with words that help, and the checks of names and times that several share.
//! Never: takes more than the gate has let through.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;

use super::error::{ApiError, Code};
use super::time;
use crate::token::check_name;

/// A request's body, as [`read`] reads it. The gate has it already.
pub(crate) struct Read<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Read<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let headers = request.headers().clone();
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|error| ApiError::new(Code::BadRequest, error.body_text()))?;
        read(&headers, &body).map(Self)
    }
}

/// Reads a JSON object; an absent body is an empty one.
pub(crate) fn read<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, ApiError> {
    if body.is_empty() {
        return from_json(b"{}");
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind != "application/json" && !kind.ends_with("+json") {
        let text = "the content type must be application/json or application/merge-patch+json";
        return Err(ApiError::new(Code::UnsupportedMediaType, text));
    }
    from_json(body)
}

fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    // A list would be read as the fields in their order.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(ApiError::new(Code::InvalidBody, "the body must be a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let refused = ApiError::new(Code::InvalidBody, error.into_inner().to_string());
        if path == "." { refused } else { refused.target(path) }
    })?;
    json.end().map_err(|error| ApiError::new(Code::InvalidBody, error.to_string()))?;
    Ok(read)
}

/// An id or name from a path or body, good enough to be looked up or kept.
pub(crate) fn name(text: &str, target: &str) -> Result<(), ApiError> {
    let wrong = |reason: String| {
        ApiError::new(Code::BadRequest, format!("`{target}` {reason}")).target(target)
    };
    if text.is_empty() {
        return Err(wrong("is empty".to_owned()));
    }
    check_name(text).map_err(wrong)
}

/// A time in a body, in milliseconds since 1970.
pub(crate) fn moment(text: &str, target: &str) -> Result<i64, ApiError> {
    time::parse(text).ok_or_else(|| {
        let text = format!("`{target}` must be a time such as 2026-01-02T03:04:05Z");
        ApiError::new(Code::BadRequest, text).target(target)
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Body {
        scopes: Vec<String>,
    }

    fn check(kind: &'static str, body: &[u8]) -> Result<Body, Code> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        read(&headers, &Bytes::copy_from_slice(body)).map_err(|error| error.code)
    }

    #[test]
    fn an_absent_body_is_an_empty_object() {
        assert_eq!(check("", b""), Ok(Body::default()));
        assert_eq!(check("application/json", b""), Ok(Body::default()));
    }

    #[test]
    fn what_is_no_json_of_the_form_is_refused() {
        let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
        for body in [
            "{",
            "[]",
            "\n [[]]",
            "[]x",
            "null x",
            "{} {}",
            "1",
            "\"\"",
            "{\"scopes\":1}",
            "{\"scopes\":[1]}",
            "\u{0}",
            &deep,
            "{\"scopes\":[\"a\"",
        ] {
            assert_eq!(
                check("application/json", body.as_bytes()),
                Err(Code::InvalidBody),
                "{body:.40}"
            );
        }
        assert_eq!(check("application/json", b"\xff\xfe"), Err(Code::InvalidBody));
        for kind in ["text/plain", "", "application/jsonx", "application/xml"] {
            assert_eq!(check(kind, b"{}"), Err(Code::UnsupportedMediaType), "{kind}");
        }
        assert!(check("application/merge-patch+json; charset=utf-8", b"{}").is_ok());
    }

    #[test]
    fn names_are_bounded_and_of_one_line() {
        assert!(name("8:acs:a_b", "id").is_ok() && name("日本 👩‍👩‍👧 ../..", "id").is_ok());
        for bad in ["", "a\nb", "\u{0}", &"x".repeat(10_000)] {
            assert!(name(bad, "id").is_err());
        }
    }
}
