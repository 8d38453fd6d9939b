//! Building snapshots.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Control;
use super::bind::Binder;
use super::names::Names;
use crate::config::{self, BackendAddr, BindAddr, Config, ListenerName, PoolName, Protocol};
use crate::pool::backend::{BackendKey, Endpoint};
use crate::pool::health::Health;
use crate::pool::listener::{ListenerView, View};
use crate::pool::registry::Registry;
use crate::pool::snapshot::Snapshot;
use crate::pool::view::{BackendView, PoolView};

impl Control {
    /// Publishes the same configuration with the health that backends have now.
    pub(super) fn republish(&mut self) {
        let old = self.snapshot.load_full();
        let mut pools = old.pools.clone();
        for name in std::mem::take(&mut self.stale) {
            if let Some(view) = old.pools.get(&name) {
                let backends = view.backends.clone();
                let rebuilt = PoolView::build(name.clone(), Arc::clone(&view.config), backends, Some(view));
                pools.insert(name, Arc::new(rebuilt));
            }
        }
        self.publish(old.generation, Arc::clone(&old.config), pools);
    }

    /// Publishes a snapshot of `pools` and of the listeners of `config`.
    pub(super) fn publish(&mut self, generation: u64, config: Arc<Config>, pools: BTreeMap<PoolName, Arc<PoolView>>) {
        let previous = self.snapshot.load_full();
        let new = Arc::new(assemble(generation, config, pools, &self.binder, &self.registry, &previous));
        // Before and not after: what workers find in the snapshot is ready. Until they find it they go on picking by the
        // old pickers, which read every load from here on.
        new.pools.values().for_each(|pool| pool.activate());
        drop(self.snapshot.swap(Arc::clone(&new)));
        // First room, then more: reloads may follow each other sooner than anybody keeps house.
        self.retired.free_unused();
        self.retired.keep(&previous, &new);
    }
}

/// A snapshot of everything that is bound. On an address that is being given up answers who answered in the `previous`
/// one, for what is still queued there.
fn assemble(
    generation: u64,
    config: Arc<Config>,
    pools: BTreeMap<PoolName, Arc<PoolView>>,
    binder: &Binder,
    registry: &Registry,
    previous: &Snapshot,
) -> Snapshot {
    let retired = binder.retired().filter_map(|id| Some((id, previous.binds.get(&id)?.clone())));
    let mut binds: HashMap<_, _> = retired.collect();
    let mut udp_addrs = Vec::new();
    for (name, listener) in &config.listeners {
        let view = view_listener(name, listener, &pools, registry);
        for bound in listener.bind.iter().filter_map(|addr| binder.bound(addr)) {
            binds.insert(bound.id, view.clone());
            if let BindAddr::Udp(addr) = bound.addr {
                udp_addrs.push(addr);
            }
        }
    }
    Snapshot { version: previous.version + 1, generation, config, pools, binds, udp_addrs }
}

fn view_listener(
    name: &ListenerName,
    listener: &config::Listener,
    pools: &BTreeMap<PoolName, Arc<PoolView>>,
    registry: &Registry,
) -> View {
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

/// The views of all pools of `config`, with what can be reused of the old ones.
pub(super) fn build_pools(
    config: &Config,
    names: &Names,
    registry: &Registry,
    old: &BTreeMap<PoolName, Arc<PoolView>>,
) -> BTreeMap<PoolName, Arc<PoolView>> {
    let build = |(name, pool): (&PoolName, &config::Pool)| {
        let previous = old.get(name).map(|view| &**view);
        let view = |backend| view_backend(name, pool, backend, names, registry, previous);
        let backends = pool.backends.iter().filter_map(view);
        let view = PoolView::build(name.clone(), Arc::new(pool.clone()), backends.collect(), previous);
        (name.clone(), Arc::new(view))
    };
    config.pools.iter().map(build).collect()
}

/// `None` only for a name that was not resolved, which [`Names::resolve`] does not let happen.
fn view_backend(
    pool_name: &PoolName,
    pool: &config::Pool,
    backend: &config::Backend,
    names: &Names,
    registry: &Registry,
    previous: Option<&PoolView>,
) -> Option<BackendView> {
    let endpoint = match &backend.address {
        BackendAddr::Inet(addr) => Endpoint::Inet(*addr),
        BackendAddr::Name { host, port } => Endpoint::Inet(names.addr(host, *port)?),
        BackendAddr::Unix(path) => Endpoint::Unix(path.clone()),
    };
    let initial = if pool.health_check.is_some() { Health::Checking } else { Health::Up };
    let key = BackendKey { pool: pool_name.clone(), backend: backend.identity.clone() };
    let state = registry.backend(&key, initial);
    // What was found out about another machine, or before a time without checks, says nothing about this one.
    let is_known = previous.is_some_and(|view| view.find(&key.backend, &endpoint).is_some());
    if !is_known || (pool.health_check.is_none() && pool.passive_check.is_none()) {
        state.publish_health(initial);
    }
    Some(BackendView { state, endpoint, weight: backend.weight, priority: backend.priority })
}
