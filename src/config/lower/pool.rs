//! Pools: policy, and backends with an identity each.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU16;
use std::time::Duration;

use super::Lowering;
use super::address;
use crate::config::error::{Place, Problem, quote};
use crate::config::file::{self, Entry, File};
use crate::config::read::{At, Field};
use crate::config::types::{Backend, BackendAddr, BackendName, HashKey, Hashing, OnDown, Policy, Pool, PoolName, Role};

/// The position of a backend is a `u16` wherever one is picked.
const MAX_BACKENDS: usize = 65_535;

/// The kernel itself gives a connection up after about two minutes (tcp(7), `tcp_syn_retries` 6); an hour is a slip.
pub(super) const LONGEST_ATTEMPT: Duration = Duration::from_secs(60 * 60);

const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const DEFAULT_CONNECT_ATTEMPTS: NonZeroU16 = NonZeroU16::new(3).expect("3 is not 0");
const DEFAULT_WEIGHT: u16 = 1;
const DEFAULT_POLICY: Policy = Policy::LeastConnections;

const POLICIES: &[(&str, Option<Policy>)] = &[
    ("round-robin", Some(Policy::RoundRobin)),
    ("least-connections", Some(Policy::LeastConnections)),
    ("power-of-two", Some(Policy::PowerOfTwo)),
    ("least-latency", Some(Policy::LeastLatency)),
    ("random", Some(Policy::Random)),
    // Takes more keys.
    ("maglev", None),
];
const HASH_KEYS: &[(&str, HashKey)] = &[("source-ip", HashKey::SourceIp), ("source-ip-port", HashKey::SourceIpPort)];
const ON_DOWN: &[(&str, OnDown)] = &[("keep", OnDown::Keep), ("close", OnDown::Close)];

impl Lowering<'_> {
    pub(super) fn pools(&mut self, file: &File) -> BTreeMap<PoolName, Pool> {
        let mut pools = BTreeMap::new();
        for (name, pool) in file.pools() {
            self.check_name(name);
            pools.insert(PoolName::from(&*name.value), self.pool(name, pool));
        }
        pools
    }

    fn pool(&mut self, name: &At<String>, pool: &file::Pool) -> Pool {
        let whose = format!("pool {}", quote(&name.value));
        self.require(&pool.backends, name.place, &whose, "backends = [\"ADDRESS:PORT\"]");
        Pool {
            policy: self.policy(pool),
            connect_timeout: self.duration(&pool.connect_timeout, LONGEST_ATTEMPT, DEFAULT_CONNECT_TIMEOUT),
            connect_attempts: self.count(&pool.connect_attempts, u16::MAX.into(), DEFAULT_CONNECT_ATTEMPTS),
            backends: self.backends(&whose, pool),
            health_check: self.health_check(pool),
            passive_check: pool.passive_check.given().map(|check| self.passive_check(&check.value)),
            on_down: self.choice(&pool.on_down, ON_DOWN, OnDown::Keep),
        }
    }

    fn policy(&mut self, pool: &file::Pool) -> Policy {
        let hashing = Hashing {
            key: self.choice(&pool.hash_key, HASH_KEYS, HashKey::SourceIp),
            bounded_load: self.bounded_load(&pool.bounded_load),
        };
        let given = self.given_choice(&pool.policy, POLICIES);
        let Some(policy) = given.unwrap_or(Some(DEFAULT_POLICY)) else {
            return Policy::Maglev(hashing);
        };
        // A policy that was refused may have been meant to hash.
        if given.is_some() || pool.policy.is_absent() {
            self.refuse_without_hashing(&pool.hash_key);
            self.refuse_without_hashing(&pool.bounded_load);
        }
        policy
    }

    fn bounded_load(&mut self, field: &Field<f64>) -> Option<f64> {
        let given = field.given()?;
        if given.value.is_finite() && given.value >= 1.0 {
            return Some(given.value);
        }
        let help = "it is a multiple of the fair share: 1.25 lets a backend have a quarter more";
        self.problems.report(Problem::new(given.place, "`bounded_load` must be at least 1").help(help));
        None
    }

    fn refuse_without_hashing<T>(&mut self, field: &Field<T>) {
        if let Some(given) = field.given() {
            let message = format!("`{}` is for a policy that hashes", field.key);
            self.problems.report(Problem::new(given.place, message).help("such as policy = \"maglev\""));
        }
    }

    fn backends(&mut self, whose: &str, pool: &file::Pool) -> Vec<Backend> {
        let Some(list) = pool.backends.given() else { return Vec::new() };
        let entries = &list.value.0;
        if entries.len() > MAX_BACKENDS {
            let message = format!("{whose} has {} backends, and a pool holds {MAX_BACKENDS}", entries.len());
            self.problems.report(Problem::new(list.place, message));
            return Vec::new();
        }
        let mut backends = Vec::with_capacity(entries.len());
        let mut first: HashMap<BackendName, Place> = HashMap::with_capacity(entries.len());
        for At { value: Entry(entry), place } in entries {
            let Some((place, backend)) = self.backend(entry, *place) else { continue };
            if let Some(&earlier) = first.get(&backend.identity) {
                let message = format!("{whose} has two backends called {}", quote(backend.identity.as_str()));
                let help = "give one of them a `name` of its own, or make it one backend with more weight";
                self.problems.report(Problem::new(place, message).related(earlier, "the first").help(help));
            } else {
                first.insert(backend.identity.clone(), place);
            }
            backends.push(backend);
        }
        backends
    }

    /// A backend and the place of its identity; nothing, if it has no address that could be understood.
    fn backend(&mut self, entry: &file::Backend, place: Place) -> Option<(Place, Backend)> {
        self.require(&entry.address, place, "this backend", "address = \"ADDRESS:PORT\"");
        let weight = self.within(&entry.weight, 0, u16::MAX.into());
        if let Some(name) = entry.name.given() {
            self.check_name(name);
        }
        let address: BackendAddr = self.parsed(&entry.address, address::backend)?;
        let identity = entry.name.given().or(entry.address.given())?;
        let backend = Backend {
            identity: BackendName::from(&*identity.value),
            address,
            weight: weight.and_then(|weight| weight.try_into().ok()).unwrap_or(DEFAULT_WEIGHT),
            role: match entry.backup.given() {
                Some(At { value: true, .. }) => Role::Backup,
                _ => Role::Primary,
            },
        };
        Some((identity.place, backend))
    }
}
