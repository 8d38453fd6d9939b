//! Where listeners are and where backends are.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;

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
