//! One call that rings, from its start to its end: a pure state machine.
//!
//! Owns: on which agents it rings, who has it, and that each identity has exactly one outcome of
//! which everybody is told the same.
//! Never: reads a clock, sends, or joins; `ringing` does, and says here what happened.
//!
//! ```text
//! an identity:  Ringing --accept--> Joining --joined--> Accepted
//!                  |                   `-----failed---> Failed
//!                  |--decline--> Declined      |--timeout--> TimedOut
//!                  |--cancel---> Canceled      `--no agent left--> Busy, Unreachable
//! ```
//! A patient ring waits a while for agents of an identity that has none, before it is unreachable.
//! On behalf of an identity somebody else may take the call (it is then Accepted, and on no device),
//! refuse it, or have another identity called in its place (it is then Canceled).
//! Whatever comes first decides; what comes later finds the agent ringing no more.

use std::sync::Arc;

use convoke_protocol::{EndReason, RingState, RingTarget};

/// What happens to a ring. `A` names an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input<A> {
    /// An agent of an identity is there.
    Came { identity: Arc<str>, agent: A },
    /// An agent is gone.
    Gone(A),
    /// An agent wants the call.
    Accept(A),
    /// The agent that has the call has joined it.
    Joined(A),
    /// The agent that has the call could not join it.
    Failed(A),
    /// An agent declines for its identity.
    Decline(A),
    /// An agent is busy.
    Busy(A),
    /// Somebody else has the call on behalf of an identity.
    Take(Arc<str>),
    /// It is declined, or said to be busy, on behalf of an identity.
    Refuse { identity: Arc<str>, busy: bool },
    /// Another identity is called in place of one; with the agents that it has, `None` if it has
    /// too much that rings already.
    Redirect { from: Arc<str>, to: Arc<str>, agents: Option<Vec<A>> },
    /// For agents of these identities it was waited long enough.
    Waited(Vec<Arc<str>>),
    /// The caller is gone.
    Cancel,
    /// It has rung long enough.
    Timeout,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output<A> {
    /// It rings on this agent.
    Ring(A),
    /// It rings no more on this agent.
    Stop(A, EndReason),
    /// The caller is told how far it is.
    Update,
    /// No agent of this identity is there (any more); it rings on, for one may come.
    Absent(Arc<str>),
    /// No agent of this identity is there, and it rings no more.
    Unreachable(Arc<str>),
    /// It is over. If nobody accepted and the caller is still there: why its call ends.
    Over(Option<EndReason>),
}

/// It does not ring (any more) on this agent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotRinging;

/// A call that rings.
#[derive(Debug)]
pub(crate) struct Ring<A> {
    targets: Vec<Target<A>>,
    /// It waits for agents of identities that have none.
    patient: bool,
    canceled: bool,
    over: bool,
}

#[derive(Debug)]
struct Target<A> {
    identity: Arc<str>,
    state: State<A>,
}

#[derive(Debug)]
enum State<A> {
    Ringing { agents: Vec<A>, somebody_busy: bool, waits: bool },
    Joining(A),
    Done(RingState),
}

impl<A: Copy + Eq> Ring<A> {
    /// A ring of nobody.
    pub(crate) fn none() -> Self {
        Self { targets: Vec::new(), patient: false, canceled: false, over: true }
    }

    /// A ring of these identities, with the agents that each has. Identities for which too much rings
    /// already are busy.
    pub(crate) fn start(
        targets: Vec<(Arc<str>, Vec<A>)>,
        busy: &[Arc<str>],
        patient: bool,
    ) -> (Self, Vec<Output<A>>) {
        let mut out = Vec::new();
        let mut targets: Vec<Target<A>> = targets
            .into_iter()
            .map(|(identity, agents)| {
                if busy.contains(&identity) {
                    return Target { identity, state: State::Done(RingState::Busy) };
                }
                out.extend(agents.iter().copied().map(Output::Ring));
                let state = State::Ringing { agents, somebody_busy: false, waits: patient };
                Target { identity, state }
            })
            .collect();
        for target in &mut targets {
            target.look(&mut out);
        }
        let mut ring = Self { targets, patient, canceled: false, over: false };
        out.push(Output::Update);
        ring.close(&mut out);
        (ring, out)
    }

    /// Takes what happened. What is of no consequence gives nothing to do.
    pub(crate) fn handle(&mut self, input: Input<A>) -> Result<Vec<Output<A>>, NotRinging> {
        let mut out = Vec::new();
        match input {
            Input::Came { identity, agent } => self.came(&identity, agent, &mut out),
            Input::Waited(identities) => self.waited(&identities, &mut out),
            Input::Gone(agent) => self.silence(agent, false, &mut out),
            Input::Busy(agent) => {
                self.ringing(agent).ok_or(NotRinging)?;
                self.silence(agent, true, &mut out);
            }
            Input::Accept(agent) => {
                let target = self.ringing(agent).ok_or(NotRinging)?;
                target.stop_others(agent, &EndReason::accepted_elsewhere(), &mut out);
                target.state = State::Joining(agent);
            }
            Input::Decline(agent) => {
                let target = self.ringing(agent).ok_or(NotRinging)?;
                target.stop_others(agent, &EndReason::declined(), &mut out);
                target.state = State::Done(RingState::Declined);
                out.push(Output::Update);
            }
            Input::Joined(agent) => self.settle(agent, RingState::Accepted, &mut out),
            Input::Failed(agent) => self.settle(agent, RingState::Failed, &mut out),
            Input::Take(identity) => {
                self.answer_for(
                    &identity,
                    RingState::Accepted,
                    &EndReason::accepted_elsewhere(),
                    &mut out,
                )?;
            }
            Input::Refuse { identity, busy: true } => {
                self.answer_for(&identity, RingState::Busy, &EndReason::busy(), &mut out)?;
            }
            Input::Refuse { identity, busy: false } => {
                self.answer_for(&identity, RingState::Declined, &EndReason::declined(), &mut out)?;
            }
            Input::Redirect { from, to, agents } => {
                self.answer_for(&from, RingState::Canceled, &EndReason::canceled(), &mut out)?;
                self.call_instead(to, agents, &mut out);
            }
            Input::Cancel => {
                self.canceled = true;
                self.stop_all(RingState::Canceled, &EndReason::canceled(), &mut out);
            }
            Input::Timeout => {
                self.stop_all(RingState::TimedOut, &EndReason::not_answered(), &mut out);
            }
        }
        self.close(&mut out);
        Ok(out)
    }

    /// How far each identity is.
    pub(crate) fn targets(&self) -> Vec<RingTarget> {
        let view = |target: &Target<A>| RingTarget {
            identity: target.identity.to_string(),
            state: match &target.state {
                State::Ringing { .. } | State::Joining(_) => RingState::Ringing,
                State::Done(state) => *state,
            },
        };
        self.targets.iter().map(view).collect()
    }

    /// Those who are called.
    pub(crate) fn identities(&self) -> impl Iterator<Item = &Arc<str>> {
        self.targets.iter().map(|target| &target.identity)
    }

    fn ringing(&mut self, agent: A) -> Option<&mut Target<A>> {
        self.targets.iter_mut().find(|target| target.rings_on(agent))
    }

    fn came(&mut self, identity: &str, agent: A, out: &mut Vec<Output<A>>) {
        let target = self.targets.iter_mut().find(|target| &*target.identity == identity);
        if let Some(Target { state: State::Ringing { agents, .. }, .. }) = target
            && !agents.contains(&agent)
        {
            agents.push(agent);
            out.push(Output::Ring(agent));
        }
    }

    /// Whoever has no agent by now is given up.
    fn waited(&mut self, identities: &[Arc<str>], out: &mut Vec<Output<A>>) {
        let mut changed = false;
        for target in &mut self.targets {
            if let State::Ringing { waits, .. } = &mut target.state
                && identities.contains(&target.identity)
            {
                *waits = false;
                changed |= target.look(out);
            }
        }
        if changed {
            out.push(Output::Update);
        }
    }

    /// An identity that rings has an outcome, by none of its agents.
    fn answer_for(
        &mut self,
        identity: &str,
        outcome: RingState,
        reason: &EndReason,
        out: &mut Vec<Output<A>>,
    ) -> Result<(), NotRinging> {
        let rings = |target: &&mut Target<A>| {
            *target.identity == *identity && matches!(target.state, State::Ringing { .. })
        };
        let target = self.targets.iter_mut().find(rings).ok_or(NotRinging)?;
        if let State::Ringing { agents, .. } = &target.state {
            out.extend(agents.iter().map(|agent| Output::Stop(*agent, reason.clone())));
        }
        target.state = State::Done(outcome);
        out.push(Output::Update);
        Ok(())
    }

    /// One more is called, unless it is or was already.
    fn call_instead(&mut self, to: Arc<str>, agents: Option<Vec<A>>, out: &mut Vec<Output<A>>) {
        if self.targets.iter().any(|target| target.identity == to) {
            return;
        }
        let state = match agents {
            Some(agents) => {
                out.extend(agents.iter().copied().map(Output::Ring));
                State::Ringing { agents, somebody_busy: false, waits: self.patient }
            }
            None => State::Done(RingState::Busy),
        };
        let mut target = Target { identity: to, state };
        target.look(out);
        self.targets.push(target);
        out.push(Output::Update);
    }

    /// It rings no more on one agent, which knows why or is gone.
    fn silence(&mut self, agent: A, busy: bool, out: &mut Vec<Output<A>>) {
        let Some(target) = self.ringing(agent) else { return };
        if let State::Ringing { agents, somebody_busy, .. } = &mut target.state {
            agents.retain(|other| *other != agent);
            *somebody_busy |= busy;
        }
        if target.look(out) {
            out.push(Output::Update);
        }
    }

    fn settle(&mut self, agent: A, outcome: RingState, out: &mut Vec<Output<A>>) {
        let has =
            |target: &&mut Target<A>| matches!(&target.state, State::Joining(one) if *one == agent);
        if let Some(target) = self.targets.iter_mut().find(has) {
            target.state = State::Done(outcome);
            out.push(Output::Update);
        }
    }

    fn stop_all(&mut self, outcome: RingState, reason: &EndReason, out: &mut Vec<Output<A>>) {
        let mut changed = false;
        for target in &mut self.targets {
            if let State::Ringing { agents, .. } = &target.state {
                out.extend(agents.iter().map(|agent| Output::Stop(*agent, reason.clone())));
                target.state = State::Done(outcome);
                changed = true;
            }
        }
        if changed {
            out.push(Output::Update);
        }
    }

    /// Ends it once everybody has an outcome.
    fn close(&mut self, out: &mut Vec<Output<A>>) {
        let outcomes: Option<Vec<RingState>> = self.targets.iter().map(Target::outcome).collect();
        let Some(outcomes) = outcomes.filter(|_| !self.over) else { return };
        self.over = true;
        out.push(Output::Over(if self.canceled { None } else { end(&outcomes) }));
    }
}

impl<A: Copy + Eq> Target<A> {
    fn rings_on(&self, agent: A) -> bool {
        matches!(&self.state, State::Ringing { agents, .. } if agents.contains(&agent))
    }

    fn outcome(&self) -> Option<RingState> {
        match self.state {
            State::Done(state) => Some(state),
            _ => None,
        }
    }

    fn stop_others(&self, agent: A, reason: &EndReason, out: &mut Vec<Output<A>>) {
        if let State::Ringing { agents, .. } = &self.state {
            let others = agents.iter().filter(|other| **other != agent);
            out.extend(others.map(|other| Output::Stop(*other, reason.clone())));
        }
    }

    /// Gives up an identity that has no agent left, unless one may come. Whether it did.
    fn look(&mut self, out: &mut Vec<Output<A>>) -> bool {
        let State::Ringing { agents, somebody_busy, waits } = &self.state else { return false };
        if !agents.is_empty() {
            return false;
        }
        if *somebody_busy {
            self.state = State::Done(RingState::Busy);
        } else if *waits {
            out.push(Output::Absent(Arc::clone(&self.identity)));
            return false;
        } else {
            self.state = State::Done(RingState::Unreachable);
            out.push(Output::Unreachable(Arc::clone(&self.identity)));
        }
        true
    }
}

/// Why the caller's call ends, if it does: the first of these that occurred.
fn end(outcomes: &[RingState]) -> Option<EndReason> {
    let occurred = |state: RingState| outcomes.contains(&state);
    if occurred(RingState::Accepted) {
        None
    } else if occurred(RingState::Declined) {
        Some(EndReason::declined())
    } else if occurred(RingState::Busy) {
        Some(EndReason::busy())
    } else if occurred(RingState::TimedOut) {
        Some(EndReason::not_answered())
    } else if occurred(RingState::Unreachable) {
        Some(EndReason::no_agent())
    } else {
        Some(EndReason::setup_failed())
    }
}

#[cfg(test)]
mod tests;
