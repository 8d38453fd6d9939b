//! Building snapshots and putting them in force.
//!
//! A snapshot is what is wanted and what is: each is built as a whole, from the [`Desired`] and from what is known of the
//! health of backends, and nothing in it is ever changed. A pool in which neither has changed keeps its view.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::bind::Binder;
use super::desired::{Desired, DesiredBackend, DesiredPool};
use super::retired::Retired;
use crate::config::{self, BackendName, BindAddr, ListenerName, PoolName, Protocol};
use crate::health::Change;
use crate::pool::backend::BackendKey;
use crate::pool::health::{AdminState, Health};
use crate::pool::listener::{ListenerView, View};
use crate::pool::registry::Registry;
use crate::pool::snapshot::{Pools, Snapshot};
use crate::pool::view::{BackendView, PoolView};

/// The one writer of the snapshot.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) registry: Arc<Registry>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// What the snapshot in force was built from.
    desired: Arc<Desired>,
    /// What was published before.
    retired: Retired,
}

/// The latest news of the health of a pool's backends.
type News<'a> = HashMap<&'a BackendName, &'a Change>;

impl Publisher {
    /// Publishes to `snapshot`, in which nothing of `desired` is yet.
    pub(super) fn new(registry: Arc<Registry>, snapshot: Arc<ArcSwap<Snapshot>>, desired: Desired) -> Self {
        Self { registry, snapshot, desired: Arc::new(desired), retired: Retired::default() }
    }

    /// The snapshot in force.
    pub(super) fn in_force(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// What the snapshot in force was built from.
    pub(super) fn desired(&self) -> &Desired {
        &self.desired
    }

    /// Publishes what is wanted from now on.
    pub(super) fn publish(&mut self, desired: Desired, binder: &Binder) {
        let before = std::mem::replace(&mut self.desired, Arc::new(desired));
        let is_same = |name: &PoolName| match (before.pools.get(name), self.desired.pools.get(name)) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            _ => false,
        };
        let old = self.in_force();
        let pools = self.pools(&old, |name| if is_same(name) { None } else { Some(News::new()) });
        self.put_in_force(&old, pools, binder);
    }

    /// Publishes what has changed in the health of backends.
    pub(super) fn publish_health(&mut self, changes: &[Change], binder: &Binder) {
        let mut news: HashMap<&PoolName, News<'_>> = HashMap::new();
        for change in changes {
            let key = &change.backend.key;
            news.entry(&key.pool).or_default().insert(&key.backend, change);
        }
        let old = self.in_force();
        let pools = self.pools(&old, |name| news.remove(name));
        self.put_in_force(&old, pools, binder);
    }

    /// Publishes the same once more, without the addresses that the binder has forgotten.
    pub(super) fn publish_binds(&mut self, binder: &Binder) {
        let old = self.in_force();
        self.put_in_force(&old, old.pools.clone(), binder);
    }

    /// Frees what was published and is not used any more.
    pub(super) fn free_unused(&mut self) {
        self.retired.free_unused();
        self.registry.forget_unused();
    }

    /// The views of all pools. One of which there is no news keeps its old view, if it has one.
    fn pools<'a>(&self, old: &Snapshot, mut news: impl FnMut(&PoolName) -> Option<News<'a>>) -> Pools {
        let view = |(name, desired): (&PoolName, &Arc<DesiredPool>)| {
            let previous = old.pools.get(name);
            let view = match (news(name), previous) {
                (None, Some(previous)) => Arc::clone(previous),
                (news, previous) => view_pool(name, desired, &news.unwrap_or_default(), previous, &self.registry),
            };
            (name.clone(), view)
        };
        self.desired.pools.iter().map(view).collect()
    }

    fn put_in_force(&mut self, old: &Snapshot, pools: Pools, binder: &Binder) {
        let new = Arc::new(assemble(&self.desired, pools, binder, &self.registry, old));
        // Before and not after: what workers find in the snapshot is ready. Until they find it they go on picking by the
        // old pickers, which read every load from here on.
        new.pools.values().for_each(|pool| pool.activate());
        drop(self.snapshot.swap(Arc::clone(&new)));
        // First room, then more: snapshots may follow each other sooner than anybody frees what is unused.
        self.retired.free_unused();
        self.retired.keep(old, &new);
    }
}

/// A snapshot of everything that is bound. On an address that is being given up answers who answered in the `previous`
/// one, for what is still queued there.
fn assemble(desired: &Desired, pools: Pools, binder: &Binder, registry: &Registry, previous: &Snapshot) -> Snapshot {
    let retired = binder.retired().filter_map(|id| Some((id, previous.binds.get(&id)?.clone())));
    let mut binds: HashMap<_, _> = retired.collect();
    let mut udp_addrs = Vec::new();
    for (name, listener) in &desired.file.listeners {
        let view = view_listener(name, listener, &pools, registry);
        let must_wait = desired.pools[&listener.pool].awaits_names() && !pools[&listener.pool].has_candidates();
        for bound in listener.bind.iter().filter_map(|addr| binder.bound(addr)) {
            // Until it is known where the pool's backends are, clients go where they went before.
            let before = previous.binds.get(&bound.id).filter(|_| must_wait);
            binds.insert(bound.id, before.unwrap_or(&view).clone());
            if let BindAddr::Udp(addr) = bound.addr {
                udp_addrs.push(addr);
            }
        }
    }
    let (version, generation, config) = (previous.version + 1, desired.generation, Arc::clone(&desired.file));
    Snapshot { version, generation, config, pools, binds, udp_addrs }
}

fn view_listener(name: &ListenerName, listener: &config::Listener, pools: &Pools, registry: &Registry) -> View {
    let (pool, access_log, binds) = (Arc::clone(&pools[&listener.pool]), listener.access_log, listener.bind.len());
    match &listener.protocol {
        Protocol::Tcp(tcp) => {
            let state = registry.tcp_listener(name, &listener.pool);
            View::Tcp(Arc::new(ListenerView { config: tcp.clone(), access_log, binds, state, pool }))
        }
        Protocol::Udp(udp) => {
            let state = registry.udp_listener(name, &listener.pool);
            View::Udp(Arc::new(ListenerView { config: udp.clone(), access_log, binds, state, pool }))
        }
    }
}

fn view_pool(
    name: &PoolName,
    desired: &DesiredPool,
    news: &News<'_>,
    previous: Option<&Arc<PoolView>>,
    registry: &Registry,
) -> Arc<PoolView> {
    let view = |backend: &DesiredBackend| {
        let before = previous.and_then(|view| view.backend(&backend.name));
        let health = health(desired, backend, before, news.get(&backend.name).copied());
        let state = before.map_or_else(
            || registry.backend(&BackendKey { pool: name.clone(), backend: backend.name.clone() }, health),
            |view| Arc::clone(&view.state),
        );
        BackendView {
            state,
            endpoint: backend.endpoint.known().cloned(),
            weight: backend.weight,
            priority: backend.priority,
            admin: backend.admin,
            health,
        }
    };
    let backends: Vec<_> = desired.backends.iter().map(view).collect();
    match previous {
        Some(previous) if previous.config == desired.settings && previous.backends == backends => Arc::clone(previous),
        _ => {
            let previous = previous.map(|view| &**view);
            Arc::new(PoolView::build(name.clone(), Arc::clone(&desired.settings), backends, previous))
        }
    }
}

/// The health of a backend: what was last heard of it, unless that was elsewhere or before a time without checks.
fn health(pool: &DesiredPool, backend: &DesiredBackend, before: Option<&BackendView>, news: Option<&Change>) -> Health {
    let Some(endpoint) = backend.endpoint.known() else { return Health::Down };
    let is_checked = pool.settings.health_check.is_some() || pool.settings.passive_check.is_some();
    let unheard_of = if pool.settings.health_check.is_some() { Health::Checking } else { Health::Up };
    if !is_checked || backend.admin == AdminState::Maint {
        return unheard_of;
    }
    let news = news.filter(|change| change.endpoint == *endpoint).map(|change| change.to);
    let is_same = |view: &&BackendView| view.endpoint.as_ref() == Some(endpoint) && view.admin != AdminState::Maint;
    news.or_else(|| before.filter(is_same).map(|view| view.health)).unwrap_or(unheard_of)
}

#[cfg(test)]
mod tests;
