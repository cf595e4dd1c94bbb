//! `convoke debug bundle` on a running server: what is in it, and what is in none of its files.

mod common;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, TcpListener};
use std::path::Path;
use std::time::SystemTime;

use base64::Engine as _;
use common::call::{GROUP, connect};
use common::{Folder, Running, convoke, site};
use convoke::control::{Minter, Secret, TokenRequest};
use convoke_client::JoinOptions;

const MORE: &str = r#"
http.trusted_proxies = ["10.9.8.0/24", "2001:db8:7::/48"]
media.advertise = ["203.0.113.77", "127.0.0.1"]
"#;

fn files(archive: &Path) -> BTreeMap<String, String> {
    let file = flate2::read::GzDecoder::new(File::open(archive).expect("an archive"));
    let mut archive = tar::Archive::new(file);
    let read = |entry: std::io::Result<tar::Entry<_>>| {
        let mut entry: tar::Entry<flate2::read::GzDecoder<File>> = entry.expect("an entry");
        let name = entry.path().expect("a name").display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("text");
        (name.trim_start_matches("convoke/").to_owned(), text)
    };
    archive.entries().expect("entries").map(read).collect()
}

/// Whatever reads as an address between characters that cannot be part of one.
fn addresses(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !(c.is_ascii_hexdigit() || ".:".contains(c)));
    let trimmed = words.flat_map(|word| [word, word.split(':').next().unwrap_or(word)]);
    trimmed.filter(|word| word.parse::<IpAddr>().is_ok()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_tells_how_the_server_is_and_no_secret() {
    let folder = Folder::new();
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let keys = site::keys(&folder);
    let config = site::config("http://127.0.0.1:9/hook?key=hidden-in-a-url");
    folder.file("convoke.toml", &(MORE.to_owned() + &config));
    // The bundle asks where the configuration says.
    let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let [http, private] = ports.map(|one| one.local_addr().expect("an address").to_string());
    let environment =
        [("CONVOKE__HTTP__LISTEN", &http), ("CONVOKE__HTTP__METRICS_LISTEN", &private)];
    let config = path("convoke.toml");
    let mut command = convoke(["serve", "--media", "127.0.0.1:0", "--config", &config]);
    command.envs(environment);
    let mut server = Running::start(command);
    server.line("convoke is ready at ");
    let secret = base64::engine::general_purpose::STANDARD.decode(&keys[0]).expect("base64");
    let minter = Minter::hs256("main", &Secret::new(secret)).expect("a key");
    let token = minter.mint(&TokenRequest::new("alice"), SystemTime::now()).expect("a token");
    let alice = connect(&format!("http://{http}/"), &token).await;
    let call = alice.join(GROUP, JoinOptions::default()).await.expect("joins");

    let (out, key) = (path("report.tar.gz"), path("app.key"));
    let bundle = |extra: &[&str]| {
        let args = ["debug", "bundle", "--config", &config, "-o", &out];
        let mut command = convoke(args.into_iter().chain(extra.iter().copied()));
        common::finish(command.envs(environment))
    };
    let said = bundle(&["--key-file", &key]);
    assert_eq!(said.code, 0, "{}", said.err);
    let files = files(Path::new(&out));
    assert!(!files.contains_key("missing.txt"), "{}", files["missing.txt"]);
    assert!(files["version.txt"].contains(env!("CARGO_PKG_VERSION")));
    assert!(files["configuration.toml"].contains("secret_file = \"tokens.key\""));
    assert!(files["metrics.txt"].contains("convoke_joins_total{outcome=\"ok\"} 1\n"));
    assert!(files["kernel.txt"].contains("== /proc/sys/net/core/rmem_max\n"));
    assert_eq!(files["ready.txt"], "ok\n");
    let calls: serde_json::Value = serde_json::from_str(&files["calls.json"]).expect("JSON");
    assert_eq!(calls[0]["call"]["locator"], format!("groups/{GROUP}"));
    assert_eq!(calls[0]["participants"][0]["identity"], "alice");
    assert!(calls[0]["participants"][0]["explanation"].is_object(), "{calls}");
    let log = &files["log.txt"];
    assert!(log.contains("call begins") && log.contains("INFO"), "{log}");
    for (name, text) in &files {
        for secret in keys.iter().map(String::as_str).chain([&*token, "hidden-in-a-url"]) {
            assert!(!text.contains(secret), "{name} has a secret");
        }
        assert_eq!(addresses(text), Vec::<&str>::new(), "{name}");
    }

    // Never over something that is there; and without a server it tells what it lacks.
    assert!(bundle(&[]).err.contains("File exists"));
    call.leave().await.expect("leaves");
    drop(server);
    std::fs::remove_file(&out).expect("removed");
    let said = bundle(&["--key-file", &key]);
    assert_eq!(said.code, 0, "{}", said.err);
    let files = self::files(Path::new(&out));
    for missing in ["metrics.txt: ", "calls.json: ", "log.txt: "] {
        assert!(files["missing.txt"].contains(missing), "{}", files["missing.txt"]);
    }
}
