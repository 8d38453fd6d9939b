//! The keys of UDP listeners.

use super::capacity::Limits;
use super::presence::refuse;
use crate::config::error::{Problem, Problems};
use crate::config::file::{self, At};
use crate::config::types::{Assignment, Udp};

/// The settings of a UDP listener. One that does not say how many flows it has gets the part that each of those has.
pub(super) fn lower(listener: &file::Listener, limits: &Limits, problems: &mut Problems) -> Udp {
    Udp {
        flow_idle_timeout: listener.flow_idle_timeout.value(),
        requests: listener.requests.value(),
        responses: listener.responses.value(),
        assignment: assignment(listener, problems),
        max_flows: listener.max_flows.get().unwrap_or(limits.flows_each),
        max_flows_per_source: listener.max_flows_per_source.get(),
        on_backend_down: listener.on_backend_down.value(),
        receive_buffer: listener.receive_buffer.value().0,
    }
}

fn assignment(listener: &file::Listener, problems: &mut Problems) -> Assignment {
    let Some(At { value: true, place }) = listener.per_packet.given() else { return Assignment::PerFlow };
    if let Some(given) = listener.on_backend_down.given() {
        let message = "`on_backend_down` says nothing beside `per_packet`";
        let help = "leave it out: every datagram goes to a backend that is up";
        let problem = Problem::new(given.place, message).related(*place, "no flow moves or stays");
        problems.report(problem.help(help));
    }
    Assignment::PerPacket
}

/// Reports the keys that only a UDP listener has.
pub(super) fn refuse_keys(listener: &file::Listener, problems: &mut Problems) {
    const LEAVE_OUT: &str = "leave it out, or set protocol = \"udp\"";
    let on_down = "what becomes of TCP sessions is said by `on_down` of the pool";
    let buffer = "leave it out: the kernel sizes the buffers of TCP itself";
    refuse(&listener.flow_idle_timeout, "UDP", "`idle_timeout` is the key of a TCP listener", problems);
    refuse(&listener.max_flows, "UDP", "`max_connections` bounds a TCP listener", problems);
    refuse(&listener.requests, "UDP", LEAVE_OUT, problems);
    refuse(&listener.responses, "UDP", LEAVE_OUT, problems);
    refuse(&listener.per_packet, "UDP", LEAVE_OUT, problems);
    refuse(&listener.max_flows_per_source, "UDP", LEAVE_OUT, problems);
    refuse(&listener.on_backend_down, "UDP", on_down, problems);
    refuse(&listener.receive_buffer, "UDP", buffer, problems);
}
