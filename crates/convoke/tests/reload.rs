//! The configuration read anew by the real binary: on SIGHUP and over HTTP.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use common::call::{GROUP, connect};
use common::{Folder, Running, convoke, http, run};
use convoke::control::{Minter, Secret, TokenRequest};
use convoke_client::{Client, ClientOptions, JoinOptions};
use futures_util::{SinkExt as _, StreamExt as _};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;

const PATIENCE: Duration = Duration::from_secs(20);

/// A server with a configuration file that tests rewrite.
struct Server {
    process: Running,
    folder: Folder,
    url: String,
}

impl Server {
    fn start(folder: Folder, text: &str) -> Self {
        let file = folder.file("convoke.toml", text);
        let mut command = convoke(["serve", "--http", "127.0.0.1:0", "--media", "127.0.0.1:0"]);
        command.arg("--config").arg(&file);
        let mut process = Running::start(command);
        let line = process.line("convoke is ready at ");
        let url = line.rsplit(' ').next().expect("a URL").to_owned();
        Self { process, folder, url }
    }

    fn write(&self, text: &str) {
        self.folder.file("convoke.toml", text);
    }

    /// As an app server that has this key.
    fn ask(&self, key: &str, method: &str, path: &str) -> (u16, Value) {
        let secret = std::fs::read_to_string(self.folder.path().join(key)).expect("a key");
        let bearer = format!("Bearer {}", secret.trim());
        let url = format!("{}{path}", self.url);
        let (status, body) = http(method, &url, &[("authorization", &bearer)], "");
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    fn token(&self, kid: &str) -> String {
        use base64::Engine as _;
        let secret = std::fs::read_to_string(self.folder.path().join(kid)).expect("a key");
        let engine = base64::engine::general_purpose::STANDARD;
        let secret = Secret::new(engine.decode(secret.trim()).expect("base64"));
        let minter = Minter::hs256(kid, &secret).expect("a key");
        minter.mint(&TokenRequest::new("alice"), SystemTime::now()).expect("a token")
    }
}

fn folder(keys: &[&str]) -> Folder {
    let folder = Folder::new();
    for key in keys {
        let out = folder.path().join(key);
        let args = ["token", "key", "--algorithm", "hs256", "--out"];
        let made = run(args.into_iter().chain([out.to_str().expect("UTF-8")]));
        assert_eq!(made.code, 0, "{}", made.err);
    }
    folder
}

fn config(token: &str, service: &str, more: &str) -> String {
    format!(
        "[[tokens.keys]]\nkid = \"{token}\"\nalgorithm = \"hs256\"\nsecret_file = \"{token}\"\n\
         [[services.keys]]\nname = \"{service}\"\nalgorithm = \"hs256\"\n\
         secret_file = \"{service}\"\nroles = [\"admin\"]\n{more}"
    )
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

async fn is_let_in(server: &Server, kid: &str) -> bool {
    Client::connect(&server.url, &server.token(kid), ClientOptions::default()).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_limits_and_the_log_change_while_a_call_goes_on() {
    let quiet = "[http]\nmetrics_listen = \"\"\n";
    let folder = folder(&["old", "new", "first", "second"]);
    let server = Server::start(folder, &config("old", "first", quiet));
    let client = connect(&server.url, &server.token("old")).await;
    let call = client.join(GROUP, JoinOptions::default()).await.expect("joins");

    // On a signal: other keys for clients and app servers.
    server.write(&config("new", "second", quiet));
    server.process.signal("HUP");
    until("the new key", async || server.ask("second", "GET", "audit").0 == 200).await;
    assert_eq!(server.ask("first", "GET", "audit").0, 401);
    assert!(is_let_in(&server, "new").await && !is_let_in(&server, "old").await);

    // A bad file changes nothing, and says why.
    let refused = |text: &str, words: &[&str]| {
        server.write(text);
        let (status, problem) = server.ask("second", "POST", "config/:reload");
        assert_eq!((status, &problem["code"]), (422, &json!("configurationInvalid")));
        for word in words {
            assert!(problem["detail"].as_str().expect("text").contains(word), "{problem}");
        }
    };
    refused(&config("old", "first", "[http]\nhelo_timeout = \"1s\""), &["helo_timeout", ":11: "]);
    refused(&config("old", "gone", quiet), &["gone"]);
    refused(&config("old", "first", "[limits]\nagents = 0"), &["limits.agents"]);
    server.process.signal("HUP");
    assert!(is_let_in(&server, "new").await && !is_let_in(&server, "old").await);
    assert_eq!(server.ask("first", "POST", "config/:reload").0, 401);

    // What needs a restart is named, and the rest holds.
    let more = "[http]\nmetrics_listen = \"\"\nping_interval = \"7s\"\n\
        [limits]\nagents_per_identity = 2\ntracks = 3\n[media]\nworkers = 3\n\
        [log]\nlevel = \"debug\"\n";
    server.write(&config("new", "second", more));
    let (status, told) = server.ask("second", "POST", "config/:reload");
    assert_eq!(status, 200, "{told}");
    let changed = ["http.ping_interval", "limits.agents_per_identity", "log.level"];
    assert_eq!(told["changed"], json!(changed));
    assert_eq!(told["needsRestart"], json!(["limits.tracks", "media.workers"]));
    // One of them is the one in the call, though its key is gone.
    let second = connect(&server.url, &server.token("new")).await;
    assert!(!is_let_in(&server, "new").await, "a third agent of this identity");
    drop(second);

    assert!(call.state().participants.len() <= 1);
    call.leave().await.expect("the call has gone on");
    let (_, audit) = server.ask("second", "GET", "audit");
    assert!(audit.to_string().contains("config.reload"), "{audit}");
    server.process.signal("TERM");
    let (_, log) = server.process.wait(PATIENCE);
    assert!(log.contains("the configuration was not changed"), "{log}");
    assert!(log.contains("helo_timeout") && log.contains("media.workers"), "{log}");
    assert!(log.contains("DEBUG"), "{log}");
}

/// A certificate that is its own root.
fn certificate(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    std::fs::write(folder.join("tls.pem"), made.cert.pem()).expect("written");
    std::fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).expect("written");
    made.cert.der().clone()
}

/// A connection to a server that has this certificate.
async fn over_tls(url: &str, root: &CertificateDer<'static>) -> Option<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let authority = url.strip_prefix("https://").expect("https").trim_end_matches('/');
    let stream = TcpStream::connect(authority).await.expect("connects");
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()
}

async fn healthz(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
    let mut reply = [0; 15];
    stream.read_exact(&mut reply).await.expect("a reply");
    String::from_utf8_lossy(&reply).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_change_while_connections_go_on() {
    let folder = folder(&["main", "app"]);
    let first = certificate(folder.path());
    let text = config(
        "main",
        "app",
        "[http]\nmetrics_listen = \"\"\nheader_timeout = \"1s\"\n\
         tls_certificate_file = \"tls.pem\"\ntls_key_file = \"tls.key\"\n",
    );
    let server = Server::start(folder, &text);

    // A WebSocket over it.
    let stream = over_tls(&server.url, &first).await.expect("TLS");
    let opened = tokio_tungstenite::client_async("wss://localhost/agent", stream).await;
    let (mut agent, _) = opened.expect("a WebSocket");
    let hello = json!({ "type": "hello", "protocol": 1, "token": server.token("main") });
    agent.send(Message::Text(hello.to_string().into())).await.expect("sent");
    let welcome = agent.next().await.expect("an answer").expect("no error");
    assert!(welcome.to_string().contains("welcome"), "{welcome}");

    // A key that does not fit its certificate changes nothing.
    let key = std::fs::read(server.folder.path().join("tls.key")).expect("a key");
    let second = certificate(server.folder.path());
    let other = std::fs::read(server.folder.path().join("tls.key")).expect("a key");
    std::fs::write(server.folder.path().join("tls.key"), key).expect("written");
    server.process.signal("HUP");
    until("a refusal", async || server.process.log().contains("was not changed")).await;
    assert!(over_tls(&server.url, &first).await.is_some());
    std::fs::write(server.folder.path().join("tls.key"), other).expect("written");
    server.process.signal("HUP");
    until("the new certificate", async || over_tls(&server.url, &second).await.is_some()).await;
    assert!(over_tls(&server.url, &first).await.is_none());
    let mut stream = over_tls(&server.url, &second).await.expect("TLS");
    assert_eq!(healthz(&mut stream).await, "HTTP/1.1 200 OK");

    // The WebSocket from before goes on.
    agent.send(Message::Text(json!({ "type": "ping" }).to_string().into())).await.expect("sent");
    let pong = loop {
        let next = agent.next().await.expect("goes on").expect("no error");
        if next.is_text() {
            break next;
        }
    };
    assert!(pong.to_string().contains("pong"), "{pong}");

    // Who does not even begin to speak TLS is not waited for.
    let authority = server.url.strip_prefix("https://").expect("https").trim_end_matches('/');
    let mut silent = TcpStream::connect(authority).await.expect("connects");
    let ended = tokio::time::timeout(PATIENCE, silent.read(&mut [0; 1])).await;
    assert!(matches!(ended.expect("still open"), Ok(0) | Err(_)));
}

/// What a client is told of TURN.
async fn ice_servers(server: &Server) -> Value {
    let url = server.url.replace("http://", "ws://");
    let (mut agent, _) =
        tokio_tungstenite::connect_async(format!("{url}agent")).await.expect("a WebSocket");
    let hello = json!({ "type": "hello", "protocol": 1, "token": server.token("main") });
    agent.send(Message::Text(hello.to_string().into())).await.expect("sent");
    let welcome = agent.next().await.expect("an answer").expect("no error");
    let welcome: Value = serde_json::from_str(&welcome.to_string()).expect("JSON");
    welcome["iceServers"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_told_of_turn_with_credentials_of_their_own() {
    use aws_lc_rs::hmac;
    use base64::Engine as _;
    let folder = folder(&["main", "app"]);
    folder.file("turn.key", "the secret of coturn, as written\n");
    let more = |url: &str| {
        let turn =
            "[turn]\nlifetime = \"1h\"\n[[turn.servers]]\nsecret_file = \"turn.key\"\nurls = ";
        config("main", "app", &format!("[http]\nmetrics_listen = \"\"\n{turn}[\"{url}\"]\n"))
    };
    let server = Server::start(folder, &more("turn:first.example.com"));
    let told = ice_servers(&server).await;
    assert_eq!(told[0]["urls"], json!(["turn:first.example.com"]));
    let username = told[0]["username"].as_str().expect("a name");
    let expires: u64 = username.strip_suffix(":alice").expect("whose").parse().expect("when");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("now").as_secs();
    assert!((now + 3_500..=now + 3_600).contains(&expires), "{expires} at {now}");
    let sign = |secret: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
        let engine = base64::engine::general_purpose::STANDARD;
        json!(engine.encode(hmac::sign(&key, username.as_bytes())))
    };
    assert_eq!(told[0]["credential"], sign("the secret of coturn, as written"));

    // Another server, and too short a secret.
    server.write(&more("turn:second.example.com"));
    assert_eq!(server.ask("app", "POST", "config/:reload").0, 200);
    assert_eq!(ice_servers(&server).await[0]["urls"], json!(["turn:second.example.com"]));
    server.folder.file("turn.key", "short");
    let (status, problem) = server.ask("app", "POST", "config/:reload");
    assert_eq!(status, 422);
    assert!(problem["detail"].as_str().expect("text").contains("turn.servers[0]"), "{problem}");
    assert!(!problem.to_string().contains("short\""), "{problem}");
}
