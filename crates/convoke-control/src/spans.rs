//! Spans of calls, participants and joins, for whoever traces them.
//!
//! Owns: their names and fields. They are never entered: they last as long as what they are of, and no
//! line of the log changes for them.
//! Never: has an identity, a name or an address in a field.

use tracing::{Span, field};

use crate::agent::Via;

/// What exporters know them by.
const TARGET: &str = "convoke::trace";

/// A call, from its first participant to its end.
pub(crate) fn call(id: &str) -> Span {
    tracing::info_span!(target: TARGET, parent: None, "call", call = id)
}

/// One participant's time in a call.
pub(crate) fn participant(call: &Span, call_id: &str, id: &str) -> Span {
    tracing::info_span!(
        target: TARGET, parent: call, "participant",
        call = call_id, participant = id, code = field::Empty, subcode = field::Empty,
    )
}

/// The carrying out of a join by a media worker.
pub(crate) fn join(participant: &Span, via: Via) -> Span {
    let via = match via {
        Via::Agent => "agent",
        Via::Whip => "whip",
        Via::Whep => "whep",
    };
    tracing::info_span!(target: TARGET, parent: participant, "join", via, admitted = field::Empty)
}
