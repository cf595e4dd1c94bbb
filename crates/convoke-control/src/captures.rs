//! Captures of calls: RTP headers as they pass, in a file that Wireshark reads.
//!
//! Owns: which captures there are, their bounds of time and size, and the file, which is kept in memory.
//! Never: makes a worker wait: what finds no place in the queue is dropped and counted. Has payloads
//! unless the configuration allows them.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use convoke_node::core::{Action, Capture, CaptureSink, CapturedPacket, RoomId};
use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep_until, timeout};

use crate::calls::Call;
use crate::control::Inner;
use crate::ids::CallId;
use crate::sync::lock;

/// Captures that are kept at most, running ones included. The oldest that is over goes first.
pub(crate) const CAPTURES_MAX: usize = 4;
/// Packets on their way from the workers to the file.
const QUEUE: usize = 4_096;
/// So often it is looked whether the call has new rooms.
const ROUND: Duration = Duration::from_millis(500);
/// `epb_flags` (pcapng): inbound, outbound.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// One capture.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) id: String,
    pub(crate) call: String,
    pub(crate) began: SystemTime,
    pub(crate) payloads: bool,
    pub(crate) limit: Limit,
    pub(crate) packets: AtomicU64,
    pub(crate) dropped: AtomicU64,
    file: Mutex<File>,
    stop: Notify,
}

/// How far a capture may go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) time: Duration,
    pub(crate) bytes: usize,
}

/// How a capture ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Ended {
    /// Somebody stopped it.
    Stopped,
    /// Its time was over.
    Time,
    /// Its file was full.
    Size,
    /// The call ended.
    #[serde(rename = "callEnded")]
    CallOver,
}

#[derive(Debug)]
struct File {
    bytes: Vec<u8>,
    ended: Option<Ended>,
}

/// The captures that are kept.
#[derive(Debug, Default)]
pub(crate) struct Captures(Mutex<Vec<Arc<Recording>>>);

/// Why one was not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotBegun {
    /// The call is being captured.
    Running,
    /// [`CAPTURES_MAX`] are running.
    TooMany,
}

impl Recording {
    pub(crate) fn ended(&self) -> Option<Ended> {
        lock(&self.file).ended
    }

    /// What there is so far.
    pub(crate) fn file(&self) -> Vec<u8> {
        lock(&self.file).bytes.clone()
    }

    pub(crate) fn size(&self) -> usize {
        lock(&self.file).bytes.len()
    }

    /// Ends it, if it is not over.
    pub(crate) fn stop(&self) {
        self.stop.notify_one();
    }
}

/// Where workers put what they see.
#[derive(Debug)]
struct Sink {
    to: mpsc::Sender<CapturedPacket>,
    recording: Arc<Recording>,
}

impl CaptureSink for Sink {
    fn take(&self, packet: CapturedPacket) {
        if self.to.try_send(packet).is_err() {
            self.recording.dropped.fetch_add(1, Relaxed);
        }
    }
}

impl Captures {
    pub(crate) fn all(&self) -> Vec<Arc<Recording>> {
        lock(&self.0).clone()
    }

    pub(crate) fn by_id(&self, id: &str) -> Option<Arc<Recording>> {
        lock(&self.0).iter().find(|one| one.id == id).cloned()
    }

    /// Whether a call may be captured now.
    pub(crate) fn may_begin(&self, call: &str) -> Result<(), NotBegun> {
        let running: Vec<_> = self.all().into_iter().filter(|one| one.ended().is_none()).collect();
        if running.iter().any(|one| one.call == call) {
            return Err(NotBegun::Running);
        }
        if running.len() >= CAPTURES_MAX { Err(NotBegun::TooMany) } else { Ok(()) }
    }

    fn add(&self, recording: &Arc<Recording>) -> Result<(), NotBegun> {
        let mut all = lock(&self.0);
        let running = |one: &&Arc<Recording>| one.ended().is_none();
        if all.iter().filter(running).any(|one| one.call == recording.call) {
            return Err(NotBegun::Running);
        }
        if all.len() >= CAPTURES_MAX {
            let over = all.iter().position(|one| one.ended().is_some());
            all.remove(over.ok_or(NotBegun::TooMany)?);
        }
        all.push(Arc::clone(recording));
        Ok(())
    }
}

impl Inner {
    /// Begins to capture a call. It ends by itself.
    pub(crate) fn capture(
        self: &Arc<Self>,
        call: &Arc<Call>,
        limit: Limit,
        payloads: bool,
    ) -> Result<Arc<Recording>, NotBegun> {
        let recording = Arc::new(Recording {
            id: CallId::random().to_string(),
            call: call.wire_id().to_owned(),
            began: SystemTime::now(),
            payloads,
            limit,
            packets: AtomicU64::default(),
            dropped: AtomicU64::default(),
            file: Mutex::new(File { bytes: Vec::new(), ended: None }),
            stop: Notify::new(),
        });
        self.captures.add(&recording)?;
        let run = run(Arc::clone(self), Arc::clone(call), Arc::clone(&recording), Instant::now());
        tokio::spawn(run);
        Ok(recording)
    }
}

/// `began` is [`Recording::began`] by the clock of packets.
async fn run(inner: Arc<Inner>, call: Arc<Call>, recording: Arc<Recording>, began: Instant) {
    let (to, mut from) = mpsc::channel(QUEUE);
    let sink = Arc::new(Sink { to, recording: Arc::clone(&recording) });
    let capture = Capture { sink, payloads: recording.payloads };
    let end = tokio::time::Instant::now() + recording.limit.time;
    let mut writer = writer();
    recording.keep(&mut writer);
    let mut told: Vec<RoomId> = Vec::new();
    let mut round = tokio::time::interval(ROUND);
    let ended = loop {
        tokio::select! {
            () = recording.stop.notified() => break Ended::Stopped,
            () = sleep_until(end) => break Ended::Time,
            _ = round.tick() => {
                if call.is_over() {
                    break Ended::CallOver;
                }
                inner.tell_rooms(&call, &mut told, &capture).await;
                recording.keep(&mut writer);
            }
            packet = from.recv() => {
                let Some(packet) = packet else { break Ended::CallOver };
                let at = recording.began + packet.at.saturating_duration_since(began);
                let size = recording.size() + writer.get_ref().len() + packet_size(&packet);
                if size > recording.limit.bytes {
                    break Ended::Size;
                }
                if write(&mut writer, &packet, at).is_ok() {
                    recording.packets.fetch_add(1, Relaxed);
                }
            }
        }
    };
    let quiet = || Action::Capture { capture: None };
    for room in told {
        // A room that is gone captures nothing.
        let patience = inner.config().times.command;
        let _ = timeout(patience, inner.handle.command(room, quiet())).await;
    }
    recording.keep(&mut writer);
    lock(&recording.file).ended = Some(ended);
    let packets = recording.packets.load(Relaxed);
    tracing::info!(call = recording.call, capture = recording.id, ?ended, packets, "captured");
}

impl Inner {
    /// Captures the rooms of a call that are not yet.
    async fn tell_rooms(&self, call: &Call, told: &mut Vec<RoomId>, capture: &Capture) {
        for room in self.handle.rooms_of(call.room()) {
            if told.contains(&room) {
                continue;
            }
            let action = Action::Capture { capture: Some(capture.clone()) };
            let asked = self.handle.command(room, action);
            if matches!(timeout(self.config().times.command, asked).await, Ok(Ok(_))) {
                told.push(room);
            }
        }
    }
}

impl Recording {
    /// Shows what was written.
    fn keep(&self, writer: &mut PcapNgWriter<Vec<u8>>) {
        lock(&self.file).bytes.append(writer.get_mut());
    }
}

/// A file with its head: one interface, of raw IP packets.
fn writer() -> PcapNgWriter<Vec<u8>> {
    let mut writer = match PcapNgWriter::new(Vec::new()) {
        Ok(writer) => writer,
        Err(error) => unreachable!("a vector takes everything: {error}"),
    };
    let interface = InterfaceDescriptionBlock {
        linktype: DataLink::RAW,
        snaplen: 0,
        // Timestamps in nanoseconds.
        options: vec![InterfaceDescriptionOption::IfTsResol(9)],
    };
    let written = writer.write_pcapng_block(interface);
    debug_assert!(written.is_ok());
    writer
}

/// More than a packet takes in the file.
fn packet_size(packet: &CapturedPacket) -> usize {
    let payload = packet.payload.as_ref().map_or(0, |payload| payload.len());
    // Block, IP and UDP headers, option.
    128 + packet.head().len() + payload
}

fn write(
    writer: &mut PcapNgWriter<Vec<u8>>,
    packet: &CapturedPacket,
    at: SystemTime,
) -> Result<(), pcap_file::PcapError> {
    let mut data = Vec::with_capacity(packet_size(packet));
    headers(&mut data, packet.source, packet.destination, packet.datagram_bytes);
    let before = data.len();
    data.extend_from_slice(packet.head());
    data.extend_from_slice(packet.payload.as_deref().unwrap_or_default());
    let original = before + packet.datagram_bytes;
    // Without its authentication tag a decrypted packet is shorter, never longer.
    data.truncate(original);
    let flags = if packet.received { INBOUND } else { OUTBOUND };
    let block = EnhancedPacketBlock {
        interface_id: 0,
        timestamp: at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
        original_len: u32::try_from(original).unwrap_or(u32::MAX),
        data: Cow::Owned(data),
        options: vec![EnhancedPacketOption::Flags(flags)],
    };
    writer.write_pcapng_block(block).map(|_| ())
}

/// Headers of IP (RFC 791, RFC 8200) and UDP (RFC 768, without a checksum) as they were, for a payload of
/// `bytes`.
fn headers(out: &mut Vec<u8>, source: SocketAddr, destination: SocketAddr, bytes: usize) {
    let udp = u16::try_from(8 + bytes).unwrap_or(u16::MAX);
    match (source, destination) {
        (SocketAddr::V4(source), SocketAddr::V4(destination)) => {
            let begin = out.len();
            out.extend([0x45, 0]);
            out.extend(udp.saturating_add(20).to_be_bytes());
            out.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
            out.extend(source.ip().octets());
            out.extend(destination.ip().octets());
            let sum = checksum(out.get(begin..).unwrap_or_default()).to_be_bytes();
            for (to, from) in out.iter_mut().skip(begin + 10).zip(sum) {
                *to = from;
            }
        }
        _ => {
            out.extend([0x60, 0, 0, 0]);
            out.extend(udp.to_be_bytes());
            out.extend([17, 64]);
            out.extend(v6(source));
            out.extend(v6(destination));
        }
    }
    out.extend(source.port().to_be_bytes());
    out.extend(destination.port().to_be_bytes());
    out.extend(udp.to_be_bytes());
    out.extend([0, 0]);
}

fn v6(address: SocketAddr) -> [u8; 16] {
    match address {
        SocketAddr::V4(address) => address.ip().to_ipv6_mapped().octets(),
        SocketAddr::V6(address) => address.ip().octets(),
    }
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| {
        pair.iter().zip([8, 0]).fold(0, |sum, (byte, shift)| sum | u32::from(*byte) << shift)
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_those_of_ip() {
        // The example that RFC 1071's sum is usually shown with.
        let example = [
            0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0,
            0xc7,
        ];
        assert_eq!(checksum(&example), 0xb861);
        let mut out = Vec::new();
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        headers(&mut out, address("192.168.0.1:5"), address("192.168.0.199:6"), 0x73 - 28);
        assert_eq!(out.len(), 28);
        assert_eq!(out[10..12], [0xb8, 0x61]);
        assert_eq!(out[20..], [0, 5, 0, 6, 0, 0x5f, 0, 0]);
        let mut out = Vec::new();
        headers(&mut out, address("[2001:db8::1]:5"), address("127.0.0.1:6"), 100);
        assert_eq!((out.len(), out[0]), (48, 0x60));
    }
}
