//! Pools: policy, and backends with an identity each.

use std::collections::{BTreeMap, HashMap};

use super::health;
use super::presence::{refuse, require};
use crate::config::error::{Place, Problem, Problems, quote};
use crate::config::file::{self, At, File, PolicyName};
use crate::config::types::{Backend, BackendName, Hashing, Policy, Pool, PoolName, Priority};

/// The position of a backend is a `u16` wherever one is picked.
const MAX_BACKENDS: usize = 65_535;

/// The pools by name.
pub(super) fn lower(file: &File, problems: &mut Problems) -> BTreeMap<PoolName, Pool> {
    let lower = |(name, keys): &(At<String>, file::Pool)| {
        let title = format!("pool {}", quote(&name.value));
        require(&keys.backends, name.place, &title, "backends = [\"ADDRESS:PORT\"]", problems);
        let pool = Pool {
            policy: policy(keys, problems),
            connect_timeout: keys.connect_timeout.value(),
            connect_attempts: keys.connect_attempts.value(),
            backends: backends(&title, keys, problems),
            health_check: health::active(keys, problems),
            passive_check: keys.passive_check.given().map(|check| health::passive(&check.value, problems)),
            on_down: keys.on_down.value(),
        };
        (PoolName::from(&*name.value), pool)
    };
    file.pools().iter().map(lower).collect()
}

fn policy(pool: &file::Pool, problems: &mut Problems) -> Policy {
    let name = pool.policy.value();
    // A policy that was refused may have been meant to hash.
    if name != PolicyName::Maglev && !pool.policy.is_refused() {
        refuse(&pool.hash_key, "a policy that hashes", "such as policy = \"maglev\"", problems);
        refuse(&pool.bounded_load, "a policy that hashes", "such as policy = \"maglev\"", problems);
    }
    match name {
        PolicyName::RoundRobin => Policy::RoundRobin,
        PolicyName::LeastConnections => Policy::LeastConnections,
        PolicyName::PowerOfTwo => Policy::PowerOfTwo,
        PolicyName::LeastLatency => Policy::LeastLatency,
        PolicyName::Random => Policy::Random,
        PolicyName::Maglev => Policy::Maglev(Hashing {
            key: pool.hash_key.value(),
            bounded_load: pool.bounded_load.get().map(|multiple| multiple.0),
        }),
    }
}

fn backends(title: &str, pool: &file::Pool, problems: &mut Problems) -> Vec<Backend> {
    let Some(list) = pool.backends.given() else { return Vec::new() };
    let entries = &list.value.0;
    if entries.len() > MAX_BACKENDS {
        let message = format!("{title} has {} backends, and a pool holds {MAX_BACKENDS}", entries.len());
        problems.report(Problem::new(list.place, message));
        return Vec::new();
    }
    let mut backends = Vec::with_capacity(entries.len());
    let mut first: HashMap<BackendName, Place> = HashMap::with_capacity(entries.len());
    for At { value: entry, place } in entries {
        let Some((place, backend)) = backend(&entry.0, *place, problems) else { continue };
        if let Some(&earlier) = first.get(&backend.identity) {
            let message = format!("{title} has two backends called {}", quote(backend.identity.as_str()));
            let help = "give one of them a `name` of its own, or make it one backend with more weight";
            problems.report(Problem::new(place, message).related(earlier, "the first").help(help));
        } else {
            first.insert(backend.identity.clone(), place);
        }
        backends.push(backend);
    }
    backends
}

/// A backend and the place of its identity; nothing, if it has no address or name that could be understood.
fn backend(keys: &file::Backend, place: Place, problems: &mut Problems) -> Option<(Place, Backend)> {
    require(&keys.address, place, "this backend", "address = \"ADDRESS:PORT\"", problems);
    let address = keys.address.given()?;
    let (identity, place) = match keys.name.given() {
        Some(name) => (name.value.clone(), name.place),
        None if keys.name.is_refused() => return None,
        None => (address.value.name.clone(), address.place),
    };
    let backend = Backend {
        identity,
        address: address.value.addr.clone(),
        weight: keys.weight.value(),
        priority: if keys.backup.value() { Priority::Backup } else { Priority::Regular },
    };
    Some((place, backend))
}
