//! The real server with a webhook in ACS's format: somebody without a device is called, its app
//! server is told, wakes the app, and the call comes about; the server is killed and started again
//! before all of it is told.

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::call::{connect, talking, until};
use common::{Folder, get, http, site};
use convoke_client::{Incoming, StartCallOptions};
use serde_json::{Value, json};

/// An app server's address: what it was told, each event once.
#[derive(Clone, Default)]
struct Hook {
    told: Arc<Mutex<Vec<Value>>>,
    refuses: Arc<AtomicBool>,
}

impl Hook {
    fn listen() -> (String, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let hook = Self::default();
        let all = hook.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                all.answer(stream);
            }
        });
        (url, hook)
    }

    /// One request; nothing when its sender was killed meanwhile.
    fn answer(&self, mut stream: TcpStream) -> Option<()> {
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
        let refuses = self.refuses.load(Ordering::Acquire);
        if !refuses {
            let batch: Vec<Value> = serde_json::from_slice(&body).ok()?;
            let mut told = self.told.lock().expect("told");
            for event in batch {
                if told.iter().all(|known| known["id"] != event["id"]) {
                    told.push(event);
                }
            }
        }
        let status = if refuses { "503 Not Now" } else { "204 No Content" };
        let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(reply.as_bytes()).ok()
    }

    fn kinds(&self) -> Vec<String> {
        let told = self.told.lock().expect("told");
        let kind = |event: &Value| event["type"].as_str().expect("a type").to_owned();
        let kinds = told.iter().map(kind);
        kinds.map(|kind| kind.trim_start_matches("Microsoft.Communication.").to_owned()).collect()
    }

    fn find(&self, kind: &str) -> Option<Value> {
        let at = self.kinds().iter().position(|one| one == kind)?;
        Some(self.told.lock().expect("told")[at]["data"].clone())
    }
}

fn set_up(folder: &Folder, hook: &str) {
    site::keys(folder);
    let config = site::config(hook) + "format = \"eventGrid\"\n";
    folder.file("convoke.toml", &config);
}

/// An identity with a token, made by the server.
fn identity(folder: &Folder, url: &str) -> (String, String) {
    let key = std::fs::read_to_string(folder.path().join("app.key")).expect("the key");
    let bearer = format!("Bearer {}", key.trim());
    let headers = [("authorization", &*bearer), ("content-type", "application/json")];
    let body = json!({ "createTokenWithScopes": ["voip"] }).to_string();
    let path = format!("{url}/identities?api-version=2023-10-01");
    let (status, body) = http("POST", &path, &headers, &body);
    assert_eq!(status, 201, "{body}");
    let made: Value = serde_json::from_str(&body).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&made["identity"]["id"]), text(&made["accessToken"]["token"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_brings_the_callee_into_the_call_and_all_is_told_over_a_kill() {
    let folder = Folder::new();
    let (address, hook) = Hook::listen();
    set_up(&folder, &address);
    let (process, url) = site::start(folder.path());
    assert_eq!(get(&format!("{url}/healthz")).0, 200);
    let (alice, alice_token) = identity(&folder, &url);
    let (bob, bob_token) = identity(&folder, &url);
    let epoch = Instant::now();
    let one = connect(&url, &alice_token).await;
    let options = StartCallOptions { join: talking(epoch), ..StartCallOptions::default() };
    let calls = one.start_call(vec![bob.clone()], options).await.expect("calls");
    // The app server hears that nobody is there, and pushes; the app starts and connects.
    until("the push", || hook.find("IncomingCall").is_some()).await;
    let data = hook.find("IncomingCall").expect("told");
    assert_eq!((&data["connectedAgents"], &data["to"]["rawId"]), (&json!(0), &json!(bob)));
    let two = connect(&url, &bob_token).await;
    let mut incoming = two.incoming();
    let ring = loop {
        match tokio::time::timeout(Duration::from_secs(30), incoming.recv()).await {
            Ok(Ok(Incoming::Rings(ring))) => break ring,
            Ok(Ok(_)) => {}
            other => panic!("it does not ring: {other:?}"),
        }
    };
    assert_eq!(data["incomingCallId"], json!(ring.incoming_call_id));
    let accepted = two.accept(&ring, talking(epoch)).await.expect("accepted");
    let (mut of_one, mut of_two) = (calls.packets(), accepted.packets());
    let media = async { tokio::join!(of_one.next(), of_two.next()) };
    let media = tokio::time::timeout(Duration::from_secs(30), media).await.expect("media");
    assert!(media.0.is_some() && media.1.is_some(), "both hear each other");
    until("both", || hook.kinds().iter().filter(|one| *one == "CallParticipantAdded").count() == 2)
        .await;
    // From now on nothing is taken until the server was killed.
    hook.refuses.store(true, Ordering::Release);
    accepted.leave().await.expect("left");
    calls.leave().await.expect("left");
    let key = std::fs::read_to_string(folder.path().join("app.key")).expect("the key");
    let bearer = format!("Bearer {}", key.trim());
    let over = format!("{url}/events?limit=100&format=eventGrid");
    until("the end is recorded", || {
        let (_, body) = http("GET", &over, &[("authorization", &bearer)], "");
        body.contains("Microsoft.Communication.CallEnded")
    })
    .await;
    process.signal("KILL");
    drop(process);
    hook.refuses.store(false, Ordering::Release);
    let (_process, _) = site::start(folder.path());
    until("the rest", || hook.find("CallEnded").is_some()).await;
    let mut kinds = hook.kinds();
    // It is told while the caller's coming is: either may be first.
    kinds.retain(|kind| kind != "IncomingCall");
    let added = ["CallStarted", "CallParticipantAdded", "CallParticipantAdded"];
    let removed = ["CallParticipantRemoved", "CallParticipantRemoved", "CallEnded"];
    assert_eq!(kinds, [added, removed].concat());
    let over = hook.find("CallEnded").expect("told");
    assert_eq!((&over["startedBy"]["rawId"], &over["isTwoParty"]), (&json!(alice), &json!(true)));
    assert!(over["durationOfCall"].as_f64().expect("seconds") > 0.0);
}
