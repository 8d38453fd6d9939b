//! What is counted, grouped by whom it is about. One of each per worker, inside [`PerWorker`](super::PerWorker).

use super::reason::{CloseReason, ConnectErrorReason, RefuseReason};
use super::{ByLabel, Cell, Histogram, LATENCY_BOUNDS, SESSION_BOUNDS};

/// About one listener.
#[derive(Debug)]
pub struct ListenerStats {
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
}

/// About one worker.
#[derive(Debug, Default)]
pub struct WorkerStats {
    /// Session tasks that panicked.
    pub panics: Cell,
    /// Sessions given to a less loaded worker.
    pub handed_over: Cell,
}

impl Default for ListenerStats {
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
        }
    }
}
