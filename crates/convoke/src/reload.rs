//! Reading the configuration anew while the server runs: on SIGHUP, and for an operator over HTTP.
//!
//! Owns: which keys hold at once and which only after a restart, and that a bad file or key changes
//! nothing.
//! Never: ends a call: what was let in stays until its token expires.

use std::path::PathBuf;
use std::time::Duration;

use convoke_control::{Control, Reloaded, Tls};
use serde_json::{Map, Value};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, ConfigError, OpenError, RawConfig, Source};
use crate::dev::Dev;
use crate::log::filter;
use crate::serve::{ServeError, control};

/// Keys that hold only after a restart; a section stands for all of its keys.
pub(crate) const RESTART: [&str; 23] = [
    "http.listen",
    "http.reuse_port",
    "http.metrics_listen",
    "media",
    "store.directory",
    "store.postgres_url_file",
    "store.patience",
    "calling",
    "limits.calls",
    "limits.worker_participants",
    "limits.call_participants",
    "limits.audio_slots",
    "limits.video_slots",
    "limits.tracks",
    "limits.sdp",
    "limits.sdp_sections",
    "limits.data_payload",
    "limits.data_messages_per_second",
    "limits.data_per_second",
    "limits.data_queue",
    "log.format",
    "log.recent_lines",
    "telemetry",
];

/// Keys that may change, but not from nothing to something or back.
pub(crate) const THERE_OR_NOT: [&str; 3] =
    ["http.tls_certificate_file", "http.tls_key_file", "services.keys"];

/// Sets another filter of the log.
pub(crate) type SetFilter = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send>;

/// What is needed to read the configuration anew.
pub(crate) struct Reloader {
    pub(crate) file: Option<PathBuf>,
    pub(crate) raw: RawConfig,
    pub(crate) dev: Option<Dev>,
    pub(crate) control: Control,
    pub(crate) tls: Option<Tls>,
    pub(crate) set_filter: SetFilter,
    /// How long calls may take to end when the server is told to stop.
    pub(crate) drain: Duration,
}

impl Reloader {
    /// Reads everything, and only then changes anything; says so in the log.
    pub(crate) fn reload(&mut self) -> Result<Reloaded, String> {
        let reloaded = self.try_reload().map_err(|error| error.to_string());
        match &reloaded {
            Ok(Reloaded { changed, needs_restart, .. }) => {
                tracing::info!(?changed, ?needs_restart, "the configuration was read anew");
            }
            Err(error) => tracing::error!(error, "the configuration was not changed"),
        }
        reloaded
    }

    fn try_reload(&mut self) -> Result<Reloaded, ServeError> {
        let source = Source::read(self.file.as_deref())?;
        let wanted = source.parse()?;
        // As it stands first, for it must also do for a restart.
        Config::check(wanted.clone(), &source)?;
        let (raw, reloaded) = merge(&self.raw, &wanted)?;
        let config = Config::check(raw.clone(), &source)?;
        let mut control = control(&config, self.dev.as_ref())?;
        let now = self.control.config();
        control.reloads = now.reloads.clone();
        control.recent_log = now.recent_log.clone();
        if let Some(services) = &now.services {
            let dev = self.dev.as_ref().map(Dev::service).transpose()?;
            control.services = config.services.reopen(services, &config, dev)?;
        }
        let tls = config.tls()?;
        (self.set_filter)(filter(&config.log)).map_err(OpenError::Key)?;
        if let (Some(tls), Some(newer)) = (&self.tls, &tls) {
            tls.replace(newer);
        }
        self.drain = config.drain;
        self.control.reconfigure(control);
        self.raw = raw;
        Ok(reloaded)
    }
}

/// What is wanted, but for what needs a restart; and what is changed by it.
fn merge(now: &RawConfig, wanted: &RawConfig) -> Result<(RawConfig, Reloaded), ConfigError> {
    let (now, mut merged) = (sections(now), sections(wanted));
    let mut reloaded = Reloaded::default();
    for (section, keys) in &mut merged {
        let Some(keys) = keys.as_object_mut() else { continue };
        for (key, value) in keys {
            let before = &now[section][key];
            if *before == *value {
                continue;
            }
            let name = format!("{section}.{key}");
            if needs_restart(section, &name, before, value) {
                *value = before.clone();
                reloaded.needs_restart.push(name);
            } else {
                reloaded.changed.push(name);
            }
        }
    }
    let merged = serde_json::from_value(Value::Object(merged));
    Ok((merged.map_err(ConfigError::not_merged)?, reloaded))
}

fn needs_restart(section: &str, name: &str, before: &Value, value: &Value) -> bool {
    let nothing = |value: &Value| {
        value.as_str().is_some_and(str::is_empty) || value.as_array().is_some_and(Vec::is_empty)
    };
    RESTART.iter().any(|one| *one == section || *one == name)
        || (THERE_OR_NOT.contains(&name) && nothing(before) != nothing(value))
}

fn sections(raw: &RawConfig) -> Map<String, Value> {
    match serde_json::to_value(raw) {
        Ok(Value::Object(sections)) => sections,
        // A configuration is a table of tables.
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> RawConfig {
        Source::text(text).parse().expect("valid")
    }

    #[test]
    fn what_needs_a_restart_is_named_and_stays() {
        let now = raw("[http]\nping_interval = \"9s\"\n[limits]\ntracks = 4\nagents = 5");
        let wanted = raw("[http]\nping_interval = \"8s\"\n[limits]\ntracks = 6\nagents = 5\n\
             [media]\nworkers = 7\n[log]\nlevel = \"warn\"");
        let (merged, reloaded) = merge(&now, &wanted).expect("merged");
        assert_eq!(reloaded.changed, ["http.ping_interval", "log.level"]);
        assert_eq!(reloaded.needs_restart, ["limits.tracks", "media.workers"]);
        assert_eq!((merged.limits.tracks, merged.media.workers), (4, 0));
        assert_eq!(merged.http.ping_interval, Duration::from_secs(8));
        assert_eq!(merge(&now, &now).expect("merged"), (now.clone(), Reloaded::default()));
    }

    #[test]
    fn what_is_there_may_change_and_what_is_not_stays_away() {
        let tls = |name: &str| raw(&format!("[http]\ntls_key_file = \"{name}\""));
        let both = |a: &str, b: &str| merge(&tls(a), &tls(b)).expect("merged").1;
        assert_eq!(both("a", "b").changed, ["http.tls_key_file"]);
        assert_eq!(both("", "b").needs_restart, ["http.tls_key_file"]);
        assert_eq!(both("a", "").needs_restart, ["http.tls_key_file"]);
    }

    #[test]
    fn every_key_that_needs_a_restart_is_a_key() {
        let sections = sections(&RawConfig::default());
        for name in RESTART.into_iter().chain(THERE_OR_NOT) {
            let found = match name.split_once('.') {
                Some((section, key)) => sections[section].get(key).is_some(),
                None => sections.contains_key(name),
            };
            assert!(found, "{name}");
        }
    }
}
