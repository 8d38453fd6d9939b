//! One case.

use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::types::RangedCoordf64;
use plotters::element::{EmptyElement, ErrorBar, PathElement, Polygon, Rectangle, Text};
use plotters::style::Color as _;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::style::{Canvas, Drawn, FAINT, INK, OTHERS, OURS, PAPER, WHISKER, text_style};
use super::words;
use crate::outcome::Figure;
use crate::peers::SUBJECT;
use crate::report::findings::{CaseReport, PeerReport};
use crate::statistics::Spread;

pub(super) const WIDTH: u32 = 330;
/// Above the bars.
const TITLE: u32 = 54;
/// Of a bar with the space to the next.
const ROW: u32 = 20;
/// Room beside the bars: for the names of peers, for ratios and figures, and between panels.
const NAMES: u32 = 116;
const FIGURES: u32 = 88;
const BETWEEN: u32 = 22;
/// A bar this many times as long as the shortest is cut, so that the others can be told apart.
const CLIP: f64 = 12.0;
/// A whisker that reaches this many times as far as the longest bar is cut for the same reason.
const WHISKER_CLIP: f64 = 1.4;
/// Share of a row that its bar takes.
const THICKNESS: f64 = 0.62;

/// What a panel shows.
pub(super) struct Panel<'a> {
    title: &'a str,
    unit: String,
    bars: Vec<Bar<'a>>,
}

struct Bar<'a> {
    name: &'a str,
    is_limit: bool,
    ratio: Spread,
    figure: f64,
}

type Chart<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

impl<'a> Panel<'a> {
    /// `None` if no peer came through.
    pub(super) fn of(case: &'a CaseReport) -> Option<Self> {
        let bar = |peer: &'a PeerReport| {
            let (ratio, figure) = (peer.ratio(case.plotted)?, peer.median(case.plotted)?);
            Some(Bar { name: &peer.peer, is_limit: peer.is_limit, ratio, figure })
        };
        let bars: Vec<_> = case.peers.iter().filter_map(bar).collect();
        let unit = match case.plotted {
            Figure::Cost => &case.unit.cost,
            Figure::P99 => "p99, us",
        };
        let unit = format!("ratio to {}; {unit}", case.reference);
        (!bars.is_empty()).then_some(Self { title: &case.title, unit, bars })
    }

    pub(super) fn height(&self) -> u32 {
        TITLE + ROW * u32::try_from(self.bars.len()).unwrap_or(0)
    }

    pub(super) fn draw(&self, canvas: &Canvas<'_>) -> Drawn {
        let (first, second) = words::wrapped(self.title);
        let lines = [(first, 0), (second, 16)].into_iter().filter(|(line, _)| !line.is_empty());
        let unit_top = if second.is_empty() { 16 } else { 32 };
        for (line, top) in lines {
            canvas.draw(&Text::new(line, (0, top), text_style(12.5, INK)))?;
        }
        canvas.draw(&Text::new(self.unit.as_str(), (0, unit_top), text_style(11.0, FAINT)))?;

        let longest = self.longest();
        let bars = f64::from(self.height() - TITLE) / f64::from(ROW);
        let mut chart = ChartBuilder::on(canvas)
            .margin_top(TITLE)
            .margin_left(NAMES)
            .margin_right(FIGURES + BETWEEN)
            .build_cartesian_2d(0.0..longest, bars..0.0)?;
        chart.draw_series([PathElement::new([(1.0, 0.0), (1.0, bars)], OTHERS)])?;
        for (bar, row) in self.bars.iter().zip(0..) {
            bar.draw(&mut chart, f64::from(row) + 0.5, longest)?;
        }
        Ok(())
    }

    /// What the right edge stands for. The limits are no measure for the others.
    fn longest(&self) -> f64 {
        let proxies = self.bars.iter().filter(|bar| !bar.is_limit);
        let shortest_bar = proxies.map(|bar| bar.ratio.median).fold(f64::INFINITY, f64::min);
        let longest_bar = self.bars.iter().map(|bar| bar.ratio.median).fold(1.0, f64::max);
        if longest_bar > CLIP * shortest_bar {
            return CLIP * shortest_bar;
        }
        let farthest = self.bars.iter().map(|bar| bar.ratio.third_quartile).fold(longest_bar, f64::max);
        farthest.min(WHISKER_CLIP * longest_bar)
    }
}

impl Bar<'_> {
    /// Draws it around the middle of its row, `longest` being the end of the scale.
    fn draw<'a>(&self, chart: &mut Chart<'a>, middle: f64, longest: f64) -> Drawn {
        let Spread { median, first_quartile, third_quartile, .. } = self.ratio;
        let is_ours = self.name.starts_with(SUBJECT);
        let (fill, ink) = if is_ours { (OURS, OURS) } else { (OTHERS, INK) };
        let length = median.min(longest);
        let (top, bottom) = (middle - THICKNESS / 2.0, middle + THICKNESS / 2.0);
        chart.draw_series([Rectangle::new([(0.0, top), (length, bottom)], fill.filled())])?;
        if median > longest {
            let cut = Polygon::new([(-12, 7), (-6, -7), (-2, -7), (-8, 7)], PAPER.filled());
            chart.draw_series([EmptyElement::at((length, middle)) + cut])?;
        } else {
            let [from, to] = [first_quartile, third_quartile].map(|quartile| quartile.min(longest));
            chart.draw_series([ErrorBar::new_horizontal(middle, from, length, to, WHISKER.filled(), 5)])?;
        }
        let at = |x: f64, offset: i32, words: String, side: HPos, color| {
            let style = text_style(11.0, color).pos(Pos::new(side, VPos::Center));
            EmptyElement::at((x, middle)) + Text::new(words, (offset, 0), style)
        };
        let figures = i32::try_from(FIGURES).unwrap_or(0);
        chart.draw_series([at(0.0, -8, self.name.into(), HPos::Right, ink)])?;
        chart.draw_series([at(longest, 36, format!("{median:.2}"), HPos::Right, ink)])?;
        chart.draw_series([at(longest, figures, words::three_digits(self.figure), HPos::Right, FAINT)])?;
        Ok(())
    }
}
