//! Who takes part, when, and over what network.
//!
//! Owns: turning a scenario into participants.
//! Never: does anything; the same scenario gives the same plan.

use std::time::Duration;

use convoke_client::link::LinkConfig;

use crate::scenario::{Direction, Impairment, Scenario};

/// One participant.
#[derive(Debug, Clone, PartialEq)]
pub struct Participant {
    /// Which.
    pub number: usize,
    /// In which call.
    pub room: usize,
    /// Whether it has microphone and camera.
    pub publishes: bool,
    /// When it first joins, from the beginning of the run.
    pub joins_at: Duration,
    /// Whether it comes and goes.
    pub churns: bool,
    /// Its way up and its way down, where they are impaired.
    pub paths: [Option<LinkConfig>; 2],
}

/// Everyone, and when what is measured begins and ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In order of joining.
    pub participants: Vec<Participant>,
    /// The beginning of what is measured.
    pub from: Duration,
    /// Its end.
    pub until: Duration,
}

fn path(impairment: &Impairment) -> LinkConfig {
    LinkConfig {
        loss: impairment.loss.0,
        delay: impairment.delay.0,
        jitter: impairment.jitter.0,
        rate_bps: impairment.rate.map(|rate| rate.0),
        queue: impairment.queue.0,
        loses_handshakes: true,
        ..LinkConfig::default()
    }
}

/// The paths of a participant that drew this number from 0 to 1.
fn paths(scenario: &Scenario, drawn: f64) -> [Option<LinkConfig>; 2] {
    let mut upto = 0.0;
    for impairment in &scenario.impairments {
        upto += impairment.share.0;
        if drawn < upto {
            let path = path(impairment);
            let up = impairment.direction != Direction::Down;
            let down = impairment.direction != Direction::Up;
            return [up.then_some(path), down.then_some(path)];
        }
    }
    [None, None]
}

impl Plan {
    /// The plan of a scenario.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        let mut random = fastrand::Rng::with_seed(scenario.seed);
        let (rooms, calls) = (scenario.calls.rooms.0, &scenario.calls);
        let regular = rooms * calls.participants.0;
        let publishers = calls.publishers.map_or(calls.participants.0, |count| count.0);
        let churn = scenario.churn.as_ref().map_or(0.0, |churn| churn.share.0);
        let share = |n: usize, of: usize, time: Duration| time.mul_f64(n as f64 / of.max(1) as f64);
        let from = calls.join_over.0 + scenario.warmup.0;
        // Shares are kept exactly, not only on average: everyone draws another number.
        let mut draws: Vec<usize> = (0..regular).collect();
        random.shuffle(&mut draws);
        let mut participants: Vec<Participant> = (0..regular)
            .map(|number| {
                let drawn = draws.get(number).copied().unwrap_or(0);
                Participant {
                    number,
                    room: number % rooms,
                    publishes: number / rooms < publishers,
                    joins_at: share(number, regular, calls.join_over.0),
                    churns: random.f64() < churn,
                    paths: paths(scenario, (drawn as f64 + 0.5) / regular as f64),
                }
            })
            .collect();
        let storm = scenario.storm.iter().flat_map(|storm| {
            let joins = storm.joins.0;
            (0..joins).map(move |index| Participant {
                number: regular + index,
                room: index % rooms,
                publishes: storm.publish,
                joins_at: from + storm.after.0 + share(index, joins, storm.over.0),
                churns: false,
                paths: [None, None],
            })
        });
        participants.extend(storm);
        Self { participants, from, until: from + scenario.duration.0 }
    }

    /// The publishers of a call.
    pub fn publishers(&self, room: usize) -> impl Iterator<Item = usize> + '_ {
        let there = self.participants.iter().filter(move |p| p.room == room && p.publishes);
        there.map(|participant| participant.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Plan {
        Plan::new(&Scenario::parse("test", text).expect("a scenario"))
    }

    #[test]
    fn rooms_fill_evenly_and_publishers_come_first() {
        let plan = plan(
            "duration = \"9s\"\nwarmup = \"1s\"\n[calls]\nrooms = 2\nparticipants = 3\n\
             publishers = 1\njoin_over = \"6s\"\n[storm]\njoins = 2\nover = \"4s\"\nafter = \"1s\"",
        );
        let rooms: Vec<usize> = plan.participants.iter().map(|p| p.room).collect();
        assert_eq!(rooms, [0, 1, 0, 1, 0, 1, 0, 1]);
        assert_eq!(plan.publishers(1).collect::<Vec<_>>(), [1]);
        let joins: Vec<u64> = plan.participants.iter().map(|p| p.joins_at.as_secs()).collect();
        assert_eq!(joins, [0, 1, 2, 3, 4, 5, 8, 10]);
        assert_eq!((plan.from.as_secs(), plan.until.as_secs()), (7, 16));
    }

    #[test]
    fn impairments_take_their_shares() {
        let plan = plan(
            "duration = \"9s\"\n[calls]\nparticipants = 20\n[[impair]]\nshare = 0.25\nloss = 0.1\n\
             [[impair]]\nshare = 0.5\ndirection = \"down\"\nrate = \"1Mbps\"",
        );
        let count = |of: fn(&Participant) -> bool| {
            plan.participants.iter().filter(|participant| of(participant)).count()
        };
        assert_eq!(count(|p| p.paths[0].is_some()), 5);
        assert_eq!(count(|p| p.paths[1].is_some_and(|path| path.rate_bps.is_some())), 10);
        assert_eq!(count(|p| p.paths == [None, None]), 5);
    }
}
