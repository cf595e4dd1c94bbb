//! Calls that ring for somebody, offered to app servers: each may be answered, redirected or
//! rejected on behalf of the one who is called.
//!
//! Owns: the contexts by which that is done: random, of one identity in one ring, and gone when the
//! ring is over for it.
//! Never: decides who gets the call; the ring does, and whoever comes first has it.

use std::sync::{Arc, Weak};

use serde_json::json;

use super::act::{CallingError, Opening};
use super::{Connection, identifier};
use crate::calls::Call;
use crate::control::Inner;
use crate::ids::ResumeToken;
use crate::ring::Input;
use crate::ringing;

/// What a context stands for.
pub(super) struct Incoming {
    ring: Weak<ringing::Call>,
    identity: Arc<str>,
    call: Weak<Call>,
}

/// What a context stands for, while that is there.
struct Offered {
    ring: Arc<ringing::Call>,
    identity: Arc<str>,
    call: Arc<Call>,
}

impl Inner {
    /// A call of an agent's rings for somebody who has so many agents connected: app servers are told
    /// by an event, if there are any, and may wake a device if there is none. The context.
    pub(crate) fn offer(
        &self,
        ring: &Arc<ringing::Call>,
        call: &Arc<Call>,
        identity: &Arc<str>,
        agents: usize,
    ) -> Option<String> {
        self.config().services.as_ref()?;
        // 256 bits that nobody guesses.
        let context = ResumeToken::random().expose();
        let (ring_ref, call_ref) = (Arc::downgrade(ring), Arc::downgrade(call));
        let incoming = Incoming { ring: ring_ref, identity: Arc::clone(identity), call: call_ref };
        self.calling.incoming.insert(context.clone(), incoming);
        let mut data = json!({
            "to": identifier(identity),
            "from": identifier(ring.from()),
            "serverCallId": call.wire_id(),
            "callerDisplayName": ring.display_name(),
            "incomingCallContext": context,
            "correlationId": call.wire_id(),
            "incomingCallId": ring.id(),
            "connectedAgents": agents,
        });
        if let Some(custom) = ring.custom_context() {
            data["customContext"] = json!({ "voipHeaders": { "customContext": custom } });
        }
        self.recorder.incoming(call, data);
        Some(context)
    }

    /// What was offered is gone.
    pub(crate) fn withdraw(&self, contexts: &[String]) {
        contexts.iter().for_each(|context| drop(self.calling.incoming.remove(context)));
    }

    fn offered(&self, context: &str) -> Result<Offered, CallingError> {
        let found = self.calling.incoming.get(context).ok_or(CallingError::NotRinging)?;
        Ok(Offered {
            ring: found.ring.upgrade().ok_or(CallingError::NotRinging)?,
            identity: Arc::clone(&found.identity),
            call: found.call.upgrade().ok_or(CallingError::NotRinging)?,
        })
    }

    /// Who is called by this context, and who calls.
    pub(crate) fn offered_to(&self, context: &str) -> Result<(String, String), CallingError> {
        let Offered { ring, identity, .. } = self.offered(context)?;
        Ok((identity.to_string(), ring.from().to_owned()))
    }

    /// Takes a call that rings: the devices of the one who is called ring no more, and the
    /// connection is of that call.
    pub(crate) fn answer(
        self: &Arc<Self>,
        opening: &Opening,
        context: &str,
    ) -> Result<Arc<Connection>, CallingError> {
        let Offered { ring, identity, call } = self.offered(context)?;
        // With its place taken first: a call that is taken must not be lost then.
        let connection = self.open(opening, None)?;
        let taken = self
            .room_for_connection(&call)
            .and_then(|()| self.take_ring(&ring, Input::Take(Arc::clone(&identity))));
        if let Err(error) = taken.and_then(|()| self.bind(&connection, &call)) {
            self.calling.connections.remove(&connection.id);
            return Err(error);
        }
        Ok(connection)
    }

    /// Rejects a call that rings.
    pub(crate) fn turn_down(
        self: &Arc<Self>,
        context: &str,
        busy: bool,
    ) -> Result<(), CallingError> {
        let Offered { ring, identity, .. } = self.offered(context)?;
        self.take_ring(&ring, Input::Refuse { identity, busy })
    }

    /// Calls somebody else in place of the one who is called.
    pub(crate) fn redirect(self: &Arc<Self>, context: &str, to: &str) -> Result<(), CallingError> {
        let Offered { ring, identity, .. } = self.offered(context)?;
        self.redirect_ring(&ring, identity, to.into()).map_err(|_| CallingError::NotRinging)
    }

    fn room_for_connection(&self, call: &Call) -> Result<(), CallingError> {
        let most = self.calling.config.connections_per_call;
        if self.connections_of(call).len() >= most {
            return Err(CallingError::ConnectionsOfCall(most));
        }
        Ok(())
    }

    fn take_ring(
        self: &Arc<Self>,
        ring: &Arc<ringing::Call>,
        input: Input<crate::ids::AgentId>,
    ) -> Result<(), CallingError> {
        self.feed(ring, input).map_err(|_| CallingError::NotRinging)
    }
}
