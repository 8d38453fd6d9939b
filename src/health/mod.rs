//! Health checks: one task per watched backend probes it, one probe after another, or counts what becomes of the
//! datagrams of clients, and judges the results.
//!
//! A task only says that a verdict has changed; what follows from that (health, snapshot, sessions) is decided on the
//! control task, which asks [`Probes::accept`] whether the word is still current.

mod ejection;
mod pace;
mod probe;
mod traffic;
mod verdict;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

use crate::config::{HealthCheck, MAX_PROBES_IN_FLIGHT, OnDown, PassiveCheck, Pool, PoolName};
use crate::control::Event;
use crate::pool::backend::{BackendKey, BackendState, Endpoint};
use crate::pool::health::Health;
use crate::pool::snapshot::Snapshot;
use verdict::Transition;

/// A task's word that its backend has gone up or down.
#[derive(Debug)]
pub struct Verdict {
    key: BackendKey,
    /// Which of the tasks that this backend has had: the word of one that was replaced is void.
    task: u64,
    transition: Transition,
    /// What the last probe failed with.
    reason: Option<String>,
    evidence: Evidence,
}

/// What a verdict rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evidence {
    /// The last of some probes.
    Probe,
    /// What became of the datagrams of clients.
    Passive,
}

/// A backend whose health has changed.
#[derive(Debug)]
pub struct Change {
    /// The backend; its new health is published.
    pub state: Arc<BackendState>,
    /// If it went down, what becomes of its sessions.
    pub on_down: Option<OnDown>,
}

/// All probed backends.
#[derive(Debug)]
pub struct Probes {
    events: mpsc::Sender<Event>,
    in_flight: Arc<Semaphore>,
    next_task: u64,
    watched: HashMap<BackendKey, Watched>,
    /// How many of them are down, by pool.
    down: HashMap<PoolName, usize>,
}

#[derive(Debug)]
struct Watched {
    state: Arc<BackendState>,
    target: Target,
    on_down: OnDown,
    /// Backends of its pool.
    pool_size: usize,
    task: u64,
    abort: AbortHandle,
}

/// What a task is made for; when it changes, so does the task.
#[derive(Debug, Clone, PartialEq)]
struct Target {
    endpoint: Endpoint,
    checks: Checks,
}

/// By what a backend is judged.
#[derive(Debug, Clone, PartialEq)]
enum Checks {
    /// By probes, and by its datagrams as well if so configured: either takes it down, and probes bring it back.
    Active(HealthCheck, Option<PassiveCheck>),
    /// By its datagrams alone.
    Passive(PassiveCheck),
}

impl Checks {
    /// `None` for a pool without checks.
    fn of(pool: &Pool) -> Option<Self> {
        match (&pool.health_check, pool.passive_check) {
            (Some(active), passive) => Some(Self::Active(active.clone(), passive)),
            (None, Some(passive)) => Some(Self::Passive(passive)),
            (None, None) => None,
        }
    }
}

impl Probes {
    /// Nothing probed yet; verdicts go to `events`.
    pub fn new(events: mpsc::Sender<Event>) -> Self {
        let in_flight = Arc::new(Semaphore::new(MAX_PROBES_IN_FLIGHT));
        Self { events, in_flight, next_task: 0, watched: HashMap::new(), down: HashMap::new() }
    }

    /// Watches exactly the backends of `snapshot` whose pool has a check. What has not changed goes on as it was.
    pub fn follow(&mut self, snapshot: &Snapshot) {
        let mut before = std::mem::take(&mut self.watched);
        self.down.clear();
        for pool in snapshot.pools.values() {
            let Some(checks) = Checks::of(&pool.config) else { continue };
            let pool_size = pool.backends.len();
            for backend in &pool.backends {
                let target = Target { endpoint: backend.endpoint.clone(), checks: checks.clone() };
                let on_down = pool.config.on_down;
                let watched = match before.remove(&backend.state.key) {
                    Some(old) if old.target == target => Watched { on_down, pool_size, ..old },
                    old => {
                        old.inspect(|old| old.abort.abort());
                        self.watch(&backend.state, target, on_down, pool_size)
                    }
                };
                self.note_down(&watched.state);
                self.watched.insert(backend.state.key.clone(), watched);
            }
        }
        before.into_values().for_each(|gone| gone.abort.abort());
    }

    /// Whether a probed backend has no verdict yet.
    pub fn are_undecided(&self) -> bool {
        self.watched.values().any(|watched| watched.state.health() == Health::Checking)
    }

    /// Starts a task for a backend, which goes on from the health that the backend has.
    fn watch(&mut self, state: &Arc<BackendState>, target: Target, on_down: OnDown, pool_size: usize) -> Watched {
        self.next_task += 1;
        let task = self.next_task;
        let (watched, events) = (Arc::clone(state), self.events.clone());
        let abort = match target.checks.clone() {
            Checks::Active(check, passive) => {
                let (endpoint, in_flight) = (target.endpoint.clone(), Arc::clone(&self.in_flight));
                let probing = probe::Probing { task, state: watched, endpoint, check, passive, in_flight, events };
                tokio::spawn(probing.run()).abort_handle()
            }
            Checks::Passive(check) => {
                let ejecting = ejection::Ejecting { task, state: watched, check, events };
                tokio::spawn(ejecting.run()).abort_handle()
            }
        };
        Watched { state: Arc::clone(state), target, on_down, pool_size, task, abort }
    }

    /// Counts a backend that is down.
    fn note_down(&mut self, state: &BackendState) {
        if state.health() == Health::Down {
            *self.down.entry(state.key.pool.clone()).or_default() += 1;
        }
    }

    /// Whether a backend may be ejected on passive evidence alone, as far as the rest of its pool is concerned.
    fn may_eject(&self, watched: &Watched) -> bool {
        let (Checks::Passive(check) | Checks::Active(_, Some(check))) = &watched.target.checks else { return true };
        let ejected = self.down.get(&watched.state.key.pool).copied().unwrap_or(0);
        traffic::has_room(ejected, watched.pool_size, check)
    }

    /// Publishes the health that a verdict gives its backend; `None` if the verdict is void.
    pub fn accept(&mut self, verdict: &Verdict) -> Option<Change> {
        let watched = self.watched.get(&verdict.key).filter(|watched| watched.task == verdict.task)?;
        let (before, health) = (watched.state.health(), verdict.transition.to);
        // An ejection that there was no room for ends as well.
        if before == health {
            return None;
        }
        if health == Health::Down && verdict.evidence == Evidence::Passive && !self.may_eject(watched) {
            let (pool, backend) = (verdict.key.pool.as_str(), verdict.key.backend.as_str());
            tracing::warn!(pool, backend, "backend stays, too many of its pool are ejected");
            return None;
        }
        let (state, on_down) = (Arc::clone(&watched.state), watched.on_down);
        state.publish_health(health);
        state.probes.transitions.fetch_add(1, Ordering::Relaxed);
        log(&state, verdict);
        match (before, self.down.get_mut(&state.key.pool)) {
            (Health::Down, Some(down)) => *down = down.saturating_sub(1),
            _ => self.note_down(&state),
        }
        Some(Change { state, on_down: (health == Health::Down).then_some(on_down) })
    }
}

fn log(state: &BackendState, verdict: &Verdict) {
    let (pool, backend) = (state.key.pool.as_str(), state.key.backend.as_str());
    let sessions = state.load.active();
    match verdict.transition.to {
        Health::Down => tracing::warn!(pool, backend, sessions, reason = verdict.reason, "backend is down"),
        Health::Up | Health::Checking => tracing::info!(pool, backend, sessions, "backend is up"),
    }
}
