//! Running scenarios under valgrind, and comparing with what was committed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::scenarios::SCENARIOS;

/// In percent: what a count may differ from the committed one. Keys, SSRCs and hash seeds are random.
const BAND: f64 = 4.0;

fn baseline() -> PathBuf {
    let name = if cfg!(debug_assertions) { "tests.txt" } else { "release.txt" };
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions").join(name)
}

/// Instructions for a unit of `name`.
fn count(name: &str) -> f64 {
    let out = std::env::temp_dir().join(format!("convoke-{}-{name}.callgrind", std::process::id()));
    let program = std::env::current_exe().expect("a path");
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*measured_turn*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .args(["--scenario", name])
        .output()
        .expect("valgrind runs; on Debian: apt-get install valgrind");
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&run.stderr));
    let units: f64 = said.split(' ').next().and_then(|n| n.trim().parse().ok()).expect("units");
    let profile = fs::read_to_string(&out).expect("a profile");
    let _ = fs::remove_file(&out);
    let total = profile.lines().find_map(|line| line.strip_prefix("totals: ")).expect("totals");
    total.trim().parse::<f64>().expect("a number") / units
}

fn counts() -> Vec<(&'static str, &'static str, f64)> {
    let one = |(name, unit)| std::thread::spawn(move || (name, unit, count(name)));
    let runs: Vec<_> = SCENARIOS.into_iter().map(one).collect();
    runs.into_iter().map(|run| run.join().expect("counts")).collect()
}

/// Writes what is counted now.
pub(crate) fn save() -> ExitCode {
    let counts = counts();
    let lines = counts.iter().map(|(name, unit, count)| format!("{name} {count:.0} # a {unit}\n"));
    fs::write(baseline(), lines.collect::<String>()).expect("writable");
    report(&counts)
}

/// Tells what one scenario takes.
pub(crate) fn tell(name: &str) -> ExitCode {
    println!("{name} {:.0}", count(name));
    ExitCode::SUCCESS
}

/// Compares what is counted now with what was committed.
pub(crate) fn check() -> ExitCode {
    report(&counts())
}

fn report(counts: &[(&str, &str, f64)]) -> ExitCode {
    let text = fs::read_to_string(baseline()).unwrap_or_default();
    let committed: BTreeMap<&str, f64> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, rest)| Some((name, rest.split(' ').next()?.parse().ok()?)))
        .collect();
    let mut good = true;
    println!("{:<14}{:>14}{:>14}{:>9}  instructions for a", "", "committed", "now", "change");
    for (name, unit, count) in counts {
        let known = committed.get(name).copied().unwrap_or(0.0);
        let change = (count / known - 1.0) * 100.0;
        good &= change.abs() <= BAND;
        println!("{name:<14}{known:>14.0}{count:>14.0}{change:>8.1}%  {unit}");
    }
    if good {
        return ExitCode::SUCCESS;
    }
    println!("More than {BAND} % off. Where that is meant: `make bench-instructions-save`.");
    ExitCode::FAILURE
}
