//! One ICE + DTLS-SRTP transport of the client.
//!
//! Owns: one `str0m::Rtc`, its drain loop, and the map from SSRC to m-line.
//! Never: knows what an m-line means; [`super::MediaPeer`] does.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use convoke_protocol::{Reliability, TransportRole};
use str0m::bwe::{Bitrate, BweKind};
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::format::Codec as StrCodec;
use str0m::media::{Direction, MediaKind as StrKind, Mid, Pt, Rid, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite, SeqNo};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcConfig};

use super::descriptor::{self, RawDescriptor};
use super::types::{Codec, MediaError, MediaEvent, Packet, SendLine, Transmit};
use super::{data, dtls};

/// RTX memory of a video send stream.
const RTX_PACKETS: usize = 512;
const RTX_AGE: Duration = Duration::from_secs(2);
/// Share of resends in all bytes, beyond which resends are dropped.
const RTX_RATIO: f32 = 0.5;
/// Media is reported on for so long after the last of it.
const REPORTED: Duration = Duration::from_secs(10);
/// SSRCs that one transport remembers; there are two per m-line.
const MAX_SSRCS: usize = 1024;

/// What the drain loop hands up.
#[derive(Debug)]
pub(super) enum Up {
    Event(MediaEvent),
    Rtp { mid: Mid, codec: Codec, packet: Box<RtpPacket> },
    Keyframe(Mid, Option<Rid>),
}

/// An m-line to offer.
#[derive(Debug, Clone)]
pub(super) struct OfferedLine {
    kind: StrKind,
    ssrc: Option<u32>,
    rids: Vec<Rid>,
}

impl OfferedLine {
    pub(super) fn new(kind: StrKind) -> Self {
        Self { kind, ssrc: None, rids: Vec::new() }
    }

    pub(super) fn of(line: &SendLine) -> Self {
        let kind = super::to_str0m(line.source.kind());
        let rids = line.rids.iter().map(|rid| Rid::from(&**rid)).collect();
        Self { kind, ssrc: line.ssrc, rids }
    }

    fn simulcast(&self) -> Option<Simulcast> {
        let layer = |rid: &Rid| SimulcastLayer { rid: *rid, attributes: None };
        let send: Vec<SimulcastLayer> = self.rids.iter().map(layer).collect();
        (!send.is_empty()).then(|| Simulcast { send, recv: Vec::new() })
    }
}

/// What a transport offers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offered<'a> {
    pub(super) role: TransportRole,
    pub(super) lines: &'a [OfferedLine],
    pub(super) video: &'a [Codec],
    pub(super) estimate_from_bps: Option<u64>,
    pub(super) descriptor: bool,
    pub(super) local: SocketAddr,
    pub(super) data_channel: bool,
}

pub(super) struct Transport {
    role: TransportRole,
    pub(super) rtc: Rtc,
    local: SocketAddr,
    pending: Option<SdpPendingOffer>,
    /// An address to switch to once the ICE restart is answered.
    next_local: Option<SocketAddr>,
    mids: HashMap<u32, Mid>,
    codecs: HashMap<u8, Codec>,
    payload_types: HashMap<(Mid, Codec), Pt>,
    pub(super) deadline: Option<Instant>,
    answered: bool,
    connected: bool,
    /// When media last went one way or the other, or was asked for: there is something to report on.
    media_at: Option<Instant>,
    pub(super) closed: bool,
    /// Whether data channels were offered.
    pub(super) has_channels: bool,
    /// Ours, oldest first.
    pub(super) channels: Vec<data::Channel>,
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport")
            .field("role", &self.role)
            .field("local", &self.local)
            .field("connected", &self.connected)
            .finish_non_exhaustive()
    }
}

fn stack(error: impl std::fmt::Display) -> MediaError {
    MediaError::Stack(error.to_string())
}

fn candidate(addr: SocketAddr) -> Result<Candidate, MediaError> {
    Candidate::host(addr, Protocol::Udp).map_err(|_| MediaError::Address(addr))
}

fn config(offered: Offered<'_>) -> RtcConfig {
    let mut config = RtcConfig::new()
        .set_crypto_provider(dtls::provider())
        .set_rtp_mode(true)
        .set_stats_interval(None)
        .set_sctp_max_buffered_amount(data::BUFFER_BYTES)
        .clear_codecs()
        .enable_opus(true, false)
        .enable_bwe(offered.estimate_from_bps.map(Bitrate::from));
    if offered.descriptor {
        config = config.set_extension(descriptor::ID, descriptor::extension());
    }
    for codec in offered.video {
        config = match codec {
            Codec::Opus => config,
            Codec::Vp8 => config.enable_vp8(true),
            Codec::Vp9 => config.enable_vp9(true),
            Codec::H264 => config.enable_h264(true),
            Codec::Av1 => config.enable_av1(true),
        };
    }
    config
}

/// The offer with the SSRCs that were asked for in place of the stack's random ones.
fn with_ssrcs(sdp: &str, lines: &[OfferedLine]) -> String {
    let mut sections = sdp.split("\r\nm=");
    let mut out = sections.next().unwrap_or_default().to_owned();
    for (n, section) in sections.enumerate() {
        out.push_str("\r\nm=");
        let Some(first) = lines.get(n).and_then(|line| line.ssrc) else {
            out.push_str(section);
            continue;
        };
        let mut text = section.to_owned();
        for (old, encoding) in main_ssrcs(section).iter().zip(0..) {
            // Each use of an SSRC is followed by a space or a line's end: `a=ssrc:1 cname`, `FID 1 2`.
            let new = first.wrapping_add(encoding);
            text = text.replace(&format!("{old} "), &format!("{new} "));
        }
        out.push_str(&text);
    }
    out
}

/// The SSRCs of a section that are no retransmissions, in order.
fn main_ssrcs(section: &str) -> Vec<&str> {
    let values = |prefix| section.lines().filter_map(move |line| line.strip_prefix(prefix));
    let resent: Vec<&str> =
        values("a=ssrc-group:FID ").filter_map(|group| group.split(' ').nth(1)).collect();
    let mut found = Vec::new();
    for ssrc in values("a=ssrc:").filter_map(|attribute| attribute.split(' ').next()) {
        if !resent.contains(&ssrc) && !found.contains(&ssrc) {
            found.push(ssrc);
        }
    }
    found
}

impl Transport {
    /// A transport that makes this offer, with its SDP and mids.
    pub(super) fn offer(
        offered: Offered<'_>,
        now: Instant,
    ) -> Result<(Self, String, Vec<Mid>), MediaError> {
        let Offered { role, local, data_channel, .. } = offered;
        let direction = match role {
            TransportRole::Send => Direction::SendOnly,
            TransportRole::Receive => Direction::RecvOnly,
        };
        let mut rtc = config(offered).build(now);
        rtc.add_local_candidate(candidate(local)?).ok_or(MediaError::Address(local))?;
        let mut api = rtc.sdp_api();
        let mids: Vec<Mid> = offered
            .lines
            .iter()
            .map(|line| api.add_media(line.kind, direction, None, None, line.simulcast()))
            .collect();
        let kinds = [Reliability::Durable, Reliability::Lossy];
        let channels = kinds.into_iter().filter(|_| data_channel).map(|reliability| {
            let config = data::config(data::label(reliability), reliability);
            (api.add_channel_with_config(config), reliability)
        });
        let channels = Self::offered(&channels.collect::<Vec<_>>());
        let (offer, pending) = api.apply().ok_or(MediaError::NothingToOffer)?;
        let this = Self {
            pending: Some(pending),
            has_channels: data_channel,
            channels,
            ..Self::new(role, rtc, local, now)
        };
        Ok((this, with_ssrcs(&offer.to_sdp_string(), offered.lines), mids))
    }

    fn new(role: TransportRole, rtc: Rtc, local: SocketAddr, now: Instant) -> Self {
        Self {
            role,
            rtc,
            local,
            pending: None,
            next_local: None,
            mids: HashMap::new(),
            codecs: HashMap::new(),
            payload_types: HashMap::new(),
            deadline: Some(now),
            answered: false,
            connected: false,
            media_at: None,
            closed: false,
            has_channels: false,
            channels: Vec::new(),
        }
    }

    /// A transport for offers of the other side.
    pub(super) fn answering(offered: Offered<'_>, now: Instant) -> Result<Self, MediaError> {
        let Offered { role, local, .. } = offered;
        let mut rtc = config(offered).build(now);
        rtc.add_local_candidate(candidate(local)?).ok_or(MediaError::Address(local))?;
        Ok(Self::new(role, rtc, local, now))
    }

    /// Answers an offer of the other side.
    pub(super) fn answer(&mut self, sdp: &str, now: Instant) -> Result<String, MediaError> {
        let offer = SdpOffer::from_sdp_string(sdp).map_err(stack)?;
        let answer = self.rtc.sdp_api().accept_offer(offer).map_err(stack)?;
        self.agreed(now);
        Ok(answer.to_sdp_string())
    }

    /// Takes the answer to the open offer.
    pub(super) fn accept_answer(&mut self, sdp: &str, now: Instant) -> Result<(), MediaError> {
        let pending = self.pending.take().ok_or(MediaError::NoOffer(self.role))?;
        let answer = SdpAnswer::from_sdp_string(sdp).map_err(stack)?;
        self.rtc.sdp_api().accept_answer(pending, answer).map_err(stack)?;
        if let Some(local) = self.next_local.take() {
            self.rtc.add_local_candidate(candidate(local)?).ok_or(MediaError::Address(local))?;
            self.local = local;
        }
        self.agreed(now);
        Ok(())
    }

    /// An offer was answered.
    fn agreed(&mut self, now: Instant) {
        self.codecs = self
            .rtc
            .codec_config()
            .params()
            .iter()
            .filter_map(|p| Some((*p.pt(), Codec::from_str0m(p.spec().codec)?)))
            .collect();
        self.payload_types.clear();
        self.answered = true;
        self.deadline = Some(now);
    }

    /// Prepares a send stream: its SSRC (if fixed) and its RTX memory.
    pub(super) fn prepare_stream(
        &mut self,
        mid: Mid,
        rid: Option<Rid>,
        kind: StrKind,
        ssrc: Option<u32>,
    ) {
        let mut api = self.rtc.direct_api();
        if let Some(ssrc) = ssrc {
            // Anew, not `reset_stream_tx`: after that, feedback for the new SSRC finds no stream.
            let old = api.stream_tx_by_mid(mid, rid).map(|stream| stream.ssrc());
            if let Some(old) = old {
                api.remove_stream_tx(old);
            }
            let rtx = kind.is_video().then(|| api.new_ssrc());
            api.declare_stream_tx(ssrc.into(), rtx, mid, rid);
        }
        if let (true, Some(stream)) = (kind.is_video(), api.stream_tx_by_mid(mid, rid)) {
            stream.set_rtx_cache(RTX_PACKETS, RTX_AGE, Some(RTX_RATIO));
        }
    }

    /// An ICE restart (RFC 8445 §9); with `local`, from a new address.
    pub(super) fn restart_ice(&mut self, local: Option<SocketAddr>) -> Result<String, MediaError> {
        if let Some(local) = local {
            candidate(local)?;
        }
        self.next_local = local;
        let mut api = self.rtc.sdp_api();
        api.ice_restart(local.is_none());
        let (offer, pending) = api.apply().ok_or(MediaError::NothingToOffer)?;
        self.pending = Some(pending);
        Ok(offer.to_sdp_string())
    }

    pub(super) fn answered(&self) -> bool {
        self.answered
    }

    pub(super) fn connected(&self) -> bool {
        self.connected
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The payload type by which this line may carry `codec`.
    fn payload_type(&mut self, mid: Mid, codec: Codec) -> Option<Pt> {
        if let Some(pt) = self.payload_types.get(&(mid, codec)) {
            return Some(*pt);
        }
        let pt = self.find_payload_type(mid, codec)?;
        self.payload_types.insert((mid, codec), pt);
        Some(pt)
    }

    fn find_payload_type(&self, mid: Mid, codec: Codec) -> Option<Pt> {
        let allowed = self.rtc.media(mid)?.remote_pts();
        let fits = |c: StrCodec| Codec::from_str0m(c) == Some(codec);
        let params = self.rtc.codec_config().params();
        // Packetization mode 1 where the codec has modes (H.264).
        let mode_fits = |p: &&str0m::format::PayloadParams| {
            codec != Codec::H264 || p.spec().format.packetization_mode == Some(1)
        };
        params
            .iter()
            .filter(|p| fits(p.spec().codec) && allowed.contains(&p.pt()))
            .find(mode_fits)
            .map(str0m::format::PayloadParams::pt)
    }

    /// Queues a packet; it leaves with the next [`Self::timeout`].
    pub(super) fn write(
        &mut self,
        now: Instant,
        (mid, rid): (Mid, Option<Rid>),
        sequence: u64,
        packet: Packet,
    ) -> Result<(), MediaError> {
        let codec = packet.codec;
        let pt = self.payload_type(mid, codec).ok_or(MediaError::CodecNotNegotiated(codec))?;
        let mut values = ExtensionValues::default();
        if let Some(level) = packet.level {
            values.audio_level = i8::try_from(level.min(127)).ok().map(|v| -v);
            values.voice_activity = Some(level < 127);
        }
        if let Some(bytes) = packet.descriptor {
            values.user_values.set(RawDescriptor(bytes));
        }
        let mut api = self.rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, rid).ok_or(MediaError::NoTransport(self.role))?;
        stream.write_rtp(
            RtpWrite::new(pt, SeqNo::from(sequence), packet.rtp_time, now, packet.payload)
                .marker(packet.marker)
                .ext_vals(values)
                .nackable(codec != Codec::Opus),
        );
        self.media_at = Some(now);
        self.deadline = Some(now);
        Ok(())
    }

    pub(super) fn request_keyframe(&mut self, mid: Mid, now: Instant) -> bool {
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_rx_by_mid(mid, None) else { return false };
        stream.request_keyframe(str0m::media::KeyframeRequestKind::Pli);
        self.media_at = Some(now);
        self.deadline = Some(now);
        true
    }

    /// A datagram came in. Anything that is not ours is ignored.
    pub(super) fn datagram(
        &mut self,
        now: Instant,
        source: SocketAddr,
        local: SocketAddr,
        bytes: &[u8],
        out: &mut Out<'_>,
    ) {
        if self.closed {
            return;
        }
        let Ok(receive) = Receive::new(Protocol::Udp, source, local, bytes) else { return };
        if matches!(bytes, [128..=191, ..]) && !is_rtcp(bytes) {
            self.media_at = Some(now);
        }
        let input = Input::Receive(now, receive);
        if !self.rtc.accepts(&input) {
            return;
        }
        match self.rtc.handle_input(input) {
            // One input, one drain: the stack's event slot holds a single RTP packet.
            Ok(()) => self.drain(now, out),
            Err(error) => self.fail(&error.to_string(), out),
        }
    }

    /// Drives the transport until nothing is due any more.
    pub(super) fn timeout(&mut self, now: Instant, out: &mut Out<'_>) {
        // The pacer asks for deadlines microseconds away; more than this many rounds is a fault.
        for _ in 0..256 {
            if self.closed || self.deadline.is_none_or(|at| at > now) {
                return;
            }
            match self.rtc.handle_input(Input::Timeout(now)) {
                Ok(()) => self.drain(now, out),
                Err(error) => return self.fail(&error.to_string(), out),
            }
        }
        self.deadline = now.checked_add(Duration::from_millis(1));
    }

    /// Says goodbye (RTCP BYE, DTLS close_notify).
    pub(super) fn close(&mut self, now: Instant, out: &mut Out<'_>) {
        self.media_at = Some(now);
        if !self.closed && self.rtc.close().is_ok() {
            self.drain(now, out);
        }
        self.closed = true;
        self.deadline = None;
    }

    fn fail(&mut self, reason: &str, out: &mut Out<'_>) {
        self.closed = true;
        self.connected = false;
        self.deadline = None;
        let reason = reason.to_owned();
        out.up.push_back(Up::Event(MediaEvent::Closed { transport: self.role, reason }));
    }

    fn drain(&mut self, now: Instant, out: &mut Out<'_>) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.deadline = (at < now + Duration::from_secs(86_400)).then_some(at);
                    break;
                }
                Ok(Output::Transmit(t)) if is_rtcp(&t.contents) && !self.has_to_report(now) => {}
                Ok(Output::Transmit(t)) => out.transmits.push_back(Transmit {
                    transport: self.role,
                    local: t.source,
                    destination: t.destination,
                    contents: t.contents.into(),
                }),
                Ok(Output::Event(event)) => self.event(event, out),
                Err(error) => return self.fail(&error.to_string(), out),
            }
        }
        if !self.rtc.is_alive() && !self.closed {
            self.fail("closed", out);
        }
    }

    fn event(&mut self, event: Event, out: &mut Out<'_>) {
        match event {
            Event::Connected => self.set_connected(true, out),
            Event::IceConnectionStateChange(state) => match state {
                IceConnectionState::Disconnected => self.set_connected(false, out),
                // After a loss DTLS stays up: ICE alone tells that the path is back.
                IceConnectionState::Connected | IceConnectionState::Completed
                    if self.rtc.is_connected() =>
                {
                    self.set_connected(true, out);
                }
                _ => {}
            },
            Event::RtpPacket(packet) => {
                let Some(codec) = self.codecs.get(&packet.header.payload_type).copied() else {
                    return;
                };
                let ssrc = *packet.header.ssrc;
                let Some(mid) = self.mid_of(ssrc) else { return };
                out.up.push_back(Up::Rtp { mid, codec, packet: Box::new(packet) });
            }
            Event::KeyframeRequest(request) => {
                out.up.push_back(Up::Keyframe(request.mid, request.rid));
            }
            Event::EgressBitrateEstimate(BweKind::Twcc { estimate, .. }) => {
                let bps = estimate.as_u64();
                out.up.push_back(Up::Event(MediaEvent::Estimate { bps }));
            }
            Event::ChannelOpen(id, _) => out.up.extend(self.channel_open(id)),
            Event::ChannelClose(id) => out.up.extend(self.channel_close(id)),
            Event::ChannelData(data) => out.up.extend(self.channel_data(&data)),
            _ => {}
        }
    }

    /// str0m reports on every stream each second, though nothing goes over it.
    fn has_to_report(&self, now: Instant) -> bool {
        self.media_at.is_some_and(|at| now.saturating_duration_since(at) < REPORTED)
    }

    fn set_connected(&mut self, connected: bool, out: &mut Out<'_>) {
        if std::mem::replace(&mut self.connected, connected) != connected {
            out.up.push_back(Up::Event(if connected {
                MediaEvent::Connected(self.role)
            } else {
                MediaEvent::Disconnected(self.role)
            }));
        }
    }

    fn mid_of(&mut self, ssrc: u32) -> Option<Mid> {
        if let Some(mid) = self.mids.get(&ssrc) {
            return Some(*mid);
        }
        let mid = self.rtc.direct_api().stream_rx(&ssrc.into())?.mid();
        if self.mids.len() >= MAX_SSRCS {
            self.mids.clear();
        }
        self.mids.insert(ssrc, mid);
        Some(mid)
    }
}

/// RTP and RTCP share their transport (RFC 5761 §4).
fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, 192..=223, ..])
}

/// Where a transport puts what it has to say.
#[derive(Debug)]
pub(super) struct Out<'a> {
    pub(super) transmits: &'a mut VecDeque<Transmit>,
    pub(super) up: &'a mut VecDeque<Up>,
}
