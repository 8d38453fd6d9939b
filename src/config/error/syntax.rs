//! What the TOML parser complains of, as far as it is the author's mistake and not the consequence of an earlier one.

use toml::de::{DeTable, Error};

use super::phrase::{MAX_QUOTED, quote};
use super::place::{Line, Place, lone_scalar};
use super::problem::Problem;

/// What the `toml` crate says of a key written twice: the one mistake outside a value that leaves the rest sound.
const DUPLICATE_KEY: &str = "duplicate key";

/// The syntax errors of a text.
#[derive(Debug, Default)]
pub(super) struct Syntax {
    pub(super) problems: Vec<Problem>,
    /// From here on the structure of the file is a guess of the parser's.
    pub(super) doubtful_from: Option<usize>,
}

impl Syntax {
    /// Takes from the parser's `errors` those that are the author's.
    ///
    /// After an unclosed bracket the parser stumbles over lines that are perfectly sound; so of all lines but the
    /// first only those count that are wrong by themselves.
    pub(super) fn new(text: &str, document: &DeTable<'_>, mut errors: Vec<Error>) -> Self {
        // An error at the end of the file is one on its last line.
        let end = text.trim_end().len();
        let place = |error: &Error| {
            error
                .span()
                .map_or(Place { start: end, end }, |span| Place { start: span.start.min(end), end: span.end.min(end) })
        };
        errors.sort_by_key(place);
        let mut syntax = Self::default();
        let mut last_line: Option<Line<'_>> = None;
        for error in errors {
            let place = place(&error);
            if last_line.as_ref().is_some_and(|line| line.reaches(place)) {
                continue;
            }
            let line = Line::of(text, place);
            let is_consequence = last_line.is_some() && DeTable::parse(line.text).is_ok();
            last_line = Some(line);
            if !is_consequence {
                syntax.add(text, document, place, error.message());
            }
        }
        syntax
    }

    fn add(&mut self, text: &str, document: &DeTable<'_>, place: Place, message: &str) {
        // Once the structure is in doubt, so is which value this is.
        let scalar = if self.doubtful_from.is_some() { None } else { lone_scalar(document, place) };
        if scalar.is_none() && message != DUPLICATE_KEY {
            self.doubtful_from.get_or_insert(place.start);
        }
        // A value that must not be followed by anything is said to be followed by "expected nothing".
        let message = message.trim_end_matches(", expected nothing");
        self.problems.push(if message == DUPLICATE_KEY {
            let key = text.get(place.start..place.end).unwrap_or_default();
            Problem::syntax(place, format!("{message} {}", quote(key)))
        } else {
            let value = scalar.and_then(|span| text.get(span)).or_else(|| bare_word(text, place));
            Problem::syntax(place, message).help_if_any(value.and_then(quotes_help))
        });
    }
}

/// The word at a place, if it is a value in brackets or braces that looks like an address or a name.
fn bare_word(text: &str, place: Place) -> Option<&str> {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || "._-:/@".contains(c);
    let (before, after) = text.split_at_checked(place.start)?;
    let start = before.rfind(|c| !is_of_word(c)).map_or(0, |last| last + 1);
    let end = place.start + after.find(|c| !is_of_word(c)).unwrap_or(after.len());
    let word = text.get(start..end).filter(|word| word.contains(['.', ':']))?;
    let before = text[..start].trim_end();
    // A bracket that begins its line is one of a header, and so is what follows.
    let is_header = before.strip_suffix('[').is_some_and(|rest| rest.is_empty() || rest.ends_with(['\n', '[']));
    (before.ends_with(['[', ',', '=']) && !is_header).then_some(word)
}

/// For a word that stands where only a string could.
fn quotes_help(value: &str) -> Option<String> {
    let is_bare = !value.is_empty() && !value.contains(['"', '\'']) && value.chars().count() <= MAX_QUOTED;
    is_bare.then(|| format!("strings are written in quotes: \"{value}\""))
}
