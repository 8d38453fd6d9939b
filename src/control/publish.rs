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
use crate::config::{self, BindAddr, ListenerName, PoolName, Protocol};
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
        let view = |(name, desired): (&PoolName, &Arc<DesiredPool>)| {
            let view = match old.pools.get(name) {
                Some(previous) if is_same(name) => Arc::clone(previous),
                previous => view_pool(name, desired, previous, &self.registry),
            };
            (name.clone(), view)
        };
        let pools = self.desired.pools.iter().map(view).collect();
        self.put_in_force(&old, pools, binder);
    }

    /// Publishes what has changed in the health of backends.
    pub(super) fn publish_health(&mut self, changes: &[Change], binder: &Binder) {
        let mut by_pool: HashMap<&PoolName, Vec<&Change>> = HashMap::new();
        for change in changes {
            by_pool.entry(&change.backend.key.pool).or_default().push(change);
        }
        let old = self.in_force();
        let mut pools = old.pools.clone();
        for (name, changes) in by_pool {
            if let Some(view) = pools.get_mut(name) {
                *view = with_health(view, &changes);
            }
        }
        self.put_in_force(&old, pools, binder);
    }

    /// Whether the backend that a change is of is still what it was when that happened.
    pub(super) fn is_current(&self, change: &Change) -> bool {
        let key = &change.backend.key;
        let in_force = self.in_force();
        let view = in_force.pools.get(&key.pool);
        let backend = view.and_then(|view| view.backends.get(view.position(&key.backend)?));
        backend.is_some_and(|backend| is_of(change, backend))
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

    fn put_in_force(&mut self, old: &Snapshot, pools: Pools, binder: &Binder) {
        let new = Arc::new(assemble(&self.desired, pools, binder, &self.registry, old));
        // Before and not after: what workers find in the snapshot is ready. Until they find it they go on picking by the
        // old pickers, which read every load from here on.
        new.pools.values().for_each(|pool| pool.activate());
        drop(self.snapshot.swap(Arc::clone(&new)));
        // Here too, because snapshots may follow each other sooner than what is unused is freed otherwise.
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
    previous: Option<&Arc<PoolView>>,
    registry: &Registry,
) -> Arc<PoolView> {
    let view = |backend: &DesiredBackend| {
        let before = previous.and_then(|view| view.backend(&backend.name));
        let health = health(desired, backend, before);
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

/// The health of a backend that is wanted: what it was before, unless that was elsewhere or before a time without checks.
fn health(pool: &DesiredPool, backend: &DesiredBackend, before: Option<&BackendView>) -> Health {
    let Some(endpoint) = backend.endpoint.known() else { return Health::Down };
    let unheard_of = if pool.settings.health_check.is_some() { Health::Checking } else { Health::Up };
    let is_same = |view: &&BackendView| view.endpoint.as_ref() == Some(endpoint) && view.admin != AdminState::Maint;
    match before.filter(is_same) {
        Some(before) if is_checked(&pool.settings) && backend.admin != AdminState::Maint => before.health,
        _ => unheard_of,
    }
}

/// The same view with the health that was heard of. A change of a backend that has moved, or was taken out of use, is late.
fn with_health(view: &Arc<PoolView>, changes: &[&Change]) -> Arc<PoolView> {
    let mut backends = view.backends.clone();
    for change in changes {
        let backend = view.position(&change.backend.key.backend).and_then(|position| backends.get_mut(position));
        if let Some(backend) = backend.filter(|backend| is_of(change, backend)) {
            backend.health = change.to;
        }
    }
    if backends == view.backends || !is_checked(&view.config) {
        return Arc::clone(view);
    }
    Arc::new(PoolView::build(view.name.clone(), Arc::clone(&view.config), backends, Some(view)))
}

/// Whether a change is of the backend as it is now: at this address, and not taken out of use.
fn is_of(change: &Change, backend: &BackendView) -> bool {
    backend.endpoint.as_ref() == Some(&change.endpoint) && backend.admin != AdminState::Maint
}

/// Whether a pool's backends are checked at all.
fn is_checked(pool: &config::Pool) -> bool {
    pool.health_check.is_some() || pool.passive_check.is_some()
}

#[cfg(test)]
mod tests;
