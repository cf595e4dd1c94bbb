//! `convoke debug bundle`: what a report of a fault needs, in one archive.
//!
//! Owns: what is gathered, and where from. Never: writes a text that [`Redactor`] has not cleaned, or
//! changes anything at the server.

mod redact;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tar::{Builder, Header};

use crate::cli::BundleArgs;
use crate::config::{Config, Source};
use crate::healthcheck::fetch;
use redact::Redactor;

/// Calls that are told at most, and participants of each.
const CALLS: usize = 200;
const PARTICIPANTS: usize = 100;

/// What the kernel says about itself: sockets, memory, load, and what UDP has lost.
const KERNEL: [&str; 13] = [
    "/proc/version",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/snmp",
    "/proc/net/softnet_stat",
    "/proc/sys/net/core/rmem_max",
    "/proc/sys/net/core/rmem_default",
    "/proc/sys/net/core/wmem_max",
    "/proc/sys/net/core/wmem_default",
    "/proc/sys/net/core/netdev_max_backlog",
    "/proc/sys/net/core/somaxconn",
    "/proc/sys/net/ipv4/udp_mem",
    "/proc/sys/fs/file-max",
];

/// Gathers and writes it. What cannot be had is told in `missing.txt`, and is no failure.
pub(crate) fn bundle(args: &BundleArgs, out: &mut impl Write) -> Result<(), String> {
    let source = Source::read(args.config.as_deref()).map_err(|error| error.to_string())?;
    let raw = source.parse().map_err(|error| error.to_string())?;
    let config = Config::check(raw.clone(), &source).map_err(|error| error.to_string())?;
    let tree = serde_json::to_value(&raw).map_err(|error| error.to_string())?;
    let mut redactor = Redactor::default();
    redactor.secrets_of(&tree, source.directory());
    let key = match &args.key_file {
        Some(path) => {
            let key = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
            redactor.secret(key.trim());
            Some(key.trim().to_owned())
        }
        None => None,
    };
    let mut gathered = Gathered::default();
    gathered.add("version.txt", version());
    let shown = toml::to_string(&redact::urls(tree)).map_err(|error| error.to_string())?;
    gathered.add("configuration.toml", shown);
    gathered.add("kernel.txt", kernel());
    let metrics = config.metrics_listen.map(|address| format!("http://{address}"));
    match args.metrics_url.clone().or(metrics) {
        Some(url) => {
            for (name, path) in
                [("metrics.txt", "/metrics"), ("ready.txt", "/readyz"), ("health.txt", "/healthz")]
            {
                gathered.fetched(name, fetch(&url, path, None));
            }
        }
        None => gathered.miss("metrics.txt", "http.metrics_listen is empty, and no --metrics-url"),
    }
    match key {
        Some(key) => {
            let url = args.url.clone().unwrap_or_else(|| format!("http://{}", config.listen));
            match calls(&url, &key) {
                Ok(calls) => gathered.add("calls.json", format!("{calls:#}\n")),
                Err(error) => gathered.miss("calls.json", &error),
            }
            match log(&url, &key) {
                Ok(lines) => gathered.add("log.txt", lines),
                Err(error) => gathered.miss("log.txt", &error),
            }
        }
        None => {
            gathered.miss("calls.json", "no --key-file");
            gathered.miss("log.txt", "no --key-file");
        }
    }
    gathered.write(&args.out, &redactor)?;
    let count = gathered.files.len();
    writeln!(out, "{}: {count} files; look through them before you send it", args.out.display())
        .map_err(|error| error.to_string())
}

fn version() -> String {
    let kind = if cfg!(debug_assertions) { "debug" } else { "release" };
    format!(
        "convoke {}\n{} {} {kind} build\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS
    )
}

fn kernel() -> String {
    let part = |path: &&str| {
        let text = fs::read_to_string(path).unwrap_or_else(|error| format!("{error}\n"));
        format!("== {path}\n{text}")
    };
    KERNEL.iter().map(part).collect()
}

fn get(url: &str, key: &str, path: &str) -> Result<Value, String> {
    match fetch(url, path, Some(key))? {
        (200, body) => serde_json::from_str::<Value>(&body).map_err(|error| error.to_string()),
        (status, body) => Err(format!("{path}: {status} {body}")),
    }
}

/// The last lines of the log.
fn log(url: &str, key: &str) -> Result<String, String> {
    let lines = get(url, key, "/log")?;
    let lines = lines["value"].as_array().into_iter().flatten();
    Ok(lines.map(|line| format!("{}\n", line.as_str().unwrap_or_default())).collect())
}

/// Calls that run, who is in them, and why each gets what it gets.
fn calls(url: &str, key: &str) -> Result<Value, String> {
    let get = |path: &str| get(url, key, path);
    let list = |value: &Value| value["value"].as_array().cloned().unwrap_or_default();
    let mut told = Vec::new();
    for call in list(&get("/calls/live")?).into_iter().take(CALLS) {
        let path = format!("/calls/{}/participants", call["id"].as_str().unwrap_or_default());
        // A call that has ended meanwhile is told with the error.
        let found = get(&path);
        let participants = found.as_ref().map(list).unwrap_or_default();
        let explained = participants.iter().take(PARTICIPANTS).map(|one| {
            let id = one["participantId"].as_str().unwrap_or_default();
            get(&format!("{path}/{id}")).unwrap_or_else(|error| json!({ "missing": error }))
        });
        let explained: Vec<Value> = explained.collect();
        told.push(json!({ "call": call, "participants": explained, "missing": found.err() }));
    }
    Ok(Value::Array(told))
}

#[derive(Default)]
struct Gathered {
    files: Vec<(&'static str, String)>,
    missing: String,
}

impl Gathered {
    fn add(&mut self, name: &'static str, text: String) {
        self.files.push((name, text));
    }

    fn miss(&mut self, name: &str, why: &str) {
        self.missing.push_str(&format!("{name}: {why}\n"));
    }

    fn fetched(&mut self, name: &'static str, reply: Result<(u16, String), String>) {
        match reply {
            Ok((200, body)) => self.add(name, body),
            Ok((status, body)) => self.add(name, format!("{status}\n{body}\n")),
            Err(error) => self.miss(name, &error),
        }
    }

    fn write(&mut self, path: &Path, redactor: &Redactor) -> Result<(), String> {
        if !self.missing.is_empty() {
            self.add("missing.txt", self.missing.clone());
        }
        let write = || {
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            let mut archive = Builder::new(GzEncoder::new(file, Compression::default()));
            for (name, text) in &self.files {
                let text = redactor.clean(text);
                let mut header = Header::new_gnu();
                header.set_size(text.len() as u64);
                header.set_mode(0o600);
                archive.append_data(&mut header, format!("convoke/{name}"), text.as_bytes())?;
            }
            archive.into_inner()?.finish()?.sync_all()
        };
        write().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))
    }
}
