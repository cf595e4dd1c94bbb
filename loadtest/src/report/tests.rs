//! The report's shape: what others read must stay where it is.

use super::*;

fn sample() -> Report {
    let text = "duration = \"5s\"\n[calls]\nparticipants = 2\n[expect]\nfreezes_max = 0\n\
                server_rss_bytes_max = 1\nparticipants_joined_min = 1\n";
    let scenario = Scenario::parse("sample", text).expect("a scenario");
    let mut outcome = Outcome { seconds: 2.0, ..Outcome::default() };
    outcome.ledger.joined.insert(0);
    outcome.figures.video_delay.add(2_000);
    outcome.figures.received_packets = 10;
    outcome.figures.missing = -3;
    outcome.server.forwarded_packets = 20;
    outcome.timeline = vec![Second { at: 1.0, seconds: 1.0, ..Second::default() }];
    outcome.ledger.errors.insert("refused", 2);
    outcome.ledger.examples.insert("refused", "<busy>".to_owned());
    Report::new("convoke", "sample", &scenario, &outcome)
}

#[test]
fn the_summary_has_the_promised_names() {
    let value = serde_json::to_value(sample().summary).expect("JSON");
    let mut names: Vec<&str> =
        value.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    let mut promised = [
        "participants_joined",
        "participants_failed",
        "join_ms_p95",
        "first_frame_ms_p95",
        "forward_delay_ms_p50",
        "forward_delay_ms_p99",
        "freezes",
        "audio_gaps",
        "server_lost_packets",
        "forwarded_packets_per_second",
        "server_cpu_ns_per_forwarded_packet",
        "server_cpu_cores",
        "server_rss_bytes",
        "server_rss_bytes_per_participant",
        "server_rss_growth",
        "valid",
    ];
    promised.sort_unstable();
    assert_eq!(names, promised);
    assert_eq!(value["forwarded_packets_per_second"], 10.0);
    assert_eq!(value["server_lost_packets"], 0, "what came late makes no negative loss");
    assert!(value["server_rss_bytes"].is_null(), "not measured is null, not 0");
    assert!(value["server_rss_bytes_per_participant"].is_null(), "nor is what would come of it");
}

#[test]
fn the_parts_of_the_report_stay_where_they_are_and_are_documented() {
    let value = serde_json::to_value(sample()).expect("JSON");
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).expect("README.md");
    for name in value.as_object().expect("an object").keys() {
        assert!(readme.contains(&format!("`{name}`")), "README.md says nothing of `{name}`");
    }
    for name in SUMMARY {
        assert!(readme.contains(&format!("`{name}`")), "README.md says nothing of `{name}`");
    }
    for pointer in [
        "/schema",
        "/media/video_delay_ms/p99",
        "/media/av_skew_ms/p50",
        "/loss/server",
        "/server/forwarded_counted_by",
        "/server/datagrams_per_send_call",
        "/harness/invalid",
        "/timeline/0/delay_ms_p99",
        "/joins/errors/refused",
        "/machine/processors",
    ] {
        assert!(value.pointer(pointer).is_some(), "{pointer}");
    }
    assert_eq!(value["schema"], SCHEMA);
}

#[test]
fn bounds_of_what_was_not_measured_do_not_hold() {
    let report = sample();
    let holds: BTreeMap<&str, bool> =
        report.expectations.iter().map(|v| (v.name.as_str(), v.holds)).collect();
    assert!(holds["freezes_max"]);
    assert!(holds["participants_joined_min"]);
    assert!(!holds["server_rss_bytes_max"]);
    assert!(!report.holds());
}

#[test]
fn the_page_needs_nothing_else_and_escapes_what_it_shows() {
    let report = sample();
    let page = page(&[&report, &report], &[("janus".to_owned(), "<none>".to_owned())]);
    assert!(
        page.contains("<svg") && page.contains("&lt;busy&gt;") && page.contains("&lt;none&gt;")
    );
    for word in ["http://", "https://", "<script", "<link", "src=", "url("] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn both_files_are_written() {
    let unique = format!("convoke-loadtest-report-{}", std::process::id());
    let folder = std::env::temp_dir().join(unique);
    sample().write(&folder).expect("written");
    let json = std::fs::read_to_string(folder.join("report.json")).expect("report.json");
    let value: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(value["target"], "convoke");
    assert!(folder.join("report.html").is_file());
    _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn a_comparison_has_one_summary_for_each_target_and_names_the_absent() {
    let mut comparison = Comparison::new("sample");
    comparison.add(sample());
    comparison.add_absent("janus", "not installed".to_owned());
    let value = serde_json::to_value(&comparison).expect("JSON");
    assert!(value.pointer("/targets/convoke/summary/freezes").is_some_and(Value::is_u64));
    assert_eq!(value.pointer("/targets/convoke/status"), Some(&Value::from("measured")));
    assert_eq!(value.pointer("/targets/janus/reason"), Some(&Value::from("not installed")));
    assert_eq!(comparison.reports().len(), 1);
}

#[test]
fn memory_that_grows_is_told_from_memory_that_was_asked_for_at_first() {
    let scenario = Scenario::parse("s", "duration = \"5s\"\n[calls]\nparticipants = 2\n");
    let scenario = scenario.expect("a scenario");
    let growth = |seconds: u32, rss: fn(u64) -> u64| {
        let second = |at| Second {
            at: f64::from(at),
            server_rss: Some(rss(u64::from(at))),
            ..Second::default()
        };
        let outcome = Outcome {
            from: 10.0,
            timeline: (0..seconds).map(second).collect(),
            ..Outcome::default()
        };
        Report::new("convoke", "s", &scenario, &outcome).summary.server_rss_growth
    };
    assert_eq!(growth(610, |at| if at < 100 { at } else { 1_000 }), Some(0.0));
    let leak = growth(610, |at| 1_000_000 + at * 1_000).expect("measured");
    assert!((0.2..0.4).contains(&leak), "300 s at 1 kB/s, of a megabyte and a bit: {leak}");
    // One peak is no growth.
    assert_eq!(growth(610, |at| if at == 600 { 9_000 } else { 1_000 }), Some(0.0));
    assert_eq!(growth(100, |_| 1_000), None, "too short to tell");
}
