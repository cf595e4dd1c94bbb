//! `convoke-loadtest`: the command line.
//!
//! Owns: options, what is refused, exit codes.
//! Never: measures.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program that reports to its user")]

use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use convoke_loadtest::key::minter;
use convoke_loadtest::probe::Probe;
use convoke_loadtest::report::Report;
use convoke_loadtest::run::{Outcome, RunOptions, run};
use convoke_loadtest::scenario::{SHIPPED, Scenario};
use convoke_loadtest::server::Server;
use convoke_loadtest::target::convoke::Convoke;

const EXIT_CODES: &str = "\
Exit codes:
  0  done, and everything was as the scenario expects
  1  something failed while running
  2  the command line or the scenario is wrong
  3  a bound of the scenario does not hold
  4  the load test was at its own limit: the figures are not valid";

/// Measures a server with many simulated callers.
#[derive(Debug, Parser)]
#[command(name = "convoke-loadtest", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Carries out a scenario and writes a report
    Run(RunArgs),
    /// Lists the scenarios that come with the load test, or prints one
    Scenarios {
        /// The scenario to print
        name: Option<String>,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// A scenario file, or the name of a shipped one
    scenario: PathBuf,
    /// The server's URL; without it one is started
    #[arg(long, value_name = "URL", requires = "key_file")]
    target: Option<String>,
    /// dev.json of the server, or a key as made by `convoke token key`
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The key's name in the server's configuration, where the file does not tell
    #[arg(long, default_value = "main")]
    kid: String,
    /// The server's metrics, where the file does not tell
    #[arg(long, value_name = "URL")]
    metrics_url: Option<String>,
    /// The server's process, where it is on this machine
    #[arg(long)]
    pid: Option<u32>,
    /// Load goes to loopback only, unless this names the target's host
    #[arg(long, value_name = "HOST")]
    i_own_this_target: Option<String>,
    /// The server to start; otherwise CONVOKE_BIN, or the one beside this program
    #[arg(long, value_name = "FILE")]
    server_binary: Option<PathBuf>,
    /// Where report.json and report.html go
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Threads for the callers' media
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// No progress bar
    #[arg(long)]
    quiet: bool,
}

/// What went wrong, with its exit code.
struct Failure(u8, String);

impl Failure {
    fn usage(what: impl ToString) -> Self {
        Self(2, what.to_string())
    }

    fn running(what: impl ToString) -> Self {
        Self(1, what.to_string())
    }
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new("warn,str0m=error,dimpl=error"))
        .with_writer(std::io::stderr)
        .init();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = match (Cli::parse().command, runtime) {
        (Command::Scenarios { name }, _) => scenarios(name.as_deref()),
        (Command::Run(args), Ok(runtime)) => runtime.block_on(command_run(args)),
        (_, Err(error)) => Err(Failure::running(error)),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(Failure(code, what)) => {
            eprintln!("convoke-loadtest: {what}");
            ExitCode::from(code)
        }
    }
}

fn scenarios(name: Option<&str>) -> Result<u8, Failure> {
    let Some(name) = name else {
        for (name, text) in SHIPPED {
            let scenario = Scenario::parse(name, text).map_err(Failure::running)?;
            println!("{name:<10}{}", scenario.description.split('\n').next().unwrap_or_default());
        }
        return Ok(0);
    };
    let found = SHIPPED.iter().find(|(known, _)| *known == name);
    let (_, text) = found.ok_or_else(|| Failure::usage(format!("no scenario {name}")))?;
    print!("{text}");
    Ok(0)
}

/// Refuses hosts that are not this machine and that nobody vouched for.
fn check_host(url: &str, vouched: Option<&str>) -> Result<(), Failure> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    if vouched == Some(host) {
        return Ok(());
    }
    let resolved = (host.trim_matches(['[', ']']), 0).to_socket_addrs();
    let addresses: Vec<IpAddr> = resolved.into_iter().flatten().map(|a| a.ip()).collect();
    if !addresses.is_empty() && addresses.iter().all(IpAddr::is_loopback) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "--target: {host} is not this machine; if it is yours to load, add --i-own-this-target {host}"
    )))
}

async fn command_run(args: RunArgs) -> Result<u8, Failure> {
    let (name, scenario) = Scenario::load(&args.scenario).map_err(Failure::usage)?;
    // Two sockets for each participant, and what else a process needs.
    let files = scenario.participants() as u64 * 4 + 1_024;
    if rlimit::increase_nofile_limit(files).unwrap_or(0) < files {
        return Err(Failure::running(format!(
            "the system allows fewer than {files} open files; raise `ulimit -n`"
        )));
    }
    let outcome = measure_convoke(&args, Arc::new(scenario.clone())).await?;
    let report = Report::new("convoke", &name, &scenario, &outcome);
    tell(&report);
    if let Some(folder) = &args.report {
        report.write(folder).map_err(|error| Failure::running(format!("--report: {error}")))?;
        println!("report: {}", folder.join("report.html").display());
    }
    Ok(verdict(&report))
}

async fn measure_convoke(args: &RunArgs, scenario: Arc<Scenario>) -> Result<Outcome, Failure> {
    let mut own = None;
    let (url, signer, mut probe) = match (&args.target, &args.key_file) {
        (Some(url), Some(file)) => {
            check_host(url, args.i_own_this_target.as_deref())?;
            let signer = minter(file, &args.kid).map_err(Failure::usage)?;
            let told = convoke_loadtest::key::DevFile::read(file).ok();
            let metrics_url = told.and_then(|told| told.metrics_url);
            (url.clone(), signer, Probe { metrics_url, ..Probe::default() })
        }
        _ => {
            let workers = scenario.server.workers.map(|count| count.0);
            let starting = Server::start(args.server_binary.as_deref(), workers);
            let server = own.insert(starting.await.map_err(Failure::running)?);
            let signer = server.dev.minter().map_err(Failure::running)?;
            let metrics_url = server.dev.metrics_url.clone();
            let pids = server.pid().into_iter().collect();
            (server.dev.url.clone(), signer, Probe { pids, metrics_url })
        }
    };
    probe.pids.extend(args.pid);
    probe.metrics_url = args.metrics_url.clone().or(probe.metrics_url);
    let bind = bind_address(&url);
    let options = RunOptions { threads: args.threads, progress: !args.quiet };
    let target = Convoke::new(url, signer, bind);
    let outcome = run(target, scenario, probe, options).await.map_err(Failure::running);
    drop(own);
    outcome
}

/// The address of the callers' sockets.
fn bind_address(url: &str) -> IpAddr {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    let authority =
        if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    // The system says by which address it reaches the server; nothing is sent.
    let found = || {
        let to = authority.to_socket_addrs().ok()?.next()?;
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
        let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    found().unwrap_or(loopback)
}

fn verdict(report: &Report) -> u8 {
    match (report.summary.valid, report.holds()) {
        (false, _) => 4,
        (true, false) => 3,
        (true, true) => 0,
    }
}

fn tell(report: &Report) {
    let summary = serde_json::to_value(&report.summary).unwrap_or_default();
    println!("{}: {}", report.target, report.scenario);
    for (name, value) in summary.as_object().into_iter().flatten() {
        println!("  {name:<38}{value:>16}");
    }
    for reason in &report.harness.invalid {
        println!("  not valid: {reason}");
    }
    for (kind, count) in &report.joins.errors {
        let example = report.joins.error_examples.get(kind).map_or("", String::as_str);
        println!("  {count} x {kind}: {example}");
    }
    for verdict in report.expectations.iter().filter(|verdict| !verdict.holds) {
        let value = verdict.value.map_or("not measured".to_owned(), |value| value.to_string());
        println!("  expected {} = {}, got {value}", verdict.name, verdict.bound);
    }
}
