//! The binary `convoke`.
//!
//! Owns: choosing the command and saying how it went.
//! Never: holds logic.

#![forbid(unsafe_code)]

mod cli;
mod config;
mod debug;
mod dev;
mod healthcheck;
mod keyfile;
mod log;
mod reload;
mod serve;
mod token;
#[cfg(feature = "otlp")]
mod traces;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command, ConfigCommand, DebugCommand, Exit, TokenCommand};
use config::{Config, Source};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => {
            serve::run(&args).map_err(|error| (error.exit(), error.to_string()))
        }
        Command::Token(TokenCommand::Key(args)) => done(token::key(&args, &mut io::stdout())),
        Command::Token(TokenCommand::Mint(args)) => done(token::mint(args, &mut io::stdout())),
        Command::Config(ConfigCommand::Check { file }) => check(&file),
        Command::Config(ConfigCommand::Example) => done(print(config::EXAMPLE)),
        Command::Debug(DebugCommand::Bundle(args)) => done(debug::bundle(&args, &mut io::stdout())),
        Command::Healthcheck { url } => {
            done(healthcheck::run(&url).and_then(|status| print(&format!("{status}\n"))))
        }
    };
    match result {
        Ok(exit) => exit.into(),
        Err((exit, message)) => {
            _ = writeln!(io::stderr(), "convoke: {message}");
            exit.into()
        }
    }
}

fn check(file: &Path) -> Result<Exit, (Exit, String)> {
    let usage = |error: config::ConfigError| (Exit::Usage, error.to_string());
    let source = Source::read(Some(file)).map_err(usage)?;
    let keys =
        Config::load(&source).and_then(|config| config.key_set(None).map(|_| config.keys.len()));
    let keys = keys.map_err(usage)?;
    done(print(&format!("{}: valid, {keys} token key(s)\n", file.display())))
}

fn print(text: &str) -> Result<(), String> {
    io::stdout().write_all(text.as_bytes()).map_err(|error| format!("standard output: {error}"))
}

fn done(result: Result<(), String>) -> Result<Exit, (Exit, String)> {
    result.map(|()| Exit::Done).map_err(|message| (Exit::Failed, message))
}
