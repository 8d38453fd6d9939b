//! The figures as a picture: a panel a case, a bar a peer, shorter is better.
//!
//! Drawn from what the JSON file holds, so that a picture can be made again without measuring. Plain SVG with a background
//! of its own: it looks the same on a light and on a dark page.

use std::fmt::Write as _;

use serde_json::Value;

use crate::peers::{LIMITS, SUBJECT};

const COLUMNS: usize = 3;
const PANEL_WIDTH: f64 = 320.0;
const MARGIN: f64 = 24.0;
const HEAD: f64 = 64.0;
const FOOT: f64 = 56.0;
/// Of a panel, above and below its bars.
const TITLE: f64 = 56.0;
const GAP: f64 = 22.0;
const ROW: f64 = 20.0;
const BAR: f64 = 13.0;
/// Room for the name of a peer, and for a figure.
const NAME: f64 = 96.0;
const FIGURE: f64 = 60.0;
/// Characters of a line of a title.
const LINE: usize = 44;
/// A bar this many times as long as the shortest is cut, so that the others can be told apart.
const CLIP: f64 = 12.0;

const INK: &str = "#1f2937";
const FAINT: &str = "#6b7280";
const OURS: &str = "#0f766e";
const OTHERS: &str = "#cbd5e1";

/// One case.
struct Panel<'a> {
    title: &'a str,
    unit: &'a str,
    /// Names and figures, in the order of the table.
    bars: Vec<(&'a str, f64)>,
}

/// The picture of a report, as SVG.
pub(crate) fn draw(report: &Value) -> String {
    let panels: Vec<Panel<'_>> = list(&report["cases"]).filter_map(Panel::of).collect();
    let rows: Vec<&[Panel<'_>]> = panels.chunks(COLUMNS).collect();
    let width = PANEL_WIDTH * COLUMNS as f64 + 2.0 * MARGIN;
    let height = HEAD + rows.iter().map(|row| height_of(row)).sum::<f64>() + FOOT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#ffffff\" stroke=\"#e5e7eb\"/>\n"
    );
    text(&mut svg, MARGIN, 34.0, "start", 18.0, INK, "What a proxy costs: one worker on one CPU, shorter is better");
    text(&mut svg, MARGIN, 53.0, "start", 12.0, FAINT, &subtitle(report));
    let mut top = HEAD;
    for row in rows {
        for (column, panel) in row.iter().enumerate() {
            panel.draw(&mut svg, MARGIN + PANEL_WIDTH * column as f64, top);
        }
        top += height_of(row);
    }
    for (line, words) in footer(report).iter().enumerate() {
        text(&mut svg, MARGIN, height - FOOT + 20.0 + 16.0 * line as f64, "start", 11.0, FAINT, words);
    }
    svg.push_str("</svg>\n");
    svg
}

fn height_of(row: &[Panel<'_>]) -> f64 {
    let bars = row.iter().map(|panel| panel.bars.len()).max().unwrap_or(0);
    TITLE + ROW * bars as f64 + GAP
}

impl<'a> Panel<'a> {
    /// `None` if no peer came through.
    fn of(case: &'a Value) -> Option<Self> {
        let is_latency = case["plotted"] == "p99";
        let bars: Vec<_> = list(&case["peers"])
            .filter_map(|peer| {
                let summary = &peer["summary"];
                let figure = if is_latency { &summary["latency"]["p99_us"] } else { &summary["cost"] };
                Some((peer["peer"].as_str()?, figure.as_f64()?))
            })
            .collect();
        let unit = if is_latency { "p99, us" } else { case["unit"]["cost"].as_str()? };
        (!bars.is_empty()).then_some(Self { title: case["title"].as_str()?, unit, bars })
    }

    fn draw(&self, svg: &mut String, left: f64, top: f64) {
        let (first, second) = wrapped(self.title);
        text(svg, left, top + 14.0, "start", 12.5, INK, first);
        text(svg, left, top + 30.0, "start", 12.5, INK, second);
        let unit_top = if second.is_empty() { top + 30.0 } else { top + 46.0 };
        text(svg, left, unit_top, "start", 11.0, FAINT, self.unit);
        let figures = || self.bars.iter().map(|(_, figure)| *figure);
        let longest = figures().fold(f64::MIN_POSITIVE, f64::max);
        // The limits are no measure for the others.
        let is_proxy = |(name, _): &&(&str, f64)| !LIMITS.contains(name);
        let shortest = self.bars.iter().filter(is_proxy).map(|(_, figure)| *figure).fold(f64::INFINITY, f64::min);
        let longest = longest.min(CLIP * shortest);
        let room = PANEL_WIDTH - NAME - FIGURE - MARGIN;
        for (index, (name, figure)) in self.bars.iter().enumerate() {
            let y = top + TITLE + ROW * index as f64;
            let length = (room * figure.min(longest) / longest).max(1.0);
            let (fill, ink, weight) = if *name == SUBJECT { (OURS, OURS, 1.0) } else { (OTHERS, INK, 0.0) };
            let size = 11.0 + weight * 0.5;
            text(svg, left + NAME - 8.0, y + BAR - 2.0, "end", size, ink, name);
            let _ = writeln!(
                svg,
                "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{fill}\"/>",
                left + NAME
            );
            if *figure > longest {
                let (x, bottom) = (left + NAME + length * 0.9, y + BAR);
                let _ = writeln!(svg, "<path d=\"M{x:.1} {bottom:.1} l6 -{BAR} h4 l-6 {BAR} z\" fill=\"#ffffff\"/>");
            }
            text(svg, left + NAME + length + 6.0, y + BAR - 2.0, "start", size, ink, &three_digits(*figure));
        }
    }
}

fn subtitle(report: &Value) -> String {
    let (rounds, seconds) = (&report["rounds"], &report["seconds"]);
    format!("medians of {rounds} interleaved rounds of {seconds} s; scripts/bench.sh")
}

/// Where and with what, on two lines.
fn footer(report: &Value) -> [String; 2] {
    let machine = &report["machine"];
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut versions: Vec<String> = Vec::new();
    for peer in list(&machine["peers"]) {
        let product = word(&peer["peer"]).split('-').next().unwrap_or_default().to_owned();
        if let Some(number) = peer["version"].as_str().and_then(number) {
            versions.push(format!("{product} {number}"));
        }
    }
    versions.dedup();
    let place = format!("{} x {}, Linux {}", machine["cpus"], word(&machine["cpu"]), word(&machine["kernel"]));
    [place, versions.join(" · ")]
}

/// The number in what a program says of its version.
fn number(version: &str) -> Option<&str> {
    let is_number = |word: &&str| word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.');
    version.split([' ', '/', '(']).find(is_number)
}

/// A title on two lines.
fn wrapped(title: &str) -> (&str, &str) {
    if title.len() <= LINE {
        return (title, "");
    }
    title
        .rmatch_indices(' ')
        .map(|(at, _)| at)
        .find(|at| *at <= LINE)
        .map_or((title, ""), |at| (&title[..at], &title[at + 1..]))
}

fn three_digits(figure: f64) -> String {
    match figure {
        figure if figure < 1.0 => format!("{figure:.3}"),
        figure if figure < 10.0 => format!("{figure:.2}"),
        figure if figure < 100.0 => format!("{figure:.1}"),
        figure if figure < 10_000.0 => format!("{figure:.0}"),
        figure => format!("{:.0},{:03.0}", (figure / 1e3).floor(), figure % 1e3),
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, size: f64, fill: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\" fill=\"{fill}\">{words}</text>"
    );
}
