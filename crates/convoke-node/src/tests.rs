//! The node as its embedder sees it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::{Node, NodeConfig, StartError};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn config() -> NodeConfig {
    let mut config = NodeConfig::new(LOOPBACK, 0);
    config.workers = 1;
    config
}

#[tokio::test]
async fn a_wildcard_alone_cannot_be_advertised() {
    let config = NodeConfig::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let error = Node::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::NothingToAdvertise(_)));
    assert!(error.to_string().contains("0.0.0.0"), "{error}");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let addr = taken.local_addr().unwrap();
    let mut config = config();
    config.port = addr.port();
    let error = Node::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::Bind { addr: named, .. } if named == addr));
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
}

#[tokio::test]
async fn it_starts_and_stops() {
    let (node, mut events) = Node::start(config()).await.unwrap();
    let handle = node.handle();
    let addr: SocketAddr = handle.media_addresses()[0];
    assert_eq!(addr.ip(), LOOPBACK);
    assert_ne!(addr.port(), 0);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(handle.stats()[0].turns > 0);
    node.shutdown().await;
    assert!(events.recv().await.is_none());
    UdpSocket::bind(addr).unwrap();
}
