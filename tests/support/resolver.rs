//! What the system's resolver says, in a namespace of a test's own: names of a hosts file, and a name server that answers
//! nothing or is not there.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The files that the resolver reads, in place of the machine's. Only within [`in_namespace`](super::namespace::in_namespace).
#[derive(Debug)]
pub struct Resolver {
    hosts: PathBuf,
    /// Takes every question and answers none, while it is there.
    silent: Option<UdpSocket>,
    _directory: TempDir,
}

impl Resolver {
    /// A resolver that says at once that it has no answer.
    pub fn without_server() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (hosts, conf) = (directory.path().join("hosts"), directory.path().join("resolv.conf"));
        fs::write(&hosts, "127.0.0.1 localhost\n").expect("our own directory");
        fs::write(&conf, "nameserver 127.0.0.1\noptions timeout:30\n").expect("our own directory");
        cover("/etc/hosts", &hosts);
        cover("/etc/resolv.conf", &conf);
        Self { hosts, silent: None, _directory: directory }
    }

    /// A resolver that hangs for half a minute over every name.
    pub fn silent() -> Self {
        let silent = UdpSocket::bind("127.0.0.1:53").expect("the namespace is ours");
        Self { silent: Some(silent), ..Self::without_server() }
    }

    /// Says from now on what exactly these names stand for.
    pub fn know(&self, names: &[&str]) {
        let lines: String = names.iter().map(|name| format!("127.0.0.1 {name}\n")).collect();
        // In place: it is this file that lies over the machine's.
        fs::write(&self.hosts, format!("127.0.0.1 localhost\n{lines}")).expect("our own directory");
    }
}

/// Lays a file over one of the machine's, for this namespace.
fn cover(file: &str, with: &Path) {
    let status = Command::new("mount").arg("--bind").arg(with).arg(file).status().expect("mount of util-linux runs");
    assert!(status.success(), "mount over {file}: {status}");
}
