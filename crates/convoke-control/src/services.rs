//! App servers: who they are, what they may do, and what we keep for them.
//!
//! Owns: service keys and their check (ACS request signatures, bearer keys, service tokens), the
//! issue of access tokens, the store.
//! Never: lets a caller learn which part of a wrong key was right, or shows a key.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac};
use convoke_store::{Store, StoreError};
use serde::Serialize;
use uuid::Uuid;

use crate::clients::{Address, Rates};
use crate::keys::{Key, KeyError, KeySet, Secret, TokenRules};
use crate::limiter::Limiter;
use crate::mint::{MintError, Minter};
use crate::rest::time::to_ms;
use crate::revocations::{REMEMBERED, Revocations};
use crate::sync::lock;
use crate::token::check_times;
use crate::webhooks::Webhook;

/// The audience that a service token must name, so that no other token is taken for one.
pub(crate) const AUDIENCE: &str = "convoke-service";
/// The setting that holds the resource's id.
const RESOURCE: &str = "resource";

/// What a service key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Identities and their tokens.
    Identity,
    /// Scheduled rooms and calls.
    Calls,
    /// Everything, the audit log and webhooks included.
    Admin,
}

/// One key of an app server.
#[derive(Clone)]
pub struct ServiceKey {
    name: Arc<str>,
    roles: Vec<Role>,
    shared: Option<Shared>,
    token: Key,
}

/// A secret that both sides hold.
#[derive(Clone)]
struct Shared {
    signing: hmac::Key,
    bearer: [u8; 32],
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("ServiceKey");
        debug.field("name", &self.name).field("roles", &self.roles).finish_non_exhaustive()
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

impl ServiceKey {
    /// A shared secret: an ACS access key. It signs requests, is a bearer key in base64, and signs
    /// service tokens (HS256).
    ///
    /// # Errors
    /// When the name or the secret cannot be used.
    pub fn shared(
        name: impl Into<String>,
        secret: &Secret,
        roles: Vec<Role>,
    ) -> Result<Self, KeyError> {
        let token = Key::hs256(name, secret)?;
        let signing = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        let bearer = sha256(secret.expose_base64().as_bytes());
        let shared = Some(Shared { signing, bearer });
        Ok(Self { name: token.kid().into(), roles, shared, token })
    }

    /// A public key, by which service tokens are checked.
    #[must_use]
    pub fn public(key: Key, roles: Vec<Role>) -> Self {
        Self { name: key.kid().into(), roles, shared: None, token: key }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn may(&self, role: Role) -> bool {
        self.roles.iter().any(|own| *own == role || *own == Role::Admin)
    }
}

/// All service keys. Several allow one to be replaced without a gap.
#[derive(Debug, Clone)]
pub struct ServiceKeys {
    keys: Vec<Arc<ServiceKey>>,
    tokens: KeySet,
}

impl ServiceKeys {
    /// Collects keys.
    ///
    /// # Errors
    /// When there are none or too many, or two share a name.
    pub fn new(keys: Vec<ServiceKey>) -> Result<Self, KeyError> {
        let tokens = keys.iter().map(|key| key.token.clone()).collect();
        let rules = TokenRules { audience: Some(AUDIENCE.to_owned()), ..TokenRules::default() };
        let tokens = KeySet::new(tokens, rules)?;
        Ok(Self { keys: keys.into_iter().map(Arc::new).collect(), tokens })
    }

    /// The key that made one of these signatures. All are checked, each in constant time.
    pub(crate) fn by_signature(
        &self,
        messages: &[String],
        signature: &[u8],
    ) -> Option<Arc<ServiceKey>> {
        let holds = |key: &&Arc<ServiceKey>| {
            key.shared.as_ref().is_some_and(|shared| {
                let matches = |message: &String| {
                    hmac::verify(&shared.signing, message.as_bytes(), signature).is_ok()
                };
                messages.iter().any(matches)
            })
        };
        self.keys.iter().find(holds).cloned()
    }

    /// The key that a bearer showed: the key itself, or a token that it signed.
    pub(crate) fn by_bearer(&self, shown: &str, now: SystemTime) -> Option<Arc<ServiceKey>> {
        if shown.matches('.').count() == 2 {
            return self.by_token(shown, now);
        }
        let shown = sha256(shown.as_bytes());
        let same = |key: &&Arc<ServiceKey>| {
            let own = key.shared.as_ref().map(|shared| &shared.bearer);
            own.is_some_and(|own| verify_slices_are_equal(own, &shown).is_ok())
        };
        self.keys.iter().find(same).cloned()
    }

    fn by_token(&self, token: &str, now: SystemTime) -> Option<Arc<ServiceKey>> {
        let (kid, claims) = self.tokens.open_named(token).ok()?;
        let rules = self.tokens.rules();
        crate::token::check_party(&claims, rules).ok()?;
        check_times(&claims, rules.leeway, now).ok()?;
        self.keys.iter().find(|key| *key.name == *kid).cloned()
    }
}

/// Issues access tokens of identities that we hold.
#[derive(Debug, Clone)]
pub struct Issuer {
    minter: Minter,
    issuer: Option<String>,
    audience: Option<String>,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    scp: &'a [&'a str],
    #[serde(rename = "gen")]
    generation: i64,
    iat: u64,
    exp: u64,
    /// Makes each token another one. In hexadecimal: some clients cannot read all of base64url.
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

impl Issuer {
    /// Signs with one of the keys by which tokens are checked, under the same rules.
    #[must_use]
    pub fn new(minter: Minter, rules: &TokenRules) -> Self {
        let (issuer, audience) = (rules.issuer.clone(), rules.audience.clone());
        Self { minter, issuer, audience }
    }

    pub(crate) fn kid(&self) -> &str {
        self.minter.kid()
    }

    /// A token and when it expires.
    pub(crate) fn issue(
        &self,
        identity: &str,
        scopes: &[&str],
        generation: i64,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<(String, SystemTime), MintError> {
        let iat = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let exp = iat.saturating_add(lifetime.as_secs());
        let token = self.minter.sign(&Claims {
            sub: identity,
            scp: scopes,
            generation,
            iat,
            exp,
            jti: Uuid::new_v4().simple().to_string(),
            iss: self.issuer.as_deref(),
            aud: self.audience.as_deref(),
        })?;
        Ok((token, UNIX_EPOCH + Duration::from_secs(exp)))
    }
}

/// Bounds of the REST interface, with their defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceLimits {
    /// By how much a request's date may differ from our clock: 5 minutes.
    pub window: Duration,
    /// Requests a second with one key on the long run: 200.
    pub requests_per_second: u32,
    /// Requests at once with one key: 1,000.
    pub request_burst: u32,
    /// Wrong keys that an address may show in a minute: 30; 0: as many as it wants. Beyond it nothing
    /// from there is listened to for a while. Trusted proxies are not counted.
    pub failures_per_minute: u32,
    /// Bytes of one request's body: 256 KiB.
    pub body_bytes: usize,
    /// Participants of one scheduled room: 1,000.
    pub room_participants: usize,
    /// Entries on one page of a list: 100.
    pub page: usize,
    /// How long one capture of a call may last: 5 minutes; zero: there are none.
    pub capture_time: Duration,
    /// The largest file of a capture, which is kept in memory: 16 MiB. Four are kept.
    pub capture_bytes: usize,
    /// Whether captures may have payloads: no.
    pub capture_payloads: bool,
    /// How long events are kept, but for what a webhook has yet to be told; zero: for ever. 400 days.
    pub keep_events: Duration,
    /// How long the audit log is kept; zero: for ever. 400 days.
    pub keep_audit: Duration,
}

/// The default of what is kept.
const KEEP: Duration = Duration::from_secs(400 * 24 * 3600);
/// The rest between two steps of trimming, in which others have the store.
const BETWEEN: Duration = Duration::from_millis(50);

impl Default for ServiceLimits {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(300),
            requests_per_second: 200,
            request_burst: 1_000,
            failures_per_minute: 30,
            body_bytes: 256 * 1024,
            room_participants: 1_000,
            page: 100,
            capture_time: Duration::from_secs(300),
            capture_bytes: 16 << 20,
            capture_payloads: false,
            keep_events: KEEP,
            keep_audit: KEEP,
        }
    }
}

/// What app servers may ask for. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Services {
    pub(crate) store: Store,
    pub(crate) keys: Arc<ServiceKeys>,
    pub(crate) issuer: Option<Arc<Issuer>>,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) limits: ServiceLimits,
    /// The part of our identities' ids that all share.
    pub(crate) resource: Arc<str>,
    pub(crate) webhooks: Arc<Vec<Webhook>>,
    pub(crate) failures: Arc<Rates<Address>>,
    limiters: Arc<Vec<Mutex<Limiter>>>,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Services");
        debug.field("store", &self.store).field("keys", &self.keys);
        debug.field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Services {
    /// Reads from the store what must be known without asking it. Without an issuer identities are
    /// not held here: their tokens come from elsewhere.
    ///
    /// # Errors
    /// When the store is down.
    pub async fn open(
        store: Store,
        keys: ServiceKeys,
        issuer: Option<Issuer>,
        limits: ServiceLimits,
    ) -> Result<Self, StoreError> {
        let resource = store.setting(RESOURCE, &Uuid::new_v4().to_string()).await?;
        let since = to_ms(SystemTime::now() - REMEMBERED);
        let revocations = Revocations::new(store.revocations(since).await?);
        Ok(Self {
            limiters: limiters(&keys, &limits),
            failures: Arc::default(),
            store,
            keys: Arc::new(keys),
            issuer: issuer.map(Arc::new),
            revocations: Arc::new(revocations),
            limits,
            resource: resource.into(),
            webhooks: Arc::default(),
        })
    }

    /// The same, with the same store, under other keys and limits. Webhooks stay as they are.
    #[must_use]
    pub fn reconfigured(
        &self,
        keys: ServiceKeys,
        issuer: Option<Issuer>,
        limits: ServiceLimits,
    ) -> Self {
        Self {
            limiters: limiters(&keys, &limits),
            keys: Arc::new(keys),
            issuer: issuer.map(Arc::new),
            limits,
            ..self.clone()
        }
    }

    /// Tells these receivers what happens. Their names must differ.
    #[must_use]
    pub fn with_webhooks(mut self, webhooks: Vec<Webhook>) -> Self {
        self.webhooks = Arc::new(webhooks);
        self
    }

    /// The identity by which call automation calls where the app server names none.
    pub(crate) fn automation(&self) -> String {
        format!("8:acs:{}_calling", self.resource)
    }

    /// Whether a key may make one more request now.
    pub(crate) fn allow(&self, key: &ServiceKey, now: Instant) -> bool {
        let at = self.keys.keys.iter().position(|one| one.name == key.name);
        let limiter = at.and_then(|at| self.limiters.get(at));
        limiter.is_some_and(|limiter| lock(limiter).allow(now))
    }

    /// Forgets what is too old to matter.
    pub(crate) async fn tidy(&self, now: SystemTime) -> Result<(), StoreError> {
        let before = to_ms(now - REMEMBERED);
        self.revocations.forget(before);
        self.store.forget_revocations(before).await?;
        self.store.forget_repeats(before).await?;
        Ok(())
    }

    /// Takes out of the logs what is older than it is to be kept, a little at a time.
    pub(crate) async fn trim(&self, now: SystemTime) -> Result<(), StoreError> {
        let before = |keep: Duration| now.checked_sub(keep).filter(|_| !keep.is_zero()).map(to_ms);
        let names: Vec<&str> = self.webhooks.iter().map(Webhook::name).collect();
        let (mut events, mut entries) = (0, 0);
        if let Some(before) = before(self.limits.keep_events) {
            let mut after = Some(0);
            while let Some(from) = after {
                let step = self.store.trim_events(before, &names, from).await?;
                (events, after) = (events + step.rows, step.next);
                tokio::time::sleep(BETWEEN).await;
            }
        }
        if let Some(before) = before(self.limits.keep_audit) {
            let mut more = true;
            while more {
                let step = self.store.trim_audit(before).await?;
                (entries, more) = (entries + step.rows, step.next.is_some());
                tokio::time::sleep(BETWEEN).await;
            }
        }
        if events + entries > 0 {
            tracing::info!(events, audit = entries, "what was older than it is kept is gone");
        }
        Ok(())
    }
}

fn limiters(keys: &ServiceKeys, limits: &ServiceLimits) -> Arc<Vec<Mutex<Limiter>>> {
    let now = Instant::now();
    let one = || Mutex::new(Limiter::new(limits.requests_per_second, limits.request_burst, now));
    Arc::new(keys.keys.iter().map(|_| one()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> (ServiceKeys, Secret, Secret) {
        let (a, b) = (Secret::random(), Secret::random());
        let key = |name: &str, secret| ServiceKey::shared(name, secret, vec![Role::Calls]);
        let keys = ServiceKeys::new(vec![key("a", &a).unwrap(), key("b", &b).unwrap()]).unwrap();
        (keys, a, b)
    }

    #[test]
    fn each_of_several_keys_is_known_by_its_signature_and_as_bearer() {
        let (keys, a, b) = keys();
        for (secret, name) in [(&a, "a"), (&b, "b")] {
            let signing = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
            let signature = hmac::sign(&signing, b"message");
            let messages = ["other".to_owned(), "message".to_owned()];
            let found = keys.by_signature(&messages, signature.as_ref()).unwrap();
            assert_eq!(&**found.name(), name);
            assert!(keys.by_signature(&messages[..1], signature.as_ref()).is_none());
            let found = keys.by_bearer(&secret.expose_base64(), SystemTime::now()).unwrap();
            assert_eq!(&**found.name(), name);
        }
        let stranger = Secret::random().expose_base64();
        for shown in ["", "a", "a.b", &stranger, &a.expose_base64()[1..]] {
            assert!(keys.by_bearer(shown, SystemTime::now()).is_none());
        }
    }

    #[test]
    fn a_service_token_must_be_for_services() {
        #[derive(Serialize)]
        struct Token<'a> {
            aud: &'a str,
            exp: u64,
        }
        let (keys, a, _) = keys();
        let now = SystemTime::now();
        let seconds = now.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let minter = Minter::hs256("a", &a).unwrap();
        let token = |aud, exp| minter.sign(&Token { aud, exp }).unwrap();
        let good = token(AUDIENCE, seconds + 60);
        assert_eq!(&**keys.by_bearer(&good, now).unwrap().name(), "a");
        assert!(keys.by_bearer(&token("another", seconds + 60), now).is_none());
        assert!(keys.by_bearer(&token(AUDIENCE, seconds - 60), now).is_none());
        let access = minter.mint(&crate::TokenRequest::new("alice"), now).unwrap();
        assert!(keys.by_bearer(&access, now).is_none(), "an access token is no service token");
    }

    #[test]
    fn roles_do_not_reach_further() {
        let secret = Secret::random();
        let key = |role| ServiceKey::shared("a", &secret, vec![role]).unwrap();
        assert!(key(Role::Identity).may(Role::Identity));
        assert!(!key(Role::Identity).may(Role::Calls));
        assert!(!key(Role::Calls).may(Role::Admin));
        assert!(key(Role::Admin).may(Role::Calls) && key(Role::Admin).may(Role::Admin));
    }
}
