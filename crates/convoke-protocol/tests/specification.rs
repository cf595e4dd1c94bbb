//! `PROTOCOL.md` must say what the types say.
//!
//! Every JSON block in it is a message (or a list of them under a heading that says who sends it),
//! is understood, and says nothing that the types do not know. Every message type, error code and
//! close code stands in it.

use convoke_protocol::{
    ClientMessage, ErrorCode, ServerMessage, close, decode_client, decode_server, encode,
};
use serde_json::Value;

const TEXT: &str = include_str!("../PROTOCOL.md");

/// The fenced blocks marked `json client` or `json server`.
fn examples() -> Vec<(bool, String)> {
    let mut found = Vec::new();
    let mut lines = TEXT.lines();
    while let Some(line) = lines.next() {
        let from_client = match line.trim() {
            "```json client" => true,
            "```json server" => false,
            other => {
                assert!(
                    !other.starts_with("```json"),
                    "a JSON block without its direction: {other}"
                );
                continue;
            }
        };
        let body: Vec<&str> = lines.by_ref().take_while(|l| l.trim() != "```").collect();
        found.push((from_client, body.join("\n")));
    }
    found
}

/// Every field of `example` must be in `again`: else the types do not know it.
fn assert_known(example: &Value, again: &Value, path: &str) {
    match (example, again) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in a {
                let path = format!("{path}.{key}");
                assert_known(
                    value,
                    b.get(key).unwrap_or_else(|| panic!("{path} is unknown")),
                    &path,
                );
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{path}");
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                assert_known(a, b, &format!("{path}[{i}]"));
            }
        }
        (a, b) => assert_eq!(a, b, "{path}"),
    }
}

#[test]
fn every_example_is_a_message_and_every_message_has_an_example() {
    let (mut client, mut server) = (Vec::new(), Vec::new());
    for (from_client, text) in examples() {
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let name = value["type"].as_str().expect("type").to_owned();
        let again = if from_client {
            client.push(name);
            encode(&decode_client(&text).unwrap_or_else(|e| panic!("{e}: {text}")))
        } else {
            server.push(name);
            encode(&decode_server(&text).unwrap_or_else(|e| panic!("{e}: {text}")))
        };
        assert_known(&value, &serde_json::from_str(&again).expect("JSON"), "");
    }
    for name in ClientMessage::TYPES {
        assert!(client.iter().any(|seen| seen == name), "no example of `{name}`");
    }
    for name in ServerMessage::TYPES {
        assert!(server.iter().any(|seen| seen == name), "no example of `{name}`");
    }
}

#[test]
fn every_error_code_and_close_code_stands_in_a_table() {
    for code in ErrorCode::ALL {
        let name = serde_json::to_value(code).expect("JSON");
        let row = format!("\n| `{}` |", name.as_str().expect("text"));
        assert_eq!(TEXT.matches(&row).count(), 1, "{row}");
    }
    for (_, code, _) in close::ALL {
        assert_eq!(TEXT.matches(&format!("\n| {code} |")).count(), 1, "{code}");
    }
}

#[test]
fn every_end_reason_stands_in_the_table() {
    for reason in convoke_protocol::EndReason::all() {
        let row = format!("| {} | {} |", reason.code, reason.sub_code);
        assert_eq!(TEXT.matches(&row).count(), 1, "{row}");
    }
}
