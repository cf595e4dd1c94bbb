//! The last lines of the log, kept for a report of a fault.
//!
//! Owns: the lines, within their bounds.
//! Never: waits for a reader, or says what is logged; the host writes into it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// What is kept of one line, in bytes; the rest is cut.
pub const RECENT_LINE_BYTES_MAX: usize = 2_048;

/// The last lines of a log, oldest first. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct RecentLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    lines_max: usize,
    lines: Mutex<VecDeque<Box<str>>>,
}

impl RecentLog {
    /// Keeps at most so many lines, of [`RECENT_LINE_BYTES_MAX`] bytes each.
    #[must_use]
    pub fn new(lines_max: usize) -> Self {
        Self(Arc::new(Inner { lines_max, lines: Mutex::default() }))
    }

    /// Keeps what one event of the log has, in place of the oldest if there are too many.
    pub fn push(&self, text: &str) {
        if self.0.lines_max == 0 {
            return;
        }
        let line = cut(text.trim_end());
        let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= self.0.lines_max {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// What is kept now.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| String::from(&**line)).collect()
    }
}

/// Without the escapes that colour a terminal (ECMA-48 §8.3.117), and not longer than allowed.
fn cut(text: &str) -> Box<str> {
    let mut plain = String::with_capacity(text.len().min(RECENT_LINE_BYTES_MAX));
    let mut parts = text.split("\u{1b}[");
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    let mut end = plain.len().min(RECENT_LINE_BYTES_MAX);
    while !plain.is_char_boundary(end) {
        end -= 1;
    }
    plain.truncate(end);
    plain.into_boxed_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_lines_go_first() {
        let log = RecentLog::new(3);
        for n in 0..5 {
            log.clone().push(&format!("line {n}\n"));
        }
        assert_eq!(log.lines(), ["line 2", "line 3", "line 4"]);
    }

    #[test]
    fn long_lines_are_cut_between_characters_and_colours_are_left_out() {
        let log = RecentLog::new(2);
        log.push(&"é".repeat(RECENT_LINE_BYTES_MAX));
        log.push("\u{1b}[2m2026\u{1b}[0m \u{1b}[32m INFO\u{1b}[0m ready");
        let lines = log.lines();
        assert_eq!(lines[0], "é".repeat(RECENT_LINE_BYTES_MAX / 2));
        assert_eq!(lines[1], "2026  INFO ready");
    }

    #[test]
    fn none_are_kept_where_none_are_wanted() {
        let log = RecentLog::new(0);
        log.push("line");
        assert!(log.lines().is_empty());
    }
}
