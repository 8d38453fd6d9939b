//! A pool as it runs: its backends, and how one of them is picked.

use std::num::NonZeroU16;
use std::time::Duration;

use super::address::BackendAddr;
use super::health::{HealthCheck, PassiveCheck};
use super::name::BackendName;

/// A pool: backends, how one of them is picked, and how their health is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// How a backend is picked.
    pub policy: Policy,
    /// Bound on one connection attempt.
    pub connect_timeout: Duration,
    /// Different backends tried for one session.
    pub connect_attempts: NonZeroU16,
    /// In the order of the file; never empty; identities are unique.
    pub backends: Vec<Backend>,
    /// Absent: no probes.
    pub health_check: Option<HealthCheck>,
    /// Absent: what becomes of datagrams says nothing of a backend. Without either check every backend counts as up.
    pub passive_check: Option<PassiveCheck>,
    /// What becomes of the sessions of a backend that goes down.
    pub on_down: OnDown,
}

/// The configured rule; `balance` builds a picker from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Policy {
    /// Smooth weighted round robin.
    RoundRobin,
    /// Fewest sessions per unit of weight, ties go round.
    LeastConnections,
    /// The one with fewer sessions per unit of weight, of two drawn by weight.
    PowerOfTwo,
    /// The lowest product of answering time and sessions, per unit of weight.
    LeastLatency,
    /// By chance and weight alone.
    Random,
    /// Consistent hashing.
    Maglev(Hashing),
}

/// The keys of the hashing policies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hashing {
    /// What of the client is hashed.
    pub key: HashKey,
    /// A backend over this multiple of its fair share is passed over; at least 1. Absent: no bound.
    pub bounded_load: Option<f64>,
}

/// What of the client is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address: all of its connections reach one backend.
    SourceIp,
    /// The client's address and port: connections spread, but a 4-tuple is stable.
    SourceIpPort,
}

/// One configured backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// What it is called in logs and metrics and what the hashing policies hash: the `name` key, or the address as
    /// written.
    pub identity: BackendName,
    /// Where it is.
    pub address: BackendAddr,
    /// Share of new sessions relative to the others; 0 drains.
    pub weight: u16,
    /// When it is used.
    pub priority: Priority,
}

/// When a backend is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Always.
    Regular,
    /// Only while no regular one is up.
    Backup,
}

/// What becomes of the sessions of a backend that goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDown {
    /// They go on: one missed probe must not kill a long query.
    Keep,
    /// They are reset: the client should connect anew, elsewhere.
    Close,
}
