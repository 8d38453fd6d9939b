//! The table for people.

use std::fmt;

use super::findings::{CaseReport, Comparison, LeftOut, PeerReport, Report, Summary};
use crate::outcome::{Figure, Latency, Unit};
use crate::statistics::{Spread, Verdict};

/// A share of the proxy's CPU taken by others above which a figure is marked.
const DOUBTFUL: f64 = 0.05;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, seconds, .. } = self;
        writeln!(f, "\nmedians, rounds: {rounds}, seconds each: {seconds}")?;
        writeln!(f, "ratio: to the mean of the reference's runs before and after, median (first and third quartile)")?;
        self.cases.iter().try_for_each(|case| case.fmt(f))?;
        writeln!(f, "\none over another, each relative to the reference beside it: median (first and third quartile)")?;
        writeln!(f, "even: 1.00 is within the quartiles")?;
        self.cases.iter().try_for_each(|case| case.write_comparisons(f))
    }
}

impl fmt::Display for CaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unit { cost, rate, .. } = &self.unit;
        let ratio = match self.plotted {
            Figure::Cost => format!("cost over {}", self.reference),
            Figure::P99 => format!("p99 over {}", self.reference),
        };
        writeln!(f, "\n{}: {}", self.case, self.title)?;
        write!(f, "  {:<17} {cost:>18} {ratio:>22} {rate:>15}", "")?;
        if self.peers.iter().any(PeerReport::has_latency) {
            write!(f, " {:>9} {:>9} {:>9}", "p50 us", "p99 us", "p99.9 us")?;
        }
        writeln!(f)?;
        self.peers.iter().try_for_each(|peer| peer.write_rows(f, &self.unit, self.plotted))?;
        self.left_out.iter().try_for_each(|LeftOut { peer, why }| writeln!(f, "  {peer:<17} left out: {why}"))
    }
}

impl PeerReport {
    fn has_latency(&self) -> bool {
        self.summary.as_ref().is_some_and(|summary| summary.latency.is_some())
    }

    fn write_rows(&self, f: &mut fmt::Formatter<'_>, unit: &Unit, plotted: Figure) -> fmt::Result {
        if let Some(summary) = &self.summary {
            self.write_figures(f, summary, unit, plotted)?;
        }
        if let Some(first) = self.failures.first() {
            let (failed, all) = (self.failures.len(), self.failures.len() + self.runs.len());
            writeln!(f, "  {:<17} FAILED {failed} times of {all}, the first time: {first}", self.peer)?;
        }
        Ok(())
    }

    fn write_figures(
        &self,
        f: &mut fmt::Formatter<'_>,
        summary: &Summary,
        unit: &Unit,
        plotted: Figure,
    ) -> fmt::Result {
        let Summary { rate, latency, disturbance, lost, .. } = summary;
        let cost = figure(self.median(Figure::Cost), unit.cost_digits);
        let ratio = self.ratio(plotted).map_or("-".into(), shown);
        write!(f, "  {:<17} {cost:>18} {ratio:>22} {rate:>15.digits$}", self.peer, digits = unit.rate_digits)?;
        if let Some(Latency { p50_us, p99_us, p999_us }) = latency {
            write!(f, " {p50_us:>9.0} {p99_us:>9.0} {:>9}", figure(*p999_us, 0))?;
        }
        if let Some(lost) = lost {
            write!(f, "  lost {:.2} %", lost * 100.0)?;
        }
        if *disturbance > DOUBTFUL {
            write!(f, "  doubtful: others had {:.0} % of this CPU", disturbance * 100.0)?;
        }
        writeln!(f)
    }
}

impl CaseReport {
    fn write_comparisons(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.comparisons.is_empty() {
            writeln!(f, "\n{}", self.case)?;
        }
        self.comparisons.iter().try_for_each(|comparison| comparison.write_row(f))
    }
}

impl Comparison {
    fn write_row(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pair = format!("{} / {}", self.ours, self.theirs);
        let cost = judged(self.cost, ["cheaper", "dearer"]);
        let p99 = judged(self.p99, ["faster", "slower"]);
        writeln!(f, "  {pair:<34} cost {cost:<34} p99 {p99}")
    }
}

fn judged(ratio: Option<Spread>, [less, more]: [&str; 2]) -> String {
    let Some(ratio) = ratio else { return "-".into() };
    let verdict = match ratio.verdict() {
        Verdict::Even => "even",
        Verdict::Less => less,
        Verdict::More => more,
        Verdict::Open => "too few rounds",
    };
    format!("{} {verdict}", shown(ratio))
}

fn shown(ratio: Spread) -> String {
    format!("{:.2} ({:.2}-{:.2})", ratio.median, ratio.first_quartile, ratio.third_quartile)
}

fn figure(figure: Option<f64>, digits: usize) -> String {
    figure.map_or("-".into(), |figure| format!("{figure:.digits$}"))
}
