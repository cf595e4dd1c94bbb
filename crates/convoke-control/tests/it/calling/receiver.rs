//! An app server's callback address.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::support::PATIENCE;

const PREFIX: &str = "Microsoft.Communication.";

#[derive(Default)]
struct Heard {
    /// What was taken, in order.
    events: Vec<Value>,
    /// What is answered next; 200 when nothing is left to say.
    answers: Vec<StatusCode>,
    hangs: bool,
}

pub(super) struct Receiver {
    pub(super) url: String,
    heard: Arc<Mutex<Heard>>,
}

impl Receiver {
    pub(super) async fn start() -> Self {
        let heard = Arc::new(Mutex::new(Heard::default()));
        let state = Arc::clone(&heard);
        let hook = async move |RawQuery(query): RawQuery, body: Bytes| {
            assert_eq!(query.as_deref(), Some("secret=1&x=%20"));
            let hangs = state.lock().unwrap().hangs;
            if hangs {
                std::future::pending::<()>().await;
            }
            let mut heard = state.lock().unwrap();
            if let Some(answer) = heard.answers.pop() {
                return answer;
            }
            let batch: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(batch.as_array().unwrap().len(), 1);
            heard.events.push(batch[0].clone());
            StatusCode::OK
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/events?secret=1&x=%20", listener.local_addr().unwrap());
        let app = Router::new().route("/events", post(hook));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, heard }
    }

    pub(super) fn answers(&self, mut answers: Vec<StatusCode>) {
        answers.reverse();
        self.heard.lock().unwrap().answers = answers;
    }

    pub(super) fn hang(&self) {
        self.heard.lock().unwrap().hangs = true;
    }

    fn find(&self, kind: &str, wanted: &impl Fn(&Value) -> bool) -> Option<Value> {
        let heard = self.heard.lock().unwrap();
        let is =
            |event: &&Value| event["type"] == format!("{PREFIX}{kind}") && wanted(&event["data"]);
        heard.events.iter().rev().find(is).map(|event| event["data"].clone())
    }

    /// The data of the newest event of a kind that is as wanted, once there is one.
    async fn wait_with(&self, kind: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = async {
            loop {
                if let Some(found) = self.find(kind, &wanted) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, found).await;
        found.unwrap_or_else(|_| panic!("no {kind}: {:?}", self.kinds()))
    }

    pub(super) async fn wait(&self, kind: &str) -> Value {
        self.wait_with(kind, |_| true).await
    }

    /// Of one connection.
    pub(super) async fn wait_of(&self, kind: &str, id: &str) -> Value {
        self.wait_with(kind, |data| data["callConnectionId"] == id).await
    }

    pub(super) async fn wait_context(&self, kind: &str, context: &str) -> Value {
        self.wait_with(kind, |data| data["operationContext"] == context).await
    }

    /// A roster of these, in order of their names.
    pub(super) async fn wait_roster(&self, id: &str, who: &[&str]) {
        let same = |data: &Value| {
            let all = data["participants"].as_array().unwrap();
            let names = all.iter().map(|one| one["identifier"]["rawId"].as_str().unwrap());
            data["callConnectionId"] == id && names.eq(who.iter().copied())
        };
        self.wait_with("ParticipantsUpdated", same).await;
    }

    /// The kinds of what was taken, in order.
    pub(super) fn kinds(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        let kind = |event: &Value| event["type"].as_str().unwrap()[PREFIX.len()..].to_owned();
        heard.events.iter().map(kind).collect()
    }

    pub(super) fn count(&self, kind: &str) -> usize {
        self.kinds().iter().filter(|one| *one == kind).count()
    }

    /// The contexts of all of a kind, in order.
    pub(super) fn contexts(&self, kind: &str) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        let of = heard.events.iter().filter(|event| event["type"] == format!("{PREFIX}{kind}"));
        of.map(|event| event["data"]["operationContext"].as_str().unwrap().to_owned()).collect()
    }

    /// What holds of all that was taken: its form; rosters have rising numbers; a connection begins
    /// and ends once, and nothing comes after its end.
    pub(super) fn is_sound(&self) {
        let heard = self.heard.lock().unwrap();
        let (mut ids, mut sequences) = (HashSet::new(), HashMap::new());
        let mut over = HashSet::new();
        for event in &heard.events {
            assert!(ids.insert(event["id"].as_str().unwrap()), "told twice: {event}");
            assert_eq!(
                (&event["specversion"], &event["source"]),
                (&"1.0".into(), &event["subject"])
            );
            let data = &event["data"];
            let id = data["callConnectionId"].as_str().unwrap();
            assert!(event["source"].as_str().unwrap().ends_with(id));
            assert!(data["correlationId"].is_string() && data["serverCallId"].is_string());
            assert!(!over.contains(id), "after the end: {event}");
            if let Some(number) = data["sequenceNumber"].as_u64() {
                let before = sequences.insert(id, number).unwrap_or_default();
                assert!(number > before, "{event}");
            }
            if event["type"] == format!("{PREFIX}CallDisconnected") {
                over.insert(id);
            }
        }
    }
}
