//! From the file to the configuration: what several values mean together, what refers to what, and what the machine holds.
//!
//! What a listener speaks and binds is decided first, once, and everything else goes by that. Whatever is refused is
//! reported and replaced by something usable, so that lowering goes on and finds the rest. The configuration that comes out
//! is given away only if nothing was reported.

mod bind;
mod capacity;
mod health;
mod limits;
mod listener;
mod pool;
mod presence;
mod reach;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use toml::de::DeTable;

use super::error::{ConfigErrors, Problems};
use super::file::{self, File};
use super::types::{Admin, Config, Machine};

/// Reads a text and lowers it.
pub(super) fn parse(origin: &str, text: &str, machine: &Machine) -> Result<Config, ConfigErrors> {
    let (document, syntax_errors) = DeTable::parse_recoverable(text);
    let document = document.get_ref();
    let mut problems = Problems::new(text, document, syntax_errors);
    let file = File::read_document(document, &mut problems);
    let config = lower(&file, machine, &mut problems);
    problems.into_result(origin, text, document)?;
    Ok(config)
}

fn lower(file: &File, machine: &Machine, problems: &mut Problems) -> Config {
    let workers = file.workers.get().unwrap_or(machine.cpus);
    let listeners = listener::decide(file, problems);
    bind::refuse_shared(&listeners, file, problems);
    reach::refuse_unix_over_udp(&listeners, file, problems);
    reach::refuse_checks_without_datagrams(&listeners, file, problems);
    let pools = pool::lower(file, problems);
    let backends = pools.values().map(|pool| pool.backends.len()).sum();
    let limits = limits::decide(file, &listeners, workers.get(), backends, machine, problems);
    Config {
        workers,
        max_connections: limits.sessions,
        default_max_flows: limits.flows_each,
        max_pipes: limits.pipes,
        busy_poll: file.busy_poll.get(),
        shutdown_timeout: file.shutdown_timeout.value(),
        log: file.log.value().0.into_owned(),
        admin: file.admin.given().map(|admin| lower_admin(&admin.value)).unwrap_or_default(),
        listeners: listener::lower(&listeners, file, &limits, problems),
        pools,
    }
}

fn lower_admin(admin: &file::Admin) -> Admin {
    Admin { socket: admin.socket.get().map(|path| path.0), http: admin.http.get().map(|addr| addr.0) }
}
