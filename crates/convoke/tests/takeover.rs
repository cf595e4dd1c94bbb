//! A second server takes over from the first, on the same address and store: nobody who joins meanwhile
//! is refused.

mod common;

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use common::call::{GROUP, connect, until};
use common::{Folder, Running, convoke, get, run};
use convoke::control::{Minter, Secret, TokenRequest};
use convoke_client::{Client, ClientOptions, JoinOptions};

/// Those who join over and over at the same time.
const JOINERS: u32 = 3;

/// A port that is free now. Others could take it before it is used; then the server says so.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

struct Site {
    folder: Folder,
    port: u16,
    minter: Arc<Minter>,
}

impl Site {
    fn new() -> Self {
        let folder = Folder::new();
        let key = folder.path().join("tokens.key");
        let key = key.to_str().expect("UTF-8");
        assert_eq!(run(["token", "key", "--algorithm", "hs256", "--out", key]).code, 0);
        let port = free_port();
        folder.file(
            "convoke.toml",
            &format!(
                "[[tokens.keys]]\nkid = \"main\"\nalgorithm = \"hs256\"\nsecret_file = \"tokens.key\"\n\
                 [http]\nlisten = \"127.0.0.1:{port}\"\nreuse_port = true\n\
                 [store]\ndirectory = \"kept\"\n[shutdown]\ndrain = \"5m\"\n\
                 [services]\nissue_with = \"main\"\n[[services.keys]]\nname = \"app\"\n\
                 algorithm = \"hs256\"\nsecret_file = \"tokens.key\"\nroles = [\"admin\"]\n"
            ),
        );
        let secret = base64::engine::general_purpose::STANDARD.decode(read(key)).expect("base64");
        let secret = Secret::new(secret);
        let minter = Arc::new(Minter::hs256("main", &secret).expect("a key"));
        Self { folder, port, minter }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    fn command(&self, private: u16) -> std::process::Command {
        let mut command = convoke(["serve", "--media", "127.0.0.1:0", "--config"]);
        command.arg(self.folder.path().join("convoke.toml"));
        command.env("CONVOKE__HTTP__METRICS_LISTEN", format!("127.0.0.1:{private}"));
        command
    }

    fn start(&self) -> (Running, String) {
        let private = free_port();
        let mut process = Running::start(self.command(private));
        process.line("convoke is ready at ");
        (process, format!("http://127.0.0.1:{private}/"))
    }

    async fn connect(&self, identity: &str) -> Client {
        connect(&self.url(), &token(&self.minter, identity)).await
    }
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).expect("a file").trim().to_owned()
}

fn token(minter: &Minter, identity: &str) -> String {
    minter.mint(&TokenRequest::new(identity), SystemTime::now()).expect("a token")
}

/// Joins over a new connection each time, as somebody else; what went wrong.
async fn keep_joining(
    url: String,
    minter: Arc<Minter>,
    number: u32,
    joins: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
) -> Vec<String> {
    let (mut refused, mut turn) = (Vec::new(), 0);
    while !stop.load(Relaxed) {
        turn += 1;
        let identity = format!("joiner {number}.{turn}");
        let options = ClientOptions {
            connect_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            ..ClientOptions::default()
        };
        let joined = async {
            let token = token(&minter, &identity);
            let client = Client::connect(&url, &token, options).await.map_err(|e| e.to_string())?;
            let group = format!("6ba7b810-9dad-11d1-80b4-0000{number:02}{turn:06}");
            let call = client.join(&group, JoinOptions::default()).await;
            let call = call.map_err(|error| error.to_string())?;
            // It may be told to go once it is out.
            _ = call.leave().await;
            Ok::<(), String>(())
        };
        match joined.await {
            Ok(()) => _ = joins.fetch_add(1, Relaxed),
            Err(error) => refused.push(format!("{identity}: {error}")),
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    refused
}

fn joins_of(private: &str) -> u64 {
    let (_, page) = get(&format!("{private}metrics"));
    let line = page.lines().find(|line| line.starts_with("convoke_joins_total{outcome=\"ok\"}"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

/// CL-04.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cl_04_while_a_second_server_takes_over_no_join_is_refused() {
    let site = Site::new();
    let (old, old_private) = site.start();
    let resident = site.connect("resident").await;
    let call = resident.join(GROUP, JoinOptions::default()).await.expect("joins");
    let idle = site.connect("idle").await;

    let (joins, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let joiners: Vec<_> = (0..JOINERS)
        .map(|number| {
            let (minter, url) = (Arc::clone(&site.minter), site.url());
            tokio::spawn(keep_joining(url, minter, number, Arc::clone(&joins), Arc::clone(&stop)))
        })
        .collect();
    let more = |count| {
        let from = joins.load(Relaxed);
        let joins = Arc::clone(&joins);
        until("more joins", move || joins.load(Relaxed) >= from + count)
    };
    more(20).await;
    let (new, new_private) = site.start();
    more(20).await;
    assert!(joins_of(&new_private) > 0, "the kernel shares connections between both");

    old.signal("TERM");
    until("unready", || get(&format!("{old_private}readyz")).0 == 503).await;
    assert_eq!(get(&format!("{new_private}readyz")).0, 200);
    // Who was connected to the old one all the time reaches the new one by itself.
    let deadline = Instant::now() + Duration::from_secs(30);
    let moved = loop {
        match idle.join(GROUP, JoinOptions::default()).await {
            // Alone: with the resident it would be two, as long as the old one takes joins of those
            // who are connected to it.
            Ok(call) if call.state().participants.len() == 1 => break call,
            Ok(call) => _ = call.leave().await,
            Err(error) => assert!(!error.to_string().contains("draining"), "{error}"),
        }
        assert!(Instant::now() < deadline, "still at the old one");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    more(40).await;

    // The old one waits for its call, and then goes.
    call.leave().await.expect("its call has gone on");
    let (status, log) = old.wait(Duration::from_secs(30));
    assert_eq!(status.code(), Some(0), "{log}");
    more(20).await;
    stop.store(true, Relaxed);
    for joiner in joiners {
        assert_eq!(joiner.await.expect("no panic"), Vec::<String>::new());
    }
    moved.leave().await.expect("leaves");
    new.signal("TERM");
    let (status, log) = new.wait(Duration::from_secs(30));
    assert_eq!(status.code(), Some(0), "{log}");
    // Two wrote into one store.
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn without_the_option_a_second_server_does_not_start() {
    let site = Site::new();
    let (_old, _) = site.start();
    let mut command = site.command(free_port());
    command.env("CONVOKE__HTTP__REUSE_PORT", "false");
    let said = common::finish(&mut command);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains(&format!("127.0.0.1:{}: Address already in use", site.port)));
}
