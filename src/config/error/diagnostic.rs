//! Errors as they are shown.

use std::fmt;

/// Every error of one configuration, in the order of the file; its `Display` shows them all with their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The first of them; never empty.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// How many more there are.
    pub(super) omitted: usize,
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
    pub(super) rendered: String,
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
