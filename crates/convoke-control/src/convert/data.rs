//! Data messages between the wire and the core.
//!
//! Owns: base64, the words for reliability and reasons, and what is checked before the core is
//! asked.
//! Never: decides who gets what.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use convoke_node::core::{self, DATA_RECIPIENTS_MAX, DATA_TOPIC_BYTES_MAX};
use convoke_protocol as wire;
use convoke_protocol::{ErrorCode, ServerMessage};

use super::{participant_id, read_participant_id};
use crate::config::millis;
use crate::refusal::Refusal;

fn reliability(reliability: core::Reliability) -> wire::Reliability {
    match reliability {
        core::Reliability::Durable => wire::Reliability::Durable,
        core::Reliability::Lossy => wire::Reliability::Lossy,
    }
}

fn read_reliability(reliability: wire::Reliability) -> core::Reliability {
    match reliability {
        wire::Reliability::Durable => core::Reliability::Durable,
        wire::Reliability::Lossy => core::Reliability::Lossy,
    }
}

/// A client's message. Whoever it names that cannot be a participant is passed over, as strangers
/// are.
pub(crate) fn read_message(data: wire::SendData) -> Result<core::DataMessage, Refusal> {
    let limit =
        |text: String, field: &str| Err(Refusal::new(ErrorCode::LimitExceeded, text).field(field));
    let topic = data.topic.unwrap_or_default();
    if topic.len() > DATA_TOPIC_BYTES_MAX {
        let text = format!("the topic has {} bytes; {DATA_TOPIC_BYTES_MAX} fit", topic.len());
        return limit(text, "topic");
    }
    if let Some(to) = &data.to
        && to.len() > DATA_RECIPIENTS_MAX
    {
        let text = format!("{} recipients; at most {DATA_RECIPIENTS_MAX} can be named", to.len());
        return limit(text, "to");
    }
    let payload = STANDARD.decode(data.payload).map_err(|error| {
        let text = format!("`payload` is no base64 (RFC 4648 §4, with padding): {error}");
        Refusal::new(ErrorCode::MalformedMessage, text).field("payload")
    })?;
    let to = data.to.map(|to| to.iter().filter_map(|id| read_participant_id(id)).collect());
    Ok(core::DataMessage {
        to,
        reliability: read_reliability(data.reliability),
        topic: topic.into(),
        payload: payload.into(),
    })
}

/// What the core refuses, told at its field.
pub(crate) fn refusal(refusal: Refusal) -> Refusal {
    match refusal.code {
        // The core checks nothing else that was not checked before.
        ErrorCode::LimitExceeded => refusal.field("payload"),
        _ => refusal,
    }
}

/// A message as its receivers get it.
pub(crate) fn message(call_id: String, data: &core::DataEvent) -> ServerMessage {
    ServerMessage::Data(wire::Data {
        call_id,
        from: participant_id(data.from),
        reliability: reliability(data.reliability),
        topic: Some(Arc::clone(&data.topic)).filter(|t| !t.is_empty()).map(|t| t.to_string()),
        payload: STANDARD.encode(&data.payload),
    })
}

/// The end of a channel.
pub(crate) fn closed(call_id: String, closed: &core::DataClosed) -> ServerMessage {
    ServerMessage::DataClosed(wire::DataClosed {
        call_id,
        reliability: reliability(closed.reliability),
        reason: match closed.reason {
            core::DataCloseReason::SlowReader => wire::DataCloseReason::SlowReader,
            core::DataCloseReason::TooFast => wire::DataCloseReason::TooFast,
        },
        retry_after_ms: closed.retry_after.map(|wait| millis(whole_millis(wait))),
    })
}

/// Rounded up, so that who waits so long has waited long enough.
pub(crate) fn whole_millis(wait: Duration) -> Duration {
    Duration::from_millis(u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(payload: &str) -> wire::SendData {
        wire::SendData {
            request_id: None,
            call_id: "c".into(),
            to: None,
            reliability: wire::Reliability::Lossy,
            topic: None,
            payload: payload.into(),
        }
    }

    #[test]
    fn only_base64_with_padding_is_a_payload() {
        assert_eq!(&*read_message(sent("aGVsbG8=")).unwrap().payload, b"hello");
        assert!(read_message(sent("")).unwrap().payload.is_empty());
        for bad in ["aGVsbG8", "aGVsbG8=\n", "aGVs bG8=", "_-8=", "=", "ä"] {
            let refusal = read_message(sent(bad)).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::MalformedMessage, "{bad}");
            assert_eq!(refusal.field.as_deref(), Some("payload"));
        }
    }

    #[test]
    fn what_names_nobody_is_passed_over_and_what_is_too_long_is_refused_at_its_field() {
        let with = |to: Vec<String>| wire::SendData { to: Some(to), ..sent("") };
        let names = ["p0000000a", "p0000000A", "p10", "", "t1", "everyone"];
        let read = read_message(with(names.map(str::to_owned).to_vec())).unwrap();
        assert_eq!(read.to, Some(vec![core::ParticipantId(10)]));
        assert_eq!(read_message(with(Vec::new())).unwrap().to, Some(Vec::new()), "nobody");
        assert!(read_message(with(vec!["p1".into(); 255])).is_ok());
        let refusal = read_message(with(vec!["p1".into(); 256])).unwrap_err();
        assert_eq!(refusal.field.as_deref(), Some("to"));
        let topic = |length| wire::SendData { topic: Some("t".repeat(length)), ..sent("") };
        assert!(read_message(topic(64)).is_ok());
        assert_eq!(read_message(topic(65)).unwrap_err().field.as_deref(), Some("topic"));
    }

    #[test]
    fn waiting_times_are_rounded_up() {
        assert_eq!(whole_millis(Duration::from_nanos(1)), Duration::from_millis(1));
        assert_eq!(whole_millis(Duration::from_millis(7)), Duration::from_millis(7));
    }
}
