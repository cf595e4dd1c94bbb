//! Other servers, as child processes, to be compared with.
//!
//! Owns: finding what is installed, starting it on loopback, ending it; why one is absent.
//! Never: installs anything; `peers/install.sh` does.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a server may take to be ready.
const PATIENCE: Duration = Duration::from_secs(20);

const JANUS: &str = include_str!("../peers/janus/janus.jcfg");
const JANUS_WEBSOCKETS: &str = include_str!("../peers/janus/janus.transport.websockets.jcfg");

/// Why a server is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Absent(String);

impl Absent {
    fn new(what: impl std::fmt::Display) -> Self {
        Self(what.to_string())
    }

    fn not_installed(what: impl std::fmt::Display) -> Self {
        Self(format!("{what} is not there; loadtest/peers/install.sh installs it"))
    }
}

/// A server that ends when this is dropped.
#[derive(Debug)]
pub struct Peer {
    _child: Child,
    folder: Option<PathBuf>,
    /// Where it is reached.
    pub url: String,
    /// Its processes.
    pub pids: Vec<u32>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            // It holds a configuration that nobody needs any more.
            _ = std::fs::remove_dir_all(folder);
        }
    }
}

fn free_port() -> Result<u16, Absent> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(Absent::new)?;
    listener.local_addr().map(|address| address.port()).map_err(Absent::new)
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn find(folder: &Path, name: &str, depth: usize) -> Option<PathBuf> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        if path.is_file() && path.file_name().is_some_and(|found| found == name) {
            return Some(path);
        }
        if path.is_dir() && depth > 0 {
            folders.push(path);
        }
    }
    folders.iter().find_map(|folder| find(folder, name, depth - 1))
}

/// Starts Janus; `peers` is the folder with what `install.sh` made.
///
/// # Errors
/// When it is not installed or does not start.
pub async fn janus(peers: &Path) -> Result<Peer, Absent> {
    let binary = in_path("janus").ok_or_else(|| Absent::not_installed("janus"))?;
    let shim = peers.join("installed/loopback.so");
    if !shim.is_file() {
        return Err(Absent::not_installed(shim.display()));
    }
    let port = free_port()?;
    let folder = std::env::temp_dir().join(format!("convoke-loadtest-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&folder).map_err(Absent::new)?;
    let websockets = JANUS_WEBSOCKETS.replace("@PORT@", &port.to_string());
    let files = [
        ("janus.jcfg", JANUS),
        ("janus.transport.websockets.jcfg", &websockets),
        ("janus.plugin.videoroom.jcfg", "general: { }\n"),
    ];
    for (name, text) in files {
        std::fs::write(folder.join(name), text).map_err(Absent::new)?;
    }
    let mut command = Command::new(binary);
    command.arg("-o").arg("-F").arg(&folder).env("LD_PRELOAD", shim);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let child = command.spawn().map_err(Absent::new)?;
    let pids = child.id().into_iter().collect();
    let url = format!("ws://127.0.0.1:{port}/");
    let mut peer = Peer { _child: child, folder: Some(folder), url, pids };
    let until = Instant::now() + PATIENCE;
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        if let Ok(Some(status)) = peer._child.try_wait() {
            return Err(Absent(format!("janus ended at once: {status}")));
        }
        if Instant::now() > until {
            return Err(Absent(format!("janus did not listen within {PATIENCE:?}")));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(peer)
}

/// Starts mediasoup; `peers` is the folder with what `install.sh` made.
///
/// # Errors
/// When it is not installed or does not start.
pub async fn mediasoup(peers: &Path) -> Result<Peer, Absent> {
    let node = in_path("node").ok_or_else(|| Absent::not_installed("node"))?;
    let worker = find(&peers.join("installed/worker"), "mediasoup-worker", 6);
    let worker = worker.ok_or_else(|| Absent::not_installed("mediasoup-worker"))?;
    let folder = peers.join("mediasoup");
    if !folder.join("node_modules/mediasoup").is_dir() {
        return Err(Absent::not_installed("mediasoup's JavaScript"));
    }
    let mut command = Command::new(node);
    command.arg(folder.join("server.mjs")).arg("0").current_dir(&folder);
    command.env("MEDIASOUP_WORKER_BIN", worker).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(Absent::new)?;
    let stdout = child.stdout.take().ok_or_else(|| Absent::new("no output"))?;
    let mut lines = BufReader::new(stdout).lines();
    let ready = tokio::time::timeout(PATIENCE, lines.next_line()).await;
    let line = ready.ok().and_then(Result::ok).flatten().unwrap_or_default();
    let mut words = line.split(' ');
    let mut number = || words.by_ref().find_map(|word| word.parse::<u32>().ok());
    let (Some(port), Some(pid)) = (number(), number()) else {
        return Err(Absent(format!("mediasoup was not ready within {PATIENCE:?}")));
    };
    let pids = child.id().into_iter().chain([pid]).collect();
    Ok(Peer { _child: child, folder: None, url: format!("http://127.0.0.1:{port}"), pids })
}
