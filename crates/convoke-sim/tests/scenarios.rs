//! Every named scenario and many random ones keep every law.
//!
//! A failure prints the command that repeats it.

use std::sync::atomic::{AtomicU64, Ordering};

use convoke_sim::{ActorSpec, Scenario, moderated, named, names, random, run, run_traced};

/// Random scenarios of one test run.
const SEEDS: u64 = 200;

/// Runs jobs on all cores; panics with all failures.
fn all(count: u64, job: impl Fn(u64) -> Option<String> + Sync) {
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let work = || {
            let mut failures = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return failures;
                }
                failures.extend(job(index));
            }
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|t| t.join().expect("no panic")).collect()
    });
    assert!(failures.is_empty(), "{} runs failed\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn named_scenarios_keep_every_law() {
    let names = names();
    all(names.len() as u64, |index| {
        let name = names[usize::try_from(index).expect("small")];
        let scenario = named(name).expect("in the table");
        let report = run(&scenario, 1);
        assert!(report.received > 0, "{} forwarded nothing", scenario.name);
        report.failure()
    });
}

#[test]
fn random_scenarios_keep_every_law() {
    all(SEEDS, |index| {
        let seed = index + 1;
        run(&random(seed), seed).failure()
    });
}

/// Whatever holds on one worker holds over several.
#[test]
fn named_scenarios_keep_every_law_over_two_workers() {
    let names = names();
    all(names.len() as u64, |index| {
        let name = names[usize::try_from(index).expect("small")];
        run(&named(name).expect("in the table").spanning(2, 0), 1).failure()
    });
}

#[test]
fn calls_over_many_workers_and_over_a_way_that_takes_time_keep_every_law() {
    let random = (1..=60).map(|seed| (random(seed), seed));
    let runs = random.map(|(scenario, seed)| {
        let (span, delay_ms) = [(2, 0), (4, 0), (3, 4)][usize::try_from(seed % 3).expect("small")];
        (scenario.spanning(span, delay_ms), seed)
    });
    let named = ["codecs", "views", "twenty-cameras-sixteen-slots"]
        .map(|name| named(name).expect("in the table"));
    let runs: Vec<_> = runs.chain(named.map(|scenario| (scenario.spanning(4, 0), 1))).collect();
    all(runs.len() as u64, |index| {
        let (scenario, seed) = &runs[usize::try_from(index).expect("small")];
        run(scenario, *seed).failure()
    });
}

#[test]
fn a_failure_says_how_to_repeat_it() {
    let mut report = run(&named("two").expect("in the table"), 9);
    assert_eq!(report.failure(), None);
    report.violations.push("at 1.000s: a law".to_owned());
    let text = report.failure().expect("broken");
    assert!(text.contains("cargo run --release -p convoke-sim -- run --scenario two --seed 9"));
    assert!(text.contains("a law"));
}

/// Random histories of permissions, lobby and removals of one test run.
const MODERATED: u64 = 40;

/// A participant's media flows exactly when the model says that it may, down to packets, whatever
/// its client goes on sending.
#[test]
fn moderated_calls_keep_every_law() {
    let received = AtomicU64::new(0);
    all(MODERATED, |index| {
        let seed = index + 1;
        let report = run(&moderated(seed), seed);
        received.fetch_add(report.received, Ordering::Relaxed);
        report.failure()
    });
    assert!(received.into_inner() > 0, "nothing was forwarded in any of them");
}

/// Seeds that showed faults which are mended, with the shards that each needed.
#[test]
fn seeds_that_showed_faults_keep_every_law() {
    let seeds = [1_105, 1_455, 2_455, 2_843, 3_615, 4_462, 5_821].map(|seed| (seed, 1));
    // Sound and picture that drifted apart while a publisher's queue drained.
    let skewed = [2_212, 3_343, 5_276, 5_375].map(|seed| (seed, 1));
    let spanning = [(194, 2), (569, 2), (918, 2), (960, 2), (1_187, 4), (1_704, 4), (1_030, 2)];
    let runs: Vec<(u64, usize)> = seeds.into_iter().chain(skewed).chain(spanning).collect();
    all(runs.len() as u64, |index| {
        let (seed, span) = runs[usize::try_from(index).expect("small")];
        run(&random(seed).spanning(span, 0), seed).failure()
    });
}

/// The same of scenarios that are not random.
#[test]
fn seeds_of_networks_that_showed_faults_keep_every_law() {
    let runs = [
        // A request for a keyframe that was lost was repeated late, as many had asked before.
        ("loss-20", 1_018),
        ("loss-20", 1_192),
        ("loss-20", 1_301),
        // What an estimator had said before it began anew was averaged with what it said then.
        ("net-2m-deep", 1_003),
        // At first a quarter of a large picture's frames was taken for all of them.
        ("net-1m", 2_081),
        ("net-1m", 2_097),
    ];
    all(runs.len() as u64, |index| {
        let (name, seed) = runs[usize::try_from(index).expect("small")];
        run(&named(name).expect("a scenario"), seed).failure()
    });
}

/// Feedback on padding must not bring more padding: it would go on for ever.
#[test]
fn who_is_idle_is_sent_next_to_nothing() {
    let listener = ActorSpec::viewer();
    let scenario = Scenario::new("idle", vec![listener.clone(), listener]).lasting(20_000);
    let (report, trace) = run_traced(&scenario, 1);
    assert!(report.failure().is_none(), "{:?}", report.failure());
    let padding = |line: &&String| {
        let seconds = line.split('s').next().and_then(|at| at.parse::<f64>().ok());
        line.contains(" down RTP ") && seconds.is_some_and(|at| at > 10.0)
    };
    let sent: Vec<&String> = trace.iter().filter(padding).collect();
    assert!(sent.len() < 10, "{} packets, {:?}", sent.len(), sent.first());
    let alive = trace.iter().filter(|line| line.contains(" down STUN")).count();
    assert!(alive > 10, "they are still there");
}
