//! Whole calls in virtual time: workers of the core, native peers, and links between them.
//!
//! Owns: the virtual clock, the links, the reference model of who should see whom, and the laws
//! that are checked after each step. One seed decides everything but DTLS keys.
//! Never: sleeps, opens a socket, or reads the time (one `Instant` is taken as the origin).
//!
//! ```
//! use convoke_sim::{named, run};
//!
//! let scenario = named("late-joiner").expect("it is in the table");
//! let report = run(&scenario, 1);
//! assert!(report.violations.is_empty(), "{}", report.failure().unwrap_or_default());
//! ```

#![forbid(unsafe_code)]

mod actor;
mod laws;
mod model;
mod moderated;
mod named;
mod playing;
mod random;
mod report;
mod scenario;
mod sim;
mod tables;

use convoke_client::link;
pub use convoke_client::link::{Burst, Link, LinkConfig, Sent, Usage};
pub use model::{ModelParticipant, ModelRoom, ModelTrack, SlotTable};
pub use moderated::moderated;
pub use named::{named, names};
pub use random::random;
pub use report::{Report, SlotLine};
pub use scenario::{
    Act, ActorSpec, Bounds, LayersSpec, Look, PublishSpec, Scenario, Step, Target, encoding,
};
pub use sim::{run, run_traced};
pub use tables::{CAMERAS, Camera, NETWORKS, Network};

/// The scenario of this name: one of [`names`], or `random` or `moderated`, which the seed decides.
#[must_use]
pub fn scenario(name: &str, seed: u64) -> Option<Scenario> {
    match name {
        "random" => Some(random(seed)),
        "moderated" => Some(moderated(seed)),
        name => named(name),
    }
}
