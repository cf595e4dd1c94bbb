//! One suite for both databases, and what happens when they or we die.

mod cluster;
mod contract;
mod faults;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::{Change, Location, Store, StoreConfig};

thread_local! {
    static RUN: RefCell<BTreeSet<&'static str>> = const { RefCell::new(BTreeSet::new()) };
}

/// A statement was run on this thread.
pub(crate) fn record(sql: &'static str) {
    RUN.with_borrow_mut(|run| run.insert(sql));
}

fn recorded() -> BTreeSet<&'static str> {
    RUN.with_borrow(Clone::clone)
}

fn change(at: i64, action: &'static str) -> Change {
    Change { at, actor: "tests".into(), action, request_id: "r1".into() }
}

async fn open(location: Location) -> Store {
    Store::open(&StoreConfig::new(location)).await.expect("a store")
}

/// A folder of one test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("convoke-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn file(&self) -> Location {
        Location::File(self.0.join("convoke.db"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
