//! The committed corpus, replayed. A crash that was found once stays found.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;

thread_local! {
    /// Panics on this thread, those that the core survives among them.
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// Lets panics be counted as they are under libFuzzer: there each one counts.
fn count_panics() {
    static COUNTED: Once = Once::new();
    COUNTED.call_once(|| {
        let shown = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            shown(panic);
        }));
    });
}

/// The seeds of a target: name and bytes.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 10, "{} has lost its seeds", folder.display());
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
}

/// Each seed; and as many mutations of each as `FUZZ_MUTATIONS` says, none if it says nothing.
fn replay(target: &str, body: impl Fn(&[u8])) {
    count_panics();
    let body = |bytes: &[u8]| {
        body(bytes);
        assert_eq!(PANICS.get(), 0, "a panic that was survived");
    };
    let mutations = std::env::var("FUZZ_MUTATIONS").map_or(0, |text| text.parse().unwrap());
    for (name, bytes) in corpus(target) {
        // Shown only if the body panics.
        eprintln!("{target}/{name}");
        body(&bytes);
        for seed in 0..mutations {
            eprintln!("{target}/{name} with mutation {seed}");
            body(&mutated(bytes.clone(), seed));
        }
    }
}

/// Some bytes are others, some are gone, some are there twice: what a seed decides.
fn mutated(mut bytes: Vec<u8>, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..random.usize(1..8) {
        if bytes.is_empty() {
            break;
        }
        let at = random.usize(..bytes.len());
        let end = (at + random.usize(1..32)).min(bytes.len());
        match random.u8(..5) {
            0 => bytes[at] ^= 1 << random.u8(..8),
            1 => bytes[at] = random.u8(..),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            _ => {
                let again = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, again));
            }
        }
    }
    bytes
}

#[test]
fn datagrams() {
    replay("datagrams", convoke_fuzz::datagrams);
}

#[test]
fn data() {
    replay("data", convoke_fuzz::data);
}

#[test]
fn signalling() {
    replay("signalling", convoke_fuzz::signalling);
}

#[test]
fn sdp_offer() {
    replay("sdp_offer", convoke_fuzz::sdp_offer);
}

#[test]
fn http_sdp() {
    replay("http_sdp", convoke_fuzz::http_sdp);
    for (name, bytes) in corpus("http_sdp") {
        let taken = convoke_fuzz::http_sdp_taken(&bytes);
        assert!(!name.starts_with("good-") || taken, "{name} is refused");
        assert!(!name.starts_with("bad-") || !taken, "{name} is taken");
    }
}

#[test]
fn tcp_frames() {
    replay("tcp_frames", convoke_fuzz::tcp_frames);
    for (name, bytes) in corpus("tcp_frames") {
        let taken = convoke_fuzz::tcp_frames_taken(&bytes);
        assert!(!name.starts_with("good-") || taken, "{name} is refused");
        assert!(!name.starts_with("bad-") || !taken, "{name} is taken");
    }
}

/// Seeds that are worth something: what browsers offer is accepted, what is wrong is not.
#[test]
fn offers_are_judged_rightly() {
    let mut judged = 0;
    for (name, bytes) in corpus("sdp_offer") {
        let expect = if name.starts_with("good-") {
            bytes.iter().filter(|byte| **byte == 0).count() + 1
        } else if name.starts_with("bad-") {
            0
        } else {
            continue;
        };
        assert_eq!(convoke_fuzz::offers_joined(&bytes), expect, "{name}");
        judged += 1;
    }
    assert!(judged > 10, "only {judged} of the seeds are judged");
}

/// Each takes time, for which who is beside them is silent.
#[test]
fn thousands_of_offers_outlast_nobody() {
    let (_, mut bytes) =
        corpus("sdp_offer").into_iter().find(|(name, _)| name.starts_with("good-")).unwrap();
    bytes.extend([0; 3_000]);
    assert!(convoke_fuzz::offers_joined(&bytes) > 0);
}

/// Every message type has a seed that can be read.
#[test]
fn every_message_type_is_there() {
    let corpus = corpus("signalling");
    let types: Vec<String> = corpus
        .iter()
        .filter(|(name, _)| name.starts_with("good-"))
        .map(|(name, bytes)| {
            let text = std::str::from_utf8(bytes).unwrap();
            let message = convoke_protocol::decode_client(text);
            let message = message.unwrap_or_else(|e| panic!("{name}: {e}"));
            let json = convoke_protocol::encode(&message);
            json.split('"').nth(3).unwrap().to_owned()
        })
        .collect();
    for wanted in convoke_protocol::ClientMessage::TYPES {
        assert!(types.iter().any(|found| found == wanted), "no seed for {wanted}");
    }
}
