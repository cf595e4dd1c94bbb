//! `[store]` and `[services]`: what app servers may ask for, and where it is kept.
//!
//! Owns: the checks of these sections, and opening what they name.
//! Never: is needed for calls whose tokens come from elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use convoke_control::store::{Location, Store, StoreConfig};
use convoke_control::{
    EventFormat, Issuer, Key, Minter, Role, ServiceKey, ServiceKeys, ServiceLimits, Services,
    Webhook,
};

use super::raw::{RawConfig, RawFormat, RawRole};
use super::{Config, ConfigError, KeyMaterial, KeySource, Source, material, resolve, wrong};
use crate::keyfile;

/// The name of the database in its directory.
const FILE: &str = "convoke.db";

/// A checked `[store]` and `[services]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceSettings {
    place: Place,
    patience: Duration,
    keys: Vec<(KeySource, Vec<Role>)>,
    /// The token key that signs tokens of identities, and its private part if it has one.
    issue_with: Option<(String, Option<PathBuf>)>,
    limits: ServiceLimits,
    webhooks: Vec<Target>,
    /// How they are told: for how long, how patiently, how many at once.
    telling: (Duration, Duration, u32),
}

/// A receiver of events.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    name: String,
    url: String,
    secret: PathBuf,
    private: Option<PathBuf>,
    format: EventFormat,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Memory,
    Directory(PathBuf),
    /// The file that holds the URL.
    Postgres(PathBuf),
}

/// Why what is configured cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("`store`: {0}")]
    Store(#[from] convoke_control::store::OpenError),
    #[error("`store`: {0}")]
    Down(#[from] convoke_control::store::StoreError),
    #[error("`store`: {}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("`services`: {0}")]
    Key(String),
}

impl ServiceSettings {
    pub(super) fn check(raw: &RawConfig, source: &Source) -> Result<Self, ConfigError> {
        let (store, services) = (&raw.store, &raw.services);
        let file = |name: &String| resolve(source.directory(), name.as_ref());
        let place = match (&store.directory, &store.postgres_url_file) {
            (None, None) => Place::Memory,
            (Some(directory), None) => Place::Directory(file(directory)),
            (None, Some(url)) => Place::Postgres(file(url)),
            (Some(_), Some(_)) => {
                let expected = "only one of `directory` and `postgres_url_file`";
                return Err(wrong(source, "store.postgres_url_file", "given", expected));
            }
        };
        Ok(Self {
            place,
            patience: store.patience,
            keys: service_keys(raw, source)?,
            issue_with: issue_with(raw, source)?,
            webhooks: targets(raw, source)?,
            telling: (raw.webhooks.retry_for, raw.webhooks.timeout, raw.webhooks.batch),
            limits: ServiceLimits {
                window: services.clock_window,
                requests_per_second: services.requests_per_second,
                request_burst: services.request_burst,
                failures_per_minute: services.failures_per_minute,
                body_bytes: services.request_body.0,
                room_participants: services.room_participants,
                page: services.page,
                capture_time: services.capture_time,
                capture_bytes: services.capture_size.0,
                capture_payloads: services.capture_payloads,
                keep_events: store.keep_events,
                keep_audit: store.keep_audit,
            },
        })
    }

    /// Reads the keys of who may ask and of issued tokens; `dev` come on top. `None` when nobody could
    /// ask.
    fn read_keys(
        &self,
        config: &Config,
        dev: Option<(ServiceKey, Minter)>,
    ) -> Result<Option<(ServiceKeys, Option<Issuer>)>, OpenError> {
        let (dev_key, dev_minter) = dev.unzip();
        let mut keys: Vec<ServiceKey> = dev_key.into_iter().collect();
        for (source, roles) in &self.keys {
            keys.push(read_key(source, roles.clone())?);
        }
        if keys.is_empty() {
            return Ok(None);
        }
        let keys = ServiceKeys::new(keys).map_err(|error| OpenError::Key(error.to_string()))?;
        let minter = match &self.issue_with {
            Some((kid, private)) => Some(read_minter(config, kid, private.as_ref())?),
            None => dev_minter,
        };
        Ok(Some((keys, minter.map(|minter| Issuer::new(minter, &config.rules)))))
    }

    fn read_webhooks(&self) -> Result<Vec<Webhook>, OpenError> {
        self.webhooks.iter().map(|target| target.read(self.telling)).collect()
    }

    /// The same services with keys, limits and webhooks as they are now.
    pub(crate) fn reopen(
        &self,
        open: &Services,
        config: &Config,
        dev: Option<(ServiceKey, Minter)>,
    ) -> Result<Option<Services>, OpenError> {
        let Some((keys, issuer)) = self.read_keys(config, dev)? else { return Ok(None) };
        let webhooks = self.read_webhooks()?;
        Ok(Some(open.reconfigured(keys, issuer, self.limits).with_webhooks(webhooks)))
    }

    /// Opens the store and reads the keys; `dev` come on top. `None` when nobody could ask.
    pub(crate) async fn open(
        &self,
        config: &Config,
        dev: Option<(ServiceKey, Minter)>,
    ) -> Result<Option<Services>, OpenError> {
        let Some((keys, issuer)) = self.read_keys(config, dev)? else { return Ok(None) };
        let webhooks = self.read_webhooks()?;
        let location = self.location()?;
        if location == Location::Memory {
            tracing::warn!("identities and rooms are kept in memory only; see [store]");
        }
        let store = StoreConfig { location, patience: self.patience };
        let store = Store::open(&store).await?;
        let services = Services::open(store, keys, issuer, self.limits).await?;
        Ok(Some(services.with_webhooks(webhooks)))
    }

    fn location(&self) -> Result<Location, OpenError> {
        let failed = |path: &PathBuf, source| OpenError::File { path: path.clone(), source };
        match &self.place {
            Place::Memory => Ok(Location::Memory),
            Place::Directory(path) => {
                std::fs::create_dir_all(path).map_err(|error| failed(path, error))?;
                Ok(Location::File(path.join(FILE)))
            }
            Place::Postgres(path) => {
                let url = std::fs::read_to_string(path).map_err(|error| failed(path, error))?;
                Ok(Location::Postgres(url.trim().to_owned()))
            }
        }
    }
}

impl Target {
    fn read(&self, telling: (Duration, Duration, u32)) -> Result<Webhook, OpenError> {
        let failed = |error: String| OpenError::Key(format!("webhook {:?}: {error}", self.name));
        let secret = keyfile::read_secret(&self.secret).map_err(|e| failed(e.to_string()))?;
        let webhook = Webhook::new(self.name.as_str(), &self.url, &secret);
        let mut webhook = webhook.map_err(|error| failed(error.to_string()))?;
        if let Some(file) = &self.private {
            let pem = keyfile::read_pem(file, "PRIVATE KEY").map_err(|e| failed(e.to_string()))?;
            webhook = webhook.signed_by(&pem).map_err(|error| failed(error.to_string()))?;
        }
        webhook.format = self.format;
        (webhook.retry_for, webhook.timeout, webhook.batch) = telling;
        Ok(webhook)
    }
}

fn targets(raw: &RawConfig, source: &Source) -> Result<Vec<Target>, ConfigError> {
    let webhooks = &raw.webhooks;
    let mut targets: Vec<Target> = Vec::new();
    let file = |name: &PathBuf| resolve(source.directory(), name);
    for (index, one) in webhooks.targets.iter().enumerate() {
        if one.name.is_empty() || targets.iter().any(|other| other.name == one.name) {
            let at = format!("webhooks.targets.{index}.name");
            let expected = "a name that no other webhook has";
            return Err(wrong(source, &at, format!("{:?}", one.name), expected));
        }
        targets.push(Target {
            name: one.name.clone(),
            url: one.url.clone(),
            secret: file(&one.secret_file),
            private: one.private_key_file.as_ref().map(file),
            format: match one.format {
                RawFormat::Convoke => EventFormat::Convoke,
                RawFormat::EventGrid => EventFormat::EventGrid,
            },
        });
    }
    Ok(targets)
}

fn service_keys(
    raw: &RawConfig,
    source: &Source,
) -> Result<Vec<(KeySource, Vec<Role>)>, ConfigError> {
    let mut keys: Vec<(KeySource, Vec<Role>)> = Vec::new();
    for (index, key) in raw.services.keys.iter().enumerate() {
        let at = |name: &str| format!("services.keys.{index}.{name}");
        if key.name.is_empty() || keys.iter().any(|(other, _)| other.kid == key.name) {
            let expected = "a name that no other key has";
            return Err(wrong(source, &at("name"), format!("{:?}", key.name), expected));
        }
        if key.roles.is_empty() {
            let expected = "at least one of \"identity\", \"calls\", \"admin\"";
            return Err(wrong(source, &at("roles"), "[]", expected));
        }
        let role = |role: &RawRole| match role {
            RawRole::Identity => Role::Identity,
            RawRole::Calls => Role::Calls,
            RawRole::Admin => Role::Admin,
        };
        let files = [&key.secret_file, &key.public_key_file];
        let material = material(key.algorithm, files, at, source)?;
        let source = KeySource { kid: key.name.clone(), material };
        keys.push((source, key.roles.iter().map(role).collect()));
    }
    Ok(keys)
}

/// The token key that signs, which must be there and able to.
fn issue_with(
    raw: &RawConfig,
    source: &Source,
) -> Result<Option<(String, Option<PathBuf>)>, ConfigError> {
    let services = &raw.services;
    let private = services.private_key_file.as_ref();
    let private = private.map(|file| resolve(source.directory(), file.as_ref()));
    let Some(kid) = &services.issue_with else {
        return Ok(private.map(|file| (String::new(), Some(file))));
    };
    Ok(Some((kid.clone(), private)))
}

fn read_key(source: &KeySource, roles: Vec<Role>) -> Result<ServiceKey, OpenError> {
    let failed = |error: String| OpenError::Key(format!("key {:?}: {error}", source.kid));
    match &source.material {
        KeyMaterial::Hs256(file) => {
            let secret = keyfile::read_secret(file).map_err(|error| failed(error.to_string()))?;
            let key = ServiceKey::shared(source.kid.as_str(), &secret, roles);
            key.map_err(|error| failed(error.to_string()))
        }
        KeyMaterial::EdDsa(file) => {
            let pem = keyfile::read_pem(file, "PUBLIC KEY").map_err(|e| failed(e.to_string()))?;
            let key = Key::eddsa_pem(source.kid.as_str(), &pem);
            Ok(ServiceKey::public(key.map_err(|error| failed(error.to_string()))?, roles))
        }
    }
}

fn read_minter(config: &Config, kid: &str, private: Option<&PathBuf>) -> Result<Minter, OpenError> {
    let failed = |error: String| OpenError::Key(format!("`issue_with` {kid:?}: {error}"));
    let key = config.keys.iter().find(|key| key.kid == kid);
    let key = key.ok_or_else(|| failed("no key of `tokens.keys` has this `kid`".to_owned()))?;
    match (&key.material, private) {
        (KeyMaterial::Hs256(file), None) => {
            let secret = keyfile::read_secret(file).map_err(|error| failed(error.to_string()))?;
            Minter::hs256(kid, &secret).map_err(|error| failed(error.to_string()))
        }
        (KeyMaterial::EdDsa(_), Some(file)) => {
            let pem = keyfile::read_pem(file, "PRIVATE KEY").map_err(|e| failed(e.to_string()))?;
            Minter::eddsa_pem(kid, &pem).map_err(|error| failed(error.to_string()))
        }
        (KeyMaterial::Hs256(_), Some(_)) => {
            Err(failed("an hs256 key signs by itself; leave `private_key_file` out".to_owned()))
        }
        (KeyMaterial::EdDsa(_), None) => {
            Err(failed("an eddsa key needs `private_key_file` to sign".to_owned()))
        }
    }
}
