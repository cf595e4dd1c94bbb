//! One transport: one BUNDLE (RFC 9143) of ICE (RFC 8445) and DTLS-SRTP (RFC 5764).
//!
//! Owns: everything that names str0m. SDP in and out, datagrams in and out, deadlines.
//! Never: knows rooms, tracks or slots beyond their m-line; decides what is forwarded.
//!
//! The contract with str0m (each point measured or read in its source):
//! - its RTP event slot holds one packet, so every datagram is drained at once ([`Transport::receive`]);
//! - `write_rtp` only queues: a subscriber's packets of one turn are written, then one timeout and
//!   one drain send them ([`Transport::drive`]); a test pins it, as str0m's documentation does not;
//! - `direct_api()` re-arms a full poll, so SSRC lookups are kept here.

mod answer;
mod codec;
mod consent;
mod data;
mod descriptor;
mod drive;
mod dtls;
mod earlier;
mod egress;
mod negotiate;
mod opened;
mod paths;
mod payload_types;
mod red;
mod requests;
mod tally;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustc_hash::{FxHashMap, FxHashSet};
use str0m::bwe::{Bitrate, BweKind};
use str0m::media::KeyframeRequestKind;
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpPacket};
use str0m::{Event, Input, Rtc};

use crate::api::{DropReason, MediaKind, Outbox, TransportRole};
use crate::demux::{self, Class, Pair, classify};
use crate::entropy::worker_of_ufrag;
use crate::ids::{Mid, Rid};

pub(crate) use codec::Codec;
#[cfg(test)]
pub(crate) use codec::H264Profile;
pub use data::DATA_PAYLOAD_BYTES_MAX;
pub(crate) use data::{DataHeard, Written};
pub(crate) use descriptor::DescriptorBytes;
pub(crate) use drive::on_grid;
use drive::{Timing, rtp_ssrc};
pub(crate) use dtls::Crypto;
pub(crate) use egress::Outgoing;
pub(crate) use negotiate::{NegotiateError, Settings};

/// The largest RTP payload that is taken, in bytes. No path carries more in one datagram (1,500 on
/// Ethernet), and str0m panics over what does not fit into its 2,000-byte packet with header,
/// extensions and authentication tag: in the transports of those it would be forwarded to.
pub const PAYLOAD_BYTES_MAX: usize = 1_500;

/// The largest datagram that is of use, in bytes: a payload of the most that is taken, with its headers.
/// Whoever frames larger ones speaks another protocol.
pub const DATAGRAM_BYTES_MAX: usize = 2_000;

/// Remembered SSRCs of one transport; beyond that the memory is emptied and filled anew.
const SSRCS_MAX: usize = 128;

/// One m-line.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) mid: Mid,
    pub(crate) kind: MediaKind,
    /// Whether we send on it (a slot of the peer).
    pub(crate) sends: bool,
    /// Whether we receive on it.
    pub(crate) receives: bool,
    theirs: str0m::media::Mid,
    /// What the peer can take or may send here, in our order of preference.
    payloads: Vec<(u8, Codec)>,
    /// The RIDs that the peer sends (RFC 8853), in the order of its offer.
    pub(crate) rids: Vec<Rid>,
    /// What we send with.
    stream: Option<SendStream>,
}

/// The numbers of an outgoing stream. str0m walks all declared streams whenever it is driven, and
/// reports on each of them, so a slot's stream is declared with its first packet; only the first of
/// video is there from the start, for padding. It then stays: under one key no packet number may be
/// used twice.
#[derive(Debug, Clone, Copy)]
struct SendStream {
    ssrc: str0m::rtp::Ssrc,
    rtx: Option<str0m::rtp::Ssrc>,
    declared: bool,
    /// Whether anything was ever sent with it, or may be at any time.
    used: bool,
}

impl Line {
    /// Whether the peer takes exactly this codec here.
    pub(crate) fn takes(&self, codec: Codec) -> bool {
        self.payloads.iter().any(|(_, mine)| *mine == codec)
    }

    /// The payload type and codec with which a stream of `codec` can be sent here.
    pub(crate) fn payload_for(&self, codec: Codec) -> Option<u8> {
        let exact = self.payloads.iter().find(|(_, mine)| *mine == codec);
        exact.or_else(|| self.payloads.iter().find(|(_, mine)| mine.decodes(codec))).map(|p| p.0)
    }
}

/// What a transport heard.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are packets, in a reused buffer")]
pub(crate) enum Received {
    /// ICE and DTLS are up.
    Connected,
    /// A media packet on an m-line.
    Rtp { line: usize, packet: MediaPacket },
    /// A media packet that cannot be forwarded.
    Unusable(DropReason),
    /// The peer asks for a keyframe of what it receives on an m-line (PLI or FIR).
    KeyframeRequest { line: usize },
    /// Something about data channels.
    Data(DataHeard),
    /// What the path to the peer carries, in bit/s; `None` when nobody estimates any more.
    Estimate { bps: Option<u64>, can_probe: bool },
    /// How the path to the peer is: round trip, the share of packets lost of those that were sent in
    /// the last second and that it said something of, bytes sent in all, and by what the pacer sends,
    /// in bit/s: what the estimator says at the moment, of which `Estimate` is an average.
    Path { rtt: Option<Duration>, loss: Option<f32>, sent_bytes: u64, paced_bps: Option<u64> },
}

impl Received {
    /// Whether it can only come of what the peer sent.
    fn is_of_the_peer(&self) -> bool {
        !matches!(self, Self::Path { .. } | Self::Estimate { .. })
    }
}

/// A received media packet: SRTP, RTX and extensions undone.
#[derive(Debug, Clone)]
pub(crate) struct MediaPacket {
    pub(crate) ssrc: u32,
    /// Extended sequence number (RFC 3711 §3.3.1).
    pub(crate) seq: u64,
    /// RTP timestamp, in the codec's clock.
    pub(crate) time: u32,
    pub(crate) codec: Codec,
    pub(crate) marker: bool,
    pub(crate) payload: Arc<[u8]>,
    /// Of redundant audio the newest block alone; `None` also where it cannot be taken apart.
    pub(crate) primary: Option<Arc<[u8]>>,
    /// The encoding that it is of, if the m-line carries several (RFC 8851).
    pub(crate) rid: Option<Rid>,
    /// The dependency descriptor, if there is one.
    pub(crate) descriptor: Option<Arc<DescriptorBytes>>,
    /// RFC 6464 level in dBov (0 loudest, -127 silence), if the sender gives one.
    pub(crate) level: Option<i8>,
    /// When it was sampled by the sender's wall clock, from its latest sender report.
    pub(crate) captured: Option<SystemTime>,
    ext: ExtensionValues,
}

/// What a packet takes beside its payload, in bytes: IPv4 and UDP (28), RTP with CSRC (16), header
/// extensions (about 20), the authentication tag (16).
const OVERHEAD_BYTES: u64 = 80;

impl MediaPacket {
    /// What it takes on the wire, in bytes.
    pub(crate) fn wire_bytes(&self) -> u64 {
        self.payload.len() as u64 + OVERHEAD_BYTES
    }

    /// The size of what it carries itself, redundancy aside, in bytes.
    pub(crate) fn own_bytes(&self) -> usize {
        self.primary.as_ref().unwrap_or(&self.payload).len()
    }
}

/// One transport; see the module's docs.
pub(crate) struct Transport {
    rtc: Rtc,
    pub(crate) role: TransportRole,
    pub(crate) lines: Vec<Line>,
    /// Whether packets queue on their way to the peer.
    congested: bool,
    /// See [`Self::set_unpaced`].
    unpaced: bool,
    ufrag: String,
    /// The credentials of before an ICE restart, until the peer nominates a pair anew.
    earlier: Option<str0m::ice::IceCreds>,
    ssrcs: FxHashMap<u32, Option<(usize, Option<Rid>)>>,
    /// Outgoing SSRCs that something was sent with.
    used_ssrcs: FxHashSet<u32>,
    timing: Timing,
    /// What left as RTP, in bytes, and the same when the present drive began: a report of what came of it
    /// is made before anything else leaves.
    media_bytes: u64,
    told_bytes: u64,
    paths: paths::Paths,
    consent: consent::Consent,
    /// Whether the peer is reached by another path since the last datagram.
    moved: bool,
    /// Whether packets or requests are queued that the next drive must send.
    pub(crate) touched: bool,
    pub(crate) connected: bool,
    /// When a datagram was last accepted from the peer (or the transport was made).
    pub(crate) heard: Instant,
    dead: bool,
    data: data::Channels,
    tally: tally::Tally,
    /// What it asked for again.
    requests: requests::Requests,
    payload_types: payload_types::PayloadTypes,
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").field("role", &self.role).field("lines", &self.lines).finish()
    }
}

/// How handling a datagram or deadline went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// Fine.
    Well,
    /// Fine, and all that was handled is a check ([`consent`]) or a report of an idle peer.
    Idle,
    /// The datagram was refused; the transport goes on.
    Refused,
    /// The transport is beyond use (fatal error).
    Dead,
    /// Handling it panicked: the transport is beyond use.
    Panicked,
}

impl Transport {
    /// The local ICE user name fragment, by which STUN is demultiplexed.
    pub(crate) fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// When [`Self::drive`] is due.
    pub(crate) fn deadline(&self) -> Instant {
        self.timing.deadline()
    }

    pub(crate) fn line_of(&self, mid: Mid) -> Option<usize> {
        self.lines.iter().position(|line| line.mid == mid)
    }

    /// Of which kind a media packet is, if it is of a stream that was heard before.
    pub(crate) fn kind_of(&self, datagram: &[u8]) -> Option<MediaKind> {
        let (line, _) = (*self.ssrcs.get(&rtp_ssrc(datagram)?)?)?;
        self.lines.get(line).map(|line| line.kind)
    }

    /// Takes one datagram and drains what follows from it.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        pair: &Pair,
        bytes: &[u8],
        out: &mut Outbox,
        received: &mut Vec<Received>,
    ) -> Health {
        if self.dead {
            return Health::Dead;
        }
        let (sent, heard, before) = (out.datagrams(), received.len(), opened::opened());
        let is_rtcp = classify(bytes) == Class::Rtp && rtp_ssrc(bytes).is_none();
        if classify(bytes) == Class::Rtp && !is_rtcp {
            self.timing.active = now;
        }
        let well = if is_rtcp && self.timing.is_idle() { Health::Idle } else { Health::Well };
        if is_rtcp {
            self.requests.begin(now, bytes);
            opened::sift(std::mem::take(&mut self.requests));
        }
        let handled = catch_unwind(AssertUnwindSafe(|| {
            if classify(bytes) == Class::Stun {
                if self.answer_earlier(pair, bytes, out).is_some() {
                    return Health::Well;
                }
                if self.answer_idle(now, pair, bytes, out).is_some() {
                    return Health::Idle;
                }
            }
            let Ok(receive) = Receive::new(protocol(pair), pair.source, pair.local, bytes) else {
                return Health::Refused;
            };
            self.show_check(now);
            if classify(bytes) == Class::Stun && !self.follow(now, pair, bytes) {
                return Health::Refused;
            }
            if classify(bytes) == Class::Dtls {
                self.refresh_data();
            }
            match self.rtc.handle_input(Input::Receive(now, receive)) {
                // One datagram's error is that datagram's: what kills an Rtc shows in the drain.
                Err(error) => {
                    self.tally.refused(&error);
                    let _ = self.drain(now, out, received);
                    Health::Refused
                }
                Ok(()) => {
                    if classify(bytes) == Class::Stun {
                        self.consent.has_shown(now);
                    }
                    self.drain(now, out, received)
                }
            }
        }));
        if is_rtcp && let Some(requests) = opened::sifted() {
            self.requests = requests;
        }
        // Only what was authenticated shows that the peer lives: a STUN request that was answered
        // (RFC 7675 consent), RTCP that was decrypted, or what media and data came of it. Some of what
        // is heard comes of time alone.
        let shows = match classify(bytes) {
            Class::Stun => out.datagrams() > sent,
            Class::Rtp if is_rtcp => opened::opened() != before,
            _ => received.iter().skip(heard).any(Received::is_of_the_peer),
        };
        if shows {
            self.heard = now;
            if self.paths.heard(now, *pair, classify(bytes) == Class::Stun) {
                self.on_another_network();
            }
            self.tally.came(bytes);
        }
        self.ask_for_pictures(received);
        self.rest();
        match self.settle(handled) {
            Health::Well => well,
            health => health,
        }
    }

    fn caught(check: impl FnOnce() -> bool) -> bool {
        catch_unwind(AssertUnwindSafe(check)).unwrap_or(false)
    }

    fn settle(&mut self, handled: std::thread::Result<Health>) -> Health {
        let health = handled.unwrap_or(Health::Panicked);
        self.dead |= matches!(health, Health::Dead | Health::Panicked);
        health
    }

    fn event(&mut self, now: Instant, event: Event, received: &mut Vec<Received>) {
        match event {
            Event::RtpPacket(packet) if packet.payload.len() > PAYLOAD_BYTES_MAX => {
                received.push(Received::Unusable(DropReason::Oversize));
            }
            Event::RtpPacket(packet) => {
                if let Some((line, packet)) = self.media_packet(packet) {
                    received.push(Received::Rtp { line, packet });
                }
            }
            Event::KeyframeRequest(request) => {
                if let Some(line) = self.lines.iter().position(|l| l.theirs == request.mid) {
                    received.push(Received::KeyframeRequest { line });
                }
            }
            Event::EgressBitrateEstimate(BweKind::Twcc { .. }) if self.timing.asleep => {}
            Event::EgressBitrateEstimate(BweKind::Twcc { estimate, can_probe }) => {
                let estimate = self.timing.since_awake(now, estimate.as_u64());
                let bps = can_probe.then_some(estimate);
                received.push(Received::Estimate { bps, can_probe });
            }
            Event::EgressBitrateEstimate(BweKind::Remb { estimate, .. }) => {
                let bps = Some(estimate.as_u64());
                received.push(Received::Estimate { bps, can_probe: false });
            }
            Event::PeerStats(stats) => {
                let loss = stats.egress_loss_fraction;
                let awake = |_: &Bitrate| !self.timing.asleep;
                let paced_bps = stats.bwe_tx.filter(awake).map(|estimate| estimate.as_u64());
                self.timing.estimate_bps = paced_bps.or(self.timing.estimate_bps);
                let (rtt, sent_bytes) = (stats.rtt, self.told_bytes);
                received.push(Received::Path { rtt, loss, sent_bytes, paced_bps });
            }
            Event::Connected => {
                self.connected = true;
                self.heard = now;
                self.timing.active = now;
                received.push(Received::Connected);
            }
            Event::IceConnectionStateChange(state) => self.tally.ice(state),
            Event::MediaEgressStats(stats) => {
                self.tally.stats(&stats);
                if let Some(rtt) = stats.rtt {
                    self.requests.set_rtt(rtt);
                }
            }
            Event::ChannelOpen(id, label) => self.channel_opened(id, &label, received),
            Event::ChannelClose(id) => self.channel_closed(id, received),
            Event::ChannelBufferedAmountLow(id) => self.channel_drained(id, received),
            Event::ChannelData(data) => {
                self.channel_message(data.id, data.binary, data.data, received);
            }
            // Negotiation reads str0m's state itself; ICE liveness is judged by `heard`.
            _ => {}
        }
    }

    fn media_packet(&mut self, packet: RtpPacket) -> Option<(usize, MediaPacket)> {
        let ssrc = packet.header.ssrc;
        let (line, rid) = match self.ssrcs.get(&*ssrc) {
            Some(known) => *known,
            None => {
                let found = self
                    .rtc
                    .direct_api()
                    .stream_rx(&ssrc)
                    .map(|stream| (stream.mid(), stream.rid().and_then(|rid| Rid::new(&rid))));
                let place = found.and_then(|(mid, rid)| {
                    let line = self.lines.iter().position(|l| l.theirs == mid)?;
                    Some((line, rid))
                });
                if self.ssrcs.len() >= SSRCS_MAX {
                    self.ssrcs.clear();
                }
                self.ssrcs.insert(*ssrc, place);
                place
            }
        }?;
        let payload_type = *packet.header.payload_type;
        let codec = self.lines.get(line)?.payloads.iter().find(|p| p.0 == payload_type)?.1;
        let captured = packet.last_sender_info.and_then(|report| {
            let rate = i64::from(codec.clock_rate());
            let ticks = packet.header.timestamp.wrapping_sub(report.rtp_time.numer() as u32);
            let micros = i64::from(ticks.cast_signed()).checked_mul(1_000_000)? / rate;
            let distance = Duration::from_micros(micros.unsigned_abs());
            if micros >= 0 {
                report.ntp_time.checked_add(distance)
            } else {
                report.ntp_time.checked_sub(distance)
            }
        });
        let packet = MediaPacket {
            ssrc: *ssrc,
            seq: *packet.seq_no,
            time: packet.header.timestamp,
            codec,
            marker: packet.header.marker,
            primary: (codec == Codec::OpusRed).then(|| red::primary(&packet.payload)).flatten(),
            rid,
            descriptor: packet.header.ext_vals.user_values.get_arc(),
            level: packet.header.ext_vals.audio_level,
            captured,
            ext: forwarded_extensions(packet.header.ext_vals),
            payload: packet.payload,
        };
        Some((line, packet))
    }

    /// Asks the peer for a keyframe of an encoding that it sends on `line`; sent by the next drive.
    pub(crate) fn request_keyframe(&mut self, line: usize, rid: Option<Rid>) {
        let Some(line) = self.lines.get(line) else { return };
        let mut api = self.rtc.direct_api();
        let rid = rid.map(|rid| str0m::media::Rid::from(rid.as_str()));
        if let Some(stream) = api.stream_rx_by_mid(line.theirs, rid) {
            stream.request_keyframe(KeyframeRequestKind::Pli);
            self.touched = true;
        }
    }

    /// Tells the estimator what to aim at, and what to keep up with padding if media sends less, in
    /// bit/s.
    pub(crate) fn set_bitrates(&mut self, sustained_bps: u64, desired_bps: u64) {
        if !self.dead {
            self.wake();
            self.rtc.bwe().set_bitrate(Bitrate::from(sustained_bps), Bitrate::from(desired_bps));
            self.timing.sustains = sustained_bps > 0;
            self.timing.woken = true;
            self.touched = true;
        }
    }

    /// Lets the estimator forget what it learned, and begin anew from `bps`.
    pub(crate) fn restart_estimate(&mut self, bps: u64) {
        if !self.dead {
            self.timing.asleep = false;
            self.timing.begins_anew(bps);
            self.rtc.bwe().reset(Bitrate::from(bps));
        }
    }

    /// Says goodbye (RTCP BYE, DTLS close_notify); the transport is of no use afterwards.
    pub(crate) fn close(&mut self, now: Instant, out: &mut Outbox) {
        if self.dead {
            return;
        }
        self.timing.wanted = true;
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let mut ignored = Vec::new();
            if self.rtc.close().is_ok() && self.rtc.handle_input(Input::Timeout(now)).is_ok() {
                let _ = self.drain(now, out, &mut ignored);
            }
        }));
        self.dead = true;
    }
}

/// The header extensions that travel to subscribers as they came. MID, transport-wide sequence
/// numbers and send times belong to each transport and are made anew.
fn forwarded_extensions(from: ExtensionValues) -> ExtensionValues {
    ExtensionValues {
        audio_level: from.audio_level,
        voice_activity: from.voice_activity,
        video_orientation: from.video_orientation,
        abs_capture_time: from.abs_capture_time,
        play_delay_min: from.play_delay_min,
        play_delay_max: from.play_delay_max,
        ..ExtensionValues::default()
    }
}

fn protocol(pair: &Pair) -> Protocol {
    match pair.protocol {
        demux::Protocol::Udp => Protocol::Udp,
        demux::Protocol::Tcp => Protocol::Tcp,
    }
}

/// The number ([`crate::WorkerConfig::index`]) of the worker that a STUN message is addressed to, by its
/// user name. That of a stranger can name any.
#[must_use]
pub fn addressed_worker(stun: &[u8]) -> Option<u8> {
    if classify(stun) != Class::Stun {
        return None;
    }
    worker_of_ufrag(&stun_ufrag(stun)?)
}

/// The local user name fragment that a STUN message is addressed to (RFC 8445 §7.2.2), if it is a
/// STUN message with a user name.
pub(crate) fn stun_ufrag(bytes: &[u8]) -> Option<String> {
    let parse = || {
        let message = str0m::ice::StunMessage::parse(bytes).ok()?;
        message.split_username().map(|(local, _)| local.to_owned())
    };
    catch_unwind(parse).ok().flatten()
}

#[cfg(test)]
mod tests;
