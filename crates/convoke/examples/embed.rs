//! Group calls inside a program of one's own: `cargo run -p convoke --example embed`.
//!
//! The program decides who may call, and hands out tokens; Convoke is nested below `/calls`.

#![expect(clippy::print_stdout, reason = "a program that talks to its user")]

use std::time::SystemTime;

use axum::extract::Path;
use axum::{Router, routing::get};
use convoke::control::{ControlConfig, Key, KeySet, Minter, Secret, TokenRequest, TokenRules};
use convoke::{Server, node::NodeConfig};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secret = Secret::random();
    let keys = KeySet::new(vec![Key::hs256("main", &secret)?], TokenRules::default())?;
    let media = NodeConfig::new([127, 0, 0, 1].into(), 0);
    let server = Server::start(media, ControlConfig::new(keys)).await?;

    let minter = Minter::hs256("main", &secret)?;
    let token = async move |Path(who): Path<String>| {
        minter.mint(&TokenRequest::new(who), SystemTime::now()).map_err(|error| error.to_string())
    };
    let app = Router::new().route("/token/{who}", get(token)).nest("/calls", server.router());

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("try http://{}/calls/", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
