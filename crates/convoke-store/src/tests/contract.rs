//! What the store promises, on both databases, with every statement there is.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::{Folder, change, open, recorded};
use crate::{
    CallChange, Created, DELETED, Event, Lag, Location, OpenError, Repeat, Role, Room, RoomPatch,
    Store, StoreConfig, StoreError, Trimmed,
};

const HOSTILE: [&str; 6] =
    ["plain", "'; DROP TABLE room; --", "\u{202e}rtl", "日本語 👩‍👩‍👧", "a\\b%_*\"", "../../etc"];

#[tokio::test]
async fn in_memory() {
    keeps_its_promises(&open(Location::Memory).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_memory_outlives_operations_that_are_given_up() {
    let store = open(Location::Memory).await;
    store.create_identity("alice", &change(1, "identity.create")).await.unwrap();
    // A client that hangs up drops what is done for it at any point.
    for micros in 0..300 {
        let given_up = std::time::Duration::from_micros(micros);
        let id = format!("identity {micros}");
        let made = change(1, "identity.create");
        let both = async {
            let _ = store.create_identity(&id, &made).await;
            store.events(0, 100).await
        };
        let _ = tokio::time::timeout(given_up, both).await;
    }
    assert_eq!(store.generation("alice").await.unwrap(), 0);
}

#[tokio::test]
async fn in_a_file() {
    let folder = Folder::new("contract");
    keeps_its_promises(&open(folder.file()).await).await;
    refuses_what_is_newer(folder.file()).await;
}

#[tokio::test]
async fn in_postgresql() {
    let cluster = Cluster::start("contract-pg").await;
    keeps_its_promises(&open(cluster.location()).await).await;
    refuses_what_is_newer(cluster.location()).await;
}

async fn keeps_its_promises(store: &Store) {
    settings(store).await;
    identities(store).await;
    rooms(store).await;
    participants(store).await;
    repeats(store).await;
    calls(store).await;
    audit(store).await;
    events(store).await;
    webhooks(store).await;
    retention(store).await;
    counts(store);
    let all = [
        crate::audit::ALL,
        crate::calls::ALL,
        crate::events::ALL,
        crate::identities::ALL,
        crate::repeat::ALL,
        crate::retention::ALL,
        crate::rooms::ALL,
        crate::settings::ALL,
        crate::stats::ALL,
        crate::webhooks::ALL,
    ];
    let all: BTreeSet<&str> = all.into_iter().flatten().copied().collect();
    let missed: Vec<_> = all.difference(&recorded()).copied().collect();
    assert!(missed.is_empty(), "statements that were not run: {missed:#?}");
}

async fn settings(store: &Store) {
    assert_eq!(store.setting("resource", "a").await.unwrap(), "a");
    assert_eq!(store.setting("resource", "b").await.unwrap(), "a");
}

async fn identities(store: &Store) {
    for id in HOSTILE {
        store.create_identity(id, &change(5, "identity.create")).await.unwrap();
        assert_eq!(store.generation(id).await.unwrap(), 0);
        let again = store.create_identity(id, &change(5, "identity.create")).await;
        assert!(matches!(again, Err(StoreError::Exists)), "{again:?}");
    }
    let revoked = store.revoke("plain", &change(7, "identity.revoke")).await.unwrap();
    assert_eq!((revoked.generation, revoked.at), (1, 7));
    assert_eq!(store.generation("plain").await.unwrap(), 1);
    store.revoke("plain", &change(8, "identity.revoke")).await.unwrap();
    let deleted = store.delete_identity(HOSTILE[1], &change(9, "identity.delete")).await.unwrap();
    assert_eq!(deleted.generation, DELETED);
    for gone in [HOSTILE[1], "stranger"] {
        let change = change(10, "x");
        assert!(matches!(store.generation(gone).await, Err(StoreError::NotFound)));
        assert!(matches!(store.revoke(gone, &change).await, Err(StoreError::NotFound)));
        assert!(matches!(store.delete_identity(gone, &change).await, Err(StoreError::NotFound)));
    }
    let found = store.revocations(8).await.unwrap();
    let found: Vec<_> = found.iter().map(|r| (r.identity.as_str(), r.generation)).collect();
    assert_eq!(found.len(), 2);
    assert!(found.contains(&("plain", 2)) && found.contains(&(HOSTILE[1], DELETED)));
    assert_eq!(store.revocations(9).await.unwrap().len(), 1, "only since then");
    assert_eq!(store.forget_revocations(9).await.unwrap(), 1);
    assert_eq!(store.revocations(8).await.unwrap().len(), 1, "older ones are forgotten");
}

fn room(id: &str) -> Room {
    Room { id: id.into(), created_at: 1, valid_from: 10, valid_until: 20, pstn_dial_out: false }
}

async fn rooms(store: &Store) {
    for id in ["99001", "99003", "99002"] {
        let made = store.create_room(&room(id), &[], &change(1, "room.create"), None).await;
        assert_eq!(made.unwrap(), Created::Now);
    }
    let again = store.create_room(&room("99001"), &[], &change(1, "room.create"), None).await;
    assert!(matches!(again, Err(StoreError::Exists)));
    let backwards = Room { valid_until: 10, ..room("99009") };
    let made = store.create_room(&backwards, &[], &change(1, "room.create"), None).await;
    assert!(matches!(made, Err(StoreError::Invalid(_))));
    assert_eq!(store.room("99001").await.unwrap(), room("99001"));
    let page = store.rooms("", 2).await.unwrap();
    assert_eq!(page.iter().map(|room| room.id.as_str()).collect::<Vec<_>>(), ["99001", "99002"]);
    assert_eq!(store.rooms("99002", 2).await.unwrap().len(), 1);
    let patch = RoomPatch { pstn_dial_out: Some(true), ..RoomPatch::default() };
    let patched = store.update_room("99001", patch, &change(2, "room.update")).await.unwrap();
    assert_eq!(patched, Room { pstn_dial_out: true, ..room("99001") });
    let patch = RoomPatch { valid_from: Some(30), ..RoomPatch::default() };
    let refused = store.update_room("99001", patch, &change(2, "room.update")).await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))));
    assert_eq!(store.room("99001").await.unwrap(), patched, "a refused change changes nothing");
    store.delete_room("99003", &change(3, "room.delete")).await.unwrap();
    for gone in ["99003", "1"] {
        let change = change(3, "x");
        assert!(matches!(store.room(gone).await, Err(StoreError::NotFound)));
        assert!(matches!(store.delete_room(gone, &change).await, Err(StoreError::NotFound)));
        let update = store.update_room(gone, patch, &change).await;
        assert!(matches!(update, Err(StoreError::NotFound)));
    }
}

async fn participants(store: &Store) {
    let who: Vec<_> = HOSTILE.iter().map(|id| ((*id).to_owned(), Role::Consumer)).collect();
    store.create_room(&room("99010"), &who, &change(1, "room.create"), None).await.unwrap();
    let patch = [
        ("plain".to_owned(), Some(Role::Presenter)),
        (HOSTILE[1].to_owned(), None),
        ("nobody".to_owned(), None),
        ("new".to_owned(), Some(Role::Collaborator)),
    ];
    let edit = change(2, "room.patchParticipants");
    store.patch_participants("99010", &patch, 6, &edit).await.unwrap();
    let (found, role) = store.room_for("99010", "plain").await.unwrap();
    assert_eq!((found, role), (room("99010"), Some(Role::Presenter)));
    assert_eq!(store.room_for("99010", HOSTILE[1]).await.unwrap().1, None);
    let mut seen: Vec<String> = Vec::new();
    loop {
        let after = seen.last().cloned().unwrap_or_default();
        let page = store.room_participants("99010", &after, 4).await.unwrap();
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|(raw_id, _)| raw_id));
    }
    let expected: BTreeSet<&str> =
        HOSTILE.into_iter().filter(|id| *id != HOSTILE[1]).chain(["new"]).collect();
    assert_eq!(seen.len(), expected.len());
    assert_eq!(seen.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected);
    let many = [("one more".to_owned(), Some(Role::Attendee))];
    let refused = store.patch_participants("99010", &many, 6, &edit).await;
    assert!(matches!(refused, Err(StoreError::TooMany(6))));
    assert_eq!(store.room_for("99010", "one more").await.unwrap().1, None);
    let refused = store.patch_participants("1", &many, 6, &edit).await;
    assert!(matches!(refused, Err(StoreError::NotFound)));
    assert!(matches!(store.room_participants("1", "", 9).await, Err(StoreError::NotFound)));
    store.delete_room("99010", &change(3, "room.delete")).await.unwrap();
}

async fn repeats(store: &Store) {
    let repeat = Repeat { key: "k/1".into(), digest: "d".into(), reply: "first".into() };
    let make = change(50, "room.create");
    let one = store.create_room(&room("99020"), &[], &make, Some(&repeat)).await.unwrap();
    let later = Repeat { reply: "second".into(), ..repeat.clone() };
    let two = store.create_room(&room("99021"), &[], &make, Some(&later)).await.unwrap();
    assert_eq!((one, two), (Created::Now, Created::Before("first".into())));
    assert!(matches!(store.room("99021").await, Err(StoreError::NotFound)));
    let other = Repeat { digest: "other".into(), ..repeat.clone() };
    let three = store.create_room(&room("99022"), &[], &make, Some(&other)).await;
    assert!(matches!(three, Err(StoreError::Invalid(_))));
    assert_eq!(store.forget_repeats(50).await.unwrap(), 0);
    assert_eq!(store.forget_repeats(51).await.unwrap(), 1);
    let again = store.create_room(&room("99021"), &[], &make, Some(&repeat)).await.unwrap();
    assert_eq!(again, Created::Now);
    // At the same time, one of them wins and all are answered the same.
    let repeat = Repeat { key: "k/2".into(), ..repeat };
    let (a, b) = (room("99023"), room("99024"));
    let (a, b) = tokio::join!(
        store.create_room(&a, &[], &make, Some(&repeat)),
        store.create_room(&b, &[], &make, Some(&repeat)),
    );
    let before = Created::Before("first".into());
    let results = [a.unwrap(), b.unwrap()];
    assert!(results.contains(&Created::Now) && results.contains(&before), "{results:?}");
}

async fn calls(store: &Store) {
    let call = || "c1".to_owned();
    let person = |participant: &str| (participant.to_owned(), "plain".to_owned());
    let joined = |who: &str, at| {
        let (participant, identity) = person(who);
        CallChange::Joined { call: call(), participant, identity, at, more: Value::Null }
    };
    let (participant, identity) = person("p1");
    // Its own fields stand, whatever more there is.
    let more = json!({ "startedBy": "u1", "locator": "not so" });
    let changes = [
        CallChange::Started { call: call(), locator: "rooms/99001".into(), at: 100, more },
        joined("p1", 101),
        joined("p2", 102),
        CallChange::Left {
            call: call(),
            participant,
            identity,
            at: 103,
            code: 0,
            sub_code: 5300,
            more: Value::Null,
        },
    ];
    store.record(&changes).await.unwrap();
    let (record, people) = store.call_record("c1", 10).await.unwrap();
    assert_eq!((record.locator.as_str(), record.ended_at), ("rooms/99001", None));
    assert_eq!(people.len(), 2);
    assert_eq!((people[0].left_at, people[0].sub_code), (Some(103), Some(5300)));
    assert_eq!((people[1].participant.as_str(), people[1].left_at), ("p2", None));
    store.record(&[CallChange::Ended { call: call(), at: 104, more: Value::Null }]).await.unwrap();
    let listed = store.call_records("", 10).await.unwrap();
    assert_eq!(listed[0].ended_at, Some(104));
    let events = store.stream("calls/c1", 0, 100).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    let expected = [
        "call.started",
        "call.participantJoined",
        "call.participantJoined",
        "call.participantLeft",
        "call.ended",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(events[3].data["subCode"], json!(5300));
    assert!(matches!(store.call_record("c2", 1).await, Err(StoreError::NotFound)));
}

async fn audit(store: &Store) {
    let many = (0..50).map(|_| store.audit(change(60, "token.issue"), "plain"));
    for written in futures(many).await {
        written.unwrap();
    }
    let mut after = 0;
    let mut all = Vec::new();
    loop {
        let page = store.audits(after, 20).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.position;
        all.extend(page);
    }
    let positions: Vec<_> = all.iter().map(|entry| entry.position).collect();
    assert_eq!(positions, (1..=all.len() as i64).collect::<Vec<_>>(), "without gaps");
    assert_eq!(all.iter().filter(|entry| entry.action == "token.issue").count(), 50);
    let created = all.iter().find(|entry| entry.target == "99001").expect("audited");
    assert_eq!((created.actor.as_str(), created.action.as_str()), ("tests", "room.create"));
}

/// All at once.
async fn futures<T>(many: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = many.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        waiting.retain_mut(|one| match one.as_mut().poll(context) {
            std::task::Poll::Ready(value) => {
                done.push(value);
                false
            }
            std::task::Poll::Pending => true,
        });
        if waiting.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

async fn events(store: &Store) {
    let mut all = Vec::new();
    loop {
        let after = all.last().map_or(0, |event: &Event| event.position);
        let page = store.events(after, 7).await.unwrap();
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    let positions: Vec<_> = all.iter().map(|event| event.position).collect();
    assert_eq!(positions, (1..=all.len() as i64).collect::<Vec<_>>(), "without gaps");
    let watched = *store.watch_events().borrow();
    assert_eq!(watched, *positions.last().unwrap());
    let room = store.stream("rooms/99001", 0, 100).await.unwrap();
    assert_eq!(
        room.iter().map(|e| e.kind.as_str()).collect::<Vec<_>>(),
        ["room.created", "room.updated"]
    );
    assert_eq!(store.stream("rooms/99001", 1, 100).await.unwrap().len(), 1);
    assert!(store.stream("rooms/99001", 2, 100).await.unwrap().is_empty());
    assert!(matches!(store.stream("rooms/none", 0, 1).await, Err(StoreError::NotFound)));
}

async fn webhooks(store: &Store) {
    let newest = *store.watch_events().borrow();
    let start = store.cursor("app").await.unwrap();
    assert_eq!(start, newest, "a new webhook is told what happens from now on");
    store.create_identity("later", &change(70, "identity.create")).await.unwrap();
    store.create_identity("later still", &change(71, "identity.create")).await.unwrap();
    assert_eq!(store.cursor("app").await.unwrap(), start);
    let dead = [(start + 1, "refused with 400".to_owned())];
    store.advance("app", start + 2, &dead, 90).await.unwrap();
    store.advance("app", start + 1, &[], 91).await.unwrap();
    assert_eq!(store.cursor("app").await.unwrap(), start + 2, "a cursor never goes back");
    let lag = store.lag("app").await.unwrap();
    assert_eq!(lag, Lag { events: 0, oldest_at: None, dead_letters: 1 });
    store.create_identity("after", &change(77, "identity.create")).await.unwrap();
    let lag = store.lag("app").await.unwrap();
    assert_eq!(lag, Lag { events: 1, oldest_at: Some(77), dead_letters: 1 });
    assert_eq!(store.lag("stranger").await.unwrap(), Lag::default());
    store.advance("app", start + 3, &[], 92).await.unwrap();
    let letters = store.dead_letters("app", 0, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].event.data["identity"], "later");
    assert_eq!((letters[0].at, letters[0].reason.as_str()), (90, "refused with 400"));
    store.exhume("app", start + 1).await.unwrap();
    assert!(matches!(store.exhume("app", start + 1).await, Err(StoreError::NotFound)));
    assert!(store.dead_letters("app", 0, 10).await.unwrap().is_empty());
}

fn counts(store: &Store) {
    let [reads, writes] = store.operations();
    for one in [reads, writes] {
        assert!(one.count > 10 && one.failed == 0 && !one.took.is_zero(), "{one:?}");
        assert!(one.buckets.iter().sum::<u64>() <= one.count);
    }
}

async fn retention(store: &Store) {
    let all = async || store.events(0, 10_000).await.unwrap();
    for n in 0..1_100 {
        let call = || format!("old{n}");
        let (locator, more) = ("rooms/1".into(), json!({}));
        let started = CallChange::Started { call: call(), locator, at: 200, more: more.clone() };
        store.record(&[started, CallChange::Ended { call: call(), at: 201, more }]).await.unwrap();
    }
    let told = store.cursor("app").await.unwrap();
    let before = all().await;
    assert!(before.last().unwrap().position > told + 1_100);
    store.advance("app", told, &[(1, "gone with its event".into())], 1).await.unwrap();

    // What the webhook has yet to be told stays, though it is old.
    let trim = async |at, webhooks: &[&str]| {
        let (mut after, mut steps) = (0, Vec::new());
        loop {
            let step = store.trim_events(at, webhooks, after).await.unwrap();
            steps.push(step.rows);
            let Some(next) = step.next else { return steps };
            after = next;
        }
    };
    trim(1_000, &["app", "has not begun"]).await;
    let kept = all().await;
    let fresh = |events: &[Event]| events.iter().filter(|e| e.position > told).count();
    assert_eq!(fresh(&kept), fresh(&before));
    assert!(kept.len() < before.len());
    assert!(store.dead_letters("app", 0, 10).await.unwrap().is_empty());

    // Only what is old enough, and no more than a window in one step.
    assert_eq!(trim(1, &[]).await, [0], "nothing is so old");
    let steps = trim(1_000, &[]).await;
    assert!(steps.len() >= 3 && steps.iter().all(|rows| *rows <= 1_000), "{steps:?}");

    // The last of each stream that may go on is there, and the numbers go on.
    let kept = all().await;
    assert!(kept.iter().all(|e| !e.kind.starts_with("call.") && !e.kind.ends_with("deleted")));
    let streams: BTreeSet<_> = kept.iter().map(|e| e.stream.as_str()).collect();
    assert_eq!(streams.len(), kept.len(), "one of each");
    assert!(streams.contains("rooms/99001") && !streams.contains("rooms/99003"));
    let last = store.stream("rooms/99001", 0, 10).await.unwrap();
    let patch = RoomPatch { valid_until: Some(90), ..RoomPatch::default() };
    store.update_room("99001", patch, &change(300, "room.update")).await.unwrap();
    let room = store.stream("rooms/99001", 0, 10).await.unwrap();
    assert_eq!(room.last().unwrap().seq, last.last().unwrap().seq + 1);

    let entries = async || store.audits(0, 10_000).await.unwrap();
    let count = entries().await.len() as u64;
    assert_eq!(store.trim_audit(1).await.unwrap(), Trimmed { rows: 0, next: None });
    let gone = store.trim_audit(300).await.unwrap();
    assert_eq!((gone.rows, gone.next), (count - 1, None));
    assert_eq!(entries().await[0].at, 300);
}

async fn refuses_what_is_newer(location: Location) {
    let config = StoreConfig::new(location);
    let again = Store::open(&config).await.expect("migrated twice");
    let newer = "INSERT INTO _sqlx_migrations \
        (version, description, success, checksum, execution_time) \
        VALUES (999, 'of the future', TRUE, '', 0)";
    again.write(async |tx| Ok(tx.run(newer, &[]).await?)).await.unwrap();
    let refused = Store::open(&config).await.expect_err("newer");
    assert!(matches!(refused, OpenError::Newer { found: 999, .. }), "{refused}");
    assert!(refused.to_string().contains("version 999"));
}
