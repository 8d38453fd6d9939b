//! From runs to findings.

use super::findings::{CaseReport, Comparison, Figures, LeftOut, PeerReport, Report, RunReport, Summary};
use super::machine::Machine;
use crate::outcome::{Figure, Latency, Sample};
use crate::peers::{AccessLog, Peer, SUBJECT, SUBJECT_LOGGED};
use crate::plan::{Case, Plan};
use crate::rounds::Lap;
use crate::statistics::{Ratios, Spread, compare, ratio};

impl Report {
    pub(crate) fn new(plan: &Plan, machine: Machine, laps: &[Lap]) -> Self {
        let cases = plan.cases.iter().map(|case| {
            let laps: Vec<&Lap> = laps.iter().filter(|lap| lap.case == case.name).collect();
            CaseReport::new(plan, case, &laps)
        });
        Self { machine, rounds: plan.rounds, seconds: plan.length.as_secs_f64(), cases: cases.collect() }
    }
}

impl CaseReport {
    fn new(plan: &Plan, case: &Case, laps: &[&Lap]) -> Self {
        let peers: Vec<_> = plan.peers_of(case).into_iter().map(|peer| PeerReport::new(peer, laps)).collect();
        let reference = plan.reference_of(case).name;
        let comparisons = comparisons(&peers, reference);
        Self {
            case: case.name.into(),
            title: case.title.into(),
            unit: case.load.unit(),
            plotted: case.load.plotted(),
            reference: reference.into(),
            peers,
            left_out: plan.left_out_of(case).into_iter().map(|(peer, why)| LeftOut::new(peer, why)).collect(),
            comparisons,
        }
    }
}

impl LeftOut {
    fn new(peer: &Peer, why: &str) -> Self {
        Self { peer: peer.name.into(), why: why.into() }
    }
}

impl PeerReport {
    fn new(peer: &Peer, laps: &[&Lap]) -> Self {
        let (mut runs, mut failures) = (Vec::new(), Vec::new());
        for lap in laps {
            for (place, run) in lap.runs.iter().enumerate().filter(|(_, run)| run.peer == peer.name) {
                let neighbours = lap.neighbours(place).map(|neighbours| neighbours.map(Figures::of));
                match &run.result {
                    Ok(sample) => runs.push(RunReport { round: lap.round, sample: sample.clone(), neighbours }),
                    Err(failure) => failures.push(failure.to_string()),
                }
            }
        }
        let spread = |figure| {
            let figures = runs.iter().filter_map(|run| run.with_neighbours(figure));
            Spread::of(figures.map(|(figure, neighbours)| ratio(figure, neighbours)))
        };
        Self {
            peer: peer.name.into(),
            is_limit: peer.is_limit(),
            access_log: peer.access_log,
            summary: Summary::of(&runs),
            cost_ratio: spread(Figure::Cost),
            p99_ratio: spread(Figure::P99),
            runs,
            failures,
        }
    }

    /// How it stood to the reference in each round. The reference stood so to itself.
    fn ratios(&self, figure: Figure, reference: &str) -> Ratios {
        let of_run = |run: &RunReport| {
            let own = run.sample.figure(figure)?;
            if self.peer == reference {
                return Some((run.round, 1.0));
            }
            let (_, neighbours) = run.with_neighbours(figure)?;
            Some((run.round, ratio(own, neighbours)))
        };
        self.runs.iter().filter_map(of_run).collect()
    }
}

impl Summary {
    fn of(runs: &[RunReport]) -> Option<Self> {
        let samples = || runs.iter().map(|run| &run.sample);
        let median = |of: &dyn Fn(&Sample) -> Option<f64>| Some(Spread::of(samples().filter_map(of))?.median);
        let percentile = |of: fn(Latency) -> Option<f64>| median(&|sample| of(sample.latency?));
        let latency = || {
            Some(Latency {
                p50_us: percentile(|latency| Some(latency.p50_us))?,
                p99_us: percentile(|latency| Some(latency.p99_us))?,
                p999_us: percentile(|latency| latency.p999_us),
            })
        };
        Some(Self {
            cost: Spread::of(samples().filter_map(|sample| sample.cost)),
            rate: median(&|sample| Some(sample.rate))?,
            latency: latency(),
            disturbance: median(&|sample| Some(sample.disturbance))?,
            lost: median(&|sample| sample.lost),
        })
    }
}

/// evenkeel against each of the other proxies, like for like: with its access log against those that write theirs; and
/// evenkeel with its access log against itself without.
fn comparisons(peers: &[PeerReport], reference: &str) -> Vec<Comparison> {
    let against = |theirs: &PeerReport| {
        let ours = match theirs.access_log {
            _ if theirs.is_limit => return None,
            AccessLog::Off if theirs.peer == SUBJECT => SUBJECT_LOGGED,
            AccessLog::Off => SUBJECT,
            AccessLog::On => SUBJECT_LOGGED,
        };
        let ours = peers.iter().find(|peer| peer.peer == ours && peer.peer != theirs.peer)?;
        let compare = |figure| compare(&ours.ratios(figure, reference), &theirs.ratios(figure, reference));
        Some(Comparison {
            ours: ours.peer.clone(),
            theirs: theirs.peer.clone(),
            cost: compare(Figure::Cost),
            p99: compare(Figure::P99),
        })
    };
    peers.iter().filter_map(against).collect()
}
