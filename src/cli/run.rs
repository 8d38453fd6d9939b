//! `evenkeel run`.

use std::path::PathBuf;

use super::Exit;
use crate::app::{App, Source, StartError};
use crate::logging;

/// What `--help` adds.
pub(super) const HELP: &str = "\
It stays in the foreground and logs to stderr, which is what systemd and containers want. The level comes from `log` \
in the configuration; EVENKEEL_LOG in the environment overrides it.

Signals:
  SIGHUP           reload the configuration: open sessions stay, and a file
                   that is not valid changes nothing
  SIGTERM, SIGINT  accept no more, let sessions finish for `shutdown_timeout`,
                   then close them; a second one stops at once

Example:
  evenkeel run -c /etc/evenkeel/evenkeel.toml --log-format json

Exit codes: 0 clean stop, 1 the configuration is not valid, 2 the arguments make no sense, 3 could not start, for \
instance because an address is in use";

/// What is logged until the configuration says otherwise.
const FIRST_FILTER: &str = "info";

/// Runs the balancer until it is told to stop.
pub(super) fn run(config: PathBuf, log_format: logging::Format) -> Exit {
    let logs = match super::start_logs(log_format, FIRST_FILTER) {
        Ok(logs) => logs,
        Err(exit) => return exit,
    };
    let app = match App::start(Source::File(config)) {
        Ok(app) => app,
        Err(error) => {
            eprintln!("evenkeel: {error}");
            return match error {
                StartError::Configuration(_) => Exit::BadConfiguration,
                _ => Exit::CouldNotStart,
            };
        }
    };
    if let Err(error) = logs.set_filter(&app.snapshot().config.log) {
        eprintln!("evenkeel: {error}");
    }
    app.join();
    Exit::Success
}
