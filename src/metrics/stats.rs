//! What is counted, grouped by what it is about. One of each per worker, inside [`PerWorker`](super::PerWorker).

use super::reason::{CloseReason, ConnectErrorReason, DropReason, FlowCloseReason, RefuseReason};
use super::{BatchSizes, ByLabel, Cell, Histogram, LATENCY_BOUNDS, SESSION_BOUNDS};

/// About one UDP listener. What happens to datagrams is added once a batch.
#[derive(Debug, Default)]
pub struct FlowStats {
    /// Flows now in the table.
    pub active: Cell,
    /// Flows begun.
    pub flows: Cell,
    /// Flows over, by [`FlowCloseReason`].
    pub closed: ByLabel<{ FlowCloseReason::COUNT }>,
    /// Datagrams that went nowhere, either way, by [`DropReason`].
    pub dropped: ByLabel<{ DropReason::COUNT }>,
    /// Datagrams that one system call received from clients.
    pub batches: BatchSizes,
}

/// About one TCP listener.
#[derive(Debug)]
pub struct SessionStats {
    /// Sessions now open.
    pub active: Cell,
    /// Sessions admitted.
    pub sessions: Cell,
    /// Connections closed at once, by [`RefuseReason`].
    pub refused: ByLabel<{ RefuseReason::COUNT }>,
    /// From accept to close.
    pub duration: Histogram,
    /// Sessions over, by [`CloseReason`].
    pub closed: ByLabel<{ CloseReason::COUNT }>,
}

/// About one backend of one pool.
#[derive(Debug)]
pub struct BackendStats {
    /// Sessions connected to it.
    pub sessions: Cell,
    /// Bytes from clients delivered to it.
    pub bytes_upstream: Cell,
    /// Bytes from it delivered to clients.
    pub bytes_downstream: Cell,
    /// Failed attempts to connect, by [`ConnectErrorReason`].
    pub connect_errors: ByLabel<{ ConnectErrorReason::COUNT }>,
    /// Attempts that came here after another backend had failed.
    pub retries: Cell,
    /// From the first packet to an established connection.
    pub connect: Histogram,
    /// From an established connection to the first byte of the backend.
    pub first_byte: Histogram,
    /// Flows that were given to it.
    pub flows: Cell,
    /// Datagrams sent to it.
    pub datagrams_upstream: Cell,
    /// Datagrams that it sent.
    pub datagrams_downstream: Cell,
    /// Times that a flow had sent it as many datagrams without a reply as `passive_check.unanswered` says.
    pub unanswered_flows: Cell,
    /// Times that its machine, or one on the way, refused datagrams of a flow that it had not refused just before.
    pub refused_flows: Cell,
    /// Errors that came back for datagrams sent to it: nobody listens there, or the machine cannot be reached.
    pub icmp_errors: Cell,
}

/// About one worker.
#[derive(Debug, Default)]
pub struct WorkerStats {
    /// Session tasks that panicked, and turns of what forwards datagrams.
    pub panics: Cell,
    /// Sessions given to a less loaded worker.
    pub handed_over: Cell,
}

impl Default for SessionStats {
    fn default() -> Self {
        Self {
            active: Cell::default(),
            sessions: Cell::default(),
            refused: ByLabel::default(),
            duration: Histogram::new(&SESSION_BOUNDS),
            closed: ByLabel::default(),
        }
    }
}

impl Default for BackendStats {
    fn default() -> Self {
        Self {
            sessions: Cell::default(),
            bytes_upstream: Cell::default(),
            bytes_downstream: Cell::default(),
            connect_errors: ByLabel::default(),
            retries: Cell::default(),
            connect: Histogram::new(&LATENCY_BOUNDS),
            first_byte: Histogram::new(&LATENCY_BOUNDS),
            flows: Cell::default(),
            datagrams_upstream: Cell::default(),
            datagrams_downstream: Cell::default(),
            unanswered_flows: Cell::default(),
            refused_flows: Cell::default(),
            icmp_errors: Cell::default(),
        }
    }
}
