//! Events as a stream (SSE): live, and going on after the last that came.

use convoke_control::store::{Location, Store, StoreConfig};
use convoke_control::{Role, ServiceLimits};
use convoke_protocol::GroupId;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{IDENTITIES, PATIENCE, Server};
use crate::webhooks::Folder;

/// An open stream of events.
struct Stream {
    socket: TcpStream,
    text: String,
}

impl Stream {
    async fn open(server: &Server, path: &str, last: Option<u64>) -> Self {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        let key = server.access_key(Role::Admin);
        let last = last.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {key}\r\n\
             accept: text/event-stream\r\n{last}\r\n",
            server.address
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut stream = Self { socket, text: String::new() };
        while !stream.text.contains("\r\n\r\n") {
            stream.read().await;
        }
        let (head, rest) = stream.text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
        stream.text = rest.to_owned();
        stream
    }

    async fn read(&mut self) {
        let mut bytes = [0; 4096];
        let read = tokio::time::timeout(PATIENCE, self.socket.read(&mut bytes)).await;
        let read = read.expect("nothing comes").unwrap();
        assert!(read > 0, "the stream ended after {}", self.text);
        self.text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
    }

    /// The next event: its id, and what it says.
    async fn next(&mut self) -> (u64, Value) {
        loop {
            if let Some(at) = self.text.find("data: ")
                && let Some(end) = self.text[at..].find('\n')
                && let Some(id) = self.text.find("id: ")
                && let Some(id_end) = self.text[id..].find('\n')
            {
                let data = serde_json::from_str(&self.text[at + 6..at + end]).unwrap();
                let found = self.text[id + 4..id + id_end].parse().unwrap();
                self.text.drain(..(at + end).max(id + id_end));
                return (found, data);
            }
            self.read().await;
        }
    }
}

async fn make(server: &Server) {
    let made = server.rest(Role::Identity, "POST", IDENTITIES, &Value::Null).await;
    assert_eq!(made.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_after_the_last_event_without_gap_or_repetition() {
    let server = Server::with_services(ServiceLimits::default()).await;
    for _ in 0..3 {
        make(&server).await;
    }
    let mut stream = Stream::open(&server, "/events", None).await;
    for expected in 1..=3 {
        let (id, event) = stream.next().await;
        assert_eq!((id, event["id"].as_str().unwrap().parse()), (expected, Ok(expected)));
        assert_eq!(event["type"], "convoke.identity.created");
    }
    make(&server).await;
    assert_eq!(stream.next().await.0, 4, "what happens now comes now");
    drop(stream);
    make(&server).await;
    make(&server).await;
    let mut again = Stream::open(&server, "/events?after=1", Some(4)).await;
    assert_eq!([again.next().await.0, again.next().await.0], [5, 6], "the header counts");
    let mut after = Stream::open(&server, "/events?after=5", None).await;
    assert_eq!(after.next().await.0, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_may_begin_with_what_happens_next() {
    let server = Server::with_services(ServiceLimits::default()).await;
    let mut first = Stream::open(&server, "/events?after=newest", None).await;
    make(&server).await;
    assert_eq!(first.next().await.0, 1, "also where nothing has happened yet");
    let mut stream = Stream::open(&server, "/events?after=newest", None).await;
    make(&server).await;
    assert_eq!(stream.next().await.0, 2);
    let (id, _) = server.identity().await;
    let path = format!("/identities/{id}/events?after=newest&api-version=2023-10-01");
    let reply = server.rest(Role::Identity, "GET", &path, &Value::Null).await;
    assert_eq!((reply.status, reply.acs_code()), (400, "BadRequest".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_runs_has_no_events_until_its_begin_is_recorded() {
    let folder = Folder::new();
    let file = || StoreConfig::new(Location::File(folder.0.join("convoke.db")));
    let store = Store::open(&file()).await.unwrap();
    let server = Server::build(|_| {}, |_| {}, Some((store, ServiceLimits::default()))).await;
    // Somebody else holds the database: what happens here has to wait for that.
    let options = SqliteConnectOptions::new().filename(folder.0.join("convoke.db"));
    let mut other = options.connect().await.unwrap();
    let writing = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let join = server.participant("alice", GroupId::random());
    let (_alice, joined) = join.await;
    let path = |query: &str| format!("/calls/{}/events?{query}", joined.call_id);
    let page = server.rest(Role::Calls, "GET", &path(""), &Value::Null).await;
    assert_eq!((page.status, &page.json()["value"]), (200, &json!([])));
    let page = server.rest(Role::Calls, "GET", &path("format=eventGrid"), &Value::Null).await;
    assert_eq!((page.status, &page.json()["value"]), (200, &json!([])));
    // Whoever waits gets them when they are there.
    let (query, nothing) = (path("wait=60"), Value::Null);
    let waiting = server.rest(Role::Calls, "GET", &query, &nothing);
    let (page, ended) = tokio::join!(waiting, writing.rollback());
    ended.unwrap();
    assert_eq!(page.json()["value"][0]["type"], "convoke.call.started");
    let gone = server.rest(Role::Calls, "GET", "/calls/c0/events", &Value::Null).await;
    assert_eq!((gone.status, gone.code()), (404, "callNotFound".into()));
}
