//! One measurement, and the rounds that interleave them.

use std::rc::Rc;
use std::time::Duration;

use crate::args::Plan;
use crate::backend::Backends;
use crate::cases::{Load, PEAK, Unit};
use crate::failure::Failure;
use crate::peers::{Contest, Peer, Transport};
use crate::proxy::Proxy;
use crate::tally::Tally;
use crate::usage::Cpus;
use crate::{datagram, load, tool};

/// What one measurement found, in the units of its load.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Sample {
    pub(crate) cost: f64,
    pub(crate) rate: f64,
    pub(crate) latency: Option<Latency>,
    /// How much of that, on a schedule, is the load's own: from when a request could have been sent to when it was.
    pub(crate) lag: Option<Latency>,
    /// Share of the proxy's CPU that went to others; much of it makes the sample doubtful.
    pub(crate) disturbance: f64,
    /// Share of the datagrams that did not come back; only where they may be lost.
    pub(crate) lost: Option<f64>,
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
        let mut peak = None;
        for case in &plan.cases {
            if matches!(case.load, Load::OpenLoop { .. }) && peak.is_none() {
                peak = slowest_peak(plan, round).await;
            }
            let mut order = plan.peers_of(case);
            let places = round as usize % order.len().max(1);
            order.rotate_left(places);
            for peer in order {
                let mut result = measure(case.load, peak, peer, plan.cpus, plan.length).await;
                if let (true, Ok(sample)) = (peer.is_limit(), &mut result) {
                    // It is nobody's CPU time that is spent.
                    sample.cost = f64::NAN;
                }
                tell(plan, round, case.name, case.load, peer, &result);
                measurements.push(Measurement { case: case.name, peer: peer.name, result });
            }
        }
    }
    measurements
}

/// What the slowest peer reaches in [`PEAK`] now, in exchanges a second; `None` if none came through.
async fn slowest_peak(plan: &Plan, round: u32) -> Option<f64> {
    let mut rates = Vec::new();
    for peer in plan.peers.iter().filter(|peer| peer.contest == Contest::Proxies && !peer.is_limit()) {
        let result = measure(PEAK, None, peer, plan.cpus, plan.length / 2).await;
        tell(plan, round, "(peak)", PEAK, peer, &result);
        rates.extend(result.map(|sample| sample.rate));
    }
    rates.into_iter().min_by(f64::total_cmp)
}

async fn measure(load: Load, peak: Option<f64>, peer: &Peer, cpus: Cpus, length: Duration) -> Result<Sample, Failure> {
    if let Load::Datagrams(load) = load {
        return datagram::measure(load, peer, cpus, length).await;
    }
    if let Load::Tool(tool) = load {
        return tool::measure(tool, peer, cpus, length).await;
    }
    let tally = Rc::new(Tally::new(load.bound()));
    let backends = Backends::start(load, &tally)?;
    let proxy = Proxy::start(peer, Transport::Tcp, &backends.addrs, cpus).await?;
    let sample = load::run(load, peak, &proxy, &tally, length).await?;
    tally.all_closed().await?;
    tally.balance()?;
    Ok(sample)
}

fn tell(plan: &Plan, round: u32, case: &str, load: Load, peer: &Peer, result: &Result<Sample, Failure>) {
    let place = format!("round {}/{}  {case:<17} {:<15}", round + 1, plan.rounds, peer.name);
    match result {
        Ok(sample) => {
            let lag = sample.lag.map_or_else(String::new, |lag| format!(", the load lags by p99 {:.0} us", lag.p99_us));
            let lost = sample.lost.map_or_else(String::new, |lost| format!(", lost {:.2} %", lost * 100.0));
            let Unit { cost, rate, .. } = load.unit();
            match sample.cost.is_finite() {
                true => eprintln!("{place} {:>8.3} {cost}{lag}{lost}", sample.cost),
                false => eprintln!("{place} {:>8.1} {rate}{lag}{lost}", sample.rate),
            }
        }
        Err(failure) => eprintln!("{place} FAILED: {failure}"),
    }
}
