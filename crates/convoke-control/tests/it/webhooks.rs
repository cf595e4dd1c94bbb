//! Webhooks: in order, signed, over and over until they are taken, and never at a call's cost.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use convoke_control::store::{Location, Store, StoreConfig};
use convoke_control::{Role, Secret, ServiceLimits, Webhook};
use convoke_protocol::GroupId;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::support::{IDENTITIES, Server};

/// What came, and what is answered next; 200 when nothing is left to say.
#[derive(Default)]
struct Heard {
    requests: Vec<(HeaderMap, Bytes)>,
    answers: Vec<StatusCode>,
}

struct Receiver {
    url: String,
    heard: Arc<Mutex<Heard>>,
}

impl Receiver {
    async fn start(mut answers: Vec<StatusCode>) -> Self {
        answers.reverse();
        let heard = Arc::new(Mutex::new(Heard { answers, ..Heard::default() }));
        let state = Arc::clone(&heard);
        let hook = async move |headers: HeaderMap, body: Bytes| {
            let mut heard = state.lock().unwrap();
            heard.requests.push((headers, body));
            heard.answers.pop().unwrap_or(StatusCode::OK)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?x=1", listener.local_addr().unwrap());
        let app = Router::new().route("/hook", post(hook));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, heard }
    }

    /// The ids of the events that were taken, once there are so many.
    async fn taken(&self, count: usize) -> Vec<u64> {
        loop {
            let ids = self.ids();
            if ids.len() >= count {
                return ids;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn ids(&self) -> Vec<u64> {
        let heard = self.heard.lock().unwrap();
        let mut ids = Vec::new();
        for (_, body) in &heard.requests {
            let batch: Value = serde_json::from_slice(body).unwrap();
            for event in batch.as_array().unwrap() {
                let id = event["id"].as_str().unwrap().parse().unwrap();
                // What is told again was refused before.
                ids.retain(|known| *known != id);
                ids.push(id);
            }
        }
        ids
    }
}

async fn server(change: impl FnOnce(&mut Webhook), url: &str, secret: &Secret) -> Server {
    let store = Store::open(&StoreConfig::new(Location::Memory)).await.unwrap();
    let mut webhook = Webhook::new("app", url, secret).unwrap();
    change(&mut webhook);
    let limits = ServiceLimits::default();
    let add = |config: &mut convoke_control::ControlConfig| {
        let services = config.services.take().unwrap();
        config.services = Some(services.with_webhooks(vec![webhook]));
    };
    Server::build(add, |_| {}, Some((store, limits))).await
}

/// Waits until the webhook has begun: a new one is told what happens from then on.
async fn begun(server: &Server) {
    let list = server.rest(Role::Admin, "GET", "/webhooks", &Value::Null).await;
    assert_eq!(list.json()["value"][0]["name"], "app");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_in_order_signed_and_again_until_they_are_taken() {
    let bad = [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::FORBIDDEN];
    let receiver = Receiver::start(bad.to_vec()).await;
    let secret = Secret::random();
    let server = server(|webhook| webhook.batch = 3, &receiver.url, &secret).await;
    begun(&server).await;
    for _ in 0..7 {
        server.rest(Role::Identity, "POST", IDENTITIES, &Value::Null).await;
    }
    let ids = receiver.taken(7).await;
    assert_eq!(ids, (1..=7).collect::<Vec<_>>());
    let heard = receiver.heard.lock().unwrap();
    assert!(heard.requests.len() >= 5, "three batches, the first of them three times");
    for (headers, body) in &heard.requests {
        let get = |name: &str| headers[name].to_str().unwrap();
        assert!(get("content-type").starts_with("application/cloudevents-batch+json"));
        let signed = format!(
            "{}.{}.{}",
            get("webhook-id"),
            get("webhook-timestamp"),
            std::str::from_utf8(body).unwrap()
        );
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.expose());
        let signature = get("webhook-signature").strip_prefix("v1,").unwrap();
        let signature = STANDARD.decode(signature).unwrap();
        aws_lc_rs::hmac::verify(&key, signed.as_bytes(), &signature).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_not_there_costs_nobody_and_its_dead_letters_can_be_told_again() {
    let receiver = Receiver::start(vec![StatusCode::SERVICE_UNAVAILABLE]).await;
    let secret = Secret::random();
    let change = |webhook: &mut Webhook| webhook.retry_for = Duration::ZERO;
    let server = server(change, &receiver.url, &secret).await;
    begun(&server).await;
    server.rest(Role::Identity, "POST", IDENTITIES, &Value::Null).await;
    let list = "/webhooks/app/deadLetters";
    let letter = loop {
        let letters = server.rest(Role::Admin, "GET", list, &Value::Null).await.json();
        if let Some(letter) = letters["value"].as_array().unwrap().first() {
            break letter.clone();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(letter["reason"], "answered 503 Service Unavailable");
    assert_eq!(letter["event"]["type"], "convoke.identity.created");
    // Calls go on meanwhile.
    server.participant("alice", GroupId::random()).await;
    let replay = format!("{list}/{}/:replay", letter["position"]);
    let done = server.rest(Role::Admin, "POST", &replay, &Value::Null).await;
    assert_eq!(done.status, 204, "{done:?}");
    let letters = server.rest(Role::Admin, "GET", list, &Value::Null).await.json();
    assert_eq!(
        letters["value"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["position"] == letter["position"])
            .count(),
        0
    );
    let again = server.rest(Role::Admin, "POST", &replay, &Value::Null).await;
    assert_eq!((again.status, again.code()), (404, "webhookNotFound".into()));
    for path in ["/webhooks/none/deadLetters", "/webhooks/%2e%2e/deadLetters"] {
        let reply = server.rest(Role::Admin, "GET", path, &Value::Null).await;
        assert_eq!((reply.status, reply.code()), (404, "webhookNotFound".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_signed_with_a_public_key_too_if_there_is_one() {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
    use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
    let receiver = Receiver::start(Vec::new()).await;
    let (secret, pair) = (Secret::random(), Ed25519KeyPair::generate().unwrap());
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let body = STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    let change = |webhook: &mut Webhook| *webhook = webhook.clone().signed_by(&pem).unwrap();
    let server = server(change, &receiver.url, &secret).await;
    begun(&server).await;
    server.rest(Role::Identity, "POST", IDENTITIES, &Value::Null).await;
    receiver.taken(1).await;
    let heard = receiver.heard.lock().unwrap();
    let (headers, body) = heard.requests.first().unwrap();
    let get = |name: &str| headers[name].to_str().unwrap();
    let signed = [get("webhook-id"), get("webhook-timestamp")].join(".");
    let signed = [signed.as_bytes(), b".", body].concat();
    let signatures: Vec<&str> = get("webhook-signature").split(' ').collect();
    assert!(signatures.len() == 2 && signatures[0].starts_with("v1,"), "{signatures:?}");
    let signature = STANDARD.decode(signatures[1].strip_prefix("v1a,").unwrap()).unwrap();
    let key = UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref());
    key.verify(&signed, &signature).unwrap();
    key.verify(&[&signed[..], b"x"].concat(), &signature).unwrap_err();
}
