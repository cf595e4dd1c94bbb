//! A client's text, as it comes out of a WebSocket.

use convoke_protocol::{decode_client, encode};

/// Reads `bytes` as a message. What can be read can be written and read again; what cannot gets an
/// error that does not grow with the input.
pub fn signalling(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match decode_client(text) {
        Ok(message) => {
            let written = encode(&message);
            let again = decode_client(&written);
            assert_eq!(again.as_ref(), Ok(&message), "written as {written}");
            assert_eq!(message.request_id(), again.ok().and_then(|m| m.request_id()));
        }
        Err(error) => {
            let reply = error.to_reply();
            assert!(!reply.message.is_empty());
            assert!(reply.message.len() < 2_048, "an error of {} bytes", reply.message.len());
            assert_eq!(reply.request_id, error.request_id());
        }
    }
}
