//! From the file to the configuration: defaults, bounds, references.
//!
//! Whatever is refused is reported and replaced by something usable, so that lowering goes on and finds the rest. The
//! configuration that comes out is given away only if nothing was reported.

mod address;
mod check;
mod limits;
mod listener;
pub(super) mod log;
mod pool;
#[cfg(test)]
mod tests;
mod udp;
mod value;

use std::num::NonZeroU32;
use std::time::Duration;

use toml::de::DeTable;

use super::error::{ConfigErrors, Place, Problem, Problems};
use super::file::{self, File};
use super::read::{At, Field};
use super::types::{Admin, Config, Machine, Protocol};
use limits::{Budget, Demand, Shares};

/// Beyond this the sockets and the counters of each worker cost more than another worker brings.
const MAX_WORKERS: u32 = 1024;

/// Longer than any session that is worth waiting for; systemd gives up long before.
const LONGEST_SHUTDOWN: Duration = Duration::from_secs(24 * 60 * 60);

/// One question to the kernel takes about as long.
const SHORTEST_BUSY_POLL: Duration = Duration::from_micros(1);

/// Beyond this a wake-up is no longer what matters, and a CPU is as good as lost.
const LONGEST_BUSY_POLL: Duration = Duration::from_millis(1);

const DEFAULT_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_LOG: &str = "info";

pub(super) fn parse(origin: &str, text: &str, machine: &Machine) -> Result<Config, ConfigErrors> {
    let (document, syntax_errors) = DeTable::parse_recoverable(text);
    let document = document.get_ref();
    let mut problems = Problems::new(text, document, syntax_errors);
    let file = File::read_document(document, &mut problems);
    let config = Lowering { problems: &mut problems, machine }.config(&file);
    problems.finish(origin, text, document)?;
    Ok(config)
}

/// One run over a file. Its methods are named after what they make.
struct Lowering<'p> {
    problems: &'p mut Problems,
    machine: &'p Machine,
}

impl Lowering<'_> {
    fn config(&mut self, file: &File) -> Config {
        let workers = self.count(&file.workers, MAX_WORKERS, self.machine.cpus);
        let admin = file.admin.given().map(|admin| self.admin(&admin.value)).unwrap_or_default();
        let pools = self.pools(file);
        let mut listeners = self.listeners(file);

        let of_a_worker = listeners.values().map(limits::descriptors_of_a_worker).sum();
        let backends = pools.values().map(|pool| pool.backends.len()).sum();
        let udp = listeners.values().filter(|listener| matches!(listener.protocol, Protocol::Udp(_))).count();
        let budget = Budget::new(self.machine, workers.get(), of_a_worker, backends, udp);
        let shares = self.shares(file, &budget);
        for (name, listener) in file.listeners() {
            // As long as the listener does not say, it may have what the process has to give.
            match listeners.get_mut(name.value.as_str()).map(|listener| &mut listener.protocol) {
                Some(Protocol::Tcp(tcp)) => tcp.max_connections = tcp.max_connections.min(shares.sessions),
                Some(Protocol::Udp(udp)) if listener.max_flows.is_absent() => udp.max_flows = shares.flows_each,
                Some(Protocol::Udp(_)) | None => {}
            }
        }
        Config {
            workers,
            max_connections: shares.sessions,
            default_max_flows: shares.flows_each,
            max_pipes: shares.pipes,
            busy_poll: self.given_duration(&file.busy_poll, SHORTEST_BUSY_POLL, LONGEST_BUSY_POLL),
            shutdown_timeout: self.duration(&file.shutdown_timeout, LONGEST_SHUTDOWN, DEFAULT_SHUTDOWN_TIMEOUT),
            log: self.log(&file.log),
            admin,
            listeners,
            pools,
        }
    }

    fn admin(&mut self, admin: &file::Admin) -> Admin {
        Admin {
            socket: self.parsed(&admin.socket, address::unix_path),
            http: self.parsed(&admin.http, address::loopback),
        }
    }

    fn log(&mut self, field: &Field<String>) -> String {
        self.parsed(field, log::directives).unwrap_or_else(|| DEFAULT_LOG.to_owned())
    }

    /// How the descriptors are shared out; every bound in the file is held against the machine.
    fn shares(&mut self, file: &File, budget: &Budget) -> Shares {
        let process = self.given_count::<NonZeroU32>(&file.max_connections, u32::MAX);
        let (udp, tcp): (Vec<_>, Vec<_>) =
            file.listeners().iter().map(|(_, listener)| listener).partition(|listener| udp::is_udp(listener));
        let sessions = tcp.iter().map(|listener| &listener.max_connections);
        let largest = sessions.clone().filter_map(|field| field.given()).map(|given| given.value).max();
        let mut fits = true;
        for given in sessions.chain([&file.max_connections]).filter_map(Field::given) {
            fits &= self.holds(given, budget);
        }
        if fits && budget.sessions_at_most() == 0 {
            self.refuse_machine(file, budget);
        }
        let largest = largest.and_then(|count| NonZeroU32::new(u32::try_from(count).ok()?));
        let demand = Demand {
            sessions: process,
            sessions_of_a_listener: largest,
            has_tcp: !tcp.is_empty(),
            flows: udp
                .iter()
                .filter_map(|listener| Some(u64::try_from(listener.max_flows.given()?.value).unwrap_or(0)))
                .sum(),
            flows_unsaid: udp.iter().filter(|listener| listener.max_flows.is_absent()).count() as u64,
        };
        let flows = udp.iter().filter_map(|listener| listener.max_flows.given());
        if let Some(most) = flows.max_by_key(|given| given.value).filter(|_| fits) {
            self.check_flows(most, &demand, budget);
        }
        budget.share(&demand)
    }

    /// Reports flows that do not fit beside the sessions, at the largest number of them.
    fn check_flows(&mut self, most: &At<i64>, demand: &Demand, budget: &Budget) {
        let room = budget.flows_at_most(demand);
        if demand.flows <= room || most.value > i64::from(u32::MAX) {
            return;
        }
        let own = u64::try_from(most.value).unwrap_or(0);
        let (others, sessions) = (demand.flows.saturating_sub(own), demand.sessions_at_least());
        let needed = budget.limit_for(sessions).saturating_add(demand.flows);
        let beside = if others > 0 { format!("{others} of other listeners and ") } else { String::new() };
        let message = format!(
            "{own} flows beside {beside}{sessions} sessions need {needed} descriptors, and the limit is {}",
            budget.limit()
        );
        let lower = match room.saturating_sub(others) {
            0 => String::new(),
            most => format!(", or at most {most} here"),
        };
        self.problems.report(Problem::new(most.place, message).help(format!("{}{lower}", raise_limit(needed))));
    }

    /// Whether the machine has the descriptors for this many sessions.
    fn holds(&mut self, sessions: &At<i64>, budget: &Budget) -> bool {
        let wanted = u64::try_from(sessions.value).unwrap_or(0);
        if wanted <= budget.sessions_at_most() || wanted > u64::from(u32::MAX) {
            return true;
        }
        let needed = budget.limit_for(wanted);
        let limit = budget.limit();
        let message = format!("{wanted} sessions need {needed} descriptors, and the limit is {limit}");
        let most = budget.sessions_at_most();
        let lower = if most > 0 { format!(", or at most {most} here") } else { String::new() };
        let help = format!("{}{lower}", raise_limit(needed));
        self.problems.report(Problem::new(sessions.place, message).help(help));
        false
    }

    /// Reports a machine that cannot hold a single session.
    fn refuse_machine(&mut self, file: &File, budget: &Budget) {
        let place = file.workers.given().map_or(Place::default(), |workers| workers.place);
        let needed = budget.limit_for(1);
        let message = format!("one session needs {needed} descriptors, and the limit is {}", budget.limit());
        self.problems.report(Problem::new(place, message).help(raise_limit(needed)));
    }
}

fn raise_limit(needed: u64) -> String {
    format!("raise the limit: `ulimit -n {needed}`, or LimitNOFILE={needed} in the systemd unit")
}
