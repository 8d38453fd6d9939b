//! `evenkeel run`.

use std::path::PathBuf;

use super::Exit;
use crate::app::{self, App};
use crate::control::{Source, reload};
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

/// Runs the balancer until it is told to stop.
pub(super) fn run(path: PathBuf, log_format: logging::Format) -> Exit {
    let config = match reload::read(&path, &app::machine()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return Exit::BadConfiguration;
        }
    };
    let _logs = match super::start_logs(log_format, &config.log) {
        Ok(logs) => logs,
        Err(exit) => return exit,
    };
    match App::start(config, Source::File(path)) {
        Ok(app) => {
            app.join();
            Exit::Success
        }
        Err(error) => {
            tracing::error!(%error, "could not start");
            Exit::CouldNotStart
        }
    }
}
