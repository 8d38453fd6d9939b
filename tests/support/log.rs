//! The log of a balancer: one JSON object a line.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::wait::{SOON, wait_for};

/// The target of the records of sessions.
pub const ACCESS: &str = "evenkeel::access";

/// The file that stderr goes to.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
}

/// One line.
#[derive(Debug, Clone)]
pub struct Record(Value);

impl Log {
    /// The log in this file.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The file as it is.
    pub fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap_or_default()
    }

    /// Every whole line so far; what is no JSON (a panic's message) is left out.
    pub fn records(&self) -> Vec<Record> {
        self.text().lines().filter_map(|line| serde_json::from_str(line).ok().map(Record)).collect()
    }

    /// The records of sessions, in the order of their ends.
    pub fn sessions(&self) -> Vec<Record> {
        self.records().into_iter().filter(|record| record.text("target") == ACCESS).collect()
    }

    /// Everything but the records of sessions.
    pub fn events(&self) -> Vec<Record> {
        self.records().into_iter().filter(|record| record.text("target") != ACCESS).collect()
    }

    /// The records of sessions once there are `count` of them.
    #[track_caller]
    pub fn first_sessions(&self, count: usize) -> Vec<Record> {
        wait_for(&format!("{count} sessions are in the access log"), SOON, || {
            Some(self.sessions()).filter(|sessions| sessions.len() >= count)
        })
    }

    /// The only session that has ended so far, waited for.
    #[track_caller]
    pub fn only_session(&self) -> Record {
        self.nth_session(0, SOON)
    }

    /// The session that ended as number `index`, from 0, waited for.
    #[track_caller]
    pub fn nth_session(&self, index: usize, deadline: Duration) -> Record {
        wait_for(&format!("session {index} is in the access log"), deadline, || self.sessions().into_iter().nth(index))
    }
}

impl Record {
    /// A text field; empty when it is absent.
    pub fn text(&self, field: &str) -> &str {
        self.0.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// The constant message.
    pub fn message(&self) -> &str {
        self.text("message")
    }

    /// A numeric field.
    #[track_caller]
    pub fn number(&self, field: &str) -> f64 {
        let value = self.0.get(field).and_then(Value::as_f64);
        value.unwrap_or_else(|| panic!("no number in the field {field} of {}", self.0))
    }
}
