//! What is wrong with a configuration: problems collected with their places, then shown with the line and a caret.
//!
//! Lowering never stops at a problem. It reports to [`Problems`], goes on with a usable value, and only the end of it
//! all decides whether there is a configuration.

use std::collections::HashSet;
use std::fmt;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use toml::de::DeTable;

use super::place::{Line, Place, key_path, lone_scalar};

/// Problems shown of one configuration. A person mends the first few and runs the check again; a file that is not a
/// configuration at all must not fill the log.
const MAX_SHOWN: usize = 100;

/// Characters of the file's own text that a message repeats.
const MAX_QUOTED: usize = 80;

/// What the `toml` crate says of a key written twice: the one mistake outside a value that leaves the rest sound.
const DUPLICATE_KEY: &str = "duplicate key";

/// Every error of one configuration, in the order of the file; its `Display` shows them all with their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// Never empty, at most [`MAX_SHOWN`].
    diagnostics: Vec<Diagnostic>,
    omitted: usize,
}

/// One error, in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The key it is about, such as `listeners.pg.bind[0]`; absent where no key is, as in a syntax error.
    pub key: Option<String>,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    rendered: String,
}

impl ConfigErrors {
    /// The errors one by one; there is at least one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Diagnostic> {
        self.diagnostics.iter()
    }

    /// Errors found, those included that are too many to show.
    pub fn total(&self) -> usize {
        self.diagnostics.len() + self.omitted
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n\n" };
            write!(f, "{gap}{diagnostic}")?;
        }
        if self.omitted > 0 {
            write!(f, "\n\n... and {} more", self.omitted)?;
        }
        Ok(())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rendered)
    }
}

/// One problem while it is being described.
#[derive(Debug)]
pub(super) struct Problem {
    place: Place,
    nature: Nature,
    message: String,
    help: Option<String>,
    /// Another place that has to do with it, and what it is.
    related: Option<(Place, String)>,
}

/// Decides what is believed of a file that has syntax errors as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nature {
    /// Not TOML.
    Syntax,
    /// Something that is there is wrong.
    Content,
    /// Something is not there; it may be in a part that could not be read.
    Absence,
}

impl Problem {
    /// Something that is there and wrong.
    pub(super) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, nature: Nature::Content, message: message.into(), help: None, related: None }
    }

    /// Something that is not there.
    pub(super) fn missing(place: Place, message: impl Into<String>) -> Self {
        Self { nature: Nature::Absence, ..Self::new(place, message) }
    }

    /// What to do about it.
    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Points at a second place.
    pub(super) fn related(self, place: Place, label: impl Into<String>) -> Self {
        Self { related: Some((place, label.into())), ..self }
    }

    fn render(&self, origin: &str, text: &str) -> String {
        let line = Line::of(text, self.place);
        let mut group = Level::ERROR.primary_title(&*self.message).element(
            Snippet::source(line.text)
                .line_start(line.number())
                .path(origin)
                .annotation(AnnotationKind::Primary.span(line.columns())),
        );
        if let Some((place, label)) = &self.related {
            let line = Line::of(text, *place);
            let mark = AnnotationKind::Context.span(line.columns()).label(&**label);
            group = group.element(Snippet::source(line.text).line_start(line.number()).path(origin).annotation(mark));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(&**help));
        }
        let rendered = Renderer::plain().render(&[group]);
        rendered.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
    /// From here on the structure of the file is a guess of the parser's.
    doubtful_from: Option<usize>,
}

impl Problems {
    /// Adds one.
    pub(super) fn report(&mut self, problem: Problem) {
        self.found.push(problem);
    }

    /// Adds those of the TOML parser that are the author's and not the consequence of an earlier one.
    ///
    /// After an unclosed bracket the parser stumbles over lines that are perfectly sound; so of all lines but the
    /// first only those count that are wrong by themselves.
    pub(super) fn report_syntax(&mut self, text: &str, document: &DeTable<'_>, mut errors: Vec<toml::de::Error>) {
        // An error at the end of the file is one on its last line.
        let end = text.trim_end().len();
        let place = |error: &toml::de::Error| {
            error
                .span()
                .map_or(Place { start: end, end }, |span| Place { start: span.start.min(end), end: span.end.min(end) })
        };
        errors.sort_by_key(place);
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
                self.report_syntax_error(text, document, place, error.message());
            }
        }
    }

    fn report_syntax_error(&mut self, text: &str, document: &DeTable<'_>, place: Place, message: &str) {
        // Once the structure is in doubt, so is which value this is.
        let scalar = if self.doubtful_from.is_some() { None } else { lone_scalar(document, place) };
        if scalar.is_none() && message != DUPLICATE_KEY {
            self.doubtful_from.get_or_insert(place.start);
        }
        // A value that must not be followed by anything is said to be followed by "expected nothing".
        let message = message.trim_end_matches(", expected nothing");
        let (message, help) = if message == DUPLICATE_KEY {
            let key = text.get(place.start..place.end).unwrap_or_default();
            (format!("{message} {}", quote(key)), None)
        } else {
            let value = scalar.and_then(|span| text.get(span)).or_else(|| bare_word(text, place));
            (message.to_owned(), value.and_then(quotes_help))
        };
        self.found.push(Problem { nature: Nature::Syntax, help, ..Problem::new(place, message) });
    }

    /// Nothing, if nothing was found; otherwise what is to be shown.
    pub(super) fn finish(mut self, origin: &str, text: &str, document: &DeTable<'_>) -> Result<(), ConfigErrors> {
        self.drop_consequences_of_syntax_errors(text);
        if self.found.is_empty() {
            return Ok(());
        }
        self.found.sort_by_key(|problem| problem.place);
        let omitted = self.found.len().saturating_sub(MAX_SHOWN);
        let shown = self.found.into_iter().take(MAX_SHOWN);
        let diagnostics = shown.map(|problem| diagnose(problem, origin, text, document)).collect();
        Err(ConfigErrors { diagnostics, omitted })
    }

    /// Where the text is not TOML, what is missing may be there, what follows may belong elsewhere, and the value on
    /// the line at fault is not the author's.
    fn drop_consequences_of_syntax_errors(&mut self, text: &str) {
        let syntax = self.found.iter().filter(|problem| problem.nature == Nature::Syntax);
        let faulty_lines: HashSet<usize> = syntax.map(|problem| Line::of(text, problem.place).start).collect();
        if faulty_lines.is_empty() {
            return;
        }
        let doubtful_from = self.doubtful_from.unwrap_or(usize::MAX);
        self.found.retain(|problem| match problem.nature {
            Nature::Syntax => true,
            Nature::Absence => false,
            Nature::Content => {
                problem.place.start < doubtful_from && !faulty_lines.contains(&Line::of(text, problem.place).start)
            }
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

fn diagnose(problem: Problem, origin: &str, text: &str, document: &DeTable<'_>) -> Diagnostic {
    let line = Line::of(text, problem.place);
    let key = if problem.nature == Nature::Syntax { None } else { key_path(document, problem.place) };
    Diagnostic {
        line: line.number(),
        column: line.column(),
        key,
        rendered: problem.render(origin, text),
        message: problem.message,
        help: problem.help,
    }
}

/// A piece of the file as a message repeats it: on one line, of bounded length, in backticks.
pub(super) fn quote(text: &str) -> String {
    let mut quoted: String = text.chars().take(MAX_QUOTED).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_QUOTED).is_some() {
        quoted.push_str("...");
    }
    format!("`{quoted}`")
}

/// "did you mean", if `written` is close to one of `candidates`.
pub(super) fn did_you_mean<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(written, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// The candidate that is a few slips away from `written`: a third of its length, at least one.
pub(super) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = written.to_ascii_lowercase().replace('_', "-");
    candidates
        .into_iter()
        // The distance is at least the difference in length, and computing it takes the product of the lengths.
        .filter(|candidate| candidate.len().abs_diff(folded.len()) <= slips(candidate))
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&folded, &candidate.to_ascii_lowercase().replace('_', "-"));
            (distance, candidate)
        })
        .filter(|(distance, candidate)| *distance <= slips(candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn slips(candidate: &str) -> usize {
    (candidate.len() / 3).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_forgives_slips_and_not_more() {
        let keys = ["policy", "connect_timeout", "tcp"];
        assert_eq!(nearest("polcy", keys), Some("policy"));
        assert_eq!(nearest("connect-timeout", keys), Some("connect_timeout"));
        assert_eq!(nearest("TCP", keys), Some("tcp"));
        assert_eq!(nearest("tpc", keys), Some("tcp"));
        assert_eq!(nearest("udp", keys), None);
        assert_eq!(nearest("", keys), None);
    }

    #[test]
    fn quotes_are_bounded_and_on_one_line() {
        assert_eq!(quote("a\nb"), "`a\\nb`");
        assert_eq!(quote(&"x".repeat(200)).len(), MAX_QUOTED + "``...".len());
    }
}
