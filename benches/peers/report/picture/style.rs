//! Colours and letters.

use std::io;

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind};
use plotters::style::{Color as _, IntoFont as _, RGBColor, TextStyle};

pub(super) type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

pub(super) const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);
pub(super) const BORDER: RGBColor = RGBColor(0xe5, 0xe7, 0xeb);
pub(super) const INK: RGBColor = RGBColor(0x1f, 0x29, 0x37);
pub(super) const FAINT: RGBColor = RGBColor(0x6b, 0x72, 0x80);
pub(super) const OURS: RGBColor = RGBColor(0x0f, 0x76, 0x6e);
pub(super) const OTHERS: RGBColor = RGBColor(0xcb, 0xd5, 0xe1);
pub(super) const WHISKER: RGBColor = RGBColor(0x47, 0x55, 0x69);

const FAMILY: &str = "system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif";
/// The backend makes letters smaller by this.
const BACKEND_SCALE: f64 = 1.24;

/// Letters so many pixels high, from the upper left.
pub(super) fn text_style(size: f64, color: RGBColor) -> TextStyle<'static> {
    (FAMILY, size * BACKEND_SCALE).into_font().color(&color.to_rgba())
}
