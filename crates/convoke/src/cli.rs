//! The command line.
//!
//! Owns: commands, options, their help and the exit codes.
//! Never: does what they ask; the module of each command does.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or stopped as asked: 0.
    Done,
    /// Something failed while running: 1.
    Failed,
    /// The command line or the configuration is wrong: 2.
    Usage,
    /// A second signal stopped the server before its calls had ended: 3.
    CutShort,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or stopped as asked
  1  something failed while running
  2  the command line or the configuration is wrong
  3  a second signal stopped the server before its calls had ended";

/// An SFU media server for group calls.
#[derive(Debug, Parser)]
#[command(name = "convoke", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the server
    Serve(ServeArgs),
    /// Makes keys and access tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Checks a configuration or shows one
    #[command(subcommand)]
    Config(ConfigCommand),
    /// For reports of faults
    #[command(subcommand)]
    Debug(DebugCommand),
    /// Asks a running server whether it is well; for containers
    Healthcheck {
        /// The server's URL; the path is /healthz if it has none
        #[arg(default_value = "http://127.0.0.1:8080/healthz")]
        url: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// For trying out: makes keys, listens on loopback, lets the demo mint its own tokens
    #[arg(long)]
    pub(crate) dev: bool,
    /// Where --dev writes dev.json
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub(crate) data_dir: PathBuf,
    /// Where HTTP and WebSocket clients connect, over http.listen; port 0 is any free port
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<SocketAddr>,
    /// Where media comes in (UDP), over media.bind and media.port; port 0 is any free port
    #[arg(long, value_name = "ADDR")]
    pub(crate) media: Option<SocketAddr>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Makes a key to sign access tokens with
    Key(KeyArgs),
    /// Makes an access token and prints it
    Mint(MintArgs),
}

/// What a key signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AlgorithmArg {
    /// One shared secret signs and checks
    Hs256,
    /// A private key signs, its public key checks
    Eddsa,
}

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// What the key signs with
    #[arg(long)]
    pub(crate) algorithm: AlgorithmArg,
    /// The file to make; for eddsa the public key goes beside it, with .pub added
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct MintArgs {
    /// The secret (hs256) or private key (eddsa), as made by `convoke token key`
    #[arg(long, visible_alias = "secret-file", value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// The name of the key in the server's configuration
    #[arg(long, default_value = "main")]
    pub(crate) kid: String,
    /// Whom the token is for
    #[arg(long)]
    pub(crate) identity: String,
    /// What it allows: voip (start and join calls) or voip.join (join calls that run)
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_parser = parse_scope)]
    pub(crate) scopes: Vec<convoke_protocol::Scope>,
    /// The only call it is good for
    #[arg(long, value_name = "GUID")]
    pub(crate) group_id: Option<convoke_protocol::GroupId>,
    /// What it is in its calls: Presenter, Collaborator, Attendee or Consumer
    #[arg(long, value_parser = parse_role)]
    pub(crate) role: Option<convoke_protocol::Role>,
    /// It waits in the lobby of calls that make guests wait
    #[arg(long)]
    pub(crate) guest: bool,
    /// The name that others see
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// How long it is good for
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    pub(crate) ttl: std::time::Duration,
    /// The issuer, where the server wants one (tokens.issuer)
    #[arg(long)]
    pub(crate) issuer: Option<String>,
    /// The audience, where the server wants one (tokens.audience)
    #[arg(long)]
    pub(crate) audience: Option<String>,
}

fn parse_scope(text: &str) -> Result<convoke_protocol::Scope, String> {
    match text {
        "voip" => Ok(convoke_protocol::Scope::Voip),
        "voip.join" => Ok(convoke_protocol::Scope::VoipJoin),
        _ => Err("expected voip or voip.join".to_owned()),
    }
}

fn parse_role(text: &str) -> Result<convoke_protocol::Role, String> {
    let roles = convoke_protocol::Role::ALL;
    let found = roles.iter().copied().find(|role| role.as_str() == text);
    found.ok_or_else(|| "expected Presenter, Collaborator, Attendee or Consumer".to_owned())
}

#[derive(Debug, Subcommand)]
pub(crate) enum DebugCommand {
    /// Gathers what a report of a fault needs into one archive, without keys, tokens and addresses
    Bundle(BundleArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BundleArgs {
    /// The configuration file of the server
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The server, http://HOST:PORT, to ask for its calls; needs --key-file. By default http.listen
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// A shared key of [[services.keys]] with the role `admin` or `calls`; without it no calls are told
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Where its metrics are, http://HOST:PORT. By default http.metrics_listen
    #[arg(long, value_name = "URL")]
    pub(crate) metrics_url: Option<String>,
    /// The archive to write, which must not exist: FILE.tar.gz
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Checks a file and the keys it names, and says what is wrong
    Check {
        /// The file
        file: PathBuf,
    },
    /// Prints a configuration with every key, its default and what it does
    Example,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
