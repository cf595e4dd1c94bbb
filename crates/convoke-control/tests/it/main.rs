//! The control plane over a real node, real sockets and real offers.

mod bad_input;
mod calls;
mod data;
mod http;
mod lobby;
mod moderation;
mod permissions;
mod resume;
mod ringing;
mod slow;
mod span;
mod support;
