//! Identities that others hold: their tokens are checked by the keys that they publish.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use axum::Router;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use convoke_control::{ExternalIssuer, Jwks, Minter, TokenRequest};
use convoke_protocol::{ErrorCode, GroupId};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{KID, Server, hello};

const ISSUER: &str = "https://id.example.com";

struct Signer {
    jwk: Value,
    minter: Minter,
}

fn signer(kid: &str) -> Signer {
    let pair = Ed25519KeyPair::generate().unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let body = STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    let x = URL_SAFE_NO_PAD.encode(pair.public_key());
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": kid, "x": x });
    Signer { jwk, minter: Minter::eddsa_pem(kid, &pem).unwrap() }
}

impl Signer {
    fn token(&self, identity: &str) -> String {
        let issuer = Some(ISSUER.to_owned());
        let request = TokenRequest { issuer, ..TokenRequest::new(identity) };
        self.minter.mint(&request, SystemTime::now()).unwrap()
    }
}

/// What is published, and how often it was asked for.
#[derive(Default)]
struct Published {
    keys: Vec<Value>,
    asked: usize,
}

async fn publish() -> (String, Arc<Mutex<Published>>) {
    let published = Arc::new(Mutex::new(Published::default()));
    let state = Arc::clone(&published);
    let answer = async move || {
        let mut published = state.lock().unwrap();
        published.asked += 1;
        json!({ "keys": published.keys }).to_string()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    let app = Router::new().route("/jwks.json", get(answer));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, published)
}

async fn server(jwks: Jwks) -> Server {
    let issuer = ExternalIssuer::new(ISSUER, None, Duration::from_secs(10), jwks);
    Server::with(|config| config.issuers = vec![issuer]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_key_is_good_a_new_one_too_and_strangers_do_not_make_us_ask() {
    let (url, published) = publish().await;
    let (old, new, stranger) = (signer("old"), signer("new"), signer("stranger"));
    published.lock().unwrap().keys = vec![old.jwk.clone()];
    let server = server(Jwks::Url(url.parse().unwrap())).await;
    let mut alice = hello(&server, &old.token("alice@example.com")).await.unwrap();
    alice.join(GroupId::random()).await;
    published.lock().unwrap().keys = vec![old.jwk, new.jwk.clone()];
    hello(&server, &new.token("bob@example.com")).await.unwrap();
    for _ in 0..20 {
        let refused = hello(&server, &stranger.token("eve")).await.err();
        assert_eq!(refused, Some(ErrorCode::TokenInvalid));
    }
    assert_eq!(published.lock().unwrap().asked, 2, "once at first, once for the new key");
    // Our own tokens are checked as ever, and may not name the other issuer's key.
    hello(&server, &server.token("carol")).await.unwrap();
    let mut forged = server.token("carol");
    forged.push('x');
    assert_eq!(hello(&server, &forged).await.err(), Some(ErrorCode::TokenInvalid));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_same_name_does_not_stand_in_for_ours() {
    let (url, published) = publish().await;
    let other = signer(KID);
    published.lock().unwrap().keys = vec![other.jwk.clone()];
    let server = server(Jwks::Url(url.parse().unwrap())).await;
    let without = TokenRequest::new("alice");
    let token = other.minter.mint(&without, SystemTime::now()).unwrap();
    assert_eq!(hello(&server, &token).await.err(), Some(ErrorCode::TokenInvalid));
    hello(&server, &other.token("alice")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_from_a_file_too_and_without_keys_clients_come_back_later() {
    let folder = std::env::temp_dir().join(format!("convoke-jwks-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("jwks.json");
    let one = signer("one");
    std::fs::write(&file, json!({ "keys": [one.jwk] }).to_string()).unwrap();
    let good = server(Jwks::File(file)).await;
    hello(&good, &one.token("alice")).await.unwrap();
    let bad = server(Jwks::File(folder.join("none.json"))).await;
    assert_eq!(hello(&bad, &one.token("alice")).await.err(), Some(ErrorCode::Busy));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_signed_with_rsa_are_good_and_their_key_signs_in_no_other_way() {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaEncoding};
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
    let [n, e] = [n, e].map(|one| one.big_endian_without_leading_zero().to_owned());
    let token = |alg: &str, encoding: &'static dyn RsaEncoding, subject: &str| {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = part(json!({ "alg": alg, "kid": "rsa", "typ": "JWT" }));
        let claims =
            json!({ "iss": ISSUER, "sub": subject, "scp": ["voip"], "exp": 4_000_000_000_u64 });
        let text = format!("{head}.{}", part(claims));
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    };
    let (url, published) = publish().await;
    let jwk = json!({
        "kty": "RSA", "alg": "RS256", "use": "sig", "kid": "rsa",
        "n": URL_SAFE_NO_PAD.encode(&n), "e": URL_SAFE_NO_PAD.encode(e),
    });
    published.lock().unwrap().keys = vec![jwk];
    let server = server(Jwks::Url(url.parse().unwrap())).await;
    let good = token("RS256", &RSA_PKCS1_SHA256, "alice@example.com");
    let mut alice = hello(&server, &good).await.unwrap();
    let joined = alice.join(GroupId::random()).await;
    assert_eq!(joined.participants[0].identity, "alice@example.com");
    let mut changed = token("RS256", &RSA_PKCS1_SHA256, "alice");
    let other = token("RS256", &RSA_PKCS1_SHA256, "mallory");
    let signature = changed.rsplit('.').next().unwrap().to_owned();
    changed = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
    for (what, bad) in [
        ("another subject", changed),
        ("another hash", token("RS512", &RSA_PKCS1_SHA512, "alice")),
        ("RS256 by name, another hash", token("RS256", &RSA_PKCS1_SHA512, "alice")),
        ("the public key as a secret", {
            let text = good.rsplit_once('.').unwrap().0.split_once('.').unwrap().1.to_owned();
            let head = json!({ "alg": "HS256", "kid": "rsa" }).to_string();
            let text = format!("{}.{text}", URL_SAFE_NO_PAD.encode(head));
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &n);
            let tag = aws_lc_rs::hmac::sign(&key, text.as_bytes());
            format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
        }),
    ] {
        assert_eq!(hello(&server, &bad).await.err(), Some(ErrorCode::TokenInvalid), "{what}");
    }
}
