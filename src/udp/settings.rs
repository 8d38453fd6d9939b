//! What the configuration says about an address, and where what happens there is counted.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::flow::{Bounds, Rules};
use super::lifecycle::Lifecycle;
use super::unsent::Unsent;
use crate::config::{self, AccessLog, Assignment};
use crate::local::Local;
use crate::metrics::WorkerId;
use crate::metrics::reason::{DropReason, FlowCloseReason};
use crate::metrics::stats::FlowStats;
use crate::pool::listener::{ListenerState, UdpView};

/// How long a flow may be silent while the process stops: longer than any answer takes.
const LAST_SILENCE: Duration = Duration::from_secs(5);

/// A listener as of one version of the snapshot.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) version: u64,
    pub(super) config: config::Udp,
    pub(super) access_log: AccessLog,
    /// Flow tables of the listener: one for each of its addresses, on each worker.
    tables: u32,
    state: Arc<ListenerState<FlowStats>>,
    worker: WorkerId,
}

impl Settings {
    pub(super) fn new(version: u64, view: &UdpView, local: &Local) -> Self {
        let tables = view.binds.saturating_mul(local.inboxes.len());
        Self {
            version,
            config: view.config.clone(),
            access_log: view.access_log,
            tables: u32::try_from(tables).unwrap_or(u32::MAX),
            state: Arc::clone(&view.state),
            worker: local.id,
        }
    }

    /// What holds for flows.
    pub(super) fn rules(&self, lifecycle: Lifecycle) -> Rules {
        let config = &self.config;
        let is_draining = lifecycle == Lifecycle::Draining;
        let idle = config.flow_idle_timeout;
        let idle = if is_draining { idle.min(LAST_SILENCE) } else { idle };
        Rules {
            idle_ms: u64::try_from(idle.as_millis()).unwrap_or(u64::MAX),
            requests: config.requests,
            responses: config.responses,
            on_backend_down: config.on_backend_down,
            bounds: Bounds {
                flows: config.max_flows.get(),
                flows_per_source: config.max_flows_per_source.map(NonZeroU32::get),
                tables: self.tables,
            },
            is_draining,
        }
    }

    /// Whether datagrams that come in one piece belong together. Where each is a flow, one sender could have thousands of
    /// flows begin in a single turn.
    pub(super) fn takes_trains(&self) -> bool {
        self.config.assignment == Assignment::PerFlow && self.config.requests.is_none()
    }

    /// Counts datagrams that went nowhere.
    pub(super) fn count_dropped(&self, reason: DropReason, datagrams: u64) {
        if datagrams > 0 {
            self.state.stats.at(self.worker).dropped.at(reason.index()).add(datagrams);
        }
    }

    /// Counts datagrams that the kernel would not send.
    pub(super) fn count_unsent(&self, unsent: &Unsent) {
        self.count_dropped(DropReason::SendBufferFull, unsent.for_want_of_room() as u64);
        self.count_dropped(DropReason::SendError, unsent.for_errors() as u64);
    }

    /// Counts flows that a panic has ended.
    pub(super) fn count_panicked(&self, flows: usize) {
        self.state.stats.at(self.worker).closed.at(FlowCloseReason::Panicked.index()).add(flows as u64);
    }
}
