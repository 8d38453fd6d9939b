//! Every example in `conf/` is valid, and the systemd unit asks for what there is.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use evenkeel::config::{Config, Machine};

/// A modest machine: a common hard limit of a service.
const MACHINE: Machine =
    Machine { descriptor_limit: 16_384, ephemeral_ports: 28_232, cpus: NonZeroUsize::new(8).expect("8 is not 0") };

fn examples() -> Vec<PathBuf> {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let files = std::fs::read_dir(conf).expect("conf/ is there").map(|entry| entry.expect("is readable").path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
}

#[test]
fn every_example_is_valid() {
    let examples = examples();
    for name in ["dns.toml", "postgres.toml", "redis.toml", "tcp.toml", "wireguard.toml"] {
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

/// The values of a key of the systemd unit, in their order.
fn unit(key: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/evenkeel.service");
    let text = std::fs::read_to_string(path).expect("is readable");
    let pairs = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    pairs.filter(|(found, _)| *found == key).map(|(_, value)| value.to_owned()).collect()
}

#[test]
fn the_unit_runs_commands_that_there_are() {
    let commands: Vec<String> = ["ExecStartPre", "ExecStart", "ExecReload"].into_iter().flat_map(unit).collect();
    let own: Vec<&str> = commands.iter().filter_map(|command| command.strip_prefix("/usr/bin/evenkeel ")).collect();
    assert_eq!(own.len(), 3, "{commands:?}");
    for command in own {
        // Arguments that make no sense are refused before the file is looked for, with another exit code.
        let arguments = command.split(' ').map(|word| match word {
            "/etc/evenkeel/evenkeel.toml" => "/nonexistent/evenkeel.toml",
            word => word,
        });
        let output = Command::new(env!("CARGO_BIN_EXE_evenkeel")).args(arguments).output().expect("the program runs");
        assert_eq!(output.status.code(), Some(1), "{command}: {output:?}");
        let said = [output.stdout, output.stderr].concat();
        assert!(String::from_utf8_lossy(&said).contains("/nonexistent/evenkeel.toml"), "{command}");
    }
}

#[test]
fn the_unit_gives_sessions_the_time_that_they_are_promised() {
    assert_eq!(unit("Type"), ["notify"], "the program says itself when it is ready");
    let stop: Vec<Duration> =
        unit("TimeoutStopSec").iter().map(|time| humantime::parse_duration(time).expect("a duration")).collect();
    let text = "listeners.a = { bind = ['127.0.0.1:1'], pool = 'p' }\npools.p.backends = ['a:1']\n";
    let default = Config::parse("least.toml", text, &MACHINE).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(stop.len() == 1 && stop[0] > default.shutdown_timeout, "{stop:?}");
}
