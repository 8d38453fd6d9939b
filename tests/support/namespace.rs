//! Namespaces: where addresses, routes, raw packets and what is mounted are a test's own.

use std::process::Command;
use std::{env, fs};

/// Set in the process that runs in the namespace: the file that it leaves when it has done its part.
const INSIDE: &str = "EVENKEEL_TEST_NAMESPACE";

/// Runs `inside` in a network namespace with nothing in it but a loopback device that is up, and in a mount namespace.
///
/// The test program runs itself once more for that, and there only the test called `test`, the one that calls this.
///
/// # Panics
/// When `inside` fails, or when there are no namespaces to be had.
#[track_caller]
pub fn in_namespace(test: &str, inside: impl FnOnce()) {
    if let Some(proof) = env::var_os(INSIDE) {
        ip(&["link", "set", "lo", "up"]);
        inside();
        return fs::write(proof, "").expect("the directory of the process outside");
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let proof = directory.path().join("done");
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    let status = command
        .args(["--net", "--mount", "--"])
        .arg(env::current_exe().expect("a test program has a path"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, &proof)
        .status()
        .expect("unshare of the package util-linux runs");
    assert!(status.success(), "in its namespace: {status}");
    // A name that is no test's selects nothing, which is a success.
    assert!(proof.exists(), "{test} ran nothing in its namespace");
}

/// Runs `ip` with these arguments; it must succeed.
#[track_caller]
pub fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status().expect("ip of the package iproute2 runs");
    assert!(status.success(), "ip {arguments:?}: {status}");
}
