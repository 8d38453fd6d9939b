//! What a flow holds: a socket towards its backend, its permits, and its books.

use std::sync::Arc;

use super::flow::{Ended, FlowKey};
use super::upstream_socket::Link;
use crate::config::AccessLog;
use crate::metrics::WorkerId;
use crate::metrics::reason::FlowCloseReason;
use crate::metrics::stats::FlowStats;
use crate::pool::admission::Permits;
use crate::pool::backend::{BackendState, Names};
use crate::pool::listener::ListenerState;
use crate::sys::clock::Tick;

/// Of flows that are one question and its answer, every so many is recorded: a busy name server has 100,000 a second.
const SAMPLE: u32 = 100;

/// Backends that a record names, but for the present one: a flow that lives for weeks may move often.
const MOST_TRIED: usize = 8;

/// What a flow holds.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) link: Link,
    pub(super) bytes_up: u64,
    pub(super) bytes_down: u64,
    /// The backends that it had before the present one, in order.
    tried: Vec<Arc<BackendState>>,
    /// Whether all like it are recorded, or some.
    recording: Recording,
    worker: WorkerId,
    /// Where it was counted when it began.
    listener: Arc<ListenerState<FlowStats>>,
    _permits: Permits,
}

/// Which flows of a listener leave a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recording {
    /// All.
    Each,
    /// One of [`SAMPLE`].
    Sampled,
}

impl Held {
    /// Opens the books of a flow.
    pub(super) fn open(
        listener: &Arc<ListenerState<FlowStats>>,
        permits: Permits,
        link: Link,
        recording: Recording,
        worker: WorkerId,
    ) -> Self {
        let stats = listener.stats.at(worker);
        stats.active.add(1);
        stats.flows.add(1);
        Self {
            link,
            bytes_up: 0,
            bytes_down: 0,
            tried: Vec::new(),
            recording,
            worker,
            listener: Arc::clone(listener),
            _permits: permits,
        }
    }

    /// Goes on with another backend; returns the socket towards the one before.
    pub(super) fn move_to(&mut self, link: Link) -> Link {
        let left = std::mem::replace(&mut self.link, link);
        if self.tried.len() < MOST_TRIED {
            self.tried.push(Arc::clone(&left.backend));
        }
        left
    }
}

/// However it ends, also by a panic, a flow is no longer counted.
impl Drop for Held {
    fn drop(&mut self) {
        self.listener.stats.at(self.worker).active.sub(1);
    }
}

/// Closes the books of flows.
#[derive(Debug, Default)]
pub(super) struct AccessRecords {
    /// Flows that are sampled and were not recorded since the last one that was.
    skipped: u32,
}

impl AccessRecords {
    /// Counts a flow that is over and, if it is to be, records it.
    pub(super) fn close(&mut self, ended: &Ended<Held>, reason: FlowCloseReason, access_log: AccessLog) {
        ended.resources.listener.stats.at(ended.resources.worker).closed.at(reason.index()).add(1);
        // Whoever floods the table does not flood the log too.
        let recording = if reason == FlowCloseReason::Evicted { Recording::Sampled } else { ended.resources.recording };
        if access_log == AccessLog::On && self.is_due(recording) {
            write(ended, reason, recording);
        }
    }

    fn is_due(&mut self, recording: Recording) -> bool {
        if recording == Recording::Sampled {
            self.skipped = (self.skipped + 1) % SAMPLE;
        }
        recording == Recording::Each || self.skipped == 1
    }
}

fn write(ended: &Ended<Held>, reason: FlowCloseReason, recording: Recording) {
    let Ended { key: FlowKey { client, .. }, resources: held, requests, responses, began_ms } = ended;
    let key = &held.link.backend.key;
    let sampled = (recording == Recording::Sampled).then_some(SAMPLE);
    tracing::info!(
        target: "evenkeel::access",
        listener = held.listener.name.as_str(),
        %client,
        pool = key.pool.as_str(),
        backend = key.backend.as_str(),
        tried = %Names(held.tried.iter().chain([&held.link.backend])),
        total_ms = Tick::now().millis().saturating_sub(*began_ms),
        datagrams_up = requests,
        datagrams_down = responses,
        bytes_up = held.bytes_up,
        bytes_down = held.bytes_down,
        reason = reason.label(),
        one_of = sampled,
        "flow closed"
    );
}
