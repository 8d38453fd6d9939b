//! How the health of backends is found out: the active check and the passive one.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use super::dns::{DnsName, RecordType, ResponseCode};

/// Probes that may be under way at one time, all pools together; of more pools than this, one each. Descriptors are kept free
/// for them.
pub const MAX_PROBES_IN_FLIGHT: usize = 64;

/// Active probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What a probe does.
    pub probe: Probe,
    /// Where probes go on the backend's address; absent: to the port that clients are sent to.
    pub port: Option<NonZeroU16>,
    /// Between the starts of two probes of a backend, before jitter.
    pub interval: Duration,
    /// Bound on one probe; not above `interval`.
    pub timeout: Duration,
    /// Consecutive successes that bring a backend up.
    pub rise: NonZeroU16,
    /// Consecutive failures that take a backend down.
    pub fall: NonZeroU16,
}

/// What a probe does and what it takes for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Connects.
    Tcp,
    /// Sends a datagram and waits for one.
    Udp(UdpProbe),
    /// Asks a name server over UDP.
    Dns(DnsProbe),
}

/// A datagram and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpProbe {
    /// What is sent.
    pub send: Vec<u8>,
    /// What the answer begins with; empty: any answer will do.
    pub expect: Vec<u8>,
}

/// A question and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsProbe {
    /// What is asked about.
    pub query: DnsName,
    /// What is asked for.
    pub record: RecordType,
    /// The only answer that passes; absent: every one but SERVFAIL.
    pub rcode: Option<ResponseCode>,
}

/// Judging a backend by what becomes of the datagrams of clients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PassiveCheck {
    /// Datagrams in a row without a reply that make a flow unanswered; fewer where a flow has fewer in all, by
    /// `requests` of its listener.
    pub unanswered: NonZeroU32,
    /// Flows that must be unanswered, or refused by the backend's machine, for a failure.
    pub flows: NonZeroU32,
    /// The time within which they must be.
    pub window: Duration,
    /// How long a backend stays out for the first time; each further time by as much more. Where there are probes, they
    /// decide the first time, and each further time they may do so by as much later.
    pub eject_for: Duration,
    /// The most that grows to.
    pub eject_for_at_most: Duration,
    /// The share of a pool's backends, from 0 to 1, that may be out at one time for one more to be taken out by this
    /// check.
    pub max_ejected: f64,
}
