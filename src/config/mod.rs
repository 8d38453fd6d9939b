//! The configuration as the program runs it: every value decided, every reference resolved, nothing left to check.
//!
//! Text becomes a [`Config`] in two steps: `file` mirrors the TOML with the place of every value (by means of `read`),
//! and `lower` decides defaults, checks references and reports *all* errors at once, each with its place (by means of
//! `error` and `place`). Nothing after that re-checks a value. [`diff`] compares two configurations and says what a
//! reload will do.
//!
//! Host names are kept as names here: resolving them needs the network, which belongs to the control plane.

mod check;
pub mod diff;
mod error;
mod file;
mod lower;
mod place;
mod read;
mod udp;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use check::{DnsName, DnsProbe, HealthCheck, PassiveCheck, Probe, RecordType, ResponseCode, UdpProbe};
pub use error::{ConfigErrors, Diagnostic};
pub use lower::Machine;
pub use udp::{Assignment, OnBackendDown, Quota, Udp};

/// Probes that may be under way at one time, all pools together. Descriptors are kept free for this many.
pub const MAX_PROBES_IN_FLIGHT: usize = 64;

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

/// One listener: the addresses it binds, where it sends, and the limits of its transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Never empty, all of one transport, no address twice in the whole configuration.
    pub bind: Vec<BindAddr>,
    /// Exists in [`Config::pools`].
    pub pool: PoolName,
    /// What is spoken on it, with the settings that this has.
    pub protocol: Protocol,
    /// Whether a session or a flow leaves a record in the access log.
    pub access_log: AccessLog,
}

/// The transport of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protocol {
    /// Byte streams.
    Tcp(Tcp),
    /// Datagrams.
    Udp(Udp),
}

/// The limits of the sessions of a TCP listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp {
    /// Sessions of this listener, not above those of the process; over it a client is refused at once.
    pub max_connections: NonZeroU32,
    /// A session without a byte either way for this long is closed.
    pub idle_timeout: Duration,
    /// As `idle_timeout`, once one side has ended.
    pub half_close_timeout: Duration,
}

/// Whether sessions and flows are recorded one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLog {
    /// One record each.
    On,
    /// Metrics only.
    Off,
}

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
    /// Whether it is used from the start.
    pub role: Role,
}

/// When a backend is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Always.
    Primary,
    /// Only while no primary is up.
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

/// An address that a listener binds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BindAddr {
    /// TCP over IPv4, or over IPv6 only: a dual-stack listener names both.
    Tcp(SocketAddr),
    /// UDP, as for TCP.
    Udp(SocketAddr),
    /// A unix stream socket.
    Unix(PathBuf),
}

/// Where a backend is, as configured.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BackendAddr {
    /// A literal address.
    Inet(SocketAddr),
    /// A name that the control plane resolves at start and at reload.
    Name {
        /// Host name.
        host: String,
        /// Never 0.
        port: NonZeroU16,
    },
    /// A unix stream socket, written `unix:/path`.
    Unix(PathBuf),
}

/// What is spoken on an address, without the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Byte streams, over a unix socket too.
    Tcp,
    /// Datagrams.
    Udp,
}

impl BindAddr {
    /// What is spoken there.
    pub fn transport(&self) -> Transport {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Transport::Tcp,
            Self::Udp(_) => Transport::Udp,
        }
    }
}

impl Config {
    /// Parses and lowers a configuration.
    ///
    /// `origin` is the file's name as errors should show it; `machine` is what the limits are checked against.
    ///
    /// # Errors
    /// Every error of the text, each with its place.
    pub fn parse(origin: &str, text: &str, machine: &Machine) -> Result<Self, ConfigErrors> {
        lower::parse(origin, text, machine)
    }

    /// Flows that there may be at one time, all listeners together.
    pub fn flows_at_most(&self) -> u64 {
        let of = |listener: &Listener| match &listener.protocol {
            Protocol::Udp(udp) => u64::from(udp.max_flows.get()),
            Protocol::Tcp(_) => 0,
        };
        self.listeners.values().map(of).sum()
    }
}

/// Why something is no list of log directives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", help.as_ref().map_or_else(String::new, |help| format!(": {help}")))]
pub struct BadLogFilter {
    message: String,
    help: Option<String>,
}

/// Filter directives from elsewhere than the file, held to the same rule as the key `log`; without space in the answer.
///
/// # Errors
/// The first directive that is none.
pub fn log_filter(text: &str) -> Result<String, BadLogFilter> {
    lower::log::directives(text).map_err(|(message, help)| BadLogFilter { message, help })
}

/// A name in the configuration: cheap to clone, compared by value.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The key of a `[listeners.NAME]` table.
    ListenerName
}
name! {
    /// The key of a `[pools.NAME]` table.
    PoolName
}
name! {
    /// The identity of a backend within its pool.
    BackendName
}

impl fmt::Display for BindAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) | Self::Udp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for BackendAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(addr) => addr.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
