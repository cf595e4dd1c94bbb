use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;

type Agent = (usize, usize);

fn name(identity: usize) -> Arc<str> {
    format!("i{identity}").into()
}

fn start(agents: &[usize]) -> (Ring<Agent>, Vec<Output<Agent>>) {
    start_as(false, agents)
}

fn start_as(patient: bool, agents: &[usize]) -> (Ring<Agent>, Vec<Output<Agent>>) {
    let of = |(identity, count): (usize, &usize)| {
        (name(identity), (0..*count).map(|agent| (identity, agent)).collect())
    };
    Ring::start(agents.iter().enumerate().map(of).collect(), &[], patient)
}

fn states(ring: &Ring<Agent>) -> Vec<RingState> {
    ring.targets().iter().map(|target| target.state).collect()
}

#[test]
fn accepting_on_one_stops_the_others() {
    let (mut ring, out) = start(&[2]);
    assert_eq!(out, [Output::Ring((0, 0)), Output::Ring((0, 1)), Output::Update]);
    let out = ring.handle(Input::Accept((0, 1))).unwrap();
    assert_eq!(out, [Output::Stop((0, 0), EndReason::accepted_elsewhere())]);
    assert_eq!(ring.handle(Input::Accept((0, 0))), Err(NotRinging), "two accepts at once");
    assert_eq!(ring.handle(Input::Accept((0, 1))), Err(NotRinging), "and twice by one");
    let out = ring.handle(Input::Joined((0, 1))).unwrap();
    assert_eq!(out, [Output::Update, Output::Over(None)]);
    assert_eq!(states(&ring), [RingState::Accepted]);
    assert_eq!(ring.handle(Input::Cancel), Ok(vec![]), "what is over stays over");
}

#[test]
fn a_call_that_was_canceled_cannot_be_accepted_and_the_reverse() {
    let (mut ring, _) = start(&[1]);
    let out = ring.handle(Input::Cancel).unwrap();
    let stop = Output::Stop((0, 0), EndReason::canceled());
    assert_eq!(out, [stop, Output::Update, Output::Over(None)]);
    assert_eq!(ring.handle(Input::Accept((0, 0))), Err(NotRinging));
    let (mut ring, _) = start(&[1]);
    ring.handle(Input::Accept((0, 0))).unwrap();
    assert_eq!(ring.handle(Input::Cancel), Ok(vec![]), "it is joining");
    assert_eq!(ring.handle(Input::Timeout), Ok(vec![]));
    let out = ring.handle(Input::Failed((0, 0))).unwrap();
    assert_eq!(out, [Output::Update, Output::Over(None)]);
    assert_eq!(states(&ring), [RingState::Failed]);
}

#[test]
fn busy_is_of_one_agent_and_declining_of_the_identity() {
    let (mut ring, _) = start(&[2]);
    assert_eq!(ring.handle(Input::Busy((0, 0))), Ok(vec![]));
    assert_eq!(ring.handle(Input::Busy((0, 0))), Err(NotRinging));
    let out = ring.handle(Input::Gone((0, 1))).unwrap();
    assert_eq!(out, [Output::Update, Output::Over(Some(EndReason::busy()))]);
    let (mut ring, _) = start(&[2]);
    let out = ring.handle(Input::Decline((0, 0))).unwrap();
    assert_eq!(out[0], Output::Stop((0, 1), EndReason::declined()));
    assert_eq!(out[2], Output::Over(Some(EndReason::declined())));
}

#[test]
fn whoever_has_no_agent_is_unreachable_and_whoever_comes_rings() {
    let (ring, out) = start(&[0, 1]);
    let unreachable = Output::Unreachable(name(0));
    assert_eq!(out, [Output::Ring((1, 0)), unreachable, Output::Update]);
    assert_eq!(states(&ring), [RingState::Unreachable, RingState::Ringing]);
    let (_, out) = start(&[0]);
    assert_eq!(out.last(), Some(&Output::Over(Some(EndReason::no_agent()))));
    let (mut ring, _) = start(&[1]);
    let came = Input::Came { identity: name(0), agent: (0, 9) };
    assert_eq!(ring.handle(came.clone()), Ok(vec![Output::Ring((0, 9))]));
    assert_eq!(ring.handle(came), Ok(vec![]));
}

#[test]
fn whoever_has_no_agent_is_waited_for_if_the_ring_is_patient() {
    let (mut ring, out) = start_as(true, &[0, 0, 1]);
    let absent = |identity| Output::Absent(name(identity));
    assert_eq!(out, [Output::Ring((2, 0)), absent(0), absent(1), Output::Update]);
    assert_eq!(states(&ring), [RingState::Ringing; 3]);
    let came = Input::Came { identity: name(0), agent: (0, 9) };
    assert_eq!(ring.handle(came), Ok(vec![Output::Ring((0, 9))]));
    assert_eq!(ring.handle(Input::Gone((2, 0))), Ok(vec![absent(2)]), "it may come back");
    assert_eq!(ring.handle(Input::Take(name(2))), Ok(vec![Output::Update]));
    let waited =
        |identities: &[usize]| Input::Waited(identities.iter().copied().map(name).collect());
    let unreachable = Output::Unreachable(name(1));
    assert_eq!(ring.handle(waited(&[0, 1, 2])), Ok(vec![unreachable, Output::Update]));
    let states_now = [RingState::Ringing, RingState::Unreachable, RingState::Accepted];
    assert_eq!(states(&ring), states_now);
    // From then on nobody is waited for.
    let out = ring.handle(Input::Gone((0, 9))).unwrap();
    assert_eq!(out, [Output::Unreachable(name(0)), Output::Update, Output::Over(None)]);
    // Who comes instead is waited for by itself, and who is busy is there.
    let (mut ring, _) = start_as(true, &[0]);
    let redirect = Input::Redirect { from: name(0), to: name(1), agents: Some(vec![]) };
    let out = ring.handle(redirect).unwrap();
    assert_eq!(out, [Output::Update, absent(1), Output::Update]);
    assert_eq!(ring.handle(waited(&[0])), Ok(vec![]));
    ring.handle(Input::Came { identity: name(1), agent: (1, 0) }).unwrap();
    let out = ring.handle(Input::Busy((1, 0))).unwrap();
    assert_eq!(out, [Output::Update, Output::Over(Some(EndReason::busy()))]);
}

#[test]
fn of_several_outcomes_the_most_telling_ends_the_call() {
    let (mut ring, _) = start(&[1, 1, 1]);
    ring.handle(Input::Busy((0, 0))).unwrap();
    ring.handle(Input::Decline((1, 0))).unwrap();
    let out = ring.handle(Input::Timeout).unwrap();
    assert_eq!(out.last(), Some(&Output::Over(Some(EndReason::declined()))));
}

#[test]
fn somebody_else_may_take_refuse_or_redirect_what_rings_for_an_identity() {
    let (mut ring, _) = start(&[1, 2]);
    let out = ring.handle(Input::Take(name(1))).unwrap();
    let stop = |device| Output::Stop((1, device), EndReason::accepted_elsewhere());
    assert_eq!(out, [stop(0), stop(1), Output::Update]);
    assert_eq!(ring.handle(Input::Accept((1, 0))), Err(NotRinging));
    assert_eq!(ring.handle(Input::Take(name(1))), Err(NotRinging), "twice");
    let redirect = Input::Redirect { from: name(0), to: name(2), agents: Some(vec![(2, 0)]) };
    let out = ring.handle(redirect).unwrap();
    let canceled = Output::Stop((0, 0), EndReason::canceled());
    assert_eq!(out, [canceled, Output::Update, Output::Ring((2, 0)), Output::Update]);
    ring.handle(Input::Refuse { identity: name(2), busy: true }).unwrap();
    assert_eq!(states(&ring), [RingState::Canceled, RingState::Accepted, RingState::Busy]);
    let (mut ring, _) = start(&[1]);
    ring.handle(Input::Accept((0, 0))).unwrap();
    assert_eq!(ring.handle(Input::Take(name(0))), Err(NotRinging), "a device came first");
}

/// xorshift64*: the scenarios are the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let word = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(word).unwrap() % bound.max(1)
    }
}

/// What one world of callers and devices saw of a ring.
#[derive(Default)]
struct Seen {
    /// How it ended on each agent that it rang on; `None` while it rings.
    agents: BTreeMap<Agent, Option<Ended>>,
    /// Agents that have the call, by identity.
    connected: Vec<Agent>,
    /// Outcomes as the caller heard them.
    outcomes: BTreeMap<String, RingState>,
    over: Option<Option<EndReason>>,
    unreachable: BTreeSet<Arc<str>>,
    /// Identities whose agents are waited for: nobody gives them up.
    awaited: BTreeSet<Arc<str>>,
    /// Identities of which an agent accepted.
    accepted: BTreeSet<usize>,
    /// Identities on whose behalf somebody else has the call.
    taken: BTreeSet<usize>,
}

#[derive(Debug, PartialEq)]
enum Ended {
    Told(EndReason),
    /// By its own doing.
    Itself,
}

impl Seen {
    fn take(&mut self, ring: &Ring<Agent>, out: Vec<Output<Agent>>) {
        for output in out {
            assert!(self.over.is_none(), "something after the end: {output:?}");
            match output {
                Output::Ring(agent) => {
                    let rings = self.agents.insert(agent, None);
                    assert!(rings != Some(None), "rings twice on {agent:?}");
                }
                Output::Stop(agent, reason) => {
                    let before = self.agents.insert(agent, Some(Ended::Told(reason)));
                    assert_eq!(before, Some(None), "stopped, but did not ring: {agent:?}");
                }
                Output::Absent(identity) => assert!(self.awaited.contains(&identity)),
                Output::Unreachable(identity) => {
                    assert!(!self.awaited.contains(&identity), "given up too early");
                    assert!(self.unreachable.insert(identity));
                }
                Output::Update => {
                    for target in ring.targets() {
                        let before = self.outcomes.insert(target.identity, target.state);
                        let settled = before.filter(|state| *state != RingState::Ringing);
                        assert!(settled.is_none_or(|state| state == target.state), "changed");
                    }
                }
                Output::Over(reason) => self.over = Some(reason),
            }
        }
    }

    fn itself(&mut self, agent: Agent) {
        assert_eq!(self.agents.insert(agent, Some(Ended::Itself)), Some(None));
    }

    fn check(&self, ring: &Ring<Agent>, canceled: bool) {
        let end = self.over.clone().expect("an end");
        assert!(self.agents.values().all(Option::is_some), "rings on: {:?}", self.agents);
        for target in ring.targets() {
            let (state, identity) = (target.state, target.identity.as_str());
            assert_ne!(state, RingState::Ringing);
            assert_eq!(self.outcomes[identity], state, "the caller was told something else");
            let of = |agent: &&Agent| *name(agent.0) == *identity;
            let has = self.connected.iter().filter(of).count();
            let taken = self.taken.iter().any(|one| *name(*one) == *identity);
            assert!(!taken || state == RingState::Accepted);
            let device = state == RingState::Accepted && !taken;
            assert_eq!(has, usize::from(device), "{identity}");
            let told: BTreeSet<(u16, u32)> = self
                .agents
                .iter()
                .filter(|(agent, _)| of(agent))
                .filter_map(|(_, ended)| match ended {
                    Some(Ended::Told(reason)) => Some((reason.code, reason.sub_code)),
                    _ => None,
                })
                .collect();
            let wanted = match state {
                RingState::Accepted | RingState::Failed => Some((487, 10003)),
                RingState::Declined => Some((603, 0)),
                RingState::Busy => Some((486, 0)),
                RingState::TimedOut => Some((487, 10004)),
                RingState::Canceled => Some((487, 0)),
                _ => None,
            };
            assert!(told.iter().all(|one| Some(*one) == wanted), "{state:?}: {told:?}");
            let unreachable = self.unreachable.contains(identity);
            assert_eq!(unreachable, state == RingState::Unreachable);
        }
        let accepted = self.outcomes.values().any(|state| *state == RingState::Accepted);
        assert_eq!(end.is_some(), !accepted && !canceled);
    }
}

/// What somebody does at some time.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Accept,
    Decline,
    Busy,
    Go,
    Come,
    Cancel,
    Timeout,
    Join(bool),
    /// By somebody else, on behalf of the identity.
    Take,
    Refuse(bool),
    Redirect(usize),
    /// Those who ring from the start were waited for, or one who came instead.
    Waited,
    WaitedFor,
}

fn scenario(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let identities = 1 + random.below(4);
    let devices: Vec<usize> = (0..identities).map(|_| random.below(4)).collect();
    let patient = random.below(2) == 0;
    let (mut ring, out) = start_as(patient, &devices);
    let mut seen = Seen::default();
    if patient {
        seen.awaited.extend((0..identities).map(name));
    }
    seen.take(&ring, out);
    let at = |random: &mut Random| Duration::from_millis(random.below(35_000) as u64);
    let mut agenda: Vec<(Duration, usize, Agent, Deed)> = Vec::new();
    for identity in 0..identities {
        for _ in 0..random.below(6) {
            let agent = (identity, random.below(4));
            let deed = [Deed::Accept, Deed::Decline, Deed::Busy, Deed::Go, Deed::Come];
            agenda.push((at(&mut random), agenda.len(), agent, deed[random.below(5)]));
        }
    }
    for _ in 0..random.below(3) {
        let agent = (random.below(identities), 0);
        let to = random.below(6);
        let deed = [Deed::Take, Deed::Refuse(true), Deed::Refuse(false), Deed::Redirect(to)];
        agenda.push((at(&mut random), agenda.len(), agent, deed[random.below(4)]));
    }
    let mut canceled = false;
    if random.below(3) == 0 {
        agenda.push((at(&mut random), agenda.len(), (0, 0), Deed::Cancel));
    }
    agenda.push((Duration::from_secs(30), agenda.len(), (0, 0), Deed::Timeout));
    if patient {
        agenda.push((at(&mut random), agenda.len(), (0, 0), Deed::Waited));
    }
    let mut order = agenda.len();
    while let Some(next) = (0..agenda.len()).min_by_key(|at| (agenda[*at].0, agenda[*at].1)) {
        let (now, _, agent, deed) = agenda.remove(next);
        let rings = seen.agents.get(&agent) == Some(&None);
        let input = match deed {
            Deed::Accept => Input::Accept(agent),
            Deed::Decline => Input::Decline(agent),
            Deed::Busy => Input::Busy(agent),
            Deed::Go => Input::Gone(agent),
            Deed::Come => Input::Came { identity: name(agent.0), agent },
            Deed::Cancel => Input::Cancel,
            Deed::Timeout => Input::Timeout,
            Deed::Join(true) => Input::Joined(agent),
            Deed::Join(false) => Input::Failed(agent),
            Deed::Take => Input::Take(name(agent.0)),
            Deed::Refuse(busy) => Input::Refuse { identity: name(agent.0), busy },
            Deed::Waited => Input::Waited((0..identities).map(name).collect()),
            Deed::WaitedFor => Input::Waited(vec![name(agent.0)]),
            Deed::Redirect(to) => {
                let agents = (random.below(4) > 0)
                    .then(|| (0..random.below(3)).map(|device| (to, device)).collect());
                Input::Redirect { from: name(agent.0), to: name(to), agents }
            }
        };
        canceled |= matches!(deed, Deed::Cancel) && seen.over.is_none();
        let by_itself = matches!(deed, Deed::Accept | Deed::Decline | Deed::Busy | Deed::Go);
        let open = |identity: usize| {
            let state = seen.outcomes.get(&*name(identity));
            state == Some(&RingState::Ringing) && !seen.accepted.contains(&identity)
        };
        let somewhere = open(agent.0);
        match deed {
            Deed::Redirect(to)
                if patient && somewhere && !seen.outcomes.contains_key(&*name(to)) =>
            {
                seen.awaited.insert(name(to));
                order += 1;
                let wait = Duration::from_millis(random.below(10_000) as u64);
                agenda.push((now + wait, order, (to, 0), Deed::WaitedFor));
            }
            Deed::Waited => {
                seen.awaited.retain(|one| (0..identities).all(|rang| name(rang) != *one))
            }
            Deed::WaitedFor => seen.awaited.retain(|one| *one != name(agent.0)),
            _ => {}
        }
        let result = ring.handle(input);
        let refusable = matches!(deed, Deed::Accept | Deed::Decline | Deed::Busy);
        let for_it = matches!(deed, Deed::Take | Deed::Refuse(_) | Deed::Redirect(_));
        let refused = (refusable && !rings) || (for_it && !somewhere);
        assert_eq!(result.is_err(), refused, "{deed:?} of {agent:?}");
        let Ok(out) = result else { continue };
        if matches!(deed, Deed::Come) && somewhere && !rings {
            assert_eq!(out, [Output::Ring(agent)], "who comes late rings, too");
        }
        if matches!(deed, Deed::Accept) {
            seen.accepted.insert(agent.0);
        }
        if by_itself && rings {
            seen.itself(agent);
        }
        match deed {
            Deed::Accept => {
                let wait = Duration::from_millis(random.below(3_000) as u64);
                order += 1;
                agenda.push((now + wait, order, agent, Deed::Join(random.below(5) > 0)));
            }
            Deed::Join(true) => seen.connected.push(agent),
            Deed::Take => drop(seen.taken.insert(agent.0)),
            _ => {}
        }
        seen.take(&ring, out);
    }
    seen.check(&ring, canceled);
}

#[test]
fn a_thousand_random_rings_have_one_outcome_of_which_all_are_told_the_same() {
    (0..1_000).for_each(scenario);
}
