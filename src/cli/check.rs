//! `evenkeel check`: whether a configuration is valid. Binds nothing, connects nowhere.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use serde::Serialize;

use crate::config::{Config, ConfigErrors, Diagnostic, Machine};
use crate::sys::machine;

/// The exit code for a valid configuration.
const VALID: u8 = 0;

/// The exit code for anything else.
const INVALID: u8 = 1;

/// A configuration of a hundred thousand backends has a tenth of this; more is not a configuration.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// How the verdict is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// Checks the file at `path` against this machine's limits, writes the verdict to `out` and returns the exit code: 0
/// for a valid configuration, 1 for one that is not or that cannot be read.
///
/// # Errors
/// If `out` cannot be written to.
pub fn check(path: &Path, format: Format, out: &mut impl Write) -> io::Result<u8> {
    let machine = Machine { descriptor_limit: machine::descriptor_limit(), cpus: machine::cpus() };
    let origin = path.display().to_string();
    let verdict = match read(path) {
        Ok(text) => Config::parse(&origin, &text, &machine).map_err(Failure::Invalid),
        Err(error) => Err(Failure::Unreadable(error)),
    };
    match format {
        Format::Text => write_text(&origin, &verdict, out)?,
        Format::Json => write_json(&origin, &verdict, out)?,
    }
    Ok(if verdict.is_ok() { VALID } else { INVALID })
}

/// The text of a configuration file.
///
/// # Errors
/// If it cannot be read, is not UTF-8, or is larger than 64 MiB.
pub fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than 64 MiB is not a configuration"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count() + 1;
        io::Error::new(io::ErrorKind::InvalidData, format!("line {line} is not UTF-8 text"))
    })
}

/// Why there is no configuration.
enum Failure {
    Unreadable(io::Error),
    Invalid(ConfigErrors),
}

fn write_text(origin: &str, verdict: &Result<Config, Failure>, out: &mut impl Write) -> io::Result<()> {
    match verdict {
        Ok(config) => {
            let Summary { listeners, pools, backends } = Summary::of(config);
            let listeners = counted(listeners, "listener");
            let pools = counted(pools, "pool");
            let backends = counted(backends, "backend");
            writeln!(out, "{origin} is valid: {listeners}, {pools}, {backends}")
        }
        Err(Failure::Unreadable(error)) => writeln!(out, "error: cannot read {origin}: {error}"),
        Err(Failure::Invalid(errors)) => {
            writeln!(out, "{errors}\n\n{origin} is not valid: {}", counted(errors.total(), "error"))
        }
    }
}

fn write_json(origin: &str, verdict: &Result<Config, Failure>, out: &mut impl Write) -> io::Result<()> {
    let report = match verdict {
        Ok(config) => Report { valid: true, file: origin, errors: Vec::new(), summary: Some(Summary::of(config)) },
        Err(failure) => Report { valid: false, file: origin, errors: failure.entries(), summary: None },
    };
    serde_json::to_writer(&mut *out, &report)?;
    writeln!(out)
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// The verdict on the wire.
#[derive(Serialize)]
struct Report<'a> {
    valid: bool,
    file: &'a str,
    /// In the order of the file.
    errors: Vec<Entry<'a>>,
    /// Of a valid configuration.
    summary: Option<Summary>,
}

/// One error on the wire. A file that cannot be read has no place.
#[derive(Serialize)]
struct Entry<'a> {
    line: Option<usize>,
    column: Option<usize>,
    key: Option<&'a str>,
    message: String,
    help: Option<&'a str>,
}

/// What a valid configuration holds.
#[derive(Serialize)]
struct Summary {
    listeners: usize,
    pools: usize,
    backends: usize,
}

impl Failure {
    fn entries(&self) -> Vec<Entry<'_>> {
        match self {
            Self::Invalid(errors) => errors.iter().map(Entry::from).collect(),
            Self::Unreadable(error) => {
                let message = format!("cannot read it: {error}");
                vec![Entry { line: None, column: None, key: None, message, help: None }]
            }
        }
    }
}

impl<'a> From<&'a Diagnostic> for Entry<'a> {
    fn from(diagnostic: &'a Diagnostic) -> Self {
        Self {
            line: Some(diagnostic.line),
            column: Some(diagnostic.column),
            key: diagnostic.key.as_deref(),
            message: diagnostic.message.clone(),
            help: diagnostic.help.as_deref(),
        }
    }
}

impl Summary {
    fn of(config: &Config) -> Self {
        Self {
            listeners: config.listeners.len(),
            pools: config.pools.len(),
            backends: config.pools.values().map(|pool| pool.backends.len()).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exit code and what was written, the name of the file apart.
    fn run(content: &[u8], format: Format) -> (u8, String) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("evenkeel.toml");
        std::fs::write(&path, content).expect("is written");
        run_on(&path, format)
    }

    fn run_on(path: &Path, format: Format) -> (u8, String) {
        let mut out = Vec::new();
        let code = check(path, format, &mut out).expect("a vector takes everything");
        let text = String::from_utf8(out).expect("is text");
        (code, text.replace(&path.display().to_string(), "FILE"))
    }

    const SOUND: &[u8] = b"[listeners.a]\nbind = ['127.0.0.1:1']\npool = 'p'\n[pools.p]\nbackends = ['a:1', 'b:1']\n";

    #[test]
    fn a_valid_file_is_summed_up() {
        assert_eq!(run(SOUND, Format::Text), (0, "FILE is valid: 1 listener, 1 pool, 2 backends\n".into()));
        let json = r#"{"valid":true,"file":"FILE","errors":[],"summary":{"listeners":1,"pools":1,"backends":2}}"#;
        assert_eq!(run(SOUND, Format::Json), (0, format!("{json}\n")));
    }

    #[test]
    fn every_error_is_told() {
        let bad = [b"wokers = 1\nlog = 'loud'\n", SOUND].concat();
        let (code, text) = run(&bad, Format::Text);
        assert_eq!(code, 1);
        assert!(text.starts_with("error: unknown key `wokers`\n --> FILE:1:1\n"), "{text}");
        assert!(text.ends_with("\n\nFILE is not valid: 2 errors\n"), "{text}");
        let (code, json) = run(&bad, Format::Json);
        let json: serde_json::Value = serde_json::from_str(&json).expect("is JSON");
        assert_eq!((code, &json["valid"]), (1, &false.into()));
        assert_eq!(json["errors"][0]["help"], "did you mean `workers`?");
        assert_eq!((&json["errors"][1]["line"], &json["errors"][1]["key"]), (&2.into(), &"log".into()));
    }

    #[test]
    fn an_unreadable_file_is_told() {
        let (code, text) = run_on(Path::new("/nonexistent/evenkeel.toml"), Format::Text);
        assert_eq!((code, text.as_str()), (1, "error: cannot read FILE: No such file or directory (os error 2)\n"));
        let (code, text) = run(b"# fine\n# \xff\n", Format::Text);
        assert_eq!((code, text.as_str()), (1, "error: cannot read FILE: line 2 is not UTF-8 text\n"));
        let (code, json) = run_on(Path::new("/"), Format::Json);
        assert_eq!(code, 1);
        assert!(json.contains(r#""line":null"#) && json.contains("Is a directory"), "{json}");
    }
}
