//! Calls that run, as operators see them, and what they do about them.

use convoke_control::{Role, ServiceLimits};
use convoke_protocol::{GroupId, LobbyPolicy, ServerMessage};
use serde_json::{Value, json};

use crate::support::{Raw, Server, join};

async fn one_call(server: &Server) -> Value {
    let reply = server.rest(Role::Calls, "GET", "/calls/live", &Value::Null).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let value = reply.json()["value"].as_array().unwrap().clone();
    assert_eq!(value.len(), 1, "{value:?}");
    value[0].clone()
}

fn id_of(call: &Value) -> String {
    call["id"].as_str().unwrap().to_owned()
}

async fn people(server: &Server, call: &str) -> Vec<Value> {
    let path = format!("/calls/{call}/participants");
    let reply = server.rest(Role::Calls, "GET", &path, &Value::Null).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["value"].as_array().unwrap().clone()
}

fn named<'a>(people: &'a [Value], identity: &str) -> &'a Value {
    people.iter().find(|one| one["identity"] == identity).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_call_is_shown_with_everyone_in_it_and_in_its_lobby() {
    let server = Server::with_services(ServiceLimits::default()).await;
    let group = GroupId::random();
    let mut host = server.agent("host").await;
    let mut start = join(group);
    start["lobby"] = json!(LobbyPolicy::Everyone);
    let ServerMessage::Joined(joined) = host.ask(start).await else { panic!("not joined") };
    let mut guest = server.agent("guest").await;
    let waits = guest.ask(join(group)).await;
    assert!(matches!(waits, ServerMessage::InLobby(_)), "{waits:?}");

    let call = one_call(&server).await;
    assert_eq!(call["locator"], format!("groups/{group}"));
    assert_eq!((&call["participants"], &call["waiting"]), (&json!(1), &json!(1)));
    let call = id_of(&call);
    let found = people(&server, &call).await;
    let (first, second) = (named(&found, "host"), named(&found, "guest"));
    assert_eq!(first["participantId"], joined.participant_id);
    assert_eq!((&first["state"], &first["role"]), (&json!("connected"), &json!("Presenter")));
    assert_eq!(
        (&first["muted"], &first["tracks"][0]["source"]),
        (&json!(false), &json!("microphone"))
    );
    assert!(first["joinedAt"].as_str().unwrap().starts_with("20"), "{first}");
    assert_eq!((&second["state"], &second["muted"]), (&json!("inLobby"), &json!(true)));

    let path = format!("/calls/{call}/participants/{}", joined.participant_id);
    let one = server.rest(Role::Calls, "GET", &path, &Value::Null).await.json();
    let slots = one["explanation"]["slots"].as_array().unwrap();
    assert_eq!(slots.len(), joined.slots.len(), "{one}");
    assert!(slots.iter().all(|slot| slot["state"] == "empty"), "{one}");
    let page = format!("/calls/{call}/participants?limit=1");
    let page = server.rest(Role::Calls, "GET", &page, &Value::Null).await.json();
    assert_eq!(page["value"].as_array().unwrap().len(), 1);
    let next = page["nextLink"].as_str().unwrap();
    let next = server.rest(Role::Calls, "GET", next, &Value::Null).await.json();
    assert_eq!(next["value"].as_array().unwrap().len(), 1);
    assert_ne!(next["value"][0]["identity"], page["value"][0]["identity"]);
    assert!(next["nextLink"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_mute_remove_and_end_and_all_of_it_is_in_the_audit_log() {
    let server = Server::with_services(ServiceLimits::default()).await;
    let group = GroupId::random();
    let (mut alice, _) = server.participant("alice", group).await;
    let (mut bob, _) = server.participant("bob", group).await;
    let call = id_of(&one_call(&server).await);
    let post = |verb: &str, body: Value| {
        let path = format!("/calls/{call}/:{verb}");
        let server = &server;
        async move { server.rest(Role::Calls, "POST", &path, &body).await }
    };
    let muted = post("mute", json!({ "identity": "bob" })).await;
    assert_eq!((muted.status, muted.json()), (200, json!({ "muted": 1 })));
    let by = bob.wait_for(|message| match message {
        ServerMessage::MutedByOthers(m) => Some(m.by.clone()),
        _ => None,
    });
    assert_eq!(by.await, None, "by nobody in the call");
    assert_eq!(named(&people(&server, &call).await, "bob")["muted"], true);
    assert_eq!(post("mute", Value::Null).await.json(), json!({ "muted": 1 }), "everyone");

    assert_eq!(post("remove", json!({ "identity": "bob" })).await.status, 204);
    assert_eq!(end_of(&mut bob).await, (0, 5300));
    assert_eq!(post("end", Value::Null).await.status, 204);
    assert_eq!(end_of(&mut alice).await, (0, 5000));
    let again = post("end", Value::Null).await;
    assert_eq!((again.status, again.code().as_str()), (404, "callNotRunning"));

    let audit = server.rest(Role::Admin, "GET", "/audit", &Value::Null).await.json();
    let entries: Vec<(String, String, String)> = audit["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            ["actor", "action", "target"].map(|name| entry[name].as_str().unwrap().to_owned())
        })
        .map(|[actor, action, target]| (actor, action, target))
        .collect();
    let entry = |action: &str, target: String| ("Calls".to_owned(), action.to_owned(), target);
    let expected = [
        entry("call.mute", format!("{call} bob")),
        entry("call.mute", call.clone()),
        entry("call.remove", format!("{call} bob")),
        entry("call.end", call.clone()),
    ];
    assert_eq!(entries, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_and_who_may_not_are_refused() {
    let server = Server::with_services(ServiceLimits::default()).await;
    let (_alice, _) = server.participant("alice", GroupId::random()).await;
    let call = id_of(&one_call(&server).await);
    let path = |rest: &str| format!("/calls/{call}{rest}");
    let gone = format!("/calls/{}", GroupId::random());
    let who = json!({ "identity": "nobody" });
    let long = json!({ "identity": "x".repeat(10_000) });
    for (method, path, body, status, code) in [
        ("GET", format!("{gone}/participants"), Value::Null, 404, "callNotRunning"),
        ("GET", path("/participants/p00000000"), Value::Null, 404, "participantNotFound"),
        ("GET", path("/participants/..%2f..%2fetc"), Value::Null, 404, "participantNotFound"),
        ("GET", path("/participants?limit=0"), Value::Null, 400, "badRequest"),
        ("GET", "/calls/live?continuation=*".to_owned(), Value::Null, 400, "invalidContinuation"),
        ("POST", format!("{gone}/:end"), Value::Null, 404, "callNotRunning"),
        ("POST", path("/:mute"), who.clone(), 404, "participantNotFound"),
        ("POST", path("/:mute"), json!({ "identity": 1 }), 400, "invalidBody"),
        ("POST", path("/:remove"), who, 404, "participantNotFound"),
        ("POST", path("/:remove"), Value::Null, 400, "invalidBody"),
        ("POST", path("/:remove"), json!({ "identity": "" }), 400, "badRequest"),
        ("POST", path("/:remove"), long, 400, "badRequest"),
        ("POST", path("/:explode"), Value::Null, 404, "notFound"),
        ("GET", path("/:end"), Value::Null, 405, "methodNotAllowed"),
    ] {
        let reply = server.rest(Role::Calls, method, &path, &body).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{method} {path}");
    }
    for (method, path) in [("GET", "/calls/live".to_owned()), ("POST", path("/:end"))] {
        let reply = server.rest(Role::Identity, method, &path, &Value::Null).await;
        assert_eq!((reply.status, reply.code().as_str()), (403, "forbidden"), "{path}");
        let reply = server.request(method, &path, &[], "").await;
        assert_eq!((reply.status, reply.code().as_str()), (401, "unauthorized"), "{path}");
    }
    assert_eq!(server.control.active_calls(), 1);
}

async fn end_of(agent: &mut Raw) -> (u16, u32) {
    let ended = agent.wait_for(|message| match message {
        ServerMessage::Ended(ended) => Some((ended.reason.code, ended.reason.sub_code)),
        _ => None,
    });
    ended.await
}
