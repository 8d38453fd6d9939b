//! What is left of a flow that is over: a count of its reason, and a record in the access log.

use super::flow::{Ended, FlowKey};
use super::resources::{Recording, Resources};
use crate::config::AccessLog;
use crate::metrics::reason::FlowCloseReason;
use crate::pool::backend::Names;
use crate::sys::clock::Tick;

/// Of flows that are one question and its answer, every so many is recorded: a busy name server has 100,000 a second.
const SAMPLE: u32 = 100;

/// Counts and records the flows of one address.
#[derive(Debug)]
pub(super) struct AccessRecords {
    access_log: AccessLog,
    /// Flows that are sampled and were not recorded since the last one that was.
    skipped: u32,
}

impl Default for AccessRecords {
    fn default() -> Self {
        Self { access_log: AccessLog::Off, skipped: 0 }
    }
}

impl AccessRecords {
    /// Switches records on or off.
    pub(super) fn set(&mut self, access_log: AccessLog) {
        self.access_log = access_log;
    }

    /// Counts a flow that is over and, if it is to be, records it.
    pub(super) fn record(&mut self, ended: &Ended<Resources>, reason: FlowCloseReason) {
        let Resources { listener, worker, recording, .. } = &ended.resources;
        listener.stats.at(*worker).closed.at(reason.index()).add(1);
        // A flood of the table is not to become one of the log.
        let recording = if reason == FlowCloseReason::Evicted { Recording::Sampled } else { *recording };
        if self.access_log == AccessLog::On && self.is_due(recording) {
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

fn write(ended: &Ended<Resources>, reason: FlowCloseReason, recording: Recording) {
    let Ended { key: FlowKey { client, .. }, resources, requests, responses, began_ms } = ended;
    let backend = resources.socket.backend();
    let sampled = (recording == Recording::Sampled).then_some(SAMPLE);
    tracing::info!(
        target: "evenkeel::access",
        listener = resources.listener.name.as_str(),
        %client,
        pool = backend.key.pool.as_str(),
        backend = backend.key.backend.as_str(),
        tried = %Names(resources.tried.iter().chain([backend])),
        total_ms = Tick::now().millis().saturating_sub(*began_ms),
        datagrams_up = requests,
        datagrams_down = responses,
        bytes_up = resources.bytes_up,
        bytes_down = resources.bytes_down,
        reason = reason.label(),
        one_of = sampled,
        "flow closed"
    );
}
