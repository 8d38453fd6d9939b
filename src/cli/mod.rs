//! The command line: what can be asked, in words that teach, and what the answer means to a shell.
//!
//! One file a command. A command returns an [`Exit`]; what went wrong it has already said on stderr.

pub mod check;
mod demo;
mod interrupt;
mod run;
mod schema;
mod simulate;

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use tokio::runtime::Runtime;

use crate::control::signals::PendingSignals;
use crate::{VERSION, logging};

/// What the program tells its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked and stopped cleanly.
    Success = 0,
    /// The configuration is not valid.
    BadConfiguration = 1,
    /// The arguments make no sense. The parser of the arguments uses the same number.
    Usage = 2,
    /// The machine did not give what was needed, such as an address to bind.
    CouldNotStart = 3,
    /// Something in the program broke; the number is that of sysexits' EX_SOFTWARE.
    Crashed = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

const ABOUT: &str = "An L4 balancer (TCP and UDP) for Linux that is safe to change while it runs";

const EXAMPLES: &str = "\
Examples:
  evenkeel demo --seconds 30         see it work, with nothing to set up
  evenkeel check -c evenkeel.toml    is this configuration valid?
  evenkeel run -c evenkeel.toml      balance until SIGTERM

Exit codes:
  0  clean stop, or a valid configuration
  1  the configuration is not valid
  2  the arguments make no sense
  3  could not start, for instance because an address is in use";

/// The arguments of the program.
#[derive(Debug, Parser)]
#[command(
    name = "evenkeel",
    version = VERSION,
    about = ABOUT,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Validate the configuration and exit, as `evenkeel check` does
    #[arg(short = 't', requires = "config")]
    test: bool,
    /// The configuration to validate
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How the answer looks on stdout
    #[arg(long, value_enum, default_value = "text", requires = "test")]
    format: check::Format,
}

/// What can be asked.
#[derive(Debug, Subcommand)]
enum Command {
    /// Balance connections and datagrams until SIGTERM
    #[command(after_help = run::HELP)]
    Run(RunArguments),
    /// Validate a configuration; binds nothing, connects nowhere
    #[command(after_help = CHECK_HELP)]
    Check(CheckArguments),
    /// Print the JSON Schema of the configuration, for editors
    #[command(after_help = schema::HELP)]
    Schema,
    /// Show a balancer at work: simulated backends, traffic and an outage, all in one process
    #[command(after_help = demo::HELP)]
    Demo(demo::Arguments),
    /// Run simulated backends alone, over TCP or UDP, to try a configuration without the real ones
    #[command(after_help = simulate::HELP)]
    Simulate(simulate::Arguments),
}

/// The arguments of `run`.
#[derive(Debug, Args)]
struct RunArguments {
    /// The configuration, read again at each SIGHUP
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// How log records look on stderr
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    log_format: logging::Format,
}

/// The arguments of `check`.
#[derive(Debug, Args)]
struct CheckArguments {
    /// The configuration
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// How the answer looks on stdout
    #[arg(long, value_enum, default_value = "text")]
    format: check::Format,
}

const CHECK_HELP: &str = "\
It accepts exactly what `run` and a reload accept, short of what only the machine can refuse, such as an address that \
is in use. Every error is shown at once, each with its place in the file.

Example:
  evenkeel check -c evenkeel.toml && systemctl reload evenkeel

Exit codes: 0 valid, 1 not valid, 2 the arguments make no sense";

/// Runs the program with the arguments of the process.
pub fn main() -> Exit {
    // Before anything else: from here on no signal is lost, and none kills. What is no service dies of them as usual.
    let signals = env::args_os().nth(1).is_some_and(|command| command == "run").then(PendingSignals::install);
    let Arguments { command, test, config, format } = Arguments::parse();
    match command {
        Some(Command::Run(arguments)) => {
            run::run(arguments.config, arguments.log_format, signals.unwrap_or_else(PendingSignals::install))
        }
        Some(Command::Check(arguments)) => check(&arguments.config, arguments.format),
        Some(Command::Schema) => schema::run(),
        Some(Command::Demo(arguments)) => demo::run(&arguments),
        Some(Command::Simulate(arguments)) => simulate::run(&arguments),
        None => match config {
            Some(config) if test => check(&config, format),
            config => refuse_without_command(config.as_deref()),
        },
    }
}

fn check(config: &Path, format: check::Format) -> Exit {
    check::check(config, format, &mut io::stdout().lock()).unwrap_or_else(|error| {
        eprintln!("evenkeel: cannot print: {error}");
        Exit::CouldNotStart
    })
}

/// Says what could have been meant by a file alone, and what there is if not even that was given.
fn refuse_without_command(config: Option<&Path>) -> Exit {
    let file = config.unwrap_or(Path::new("FILE")).display();
    let message = format!(
        "a command is missing: `evenkeel run -c {file}` balances, `evenkeel check -c {file}` and \
         `evenkeel -t -c {file}` validate"
    );
    let error = Arguments::command().error(ErrorKind::MissingSubcommand, message);
    // With stderr closed there is nothing to be done about it.
    let _ = error.print();
    Exit::Usage
}

/// Starts logging; what is wrong with the filter is said on stderr.
fn start_logs(format: logging::Format, filter: &str) -> Result<logging::Guard, Exit> {
    logging::init(format, filter).map_err(|error| {
        eprintln!("evenkeel: {error}");
        Exit::BadConfiguration
    })
}

/// One thread for everything: what `demo` and `simulate` put around the balancer is light.
fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }
}
