//! The one task that holds what is known of all backends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::change::Change;
use super::prober::{Ended, Prober};
use super::verdict::ProbeResult;
use super::verdicts::Checks;
use super::watched::WatchedPool;
use crate::config::{MAX_PROBES_IN_FLIGHT, PoolName};
use crate::pool::backend::BackendKey;
use crate::pool::snapshot::Pools;
use crate::pool::view::PoolView;
use crate::sys::clock::Tick;
use crate::sys::log_limit::LogLimit;

/// What is known, and who is told.
#[derive(Debug)]
pub(super) struct Task {
    wanted: watch::Receiver<Pools>,
    changes: mpsc::Sender<Change>,
    /// Changes that are not sent yet.
    unsent: Vec<Change>,
    /// Those that have checks.
    pools: BTreeMap<PoolName, WatchedPool>,
    prober: Prober,
    /// For complaints about what we lack.
    inconclusive: LogLimit,
}

impl Task {
    pub(super) fn new(wanted: watch::Receiver<Pools>, changes: mpsc::Sender<Change>) -> Self {
        Self {
            wanted,
            changes,
            unsent: Vec::new(),
            pools: BTreeMap::new(),
            prober: Prober::default(),
            inconclusive: LogLimit::default(),
        }
    }

    /// Runs until the control task is gone.
    pub(super) async fn run(mut self) {
        loop {
            let observe_at = self.pools.values().filter_map(WatchedPool::observe_at).min();
            tokio::select! {
                changed = self.wanted.changed() => match changed {
                    Ok(()) => self.follow(),
                    Err(_) => return,
                },
                ended = self.prober.next_ended() => self.take_probe(&ended),
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
        let pools = self.wanted.borrow_and_update().clone();
        let now = Instant::now();
        let gone: Vec<_> = self.pools.keys().filter(|name| !pools.contains_key(*name)).cloned().collect();
        gone.iter().for_each(|name| self.leave(name));
        let mut changed = Vec::new();
        for (name, view) in &pools {
            let known = self.pools.get_mut(name);
            if !known.is_some_and(|pool| pool.is_seen_in(view) || pool.follow_health(view, &mut self.unsent)) {
                self.follow_pool(name, view, now);
                changed.push(name);
            }
        }
        self.share_probes();
        for pool in changed.into_iter().filter_map(|name| self.pools.get(name)) {
            pool.probe(&mut self.prober, now);
        }
    }

    fn follow_pool(&mut self, name: &PoolName, view: &Arc<PoolView>, now: Instant) {
        if let Some(checks) = Checks::of(&view.config) {
            let new = || WatchedPool::new(view, checks.clone(), now);
            let pool = self.pools.entry(name.clone()).or_insert_with(new);
            pool.follow(view, checks, &mut self.prober, now, &mut self.unsent);
        } else {
            self.leave(name);
            view.backends.iter().for_each(|backend| backend.state.publish_health(backend.health));
        }
    }

    fn leave(&mut self, name: &PoolName) {
        if let Some(pool) = self.pools.remove(name) {
            pool.stop_probing(&mut self.prober);
        }
    }

    /// Shares the probes that may be under way: one for each pool, and the rest by the number of their backends. So many
    /// backends that hang hold up the probes of their own pool, and of no other.
    fn share_probes(&mut self) {
        let rest = MAX_PROBES_IN_FLIGHT.saturating_sub(self.pools.len());
        let all = self.pools.values().map(WatchedPool::probed_backends).sum::<usize>().max(1);
        for pool in self.pools.values_mut() {
            pool.set_share(1 + rest * pool.probed_backends() / all, &mut self.prober);
        }
    }

    /// Takes in how a probe has ended.
    fn take_probe(&mut self, ended: &Ended) {
        let Some(pool) = self.pools.get_mut(&ended.key.pool) else { return };
        let now = Instant::now();
        if let ProbeResult::Inconclusive(reason) = &ended.result
            && let Some(suppressed) = self.inconclusive.allow(Tick::now())
        {
            let known_at = pool.verdicts.known_at(&ended.key.backend);
            warn_inconclusive(&ended.key, reason, known_at.map(|at| now.into_std() - at), suppressed);
        }
        self.unsent.extend(pool.take_probe(ended, &mut self.prober, now));
    }

    /// Looks at what has become of the traffic of clients, where it is time for that.
    fn observe(&mut self) {
        let now = Instant::now();
        self.pools.values_mut().for_each(|pool| pool.observe(now, &mut self.unsent));
    }
}

/// Says what a probe lacked, and how long ago another one last told something of the backend.
fn warn_inconclusive(key: &BackendKey, reason: &str, known_for: Option<Duration>, suppressed: u64) {
    let (pool, backend) = (key.pool.as_str(), key.backend.as_str());
    let told_s = known_for.map(|known| known.as_secs());
    tracing::warn!(pool, backend, reason, last_told_s = told_s, suppressed, "probes are inconclusive");
}
