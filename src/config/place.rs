//! Places in the text of a configuration: which line and column they are, and which key is there.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// A stretch of the text, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Where it starts.
    pub(super) start: usize,
    /// Just behind it; the same as `start` where something is missing.
    pub(super) end: usize,
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
    /// From 1.
    pub(super) number: usize,
    /// Without its end.
    pub(super) text: &'t str,
    start: usize,
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
        Self {
            number: text[..start].matches('\n').count() + 1,
            text: line,
            start,
            mark: from - start..mark_end - start,
        }
    }

    /// In characters, from 1.
    pub(super) fn column(&self) -> usize {
        self.text[..self.mark.start.min(self.text.len())].chars().count() + 1
    }

    /// The part of the place that is on this line, in bytes from the start of the line.
    pub(super) fn columns(&self) -> Range<usize> {
        self.mark.clone()
    }

    /// The line as a stretch of the text, its end included.
    pub(super) fn bytes(&self) -> Range<usize> {
        self.start..self.start + self.text.len() + 1
    }
}

fn floor_char_boundary(text: &str, mut index: usize) -> usize {
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

/// The innermost key at `place`, from the top of the file: `pools.pg.backends[2].weight`.
pub(super) fn key_path(document: &DeTable<'_>, place: Place) -> Option<String> {
    if place.start == place.end {
        return None;
    }
    let mut innermost = None;
    visit(document, "", &mut |path, span, _| {
        let is_deeper = innermost.as_ref().is_none_or(|(start, _)| *start <= span.start);
        if is_deeper && place.lies_in(&span) {
            innermost = Some((span.start, path.to_owned()));
        }
    });
    innermost.map(|(_, path)| path)
}

/// The single value that `place` is in, if it is in no bracket: whatever is wrong with it ends with it.
pub(super) fn lone_scalar(document: &DeTable<'_>, place: Place) -> Option<Range<usize>> {
    let mut scalar = None;
    let mut is_in_brackets = false;
    visit(document, "", &mut |_, span, value| match value {
        Some(DeValue::Array(_) | DeValue::Table(_)) => is_in_brackets |= place.lies_in(&span),
        Some(_) if place.lies_in(&span) => scalar = Some(span),
        _ => {}
    });
    scalar.filter(|_| !is_in_brackets)
}

/// Calls `seen` with the path and the span of every key (without a value) and of every value.
fn visit(table: &DeTable<'_>, path: &str, seen: &mut impl FnMut(&str, Range<usize>, Option<&DeValue<'_>>)) {
    for (key, value) in table {
        let separator = if path.is_empty() { "" } else { "." };
        let path = format!("{path}{separator}{}", key.get_ref());
        seen(&path, key.span(), None);
        visit_value(value, &path, seen);
    }
}

fn visit_value(
    value: &toml::Spanned<DeValue<'_>>,
    path: &str,
    seen: &mut impl FnMut(&str, Range<usize>, Option<&DeValue<'_>>),
) {
    seen(path, value.span(), Some(value.get_ref()));
    match value.get_ref() {
        DeValue::Table(table) => visit(table, path, seen),
        DeValue::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                visit_value(element, &format!("{path}[{index}]"), seen);
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
        assert_eq!((line.number, line.column(), line.text), (2, 5, "  1,"));
    }

    #[test]
    fn columns_count_characters() {
        let text = "# é\r\nname = \"é\" # x\r\n";
        let start = text.find('x').expect("is there");
        let line = Line::of(text, Place { start, end: start + 1 });
        assert_eq!((line.number, line.column(), line.text), (2, 14, "name = \"é\" # x"));
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
