//! A run from end to end, against a server in this process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use convoke::Server;
use convoke::control::{ControlConfig, Key, KeySet, Minter, Secret, TokenRules};
use convoke::node::NodeConfig;
use convoke_loadtest::probe::Probe;
use convoke_loadtest::report::Report;
use convoke_loadtest::run::{Outcome, RunOptions, run};
use convoke_loadtest::scenario::Scenario;
use convoke_loadtest::target::convoke::Convoke;

/// Runs a scenario; gives the report of it, too.
async fn carry_out(text: &str) -> (Outcome, Report) {
    let secret = Secret::random();
    let keys = vec![Key::hs256("main", &secret).expect("a key")];
    let keys = KeySet::new(keys, TokenRules::default()).expect("keys");
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let control = ControlConfig::new(keys);
    let server = Server::start(NodeConfig::new(loopback, 0), control).await.expect("starts");
    let listener = tokio::net::TcpListener::bind((loopback, 0)).await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let service = server.router().into_make_service_with_connect_info::<SocketAddr>();
    let serving = tokio::spawn(async move { axum::serve(listener, service).await });

    let scenario = Arc::new(Scenario::parse("test", text).expect("a scenario"));
    let minter = Minter::hs256("main", &secret).expect("a key");
    let target = Convoke::new(url, minter, loopback);
    let options = RunOptions { threads: 1, progress: false };
    let outcome = run(target, scenario.clone(), Probe::default(), options).await.expect("runs");
    server.stop().await;
    serving.abort();
    let report = Report::new("convoke", "test", &scenario, &outcome);
    (outcome, report)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_calls_of_two_see_and_hear_each_other() {
    let text = "duration = \"4s\"\nwarmup = \"500ms\"\n[calls]\nrooms = 2\nparticipants = 2\n\
                join_over = \"500ms\"\n[view]\ntiles = 1\nvoices = 2\nheight = 360\nnamed = true\n";
    let (outcome, report) = carry_out(text).await;
    let summary = &report.summary;
    assert_eq!((summary.participants_joined, summary.participants_failed), (4, 0));
    assert!(outcome.ledger.errors.is_empty(), "{:?}", outcome.ledger.examples);
    assert!(outcome.figures.frames_decoded > 0 && outcome.figures.audio_packets > 0);
    assert!(summary.first_frame_ms_p95.is_some() && summary.forward_delay_ms_p99.is_some());
    assert_eq!(outcome.figures.damaged, 0);
    assert!(outcome.figures.frames_as_wished > 0, "the wished size reaches the tile");
    assert_eq!(report.server.forwarded_counted_by, "callers");
    assert_eq!(summary.server_cpu_ns_per_forwarded_packet, None, "no process was named");
    assert!(report.timeline.len() >= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn churn_storms_and_bad_paths_are_survived_and_counted() {
    let text = "duration = \"5s\"\nwarmup = \"500ms\"\n[calls]\nparticipants = 3\n\
                join_over = \"300ms\"\n[video]\nfps = 15\n[view]\ntiles = 2\n[churn]\nshare = 0.5\n\
                stay = \"1s\"\naway = \"200ms\"\n[storm]\njoins = 3\nover = \"1s\"\n\
                [[impair]]\nshare = 0.4\nloss = 0.05\ndelay = \"20ms\"\n";
    let (outcome, report) = carry_out(text).await;
    assert_eq!(report.summary.participants_joined, 6);
    assert!(outcome.ledger.errors.is_empty(), "{:?}", outcome.ledger.examples);
    assert!(outcome.figures.impaired_up + outcome.figures.impaired_down > 0);
    assert!(outcome.ledger.joins >= 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_fails_everyone() {
    let text = "duration = \"1s\"\nwarmup = \"0s\"\n[calls]\nparticipants = 2\n\
                join_over = \"100ms\"\n";
    let scenario = Arc::new(Scenario::parse("test", text).expect("a scenario"));
    let minter = Minter::hs256("main", &Secret::random()).expect("a key");
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    // Nothing listens on port 1.
    let target = Convoke::new("http://127.0.0.1:1/".to_owned(), minter, loopback);
    let options = RunOptions { threads: 1, progress: false };
    let outcome = run(target, scenario, Probe::default(), options).await.expect("runs");
    assert_eq!((outcome.ledger.joined.len(), outcome.ledger.failed.len()), (0, 2));
    assert!(!outcome.invalid.is_empty(), "no media reached anybody");
}
