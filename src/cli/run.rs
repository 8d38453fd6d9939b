//! `evenkeel run`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::Exit;
use crate::app::{self, App};
use crate::config::Config;
use crate::control::file::{self, FileError};
use crate::control::reload::ReloadFrom;
use crate::control::signals::PendingSignals;
use crate::logging;
use crate::sys::machine;

/// What `--help` adds.
pub(super) const HELP: &str = "\
It stays in the foreground and logs to stderr, which is what systemd and containers want. The level comes from `log` \
in the configuration; EVENKEEL_LOG in the environment overrides it.

Signals:
  SIGHUP           reload the configuration: open sessions and flows stay, and a
                   file that is not valid changes nothing
  SIGTERM, SIGINT  accept no more, let sessions and flows finish for
                   `shutdown_timeout`, then end them; a second one stops at once

Example:
  evenkeel run -c /etc/evenkeel/evenkeel.toml --log-format json

Exit codes: 0 clean stop, 1 the configuration is not valid, 2 the arguments make no sense, 3 could not start, for \
instance because an address is in use";

/// Runs the balancer until it is told to stop, by one of the `signals` that have been kept since the process began.
pub(super) fn run(path: PathBuf, log_format: logging::Format, signals: io::Result<PendingSignals>) -> Exit {
    // As long as there is one thread this takes no time. What it fails with is told when it is done again, at the start.
    if machine::raise_descriptor_limit().is_ok() {
        machine::widen_descriptor_table();
    }
    let (signals, read) = match signals.and_then(|signals| Ok((read(&path, &signals)?, signals))) {
        Ok((read, signals)) => (signals, read),
        Err(error) => {
            eprintln!("evenkeel: cannot start: {error}");
            return Exit::CouldNotStart;
        }
    };
    let config = match read {
        Some(Ok(config)) => config,
        Some(Err(error)) => {
            eprintln!("{error}");
            return Exit::BadConfiguration;
        }
        None => return Exit::Success,
    };
    let logs = match super::start_logs(log_format, &config.log) {
        Ok(logs) => Arc::new(logs),
        Err(exit) => return exit,
    };
    let reloaded_logs = Arc::clone(&logs);
    let on_reload = move |config: &Config| {
        if let Err(error) = reloaded_logs.set_filter(&config.log) {
            tracing::error!(%error, "the log filter stays as it was");
        }
    };
    match App::start(config, ReloadFrom::File(path), Some(signals), on_reload) {
        Ok(app) => {
            // It is set only here.
            let _ = app.registry().log_records_dropped.set(logs.dropped_records());
            app.join().map_or_else(
                |error| {
                    tracing::error!(%error, "ended by a fault of its own");
                    Exit::Crashed
                },
                |()| Exit::Success,
            )
        }
        Err(error) => {
            tracing::error!(%error, "could not start");
            Exit::CouldNotStart
        }
    }
}

/// Reads the file, which may take for ever; `None` if a signal ends us meanwhile.
fn read(path: &Path, signals: &PendingSignals) -> io::Result<Option<Result<Config, FileError>>> {
    let runtime = super::runtime()?;
    let path = path.to_owned();
    let read = runtime.block_on(async {
        let mut signals = signals.listen()?;
        tokio::select! {
            biased;
            () = signals.terminated() => Ok(None),
            read = spawn_blocking(move || file::read(&path, &app::machine())) => Ok(Some(read?)),
        }
    });
    // The read may hang to the end of the process.
    runtime.shutdown_background();
    read
}
