//! The configuration: read, checked, and turned into what the parts of the server take.
//!
//! Owns: [`Config`] and the checks of one key against another.
//! Never: reads the command line, or keeps a secret: keys are named by file until they are needed.

mod error;
mod load;
mod raw;
mod services;
mod units;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::Uri;
use convoke_control::{
    self as control, CallingConfig, ControlConfig, ExternalIssuer, Jwks, Key, KeySet, MAX_LEEWAY,
    Origins, Proxies, Slots, Times, Tls, TokenRules, Turn,
};
use convoke_node::core::{DATA_PAYLOAD_BYTES_MAX, DataLimits, Limits};
use convoke_node::{BINDS_MAX, NodeConfig, StunConfig, TcpConfig, is_of_a_host};
use convoke_protocol::LobbyPolicy;

pub(crate) use error::ConfigError;
pub(crate) use load::Source;
pub(crate) use raw::{LogFormat, RawConfig, RawLog};
use raw::{RawAlgorithm, RawKey};
pub(crate) use services::{OpenError, ServiceSettings};
use units::{Size, Text};

use crate::keyfile;

/// The file that `convoke config example` prints.
pub(crate) const EXAMPLE: &str = include_str!("../../../../config/convoke.example.toml");

/// A checked configuration.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Where HTTP and WebSocket clients connect.
    pub(crate) listen: SocketAddr,
    /// The files of its certificate and key, if it speaks TLS.
    tls: Option<[PathBuf; 2]>,
    /// Whether another server may listen there too, and take over.
    pub(crate) reuse_port: bool,
    /// Where metrics are.
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// For the media node.
    pub(crate) node: NodeConfig,
    /// For the control plane, keys apart.
    control: ControlSettings,
    /// What tokens must fulfil beside their signature.
    pub(crate) rules: TokenRules,
    /// The keys that tokens may be signed with.
    pub(crate) keys: Vec<KeySource>,
    /// Others whose tokens are accepted.
    issuers: Vec<ExternalIssuer>,
    /// TURN servers: their URLs and the files of their secrets.
    turn: Vec<TurnSource>,
    /// How long their credentials are good.
    turn_lifetime: Duration,
    /// What app servers may ask for, and where it is kept.
    pub(crate) services: ServiceSettings,
    /// How long calls may take to end when the server is told to stop.
    pub(crate) drain: Duration,
    /// What is logged, and how.
    pub(crate) log: RawLog,
    /// The collector of traces, if there is one.
    pub(crate) otlp_endpoint: Option<String>,
}

/// One configured TURN server.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TurnSource {
    urls: Vec<String>,
    secret_file: Option<PathBuf>,
}

/// One configured token key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeySource {
    /// Its name in tokens.
    pub(crate) kid: String,
    /// What it is and where.
    pub(crate) material: KeyMaterial,
}

/// Which algorithm, and the file that holds the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyMaterial {
    /// A shared secret.
    Hs256(PathBuf),
    /// An Ed25519 public key.
    EdDsa(PathBuf),
}

impl Config {
    /// Reads and checks.
    pub(crate) fn load(source: &Source) -> Result<Self, ConfigError> {
        Self::check(source.parse()?, source)
    }

    /// Reads the key files; `dev` comes on top.
    pub(crate) fn key_set(&self, dev: Option<Key>) -> Result<KeySet, ConfigError> {
        let mut keys: Vec<Key> = dev.into_iter().collect();
        for (index, source) in self.keys.iter().enumerate() {
            let key = source.read().map_err(|message| ConfigError::Key { index, message })?;
            keys.push(key);
        }
        if keys.is_empty() && !self.issuers.is_empty() {
            return Ok(KeySet::none(self.rules.clone()));
        }
        if keys.is_empty() {
            return Err(ConfigError::NoKey);
        }
        KeySet::new(keys, self.rules.clone()).map_err(ConfigError::KeySet)
    }

    /// The control plane's settings, with these keys.
    pub(crate) fn control(&self, keys: KeySet) -> ControlConfig {
        let ControlSettings { origins, proxies, slots, lobby, times, calling, limits } =
            self.control.clone();
        let mut config = ControlConfig::new(keys);
        config.origins = origins;
        config.proxies = proxies;
        config.slots = slots;
        config.lobby = lobby;
        config.times = times;
        config.calling = calling;
        config.limits = limits;
        config.issuers = self.issuers.clone();
        config
    }

    /// The certificate and key, if there is TLS.
    pub(crate) fn tls(&self) -> Result<Option<Tls>, ConfigError> {
        let Some([certificate, key]) = &self.tls else { return Ok(None) };
        let read = |path: &PathBuf| {
            let failed = |error| ConfigError::Tls(format!("{}: {error}", path.display()));
            std::fs::read(path).map_err(failed)
        };
        let tls = Tls::new(&read(certificate)?, &read(key)?);
        tls.map(Some).map_err(|error| ConfigError::Tls(error.to_string()))
    }

    /// Reads the secrets of the TURN servers.
    pub(crate) fn turn(&self) -> Result<Vec<Turn>, ConfigError> {
        let read = |(index, one): (usize, &TurnSource)| {
            let failed = |message: String| ConfigError::Turn { index, message };
            let secret = one.secret_file.as_deref().map(keyfile::read_text).transpose();
            let secret = secret.map_err(|error| failed(error.to_string()))?;
            let secret = secret.as_ref().map(|text| text.as_bytes());
            Turn::new(one.urls.clone(), secret, self.turn_lifetime)
                .map_err(|error| failed(error.to_string()))
        };
        self.turn.iter().enumerate().map(read).collect()
    }

    /// Where metrics are if nothing else is asked for.
    pub(crate) fn default_metrics_listen() -> Option<SocketAddr> {
        RawConfig::default().http.metrics_listen
    }
}

impl KeySource {
    fn read(&self) -> Result<Key, String> {
        let key = match &self.material {
            KeyMaterial::Hs256(file) => {
                let secret = keyfile::read_secret(file).map_err(|error| error.to_string())?;
                Key::hs256(self.kid.as_str(), &secret)
            }
            KeyMaterial::EdDsa(file) => {
                let pem = keyfile::read_pem(file, "PUBLIC KEY").map_err(|e| e.to_string())?;
                Key::eddsa_pem(self.kid.as_str(), &pem)
            }
        };
        key.map_err(|error| error.to_string())
    }
}

/// Settings of the control plane, keys apart.
#[derive(Debug, Clone)]
struct ControlSettings {
    origins: Origins,
    proxies: Proxies,
    slots: Slots,
    lobby: LobbyPolicy,
    times: Times,
    calling: CallingConfig,
    limits: control::Limits,
}

impl Config {
    /// Checks what was read, one key against another.
    pub(crate) fn check(raw: RawConfig, source: &Source) -> Result<Self, ConfigError> {
        check_counts(&raw, source)?;
        check_ranges(&raw, source)?;
        check_together(&raw, source)?;
        let services = ServiceSettings::check(&raw, source)?;
        let issuers = issuers(&raw.tokens, source)?;
        Ok(Self {
            listen: raw.http.listen,
            tls: tls(&raw.http, source)?,
            reuse_port: raw.http.reuse_port,
            metrics_listen: raw.http.metrics_listen,
            node: node(&raw),
            control: control(&raw, source)?,
            rules: TokenRules {
                leeway: raw.tokens.leeway,
                issuer: raw.tokens.issuer,
                audience: raw.tokens.audience,
            },
            turn: turn(&raw.turn, source)?,
            turn_lifetime: raw.turn.lifetime,
            services,
            issuers,
            keys: keys(&raw.tokens.keys, source)?,
            drain: raw.shutdown.drain,
            log: raw.log,
            otlp_endpoint: otlp_endpoint(raw.telemetry.otlp_endpoint, source)?,
        })
    }
}

/// A collector's base URL, where this binary can speak to one.
fn otlp_endpoint(endpoint: Option<String>, source: &Source) -> Result<Option<String>, ConfigError> {
    let Some(endpoint) = endpoint else { return Ok(None) };
    let expected = if cfg!(not(feature = "otlp")) {
        "nothing: this binary was built without the feature `otlp` \
         (cargo build --package convoke --features otlp)"
    } else if !endpoint.starts_with("http://") || endpoint.len() == "http://".len() {
        "the base URL of a collector such as \"http://127.0.0.1:4318\"; TLS to elsewhere is \
         the collector's part"
    } else {
        return Ok(Some(endpoint));
    };
    let key = "telemetry.otlp_endpoint";
    Err(wrong(source, key, format!("{endpoint:?}"), expected))
}

fn node(RawConfig { media, limits, .. }: &RawConfig) -> NodeConfig {
    NodeConfig {
        workers: media.workers,
        bind: media.bind.0.clone(),
        port: media.port,
        advertise: media.advertise.clone(),
        stun: media.stun_server.as_ref().map(|server| StunConfig {
            host: server.host.clone(),
            port: server.port,
            interval: media.stun_interval,
        }),
        limits: Limits {
            rooms: limits.calls,
            participants: limits.worker_participants,
            room_participants: limits.call_participants,
            audio_slots: limits.audio_slots,
            video_slots: limits.video_slots,
            tracks: limits.tracks,
            sdp_bytes: limits.sdp.0,
            sdp_sections: limits.sdp_sections,
            data: DataLimits {
                payload_bytes: limits.data_payload.0,
                messages_per_second: limits.data_messages_per_second,
                // In range: see `check_ranges`.
                bytes_per_second: u32::try_from(limits.data_per_second.0).unwrap_or(u32::MAX),
                queue_bytes: limits.data_queue.0,
            },
        },
        media_timeout: media.timeout,
        keyframe_interval: media.keyframe_interval,
        inbox: media.command_queue,
        events: media.event_queue,
        datagrams_per_turn: media.datagrams_per_turn,
        socket_buffer: media.socket_buffer.0,
        participants_per_shard: media.participants_per_shard,
        relay_queue: media.relay_queue,
        send_queue: media.send_queue,
        tcp: media.tcp.map(|listen| TcpConfig {
            listen,
            connections: media.tcp_connections,
            connections_per_address: media.tcp_connections_per_address,
            hello_timeout: media.tcp_hello_timeout,
            send_queue: media.tcp_send_queue,
            send_timeout: media.tcp_send_timeout,
        }),
    }
}

/// How long a call rings for somebody without an agent where that is not said, if a webhook is told.
const AGENT_WAIT: Duration = Duration::from_secs(30);

fn control(raw: &RawConfig, source: &Source) -> Result<ControlSettings, ConfigError> {
    let RawConfig { http, calls, calling, webhooks, .. } = raw;
    let proxies = Proxies::parse(http.trusted_proxies.iter().map(String::as_str));
    // Without a webhook nobody would know whom to wake.
    let wait = if webhooks.targets.is_empty() { Duration::ZERO } else { AGENT_WAIT };
    let any = http.allowed_origins.iter().any(|origin| origin == "*");
    Ok(ControlSettings {
        proxies: proxies.map_err(|found| {
            let expected = "IP addresses and networks, such as \"10.0.0.0/8\"";
            wrong(source, "http.trusted_proxies", format!("{found:?}"), expected)
        })?,
        origins: if any { Origins::Any } else { Origins::These(http.allowed_origins.clone()) },
        slots: Slots { audio: calls.audio_slots, video: calls.video_slots },
        lobby: calls.lobby,
        times: Times {
            head: http.header_timeout,
            body: http.body_timeout,
            send: http.send_timeout,
            hello: http.hello_timeout,
            ping: http.ping_interval,
            grace: calls.resume_grace,
            lobby: calls.lobby_timeout,
            lobby_hold: calls.lobby_hold,
            ring: calls.ring_timeout,
            agent_wait: calls.agent_wait.unwrap_or(wait),
            retry_after: http.retry_after,
            ..Times::default()
        },
        calling: CallingConfig {
            connections: calling.connections,
            connections_per_call: calling.connections_per_call,
            move_within: calling.move_within,
            callback_hosts: calling.callback_hosts.clone(),
            callback_retry_for: calling.callback_retry_for,
            callback_timeout: calling.callback_timeout,
            callbacks_in_flight: calling.callbacks_in_flight,
            callback_queue: calling.callback_queue,
        },
        limits: control_limits(raw),
    })
}

fn control_limits(RawConfig { http, limits, .. }: &RawConfig) -> control::Limits {
    control::Limits {
        agents: limits.agents,
        agents_per_address: limits.agents_per_address,
        agents_per_identity: limits.agents_per_identity,
        connections: http.connections,
        connections_per_address: http.connections_per_address,
        failures_per_minute: limits.token_failures_per_minute,
        joins_per_minute: limits.joins_per_minute,
        calls: limits.calls,
        message_bytes: limits.message.0,
        sdp_bytes: limits.sdp.0,
        tracks: limits.tracks,
        wishes: limits.video_slots,
        queue_messages: limits.queue_messages,
        queue_bytes: limits.queue.0,
        messages_per_second: limits.messages_per_second,
        message_burst: limits.message_burst,
    }
}

/// A mistake at `key`.
fn wrong(
    source: &Source,
    key: &str,
    found: impl ToString,
    expected: impl Into<String>,
) -> ConfigError {
    ConfigError::Value {
        place: source.place(key),
        key: key.to_owned(),
        found: found.to_string(),
        expected: expected.into(),
    }
}

/// Each count in its range.
fn check_counts(raw: &RawConfig, source: &Source) -> Result<(), ConfigError> {
    let RawConfig { media, limits, calls, calling, services, .. } = raw;
    let counts = [
        ("media.workers", media.workers, 0, 256),
        ("media.datagrams_per_turn", media.datagrams_per_turn, 1, 65_536),
        ("media.command_queue", media.command_queue, 2, 1 << 24),
        ("media.event_queue", media.event_queue, 1, 1 << 24),
        ("media.participants_per_shard", media.participants_per_shard, 0, 1 << 24),
        ("media.relay_queue", media.relay_queue, 64, 1 << 20),
        ("media.send_queue", media.send_queue, 1, 1 << 24),
        ("media.tcp_connections", media.tcp_connections, 1, 1 << 24),
        ("media.tcp_connections_per_address", media.tcp_connections_per_address, 0, 1 << 24),
        ("media.tcp_send_queue", media.tcp_send_queue, 16, 1 << 16),
        ("http.connections", raw.http.connections, 1, 1 << 24),
        ("http.connections_per_address", raw.http.connections_per_address, 0, 1 << 24),
        ("limits.agents", limits.agents, 1, 1 << 24),
        ("limits.agents_per_address", limits.agents_per_address, 0, 1 << 24),
        ("limits.agents_per_identity", limits.agents_per_identity, 0, 1 << 20),
        ("limits.token_failures_per_minute", limits.token_failures_per_minute as usize, 0, 1 << 20),
        ("limits.joins_per_minute", limits.joins_per_minute as usize, 0, 1 << 20),
        ("limits.calls", limits.calls, 1, 1 << 24),
        ("limits.worker_participants", limits.worker_participants, 1, 1 << 24),
        ("limits.call_participants", limits.call_participants, 1, 1 << 20),
        ("limits.audio_slots", limits.audio_slots, 1, 256),
        ("limits.video_slots", limits.video_slots, 0, 256),
        ("limits.tracks", limits.tracks, 1, 256),
        ("limits.messages_per_second", limits.messages_per_second as usize, 1, 1 << 20),
        ("limits.message_burst", limits.message_burst as usize, 1, 1 << 20),
        ("limits.sdp_sections", limits.sdp_sections, 1, 1_024),
        ("limits.data_messages_per_second", limits.data_messages_per_second as usize, 1, 1 << 20),
        ("limits.queue_messages", limits.queue_messages, 16, 1 << 20),
        ("services.requests_per_second", services.requests_per_second as usize, 1, 1 << 20),
        ("services.request_burst", services.request_burst as usize, 1, 1 << 20),
        ("services.failures_per_minute", services.failures_per_minute as usize, 0, 1 << 20),
        ("services.room_participants", services.room_participants, 1, 1 << 20),
        ("services.page", services.page, 1, 1_000),
        ("webhooks.batch", raw.webhooks.batch as usize, 1, 1_000),
        ("calling.connections", calling.connections, 0, 1 << 20),
        ("calling.connections_per_call", calling.connections_per_call, 1, 1 << 10),
        ("calling.callbacks_in_flight", calling.callbacks_in_flight, 1, 1 << 16),
        ("calling.callback_queue", calling.callback_queue, 8, 1 << 16),
        ("calls.audio_slots", calls.audio_slots as usize, 1, 256),
        ("calls.video_slots", calls.video_slots as usize, 0, 256),
    ];
    for (key, value, least, most) in counts {
        if !(least..=most).contains(&value) {
            return Err(wrong(source, key, value, format!("a number from {least} to {most}")));
        }
    }
    Ok(())
}

/// Each size and time in its range.
fn check_ranges(raw: &RawConfig, source: &Source) -> Result<(), ConfigError> {
    let RawConfig { media, limits, services, .. } = raw;
    let sizes = [
        ("media.socket_buffer", media.socket_buffer, 64 << 10, 1 << 30),
        ("limits.message", limits.message, 16 << 10, 16 << 20),
        ("services.request_body", services.request_body, 4 << 10, 16 << 20),
        ("services.capture_size", services.capture_size, 64 << 10, 1 << 30),
        ("limits.sdp", limits.sdp, 4 << 10, 16 << 20),
        ("limits.queue", limits.queue, 64 << 10, 1 << 30),
        ("limits.data_payload", limits.data_payload, 1, DATA_PAYLOAD_BYTES_MAX),
        ("limits.data_per_second", limits.data_per_second, 1 << 10, 1 << 30),
        ("limits.data_queue", limits.data_queue, 64 << 10, 1 << 30),
    ];
    for (key, value, least, most) in sizes {
        if !(least..=most).contains(&value.0) {
            let range = format!("from {} to {}", Size(least).spell(), Size(most).spell());
            return Err(wrong(source, key, value.spell(), range));
        }
    }
    check_durations(raw, source)
}

/// Each time in its range.
fn check_durations(raw: &RawConfig, source: &Source) -> Result<(), ConfigError> {
    const DAY: Duration = Duration::from_secs(24 * 3_600);
    let RawConfig { http, media, calls, calling, services, .. } = raw;
    let durations = [
        ("http.header_timeout", http.header_timeout, Duration::from_millis(100), DAY),
        ("http.body_timeout", http.body_timeout, Duration::from_millis(100), DAY),
        ("http.send_timeout", http.send_timeout, Duration::from_millis(100), DAY),
        ("http.hello_timeout", http.hello_timeout, Duration::from_millis(100), DAY),
        ("http.ping_interval", http.ping_interval, Duration::from_millis(100), DAY),
        ("http.retry_after", http.retry_after, Duration::ZERO, DAY),
        ("media.stun_interval", media.stun_interval, Duration::from_secs(10), DAY),
        ("media.timeout", media.timeout, Duration::from_secs(1), DAY),
        ("media.keyframe_interval", media.keyframe_interval, Duration::from_millis(50), DAY),
        ("media.tcp_hello_timeout", media.tcp_hello_timeout, Duration::from_millis(100), DAY),
        ("media.tcp_send_timeout", media.tcp_send_timeout, Duration::from_millis(100), DAY),
        ("tokens.leeway", raw.tokens.leeway, Duration::ZERO, MAX_LEEWAY),
        ("turn.lifetime", raw.turn.lifetime, Duration::from_secs(10), 30 * DAY),
        ("store.patience", raw.store.patience, Duration::from_millis(100), DAY),
        ("store.keep_events", raw.store.keep_events, Duration::ZERO, 36_500 * DAY),
        ("store.keep_audit", raw.store.keep_audit, Duration::ZERO, 36_500 * DAY),
        ("webhooks.retry_for", raw.webhooks.retry_for, Duration::ZERO, 30 * DAY),
        ("webhooks.timeout", raw.webhooks.timeout, Duration::from_millis(100), DAY),
        ("calling.move_within", calling.move_within, Duration::from_secs(1), DAY),
        ("calling.callback_retry_for", calling.callback_retry_for, Duration::ZERO, DAY),
        ("calling.callback_timeout", calling.callback_timeout, Duration::from_millis(100), DAY),
        ("services.clock_window", services.clock_window, Duration::from_secs(10), DAY),
        ("services.capture_time", services.capture_time, Duration::ZERO, DAY),
        ("calls.resume_grace", calls.resume_grace, Duration::ZERO, DAY),
        ("calls.lobby_timeout", calls.lobby_timeout, Duration::from_secs(1), DAY),
        ("calls.lobby_hold", calls.lobby_hold, Duration::ZERO, Duration::from_secs(3600)),
        (
            "calls.ring_timeout",
            calls.ring_timeout,
            Duration::from_secs(5),
            Duration::from_secs(120),
        ),
        (
            "calls.agent_wait",
            calls.agent_wait.unwrap_or_default(),
            Duration::ZERO,
            Duration::from_secs(120),
        ),
        ("shutdown.drain", raw.shutdown.drain, Duration::ZERO, DAY),
    ];
    for (key, value, least, most) in durations {
        if !(least..=most).contains(&value) {
            let range = format!("from {} to {}", least.spell(), most.spell());
            return Err(wrong(source, key, value.spell(), range));
        }
    }
    Ok(())
}

/// Keys that must fit each other.
fn check_together(raw: &RawConfig, source: &Source) -> Result<(), ConfigError> {
    let (http, media) = (&raw.http, &raw.media);
    if http.metrics_listen == Some(http.listen) && http.listen.port() != 0 {
        let expected = "another address than `http.listen`, or \"\" for none";
        return Err(wrong(source, "http.metrics_listen", http.listen, expected));
    }
    for origin in &http.allowed_origins {
        let scheme = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        let host = scheme.is_some_and(|rest| !rest.is_empty() && !rest.contains('/'));
        if origin != "*" && !host {
            let expected = "origins such as \"https://app.example.com\" (no path), or \"*\"";
            return Err(wrong(source, "http.allowed_origins", format!("{origin:?}"), expected));
        }
    }
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let workers = if media.workers == 0 { cores } else { media.workers };
    if usize::from(media.port) + workers > usize::from(u16::MAX) + 1 {
        let expected = format!("a port with room for {workers} workers above it");
        return Err(wrong(source, "media.port", media.port, expected));
    }
    check_addresses(http, media, source)?;
    let slots = [
        ("calls.audio_slots", raw.calls.audio_slots, "limits.audio_slots", raw.limits.audio_slots),
        ("calls.video_slots", raw.calls.video_slots, "limits.video_slots", raw.limits.video_slots),
    ];
    for (key, value, limit, most) in slots {
        if value as usize > most {
            return Err(wrong(source, key, value, format!("at most `{limit}`, which is {most}")));
        }
    }
    Ok(())
}

/// Both files of TLS, or none.
fn tls(http: &raw::RawHttp, source: &Source) -> Result<Option<[PathBuf; 2]>, ConfigError> {
    match (&http.tls_certificate_file, &http.tls_key_file) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            Ok(Some([certificate, key].map(|file| resolve(source.directory(), file.as_ref()))))
        }
        (Some(_), None) => Err(ConfigError::Missing {
            place: source.place("http.tls_certificate_file"),
            key: "http.tls_key_file".to_owned(),
        }),
        (None, Some(_)) => Err(ConfigError::Missing {
            place: source.place("http.tls_key_file"),
            key: "http.tls_certificate_file".to_owned(),
        }),
    }
}

fn turn(raw: &raw::RawTurn, source: &Source) -> Result<Vec<TurnSource>, ConfigError> {
    let mut servers = Vec::new();
    for (index, one) in raw.servers.iter().enumerate() {
        let secret_file = one.secret_file.as_ref().map(|file| resolve(source.directory(), file));
        // With any secret: whether the real one does is found when it is read.
        let secret = secret_file.as_ref().map(|_| &[0; control::MIN_TURN_SECRET][..]);
        if let Err(error) = Turn::new(one.urls.clone(), secret, raw.lifetime) {
            let at = format!("turn.servers.{index}.urls");
            return Err(wrong(
                source,
                &at,
                error,
                "turn: URLs with a `secret_file`, or stun: URLs",
            ));
        }
        servers.push(TurnSource { urls: one.urls.clone(), secret_file });
    }
    Ok(servers)
}

fn check_addresses(
    http: &raw::RawHttp,
    media: &raw::RawMedia,
    source: &Source,
) -> Result<(), ConfigError> {
    let binds = media.bind.0.as_slice();
    check_binds(binds, source)?;
    if binds.len() > 1 && !media.advertise.is_empty() && media.advertise.len() != binds.len() {
        let found = format!("{} addresses", media.advertise.len());
        let expected = format!("one for each of the {} of `media.bind`, or none", binds.len());
        return Err(wrong(source, "media.advertise", found, expected));
    }
    for (at, ip) in media.advertise.iter().enumerate() {
        let key = format!("media.advertise.{at}");
        let bind = if binds.len() == 1 { binds.first() } else { binds.get(at) };
        if !is_of_a_host(*ip) {
            return Err(wrong(source, &key, ip, "an address that clients can send to"));
        }
        if let Some(bind) = bind.filter(|bind| !hears(**bind, *ip)) {
            let expected = format!("addresses that a socket bound to {bind} hears");
            return Err(wrong(source, &key, ip, expected));
        }
        if binds.len() > 1 && media.advertise.iter().take(at).any(|other| other == ip) {
            return Err(wrong(source, &key, ip, "an address that is not in the list before"));
        }
    }
    let stun = media.stun_server.as_ref();
    if let Some(ip) = stun.and_then(|server| server.host.parse::<IpAddr>().ok()) {
        let asks = binds.iter().any(|bind| hears(*bind, ip));
        if ip.is_unspecified() || ip.is_multicast() || !asks {
            let expected = format!("a server that a socket bound to {} can ask", listed(binds));
            return Err(wrong(source, "media.stun_server", ip, expected));
        }
    }
    let Some(tcp) = media.tcp else { return Ok(()) };
    // Where several are bound, it tells those that it hears.
    let single = media.advertise.iter().filter(|_| binds.len() == 1);
    if let Some(ip) = single.into_iter().find(|ip| !hears(tcp.ip(), **ip)) {
        let expected = format!("an address that hears {ip} of `media.advertise`, such as [::]");
        return Err(wrong(source, "media.tcp", tcp, expected));
    }
    let others = [Some(http.listen), http.metrics_listen];
    if tcp.port() != 0 && others.contains(&Some(tcp)) {
        let expected = "another address than those of [http]: it is shared with nothing";
        return Err(wrong(source, "media.tcp", tcp, expected));
    }
    Ok(())
}

/// One, or several of which none hears what another is for.
fn check_binds(binds: &[IpAddr], source: &Source) -> Result<(), ConfigError> {
    let key = "media.bind";
    if binds.is_empty() || binds.len() > BINDS_MAX {
        let found = format!("{} addresses", binds.len());
        return Err(wrong(source, key, found, format!("one, or a list of 1 to {BINDS_MAX}")));
    }
    for (at, ip) in binds.iter().enumerate().filter(|_| binds.len() > 1) {
        let entry = format!("{key}.{at}");
        if ip.is_unspecified() {
            let expected = "a wildcard alone, or a list of addresses without one";
            return Err(wrong(source, &entry, ip, expected));
        }
        if !is_of_a_host(*ip) {
            return Err(wrong(source, &entry, ip, "an address of this host's"));
        }
        if binds.iter().take(at).any(|other| other.to_canonical() == ip.to_canonical()) {
            return Err(wrong(source, &entry, ip, "an address that is not in the list before"));
        }
    }
    Ok(())
}

fn listed(ips: &[IpAddr]) -> String {
    ips.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" or ")
}

/// Whether a socket that is bound there hears what is sent to `ip`.
fn hears(bind: IpAddr, ip: IpAddr) -> bool {
    let dual = bind.is_ipv6() && bind.is_unspecified();
    ip.to_canonical().is_ipv4() == bind.is_ipv4() || dual
}

/// The token keys, each with exactly the file that its algorithm needs.
fn keys(raw: &[RawKey], source: &Source) -> Result<Vec<KeySource>, ConfigError> {
    let mut keys: Vec<KeySource> = Vec::new();
    for (index, key) in raw.iter().enumerate() {
        let at = |name: &str| format!("tokens.keys.{index}.{name}");
        if key.kid.is_empty() || keys.iter().any(|other| other.kid == key.kid) {
            let expected = "a name that no other key has";
            return Err(wrong(source, &at("kid"), format!("{:?}", key.kid), expected));
        }
        let files = [&key.secret_file, &key.public_key_file];
        let material = material(key.algorithm, files, at, source)?;
        keys.push(KeySource { kid: key.kid.clone(), material });
    }
    Ok(keys)
}

/// The other issuers, each with exactly one place for its keys.
fn issuers(raw: &raw::RawTokens, source: &Source) -> Result<Vec<ExternalIssuer>, ConfigError> {
    let mut issuers = Vec::new();
    for (index, one) in raw.issuers.iter().enumerate() {
        let at = |name: &str| format!("tokens.issuers.{index}.{name}");
        let jwks = match (&one.jwks_url, &one.jwks_file) {
            (Some(url), None) => {
                let parsed: Option<Uri> = url.parse().ok();
                let web = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
                let expected = "a URL such as https://id.example.com/jwks.json";
                let wrong = || wrong(source, &at("jwks_url"), format!("{url:?}"), expected);
                Jwks::Url(parsed.filter(web).ok_or_else(wrong)?)
            }
            (None, Some(file)) => Jwks::File(resolve(source.directory(), file)),
            _ => {
                let expected = "exactly one of `jwks_url` and `jwks_file`";
                return Err(wrong(source, &at("issuer"), format!("{:?}", one.issuer), expected));
            }
        };
        let (issuer, audience) = (one.issuer.as_str(), one.audience.clone());
        issuers.push(ExternalIssuer::new(issuer, audience, raw.leeway, jwks));
    }
    Ok(issuers)
}

/// The one of `files` (secret, public key) that an algorithm needs.
fn material(
    algorithm: RawAlgorithm,
    [secret, public]: [&Option<PathBuf>; 2],
    at: impl Fn(&str) -> String,
    source: &Source,
) -> Result<KeyMaterial, ConfigError> {
    let (needed, other, name, unused) = match algorithm {
        RawAlgorithm::Hs256 => (secret, public, "secret_file", "public_key_file"),
        RawAlgorithm::EdDsa => (public, secret, "public_key_file", "secret_file"),
    };
    let Some(file) = needed else {
        return Err(ConfigError::Missing { place: source.place(&at("algorithm")), key: at(name) });
    };
    if other.is_some() {
        let expected = format!("only `{name}` with this algorithm");
        return Err(wrong(source, &at(unused), "given", expected));
    }
    let file = resolve(source.directory(), file);
    Ok(match algorithm {
        RawAlgorithm::Hs256 => KeyMaterial::Hs256(file),
        RawAlgorithm::EdDsa => KeyMaterial::EdDsa(file),
    })
}

fn resolve(directory: &Path, file: &Path) -> PathBuf {
    directory.join(file)
}
