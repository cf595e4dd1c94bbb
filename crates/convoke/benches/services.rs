//! Measures what the store costs: tokens issued over HTTP and joins, with nothing kept, with a store
//! in memory, and with one in SQLite. Prints a table; asserts nothing.
//!
//! `cargo bench -p convoke --bench services` (the clients share the machine, so the server is not at its limit).

#![expect(clippy::print_stdout, reason = "a program that reports to its user")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::call::{DevServer, connect};
use common::{Folder, Running, convoke, run};
use convoke::control::{Minter, Secret, TokenRequest};
use convoke_client::JoinOptions;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const CLIENTS: usize = 8;
const REQUESTS: usize = 2_000;
const JOINS: usize = 60;

const ISSUE: &str = "api-version=2023-10-01";

/// A connection that is kept.
struct Asker {
    stream: BufReader<TcpStream>,
    authority: String,
    key: String,
}

impl Asker {
    async fn connect(url: &str, key: String) -> Self {
        let authority = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let stream = TcpStream::connect(&authority).await.expect("connects");
        stream.set_nodelay(true).expect("an option");
        Self { stream: BufReader::new(stream), authority, key }
    }

    async fn post(&mut self, path: &str, body: &str) -> Value {
        let (host, key, length) = (&self.authority, &self.key, body.len());
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        self.stream.get_mut().write_all(request.as_bytes()).await.expect("sent");
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).await.expect("a line");
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().expect("a number");
            }
        }
        let mut reply = vec![0; length];
        self.stream.read_exact(&mut reply).await.expect("a body");
        serde_json::from_slice(&reply).expect("JSON")
    }
}

fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted[at.clamp(1, sorted.len()) - 1]
}

fn report(what: &str, mut each: Vec<Duration>, took: Duration) {
    each.sort();
    let rate = each.len() as f64 / took.as_secs_f64();
    let [half, most] = [0.5, 0.99].map(|share| percentile(&each, share).as_secs_f64() * 1e3);
    println!("{what:<36}{rate:>9.0}/s{half:>10.2} ms{most:>10.2} ms");
}

/// Runs this for so many clients at once; what each of its steps took, and all of it.
async fn at_once<F>(count: usize, client: impl Fn(usize) -> F) -> (Vec<Duration>, Duration)
where
    F: Future<Output = Vec<Duration>> + Send + 'static,
{
    let start = Instant::now();
    let clients: JoinSet<_> = (0..count).map(client).collect();
    let each = clients.join_all().await.into_iter().flatten().collect();
    (each, start.elapsed())
}

async fn issue(what: &str, url: &str, key: &str) {
    let (each, took) = at_once(CLIENTS, |_| {
        let (url, key) = (url.to_owned(), key.to_owned());
        async move {
            let mut asker = Asker::connect(&url, key).await;
            let made = asker.post(&format!("/identities?{ISSUE}"), "").await;
            let id = made["identity"]["id"].as_str().expect("an id").to_owned();
            let path = format!("/identities/{id}/:issueAccessToken?{ISSUE}");
            let mut each = Vec::with_capacity(REQUESTS);
            for _ in 0..REQUESTS {
                let start = Instant::now();
                let issued = asker.post(&path, r#"{"scopes":["voip"]}"#).await;
                each.push(start.elapsed());
                assert!(issued["token"].is_string(), "{issued}");
            }
            each
        }
    })
    .await;
    report(&format!("issue a token, {what}"), each, took);
}

/// Each client has a call of its own, so that each join also begins one and each leave ends it.
async fn joins(what: &str, url: &str, token: impl Fn(usize) -> String) {
    for count in [1, CLIENTS] {
        joins_at_once(what, url, count, &token).await;
    }
}

async fn joins_at_once(what: &str, url: &str, count: usize, token: impl Fn(usize) -> String) {
    let (each, took) = at_once(count, |client| {
        let (url, token) = (url.to_owned(), token(client));
        async move {
            let client = connect(&url, &token).await;
            let group = convoke::protocol::GroupId::random().to_string();
            let mut each = Vec::with_capacity(JOINS);
            for _ in 0..JOINS {
                let start = Instant::now();
                let call = client.join(&group, JoinOptions::default()).await.expect("joins");
                each.push(start.elapsed());
                call.leave().await.expect("leaves");
            }
            each
        }
    })
    .await;
    report(&format!("join, {count} at once, {what}"), each, took);
}

/// A server without service keys: it keeps nothing.
fn without_store(folder: &Path) -> (Running, String, Minter) {
    let key = folder.join("t.key");
    let out = key.to_str().expect("UTF-8");
    assert_eq!(run(["token", "key", "--algorithm", "hs256", "--out", out]).code, 0);
    let secret = std::fs::read_to_string(&key).expect("the key");
    let secret = Secret::new(STANDARD.decode(secret.trim()).expect("base64"));
    let config = folder.join("convoke.toml");
    let keys = "[[tokens.keys]]\nkid = \"main\"\nalgorithm = \"hs256\"\nsecret_file = \"t.key\"\n";
    std::fs::write(&config, format!("{keys}[http]\nmetrics_listen = \"\"\n")).expect("the file");
    let mut command = convoke(["serve", "--config"]);
    command.arg(config).args(["--http", "127.0.0.1:0", "--media", "127.0.0.1:0"]);
    let mut process = Running::start(command);
    let line = process.line("convoke is ready at ");
    let url = line.rsplit(' ').next().expect("a URL").to_owned();
    (process, url, Minter::hs256("main", &secret).expect("a key"))
}

#[tokio::main]
async fn main() {
    println!("{:<36}{:>11}{:>13}{:>13}", "", "rate", "median", "p99");
    {
        let folder = Folder::new();
        let (_process, url, minter) = without_store(folder.path());
        let token = |client| {
            let request = TokenRequest::new(format!("client {client}"));
            minter.mint(&request, SystemTime::now()).expect("a token")
        };
        joins("no store", &url, token).await;
    }
    let folder = Folder::new();
    let directory = folder.path().to_str().expect("UTF-8").to_owned();
    let fast = [
        ("CONVOKE__SERVICES__REQUESTS_PER_SECOND", "1000000"),
        ("CONVOKE__SERVICES__REQUEST_BURST", "1000000"),
    ];
    for (what, directory) in [("store in memory", ""), ("store in SQLite", &*directory)] {
        let environment = [fast[0], fast[1], ("CONVOKE__STORE__DIRECTORY", directory)];
        let server = DevServer::start(&environment);
        joins(what, &server.url, |client| server.token(&format!("client {client}"))).await;
        issue(what, &server.url, server.dev["accessKey"].as_str().expect("a key")).await;
    }
}
