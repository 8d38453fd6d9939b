//! Real programs as load: pgbench and redis-benchmark, each with its own server behind the proxy.

mod pgbench;
mod program;
mod redis_benchmark;

use std::time::Duration;

use crate::outcome::{Failure, Sample, Unit};
use crate::peers::Peer;
use crate::system::Cpus;

pub(crate) use self::pgbench::Connections;

/// What the program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// `pgbench -S`: one row by its key.
    PgBench { connections: Connections },
    /// `redis-benchmark -t get`, with so many commands under way on each connection.
    RedisBenchmark { pipeline: u32 },
}

impl Tool {
    pub(super) const fn unit(self) -> Unit {
        match self {
            Self::PgBench { .. } => Unit::per_piece("CPU us/transaction", "transactions/s"),
            Self::RedisBenchmark { .. } => Unit::per_piece("CPU us/command", "commands/s"),
        }
    }
}

/// One measurement.
///
/// # Errors
/// The proxy did not start, or the program failed or says something unexpected.
pub(super) async fn measure(tool: Tool, peer: &Peer, cpus: Cpus, length: Duration) -> Result<Sample, Failure> {
    match tool {
        Tool::PgBench { connections } => pgbench::measure(connections, peer, cpus, length).await,
        Tool::RedisBenchmark { pipeline } => redis_benchmark::measure(pipeline, peer, cpus, length).await,
    }
}
