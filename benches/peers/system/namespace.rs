//! A network of this program's own, so that rules of the packet filter touch nobody else's packets.

use std::process::Command;

/// Set for the process that runs in the namespace.
const INSIDE: &str = "EVENKEEL_BENCH_NAMESPACE";

/// Whether this process has a network of its own.
pub(crate) fn is_own() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// This program again with the same arguments, in a network namespace of its own in which only the loopback is up. `None` if
/// it runs in one, or cannot have one.
pub(crate) fn same_program_inside() -> Option<Command> {
    let unshared = || Command::new("unshare").args(["--net", "ip", "link", "set", "lo", "up"]).output();
    if is_own() || !unshared().is_ok_and(|output| output.status.success()) {
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "bench"]);
    command.arg(std::env::current_exe().ok()?).args(std::env::args_os().skip(1)).env(INSIDE, "1");
    Some(command)
}
