//! `evenkeel check`: whether a configuration is valid. Binds nothing, connects nowhere.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::Exit;
use crate::app;
use crate::config::{Config, Diagnostic};
use crate::control::file::{self, FileError};

/// How the verdict is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// Checks the file at `path` against this machine's limits and writes the verdict to `out`. A file that cannot be read
/// is a bad configuration, too.
///
/// # Errors
/// If `out` cannot be written to. A reader that has gone away has its answer in the exit code.
pub fn check(path: &Path, format: Format, out: &mut impl Write) -> io::Result<Exit> {
    let origin = path.display().to_string();
    let verdict = file::read(path, &app::machine());
    let written = match format {
        Format::Text => write_text(&origin, &verdict, out),
        Format::Json => write_json(&origin, &verdict, out),
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ if verdict.is_ok() => Ok(Exit::Success),
        _ => Ok(Exit::BadConfiguration),
    }
}

fn write_text(origin: &str, verdict: &Result<Config, FileError>, out: &mut impl Write) -> io::Result<()> {
    match verdict {
        Ok(config) => {
            let Summary { listeners, pools, backends } = Summary::of(config);
            let listeners = counted(listeners, "listener");
            let pools = counted(pools, "pool");
            let backends = counted(backends, "backend");
            writeln!(out, "{origin} is valid: {listeners}, {pools}, {backends}")
        }
        Err(error @ FileError::Read { .. }) => writeln!(out, "{error}"),
        Err(FileError::Invalid(errors)) => {
            writeln!(out, "{errors}\n\n{origin} is not valid: {}", counted(errors.total(), "error"))
        }
    }
}

fn write_json(origin: &str, verdict: &Result<Config, FileError>, out: &mut impl Write) -> io::Result<()> {
    let report = match verdict {
        Ok(config) => Report { valid: true, file: origin, errors: Vec::new(), summary: Some(Summary::of(config)) },
        Err(failure) => Report { valid: false, file: origin, errors: entries(failure), summary: None },
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

fn entries(error: &FileError) -> Vec<Entry<'_>> {
    match error {
        FileError::Invalid(errors) => errors.iter().map(Entry::from).collect(),
        FileError::Read { source, .. } => {
            let message = format!("cannot read it: {source}");
            vec![Entry { line: None, column: None, key: None, message, help: None }]
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
    use super::Exit::{BadConfiguration, Success};
    use super::*;

    /// The answer and what was written, the name of the file apart.
    fn run(content: &[u8], format: Format) -> (Exit, String) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("evenkeel.toml");
        std::fs::write(&path, content).expect("is written");
        run_on(&path, format)
    }

    fn run_on(path: &Path, format: Format) -> (Exit, String) {
        let mut out = Vec::new();
        let exit = check(path, format, &mut out).expect("a vector takes everything");
        let text = String::from_utf8(out).expect("is text");
        (exit, text.replace(&path.display().to_string(), "FILE"))
    }

    const SOUND: &[u8] = b"[listeners.a]\nbind = ['127.0.0.1:1']\npool = 'p'\n[pools.p]\nbackends = ['a:1', 'b:1']\n";

    #[test]
    fn a_valid_file_is_summed_up() {
        assert_eq!(run(SOUND, Format::Text), (Success, "FILE is valid: 1 listener, 1 pool, 2 backends\n".into()));
        let json = r#"{"valid":true,"file":"FILE","errors":[],"summary":{"listeners":1,"pools":1,"backends":2}}"#;
        assert_eq!(run(SOUND, Format::Json), (Success, format!("{json}\n")));
    }

    #[test]
    fn every_error_is_told() {
        let bad = [b"wokers = 1\nlog = 'loud'\n", SOUND].concat();
        let (exit, text) = run(&bad, Format::Text);
        assert_eq!(exit, BadConfiguration);
        assert!(text.starts_with("error: unknown key `wokers`\n --> FILE:1:1\n"), "{text}");
        assert!(text.ends_with("\n\nFILE is not valid: 2 errors\n"), "{text}");
        let (exit, json) = run(&bad, Format::Json);
        let json: serde_json::Value = serde_json::from_str(&json).expect("is JSON");
        assert_eq!((exit, &json["valid"]), (BadConfiguration, &false.into()));
        assert_eq!(json["errors"][0]["help"], "did you mean `workers`?");
        assert_eq!((&json["errors"][1]["line"], &json["errors"][1]["key"]), (&2.into(), &"log".into()));
    }

    #[test]
    fn a_reader_that_is_gone_has_its_answer() {
        struct Gone(io::ErrorKind);

        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("evenkeel.toml");
        for (content, exit) in [(SOUND, Success), (b"?", BadConfiguration)] {
            std::fs::write(&path, content).expect("is written");
            for format in [Format::Text, Format::Json] {
                assert_eq!(check(&path, format, &mut Gone(io::ErrorKind::BrokenPipe)).expect("is no error"), exit);
                let full = check(&path, format, &mut Gone(io::ErrorKind::StorageFull)).expect_err("is an error");
                assert_eq!(full.kind(), io::ErrorKind::StorageFull);
            }
        }
    }

    #[test]
    fn an_unreadable_file_is_told() {
        let (exit, text) = run_on(Path::new("/nonexistent/evenkeel.toml"), Format::Text);
        assert_eq!(
            (exit, text.as_str()),
            (BadConfiguration, "error: cannot read FILE: No such file or directory (os error 2)\n")
        );
        let (exit, text) = run(b"# fine\n# \xff\n", Format::Text);
        assert_eq!((exit, text.as_str()), (BadConfiguration, "error: cannot read FILE: line 2 is not UTF-8 text\n"));
        let (exit, json) = run_on(Path::new("/"), Format::Json);
        assert_eq!(exit, BadConfiguration);
        assert!(json.contains(r#""line":null"#) && json.contains("Is a directory"), "{json}");
    }
}
