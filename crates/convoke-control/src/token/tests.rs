//! CP-02 (clock skew, odd types), CP-07 (names) and every way to forge a token.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::keys::{Key, KeyError, Secret};
use crate::mint::{Minter, TokenRequest};

const SECRET: &[u8] = b"0123456789abcdef0123456789ABCDEF-a";
const OTHER: &[u8] = b"another secret, also of enough bytes";
const GROUP: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn keys_with(rules: TokenRules) -> KeySet {
    KeySet::new(vec![Key::hs256("a", &Secret::new(SECRET)).unwrap()], rules).unwrap()
}

fn keys() -> KeySet {
    keys_with(TokenRules::default())
}

fn sign(secret: &[u8], header: &Header, claims: &Value) -> String {
    encode(header, claims, &EncodingKey::from_secret(secret)).unwrap()
}

fn header(kid: Option<&str>) -> Header {
    let mut header = Header::new(Algorithm::HS256);
    header.kid = kid.map(str::to_owned);
    header
}

/// A good token's claims, changed by `change` (null takes a claim away).
fn claims(change: &Value) -> Value {
    let mut claims = json!({ "sub": "alice", "exp": 1_800_000_060, "scp": ["voip"] });
    for (key, value) in change.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(key)),
            value => claims[key] = value.clone(),
        }
    }
    claims
}

fn verify(change: Value) -> Result<AccessToken, TokenError> {
    keys().verify(&sign(SECRET, &header(Some("a")), &claims(&change)), now())
}

fn code(result: Result<AccessToken, TokenError>) -> ErrorCode {
    result.expect_err("must be refused").code()
}

fn ed25519() -> (EncodingKey, Vec<u8>) {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    (EncodingKey::from_ed_der(pkcs8.as_ref()), pair.public_key().as_ref().to_vec())
}

#[test]
fn a_good_token_says_all_it_says() {
    let token = verify(json!({
        "name": "Al\u{1F600}ice", "scp": "voip voip.join other", "groupId": GROUP.to_uppercase(),
        "iat": 1_799_999_999.5, "gen": 3,
    }));
    assert_eq!(
        token,
        Ok(AccessToken {
            role: None,
            guest: false,
            identity: "alice".into(),
            display_name: Some("Al\u{1F600}ice".into()),
            scopes: vec![Scope::Voip, Scope::VoipJoin],
            group_id: Some(GROUP.parse().unwrap()),
            expires_at: now() + Duration::from_secs(60),
            issued_at: Some(now() - Duration::from_millis(500)),
            generation: Some(3),
            kid: "a".into(),
        })
    );
}

#[test]
fn what_the_minter_makes_is_accepted() {
    let minter = Minter::hs256("a", &Secret::new(SECRET)).unwrap();
    let mut request = TokenRequest::new("8:convoke:bob");
    request.display_name = Some("Bob".into());
    request.group_id = Some(GROUP.parse().unwrap());
    let token = keys().verify(&minter.mint(&request, now()).unwrap(), now()).unwrap();
    assert_eq!(token.identity, "8:convoke:bob");
    assert_eq!(token.display_name.as_deref(), Some("Bob"));
    assert_eq!(token.scopes, [Scope::Voip]);
    assert_eq!(token.group_id, request.group_id);
    assert_eq!(token.expires_at, now() + request.lifetime);
}

#[test]
fn the_minter_refuses_what_would_be_refused_later() {
    let minter = Minter::hs256("a", &Secret::new(SECRET)).unwrap();
    let refuse = |request: &TokenRequest| assert!(minter.mint(request, now()).is_err());
    refuse(&TokenRequest::new(""));
    refuse(&TokenRequest::new("x".repeat(257)));
    refuse(&TokenRequest { display_name: Some("a\r\nb".into()), ..TokenRequest::new("a") });
    refuse(&TokenRequest { lifetime: Duration::from_secs(90_000), ..TokenRequest::new("a") });
}

#[test]
fn eddsa_works_by_pem_and_by_jwk() {
    let (private, public) = ed25519();
    // RFC 8410 §4: the fixed DER before the 32 bytes of an Ed25519 public key.
    let mut der = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    der.extend_from_slice(&public);
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(&der)
    );
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some("e".into());
    let token = encode(&header, &claims(&json!({})), &private).unwrap();
    for key in [Key::eddsa_pem("e", &pem), Key::eddsa_jwk("e", &URL_SAFE_NO_PAD.encode(&public))] {
        let keys = KeySet::new(vec![key.unwrap()], TokenRules::default()).unwrap();
        assert_eq!(keys.verify(&token, now()).unwrap().identity, "alice");
    }
}

#[test]
fn alg_none_is_refused() {
    for alg in ["none", "None", "NONE", "", "HS999"] {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = part(json!({ "alg": alg, "kid": "a" }));
        let body = part(claims(&json!({})));
        for signature in ["", "AAAA"] {
            let token = format!("{head}.{body}.{signature}");
            assert_eq!(keys().verify(&token, now()), Err(TokenError::Header), "{alg}");
        }
    }
}

#[test]
fn another_secret_is_refused() {
    let token = sign(OTHER, &header(Some("a")), &claims(&json!({})));
    let found = keys().verify(&token, now());
    assert_eq!(found, Err(TokenError::Signature { kid: "a".into() }));
}

#[test]
fn another_hmac_length_is_refused() {
    let mut header = header(Some("a"));
    header.alg = Algorithm::HS512;
    let token = sign(SECRET, &header, &claims(&json!({})));
    assert_eq!(keys().verify(&token, now()), Err(TokenError::Algorithm { kid: "a".into() }));
}

#[test]
fn hs256_signed_with_the_eddsa_public_key_is_refused() {
    let (_, public) = ed25519();
    let x = URL_SAFE_NO_PAD.encode(&public);
    let keys = KeySet::new(vec![Key::eddsa_jwk("e", &x).unwrap()], TokenRules::default()).unwrap();
    for secret in [public.as_slice(), x.as_bytes()] {
        for kid in [Some("e"), None] {
            let token = sign(secret, &header(kid), &claims(&json!({})));
            let found = keys.verify(&token, now());
            assert_eq!(found, Err(TokenError::Algorithm { kid: "e".into() }));
        }
    }
}

#[test]
fn the_kid_of_another_key_is_refused() {
    let pair = [("a", SECRET), ("b", OTHER)];
    let both = pair.map(|(kid, secret)| Key::hs256(kid, &Secret::new(secret)).unwrap());
    let keys = KeySet::new(both.to_vec(), TokenRules::default()).unwrap();
    let try_it = |secret, kid| keys.verify(&sign(secret, &header(kid), &claims(&json!({}))), now());
    assert!(try_it(SECRET, Some("a")).is_ok() && try_it(OTHER, Some("b")).is_ok());
    assert_eq!(try_it(SECRET, Some("b")), Err(TokenError::Signature { kid: "b".into() }));
    assert_eq!(try_it(SECRET, Some("c")), Err(TokenError::UnknownKid));
    assert_eq!(try_it(SECRET, None), Err(TokenError::NoKid));
}

#[test]
fn one_key_needs_no_kid() {
    assert!(keys().verify(&sign(SECRET, &header(None), &claims(&json!({}))), now()).is_ok());
}

#[test]
fn critical_headers_are_refused() {
    let mut header = header(Some("a"));
    header.crit = Some(vec!["b64".into()]);
    let token = sign(SECRET, &header, &claims(&json!({})));
    assert_eq!(keys().verify(&token, now()), Err(TokenError::Critical));
}

#[test]
fn what_is_no_token_is_refused() {
    assert_eq!(keys().verify("", now()), Err(TokenError::Missing));
    for text in ["a", "a.b", "a.b.c", "..", "a.b.c.d", "\u{1F600}", "{}", "Bearer x"] {
        assert_eq!(code(keys().verify(text, now())), ErrorCode::TokenInvalid, "{text}");
    }
    let long = "a".repeat(MAX_TOKEN + 1);
    assert_eq!(keys().verify(&long, now()), Err(TokenError::Long(MAX_TOKEN + 1)));
    let payload = sign(SECRET, &header(Some("a")), &json!([1]));
    assert_eq!(code(keys().verify(&payload, now())), ErrorCode::TokenInvalid);
}

#[test]
fn cp_02_clock_skew_within_the_leeway_is_forgiven_and_more_is_not() {
    let rules = TokenRules { leeway: Duration::from_secs(45), ..TokenRules::default() };
    let keys = keys_with(rules);
    let at = 1_800_000_000_i64;
    let try_it = |nbf: i64, exp: i64| {
        let claims = claims(&json!({ "nbf": at + nbf, "exp": at + exp }));
        keys.verify(&sign(SECRET, &header(Some("a")), &claims), now()).map_err(|e| e.code())
    };
    for nbf in [2, 30] {
        assert!(try_it(nbf, 600).is_ok(), "nbf +{nbf}");
    }
    for nbf in [90, 600] {
        assert_eq!(try_it(nbf, 6000), Err(ErrorCode::TokenNotYetValid), "nbf +{nbf}");
    }
    for exp in [-2, -30] {
        assert!(try_it(-600, exp).is_ok(), "exp {exp}");
    }
    for exp in [-45, -90] {
        assert_eq!(try_it(-600, exp), Err(ErrorCode::TokenExpired), "exp {exp}");
    }
    assert_eq!(try_it(50, 20), Err(ErrorCode::TokenInvalid), "nbf after exp");
    assert!(verify(json!({ "iat": at + 600 })).is_ok(), "iat in the future");
}

#[test]
fn cp_02_the_default_leeway_is_ten_seconds() {
    let at = 1_800_000_000;
    assert!(verify(json!({ "exp": at - 9 })).is_ok());
    assert_eq!(code(verify(json!({ "exp": at - 10 }))), ErrorCode::TokenExpired);
    assert!(verify(json!({ "nbf": at + 10 })).is_ok());
    assert_eq!(code(verify(json!({ "nbf": at + 11 }))), ErrorCode::TokenNotYetValid);
}

#[test]
fn cp_02_odd_types_are_refused_with_the_claim_named() {
    for (change, claim) in [
        (json!({ "exp": null }), "exp"),
        (json!({ "exp": "1800000060" }), "exp"),
        (json!({ "exp": true }), "exp"),
        (json!({ "exp": [1_800_000_060] }), "exp"),
        (json!({ "exp": 9_223_372_036_854_775_808_u64 }), "exp"),
        (json!({ "exp": 1e300 }), "exp"),
        (json!({ "exp": -1 }), "exp"),
        (json!({ "nbf": "now" }), "nbf"),
        (json!({ "nbf": 1e19 }), "nbf"),
        (json!({ "sub": null }), "sub"),
        (json!({ "sub": "" }), "sub"),
        (json!({ "sub": 7 }), "sub"),
        (json!({ "sub": ["alice"] }), "sub"),
        (json!({ "name": 7 }), "name"),
        (json!({ "scp": 7 }), "scp"),
        (json!({ "scp": ["voip", 7] }), "scp"),
        (json!({ "groupId": "room 1" }), "groupId"),
        (json!({ "groupId": 1 }), "groupId"),
    ] {
        match verify(change.clone()) {
            Err(TokenError::Claim { claim: found, .. }) => assert_eq!(found, claim, "{change}"),
            other => panic!("{change}: {other:?}"),
        }
    }
    // RFC 7519 §2: a NumericDate may have a fraction.
    assert!(verify(json!({ "exp": 1_800_000_060.5 })).is_ok());
}

#[test]
fn cp_07_names_are_bounded_and_come_back_byte_for_byte() {
    for name in [
        "a".to_owned(),
        "x".repeat(256),
        "\u{1F600}".repeat(64),
        "e\u{301}".to_owned(),
        "\u{e9}".to_owned(),
        "zero\u{200b}width \u{202e}rtl".to_owned(),
        "../..\\%2e*\"'<script>/".to_owned(),
    ] {
        let token = verify(json!({ "sub": name, "name": name })).unwrap();
        assert_eq!((&token.identity, token.display_name.as_ref()), (&name, Some(&name)));
    }
    let long = ["x".repeat(257), "\u{1F600}".repeat(65), "x".repeat(4096)];
    let hostile = ["nul\u{0}", "cr\r\nlf", "tab\t", "\u{85}"].map(str::to_owned);
    for name in long.into_iter().chain(hostile) {
        assert_eq!(code(verify(json!({ "sub": name }))), ErrorCode::TokenInvalid, "{name:?}");
        assert_eq!(code(verify(json!({ "name": name }))), ErrorCode::TokenInvalid, "{name:?}");
    }
}

#[test]
fn issuer_and_audience_are_checked_when_configured() {
    let keys = keys_with(TokenRules {
        issuer: Some("me".into()),
        audience: Some("you".into()),
        ..TokenRules::default()
    });
    let try_it = |change: Value| {
        keys.verify(&sign(SECRET, &header(Some("a")), &claims(&change)), now()).is_ok()
    };
    assert!(try_it(json!({ "iss": "me", "aud": "you" })));
    assert!(try_it(json!({ "iss": "me", "aud": ["them", "you"] })));
    assert!(!try_it(json!({ "iss": "me" })));
    assert!(!try_it(json!({ "iss": "me", "aud": "them" })));
    assert!(!try_it(json!({ "iss": "me", "aud": [7] })));
    assert!(!try_it(json!({ "aud": "you" })));
    assert!(!try_it(json!({ "iss": ["me"], "aud": "you" })));
}

#[test]
fn weak_and_ambiguous_keys_are_refused() {
    let short = Key::hs256("a", &Secret::new(*b"short"));
    assert_eq!(short.unwrap_err(), KeyError::Short { kid: "a".into(), bytes: 5 });
    let same = Key::hs256("a", &Secret::new([b'x'; 64]));
    assert_eq!(same.unwrap_err(), KeyError::Placeholder("a".into()));
    assert!(Key::hs256("", &Secret::random()).is_err());
    assert!(Key::eddsa_jwk("e", "AAAA").is_err());
    assert!(
        Key::eddsa_pem("e", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----").is_err()
    );
    let key = Key::hs256("a", &Secret::random()).unwrap();
    let twice = KeySet::new(vec![key.clone(), key.clone()], TokenRules::default());
    assert_eq!(twice.unwrap_err(), KeyError::Twice("a".into()));
    assert_eq!(KeySet::new(vec![], TokenRules::default()).unwrap_err(), KeyError::Count(0));
    let rules = TokenRules { leeway: Duration::from_secs(61), ..TokenRules::default() };
    assert_eq!(KeySet::new(vec![key], rules).unwrap_err(), KeyError::Leeway);
}

#[test]
fn secrets_are_never_shown() {
    let secret = Secret::new(SECRET);
    let minter = Minter::hs256("a", &secret).unwrap();
    let shown = format!("{secret:?} {:?} {minter:?}", keys());
    assert!(!shown.contains("0123456789") && !shown.contains(&secret.expose_base64()), "{shown}");
    assert!(!shown.contains("48, 49"), "{shown}");
}

proptest! {
    #[test]
    fn no_mutation_of_a_good_token_verifies(at: prop::sample::Index, flip in 1u8..128) {
        let token = sign(SECRET, &header(Some("a")), &claims(&json!({})));
        let mut bytes = token.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(mutated) = String::from_utf8(bytes) {
            prop_assert!(keys().verify(&mutated, now()).is_err(), "{mutated}");
        }
    }

    #[test]
    fn no_cut_swap_or_addition_verifies(
        a: prop::sample::Index, b: prop::sample::Index, extra in "[A-Za-z0-9_.=-]{1,8}",
    ) {
        let token = sign(SECRET, &header(Some("a")), &claims(&json!({})));
        let (a, b) = (a.index(token.len()), b.index(token.len()));
        let mut swapped: Vec<char> = token.chars().collect();
        swapped.swap(a, b);
        let swapped: String = swapped.into_iter().collect();
        for changed in [
            token[..a].to_owned(),
            token[a..].to_owned(),
            format!("{token}{extra}"),
            format!("{extra}{token}"),
            format!("{}{extra}{}", &token[..a], &token[a..]),
            swapped,
        ] {
            if changed != token {
                prop_assert!(keys().verify(&changed, now()).is_err(), "{changed}");
            }
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,80}", json in "\\{\"[a-z]{1,4}\":[0-9\"a-z]{1,8}\\}") {
        let part = URL_SAFE_NO_PAD.encode(&json);
        prop_assert!(keys().verify(&text, now()).is_err());
        let joined = format!("{part}.{part}.{part}");
        prop_assert!(keys().verify(&joined, now()).is_err());
    }
}
