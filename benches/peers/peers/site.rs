//! Where one measurement takes place.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What a configuration is written for.
pub(crate) struct Site {
    /// A private directory.
    pub(crate) dir: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) backends: Vec<SocketAddr>,
}

impl Site {
    pub(crate) fn config_file(&self) -> PathBuf {
        self.dir.join("config")
    }

    /// What the proxy writes to its stdout and stderr.
    pub(crate) fn log_file(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// One formatted line for each backend.
    pub(super) fn each_backend(&self, line: impl Fn(usize, &SocketAddr) -> String) -> String {
        self.backends.iter().enumerate().fold(String::new(), |mut lines, (index, addr)| {
            let _ = writeln!(lines, "{}", line(index, addr));
            lines
        })
    }
}
