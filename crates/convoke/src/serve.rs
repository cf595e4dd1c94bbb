//! `convoke serve`: the server as a process.
//!
//! Owns: listeners, signals, and the order of starting and stopping.
//! Never: knows what a call is; [`convoke::Server`] does.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use convoke::{Drained, Server};
use convoke_control::{Control, ControlConfig, Reloads, Tls};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use crate::cli::{Exit, ServeArgs};
use crate::config::{Config, RawConfig, Source};
use crate::dev::{self, Dev};
use crate::log;
use crate::reload::{Reloader, SetFilter};

/// How long telling all participants may take at the end.
const GOODBYES: Duration = Duration::from_secs(10);
/// The same after a second signal.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How long those may still join who were connected when another server took over.
const HANDOVER: Duration = Duration::from_secs(3);
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Why the server did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    #[error("{address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Media(#[from] convoke::node::StartError),
    #[error(transparent)]
    KeyFile(#[from] crate::keyfile::KeyFileError),
    #[error(transparent)]
    Key(#[from] convoke_control::KeyError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Services(#[from] crate::config::OpenError),
    #[cfg(feature = "otlp")]
    #[error("`telemetry.otlp_endpoint`: {0}")]
    Traces(String),
    #[error("a listener stopped")]
    ListenerStopped,
}

impl ServeError {
    /// The exit code for it.
    pub(crate) fn exit(&self) -> Exit {
        use convoke::node::StartError;
        match self {
            Self::Config(_)
            | Self::Key(_)
            | Self::Media(StartError::NothingToAdvertise(_) | StartError::NotServed { .. }) => {
                Exit::Usage
            }
            _ => Exit::Failed,
        }
    }
}

/// Serves until told to stop.
pub(crate) fn run(args: &ServeArgs) -> Result<Exit, ServeError> {
    let source = Source::read(args.config.as_deref())?;
    let mut config = Config::load(&source)?;
    if let Some(http) = args.http {
        config.listen = http;
    }
    if let Some(media) = args.media {
        config.node.bind = vec![media.ip()];
        config.node.port = media.port();
    }
    let dev = args.dev.then(Dev::new);
    if dev.is_some() {
        dev::adapt(&mut config);
    }
    let raw = source.parse()?;
    let mut control = control(&config, dev.as_ref())?;
    let tls = config.tls()?;
    let log = log::start(&config.log, config.otlp_endpoint.as_deref())?;
    let set_filter = log.set_filter;
    control.recent_log = log.recent;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let start = Start { raw, tls, set_filter, dev };
    let exit = runtime.block_on(serve(config, control, args, start));
    // Spans end with whatever still holds them.
    drop(runtime);
    #[cfg(feature = "otlp")]
    if let Some(traces) = log.traces {
        traces.finish();
    }
    exit
}

/// The control plane's settings, services apart.
pub(crate) fn control(config: &Config, dev: Option<&Dev>) -> Result<ControlConfig, ServeError> {
    let key = dev.map(Dev::key).transpose()?;
    let mut control = config.control(config.key_set(key)?);
    control.dev_minter = dev.map(Dev::minter).transpose()?;
    control.turn = config.turn()?;
    Ok(control)
}

/// What is there before anything runs, beside the configuration.
struct Start {
    raw: RawConfig,
    tls: Option<Tls>,
    set_filter: SetFilter,
    dev: Option<Dev>,
}

async fn serve(
    config: Config,
    mut control: ControlConfig,
    args: &ServeArgs,
    Start { raw, tls, set_filter, dev }: Start,
) -> Result<Exit, ServeError> {
    let (mut signals, mut hangup) = (Signals::listen()?, signal(SignalKind::hangup())?);
    let service = dev.as_ref().map(Dev::service).transpose()?;
    let (reloads, mut asked) = Reloads::channel();
    control.reloads = Some(reloads);
    control.services = config.services.open(&config, service).await?;
    let reuse_port = config.reuse_port;
    let http = listen(config.listen, reuse_port)?;
    let metrics = match config.metrics_listen {
        Some(address) => Some(listen(address, false)?),
        None => None,
    };
    let url = local_url(&http, tls.is_some())?;
    let metrics_url = metrics.as_ref().map(|one| local_url(one, false)).transpose()?;
    let metrics_url = metrics_url.map(|url| format!("{url}metrics"));

    let server = Server::start(config.node, control).await?;
    let mut listeners = JoinSet::new();
    // Only where another one can listen: else nobody would.
    listeners.spawn(accept(
        server.control().clone(),
        http,
        server.router(),
        tls.clone(),
        reuse_port,
    ));
    if let Some(metrics) = metrics {
        let router = server.metrics_router();
        listeners.spawn(accept(server.control().clone(), metrics, router, None, false));
    }
    if let Some(dev) = &dev {
        let file = dev.write(&args.data_dir, &url, metrics_url.as_deref())?;
        tracing::warn!(
            file = %file.display(),
            "development mode: whoever reaches this server can make access tokens"
        );
    }
    tracing::info!(
        %url,
        metrics = metrics_url,
        media = ?server.node().media_addresses(),
        tcp = ?server.node().tcp_addresses(),
        version = env!("CARGO_PKG_VERSION"),
        "ready"
    );
    announce(&url)?;

    let (file, control) = (args.config.clone(), server.control().clone());
    let drain = config.drain;
    let mut reloader = Reloader { file, raw, dev, control, tls, set_filter, drain };
    loop {
        tokio::select! {
            () = signals.next() => break,
            _ = listeners.join_next() => return Err(ServeError::ListenerStopped),
            // What it came to is in the log.
            _ = hangup.recv() => drop(reloader.reload()),
            Some(reload) = asked.recv() => reload.answer(reloader.reload()),
        }
    }
    drop(asked);
    if reuse_port {
        tracing::info!("another server may take over: no longer listening");
        tokio::select! {
            () = server.control().hand_over(HANDOVER) => {}
            _ = listeners.join_next() => return Err(ServeError::ListenerStopped),
        }
    }
    let exit = stop(&server, reloader.drain, &mut signals).await;
    let goodbyes = if exit == Exit::CutShort { AT_ONCE } else { GOODBYES };
    if tokio::time::timeout(goodbyes, server.stop()).await.is_err() {
        tracing::warn!("not every goodbye went out");
    }
    tracing::info!("stopped");
    Ok(exit)
}

/// Lets calls end, then ends them.
async fn stop(server: &Server, patience: Duration, signals: &mut Signals) -> Exit {
    let calls = server.control().active_calls();
    tracing::info!(calls, patience = %humantime::format_duration(patience), "draining");
    tokio::select! {
        drained = server.drain(patience) => {
            match drained {
                Drained::Idle => tracing::info!("all calls have ended"),
                Drained::DeadlinePassed { calls } => tracing::warn!(calls, "ended the calls left"),
            }
            Exit::Done
        }
        () = signals.next() => {
            tracing::warn!(calls = server.control().active_calls(), "told again: stopping at once");
            Exit::CutShort
        }
    }
}

/// Listens; with `reuse_port` beside others of the same user that do so too.
fn listen(address: SocketAddr, reuse_port: bool) -> Result<TcpListener, ServeError> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(reuse_port)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    bind().map_err(|source| ServeError::Listen { address, source })
}

async fn accept(
    control: Control,
    listener: TcpListener,
    router: Router,
    tls: Option<Tls>,
    hands_over: bool,
) {
    match tls {
        tls if hands_over => control.serve_until_handover(listener, router, tls).await,
        Some(tls) => control.serve_tls(listener, router, tls).await,
        None => control.serve(listener, router).await,
    }
}

/// The URL under which this machine reaches the listener.
fn local_url(listener: &TcpListener, tls: bool) -> io::Result<String> {
    let mut address = listener.local_addr()?;
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let scheme = if tls { "https" } else { "http" };
    Ok(format!("{scheme}://{address}/"))
}

fn announce(url: &str) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "convoke is ready at {url}")?;
    out.flush()
}

/// SIGTERM and SIGINT: stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
