//! Every metric: its name, its help, and where its series come from.
//!
//! The names are a contract with dashboards and alerts. No address of a client is ever a label: labels come from
//! the configuration and from the enums of [`reason`](crate::metrics::reason), so the number of series is bounded.
//! Each value of an enum has its series from the start, at zero, so that `rate()` sees the first event.

use std::sync::atomic::Ordering::Relaxed;

use prometheus::proto::MetricType;

use self::Source::{Backends, Configured, Datagrams, Flows, Process, Sessions};
use super::exposition::{NamedListener, Scene, Series};
use super::process::Usage;
use crate::metrics::WorkerId;
use crate::metrics::reason::{CloseReason, ConnectErrorReason, DropReason, FlowCloseReason, RefuseReason};
use crate::metrics::stats::{FlowStats, SessionStats};
use crate::pool::backend::BackendState;
use crate::pool::health::Health;

/// One metric.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: MetricType,
    pub(super) source: Source,
}

/// What the series of a family are about. Each function adds all series of one subject, and at least one.
pub(super) enum Source {
    /// The process as a whole; here there may be none.
    Process(fn(&Scene, &mut Series)),
    /// Each TCP listener, by name.
    Sessions(fn(&NamedListener<SessionStats>, &mut Series)),
    /// Each UDP listener, by name.
    Flows(fn(&NamedListener<FlowStats>, &mut Series)),
    /// Each backend that is counted.
    Backends(fn(&BackendState, &mut Series)),
    /// Each backend that is counted, of those that UDP listeners send to.
    Datagrams(fn(&BackendState, &mut Series)),
    /// Each backend of the configuration in force.
    Configured(fn(&BackendState, &mut Series)),
}

const fn counter(name: &'static str, help: &'static str, source: Source) -> Family {
    Family { name, help, kind: MetricType::COUNTER, source }
}

const fn gauge(name: &'static str, help: &'static str, source: Source) -> Family {
    Family { name, help, kind: MetricType::GAUGE, source }
}

const fn histogram(name: &'static str, help: &'static str, source: Source) -> Family {
    Family { name, help, kind: MetricType::HISTOGRAM, source }
}

/// In the order of the text: listeners, backends, workers, control plane, process.
pub(super) static FAMILIES: &[Family] = &[
    gauge(
        "evenkeel_listener_sessions_active",
        "Sessions now open.",
        Sessions(|listener, out| {
            out.count(&[("listener", listener.name())], listener.stats().map(|stats| stats.active.value()).sum());
        }),
    ),
    counter(
        "evenkeel_listener_sessions_total",
        "Sessions admitted.",
        Sessions(|listener, out| {
            out.count(&[("listener", listener.name())], listener.stats().map(|stats| stats.sessions.value()).sum());
        }),
    ),
    counter("evenkeel_listener_refused_total", "Connections closed at once, by reason.", Sessions(refused)),
    counter("evenkeel_sessions_closed_total", "Sessions over, by reason.", Sessions(closed)),
    histogram(
        "evenkeel_session_seconds",
        "From accept to close of a session.",
        Sessions(|listener, out| {
            out.durations(&[("listener", listener.name())], listener.stats().map(|stats| &stats.duration));
        }),
    ),
    gauge(
        "evenkeel_listener_flows_active",
        "Flows now in the table.",
        Flows(|listener, out| {
            out.count(&[("listener", listener.name())], listener.stats().map(|stats| stats.active.value()).sum());
        }),
    ),
    counter(
        "evenkeel_listener_flows_total",
        "Flows begun.",
        Flows(|listener, out| {
            out.count(&[("listener", listener.name())], listener.stats().map(|stats| stats.flows.value()).sum());
        }),
    ),
    counter("evenkeel_flows_closed_total", "Flows over, by reason.", Flows(flows_closed)),
    counter("evenkeel_datagrams_dropped_total", "Datagrams that went nowhere, by reason.", Flows(dropped)),
    histogram(
        "evenkeel_datagram_batch_size",
        "Datagrams of clients received by one system call.",
        Flows(|listener, out| {
            out.sizes(&[("listener", listener.name())], listener.stats().map(|stats| &stats.batches));
        }),
    ),
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
        "Changes between up and down.",
        Backends(|backend, out| out.count(&labels(backend), backend.probes.transitions.load(Relaxed))),
    ),
    gauge("evenkeel_worker_sessions_active", "Sessions now open on the worker.", Process(worker_sessions)),
    counter(
        "evenkeel_worker_sessions_handed_over_total",
        "Sessions that the worker accepted and gave to a less loaded one.",
        Process(handed_over),
    ),
    counter(
        "evenkeel_session_panics_total",
        "Panics, each confined to its session, or to the flows of one address on one worker.",
        Process(|scene, out| out.count(&[], scene.registry.workers.sum(|stats| stats.panics.value()))),
    ),
    counter(
        "evenkeel_log_records_dropped_total",
        "Log records, the access log's included, that stderr did not take in time.",
        Process(|scene, out| {
            let dropped = scene.registry.log_records_dropped.get().map_or(0, |dropped| dropped.load(Relaxed));
            out.count(&[], dropped);
        }),
    ),
    counter("evenkeel_reloads_total", "Reloads, by result: a refused one changed nothing.", Process(reloads)),
    gauge(
        "evenkeel_config_generation",
        "Configurations in force since the start, this one included.",
        Process(|scene, out| out.count(&[], scene.generation)),
    ),
    gauge(
        "evenkeel_build_info",
        "Always 1; the labels say what is running.",
        Process(|_, out| {
            out.count(&[("version", env!("CARGO_PKG_VERSION")), ("commit", env!("EVENKEEL_COMMIT"))], 1);
        }),
    ),
    counter(
        "process_cpu_seconds_total",
        "User and system time.",
        Process(|scene, out| usage(scene, out, |usage| Some(usage.cpu_seconds))),
    ),
    gauge(
        "process_start_time_seconds",
        "When the process started, since the epoch.",
        Process(|scene, out| usage(scene, out, |usage| Some(usage.started_seconds))),
    ),
    gauge(
        "process_resident_memory_bytes",
        "Memory in RAM.",
        Process(|scene, out| usage(scene, out, |usage| Some(usage.resident_bytes as f64))),
    ),
    gauge(
        "process_virtual_memory_bytes",
        "Address space.",
        Process(|scene, out| usage(scene, out, |usage| Some(usage.virtual_bytes as f64))),
    ),
    gauge(
        "process_open_fds",
        "Descriptors in use.",
        Process(|scene, out| usage(scene, out, |usage| Some(usage.open_fds as f64))),
    ),
    gauge(
        "process_max_fds",
        "Limit on descriptors; absent if there is none.",
        Process(|scene, out| usage(scene, out, |usage| usage.max_fds.map(|limit| limit as f64))),
    ),
];

fn refused(listener: &NamedListener<SessionStats>, out: &mut Series) {
    for reason in RefuseReason::ALL {
        let count = listener.stats().map(|stats| stats.refused.at(reason.index()).value()).sum();
        out.count(&[("listener", listener.name()), ("reason", reason.label())], count);
    }
}

fn closed(listener: &NamedListener<SessionStats>, out: &mut Series) {
    for state in listener.states() {
        for reason in CloseReason::ALL {
            let labels = [("listener", listener.name()), ("pool", state.pool.as_str()), ("reason", reason.label())];
            out.count(&labels, state.stats.sum(|stats| stats.closed.at(reason.index()).value()));
        }
    }
}

fn flows_closed(listener: &NamedListener<FlowStats>, out: &mut Series) {
    for state in listener.states() {
        for reason in FlowCloseReason::ALL {
            let labels = [("listener", listener.name()), ("pool", state.pool.as_str()), ("reason", reason.label())];
            out.count(&labels, state.stats.sum(|stats| stats.closed.at(reason.index()).value()));
        }
    }
}

fn dropped(listener: &NamedListener<FlowStats>, out: &mut Series) {
    for reason in DropReason::ALL {
        let count = listener.stats().map(|stats| stats.dropped.at(reason.index()).value()).sum();
        out.count(&[("listener", listener.name()), ("reason", reason.label())], count);
    }
}

fn datagrams(backend: &BackendState, out: &mut Series) {
    let upstream = backend.stats.sum(|stats| stats.datagrams_upstream.value());
    out.count(&labels_and(backend, "direction", "upstream"), upstream);
    let downstream = backend.stats.sum(|stats| stats.datagrams_downstream.value());
    out.count(&labels_and(backend, "direction", "downstream"), downstream);
}

fn labels(backend: &BackendState) -> [(&'static str, &str); 2] {
    [("pool", backend.key.pool.as_str()), ("backend", backend.key.backend.as_str())]
}

/// The labels of `backend` and one more.
fn labels_and<'a>(backend: &'a BackendState, name: &'static str, value: &'a str) -> [(&'static str, &'a str); 3] {
    let [pool, backend] = labels(backend);
    [pool, backend, (name, value)]
}

fn bytes(backend: &BackendState, out: &mut Series) {
    let upstream = backend.stats.sum(|stats| stats.bytes_upstream.value());
    out.count(&labels_and(backend, "direction", "upstream"), upstream);
    let downstream = backend.stats.sum(|stats| stats.bytes_downstream.value());
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

fn worker_sessions(scene: &Scene, out: &mut Series) {
    for (index, _) in scene.registry.workers.iter().enumerate() {
        let states = scene.tcp_listeners().iter().flat_map(NamedListener::states);
        let active = states.map(|state| state.stats.at(WorkerId(index)).active.value()).sum();
        out.count(&[("worker", &index.to_string())], active);
    }
}

fn handed_over(scene: &Scene, out: &mut Series) {
    for (index, stats) in scene.registry.workers.iter().enumerate() {
        out.count(&[("worker", &index.to_string())], stats.handed_over.value());
    }
}

fn reloads(scene: &Scene, out: &mut Series) {
    out.count(&[("result", "done")], scene.registry.reloads_done.load(Relaxed));
    out.count(&[("result", "refused")], scene.registry.reloads_refused.load(Relaxed));
}

fn usage(scene: &Scene, out: &mut Series, read: fn(&Usage) -> Option<f64>) {
    if let Some(value) = scene.process.as_ref().and_then(read) {
        out.number(&[], value);
    }
}
