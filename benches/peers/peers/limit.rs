//! What no proxy can beat: the way without one, and the kernel's own.

use std::path::PathBuf;
use std::process::Command;

use super::{Contest, Peer, Ready, Site};
use crate::failure::Failure;

/// Their names.
pub(crate) const LIMITS: [&str; 2] = ["direct", "dnat"];

/// Straight to the first backend.
pub(super) fn direct() -> Peer {
    Peer { ready: Ready::Direct, ..limit(LIMITS[0], "no proxy: straight to the first backend", "true", "--version") }
}

/// Rewritten by the kernel on its way to the first backend, in a network namespace of this program's own.
pub(super) fn dnat() -> Peer {
    Peer { ready: Ready::Dnat, ..limit(LIMITS[1], "nftables DNAT to the first backend", "nft", "--version") }
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
        datagrams: Some(|_| String::new()),
        arguments: |_| Vec::new(),
        ready: Ready::Direct,
    }
}

/// Rules that live until they are dropped.
pub(crate) struct Rules(());

impl Rules {
    /// Sends what goes to [`Site::listen`] to the first backend instead.
    ///
    /// # Errors
    /// This is the namespace of the machine, where nobody's rules are touched, or the kernel refuses.
    pub(crate) fn install(site: &Site) -> Result<Self, Failure> {
        if !is_own_namespace() {
            return Err(Failure::Start("DNAT needs a network namespace of its own: root, and `unshare`".into()));
        }
        let (from, to) = (site.listen, site.backends.first().ok_or_else(|| Failure::Start("no backend".into()))?);
        let rule = |transport| format!("ip daddr {} {transport} dport {} dnat to {to};", from.ip(), from.port());
        let rules = Self(());
        nft(&format!(
            "table ip evenkeel_bench {{ chain output {{ type nat hook output priority -100; {} {} }}; }}",
            rule("tcp"),
            rule("udp"),
        ))?;
        Ok(rules)
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        // What cannot be deleted goes with the namespace.
        let _ = nft("delete table ip evenkeel_bench");
    }
}

fn nft(rules: &str) -> Result<(), Failure> {
    let output = Command::new("nft").arg(rules).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::Start(format!("nft: {}", String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default())))
}

/// Set for the process that runs in the namespace.
const INSIDE: &str = "EVENKEEL_BENCH_NAMESPACE";

/// Whether this process has a network of its own.
pub(crate) fn is_own_namespace() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// This program again with the same arguments, in a network namespace of its own in which only the loopback is up. `None` if
/// it runs in one, or cannot have one.
pub(crate) fn in_own_namespace() -> Option<Command> {
    let unshared = || Command::new("unshare").args(["--net", "ip", "link", "set", "lo", "up"]).output();
    if is_own_namespace() || !unshared().is_ok_and(|output| output.status.success()) {
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "bench"]);
    command.arg(std::env::current_exe().ok()?).args(std::env::args_os().skip(1)).env(INSIDE, "1");
    Some(command)
}
