//! A server that is killed in the middle of its work: what was acknowledged is there when it comes
//! back, and what it tells of it has no gap.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::{Folder, Running, site};
use serde_json::{Value, json};

const OPERATIONS: usize = 1_000;
const CLIENTS: usize = 4;
const IDENTITIES: &str = "api-version=2023-10-01";
const ROOMS: &str = "api-version=2025-03-13";

/// What was acknowledged.
#[derive(Debug, Clone)]
enum Acknowledged {
    Identity(String),
    Revoked(String),
    Room(String),
    Listed { room: String, who: String },
    Deleted(String),
}

/// What a webhook was told, batch by batch, in order of coming.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Vec<i64>>>>);

impl Told {
    /// Listens; refuses one request early on, as receivers do.
    fn listen() -> (String, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let told = Self::default();
        let all = told.clone();
        thread::spawn(move || {
            for (count, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                all.answer(stream, count == 2);
            }
        });
        (url, told)
    }

    /// One request; nothing when its sender was killed meanwhile.
    fn answer(&self, mut stream: TcpStream, refuse: bool) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let batch: Value = serde_json::from_slice(&body).ok()?;
        let ids = batch.as_array()?.iter().map(number).collect();
        if !refuse {
            self.0.lock().expect("told").push(ids);
        }
        let status = if refuse { "500 Out Of Order" } else { "204 No Content" };
        let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(reply.as_bytes()).ok()
    }

    fn newest(&self) -> i64 {
        self.0.lock().expect("told").iter().flatten().copied().max().unwrap_or_default()
    }
}

/// An event's place in the log.
fn number(event: &Value) -> i64 {
    event["id"].as_str().and_then(|id| id.parse().ok()).expect("a number")
}

/// The server, on what is in the folder.
struct Site {
    process: Running,
    authority: String,
    key: String,
}

impl Site {
    fn start(folder: &Path) -> Self {
        let (process, url) = site::start(folder);
        let authority = url.trim_start_matches("http://").to_owned();
        let key = std::fs::read_to_string(folder.join("app.key")).expect("the key");
        Self { process, authority, key: key.trim().to_owned() }
    }

    fn asker(&self) -> Asker {
        Asker { authority: self.authority.clone(), key: self.key.clone() }
    }
}

/// A client of the server.
#[derive(Clone)]
struct Asker {
    authority: String,
    key: String,
}

impl Asker {
    /// Status and body; nothing when the server is gone.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let mut stream = TcpStream::connect(&self.authority).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let (host, key, length) = (&self.authority, &self.key, text.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(format!("{head}{text}").as_bytes()).ok()?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).ok()?;
        let (head, body) = reply.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        // A reply that was cut short is none.
        if length.is_some_and(|length| length.parse() != Ok(body.len())) {
            return None;
        }
        Some((status, serde_json::from_str(body).unwrap_or_default()))
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, &Value::Null).expect("an answer");
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// One operation; which, depends on its number. Nothing when it was not acknowledged.
    fn operate(&self, number: usize, own: &[Acknowledged]) -> Option<Acknowledged> {
        let made = |(status, body): (u16, Value)| {
            assert!(matches!(status, 200 | 201 | 204), "{status}: {body}");
            body
        };
        let text = |value: &Value| value.as_str().expect("an id").to_owned();
        let deleted = |id: &str| {
            own.iter().any(|one| matches!(one, Acknowledged::Deleted(gone) if gone == id))
        };
        let room = own.iter().rev().find_map(|one| match one {
            Acknowledged::Room(id) if !deleted(id) => Some(id.clone()),
            _ => None,
        });
        let identity = own.iter().rev().find_map(|one| match one {
            Acknowledged::Identity(id) => Some(id.clone()),
            _ => None,
        });
        match (number % 6, room, identity) {
            (1, Some(room), _) => {
                let who = format!("guest {number}");
                let body = json!({ "participants": { &who: { "role": "Attendee" } } });
                let path = format!("/rooms/{room}/participants?{ROOMS}");
                self.ask("PATCH", &path, &body).map(made)?;
                Some(Acknowledged::Listed { room, who })
            }
            (2, _, Some(id)) => {
                let path = format!("/identities/{id}/:revokeAccessTokens?{IDENTITIES}");
                self.ask("POST", &path, &Value::Null).map(made)?;
                Some(Acknowledged::Revoked(id))
            }
            (3, Some(room), _) if number.is_multiple_of(4) => {
                self.ask("DELETE", &format!("/rooms/{room}?{ROOMS}"), &Value::Null).map(made)?;
                Some(Acknowledged::Deleted(room))
            }
            (4 | 5, ..) => {
                let body = self.ask("POST", &format!("/rooms?{ROOMS}"), &json!({})).map(made)?;
                Some(Acknowledged::Room(text(&body["id"])))
            }
            _ => {
                let path = format!("/identities?{IDENTITIES}");
                let body = self.ask("POST", &path, &Value::Null).map(made)?;
                Some(Acknowledged::Identity(text(&body["identity"]["id"])))
            }
        }
    }

    /// Several clients at once, until so many operations were begun or the server is gone.
    fn work(
        &self,
        begun: &Arc<AtomicUsize>,
        until: usize,
    ) -> Vec<thread::JoinHandle<Vec<Acknowledged>>> {
        let client = |_| {
            let (asker, begun) = (self.clone(), Arc::clone(begun));
            thread::spawn(move || {
                let mut own = Vec::new();
                loop {
                    let number = begun.fetch_add(1, Ordering::Relaxed);
                    if number >= until {
                        return own;
                    }
                    match asker.operate(number, &own) {
                        Some(done) => own.push(done),
                        None => return own,
                    }
                }
            })
        };
        (0..CLIENTS).map(client).collect()
    }

    /// The whole log.
    fn events(&self) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let after = all.last().map_or(0, number);
            let page = self.get(&format!("/events?after={after}"));
            let page = page["value"].as_array().expect("a list").clone();
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }

    #[track_caller]
    fn has(&self, acknowledged: &[Acknowledged]) {
        let gone: BTreeSet<&str> = acknowledged
            .iter()
            .filter_map(|one| match one {
                Acknowledged::Deleted(room) => Some(&**room),
                _ => None,
            })
            .collect();
        for one in acknowledged {
            match one {
                Acknowledged::Identity(id) | Acknowledged::Revoked(id) => {
                    let path = format!("/identities/{id}/:issueAccessToken?{IDENTITIES}");
                    let scopes = json!({ "scopes": ["voip"] });
                    let (status, body) = self.ask("POST", &path, &scopes).expect("an answer");
                    assert_eq!(status, 200, "{one:?}: {body}");
                }
                Acknowledged::Room(id) | Acknowledged::Deleted(id) => {
                    let path = format!("/rooms/{id}?{ROOMS}");
                    let (status, _) = self.ask("GET", &path, &Value::Null).expect("an answer");
                    assert_eq!(status, if gone.contains(&**id) { 404 } else { 200 }, "{one:?}");
                }
                Acknowledged::Listed { room, who } if !gone.contains(&**room) => {
                    let list = self.get(&format!("/rooms/{room}/participants?{ROOMS}"));
                    let list = list["value"].as_array().expect("a list");
                    assert!(list.iter().any(|entry| entry["rawId"] == **who), "{one:?}");
                }
                Acknowledged::Listed { .. } => {}
            }
        }
    }
}

/// Numbers without gap or repetition in the log and in each stream; everything acknowledged is told.
fn check_log(events: &[Value], acknowledged: &[Acknowledged]) {
    let mut streams: BTreeMap<&str, i64> = BTreeMap::new();
    let mut kinds: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (at, event) in events.iter().enumerate() {
        assert_eq!(number(event), i64::try_from(at).expect("small") + 1, "{event}");
        let stream = event["subject"].as_str().expect("a stream");
        let last = streams.entry(stream).or_default();
        *last += 1;
        assert_eq!(event["sequence"], last.to_string(), "{event}");
        *kinds.entry((stream, event["type"].as_str().expect("a type"))).or_default() += 1;
    }
    for one in acknowledged {
        let (stream, kind) = match one {
            Acknowledged::Identity(id) => (format!("identities/{id}"), "identity.created"),
            Acknowledged::Revoked(id) => (format!("identities/{id}"), "identity.tokensRevoked"),
            Acknowledged::Room(id) => (format!("rooms/{id}"), "room.created"),
            Acknowledged::Listed { room, .. } => {
                (format!("rooms/{room}"), "room.participantsChanged")
            }
            Acknowledged::Deleted(id) => (format!("rooms/{id}"), "room.deleted"),
        };
        let found = kinds.contains_key(&(&*stream, &*format!("convoke.{kind}")));
        assert!(found, "{one:?} is not told");
    }
}

/// All of it in order. Only a batch that was under way when the server was killed comes again.
fn check_told(told: &Told, newest: i64) {
    let batches = told.0.lock().expect("told").clone();
    let (mut next, mut again) = (1, 0);
    for batch in &batches {
        let first = *batch.first().expect("no empty batch");
        assert!(batch.windows(2).all(|pair| pair[1] == pair[0] + 1), "{batch:?}");
        assert!(first <= next, "a gap before {batch:?}, {next} was next");
        again += usize::from(first < next);
        next = next.max(batch.last().expect("no empty batch") + 1);
    }
    assert_eq!(next - 1, newest, "all of it");
    assert!(again <= 1, "{again} batches came again: {batches:?}");
}

fn set_up(folder: &Folder, hook: &str) {
    site::keys(folder);
    let more = "services.requests_per_second = 100000\nservices.request_burst = 100000\n";
    let config = format!("{more}webhooks.batch = 7\n{}", site::config(hook));
    folder.file("convoke.toml", &config);
}

/// CP-08.
#[test]
fn cp_08_nothing_that_was_acknowledged_is_lost_and_events_go_on_where_they_were() {
    let folder = Folder::new();
    let (hook, told) = Told::listen();
    set_up(&folder, &hook);
    let site = Site::start(folder.path());
    // From now on the webhook is told what happens.
    site.asker().get("/webhooks");
    let begun = Arc::new(AtomicUsize::new(0));
    let clients = site.asker().work(&begun, OPERATIONS);
    while begun.load(Ordering::Relaxed) < OPERATIONS / 2 {
        thread::sleep(Duration::from_millis(1));
    }
    site.process.signal("KILL");
    let join = |client: thread::JoinHandle<Vec<Acknowledged>>| client.join().expect("a client");
    let mut acknowledged: Vec<Acknowledged> = clients.into_iter().flat_map(join).collect();
    let before = acknowledged.len();
    assert!((OPERATIONS / 3..OPERATIONS).contains(&before), "killed in the middle: {before}");
    drop(site);

    let site = Site::start(folder.path());
    let asker = site.asker();
    asker.has(&acknowledged);
    check_log(&asker.events(), &acknowledged);
    let rest = asker.work(&begun, OPERATIONS);
    acknowledged.extend(rest.into_iter().flat_map(join));
    assert!(acknowledged.len() >= OPERATIONS - 2 * CLIENTS, "{}", acknowledged.len());
    asker.has(&acknowledged);
    let events = asker.events();
    check_log(&events, &acknowledged);
    let newest = number(events.last().expect("events"));
    let deadline = Instant::now() + Duration::from_secs(60);
    while told.newest() < newest {
        assert!(Instant::now() < deadline, "told up to {} of {newest}", told.newest());
        thread::sleep(Duration::from_millis(20));
    }
    check_told(&told, newest);
}
