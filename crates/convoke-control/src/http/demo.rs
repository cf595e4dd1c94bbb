//! The demo app, embedded.
//!
//! Owns: serving the files that `clients/web` was built into, with their types, caching and security
//! headers; and a page that says how to build them when they are not there.
//! Never: serves anything else from disk.

use axum::body::Body;
use axum::extract::OriginalUri;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH,
    LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rust_embed::{EmbeddedFile, RustEmbed};

use super::problem::Problem;

/// In release builds these are in the binary; in debug builds they are read from the folder.
#[derive(RustEmbed)]
#[folder = "../../clients/web/dist-demo"]
#[allow_missing = true]
struct Files;

const INDEX: &str = "index.html";
/// The operator's page, which is of use only where app servers may ask for something.
const ADMIN: &str = "admin.html";
/// Where the build puts files whose names change with their content.
const IMMUTABLE: &str = "assets/";

const NOT_BUILT: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
    <title>Convoke</title>\n<h1>Convoke is running</h1>\n\
    <p>This server was built without the demo app. To have it here, run <code>make web</code> \
    (or, in <code>clients/web</code>, <code>npm ci &amp;&amp; npm run build:demo</code>) and build \
    the server again.</p>\n</html>\n";

/// Everything that is no route.
pub(crate) async fn file(
    method: Method,
    uri: Uri,
    OriginalUri(original): OriginalUri,
    headers: HeaderMap,
) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return Problem::not_found().into_response();
    }
    let path = uri.path().trim_start_matches('/');
    match Files::get(path) {
        _ if path.is_empty() && !original.path().ends_with('/') => to_index(&original),
        _ if path.is_empty() || path == INDEX => page(INDEX, &headers),
        _ if path == ADMIN => Problem::not_found().into_response(),
        Some(file) => respond(path, &file, &headers),
        None => Problem::not_found().into_response(),
    }
}

/// Nested under a prefix that was asked for without a slash, which relative links need. (With one, a
/// host's router may not find us.)
fn to_index(original: &Uri) -> Response {
    let query = original.query().map(|query| format!("?{query}")).unwrap_or_default();
    let name = original.path().rsplit('/').next().unwrap_or_default();
    match HeaderValue::try_from(format!("{name}/{INDEX}{query}")) {
        Ok(location) => (StatusCode::PERMANENT_REDIRECT, [(LOCATION, location)]).into_response(),
        Err(_) => Problem::not_found().into_response(),
    }
}

/// `GET /admin`: the operator's page. It holds no secret; what it asks for needs a key.
pub(crate) async fn admin(headers: HeaderMap) -> Response {
    page(ADMIN, &headers)
}

fn page(name: &str, headers: &HeaderMap) -> Response {
    match Files::get(name) {
        Some(file) => respond(name, &file, headers),
        None => {
            let kind = HeaderValue::from_static("text/html; charset=utf-8");
            let mut response = NOT_BUILT.into_response();
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            secure(&mut response, headers);
            response
        }
    }
}

fn respond(path: &str, file: &EmbeddedFile, headers: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(file.metadata.sha256_hash()));
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let same = known.flat_map(|value| value.split(',')).any(|one| {
        let one = one.trim();
        one == "*" || one.trim_start_matches("W/") == tag
    });
    let mut response = if same {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Body::from(file.data.clone().into_owned()).into_response()
    };
    let cache = if path.starts_with(IMMUTABLE) {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let to = response.headers_mut();
    to.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        to.insert(ETAG, tag);
    }
    if let Ok(kind) = HeaderValue::try_from(content_type(path, file)) {
        to.insert(CONTENT_TYPE, kind);
    }
    secure(&mut response, headers);
    response
}

fn content_type(path: &str, file: &EmbeddedFile) -> String {
    let kind = file.metadata.mimetype();
    let text = kind.starts_with("text/") || kind.ends_with("javascript") || kind.ends_with("json");
    match path.rsplit('.').next() {
        Some("webmanifest") => "application/manifest+json".to_owned(),
        _ if text => format!("{kind}; charset=utf-8"),
        _ => kind.to_owned(),
    }
}

fn secure(response: &mut Response, request: &HeaderMap) {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(self), microphone=(self), display-capture=(self)"),
    );
    if let Ok(policy) = HeaderValue::try_from(policy(request)) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers.remove(ALLOW);
}

/// Scripts from here alone, connections to this host alone. Older browsers do not take `'self'` for
/// WebSockets, so the host is named too.
fn policy(request: &HeaderMap) -> String {
    let host = request.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    let sockets = if !host.is_empty() && host.bytes().all(plain) {
        format!(" ws://{host} wss://{host}")
    } else {
        String::new()
    };
    format!(
        "default-src 'self'; connect-src 'self'{sockets}; img-src 'self' data: blob:; \
         media-src 'self' blob: mediastream:; style-src 'self' 'unsafe-inline'; \
         worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'self'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_host_does_not_get_into_the_policy() {
        let with = |host: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static(host));
            policy(&headers)
        };
        assert!(with("127.0.0.1:8080").contains("ws://127.0.0.1:8080 "));
        assert!(with("[::1]:80").contains("wss://[::1]:80;"));
        for host in ["a; script-src *", "a b", "a,b", "a'"] {
            assert_eq!(with(host), policy(&HeaderMap::new()), "{host}");
        }
    }

    #[test]
    fn only_files_of_the_folder_are_served() {
        for path in ["../package.json", "/etc/passwd", "..", "./../vite.config.ts"] {
            assert!(Files::get(path).is_none(), "{path}");
        }
    }
}
