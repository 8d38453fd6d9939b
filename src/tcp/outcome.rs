//! What is known of a session when it is over, and where that is recorded.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::balance::PendingAnswer;
use crate::config::AccessLog;
use crate::metrics::WorkerId;
use crate::metrics::reason::{CloseReason, Side};
use crate::metrics::stats::SessionStats;
use crate::pool::backend::{BackendState, Names};
use crate::pool::listener::{ListenerState, TcpView};
use crate::pool::registry::Registry;
use crate::sys::clock::Tick;
use crate::sys::socket::ClientAddr;

/// What is known of one session. Dropping it adds that to counters and histograms and writes the access record, also after
/// a panic.
#[derive(Debug)]
pub struct Outcome {
    worker: WorkerId,
    registry: Arc<Registry>,
    listener: Arc<ListenerState<SessionStats>>,
    access_log: AccessLog,
    /// Who connected.
    pub(super) client: ClientAddr,
    accepted_at: Instant,
    /// Every backend tried, in order.
    pub(super) tried: Vec<Arc<BackendState>>,
    pub(super) connected: Option<Connected>,
    /// The wait for the backend's first byte, and when the first byte had gone to it.
    pending: Option<(PendingAnswer, Instant)>,
    /// When the backend's first byte had come.
    first_byte_at: Option<Instant>,
    pub(super) bytes_up: u64,
    pub(super) bytes_down: u64,
    /// The side whose stream ended first.
    pub(super) first_to_end: Option<Side>,
    /// `None` until the session has ended by itself.
    reason: Option<CloseReason>,
}

/// When a backend was reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Connected {
    pub(super) at: Instant,
    /// How long the attempt that succeeded took.
    pub(super) took: Duration,
}

impl Outcome {
    /// A session that begins, which is counted from here on.
    pub(super) fn open(
        worker: WorkerId,
        registry: &Arc<Registry>,
        view: &TcpView,
        client: ClientAddr,
        accepted_at: Instant,
    ) -> Self {
        let stats = view.state.stats.at(worker);
        stats.sessions.add(1);
        stats.active.add(1);
        Self {
            worker,
            registry: Arc::clone(registry),
            listener: Arc::clone(&view.state),
            access_log: view.access_log,
            client,
            accepted_at,
            tried: Vec::new(),
            connected: None,
            pending: None,
            first_byte_at: None,
            bytes_up: 0,
            bytes_down: 0,
            first_to_end: None,
            reason: None,
        }
    }

    /// Bytes have gone to the backend; only the first time counts, and only before it has spoken.
    pub(super) fn asked(&mut self) {
        if self.pending.is_none() && self.first_byte_at.is_none() {
            self.pending = self.tried.last().map(|backend| (backend.load.ask(), Instant::now()));
        }
    }

    /// Bytes have come from the backend; only the first time counts.
    ///
    /// Its latency is how long the connection and the first answer took, without the time that the client took to ask. A
    /// session is one sample, however long it lives.
    pub(super) fn answered(&mut self) {
        let (None, Some(connected), Some(backend)) = (self.first_byte_at, self.connected, self.tried.last()) else {
            return;
        };
        let (now, now_ms) = (Instant::now(), Tick::now().millis());
        match self.pending.take() {
            Some((pending, asked_at)) => pending.answered(connected.took + (now - asked_at), now_ms),
            // A backend that speaks first was asked by the connection itself.
            None => backend.load.latency.observe(connected.took + (now - connected.at), now_ms),
        }
        self.first_byte_at = Some(now);
    }

    /// A session that is over and was never answered says how long it has waited.
    fn stop_waiting(&mut self) {
        if let Some((pending, asked_at)) = self.pending.take() {
            pending.gave_up_after(asked_at.elapsed(), Tick::now().millis());
        }
    }

    /// Says why the session is over; it is recorded when this is dropped.
    pub(super) fn ended(&mut self, reason: CloseReason) {
        self.reason = Some(reason);
    }

    /// Why the session is over. One that did not say was stopped from outside: by a panic, or with its worker.
    fn reason(&self) -> CloseReason {
        self.reason.unwrap_or(if std::thread::panicking() { CloseReason::Panicked } else { CloseReason::Shutdown })
    }

    /// Who ended the session: of one that finished, the side that was the first to say so.
    fn side(&self, reason: CloseReason) -> Side {
        let finished_by = self.first_to_end.filter(|_| reason == CloseReason::Finished);
        finished_by.unwrap_or(reason.side())
    }

    fn count(&self, reason: CloseReason, total: Duration) {
        let stats = self.listener.stats.at(self.worker);
        stats.active.sub(1);
        stats.closed.at(reason.index()).add(1);
        stats.duration.observe(total);
        if reason == CloseReason::Panicked {
            self.registry.workers.at(self.worker).panics.add(1);
        }
        if let (Some(connected), Some(first_byte_at), Some(backend)) =
            (self.connected, self.first_byte_at, self.tried.last())
        {
            backend.stats.at(self.worker).first_byte.observe(first_byte_at - connected.at);
        }
    }

    fn write_access_record(&self, reason: CloseReason, total: Duration) {
        let backend = self.connected.and_then(|_| self.tried.last());
        tracing::info!(
            target: "evenkeel::access",
            listener = self.listener.name.as_str(),
            client = %Client(self.client),
            pool = self.listener.pool.as_str(),
            backend = backend.map(|backend| backend.key.backend.as_str()),
            tried = %Names(self.tried.iter()),
            connect_ms = self.connected.map(|connected| millis(connected.took)),
            first_byte_ms = self.connected.zip(self.first_byte_at).map(|(connected, at)| millis(at - connected.at)),
            total_ms = millis(total),
            bytes_up = self.bytes_up,
            bytes_down = self.bytes_down,
            reason = reason.label(),
            side = self.side(reason).label(),
            "session closed"
        );
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        let reason = self.reason();
        let total = self.accepted_at.elapsed();
        self.stop_waiting();
        self.count(reason, total);
        if self.access_log == AccessLog::On {
            self.write_access_record(reason, total);
        }
    }
}

/// Milliseconds with the microseconds as decimals.
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

/// A client as the access log shows it.
struct Client(ClientAddr);

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ClientAddr::Inet(addr) => addr.fmt(f),
            ClientAddr::Unix => f.write_str("unix"),
        }
    }
}
