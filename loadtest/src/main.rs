//! `convoke-loadtest`: the command line.
//!
//! Owns: options, what is refused, exit codes.
//! Never: measures.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program that reports to its user")]

use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand, ValueEnum};
use convoke_loadtest::key::{DevFile, minter};
use convoke_loadtest::peers;
use convoke_loadtest::probe::Probe;
use convoke_loadtest::report::{Comparison, Report};
use convoke_loadtest::run::{Outcome, RunOptions, run};
use convoke_loadtest::scenario::{SHIPPED, Scenario};
use convoke_loadtest::server::Server;
use convoke_loadtest::target::convoke::Convoke;
use convoke_loadtest::target::janus::Janus;
use convoke_loadtest::target::mediasoup::Mediasoup;
use convoke_loadtest::units::{Time, VideoCodec};

mod bench;
mod flood;

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
    /// Carries out a scenario on several servers, one after the other, and compares them
    Compare(CompareArgs),
    /// What a forwarded packet takes on several servers, as one table
    Bench(bench::BenchArgs),
    /// What floods from strangers cost a server beside a running call, on loopback
    Flood(flood::FloodArgs),
    /// Lists the scenarios that come with the load test, or prints one
    Scenarios {
        /// The scenario to print
        name: Option<String>,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    common: Common,
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
}

/// What both commands take.
#[derive(Debug, Args)]
struct Common {
    /// A scenario file, or the name of a shipped one
    scenario: PathBuf,
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
    /// How long media is measured, such as `1h`, instead of the scenario's duration
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    duration: Option<Time>,
}

#[derive(Debug, Args)]
struct CompareArgs {
    #[command(flatten)]
    common: Common,
    /// Which servers, in this order
    #[arg(long, value_enum, value_delimiter = ',', default_value = "convoke,janus,mediasoup")]
    targets: Vec<Name>,
    /// The folder with what peers/install.sh installed; that of the source when absent
    #[arg(long, value_name = "DIR")]
    peers: Option<PathBuf>,
}

/// A server that can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    Convoke,
    Janus,
    Mediasoup,
}

impl Name {
    fn text(self) -> &'static str {
        match self {
            Self::Convoke => "convoke",
            Self::Janus => "janus",
            Self::Mediasoup => "mediasoup",
        }
    }
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
        (Command::Compare(args), Ok(runtime)) => runtime.block_on(command_compare(args)),
        (Command::Bench(args), Ok(runtime)) => runtime.block_on(bench::command(args)),
        (Command::Flood(args), Ok(runtime)) => runtime.block_on(flood::command(args)),
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

/// The scenario, and enough open files for it.
fn prepare(common: &Common) -> Result<(String, Arc<Scenario>), Failure> {
    let (name, mut scenario) = Scenario::load(&common.scenario).map_err(Failure::usage)?;
    if let Some(duration) = common.duration {
        scenario.duration = duration;
        scenario.check().map_err(|wrong| Failure::usage(format!("--duration: {wrong}")))?;
    }
    allow_files(&scenario)?;
    Ok((name, Arc::new(scenario)))
}

fn allow_files(scenario: &Scenario) -> Result<(), Failure> {
    // Two sockets for each participant, and what else a process needs.
    let files = scenario.participants() as u64 * 4 + 1_024;
    if rlimit::increase_nofile_limit(files).unwrap_or(0) < files {
        return Err(Failure::running(format!(
            "the system allows fewer than {files} open files; raise `ulimit -n`"
        )));
    }
    Ok(())
}

async fn command_run(args: RunArgs) -> Result<u8, Failure> {
    let (name, scenario) = prepare(&args.common)?;
    let outcome = match (&args.target, &args.key_file) {
        (Some(url), Some(file)) => measure_target(&args, url, file, scenario.clone()).await?,
        _ => measure_own(&args.common, scenario.clone()).await?,
    };
    let report = Report::new("convoke", &name, &scenario, &outcome);
    tell(&report);
    if let Some(folder) = &args.common.report {
        report.write(folder).map_err(|error| Failure::running(format!("--report: {error}")))?;
        println!("report: {}", folder.join("report.html").display());
    }
    Ok(verdict(&report))
}

async fn command_compare(args: CompareArgs) -> Result<u8, Failure> {
    let (name, scenario) = prepare(&args.common)?;
    let folder = peers_folder(args.peers.as_deref());
    let mut comparison = Comparison::new(&name);
    for target in &args.targets {
        let measured = match target {
            Name::Convoke => measure_own(&args.common, scenario.clone()).await.map_err(|f| f.1),
            _ => measure_peer(*target, &folder, &args.common, scenario.clone()).await,
        };
        match measured {
            Ok(outcome) => {
                let report = Report::new(target.text(), &name, &scenario, &outcome);
                tell(&report);
                comparison.add(report);
            }
            Err(reason) => {
                println!("{}: not measured: {reason}", target.text());
                comparison.add_absent(target.text(), reason);
            }
        }
    }
    if let Some(folder) = &args.common.report {
        comparison.write(folder).map_err(|e| Failure::running(format!("--report: {e}")))?;
        println!("report: {}", folder.join("report.html").display());
    }
    Ok(comparison.reports().iter().map(|report| verdict(report)).max().unwrap_or(1))
}

/// Where what peers/install.sh installed is.
fn peers_folder(named: Option<&Path>) -> PathBuf {
    let source = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/peers"));
    named.map_or_else(source, Path::to_owned)
}

fn options(common: &Common) -> RunOptions {
    RunOptions { threads: common.threads, progress: !common.quiet }
}

/// Measures a Convoke that runs already.
async fn measure_target(
    args: &RunArgs,
    url: &str,
    file: &Path,
    scenario: Arc<Scenario>,
) -> Result<Outcome, Failure> {
    check_host(url, args.i_own_this_target.as_deref())?;
    let signer = minter(file, &args.kid).map_err(Failure::usage)?;
    let told = DevFile::read(file).ok().and_then(|told| told.metrics_url);
    let metrics_url = args.metrics_url.clone().or(told);
    let probe = Probe { pids: args.pid.into_iter().collect(), metrics_url };
    let target = Convoke::new(url.to_owned(), signer, bind_address(url));
    run(target, scenario, probe, options(&args.common)).await.map_err(Failure::running)
}

/// Measures a Convoke that is started for it.
async fn measure_own(common: &Common, scenario: Arc<Scenario>) -> Result<Outcome, Failure> {
    let workers = scenario.server.workers.map(|count| count.0);
    let starting = Server::start(common.server_binary.as_deref(), workers);
    let server = starting.await.map_err(Failure::running)?;
    let signer = server.dev.minter().map_err(Failure::running)?;
    let metrics_url = server.dev.metrics_url.clone();
    let probe = Probe { pids: server.pid().into_iter().collect(), metrics_url };
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let target = Convoke::new(server.dev.url.clone(), signer, loopback);
    run(target, scenario, probe, options(common)).await.map_err(Failure::running)
}

/// Measures another server that is started for it; an error says why it was not.
async fn measure_peer(
    name: Name,
    folder: &Path,
    common: &Common,
    scenario: Arc<Scenario>,
) -> Result<Outcome, String> {
    if scenario.video.enabled
        && (scenario.video.encodings.len() > 1 || scenario.video.codec != VideoCodec::Vp8)
    {
        return Err("callers send it VP8 in one encoding only; see the scenario `compare`".into());
    }
    if scenario.calls.may_publish {
        return Err("calls.may_publish: its callers cannot connect to send and not publish".into());
    }
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let starting = match name {
        Name::Mediasoup => peers::mediasoup(folder).await,
        _ => peers::janus(folder).await,
    };
    let peer = starting.map_err(|absent| absent.to_string())?;
    let probe = Probe { pids: peer.pids.clone(), metrics_url: None };
    let (url, options) = (peer.url.clone(), options(common));
    let outcome = match name {
        Name::Mediasoup => run(Mediasoup::new(url, loopback), scenario, probe, options).await,
        _ => run(Janus::new(url, loopback), scenario, probe, options).await,
    };
    outcome.map_err(|error| error.to_string())
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
