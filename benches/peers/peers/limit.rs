//! What no proxy can beat: the way without one, and the kernel's own.

use std::path::PathBuf;

use super::peer::{Contest, HalfClose, Peer, Ready};
use super::site::{AccessLog, Site};

/// Straight to the first backend.
pub(super) fn direct() -> Peer {
    Peer { ready: Ready::Direct, ..limit("direct", "no proxy: straight to the first backend", "true", "--version") }
}

/// Rewritten by the kernel on its way to the first backend, in a network namespace of this program's own.
pub(super) fn dnat() -> Peer {
    Peer { ready: Ready::Dnat, ..limit("dnat", "nftables DNAT to the first backend", "nft", "--version") }
}

fn limit(name: &'static str, title: &'static str, program: &str, version_flag: &'static str) -> Peer {
    Peer {
        name,
        title,
        contest: Contest::Proxies,
        program: PathBuf::from(program),
        remedy: "scripts/setup.sh --bench",
        module: None,
        version_flag,
        config: |_| String::new(),
        datagrams: Ok(|_| String::new()),
        half_close: HalfClose::PassedOn,
        arguments: |_| Vec::new(),
        access_log: AccessLog::Off,
        records: Site::log_file,
        ready: Ready::Direct,
    }
}
