//! Offers in, answers out: the one SDP driver for "the client offers".
//!
//! Owns: the str0m configuration, the reading of negotiated m-lines, offer checks.
//! Never: makes an offer; glare cannot happen because only clients offer.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::{FxHashMap, FxHashSet};
use str0m::bwe::Bitrate;
use str0m::change::SdpOffer;
use str0m::net::TcpType;
use str0m::rtp::Extension;
use str0m::{Candidate, IceCreds, Rtc};

use super::answer::{Rewrite, SlotLine};
use super::drive::Timing;
use super::egress::begin_retransmission;
use super::paths::Paths;
use super::{Codec, Crypto, Line, SendStream, Transport, descriptor};
use crate::api::{MediaKind, Reflexive, TransportRole};
use crate::ids::{Mid, Rid};

/// Sender and receiver reports: often enough for lip-sync after a switch, seldom enough that
/// declared but idle slots cost little.
const REPORT_INTERVAL: Duration = Duration::from_secs(2);

/// What a new transport needs from its worker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings<'a> {
    pub(crate) crypto: &'a Crypto,
    pub(crate) candidates: &'a [SocketAddr],
    pub(crate) tcp_candidates: &'a [SocketAddr],
    pub(crate) reflexive: &'a Reflexive,
    pub(crate) sdp_bytes: usize,
    pub(crate) sdp_sections: usize,
    /// When the worker began.
    pub(crate) epoch: Instant,
}

/// Why an offer could not be used; says what to mend.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NegotiateError {
    #[error("{0}")]
    Offer(String),
    #[error("{0}")]
    Internal(String),
}

fn offer_error(text: impl Into<String>) -> NegotiateError {
    NegotiateError::Offer(text.into())
}

impl Transport {
    /// A transport that answers `offer`. `credentials` are its (ufrag, pwd).
    pub(crate) fn accept(
        now: Instant,
        role: TransportRole,
        offer: &str,
        credentials: (String, String),
        settings: Settings<'_>,
    ) -> Result<(Self, String), NegotiateError> {
        let text = offer;
        let offer = CheckedOffer::new(text, settings)?;
        let payload_types =
            read_payload_types(super::payload_types::PayloadTypes::default(), text)?;
        let rtc =
            catch_unwind(AssertUnwindSafe(|| build(now, role, &offer, &credentials, settings)))
                .map_err(|_| NegotiateError::Internal("building a transport panicked".into()))??;
        let paced = estimates(role, &offer);
        let mut transport = Self {
            rtc,
            role,
            lines: Vec::new(),
            ufrag: credentials.0,
            earlier: None,
            consent: Default::default(),
            congested: false,
            unpaced: false,
            ssrcs: FxHashMap::default(),
            used_ssrcs: FxHashSet::default(),
            timing: Timing::new(now, settings.epoch, paced),
            media_bytes: 0,
            told_bytes: 0,
            paths: Paths::default(),
            moved: false,
            touched: true,
            connected: false,
            heard: now,
            dead: false,
            data: super::data::Channels::default(),
            tally: super::tally::Tally::default(),
            requests: super::requests::Requests::default(),
            payload_types,
        };
        let answer = transport.accept_in_str0m(offer)?;
        transport.undeclare_streams();
        let answer = transport.rewrite(&answer, None, settings.reflexive);
        Ok((transport, answer))
    }

    /// Applies a further offer: more m-lines, another direction, or an ICE restart, for which
    /// `credentials` are the new ones.
    pub(crate) fn accept_again(
        &mut self,
        offer: &str,
        credentials: (String, String),
        settings: Settings<'_>,
    ) -> Result<String, NegotiateError> {
        if self.dead {
            return Err(offer_error("this transport is closed; join again"));
        }
        let text = offer;
        let offer = CheckedOffer::new(text, settings)?;
        let payload_types = read_payload_types(self.payload_types.clone(), text)?;
        let before = self.rtc.direct_api().local_ice_credentials();
        self.declare_streams();
        let answer = self.accept_in_str0m(offer);
        self.undeclare_streams();
        let answer = answer?;
        self.payload_types = payload_types;
        let after = self.rtc.direct_api().local_ice_credentials();
        if after == before {
            return Ok(self.rewrite(&answer, None, settings.reflexive));
        }
        // An ICE restart: str0m drew the new credentials itself, from a generator not ours.
        let (ufrag, pass) = credentials;
        self.ufrag.clone_from(&ufrag);
        self.keep_earlier(before);
        self.paths.restart();
        self.consent = Default::default();
        let new = IceCreds { ufrag: ufrag.clone(), pass: pass.clone() };
        self.rtc.direct_api().set_local_ice_credentials(new);
        Ok(self.rewrite(&answer, Some((&ufrag, &pass)), settings.reflexive))
    }

    fn accept_in_str0m(&mut self, offer: CheckedOffer) -> Result<String, NegotiateError> {
        let CheckedOffer { sdp, offered: offer } = offer;
        let accepted = catch_unwind(AssertUnwindSafe(|| {
            self.rtc.sdp_api().accept_offer(sdp).map(|answer| answer.to_sdp_string())
        }));
        let answer = match accepted {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(offer_error(error.to_string())),
            Err(_) => {
                self.dead = true;
                return Err(offer_error("the offer contradicts itself or an earlier one"));
            }
        };
        self.timing.has_data |= offer.has_data;
        self.read_lines(&offer)?;
        self.learn_retransmission();
        self.touched = true;
        Ok(answer)
    }

    fn rewrite(
        &self,
        answer: &str,
        credentials: Option<(&str, &str)>,
        reflexive: &Reflexive,
    ) -> String {
        let mut counts = [0; 2];
        let slots: Vec<SlotLine<'_>> = self
            .lines
            .iter()
            .filter(|line| line.sends)
            .map(|line| {
                let count = match line.kind {
                    MediaKind::Audio => &mut counts[0],
                    MediaKind::Video => &mut counts[1],
                };
                let index = *count;
                *count += 1;
                SlotLine { mid: line.mid.as_str(), kind: line.kind, index }
            })
            .collect();
        let restarts = self.paths.restarts();
        Rewrite { slots: &slots, credentials, restarts, reflexive }.apply(answer)
    }

    /// Reads the negotiated m-lines out of str0m. A line keeps its place as long as it lives.
    fn read_lines(&mut self, offer: &Offered) -> Result<(), NegotiateError> {
        for (mid, kind) in &offer.mids {
            let theirs = str0m::media::Mid::from(mid.as_str());
            let Some(media) = self.rtc.media(theirs) else {
                return Err(NegotiateError::Internal(format!("m-line {mid} was not negotiated")));
            };
            let direction = if media.disabled() {
                str0m::media::Direction::Inactive
            } else {
                media.direction()
            };
            let audio = *kind == MediaKind::Audio;
            let payloads = self
                .rtc
                .codec_config()
                .params()
                .iter()
                .filter(|p| media.remote_pts().contains(&p.pt()))
                .filter_map(|p| Some((p, Codec::of(p)?)))
                .flat_map(|(p, codec)| {
                    let red = p.red().filter(|_| codec == Codec::Opus);
                    let redundant = red.map(|pt| (*pt, Codec::OpusRed));
                    [Some((*p.pt(), codec)), redundant].into_iter().flatten()
                })
                .filter(|(_, codec)| codec.is_audio() == audio)
                .collect();
            let stream = direction.is_sending().then(|| self.send_stream(theirs, *kind)).flatten();
            let line = Line {
                mid: *mid,
                kind: *kind,
                sends: direction.is_sending(),
                receives: direction.is_receiving(),
                theirs,
                payloads,
                rids: offer.rids_of(*mid),
                stream,
            };
            match self.lines.iter_mut().find(|known| known.mid == *mid) {
                Some(known) => *known = line,
                None => self.lines.push(line),
            }
        }
        Ok(())
    }

    fn send_stream(&mut self, mid: str0m::media::Mid, kind: MediaKind) -> Option<SendStream> {
        let mut api = self.rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, None)?;
        if kind == MediaKind::Video {
            begin_retransmission(stream, self.congested);
            stream.set_unpaced(self.unpaced);
        }
        let (ssrc, rtx) = (stream.ssrc(), stream.rtx());
        let used = self.used_ssrcs.contains(&*ssrc);
        Some(SendStream { ssrc, rtx, declared: true, used })
    }

    /// The SSRC of a line that sends, which is used from now on.
    pub(super) fn used_stream(&mut self, line: usize) -> Option<str0m::rtp::Ssrc> {
        let stream = self.lines.get(line)?.stream?;
        if stream.used {
            return Some(stream.ssrc);
        }
        let ssrc = self.declared_stream(line)?;
        self.used_ssrcs.insert(*ssrc);
        self.lines.get_mut(line)?.stream.as_mut()?.used = true;
        Some(ssrc)
    }

    /// The SSRC of a line that sends, declared to str0m if it was not yet.
    fn declared_stream(&mut self, line: usize) -> Option<str0m::rtp::Ssrc> {
        let (congested, unpaced) = (self.congested, self.unpaced);
        let line = self.lines.get_mut(line)?;
        let stream = line.stream.as_mut()?;
        if !stream.declared {
            // str0m panics over a stream of an m-line that it does not have.
            self.rtc.media(line.theirs)?;
            stream.declared = true;
            let mut api = self.rtc.direct_api();
            let declared = api.declare_stream_tx(stream.ssrc, stream.rtx, line.theirs, None);
            if line.kind == MediaKind::Video {
                begin_retransmission(declared, congested);
                declared.set_unpaced(unpaced);
            }
        }
        Some(stream.ssrc)
    }

    /// Lets str0m forget the streams that nothing was sent on, but for the first of video: padding, and
    /// so every probe, is sent on its retransmission stream. Without one str0m sends it as SSRC 0, of
    /// which Chromium makes a second stream of an audio slot, and plays neither where they are encrypted.
    fn undeclare_streams(&mut self) {
        if self.dead {
            return;
        }
        let mut pads = false;
        for line in &mut self.lines {
            let Some(stream) = &mut line.stream else { continue };
            if line.kind == MediaKind::Video && !pads {
                pads = true;
                stream.used = true;
                self.used_ssrcs.insert(*stream.ssrc);
            }
            if stream.declared && !stream.used {
                self.rtc.direct_api().remove_stream_tx(stream.ssrc);
                stream.declared = false;
            }
        }
    }

    /// The opposite, for a negotiation: str0m would give a line without a stream new numbers.
    fn declare_streams(&mut self) {
        for line in 0..self.lines.len() {
            let _ = self.declared_stream(line);
        }
    }
}

/// Of H.264 what str0m does not take by itself: High in single NAL unit mode, and Constrained High. Payload
/// type, packetization mode, `profile-level-id`; the peer's own payload types are used in the end.
const MORE_H264: [(u8, u8, u32); 3] =
    [(47, 0, 0x64_00_1f), (49, 1, 0x64_0c_1f), (51, 0, 0x64_0c_1f)];

/// Where estimation begins: a picture of every size but the largest fits at once, and probing finds
/// the rest within a second or two.
pub(super) const FIRST_ESTIMATE_BPS: u64 = 1_500_000;
/// How often round trip and loss are told.
const STATS_INTERVAL: Duration = Duration::from_millis(200);

/// The header extensions beside str0m's standard ones; offers bring numbers of their own.
const PLAYOUT_DELAY_ID: u8 = 5;
const ABS_CAPTURE_TIME_ID: u8 = 6;
const DEPENDENCY_DESCRIPTOR_ID: u8 = 8;

/// Whether the path to the peer is estimated. That costs per packet, and without feedback its pacer
/// would only hold packets back.
fn estimates(role: TransportRole, offer: &CheckedOffer) -> bool {
    role == TransportRole::Receive && offer.offered.has_feedback
}

fn build(
    now: Instant,
    role: TransportRole,
    offer: &CheckedOffer,
    credentials: &(String, String),
    settings: Settings<'_>,
) -> Result<Rtc, NegotiateError> {
    let estimates = estimates(role, offer);
    let mut rtc = Rtc::builder()
        .set_crypto_provider(Arc::clone(&settings.crypto.provider))
        .set_dtls_cert(settings.crypto.certificate.clone())
        .set_local_ice_credentials(IceCreds {
            ufrag: credentials.0.clone(),
            pass: credentials.1.clone(),
        })
        .set_ice_lite(true)
        .set_rtp_mode(true)
        .set_sctp_max_buffered_amount(super::data::BUFFER_BYTES)
        .set_sctp_max_message_size(super::data::MESSAGE_BYTES_MAX)
        .set_rtcp_report_interval_audio(REPORT_INTERVAL)
        .set_rtcp_report_interval_video(REPORT_INTERVAL)
        .set_extension(PLAYOUT_DELAY_ID, Extension::PlayoutDelay)
        .set_extension(ABS_CAPTURE_TIME_ID, Extension::AbsoluteCaptureTime)
        .set_extension(DEPENDENCY_DESCRIPTOR_ID, descriptor::extension())
        .enable_bwe(estimates.then(|| Bitrate::from(FIRST_ESTIMATE_BPS)))
        .set_stats_interval(estimates.then_some(STATS_INTERVAL))
        .clear_codecs()
        .enable_opus(true, true)
        .enable_vp8(true)
        .enable_vp9(true)
        .enable_h264(true)
        .enable_av1(true);
    for (payload_type, mode, profile) in MORE_H264 {
        let (main, resent) = (payload_type.into(), (payload_type + 1).into());
        rtc.codec_config().add_h264(main, Some(resent), mode == 1, profile);
    }
    let mut rtc = rtc.build(now);
    let udp = settings.candidates.iter().map(|address| (address, Candidate::host(*address, "udp")));
    let passive =
        |address| Candidate::builder().tcp().host(address).tcptype(TcpType::Passive).build();
    // str0m gives them less priority, RFC 6544 §4.2.
    let tcp = settings.tcp_candidates.iter().map(|address| (address, passive(*address)));
    for (address, candidate) in udp.chain(tcp) {
        let candidate =
            candidate.map_err(|e| NegotiateError::Internal(format!("candidate {address}: {e}")))?;
        rtc.add_local_candidate(candidate);
    }
    Ok(rtc)
}

/// An offer that passed the checks that str0m leaves to us.
struct CheckedOffer {
    sdp: SdpOffer,
    offered: Offered,
}

/// What of an offer is read here.
struct Offered {
    /// The audio and video m-lines, in order.
    mids: Vec<(Mid, MediaKind)>,
    /// What each m-line sends as simulcast, in the order of the offer.
    rids: Vec<(Mid, Rid)>,
    /// Whether a video m-line gives transport-wide feedback.
    has_feedback: bool,
    /// Whether there is a section for data channels.
    has_data: bool,
}

impl Offered {
    fn rids_of(&self, mid: Mid) -> Vec<Rid> {
        self.rids.iter().filter(|(of, _)| *of == mid).map(|(_, rid)| *rid).collect()
    }
}

impl CheckedOffer {
    fn new(text: &str, settings: Settings<'_>) -> Result<Self, NegotiateError> {
        if text.len() > settings.sdp_bytes {
            return Err(offer_error(format!(
                "{} bytes; at most {} are accepted",
                text.len(),
                settings.sdp_bytes
            )));
        }
        let sections = text.lines().filter(|line| line.starts_with("m=")).count();
        if sections == 0 {
            return Err(offer_error("no m-line: offer at least one audio or video section"));
        }
        if sections > settings.sdp_sections {
            return Err(offer_error(format!(
                "{sections} m-lines; at most {} are accepted",
                settings.sdp_sections
            )));
        }
        let applications = text.lines().filter(|line| line.starts_with("m=application ")).count();
        if applications > 1 {
            return Err(offer_error("two m=application sections; one carries all data channels"));
        }
        let mids = read_mids(text)?;
        check_bundle(text, &mids)?;
        check_fingerprints(text)?;
        let bare = without_candidates(text);
        let parsed = catch_unwind(|| SdpOffer::from_sdp_string(&bare))
            .map_err(|_| offer_error("not a session description (RFC 8866)"))?;
        let sdp = parsed.map_err(|e| offer_error(format!("not a session description: {e}")))?;
        let rids = read_rids(text);
        let has_feedback = gives_feedback(text);
        Ok(Self { sdp, offered: Offered { mids, rids, has_feedback, has_data: applications > 0 } })
    }
}

/// An offer without its candidates, which are of no use here: see `paths.rs`.
fn without_candidates(text: &str) -> String {
    let kept = |line: &&str| !line.starts_with("a=candidate:");
    text.split_inclusive('\n').filter(kept).collect()
}

/// The mid and kind of each audio and video section.
fn read_mids(text: &str) -> Result<Vec<(Mid, MediaKind)>, NegotiateError> {
    let mut mids: Vec<(Mid, MediaKind)> = Vec::new();
    let mut kind = None;
    let mut open = false;
    for line in text.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            if open {
                return Err(offer_error("an m-line has no a=mid"));
            }
            kind = match media.split(' ').next() {
                Some("audio") => Some(MediaKind::Audio),
                Some("video") => Some(MediaKind::Video),
                _ => None,
            };
            open = kind.is_some();
        } else if let (Some(value), Some(kind)) = (line.strip_prefix("a=mid:"), kind) {
            let mid = Mid::new(value.trim_end())
                .ok_or_else(|| offer_error("an a=mid is not 1 to 16 token characters"))?;
            if mids.iter().any(|(known, _)| *known == mid) {
                return Err(offer_error(format!("a=mid:{mid} occurs twice")));
            }
            mids.push((mid, kind));
            open = false;
        }
    }
    if open {
        return Err(offer_error("an m-line has no a=mid"));
    }
    Ok(mids)
}

/// What the payload types of an offer mean, beside those of earlier ones.
fn read_payload_types(
    mut types: super::payload_types::PayloadTypes,
    offer: &str,
) -> Result<super::payload_types::PayloadTypes, NegotiateError> {
    types.read(offer).map_err(|number| {
        offer_error(format!(
            "payload type {number} means two things: give each codec one number, in all m-lines and \
             for as long as the connection lives (RFC 9143 §9.1)"
        ))
    })?;
    Ok(types)
}

/// The lines of each media section.
pub(super) fn sections(text: &str) -> impl Iterator<Item = impl Iterator<Item = &str>> {
    text.split("\nm=").skip(1).map(|section| section.lines().map(str::trim_end))
}

/// The RIDs of each section's `a=simulcast:send` (RFC 8853 §5.1): of alternatives the first, whether
/// paused or not.
fn read_rids(text: &str) -> Vec<(Mid, Rid)> {
    let mut rids = Vec::new();
    for section in sections(text) {
        let (mut mid, mut sends) = (None, "");
        for line in section {
            if let Some(value) = line.strip_prefix("a=mid:") {
                mid = Mid::new(value);
            } else if let Some(value) = line.strip_prefix("a=simulcast:") {
                let mut words = value.split(' ').skip_while(|word| *word != "send");
                sends = words.nth(1).unwrap_or("");
            }
        }
        let first = |streams: &str| {
            let one = streams.split(',').next().unwrap_or("");
            Rid::new(one.trim_start_matches('~'))
        };
        let streams = sends.split(';').filter_map(first);
        rids.extend(mid.into_iter().flat_map(|mid| streams.clone().map(move |rid| (mid, rid))));
    }
    rids
}

/// Whether a video section offers transport-wide feedback.
fn gives_feedback(text: &str) -> bool {
    sections(text).any(|mut section| {
        section.next().is_some_and(|m| m.starts_with("video "))
            && section.any(|line| line.starts_with("a=rtcp-fb:") && line.ends_with("transport-cc"))
    })
}

/// Everything must share one transport (RFC 9143): one group, one pair of ICE credentials.
fn check_bundle(text: &str, mids: &[(Mid, MediaKind)]) -> Result<(), NegotiateError> {
    for name in ["a=ice-ufrag:", "a=ice-pwd:"] {
        let mut values = text.lines().filter_map(|line| line.strip_prefix(name)).map(str::trim_end);
        if let Some(first) = values.next()
            && values.any(|other| other != first)
        {
            return Err(offer_error(
                "m-lines have different ICE credentials: bundle them (RFC 9143)",
            ));
        }
    }
    if mids.len() < 2 {
        return Ok(());
    }
    let group = text.lines().find_map(|line| line.strip_prefix("a=group:BUNDLE"));
    let Some(group) = group else {
        return Err(offer_error("no a=group:BUNDLE: use bundlePolicy max-bundle (RFC 9143)"));
    };
    let bundled = |mid: &Mid| group.split_whitespace().any(|token| token == mid.as_str());
    match mids.iter().find(|(mid, _)| !bundled(mid)) {
        // A section with port 0 that is not bundled is rejected or stopped: harmless.
        Some((mid, _)) if !stopped(text, *mid) => {
            Err(offer_error(format!("m-line {mid} is not in the BUNDLE group (RFC 9143)")))
        }
        _ => Ok(()),
    }
}

/// What a certificate is known by here: by sha-256, or by sha-1, as a few still announce alone.
fn check_fingerprints(text: &str) -> Result<(), NegotiateError> {
    let mut hashes = text
        .lines()
        .filter_map(|line| line.strip_prefix("a=fingerprint:")?.split_whitespace().next())
        .peekable();
    if hashes.peek().is_none() {
        return Err(offer_error(
            "no a=fingerprint: give the certificate's, by sha-256 (RFC 8122 §5)",
        ));
    }
    let known = |hash: &str| ["sha-256", "sha-1"].iter().any(|one| hash.eq_ignore_ascii_case(one));
    if !hashes.any(known) {
        return Err(offer_error(
            "no a=fingerprint by sha-256: give one beside the others (RFC 8122 §5)",
        ));
    }
    Ok(())
}

/// Whether the section of `mid` has port 0.
fn stopped(text: &str, mid: Mid) -> bool {
    let mut port_zero = false;
    for line in text.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            port_zero = media.split(' ').nth(1) == Some("0");
        } else if line.strip_prefix("a=mid:").is_some_and(|m| m.trim_end() == mid.as_str()) {
            return port_zero;
        }
    }
    false
}
