//! What a scrape gathers about the NAT before the media sockets.
//!
//! Owns: the names. Each stands in `METRICS.md`, as those of `collect`.
//! Never: keeps a value.

use convoke_node::{StunOutcome, WorkerStats};

use super::collect::float;
use super::families::Families;

pub(super) fn collect(out: &mut Families, workers: &[WorkerStats]) {
    let sum = |f: &dyn Fn(&WorkerStats) -> u64| float(workers.iter().map(f).sum());
    let requests = StunOutcome::ALL.iter().enumerate().map(|(at, outcome)| {
        let ended = |w: &WorkerStats| w.stun.outcomes.get(at).copied().unwrap_or(0);
        (outcome.label(), sum(&ended))
    });
    let help = "Questions of the media sockets to the STUN server that are over.";
    let requests = requests.collect::<Vec<_>>();
    out.by_label("convoke_stun_requests_total", help, "outcome", requests);
    let help = "Addresses that clients are told because the STUN server said them.";
    out.gauge("convoke_stun_addresses", help, sum(&|w| w.stun.addresses));
    let help = "Of the media sockets' addresses, those that the NAT gives another port.";
    out.gauge("convoke_stun_addresses_remapped", help, sum(&|w| w.stun.remapped));
}
