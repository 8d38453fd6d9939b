//! What sessions and flows may have, with every bound in the file held against the machine.

use std::num::NonZeroU32;

use super::capacity::{Capacity, Limits, Overhead, Requested};
use super::listener::Decided;
use crate::config::error::{Place, Problem, Problems};
use crate::config::file::{At, File};
use crate::config::types::{Machine, Transport};

/// Divides what `machine` has among `listeners`, beside `workers` and what probes `backends`. What the file asks for and
/// does not fit is reported.
pub(super) fn decide(
    file: &File,
    listeners: &[Decided<'_>],
    workers: usize,
    backends: usize,
    machine: &Machine,
    problems: &mut Problems,
) -> Limits {
    let (udp, tcp): (Vec<_>, Vec<_>) =
        listeners.iter().partition(|listener| listener.transport == Some(Transport::Udp));
    let overhead = Overhead {
        workers,
        of_a_worker: listeners.iter().map(descriptors_of_a_worker).sum(),
        backends,
        pools: file.pools().len(),
        udp_listeners: udp.len(),
    };
    let capacity = Capacity::new(machine, overhead);
    let of_listeners = tcp.iter().filter_map(|listener| listener.keys.max_connections.given());
    let flows: Vec<&At<NonZeroU32>> = udp.iter().filter_map(|listener| listener.keys.max_flows.given()).collect();
    let requested = Requested {
        sessions: file.max_connections.get(),
        sessions_of_a_listener: of_listeners.clone().map(|given| given.value).max(),
        has_tcp: !tcp.is_empty(),
        flows: flows.iter().map(|given| u64::from(given.value.get())).sum(),
        flows_unsaid: udp.iter().filter(|listener| listener.keys.max_flows.is_absent()).count() as u64,
    };
    let too_many: Vec<_> =
        of_listeners.chain(file.max_connections.given()).filter_map(|given| sessions_over(given, &capacity)).collect();
    if too_many.is_empty() {
        problems.report_all(machine_too_small(file, &capacity));
        problems.report_all(flows_over(&flows, &requested, &capacity));
    }
    problems.report_all(too_many);
    capacity.divide(&requested)
}

/// Descriptors that each worker has for the addresses of a listener: a socket for each, and beside one for datagrams an
/// event queue (epoll) that the sockets of its flows are in.
fn descriptors_of_a_worker(listener: &Decided<'_>) -> usize {
    let addresses = listener.bind.len();
    if listener.transport == Some(Transport::Udp) { addresses.saturating_mul(2) } else { addresses }
}

/// The problem with more sessions than the machine has descriptors for.
fn sessions_over(sessions: &At<NonZeroU32>, capacity: &Capacity) -> Option<Problem> {
    let wanted = u64::from(sessions.value.get());
    let most = capacity.sessions_at_most();
    if wanted <= most {
        return None;
    }
    let (needed, limit) = (capacity.limit_for(wanted), capacity.limit());
    let message = format!("{wanted} sessions need {needed} descriptors, and the limit is {limit}");
    Some(Problem::new(sessions.place, message).help(raise_or_lower(needed, most)))
}

/// The problem with a machine that cannot hold a single session.
fn machine_too_small(file: &File, capacity: &Capacity) -> Option<Problem> {
    if capacity.sessions_at_most() > 0 {
        return None;
    }
    let place = file.workers.given().map_or(Place::default(), |workers| workers.place);
    let (needed, limit) = (capacity.limit_for(1), capacity.limit());
    let message = format!("one session needs {needed} descriptors, and the limit is {limit}");
    Some(Problem::new(place, message).help(raise_or_lower(needed, 0)))
}

/// The problem with flows that do not fit beside the sessions, at the largest number of them.
fn flows_over(flows: &[&At<NonZeroU32>], requested: &Requested, capacity: &Capacity) -> Option<Problem> {
    let most = flows.iter().max_by_key(|given| given.value)?;
    let room = capacity.flows_at_most(requested);
    if requested.flows <= room {
        return None;
    }
    let own = u64::from(most.value.get());
    let (others, sessions) = (requested.flows - own, requested.sessions_at_least());
    let needed = capacity.limit_for(sessions).saturating_add(requested.flows);
    let beside = if others > 0 { format!("{others} of other listeners and ") } else { String::new() };
    let limit = capacity.limit();
    let message =
        format!("{own} flows beside {beside}{sessions} sessions need {needed} descriptors, and the limit is {limit}");
    Some(Problem::new(most.place, message).help(raise_or_lower(needed, room.saturating_sub(others))))
}

/// What to do about a limit that is too low for what was written; nothing that could be written instead is 0.
fn raise_or_lower(needed: u64, most: u64) -> String {
    let raise = format!("raise the limit: `ulimit -n {needed}`, or LimitNOFILE={needed} in the systemd unit");
    if most > 0 { format!("{raise}, or at most {most} here") } else { raise }
}
