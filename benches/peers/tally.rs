//! What clients and backends count. They share one thread, so plain cells do.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, Notify};

use crate::failure::Failure;

/// The accounts of one measurement.
pub(crate) struct Tally {
    /// Between [`Tally::start_window`] and [`Tally::end_window`].
    in_window: Cell<bool>,
    /// Exchanges, connections or bytes of the window.
    units: Cell<u64>,
    /// Nanoseconds, one for each exchange or connection of the window.
    latencies: RefCell<Vec<u32>>,
    /// Nanoseconds that requests on a schedule lost before they were sent, for no fault of the proxy.
    lags: RefCell<Vec<u32>>,
    /// Units at which the window is full.
    bound: u64,
    full: Notify,
    stopping: Cell<bool>,
    /// Bulk bytes of the whole measurement, by who sent and who received them.
    sent: Cell<u64>,
    received: Cell<u64>,
    /// Whose turn it is to move bulk bytes.
    bulk_turn: Mutex<()>,
    /// Backend connections that are open now.
    open: Cell<usize>,
    closed: Notify,
    /// The first thing that a backend found wrong.
    backend_error: RefCell<Option<String>>,
}

impl Tally {
    pub(crate) fn new(bound: u64) -> Self {
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
            open: Cell::new(0),
            closed: Notify::new(),
            backend_error: RefCell::default(),
        }
    }

    /// Ends the warm-up: what happens from now on counts.
    pub(crate) fn start_window(&self) {
        self.in_window.set(true);
    }

    /// Nothing that happens from now on counts; returns the units of the window.
    pub(crate) fn end_window(&self) -> u64 {
        self.in_window.set(false);
        self.units.get()
    }

    pub(crate) fn is_in_window(&self) -> bool {
        self.in_window.get()
    }

    /// Ends when the window holds as many units as it may.
    pub(crate) async fn full(&self) {
        self.full.notified().await;
    }

    /// Takes the latencies, in nanoseconds.
    pub(crate) fn take_latencies(&self) -> Vec<u32> {
        self.latencies.take()
    }

    /// Takes the lags, in nanoseconds.
    pub(crate) fn take_lags(&self) -> Vec<u32> {
        self.lags.take()
    }

    /// Counts one exchange or one connection of a closed loop.
    pub(crate) fn complete(&self, took: Duration) {
        if self.is_in_window() {
            self.latencies.borrow_mut().push(nanoseconds(took));
        }
        self.add_units(1);
    }

    /// Notes an exchange that was scheduled within the window, whenever it ended: those that a stall delays past the end
    /// of the window are the ones that matter.
    pub(crate) fn answered(&self, took: Duration, lag: Duration) {
        self.latencies.borrow_mut().push(nanoseconds(took));
        self.lags.borrow_mut().push(nanoseconds(lag));
    }

    pub(crate) fn add_sent(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
    }

    /// Received bytes are the units of bulk work.
    pub(crate) fn add_received(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
        self.add_units(bytes as u64);
    }

    /// Waits until no other bulk transfer moves bytes; first come, first served.
    pub(crate) async fn bulk_turn(&self) -> MutexGuard<'_, ()> {
        self.bulk_turn.lock().await
    }

    /// Counts work that was done, if this is the window.
    pub(crate) fn add_units(&self, count: u64) {
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
    pub(crate) fn stop(&self) {
        self.stopping.set(true);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Counts a backend connection as open until the guard is dropped.
    pub(crate) fn open(&self) -> OpenGuard<'_> {
        self.open.set(self.open.get() + 1);
        OpenGuard(self)
    }

    /// Notes what a backend found wrong.
    pub(crate) fn backend_failed(&self, what: String) {
        self.backend_error.borrow_mut().get_or_insert(what);
    }

    /// Waits until no backend connection is open.
    ///
    /// # Errors
    /// Some still are after five seconds: the proxy did not pass the end on.
    pub(crate) async fn all_closed(&self) -> Result<(), Failure> {
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
    pub(crate) fn balance(&self) -> Result<(), Failure> {
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

fn nanoseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos()).unwrap_or(u32::MAX)
}

/// One open backend connection.
pub(crate) struct OpenGuard<'a>(&'a Tally);

impl Drop for OpenGuard<'_> {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.closed.notify_one();
    }
}
