//! Which backend is probed when, and the probes under way. What their results mean is decided elsewhere.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::probe::{Target, probe};
use super::verdict::ProbeResult;
use crate::config::HealthCheck;
use crate::pool::backend::{BackendKey, Endpoint};

/// The probes of all backends.
#[derive(Debug, Default)]
pub(super) struct Prober {
    probed: HashMap<BackendKey, Probed>,
    due: BTreeSet<(Instant, BackendKey)>,
    under_way: HashMap<Id, BackendKey>,
    probes: JoinSet<ProbeResult>,
}

/// A backend that is probed.
#[derive(Debug)]
struct Probed {
    target: Arc<Target>,
    /// One for each probe that may be under way in its pool.
    slots: Arc<Semaphore>,
    /// When the next probe is due, or the one under way was.
    due: Instant,
    under_way: Option<AbortHandle>,
}

/// A probe that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) key: BackendKey,
    /// When it was due.
    pub(super) due: Instant,
    pub(super) result: ProbeResult,
}

impl Prober {
    /// Probes a backend from now on: at once, unless it is probed like this already. No more probes are under way at one
    /// time than there are `slots`, which it has in common with others.
    pub(super) fn begin(
        &mut self,
        key: &BackendKey,
        endpoint: &Endpoint,
        check: &HealthCheck,
        slots: &Arc<Semaphore>,
        now: Instant,
    ) {
        let is_same = |probed: &Probed| probed.target.endpoint == *endpoint && probed.target.check == *check;
        if self.probed.get(key).is_some_and(is_same) {
            return;
        }
        self.stop(key);
        let target = Arc::new(Target { endpoint: endpoint.clone(), check: check.clone() });
        self.probed.insert(key.clone(), Probed { target, slots: Arc::clone(slots), due: now, under_way: None });
        self.due.insert((now, key.clone()));
    }

    /// Gives a backend other slots.
    pub(super) fn set_slots(&mut self, key: &BackendKey, slots: &Arc<Semaphore>) {
        if let Some(probed) = self.probed.get_mut(key) {
            probed.slots = Arc::clone(slots);
        }
    }

    /// Probes a backend no more. A probe of it that is under way is cancelled.
    pub(super) fn stop(&mut self, key: &BackendKey) {
        let Some(probed) = self.probed.remove(key) else { return };
        match probed.under_way {
            Some(probe) => {
                self.under_way.remove(&probe.id());
                probe.abort();
            }
            None => drop(self.due.remove(&(probed.due, key.clone()))),
        }
    }

    /// Probes a backend whose probe has [`Ended`] again.
    pub(super) fn again(&mut self, key: &BackendKey, at: Instant) {
        if let Some(probed) = self.probed.get_mut(key).filter(|probed| probed.under_way.is_none()) {
            self.due.remove(&(probed.due, key.clone()));
            probed.due = at;
            self.due.insert((at, key.clone()));
        }
    }

    /// Probes the backends that are due, until a probe has ended. Nothing is lost when this is cancelled.
    pub(super) async fn next_ended(&mut self) -> Ended {
        loop {
            self.start_due();
            let next = self.due.first().map(|(at, _)| *at);
            let joined = tokio::select! {
                Some(joined) = self.probes.join_next_with_id() => joined,
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => continue,
                else => std::future::pending().await,
            };
            if let Some(ended) = self.end(joined) {
                return ended;
            }
        }
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        while let Some((at, key)) = self.due.pop_first() {
            if at > now {
                self.due.insert((at, key));
                return;
            }
            let Some(probed) = self.probed.get_mut(&key) else { continue };
            let (target, slots) = (Arc::clone(&probed.target), Arc::clone(&probed.slots));
            let task = self.probes.spawn(async move {
                // It is never closed; should it be, the probe goes ahead.
                let _slot = slots.acquire().await;
                probe(&target).await
            });
            self.under_way.insert(task.id(), key);
            probed.under_way = Some(task);
        }
    }

    /// `None` for a probe that was cancelled, or has ended too late for that.
    fn end(&mut self, joined: Result<(Id, ProbeResult), JoinError>) -> Option<Ended> {
        let (id, result) = joined.unwrap_or_else(|error| {
            (error.id(), ProbeResult::Inconclusive(format!("the probe itself failed: {error}")))
        });
        let key = self.under_way.remove(&id)?;
        let probed = self.probed.get_mut(&key)?;
        probed.under_way = None;
        Some(Ended { key, due: probed.due, result })
    }
}
