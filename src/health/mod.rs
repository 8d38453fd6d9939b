//! Active health checks: one task per probed backend opens a connection and reports what happened.
//!
//! The tasks only report; [`Probes::judge`], on the control task, feeds the result to the backend's
//! [`Health`] and says whether its status changed.

mod probe;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

use crate::config::{HealthCheck, MAX_PROBES_IN_FLIGHT, OnDown};
use crate::control::Event;
use crate::pool::backend::{BackendKey, BackendState, Endpoint};
use crate::pool::health::{Health, ProbeResult, Status};
use crate::pool::snapshot::Snapshot;

/// The result of one probe.
#[derive(Debug)]
pub struct Verdict {
    /// Which backend.
    pub key: BackendKey,
    /// Which of the tasks that this backend has had: a result of one that was replaced is stale.
    task: u64,
    result: ProbeResult,
    reason: Option<String>,
}

/// A backend's status has changed.
#[derive(Debug)]
pub struct Change {
    /// The backend.
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
    health: Health,
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
    /// Nothing probed yet; results go to `events`.
    pub fn new(events: mpsc::Sender<Event>) -> Self {
        Self {
            events,
            in_flight: Arc::new(Semaphore::new(MAX_PROBES_IN_FLIGHT)),
            next_task: 0,
            watched: HashMap::new(),
        }
    }

    /// Probes exactly the backends of `snapshot` whose pool has a health check. What has not changed goes on as it was.
    pub fn follow(&mut self, snapshot: &Snapshot) {
        let mut before = std::mem::take(&mut self.watched);
        for pool in snapshot.pools.values() {
            let Some(check) = pool.config.health_check else { continue };
            for backend in &pool.backends {
                let target = Target { endpoint: backend.endpoint.clone(), check };
                let old = before.remove(&backend.state.key);
                let watched = self.watch(&backend.state, target, pool.config.on_down, old);
                self.watched.insert(backend.state.key.clone(), watched);
            }
        }
        before.into_values().for_each(|gone| gone.abort.abort());
    }

    /// Goes on with an old watch if its target is the same, otherwise with a new task and the same health.
    fn watch(&mut self, state: &Arc<BackendState>, target: Target, on_down: OnDown, old: Option<Watched>) -> Watched {
        let mut health = Health::new(state.status(), target.check.rise, target.check.fall);
        match old {
            Some(old) if old.target == target => return Watched { on_down, ..old },
            Some(old) => {
                old.abort.abort();
                health = old.health.with_thresholds(target.check.rise, target.check.fall);
            }
            None => {}
        }
        self.next_task += 1;
        let task = self.next_task;
        let reporter = probe::Reporter { key: state.key.clone(), task, events: self.events.clone() };
        let probing = probe::probe(target.endpoint.clone(), target.check, Arc::clone(&self.in_flight), reporter);
        let abort = tokio::spawn(probing).abort_handle();
        Watched { state: Arc::clone(state), target, on_down, health, task, abort }
    }

    /// Takes a result into account; says so if the backend's status changed.
    pub fn judge(&mut self, verdict: &Verdict) -> Option<Change> {
        let watched = self.watched.get_mut(&verdict.key).filter(|watched| watched.task == verdict.task)?;
        let counts = &watched.state.probes;
        match verdict.result {
            ProbeResult::Passed => counts.passed.fetch_add(1, Ordering::Relaxed),
            ProbeResult::Failed => counts.failed.fetch_add(1, Ordering::Relaxed),
        };
        let before = watched.health.status();
        let transition = watched.health.record(verdict.result)?;
        let status = transition.to;
        watched.state.publish_status(status);
        counts.transitions.fetch_add(1, Ordering::Relaxed);
        log(&watched.state, before, status, verdict.reason.as_deref());
        let on_down = (status == Status::Down).then_some(watched.on_down);
        Some(Change { state: Arc::clone(&watched.state), on_down })
    }
}

fn log(state: &BackendState, before: Status, status: Status, reason: Option<&str>) {
    let (pool, backend) = (state.key.pool.as_str(), state.key.backend.as_str());
    let sessions = state.load.active();
    match status {
        Status::Down => tracing::warn!(pool, backend, from = before.label(), sessions, reason, "backend is down"),
        Status::Up | Status::Checking => {
            tracing::info!(pool, backend, from = before.label(), sessions, "backend is up");
        }
    }
}
