//! `evenkeel demo`.

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;

use super::Exit;
use super::interrupt::Interrupt;
use crate::demo::{self, DemoError, Style};
use crate::logging;

/// What `--help` adds.
pub(super) const HELP: &str = "\
It needs no configuration and no privileges. Four simulated backends run behind a balancer with least-connections and \
health checks; one is slow, one dies every few seconds and comes back on the same port. 32 clients send a modest load \
through it over TCP and 16 over UDP, and a table each second shows who gets what. Watch what the death costs the \
clients that were on the dead backend, and what it costs the others.

Everything listens on free ports of 127.0.0.1. Ctrl-c stops it.

Example:
  evenkeel demo --seconds 30

Exit codes: 0 clean stop, 1 EVENKEEL_LOG in the environment is not valid, 2 the arguments make no sense, 3 could not \
start";

/// The arguments of `demo`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Stop after this many seconds, up to a day; without it, run until ctrl-c
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
}

/// Runs the demo.
pub(super) fn run(arguments: &Arguments) -> Exit {
    // The table tells what the log would; only what should never happen may get between its lines.
    let _logs = match super::start_logs(logging::Format::Text, "error") {
        Ok(logs) => logs,
        Err(exit) => return exit,
    };
    match show(arguments.seconds.map(Duration::from_secs)) {
        Ok(()) => Exit::Success,
        Err(error) => {
            eprintln!("evenkeel: {error}");
            Exit::CouldNotStart
        }
    }
}

fn show(duration: Option<Duration>) -> Result<(), DemoError> {
    let runtime = super::runtime().map_err(DemoError::Backends)?;
    let interrupt = {
        let _context = runtime.enter();
        Interrupt::install().map_err(DemoError::Backends)?
    };
    let mut out = io::stdout().lock();
    let style = if out.is_terminal() { Style::Redraw } else { Style::Append };
    demo::run(duration, style, &mut out, &runtime, &interrupt.seen(), interrupt.received())
}
