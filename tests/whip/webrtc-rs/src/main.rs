//! webrtc-rs by WHIP and WHEP: watches one participant, and publishes its packets as another, as
//! relay.mjs does with other libraries. So what comes out at the end has gone through it both ways.
//!
//! ```text
//! convoke-whip-webrtc-rs WHEP-URL WHIP-URL
//! ```
//!
//! Tokens are in `WATCH_TOKEN` and `PUBLISH_TOKEN`. Ends its sessions when standard input is closed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::AsyncReadExt as _;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use ureq::http::Uri;
use webrtc::api::interceptor_registry::register_default_interceptors;
use webrtc::api::media_engine::{MIME_TYPE_OPUS, MIME_TYPE_VP8, MediaEngine};
use webrtc::api::setting_engine::SettingEngine;
use webrtc::api::{API, APIBuilder};
use webrtc::ice::mdns::MulticastDnsMode;
use webrtc::ice::network_type::NetworkType;
use webrtc::interceptor::registry::Registry;
use webrtc::peer_connection::RTCPeerConnection;
use webrtc::peer_connection::configuration::RTCConfiguration;
use webrtc::peer_connection::policy::bundle_policy::RTCBundlePolicy;
use webrtc::peer_connection::sdp::session_description::RTCSessionDescription;
use webrtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use webrtc::rtp_transceiver::RTCRtpTransceiverInit;
use webrtc::rtp_transceiver::rtp_codec::{
    RTCRtpCodecCapability, RTCRtpCodecParameters, RTPCodecType,
};
use webrtc::rtp_transceiver::rtp_sender::RTCRtpSender;
use webrtc::rtp_transceiver::rtp_transceiver_direction::RTCRtpTransceiverDirection;
use webrtc::track::track_local::TrackLocalWriter as _;
use webrtc::track::track_local::track_local_static_rtp::TrackLocalStaticRTP;
use webrtc::track::track_remote::TrackRemote;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let whep = arguments.next().context("the URL to watch is missing")?;
    let whip = arguments.next().context("the URL to publish to is missing")?;
    let publisher = Publisher::open(whip).await?;
    let watcher = watch(whep, publisher.tracks.clone()).await?;
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    publisher.session.end().await?;
    watcher.end().await
}

/// What goes out; tracks of `KINDS`.
struct Publisher {
    session: Session,
    tracks: [Arc<TrackLocalStaticRTP>; 2],
}

const KINDS: [RTPCodecType; 2] = [RTPCodecType::Audio, RTPCodecType::Video];

impl Publisher {
    async fn open(url: String) -> Result<Self> {
        let pc = peer_connection().await?;
        let tracks = KINDS.map(|kind| {
            let capability = codec(kind).capability;
            Arc::new(TrackLocalStaticRTP::new(capability, kind.to_string(), "relay".to_owned()))
        });
        for track in &tracks {
            let init = direction(RTCRtpTransceiverDirection::Sendonly);
            let transceiver = pc.add_transceiver_from_track(track.clone(), init).await?;
            tokio::spawn(read_reports(transceiver.sender().await));
        }
        let session = Session::open(pc, url, "PUBLISH_TOKEN").await?;
        Ok(Self { session, tracks })
    }
}

/// Packets are sent again only as far as somebody reads what asks for them.
async fn read_reports(sender: Arc<RTCRtpSender>) {
    while sender.read_rtcp().await.is_ok() {}
}

/// Watches, and sends what comes to the track of its kind.
async fn watch(url: String, out: [Arc<TrackLocalStaticRTP>; 2]) -> Result<Session> {
    let pc = peer_connection().await?;
    for kind in KINDS {
        let init = direction(RTCRtpTransceiverDirection::Recvonly);
        pc.add_transceiver_from_kind(kind, init).await?;
    }
    let asking = Arc::downgrade(&pc);
    pc.on_track(Box::new(move |track, _, _| {
        let [audio, video] = out.clone();
        let pc = asking.clone();
        Box::pin(async move {
            if track.kind() == RTPCodecType::Video {
                tokio::spawn(async move {
                    let mut seconds = interval(Duration::from_secs(1));
                    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
                    let media_ssrc = track.ssrc();
                    let forwarding = tokio::spawn(forward(track, video));
                    while !forwarding.is_finished() {
                        seconds.tick().await;
                        let Some(pc) = pc.upgrade() else { return };
                        let request = PictureLossIndication { sender_ssrc: 0, media_ssrc };
                        // Until the session ends, when there is nobody to ask.
                        let _ = pc.write_rtcp(&[Box::new(request)]).await;
                    }
                });
            } else {
                tokio::spawn(forward(track, audio));
            }
        })
    }));
    Session::open(pc, url, "WATCH_TOKEN").await
}

async fn forward(from: Arc<TrackRemote>, to: Arc<TrackLocalStaticRTP>) {
    while let Ok((mut packet, _)) = from.read_rtp().await {
        // The numbers of header extensions are of one session.
        packet.header.extension = false;
        packet.header.extensions.clear();
        // A track that is not connected yet takes it for nothing.
        let _ = to.write_rtp(&packet).await;
    }
}

/// One session of WHIP or WHEP.
struct Session {
    pc: Arc<RTCPeerConnection>,
    at: String,
    bearer: String,
}

impl Session {
    async fn open(pc: Arc<RTCPeerConnection>, url: String, token: &str) -> Result<Self> {
        let bearer = format!("Bearer {}", std::env::var(token).context("the token is missing")?);
        let mut gathered = pc.gathering_complete_promise().await;
        let offer = pc.create_offer(None).await?;
        pc.set_local_description(offer).await?;
        gathered.recv().await;
        let offer = pc.local_description().await.context("there is no offer")?.sdp;
        let authorization = bearer.clone();
        let (at, answer) = spawn_blocking(move || post(&url, &authorization, &offer)).await??;
        pc.set_remote_description(RTCSessionDescription::answer(answer)?).await?;
        Ok(Self { pc, at, bearer })
    }

    async fn end(self) -> Result<()> {
        let Self { pc, at, bearer } = self;
        let deleting = move || ureq::delete(&at).header("authorization", &bearer).call();
        let status = spawn_blocking(deleting).await??.status();
        ensure!(status == 200, "DELETE: {status}");
        Ok(pc.close().await?)
    }
}

/// Where the session is, and the answer.
fn post(url: &str, bearer: &str, offer: &str) -> Result<(String, String)> {
    let request = ureq::post(url).header("authorization", bearer);
    let mut reply = request.header("content-type", "application/sdp").send(offer)?;
    ensure!(reply.status() == 201, "POST: {}", reply.status());
    let location = reply.headers().get("location").context("there is no location")?.to_str()?;
    let mut parts = url.parse::<Uri>()?.into_parts();
    parts.path_and_query = Some(location.parse()?);
    let at = Uri::from_parts(parts)?.to_string();
    Ok((at, reply.body_mut().read_to_string()?))
}

async fn peer_connection() -> Result<Arc<RTCPeerConnection>> {
    let bundle_policy = RTCBundlePolicy::MaxBundle;
    let configuration = RTCConfiguration { bundle_policy, ..Default::default() };
    Ok(Arc::new(api()?.new_peer_connection(configuration).await?))
}

fn api() -> Result<API> {
    let mut media = MediaEngine::default();
    for kind in KINDS {
        media.register_codec(codec(kind), kind)?;
    }
    let registry = register_default_interceptors(Registry::new(), &mut media)?;
    let mut settings = SettingEngine::default();
    // Nothing goes elsewhere: no multicast, and servers on 127.0.0.1 are reached from there.
    settings.set_ice_multicast_dns_mode(MulticastDnsMode::Disabled);
    settings.set_network_types(vec![NetworkType::Udp4]);
    settings.set_include_loopback_candidate(true);
    Ok(APIBuilder::new()
        .with_media_engine(media)
        .with_interceptor_registry(registry)
        .with_setting_engine(settings)
        .build())
}

fn codec(kind: RTPCodecType) -> RTCRtpCodecParameters {
    let (mime_type, clock_rate, channels, payload_type) = match kind {
        RTPCodecType::Audio => (MIME_TYPE_OPUS, 48_000, 2, 111),
        _ => (MIME_TYPE_VP8, 90_000, 0, 96),
    };
    let mime_type = mime_type.to_owned();
    let capability =
        RTCRtpCodecCapability { mime_type, clock_rate, channels, ..Default::default() };
    RTCRtpCodecParameters { capability, payload_type, ..Default::default() }
}

fn direction(direction: RTCRtpTransceiverDirection) -> Option<RTCRtpTransceiverInit> {
    Some(RTCRtpTransceiverInit { direction, send_encodings: Vec::new() })
}
