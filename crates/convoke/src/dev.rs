//! `convoke serve --dev`: keys that live as long as the process, and a file that tells them.
//!
//! Owns: the development keys and `dev.json`.
//! Never: is on unless asked for; logs a key.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use convoke_control::{Key, KeyError, Minter, Role, Secret, ServiceKey};
use serde_json::json;

use crate::config::Config;
use crate::keyfile::{self, KeyFileError};

const KID: &str = "dev";

/// The keys of one run.
pub(crate) struct Dev {
    token_secret: Secret,
    access_key: Secret,
}

impl Dev {
    /// Makes them.
    pub(crate) fn new() -> Self {
        Self { token_secret: Secret::random(), access_key: Secret::random() }
    }

    /// For checking tokens.
    pub(crate) fn key(&self) -> Result<Key, KeyError> {
        Key::hs256(KID, &self.token_secret)
    }

    /// For making them.
    pub(crate) fn minter(&self) -> Result<Minter, KeyError> {
        Minter::hs256(KID, &self.token_secret)
    }

    /// For an app server that asks for anything.
    pub(crate) fn service(&self) -> Result<(ServiceKey, Minter), KeyError> {
        let key = ServiceKey::shared(KID, &self.access_key, vec![Role::Admin])?;
        Ok((key, self.minter()?))
    }

    /// Writes `dev.json`, readable by its owner only.
    pub(crate) fn write(
        &self,
        folder: &Path,
        url: &str,
        metrics_url: Option<&str>,
    ) -> Result<PathBuf, KeyFileError> {
        let access_key = self.access_key.expose_base64();
        let told = json!({
            "url": url,
            "metricsUrl": metrics_url,
            "connectionString": format!("endpoint={url};accesskey={access_key}"),
            "accessKey": access_key,
            "tokenKey": {
                "kid": KID,
                "algorithm": "HS256",
                "secretBase64": self.token_secret.expose_base64(),
            },
        });
        std::fs::create_dir_all(folder)
            .map_err(|source| KeyFileError::Io { path: folder.to_owned(), source })?;
        let file = folder.join("dev.json");
        keyfile::replace(&file, &format!("{told:#}\n"), 0o600)?;
        Ok(file)
    }
}

/// What differs from a server in production where nothing else was asked for: media on loopback,
/// and metrics on any free port so that several servers can run.
pub(crate) fn adapt(config: &mut Config) {
    let is_said = !config.node.advertise.is_empty() || config.node.stun.is_some();
    if config.node.bind.iter().any(IpAddr::is_unspecified) && !is_said {
        config.node.bind = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
        if let Some(tcp) = &mut config.node.tcp {
            tcp.listen.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
    }
    if config.metrics_listen == Config::default_metrics_listen() {
        config.metrics_listen = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    }
}
