//! The limits of connections and agents of the real binary, as configured.

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::call::DevServer;
use common::{get, http};

const PATIENCE: Duration = Duration::from_secs(10);

fn connect(server: &DevServer, text: &str) -> TcpStream {
    let authority = server.url.strip_prefix("http://").expect("http").trim_end_matches('/');
    let mut stream = TcpStream::connect(authority).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.write_all(text.as_bytes()).expect("sent");
    stream
}

/// What comes until the server closes, which it must.
fn rest(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("still open"),
        _ => String::from_utf8_lossy(&all).into_owned(),
    }
}

fn metric(server: &DevServer, name: &str) -> f64 {
    let (_, page) = get(&server.metrics_url);
    let line = page.lines().find(|line| line.starts_with(name)).expect("the metric");
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

#[test]
fn slow_clients_and_crowds_are_turned_away_as_configured() {
    let server = DevServer::start(&[
        ("CONVOKE__HTTP__HEADER_TIMEOUT", "400ms"),
        ("CONVOKE__HTTP__BODY_TIMEOUT", "400ms"),
        ("CONVOKE__HTTP__CONNECTIONS", "3"),
        ("CONVOKE__HTTP__CONNECTIONS_PER_ADDRESS", "2"),
        ("CONVOKE__HTTP__TRUSTED_PROXIES", "[\"127.0.0.2\"]"),
    ]);
    // Half a head is not waited for; and that is counted.
    let began = Instant::now();
    rest(connect(&server, "GET / HTTP/1.1\r\nhost: "));
    assert!(began.elapsed() >= Duration::from_millis(350), "{:?}", began.elapsed());
    assert!(metric(&server, "convoke_http_connections_slow_total") >= 1.0);
    // Nor half a body.
    let body = "POST /identities?api-version=2023-10-01 HTTP/1.1\r\nhost: a\r\n\
        content-length: 9\r\n\r\n{";
    let reply = rest(connect(&server, body));
    assert!(reply.starts_with("HTTP/1.1 408 "), "{reply}");
    // Two connections from one address; the third is turned away, until one ends.
    let held = [connect(&server, "GET"), connect(&server, "GET")];
    let reply = rest(connect(&server, "GET / HTTP/1.1\r\n\r\n"));
    assert!(reply.starts_with("HTTP/1.1 429 "), "{reply}");
    assert!(reply.contains("tooManyConnectionsFromAddress"), "{reply}");
    for stream in held {
        rest(stream);
    }
    let health = format!("{}healthz", server.url);
    let end = Instant::now() + PATIENCE;
    while http("GET", &health, &[], "").0 != 200 {
        assert!(Instant::now() < end, "places are not given back");
    }
    let refused = "convoke_http_connections_refused_total{reason=\"address\"}";
    assert!(metric(&server, refused) >= 1.0);
}
