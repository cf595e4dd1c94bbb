//! The binary as its users meet it: what it prints, what it refuses, how it ends.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use common::call::DevServer;
use common::{Folder, Running, convoke, finish, get, http, run};
use convoke::control::{Key, KeySet, TokenRules};
use convoke::protocol::Scope;

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn help_names_the_commands_and_the_exit_codes() {
    let said = run(["--help"]);
    assert_eq!(said.code, 0);
    for word in ["serve", "token", "config", "healthcheck", "Exit codes"] {
        assert!(said.out.contains(word), "{word}: {}", said.out);
    }
    assert_eq!(run(["sevre"]).code, 2);
    assert_eq!(run([]).code, 2);
}

#[test]
fn the_example_is_the_file_in_config() {
    let said = run(["config", "example"]);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/convoke.example.toml");
    assert_eq!(said.code, 0);
    assert_eq!(said.out, std::fs::read_to_string(file).expect("the example"));
}

#[test]
fn a_key_that_was_made_is_configured_as_it_says_and_checks_its_tokens() {
    for (algorithm, file) in [("hs256", "t.key"), ("eddsa", "t.pem")] {
        let folder = Folder::new();
        let key = folder.path().join(file);
        let made = run(["token", "key", "--algorithm", algorithm, "--out", text(&key)]);
        assert_eq!(made.code, 0, "{}", made.err);
        let mode = std::fs::metadata(&key).expect("the key").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "for its owner only");
        let secret = std::fs::read_to_string(&key).expect("the key");
        assert!(!made.out.contains(secret.trim()), "the key is not printed");

        // What it says to configure is a valid configuration.
        let snippet: Vec<&str> = made
            .out
            .lines()
            .skip_while(|line| *line != "[[tokens.keys]]")
            .take_while(|line| !line.is_empty())
            .collect();
        let config = folder.file("convoke.toml", &snippet.join("\n"));
        let checked = run(["config", "check", text(&config)]);
        assert_eq!(checked.code, 0, "{}", checked.err);
        assert!(checked.out.contains("valid, 1 token key"), "{}", checked.out);

        let group = "6BA7B810-9DAD-11D1-80B4-00C04FD430C8";
        let minted = run([
            "token",
            "mint",
            "--key",
            text(&key),
            "--identity",
            "alice",
            "--scope",
            "voip.join",
            "--name",
            "Alice",
            "--group-id",
            group,
            "--ttl",
            "5m",
        ]);
        assert_eq!(minted.code, 0, "{}", minted.err);
        let checker = match algorithm {
            "hs256" => {
                use base64::Engine;
                let bytes = base64::engine::general_purpose::STANDARD.decode(secret.trim());
                let secret = convoke::control::Secret::new(bytes.expect("base64"));
                Key::hs256("main", &secret).expect("usable")
            }
            _ => {
                let public = folder.path().join("t.pem.pub");
                let pem = std::fs::read_to_string(public).expect("the public key");
                Key::eddsa_pem("main", &pem).expect("usable")
            }
        };
        let keys = KeySet::new(vec![checker], TokenRules::default()).expect("usable");
        let token = keys.verify(minted.out.trim(), SystemTime::now()).expect("a good token");
        assert_eq!(token.identity, "alice");
        assert_eq!(token.display_name.as_deref(), Some("Alice"));
        assert_eq!(token.scopes, [Scope::VoipJoin]);
        assert_eq!(token.group_id, Some(group.parse().expect("a GUID")));
        let left = token.expires_at.duration_since(SystemTime::now()).expect("in the future");
        assert!(left <= Duration::from_secs(300) && left > Duration::from_secs(240), "{left:?}");

        // Nothing is overwritten.
        let again = run(["token", "key", "--algorithm", algorithm, "--out", text(&key)]);
        assert_eq!(again.code, 1);
        assert!(again.err.contains("exists already"), "{}", again.err);
        assert_eq!(std::fs::read_to_string(&key).expect("the key"), secret);
    }
}

#[test]
fn what_cannot_be_minted_is_said() {
    let folder = Folder::new();
    let key = folder.path().join("t.key");
    assert_eq!(run(["token", "key", "--algorithm", "hs256", "--out", text(&key)]).code, 0);
    let mint = |more: &[&'static str]| {
        let mut args = vec!["token", "mint", "--key", text(&key)];
        args.extend(more);
        run(args.into_iter().map(|arg| arg as &str).collect::<Vec<_>>())
    };
    for (more, code, word) in [
        (&["--identity", "a"][..], 2, "--scope"),
        (&["--identity", "a", "--scope", "admin"], 2, "voip"),
        (&["--identity", "a", "--scope", "voip", "--group-id", "not-a-guid"], 2, "group ID"),
        (&["--identity", "a", "--scope", "voip", "--ttl", "3 fortnights"], 2, "ttl"),
        (&["--identity", "a", "--scope", "voip", "--ttl", "30days"], 1, "24 hours"),
        (&["--identity", "", "--scope", "voip"], 1, "identity"),
    ] {
        let said = mint(more);
        assert_eq!(said.code, code, "{more:?}: {}", said.err);
        assert!(said.err.contains(word), "{more:?}: {}", said.err);
        assert_eq!(said.out, "");
    }
    let none = run(["token", "mint", "--key", "/nowhere", "--identity", "a", "--scope", "voip"]);
    assert_eq!(none.code, 1);
    assert!(none.err.contains("/nowhere"), "{}", none.err);
}

#[test]
fn a_missing_key_is_an_error_that_says_how_to_make_one() {
    let said = run(["serve", "--http", "127.0.0.1:0", "--media", "127.0.0.1:0"]);
    assert_eq!(said.code, 2);
    for word in ["no token key", "convoke token key --algorithm hs256", "[[tokens.keys]]", "--dev"]
    {
        assert!(said.err.contains(word), "{word}: {}", said.err);
    }
}

/// DE-01.
#[test]
fn de_01_a_wildcard_with_nothing_advertised_is_an_error() {
    let folder = Folder::new();
    let key = folder.path().join("t.key");
    assert_eq!(run(["token", "key", "--algorithm", "hs256", "--out", text(&key)]).code, 0);
    let keys = "[[tokens.keys]]\nkid = \"main\"\nalgorithm = \"hs256\"\nsecret_file = \"t.key\"\n";
    let config = folder.file("convoke.toml", keys);
    let said =
        run(["serve", "--config", text(&config), "--http", "127.0.0.1:0", "--media", "0.0.0.0:0"]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.err.contains("0.0.0.0") && said.err.contains("advertise"), "{}", said.err);
}

#[test]
fn published_samples_and_weak_secrets_are_refused() {
    let folder = Folder::new();
    for (secret, word) in [
        ("your-256-bit-secret", "published sample"),
        ("eW91ci0yNTYtYml0LXNlY3JldA==", "published sample"),
        ("a-string-secret-at-least-256-bits-long", "published sample"),
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "placeholder"),
        ("c2hvcnQgc2VjcmV0", "at least 32"),
        ("what is this?", "not base64"),
        ("", "at least 32"),
    ] {
        folder.file("t.key", secret);
        let keys =
            "[[tokens.keys]]\nkid = \"main\"\nalgorithm = \"hs256\"\nsecret_file = \"t.key\"\n";
        let config = folder.file("convoke.toml", keys);
        for command in ["config check", "serve --config"] {
            let args = command.split(' ').chain([text(&config)]);
            let said = run(args);
            assert_eq!(said.code, 2, "{secret}: {}", said.err);
            assert!(said.err.contains(word), "{secret}: {}", said.err);
        }
    }
}

#[test]
fn mistakes_are_told_with_file_and_line_or_variable() {
    let folder = Folder::new();
    let config = folder.file("convoke.toml", "[http]\nlistn = \"127.0.0.1:1\"\n");
    let said = run(["config", "check", text(&config)]);
    assert_eq!(said.code, 2);
    let expected = format!("{}:2: unknown key `http.listn`; did you mean `listen`?", text(&config));
    assert!(said.err.contains(&expected), "{}", said.err);

    let said = finish(convoke(["serve"]).env("CONVOKE__HTTP__LISTN", "127.0.0.1:1"));
    assert_eq!(said.code, 2);
    assert!(said.err.contains("variable CONVOKE__HTTP__LISTN"), "{}", said.err);
    assert!(said.err.contains("did you mean `listen`?"), "{}", said.err);

    let said = finish(convoke(["serve"]).env("CONVOKE__CALLS__RESUME_GRACE", "soon"));
    assert_eq!(said.code, 2);
    assert!(said.err.contains("variable CONVOKE__CALLS__RESUME_GRACE"), "{}", said.err);

    let said = run(["serve", "--config", "/nowhere/convoke.toml"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("/nowhere/convoke.toml"), "{}", said.err);
}

#[test]
fn dev_mode_tells_all_in_dev_json_and_mints() {
    let server = DevServer::start(&[]);
    let file = server.folder.path().join("dev.json");
    let mode = std::fs::metadata(&file).expect("dev.json").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let DevServer { process, url, dev, .. } = server;
    assert_eq!(dev["url"], url);
    let access_key = dev["accessKey"].as_str().expect("an access key");
    assert_eq!(dev["connectionString"], format!("endpoint={url};accesskey={access_key}"));

    assert_eq!(get(&format!("{url}healthz")).0, 200);
    assert_eq!(get(&format!("{url}readyz")).0, 200);
    let metrics = dev["metricsUrl"].as_str().expect("a metrics URL");
    let (status, body) = get(metrics);
    assert_eq!(status, 200);
    assert!(body.contains("# TYPE convoke_"), "{body}");
    assert_ne!(get(&format!("{url}metrics")).0, 200, "metrics are not public");

    // A token of the server's own and one made with the key that dev.json tells.
    let (status, minted) = http(
        "POST",
        &format!("{url}dev/token"),
        &[("Content-Type", "application/json")],
        "{\"displayName\":\"Alice\"}",
    );
    assert_eq!(status, 200, "{minted}");
    let secret = dev["tokenKey"]["secretBase64"].as_str().expect("a secret");
    assert!(!minted.contains(secret));

    let health = run(["healthcheck", url.as_str()]);
    assert_eq!(health.code, 0, "{}", health.err);
    process.signal("TERM");
    let (status, log) = process.wait(Duration::from_secs(10));
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains(secret) && !log.contains(access_key), "no key in the log");

    let health = run(["healthcheck", url.as_str()]);
    assert_eq!(health.code, 1);
}

#[test]
fn without_dev_nothing_mints() {
    let folder = Folder::new();
    let key = folder.path().join("t.key");
    assert_eq!(run(["token", "key", "--algorithm", "hs256", "--out", text(&key)]).code, 0);
    let config = folder.file(
        "convoke.toml",
        "[[tokens.keys]]\nkid = \"main\"\nalgorithm = \"hs256\"\nsecret_file = \"t.key\"\n\
         [http]\nmetrics_listen = \"\"\n[log]\nformat = \"json\"\n",
    );
    let mut command = convoke(["serve", "--config", text(&config), "--http", "127.0.0.1:0"]);
    command.args(["--media", "127.0.0.1:0"]).current_dir(folder.path());
    let mut running = Running::start(command);
    let line = running.line("convoke is ready at ");
    let url = line.rsplit(' ').next().expect("a URL");
    let json = [("Content-Type", "application/json")];
    let (status, _) = http("POST", &format!("{url}dev/token"), &json, "{}");
    assert!(matches!(status, 404 | 405), "{status}");
    assert!(!folder.path().join("data").exists() && !folder.path().join("dev.json").exists());

    running.signal("INT");
    let (status, log) = running.wait(Duration::from_secs(10));
    assert_eq!(status.code(), Some(0), "{log}");
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("every log line is JSON");
    }
}

#[test]
fn a_busy_port_is_an_error_that_names_it() {
    let server = DevServer::start(&[]);
    let address = server.url.trim_start_matches("http://").trim_end_matches('/');
    let other = Folder::new();
    let said = run(["serve", "--dev", "--http", address, "--data-dir", text(other.path())]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains(address), "{}", said.err);
}
