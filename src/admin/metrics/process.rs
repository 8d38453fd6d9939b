//! The metrics of workers, of the control plane and of the process.

use std::sync::atomic::Ordering::Relaxed;

use super::family::Subject::Process;
use super::family::{Family, counter, gauge};
use super::series::Series;
use super::subjects::{NamedListener, Subjects};
use super::usage::Usage;
use crate::metrics::WorkerId;

/// In the order of the text.
pub(super) static FAMILIES: &[Family] = &[
    gauge("evenkeel_worker_sessions_active", "Sessions now open on the worker.", Process(worker_sessions)),
    counter(
        "evenkeel_worker_sessions_handed_over_total",
        "Sessions that the worker accepted and gave to a less loaded one.",
        Process(handed_over),
    ),
    counter(
        "evenkeel_session_panics_total",
        "Panics, each confined to its session, or to the flows of one address on one worker.",
        Process(|all, out| out.count(&[], all.registry.workers.sum(|stats| stats.panics.value()))),
    ),
    counter(
        "evenkeel_log_records_dropped_total",
        "Log records, the access log's included, that stderr did not take, or not in time.",
        Process(|all, out| {
            let dropped = all.registry.log_records_dropped.get().map_or(0, |dropped| dropped.load(Relaxed));
            out.count(&[], dropped);
        }),
    ),
    counter("evenkeel_reloads_total", "Reloads, by result: a refused one changed nothing.", Process(reloads)),
    gauge(
        "evenkeel_config_generation",
        "Configurations in force since the start, this one included.",
        Process(|all, out| out.count(&[], all.generation)),
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
        Process(|all, out| usage(all, out, |usage| Some(usage.cpu_seconds))),
    ),
    gauge(
        "process_start_time_seconds",
        "When the process started, since the epoch.",
        Process(|all, out| usage(all, out, |usage| Some(usage.started_seconds))),
    ),
    gauge(
        "process_resident_memory_bytes",
        "Memory in RAM.",
        Process(|all, out| usage(all, out, |usage| Some(usage.resident_bytes as f64))),
    ),
    gauge(
        "process_virtual_memory_bytes",
        "Address space.",
        Process(|all, out| usage(all, out, |usage| Some(usage.virtual_bytes as f64))),
    ),
    gauge(
        "process_open_fds",
        "Descriptors in use.",
        Process(|all, out| usage(all, out, |usage| Some(usage.open_fds as f64))),
    ),
    gauge(
        "process_max_fds",
        "Limit on descriptors; absent if there is none.",
        Process(|all, out| usage(all, out, |usage| usage.max_fds.map(|limit| limit as f64))),
    ),
];

fn worker_sessions(all: &Subjects, out: &mut Series) {
    for (index, _) in all.registry.workers.iter().enumerate() {
        let states = all.tcp_listeners.iter().flat_map(NamedListener::states);
        let active = states.map(|state| state.stats.at(WorkerId(index)).active.value()).sum();
        out.count(&[("worker", &index.to_string())], active);
    }
}

fn handed_over(all: &Subjects, out: &mut Series) {
    for (index, stats) in all.registry.workers.iter().enumerate() {
        out.count(&[("worker", &index.to_string())], stats.handed_over.value());
    }
}

fn reloads(all: &Subjects, out: &mut Series) {
    out.count(&[("result", "done")], all.registry.reloads_done.load(Relaxed));
    out.count(&[("result", "refused")], all.registry.reloads_refused.load(Relaxed));
}

fn usage(all: &Subjects, out: &mut Series, read: fn(&Usage) -> Option<f64>) {
    if let Some(value) = all.process.as_ref().and_then(read) {
        out.number(&[], value);
    }
}
