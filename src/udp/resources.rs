//! What a flow holds: a socket towards its backend, its permits, and what its record will say.

use std::sync::Arc;

use super::upstream_socket::UpstreamSocket;
use crate::metrics::WorkerId;
use crate::metrics::stats::FlowStats;
use crate::pool::admission::Permits;
use crate::pool::backend::BackendState;
use crate::pool::listener::ListenerState;

/// Backends that a record names, but for the present one: a flow that lives for weeks may move often.
const MOST_TRIED: usize = 8;

/// Everything that a flow holds. Dropping it closes the socket and gives its places back.
#[derive(Debug)]
pub(super) struct Resources {
    pub(super) socket: UpstreamSocket,
    pub(super) bytes_up: u64,
    pub(super) bytes_down: u64,
    /// The backends that the flow had before the present one, in order.
    pub(super) tried: Vec<Arc<BackendState>>,
    pub(super) recording: Recording,
    pub(super) worker: WorkerId,
    /// Where the flow was counted when it began.
    pub(super) listener: Arc<ListenerState<FlowStats>>,
    _permits: Permits,
}

/// Which flows of a listener leave a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recording {
    /// All that are like this one.
    Each,
    /// Some of those that are like this one.
    Sampled,
}

impl Resources {
    /// Counts a flow that begins.
    pub(super) fn new(
        listener: &Arc<ListenerState<FlowStats>>,
        permits: Permits,
        socket: UpstreamSocket,
        recording: Recording,
        worker: WorkerId,
    ) -> Self {
        let stats = listener.stats.at(worker);
        stats.active.add(1);
        stats.flows.add(1);
        Self {
            socket,
            bytes_up: 0,
            bytes_down: 0,
            tried: Vec::new(),
            recording,
            worker,
            listener: Arc::clone(listener),
            _permits: permits,
        }
    }

    /// Goes on with another socket; returns the one before.
    pub(super) fn replace_socket(&mut self, socket: UpstreamSocket) -> UpstreamSocket {
        let left = std::mem::replace(&mut self.socket, socket);
        if self.tried.len() < MOST_TRIED {
            self.tried.push(Arc::clone(left.backend()));
        }
        left
    }
}

/// However it ends, also by a panic, a flow is no longer counted.
impl Drop for Resources {
    fn drop(&mut self) {
        self.listener.stats.at(self.worker).active.sub(1);
    }
}
