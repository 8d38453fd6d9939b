//! An authoritative name server of its own, Knot DNS, gone when dropped.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::program;

/// A running server for the zone `example.test`.
#[derive(Debug)]
pub struct Knot {
    child: Child,
    /// Its files.
    _directory: TempDir,
}

impl Knot {
    /// Starts one on `addr`; it answers soon.
    ///
    /// Its zone `broken.test` has no data, so that asking for it is SERVFAIL.
    pub fn start(addr: SocketAddr) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path();
        let zone = "@ 3600 SOA ns hostmaster 1 900 300 604800 60\n@ NS ns\nns A 192.0.2.1\nwww A 192.0.2.2\n";
        fs::write(path.join("example.test.zone"), zone).expect("our own directory");
        let config = format!(
            "server:\n    rundir: {0}\n    listen: {1}@{2}\ndatabase:\n    storage: {0}\n\
             template:\n  - id: default\n    storage: {0}\n    file: \"%s.zone\"\n\
             zone:\n  - domain: example.test\n  - domain: broken.test\n",
            path.display(),
            addr.ip(),
            addr.port()
        );
        let file = path.join("knot.conf");
        fs::write(&file, config).expect("our own directory");
        let child = Command::new(program::find("knotd", "knot", [PathBuf::from("/usr/sbin")]))
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("knotd starts");
        Self { child, _directory: directory }
    }
}

impl Drop for Knot {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}
