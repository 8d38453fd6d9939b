//! A pool that has checks: its view, the verdicts on its backends, and its share of the probes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::change::Change;
use super::prober::{Ended, Prober};
use super::traffic::Traffic;
use super::verdict::ProbeResult;
use super::verdicts::{Checks, Ruling, Verdicts};
use crate::pool::backend::BackendState;
use crate::pool::health::{AdminState, Health};
use crate::pool::view::{BackendView, PoolView};

/// What is known of it.
#[derive(Debug)]
pub(super) struct WatchedPool {
    view: Arc<PoolView>,
    pub(super) verdicts: Verdicts,
    /// One for each of its probes that may be under way.
    slots: Arc<Semaphore>,
    /// How many these are.
    share: usize,
    /// When its traffic is looked at next.
    observe_at: Instant,
}

impl WatchedPool {
    /// A pool of which nothing is known yet, without backends.
    pub(super) fn new(view: &Arc<PoolView>, checks: Checks, now: Instant) -> Self {
        let slots = Arc::new(Semaphore::new(1));
        Self { view: Arc::clone(view), verdicts: Verdicts::new(checks), slots, share: 1, observe_at: now }
    }

    /// Whether it is watched in this view.
    pub(super) fn is_seen_in(&self, view: &Arc<PoolView>) -> bool {
        Arc::ptr_eq(&self.view, view)
    }

    /// Takes another view that differs in nothing but the health of backends; says whether it is one. Back come changes
    /// for those of which that is mistaken.
    pub(super) fn follow_health(&mut self, view: &Arc<PoolView>, changes: &mut Vec<Change>) -> bool {
        let is_same = |(one, other): (&BackendView, &BackendView)| {
            Arc::ptr_eq(&one.state, &other.state) && (&one.endpoint, one.admin) == (&other.endpoint, other.admin)
        };
        let differs_in_health_alone = Arc::ptr_eq(&self.view.config, &view.config)
            && self.view.backends.len() == view.backends.len()
            && self.view.backends.iter().zip(&view.backends).all(is_same);
        if differs_in_health_alone {
            self.view = Arc::clone(view);
            changes.extend(view.backends.iter().filter_map(mistaken));
        }
        differs_in_health_alone
    }

    /// Takes another view. What has not changed goes on as it was; back come changes for those of which the view is
    /// mistaken.
    pub(super) fn follow(
        &mut self,
        view: &Arc<PoolView>,
        checks: Checks,
        prober: &mut Prober,
        now: Instant,
        changes: &mut Vec<Change>,
    ) {
        if self.verdicts.checks() != &checks {
            self.observe_at = now;
        }
        self.verdicts.judge_by(checks, view.backends.len(), now.into_std());
        let before = std::mem::replace(&mut self.view, Arc::clone(view));
        for backend in before.backends.iter().filter(|backend| !stays(backend, view)) {
            self.verdicts.forget(&backend.state.key.backend);
            prober.stop(&backend.state.key);
        }
        for backend in &view.backends {
            if self.verdicts.health(&backend.state.key.backend).is_some() {
                changes.extend(mistaken(backend));
            } else {
                backend.state.publish_health(backend.health);
                self.begin(backend, now);
            }
        }
    }

    fn begin(&mut self, backend: &BackendView, now: Instant) {
        if is_judged(backend) {
            let (state, health) = (&backend.state, backend.health);
            self.verdicts.begin(&state.key.backend, health, state.counted(), state.hash_key(), now.into_std());
        }
    }

    /// Starts the probes of exactly the backends that are to be probed.
    pub(super) fn probe(&self, prober: &mut Prober, now: Instant) {
        let Some(check) = self.verdicts.checks().probes() else { return self.stop_probing(prober) };
        for backend in self.view.backends.iter().filter(|backend| is_judged(backend)) {
            let Some(endpoint) = &backend.endpoint else { continue };
            prober.begin(&backend.state.key, endpoint, check, &self.slots, now);
        }
    }

    /// Stops all its probes.
    pub(super) fn stop_probing(&self, prober: &mut Prober) {
        self.view.backends.iter().for_each(|backend| prober.stop(&backend.state.key));
    }

    /// How many backends there may be to probe.
    pub(super) fn probed_backends(&self) -> usize {
        self.verdicts.checks().probes().map_or(0, |_| self.view.backends.len())
    }

    /// Sets how many of its probes may be under way.
    pub(super) fn set_share(&mut self, share: usize, prober: &mut Prober) {
        if share != self.share {
            self.share = share;
            self.slots = Arc::new(Semaphore::new(share));
            self.view.backends.iter().for_each(|backend| prober.set_slots(&backend.state.key, &self.slots));
        }
    }

    /// Takes in how a probe has ended, and has the next one made.
    pub(super) fn take_probe(&mut self, ended: &Ended, prober: &mut Prober, now: Instant) -> Option<Change> {
        let backend = self.view.backend(&ended.key.backend)?;
        let counts = &backend.state.probes;
        let count = match &ended.result {
            ProbeResult::Passed => &counts.passed,
            ProbeResult::Failed(_) => &counts.failed,
            ProbeResult::Inconclusive(_) => &counts.inconclusive,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let ruling = self.verdicts.probed(&ended.key.backend, &ended.result, now.into_std());
        let next = self.verdicts.next_probe(&ended.key.backend, ended.due.into_std(), now.into_std());
        next.into_iter().for_each(|at| prober.again(&ended.key, at.into()));
        ruling.and_then(|ruling| publish(backend, ruling))
    }

    /// When its traffic is to be looked at, if it is.
    pub(super) fn observe_at(&self) -> Option<Instant> {
        self.verdicts.checks().traffic().map(|_| self.observe_at)
    }

    /// Looks at what has become of the traffic of clients, if it is time for that.
    pub(super) fn observe(&mut self, now: Instant, changes: &mut Vec<Change>) {
        let Some(check) = self.verdicts.checks().traffic().filter(|_| self.observe_at <= now) else { return };
        self.observe_at = now + Traffic::observe_every(check);
        for backend in &self.view.backends {
            let counted = backend.state.counted();
            let ruling = self.verdicts.observed(&backend.state.key.backend, counted, now.into_std());
            changes.extend(ruling.and_then(|ruling| publish(backend, ruling)));
        }
    }
}

/// Whether a backend has an address and is not taken out of use.
fn is_judged(backend: &BackendView) -> bool {
    backend.endpoint.is_some() && backend.admin != AdminState::Maint
}

/// Whether a backend that was judged is judged in this view as well, at the same address.
fn stays(backend: &BackendView, view: &PoolView) -> bool {
    let now = view.backend(&backend.state.key.backend);
    now.is_some_and(|now| is_judged(now) && now.endpoint == backend.endpoint)
}

/// A change for a backend whose view has another health than was published here.
fn mistaken(backend: &BackendView) -> Option<Change> {
    let health = backend.state.health();
    if is_judged(backend) && health != backend.health { change(backend, health) } else { None }
}

/// `None` for a backend that is nowhere.
fn change(backend: &BackendView, to: Health) -> Option<Change> {
    Some(Change { backend: Arc::clone(&backend.state), endpoint: backend.endpoint.clone()?, to })
}

/// Publishes the health that a ruling gives a backend, and says so.
fn publish(backend: &BackendView, ruling: Ruling) -> Option<Change> {
    let BackendState { key, load, probes, .. } = &*backend.state;
    let (pool, name, sessions) = (key.pool.as_str(), key.backend.as_str(), load.active());
    let (transition, reason) = match ruling {
        Ruling::Changed(transition, reason) => (transition, reason),
        Ruling::NoRoom => {
            tracing::warn!(pool, backend = name, "backend stays, too many of its pool are ejected");
            return None;
        }
    };
    backend.state.publish_health(transition.to);
    probes.transitions.fetch_add(1, Ordering::Relaxed);
    match transition.to {
        Health::Down => tracing::warn!(pool, backend = name, sessions, reason = reason.as_deref(), "backend is down"),
        Health::Up | Health::Checking => tracing::info!(pool, backend = name, sessions, "backend is up"),
    }
    change(backend, transition.to)
}
