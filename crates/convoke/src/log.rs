//! The log: where it goes, how it looks, what of it is kept.
//!
//! Owns: the one subscriber of `tracing` of this process.
//! Never: says what is logged beyond its level.

use std::io::{self, IsTerminal as _};

use convoke_control::RecentLog;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::config::{LogFormat, RawLog};
use crate::reload::SetFilter;
use crate::serve::ServeError;
#[cfg(feature = "otlp")]
use crate::traces::Traces;

/// Begins to log.
pub(crate) struct Log {
    /// Sets another filter.
    pub(crate) set_filter: SetFilter,
    /// The last lines, if any are kept.
    pub(crate) recent: Option<RecentLog>,
    /// What is exported, if anything.
    #[cfg(feature = "otlp")]
    pub(crate) traces: Option<Traces>,
}

/// The libraries of WebRTC, each with what it may tell unless it is named. They warn of what every
/// browser offers, and of what peers send: SCTP's calls that an error.
const QUIET: [(&str, &str); 4] =
    [("str0m", "error"), ("dimpl", "error"), ("is", "error"), ("sctp_proto", "off")];

/// What is logged.
pub(crate) fn filter(log: &RawLog) -> EnvFilter {
    let level = &log.level.0;
    let names = |library: &str| {
        let targets = level.split(',').filter_map(|directive| directive.split('=').next());
        targets.map(str::trim).any(|target| target.split("::").next() == Some(library))
    };
    let quiet = QUIET.iter().filter(|(library, _)| !names(library));
    let quiet: String = quiet.map(|(library, level)| format!("{library}={level},")).collect();
    EnvFilter::new(format!("{quiet}{level}"))
}

/// To standard error, and to what is kept; spans of calls to a collector, which only a binary with the
/// feature `otlp` has.
#[cfg_attr(
    not(feature = "otlp"),
    expect(unused_variables, clippy::unnecessary_wraps, reason = "no collector is spoken to")
)]
pub(crate) fn start(log: &RawLog, collector: Option<&str>) -> Result<Log, ServeError> {
    let recent = (log.recent_lines > 0).then(|| RecentLog::new(log.recent_lines));
    let (filter, handle) = reload::Layer::<_, Registry>::new(filter(log));
    let lines = fmt::layer()
        .with_writer(Tee { recent: recent.clone() })
        .with_ansi(io::stderr().is_terminal());
    let lines = match log.format {
        LogFormat::Human => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
    #[cfg(feature = "otlp")]
    let traces = collector.map(Traces::to).transpose().map_err(ServeError::Traces)?;
    #[cfg(feature = "otlp")]
    let subscriber = subscriber.with(traces.as_ref().map(Traces::layer));
    subscriber.init();
    let set = move |filter| handle.reload(filter).map_err(|error| error.to_string());
    Ok(Log {
        set_filter: Box::new(set),
        recent,
        #[cfg(feature = "otlp")]
        traces,
    })
}

/// Standard error and the lines that are kept.
#[derive(Clone)]
struct Tee {
    recent: Option<RecentLog>,
}

impl<'a> MakeWriter<'a> for Tee {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// Each event is written in one piece.
impl io::Write for &Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(recent) = &self.recent {
            recent.push(&String::from_utf8_lossy(bytes));
        }
        // A closed standard error must not cost what is kept.
        io::stderr().write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    /// SE-06: what peers send is counted, not logged, unless somebody asks for it.
    #[test]
    fn se_06_what_peers_send_is_logged_by_no_library_that_is_not_named() {
        let told = |level: &str| {
            let log: RawLog = toml::from_str(&format!("level = \"{level}\"")).expect("a filter");
            let subscriber = tracing_subscriber::registry().with(filter(&log));
            tracing::subscriber::with_default(subscriber, || {
                [
                    tracing::enabled!(target: "str0m::session", Level::WARN),
                    tracing::enabled!(target: "dimpl::dtls12::engine", Level::WARN),
                    tracing::enabled!(target: "is::agent", Level::WARN),
                    tracing::enabled!(target: "sctp_proto::association", Level::ERROR),
                    tracing::enabled!(target: "convoke_node", Level::WARN),
                ]
            })
        };
        assert_eq!(told("info"), [false, false, false, false, true]);
        assert_eq!(told("trace,dimpl=warn"), [false, true, false, false, true]);
        assert_eq!(told("str0m::session=warn"), [true, false, false, false, false]);
    }
}
