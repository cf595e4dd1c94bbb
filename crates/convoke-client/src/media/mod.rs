//! The client half of one participant, sans-IO.
//!
//! Owns: a send and a receive transport (each optional), the m-lines on them, and the numbering of
//! outgoing packets.
//! Never: reads a clock, opens a socket, spawns, or speaks the signalling protocol.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Instant;
//! use convoke_client::media::{Input, MediaConfig, MediaPeer};
//!
//! let now = Instant::now();
//! let config = MediaConfig::new("127.0.0.1:4000".parse()?, "127.0.0.1:4001".parse()?);
//! let (mut peer, offers) = MediaPeer::new(config, 1, now)?;
//! assert_eq!(offers.send_mids.len(), 4);
//! assert_eq!(offers.video_mids.len(), 16);
//! // Send the offers by signalling, give the answers to `accept_answers`, then:
//! peer.handle(now, Input::Timeout);
//! while let Some(transmit) = peer.poll_transmit() {
//!     // send transmit.contents from transmit.local to transmit.destination
//! }
//! while let Some(event) = peer.poll_event() {
//!     // look at it
//! }
//! // come back at the latest at:
//! let _ = peer.next_timeout();
//! # Ok(()) }
//! ```

mod answer;
mod data;
mod descriptor;
mod dtls;
#[cfg(feature = "export-keys")]
pub mod keys;
mod transport;
mod types;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use convoke_protocol::{MediaKind, TransportRole};
use str0m::media::{MediaKind as StrKind, Mid, Rid};
use str0m::rtp::RtpPacket;

use descriptor::RawDescriptor;
use transport::{Offered, OfferedLine, Out, Transport, Up};

pub use types::{
    Codec, DataMessage, Input, MediaConfig, MediaError, MediaEvent, Offers, Packet, Received,
    ReceivedData, SendLine, Transmit,
};

/// The largest RTP payload that fits into a packet of the media stack beside header, extensions and
/// authentication tag, in bytes. Paths carry less: stay at 1,200.
pub const PAYLOAD_BYTES_MAX: usize = 1_800;

#[derive(Debug)]
struct Line {
    mid: Mid,
    kind: MediaKind,
    ssrc: Option<u32>,
    encodings: Vec<Encoding>,
}

#[derive(Debug)]
struct Encoding {
    rid: Option<Rid>,
    next_sequence: u64,
}

impl Line {
    fn new(mid: Mid, line: &SendLine, random: &mut fastrand::Rng) -> Self {
        let mut encoding = |rid| Encoding {
            rid,
            // Below 2^15: the receiver's SRTP rollover counter starts right (RFC 3711 §3.3.1).
            next_sequence: line.first_sequence.map_or_else(|| random.u64(1..1 << 15), u64::from),
        };
        let mut encodings: Vec<Encoding> =
            line.rids.iter().map(|rid| encoding(Some(Rid::from(&**rid)))).collect();
        if encodings.is_empty() {
            encodings.push(encoding(None));
        }
        Self { mid, kind: line.source.kind(), ssrc: line.ssrc, encodings }
    }
}

#[derive(Debug)]
struct Slot {
    mid: Arc<str>,
    kind: MediaKind,
    index: usize,
}

/// The client half of one participant; see the module's docs.
#[derive(Debug)]
pub struct MediaPeer {
    send: Option<Transport>,
    receive: Option<Transport>,
    lines: Vec<Line>,
    slots: HashMap<Mid, Slot>,
    /// What it takes where it answers.
    video_codecs: Vec<Codec>,
    transmits: VecDeque<Transmit>,
    up: VecDeque<Up>,
}

fn to_str0m(kind: MediaKind) -> StrKind {
    match kind {
        MediaKind::Audio => StrKind::Audio,
        MediaKind::Video => StrKind::Video,
    }
}

impl MediaPeer {
    /// A peer and the offers that it makes. `seed` decides the first sequence numbers; everything
    /// that must be unpredictable on a network (ICE, DTLS, SSRCs) comes from the media stack.
    ///
    /// # Errors
    /// When there is nothing to offer, or an address is no usable candidate.
    pub fn new(config: MediaConfig, seed: u64, now: Instant) -> Result<(Self, Offers), MediaError> {
        let mut random = fastrand::Rng::with_seed(seed);
        let send: Vec<OfferedLine> = config.send.iter().map(OfferedLine::of).collect();
        let mut receive = vec![OfferedLine::new(StrKind::Audio); config.audio_slots];
        receive.resize(config.audio_slots + config.video_slots, OfferedLine::new(StrKind::Video));
        if send.is_empty() && receive.is_empty() {
            return Err(MediaError::NothingToOffer);
        }

        let open = |offered: Offered<'_>| {
            (!offered.lines.is_empty()).then(|| Transport::offer(offered, now)).transpose()
        };
        let send_only = Offered {
            role: TransportRole::Send,
            lines: &send,
            video: &config.video_codecs,
            estimate_from_bps: config.estimate_from_bps,
            descriptor: config.dependency_descriptor,
            local: config.send_addr,
            data_channel: config.data_channel,
        };
        let receive_only = Offered {
            role: TransportRole::Receive,
            lines: &receive,
            estimate_from_bps: None,
            local: config.receive_addr,
            data_channel: config.data_channel && send.is_empty(),
            ..send_only
        };
        let (send, receive) = (open(send_only)?, open(receive_only)?);
        let (send, send_sdp, send_mids) = split(send);
        let (receive, receive_sdp, receive_mids) = split(receive);

        let lines: Vec<Line> = config
            .send
            .iter()
            .zip(&send_mids)
            .map(|(line, mid)| Line::new(*mid, line, &mut random))
            .collect();
        let texts: Vec<String> = receive_mids.iter().map(ToString::to_string).collect();
        let (audio_mids, video_mids) = texts.split_at(config.audio_slots.min(texts.len()));
        let offers = Offers {
            send: send_sdp,
            receive: receive_sdp,
            send_mids: send_mids.iter().map(ToString::to_string).collect(),
            audio_mids: audio_mids.to_vec(),
            video_mids: video_mids.to_vec(),
        };
        let slots = slots(&receive_mids, config.audio_slots);
        let (transmits, up) = (VecDeque::new(), VecDeque::new());
        let video_codecs = config.video_codecs;
        Ok((Self { send, receive, lines, slots, video_codecs, transmits, up }, offers))
    }

    /// Takes the answers to the offers of [`Self::new`].
    ///
    /// # Errors
    /// When an answer is missing or unusable.
    pub fn accept_answers(
        &mut self,
        now: Instant,
        send: Option<&str>,
        receive: Option<&str>,
    ) -> Result<(), MediaError> {
        if let Some(transport) = &mut self.send {
            let sdp = send.ok_or(MediaError::NoAnswer(TransportRole::Send))?;
            transport.accept_answer(sdp, now)?;
            for line in &self.lines {
                for (encoding, first) in line.encodings.iter().zip(0..) {
                    let ssrc = line.ssrc.map(|ssrc| ssrc.wrapping_add(first));
                    transport.prepare_stream(line.mid, encoding.rid, to_str0m(line.kind), ssrc);
                }
            }
        }
        if let Some(transport) = &mut self.receive {
            let sdp = receive.ok_or(MediaError::NoAnswer(TransportRole::Receive))?;
            transport.accept_answer(sdp, now)?;
        }
        Ok(())
    }

    /// Offers an ICE restart of one transport, with `local` from a new address. Answer it with
    /// [`Self::accept_answer`]; media goes on by the old path until then.
    ///
    /// # Errors
    /// When there is no such transport or the address is no usable candidate.
    pub fn restart_ice(
        &mut self,
        role: TransportRole,
        local: Option<SocketAddr>,
    ) -> Result<String, MediaError> {
        self.transport(role)?.restart_ice(local)
    }

    /// Takes the answer to a later offer.
    ///
    /// # Errors
    /// When there is no such transport, no open offer, or the answer is unusable.
    pub fn accept_answer(
        &mut self,
        now: Instant,
        role: TransportRole,
        sdp: &str,
    ) -> Result<(), MediaError> {
        self.transport(role)?.accept_answer(sdp, now)
    }

    fn transport(&mut self, role: TransportRole) -> Result<&mut Transport, MediaError> {
        let transport = match role {
            TransportRole::Send => self.send.as_mut(),
            TransportRole::Receive => self.receive.as_mut(),
        };
        transport.ok_or(MediaError::NoTransport(role))
    }

    /// Whether a transport exists.
    #[must_use]
    pub fn has(&self, role: TransportRole) -> bool {
        match role {
            TransportRole::Send => self.send.is_some(),
            TransportRole::Receive => self.receive.is_some(),
        }
    }

    /// Whether a transport's first offer was answered.
    #[must_use]
    pub fn answered(&self, role: TransportRole) -> bool {
        match role {
            TransportRole::Send => self.send.as_ref().is_some_and(Transport::answered),
            TransportRole::Receive => self.receive.as_ref().is_some_and(Transport::answered),
        }
    }

    /// Whether a transport is up. One that does not exist is not.
    #[must_use]
    pub fn connected(&self, role: TransportRole) -> bool {
        match role {
            TransportRole::Send => self.send.as_ref().is_some_and(Transport::connected),
            TransportRole::Receive => self.receive.as_ref().is_some_and(Transport::connected),
        }
    }

    /// Queues a packet on a send line. It leaves with the next [`Input::Timeout`], which is due at
    /// once.
    ///
    /// # Errors
    /// When there is no such line or encoding, the codec does not fit or was not negotiated, or the
    /// payload is larger than [`PAYLOAD_BYTES_MAX`].
    pub fn write(&mut self, now: Instant, line: usize, packet: Packet) -> Result<(), MediaError> {
        let state = self.lines.get_mut(line).ok_or(MediaError::NoLine(line))?;
        if packet.codec.kind() != state.kind {
            return Err(MediaError::WrongKind(packet.codec));
        }
        if packet.payload.len() > PAYLOAD_BYTES_MAX {
            return Err(MediaError::TooLarge(packet.payload.len()));
        }
        let encoding = packet.encoding;
        let state_of = state.encodings.get_mut(encoding);
        let encoding = state_of.ok_or(MediaError::NoEncoding(encoding))?;
        let transport = self.send.as_mut().ok_or(MediaError::NoTransport(TransportRole::Send))?;
        transport.write(now, (state.mid, encoding.rid), encoding.next_sequence, packet)?;
        encoding.next_sequence += 1;
        Ok(())
    }

    /// Asks the server for a keyframe on a slot (PLI). `false` when nothing came there yet.
    pub fn request_keyframe(&mut self, now: Instant, mid: &str) -> bool {
        match &mut self.receive {
            Some(transport) => transport.request_keyframe(Mid::from(mid), now),
            None => false,
        }
    }

    /// Takes an input and drives what it touches. `now` must not go back.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        let out = &mut Out { transmits: &mut self.transmits, up: &mut self.up };
        match input {
            Input::Datagram { transport, source, local, bytes } => {
                let transport = match transport {
                    TransportRole::Send => &mut self.send,
                    TransportRole::Receive => &mut self.receive,
                };
                if let Some(transport) = transport {
                    transport.datagram(now, source, local, bytes, out);
                }
            }
            Input::Timeout => {
                for transport in [&mut self.send, &mut self.receive].into_iter().flatten() {
                    transport.timeout(now, out);
                }
            }
        }
    }

    /// Says goodbye on both transports; poll the last datagrams, then drop the peer.
    pub fn close(&mut self, now: Instant) {
        let out = &mut Out { transmits: &mut self.transmits, up: &mut self.up };
        for transport in [&mut self.send, &mut self.receive].into_iter().flatten() {
            transport.close(now, out);
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<MediaEvent> {
        loop {
            match self.up.pop_front()? {
                Up::Event(event) => return Some(event),
                Up::Keyframe(mid, rid) => {
                    if let Some((line, encoding)) = self.encoding(mid, rid) {
                        return Some(MediaEvent::KeyframeRequest { line, encoding });
                    }
                }
                Up::Rtp { mid, codec, packet } => {
                    if let Some(slot) = self.slots.get(&mid) {
                        return Some(MediaEvent::Rtp(received(slot, codec, *packet)));
                    }
                }
            }
        }
    }

    fn encoding(&self, mid: Mid, rid: Option<Rid>) -> Option<(usize, usize)> {
        let line = self.lines.iter().position(|line| line.mid == mid)?;
        let encodings = &self.lines.get(line)?.encodings;
        Some((line, encodings.iter().position(|encoding| encoding.rid == rid)?))
    }

    /// When [`Input::Timeout`] is due at the latest.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        [&self.send, &self.receive].into_iter().flatten().filter_map(Transport::deadline).min()
    }
}

type Opened = (Transport, String, Vec<Mid>);

fn split(opened: Option<Opened>) -> (Option<Transport>, Option<String>, Vec<Mid>) {
    match opened {
        Some((transport, sdp, mids)) => (Some(transport), Some(sdp), mids),
        None => (None, None, Vec::new()),
    }
}

fn slots(mids: &[Mid], audio: usize) -> HashMap<Mid, Slot> {
    let slot = |(n, mid): (usize, &Mid)| {
        let (kind, index) = match n.checked_sub(audio) {
            Some(index) => (MediaKind::Video, index),
            None => (MediaKind::Audio, n),
        };
        (*mid, Slot { mid: mid.to_string().into(), kind, index })
    };
    mids.iter().enumerate().map(slot).collect()
}

fn received(slot: &Slot, codec: Codec, packet: RtpPacket) -> Received {
    let header = &packet.header;
    Received {
        at: packet.timestamp,
        mid: slot.mid.clone(),
        kind: slot.kind,
        index: slot.index,
        ssrc: *header.ssrc,
        sequence: *packet.seq_no,
        rtp_time: header.timestamp,
        marker: header.marker,
        csrc: header.csrc.first().copied().filter(|_| header.csrc_count > 0),
        codec,
        level: header.ext_vals.audio_level.map(|v| v.unsigned_abs().min(127)),
        made_at: made_at(&packet, codec),
        descriptor: header.ext_vals.user_values.get::<RawDescriptor>().map(|raw| raw.0.clone()),
        payload: packet.payload,
    }
}

/// The sender's clock at the packet's timestamp, from its latest report (RFC 3550 §6.4.1).
fn made_at(packet: &RtpPacket, codec: Codec) -> Option<Duration> {
    // What is reported before the first packet has no timestamp to go by.
    let report = packet.last_sender_info.as_ref().filter(|r| r.sender_packet_count > 0)?;
    let reported = report.ntp_time.duration_since(UNIX_EPOCH).ok()?;
    let ticks = packet.header.timestamp.wrapping_sub(report.rtp_time.numer() as u32).cast_signed();
    let apart =
        Duration::from_secs_f64(f64::from(ticks.unsigned_abs()) / f64::from(codec.clock_rate()));
    if ticks < 0 { reported.checked_sub(apart) } else { reported.checked_add(apart) }
}

#[cfg(test)]
mod tests;
