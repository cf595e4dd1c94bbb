use proptest::prelude::*;

use super::*;
use crate::{Ack, Hello, Join};

fn error(text: &str) -> DecodeError {
    decode_client(text).expect_err(text)
}

#[test]
fn what_is_not_a_json_object_is_said_to_be_none() {
    for text in ["", "hello", "{", "{\"type\":\"ping\"} x", "\u{0}", "{'type':'ping'}"] {
        assert!(matches!(error(text), DecodeError::NotJson { .. }), "{text:?}");
    }
    for (text, found) in
        [("null", "null"), ("[]", "an array"), ("\"ping\"", "a string"), ("3", "a number")]
    {
        assert_eq!(error(text), DecodeError::NotObject { found }, "{text}");
    }
    assert_eq!(error("[]").to_reply().code, ErrorCode::MalformedMessage);
}

#[test]
fn deep_nesting_is_refused_and_does_not_overflow() {
    let text = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(error(&text), DecodeError::NotJson { .. }));
}

#[test]
fn a_missing_type_names_the_field_and_keeps_the_request() {
    let found = error(r#"{"requestId":7}"#);
    assert_eq!(found, DecodeError::NoType { request_id: Some(7) });
    assert_eq!(found.to_reply().field.as_deref(), Some("type"));
    assert_eq!(error(r#"{"type":3}"#), DecodeError::NoType { request_id: None });
}

#[test]
fn an_unknown_type_names_its_nearest_neighbour() {
    let found = error(r#"{"type":"unpubish","requestId":9}"#);
    assert_eq!(found.to_string(), "unknown type `unpubish`; did you mean `unpublish`?");
    assert_eq!(found.request_id(), Some(9));
    assert_eq!(found.to_reply().code, ErrorCode::UnknownType);
    assert_eq!(error(r#"{"type":"xyzzy"}"#).to_string(), "unknown type `xyzzy`");
    let long = format!(r#"{{"type":"{}"}}"#, "\u{e4}".repeat(100_000));
    assert!(error(&long).to_string().len() < 128);
}

#[test]
fn a_bad_field_is_named_by_its_path() {
    for (text, path, reason) in [
        (r#"{"type":"hello","protocol":1}"#, "token", "is missing"),
        (r#"{"type":"hello","protocol":-1,"token":""}"#, "protocol", "invalid value"),
        (r#"{"type":"hello","protocol":"1","token":""}"#, "protocol", "invalid type"),
        (r#"{"type":"join","groupId":"x","send":{}}"#, "send.sdp", "is missing"),
        (r#"{"type":"join","groupId":"x","send":{"sdp":4}}"#, "send.sdp", "invalid type"),
        (
            r#"{"type":"join","groupId":"x","tracks":[{"clientId":"a","source":"nose","mid":"0"}]}"#,
            "tracks[0].source",
            "unknown variant `nose`",
        ),
        (
            r#"{"type":"join","groupId":"x","tracks":[{"clientId":"a","source":"camera"}]}"#,
            "tracks[0].mid",
            "is missing",
        ),
        (r#"{"type":"ping","requestId":4294967296}"#, "requestId", "invalid value"),
    ] {
        let DecodeError::Field { path: found, reason: why, .. } = error(text) else {
            panic!("{text}");
        };
        assert_eq!(found, path, "{text}");
        assert!(why.starts_with(reason), "{text}: {why}");
    }
}

#[test]
fn a_long_wrong_value_is_not_echoed_whole() {
    let text = format!(r#"{{"type":"hello","token":"t","protocol":"{}"}}"#, "x".repeat(100_000));
    assert!(error(&text).to_string().len() < 600);
}

#[test]
fn unknown_fields_are_ignored() {
    let text = r#"{"type":"join","groupId":"g","colour":{"of":["sky"]},"requestId":1}"#;
    let want = Join {
        request_id: Some(1),
        group_id: "g".into(),
        room_id: None,
        send: None,
        receive: None,
        tracks: Vec::new(),
        lobby: None,
    };
    assert_eq!(decode_client(text), Ok(ClientMessage::Join(want)));
}

#[test]
fn null_is_as_good_as_absent_for_optional_fields() {
    let text = r#"{"type":"hello","protocol":1,"token":"t","displayName":null,"requestId":null}"#;
    let want = Hello {
        request_id: None,
        protocol: 1,
        token: "t".into(),
        display_name: None,
        user_agent: None,
    };
    assert_eq!(decode_client(text), Ok(ClientMessage::Hello(want)));
}

#[test]
fn the_type_comes_first_and_absent_fields_are_not_written() {
    assert_eq!(encode(&ServerMessage::Ack(Ack { request_id: None })), r#"{"type":"ack"}"#);
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,200}") {
        let _ = decode_client(&text);
        let _ = decode_server(&text);
    }

    #[test]
    fn no_object_panics(name in "(hello|join|view|offer|resume)", key in "[a-zA-Z]{1,9}", value in "(null|1|-1|1e300|\"x\"|\\[\\]|\\{\\}|true)") {
        let _ = decode_client(&format!(r#"{{"type":"{name}","{key}":{value}}}"#));
    }

    #[test]
    fn what_is_written_is_read_back(protocol: u32, token in ".{0,40}", name in proptest::option::of(".{0,40}")) {
        let message = ClientMessage::Hello(Hello {
            request_id: Some(protocol),
            protocol,
            token,
            display_name: name,
            user_agent: None,
        });
        prop_assert_eq!(decode_client(&encode(&message)), Ok(message));
    }
}
