//! A server of the load test's own, as a child process.
//!
//! Owns: finding the binary, starting it on free ports, ending it.
//! Never: measures; see [`crate::probe`].

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::key::{DevFile, KeyError};

/// How long the server may take to be ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// There is no binary.
    #[error("no server binary at {}; name it with --server-binary or CONVOKE_BIN", .0.display())]
    NoBinary(PathBuf),
    /// It did not start.
    #[error("{}: {source}", binary.display())]
    Start {
        /// What was started.
        binary: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It said nothing in time, or ended.
    #[error("{} was not ready within {PATIENCE:?}: {said}", binary.display())]
    NotReady {
        /// What was started.
        binary: PathBuf,
        /// The end of its log.
        said: String,
    },
    /// Its file cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// A server that ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    folder: PathBuf,
    /// What it said of itself.
    pub dev: DevFile,
}

/// The binary: what was named, `CONVOKE_BIN`, or the one beside this program.
fn binary(named: Option<&Path>) -> Result<PathBuf, ServerError> {
    let beside = || std::env::current_exe().ok()?.parent().map(|folder| folder.join("convoke"));
    let from_environment = || std::env::var_os("CONVOKE_BIN").map(PathBuf::from);
    let found = named.map(Path::to_owned).or_else(from_environment).or_else(beside);
    let found = found.unwrap_or_else(|| PathBuf::from("convoke"));
    if found.is_file() { Ok(found) } else { Err(ServerError::NoBinary(found)) }
}

impl Server {
    /// Starts one on free ports of loopback.
    ///
    /// # Errors
    /// When there is no binary, or it does not become ready.
    pub async fn start(named: Option<&Path>, workers: Option<usize>) -> Result<Self, ServerError> {
        let binary = binary(named)?;
        let unique = uuid::Uuid::new_v4();
        let folder = std::env::temp_dir().join(format!("convoke-loadtest-{unique}"));
        let fail = |source| ServerError::Start { binary: binary.clone(), source };
        std::fs::create_dir_all(&folder).map_err(fail)?;
        let log = std::fs::File::create(folder.join("log")).map_err(fail)?;
        let mut command = Command::new(&binary);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CONVOKE_")) {
            command.env_remove(name);
        }
        command
            .args(["serve", "--dev", "--http", "127.0.0.1:0", "--media", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        if let Some(workers) = workers {
            command.env("CONVOKE__MEDIA__WORKERS", workers.to_string());
        }
        let mut child = command.spawn().map_err(fail)?;
        let stdout = child.stdout.take().map(BufReader::new);
        let ready = async {
            let Some(stdout) = stdout else { return false };
            let mut lines = stdout.lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if line.contains("convoke is ready at ") {
                    return true;
                }
            }
            false
        };
        if !tokio::time::timeout(PATIENCE, ready).await.unwrap_or(false) {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            let said = log.lines().last().unwrap_or("it said nothing").to_owned();
            return Err(ServerError::NotReady { binary, said });
        }
        let dev = DevFile::read(&folder.join("dev.json"))?;
        Ok(Self { child, folder, dev })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // `kill_on_drop` ends the process; the folder holds nothing that anyone needs.
        _ = std::fs::remove_dir_all(&self.folder);
    }
}
