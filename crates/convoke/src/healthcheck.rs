//! `convoke healthcheck`: one HTTP request to a running server.
//!
//! For containers without curl. Speaks just enough HTTP/1.1 (RFC 9112) for that.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

const TIME_OUT: Duration = Duration::from_secs(5);
const REPLY_BYTES_MAX: u64 = 64 << 10;
/// The longest body that is fetched.
const BODY_BYTES_MAX: u64 = 16 << 20;

/// Gives the status line if it is a success.
pub(crate) fn run(url: &str) -> Result<String, String> {
    let (authority, path) = split(url)?;
    let reply =
        get(&authority, &path, None, REPLY_BYTES_MAX).map_err(|error| format!("{url}: {error}"))?;
    let status = reply.lines().next().unwrap_or_default().to_owned();
    match status.split(' ').nth(1) {
        Some(code) if status.starts_with("HTTP/1.") && code.starts_with('2') => Ok(status),
        _ => Err(format!("{url}: {}", if status.is_empty() { "no reply" } else { &status })),
    }
}

fn split(url: &str) -> Result<(String, String), String> {
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| format!("{url}: expected a URL that starts with http://"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = if path.is_empty() { "healthz" } else { path };
    let authority = match authority.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => authority.to_owned(),
        _ => format!("{authority}:80"),
    };
    Ok((authority, format!("/{path}")))
}

/// Asks for `path` of the server at `url`, with a key if there is one: status and body.
pub(crate) fn fetch(url: &str, path: &str, key: Option<&str>) -> Result<(u16, String), String> {
    let (authority, _) = split(url)?;
    let reply = get(&authority, path, key, BODY_BYTES_MAX).map_err(|error| error.to_string())?;
    let (head, body) = reply.split_once("\r\n\r\n").ok_or("no reply")?;
    let status =
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status")?;
    Ok((status, body.to_owned()))
}

fn get(authority: &str, path: &str, key: Option<&str>, most: u64) -> io::Result<String> {
    let addresses = authority.to_socket_addrs()?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no such host");
    for address in addresses {
        match TcpStream::connect_timeout(&address, TIME_OUT) {
            Ok(stream) => return ask(stream, authority, path, key, most),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn ask(
    mut stream: TcpStream,
    authority: &str,
    path: &str,
    key: Option<&str>,
    most: u64,
) -> io::Result<String> {
    stream.set_read_timeout(Some(TIME_OUT))?;
    stream.set_write_timeout(Some(TIME_OUT))?;
    let key = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {authority}\r\n{key}Connection: close\r\n\r\n")?;
    let mut reply = Vec::new();
    stream.take(most).read_to_end(&mut reply)?;
    Ok(String::from_utf8_lossy(&reply).into_owned())
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn urls() {
        let check = |url: &str, authority: &str, path: &str| {
            assert_eq!(split(url), Ok((authority.to_owned(), path.to_owned())), "{url}");
        };
        check("http://127.0.0.1:8080", "127.0.0.1:8080", "/healthz");
        check("http://127.0.0.1:8080/", "127.0.0.1:8080", "/healthz");
        check("http://[::1]:8080/readyz", "[::1]:8080", "/readyz");
        check("http://convoke", "convoke:80", "/healthz");
        assert!(split("https://convoke").is_err());
        assert!(split("127.0.0.1:8080").is_err());
    }
}
