//! Reading TOML into typed tables, without stopping at a mistake.
//!
//! serde gives up at the first key it does not know. Here a table is read by its keys, and *every* unknown key and
//! *every* value that its key cannot have is reported.

use std::ops::Deref;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{Shape, Table};
use crate::config::error::{Place, Problem, Problems, did_you_mean, nearest, quote};

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// One key of a table and what became of it.
#[derive(Debug)]
pub(crate) struct Field<T> {
    /// As it is written.
    pub(crate) key: &'static str,
    found: Found<T>,
}

/// A key of a table that means something even where it is not there.
#[derive(Debug)]
pub(crate) struct Defaulted<T> {
    field: Field<T>,
    default: T,
}

#[derive(Debug)]
enum Found<T> {
    /// It is not there.
    Absent,
    /// It is there with a value that it cannot have, or under a name that is nearly right, and was reported.
    Refused,
    /// It is there and was understood.
    Given(At<T>),
}

impl<T> Field<T> {
    /// The value, unless it is absent or was refused.
    pub(crate) fn given(&self) -> Option<&At<T>> {
        match &self.found {
            Found::Given(value) => Some(value),
            Found::Absent | Found::Refused => None,
        }
    }

    /// Whether the key is not there, under any name that was meant to be it.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self.found, Found::Absent)
    }

    /// Whether the key is there and what it says is not known.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.found, Found::Refused)
    }

    pub(super) fn with_default(self, default: T) -> Defaulted<T> {
        Defaulted { field: self, default }
    }
}

impl<T: Clone> Field<T> {
    /// A copy of the value, unless it is absent or was refused.
    pub(crate) fn get(&self) -> Option<T> {
        self.given().map(|given| given.value.clone())
    }
}

impl<T: Clone> Defaulted<T> {
    /// The value, or else the default.
    pub(crate) fn value(&self) -> T {
        self.get().unwrap_or_else(|| self.default.clone())
    }
}

impl<T> Deref for Defaulted<T> {
    type Target = Field<T>;

    fn deref(&self) -> &Field<T> {
        &self.field
    }
}

/// A value as it is read: under which key, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'a> {
    /// The key, for messages; an element of a list goes by the key of the list.
    pub(super) key: &'a str,
    pub(super) position: Position,
    pub(super) value: &'a DeValue<'a>,
    /// Of the key for a table, because a table's own place is a header or a brace; of the value for the rest.
    pub(super) place: Place,
}

/// What a value is to its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// Its value.
    Value,
    /// Its value, where it could have a list.
    Alone,
    /// One of the list that is its value.
    Element,
}

/// A value that a key may have, within bounds if its kind has any.
pub(crate) trait Read<Bounds = ()>: Sized {
    /// The value, or nothing after having reported why not.
    fn read(raw: Raw<'_>, bounds: &Bounds, reader: &mut Reader<'_>) -> Option<Self>;

    /// What such values look like.
    fn shape(bounds: &Bounds) -> Shape;
}

/// A value that may be a default: it can be written.
pub(crate) trait Written {
    /// As it stands in a file, in a form that is TOML and JSON alike.
    fn written(&self) -> String;
}

/// What is wrong with a string, and what to write instead.
pub(crate) type Refusal = (String, Option<String>);

/// What the reader carries along.
#[derive(Debug)]
pub(crate) struct Reader<'p> {
    pub(super) problems: &'p mut Problems,
    /// The whole file with all its tables: where a key that is out of place belongs.
    pub(super) file: &'static Table,
}

impl Reader<'_> {
    /// Takes one key, of those that the table may have, out of it.
    pub(super) fn field<T: Read<Bounds>, Bounds>(
        &mut self,
        table: &DeTable<'_>,
        key: &'static str,
        keys: &'static [&'static str],
        bounds: &Bounds,
    ) -> Field<T> {
        let Some((written, value)) = table.get_key_value(key) else {
            let is_meant =
                |written: &str| !keys.contains(&written) && nearest(written, keys.iter().copied()) == Some(key);
            let is_misspelt = table.keys().any(|written| is_meant(written.get_ref()));
            return Field { key, found: if is_misspelt { Found::Refused } else { Found::Absent } };
        };
        let raw = Raw::new(key, written.span().into(), value);
        let found = match T::read(raw, bounds, self) {
            Some(value) => Found::Given(At { value, place: raw.place }),
            None => Found::Refused,
        };
        Field { key, found }
    }

    /// Reports the keys of a table that are not among those it has.
    pub(super) fn refuse_unknown_keys(&mut self, table: &DeTable<'_>, keys: &'static [&'static str]) {
        for written in table.keys().filter(|written| !keys.contains(&written.get_ref().as_ref())) {
            let name = written.get_ref();
            let help = did_you_mean(name, keys.iter().copied()).unwrap_or_else(|| match self.homes(name) {
                homes if homes.is_empty() => format!("the keys here are {}", keys.join(", ")),
                homes => format!("it belongs {}", homes.join(" or ")),
            });
            let message = format!("unknown key {}", quote(name));
            self.problems.report(Problem::new(written.span().into(), message).help(help));
        }
    }

    /// Where there are tables with this key.
    fn homes(&self, key: &str) -> Vec<&'static str> {
        let has_it = |table: &&Table| table.key_names().any(|name| name == key);
        self.file.all().into_iter().filter(has_it).map(|table| table.whereabouts).collect()
    }

    /// Reports a value of the wrong type; there is no value then. `expected` completes "`key` must be ...".
    pub(super) fn refuse_type<T>(&mut self, raw: Raw<'_>, expected: &str, hint: Option<&str>) -> Option<T> {
        let article = if matches!(raw.value, DeValue::Array(_) | DeValue::Integer(_)) { "an" } else { "a" };
        let found = raw.value.type_str();
        let (each, list) = match raw.position {
            Position::Value => ("", ""),
            Position::Alone => ("", " or a list"),
            Position::Element => ("each of ", ""),
        };
        let message = format!("{each}`{}` must be {expected}{list}, not {article} {found}", raw.key);
        self.problems.report(Problem::new(raw.place, message).help_if_any(hint.map(str::to_owned)));
        None
    }

    /// Reports a value of the right type that is not within its bounds; there is no value then. `range` completes "`key`
    /// is ...".
    pub(super) fn refuse_range<T>(&mut self, raw: Raw<'_>, range: &str) -> Option<T> {
        let message = format!("`{}` is out of range", raw.key);
        self.problems.report(Problem::new(raw.place, message).help(format!("`{}` is {range}", raw.key)));
        None
    }

    /// A string that `parse` makes sense of.
    pub(super) fn text<T>(&mut self, raw: Raw<'_>, parse: impl FnOnce(&str) -> Result<T, Refusal>) -> Option<T> {
        let DeValue::String(text) = raw.value else { return self.refuse_type(raw, "a string", None) };
        match parse(text) {
            Ok(value) => Some(value),
            Err((message, help)) => {
                self.problems.report(Problem::new(raw.place, message).help_if_any(help));
                None
            }
        }
    }
}

impl<'a> Raw<'a> {
    pub(super) fn new(key: &'a str, key_place: Place, value: &'a Spanned<DeValue<'a>>) -> Self {
        let place = match value.get_ref() {
            DeValue::Table(_) => key_place,
            _ => value.span().into(),
        };
        Self { key, position: Position::Value, value: value.get_ref(), place }
    }
}
