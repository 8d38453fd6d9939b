//! What is wanted, as one value.
//!
//! ```text
//! the file ──────────────┐
//! what was found out ────┼─► Desired: pools with their backends, and the listeners of the file
//! what the operator says ┘
//! ```
//!
//! Pure: the same sources give the same value, in whatever order they came to be what they are; and whatever no source
//! has touched stays as it was. Whether a backend is up is not wanted but found out, and has no part in it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::{Backend, BackendAddr, BackendName, Config, Pool, PoolName, Priority};
use crate::discovery::name::{HostName, choose};
use crate::pool::backend::{BackendKey, Endpoint};
use crate::pool::health::AdminState;

/// Everything that says what is wanted.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The configuration in force.
    pub file: Arc<Config>,
    /// Configurations in force so far, this one included.
    pub generation: u64,
    /// What was found out since.
    pub discovered: Discovered,
    /// What the operator says at run time.
    pub overrides: Overrides,
}

/// What was found out, by asking a resolver or a registry.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Discovered {
    /// Of the names that were asked for, the last good address; `None` if there never was one.
    pub addrs: BTreeMap<HostName, Option<SocketAddr>>,
    /// The backends that were found for a pool, beside those of the file.
    pub backends: BTreeMap<PoolName, Vec<Backend>>,
}

/// What the operator says. It holds for whatever is called so, also if that comes later.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// By backend.
    pub backends: BTreeMap<BackendKey, Override>,
    /// Pools whose backends get no new sessions for now.
    pub paused: BTreeSet<PoolName>,
}

/// What the operator says of one backend.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Override {
    /// Whether it belongs to its pool.
    pub membership: Membership,
    /// Whether it may be used.
    pub admin: AdminState,
    /// Its weight, in place of the configured one.
    pub weight: Option<u16>,
}

/// Whether a backend belongs to its pool.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Membership {
    /// If the file or discovery has it.
    #[default]
    AsFound,
    /// Yes: as the file or discovery has it, or else as this.
    Added {
        /// Where it is.
        address: BackendAddr,
        /// Its share of new sessions.
        weight: u16,
        /// Whether it is used from the start.
        priority: Priority,
    },
    /// No.
    Removed,
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// Listeners and settings.
    pub file: Arc<Config>,
    /// Configurations in force so far, this one included.
    pub generation: u64,
    /// By name.
    pub pools: BTreeMap<PoolName, Arc<DesiredPool>>,
}

/// A pool that is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredPool {
    /// Policy, timeouts, checks.
    pub settings: Arc<Pool>,
    /// Those of the file in its order, then those that were found or added, by name.
    pub backends: Vec<DesiredBackend>,
}

/// A backend that is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredBackend {
    /// Its identity within the pool.
    pub name: BackendName,
    /// Where it is, as configured.
    pub address: BackendAddr,
    /// Where that is.
    pub endpoint: Resolution,
    /// Share of new sessions, with what the operator says taken into account.
    pub weight: u16,
    /// Whether it is used from the start.
    pub priority: Priority,
    /// What the operator says.
    pub admin: AdminState,
}

/// Where an address is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// There.
    Known(Endpoint),
    /// Its name was asked for, and stands for nothing so far.
    Unknown,
    /// Its name is being asked for, for the first time.
    Awaited,
}

impl Sources {
    /// Nothing is wanted yet but the settings of the process, which are those of `config`.
    pub fn empty(config: &Config) -> Self {
        let file = Config { listeners: BTreeMap::new(), pools: BTreeMap::new(), ..config.clone() };
        let (discovered, overrides) = (Discovered::default(), Overrides::default());
        Self { file: Arc::new(file), generation: 0, discovered, overrides }
    }

    /// Takes the next file.
    pub fn replace_file(&mut self, file: Config) {
        self.file = Arc::new(file);
        self.generation += 1;
    }

    /// What they want together.
    pub fn desired(&self) -> Desired {
        let pool = |(name, settings): (&PoolName, &Pool)| (name.clone(), Arc::new(self.pool(name, settings)));
        Desired {
            file: Arc::clone(&self.file),
            generation: self.generation,
            pools: self.file.pools.iter().map(pool).collect(),
        }
    }

    fn pool(&self, name: &PoolName, settings: &Pool) -> DesiredPool {
        let mut others: BTreeMap<_, _> = self.added(name).map(|backend| (backend.identity.clone(), backend)).collect();
        let found = self.discovered.backends.get(name).into_iter().flatten();
        others.extend(found.map(|backend| (backend.identity.clone(), backend.clone())));
        settings.backends.iter().for_each(|backend| drop(others.remove(&backend.identity)));
        let all = settings.backends.iter().chain(others.values());
        let backends = all.filter_map(|backend| self.backend(name, backend)).collect();
        DesiredPool { settings: Arc::new(settings.clone()), backends }
    }

    /// What the operator has added to a pool.
    fn added(&self, pool: &PoolName) -> impl Iterator<Item = Backend> {
        let of_pool = self.overrides.backends.iter().filter(move |(key, _)| key.pool == *pool);
        of_pool.filter_map(|(key, said)| match said.membership.clone() {
            Membership::Added { address, weight, priority } => {
                Some(Backend { identity: key.backend.clone(), address, weight, priority })
            }
            Membership::AsFound | Membership::Removed => None,
        })
    }

    /// `None` if the operator has removed it.
    fn backend(&self, pool: &PoolName, backend: &Backend) -> Option<DesiredBackend> {
        let key = BackendKey { pool: pool.clone(), backend: backend.identity.clone() };
        let said = self.overrides.backends.get(&key).cloned().unwrap_or_default();
        if said.membership == Membership::Removed {
            return None;
        }
        let gets_sessions = said.admin == AdminState::Ready && !self.overrides.paused.contains(pool);
        let weight = said.weight.unwrap_or(backend.weight);
        Some(DesiredBackend {
            name: key.backend,
            address: backend.address.clone(),
            endpoint: self.discovered.resolve(&backend.address),
            weight: if gets_sessions { weight } else { 0 },
            priority: backend.priority,
            admin: said.admin,
        })
    }
}

impl Discovered {
    /// Takes in what a name stands for; no addresses at all leave it what it stood for. Whether that is news.
    pub fn learn(&mut self, name: &HostName, addrs: &[SocketAddr]) -> bool {
        let before = self.addrs.get(name).copied();
        let now = choose(before.flatten(), addrs);
        self.addrs.insert(name.clone(), now);
        before != Some(now)
    }

    /// Forgets what all other names stand for.
    pub fn keep(&mut self, names: &BTreeSet<HostName>) {
        self.addrs.retain(|name, _| names.contains(name));
    }

    fn resolve(&self, address: &BackendAddr) -> Resolution {
        match address {
            BackendAddr::Inet(addr) => Resolution::Known(Endpoint::Inet(*addr)),
            BackendAddr::Unix(path) => Resolution::Known(Endpoint::Unix(path.clone())),
            BackendAddr::Name { .. } => match HostName::of(address).and_then(|name| self.addrs.get(&name)) {
                Some(Some(addr)) => Resolution::Known(Endpoint::Inet(*addr)),
                Some(None) => Resolution::Unknown,
                None => Resolution::Awaited,
            },
        }
    }
}

impl Desired {
    /// All names that a backend is known by.
    pub fn names(&self) -> BTreeSet<HostName> {
        let backends = self.pools.values().flat_map(|pool| &pool.backends);
        backends.filter_map(|backend| HostName::of(&backend.address)).collect()
    }

    /// Shares with `previous` the pools that are the same in both.
    pub fn reusing(mut self, previous: &Self) -> Self {
        for (name, pool) in &mut self.pools {
            if let Some(old) = previous.pools.get(name).filter(|old| old == &pool) {
                *pool = Arc::clone(old);
            }
        }
        self
    }
}

impl DesiredPool {
    /// Whether some backend's name is being asked for, for the first time.
    pub fn awaits_names(&self) -> bool {
        self.backends.iter().any(|backend| backend.endpoint == Resolution::Awaited)
    }
}

impl Resolution {
    /// Where, if that is known.
    pub fn known(&self) -> Option<&Endpoint> {
        match self {
            Self::Known(endpoint) => Some(endpoint),
            Self::Unknown | Self::Awaited => None,
        }
    }
}

#[cfg(test)]
mod tests;
