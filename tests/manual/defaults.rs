//! A default that is written out changes nothing.

use evenkeel::config::keys::{Absent, Key, Shape, Table};
use evenkeel::config::{Config, ConfigErrors, file_keys};
use toml::{Table as Toml, Value};

use crate::examples::MACHINE;

/// Between them, they have every table, and each key may stand in one of them at least.
const BASES: [&str; 3] = [
    r#"
        admin = {}
        [listeners.x]
        bind = "127.0.0.1:1"
        pool = "x"
        [pools.x]
        policy = "maglev"
        backends = { address = "10.0.0.1:1" }
        health_check = {}
    "#,
    r#"
        [listeners.x]
        bind = "127.0.0.1:1"
        pool = "x"
        protocol = "udp"
        [pools.x]
        backends = { address = "10.0.0.1:1" }
        passive_check = {}
    "#,
    r#"
        [listeners.x]
        bind = "127.0.0.1:1"
        pool = "x"
        [pools.x]
        backends = { address = "10.0.0.1:1" }
        health_check = { type = "dns", query = "example.com" }
    "#,
];

#[test]
fn a_default_that_is_written_out_changes_nothing() {
    let mut written = 0;
    visit(file_keys(), &mut Vec::new(), &mut |path, key| {
        let Absent::Value(default) = &key.absent else { return };
        let accepted = BASES.iter().filter(|base| changes_nothing(base, path, key.name, default)).count();
        assert!(accepted > 0, "`{} = {default}` is refused everywhere in {path:?}", key.name);
        written += 1;
    });
    assert!(written > 25, "only {written} defaults found");
}

/// Calls `seen` with every key and the way to its table.
fn visit(table: &Table, path: &mut Vec<&'static str>, seen: &mut impl FnMut(&[&str], &Key)) {
    for key in &table.keys {
        seen(path, key);
        path.push(key.name);
        visit_shape(&key.shape, path, seen);
        path.pop();
    }
}

fn visit_shape(shape: &Shape, path: &mut Vec<&'static str>, seen: &mut impl FnMut(&[&str], &Key)) {
    match shape {
        Shape::Table(table) => visit(table, path, seen),
        Shape::Named(shape) => {
            path.push("x");
            visit_shape(shape, path, seen);
            path.pop();
        }
        Shape::List(shape) => visit_shape(shape, path, seen),
        Shape::Either(shapes) => shapes.iter().for_each(|shape| visit_shape(shape, path, seen)),
        _ => {}
    }
}

/// Whether the key is left out in this base and may stand there.
///
/// # Panics
/// When it may, and its default changes something.
fn changes_nothing(base: &str, path: &[&str], key: &str, default: &str) -> bool {
    let base: Toml = base.parse().expect("is TOML");
    let value = format!("value = {default}").parse::<Toml>().expect("a default is TOML").remove("value");
    let mut with = base.clone();
    let Some(table) = path.iter().try_fold(&mut with, |table, step| table.get_mut(*step).and_then(Value::as_table_mut))
    else {
        return false;
    };
    // Where it is given it is not left out.
    if table.insert(key.to_owned(), value.expect("was just written")).is_some() {
        return false;
    }
    let Ok(config) = parse(&with) else { return false };
    assert_eq!(config, parse(&base).expect("is valid"), "`{key} = {default}` in {path:?}");
    true
}

fn parse(table: &Toml) -> Result<Config, ConfigErrors> {
    Config::parse("default.toml", &table.to_string(), &MACHINE)
}
