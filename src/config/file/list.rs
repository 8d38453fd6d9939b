//! Several values under one key, and tables by name.

use toml::Spanned;
use toml::de::DeValue;

use super::keys::Shape;
use super::name;
use super::read::{At, Position, Raw, Read, Reader};
use crate::config::error::{Place, Problem, quote};

/// A list in brackets, never written empty, or one value without them. Elements that were refused are left out.
#[derive(Debug)]
pub(crate) struct List<T>(pub(crate) Vec<At<T>>);

impl<T: Read> Read for List<T> {
    fn read(raw: Raw<'_>, (): &(), reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Array(elements) = raw.value else {
            let value = T::read(Raw { position: Position::Alone, ..raw }, &(), reader)?;
            return Some(Self(vec![At { value, place: raw.place }]));
        };
        if elements.is_empty() {
            let message = format!("`{}` is empty: it needs at least one", raw.key);
            reader.problems.report(Problem::new(raw.place, message));
            return None;
        }
        let read = |element: &Spanned<DeValue<'_>>| {
            let place = Place::from(element.span());
            let element = Raw { key: raw.key, position: Position::Element, value: element.get_ref(), place };
            let value = T::read(element, &(), reader)?;
            Some(At { value, place })
        };
        Some(Self(elements.iter().filter_map(read).collect()))
    }

    fn shape((): &()) -> Shape {
        Shape::List(Box::new(T::shape(&())))
    }
}

/// Tables by names of the author's choice, `[listeners.NAME]`.
#[derive(Debug)]
pub(crate) struct Named<T>(pub(crate) Vec<(At<String>, T)>);

impl<T: Read> Read for Named<T> {
    fn read(raw: Raw<'_>, (): &(), reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Table(table) = raw.value else { return reader.refuse_type(raw, "a table of tables", None) };
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
            if let Err((message, help)) = name::check(&name.value) {
                reader.problems.report(Problem::new(name.place, message).help_if_any(help));
            }
            let table = T::read(Raw::new(&name.value, name.place, value), &(), reader);
            tables.extend(table.map(|table| (name, table)));
        }
        (stray.is_none() || !tables.is_empty()).then_some(Self(tables))
    }

    fn shape((): &()) -> Shape {
        Shape::Named(Box::new(T::shape(&())))
    }
}
