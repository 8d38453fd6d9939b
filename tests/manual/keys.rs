//! The tables of keys: `<!-- keys in [listeners.NAME]: bind, pool -->`, or all of them without a list.

use std::collections::BTreeSet;

use evenkeel::config::file_keys;
use evenkeel::config::keys::{Absent, Key, Table};

use crate::pages::{pages, table};

/// Whereabouts of the table and names of the keys that a subject asks for.
fn asked(subject: &str) -> Option<(&'static Table, Vec<&'static Key>)> {
    let subject = subject.strip_prefix("keys ")?;
    let (whereabouts, names) = subject.split_once(": ").map_or((subject, None), |(place, names)| (place, Some(names)));
    let all = file_keys().all();
    let table = all.into_iter().find(|table| table.whereabouts == whereabouts);
    let table = table.unwrap_or_else(|| panic!("there is no table {whereabouts}"));
    let keys = match names {
        None => table.keys.iter().collect(),
        Some(names) => names.split(", ").map(|name| find(table, name)).collect(),
    };
    Some((table, keys))
}

fn find(table: &'static Table, name: &str) -> &'static Key {
    let key = table.keys.iter().find(|key| key.name == name);
    key.unwrap_or_else(|| panic!("there is no key `{name}` {}", table.whereabouts))
}

/// The table of the keys that the subject asks for.
pub(crate) fn render(subject: &str) -> Option<String> {
    let (_, keys) = asked(subject)?;
    let row = |key: &Key| {
        let default = match &key.absent {
            Absent::Required => "required".to_owned(),
            Absent::Value(value) => format!("`{value}`"),
            Absent::Words(words) => (*words).to_owned(),
        };
        vec![format!("`{}`", key.name), key.shape.to_string(), default, key.meaning.clone()]
    };
    Some(table(&["key", "value", "default", "meaning"], keys.into_iter().map(row)))
}

#[test]
fn every_key_is_in_the_manual() {
    let pages = pages();
    let regions = pages.iter().flat_map(|page| page.subjects()).filter_map(asked);
    let told = regions.flat_map(|(table, keys)| keys.into_iter().map(|key| (table.whereabouts, key.name)));
    let told: BTreeSet<_> = told.collect();
    let all = file_keys().all();
    let all = all.iter().flat_map(|table| table.keys.iter().map(|key| (table.whereabouts, key.name)));
    let all: BTreeSet<_> = all.collect();
    assert!(all.len() > 50, "only {} keys found", all.len());
    assert_eq!(told, all);
}
