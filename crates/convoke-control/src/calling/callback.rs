//! Events on their way to app servers.
//!
//! Owns: which addresses are told anything; for each connection and address a lane, in which events
//! go one at a time and in order, each tried for as long as is configured; and the bounds: of each
//! lane, and of requests at once, of which one receiver gets a part.
//! Never: makes a call wait, or follows a redirect. What a restart would lose is lost with the
//! connections that it is about.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Method, Uri};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::sync::Semaphore;

use super::CallingConfig;
use crate::outbound;

/// The longest address, in bytes.
pub(crate) const ADDRESS: usize = 2_048;
/// The first wait after a failure, doubling up to the longest.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_LONGEST: Duration = Duration::from_secs(30);
/// One receiver gets this part of all requests at once, so that one that hangs stops no other.
const PART: usize = 4;

/// Where events go. Its query may hold a secret, so that it is never shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Callback(Uri);

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Callback").field(&self.0.authority()).finish()
    }
}

impl Callback {
    /// Reads an address, or says what is wrong with it.
    pub(crate) fn read(text: &str, hosts: &[String]) -> Result<Self, String> {
        if text.len() > ADDRESS {
            return Err(format!("has {} bytes; at most {ADDRESS} are allowed", text.len()));
        }
        let uri: Option<Uri> = text.parse().ok();
        let good = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
        let uri = uri.filter(good).ok_or("must be an http:// or https:// URL")?;
        let authority = uri.authority().ok_or("has no host")?;
        if authority.as_str().contains('@') {
            return Err("must not hold a user name; a secret may be in the query".to_owned());
        }
        check_host(authority.host(), hosts)?;
        Ok(Self(uri))
    }

    /// As it was given.
    pub(crate) fn expose(&self) -> String {
        self.0.to_string()
    }

    fn host(&self) -> &str {
        self.0.host().unwrap_or_default()
    }
}

/// Where hosts are configured, one of these or below one; else any but addresses that are nobody's
/// app server: link-local ones (of cloud metadata), multicast and the unspecified.
fn check_host(host: &str, hosts: &[String]) -> Result<(), String> {
    let host = host.to_ascii_lowercase();
    if host.is_empty() {
        return Err("has no host".to_owned());
    }
    let named = |one: &String| {
        let one = one.to_ascii_lowercase();
        match one.strip_prefix("*.") {
            Some(parent) => host.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.')),
            None => host == one,
        }
    };
    if !hosts.is_empty() {
        let text = "is at a host that is not among `calling.callback_hosts`";
        return if hosts.iter().any(named) { Ok(()) } else { Err(text.to_owned()) };
    }
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = literal.parse().ok();
    let refused = address.is_some_and(|address| match address.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_link_local() || v4.is_multicast() || v4.is_unspecified() || v4.is_broadcast()
        }
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_multicast() || v6.is_unspecified(),
    });
    if refused {
        return Err("is at an address where no app server can be".to_owned());
    }
    Ok(())
}

/// An event that waits.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) body: Bytes,
    pub(crate) born: Instant,
    /// The next of its kind says all that it does.
    pub(crate) superseded: bool,
}

/// What becomes of an attempt, or of an event without one, as metrics name it.
pub(crate) const OUTCOMES: [&str; 4] = ["taken", "refused", "given_up", "dropped"];

type Key = (Arc<str>, Callback);

/// Events of one connection for one address. A lane is there while something is in it or under way.
#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Event>,
}

impl Lane {
    /// Takes one in. How many were dropped for it.
    fn push(&mut self, event: Event, most: usize) -> u64 {
        if event.superseded && self.waiting.back().is_some_and(|last| last.superseded) {
            self.waiting.pop_back();
        }
        let mut dropped = 0;
        while self.waiting.len() >= most.max(1) {
            // Rosters first: the newest says all. Then the oldest.
            let at = self.waiting.iter().position(|one| one.superseded).unwrap_or_default();
            self.waiting.remove(at);
            dropped += 1;
        }
        self.waiting.push_back(event);
        dropped
    }
}

/// All events on their way.
#[derive(Debug)]
pub(crate) struct Callbacks {
    lanes: DashMap<Key, Lane>,
    places: Semaphore,
    /// Places at each receiver, by host and port, while anything goes there.
    receivers: DashMap<String, Arc<Semaphore>>,
    counts: [AtomicU64; OUTCOMES.len()],
    config: CallingConfig,
}

impl Callbacks {
    pub(crate) fn new(config: CallingConfig) -> Self {
        let places = Semaphore::new(config.callbacks_in_flight.clamp(1, Semaphore::MAX_PERMITS));
        let (lanes, receivers) = (DashMap::new(), DashMap::new());
        Self { lanes, places, receivers, counts: Default::default(), config }
    }

    /// What became of all so far.
    pub(crate) fn counts(&self) -> [u64; OUTCOMES.len()] {
        self.counts.each_ref().map(|count| count.load(Relaxed))
    }

    fn count(&self, outcome: &str, times: u64) {
        let outcomes = OUTCOMES.iter().zip(&self.counts);
        for (_, count) in outcomes.filter(|(name, _)| **name == outcome) {
            count.fetch_add(times, Relaxed);
        }
    }

    /// Whether everything is told or given up.
    pub(crate) fn is_idle(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Queues an event. Must be called within a runtime.
    pub(crate) fn push(self: &Arc<Self>, connection: &Arc<str>, to: &Callback, event: Event) {
        let key = (Arc::clone(connection), to.clone());
        let most = self.config.callback_queue;
        let (dropped, begin) = match self.lanes.entry(key.clone()) {
            Entry::Occupied(mut lane) => (lane.get_mut().push(event, most), false),
            Entry::Vacant(place) => {
                (place.insert(Lane::default()).value_mut().push(event, most), true)
            }
        };
        if dropped > 0 {
            self.count("dropped", dropped);
            let (connection, host) = (&**connection, to.host());
            tracing::warn!(connection, host, dropped, "callbacks were dropped: too many wait");
        }
        if begin {
            tokio::spawn(Arc::clone(self).run(key));
        }
    }

    async fn run(self: Arc<Self>, key: Key) {
        while self.lanes.remove_if(&key, |_, lane| lane.waiting.is_empty()).is_none() {
            let next = self.lanes.get_mut(&key).and_then(|mut lane| lane.waiting.pop_front());
            let Some(event) = next else { return };
            self.deliver(&key, event).await;
        }
    }

    async fn deliver(&self, (connection, to): &Key, event: Event) {
        let mut wait = RETRY_FIRST;
        loop {
            let failure = match self.send(to, event.body.clone()).await {
                Ok(()) => return self.count("taken", 1),
                Err(failure) => failure,
            };
            self.count("refused", 1);
            let (connection, host) = (&**connection, to.host());
            if event.born.elapsed() + wait > self.config.callback_retry_for {
                tracing::warn!(connection, host, failure, "a callback was given up");
                return self.count("given_up", 1);
            }
            tracing::debug!(connection, host, failure, ?wait, "a callback is tried again");
            tokio::time::sleep(wait.mul_f64(rand::random_range(0.5..1.0))).await;
            wait = (wait * 2).min(RETRY_LONGEST);
        }
    }

    async fn send(&self, to: &Callback, body: Bytes) -> Result<(), String> {
        let name = to.0.authority().map(ToString::to_string).unwrap_or_default();
        let part = (self.config.callbacks_in_flight / PART).clamp(1, Semaphore::MAX_PERMITS);
        let places = self.receivers.entry(name.clone());
        let own = Arc::clone(&places.or_insert_with(|| Arc::new(Semaphore::new(part))));
        let sent = self.send_within(&own, to, body).await;
        drop(own);
        self.receivers.remove_if(&name, |_, places| Arc::strong_count(places) == 1);
        sent
    }

    async fn send_within(&self, own: &Semaphore, to: &Callback, body: Bytes) -> Result<(), String> {
        // Neither is ever closed.
        let _own = own.acquire().await.map_err(|error| error.to_string())?;
        let _place = self.places.acquire().await.map_err(|error| error.to_string())?;
        let kind = HeaderValue::from_static("application/json; charset=utf-8");
        let headers = vec![(CONTENT_TYPE, kind)];
        let patience = self.config.callback_timeout;
        match outbound::send(Method::POST, &to.0, headers, body, patience).await {
            Ok((status, _)) if status.is_success() => Ok(()),
            Ok((status, _)) => Err(format!("answered {status}")),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_the_web_and_keep_their_query() {
        for good in [
            "http://127.0.0.1:8080/events?secret=1&x=%20",
            "https://app.example.com/cb",
            "http://[::1]:1/x",
            "https://10.0.0.1/",
        ] {
            assert_eq!(Callback::read(good, &[]).unwrap().expose(), good);
        }
        for bad in [
            "",
            "not a url",
            "/events",
            "ftp://a/b",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "http://",
            "http:///x",
            "http://user:pw@a/",
            "http://169.254.169.254/latest/meta-data",
            "http://[fe80::1]/",
            "http://[::ffff:169.254.169.254]/",
            "http://0.0.0.0/",
            "http://224.0.0.1/",
        ] {
            assert!(Callback::read(bad, &[]).is_err(), "{bad}");
        }
        let at_most = |bytes| format!("http://a/{}", "x".repeat(bytes - 9));
        assert!(Callback::read(&at_most(ADDRESS), &[]).is_ok());
        assert!(Callback::read(&at_most(ADDRESS + 1), &[]).is_err());
    }

    #[test]
    fn configured_hosts_are_the_only_ones() {
        let hosts = ["app.example.com".to_owned(), "*.internal".to_owned()];
        let taken = |host: &str| Callback::read(&format!("https://{host}/cb"), &hosts).is_ok();
        assert!(taken("app.example.com") && taken("APP.example.com:444") && taken("a.internal"));
        assert!(!taken("example.com") && !taken("x.app.example.com") && !taken("internal"));
        assert!(!taken("xinternal") && !taken("127.0.0.1"));
    }

    #[test]
    fn its_secret_is_not_shown() {
        let callback = Callback::read("https://a/cb?secret=hush", &[]).unwrap();
        assert!(!format!("{callback:?}").contains("hush"));
    }

    #[test]
    fn a_full_lane_loses_rosters_first_and_then_the_oldest() {
        let event = |name: &'static str, superseded| Event {
            body: Bytes::from_static(name.as_bytes()),
            born: Instant::now(),
            superseded,
        };
        let mut lane = Lane::default();
        assert_eq!(lane.push(event("a", false), 3), 0);
        assert_eq!(lane.push(event("roster 1", true), 3), 0);
        assert_eq!(lane.push(event("roster 2", true), 3), 0, "in place of the first");
        assert_eq!(lane.push(event("b", false), 3), 0);
        assert_eq!(lane.push(event("c", false), 3), 1);
        assert_eq!(lane.push(event("d", false), 3), 1);
        let left: Vec<_> = lane.waiting.iter().map(|one| one.body.clone()).collect();
        assert_eq!(left, ["b", "c", "d"]);
    }
}
