//! A server in this process, reached over real sockets, and native participants in its calls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use convoke::Server;
use convoke::control::{ControlConfig, Key, KeySet, Minter, Secret, TokenRequest, TokenRules};
use convoke::node::NodeConfig;
use convoke::protocol::Source;
use convoke_client::check::{SlotChecker, SlotReport};
use convoke_client::media::Codec;
use convoke_client::source::{AudioConfig, AudioSource, MediaSource, VideoConfig, VideoSource};
use convoke_client::{Call, Client, ClientOptions, JoinOptions, Publication};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{Folder, Running, convoke};

/// A group ID for tests.
pub const GROUP: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";

/// A server with a key of its own.
pub struct Host {
    pub server: Server,
    pub url: String,
    minter: Minter,
    listener: JoinHandle<()>,
}

impl Host {
    pub async fn start() -> Self {
        Self::with(|_, _| {}).await
    }

    /// A server with other settings than the defaults.
    pub async fn with(change: impl FnOnce(&mut NodeConfig, &mut ControlConfig)) -> Self {
        let secret = Secret::random();
        let key = Key::hs256("main", &secret).expect("a key");
        let keys = KeySet::new(vec![key], TokenRules::default()).expect("keys");
        let mut control = ControlConfig::new(keys);
        let mut media = NodeConfig::new([127, 0, 0, 1].into(), 0);
        change(&mut media, &mut control);
        Self::run(media, control, Minter::hs256("main", &secret).expect("a key")).await
    }

    /// A server with these keys, whose own participants come with one of them.
    pub async fn with_keys(keys: KeySet, secret: &Secret, kid: &str) -> Self {
        let media = NodeConfig::new([127, 0, 0, 1].into(), 0);
        let minter = Minter::hs256(kid, secret).expect("a key");
        Self::run(media, ControlConfig::new(keys), minter).await
    }

    async fn run(media: NodeConfig, control: ControlConfig, minter: Minter) -> Self {
        let server = Server::start(media, control).await.expect("the server starts");
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", socket.local_addr().expect("an address"));
        let service = server.router().into_make_service_with_connect_info::<std::net::SocketAddr>();
        let listener = tokio::spawn(async move {
            axum::serve(socket, service).await.expect("serves");
        });
        Self { server, url, minter, listener }
    }

    pub fn token(&self, request: &TokenRequest) -> String {
        self.minter.mint(request, SystemTime::now()).expect("a token")
    }

    /// An agent with the scope `voip`.
    pub async fn connect(&self, identity: &str) -> Client {
        connect(&self.url, &self.token(&TokenRequest::new(identity))).await
    }

    /// A participant with microphone and camera, whose received packets are checked.
    pub async fn join(&self, identity: &str, epoch: Instant) -> Participant {
        let client = self.connect(identity).await;
        let call = client.join(GROUP, talking(epoch)).await.expect("joins");
        Participant::watch(client, call, epoch)
    }

    pub async fn stop(self) {
        self.server.stop().await;
        self.listener.abort();
    }
}

/// An agent at `url`.
pub async fn connect(url: &str, token: &str) -> Client {
    // Generous: many tests share two cores.
    let options = ClientOptions {
        connect_timeout: Duration::from_secs(30),
        request_timeout: Duration::from_secs(30),
        ..ClientOptions::default()
    };
    Client::connect(url, token, options).await.expect("connects")
}

/// Synthetic audio, and video of 10 frames and 150 kbit a second, on the clock that starts at
/// `epoch`.
pub fn talking(epoch: Instant) -> JoinOptions {
    talking_through(epoch, |_, source| source)
}

/// The same, with each source as `wrap` makes it.
pub fn talking_through(
    epoch: Instant,
    wrap: impl Fn(Source, Box<dyn MediaSource>) -> Box<dyn MediaSource> + Clone + Send + 'static,
) -> JoinOptions {
    let camera_wrap = wrap.clone();
    let microphone = Publication::with_source(Source::Microphone, move |start| {
        let config = AudioConfig::new(start.csrc, epoch, start.now);
        wrap(Source::Microphone, Box::new(AudioSource::new(config, start.csrc.into())))
    });
    let camera = Publication::with_source(Source::Camera, move |start| {
        let config = VideoConfig {
            fps: 10,
            bps: 150_000,
            ..VideoConfig::new(Codec::Vp8, start.csrc, epoch, start.now)
        };
        camera_wrap(Source::Camera, Box::new(VideoSource::new(config, start.csrc.into())))
    });
    JoinOptions { publish: vec![microphone, camera], ..JoinOptions::default() }
}

/// A participant and what it receives.
pub struct Participant {
    pub client: Client,
    pub call: Call,
    watcher: JoinHandle<Watched>,
    until: Arc<tokio::sync::Notify>,
}

/// What a participant received.
#[derive(Default)]
pub struct Watched {
    /// Slots by `mid`.
    pub slots: BTreeMap<Arc<str>, SlotReport>,
    /// Packets that the test itself was too slow to look at.
    pub missed: u64,
}

impl Watched {
    pub fn missing(&self) -> u64 {
        self.slots.values().map(|slot| slot.missing).sum()
    }

    pub fn violations(&self) -> Vec<String> {
        let of = |(mid, slot): (&Arc<str>, &SlotReport)| -> Vec<String> {
            slot.violations.iter().map(|violation| format!("slot {mid}: {violation}")).collect()
        };
        self.slots.iter().flat_map(of).collect()
    }

    /// Of a call of two: nothing is missing but what the network lost, and sound and picture of the
    /// other were there, each for so many frames.
    #[track_caller]
    pub fn is_undisturbed(&self, lost: Lost, frames: u64) {
        assert_eq!(self.violations(), Vec::<String>::new());
        assert!(self.missing() <= lost.excused(2), "{} missing, {lost:?}", self.missing());
        let decoded = self.decoded();
        assert_eq!(decoded.len(), 2, "audio and video of the other: {decoded:?}");
        assert!(decoded.values().all(|decoded| *decoded >= frames), "{decoded:?}");
    }

    /// Frames (audio packets, too) that a decoder could show, by the participant they came from.
    pub fn decoded(&self) -> BTreeMap<(u32, u16), u64> {
        let mut decoded = BTreeMap::new();
        for slot in self.slots.values() {
            for (source, report) in &slot.sources {
                *decoded.entry(*source).or_default() += report.frames_decoded;
            }
        }
        decoded
    }
}

impl Participant {
    fn watch(client: Client, call: Call, epoch: Instant) -> Self {
        let until = Arc::new(tokio::sync::Notify::new());
        let mut packets = call.packets();
        let stop = until.clone();
        let watcher = tokio::spawn(async move {
            let mut checkers: BTreeMap<Arc<str>, SlotChecker> = BTreeMap::new();
            loop {
                let packet = tokio::select! {
                    packet = packets.next() => packet,
                    () = stop.notified() => None,
                };
                let Some(packet) = packet else { break };
                let new = || SlotChecker::new(packet.kind, epoch, None);
                checkers.entry(packet.mid.clone()).or_insert_with(new).packet(&packet);
            }
            let slots = checkers.into_iter().map(|(mid, c)| (mid, c.report())).collect();
            Watched { slots, missed: packets.missed() }
        });
        Self { client, call, watcher, until }
    }

    /// Stops watching; the participant stays in the call until the client and the call are dropped.
    pub async fn received(self) -> (Client, Call, Watched) {
        self.until.notify_one();
        let watched = self.watcher.await.expect("watched");
        (self.client, self.call, watched)
    }
}

/// Waits for a condition, polled.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Datagrams that the kernel took away: what the network lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// At the server's full sockets.
    pub at_server: u64,
    /// On their way out of the server, because the kernel did not take them.
    pub unsent: u64,
    /// At the participants' full sockets.
    pub at_participants: u64,
}

impl Lost {
    /// All of it.
    pub fn total(self) -> u64 {
        self.at_server + self.unsent + self.at_participants
    }

    /// How many sequence numbers may be missing for it, at all participants together: what did not
    /// come in is missing for everyone else.
    pub fn excused(self, participants: u64) -> u64 {
        self.at_server * (participants - 1) + self.unsent + self.at_participants
    }
}

impl Host {
    /// What was lost so far. All sockets are this process's, and must still be open.
    pub fn lost(&self) -> Lost {
        let ports: Vec<u16> =
            self.server.node().media_addresses().iter().map(|address| address.port()).collect();
        let mut lost = Lost { at_server: 0, unsent: 0, at_participants: 0 };
        for (port, drops) in kernel_drops() {
            if ports.contains(&port) {
                lost.at_server += drops;
            } else {
                lost.at_participants += drops;
            }
        }
        lost.unsent = self.server.node().stats().iter().map(|worker| worker.send_drops).sum();
        lost
    }
}

/// Local port and drops of each UDP socket of this process.
fn kernel_drops() -> Vec<(u16, u64)> {
    let mut inodes = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").expect("/proc").flatten() {
        if let Ok(target) = std::fs::read_link(entry.path())
            && let Some(inode) = target.to_str().and_then(|t| t.strip_prefix("socket:["))
        {
            inodes.push(inode.trim_end_matches(']').to_owned());
        }
    }
    let table = std::fs::read_to_string("/proc/self/net/udp").expect("/proc");
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = fields.get(1)?.rsplit(':').next()?;
        let drops = fields.last()?.parse().ok()?;
        let own = inodes.iter().any(|inode| Some(&inode.as_str()) == fields.get(9));
        own.then_some((u16::from_str_radix(port, 16).ok()?, drops))
    };
    table.lines().filter_map(row).collect()
}

/// The binary with `--dev` on free ports, and what its `dev.json` tells.
pub struct DevServer {
    pub process: Running,
    pub url: String,
    pub metrics_url: String,
    pub dev: serde_json::Value,
    pub folder: Folder,
}

impl DevServer {
    /// With these environment variables.
    pub fn start(environment: &[(&str, &str)]) -> Self {
        Self::start_with(&["--media", "127.0.0.1:0"], environment)
    }

    /// With these arguments as well.
    pub fn start_with(args: &[&str], environment: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        let mut command = convoke(["serve", "--dev", "--http", "127.0.0.1:0"]);
        command.args(args).arg("--data-dir").arg(folder.path()).envs(environment.iter().copied());
        let mut process = Running::start(command);
        let line = process.line("convoke is ready at ");
        let url = line.rsplit(' ').next().expect("a URL").to_owned();
        let text = std::fs::read_to_string(folder.path().join("dev.json")).expect("dev.json");
        let dev: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let metrics_url = dev["metricsUrl"].as_str().expect("a URL").to_owned();
        Self { process, url, metrics_url, dev, folder }
    }

    /// A token made with the key that `dev.json` tells.
    pub fn token(&self, identity: &str) -> String {
        use base64::Engine;
        let key = &self.dev["tokenKey"];
        let secret = key["secretBase64"].as_str().expect("a secret");
        let secret = base64::engine::general_purpose::STANDARD.decode(secret).expect("base64");
        let kid = key["kid"].as_str().expect("a kid");
        let minter = Minter::hs256(kid, &Secret::new(secret)).expect("a key");
        minter.mint(&TokenRequest::new(identity), SystemTime::now()).expect("a token")
    }
}
