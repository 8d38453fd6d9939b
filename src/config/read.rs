//! Reading TOML into typed tables, without stopping at a mistake.
//!
//! serde gives up at the first key it does not know. Here `tables!` declares tables by their keys, one line each, and
//! reading it reports *every* unknown key and *every* value of a wrong type. What a value means is none of this
//! file's business; it only knows shapes.

use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Place, Problem, Problems, did_you_mean, nearest, quote};

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// One key of a table and what became of it.
#[derive(Debug)]
pub(super) struct Field<T> {
    /// As it is written.
    pub(super) key: &'static str,
    found: Found<T>,
}

#[derive(Debug)]
enum Found<T> {
    /// It is not there.
    Absent,
    /// It is there with a wrong shape, or under a name that is nearly right, and was reported.
    Refused,
    /// It is there and has the right shape.
    Given(At<T>),
}

impl<T> Field<T> {
    /// The value, unless it is absent or was refused.
    pub(super) fn given(&self) -> Option<&At<T>> {
        match &self.found {
            Found::Given(value) => Some(value),
            Found::Absent | Found::Refused => None,
        }
    }

    /// Whether the key is not there, under any name that was meant to be it.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self.found, Found::Absent)
    }
}

/// A value as it is read: under which key, and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raw<'a> {
    /// The key, for messages; an element of a list goes by the key of the list.
    pub(super) key: &'a str,
    pub(super) position: Position,
    pub(super) value: &'a DeValue<'a>,
    /// Of the key for a table, because a table's own place is a header or a brace; of the value for the rest.
    pub(super) place: Place,
}

/// Whether a key has one value or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// The value of the key.
    Value,
    /// One of the list that is the value of the key.
    Element,
}

/// What the reader carries along.
#[derive(Debug)]
pub(super) struct Reader<'p> {
    pub(super) problems: &'p mut Problems,
    /// All tables there are, each by where it is and with its keys: where a key that is out of place belongs.
    pub(super) tables: &'static [(&'static str, &'static [&'static str])],
}

/// A shape that a value may have.
pub(super) trait Read: Sized {
    /// Completes "`key` must be ...".
    const SHAPE: &'static str;

    /// What helps whoever wrote something else.
    const HINT: Option<&'static str> = None;

    /// The value, or nothing after having reported why not.
    fn read(raw: Raw<'_>, reader: &mut Reader<'_>) -> Option<Self>;
}

impl Reader<'_> {
    /// Takes one key, of those that the table may have, out of it.
    pub(super) fn field<T: Read>(
        &mut self,
        table: &DeTable<'_>,
        key: &'static str,
        keys: &'static [&'static str],
    ) -> Field<T> {
        let Some((written, value)) = table.get_key_value(key) else {
            let is_meant =
                |written: &str| !keys.contains(&written) && nearest(written, keys.iter().copied()) == Some(key);
            let is_misspelt = table.keys().any(|written| is_meant(written.get_ref()));
            return Field { key, found: if is_misspelt { Found::Refused } else { Found::Absent } };
        };
        let raw = raw(key, written.span().into(), value);
        let found = match T::read(raw, self) {
            Some(value) => Found::Given(At { value, place: raw.place }),
            None => Found::Refused,
        };
        Field { key, found }
    }

    /// Reports the keys of a table that are not among those it has.
    pub(super) fn refuse_unknown_keys(&mut self, table: &DeTable<'_>, keys: &'static [&'static str]) {
        for written in table.keys().filter(|written| !keys.contains(&written.get_ref().as_ref())) {
            let name = written.get_ref();
            let homes = self.tables.iter().filter(|(_, keys)| keys.contains(&name.as_ref()));
            let homes: Vec<&str> = homes.map(|(whereabouts, _)| *whereabouts).collect();
            let help = match did_you_mean(name, keys.iter().copied()) {
                Some(suggestion) => suggestion,
                None if !homes.is_empty() => format!("it belongs {}", homes.join(" or ")),
                None => format!("the keys here are {}", keys.join(", ")),
            };
            let message = format!("unknown key {}", quote(name));
            self.problems.report(Problem::new(written.span().into(), message).help(help));
        }
    }

    /// Reports a value of the wrong type; there is no value then.
    pub(super) fn refuse_type<T: Read>(&mut self, raw: Raw<'_>) -> Option<T> {
        let article = if matches!(raw.value, DeValue::Array(_) | DeValue::Integer(_)) { "an" } else { "a" };
        let found = raw.value.type_str();
        let each = if raw.position == Position::Element { "each of " } else { "" };
        let message = format!("{each}`{}` must be {}, not {article} {found}", raw.key, T::SHAPE);
        let problem = Problem::new(raw.place, message);
        self.problems.report(match T::HINT {
            Some(hint) => problem.help(hint),
            None => problem,
        });
        None
    }
}

fn raw<'a>(key: &'a str, key_place: Place, value: &'a Spanned<DeValue<'a>>) -> Raw<'a> {
    let place = match value.get_ref() {
        DeValue::Table(_) => key_place,
        _ => value.span().into(),
    };
    Raw { key, position: Position::Value, value: value.get_ref(), place }
}

/// Declares tables by their keys: for each a struct with one [`Field`] a key, and how it is read.
///
/// `key as "written": Shape` is for a key that is a word of Rust.
macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident, $whereabouts:literal {
        $($(#[$key_doc:meta])* $key:ident $(as $written:literal)?: $shape:ty,)*
    })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub(super) struct $name {
                $($(#[$key_doc])* pub(super) $key: Field<$shape>,)*
            }

            impl $name {
                const KEYS: &'static [&'static str] = &[$(tables!(@key $key $($written)?)),*];

                pub(super) fn read_table(table: &DeTable<'_>, reader: &mut Reader<'_>) -> Self {
                    reader.refuse_unknown_keys(table, Self::KEYS);
                    Self { $($key: reader.field(table, tables!(@key $key $($written)?), Self::KEYS),)* }
                }
            }

            impl Read for $name {
                const SHAPE: &'static str = "a table";

                fn read(raw: Raw<'_>, reader: &mut Reader<'_>) -> Option<Self> {
                    match raw.value {
                        DeValue::Table(table) => Some(Self::read_table(table, reader)),
                        _ => reader.refuse_type(raw),
                    }
                }
            }
        )*

        /// Every table: where it is, and its keys.
        const TABLES: &[(&str, &[&str])] = &[$(($whereabouts, $name::KEYS)),*];
    };
    (@key $key:ident) => { stringify!($key) };
    (@key $key:ident $written:literal) => { $written };
}

pub(super) use tables;

/// A list in brackets, never written empty. Elements of a wrong shape are left out.
#[derive(Debug)]
pub(super) struct List<T>(pub(super) Vec<At<T>>);

impl<T: Read> Read for List<T> {
    const SHAPE: &'static str = "a list";
    const HINT: Option<&'static str> = Some("a list is written in brackets, even for one value: [\"...\"]");

    fn read(raw: Raw<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Array(elements) = raw.value else { return reader.refuse_type(raw) };
        if elements.is_empty() {
            let message = format!("`{}` is empty: it needs at least one", raw.key);
            reader.problems.report(Problem::new(raw.place, message));
            return None;
        }
        let read = |element: &Spanned<DeValue<'_>>| {
            let place = Place::from(element.span());
            let element = Raw { key: raw.key, position: Position::Element, value: element.get_ref(), place };
            let value = T::read(element, reader)?;
            Some(At { value, place })
        };
        Some(Self(elements.iter().filter_map(read).collect()))
    }
}

/// Tables by names of the author's choice, `[listeners.NAME]`.
#[derive(Debug)]
pub(super) struct Named<T>(pub(super) Vec<(At<String>, T)>);

impl<T: Read> Read for Named<T> {
    const SHAPE: &'static str = "a table of tables";

    fn read(raw: Raw<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Table(table) = raw.value else { return reader.refuse_type(raw) };
        let is_table = |value: &Spanned<DeValue<'_>>| matches!(value.get_ref(), DeValue::Table(_));
        let strays = table.iter().filter(|(_, value)| !is_table(value)).map(|(key, _)| key);
        // Keys below a header without a name come in groups, and one remark is enough for all of them.
        let stray = strays.min_by_key(|key| key.span().start);
        if let Some(stray) = stray {
            let message = format!("{} is not a table", quote(stray.get_ref()));
            let help = format!("keys stand below a header with a name: [{}.NAME]", raw.key);
            reader.problems.report(Problem::new(stray.span().into(), message).help(help));
        }
        let mut tables = Vec::with_capacity(table.len());
        for (key, value) in table.iter().filter(|(_, value)| is_table(value)) {
            let name = At { value: key.get_ref().to_string(), place: key.span().into() };
            let table = T::read(self::raw(&name.value, name.place, value), reader);
            tables.extend(table.map(|table| (name, table)));
        }
        (stray.is_none() || !tables.is_empty()).then_some(Self(tables))
    }
}

impl Read for String {
    const SHAPE: &'static str = "a string";

    fn read(raw: Raw<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match raw.value {
            DeValue::String(text) => Some(text.to_string()),
            _ => reader.refuse_type(raw),
        }
    }
}

impl Read for bool {
    const SHAPE: &'static str = "true or false";

    fn read(raw: Raw<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match raw.value {
            DeValue::Boolean(value) => Some(*value),
            _ => reader.refuse_type(raw),
        }
    }
}

/// Numbers out of the range of `i64` become the nearest in it, so that whoever checks the range refuses them.
impl Read for i64 {
    const SHAPE: &'static str = "an integer";
    const HINT: Option<&'static str> = Some("integers stand without quotes");

    fn read(raw: Raw<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Integer(integer) = raw.value else { return reader.refuse_type(raw) };
        let nearest = if integer.as_str().starts_with('-') { Self::MIN } else { Self::MAX };
        Some(Self::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(nearest))
    }
}

/// A number, or none at all: `"unlimited"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Amount {
    Unlimited,
    Limited(i64),
}

impl Read for Amount {
    const SHAPE: &'static str = "an integer or \"unlimited\"";

    fn read(raw: Raw<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match raw.value {
            DeValue::Integer(_) => i64::read(raw, reader).map(Self::Limited),
            DeValue::String(word) if word == "unlimited" => Some(Self::Unlimited),
            _ => reader.refuse_type(raw),
        }
    }
}

/// A number of bytes, `"64KiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

impl Read for Size {
    const SHAPE: &'static str = "a size";
    const HINT: Option<&'static str> = Some(SIZE_HINT);

    fn read(raw: Raw<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];
        let DeValue::String(text) = raw.value else { return reader.refuse_type(raw) };
        let size = UNITS.iter().find_map(|(unit, bytes)| {
            let number = text.strip_suffix(unit)?.trim_end();
            let is_plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            // What is too large to be counted is out of every range as well.
            is_plain.then(|| Self(number.parse().unwrap_or(u64::MAX).saturating_mul(*bytes)))
        });
        if size.is_none() {
            let message = format!("`{}` is not a size: {}", raw.key, quote(text));
            reader.problems.report(Problem::new(raw.place, message).help(SIZE_HINT));
        }
        size
    }
}

const SIZE_HINT: &str = "a size is a string with a unit: \"64KiB\", \"4MiB\", \"1GiB\"";

/// A number with or without a point.
impl Read for f64 {
    const SHAPE: &'static str = "a number";

    fn read(raw: Raw<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match raw.value {
            DeValue::Float(float) => float.as_str().parse().ok(),
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse().ok(),
            _ => None,
        }
        .or_else(|| reader.refuse_type(raw))
    }
}

impl Read for Duration {
    const SHAPE: &'static str = "a duration";
    const HINT: Option<&'static str> = Some(DURATION_HINT);

    fn read(raw: Raw<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::String(text) = raw.value else { return reader.refuse_type(raw) };
        let duration = humantime::parse_duration(text).ok();
        if duration.is_none() {
            let message = format!("`{}` is not a duration: {}", raw.key, quote(text));
            reader.problems.report(Problem::new(raw.place, message).help(DURATION_HINT));
        }
        duration
    }
}

const DURATION_HINT: &str = "a duration is a string with a unit: \"500ms\", \"2s\", \"5m\", \"1h\", \"7d\"";
