//! From samples to a table for people and a file for programs.

pub(crate) mod machine;
mod picture;

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;

use self::machine::Machine;
use crate::outcome::{Figure, Latency, Sample, Unit};
use crate::peers::SUBJECT;
use crate::plan::Plan;
use crate::rounds::Measurement;

/// A share of the proxy's CPU taken by others above which a figure is marked.
const DOUBTFUL: f64 = 0.05;

/// Everything that was found.
#[derive(Serialize)]
pub(crate) struct Report {
    machine: Machine,
    rounds: u32,
    seconds: f64,
    cases: Vec<CaseReport>,
}

#[derive(Serialize)]
struct CaseReport {
    case: &'static str,
    title: &'static str,
    unit: Unit,
    plotted: Figure,
    peers: Vec<PeerReport>,
}

#[derive(Serialize)]
struct PeerReport {
    peer: &'static str,
    /// Absent when no round came through.
    summary: Option<Summary>,
    /// Cost of evenkeel over the cost of this peer: below 1, evenkeel is cheaper.
    ratio: Option<f64>,
    samples: Vec<Sample>,
    failures: Vec<String>,
}

/// Medians over the rounds, and the spread of the cost.
#[derive(Serialize)]
struct Summary {
    cost: Option<f64>,
    cost_min: Option<f64>,
    cost_max: Option<f64>,
    rate: f64,
    latency: Option<Latency>,
    disturbance: f64,
    lost: Option<f64>,
}

impl Report {
    pub(crate) fn new(plan: &Plan, machine: Machine, measurements: &[Measurement]) -> Self {
        let cases = plan.cases.iter().map(|case| {
            let of_case = || measurements.iter().filter(|measurement| measurement.case == case.name);
            let mut peers: Vec<_> =
                plan.peers_of(case).into_iter().map(|peer| PeerReport::new(peer.name, of_case())).collect();
            let subject = peers.iter().find(|peer| peer.peer == SUBJECT).and_then(PeerReport::cost);
            for peer in &mut peers {
                peer.ratio = subject.zip(peer.cost()).map(|(subject, peer)| subject / peer);
            }
            CaseReport {
                case: case.name,
                title: case.title,
                unit: case.load.unit(),
                plotted: case.load.plotted(),
                peers,
            }
        });
        Self { machine, rounds: plan.rounds, seconds: plan.length.as_secs_f64(), cases: cases.collect() }
    }

    /// Whether every measurement came through.
    pub(crate) fn is_complete(&self) -> bool {
        self.cases.iter().flat_map(|case| &case.peers).all(|peer| peer.failures.is_empty())
    }

    /// Writes all figures, those of each round too.
    ///
    /// # Errors
    /// As the file system gives them.
    pub(crate) fn write_json(&self, path: &Path) -> io::Result<()> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        fs::write(path, serde_json::to_string_pretty(self)? + "\n")
    }
}

/// Draws the picture of the figures in a file.
///
/// # Errors
/// The file cannot be read, is none of ours, or the picture cannot be written.
pub(crate) fn redraw(json: &Path, svg: &Path) -> io::Result<()> {
    let report = serde_json::from_str(&fs::read_to_string(json)?)?;
    if let Some(dir) = svg.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(svg, picture::draw(&report))
}

impl PeerReport {
    fn new<'a>(peer: &'static str, of_case: impl Iterator<Item = &'a Measurement>) -> Self {
        let mut report = Self { peer, summary: None, ratio: None, samples: Vec::new(), failures: Vec::new() };
        for measurement in of_case.filter(|measurement| measurement.peer == peer) {
            match &measurement.result {
                Ok(sample) => report.samples.push(sample.clone()),
                Err(failure) => report.failures.push(failure.to_string()),
            }
        }
        report.summary = Summary::of(&report.samples);
        report
    }

    fn cost(&self) -> Option<f64> {
        self.summary.as_ref()?.cost
    }
}

impl Summary {
    fn of(samples: &[Sample]) -> Option<Self> {
        let costs = || samples.iter().filter_map(|sample| sample.cost);
        let latencies: Vec<_> = samples.iter().filter_map(|sample| sample.latency).collect();
        let percentile = |of: fn(&Latency) -> Option<f64>| median(latencies.iter().filter_map(of));
        Some(Self {
            cost: median(costs()),
            cost_min: costs().min_by(f64::total_cmp),
            cost_max: costs().max_by(f64::total_cmp),
            rate: median(samples.iter().map(|sample| sample.rate))?,
            latency: percentile(|latency| Some(latency.p50_us)).and_then(|p50_us| {
                Some(Latency {
                    p50_us,
                    p99_us: percentile(|latency| Some(latency.p99_us))?,
                    p999_us: percentile(|latency| latency.p999_us),
                })
            }),
            disturbance: median(samples.iter().map(|sample| sample.disturbance))?,
            lost: median(samples.iter().filter_map(|sample| sample.lost)),
        })
    }
}

/// The middle one, or the mean of the middle two; `None` of nothing.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, seconds, .. } = self;
        writeln!(f, "\nmedians, rounds: {rounds}, seconds each: {seconds}")?;
        writeln!(f, "ratio: cost of {SUBJECT} over cost of the peer; below 1, {SUBJECT} is cheaper")?;
        self.cases.iter().try_for_each(|case| case.fmt(f))?;
        writeln!(f, "\n{SUBJECT} against the best of the others in each case; below 1, {SUBJECT} is better")?;
        self.cases.iter().try_for_each(|case| case.write_summary(f))
    }
}

impl fmt::Display for CaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unit { cost, rate, .. } = self.unit;
        writeln!(f, "\n{}: {}", self.case, self.title)?;
        write!(f, "  {:<15} {cost:>17} {:>17} {:>6} {rate:>14}", "", "min - max", "ratio")?;
        if self.peers.iter().any(PeerReport::has_latency) {
            write!(f, " {:>9} {:>9} {:>9}", "p50 us", "p99 us", "p99.9 us")?;
        }
        writeln!(f)?;
        self.peers.iter().try_for_each(|peer| peer.write_rows(f, &self.unit))
    }
}

impl CaseReport {
    /// The ratios of cost and of p99 to the lowest of the others, each with its owner.
    fn write_summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cost = self.against_best(PeerReport::cost);
        let p99 = self.against_best(|peer| Some(peer.summary.as_ref()?.latency?.p99_us));
        if cost.is_none() && p99.is_none() {
            return Ok(());
        }
        let show =
            |ratio: Option<(f64, &str)>| ratio.map_or("-".into(), |(ratio, best)| format!("{ratio:.2} ({best})"));
        writeln!(f, "  {:<18} cost {:<24} p99 {}", self.case, show(cost), show(p99))
    }

    fn against_best(&self, figure: impl Fn(&PeerReport) -> Option<f64>) -> Option<(f64, &'static str)> {
        let ours = self.peers.iter().find(|peer| peer.peer == SUBJECT).and_then(&figure)?;
        let is_rival =
            |peer: &&PeerReport| !peer.peer.starts_with(SUBJECT) && peer.peer != "before" && peer.cost().is_some();
        let others = self.peers.iter().filter(is_rival);
        let (best, name) =
            others.filter_map(|peer| Some((figure(peer)?, peer.peer))).min_by(|a, b| a.0.total_cmp(&b.0))?;
        Some((ours / best, name))
    }
}

impl PeerReport {
    fn has_latency(&self) -> bool {
        self.summary.as_ref().is_some_and(|summary| summary.latency.is_some())
    }

    fn write_rows(&self, f: &mut fmt::Formatter<'_>, unit: &Unit) -> fmt::Result {
        if let Some(Summary { cost, cost_min, cost_max, rate, latency, disturbance, lost }) = &self.summary {
            let digits = unit.cost_digits;
            let shown = |figure: Option<f64>, digits: usize| figure.map_or("-".into(), |it| format!("{it:.digits$}"));
            let spread = cost_min.zip(*cost_max);
            let spread = spread.map_or("-".into(), |(min, max)| format!("{min:.digits$} - {max:.digits$}"));
            let ratio = shown(self.ratio, 2);
            write!(f, "  {:<15} {:>17} {spread:>17} {ratio:>6}", self.peer, shown(*cost, digits))?;
            write!(f, " {rate:>14.digits$}", digits = unit.rate_digits)?;
            if let Some(Latency { p50_us, p99_us, p999_us }) = latency {
                write!(f, " {:>9} {:>9} {:>9}", shown(Some(*p50_us), 0), shown(Some(*p99_us), 0), shown(*p999_us, 0))?;
            }
            if let Some(lost) = lost {
                write!(f, "  lost {:.2} %", lost * 100.0)?;
            }
            if *disturbance > DOUBTFUL {
                write!(f, "  doubtful: others had {:.0} % of this CPU", disturbance * 100.0)?;
            }
            writeln!(f)?;
        }
        if let Some(first) = self.failures.first() {
            let (failed, all) = (self.failures.len(), self.failures.len() + self.samples.len());
            writeln!(f, "  {:<15} FAILED in {failed} of {all} rounds, the first time: {first}", self.peer)?;
        }
        Ok(())
    }
}
