//! Active health checks: one task per probed backend opens connections, one after another, and judges the results.
//!
//! A task only says that a verdict has changed; what follows from that (status, snapshot, sessions) is decided on the
//! control task, which asks [`Probes::accept`] whether the word is still current.

mod probe;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

use crate::config::{HealthCheck, MAX_PROBES_IN_FLIGHT, OnDown};
use crate::control::Event;
use crate::pool::backend::{BackendKey, BackendState, Endpoint};
use crate::pool::health::{Status, Transition};
use crate::pool::snapshot::Snapshot;

/// A task's word that its backend has gone up or down.
#[derive(Debug)]
pub struct Verdict {
    key: BackendKey,
    /// Which of the tasks that this backend has had: the word of one that was replaced is void.
    task: u64,
    transition: Transition,
    /// What the last probe failed with.
    reason: Option<String>,
}

/// A backend whose status has changed.
#[derive(Debug)]
pub struct Change {
    /// The backend; its new status is published.
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
}

#[derive(Debug)]
struct Watched {
    state: Arc<BackendState>,
    target: Target,
    on_down: OnDown,
    task: u64,
    abort: AbortHandle,
}

/// What a probe task is made for; when it changes, so does the task.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    endpoint: Endpoint,
    check: HealthCheck,
}

impl Probes {
    /// Nothing probed yet; verdicts go to `events`.
    pub fn new(events: mpsc::Sender<Event>) -> Self {
        let in_flight = Arc::new(Semaphore::new(MAX_PROBES_IN_FLIGHT));
        Self { events, in_flight, next_task: 0, watched: HashMap::new() }
    }

    /// Probes exactly the backends of `snapshot` whose pool has a health check. What has not changed goes on as it was.
    pub fn follow(&mut self, snapshot: &Snapshot) {
        let mut before = std::mem::take(&mut self.watched);
        for pool in snapshot.pools.values() {
            let Some(check) = pool.config.health_check else { continue };
            for backend in &pool.backends {
                let target = Target { endpoint: backend.endpoint.clone(), check };
                let on_down = pool.config.on_down;
                let watched = match before.remove(&backend.state.key) {
                    Some(old) if old.target == target => Watched { on_down, ..old },
                    old => {
                        old.inspect(|old| old.abort.abort());
                        self.watch(&backend.state, target, on_down)
                    }
                };
                self.watched.insert(backend.state.key.clone(), watched);
            }
        }
        before.into_values().for_each(|gone| gone.abort.abort());
    }

    /// Whether a probed backend has no verdict yet.
    pub fn are_undecided(&self) -> bool {
        self.watched.values().any(|watched| watched.state.status() == Status::Checking)
    }

    /// Starts a task for a backend, which goes on from the status that the backend has.
    fn watch(&mut self, state: &Arc<BackendState>, target: Target, on_down: OnDown) -> Watched {
        self.next_task += 1;
        let task = self.next_task;
        let probing = probe::Probing {
            task,
            state: Arc::clone(state),
            target: target.clone(),
            in_flight: Arc::clone(&self.in_flight),
            events: self.events.clone(),
        };
        let abort = tokio::spawn(probing.run()).abort_handle();
        Watched { state: Arc::clone(state), target, on_down, task, abort }
    }

    /// Publishes the status that a verdict gives its backend; `None` if the verdict is void.
    pub fn accept(&mut self, verdict: &Verdict) -> Option<Change> {
        let watched = self.watched.get(&verdict.key).filter(|watched| watched.task == verdict.task)?;
        let status = verdict.transition.to;
        watched.state.publish_status(status);
        watched.state.probes.transitions.fetch_add(1, Ordering::Relaxed);
        log(&watched.state, verdict);
        let on_down = (status == Status::Down).then_some(watched.on_down);
        Some(Change { state: Arc::clone(&watched.state), on_down })
    }
}

fn log(state: &BackendState, verdict: &Verdict) {
    let (pool, backend) = (state.key.pool.as_str(), state.key.backend.as_str());
    let sessions = state.load.active();
    match verdict.transition.to {
        Status::Down => tracing::warn!(pool, backend, sessions, reason = verdict.reason, "backend is down"),
        Status::Up | Status::Checking => tracing::info!(pool, backend, sessions, "backend is up"),
    }
}
