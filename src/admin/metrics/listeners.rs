//! The metrics of listeners.

use super::family::Subject::{Flows, Sessions};
use super::family::{Family, counter, gauge, histogram};
use super::series::Series;
use super::subjects::NamedListener;
use crate::metrics::reason::{CloseReason, DropReason, FlowCloseReason, RefuseReason};
use crate::metrics::stats::{FlowStats, SessionStats};

/// In the order of the text.
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
    counter("evenkeel_sessions_closed_total", "Sessions over, by reason.", Sessions(sessions_closed)),
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
];

fn refused(listener: &NamedListener<SessionStats>, out: &mut Series) {
    for reason in RefuseReason::ALL {
        let count = listener.stats().map(|stats| stats.refused.at(reason.index()).value()).sum();
        out.count(&[("listener", listener.name()), ("reason", reason.label())], count);
    }
}

fn sessions_closed(listener: &NamedListener<SessionStats>, out: &mut Series) {
    let labels: Vec<_> = CloseReason::ALL.iter().map(|reason| reason.label()).collect();
    closed(listener, &labels, |stats, reason| stats.closed.at(reason).value(), out);
}

fn flows_closed(listener: &NamedListener<FlowStats>, out: &mut Series) {
    let labels: Vec<_> = FlowCloseReason::ALL.iter().map(|reason| reason.label()).collect();
    closed(listener, &labels, |stats, reason| stats.closed.at(reason).value(), out);
}

/// A series for each pool that the listener has sent to and each reason, whose labels are in the order of their indices.
fn closed<S>(listener: &NamedListener<S>, labels: &[&str], count: impl Fn(&S, usize) -> u64, out: &mut Series) {
    for state in listener.states() {
        for (index, reason) in labels.iter().enumerate() {
            let labels = [("listener", listener.name()), ("pool", state.pool.as_str()), ("reason", *reason)];
            out.count(&labels, state.stats.sum(|stats| count(stats, index)));
        }
    }
}

fn dropped(listener: &NamedListener<FlowStats>, out: &mut Series) {
    for reason in DropReason::ALL {
        let count = listener.stats().map(|stats| stats.dropped.at(reason.index()).value()).sum();
        out.count(&[("listener", listener.name()), ("reason", reason.label())], count);
    }
}
