//! A pool and its backends as workers see them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::balance::{Member, Picker, Request};
use crate::config::{self, BackendName, Policy, PoolName, Priority};
use crate::pool::backend::{BackendState, Endpoint};
use crate::pool::health::{AdminState, Health};
use crate::pool::key;
use crate::sys::socket::ClientAddr;

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
    /// Identity, load, counters, and its health as of now.
    pub state: Arc<BackendState>,
    /// Where to connect; `None` while its name has no address.
    pub endpoint: Option<Endpoint>,
    /// Relative share of new sessions, with what the operator says taken into account.
    pub weight: u16,
    /// Primary or backup.
    pub priority: Priority,
    /// What the operator says.
    pub admin: AdminState,
    /// Its health when the view was made.
    pub health: Health,
}

impl PartialEq for BackendView {
    fn eq(&self, other: &Self) -> bool {
        let Self { state, endpoint, weight, priority, admin, health } = other;
        Arc::ptr_eq(&self.state, state)
            && (&self.endpoint, self.weight, self.priority) == (endpoint, *weight, *priority)
            && (self.admin, self.health) == (*admin, *health)
    }
}

impl PoolView {
    /// Builds the view and its picker. Nothing that is in force changes.
    ///
    /// `previous` is the view it replaces, for what can be reused.
    pub fn build(
        name: PoolName,
        config: Arc<config::Pool>,
        backends: Vec<BackendView>,
        previous: Option<&Self>,
    ) -> Self {
        let usable = usable(&backends).unwrap_or(TIERS[0]);
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

    /// Puts the picker in force, right before the view is published for the first time.
    pub fn activate(&self) {
        self.picker.activate();
    }

    /// Where the backend of this name stands.
    pub fn position(&self, name: &BackendName) -> Option<usize> {
        self.by_name.get(name).map(|index| usize::from(*index))
    }

    /// The backend of this name.
    pub fn backend(&self, name: &BackendName) -> Option<&BackendView> {
        self.position(name).and_then(|position| self.backends.get(position))
    }

    /// The backend of this name, if the pool has it at this endpoint.
    pub fn find(&self, name: &BackendName, endpoint: &Endpoint) -> Option<&BackendView> {
        self.backend(name).filter(|view| view.endpoint.as_ref() == Some(endpoint))
    }

    /// Whether there is a backend to pick.
    pub fn has_candidates(&self) -> bool {
        usable(&self.backends).is_some()
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
    priority: Priority,
    health: Health,
}

/// In order of preference. A backend that is known to be up, even a backup, comes before one that nothing is known of.
const TIERS: [Tier; 4] = [
    Tier { priority: Priority::Regular, health: Health::Up },
    Tier { priority: Priority::Backup, health: Health::Up },
    Tier { priority: Priority::Regular, health: Health::Checking },
    Tier { priority: Priority::Backup, health: Health::Checking },
];

/// The first tier with a backend in it that may be picked.
fn usable(backends: &[BackendView]) -> Option<Tier> {
    TIERS.into_iter().find(|tier| backends.iter().any(|backend| tier.is_available(backend)))
}

impl Tier {
    /// Whether the backend has a place in the picker, be it available or not.
    fn is_candidate(self, backend: &BackendView) -> bool {
        backend.priority == self.priority
    }

    /// Whether the backend may be picked.
    fn is_available(self, backend: &BackendView) -> bool {
        let is_usable = backend.weight > 0 && backend.endpoint.is_some();
        is_usable && backend.priority == self.priority && backend.health == self.health
    }
}

#[cfg(test)]
mod tests;
