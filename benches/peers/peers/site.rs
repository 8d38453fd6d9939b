//! Where one measurement takes place.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a configuration is written for.
pub(crate) struct Site {
    /// A private directory.
    pub(crate) dir: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) backends: Vec<SocketAddr>,
    pub(crate) access_log: AccessLog,
}

/// Whether a proxy writes a record of each session: when, the client, the backend, bytes each way, how long, and why it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AccessLog {
    Off,
    On,
}

impl Site {
    pub(crate) fn config_file(&self) -> PathBuf {
        self.dir.join("config")
    }

    /// What the proxy writes to its stdout and stderr.
    pub(crate) fn log_file(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The access log of a proxy that writes it to a file of its own.
    pub(super) fn access_log_file(&self) -> PathBuf {
        self.dir.join("access.log")
    }

    /// One formatted line for each backend.
    pub(super) fn each_backend(&self, line: impl Fn(usize, &SocketAddr) -> String) -> String {
        self.backends.iter().enumerate().fold(String::new(), |mut lines, (index, addr)| {
            let _ = writeln!(lines, "{}", line(index, addr));
            lines
        })
    }
}
