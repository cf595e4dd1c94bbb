//! Media over TCP on networks that are not as they should be: connections that die, and narrow ones.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use convoke_client::media::Received;
use convoke_client::source::Stamp;
use convoke_protocol::MediaKind;
use socket2::SockRef;

use super::media::start;
use super::peer::{Lines, Peer, drive, drive_once, socket};
use super::tcp::{Frames, call_in, counted, ended, goes_on, port, with_tcp};
use super::*;
use crate::TcpEnd;

/// Both of a client's connections die, and its ICE agent opens others: it is told that they closed, or it
/// finds out while the server still takes them for good.
async fn reconnect(is_told: bool) -> Duration {
    let (_node, handle, room) = start(with_tcp(1, |_| {})).await;
    let mut peers = call_in(&handle, room).await;
    let fresh = [(); 2].map(|()| Frames::connect(port(&handle)));
    let dead = peers[0].by_tcp.replace(fresh).unwrap();
    let dead = (!is_told).then_some(dead);
    let changed = Instant::now();
    peers.iter_mut().for_each(|peer| peer.received.clear());
    drive(&mut peers, "media comes by the new connections, and goes", |peers| {
        peers[0].received.len() > 20 && {
            // What was on its way while the old one died does not count.
            let late = |p: &Received| p.at - changed > Duration::from_millis(200);
            peers[1].received.iter().any(late)
        }
    })
    .await;
    let gap = peers[0].received[0].at - changed;
    assert_eq!(handle.stats()[0].core.participants, 2, "nobody joined anew");
    assert!(peers.iter().all(|peer| peer.closed == 0));
    goes_on(&mut peers).await;
    // One that nobody closed is a spare pair until it is closed, or keepalives find it dead.
    counted(&handle, "both are there", |s| s.open == if is_told { 4 } else { 6 }).await;
    drop(dead);
    counted(&handle, "they end", |s| s.open == 4 && ended(s, TcpEnd::Peer) == 2).await;
    gap
}

#[tokio::test]
async fn media_goes_on_by_new_connections_after_the_old_ones_died() {
    for is_told in [true, false] {
        let gap = reconnect(is_told).await;
        eprintln!("told: {is_told}; media was away for {gap:?}");
        // The native client checks every 3 s while nothing changes.
        assert!(gap < Duration::from_secs(8), "{gap:?}");
    }
}

/// Passes a connection on; what comes from the server only so fast, and hardly anything waits here.
struct Narrow {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Drop for Narrow {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

impl Narrow {
    fn new(to: SocketAddr, bps: u32) -> Self {
        let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            let (client, _) = listener.accept().unwrap();
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            let socket = socket.unwrap();
            // Before it connects, or the window is what it was.
            socket.set_recv_buffer_size(4_096).unwrap();
            socket.connect(&to.into()).unwrap();
            pass(client, socket.into(), bps, &stopped);
        });
        Self { address, stop }
    }
}

fn pass(mut client: TcpStream, mut server: TcpStream, bps: u32, stop: &AtomicBool) {
    for stream in [&client, &server] {
        stream.set_nonblocking(true).unwrap();
        SockRef::from(stream).set_tcp_nodelay(true).unwrap();
    }
    let began = Instant::now();
    let (mut passed, mut buffer) = (0.0, [0; 2_048]);
    while !stop.load(Relaxed) {
        std::thread::sleep(Duration::from_millis(2));
        while let Ok(read @ 1..) = client.read(&mut buffer) {
            server.write_all(&buffer[..read]).unwrap();
        }
        // No more than this at once after it was kept from running.
        let allowed = began.elapsed().as_secs_f64() * f64::from(bps) / 8.0;
        passed = f64::max(passed, allowed - 4_000.0);
        while passed < allowed {
            let most = (allowed - passed).ceil().clamp(1.0, 2_048.0) as usize;
            match server.read(&mut buffer[..most]) {
                Ok(0) => return,
                Ok(read) => {
                    passed += read as f64;
                    if client.write_all(&buffer[..read]).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return,
            }
        }
    }
}

/// How old the audio was that came since, in the order of coming.
fn ages(of: &Peer, epoch: Instant, since: Instant) -> Vec<Duration> {
    let audio = |p: &&Received| p.kind == MediaKind::Audio && p.at > since;
    let age = |p: &Received| {
        let sent = epoch + Duration::from_micros(Stamp::read(&p.payload).unwrap().sent_us);
        p.at.saturating_duration_since(sent)
    };
    of.received.iter().filter(audio).map(age).collect()
}

fn count(of: &Peer, kind: MediaKind, since: Instant) -> usize {
    of.received.iter().filter(|p| p.kind == kind && p.at > since).count()
}

#[tokio::test]
async fn a_narrow_connection_keeps_its_sound_and_costs_others_nothing() {
    let (_node, handle, room) = start(with_tcp(1, |_| {})).await;
    let narrow = Narrow::new(port(&handle), 300_000);
    let mut peers = Vec::new();
    for (microphone, audio, to) in [(true, 0, None), (false, 1, None), (false, 1, Some(&narrow))] {
        let sockets = [(); 2].map(|()| socket(LOOPBACK));
        let lines = Lines { camera: microphone, microphone, audio, video: audio };
        let (mut peer, request) = Peer::with(sockets, handle.new_participant(), lines);
        peer.join(&handle, room, request).await;
        peer.by_tcp = to.map(|to| [Frames::connect(port(&handle)), Frames::connect(to.address)]);
        peers.push(peer);
    }
    drive(&mut peers, "both see and hear", |p| {
        let since = p[0].epoch;
        p[1..]
            .iter()
            .all(|p| count(p, MediaKind::Audio, since) > 0 && count(p, MediaKind::Video, since) > 0)
    })
    .await;
    // Each time a second that was driven: what came to the narrow one, and to the other.
    let began = Instant::now();
    let (mut seconds, mut oldest) = (Vec::new(), Duration::ZERO);
    loop {
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(1) {
            drive_once(&mut peers).await;
        }
        let ages = ages(&peers[2], peers[0].epoch, since);
        let worst = ages.iter().max().copied().unwrap_or(Duration::MAX);
        oldest = oldest.max(ages.iter().max().copied().unwrap_or_default());
        let counts = [1, 2].map(|n| {
            [MediaKind::Audio, MediaKind::Video].map(|kind| count(&peers[n], kind, since))
        });
        eprintln!(
            "[audio, video] of the wide and the narrow one: {counts:?}, audio's age {worst:?}"
        );
        seconds.push(counts);
        let [_, [audio, video]] = counts;
        if video == 0 && audio >= 40 && worst < Duration::from_millis(500) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "sound does not come in time: {seconds:?}");
    }
    // What waits is bounded: 256 packets of 1,200 bytes are 8 s, at the worst.
    assert!(oldest < Duration::from_secs(8), "{oldest:?}");
    let total = |n: usize, kind| count(&peers[n], kind, began);
    let [wide, slow] = [1, 2].map(|n| total(n, MediaKind::Audio));
    assert!(slow * 10 >= wide * 8, "sound is the last to go: {slow} of {wide}");
    // 1.5 Mbit/s in packets of 1,100 bytes are 170 a second; half of that, as machines are loaded.
    let rate = total(1, MediaKind::Video) as f64 / began.elapsed().as_secs_f64();
    assert!(rate > 80.0, "{rate} packets a second beside a narrow one");
    // It stays so: the estimate has fallen, and nothing waits for ever.
    let (since, drops) = (Instant::now(), handle.tcp_stats().drops);
    drive(&mut peers, "sound goes on", |p| count(&p[2], MediaKind::Audio, since) > 100).await;
    assert_eq!(handle.tcp_stats().drops, drops);
    let late = ages(&peers[2], peers[0].epoch, since);
    let late = late.iter().filter(|age| **age > Duration::from_secs(1)).count();
    assert!(late < 20, "{late} of 100 packets are over a second old");
}
