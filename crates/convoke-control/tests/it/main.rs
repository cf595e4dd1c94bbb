//! The control plane over a real node, real sockets and real offers.

mod bad_input;
mod calling;
mod calls;
mod crowds;
mod data;
mod http;
mod identities;
mod issuers;
mod live;
mod lobby;
mod moderation;
mod permissions;
mod rest;
mod rest_bad_input;
mod resume;
mod ringing;
mod rooms;
mod slow;
mod span;
mod sse;
mod support;
mod webhooks;
mod whip;
