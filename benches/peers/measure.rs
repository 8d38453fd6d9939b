//! One measurement, and the rounds that interleave them.

use std::rc::Rc;
use std::time::Duration;

use crate::args::Plan;
use crate::backend::Backends;
use crate::cases::Case;
use crate::failure::Failure;
use crate::load;
use crate::peers::Peer;
use crate::proxy::Proxy;
use crate::tally::Tally;
use crate::usage::Cpus;

/// What one measurement found, in the units of its load.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Sample {
    pub(crate) cost: f64,
    pub(crate) rate: f64,
    pub(crate) latency: Option<Latency>,
    /// Share of the proxy's CPU that went to others; much of it makes the sample doubtful.
    pub(crate) disturbance: f64,
}

/// Percentiles, in microseconds.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(crate) struct Latency {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
}

/// A sample, or why there is none.
pub(crate) struct Measurement {
    pub(crate) case: &'static str,
    pub(crate) peer: &'static str,
    pub(crate) result: Result<Sample, Failure>,
}

impl Latency {
    /// Exact percentiles of all of them; `None` without any.
    pub(crate) fn of(mut nanoseconds: Vec<u32>) -> Option<Self> {
        nanoseconds.sort_unstable();
        let at = |per_mille: usize| {
            let rank = (nanoseconds.len() * per_mille / 1000).min(nanoseconds.len().checked_sub(1)?);
            Some(f64::from(nanoseconds[rank]) / 1e3)
        };
        Some(Self { p50_us: at(500)?, p99_us: at(990)?, p999_us: at(999)? })
    }
}

/// All measurements of the plan. The order of peers rotates from round to round, so that none always follows the same
/// other. A failed measurement is told at once and kept.
pub(crate) async fn rounds(plan: &Plan) -> Vec<Measurement> {
    let mut measurements = Vec::new();
    for round in 0..plan.rounds {
        for case in &plan.cases {
            let mut order: Vec<_> = plan.peers.iter().collect();
            order.rotate_left(round as usize % plan.peers.len());
            for peer in order {
                let result = measure(case, peer, plan.cpus, plan.length).await;
                tell(plan, round, case, peer, &result);
                measurements.push(Measurement { case: case.name, peer: peer.name, result });
            }
        }
    }
    measurements
}

async fn measure(case: &Case, peer: &Peer, cpus: Cpus, length: Duration) -> Result<Sample, Failure> {
    let tally = Rc::new(Tally::new(case.load.bound()));
    let backends = Backends::start(case.load.service(), case.load.backends(), &tally)?;
    let proxy = Proxy::start(peer, &backends.addrs, cpus).await?;
    let sample = load::run(case.load, &proxy, &tally, length).await?;
    tally.all_closed().await?;
    tally.balance()?;
    Ok(sample)
}

fn tell(plan: &Plan, round: u32, case: &Case, peer: &Peer, result: &Result<Sample, Failure>) {
    let place = format!("round {}/{}  {:<14} {:<15}", round + 1, plan.rounds, case.name, peer.name);
    match result {
        Ok(sample) => eprintln!("{place} {:>8.3} {}", sample.cost, case.load.unit().cost),
        Err(failure) => eprintln!("{place} FAILED: {failure}"),
    }
}
