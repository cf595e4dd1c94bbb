//! WebSocket close codes of the server (RFC 6455 §7.4; 4000 to 4999 are ours).
//!
//! Owns: the numbers and what each means. `PROTOCOL.md` says what a client does about each.

/// The server stops or restarts (RFC 6455 §7.4.1).
pub const GOING_AWAY: u16 = 1001;
/// A message was larger than the limit (RFC 6455 §7.4.1).
pub const TOO_BIG: u16 = 1009;
/// A binary message came; all messages are text.
pub const NOT_TEXT: u16 = 4400;
/// No `hello` was accepted in time.
pub const NOT_AUTHENTICATED: u16 = 4401;
/// The token was revoked, or its identity deleted.
pub const TOKEN_REVOKED: u16 = 4403;
/// Nothing was heard from the client for twice the ping interval.
pub const PING_TIMEOUT: u16 = 4408;
/// The participant was resumed on a newer WebSocket.
pub const TAKEN_OVER: u16 = 4409;
/// The client read too slowly; it may resume.
pub const SLOW_READER: u16 = 4413;
/// Too many messages in too short a time.
pub const TOO_MANY_MESSAGES: u16 = 4429;

/// Name, code and meaning of each.
pub const ALL: &[(&str, u16, &str)] = &[
    ("GOING_AWAY", GOING_AWAY, "The server stops or restarts."),
    ("TOO_BIG", TOO_BIG, "A message was larger than the limit."),
    ("NOT_TEXT", NOT_TEXT, "A binary message came; all messages are text."),
    ("NOT_AUTHENTICATED", NOT_AUTHENTICATED, "No `hello` was accepted in time."),
    ("TOKEN_REVOKED", TOKEN_REVOKED, "The token was revoked, or its identity deleted."),
    ("PING_TIMEOUT", PING_TIMEOUT, "Nothing was heard from the client for too long."),
    ("TAKEN_OVER", TAKEN_OVER, "The participant was resumed on a newer WebSocket."),
    ("SLOW_READER", SLOW_READER, "The client read too slowly; it may resume."),
    ("TOO_MANY_MESSAGES", TOO_MANY_MESSAGES, "Too many messages in too short a time."),
];
