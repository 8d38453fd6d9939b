//! Every example in `conf/` is valid.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use evenkeel::config::{Config, Machine};

/// A modest machine: a common hard limit of a service.
const MACHINE: Machine = Machine { descriptor_limit: 16_384, cpus: NonZeroUsize::new(8).expect("8 is not 0") };

fn examples() -> Vec<PathBuf> {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let files = std::fs::read_dir(conf).expect("conf/ is there").map(|entry| entry.expect("is readable").path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
}

#[test]
fn every_example_is_valid() {
    let examples = examples();
    for name in ["postgres.toml", "redis.toml", "tcp.toml"] {
        assert!(examples.iter().any(|path| path.ends_with(name)), "{name} is missing");
    }
    for path in examples {
        let text = std::fs::read_to_string(&path).expect("is readable");
        let config = Config::parse(&path.display().to_string(), &text, &MACHINE);
        let config = config.unwrap_or_else(|errors| panic!("{errors}"));
        assert!(config.max_pipes > 0, "{}: no descriptor is left to splice with", path.display());
    }
}

/// What an example shows as the default of a key must be it.
#[test]
fn commented_defaults_are_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/postgres.toml");
    let text = std::fs::read_to_string(path).expect("is readable");
    let is_key = |line: &str| line.starts_with("# ") && line.split(' ').nth(2) == Some("=");
    let shown = text.lines().filter(|line| is_key(line) && !line.contains("workers")).count();
    assert!(shown >= 7, "only {shown} defaults are shown");
    let uncommented: Vec<&str> =
        text.lines().map(|line| if is_key(line) && !line.contains("workers") { &line[2..] } else { line }).collect();
    let parse = |text: &str| Config::parse("postgres.toml", text, &MACHINE).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(parse(&uncommented.join("\n")), parse(&text));
}
