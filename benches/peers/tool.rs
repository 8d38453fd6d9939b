//! Real programs as load: pgbench and redis-benchmark, each with its own server behind the proxy.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::measure::{Latency, Sample};
use crate::peers::{Peer, Transport};
use crate::proxy::Proxy;
use crate::support::postgres::Postgres;
use crate::support::program;
use crate::support::redis::Redis;
use crate::usage::Cpus;

/// What the program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// `pgbench -S`: one row by its key.
    PgBench { connections: Connections },
    /// `redis-benchmark -t get`, with so many commands under way on each connection.
    RedisBenchmark { pipeline: u32 },
}

/// How often pgbench connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connections {
    /// Once.
    Kept,
    /// For each transaction: `-C`.
    Anew,
}

/// Connections of either program.
const CLIENTS: &str = "16";

/// About what each program does in a second here; it is told a number of commands and not a time.
const REDIS_COMMANDS_A_SECOND: f64 = 40_000.0;

/// One measurement.
///
/// # Errors
/// The proxy did not start, or the program failed or says something unexpected.
pub(crate) async fn measure(tool: Tool, peer: &Peer, cpus: Cpus, length: Duration) -> Result<Sample, Failure> {
    match tool {
        Tool::PgBench { connections } => {
            let server = Postgres::start();
            run(server.client("pgbench", server.addr()).args(["-i", "-q", "-s", "1"]))?;
            let proxy = Proxy::start(peer, Transport::Tcp, &[server.addr()], cpus).await?;
            let mut command = server.client("pgbench", proxy.addr());
            let seconds = length.as_secs().max(1).to_string();
            command.args(["-S", "-n", "-M", "prepared", "-c", CLIENTS, "-j", "1", "-T", &seconds]);
            if connections == Connections::Anew {
                command.arg("-C");
            }
            timed(&proxy, || {
                let report = run(&mut command)?;
                let transactions = number_after(&report, "number of transactions actually processed: ")?;
                let average_ms = number_after(&report, "latency average = ")?;
                Ok((transactions, Latency { p50_us: average_ms * 1e3, p99_us: f64::NAN, p999_us: f64::NAN }))
            })
        }
        Tool::RedisBenchmark { pipeline } => {
            let server = Redis::start();
            let proxy = Proxy::start(peer, Transport::Tcp, &[server.addr()], cpus).await?;
            let commands = REDIS_COMMANDS_A_SECOND * length.as_secs_f64() * f64::from(pipeline).sqrt();
            let mut command = Command::new(program::find("redis-benchmark", "redis-tools", []));
            let (host, port) = (proxy.addr().ip().to_string(), proxy.addr().port().to_string());
            command.args(["-h", &host, "-p", &port, "-t", "get", "-c", CLIENTS, "--csv"]);
            command.args(["-P", &pipeline.to_string(), "-n", &format!("{commands:.0}")]);
            timed(&proxy, || {
                let report = run(&mut command)?;
                let line = report.lines().find(|line| line.starts_with("\"GET\""));
                let columns: Vec<f64> = line
                    .unwrap_or_default()
                    .split(',')
                    .filter_map(|cell| cell.trim_matches('"').parse().ok())
                    .collect();
                // Rate, and in milliseconds average, least, p50, p95, p99 and most.
                let [_, _, _, p50, _, p99, _] = columns[..] else { return Err(unexpected(&report)) };
                Ok((commands.round(), Latency { p50_us: p50 * 1e3, p99_us: p99 * 1e3, p999_us: f64::NAN }))
            })
        }
    }
}

/// What the proxy spends while `work` is done, which says how many units it was and how long one took.
fn timed(proxy: &Proxy, work: impl FnOnce() -> Result<(f64, Latency), Failure>) -> Result<Sample, Failure> {
    let (start, meters) = (Instant::now(), proxy.meters()?);
    let (units, latency) = work()?;
    let (elapsed, spent) = (start.elapsed().as_secs_f64(), proxy.meters()? - meters);
    Ok(Sample {
        cost: spent.proxy.as_secs_f64() * 1e6 / units,
        rate: units / elapsed,
        latency: Some(latency),
        lag: None,
        disturbance: spent.others.as_secs_f64() / elapsed,
        lost: None,
    })
}

/// Runs a program to its end; what it printed.
fn run(command: &mut Command) -> Result<String, Failure> {
    let output = command.stdin(Stdio::null()).output()?;
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        let last = errors.lines().last().unwrap_or_default();
        return Err(Failure::Load(format!("{:?}: {}: {last}", command.get_program(), output.status)));
    }
    Ok(out.into_owned())
}

fn number_after(report: &str, label: &str) -> Result<f64, Failure> {
    let rest = report.split_once(label).map(|(_, rest)| rest);
    let number = rest.and_then(|rest| rest.split([' ', '/', '\n']).next()?.parse().ok());
    number.ok_or_else(|| unexpected(report))
}

fn unexpected(report: &str) -> Failure {
    Failure::Load(format!("a program reports something unexpected: {report}"))
}
