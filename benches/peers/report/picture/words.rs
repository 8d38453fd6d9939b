//! What stands around the bars.

use crate::report::findings::Report;

/// Characters of a line of a title.
const LINE: usize = 46;

pub(super) fn subtitle(report: &Report) -> String {
    let references: Vec<&str> = report.cases.iter().map(|case| case.reference.as_str()).collect();
    let reference = match references[..] {
        [first, ..] if references.iter().all(|other| *other == first) => first,
        _ => "the reference",
    };
    format!(
        "bars: median of the ratio to the runs of {reference} before and after, with quartiles; \
         rounds: {} of {} s; scripts/bench.sh",
        report.rounds, report.seconds
    )
}

/// Where and with what, on two lines.
pub(super) fn footer(report: &Report) -> [String; 2] {
    let machine = &report.machine;
    let mut versions: Vec<String> = Vec::new();
    for peer in &machine.peers {
        let product = peer.peer.split('-').next().unwrap_or_default();
        if let Some(number) = number(&peer.version) {
            versions.push(format!("{product} {number}"));
        }
    }
    versions.dedup();
    [format!("{} x {}, Linux {}", machine.cpus, machine.cpu, machine.kernel), versions.join(" · ")]
}

/// The number in what a program says of its version.
fn number(version: &str) -> Option<&str> {
    let is_number = |word: &&str| word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.');
    version.split([' ', '/', '(']).find(is_number)
}

/// A title on two lines.
pub(super) fn wrapped(title: &str) -> (&str, &str) {
    if title.len() <= LINE {
        return (title, "");
    }
    let spaces = title.rmatch_indices(' ').map(|(at, _)| at);
    spaces.filter(|at| *at <= LINE).max().map_or((title, ""), |at| (&title[..at], &title[at + 1..]))
}

pub(super) fn three_digits(figure: f64) -> String {
    match figure {
        figure if figure < 1.0 => format!("{figure:.3}"),
        figure if figure < 10.0 => format!("{figure:.2}"),
        figure if figure < 100.0 => format!("{figure:.1}"),
        figure if figure < 10_000.0 => format!("{figure:.0}"),
        figure => format!("{:.0},{:03.0}", (figure / 1e3).floor(), figure % 1e3),
    }
}
