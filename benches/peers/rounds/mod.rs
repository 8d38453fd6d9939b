//! The rounds: in each, every contestant of every case is measured once, between two runs of the reference.

mod lap;

pub(crate) use self::lap::{Lap, Run};
use crate::load::{self, Load, PEAK};
use crate::outcome::{Failure, Sample, Unit};
use crate::peers::Peer;
use crate::plan::{Case, Plan};
use crate::statistics;

/// All measurements of the plan. The order of contestants rotates from round to round, so that none always follows the same
/// other. A failed run is told at once and kept.
pub(crate) async fn run(plan: &Plan) -> Vec<Lap> {
    let mut laps = Vec::new();
    for round in 0..plan.rounds {
        let mut peak = None;
        for case in &plan.cases {
            if case.load.needs_peak() && peak.is_none() {
                peak = slowest_peak(plan, case, round).await;
            }
            let (reference, mut contestants) = (plan.reference_of(case), plan.contestants_of(case));
            let places = round as usize % contestants.len().max(1);
            contestants.rotate_left(places);
            let mut runs = Vec::new();
            for peer in statistics::interleave(reference, &contestants) {
                let result = load::measure(case.load, peak, peer, plan.cpus, plan.length).await;
                tell(plan, round, case.name, case.load, peer, &result);
                runs.push(Run { peer: peer.name, result });
            }
            laps.push(Lap { case: case.name, round, runs });
        }
    }
    laps
}

/// What the slowest of those who take part in `case` reaches in [`PEAK`] now, in exchanges a second; `None` if none came
/// through.
async fn slowest_peak(plan: &Plan, case: &Case, round: u32) -> Option<f64> {
    let mut rates = Vec::new();
    for peer in plan.peers_of(case).into_iter().filter(|peer| !peer.is_limit()) {
        let result = load::measure(PEAK, None, peer, plan.cpus, plan.length / 2).await;
        tell(plan, round, "(peak)", PEAK, peer, &result);
        rates.extend(result.map(|sample| sample.rate));
    }
    rates.into_iter().min_by(f64::total_cmp)
}

fn tell(plan: &Plan, round: u32, case: &str, load: Load, peer: &Peer, result: &Result<Sample, Failure>) {
    let place = format!("round {}/{}  {case:<22} {:<17}", round + 1, plan.rounds, peer.name);
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
