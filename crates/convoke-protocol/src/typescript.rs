//! The web SDK's protocol types, generated from the Rust ones.
//!
//! Owns: the text of `clients/web/src/generated/protocol.ts`, and the list of types in it.
//! Never: writes files; `tests/typescript.rs` compares and, when asked, rewrites.

use std::fmt::Write as _;

use ts_rs::{Config, TS};

use crate::{
    AcceptCall, Ack, Admit, Answer, Capabilities, CapabilitiesChanged, Capability,
    CapabilityReason, ClientMessage, Connection, Data, DataCloseReason, DataClosed, Demand,
    Encoding, EncodingDemand, EncodingExplanation, EndReason, Ended, ErrorCode, ErrorReply,
    Explain, Explained, Explanation, Follow, Hello, IceServer, InLobby, IncomingCall,
    IncomingCallEnded, Join, Joined, Layer, Leave, Limits, LobbyParticipant,
    LobbyParticipantsUpdated, LobbyPolicy, LowerHands, MediaKind, Moved, Mute, MuteParticipants,
    MutedByOthers, OfferMessage, PROTOCOL_VERSION, Participant, ParticipantJoined, ParticipantLeft,
    ParticipantUpdated, Ping, Pong, Publish, RaiseHand, RaisedHandsChanged, Reject, RejectCall,
    Reliability, RemoveParticipant, Resume, Resumed, RingState, RingTarget, RingUpdated, Role,
    RoleChanged, SUBPROTOCOL, Scope, SendData, ServerMessage, SessionDescription, SetRole, Slot,
    SlotExplanation, SlotReason, SlotState, SlotWish, SlotsChanged, Snapshot, Source, Speakers,
    SpotlightChanged, StartCall, StartSpotlight, StopSpotlight, Track, TrackDeclaration,
    TrackExplanation, TrackPublished, TrackUnpublished, TrackUpdated, TransportRole, Unpublish,
    ViewMessage, Welcome, close,
};

const HEADER: &str = "\
// Generated from crates/convoke-protocol; do not edit.
// To generate anew: UPDATE_TYPESCRIPT=1 cargo test -p convoke-protocol --test typescript
";

/// The whole TypeScript file.
#[must_use]
pub fn generate() -> String {
    let mut out = String::from(HEADER);
    constants(&mut out);
    media_types(&mut out);
    people_types(&mut out);
    out
}

macro_rules! types {
    ($out:ident, $($t:ty),* $(,)?) => { $( declare::<$t>($out); )* };
}

/// Joining, media, data and explanations.
fn media_types(out: &mut String) {
    types!(
        out,
        ClientMessage,
        ServerMessage,
        Hello,
        Join,
        Resume,
        OfferMessage,
        Publish,
        Unpublish,
        Mute,
        ViewMessage,
        Explain,
        SendData,
        Leave,
        Ping,
        Welcome,
        Joined,
        Resumed,
        Snapshot,
        Answer,
        Ack,
        Pong,
        ParticipantJoined,
        ParticipantLeft,
        ParticipantUpdated,
        TrackPublished,
        TrackUnpublished,
        TrackUpdated,
        SlotsChanged,
        Demand,
        Explained,
        Speakers,
        Data,
        DataClosed,
        DataCloseReason,
        Reliability,
        Ended,
        EndReason,
        ErrorReply,
        ErrorCode,
        Participant,
        Track,
        TrackDeclaration,
        Encoding,
        EncodingDemand,
        Slot,
        SlotState,
        SlotReason,
        Layer,
        SlotWish,
        Follow,
        SessionDescription,
        TransportRole,
        MediaKind,
        Source,
        Connection,
        Scope,
        Limits,
        IceServer,
        Explanation,
        SlotExplanation,
        TrackExplanation,
        EncodingExplanation,
    );
}

/// Roles, moderation, the lobby and ringing.
fn people_types(out: &mut String) {
    types!(
        out,
        SetRole,
        MuteParticipants,
        RemoveParticipant,
        StartSpotlight,
        StopSpotlight,
        RaiseHand,
        LowerHands,
        Admit,
        Reject,
        StartCall,
        AcceptCall,
        RejectCall,
        InLobby,
        RoleChanged,
        CapabilitiesChanged,
        SpotlightChanged,
        RaisedHandsChanged,
        LobbyParticipantsUpdated,
        LobbyParticipant,
        LobbyPolicy,
        MutedByOthers,
        Moved,
        Role,
        Capabilities,
        Capability,
        CapabilityReason,
        IncomingCall,
        IncomingCallEnded,
        RingUpdated,
        RingTarget,
        RingState,
    );
}

fn constants(out: &mut String) {
    let mut constant = |doc: &str, name: &str, value: &dyn std::fmt::Display| {
        let _ = write!(out, "\n/** {doc} */\nexport const {name} = {value};\n");
    };
    constant("Sent in `hello`.", "PROTOCOL_VERSION", &PROTOCOL_VERSION);
    constant("The WebSocket subprotocol.", "SUBPROTOCOL", &format_args!("\"{SUBPROTOCOL}\""));
    out.push_str("\n/** WebSocket close codes of the server. */\nexport const CLOSE = {\n");
    for (name, code, doc) in close::ALL {
        let _ = write!(out, "  /** {doc} */\n  {name}: {code},\n");
    }
    out.push_str("} as const;\n");
}

fn declare<T: TS>(out: &mut String) {
    out.push('\n');
    for line in lay_out(&T::docs().unwrap_or_default()) {
        let _ = writeln!(out, "{line}");
    }
    let declaration = T::decl(&Config::new());
    let mut lines = lay_out(&declaration);
    if let [line] = lines.as_mut_slice() {
        // A union of names or messages: one alternative a line.
        *line = line.replace(" | ", "\n  | ").replacen(" = ", " =\n  | ", 1);
    }
    let _ = writeln!(out, "export {}", lines.join("\n"));
}

/// Lays out what ts-rs writes: fields indented, short comments on one line, no rustdoc links.
fn lay_out(text: &str) -> Vec<String> {
    let plain = text.replace("[`crate::", "`").replace("[`", "`").replace("`]", "`");
    let plain = plain.replace(", };", ",\n};");
    let mut lines: Vec<String> = Vec::new();
    let mut inside = false;
    for line in plain.lines().map(str::trim_end) {
        inside &= line != "};";
        let indent = if inside { "  " } else { "" };
        match lines.as_mut_slice() {
            // Three lines of comment become one.
            [.., open, only] if line == " */" && open.trim() == "/**" => {
                let words = only.trim().trim_start_matches("* ").to_owned();
                let at = open.find('/').unwrap_or(0);
                let joined = format!("{}/** {words} */", " ".repeat(at));
                lines.truncate(lines.len() - 2);
                lines.push(joined);
            }
            _ => lines.push(format!("{indent}{line}")),
        }
        inside |= line.ends_with("= {");
    }
    lines
}
