//! The metrics of backends.

use std::sync::atomic::Ordering::Relaxed;

use super::family::Subject::{Backends, Configured, Datagrams};
use super::family::{Family, counter, gauge, histogram};
use super::series::Series;
use crate::metrics::reason::ConnectErrorReason;
use crate::pool::backend::BackendState;
use crate::pool::health::Health;

/// In the order of the text.
pub(super) static FAMILIES: &[Family] = &[
    gauge(
        "evenkeel_backend_up",
        "1 if the backend is up, 0 if it is down or not checked yet.",
        Configured(|backend, out| out.count(&labels(backend), u64::from(backend.health() == Health::Up))),
    ),
    gauge(
        "evenkeel_backend_sessions_active",
        "Sessions now, those still connecting and UDP flows included.",
        Backends(|backend, out| out.count(&labels(backend), u64::from(backend.load.active()))),
    ),
    counter(
        "evenkeel_backend_sessions_total",
        "Sessions connected to the backend.",
        Backends(|backend, out| out.count(&labels(backend), backend.stats.sum(|stats| stats.sessions.value()))),
    ),
    counter(
        "evenkeel_backend_bytes_total",
        "Bytes delivered: upstream to the backend, downstream to clients.",
        Backends(bytes),
    ),
    counter(
        "evenkeel_datagrams_total",
        "Datagrams delivered: upstream to the backend, downstream to clients.",
        Datagrams(datagrams),
    ),
    counter(
        "evenkeel_backend_flows_total",
        "Flows given to the backend.",
        Datagrams(|backend, out| out.count(&labels(backend), backend.stats.sum(|stats| stats.flows.value()))),
    ),
    counter(
        "evenkeel_backend_unanswered_flows_total",
        "Times that a flow had as many datagrams in a row without a reply as passive_check.unanswered says.",
        Datagrams(|backend, out| {
            out.count(&labels(backend), backend.stats.sum(|stats| stats.unanswered_flows.value()));
        }),
    ),
    counter(
        "evenkeel_backend_icmp_errors_total",
        "Datagrams that came back as ICMP errors.",
        Datagrams(|backend, out| out.count(&labels(backend), backend.stats.sum(|stats| stats.icmp_errors.value()))),
    ),
    histogram(
        "evenkeel_backend_connect_seconds",
        "From the first packet to an established connection.",
        Backends(|backend, out| out.durations(&labels(backend), backend.stats.iter().map(|stats| &stats.connect))),
    ),
    histogram(
        "evenkeel_backend_first_byte_seconds",
        "From an established connection to the backend's first byte; of a UDP flow, to its first reply.",
        Backends(|backend, out| out.durations(&labels(backend), backend.stats.iter().map(|stats| &stats.first_byte))),
    ),
    counter(
        "evenkeel_backend_connect_errors_total",
        "Failed attempts to connect, by reason.",
        Backends(connect_errors),
    ),
    counter(
        "evenkeel_backend_retries_total",
        "Attempts to connect that came here after another backend had failed.",
        Backends(|backend, out| out.count(&labels(backend), backend.stats.sum(|stats| stats.retries.value()))),
    ),
    counter("evenkeel_health_checks_total", "Probes, by result.", Backends(health_checks)),
    counter(
        "evenkeel_health_transitions_total",
        "Changes of health, the first verdict included.",
        Backends(|backend, out| out.count(&labels(backend), backend.probes.transitions.load(Relaxed))),
    ),
];

fn bytes(backend: &BackendState, out: &mut Series) {
    let upstream = backend.stats.sum(|stats| stats.bytes_upstream.value());
    out.count(&labels_and(backend, "direction", "upstream"), upstream);
    let downstream = backend.stats.sum(|stats| stats.bytes_downstream.value());
    out.count(&labels_and(backend, "direction", "downstream"), downstream);
}

fn datagrams(backend: &BackendState, out: &mut Series) {
    let upstream = backend.stats.sum(|stats| stats.datagrams_upstream.value());
    out.count(&labels_and(backend, "direction", "upstream"), upstream);
    let downstream = backend.stats.sum(|stats| stats.datagrams_downstream.value());
    out.count(&labels_and(backend, "direction", "downstream"), downstream);
}

fn connect_errors(backend: &BackendState, out: &mut Series) {
    for reason in ConnectErrorReason::ALL {
        let count = backend.stats.sum(|stats| stats.connect_errors.at(reason.index()).value());
        out.count(&labels_and(backend, "reason", reason.label()), count);
    }
}

fn health_checks(backend: &BackendState, out: &mut Series) {
    out.count(&labels_and(backend, "result", "passed"), backend.probes.passed.load(Relaxed));
    out.count(&labels_and(backend, "result", "failed"), backend.probes.failed.load(Relaxed));
    out.count(&labels_and(backend, "result", "inconclusive"), backend.probes.inconclusive.load(Relaxed));
}

fn labels(backend: &BackendState) -> [(&'static str, &str); 2] {
    [("pool", backend.key.pool.as_str()), ("backend", backend.key.backend.as_str())]
}

/// The labels of `backend` and one more.
fn labels_and<'a>(backend: &'a BackendState, name: &'static str, value: &'a str) -> [(&'static str, &'a str); 3] {
    let [pool, backend] = labels(backend);
    [pool, backend, (name, value)]
}
