//! What clients and backends count. They share one thread, so plain cells do.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, Notify};

use crate::outcome::{Failure, Latencies};

/// The accounts of one measurement.
pub(super) struct Tally {
    /// Between [`Tally::start_window`] and [`Tally::end_window`].
    in_window: Cell<bool>,
    /// Exchanges, connections or bytes of the window.
    units: Cell<u64>,
    /// Of each exchange or connection of the window.
    latencies: RefCell<Latencies>,
    /// What requests on a schedule lost before they were sent, for no fault of the proxy.
    lags: RefCell<Latencies>,
    /// Units at which the window is full.
    bound: u64,
    full: Notify,
    stopping: Cell<bool>,
    /// Bulk bytes of the whole measurement, by who sent and who received them.
    sent: Cell<u64>,
    received: Cell<u64>,
    /// Whose turn it is to move bulk bytes.
    bulk_turn: Mutex<()>,
    /// Backend connections that there were.
    sessions: Cell<u64>,
    /// Those that are open now.
    open: Cell<usize>,
    closed: Notify,
    /// The first thing that a backend found wrong.
    backend_error: RefCell<Option<String>>,
}

impl Tally {
    pub(super) fn new(bound: u64) -> Self {
        Self {
            in_window: Cell::new(false),
            units: Cell::new(0),
            latencies: RefCell::default(),
            lags: RefCell::default(),
            bound,
            full: Notify::new(),
            stopping: Cell::new(false),
            sent: Cell::new(0),
            received: Cell::new(0),
            bulk_turn: Mutex::default(),
            sessions: Cell::new(0),
            open: Cell::new(0),
            closed: Notify::new(),
            backend_error: RefCell::default(),
        }
    }

    /// Ends the warm-up: what happens from now on counts.
    pub(super) fn start_window(&self) {
        self.in_window.set(true);
    }

    /// Nothing that happens from now on counts; returns the units of the window.
    pub(super) fn end_window(&self) -> u64 {
        self.in_window.set(false);
        self.units.get()
    }

    pub(super) fn is_in_window(&self) -> bool {
        self.in_window.get()
    }

    /// Ends when the window holds as many units as it may.
    pub(super) async fn full(&self) {
        self.full.notified().await;
    }

    pub(super) fn take_latencies(&self) -> Latencies {
        self.latencies.take()
    }

    pub(super) fn take_lags(&self) -> Latencies {
        self.lags.take()
    }

    /// Counts one exchange or one connection of a closed loop.
    pub(super) fn complete(&self, took: Duration) {
        if self.is_in_window() {
            self.latencies.borrow_mut().record(took);
        }
        self.add_units(1);
    }

    /// Notes an exchange that was scheduled within the window, whenever it ended: those that a stall delays past the end
    /// of the window are the ones that matter.
    pub(super) fn answered(&self, took: Duration, lag: Duration) {
        self.latencies.borrow_mut().record(took);
        self.lags.borrow_mut().record(lag);
    }

    pub(super) fn add_sent(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
    }

    /// Received bytes are the units of bulk work.
    pub(super) fn add_received(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
        self.add_units(bytes as u64);
    }

    /// Waits until no other bulk transfer moves bytes; first come, first served.
    pub(super) async fn bulk_turn(&self) -> MutexGuard<'_, ()> {
        self.bulk_turn.lock().await
    }

    /// Counts work that was done, if this is the window.
    pub(super) fn add_units(&self, count: u64) {
        if !self.is_in_window() {
            return;
        }
        let units = self.units.get() + count;
        self.units.set(units);
        if units >= self.bound {
            self.full.notify_one();
        }
    }

    /// Asks clients and backends to come to an orderly end.
    pub(super) fn stop(&self) {
        self.stopping.set(true);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Counts a backend connection as open until the guard is dropped.
    pub(super) fn open(&self) -> OpenGuard<'_> {
        self.sessions.set(self.sessions.get() + 1);
        self.open.set(self.open.get() + 1);
        OpenGuard(self)
    }

    /// How many backend connections there were.
    pub(super) fn sessions(&self) -> u64 {
        self.sessions.get()
    }

    /// Notes what a backend found wrong.
    pub(super) fn backend_failed(&self, what: String) {
        self.backend_error.borrow_mut().get_or_insert(what);
    }

    /// Waits until no backend connection is open.
    ///
    /// # Errors
    /// Some still are after five seconds: the proxy did not pass the end on.
    pub(super) async fn all_closed(&self) -> Result<(), Failure> {
        let closed = async {
            while self.open.get() > 0 {
                self.closed.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), closed).await.map_err(|_| {
            Failure::Load(format!("{} backend connections still open 5 s after their clients closed", self.open.get()))
        })
    }

    /// Compares what was sent with what arrived; call it when everything is closed.
    ///
    /// # Errors
    /// They differ, or a backend found something wrong.
    pub(super) fn balance(&self) -> Result<(), Failure> {
        if let Some(what) = self.backend_error.borrow().as_ref() {
            return Err(Failure::Load(format!("a backend saw: {what}")));
        }
        let (sent, received) = (self.sent.get(), self.received.get());
        if sent != received {
            return Err(Failure::Load(format!("{sent} bytes were sent and {received} arrived")));
        }
        Ok(())
    }
}

/// One open backend connection.
pub(super) struct OpenGuard<'a>(&'a Tally);

impl Drop for OpenGuard<'_> {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.closed.notify_one();
    }
}
