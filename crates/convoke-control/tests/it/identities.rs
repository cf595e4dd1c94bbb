//! Identities and their tokens: what is revoked is void at once, in running calls too.

use convoke_control::{Role, ServiceLimits};
use convoke_protocol::{EndReason, ErrorCode, GroupId, ServerMessage, close};
use serde_json::{Value, json};

use crate::support::{IDENTITIES, Server, hello, join};

const VERSION: &str = "api-version=2023-10-01";

async fn server() -> Server {
    Server::with_services(ServiceLimits::default()).await
}

fn verb(id: &str, verb: &str) -> String {
    format!("/identities/{}/:{verb}?{VERSION}", id.replace(':', "%3A"))
}

fn ended(message: &ServerMessage) -> Option<EndReason> {
    match message {
        ServerMessage::Ended(ended) => Some(ended.reason.clone()),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_issued_joins_a_call() {
    let server = server().await;
    let (id, token) = server.identity().await;
    assert!(id.starts_with("8:acs:"));
    let mut agent = hello(&server, &token).await.unwrap();
    agent.join(GroupId::random()).await;
    let body = json!({ "scopes": ["voip.join"], "expiresInMinutes": 60 });
    let issued = server.rest(Role::Identity, "POST", &verb(&id, "issueAccessToken"), &body).await;
    assert_eq!(issued.status, 200);
    assert_eq!(issued.header("cache-control"), Some("no-store"));
    let token = issued.json()["token"].as_str().unwrap().to_owned();
    let mut agent = hello(&server, &token).await.unwrap();
    let refused = agent.refused(join(GroupId::random())).await;
    assert_eq!(refused.code, ErrorCode::CallNotFound, "voip.join starts no call");
}

async fn voids(method: &str, path: impl Fn(&str) -> String) {
    let server = server().await;
    let (id, token) = server.identity().await;
    let (other, _) = server.identity().await;
    let group = GroupId::random();
    let (mut watcher, _) = server.participant("watcher", group).await;
    let mut in_call = hello(&server, &token).await.unwrap();
    let joined = in_call.join(group).await;
    let mut idle = hello(&server, &token).await.unwrap();
    let done = server.rest(Role::Identity, method, &path(&id), &Value::Null).await;
    assert_eq!((done.status, done.body.as_str()), (204, ""));
    assert_eq!(in_call.wait_for(ended).await, EndReason::token_revoked());
    assert_eq!(in_call.close_code().await, close::TOKEN_REVOKED);
    assert_eq!(idle.close_code().await, close::TOKEN_REVOKED);
    let left = |message: &ServerMessage| match message {
        ServerMessage::ParticipantLeft(left) => Some(left.participant_id.clone()),
        _ => None,
    };
    assert_eq!(watcher.wait_for(left).await, joined.participant_id);
    assert_eq!(hello(&server, &token).await.err(), Some(ErrorCode::TokenRevoked));
    watcher.ping().await;
    // Nobody else is touched.
    let body = json!({ "scopes": ["voip"] });
    let issued =
        server.rest(Role::Identity, "POST", &verb(&other, "issueAccessToken"), &body).await;
    let token = issued.json()["token"].as_str().unwrap().to_owned();
    hello(&server, &token).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_acts_at_once_in_calls_and_agents() {
    voids("POST", |id| verb(id, "revokeAccessTokens")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_acts_at_once_in_calls_and_agents() {
    voids("DELETE", |id| format!("/identities/{id}?{VERSION}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_issued_after_a_revocation_is_good_at_once() {
    let server = server().await;
    let (id, old) = server.identity().await;
    for _ in 0..3 {
        let path = verb(&id, "revokeAccessTokens");
        server.rest(Role::Identity, "POST", &path, &Value::Null).await;
        let body = json!({ "scopes": ["voip"] });
        let path = verb(&id, "issueAccessToken");
        let issued = server.rest(Role::Identity, "POST", &path, &body).await;
        let fresh = issued.json()["token"].as_str().unwrap().to_owned();
        hello(&server, &fresh).await.unwrap();
        assert_eq!(hello(&server, &old).await.err(), Some(ErrorCode::TokenRevoked));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_there_is_not_found() {
    let server = server().await;
    let (id, _) = server.identity().await;
    let path = format!("/identities/{id}?{VERSION}");
    assert_eq!(server.rest(Role::Identity, "DELETE", &path, &Value::Null).await.status, 204);
    for gone in [id.as_str(), "8:acs:nobody", "..%2F..%2Fetc%2Fpasswd", "%F0%9F%92%A9"] {
        let body = json!({ "scopes": ["voip"] });
        for name in ["issueAccessToken", "revokeAccessTokens"] {
            let reply = server.rest(Role::Identity, "POST", &verb(gone, name), &body).await;
            assert_eq!(
                (reply.status, reply.acs_code()),
                (404, "IdentityNotFound".into()),
                "{gone}"
            );
        }
    }
    let long = format!("/identities/{}?{VERSION}", "x".repeat(10_000));
    let reply = server.rest(Role::Identity, "DELETE", &long, &Value::Null).await;
    assert_eq!((reply.status, reply.acs_code()), (400, "BadRequest".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_out_of_bounds_are_refused_and_make_nothing() {
    let server = server().await;
    for body in [
        json!({ "createTokenWithScopes": [] }),
        json!({ "createTokenWithScopes": ["root"] }),
        json!({ "createTokenWithScopes": ["voip"], "expiresInMinutes": 59 }),
        json!({ "createTokenWithScopes": ["voip"], "expiresInMinutes": 1441 }),
    ] {
        let reply = server.rest(Role::Identity, "POST", IDENTITIES, &body).await;
        assert_eq!((reply.status, reply.acs_code()), (400, "BadRequest".into()), "{body}");
    }
    for body in [json!([]), json!(1), json!({ "createTokenWithScopes": "voip" })] {
        let reply = server.rest(Role::Identity, "POST", IDENTITIES, &body).await;
        assert_eq!((reply.status, reply.acs_code()), (400, "InvalidBody".into()), "{body}");
    }
    let events = server.rest(Role::Admin, "GET", "/events", &Value::Null).await;
    assert_eq!(events.json()["value"], json!([]));
}
