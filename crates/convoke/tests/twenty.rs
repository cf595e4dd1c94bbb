//! Twenty native participants in one call for ten seconds, over UDP on loopback.

mod common;

use std::time::{Duration, Instant};

use common::call::{Host, Participant, Watched, until};
use convoke::protocol::{MediaKind, Slot, SlotReason};

const PARTICIPANTS: usize = 20;
const AUDIO_SLOTS: usize = 8;
const VIDEO_SLOTS: usize = 16;

/// Slots of a kind in which at least so many frames could be decoded.
fn filled(received: &Watched, kind: MediaKind, least: u64) -> usize {
    let track = u16::from(kind == MediaKind::Video);
    let slots = received.slots.values().filter(|slot| {
        let frames = slot.sources.iter().filter(|((_, t), _)| *t == track);
        frames.map(|(_, source)| source.frames_decoded).sum::<u64>() >= least
    });
    slots.count()
}

/// A slot that is told to get nothing, or less, because its path is narrow.
fn narrow(slot: &Slot) -> bool {
    slot.kind == MediaKind::Video && slot.reason == Some(SlotReason::Bandwidth)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_packet_is_missing_that_the_network_did_not_lose() {
    let host = Host::start().await;
    let epoch = Instant::now();
    let mut participants = Vec::new();
    for number in 0..PARTICIPANTS {
        participants.push(host.join(&format!("participant-{number}"), epoch).await);
    }
    let everyone = |p: &Participant| p.call.state().participants.len() == PARTICIPANTS;
    until("everyone knows everyone", || participants.iter().all(everyone)).await;

    tokio::time::sleep(Duration::from_secs(10)).await;

    let lost = host.lost();
    let stats = host.server.node().stats();
    let forwarded: u64 = stats.iter().flat_map(|worker| worker.core.rtp_out).sum();
    // On a machine so busy that it loses more than that, the laws still hold, but decoders starve.
    let starved = lost.total() > forwarded / 100;
    let (mut missing, mut missed, mut steady) = (0, 0, 0);
    let mut violations = Vec::new();
    let mut staying = Vec::new();
    for participant in participants {
        let (client, call, received) = participant.received().await;
        missing += received.missing();
        missed += received.missed;
        violations.extend(received.violations());
        if !starved {
            assert_eq!(filled(&received, MediaKind::Audio, 250), AUDIO_SLOTS, "slots with sound");
            // On a busy machine packets wait, and a path may look too narrow for all pictures: then
            // that is what the slots say.
            let pictures = filled(&received, MediaKind::Video, 1);
            let without = call.state().slots.iter().filter(|slot| narrow(slot)).count();
            assert!(pictures + without >= VIDEO_SLOTS, "{pictures} with a picture, {without} told");
            steady += filled(&received, MediaKind::Video, 50);
        }
        let own = call.state().own().expect("in its own roster").csrc;
        assert!(received.decoded().keys().all(|(csrc, _)| *csrc != own), "nobody gets its own");
        staying.push((client, call));
    }
    let busy: Duration = stats.iter().map(|worker| worker.busy).sum();
    eprintln!(
        "{forwarded} packets forwarded, {:.1} us each; {missing} missing, {lost:?}",
        busy.as_secs_f64() * 1e6 / forwarded as f64
    );
    assert_eq!(violations, Vec::<String>::new());
    assert!(starved || steady >= PARTICIPANTS, "{steady} steady pictures");
    assert_eq!(missed, 0, "the test itself kept up");
    let excused = lost.excused(PARTICIPANTS as u64);
    assert!(starved || missing <= excused, "{missing} missing, {excused} excused by {lost:?}");
    drop(staying);
    host.stop().await;
}
