//! Convoke: group calls inside any tokio program.
//!
//! Owns: [`Server`], which ties a media node to its control plane, and the names under which an
//! embedding program finds everything else.
//! Never: reads a configuration, the command line or signals; the binary does.
//!
//! ```no_run
//! use convoke::Server;
//! use convoke::control::{ControlConfig, Key, KeySet, Secret, TokenRules};
//! use convoke::node::NodeConfig;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let key = Key::hs256("main", &Secret::random())?;
//! let control = ControlConfig::new(KeySet::new(vec![key], TokenRules::default())?);
//! let media = NodeConfig::new([127, 0, 0, 1].into(), 0);
//! let server = Server::start(media, control).await?;
//! let app = axum::Router::new().nest("/calls", server.router());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! axum::serve(listener, app).await?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod server;

pub use convoke_control as control;
pub use convoke_node as node;
pub use convoke_protocol as protocol;
pub use server::{Drained, Server};

/// The code in `docs/embedding.md`, compiled as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/embedding.md")]
struct Embedding;
