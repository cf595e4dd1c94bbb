use std::collections::BTreeSet;

use convoke_node::{TcpStats, WorkerStats};
use convoke_store::{Lag, Operations};
use prometheus::core::Collector as _;
use prometheus::{Encoder as _, Registry, TextEncoder};

use super::collect::Source;
use super::*;

const TABLE: &str = include_str!("../../METRICS.md");

struct Fake(Counters);

impl Source for &'static Fake {
    fn counters(&self) -> &Counters {
        &self.0
    }
    fn workers(&self) -> Vec<WorkerStats> {
        vec![WorkerStats { busy_permille: 250, ..WorkerStats::default() }; 2]
    }
    fn tcp(&self) -> TcpStats {
        TcpStats { open: 3, ended: [1, 2, 3, 4, 5, 6], ..TcpStats::default() }
    }
    fn gauges(&self) -> (usize, usize) {
        (3, 4)
    }
    fn http_sessions(&self) -> [u64; 2] {
        [5, 6]
    }
    fn calling(&self) -> (usize, [u64; 4]) {
        (1, [1, 2, 3, 4])
    }
    fn kernel_drops(&self) -> Option<u64> {
        Some(6)
    }
    fn store(&self) -> Option<[Operations; 2]> {
        let one = |count| Operations { count, failed: 1, ..Operations::default() };
        Some([one(5), one(7)])
    }
    fn lags(&self) -> Lags {
        let lag = Lag { events: 8, oldest_at: Some(0), dead_letters: 9 };
        vec![("app".into(), lag), ("other".into(), Lag::default())]
    }
    fn is_draining(&self) -> bool {
        true
    }
}

fn fake() -> &'static Fake {
    Box::leak(Box::new(Fake(Counters::default())))
}

fn text(fake: &'static Fake) -> String {
    let registry = Registry::new();
    registry.register(Box::new(Collect::new(fake))).unwrap();
    let mut out = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn names_follow_the_pattern_are_unique_and_stand_in_the_table() {
    let families = Collect::new(fake()).collect();
    let mut seen = BTreeSet::new();
    for family in &families {
        let name = family.name();
        let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
        assert!(name.starts_with("convoke_") && name.split('_').all(word), "{name}");
        assert!(!name.contains("milli") && !name.contains("percent"), "{name}: base units only");
        let counter = family.get_field_type() == prometheus::proto::MetricType::COUNTER;
        assert_eq!(name.ends_with("_total"), counter, "{name}");
        assert!(family.help().ends_with('.'), "{name}");
        assert!(seen.insert(name.to_owned()), "{name} twice");
        let row = format!("\n| `{name}` |");
        assert_eq!(TABLE.matches(&row).count(), 1, "{name} must stand in METRICS.md");
    }
    let rows = TABLE.lines().filter(|line| line.starts_with("| `convoke_")).count();
    assert_eq!(rows, families.len(), "METRICS.md names a metric that is gone");
}

#[test]
fn ob_02_the_number_of_series_does_not_depend_on_what_clients_do() {
    let fake = fake();
    let series = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    let before = series(&text(fake));
    for at in 0..10_000_u64 {
        let code = ErrorCode::ALL[at as usize % ErrorCode::ALL.len()];
        fake.0.error(code);
        fake.0.join(Err(code), Duration::from_millis(at));
        fake.0.join(Ok(()), Duration::from_millis(at));
        fake.0.resume(Err(code));
        fake.0.request("/nowhere/in/particular", u16::try_from(at % 1000).unwrap());
        fake.0.close(u16::try_from(at % 5000).unwrap());
        fake.0.transport(at % 2 == 0, at % 3 == 0);
    }
    let after = text(fake);
    assert_eq!(series(&after), before);
    assert!(after.len() < 100_000, "{} bytes", after.len());
}

#[test]
fn values_come_out_where_they_belong() {
    let fake = fake();
    fake.0.join(Ok(()), Duration::from_millis(30));
    fake.0.join(Ok(()), Duration::from_secs(60));
    fake.0.join(Err(ErrorCode::SdpInvalid), Duration::from_millis(30));
    fake.0.close(convoke_protocol::close::TAKEN_OVER);
    fake.0.close(1000);
    fake.0.transport(true, true);
    fake.0.request("/rooms/1/:x", 404);
    let text = text(fake);
    for line in [
        "convoke_calls 3",
        "convoke_agents 4",
        "convoke_draining 1",
        "convoke_worker_busy_ratio{worker=\"1\"} 0.25",
        "convoke_socket_kernel_drops_total 6",
        "convoke_store_failures_total{kind=\"write\"} 1",
        "convoke_store_operation_seconds_count{kind=\"write\"} 7",
        "convoke_webhook_backlog_events{webhook=\"app\"} 8",
        "convoke_webhook_backlog_seconds{webhook=\"other\"} 0",
        "convoke_webhook_dead_letters{webhook=\"app\"} 9",
        "convoke_rest_requests_total{route=\"rooms\",status=\"4xx\"} 1",
        "convoke_joins_total{outcome=\"ok\"} 2",
        "convoke_joins_total{outcome=\"sdpInvalid\"} 1",
        "convoke_agents_closed_total{reason=\"taken_over\"} 1",
        "convoke_agents_closed_total{reason=\"client\"} 1",
        "convoke_transport_changes_total{role=\"receive\",state=\"connected\"} 1",
        "convoke_join_duration_seconds_bucket{le=\"0.025\"} 0",
        "convoke_join_duration_seconds_bucket{le=\"0.05\"} 1",
        "convoke_join_duration_seconds_bucket{le=\"5\"} 1",
        "convoke_join_duration_seconds_bucket{le=\"+Inf\"} 2",
        "convoke_join_duration_seconds_count 2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn every_close_code_has_its_label() {
    assert_eq!(CLOSES.len(), convoke_protocol::close::ALL.len() + 1);
    for ((name, ..), label) in convoke_protocol::close::ALL.iter().zip(CLOSES) {
        assert_eq!(name.to_ascii_lowercase(), label);
    }
}
