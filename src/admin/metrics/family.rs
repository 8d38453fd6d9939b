//! What makes up a metric: its name, its help, and where its series come from.

use prometheus::proto::MetricType;

use super::series::Series;
use super::subjects::{NamedListener, Subjects};
use crate::metrics::stats::{FlowStats, SessionStats};
use crate::pool::backend::BackendState;

/// One metric.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: MetricType,
    pub(super) subject: Subject,
}

/// What the series of a family are about. Each function adds all series of one subject, and at least one.
pub(super) enum Subject {
    /// The process as a whole; here there may be none.
    Process(fn(&Subjects, &mut Series)),
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

/// A count that only grows.
pub(super) const fn counter(name: &'static str, help: &'static str, subject: Subject) -> Family {
    Family { name, help, kind: MetricType::COUNTER, subject }
}

/// A value that comes and goes.
pub(super) const fn gauge(name: &'static str, help: &'static str, subject: Subject) -> Family {
    Family { name, help, kind: MetricType::GAUGE, subject }
}

/// A distribution.
pub(super) const fn histogram(name: &'static str, help: &'static str, subject: Subject) -> Family {
    Family { name, help, kind: MetricType::HISTOGRAM, subject }
}
