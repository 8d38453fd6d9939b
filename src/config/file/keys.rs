//! What a configuration may say, as data: every table with its keys, and what a value of each looks like.
//!
//! The reader is made of the same declarations as this. The JSON Schema and the tables of the manual are written from
//! it, so neither can say anything else than the program does.

use std::fmt;
use std::time::Duration;

use super::units::{Show, ShowSize};

/// A table of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// A word for it: `Listener`.
    pub name: &'static str,
    /// Where it is, as messages say: `in [listeners.NAME]`.
    pub whereabouts: &'static str,
    /// What it is, in one sentence.
    pub meaning: String,
    /// In the order in which a reader should meet them.
    pub keys: Vec<Key>,
}

/// A key of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What its value looks like.
    pub shape: Shape,
    /// What holds without it.
    pub absent: Absent,
    /// What it does: a line of Markdown without a full stop.
    pub meaning: String,
}

/// What holds where a key is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absent {
    /// Nothing: it must be there.
    Required,
    /// What this value says, which is TOML and JSON alike: `"2s"`, `3`, `true`.
    Value(String),
    /// What these words say.
    Words(&'static str),
}

/// What a value looks like.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// `true` or `false`.
    Boolean,
    /// A whole number between two bounds, these included.
    Integer {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A number between two bounds, these included.
    Number {
        /// The least.
        min: f64,
        /// The most, if there is one.
        max: Option<f64>,
    },
    /// A duration between two bounds, these included.
    Duration {
        /// The least.
        min: Duration,
        /// The most.
        max: Duration,
    },
    /// A number of bytes between two bounds, these included.
    Size {
        /// The least.
        min: u32,
        /// The most.
        max: u32,
    },
    /// One of these strings.
    Word(Vec<&'static str>),
    /// A string that must make sense.
    Text(Text),
    /// One or the other.
    Either(Box<[Shape; 2]>),
    /// A list that is not empty, or one value alone.
    List(Box<Shape>),
    /// A table.
    Table(Table),
    /// A table of tables, each under a name of the author's choice.
    Named(Box<Shape>),
}

/// What a string must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text {
    /// In a word or two: `address`.
    pub what: &'static str,
    /// A regular expression, of the kind that JSON Schema has, for every string that may be accepted and for few others.
    pub pattern: Option<&'static str>,
}

impl Table {
    /// This table and all tables in it.
    pub fn all(&self) -> Vec<&Self> {
        let mut all = vec![self];
        for key in &self.keys {
            key.shape.add_tables(&mut all);
        }
        all
    }

    /// The names of its keys.
    pub fn key_names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name)
    }
}

impl Shape {
    fn add_tables<'s>(&'s self, all: &mut Vec<&'s Table>) {
        match self {
            Self::Table(table) => all.extend(table.all()),
            Self::List(shape) | Self::Named(shape) => shape.add_tables(all),
            Self::Either(shapes) => shapes.iter().for_each(|shape| shape.add_tables(all)),
            Self::Boolean
            | Self::Integer { .. }
            | Self::Number { .. }
            | Self::Duration { .. }
            | Self::Size { .. }
            | Self::Word(_)
            | Self::Text(_) => {}
        }
    }
}

/// As the manual has it, in Markdown.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("`true` or `false`"),
            Self::Integer { min, max } if *max == u64::from(u32::MAX) => write!(f, "integer from {min}"),
            Self::Integer { min, max } => write!(f, "integer, {min} to {max}"),
            Self::Number { min, max: None } => write!(f, "number from {min}"),
            Self::Number { min, max: Some(max) } => write!(f, "number, {min} to {max}"),
            Self::Duration { min, max } => write!(f, "duration, `{}` to `{}`", Show(*min), Show(*max)),
            Self::Size { min, max } => write!(f, "size, `{}` to `{}`", ShowSize(*min), ShowSize(*max)),
            Self::Word(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
                f.write_str(&words.join(", "))
            }
            Self::Text(text) => f.write_str(text.what),
            Self::Either(shapes) => write!(f, "{} or {}", shapes[0], shapes[1]),
            Self::List(shape) => write!(f, "{shape}, or a list"),
            Self::Table(_) => f.write_str("table"),
            Self::Named(shape) => write!(f, "{shape}s by name"),
        }
    }
}
