//! The configuration: text in, values out that are decided, with every reference resolved and nothing left to check.
//!
//! Text becomes a [`Config`] in two steps. `file` declares every key and reads each value by itself; `lower` decides what
//! the values mean together and what they refer to. Both report *all* errors, each with its place, by means of `error`.
//! What comes out is made of `types`, and nothing re-checks it. [`diff`] compares two configurations and says what a
//! reload will do; [`file_keys`] is what may be written, as data, and [`schema()`] the same for editors.

pub mod diff;
mod error;
mod file;
mod lower;
mod schema;
mod types;

pub use error::{ConfigErrors, Diagnostic};
pub use file::{BadLogFilter, file_keys, keys, log_filter};
pub use schema::schema;
pub use types::{
    AccessLog, Admin, Assignment, Backend, BackendAddr, BackendName, BindAddr, Config, DnsName, DnsProbe, HashKey,
    Hashing, HealthCheck, Listener, ListenerName, MAX_PROBES_IN_FLIGHT, Machine, OnBackendDown, OnDown, PassiveCheck,
    Policy, Pool, PoolName, Priority, Probe, Protocol, RecordType, ResponseCode, Tcp, Transport, Udp, UdpProbe,
};

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
}
