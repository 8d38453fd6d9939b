//! A listener as it runs, and what one of TCP is bounded by.

use std::num::NonZeroU32;
use std::time::Duration;

use super::address::BindAddr;
use super::name::PoolName;
use super::udp::Udp;

/// One listener: the addresses it binds, where it sends, and the limits of its transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Never empty, all of one transport, no address twice in the whole configuration.
    pub bind: Vec<BindAddr>,
    /// There is a pool of this name.
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
