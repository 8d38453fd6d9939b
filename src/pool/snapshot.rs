//! The immutable picture of listeners and pools that workers read.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::balance::{Member, Picker, Request};
use crate::config::{self, AccessLog, BackendName, Config, Policy, PoolName, Role};
use crate::metrics::stats::FlowStats;
use crate::pool::backend::{BackendState, Endpoint};
use crate::pool::health::Status;
use crate::pool::key;
use crate::pool::listener::ListenerState;
use crate::sys::socket::ClientAddr;

/// A bound address, from bind to close. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BindId(pub u64);

/// Everything a worker needs to serve a new connection, at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts successful reloads, from 1.
    pub generation: u64,
    /// The configuration it was built from.
    pub config: Arc<Config>,
    /// By name.
    pub pools: BTreeMap<PoolName, Arc<PoolView>>,
    /// Which listener answers on a bound address of TCP or on a unix socket.
    pub binds: HashMap<BindId, Arc<ListenerView>>,
    /// Which listener answers on a bound address of UDP.
    pub udp_binds: HashMap<BindId, Arc<UdpListenerView>>,
    /// The addresses of those, with the ports that the kernel chose.
    pub udp_addrs: Vec<SocketAddr>,
}

/// A TCP listener as a worker sees it.
#[derive(Debug)]
pub struct ListenerView {
    /// Limits and timeouts.
    pub config: config::Tcp,
    /// Whether sessions are recorded.
    pub access_log: AccessLog,
    /// Counters and admissions.
    pub state: Arc<ListenerState>,
    /// Where it sends.
    pub pool: Arc<PoolView>,
}

/// A UDP listener as a worker sees it.
#[derive(Debug)]
pub struct UdpListenerView {
    /// Limits and timeouts.
    pub config: config::Udp,
    /// Addresses that it is bound to.
    pub binds: usize,
    /// Whether flows are recorded.
    pub access_log: AccessLog,
    /// Counters and admissions.
    pub state: Arc<ListenerState<FlowStats>>,
    /// Where it sends.
    pub pool: Arc<PoolView>,
}

/// A pool as a worker sees it.
#[derive(Debug)]
pub struct PoolView {
    /// Its name.
    pub name: PoolName,
    /// Policy, timeouts, attempts.
    pub config: Arc<config::Pool>,
    /// In the order of the configuration; a pick is an index into it.
    pub backends: Vec<BackendView>,
    /// Places in `backends`.
    by_name: HashMap<BackendName, u16>,
    picker: Picker,
}

/// A backend as a worker sees it.
#[derive(Debug, Clone)]
pub struct BackendView {
    /// Identity, load, health, counters.
    pub state: Arc<BackendState>,
    /// Where to connect.
    pub endpoint: Endpoint,
    /// Relative share.
    pub weight: u16,
    /// Primary or backup.
    pub role: Role,
}

impl Snapshot {
    /// The picture before the first configuration is in force: generation 0, nothing configured but the process's own
    /// settings.
    pub fn empty(config: &Config) -> Self {
        let config = Config { listeners: BTreeMap::new(), pools: BTreeMap::new(), ..config.clone() };
        Self {
            generation: 0,
            config: Arc::new(config),
            pools: BTreeMap::new(),
            binds: HashMap::new(),
            udp_binds: HashMap::new(),
            udp_addrs: Vec::new(),
        }
    }
}

impl PoolView {
    /// Builds the view and its picker from what the backends' status says now.
    ///
    /// `previous` is the view it replaces, for what can be reused.
    pub fn build(
        name: PoolName,
        config: Arc<config::Pool>,
        backends: Vec<BackendView>,
        previous: Option<&Self>,
    ) -> Self {
        let usable = usable(&backends);
        let members = backends
            .iter()
            .map(|backend| Member {
                key: backend.state.hash_key(),
                weight: if usable.is_candidate(backend) { backend.weight } else { 0 },
                available: usable.is_available(backend),
                load: Arc::clone(&backend.state.load),
            })
            .collect();
        let picker = Picker::build(config.policy, members, previous.map(|view| &view.picker));
        let names = backends.iter().map(|backend| backend.state.key.backend.clone());
        let by_name = names.zip(0..=u16::MAX).collect();
        Self { name, config, backends, by_name, picker }
    }

    /// The backend of this name, if the pool has it at this endpoint.
    pub fn find(&self, backend: &BackendName, endpoint: &Endpoint) -> Option<&BackendView> {
        let view = self.by_name.get(backend).and_then(|index| self.backends.get(usize::from(*index)))?;
        (view.endpoint == *endpoint).then_some(view)
    }

    /// What the policy knows a client by; 0 for those that do not hash.
    pub fn key_of(&self, client: ClientAddr) -> u64 {
        match self.config.policy {
            Policy::Maglev(hashing) => key::of_client(client, hashing.key),
            _ => 0,
        }
    }

    /// A backend for a new session, not among those `tried`; `None` when there is none.
    pub fn pick(&self, request: Request<'_>) -> Option<(u16, &BackendView)> {
        let index = self.picker.pick(request)?;
        Some((index, &self.backends[usize::from(index)]))
    }
}

/// The tier of backends that is in use: a lower one only while every higher one is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tier {
    role: Role,
    status: Status,
}

/// In order of preference. A backend that is known to be up, even a backup, comes before one that nothing is known of.
const TIERS: [Tier; 4] = [
    Tier { role: Role::Primary, status: Status::Up },
    Tier { role: Role::Backup, status: Status::Up },
    Tier { role: Role::Primary, status: Status::Checking },
    Tier { role: Role::Backup, status: Status::Checking },
];

/// The first tier with a backend in it; the first of all when none has one, which leaves nothing available.
fn usable(backends: &[BackendView]) -> Tier {
    TIERS.into_iter().find(|tier| backends.iter().any(|backend| tier.is_available(backend))).unwrap_or(TIERS[0])
}

impl Tier {
    /// Whether the backend has a place in the picker, be it available or not.
    fn is_candidate(self, backend: &BackendView) -> bool {
        backend.role == self.role
    }

    /// Whether the backend may be picked.
    fn is_available(self, backend: &BackendView) -> bool {
        backend.weight > 0 && backend.role == self.role && backend.state.status() == self.status
    }
}

#[cfg(test)]
mod tests;
