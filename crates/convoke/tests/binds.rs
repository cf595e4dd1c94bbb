//! `media.bind` as a list, through the binary: native clients who can reach one of the addresses each.

mod common;

use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use common::call::{DevServer, GROUP, talking};
use common::convoke;
use convoke::protocol::MediaKind;
use convoke_client::{Call, Client, ClientOptions};

/// Somebody whose sockets are at `bind`.
async fn join(server: &DevServer, identity: &str, bind: IpAddr) -> (Client, Call) {
    let options = ClientOptions {
        connect_timeout: Duration::from_secs(30),
        request_timeout: Duration::from_secs(30),
        bind: Some(bind),
        ..ClientOptions::default()
    };
    let token = server.token(identity);
    let client = Client::connect(&server.url, &token, options).await.expect("connects");
    let call = client.join(GROUP, talking(Instant::now())).await.expect("joins");
    (client, call)
}

/// Waits for sound and pictures, a second of them.
async fn receives(call: &Call) {
    let mut packets = call.packets();
    let (mut sounds, mut pictures) = (0, 0);
    let enough = async {
        while sounds < 50 || pictures < 10 {
            match packets.next().await.expect("the call goes on").kind {
                MediaKind::Audio => sounds += 1,
                MediaKind::Video => pictures += 1,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), enough).await.expect("media comes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_at_each_of_two_addresses_hear_and_see_each_other() {
    // An IPv6 socket reaches no IPv4 address, and the other way round; without IPv6 both reach both.
    let ipv6 = UdpSocket::bind("[::1]:0").is_ok();
    let second = if ipv6 { "::1" } else { "127.0.0.2" };
    let bind = format!("[\"127.0.0.1\", \"{second}\"]");
    let media = [("BIND", bind.as_str()), ("PORT", "0"), ("WORKERS", "1")];
    let media = media.map(|(key, value)| (format!("CONVOKE__MEDIA__{key}"), value));
    let environment = media.each_ref().map(|(key, value)| (key.as_str(), *value));
    let server = DevServer::start_with(&[], &environment);
    let log = server.process.log();
    assert!(log.contains(&format!("bind=127.0.0.1, {second}")), "{log}");
    let (_first, first) = join(&server, "8:acs:first", [127, 0, 0, 1].into()).await;
    let (_other, other) = join(&server, "8:acs:other", second.parse().expect("an address")).await;
    tokio::join!(receives(&first), receives(&other));
}

#[test]
fn an_address_that_this_host_has_not_is_named() {
    let mut command = convoke(["serve", "--dev", "--http", "127.0.0.1:0"]);
    command.env("CONVOKE__MEDIA__BIND", "[\"127.0.0.1\", \"203.0.113.77\"]");
    command.env("CONVOKE__MEDIA__PORT", "0");
    let output = command.output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("media socket 203.0.113.77"), "{said}");
}
