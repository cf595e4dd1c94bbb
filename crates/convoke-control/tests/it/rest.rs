//! Who may ask for what, and what a bad request is told.

use convoke_control::{Role, ServiceLimits};
use serde_json::{Value, json};

use crate::support::{IDENTITIES, Server};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_nothing_is_told_and_errors_have_the_shape_of_their_place() {
    let server = Server::with_services(ServiceLimits::default()).await;
    for headers in [
        &[][..],
        &[("authorization", "Bearer nonsense")],
        &[("authorization", "Basic YTpi")],
        &[("authorization", "HMAC-SHA256 nonsense")],
        &[("authorization", "Bearer a.b.c")],
    ] {
        let reply = server.request("POST", IDENTITIES, headers, "").await;
        assert_eq!((reply.status, reply.acs_code()), (401, "Unauthorized".into()));
        assert_eq!(reply.header("www-authenticate"), Some("HMAC-SHA256, Bearer"));
        let reply = server.request("GET", "/events", headers, "").await;
        assert_eq!((reply.status, reply.code()), (401, "unauthorized".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_does_not_reach_further() {
    let server = Server::with_services(ServiceLimits::default()).await;
    let get = async |role, path: &str| server.rest(role, "GET", path, &Value::Null).await.status;
    assert_eq!(get(Role::Calls, "/rooms?api-version=2025-03-13").await, 200);
    assert_eq!(get(Role::Identity, "/rooms?api-version=2025-03-13").await, 403);
    assert_eq!(get(Role::Calls, "/audit").await, 403);
    assert_eq!(get(Role::Admin, "/audit").await, 200);
    let made = server.rest(Role::Calls, "POST", IDENTITIES, &Value::Null).await;
    assert_eq!((made.status, made.acs_code()), (403, "Forbidden".into()));
    let made = server.rest(Role::Admin, "POST", IDENTITIES, &Value::Null).await;
    assert_eq!(made.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_are_told_when_to_come_back() {
    let limits =
        ServiceLimits { requests_per_second: 1, request_burst: 3, ..ServiceLimits::default() };
    let server = Server::with_services(limits).await;
    let mut refused = 0;
    for _ in 0..50 {
        let reply = server.rest(Role::Identity, "POST", IDENTITIES, &Value::Null).await;
        if reply.status == 429 {
            assert_eq!(reply.acs_code(), "TooManyRequests");
            assert_eq!(reply.header("retry-after"), Some("1"));
            refused += 1;
        }
    }
    assert!(refused > 0, "fifty requests took less than fifty seconds");
    let other = server.rest(Role::Admin, "POST", IDENTITIES, &Value::Null).await;
    assert_eq!(other.status, 201, "each key has its own rate");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_request_is_said() {
    let server = Server::with_services(ServiceLimits::default()).await;
    let huge = json!({ "x": "x".repeat(300 * 1024) });
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep: Value = json!({ "x": deep });
    for (method, path, body, expected) in [
        ("POST", "/identities", &Value::Null, (400, "MissingApiVersion")),
        (
            "POST",
            "/identities?api-version=2999-01-01",
            &Value::Null,
            (400, "UnsupportedApiVersion"),
        ),
        ("PUT", IDENTITIES, &Value::Null, (405, "MethodNotAllowed")),
        (
            "POST",
            "/identities/x/:launchMissiles?api-version=2023-10-01",
            &Value::Null,
            (404, "NotFound"),
        ),
        (
            "POST",
            "/teamsUser/:exchangeAccessToken?api-version=2026-03-12",
            &Value::Null,
            (501, "NotImplemented"),
        ),
        (
            "POST",
            "/calling/callConnections?api-version=2026-03-12",
            &Value::Null,
            (400, "InvalidBody"),
        ),
        ("GET", "/rooms?api-version=2025-03-13&limit=0", &Value::Null, (400, "BadRequest")),
        (
            "GET",
            "/rooms?api-version=2025-03-13&continuation=*",
            &Value::Null,
            (400, "InvalidContinuation"),
        ),
        ("POST", IDENTITIES, &huge, (413, "RequestTooLarge")),
    ] {
        let reply = server.rest(Role::Admin, method, path, body).await;
        assert_eq!((reply.status, &*reply.acs_code()), expected, "{method} {path}");
    }
    let reply = server.rest(Role::Admin, "POST", IDENTITIES, &deep).await;
    assert_eq!(reply.status, 201, "what is not known is ignored");
    for path in ["/audit?continuation=YQ", "/events?after=-1", "/events?after=x", "/events?limit=0"]
    {
        let reply = server.rest(Role::Admin, "GET", path, &Value::Null).await;
        assert_eq!(reply.status, 400, "{path}");
        reply.code();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_in_the_audit_log() {
    let server = Server::with_services(ServiceLimits::default()).await;
    let (id, _) = server.identity().await;
    let path = format!("/identities/{id}/:issueAccessToken?api-version=2023-10-01");
    server.rest(Role::Identity, "POST", &path, &json!({ "scopes": ["voip"] })).await;
    let rooms = "/rooms?api-version=2025-03-13";
    let room = server.rest(Role::Calls, "POST", rooms, &Value::Null).await.json();
    let room = room["id"].as_str().unwrap().to_owned();
    server.rest(Role::Calls, "GET", rooms, &Value::Null).await;
    let log = server.rest(Role::Admin, "GET", "/audit", &Value::Null).await.json();
    let log: Vec<_> = log["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            ["actor", "action", "target"].map(|key| entry[key].as_str().unwrap().to_owned())
        })
        .collect();
    let line = |actor: &str, action: &str, target: &str| [actor, action, target].map(str::to_owned);
    assert_eq!(
        log,
        [
            line("Identity", "identity.create", &id),
            line("Identity", "token.issue", &id),
            line("Calls", "room.create", &room),
        ]
    );
    assert!(!format!("{log:?}").contains("eyJ"), "no token");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_there_for_all() {
    let server = Server::with_services(ServiceLimits::default()).await;
    let document = server.get("/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let issue = &document["paths"]["/identities/{id}/:issueAccessToken"]["post"];
    assert!(
        issue["responses"]["404"]["description"].as_str().unwrap().contains("IdentityNotFound")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_services_there_is_no_such_interface() {
    let server = Server::start().await;
    let reply = server.request("POST", IDENTITIES, &[], "").await;
    assert_eq!((reply.status, reply.acs_code()), (404, "NotFound".into()));
}
