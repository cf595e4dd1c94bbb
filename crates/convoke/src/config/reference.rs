//! `docs/configuration.md`: every key with its type, default and meaning.
//!
//! Owns: making that page from the types of [`super::raw`] and the comments of the example file, and
//! the test that it is current.
//! Never: is part of the binary.

use std::fmt::Write as _;
use std::path::Path;

use super::EXAMPLE;
use super::raw::{
    RawCalling, RawCalls, RawConfig, RawHttp, RawLimits, RawLog, RawMedia, RawServices,
    RawShutdown, RawStore, RawTelemetry, RawTokens, RawTurn, RawWebhooks,
};
use crate::reload::{RESTART, THERE_OR_NOT};

const COMMAND: &str = "UPDATE_CONFIGURATION=1 cargo test -p convoke --bin convoke reference";

const HEAD: &str = "\
# Configuration

<!-- Made from crates/convoke/src/config/raw.rs and config/convoke.example.toml. To make it anew:
     COMMAND -->

Every key of the file that `convoke serve --config FILE` takes. `convoke config example` prints a file with all
of them at their defaults; `convoke config check FILE` says what is wrong with yours, by line.

- A key that is left out has its default; a key that is not here is refused.
- The environment comes before the file: `http.listen` is `CONVOKE__HTTP__LISTEN`. Lists are written as in the file:
  `CONVOKE__MEDIA__ADVERTISE='[\"203.0.113.7\"]'`.
- Durations and sizes are text with a unit: `\"500ms\"`, `\"1h 30m\"`, `\"64KiB\"`, `\"4MiB\"`.
- Secrets are named by file. A relative file name starts at the directory of the configuration file.
- *Reload*: whether a change holds *at once* when the file is read anew (SIGHUP, `POST /config/:reload`), or needs a
  *restart*; *at once, if set* means that a change from or to nothing needs one.
  [Operating](operating.md#changing-the-configuration) says more.
";

/// Each section with its keys and their types.
const SECTIONS: [(&str, &[(&str, &str)]); 13] = [
    ("http", RawHttp::KEYS),
    ("media", RawMedia::KEYS),
    ("tokens", RawTokens::KEYS),
    ("turn", RawTurn::KEYS),
    ("store", RawStore::KEYS),
    ("services", RawServices::KEYS),
    ("webhooks", RawWebhooks::KEYS),
    ("calling", RawCalling::KEYS),
    ("calls", RawCalls::KEYS),
    ("limits", RawLimits::KEYS),
    ("shutdown", RawShutdown::KEYS),
    ("log", RawLog::KEYS),
    ("telemetry", RawTelemetry::KEYS),
];

/// What a reader is told of a type.
fn in_words(rust: &str) -> &'static str {
    match rust.replace(' ', "").as_str() {
        "SocketAddr" => "address and port",
        "Option<SocketAddr>" => "address and port, or `\"\"`",
        "Option<StunServer>" => "name or address, and port, or `\"\"`",
        "OneOrMore<IpAddr>" => "IP address, or list of them",
        "Vec<IpAddr>" => "list of IP addresses",
        "String" | "Option<String>" => "text",
        "Vec<String>" => "list of texts",
        "Duration" => "duration",
        "Option<Duration>" => "duration, or `\"\"`",
        "Size" => "size",
        "bool" => "`true`, `false`",
        "u16" => "number to 65535",
        "u32" | "usize" => "number",
        "LobbyPolicy" => "`\"nobody\"`, `\"guests\"`, `\"everyone\"`",
        "LogFormat" => "`\"human\"`, `\"json\"`",
        "LogLevel" => "log filter",
        tables if tables.starts_with("Vec<Raw") => "tables, below",
        other => panic!("say what {other} is"),
    }
}

fn reload(section: &str, name: &str) -> &'static str {
    if RESTART.iter().any(|one| *one == section || *one == name) {
        "restart"
    } else if THERE_OR_NOT.contains(&name) {
        "at once, if set"
    } else {
        "at once"
    }
}

/// Keys that stand below one comment.
#[derive(Default)]
struct Group {
    keys: Vec<String>,
    /// Paragraphs.
    meaning: Vec<String>,
    /// Tables that the comment shows.
    shown: String,
}

impl Group {
    fn comment(&mut self, line: &str) {
        if line.starts_with("[[") || !self.shown.is_empty() {
            self.shown.push_str(line);
            self.shown.push('\n');
        } else if line.is_empty() {
            self.meaning.push(String::new());
        } else {
            if self.meaning.is_empty() {
                self.meaning.push(String::new());
            }
            let last = self.meaning.last_mut().expect("there is one");
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(line);
        }
    }

    fn meaning(&self) -> String {
        let paragraphs: Vec<&str> =
            self.meaning.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
        let text = paragraphs.join("<br>").replace('|', "\\|");
        text.replace("docs/REST.md", "[REST.md](REST.md)")
    }
}

/// The groups of a section of the example; one without keys is about the section.
fn groups(section: &str) -> Vec<Group> {
    let begin = format!("[{section}]");
    let lines = EXAMPLE.lines().skip_while(|line| *line != begin).skip(1);
    let mut groups = vec![Group::default()];
    for line in lines.take_while(|line| !line.starts_with('[')) {
        let last = groups.last_mut().expect("there is one");
        if let Some(comment) = line.strip_prefix('#') {
            if !last.keys.is_empty() {
                groups.push(Group::default());
            }
            let comment = comment.strip_prefix(' ').unwrap_or(comment);
            groups.last_mut().expect("there is one").comment(comment.trim_end());
        } else if let Some((key, _)) = line.split_once(" = ") {
            last.keys.push(key.to_owned());
        } else if !last.meaning.is_empty() {
            groups.push(Group::default());
        }
    }
    groups.retain(|group| !group.meaning.is_empty());
    groups
}

fn section(page: &mut String, name: &str, types: &[(&str, &str)], defaults: &toml::Table) {
    let groups = groups(name);
    let written: Vec<&String> = groups.iter().flat_map(|group| &group.keys).collect();
    assert_eq!(written.len(), types.len(), "[{name}] of the example has other keys");
    writeln!(page, "\n## [{name}]\n").expect("text");
    for about in groups.iter().filter(|group| group.keys.is_empty()) {
        writeln!(page, "{}\n", about.meaning()).expect("text");
    }
    page.push_str("| key | type | default | reload | meaning |\n|---|---|---|---|---|\n");
    for group in groups.iter().filter(|group| !group.keys.is_empty()) {
        let cell = |of: &dyn Fn(&str) -> String| {
            group.keys.iter().map(|key| of(key)).collect::<Vec<_>>().join("<br>")
        };
        let rust = |key: &str| types.iter().find(|(known, _)| *known == key).expect("a key").1;
        writeln!(
            page,
            "| {} | {} | {} | {} | {} |",
            cell(&|key| format!("`{key}`")),
            cell(&|key| in_words(rust(key)).to_owned()),
            cell(&|key| format!("`{}`", defaults[name][key])),
            cell(&|key| reload(name, &format!("{name}.{key}")).to_owned()),
            group.meaning(),
        )
        .expect("text");
    }
    for group in groups.iter().filter(|group| !group.shown.is_empty()) {
        writeln!(page, "\n```toml\n{}\n```", group.shown.trim_end()).expect("text");
    }
}

fn page() -> String {
    let defaults = toml::Table::try_from(RawConfig::default()).expect("serialisable");
    assert_eq!(defaults.len(), SECTIONS.len());
    let mut page = HEAD.replace("COMMAND", COMMAND);
    for (name, types) in SECTIONS {
        section(&mut page, name, types, &defaults);
    }
    page
}

#[test]
fn the_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    if std::env::var_os("UPDATE_CONFIGURATION").is_some() {
        std::fs::write(&path, page()).expect("write");
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page(), "{} has drifted; run: {COMMAND}", path.display());
}
