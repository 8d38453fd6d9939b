//! `evenkeel schema`: the JSON Schema of the configuration, for editors.

use std::io::{self, Write};

use super::Exit;
use crate::config;

/// What `--help` adds.
pub(super) const HELP: &str = "\
Editors with a TOML language server (Even Better TOML, taplo) complete keys, show what each is for and mark mistakes, \
once the first line of a configuration names the schema:

  #:schema ./evenkeel.schema.json

What several keys mean together, and what this machine can hold, only `evenkeel check` can tell.

Example:
  evenkeel schema > evenkeel.schema.json

Exit codes: 0 printed, 2 the arguments make no sense, 3 could not print";

/// Prints the schema to stdout.
pub(super) fn run() -> Exit {
    match print(&mut io::stdout().lock()) {
        // A reader that has gone away has seen what it wanted.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("evenkeel: cannot print: {error}");
            Exit::CouldNotStart
        }
        _ => Exit::Success,
    }
}

fn print(out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &config::schema())?;
    writeln!(out)?;
    out.flush()
}
