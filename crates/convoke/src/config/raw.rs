//! The configuration file as it is written, with the default of every key.
//!
//! Owns: names, defaults and types of the keys. Keys that are not here are refused.
//! Never: checks one key against another or opens a file; [`super::Config`] does.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use convoke_protocol::LobbyPolicy;
use serde::{Deserialize, Serialize};

use super::units::{self, OneOrMore, Size, StunServer};

/// Declares a section: its keys with their defaults.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident {
        $( $(#[$attr:meta])* $key:ident: $type:ty = $default:expr, )*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct $name { $( $(#[$attr])* pub(crate) $key: $type, )* }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $key: $default, )* }
            }
        }

        #[cfg(test)]
        impl $name {
            /// The keys with their types, as they are written here.
            pub(super) const KEYS: &[(&str, &str)] =
                &[ $( (stringify!($key), stringify!($type)), )* ];
        }
    };
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawConfig {
    pub(crate) http: RawHttp,
    pub(crate) media: RawMedia,
    pub(crate) tokens: RawTokens,
    pub(crate) turn: RawTurn,
    pub(crate) store: RawStore,
    pub(crate) services: RawServices,
    pub(crate) webhooks: RawWebhooks,
    pub(crate) calling: RawCalling,
    pub(crate) calls: RawCalls,
    pub(crate) limits: RawLimits,
    pub(crate) shutdown: RawShutdown,
    pub(crate) log: RawLog,
    pub(crate) telemetry: RawTelemetry,
}

section! {
    /// `[http]`
    RawHttp {
        #[serde(with = "units::text")]
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
        reuse_port: bool = false,
        #[serde(with = "units::text")]
        metrics_listen: Option<SocketAddr> = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 8081))),
        #[serde(with = "units::text")]
        tls_certificate_file: Option<String> = None,
        #[serde(with = "units::text")]
        tls_key_file: Option<String> = None,
        #[serde(with = "units::list")]
        allowed_origins: Vec<String> = Vec::new(),
        #[serde(with = "units::text")]
        header_timeout: Duration = Duration::from_secs(10),
        #[serde(with = "units::text")]
        body_timeout: Duration = Duration::from_secs(20),
        #[serde(with = "units::text")]
        send_timeout: Duration = Duration::from_secs(30),
        connections: usize = 12_000,
        connections_per_address: usize = 2_000,
        #[serde(with = "units::list")]
        trusted_proxies: Vec<String> = vec!["127.0.0.0/8".to_owned(), "::1".to_owned()],
        #[serde(with = "units::text")]
        hello_timeout: Duration = Duration::from_secs(10),
        #[serde(with = "units::text")]
        ping_interval: Duration = Duration::from_secs(25),
        #[serde(with = "units::text")]
        retry_after: Duration = Duration::from_secs(1),
    }
}

section! {
    /// `[media]`
    RawMedia {
        bind: OneOrMore<IpAddr> = OneOrMore(vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)]),
        port: u16 = 40_000,
        workers: usize = 0,
        #[serde(with = "units::list")]
        advertise: Vec<IpAddr> = Vec::new(),
        #[serde(with = "units::text")]
        stun_server: Option<StunServer> = None,
        #[serde(with = "units::text")]
        stun_interval: Duration = Duration::from_secs(300),
        #[serde(with = "units::text")]
        timeout: Duration = Duration::from_secs(30),
        #[serde(with = "units::text")]
        keyframe_interval: Duration = Duration::from_millis(500),
        #[serde(with = "units::text")]
        socket_buffer: Size = Size(4 << 20),
        datagrams_per_turn: usize = 256,
        command_queue: usize = 1_024,
        event_queue: usize = 65_536,
        participants_per_shard: usize = 200,
        relay_queue: usize = 4_096,
        send_queue: usize = 4_096,
        #[serde(with = "units::text")]
        tcp: Option<SocketAddr> = None,
        tcp_connections: usize = 4_000,
        tcp_connections_per_address: usize = 400,
        #[serde(with = "units::text")]
        tcp_hello_timeout: Duration = Duration::from_secs(5),
        tcp_send_queue: usize = 256,
        #[serde(with = "units::text")]
        tcp_send_timeout: Duration = Duration::from_secs(10),
    }
}

section! {
    /// `[tokens]`
    RawTokens {
        keys: Vec<RawKey> = Vec::new(),
        issuers: Vec<RawIssuer> = Vec::new(),
        #[serde(with = "units::text")]
        leeway: Duration = Duration::from_secs(10),
        #[serde(with = "units::text")]
        issuer: Option<String> = None,
        #[serde(with = "units::text")]
        audience: Option<String> = None,
    }
}

/// One of `[[tokens.keys]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawKey {
    pub(crate) kid: String,
    pub(crate) algorithm: RawAlgorithm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) public_key_file: Option<PathBuf>,
}

/// One of `[[tokens.issuers]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawIssuer {
    pub(crate) issuer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) jwks_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) jwks_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) audience: Option<String>,
}

/// What a key may sign with. It is pinned here; a token's header cannot choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawAlgorithm {
    Hs256,
    EdDsa,
}

section! {
    /// `[turn]`
    RawTurn {
        servers: Vec<RawTurnServer> = Vec::new(),
        #[serde(with = "units::text")]
        lifetime: Duration = Duration::from_secs(24 * 3_600),
    }
}

/// One of `[[turn.servers]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTurnServer {
    pub(crate) urls: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret_file: Option<PathBuf>,
}

section! {
    /// `[store]`
    RawStore {
        #[serde(with = "units::text")]
        directory: Option<String> = None,
        #[serde(with = "units::text")]
        postgres_url_file: Option<String> = None,
        #[serde(with = "units::text")]
        patience: Duration = Duration::from_secs(3),
        #[serde(with = "units::text")]
        keep_events: Duration = Duration::from_secs(400 * 24 * 3_600),
        #[serde(with = "units::text")]
        keep_audit: Duration = Duration::from_secs(400 * 24 * 3_600),
    }
}

section! {
    /// `[services]`
    RawServices {
        keys: Vec<RawServiceKey> = Vec::new(),
        #[serde(with = "units::text")]
        issue_with: Option<String> = None,
        #[serde(with = "units::text")]
        private_key_file: Option<String> = None,
        #[serde(with = "units::text")]
        clock_window: Duration = Duration::from_secs(300),
        requests_per_second: u32 = 200,
        request_burst: u32 = 1_000,
        failures_per_minute: u32 = 30,
        #[serde(with = "units::text")]
        request_body: Size = Size(256 << 10),
        room_participants: usize = 1_000,
        page: usize = 100,
        #[serde(with = "units::text")]
        capture_time: Duration = Duration::from_secs(300),
        #[serde(with = "units::text")]
        capture_size: Size = Size(16 << 20),
        capture_payloads: bool = false,
    }
}

/// One of `[[services.keys]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawServiceKey {
    pub(crate) name: String,
    pub(crate) algorithm: RawAlgorithm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) public_key_file: Option<PathBuf>,
    pub(crate) roles: Vec<RawRole>,
}

/// What a service key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawRole {
    Identity,
    Calls,
    Admin,
}

section! {
    /// `[webhooks]`
    RawWebhooks {
        targets: Vec<RawWebhook> = Vec::new(),
        #[serde(with = "units::text")]
        retry_for: Duration = Duration::from_secs(3 * 24 * 3_600),
        #[serde(with = "units::text")]
        timeout: Duration = Duration::from_secs(10),
        batch: u32 = 100,
    }
}

/// One of `[[webhooks.targets]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawWebhook {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) secret_file: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) private_key_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) format: RawFormat,
}

/// How events are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum RawFormat {
    #[default]
    #[serde(rename = "convoke")]
    Convoke,
    #[serde(rename = "eventGrid")]
    EventGrid,
}

section! {
    /// `[calling]`
    RawCalling {
        connections: usize = 10_000,
        connections_per_call: usize = 16,
        #[serde(with = "units::text")]
        move_within: Duration = Duration::from_secs(20),
        #[serde(with = "units::list")]
        callback_hosts: Vec<String> = Vec::new(),
        #[serde(with = "units::text")]
        callback_retry_for: Duration = Duration::from_secs(300),
        #[serde(with = "units::text")]
        callback_timeout: Duration = Duration::from_secs(10),
        callbacks_in_flight: usize = 256,
        callback_queue: usize = 256,
    }
}

section! {
    /// `[calls]`
    RawCalls {
        audio_slots: u32 = 8,
        video_slots: u32 = 16,
        #[serde(with = "units::text")]
        resume_grace: Duration = Duration::from_secs(30),
        lobby: LobbyPolicy = LobbyPolicy::Nobody,
        #[serde(with = "units::text")]
        lobby_timeout: Duration = Duration::from_secs(15 * 60),
        #[serde(with = "units::text")]
        lobby_hold: Duration = Duration::from_secs(30),
        #[serde(with = "units::text")]
        ring_timeout: Duration = Duration::from_secs(60),
        #[serde(with = "units::text")]
        agent_wait: Option<Duration> = None,
    }
}

section! {
    /// `[limits]`
    RawLimits {
        agents: usize = 10_000,
        agents_per_address: usize = 1_000,
        agents_per_identity: usize = 50,
        token_failures_per_minute: u32 = 60,
        joins_per_minute: u32 = 120,
        calls: usize = 10_000,
        worker_participants: usize = 10_000,
        call_participants: usize = 1_000,
        audio_slots: usize = 16,
        video_slots: usize = 64,
        tracks: usize = 8,
        #[serde(with = "units::text")]
        message: Size = Size(512 << 10),
        messages_per_second: u32 = 50,
        message_burst: u32 = 200,
        #[serde(with = "units::text")]
        sdp: Size = Size(256 << 10),
        sdp_sections: usize = 128,
        queue_messages: usize = 512,
        #[serde(with = "units::text")]
        queue: Size = Size(4 << 20),
        #[serde(with = "units::text")]
        data_payload: Size = Size(16 << 10),
        data_messages_per_second: u32 = 3_000,
        #[serde(with = "units::text")]
        data_per_second: Size = Size(4 << 20),
        #[serde(with = "units::text")]
        data_queue: Size = Size(1 << 20),
    }
}

section! {
    /// `[shutdown]`
    RawShutdown {
        #[serde(with = "units::text")]
        drain: Duration = Duration::from_secs(600),
    }
}

section! {
    /// `[log]`
    RawLog {
        format: LogFormat = LogFormat::Human,
        #[serde(with = "units::text")]
        level: LogLevel = LogLevel("info".to_owned()),
        recent_lines: usize = 2_000,
    }
}

section! {
    /// `[telemetry]`
    RawTelemetry {
        #[serde(with = "units::text")]
        otlp_endpoint: Option<String> = None,
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Human,
    Json,
}

/// A filter of `tracing_subscriber::EnvFilter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogLevel(pub(crate) String);

impl units::Text for LogLevel {
    const EXPECTED: &'static str =
        "a level, perhaps with exceptions, such as \"info\" or \"info,convoke_control=debug\"";

    fn parse(text: &str) -> Option<Self> {
        let named = text.split(',').all(|part| {
            let level = part.rsplit('=').next().unwrap_or_default();
            level.parse::<tracing::level_filters::LevelFilter>().is_ok()
        });
        let valid = named && tracing_subscriber::EnvFilter::try_new(text).is_ok();
        valid.then(|| Self(text.to_owned()))
    }

    fn spell(&self) -> String {
        self.0.clone()
    }
}
