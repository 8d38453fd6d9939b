//! The one task that holds what is known of all backends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::Change;
use super::prober::{Ended, Prober};
use super::traffic::Traffic;
use super::verdict::ProbeResult;
use super::verdicts::{Checks, Ruling, Verdicts};
use crate::config::{MAX_PROBES_IN_FLIGHT, PoolName};
use crate::pool::backend::{BackendKey, BackendState};
use crate::pool::health::{AdminState, Health};
use crate::pool::snapshot::Pools;
use crate::pool::view::{BackendView, PoolView};
use crate::sys::clock::Tick;
use crate::sys::log_limit::LogLimit;

/// What is known, and who is told.
#[derive(Debug)]
pub(super) struct Task {
    watched: watch::Receiver<Pools>,
    changes: mpsc::Sender<Change>,
    /// Changes that are not sent yet.
    unsent: Vec<Change>,
    pools: BTreeMap<PoolName, Watched>,
    prober: Prober,
    /// For complaints about what we lack.
    inconclusive: LogLimit,
}

/// A pool that has checks.
#[derive(Debug)]
struct Watched {
    view: Arc<PoolView>,
    verdicts: Verdicts,
    /// Its share of the probes that may be under way.
    slots: Arc<Semaphore>,
    share: usize,
    /// When its traffic is looked at next.
    observe_at: Instant,
}

impl Task {
    pub(super) fn new(watched: watch::Receiver<Pools>, changes: mpsc::Sender<Change>) -> Self {
        Self {
            watched,
            changes,
            unsent: Vec::new(),
            pools: BTreeMap::new(),
            prober: Prober::default(),
            inconclusive: LogLimit::default(),
        }
    }

    /// Runs until nobody wants to know any more.
    pub(super) async fn run(mut self) {
        loop {
            let observe_at = self.observe_at();
            tokio::select! {
                followed = self.watched.changed() => match followed {
                    Ok(()) => self.follow(),
                    Err(_) => return,
                },
                ended = self.prober.next_ended() => self.probed(&ended),
                () = sleep_until(observe_at.unwrap_or_else(Instant::now)), if observe_at.is_some() => self.observe(),
            }
            for change in self.unsent.drain(..) {
                if self.changes.send(change).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Watches what is to be watched now. What has not changed goes on as it was.
    fn follow(&mut self) {
        let pools = self.watched.borrow_and_update().clone();
        let now = Instant::now();
        let gone: Vec<_> = self.pools.keys().filter(|name| !pools.contains_key(*name)).cloned().collect();
        gone.iter().for_each(|name| self.leave(name));
        let is_new =
            |name, view| self.pools.get(name).is_none_or(|watched: &Watched| !Arc::ptr_eq(&watched.view, view));
        let changed: Vec<_> = pools.iter().filter(|(name, view)| is_new(*name, *view)).collect();
        changed.iter().for_each(|(name, view)| self.follow_pool(name, view, now));
        self.share_slots();
        for watched in changed.iter().filter_map(|(name, _)| self.pools.get(*name)) {
            watched.probe(&mut self.prober, now);
        }
    }

    fn leave(&mut self, name: &PoolName) {
        if let Some(watched) = self.pools.remove(name) {
            watched.view.backends.iter().for_each(|backend| self.prober.stop(&backend.state.key));
        }
    }

    fn follow_pool(&mut self, name: &PoolName, view: &Arc<PoolView>, now: Instant) {
        let Some(checks) = Checks::of(&view.config) else {
            self.leave(name);
            view.backends.iter().for_each(|backend| backend.state.publish_health(backend.health));
            return;
        };
        let watched = self.pools.entry(name.clone()).or_insert_with(|| Watched::new(view, checks.clone(), now));
        watched.judge_by(checks, view.backends.len(), now);
        let before = std::mem::replace(&mut watched.view, Arc::clone(view));
        for backend in &before.backends {
            let name = &backend.state.key.backend;
            let stays = view.backend(name).is_some_and(|now| is_judged(now) && now.endpoint == backend.endpoint);
            if !stays {
                watched.verdicts.forget(name);
                self.prober.stop(&backend.state.key);
            }
        }
        for backend in &view.backends {
            match watched.verdicts.health(&backend.state.key.backend) {
                Some(health) if health == backend.health => {}
                Some(health) => self.unsent.extend(change(backend, health)),
                None => {
                    backend.state.publish_health(backend.health);
                    watched.begin(backend, now);
                }
            }
        }
    }

    /// Shares the probes that may be under way among the pools by the number of their backends, at least one each: so many
    /// backends that hang hold up the probes of their own pool, and of no other.
    fn share_slots(&mut self) {
        let probed = |watched: &Watched| watched.verdicts.checks().probes().map_or(0, |_| watched.view.backends.len());
        let all = self.pools.values().map(probed).sum::<usize>().max(1);
        for watched in self.pools.values_mut() {
            let share = (MAX_PROBES_IN_FLIGHT * probed(watched) / all).max(1);
            if share != watched.share {
                watched.share = share;
                watched.slots = Arc::new(Semaphore::new(share));
                let keys = watched.view.backends.iter().map(|backend| &backend.state.key);
                keys.for_each(|key| self.prober.set_slots(key, &watched.slots));
            }
        }
    }

    /// Takes in how a probe has ended.
    fn probed(&mut self, ended: &Ended) {
        let Some(watched) = self.pools.get_mut(&ended.key.pool) else { return };
        let Some(backend) = watched.view.backend(&ended.key.backend).cloned() else { return };
        let now = Instant::now();
        let counts = &backend.state.probes;
        let count = match &ended.result {
            ProbeResult::Passed => &counts.passed,
            ProbeResult::Failed(_) => &counts.failed,
            ProbeResult::Inconclusive(reason) => {
                if let Some(suppressed) = self.inconclusive.allow(Tick::now()) {
                    let known_at = watched.verdicts.known_at(&ended.key.backend);
                    warn_inconclusive(&ended.key, reason, known_at.map(|at| now.into_std() - at), suppressed);
                }
                &counts.inconclusive
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
        let ruling = watched.verdicts.probed(&ended.key.backend, &ended.result, now.into_std());
        let next = watched.verdicts.next_probe(&ended.key.backend, ended.due.into_std(), now.into_std());
        if let Some(at) = next {
            self.prober.again(&ended.key, at.into());
        }
        self.unsent.extend(ruling.and_then(|ruling| publish(&backend, ruling)));
    }

    /// When some pool's traffic is to be looked at.
    fn observe_at(&self) -> Option<Instant> {
        self.pools
            .values()
            .filter(|watched| watched.verdicts.checks().traffic().is_some())
            .map(|it| it.observe_at)
            .min()
    }

    /// Looks at what has become of the traffic of clients.
    fn observe(&mut self) {
        let now = Instant::now();
        for watched in self.pools.values_mut().filter(|watched| watched.observe_at <= now) {
            let Some(check) = watched.verdicts.checks().traffic() else { continue };
            watched.observe_at = now + Traffic::observe_every(check);
            for backend in &watched.view.backends {
                let counted = backend.state.counted();
                let ruling = watched.verdicts.observed(&backend.state.key.backend, counted, now.into_std());
                self.unsent.extend(ruling.and_then(|ruling| publish(backend, ruling)));
            }
        }
    }
}

impl Watched {
    fn new(view: &Arc<PoolView>, checks: Checks, now: Instant) -> Self {
        let slots = Arc::new(Semaphore::new(1));
        Self { view: Arc::clone(view), verdicts: Verdicts::new(checks), slots, share: 1, observe_at: now }
    }

    fn judge_by(&mut self, checks: Checks, pool_size: usize, now: Instant) {
        if self.verdicts.checks() != &checks {
            self.observe_at = now;
        }
        self.verdicts.judge_by(checks, pool_size, now.into_std());
    }

    /// Judges a backend that has just come.
    fn begin(&mut self, backend: &BackendView, now: Instant) {
        if is_judged(backend) {
            let (state, health) = (&backend.state, backend.health);
            self.verdicts.begin(&state.key.backend, health, state.counted(), state.hash_key(), now.into_std());
        }
    }

    /// Has everybody probed who is to be.
    fn probe(&self, prober: &mut Prober, now: Instant) {
        let Some(check) = self.verdicts.checks().probes() else {
            return self.view.backends.iter().for_each(|backend| prober.stop(&backend.state.key));
        };
        for backend in self.view.backends.iter().filter(|backend| is_judged(backend)) {
            let Some(endpoint) = &backend.endpoint else { continue };
            prober.begin(&backend.state.key, endpoint, check, &self.slots, now);
        }
    }
}

/// Whether anything can be found out about a backend, and anybody wants to know.
fn is_judged(backend: &BackendView) -> bool {
    backend.endpoint.is_some() && backend.admin != AdminState::Maint
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

/// `None` for a backend that is nowhere.
fn change(backend: &BackendView, to: Health) -> Option<Change> {
    Some(Change { backend: Arc::clone(&backend.state), endpoint: backend.endpoint.clone()?, to })
}

/// Says what a probe lacked.
fn warn_inconclusive(key: &BackendKey, reason: &str, known_for: Option<Duration>, suppressed: u64) {
    let (pool, backend) = (key.pool.as_str(), key.backend.as_str());
    let known_for_s = known_for.map(|known| known.as_secs());
    tracing::warn!(pool, backend, reason, last_told_s = known_for_s, suppressed, "probes are inconclusive");
}
