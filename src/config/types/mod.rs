//! A configuration as the program runs it: every value decided, every reference resolved, nothing left to check.
//!
//! Only types, and what follows from one of them alone. `lower` makes them and keeps what is said of their fields. Host names are kept as names: resolving them needs the network, which
//! belongs to the control plane.

mod address;
mod dns;
mod health;
mod listener;
mod machine;
mod name;
mod pool;
mod udp;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

pub use address::{BackendAddr, BindAddr, Transport};
pub use dns::{DnsName, RecordType, ResponseCode};
pub use health::{DnsProbe, HealthCheck, MAX_PROBES_IN_FLIGHT, PassiveCheck, Probe, UdpProbe};
pub use listener::{AccessLog, Listener, Protocol, Tcp};
pub use machine::Machine;
pub use name::{BackendName, ListenerName, PoolName};
pub use pool::{Backend, HashKey, Hashing, OnDown, Policy, Pool, Priority};
pub use udp::{Assignment, OnBackendDown, Udp};

/// A decided configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Data-plane threads. Fixed for the life of the process.
    pub workers: NonZeroUsize,
    /// Sessions of the whole process; over it a client is refused at once.
    pub max_connections: NonZeroU32,
    /// Flows of each UDP listener that does not say.
    pub default_max_flows: NonZeroU32,
    /// Pipes that the splice tier may own, all workers together: the descriptors left over by sessions and flows.
    pub max_pipes: usize,
    /// How long a worker that has done something looks for events before it sleeps; at once when absent. Fixed for the
    /// life of the process.
    pub busy_poll: Option<Duration>,
    /// How long SIGTERM waits for sessions to finish.
    pub shutdown_timeout: Duration,
    /// Filter directives that `tracing_subscriber::EnvFilter` takes, without space; the environment overrides them.
    pub log: String,
    /// The operator's side.
    pub admin: Admin,
    /// Client-facing addresses, by name.
    pub listeners: BTreeMap<ListenerName, Listener>,
    /// Groups of backends, by name.
    pub pools: BTreeMap<PoolName, Pool>,
}

/// Where the operator's interfaces listen; absent means off.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admin {
    /// Unix socket of the full-control API.
    pub socket: Option<PathBuf>,
    /// Read-only HTTP: `/metrics`, `/livez`, `/readyz`.
    pub http: Option<SocketAddr>,
}

impl Config {
    /// Flows that there may be at one time, all listeners together.
    pub fn flows_at_most(&self) -> u64 {
        let of = |listener: &Listener| match &listener.protocol {
            Protocol::Udp(udp) => u64::from(udp.max_flows.get()),
            Protocol::Tcp(_) => 0,
        };
        self.listeners.values().map(of).sum()
    }
}
