//! What is wrong with a configuration: problems are collected with their places, then shown with the line and a caret.
//!
//! Reading and lowering report each [`Problem`] to [`Problems`] and go on with a usable value. Whether there is a
//! configuration is decided at the end.

mod diagnostic;
mod phrase;
mod place;
mod problem;
mod syntax;

use std::collections::HashSet;

use toml::de::{DeTable, Error};

pub use diagnostic::{ConfigErrors, Diagnostic};
pub(crate) use phrase::{did_you_mean, nearest, quote};
pub(crate) use place::Place;
pub(crate) use problem::Problem;

use place::Line;
use problem::Nature;
use syntax::Syntax;

/// Problems shown of one configuration. A person mends the first few and runs the check again; a file that is not a
/// configuration at all must not fill the log.
const MAX_SHOWN: usize = 100;

/// The problems found so far.
#[derive(Debug)]
pub(crate) struct Problems {
    found: Vec<Problem>,
    /// From here on the structure of the file is a guess of the parser's.
    doubtful_from: Option<usize>,
}

impl Problems {
    /// Those that the TOML parser has found.
    pub(crate) fn new(text: &str, document: &DeTable<'_>, syntax_errors: Vec<Error>) -> Self {
        let Syntax { problems, doubtful_from } = Syntax::new(text, document, syntax_errors);
        Self { found: problems, doubtful_from }
    }

    /// Adds one.
    pub(crate) fn report(&mut self, problem: Problem) {
        self.found.push(problem);
    }

    /// Adds all of them, if there are any.
    pub(crate) fn report_all(&mut self, problems: impl IntoIterator<Item = Problem>) {
        self.found.extend(problems);
    }

    /// Nothing, if nothing was found; otherwise what is to be shown.
    pub(crate) fn into_result(mut self, origin: &str, text: &str, document: &DeTable<'_>) -> Result<(), ConfigErrors> {
        self.drop_consequences_of_syntax_errors(text);
        if self.found.is_empty() {
            return Ok(());
        }
        self.found.sort_by_key(|problem| problem.place);
        let omitted = self.found.len().saturating_sub(MAX_SHOWN);
        let shown = self.found.into_iter().take(MAX_SHOWN);
        let diagnostics = shown.map(|problem| problem.diagnose(origin, text, document)).collect();
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
