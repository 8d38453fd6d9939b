//! What the metrics are about: references to all that a scrape reads, taken when it begins.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::usage::Usage;
use crate::config::PoolName;
use crate::metrics::stats::{FlowStats, SessionStats};
use crate::pool::backend::BackendState;
use crate::pool::listener::ListenerState;
use crate::pool::registry::Registry;
use crate::pool::snapshot::Snapshot;

/// Everything that a scrape reads.
pub(super) struct Subjects {
    pub(super) registry: Arc<Registry>,
    pub(super) generation: u64,
    pub(super) process: Option<Usage>,
    pub(super) tcp_listeners: Vec<NamedListener<SessionStats>>,
    pub(super) udp_listeners: Vec<NamedListener<FlowStats>>,
    /// Those with counters: the configured ones and those removed that still have sessions.
    pub(super) backends: Vec<Arc<BackendState>>,
    /// Those of them that UDP listeners send to.
    pub(super) datagram_backends: Vec<Arc<BackendState>>,
    /// Those of the configuration in force.
    pub(super) configured: Vec<Arc<BackendState>>,
}

/// The states of a listener under one name: more than one while sessions are left from before its pool changed.
pub(super) struct NamedListener<S>(Vec<Arc<ListenerState<S>>>);

impl<S> NamedListener<S> {
    pub(super) fn name(&self) -> &str {
        self.0[0].name.as_str()
    }

    pub(super) fn states(&self) -> impl Iterator<Item = &ListenerState<S>> {
        self.0.iter().map(|state| &**state)
    }

    /// The counters of every worker.
    pub(super) fn stats(&self) -> impl Iterator<Item = &S> {
        self.states().flat_map(|state| state.stats.iter())
    }
}

impl Subjects {
    /// All of the process now.
    pub(super) fn new(snapshot: &Snapshot, registry: &Arc<Registry>) -> Self {
        let configured = snapshot.pools.values().flat_map(|pool| &pool.backends);
        let backends = registry.backends();
        let udp_listeners = registry.udp_listeners();
        let udp_pools: BTreeSet<&PoolName> = udp_listeners.iter().map(|state| &state.pool).collect();
        let datagram_backends = backends.iter().filter(|state| udp_pools.contains(&state.key.pool));
        Self {
            registry: Arc::clone(registry),
            generation: snapshot.generation,
            process: Usage::read(),
            tcp_listeners: by_name(&registry.tcp_listeners()),
            udp_listeners: by_name(&udp_listeners),
            datagram_backends: datagram_backends.cloned().collect(),
            backends,
            configured: configured.map(|backend| Arc::clone(&backend.state)).collect(),
        }
    }
}

/// Groups `sorted` by name.
fn by_name<S>(sorted: &[Arc<ListenerState<S>>]) -> Vec<NamedListener<S>> {
    sorted.chunk_by(|a, b| a.name == b.name).map(|states| NamedListener(states.to_vec())).collect()
}
