//! Nothing that was acknowledged is lost, and a store that is down says so.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::cluster::Cluster;
use super::{Folder, change, open};
use crate::{Location, Store, StoreConfig, StoreError};

/// Where the child writes: `file:PATH` or a URL.
const WHERE: &str = "CONVOKE_TEST_STORE";
const CHILD: &str = "tests::faults::writes_until_it_is_killed";

/// The child of the tests below, which run this test alone in a process of its own.
#[tokio::test]
async fn writes_until_it_is_killed() {
    let Ok(place) = std::env::var(WHERE) else { return };
    let location = match place.strip_prefix("file:") {
        Some(path) => Location::File(path.into()),
        None => Location::Postgres(place),
    };
    let store = open(location).await;
    for number in 0_u64.. {
        let id = format!("id-{number}");
        store.create_identity(&id, &change(1, "identity.create")).await.unwrap();
        // Straight to the parent: the test harness would keep it.
        writeln!(std::io::stderr(), "acknowledged {id}").unwrap();
    }
}

async fn loses_nothing(location: Location) {
    let place = match &location {
        Location::File(path) => format!("file:{}", path.display()),
        Location::Postgres(url) => url.clone(),
        Location::Memory => panic!("memory is lost by design"),
    };
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", CHILD, "--nocapture", "--test-threads=1"])
        .env(WHERE, place)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut acknowledged = Vec::new();
    while acknowledged.len() < 100 {
        let line = lines.next().expect("the child goes on");
        acknowledged.extend(line.strip_prefix("acknowledged ").map(str::to_owned));
    }
    child.kill().unwrap();
    acknowledged.extend(lines.filter_map(|l| l.strip_prefix("acknowledged ").map(str::to_owned)));
    child.wait().unwrap();

    let store = open(location).await;
    for id in &acknowledged {
        assert_eq!(store.generation(id).await.unwrap(), 0, "{id} was acknowledged");
        let events = store.stream(&format!("identities/{id}"), 0, 10).await.unwrap();
        assert_eq!(events.len(), 1, "{id} has its event");
    }
    let events = store.events(0, 100_000).await.unwrap();
    let positions: Vec<_> = events.iter().map(|event| event.position).collect();
    assert_eq!(positions, (1..=events.len() as i64).collect::<Vec<_>>(), "without gaps");
    assert_eq!(store.audits(0, 100_000).await.unwrap().len(), events.len());
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_in_a_file() {
    let folder = Folder::new("kill");
    loses_nothing(folder.file()).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_in_postgresql() {
    let cluster = Cluster::start("kill-pg").await;
    loses_nothing(cluster.location()).await;
}

/// CL-04.
#[tokio::test]
async fn cl_04_a_store_that_hangs_is_told_from_one_that_works() {
    let cluster = Cluster::start("hang-pg").await;
    let patience = Duration::from_millis(300);
    let config = StoreConfig { patience, ..StoreConfig::new(cluster.location()) };
    let store = Store::open(&config).await.unwrap();
    store.create_identity("before", &change(1, "identity.create")).await.unwrap();
    cluster.signal("STOP");
    let down = |result: Result<(), StoreError>| {
        assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
    };
    down(store.create_identity("meanwhile", &change(2, "identity.create")).await);
    down(store.generation("before").await.map(drop));
    down(store.audit(change(2, "token.issue"), "before").await);
    cluster.signal("CONT");
    // What hung may still be let go of by the database.
    let mut found = store.generation("before").await;
    while let Err(StoreError::Unavailable(_)) = found {
        found = store.generation("before").await;
    }
    assert_eq!(found.unwrap(), 0);
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let folder = Folder::new("no-database");
    std::fs::write(folder.0.join("convoke.db"), "no database, but long enough to be read as one")
        .unwrap();
    let Location::File(path) = folder.file() else { panic!() };
    Store::open(&StoreConfig::new(Location::File(path))).await.expect_err("no database");
}
