//! Building snapshots.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Control;
use super::binder::{Binder, View};
use super::names::Names;
use crate::config::{self, BackendAddr, BindAddr, Config, ListenerName, PoolName, Protocol};
use crate::pool::backend::{BackendKey, Endpoint};
use crate::pool::health::Status;
use crate::pool::registry::Registry;
use crate::pool::snapshot::{BackendView, ListenerView, PoolView, Snapshot, UdpListenerView};

impl Control {
    /// Publishes the same configuration with the status that backends have now.
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
        let new = Arc::new(assemble(generation, config, pools, &self.binder, &self.registry));
        let old = self.snapshot.swap(Arc::clone(&new));
        // First room, then more: reloads may follow each other sooner than anybody keeps house.
        self.retired.free_unused();
        self.retired.keep(&old, &new);
    }
}

fn assemble(
    generation: u64,
    config: Arc<Config>,
    pools: BTreeMap<PoolName, Arc<PoolView>>,
    binder: &Binder,
    registry: &Registry,
) -> Snapshot {
    let (mut binds, mut udp_binds, mut udp_addrs) = (HashMap::new(), HashMap::new(), Vec::new());
    let mut answers = |id, view| match view {
        View::Tcp(view) => drop(binds.insert(id, view)),
        View::Udp(view) => drop(udp_binds.insert(id, view)),
    };
    for (id, view) in binder.retired() {
        answers(id, view.clone());
    }
    for (name, listener) in &config.listeners {
        let view = view_listener(name, listener, &pools, registry);
        for bound in listener.bind.iter().filter_map(|addr| binder.bound(addr)) {
            answers(bound.id, view.clone());
            if let BindAddr::Udp(addr) = bound.addr {
                udp_addrs.push(addr);
            }
        }
    }
    Snapshot { generation, config, pools, binds, udp_binds, udp_addrs }
}

fn view_listener(
    name: &ListenerName,
    listener: &config::Listener,
    pools: &BTreeMap<PoolName, Arc<PoolView>>,
    registry: &Registry,
) -> View {
    let (pool, access_log) = (Arc::clone(&pools[&listener.pool]), listener.access_log);
    match &listener.protocol {
        Protocol::Tcp(tcp) => {
            let state = registry.listener(name, &listener.pool);
            View::Tcp(Arc::new(ListenerView { config: tcp.clone(), access_log, state, pool }))
        }
        Protocol::Udp(udp) => {
            let state = registry.udp_listener(name, &listener.pool);
            View::Udp(Arc::new(UdpListenerView {
                config: udp.clone(),
                binds: listener.bind.len(),
                access_log,
                state,
                pool,
            }))
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
    let initial = if pool.health_check.is_some() { Status::Checking } else { Status::Up };
    let key = BackendKey { pool: pool_name.clone(), backend: backend.identity.clone() };
    let state = registry.backend(&key, initial);
    // What was found out about another machine, or before a time without checks, says nothing about this one.
    let is_known = previous.is_some_and(|view| view.find(&key.backend, &endpoint).is_some());
    if !is_known || (pool.health_check.is_none() && pool.passive_check.is_none()) {
        state.publish_status(initial);
    }
    Some(BackendView { state, endpoint, weight: backend.weight, role: backend.role })
}
