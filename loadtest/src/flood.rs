//! `convoke-loadtest flood`: what floods from strangers cost a server beside a running call.
//!
//! Owns: the datagrams of strangers, their senders, and the table.
//! Never: sends anywhere but to a server of its own on loopback.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use convoke_client::media::{MediaConfig, MediaPeer, SendLine};
use convoke_control::{Minter, TokenRequest};
use convoke_loadtest::probe::Probe;
use convoke_loadtest::run::{Outcome, RunOptions, run};
use convoke_loadtest::scenario::Scenario;
use convoke_loadtest::server::Server;
use convoke_loadtest::target::convoke::Convoke;
use convoke_protocol::Source;

use super::Failure;

/// The call beside which strangers send.
const SCENARIO: &str = "\
description = \"One call of four\"
duration = \"10s\"
warmup = \"3s\"
[calls]
rooms = 1
participants = 4
join_over = \"500ms\"
[view]
tiles = 3
voices = 3
height = 360
";
/// Strangers, each with an address of its own.
const STRANGERS: u8 = 8;
/// Datagrams are sent together for so long.
const STEP: Duration = Duration::from_millis(5);
/// STUN's magic cookie (RFC 8489 §5).
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

#[derive(Debug, Args)]
pub(super) struct FloodArgs {
    /// The server to start; otherwise CONVOKE_BIN, or the one beside this program
    #[arg(long, value_name = "FILE")]
    server_binary: Option<PathBuf>,
    /// Datagrams a second that strangers send
    #[arg(long, default_value_t = 20_000)]
    rate: u32,
    /// Threads for the callers' media
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// What strangers send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nothing,
    Garbage,
    UnknownUser,
    WrongIntegrity,
    ClientHello,
}

impl Kind {
    const ALL: [Self; 5] =
        [Self::Nothing, Self::Garbage, Self::UnknownUser, Self::WrongIntegrity, Self::ClientHello];

    fn label(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Garbage => "random bytes",
            Self::UnknownUser => "STUN, unknown user",
            Self::WrongIntegrity => "STUN, wrong integrity",
            Self::ClientHello => "DTLS ClientHello",
        }
    }

    fn datagram(self, ufrag: &str, random: &mut fastrand::Rng) -> Vec<u8> {
        let noise = |random: &mut fastrand::Rng, bytes: usize| -> Vec<u8> {
            (0..bytes).map(|_| random.u8(..)).collect()
        };
        match self {
            Self::Nothing => Vec::new(),
            Self::Garbage => {
                let bytes = random.usize(1..1_200);
                noise(random, bytes)
            }
            Self::UnknownUser => {
                let user: String = (0..8).map(|_| random.alphanumeric()).collect();
                binding_request(&user, random)
            }
            Self::WrongIntegrity => binding_request(ufrag, random),
            Self::ClientHello => client_hello(&noise(random, 32)),
        }
    }
}

/// A binding request (RFC 8489 §5, RFC 8445 §7.2.2) whose integrity is made up.
fn binding_request(user: &str, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut attributes = Vec::new();
    let mut attribute = |kind: u16, value: &[u8]| {
        attributes.extend(kind.to_be_bytes());
        attributes.extend(u16::try_from(value.len()).unwrap_or(0).to_be_bytes());
        attributes.extend(value);
        attributes.resize(attributes.len().next_multiple_of(4), 0);
    };
    attribute(0x0006, format!("{user}:stranger").as_bytes());
    attribute(0x0024, &[0x6e, 0, 0x1e, 0xff]);
    attribute(0x802a, &[7; 8]);
    attribute(0x0025, &[]);
    let integrity: Vec<u8> = (0..20).map(|_| random.u8(..)).collect();
    attribute(0x0008, &integrity);
    let mut message = vec![0, 1];
    message.extend(u16::try_from(attributes.len()).unwrap_or(0).to_be_bytes());
    message.extend(COOKIE);
    message.extend((0..12).map(|_| random.u8(..)));
    message.extend(attributes);
    message
}

/// A first flight (RFC 6347 §4.2.2) with `use_srtp` (RFC 5764 §4.1.1), as browsers send it.
fn client_hello(random: &[u8]) -> Vec<u8> {
    let mut body = vec![0xfe, 0xfd];
    body.extend(random);
    // No session, no cookie.
    body.extend([0, 0]);
    body.extend([0, 4, 0xc0, 0x2b, 0xc0, 0x2f]);
    body.extend([1, 0]);
    let extensions: [&[u8]; 4] = [
        &[0, 10, 0, 6, 0, 4, 0, 29, 0, 23],
        &[0, 13, 0, 6, 0, 4, 4, 3, 8, 4],
        &[0, 14, 0, 5, 0, 2, 0, 8, 0],
        &[0, 23, 0, 0],
    ];
    let extensions = extensions.concat();
    body.extend(u16::try_from(extensions.len()).unwrap_or(0).to_be_bytes());
    body.extend(extensions);
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(0).to_be_bytes();
    let mut handshake = vec![1];
    handshake.extend(&length(body.len())[1..]);
    handshake.extend([0, 0, 0, 0, 0]);
    handshake.extend(&length(body.len())[1..]);
    handshake.extend(body);
    let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0];
    record.extend(u16::try_from(handshake.len()).unwrap_or(0).to_be_bytes());
    record.extend(handshake);
    record
}

/// What strangers sent and got.
#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    bytes_out: AtomicU64,
    answers: AtomicU64,
    bytes_in: AtomicU64,
}

/// Strangers who send until this is dropped.
struct Flood {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Flood {
    fn begin(kind: Kind, rate: u32, to: SocketAddr, ufrag: &str) -> std::io::Result<Self> {
        let mut random = fastrand::Rng::with_seed(1);
        let datagrams: Vec<_> = (0..512).map(|_| kind.datagram(ufrag, &mut random)).collect();
        let socket = |n: u8| {
            let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 1, n), 0))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let sockets = (1..=STRANGERS).map(socket).collect::<std::io::Result<Vec<_>>>()?;
        let (stop, counts) = (Arc::<AtomicBool>::default(), Arc::<Counts>::default());
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&counts));
        let thread = thread::spawn(move || {
            let (began, mut sent) = (Instant::now(), 0_u64);
            let mut all = datagrams.iter().cycle();
            while kind != Kind::Nothing && !stopped.load(Relaxed) {
                let due = (began.elapsed().as_secs_f64() * f64::from(rate)) as u64;
                for (datagram, socket) in
                    all.by_ref().zip(sockets.iter().cycle()).take((due - sent) as usize)
                {
                    if socket.send_to(datagram, to).is_ok() {
                        counted.sent.fetch_add(1, Relaxed);
                        counted.bytes_out.fetch_add(datagram.len() as u64, Relaxed);
                    }
                }
                sent = due;
                hear(&sockets, &counted);
                thread::sleep(STEP);
            }
            hear(&sockets, &counted);
        });
        Ok(Self { stop, counts, thread: Some(thread) })
    }

    fn end(mut self) -> Arc<Counts> {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        Arc::clone(&self.counts)
    }
}

fn hear(sockets: &[UdpSocket], counts: &Counts) {
    let mut buffer = [0; 2_048];
    for socket in sockets {
        while let Ok(bytes) = socket.recv(&mut buffer) {
            counts.answers.fetch_add(1, Relaxed);
            counts.bytes_in.fetch_add(bytes as u64, Relaxed);
        }
    }
}

/// The media port, and a user name that is known there: those that a WHIP session is answered. It never
/// connects.
fn known_user(url: &str, minter: &Minter) -> Result<(SocketAddr, String), String> {
    let error = |what: &dyn std::fmt::Display| format!("a session to learn a user name: {what}");
    let token = minter.mint(&TokenRequest::new("known"), SystemTime::now());
    let token = token.map_err(|e| error(&e))?;
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let mut config = MediaConfig::new(nowhere, nowhere);
    config.send = vec![SendLine::new(Source::Microphone)];
    let (_, offers) = MediaPeer::new(config, 1, Instant::now()).map_err(|e| error(&e))?;
    let offer = offers.send.ok_or_else(|| error(&"no offer"))?;
    let url = format!("{}/whip/{}", url.trim_end_matches('/'), uuid::Uuid::new_v4());
    let mut reply = ureq::post(&url)
        .header("Authorization", &format!("Bearer {token}"))
        .header("Content-Type", "application/sdp")
        .send(offer)
        .map_err(|e| error(&e))?;
    let answer = reply.body_mut().read_to_string().map_err(|e| error(&e))?;
    let ufrag = answer.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:"));
    let candidate = answer.lines().find(|line| line.starts_with("a=candidate:"));
    let mut words = candidate.unwrap_or_default().split(' ').skip(4);
    let address = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let address = format!("{}:{}", address.0, address.1).parse().map_err(|e| error(&e))?;
    Ok((address, ufrag.ok_or_else(|| error(&"no user name"))?.trim().to_owned()))
}

async fn measure(args: &FloodArgs, kind: Kind) -> Result<(Outcome, Arc<Counts>), Failure> {
    let scenario = Scenario::parse("flood", SCENARIO).map_err(Failure::running)?;
    let server = Server::start(args.server_binary.as_deref(), Some(1));
    let server = server.await.map_err(Failure::running)?;
    let minter = server.dev.minter().map_err(Failure::running)?;
    let url = server.dev.url.clone();
    let learned = tokio::task::spawn_blocking(move || known_user(&url, &minter)).await;
    let (address, ufrag) = learned.map_err(Failure::running)?.map_err(Failure::running)?;
    if !address.ip().is_loopback() {
        return Err(Failure::running("the server's media is not on loopback"));
    }
    let probe = Probe {
        pids: server.pid().into_iter().collect(),
        metrics_url: server.dev.metrics_url.clone(),
    };
    let minter = server.dev.minter().map_err(Failure::running)?;
    let target = Convoke::new(server.dev.url.clone(), minter, Ipv4Addr::LOCALHOST.into());
    let options = RunOptions { threads: args.threads, progress: false };
    let flood = Flood::begin(kind, args.rate, address, &ufrag).map_err(Failure::running)?;
    let outcome = run(target, Arc::new(scenario), probe, options).await;
    let counts = flood.end();
    Ok((outcome.map_err(Failure::running)?, counts))
}

/// One table; fails where strangers got more than they sent.
pub(super) async fn command(args: FloodArgs) -> Result<u8, Failure> {
    println!(
        "One call of four, one worker, {} datagrams/s of strangers from {STRANGERS} addresses.\n",
        args.rate
    );
    println!(
        "{:<22} | {:>7} | {:>8} | {:>13} | {:>9} | {:>12} | {:>14} | {:>12}",
        "strangers send",
        "cores",
        "us each",
        "media p99, ms",
        "lost",
        "kernel drops",
        "bytes to us",
        "answers"
    );
    println!(
        "{:-<22}-|-{:->7}-|-{:->8}-|-{:->13}-|-{:->9}-|-{:->12}-|-{:->14}-|-{:->12}",
        "", "", "", "", "", "", "", ""
    );
    let (mut quiet, mut exit) = (None, 0);
    for kind in Kind::ALL {
        let (outcome, counts) = measure(&args, kind).await?;
        let cores = outcome.server.cpu_cores.unwrap_or(f64::NAN);
        let base = *quiet.get_or_insert(cores);
        let each = match kind {
            Kind::Nothing => "-".to_owned(),
            _ => format!("{:.2}", (cores - base) * 1e6 / f64::from(args.rate)),
        };
        let mut delay = outcome.figures.video_delay.clone();
        delay.merge(&outcome.figures.audio_delay);
        let (bytes_out, bytes_in) = (counts.bytes_out.load(Relaxed), counts.bytes_in.load(Relaxed));
        println!(
            "{:<22} | {cores:>7.3} | {each:>8} | {:>13.1} | {:>9} | {:>12} | {:>14} | {:>12}",
            kind.label(),
            delay.ms(0.99).unwrap_or(f64::NAN),
            format!("{}/{}", outcome.figures.missing, outcome.figures.received_packets),
            outcome.server.socket_drops.unwrap_or(0),
            bytes_out,
            format!("{} ({bytes_in} B)", counts.answers.load(Relaxed)),
        );
        for reason in &outcome.invalid {
            println!("  not valid: {reason}");
        }
        if bytes_in > bytes_out {
            println!("  strangers got more than they sent");
            exit = 3;
        }
    }
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_send_is_what_it_is_called() {
        let mut random = fastrand::Rng::with_seed(1);
        let request = Kind::WrongIntegrity.datagram("known", &mut random);
        assert_eq!(request[..2], [0, 1]);
        assert_eq!(usize::from(request[3]), request.len() - 20);
        assert!(request.windows(14).any(|part| part == b"known:stranger"));
        let hello = Kind::ClientHello.datagram("", &mut random);
        assert_eq!((hello[0], usize::from(hello[12])), (22, hello.len() - 13));
        assert_eq!((hello[13], usize::from(hello[16])), (1, hello.len() - 25));
    }
}
