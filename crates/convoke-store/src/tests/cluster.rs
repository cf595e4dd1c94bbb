//! A PostgreSQL of one test: its own cluster in a temporary folder, on a Unix socket there.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::Folder;
use crate::{Location, Store, StoreConfig};

pub(super) struct Cluster {
    folder: Folder,
    server: Child,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.signal("CONT");
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The newest that Debian's package put there, else what is in the path.
fn programs() -> PathBuf {
    let found = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = found.map(|entry| entry.path().join("bin")).collect();
    found.sort();
    found.pop().unwrap_or_default()
}

/// PostgreSQL refuses to run as root: then it runs as the user that its package made.
fn unprivileged(command: &mut Command, folder: &Folder) {
    if std::fs::metadata("/proc/self").expect("procfs").uid() != 0 {
        return;
    }
    let id = |kind: &str| -> u32 {
        let out = Command::new("id").args([kind, "postgres"]).output().expect("id");
        let text = String::from_utf8_lossy(&out.stdout);
        text.trim().parse().expect("the user postgres; install Debian's package `postgresql`")
    };
    let (uid, gid) = (id("-u"), id("-g"));
    chown(&folder.0, Some(uid), Some(gid)).expect("chown");
    command.uid(uid).gid(gid);
}

impl Cluster {
    pub(super) async fn start(name: &str) -> Self {
        let folder = Folder::new(name);
        let data = folder.0.join("data");
        let mut initdb = Command::new(programs().join("initdb"));
        initdb.args(["--auth=trust", "--username=convoke", "--no-sync", "--encoding=UTF8"]);
        initdb.arg("--locale=C.UTF-8").arg("-D").arg(&data).current_dir("/");
        unprivileged(&mut initdb, &folder);
        // The user that is changed to may not enter it from here.
        let made = initdb.stdout(Stdio::null()).output().unwrap_or_else(|error| {
            panic!("initdb: {error}; `make postgres` installs what this test needs")
        });
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let server = Self::run(&folder);
        let cluster = Self { folder, server };
        cluster.wait().await;
        cluster
    }

    fn run(folder: &Folder) -> Child {
        let mut server = Command::new(programs().join("postgres"));
        server.arg("-D").arg(folder.0.join("data")).current_dir("/");
        server.args(["-c", "listen_addresses=", "-c"]);
        server.arg(format!("unix_socket_directories={}", folder.0.display()));
        unprivileged(&mut server, folder);
        let log = std::fs::File::create(folder.0.join("log")).expect("a log");
        server.stdout(Stdio::null()).stderr(log).spawn().expect("postgres")
    }

    async fn wait(&self) {
        let config = StoreConfig::new(self.location());
        let mut last = String::new();
        for _ in 0..600 {
            match Store::open(&config).await {
                Ok(store) => return store.close().await,
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let log = std::fs::read_to_string(self.folder.0.join("log")).unwrap_or_default();
        panic!("PostgreSQL did not come up: {last}\n{log}");
    }

    pub(super) fn location(&self) -> Location {
        let socket = self.folder.0.display();
        Location::Postgres(format!("postgres://convoke@localhost/postgres?host={socket}"))
    }

    /// Sends a signal to the server and all its processes.
    pub(super) fn signal(&self, name: &str) {
        let pid = self.server.id().to_string();
        let _ = Command::new("pkill").args([&format!("-{name}"), "-P", &pid]).status();
        let _ = Command::new("kill").args([&format!("-{name}"), &pid]).status();
    }
}
