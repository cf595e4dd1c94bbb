//! The control plane over a real node, real sockets and real offers.

mod bad_input;
mod calls;
mod data;
mod http;
mod identities;
mod issuers;
mod permissions;
mod rest;
mod resume;
mod rooms;
mod slow;
mod span;
mod support;
mod webhooks;
