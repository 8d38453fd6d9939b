//! Places in the text of a configuration: which line and column they are, and which key is there.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A stretch of the text, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Where it starts.
    pub(crate) start: usize,
    /// Just behind it; the same as `start` where something is missing.
    pub(crate) end: usize,
}

impl From<Range<usize>> for Place {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

impl Place {
    fn lies_in(self, span: &Range<usize>) -> bool {
        span.start <= self.start && self.end <= span.end
    }
}

/// The line on which a place starts.
#[derive(Debug)]
pub(super) struct Line<'t> {
    /// Without its end.
    pub(super) text: &'t str,
    /// Where it starts in the whole text, in bytes.
    pub(super) start: usize,
    whole: &'t str,
    mark: Range<usize>,
}

impl<'t> Line<'t> {
    /// The line of `place`. A place behind the last character that is not white space is put just after that one,
    /// so that "something is missing at the end" shows the last line and not an empty one.
    pub(super) fn of(text: &'t str, place: Place) -> Self {
        let from = floor_char_boundary(text, place.start.min(text.trim_end().len()));
        let start = text[..from].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[from..].find('\n').map_or(text.len(), |newline| from + newline);
        let line = text[start..end].trim_end_matches('\r');
        let mark_end = floor_char_boundary(text, place.end.clamp(from, start + line.len().max(from - start)));
        Self { text: line, start, whole: text, mark: from - start..mark_end - start }
    }

    /// From 1.
    pub(super) fn number(&self) -> usize {
        self.whole[..self.start].matches('\n').count() + 1
    }

    /// In characters, from 1.
    pub(super) fn column(&self) -> usize {
        self.text[..self.mark.start.min(self.text.len())].chars().count() + 1
    }

    /// Whether `place`, which is not before this line, starts on it.
    pub(super) fn reaches(&self, place: Place) -> bool {
        place.start <= self.start + self.text.len()
    }

    /// The part of the place that is on this line, in bytes from the start of the line.
    pub(super) fn columns(&self) -> Range<usize> {
        self.mark.clone()
    }
}

fn floor_char_boundary(text: &str, mut index: usize) -> usize {
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

/// A step from a table or a list to what is in it.
#[derive(Clone, Copy)]
enum Step<'d> {
    Key(&'d str),
    Index(usize),
}

/// The innermost key at `place`, from the top of the file: `pools.pg.backends[2].weight`.
pub(super) fn key_path(document: &DeTable<'_>, place: Place) -> Option<String> {
    if place.start == place.end {
        return None;
    }
    let mut innermost: Option<(usize, String)> = None;
    visit(document, &mut Vec::new(), &mut |steps, span, _| {
        let is_deeper = innermost.as_ref().is_none_or(|(start, _)| *start <= span.start);
        if is_deeper && place.lies_in(&span) {
            innermost = Some((span.start, join(steps)));
        }
    });
    innermost.map(|(_, path)| path)
}

fn join(steps: &[Step<'_>]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Index(index) => path.push_str(&format!("[{index}]")),
            Step::Key(key) if path.is_empty() => path.push_str(key),
            Step::Key(key) => path.extend([".", key]),
        }
    }
    path
}

/// The single value that `place` is in, if it is in no bracket: whatever is wrong with it ends with it.
pub(super) fn lone_scalar(document: &DeTable<'_>, place: Place) -> Option<Range<usize>> {
    let mut scalar = None;
    let mut is_in_brackets = false;
    visit(document, &mut Vec::new(), &mut |_, span, value| match value {
        Some(DeValue::Array(_) | DeValue::Table(_)) => is_in_brackets |= place.lies_in(&span),
        Some(_) if place.lies_in(&span) => scalar = Some(span),
        _ => {}
    });
    scalar.filter(|_| !is_in_brackets)
}

/// Calls `seen` with the way to and the span of every key (without a value) and of every value.
fn visit<'d>(
    table: &'d DeTable<'_>,
    steps: &mut Vec<Step<'d>>,
    seen: &mut impl FnMut(&[Step<'d>], Range<usize>, Option<&DeValue<'_>>),
) {
    for (key, value) in table {
        steps.push(Step::Key(key.get_ref()));
        seen(steps, key.span(), None);
        visit_value(value, steps, seen);
        steps.pop();
    }
}

fn visit_value<'d>(
    value: &'d Spanned<DeValue<'_>>,
    steps: &mut Vec<Step<'d>>,
    seen: &mut impl FnMut(&[Step<'d>], Range<usize>, Option<&DeValue<'_>>),
) {
    seen(steps, value.span(), Some(value.get_ref()));
    match value.get_ref() {
        DeValue::Table(table) => visit(table, steps, seen),
        DeValue::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                steps.push(Step::Index(index));
                visit_value(element, steps, seen);
                steps.pop();
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_behind_the_end_is_on_the_last_line() {
        let text = "a = [\n  1,\n\n";
        let line = Line::of(text, Place { start: text.len(), end: text.len() });
        assert_eq!((line.number(), line.column(), line.text), (2, 5, "  1,"));
    }

    #[test]
    fn columns_count_characters() {
        let text = "# é\r\nname = \"é\" # x\r\n";
        let start = text.find('x').expect("is there");
        let line = Line::of(text, Place { start, end: start + 1 });
        assert_eq!((line.number(), line.column(), line.text), (2, 14, "name = \"é\" # x"));
    }

    #[test]
    fn the_innermost_key_is_named() {
        let text = "[pools.pg]\nbackends = [\"a\", { address = \"b\" }]\n";
        let document = DeTable::parse(text).expect("is TOML");
        let at = |what: &str| {
            let start = text.find(what).expect("is there");
            key_path(document.get_ref(), Place { start, end: start + what.len() })
        };
        assert_eq!(at("\"b\"").as_deref(), Some("pools.pg.backends[1].address"));
        assert_eq!(at("\"a\"").as_deref(), Some("pools.pg.backends[0]"));
        assert_eq!(at("pg").as_deref(), Some("pools.pg"));
    }
}
