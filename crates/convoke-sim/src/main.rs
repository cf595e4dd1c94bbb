//! Runs scenarios and says what they found.
//!
//! Exit status: 0 when every law held, 1 when one was broken, 2 when the command line is wrong.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program that reports to its user")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use clap::{Args, Parser, Subcommand};
use convoke_sim::{Report, names, run, run_traced, scenario};

/// Whole calls in virtual time.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs scenarios.
    Run(Run),
    /// Lists the scenarios.
    List,
    /// Prints what a scenario holds.
    Show {
        /// A name from `list`.
        scenario: String,
        /// For `random`.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Prints everything that goes on its way in one run.
    Trace {
        /// A name from `list`.
        scenario: String,
        /// The seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Workers that each room spans.
        #[arg(long, default_value_t = 1)]
        span: usize,
        /// How long messages between workers are on their way, in milliseconds.
        #[arg(long, default_value_t = 0)]
        relay_delay: u64,
    },
}

#[derive(Debug, Args)]
struct Run {
    /// A name from `list`, `random`, or `all` (each named one, and random ones by seed).
    #[arg(long, default_value = "all")]
    scenario: String,
    /// How many seeds, from `--seed` on.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads; as many as there are cores when absent.
    #[arg(long)]
    threads: Option<usize>,
    /// Workers that each room spans.
    #[arg(long, default_value_t = 1)]
    span: usize,
    /// How long messages between workers are on their way, in milliseconds.
    #[arg(long, default_value_t = 0)]
    relay_delay: u64,
    /// Writes all reports to this file, as a JSON array.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::List => {
            for name in names().into_iter().chain(["random"]) {
                println!("{name}");
            }
            ExitCode::SUCCESS
        }
        Command::Show { scenario: name, seed } => match scenario(&name, seed) {
            Some(scenario) => {
                println!("{scenario:#?}");
                ExitCode::SUCCESS
            }
            None => unknown(&name),
        },
        Command::Trace { scenario: name, seed, span, relay_delay } => match scenario(&name, seed) {
            Some(scenario) => {
                let (report, trace) = run_traced(&scenario.spanning(span, relay_delay), seed);
                println!("{}\n{}", trace.join("\n"), report.line());
                ExitCode::SUCCESS
            }
            None => unknown(&name),
        },
        Command::Run(arguments) => run_all(&arguments),
    }
}

fn run_all(arguments: &Run) -> ExitCode {
    let names: Vec<&str> = match arguments.scenario.as_str() {
        "all" => names().into_iter().chain(["random"]).collect(),
        name if scenario(name, 0).is_some() => vec![name],
        name => return unknown(name),
    };
    let seeds = arguments.seed..arguments.seed.saturating_add(arguments.seeds);
    let jobs: Vec<(&str, u64)> =
        names.iter().flat_map(|name| seeds.clone().map(move |seed| (*name, seed))).collect();
    let reports = run_jobs(&jobs, arguments);
    if let Some(path) = &arguments.json {
        let text = match serde_json::to_string_pretty(&reports) {
            Ok(text) => text,
            Err(error) => return complain(&error),
        };
        if let Err(error) = std::fs::write(path, text) {
            return complain(&error);
        }
    }
    let broken = reports.iter().filter(|r| !r.violations.is_empty()).count();
    println!("{} runs, {broken} broken", reports.len());
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn unknown(name: &str) -> ExitCode {
    eprintln!("unknown scenario {name}; `convoke-sim list` names them");
    ExitCode::from(2)
}

fn complain(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(2)
}

/// Runs everything on some threads, printing each report as it comes.
fn run_jobs(jobs: &[(&str, u64)], arguments: &Run) -> Vec<Report> {
    let Run { threads, span, relay_delay, .. } = *arguments;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(0);
    let mut reports = Vec::with_capacity(jobs.len());
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..threads.unwrap_or(cores).clamp(1, jobs.len().max(1)) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((name, seed)) = usize::try_from(index).ok().and_then(|i| jobs.get(i))
                    else {
                        return;
                    };
                    let Some(scenario) = scenario(name, *seed) else { return };
                    let scenario = scenario.spanning(span, relay_delay);
                    if sender.send(run(&scenario, *seed)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for report in receiver {
            println!("{}", report.line());
            if let Some(failure) = report.failure() {
                println!("{failure}");
            }
            reports.push(report);
        }
    });
    reports
}
