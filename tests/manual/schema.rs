//! The JSON Schema: what `evenkeel schema` prints, what stands in conf/, and what a validator makes of it.

use std::fs;
use std::process::Command;

use evenkeel::config::keys::{Absent, Key, Shape, Table};
use evenkeel::config::{Config, file_keys, schema};
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::examples::{Example, MACHINE, examples, files};
use crate::pages::{bless, in_repository};

fn validator() -> Validator {
    jsonschema::draft7::new(&schema()).expect("the schema is one")
}

/// A configuration as an editor holds it against the schema.
fn read(text: &str) -> Value {
    toml::from_str(text).expect("is TOML")
}

#[test]
fn the_schema_is_one() {
    assert!(jsonschema::draft7::meta::is_valid(&schema()));
}

#[test]
fn the_schema_in_the_repository_is_the_one_that_is_printed() {
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel")).arg("schema").output().expect("the program runs");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let printed = String::from_utf8(output.stdout).expect("text");
    let path = in_repository("conf/evenkeel.schema.json");
    if fs::read_to_string(&path).is_ok_and(|file| file == printed) {
        return;
    }
    let stale = bless(&path, &printed);
    assert!(stale.is_none(), "{}", stale.unwrap_or_default());
}

#[test]
fn every_file_names_the_schema() {
    for (path, text) in files() {
        assert!(text.starts_with("#:schema ./evenkeel.schema.json\n"), "{}", path.display());
    }
}

#[test]
fn every_example_fits_the_schema() {
    let validator = validator();
    for Example { origin, text } in examples() {
        let errors: Vec<String> = validator.iter_errors(&read(&text)).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{origin}: {errors:?}\n{text}");
    }
}

/// A configuration in which every table is there once, and the way to each.
fn whole() -> (Value, Vec<(&'static Table, String)>) {
    let config = json!({
        "admin": {},
        "listeners": { "x": { "bind": ["127.0.0.1:1"], "pool": "x" } },
        "pools": { "x": { "backends": [{ "address": "10.0.0.1:1" }], "health_check": {}, "passive_check": {} } },
    });
    let pointer = |table: &'static Table| {
        let pointer = match table.whereabouts {
            "at the top of the file" => "",
            "in [admin]" => "/admin",
            "in [listeners.NAME]" => "/listeners/x",
            "in [pools.NAME]" => "/pools/x",
            "in [pools.NAME.health_check]" => "/pools/x/health_check",
            "in [pools.NAME.passive_check]" => "/pools/x/passive_check",
            "in an element of `backends`" => "/pools/x/backends/0",
            whereabouts => panic!("no example has a table {whereabouts}"),
        };
        (table, pointer.to_owned())
    };
    (config, file_keys().all().into_iter().map(pointer).collect())
}

/// Puts `value` under a key, or takes the key away.
fn with(config: &Value, pointer: &str, key: &str, value: Option<Value>) -> Value {
    let mut config = config.clone();
    let table = config.pointer_mut(pointer).and_then(Value::as_object_mut).expect("the table is there");
    match value {
        Some(value) => drop(table.insert(key.to_owned(), value)),
        None => drop(table.remove(key)),
    }
    config
}

/// What no key of this shape may have.
fn wrong(shape: &Shape) -> Vec<Value> {
    match shape {
        Shape::Boolean => vec![json!("true"), json!(1)],
        Shape::Integer { min, max } => {
            vec![json!("1"), json!(1.5), json!(-1), json!(i64::from(*min > 0) - 1), json!(max + 1)]
        }
        Shape::Number { min, .. } => vec![json!("1"), json!(min - 0.5)],
        Shape::Duration { .. } => {
            ["", "1", "s", "soon", "1 parsec", "-1s"].map(Value::from).into_iter().chain([json!(1)]).collect()
        }
        Shape::Size { .. } => {
            ["", "1", "KiB", "1KB", "1.5MiB", "-1B"].map(Value::from).into_iter().chain([json!(1)]).collect()
        }
        Shape::Word(_) => vec![json!("none of them"), json!(1)],
        Shape::Text(text) => std::iter::once(json!(1)).chain(text.pattern.map(|_| json!("\t"))).collect(),
        Shape::Either(_) => vec![json!(true), json!(0), json!("neither")],
        Shape::List(shape) => {
            wrong(shape).into_iter().flat_map(|value| [json!([value.clone()]), value]).chain([json!([])]).collect()
        }
        Shape::Table(_) => vec![json!("table"), json!([{}])],
        Shape::Named(_) => vec![json!("tables"), json!({ "a b": {} }), json!({ "x": 1 })],
    }
}

#[test]
fn what_is_wrong_is_refused_by_the_schema() {
    let validator = validator();
    let (config, tables) = whole();
    assert!(validator.is_valid(&config));
    let mut refused = 0;
    let mut refuse = |config: Value, what: String| {
        assert!(!validator.is_valid(&config), "{what}: {config}");
        refused += 1;
    };
    for (table, pointer) in &tables {
        refuse(with(&config, pointer, "xyzzy", Some(json!(1))), format!("an unknown key {}", table.whereabouts));
        for Key { name, shape, absent, .. } in &table.keys {
            for value in wrong(shape) {
                refuse(with(&config, pointer, name, Some(value)), format!("`{name}` {}", table.whereabouts));
            }
            if *absent == Absent::Required {
                refuse(with(&config, pointer, name, None), format!("no `{name}` {}", table.whereabouts));
            }
        }
    }
    assert!(refused > 200, "only {refused}");
}

/// What `check` accepts the schema accepts, too: strings that mean something, in every way to write them.
#[test]
fn what_is_right_is_accepted_by_the_schema() {
    let validator = validator();
    let sound = r#"
        shutdown_timeout = "1s"
        [listeners.x]
        bind = "127.0.0.1:1"
        pool = "x"
        protocol = "udp"
        receive_buffer = "1MiB"
        [pools.x]
        backends = "10.0.0.1:1"
        [pools.x.health_check]
        type = "udp"
        send_hex = "00"
    "#;
    for (old, new) in [
        ("1s", ["1h 30m", "90 sec", " 2s ", "1.5s", "1d"].as_slice()),
        ("1MiB", &["65536B", "64 KiB", "1GiB"]),
        ("127.0.0.1:1", &["[::1]:1", "[fe80::1%2]:65535", "0.0.0.0:1"]),
        ("10.0.0.1:1", &["db:1", "db_1.example.com.:1", "[::1]:1"]),
        ("\"00\"", &["\"\"", "\"00 fF\"", "\" 0 0\""]),
        ("\"10.0.0.1:1\"", &["[\"10.0.0.1:1\"]", "{ address = \"10.0.0.1:1\", name = \"a.b:c\" }"]),
    ] {
        for new in new {
            let text = sound.replace(old, new);
            Config::parse("sound.toml", &text, &MACHINE).unwrap_or_else(|errors| panic!("{errors}"));
            let errors: Vec<String> = validator.iter_errors(&read(&text)).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{new}: {errors:?}");
        }
    }
}
