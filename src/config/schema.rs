//! The JSON Schema of the configuration, for editors that complete keys and mark mistakes while one types.
//!
//! It is written from the table of keys and knows what that knows: keys, types, bounds, words, defaults, and what each key
//! is for. What several keys mean together, and what the machine can hold, only `check` can tell. So whatever `check`
//! accepts the schema accepts, too, and not the reverse.
//!
//! Draft 7, which the TOML language servers understand best.

use serde_json::{Value, json};

use super::file::keys::{Absent, Key, Shape, Table, Text};
use super::file::{NAME_PATTERN, file_keys};

/// A duration: numbers with a unit each, such as `1h 30m`. The units are those of `humantime`.
const DURATION: &str = "^(\\s*[0-9][0-9\\s]*(\\.[0-9\\s]+)?\
    (nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds|second|secs|sec|s|minutes|minute|mins|min|m|\
    hours|hour|hrs|hr|h|days|day|d|weeks|week|wks|wk|w|months|month|M|years|year|yrs|yr|y))+\\s*$";

/// A size: one number with a unit.
const SIZE: &str = "^[0-9]+\\s*(B|KiB|MiB|GiB)$";

/// The schema of a whole file.
pub fn schema() -> Value {
    let file = file_keys();
    let mut schema = table(file);
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("evenkeel");
    let inner = file.all().into_iter().filter(|inner| *inner != file);
    schema["definitions"] = inner.map(|inner| (inner.name, table(inner))).collect();
    schema["definitions"]["Duration"] = json!({ "type": "string", "pattern": DURATION });
    schema["definitions"]["Size"] = json!({ "type": "string", "pattern": SIZE });
    schema
}

fn table(table: &Table) -> Value {
    let required = table.keys.iter().filter(|key| key.absent == Absent::Required).map(|key| key.name);
    json!({
        "type": "object",
        "description": format!("{}.", table.meaning),
        "properties": table.keys.iter().map(|key| (key.name, property(key))).collect::<Value>(),
        "required": required.collect::<Value>(),
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Value {
    let mut property = values(&key.shape);
    let mut description = format!("{}.", key.meaning);
    // What no pattern can say.
    if let Shape::Duration { .. } | Shape::Size { .. } = key.shape {
        description += &format!(" A {}.", key.shape);
    }
    match &key.absent {
        Absent::Required => {}
        Absent::Words(words) => description += &format!(" Default: {words}."),
        Absent::Value(value) => {
            property["default"] = serde_json::from_str(value).expect("a default is written as JSON has it");
        }
    }
    property["description"] = json!(description);
    property
}

/// What values are valid.
fn values(shape: &Shape) -> Value {
    match shape {
        Shape::Boolean => json!({ "type": "boolean" }),
        Shape::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Shape::Number { min, max: None } => json!({ "type": "number", "minimum": min }),
        Shape::Number { min, max: Some(max) } => json!({ "type": "number", "minimum": min, "maximum": max }),
        Shape::Duration { .. } => reference("Duration"),
        Shape::Size { .. } => reference("Size"),
        Shape::Word(words) => json!({ "type": "string", "enum": words }),
        Shape::Text(Text { pattern: None, .. }) => json!({ "type": "string" }),
        Shape::Text(Text { pattern: Some(pattern), .. }) => json!({ "type": "string", "pattern": pattern }),
        Shape::Either(shapes) => json!({ "oneOf": [values(&shapes[0]), values(&shapes[1])] }),
        Shape::List(shape) => {
            let element = values(shape);
            json!({ "oneOf": [element, { "type": "array", "items": element, "minItems": 1 }] })
        }
        Shape::Table(table) => reference(table.name),
        Shape::Named(shape) => json!({
            "type": "object",
            "propertyNames": { "pattern": NAME_PATTERN },
            "additionalProperties": values(shape),
            "minProperties": 1,
        }),
    }
}

/// To a definition. Alone it would forbid a description beside it.
fn reference(name: &str) -> Value {
    json!({ "allOf": [{ "$ref": format!("#/definitions/{name}") }] })
}
