//! Everything that outlives a snapshot, in one place: who is counted, and the process's own counters.
//!
//! The control plane registers and retires; the admin plane reads. Workers never come here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tracing_appender::non_blocking::ErrorCounter;

use crate::config::{ListenerName, PoolName};
use crate::metrics::PerWorker;
use crate::metrics::stats::{FlowStats, WorkerStats};
use crate::pool::backend::{BackendKey, BackendState};
use crate::pool::health::Status;
use crate::pool::listener::{Admission, ListenerState};
use crate::sys::log_limit::LogLimit;

/// The states of all listeners and backends, those included that a reload removed and that still have sessions.
#[derive(Debug)]
pub struct Registry {
    /// Counters of the workers; its length is the number of workers.
    pub workers: PerWorker<WorkerStats>,
    /// Sessions of the whole process.
    pub admission: Arc<Admission>,
    /// For complaints about clients over a limit.
    pub refusals: LogLimit,
    /// For complaints about lack of descriptors or memory.
    pub exhaustion: LogLimit,
    /// Counts log records that stderr did not take in time; set by whoever writes logs.
    pub log_queue: OnceLock<ErrorCounter>,
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
    listeners: BTreeMap<(ListenerName, PoolName), Arc<ListenerState>>,
    udp_listeners: BTreeMap<(ListenerName, PoolName), Arc<ListenerState<FlowStats>>>,
}

impl Registry {
    /// An empty registry for a process with `workers` workers.
    pub fn new(workers: usize) -> Self {
        Self {
            workers: PerWorker::new(workers),
            admission: Arc::default(),
            refusals: LogLimit::default(),
            exhaustion: LogLimit::default(),
            log_queue: OnceLock::new(),
            reloads_done: AtomicU64::new(0),
            reloads_refused: AtomicU64::new(0),
            worker_count: workers,
            states: Mutex::default(),
        }
    }

    /// The state of this backend, made with `initial` when it is new.
    pub fn backend(&self, key: &BackendKey, initial: Status) -> Arc<BackendState> {
        let mut states = self.states();
        let state = states
            .backends
            .entry(key.clone())
            .or_insert_with(|| Arc::new(BackendState::new(key.clone(), self.worker_count, initial)));
        Arc::clone(state)
    }

    /// The state of this TCP listener, made when it is new.
    pub fn listener(&self, name: &ListenerName, pool: &PoolName) -> Arc<ListenerState> {
        let mut states = self.states();
        let state = states
            .listeners
            .entry((name.clone(), pool.clone()))
            .or_insert_with(|| Arc::new(ListenerState::new(name.clone(), pool.clone(), self.worker_count)));
        Arc::clone(state)
    }

    /// The state of this UDP listener, made when it is new.
    pub fn udp_listener(&self, name: &ListenerName, pool: &PoolName) -> Arc<ListenerState<FlowStats>> {
        let mut states = self.states();
        let state = states
            .udp_listeners
            .entry((name.clone(), pool.clone()))
            .or_insert_with(|| Arc::new(ListenerState::new(name.clone(), pool.clone(), self.worker_count)));
        Arc::clone(state)
    }

    /// All backends, sorted by pool and identity.
    pub fn backends(&self) -> Vec<Arc<BackendState>> {
        self.states().backends.values().cloned().collect()
    }

    /// All TCP listeners, sorted by name and pool.
    pub fn listeners(&self) -> Vec<Arc<ListenerState>> {
        self.states().listeners.values().cloned().collect()
    }

    /// All UDP listeners, sorted by name and pool.
    pub fn udp_listeners(&self) -> Vec<Arc<ListenerState<FlowStats>>> {
        self.states().udp_listeners.values().cloned().collect()
    }

    /// Flows of all listeners that are not over.
    pub fn active_flows(&self) -> u64 {
        self.states().udp_listeners.values().map(|state| state.stats.sum(|stats| stats.active.value())).sum()
    }

    /// Forgets what nobody but the registry holds any more: no snapshot and no session.
    pub fn forget_unused(&self) {
        let mut states = self.states();
        states.backends.retain(|_, state| Arc::strong_count(state) > 1);
        states.listeners.retain(|_, state| Arc::strong_count(state) > 1);
        states.udp_listeners.retain(|_, state| Arc::strong_count(state) > 1);
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
