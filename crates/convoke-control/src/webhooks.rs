//! Webhooks: events told to app servers.
//!
//! Owns: for each receiver one task that follows the log of events and tells it in order, in signed
//! batches, for as long as is configured; what is not taken by then is a dead letter.
//! Never: holds anything that a restart would lose (the cursor is in the store), or makes a call wait.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use aws_lc_rs::signature::Ed25519KeyPair;
use axum::body::Bytes;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{Method, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use convoke_store::{Event, Store, StoreError};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, sleep, timeout};

use crate::control::{Handover, Inner};
use crate::keys::Secret;
use crate::outbound::{self, OutboundError};
use crate::rest::events::EventFormat;
use crate::rest::time::{now_ms, to_ms};
use crate::sync::lock;

/// The first wait after a failure, doubling up to the longest.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(300);
/// How often the store is asked although nothing was written here.
const LOOK: Duration = Duration::from_secs(2);
/// How often it is looked how far webhooks are behind.
const LAG_EVERY: Duration = Duration::from_secs(10);
/// The longest reason that is kept of a failure, in bytes.
const REASON: usize = 200;

/// One receiver.
#[derive(Clone)]
pub struct Webhook {
    name: String,
    url: Uri,
    secret: hmac::Key,
    pair: Option<Arc<Ed25519KeyPair>>,
    /// How long an event is tried: 3 days by default.
    pub retry_for: Duration,
    /// How long one attempt may take: 10 s by default.
    pub timeout: Duration,
    /// Events in one request: 100 by default.
    pub batch: u32,
    /// How they are told: with our own types by default. It may be changed at any time; what is told
    /// from then on has the new one.
    pub format: EventFormat,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Webhook");
        debug.field("name", &self.name).field("retry_for", &self.retry_for);
        debug.finish_non_exhaustive()
    }
}

/// Why a webhook cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// The URL is not one.
    #[error("{0:?} is no http:// or https:// URL")]
    Url(String),
    /// Not an Ed25519 private key.
    #[error("not the PEM of an Ed25519 private key")]
    Key,
}

impl Webhook {
    /// A receiver; requests are signed with the secret (Standard Webhooks, `v1`).
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub fn new(name: impl Into<String>, url: &str, secret: &Secret) -> Result<Self, WebhookError> {
        let parsed: Option<Uri> = url.parse().ok();
        let good = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
        let url = parsed.filter(good).ok_or_else(|| WebhookError::Url(url.to_owned()))?;
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        Ok(Self {
            name: name.into(),
            url,
            secret,
            pair: None,
            retry_for: Duration::from_secs(3 * 24 * 3600),
            timeout: Duration::from_secs(10),
            batch: 100,
            format: EventFormat::default(),
        })
    }

    /// Signs with an Ed25519 private key (PKCS #8 in PEM) as well (`v1a`), so that receivers need not
    /// share a secret.
    ///
    /// # Errors
    /// When the key cannot be used.
    pub fn signed_by(mut self, pem: &str) -> Result<Self, WebhookError> {
        let lines = pem.lines().map(str::trim);
        let body: String = lines.filter(|line| !line.starts_with("-----")).collect();
        let der = STANDARD.decode(body).map_err(|_| WebhookError::Key)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der);
        let pair = pair.map_err(|_| WebhookError::Key)?;
        self.pair = Some(Arc::new(pair));
        Ok(self)
    }

    /// Its name: cursors and dead letters are kept under it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells events as its format has them, all or none.
    pub(crate) async fn tell(&self, view: Vec<(&Event, Value)>) -> Result<(), String> {
        let (first, last) = (view.first(), view.last());
        let number = |one: Option<&(&Event, Value)>| one.map_or(0, |(event, _)| event.position);
        let id = format!("{}-{}-{}", self.name, number(first), number(last));
        let batch = view.into_iter().map(|(_, told)| told).collect();
        let body = Bytes::from(Value::Array(batch).to_string());
        let at = to_ms(SystemTime::now()) / 1000;
        let headers = self.headers(&id, at, &body);
        let sent = outbound::send(Method::POST, &self.url, headers, body, self.timeout).await;
        match sent {
            Ok((status, _)) if status.is_success() => Ok(()),
            Ok((status, _)) => Err(format!("answered {status}")),
            Err(error @ OutboundError::Slow) => Err(error.to_string()),
            Err(error) => Err(shorten(error.to_string())),
        }
    }

    fn headers(&self, id: &str, at: i64, body: &[u8]) -> Vec<(HeaderName, HeaderValue)> {
        let signed = [id.as_bytes(), b".", at.to_string().as_bytes(), b".", body].concat();
        let mut signature = format!("v1,{}", STANDARD.encode(hmac::sign(&self.secret, &signed)));
        if let Some(pair) = &self.pair {
            signature.push_str(&format!(" v1a,{}", STANDARD.encode(pair.sign(&signed))));
        }
        let kind = HeaderValue::from_static("application/cloudevents-batch+json; charset=utf-8");
        let text = |name, text: &str| {
            let value = HeaderValue::from_str(text).ok()?;
            Some((HeaderName::from_static(name), value))
        };
        let own = [
            text("webhook-id", id),
            text("webhook-timestamp", &at.to_string()),
            text("webhook-signature", &signature),
        ];
        own.into_iter().flatten().chain([(CONTENT_TYPE, kind)]).collect()
    }
}

fn shorten(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(REASON));
    reason
}

impl Inner {
    /// Looks from time to time how far webhooks are behind, for metrics.
    pub(crate) async fn watch_lags(&self) {
        let mut tick = tokio::time::interval(LAG_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let Some(services) = self.config().services.clone() else { return };
            let mut lags = Vec::new();
            for webhook in services.webhooks.iter() {
                // What a store that is down does not tell is left out.
                if let Ok(lag) = services.store.lag(&webhook.name).await {
                    lags.push((webhook.name.clone(), lag));
                }
            }
            *lock(&self.lags) = lags;
        }
    }

    /// Follows the log for all receivers, for ever.
    /// Tells them until another server has taken over, which then does.
    pub(crate) async fn tell_webhooks(&self) {
        tokio::select! {
            () = self.tell_while_ours() => {}
            () = self.handed_over(Handover::Begun) => {}
        }
    }

    async fn tell_while_ours(&self) {
        let mut configured = self.configured.subscribe();
        loop {
            configured.mark_unchanged();
            let Some(services) = self.config().services.clone() else { return };
            let follow = |webhook: &Webhook| {
                follow(services.store.clone(), webhook.clone(), configured.clone())
            };
            futures_util::future::join_all(services.webhooks.iter().map(follow)).await;
            // Where there is no receiver, nothing has waited yet.
            if services.webhooks.is_empty() && configured.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Follows the log for one receiver, until the configuration changes: what is under way is told first.
async fn follow(store: Store, webhook: Webhook, configured: watch::Receiver<u64>) {
    let mut news = store.watch_events();
    let mut wait = RETRY_FIRST;
    while !configured.has_changed().unwrap_or(true) {
        news.mark_unchanged();
        match step(&store, &webhook).await {
            Ok(Step::Told) => wait = RETRY_FIRST,
            Ok(Step::Nothing) => {
                // An error means that the store is gone; the next step will say so.
                pause(&configured, timeout(LOOK, news.changed())).await;
            }
            Ok(Step::Refused(reason)) => {
                tracing::warn!(webhook = webhook.name, reason, ?wait, "a webhook waits");
                pause(&configured, sleep(jittered(wait))).await;
                wait = (wait * 2).min(RETRY_LONGEST);
            }
            Err(error) => {
                tracing::warn!(webhook = webhook.name, %error, "a webhook needs the store");
                pause(&configured, sleep(jittered(wait))).await;
                wait = (wait * 2).min(RETRY_LONGEST);
            }
        }
    }
}

/// Waits, but not beyond a change of the configuration.
async fn pause<T>(configured: &watch::Receiver<u64>, wait: impl Future<Output = T>) {
    let mut configured = configured.clone();
    tokio::select! {
        _ = wait => {}
        _ = configured.changed() => {}
    }
}

/// Half of it at least, so that receivers which come back are not stormed.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::random_range(0.5..1.0))
}

enum Step {
    Told,
    Nothing,
    Refused(String),
}

async fn step(store: &Store, webhook: &Webhook) -> Result<Step, StoreError> {
    let cursor = store.cursor(&webhook.name).await?;
    let events = store.events(cursor, i64::from(webhook.batch.max(1))).await?;
    let Some(last) = events.last() else { return Ok(Step::Nothing) };
    let view = webhook.format.view(store, &events).await?;
    let meant: HashSet<i64> = view.iter().map(|(event, _)| event.position).collect();
    let told = if view.is_empty() { Ok(()) } else { webhook.tell(view).await };
    let Err(reason) = told else {
        store.advance(&webhook.name, last.position, &[], now_ms()).await?;
        return Ok(Step::Told);
    };
    let now = now_ms();
    let most = i64::try_from(webhook.retry_for.as_millis()).unwrap_or(i64::MAX);
    let old: Vec<_> = events.iter().take_while(|event| now - event.at > most).collect();
    let Some(last) = old.last() else { return Ok(Step::Refused(reason)) };
    let dead = old.iter().filter(|event| meant.contains(&event.position));
    let dead: Vec<_> = dead.map(|event| (event.position, reason.clone())).collect();
    store.advance(&webhook.name, last.position, &dead, now).await?;
    if dead.is_empty() {
        return Ok(Step::Told);
    }
    tracing::error!(webhook = webhook.name, dead = dead.len(), reason, "events were given up");
    Ok(Step::Told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_signed_as_standard_webhooks_says() {
        let secret = Secret::new(*b"01234567890123456789012345678901");
        let webhook = Webhook::new("app", "https://app.example.com/hook?x=1", &secret).unwrap();
        let headers = webhook.headers("app-1-2", 1_614_265_330, b"[]");
        let get = |name: &str| {
            let found = headers.iter().find(|(one, _)| one == name);
            found.map(|(_, value)| value.to_str().unwrap().to_owned())
        };
        assert_eq!(get("webhook-id").as_deref(), Some("app-1-2"));
        assert_eq!(get("webhook-timestamp").as_deref(), Some("1614265330"));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        let expected = STANDARD.encode(hmac::sign(&key, b"app-1-2.1614265330.[]"));
        assert_eq!(get("webhook-signature"), Some(format!("v1,{expected}")));
    }

    #[test]
    fn what_is_no_web_address_is_refused() {
        let secret = Secret::random();
        for url in ["", "app.example.com", "ftp://a", "file:///etc/passwd", "/hook", "http://"] {
            assert!(Webhook::new("app", url, &secret).is_err(), "{url}");
        }
    }
}
