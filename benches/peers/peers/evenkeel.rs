//! evenkeel itself, other builds of it, and each of its policies.

use std::path::{Path, PathBuf};

use super::peer::{Contest, HalfClose, MAX_CONNECTIONS, MAX_FLOWS, Peer, Ready, text, words};
use super::site::{AccessLog, Site};

/// The peer that the others are compared with.
pub(crate) const SUBJECT: &str = "evenkeel";
/// The one that those are compared with who write their access log, too.
pub(crate) const SUBJECT_LOGGED: &str = "evenkeel-log";

/// This build.
pub(super) fn this() -> Peer {
    Peer {
        config: |site| config(site, "round-robin"),
        ..build(SUBJECT, "this build", PathBuf::from(env!("CARGO_BIN_EXE_evenkeel")))
    }
}

/// This build, writing its access log to stderr, which is a file here.
pub(super) fn logged() -> Peer {
    this().with_access_log(SUBJECT_LOGGED, "this build with its access log")
}

/// Spins before it sleeps.
pub(super) fn busy_polling() -> Peer {
    let config = |site: &Site| format!("busy_poll = \"50us\"\n{}", config(site, "round-robin"));
    Peer { name: "evenkeel-busy", title: "this build with busy_poll", config, contest: Contest::OnRequest, ..this() }
}

/// What another build of evenkeel is called.
pub(crate) const BEFORE: &str = "before";

/// Another build of evenkeel, without and with its access log.
pub(crate) fn before(program: &Path) -> [Peer; 2] {
    let build = || build(BEFORE, "another build", program.into());
    [build(), build().with_access_log("before-log", "another build with its access log")]
}

/// This build with each of the policies that one may choose between for unequal backends.
pub(super) fn policies() -> Vec<Peer> {
    let policy = |name, config| Peer {
        name,
        title: "this build with that policy",
        config,
        contest: Contest::Policies,
        ..this()
    };
    vec![
        policy("least-latency", |site| config(site, "least-latency")),
        policy("least-connections", |site| config(site, "least-connections")),
        policy("power-of-two", |site| config(site, "power-of-two")),
        policy("round-robin", |site| config(site, "round-robin")),
        policy("random", |site| config(site, "random")),
    ]
}

fn build(name: &'static str, title: &'static str, program: PathBuf) -> Peer {
    Peer {
        name,
        title,
        contest: Contest::Proxies,
        program,
        remedy: "cargo build --release",
        module: None,
        version_flag: "--version",
        config: |site| config(site, "round-robin"),
        datagrams: Ok(datagrams),
        half_close: HalfClose::PassedOn,
        arguments: |site| words(&["run", "-c", &text(&site.config_file())]),
        access_log: AccessLog::Off,
        records: Site::log_file,
        ready: Ready::Readyz,
    }
}

/// A configuration with this policy.
fn config(site: &Site, policy: &str) -> String {
    file(site, policy, &format!("protocol = \"tcp\"\nmax_connections = {MAX_CONNECTIONS}"))
}

/// One UDP listener with room for all flows of a case.
fn datagrams(site: &Site) -> String {
    let listener = format!("protocol = \"udp\"\nmax_flows = {MAX_FLOWS}\nreceive_buffer = \"1MiB\"");
    file(site, "round-robin", &listener)
}

fn file(site: &Site, policy: &str, listener: &str) -> String {
    let (log, access_log) = match site.access_log {
        AccessLog::Off => ("warn", false),
        AccessLog::On => ("warn,evenkeel::access=info", true),
    };
    format!(
        r#"workers = 1
shutdown_timeout = "1s"
log = "{log}"

[admin]
http = "{admin}"

[listeners.bench]
bind = ["{listen}"]
pool = "bench"
access_log = {access_log}
{listener}

[pools.bench]
policy = "{policy}"
backends = [
{backends}]
"#,
        admin = site.admin,
        listen = site.listen,
        backends = site.each_backend(|_, addr| format!("  \"{addr}\",")),
    )
}
