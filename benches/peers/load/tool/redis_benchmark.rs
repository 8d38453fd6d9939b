//! `redis-benchmark` on a Redis server.

use std::process::Command;
use std::time::Duration;

use super::program::{CLIENTS, run, timed, unexpected};
use crate::outcome::{Failure, Latency, Sample};
use crate::peers::{Peer, Transport};
use crate::proxy::Proxy;
use crate::support::program;
use crate::support::redis::Redis;
use crate::system::Cpus;

/// About what it does in a millisecond here; it is told a number of commands and not a time.
const COMMANDS_A_MS: u64 = 40;

pub(super) async fn measure(pipeline: u32, peer: &Peer, cpus: Cpus, length: Duration) -> Result<Sample, Failure> {
    let server = Redis::start();
    let proxy = Proxy::start(peer, Transport::Tcp, &[server.addr()], cpus).await?;
    let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    let commands = length_ms * COMMANDS_A_MS * u64::from(pipeline.isqrt());
    let mut command = Command::new(program::find("redis-benchmark", "redis-tools", []));
    let (host, port) = (proxy.addr().ip().to_string(), proxy.addr().port().to_string());
    command.args(["-h", &host, "-p", &port, "-t", "get", "-c", &CLIENTS.to_string(), "--csv"]);
    command.args(["-P", &pipeline.to_string(), "-n", &commands.to_string()]);
    let sample = timed(&proxy, || Ok((commands, Some(latency(&run(&mut command)?)?))))?;
    proxy.stop(CLIENTS.into()).await?;
    Ok(sample)
}

fn latency(report: &str) -> Result<Latency, Failure> {
    let line = report.lines().find(|line| line.starts_with("\"GET\""));
    let columns: Vec<f64> =
        line.unwrap_or_default().split(',').filter_map(|cell| cell.trim_matches('"').parse().ok()).collect();
    // Rate, and in milliseconds average, least, p50, p95, p99 and most.
    let [_, _, _, p50, _, p99, _] = columns[..] else { return Err(unexpected(report)) };
    Ok(Latency { p50_us: p50 * 1e3, p99_us: p99 * 1e3, p999_us: None })
}
