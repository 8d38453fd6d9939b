//! What a reload will do, as the difference of two configurations. Pure: nothing is bound or closed here.
//!
//! Addresses that appear and disappear are found by whoever holds the sockets, since one address may pass from one
//! listener to another.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;

use super::types::{Backend, BackendName, Config, Listener, ListenerName, Pool, PoolName, Protocol};

/// The difference between two configurations. The order of backends in the file means nothing and is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diff {
    /// By name.
    pub listeners: Changes<ListenerName>,
    /// Of all pools, by pool and identity.
    pub backends: Changes<(PoolName, BackendName)>,
    /// By name; changed are those whose own keys differ, whatever their backends do.
    pub pools: Changes<PoolName>,
    /// Keys of the top level that differ and that a reload carries out; `max_flows` stands for the default of
    /// listeners.
    pub settings: Vec<&'static str>,
    /// Keys that differ and that only a restart carries out; until then the old values stay in force.
    pub restart_required: Vec<&'static str>,
}

/// What is new, gone and different, each sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes<K> {
    /// Only in the new configuration.
    pub added: Vec<K>,
    /// Only in the old one.
    pub removed: Vec<K>,
    /// In both, but not the same.
    pub changed: Vec<K>,
}

impl Diff {
    /// Compares a configuration with the one that is to replace it.
    pub fn new(old: &Config, new: &Config) -> Self {
        let default_counts =
            old.listeners.keys().any(|name| takes_default_flows(old, name) && takes_default_flows(new, name));
        Self {
            listeners: Changes::between(&listeners(old, new), &listeners(new, old)),
            backends: Changes::between(&backends(old), &backends(new)),
            pools: Changes::between(&pools(old), &pools(new)),
            settings: differing(&[
                ("max_connections", old.max_connections != new.max_connections),
                ("max_flows", default_counts && old.default_max_flows != new.default_max_flows),
                ("shutdown_timeout", old.shutdown_timeout != new.shutdown_timeout),
                ("log", old.log != new.log),
            ]),
            restart_required: differing(&[
                ("workers", old.workers != new.workers),
                ("busy_poll", old.busy_poll != new.busy_poll),
                ("admin.socket", old.admin.socket != new.admin.socket),
                ("admin.http", old.admin.http != new.admin.http),
            ]),
        }
    }

    /// Whether the two configurations mean the same.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// "listeners +1 -0 ~1, backends +2 -1 ~0, pools +0 -0 ~0, settings shutdown_timeout,log".
impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "listeners {}, backends {}, pools {}", self.listeners, self.backends, self.pools)?;
        if !self.settings.is_empty() {
            write!(f, ", settings {}", self.settings.join(","))?;
        }
        Ok(())
    }
}

impl<K> Changes<K> {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

impl<K> Default for Changes<K> {
    fn default() -> Self {
        Self { added: Vec::new(), removed: Vec::new(), changed: Vec::new() }
    }
}

impl<K: Clone + Ord> Changes<K> {
    fn between<V: PartialEq>(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> Self {
        let only_in = |a: &BTreeMap<K, V>, b: &BTreeMap<K, V>| -> Vec<K> {
            a.keys().filter(|key| !b.contains_key(key)).cloned().collect()
        };
        let differs = |(key, value): &(&K, &V)| new.get(key).is_some_and(|other| other != *value);
        Self {
            added: only_in(new, old),
            removed: only_in(old, new),
            changed: old.iter().filter(differs).map(|(key, _)| key.clone()).collect(),
        }
    }
}

impl<K> fmt::Display for Changes<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{} -{} ~{}", self.added.len(), self.removed.len(), self.changed.len())
    }
}

/// Listeners as far as they are their own: one that does not say how many sessions or flows it has, neither here nor in
/// the `other` configuration, has what there is. That may move when a backend is added, for the descriptors are shared,
/// and must not read as a change of every listener.
fn listeners(config: &Config, other: &Config) -> BTreeMap<ListenerName, Listener> {
    let own = |name: &ListenerName, listener: &Listener| {
        let mut own = listener.clone();
        if takes_default(config, name) && takes_default(other, name) {
            match &mut own.protocol {
                Protocol::Tcp(tcp) => tcp.max_connections = NonZeroU32::MAX,
                Protocol::Udp(udp) => udp.max_flows = NonZeroU32::MAX,
            }
        }
        own
    };
    config.listeners.iter().map(|(name, listener)| (name.clone(), own(name, listener))).collect()
}

/// Whether a listener has as many sessions or flows as those that do not say.
fn takes_default(config: &Config, name: &ListenerName) -> bool {
    match config.listeners.get(name).map(|listener| &listener.protocol) {
        Some(Protocol::Tcp(tcp)) => tcp.max_connections == config.max_connections,
        Some(Protocol::Udp(udp)) => udp.max_flows == config.default_max_flows,
        None => false,
    }
}

fn takes_default_flows(config: &Config, name: &ListenerName) -> bool {
    let is_udp = |listener: &Listener| matches!(listener.protocol, Protocol::Udp(_));
    config.listeners.get(name).is_some_and(is_udp) && takes_default(config, name)
}

fn backends(config: &Config) -> BTreeMap<(PoolName, BackendName), &Backend> {
    let all = config.pools.iter().flat_map(|(name, pool)| pool.backends.iter().map(move |backend| (name, backend)));
    all.map(|(pool, backend)| ((pool.clone(), backend.identity.clone()), backend)).collect()
}

/// Pools without their backends.
fn pools(config: &Config) -> BTreeMap<PoolName, Pool> {
    let own = |pool: &Pool| Pool {
        backends: Vec::new(),
        policy: pool.policy,
        connect_timeout: pool.connect_timeout,
        connect_attempts: pool.connect_attempts,
        health_check: pool.health_check.clone(),
        passive_check: pool.passive_check,
        on_down: pool.on_down,
    };
    config.pools.iter().map(|(name, pool)| (name.clone(), own(pool))).collect()
}

fn differing(keys: &[(&'static str, bool)]) -> Vec<&'static str> {
    keys.iter().filter(|(_, differs)| *differs).map(|(key, _)| *key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Machine;
    use std::num::NonZeroUsize;

    const OLD: &str = r#"
        [listeners.a]
        bind = ["127.0.0.1:1"]
        pool = "p"
        [listeners.b]
        bind = ["127.0.0.1:2"]
        pool = "p"
        [pools.p]
        backends = ["x:1", "y:1"]
    "#;

    fn diff(new: &str) -> Diff {
        between(OLD, new)
    }

    fn between(old: &str, new: &str) -> Diff {
        let machine = Machine { descriptor_limit: 20_000, ephemeral_ports: 28_232, cpus: NonZeroUsize::MIN };
        let parse = |text| Config::parse("test", text, &machine).unwrap_or_else(|errors| panic!("{errors}"));
        Diff::new(&parse(old), &parse(new))
    }

    #[test]
    fn the_same_is_no_difference() {
        assert!(diff(OLD).is_empty());
        assert!(diff(&OLD.replace(r#""x:1", "y:1""#, r#""y:1", "x:1""#)).is_empty());
    }

    #[test]
    fn listeners_come_go_and_change() {
        let new = OLD.replace("listeners.a", "listeners.c").replace("127.0.0.1:2", "127.0.0.1:3");
        let diff = diff(&new);
        assert_eq!(diff.to_string(), "listeners +1 -1 ~1, backends +0 -0 ~0, pools +0 -0 ~0");
        assert_eq!(diff.listeners.changed, [ListenerName::from("b")]);
    }

    #[test]
    fn a_new_backend_leaves_the_listeners_alone() {
        let new = OLD.replace(r#""x:1""#, r#"{ address = "x:1", weight = 2 }, "z:1", "zz:1""#);
        let diff = diff(&new);
        let shown = "listeners +0 -0 ~0, backends +2 -0 ~1, pools +0 -0 ~0, settings max_connections";
        assert_eq!(diff.to_string(), shown);
        assert_eq!(diff.backends.changed, [("p".into(), "x:1".into())]);
        assert_eq!(diff.settings, ["max_connections"], "the probes take descriptors");
        assert!(diff.pools.is_empty());
    }

    #[test]
    fn a_bound_of_its_own_is_a_change() {
        let diff = diff(&OLD.replacen("pool =", "max_connections = 5\npool =", 1));
        assert_eq!(diff.listeners.changed, [ListenerName::from("a")]);
    }

    #[test]
    fn the_default_of_flows_is_a_setting_where_somebody_takes_it() {
        let udp = OLD
            .replace("pool =", "protocol = \"udp\"\npool =")
            .replace("x:1", "10.0.0.1:1")
            .replace("y:1", "10.0.0.2:1");
        let more = udp.replace(
            "[pools.p]",
            "[listeners.c]\nbind = [\"127.0.0.1:3\"]\nprotocol = \"udp\"\npool = \"p\"\n[pools.p]",
        );
        let shown = "listeners +1 -0 ~0, backends +0 -0 ~0, pools +0 -0 ~0, settings max_flows";
        assert_eq!(between(&udp, &more).to_string(), shown);
        let said = |text: &str, flows: u32| text.replace("protocol =", &format!("max_flows = {flows}\nprotocol ="));
        assert!(between(&said(&udp, 5), &said(&udp, 5)).is_empty());
        assert_eq!(between(&said(&udp, 5), &said(&more, 5)).to_string(), shown.replace(", settings max_flows", ""));
        assert_eq!(between(&udp, &said(&udp, 5)).listeners.changed.len(), 2);
    }

    #[test]
    fn a_bound_that_happened_to_be_the_default_has_not_changed() {
        let with = |of_process: u32| {
            format!("max_connections = {of_process}\n{}", OLD.replacen("pool =", "max_connections = 5\npool =", 1))
        };
        let diff = between(&with(5), &with(6));
        assert_eq!((diff.listeners.is_empty(), diff.settings), (true, vec!["max_connections"]));
    }

    #[test]
    fn pools_change_by_their_own_keys() {
        let diff = diff(&OLD.replace("[pools.p]", "[pools.p]\non_down = \"close\""));
        assert_eq!(diff.pools.changed, [PoolName::from("p")]);
        assert_eq!(diff.to_string(), "listeners +0 -0 ~0, backends +0 -0 ~0, pools +0 -0 ~1");
        assert!(!diff.is_empty());
    }

    #[test]
    fn some_keys_need_a_restart() {
        let top = "workers = 7\nbusy_poll = \"50us\"\nlog = \"debug\"\nshutdown_timeout = \"1s\"\n\
            admin.http = \"127.0.0.1:9\"\n";
        let diff = diff(&format!("{top}{OLD}"));
        assert_eq!(diff.restart_required, ["workers", "busy_poll", "admin.http"]);
        assert_eq!(diff.settings, ["max_connections", "shutdown_timeout", "log"]);
        assert!(diff.to_string().ends_with(", settings max_connections,shutdown_timeout,log"), "{diff}");
    }
}
