//! The rounds that interleave measurements.

use crate::load::{self, Load, PEAK};
use crate::outcome::{Failure, Sample, Unit};
use crate::peers::{Contest, Peer};
use crate::plan::Plan;

/// A sample, or why there is none.
pub(crate) struct Measurement {
    pub(crate) case: &'static str,
    pub(crate) peer: &'static str,
    pub(crate) result: Result<Sample, Failure>,
}

/// All measurements of the plan. The order of peers rotates from round to round, so that none always follows the same
/// other. A failed measurement is told at once and kept.
pub(crate) async fn run(plan: &Plan) -> Vec<Measurement> {
    let mut measurements = Vec::new();
    for round in 0..plan.rounds {
        let mut peak = None;
        for case in &plan.cases {
            if case.load.needs_peak() && peak.is_none() {
                peak = slowest_peak(plan, round).await;
            }
            let mut order = plan.peers_of(case);
            let places = round as usize % order.len().max(1);
            order.rotate_left(places);
            for peer in order {
                let result = load::measure(case.load, peak, peer, plan.cpus, plan.length).await;
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
        let result = load::measure(PEAK, None, peer, plan.cpus, plan.length / 2).await;
        tell(plan, round, "(peak)", PEAK, peer, &result);
        rates.extend(result.map(|sample| sample.rate));
    }
    rates.into_iter().min_by(f64::total_cmp)
}

fn tell(plan: &Plan, round: u32, case: &str, load: Load, peer: &Peer, result: &Result<Sample, Failure>) {
    let place = format!("round {}/{}  {case:<17} {:<15}", round + 1, plan.rounds, peer.name);
    match result {
        Ok(sample) => {
            let lag = sample.lag.map_or_else(String::new, |lag| format!(", the load lags by p99 {:.0} us", lag.p99_us));
            let lost = sample.lost.map_or_else(String::new, |lost| format!(", lost {:.2} %", lost * 100.0));
            let Unit { cost, rate, .. } = load.unit();
            match sample.cost {
                Some(figure) => eprintln!("{place} {figure:>8.3} {cost}{lag}{lost}"),
                None => eprintln!("{place} {:>8.1} {rate}{lag}{lost}", sample.rate),
            }
        }
        Err(failure) => eprintln!("{place} FAILED: {failure}"),
    }
}
