//! What was found, as the JSON file holds it: every run with its neighbours, and what follows from them.

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use crate::outcome::{Figure, Latency, Sample, Unit};
use crate::peers::AccessLog;
use crate::statistics::Spread;

/// Everything.
#[derive(Serialize, Deserialize)]
pub(crate) struct Report {
    pub(super) machine: Machine,
    pub(super) rounds: u32,
    pub(super) seconds: f64,
    pub(super) cases: Vec<CaseReport>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct CaseReport {
    pub(super) case: String,
    pub(super) title: String,
    pub(super) unit: Unit,
    /// The figure that says most.
    pub(super) plotted: Figure,
    /// The peer between two of whose runs each other run stands.
    pub(super) reference: String,
    pub(super) peers: Vec<PeerReport>,
    pub(super) left_out: Vec<LeftOut>,
    pub(super) comparisons: Vec<Comparison>,
}

/// A peer that cannot do a case.
#[derive(Serialize, Deserialize)]
pub(super) struct LeftOut {
    pub(super) peer: String,
    pub(super) why: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct PeerReport {
    pub(super) peer: String,
    /// Whether it is no proxy but a limit to all of them.
    pub(super) is_limit: bool,
    pub(super) access_log: AccessLog,
    /// Absent when no round came through.
    pub(super) summary: Option<Summary>,
    /// Its cost over that of the reference; of the reference, over that of its own runs before and after.
    pub(super) cost_ratio: Option<Spread>,
    /// The same of the 99th percentile.
    pub(super) p99_ratio: Option<Spread>,
    pub(super) runs: Vec<RunReport>,
    pub(super) failures: Vec<String>,
}

/// One run that came through.
#[derive(Serialize, Deserialize)]
pub(super) struct RunReport {
    pub(super) round: u32,
    pub(super) sample: Sample,
    /// The same figures of the reference's runs before and after.
    pub(super) neighbours: Option<[Figures; 2]>,
}

/// What runs are compared by.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Figures {
    pub(super) cost: Option<f64>,
    pub(super) p99_us: Option<f64>,
}

/// Medians over the runs.
#[derive(Serialize, Deserialize)]
pub(super) struct Summary {
    pub(super) cost: Option<Spread>,
    pub(super) rate: f64,
    pub(super) latency: Option<Latency>,
    pub(super) disturbance: f64,
    pub(super) lost: Option<f64>,
}

/// One peer over another: below 1, the first is better.
#[derive(Serialize, Deserialize)]
pub(super) struct Comparison {
    pub(super) ours: String,
    pub(super) theirs: String,
    pub(super) cost: Option<Spread>,
    pub(super) p99: Option<Spread>,
}

impl Report {
    /// Whether every measurement came through.
    pub(crate) fn is_complete(&self) -> bool {
        self.cases.iter().flat_map(|case| &case.peers).all(|peer| peer.failures.is_empty())
    }
}

impl PeerReport {
    /// How it stands to the reference.
    pub(super) fn ratio(&self, figure: Figure) -> Option<Spread> {
        match figure {
            Figure::Cost => self.cost_ratio,
            Figure::P99 => self.p99_ratio,
        }
    }

    /// The median of its figure itself.
    pub(super) fn median(&self, figure: Figure) -> Option<f64> {
        let summary = self.summary.as_ref()?;
        match figure {
            Figure::Cost => summary.cost.map(|cost| cost.median),
            Figure::P99 => summary.latency.map(|latency| latency.p99_us),
        }
    }
}

impl RunReport {
    /// The figure and those of the neighbours; `None` if one of the three is missing.
    pub(super) fn with_neighbours(&self, figure: Figure) -> Option<(f64, [f64; 2])> {
        let [before, after] = self.neighbours?;
        Some((self.sample.figure(figure)?, [before.figure(figure)?, after.figure(figure)?]))
    }
}

impl Figures {
    pub(super) fn of(sample: &Sample) -> Self {
        Self { cost: sample.figure(Figure::Cost), p99_us: sample.figure(Figure::P99) }
    }

    fn figure(self, figure: Figure) -> Option<f64> {
        match figure {
            Figure::Cost => self.cost,
            Figure::P99 => self.p99_us,
        }
    }
}
