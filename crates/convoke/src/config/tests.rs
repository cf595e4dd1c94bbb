//! The laws of the configuration: the example is the default, every key is documented, checked and
//! read, and mistakes are said so that they can be mended.

use std::collections::BTreeSet;

use super::raw::RawConfig;
use super::{Config, EXAMPLE, Source};

fn load(text: &str) -> Result<Config, String> {
    Config::load(&Source::text(text)).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(text: &str, words: &[&str]) {
    let message = load(text).expect_err(text);
    for word in words {
        assert!(message.contains(word), "{text}\n gave: {message}\n without: {word}");
    }
}

/// `section.key` of every key of a document.
fn keys(document: &toml::Table) -> BTreeSet<String> {
    let of = |(section, keys): (&String, &toml::Value)| -> Vec<String> {
        let table = keys.as_table().expect("a section");
        table.keys().map(|key| format!("{section}.{key}")).collect()
    };
    document.iter().flat_map(of).collect()
}

fn defaults() -> toml::Table {
    toml::Table::try_from(RawConfig::default()).expect("serialisable")
}

#[test]
fn the_example_is_the_default() {
    let example = Source::text(EXAMPLE).parse().expect("the example is valid");
    assert_eq!(example, RawConfig::default());
    assert_eq!(format!("{:?}", load(EXAMPLE)), format!("{:?}", load("")));
}

#[test]
fn the_example_documents_every_key() {
    let example: toml::Table = EXAMPLE.parse().expect("TOML");
    assert_eq!(keys(&example), keys(&defaults()));
    // Each stands below a comment, alone or with the key before it.
    let mut documented = false;
    for line in EXAMPLE.lines() {
        match line.chars().next() {
            Some('#') => documented = true,
            Some('[') | None => documented = false,
            Some(_) => assert!(documented, "no comment above: {line}"),
        }
    }
}

#[test]
fn the_keys_that_the_example_shows_in_comments_are_valid() {
    let shown = |first: &str| -> String {
        EXAMPLE
            .lines()
            .skip_while(|line| *line != first)
            .take_while(|line| line.starts_with('#'))
            .map(|line| format!("{}\n", line.trim_start_matches("# ").trim_start_matches('#')))
            .collect()
    };
    let config = load(&shown("# [[tokens.keys]]")).expect("valid keys");
    assert_eq!(config.keys.len(), 2);
    let config = load(&shown("# [[tokens.issuers]]")).expect("valid issuers");
    assert_eq!(config.issuers.len(), 1);
    for shown in ["# [[services.keys]]", "# [[webhooks.targets]]", "# [[turn.servers]]"].map(shown)
    {
        let config = load(&shown).expect("valid");
        assert_ne!(format!("{config:?}"), format!("{:?}", load("").expect("defaults")));
    }
}

/// A value of the same type that differs from the default, and is valid beside it.
fn another(key: &str, value: &toml::Value) -> toml::Value {
    let text = |text: &str| toml::Value::String(text.to_owned());
    match key {
        "http.listen" => text("127.0.0.2:9000"),
        "http.reuse_port" => toml::Value::Boolean(true),
        "http.metrics_listen" => text(""),
        "http.allowed_origins" => toml::Value::Array(vec![text("https://app.example.com")]),
        "http.trusted_proxies" => toml::Value::Array(vec![text("10.0.0.0/8")]),
        "calling.callback_hosts" => toml::Value::Array(vec![text("app.example.com")]),
        "media.bind" => text("127.0.0.1"),
        "media.tcp" => text("0.0.0.0:7882"),
        "media.stun_server" => text("stun.example.com:3478"),
        "media.advertise" => toml::Value::Array(vec![text("203.0.113.7")]),
        "limits.data_payload" => text("8KiB"),
        "calls.lobby" => text("guests"),
        "calls.agent_wait" => text("47s"),
        "log.format" => text("json"),
        "log.level" => text("debug"),
        "tokens.issuers" => {
            let one = "[[k]]\nissuer = \"a\"\njwks_file = \"f\"";
            let mut table: toml::Table = one.parse().expect("TOML");
            table.remove("k").expect("k")
        }
        "turn.servers" => {
            let one = "[[k]]\nurls = [\"stun:a\"]";
            let mut table: toml::Table = one.parse().expect("TOML");
            table.remove("k").expect("k")
        }
        "webhooks.targets" => {
            let one = "[[k]]\nname = \"a\"\nurl = \"https://a\"\nsecret_file = \"f\"";
            let mut table: toml::Table = one.parse().expect("TOML");
            table.remove("k").expect("k")
        }
        "services.keys" => {
            let one = "[[k]]\nname = \"a\"\nalgorithm = \"eddsa\"\n\
                public_key_file = \"f\"\nroles = [\"calls\"]";
            let mut table: toml::Table = one.parse().expect("TOML");
            table.remove("k").expect("k")
        }
        "tokens.keys" => {
            let one = "[[k]]\nkid = \"a\"\nalgorithm = \"eddsa\"\npublic_key_file = \"f\"";
            let mut table: toml::Table = one.parse().expect("TOML");
            table.remove("k").expect("k")
        }
        _ => match value {
            toml::Value::Integer(number) => toml::Value::Integer(number + 1),
            toml::Value::String(size) if size.ends_with("iB") => text("768KiB"),
            toml::Value::String(name) if name.is_empty() => text("a name"),
            toml::Value::String(_) => text("47s"),
            toml::Value::Boolean(value) => toml::Value::Boolean(!value),
            other => panic!("{key}: say another value than {other}"),
        },
    }
}

#[test]
fn every_key_is_read() {
    // Read together below, and not in every build.
    let apart = ["http.tls_certificate_file", "http.tls_key_file", "telemetry.otlp_endpoint"];
    let before = format!("{:?}", load("").expect("defaults"));
    for (section, table) in defaults() {
        for (key, value) in table.as_table().expect("a section") {
            let name = format!("{section}.{key}");
            if apart.contains(&name.as_str()) {
                continue;
            }
            let mut one = toml::Table::new();
            let mut inner = toml::Table::new();
            inner.insert(key.clone(), another(&name, value));
            // Of no use without the port, or the server.
            let with = match name.as_str() {
                "media.stun_interval" => Some(("stun_server", "203.0.113.9:3478")),
                of_tcp if of_tcp.starts_with("media.tcp_") => Some(("tcp", "127.0.0.1:7882")),
                _ => None,
            };
            let mut before = before.clone();
            if let Some((key, value)) = with {
                inner.insert(key.to_owned(), toml::Value::String(value.to_owned()));
                let alone = format!("[media]\n{key} = \"{value}\"");
                before = format!("{:?}", load(&alone).expect("valid"));
            }
            one.insert(section.clone(), toml::Value::Table(inner));
            let after = load(&one.to_string()).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_ne!(format!("{after:?}"), before, "{name} changes nothing");
        }
    }
    // These go only together.
    let files = "[http]\ntls_certificate_file = \"a.pem\"\ntls_key_file = \"a.key\"";
    assert_ne!(format!("{:?}", load(files).expect("valid")), before);
    for one in ["certificate", "key"] {
        refused(&format!("[http]\ntls_{one}_file = \"a\""), &["test.toml:2: ", "is missing"]);
    }
}

#[test]
fn unknown_keys_are_refused_with_the_nearest() {
    refused(
        "[limits]\nagents = 7\nmesage = \"64KiB\"",
        &["test.toml:3: ", "unknown key `limits.mesage`", "did you mean `message`?"],
    );
    refused(
        "[medai]\nport = 1",
        &["test.toml:1: ", "unknown key `medai`", "did you mean `media`?"],
    );
    refused("\n\n[log]\nqqqqqqqq = 1", &["test.toml:4: ", "known here: format, level"]);
    refused(
        "[[tokens.keys]]\nkid = \"a\"\nalgorithm = \"hs256\"\nsecret = \"x\"",
        &["test.toml:4: ", "secret", "did you mean `secret_file`?"],
    );
    refused("tokens.leway = \"1s\"", &["test.toml:1: ", "did you mean `leeway`?"]);
}

#[test]
fn wrong_values_name_key_value_and_expectation() {
    for (text, words) in [
        (
            "[http]\nlisten = \"nowhere\"",
            ["`http.listen`", "\"nowhere\"", "an IP address and port"],
        ),
        ("[http]\nlisten = 8080", ["`http.listen`", "8080", "an IP address and port"]),
        ("[limits]\nmessage = \"1 furlong\"", ["`limits.message`", "1 furlong", "256KiB"]),
        ("[limits]\nmessage = \"1KiB\"", ["`limits.message`", "1KiB", "from 16KiB"]),
        (
            "[http]\nallowed_origins = [\"example.com\"]",
            ["allowed_origins", "example.com", "https://"],
        ),
        (
            "[http]\nmetrics_listen = \"127.0.0.1:8080\"",
            ["metrics_listen", "8080", "another address"],
        ),
        (
            "[http]\ntrusted_proxies = [\"nginx\"]",
            ["`http.trusted_proxies`", "nginx", "10.0.0.0/8"],
        ),
        ("[http]\nheader_timeout = \"1ms\"", ["`http.header_timeout`", "1ms", "from 100ms"]),
        (
            "[[turn.servers]]\nurls = [\"turn:a\"]",
            ["`turn.servers.0.urls`", "needs a secret", "secret_file"],
        ),
        (
            "[[turn.servers]]\nurls = [\"a.example\"]",
            ["`turn.servers.0.urls`", "a.example", "turn:"],
        ),
        ("[media]\nport = 70000", ["`media.port`", "70000", "65535"]),
        ("[media]\nport = 65535\nworkers = 4", ["`media.port`", "65535", "4 workers"]),
        ("[media]\nworkers = -1", ["`media.workers`", "-1", "0 or more"]),
        ("[media]\nworkers = 257", ["`media.workers`", "257", "from 0 to 256"]),
        (
            "[media]\nadvertise = [\"sfu.example.com\"]",
            ["media.advertise", "sfu.example.com", "names"],
        ),
        ("[media]\nadvertise = [\"0.0.0.0\"]", ["media.advertise", "0.0.0.0", "can send to"]),
        (
            "[media]\nadvertise = [\"169.254.7.7\"]",
            ["media.advertise", "169.254.7.7", "can send to"],
        ),
        (
            "[media]\nbind = \"::\"\nadvertise = [\"fe80::1\"]",
            ["media.advertise", "fe80::1", "can send to"],
        ),
        (
            "[media]\nadvertise = [\"2001:db8::1\"]",
            ["media.advertise", "2001:db8::1", "0.0.0.0 hears"],
        ),
        (
            "[media]\nbind = \"::\"\ntcp = \"0.0.0.0:7882\"\nadvertise = [\"2001:db8::1\"]",
            ["media.tcp", "0.0.0.0:7882", "hears 2001:db8::1"],
        ),
        (
            "[media]\ntcp = \"127.0.0.1:8080\"",
            ["media.tcp", "127.0.0.1:8080", "shared with nothing"],
        ),
        (
            "[media]\nstun_server = \"stun:stun.example.com\"",
            ["`media.stun_server`", "stun:stun.example.com", "such as \"stun.example.com\""],
        ),
        ("[media]\nstun_server = \"a:0\"", ["`media.stun_server`", "a:0", "with its port"]),
        (
            "[media]\nstun_server = \"2001:db8::9\"",
            ["`media.stun_server`", "2001:db8::9", "bound to 0.0.0.0 can ask"],
        ),
        ("[media]\nstun_server = \"0.0.0.0\"", ["`media.stun_server`", "0.0.0.0", "can ask"]),
        ("[media]\nbind = []", ["`media.bind`", "0 addresses", "1 to 8"]),
        ("[media]\nbind = [\"10.0.0.1\", \"ten\"]", ["`media.bind.1`", "ten", "an IP address"]),
        ("[media]\nbind = 7", ["`media.bind`", "7", "or a list of them"]),
        (
            "[media]\nbind = [\"10.0.0.1\", \"0.0.0.0\"]",
            ["`media.bind.1`", "0.0.0.0", "a wildcard alone"],
        ),
        (
            "[media]\nbind = [\"10.0.0.1\", \"fd00::1\", \"10.0.0.1\"]",
            ["`media.bind.2`", "10.0.0.1", "not in the list before"],
        ),
        (
            "[media]\nbind = [\"fe80::1\", \"10.0.0.1\"]",
            ["`media.bind.0`", "fe80::1", "of this host's"],
        ),
        (
            "[media]\nbind = [\"10.0.0.1\", \"10.0.0.2\"]\nadvertise = [\"203.0.113.7\"]",
            ["`media.advertise`", "1 addresses", "each of the 2"],
        ),
        (
            "[media]\nbind = [\"10.0.0.1\", \"fd00::1\"]\nadvertise = [\"203.0.113.7\", \"203.0.113.8\"]",
            ["`media.advertise.1`", "203.0.113.8", "bound to fd00::1 hears"],
        ),
        (
            "[media]\nbind = [\"10.0.0.1\", \"10.0.0.2\"]\nadvertise = [\"203.0.113.7\", \"203.0.113.7\"]",
            ["`media.advertise.1`", "203.0.113.7", "not in the list before"],
        ),
        (
            "[media]\nbind = [\"10.0.0.1\", \"10.0.0.2\"]\nstun_server = \"2001:db8::9\"",
            ["`media.stun_server`", "2001:db8::9", "10.0.0.1 or 10.0.0.2 can ask"],
        ),
        ("[media]\nstun_interval = \"1s\"", ["`media.stun_interval`", "1s", "from 10s"]),
        ("[media]\ntcp = \"7882\"", ["`media.tcp`", "7882", "port"]),
        ("[media]\ntcp_send_queue = 15", ["tcp_send_queue", "15", "from 16"]),
        ("[media]\ntcp_hello_timeout = \"0s\"", ["tcp_hello_timeout", "0s", "from 100ms"]),
        ("[media]\ntimeout = \"5 parsecs\"", ["`media.timeout`", "5 parsecs", "a duration"]),
        ("[media]\ntimeout = 5", ["`media.timeout`", "5", "a duration"]),
        ("[media]\ntimeout = \"2days\"", ["`media.timeout`", "2days", "to 1day"]),
        ("[media]\ncommand_queue = 0", ["command_queue", "0", "from 2"]),
        ("[limits]\ndata_payload = \"61KiB\"", ["`limits.data_payload`", "61KiB", "to 60KiB"]),
        ("[services]\ncapture_size = \"1KiB\"", ["`services.capture_size`", "1KiB", "from 64KiB"]),
        ("[services]\ncapture_time = \"2days\"", ["`services.capture_time`", "2days", "1day"]),
        ("[limits]\ndata_queue = \"1KiB\"", ["`limits.data_queue`", "1KiB", "from 64KiB"]),
        ("[calls]\naudio_slots = 17", ["calls.audio_slots", "17", "`limits.audio_slots`"]),
        ("[log]\nformat = \"xml\"", ["`log.format`", "xml", "\"human\", \"json\""]),
        ("[log]\nlevel = \"loud\"", ["`log.level`", "loud", "a level"]),
        ("[[tokens.keys]]\nkid = \"a\"\nalgorithm = \"none\"", ["algorithm", "none", "hs256"]),
    ] {
        refused(text, &words);
        refused(text, &["test.toml:"]);
    }
}

#[test]
fn what_is_no_toml_is_refused_with_its_line() {
    refused("[http]\nlisten = ", &["test.toml:2: "]);
    refused("[http]\n[http]\n", &["test.toml:2: "]);
}

#[test]
fn a_key_needs_the_file_of_its_algorithm() {
    let head = "[[tokens.keys]]\nkid = \"a\"\nalgorithm = ";
    refused(&format!("{head}\"hs256\""), &["test.toml:3: ", "secret_file` is missing"]);
    refused(&format!("{head}\"eddsa\"\nsecret_file = \"f\""), &["public_key_file` is missing"]);
    refused(
        &format!("{head}\"hs256\"\nsecret_file = \"f\"\npublic_key_file = \"g\""),
        &["test.toml:5: ", "only `secret_file`"],
    );
    let one = "[[tokens.keys]]\nkid = \"a\"\nalgorithm = \"hs256\"\nsecret_file = \"f\"\n";
    refused(&format!("{one}{one}"), &["test.toml:6: ", "no other key has"]);
    refused("[[tokens.keys]]\nalgorithm = \"hs256\"", &["kid` is missing"]);
}

#[test]
fn key_files_are_relative_to_the_configuration() {
    let text = "[[tokens.keys]]\nkid = \"a\"\nalgorithm = \"hs256\"\nsecret_file = \"keys/a\"";
    let folder = std::env::temp_dir().join(format!("convoke-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("folder");
    let file = folder.join("convoke.toml");
    std::fs::write(&file, text).expect("file");
    let source = Source::read(Some(&file)).expect("readable");
    let config = Config::load(&source).expect("valid");
    std::fs::remove_dir_all(&folder).expect("removed");
    let expected = super::KeyMaterial::Hs256(folder.join("keys/a"));
    assert_eq!(config.keys[0].material, expected);
}

#[test]
fn it_is_waited_for_agents_where_a_webhook_is_told() {
    let hook = "[[webhooks.targets]]\nname = \"a\"\nurl = \"https://a\"\nsecret_file = \"f\"\n";
    let wait = |text: &str| load(text).expect("good").control.times.agent_wait.as_secs();
    assert_eq!([wait(""), wait(hook)], [0, 30]);
    let set =
        |seconds: &str| format!("{hook}format = \"eventGrid\"\n[calls]\nagent_wait = {seconds:?}");
    assert_eq!([wait(&set("0s")), wait(&set("120s"))], [0, 120]);
    let error = load(&set("121s")).expect_err("too long").to_string();
    assert!(error.contains("calls.agent_wait") && error.contains("2m"), "{error}");
    let error = load(&format!("{hook}format = \"xml\"")).expect_err("no format").to_string();
    assert!(error.contains("eventGrid"), "{error}");
}

#[test]
fn a_collector_is_refused_where_it_cannot_be_spoken_to() {
    let text = |url: &str| format!("[telemetry]\notlp_endpoint = {url:?}");
    if cfg!(feature = "otlp") {
        let config = load(&text("http://127.0.0.1:4318")).expect("good");
        assert_eq!(config.otlp_endpoint.as_deref(), Some("http://127.0.0.1:4318"));
        refused(&text("127.0.0.1:4318"), &["`telemetry.otlp_endpoint`", "http://127.0.0.1:4318"]);
    } else {
        let words = ["`telemetry.otlp_endpoint`", "feature `otlp`", "test.toml:2: "];
        refused(&text("http://127.0.0.1:4318"), &words);
    }
    assert_eq!(load("").expect("good").otlp_endpoint, None);
}
