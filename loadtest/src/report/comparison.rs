//! Several targets beside each other.
//!
//! Owns: the shape of a comparison's `report.json`.
//! Never: ranks them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::{Report, SCHEMA, Summary, page, write};

/// What became of a target.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Compared {
    /// It was measured.
    Measured {
        /// What matters most.
        summary: Box<Summary>,
        /// Everything.
        report: Box<Report>,
    },
    /// It was not.
    Absent {
        /// Why.
        reason: String,
    },
}

/// A comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The scenario's name.
    pub scenario: String,
    /// By name of target.
    pub targets: BTreeMap<String, Compared>,
}

impl Comparison {
    /// One of nothing yet.
    #[must_use]
    pub fn new(scenario: &str) -> Self {
        Self { schema: SCHEMA, scenario: scenario.to_owned(), targets: BTreeMap::new() }
    }

    /// Adds a target that was measured.
    pub fn add(&mut self, report: Report) {
        let summary = Box::new(report.summary.clone());
        let report = Box::new(report);
        self.targets.insert(report.target.clone(), Compared::Measured { summary, report });
    }

    /// Adds a target that was not.
    pub fn add_absent(&mut self, target: &str, reason: String) {
        self.targets.insert(target.to_owned(), Compared::Absent { reason });
    }

    /// Those that were measured.
    #[must_use]
    pub fn reports(&self) -> Vec<&Report> {
        let mut found = Vec::new();
        for compared in self.targets.values() {
            if let Compared::Measured { report, .. } = compared {
                found.push(&**report);
            }
        }
        found
    }

    /// Writes `report.json` and `report.html` into a folder, which is made.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let json = serde_json::to_string_pretty(self).map_err(io::Error::other)?;
        let absent = |(name, compared): (&String, &Compared)| match compared {
            Compared::Absent { reason } => Some((name.clone(), reason.clone())),
            Compared::Measured { .. } => None,
        };
        let absent: Vec<_> = self.targets.iter().filter_map(absent).collect();
        write(folder, &format!("{json}\n"), &page(&self.reports(), &absent))
    }
}
