//! Everything that outlives a snapshot, in one place: who is counted, and the process's own counters.
//!
//! The control plane registers and retires; the admin plane reads. Workers only read it, and count in what they were given from it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::config::{ListenerName, PoolName};
use crate::metrics::PerWorker;
use crate::metrics::stats::{FlowStats, SessionStats, WorkerStats};
use crate::pool::admission::Limiter;
use crate::pool::backend::{BackendKey, BackendState};
use crate::pool::health::Health;
use crate::pool::listener::ListenerState;
use crate::sys::log_limit::LogLimit;

/// The states of all listeners and backends, those included that a reload removed and that still have sessions.
#[derive(Debug)]
pub struct Registry {
    /// Counters of the workers; its length is the number of workers.
    pub workers: PerWorker<WorkerStats>,
    /// Sessions of the whole process.
    pub sessions: Arc<Limiter>,
    /// For complaints about clients over a limit.
    pub refusals: LogLimit,
    /// For complaints about lack of descriptors or memory.
    pub exhaustion: LogLimit,
    /// Counts log records that stderr did not take, or not in time; set where logging was started.
    pub log_records_dropped: OnceLock<Arc<AtomicU64>>,
    /// Reloads that took effect.
    pub reloads_done: AtomicU64,
    /// Reloads that changed nothing because something was wrong.
    pub reloads_refused: AtomicU64,
    worker_count: usize,
    states: Mutex<States>,
}

#[derive(Debug, Default)]
struct States {
    backends: BTreeMap<BackendKey, Arc<BackendState>>,
    tcp_listeners: Listeners<SessionStats>,
    udp_listeners: Listeners<FlowStats>,
}

/// The listeners of one transport.
#[derive(Debug)]
struct Listeners<S>(BTreeMap<(ListenerName, PoolName), Arc<ListenerState<S>>>);

impl<S> Default for Listeners<S> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<S: Default> Listeners<S> {
    fn get_or_make(&mut self, name: &ListenerName, pool: &PoolName, workers: usize) -> Arc<ListenerState<S>> {
        let make = || Arc::new(ListenerState::new(name.clone(), pool.clone(), workers));
        Arc::clone(self.0.entry((name.clone(), pool.clone())).or_insert_with(make))
    }

    fn all(&self) -> Vec<Arc<ListenerState<S>>> {
        self.0.values().cloned().collect()
    }

    fn forget_unused(&mut self) {
        self.0.retain(|_, state| Arc::strong_count(state) > 1);
    }
}

impl Registry {
    /// An empty registry for a process with `workers` workers.
    pub fn new(workers: usize) -> Self {
        Self {
            workers: PerWorker::new(workers),
            sessions: Arc::default(),
            refusals: LogLimit::default(),
            exhaustion: LogLimit::default(),
            log_records_dropped: OnceLock::new(),
            reloads_done: AtomicU64::new(0),
            reloads_refused: AtomicU64::new(0),
            worker_count: workers,
            states: Mutex::default(),
        }
    }

    /// The state of this backend, made with `initial` when it is new.
    pub fn backend(&self, key: &BackendKey, initial: Health) -> Arc<BackendState> {
        let mut states = self.states();
        let state = states
            .backends
            .entry(key.clone())
            .or_insert_with(|| Arc::new(BackendState::new(key.clone(), self.worker_count, initial)));
        Arc::clone(state)
    }

    /// The state of this TCP listener, made when it is new.
    pub fn tcp_listener(&self, name: &ListenerName, pool: &PoolName) -> Arc<ListenerState<SessionStats>> {
        self.states().tcp_listeners.get_or_make(name, pool, self.worker_count)
    }

    /// The state of this UDP listener, made when it is new.
    pub fn udp_listener(&self, name: &ListenerName, pool: &PoolName) -> Arc<ListenerState<FlowStats>> {
        self.states().udp_listeners.get_or_make(name, pool, self.worker_count)
    }

    /// All backends, sorted by pool and identity.
    pub fn backends(&self) -> Vec<Arc<BackendState>> {
        self.states().backends.values().cloned().collect()
    }

    /// All TCP listeners, sorted by name and pool.
    pub fn tcp_listeners(&self) -> Vec<Arc<ListenerState<SessionStats>>> {
        self.states().tcp_listeners.all()
    }

    /// All UDP listeners, sorted by name and pool.
    pub fn udp_listeners(&self) -> Vec<Arc<ListenerState<FlowStats>>> {
        self.states().udp_listeners.all()
    }

    /// Flows of all listeners that are not over.
    pub fn active_flows(&self) -> u64 {
        self.udp_listeners().iter().map(|state| state.stats.sum(|stats| stats.active.value())).sum()
    }

    /// Forgets what only the registry still holds: no snapshot and no session does.
    pub fn forget_unused(&self) {
        let mut states = self.states();
        states.backends.retain(|_, state| Arc::strong_count(state) > 1);
        states.tcp_listeners.forget_unused();
        states.udp_listeners.forget_unused();
    }

    /// Counts one reload.
    pub fn count_reload(&self, result: ReloadResult) {
        let counter = match result {
            ReloadResult::Done => &self.reloads_done,
            ReloadResult::Refused => &self.reloads_refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Nothing under this lock can panic halfway, so a poisoned one is still whole.
    fn states(&self) -> MutexGuard<'_, States> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadResult {
    /// The new configuration is in force.
    Done,
    /// The old one stays.
    Refused,
}
