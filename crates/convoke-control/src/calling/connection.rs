//! One call connection, from its begin to its end: a pure state machine.
//!
//! Owns: its state, the invitations and moves that are under way, the numbers of its roster updates, and that
//! each operation has exactly one outcome, the last of all events being the connection's end.
//! Never: reads a clock, sends, or rings; `act` does, and says here what happened.
//!
//! ```text
//! Connecting --connected--> Connected --disconnect--> Disconnected
//!     `-------fail, disconnect------------------------^
//! ```
//! What comes after the end changes nothing and tells nothing.

use convoke_protocol::{EndReason, GroupId, RingState};
use serde_json::{Value, json};

use super::callback::Callback;
use super::identifier;

/// Invitations and moves under way in one connection, at most.
pub(crate) const INVITATIONS: usize = 64;

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Connecting,
    Connected,
    Disconnected,
}

/// Somebody in the call, as app servers see it: by identity, on however many devices.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen {
    pub(crate) identity: String,
    /// No microphone of it is on.
    pub(crate) muted: bool,
}

impl Seen {
    /// As bodies and events have it.
    pub(crate) fn view(&self) -> Value {
        json!({ "identifier": identifier(&self.identity), "isMuted": self.muted, "isOnHold": false })
    }
}

/// What comes with a request, and goes back with its outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) context: Option<String>,
    /// Where the outcome is told, if not where all else is.
    pub(crate) callback: Option<Callback>,
}

/// How an operation went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) code: u16,
    pub(crate) sub_code: u32,
    pub(crate) message: String,
}

impl Outcome {
    pub(crate) fn good() -> Self {
        Self::new(200, "")
    }

    pub(crate) fn new(code: u16, message: &str) -> Self {
        Self { code, sub_code: 0, message: message.to_owned() }
    }
}

impl From<EndReason> for Outcome {
    /// A normal end is 200 here.
    fn from(reason: EndReason) -> Self {
        let code = if reason.code == 0 { 200 } else { reason.code };
        Self { code, sub_code: reason.sub_code, message: reason.message }
    }
}

impl From<RingState> for Outcome {
    fn from(state: RingState) -> Self {
        match state {
            RingState::Accepted => Self::good(),
            RingState::Declined => EndReason::declined().into(),
            RingState::Busy => EndReason::busy().into(),
            RingState::TimedOut | RingState::Ringing => EndReason::not_answered().into(),
            RingState::Unreachable => EndReason::no_agent().into(),
            RingState::Canceled => Self::new(487, "The invitation was canceled."),
            RingState::Failed => EndReason::setup_failed().into(),
        }
    }
}

/// An event for the app server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// The type, without `Microsoft.Communication.`.
    pub(crate) kind: &'static str,
    pub(crate) asked: Asked,
    pub(crate) outcome: Option<Outcome>,
    /// What else is in its data: an object.
    pub(crate) extra: Value,
}

/// What an invitation is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// `addParticipant`.
    Add,
    /// `transferToParticipant` of the only one in the call, who stays; of whom.
    Transfer(String),
    /// `transferToParticipant` of one of several, who goes to a call of its own.
    TransferOut { transferee: String, group: GroupId },
}

/// Somebody who is on the way from one call into another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) id: String,
    pub(crate) identity: String,
    /// To whom it is transferred, if that is what it is for.
    pub(crate) target: Option<String>,
    pub(crate) asked: Asked,
}

/// What follows from a ring that is over for the one who was invited.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    Nothing,
    /// The call was handed over: the connection shall end.
    HandedOver,
    /// The target is in the call of this group ID: the transferee shall go there.
    Go(Move, GroupId),
}

/// Somebody who is called into the call.
#[derive(Debug, Clone)]
pub(crate) struct Invitation {
    /// The ring's id.
    pub(crate) id: String,
    pub(crate) identity: String,
    pub(crate) purpose: Purpose,
    pub(crate) asked: Asked,
    /// Those who want it canceled.
    pub(crate) cancels: Vec<Asked>,
}

/// As many invitations are under way as may be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// The connection is over, or not up yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotConnected;

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct Machine {
    phase: Phase,
    /// Of the request that began it.
    begun: Asked,
    /// The ring that it began with, while that rings.
    ring: Option<String>,
    invitations: Vec<Invitation>,
    moves: Vec<Move>,
    /// Who is being removed.
    removals: Vec<(String, Asked)>,
    sequence: u64,
    seen: Option<Vec<Seen>>,
    out: Vec<Told>,
}

impl Machine {
    /// Begins; with the ring that must be answered first, if there is one.
    pub(crate) fn new(begun: Asked, ring: Option<String>) -> Self {
        Self {
            phase: Phase::Connecting,
            begun,
            ring,
            invitations: Vec::new(),
            moves: Vec::new(),
            removals: Vec::new(),
            sequence: 0,
            seen: None,
            out: Vec::new(),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// What is to be told, in this order.
    pub(crate) fn take(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.out)
    }

    fn tell(&mut self, kind: &'static str, asked: Asked, outcome: Outcome, extra: Value) {
        self.out.push(Told { kind, asked, outcome: Some(outcome), extra });
    }

    /// It has its call. Whether that is new.
    pub(crate) fn connected(&mut self) -> bool {
        if self.phase != Phase::Connecting {
            return false;
        }
        self.phase = Phase::Connected;
        self.tell("CallConnected", self.begun.clone(), Outcome::good(), json!({}));
        true
    }

    /// Fails if it is not connected.
    pub(crate) fn check(&self) -> Result<(), NotConnected> {
        if self.phase == Phase::Connected { Ok(()) } else { Err(NotConnected) }
    }

    /// Somebody is called into the call.
    pub(crate) fn invite(&mut self, invitation: Invitation) -> Result<(), TooMany> {
        if self.under_way() >= INVITATIONS {
            return Err(TooMany);
        }
        self.invitations.push(invitation);
        Ok(())
    }

    fn under_way(&self) -> usize {
        self.invitations.len() + self.moves.len()
    }

    /// All of these are to be moved.
    pub(crate) fn begin_moves(&mut self, moves: &[Move]) -> Result<(), TooMany> {
        if self.under_way() + moves.len() > INVITATIONS {
            return Err(TooMany);
        }
        self.moves.extend_from_slice(moves);
        Ok(())
    }

    /// Somebody has come, or will not. Whether that is new.
    pub(crate) fn moved(&mut self, id: &str, outcome: Outcome) -> bool {
        let Some(at) = self.moves.iter().position(|one| one.id == id) else { return false };
        let one = self.moves.swap_remove(at);
        self.conclude_move(one, outcome);
        true
    }

    fn conclude_move(&mut self, one: Move, outcome: Outcome) {
        let Move { identity, target, asked, .. } = one;
        let good = outcome.code == 200;
        if let Some(target) = target {
            return self.transferred(good, &target, &identity, asked, outcome);
        }
        let kind = if good { "MoveParticipantSucceeded" } else { "MoveParticipantFailed" };
        self.tell(kind, asked, outcome, json!({ "participant": identifier(&identity) }));
    }

    fn transferred(
        &mut self,
        good: bool,
        target: &str,
        transferee: &str,
        asked: Asked,
        outcome: Outcome,
    ) {
        let kind = if good { "CallTransferAccepted" } else { "CallTransferFailed" };
        let extra = json!({
            "transferTarget": identifier(target),
            "transferee": identifier(transferee),
        });
        self.tell(kind, asked, outcome, extra);
    }

    /// Whether somebody is being called.
    pub(crate) fn invites(&self, identity: &str) -> bool {
        self.invitations.iter().any(|one| one.identity == identity)
    }

    /// Somebody wants an invitation canceled. Whether its ring shall be; the outcome comes with
    /// that.
    pub(crate) fn cancel(&mut self, id: &str, asked: Asked) -> bool {
        let adding = |one: &&mut Invitation| one.id == id && one.purpose == Purpose::Add;
        if let Some(invitation) = self.invitations.iter_mut().find(adding) {
            // One is enough to be remembered where many ask.
            if invitation.cancels.len() < INVITATIONS {
                invitation.cancels.push(asked);
            }
            return true;
        }
        if self.phase != Phase::Disconnected {
            let outcome = Outcome::new(404, "No such invitation is under way (any more).");
            let extra = json!({ "invitationId": id });
            self.tell("CancelAddParticipantFailed", asked, outcome, extra);
        }
        false
    }

    /// A ring is over for the one who was invited.
    pub(crate) fn settle(&mut self, id: &str, state: RingState) -> Settled {
        let found = self.invitations.iter().position(|one| one.id == id);
        let Some(at) = found else { return Settled::Nothing };
        let invitation = self.invitations.swap_remove(at);
        let accepted = state == RingState::Accepted;
        if let (Purpose::TransferOut { transferee, group }, true) = (&invitation.purpose, accepted)
        {
            let (id, identity, group) = (invitation.id, transferee.clone(), *group);
            let target = Some(invitation.identity);
            let one = Move { id, identity, target, asked: invitation.asked };
            self.moves.push(one.clone());
            return Settled::Go(one, group);
        }
        let transfer = matches!(invitation.purpose, Purpose::Transfer(_));
        self.conclude(invitation, accepted, state.into());
        if accepted && transfer { Settled::HandedOver } else { Settled::Nothing }
    }

    fn conclude(&mut self, invitation: Invitation, accepted: bool, outcome: Outcome) {
        let Invitation { id, identity, purpose, asked, cancels } = invitation;
        match purpose {
            Purpose::Add => {
                let kind =
                    if accepted { "AddParticipantSucceeded" } else { "AddParticipantFailed" };
                let extra = json!({ "participant": identifier(&identity), "invitationId": &id });
                self.tell(kind, asked, outcome, extra);
            }
            Purpose::Transfer(transferee) | Purpose::TransferOut { transferee, .. } => {
                self.transferred(accepted, &identity, &transferee, asked, outcome);
            }
        }
        for asked in cancels {
            let extra = json!({ "invitationId": &id });
            if accepted {
                let outcome = Outcome::new(409, "The invitation was accepted first.");
                self.tell("CancelAddParticipantFailed", asked, outcome, extra);
            } else {
                self.tell("CancelAddParticipantSucceeded", asked, Outcome::good(), extra);
            }
        }
    }

    /// Somebody is being removed. If that ends the call, it was done.
    pub(crate) fn remove(&mut self, identity: &str, asked: Asked) {
        if self.phase != Phase::Disconnected {
            self.removals.push((identity.to_owned(), asked));
        }
    }

    /// All who were being removed under this identity are, or could not be.
    pub(crate) fn removed(&mut self, identity: &str, outcome: &Outcome) {
        let these: Vec<_> = self.removals.extract_if(.., |(one, _)| one == identity).collect();
        for (identity, asked) in these {
            let good = outcome.code == 200;
            let kind = if good { "RemoveParticipantSucceeded" } else { "RemoveParticipantFailed" };
            let extra = json!({ "participant": identifier(&identity) });
            self.tell(kind, asked, outcome.clone(), extra);
        }
    }

    /// Who is in the call now. Told if it differs from what was told last.
    pub(crate) fn roster(&mut self, mut seen: Vec<Seen>) {
        seen.sort();
        if self.phase != Phase::Connected || self.seen.as_ref() == Some(&seen) {
            return;
        }
        self.sequence += 1;
        let participants: Vec<Value> = seen.iter().map(Seen::view).collect();
        let extra = json!({ "sequenceNumber": self.sequence, "participants": participants });
        self.seen = Some(seen);
        let (kind, asked) = ("ParticipantsUpdated", Asked::default());
        self.out.push(Told { kind, asked, outcome: None, extra });
    }

    /// The ring that it began with is over. Whether it is over with that: nobody answered.
    pub(crate) fn ring_over(&mut self, ring: &str, outcome: Outcome) -> bool {
        if self.ring.take_if(|own| own == ring).is_none() {
            return false;
        }
        if self.phase != Phase::Connecting {
            return false;
        }
        self.phase = Phase::Disconnected;
        self.tell("CreateCallFailed", self.begun.clone(), outcome, json!({}));
        true
    }

    /// It ends, and so does all that is under way. The rings that are to be canceled; `None` when
    /// it was over already.
    pub(crate) fn disconnect(&mut self, outcome: Outcome) -> Option<Vec<String>> {
        if self.phase == Phase::Disconnected {
            return None;
        }
        let mut rings: Vec<String> = self.ring.take().into_iter().collect();
        for invitation in std::mem::take(&mut self.invitations) {
            rings.push(invitation.id.clone());
            self.conclude(invitation, false, RingState::Canceled.into());
        }
        for one in std::mem::take(&mut self.moves) {
            let outcome = Outcome::new(487, "The connection ended first.");
            self.conclude_move(one, outcome);
        }
        for identity in self.removals.iter().map(|(one, _)| one.clone()).collect::<Vec<_>>() {
            self.removed(&identity, &Outcome::good());
        }
        self.phase = Phase::Disconnected;
        self.tell("CallDisconnected", self.begun.clone(), outcome, json!({}));
        Some(rings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(context: &str) -> Asked {
        Asked { context: Some(context.to_owned()), callback: None }
    }

    fn connected() -> Machine {
        let mut machine = Machine::new(asked("begin"), None);
        assert!(machine.connected() && !machine.connected());
        machine.take();
        machine
    }

    fn invitation(id: &str, purpose: Purpose) -> Invitation {
        let (identity, asked) = (format!("{id}-identity"), asked(id));
        Invitation { id: id.to_owned(), identity, purpose, asked, cancels: Vec::new() }
    }

    /// The kinds of what was told, each with its context.
    fn told(machine: &mut Machine) -> Vec<(&'static str, String, u16)> {
        let view = |one: Told| {
            let code = one.outcome.map_or(0, |outcome| outcome.code);
            (one.kind, one.asked.context.unwrap_or_default(), code)
        };
        machine.take().into_iter().map(view).collect()
    }

    fn one(kind: &'static str, context: &str, code: u16) -> (&'static str, String, u16) {
        (kind, context.to_owned(), code)
    }

    #[test]
    fn a_created_call_connects_once_or_fails_once() {
        let mut machine = Machine::new(asked("begin"), Some("r".to_owned()));
        assert_eq!(machine.check(), Err(NotConnected));
        assert!(machine.connected());
        assert!(!machine.ring_over("r", RingState::Accepted.into()));
        assert_eq!(told(&mut machine), [one("CallConnected", "begin", 200)]);
        let mut machine = Machine::new(asked("begin"), Some("r".to_owned()));
        assert!(machine.ring_over("r", RingState::Declined.into()));
        assert!(!machine.ring_over("r", RingState::Declined.into()) && !machine.connected());
        assert_eq!(machine.disconnect(Outcome::good()), None);
        assert_eq!(told(&mut machine), [one("CreateCallFailed", "begin", 603)]);
    }

    #[test]
    fn a_connection_that_ends_while_it_rings_cancels_that() {
        let mut machine = Machine::new(asked("begin"), Some("r".to_owned()));
        assert_eq!(machine.disconnect(Outcome::good()), Some(vec!["r".to_owned()]));
        assert!(!machine.ring_over("r", RingState::Canceled.into()));
        assert_eq!(told(&mut machine), [one("CallDisconnected", "begin", 200)]);
    }

    #[test]
    fn each_invitation_has_one_outcome() {
        let states = [
            (RingState::Accepted, "AddParticipantSucceeded", 200),
            (RingState::Declined, "AddParticipantFailed", 603),
            (RingState::Busy, "AddParticipantFailed", 486),
            (RingState::TimedOut, "AddParticipantFailed", 487),
            (RingState::Unreachable, "AddParticipantFailed", 480),
            (RingState::Failed, "AddParticipantFailed", 410),
        ];
        for (state, kind, code) in states {
            let mut machine = connected();
            machine.invite(invitation("a", Purpose::Add)).unwrap();
            assert!(machine.invites("a-identity"));
            assert_eq!(machine.settle("a", state), Settled::Nothing);
            assert_eq!(machine.settle("a", RingState::Accepted), Settled::Nothing);
            assert_eq!(told(&mut machine), [one(kind, "a", code)]);
            assert!(!machine.invites("a-identity"));
        }
    }

    #[test]
    fn what_is_canceled_has_two_outcomes_that_agree() {
        let mut machine = connected();
        machine.invite(invitation("a", Purpose::Add)).unwrap();
        assert!(machine.cancel("a", asked("c")));
        machine.settle("a", RingState::Canceled);
        let canceled =
            [one("AddParticipantFailed", "a", 487), one("CancelAddParticipantSucceeded", "c", 200)];
        assert_eq!(told(&mut machine), canceled);
        machine.invite(invitation("b", Purpose::Add)).unwrap();
        assert!(machine.cancel("b", asked("c")));
        machine.settle("b", RingState::Accepted);
        let late =
            [one("AddParticipantSucceeded", "b", 200), one("CancelAddParticipantFailed", "c", 409)];
        assert_eq!(told(&mut machine), late);
        assert!(!machine.cancel("b", asked("d")));
        assert_eq!(told(&mut machine), [one("CancelAddParticipantFailed", "d", 404)]);
    }

    #[test]
    fn only_a_transfer_that_is_accepted_ends_the_connection() {
        let mut machine = connected();
        let transfer = || invitation("t", Purpose::Transfer("bob".to_owned()));
        machine.invite(transfer()).unwrap();
        assert!(!machine.cancel("t", asked("c")), "a transfer is no invitation to be canceled");
        assert_eq!(machine.settle("t", RingState::Declined), Settled::Nothing);
        machine.invite(transfer()).unwrap();
        assert_eq!(machine.settle("t", RingState::Accepted), Settled::HandedOver);
        let all = [
            one("CancelAddParticipantFailed", "c", 404),
            one("CallTransferFailed", "t", 603),
            one("CallTransferAccepted", "t", 200),
        ];
        assert_eq!(told(&mut machine), all);
    }

    fn moving(id: &str, target: Option<&str>) -> Move {
        let (identity, target) = (format!("{id}-identity"), target.map(str::to_owned));
        Move { id: id.to_owned(), identity, target, asked: asked(id) }
    }

    #[test]
    fn each_move_has_one_outcome() {
        let mut machine = connected();
        machine.begin_moves(&[moving("a", None), moving("b", None), moving("c", None)]).unwrap();
        assert!(machine.moved("a", Outcome::good()) && !machine.moved("a", Outcome::good()));
        assert!(machine.moved("b", Outcome::new(408, "")));
        let both =
            [one("MoveParticipantSucceeded", "a", 200), one("MoveParticipantFailed", "b", 408)];
        assert_eq!(told(&mut machine), both);
        machine.disconnect(Outcome::good());
        let rest = [one("MoveParticipantFailed", "c", 487), one("CallDisconnected", "begin", 200)];
        assert_eq!(told(&mut machine), rest);
        assert!(!machine.moved("c", Outcome::good()));
    }

    #[test]
    fn a_transfer_out_of_a_call_is_accepted_when_the_transferee_has_come() {
        let group = GroupId::random();
        let out = || Purpose::TransferOut { transferee: "bob".to_owned(), group };
        let mut machine = connected();
        machine.invite(invitation("t", out())).unwrap();
        assert_eq!(machine.settle("t", RingState::Busy), Settled::Nothing);
        assert_eq!(told(&mut machine), [one("CallTransferFailed", "t", 486)]);
        for (code, kind) in [(200, "CallTransferAccepted"), (408, "CallTransferFailed")] {
            machine.invite(invitation("t", out())).unwrap();
            let Settled::Go(going, to) = machine.settle("t", RingState::Accepted) else { panic!() };
            assert_eq!((going.identity.as_str(), to), ("bob", group));
            assert_eq!(told(&mut machine), []);
            assert!(machine.moved("t", Outcome::new(code, "")));
            assert_eq!(told(&mut machine), [one(kind, "t", code)]);
        }
    }

    #[test]
    fn the_end_is_the_last_word() {
        let mut machine = connected();
        machine.invite(invitation("a", Purpose::Add)).unwrap();
        machine.cancel("a", asked("c"));
        machine.remove("bob", asked("r"));
        assert_eq!(machine.disconnect(Outcome::good()), Some(vec!["a".to_owned()]));
        let all = [
            one("AddParticipantFailed", "a", 487),
            one("CancelAddParticipantSucceeded", "c", 200),
            one("RemoveParticipantSucceeded", "r", 200),
            one("CallDisconnected", "begin", 200),
        ];
        assert_eq!(told(&mut machine), all);
        machine.settle("a", RingState::Accepted);
        machine.roster(Vec::new());
        machine.remove("x", asked("r"));
        machine.removed("x", &Outcome::good());
        machine.cancel("a", asked("d"));
        assert_eq!(machine.disconnect(Outcome::good()), None);
        assert_eq!(machine.take(), []);
    }

    #[test]
    fn rosters_are_numbered_and_told_when_they_change() {
        let mut machine = connected();
        let seen = |identity: &str, muted| Seen { identity: identity.to_owned(), muted };
        let numbers = |machine: &mut Machine| -> Vec<u64> {
            let all = machine.take();
            all.iter().filter_map(|one| one.extra["sequenceNumber"].as_u64()).collect()
        };
        machine.roster(vec![seen("a", false), seen("b", true)]);
        machine.roster(vec![seen("b", true), seen("a", false)]);
        assert_eq!(numbers(&mut machine), [1]);
        machine.roster(vec![seen("a", true), seen("b", true)]);
        machine.roster(vec![seen("a", true)]);
        assert_eq!(numbers(&mut machine), [2, 3]);
        let mut early = Machine::new(asked("begin"), None);
        early.roster(vec![seen("a", true)]);
        assert_eq!(early.take(), []);
    }

    /// A history of what may happen, in an order that `seed` decides.
    fn history(seed: u64) {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut below = |bound: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random >> 33).unwrap() % bound
        };
        let mut machine = connected();
        let (mut all, mut wanted) = (Vec::new(), Vec::new());
        for step in 0..40 {
            let context = format!("{step}");
            let some = format!("{}", below(step + 1));
            match below(9) {
                0 | 1 => {
                    let (transferee, group) = ("x".to_owned(), GroupId::random());
                    let purpose = [
                        Purpose::Add,
                        Purpose::Transfer("x".to_owned()),
                        Purpose::TransferOut { transferee, group },
                    ];
                    let purpose = purpose[below(3)].clone();
                    machine.invite(invitation(&context, purpose)).unwrap();
                    wanted.push(context);
                }
                2 => {
                    machine.cancel(&some, asked(&context));
                    wanted.push(context);
                }
                3 => {
                    machine.remove(&some, asked(&context));
                    wanted.push(context);
                }
                4 => machine.removed(&some, &Outcome::new([200, 409][below(2)], "")),
                5 => {
                    machine.begin_moves(&[moving(&context, None)]).unwrap();
                    wanted.push(context);
                }
                6 => drop(machine.moved(&some, Outcome::new([200, 408][below(2)], ""))),
                7 => drop(machine.settle(&some, [RingState::Accepted, RingState::Busy][below(2)])),
                _ => machine.roster(vec![Seen { identity: some, muted: below(2) == 0 }]),
            }
            all.extend(machine.take());
        }
        assert!(machine.disconnect(Outcome::good()).is_some());
        all.extend(machine.take());
        assert_eq!(all.pop().unwrap().kind, "CallDisconnected");
        let mut outcomes: Vec<String> =
            all.into_iter().filter_map(|one| one.asked.context).collect();
        outcomes.sort();
        wanted.sort();
        assert_eq!(outcomes, wanted, "seed {seed}");
    }

    #[test]
    fn in_a_thousand_random_histories_each_operation_has_one_outcome_and_the_end_comes_last() {
        (0..1_000).for_each(history);
    }

    #[test]
    fn there_is_a_bound_to_invitations() {
        let mut machine = connected();
        for at in 0..INVITATIONS {
            machine.invite(invitation(&at.to_string(), Purpose::Add)).unwrap();
        }
        assert_eq!(machine.invite(invitation("more", Purpose::Add)), Err(TooMany));
        machine.settle("0", RingState::Busy);
        assert_eq!(machine.invite(invitation("more", Purpose::Add)), Ok(()));
    }
}
