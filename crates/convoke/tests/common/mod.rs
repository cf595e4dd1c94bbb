//! What several tests of the binary need: the process, its output, a folder of its own.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

pub mod call;
pub mod site;
pub mod wireshark;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A folder that goes away.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique =
            format!("convoke-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&path).expect("folder");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The binary, with none of this machine's own configuration.
pub fn convoke<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_convoke"));
    for (name, _) in std::env::vars() {
        if name.starts_with("CONVOKE_") {
            command.env_remove(name);
        }
    }
    command.args(args);
    command
}

/// What a command that ended said.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub fn run<'a>(args: impl IntoIterator<Item = &'a str>) -> Said {
    finish(&mut convoke(args))
}

pub fn finish(command: &mut Command) -> Said {
    let output = command.output().expect("the binary runs");
    Said {
        code: output.status.code().expect("an exit code"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// A process that is killed when the test ends, however it ends.
pub struct Running {
    child: Child,
    out: Receiver<String>,
    log: thread::JoinHandle<()>,
    logged: Arc<Mutex<String>>,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (to, out) = channel();
        thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| to.send(line))
        });
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let logged = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&logged);
        let log = thread::spawn(move || {
            for line in stderr.split(b'\n').map_while(Result::ok) {
                *written.lock().expect("unbroken") += &(String::from_utf8_lossy(&line) + "\n");
            }
        });
        Self { child, out, log, logged }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.logged.lock().expect("unbroken").clone()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line of standard output that contains `word`.
    #[track_caller]
    pub fn line(&mut self, word: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.out.recv_timeout(left) {
                Ok(line) if line.contains(word) => return line,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => panic!("no line with {word:?} in time"),
                Err(RecvTimeoutError::Disconnected) => {
                    _ = self.child.wait();
                    panic!("ended before a line with {word:?}");
                }
            }
        }
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().expect("kill");
        assert!(status.success());
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("waitable").is_none()
    }

    /// Waits for the end; gives the status and the log.
    #[track_caller]
    pub fn wait(mut self, patience: Duration) -> (ExitStatus, String) {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("waitable") {
                return (status, self.take_log());
            }
            assert!(Instant::now() < deadline, "still running after {patience:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn take_log(&mut self) -> String {
        std::mem::replace(&mut self.log, thread::spawn(|| ())).join().expect("log");
        self.log()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log of the process ---\n{}", self.take_log());
        }
    }
}

/// An HTTP request, just enough for tests: status and body.
pub fn http(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    use std::io::Write;
    let rest = url.strip_prefix("http://").expect("http");
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = std::net::TcpStream::connect(authority).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("time-out");
    let mut head =
        format!("{method} /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).expect("sent");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("received");
    let reply = String::from_utf8_lossy(&reply).into_owned();
    let status = reply.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let body = reply.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
    (status, body)
}

pub fn get(url: &str) -> (u16, String) {
    http("GET", url, &[], "")
}
