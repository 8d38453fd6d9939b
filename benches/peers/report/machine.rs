//! Where and with what it was measured.

use std::fmt;
use std::fs;

use serde::{Deserialize, Serialize};

use crate::plan::Plan;

/// What a reader must know to judge the figures.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(super) cpu: String,
    pub(super) cpus: usize,
    pub(super) kernel: String,
    /// Processes that wanted to run in the last minute, before the first measurement.
    load_average: String,
    pub(super) peers: Vec<Version>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Version {
    pub(super) peer: String,
    pub(super) version: String,
}

/// Asks the kernel and the peers.
pub(crate) fn describe(plan: &Plan) -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let mut models = cpuinfo.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let load = read("/proc/loadavg");
    let mut proxies = plan.participants();
    proxies.retain(|peer| !peer.is_limit());
    // They come in families.
    proxies.dedup_by_key(|peer| peer.program());
    Machine {
        cpu: models.next().map_or_else(String::new, |(_, model)| model.to_owned()),
        cpus: std::thread::available_parallelism().map_or(0, Into::into),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        load_average: load.split(' ').next().unwrap_or_default().to_owned(),
        peers: proxies
            .into_iter()
            .map(|peer| Version { peer: peer.name.into(), version: peer.version().unwrap_or_default() })
            .collect(),
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "machine           {} x {}, load average {}", self.cpus, self.cpu, self.load_average)?;
        writeln!(f, "kernel            {}", self.kernel)?;
        for Version { peer, version } in &self.peers {
            writeln!(f, "{peer:<17} {version}")?;
        }
        writeln!(f)
    }
}
