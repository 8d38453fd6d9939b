//! `pgbench -S` on a PostgreSQL cluster.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::program::{CLIENTS, run, timed, unexpected};
use crate::outcome::{Failure, Latencies, Latency, Sample};
use crate::peers::{Peer, Transport};
use crate::proxy::Proxy;
use crate::support::postgres::Postgres;
use crate::system::Cpus;

/// How often pgbench connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connections {
    /// Once.
    Kept,
    /// For each transaction: `-C`.
    Anew,
}

pub(super) async fn measure(
    connections: Connections,
    peer: &Peer,
    cpus: Cpus,
    length: Duration,
) -> Result<Sample, Failure> {
    let server = Postgres::start();
    run(server.client("pgbench", server.addr()).args(["-i", "-q", "-s", "1"]))?;
    let proxy = Proxy::start(peer, Transport::Tcp, &[server.addr()], cpus).await?;
    let mut command = server.client("pgbench", proxy.addr());
    let seconds = length.as_secs().max(1).to_string();
    command.args(["-S", "-n", "-M", "prepared", "-c", &CLIENTS.to_string(), "-j", "1", "-T", &seconds]);
    let records = tempfile::tempdir()?;
    match connections {
        Connections::Kept => command.arg("-l").arg("--log-prefix").arg(records.path().join("transactions")),
        // Its records would leave out the connect.
        Connections::Anew => command.arg("-C"),
    };
    let mut transactions = 0;
    let sample = timed(&proxy, || {
        transactions = count(&run(&mut command)?)?;
        Ok((transactions, latency(records.path())?))
    })?;
    let stopped = proxy.stop(match connections {
        Connections::Kept => CLIENTS.into(),
        Connections::Anew => transactions,
    });
    stopped.await?;
    Ok(sample)
}

fn count(report: &str) -> Result<u64, Failure> {
    let rest = report.split_once("number of transactions actually processed: ").map(|(_, rest)| rest);
    let number = rest.and_then(|rest| rest.split([' ', '/', '\n']).next()?.parse().ok());
    number.ok_or_else(|| unexpected(report))
}

/// Of what was recorded: a line a transaction, whose third word is the time that it took in microseconds.
fn latency(records: &Path) -> Result<Option<Latency>, Failure> {
    let mut latencies = Latencies::default();
    for file in fs::read_dir(records)? {
        for line in fs::read_to_string(file?.path())?.lines() {
            let took = line.split(' ').nth(2).and_then(|took| took.parse().ok());
            latencies.record(Duration::from_micros(took.ok_or_else(|| unexpected(line))?));
        }
    }
    Ok(latencies.percentiles())
}
