//! The figures as a picture: a panel a case, a bar a peer, shorter is better.
//!
//! A bar is the median of the ratio to the reference, with its quartiles as whiskers; the figure itself stands beside it. The
//! picture has a background of its own: it looks the same on a light and on a dark page.

mod panel;
mod style;
mod words;

use std::path::Path;

use plotters::backend::SVGBackend;
use plotters::drawing::IntoDrawingArea as _;
use plotters::element::{Rectangle, Text};

use self::panel::Panel;
use self::style::{BORDER, Drawn, FAINT, INK, PAPER, text_style};
use crate::report::findings::Report;

const COLUMNS: usize = 3;
const MARGIN: u32 = 24;
const HEAD: u32 = 72;
const FOOT: u32 = 56;
/// Above each panel.
const GAP: u32 = 14;

/// Draws what was found, from what the JSON file holds: a picture can be made again without measuring.
pub(super) fn draw(report: &Report, path: &Path) -> Drawn {
    let panels: Vec<Panel<'_>> = report.cases.iter().filter_map(Panel::of).collect();
    let rows: Vec<&[Panel<'_>]> = panels.chunks(COLUMNS).collect();
    let columns = u32::try_from(COLUMNS).unwrap_or(u32::MAX);
    let width = panel::WIDTH * columns + 2 * MARGIN;
    let height = HEAD + rows.iter().map(|row| height_of(row)).sum::<u32>() + FOOT;

    let page = SVGBackend::new(path, (width, height)).into_drawing_area();
    page.fill(&PAPER)?;
    page.draw(&Rectangle::new([(0, 0), (pixels(width) - 1, pixels(height) - 1)], BORDER))?;
    let line = |words: String, top: u32, style| page.draw(&Text::new(words, (pixels(MARGIN), pixels(top)), style));
    line("What a proxy costs: one worker on one CPU, shorter is better".into(), 18, text_style(18.0, INK))?;
    line(words::subtitle(report), 44, text_style(12.0, FAINT))?;
    let mut top = HEAD;
    for row in rows {
        for (panel, column) in row.iter().zip(0..) {
            let corner = (MARGIN + panel::WIDTH * column, top + GAP);
            panel.draw(&page.clone().shrink(corner, (panel::WIDTH, panel.height())))?;
        }
        top += height_of(row);
    }
    for (words, index) in words::footer(report).into_iter().zip(0..) {
        line(words, height - FOOT + 16 + 16 * index, text_style(11.0, FAINT))?;
    }
    page.present()
}

fn height_of(row: &[Panel<'_>]) -> u32 {
    GAP + row.iter().map(Panel::height).max().unwrap_or(0)
}

fn pixels(length: u32) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}
