//! Listeners: what they speak and bind, where they send, and what bounds them.

use std::collections::BTreeMap;

use super::capacity::Limits;
use super::presence::require;
use super::{tcp, udp};
use crate::config::error::{Place, Problem, Problems, did_you_mean, quote};
use crate::config::file::{self, At, Endpoint, File};
use crate::config::types::{AccessLog, BindAddr, Listener, ListenerName, PoolName, Protocol, Transport};

/// A listener of the file, once it is known what it speaks and binds.
pub(super) struct Decided<'f> {
    pub(super) name: &'f At<String>,
    /// Absent where the file says something that was refused. It passes for TCP then, and nothing that a listener of
    /// either may have is held against it.
    pub(super) transport: Option<Transport>,
    /// In the order of the file. What its transport cannot bind was reported and is left out.
    pub(super) bind: Vec<At<BindAddr>>,
    pub(super) keys: &'f file::Listener,
}

impl<'f> Decided<'f> {
    fn new(name: &'f At<String>, keys: &'f file::Listener, problems: &mut Problems) -> Self {
        let transport = (!keys.protocol.is_refused()).then(|| keys.protocol.value());
        let bind = keys.bind().iter().filter_map(|endpoint| {
            let value = match (&endpoint.value, transport) {
                (Endpoint::Inet(addr), Some(Transport::Udp)) => BindAddr::Udp(*addr),
                (Endpoint::Inet(addr), _) => BindAddr::Tcp(*addr),
                (Endpoint::Unix(path), Some(Transport::Udp)) => {
                    let path = BindAddr::Unix(path.clone()).to_string();
                    let message = format!("a UDP listener binds an IP address, and {} is a path", quote(&path));
                    problems.report(Problem::new(endpoint.place, message));
                    return None;
                }
                (Endpoint::Unix(path), _) => BindAddr::Unix(path.clone()),
            };
            Some(At { value, place: endpoint.place })
        });
        let bind = bind.collect();
        Self { name, transport, bind, keys }
    }

    /// As messages call it.
    pub(super) fn title(&self) -> String {
        format!("listener {}", quote(&self.name.value))
    }

    /// The pool that it says it sends to.
    pub(super) fn pool(&self) -> Option<&'f PoolName> {
        self.keys.pool.given().map(|pool| &pool.value)
    }
}

/// Decides what each listener of the file speaks and binds.
pub(super) fn decide<'f>(file: &'f File, problems: &mut Problems) -> Vec<Decided<'f>> {
    let is_empty = file.listeners.given().is_some_and(|listeners| listeners.value.0.is_empty());
    if is_empty || file.listeners.is_absent() {
        let message = "there is no listener: nothing would be served";
        let help = "add [listeners.NAME] with `bind` and `pool`";
        problems.report(Problem::missing(Place::default(), message).help(help));
    }
    file.listeners().iter().map(|(name, keys)| Decided::new(name, keys, problems)).collect()
}

/// The listeners by name. What they may have of sessions and flows is among `limits`.
pub(super) fn lower(
    listeners: &[Decided<'_>],
    file: &File,
    limits: &Limits,
    problems: &mut Problems,
) -> BTreeMap<ListenerName, Listener> {
    let lower = |listener: &Decided<'_>| {
        let Decided { name, keys, .. } = listener;
        require(&keys.bind, name.place, &listener.title(), "bind = [\"0.0.0.0:PORT\", \"[::]:PORT\"]", problems);
        require(&keys.pool, name.place, &listener.title(), "pool = \"NAME\", the NAME of a [pools.NAME]", problems);
        refuse_unknown_pool(keys, file, problems);
        let lowered = Listener {
            bind: listener.bind.iter().map(|bind| bind.value.clone()).collect(),
            pool: keys.pool.get().unwrap_or_else(|| PoolName::from("")),
            protocol: match listener.transport {
                Some(Transport::Tcp) => {
                    udp::refuse_keys(keys, problems);
                    Protocol::Tcp(tcp::lower(keys, limits))
                }
                Some(Transport::Udp) => {
                    tcp::refuse_keys(keys, problems);
                    Protocol::Udp(udp::lower(keys, limits, problems))
                }
                None => Protocol::Tcp(tcp::lower(keys, limits)),
            },
            access_log: if keys.access_log.value() { AccessLog::On } else { AccessLog::Off },
        };
        (ListenerName::from(&*name.value), lowered)
    };
    listeners.iter().map(lower).collect()
}

/// Reports a pool that is not there.
fn refuse_unknown_pool(listener: &file::Listener, file: &File, problems: &mut Problems) {
    let Some(pool) = listener.pool.given() else { return };
    let mut names = file.pools().iter().map(|(name, _)| &*name.value);
    // Pools that were refused as a whole may have had it.
    if file.pools.is_refused() || names.clone().any(|name| name == pool.value.as_str()) {
        return;
    }
    let help = did_you_mean(pool.value.as_str(), names.clone()).unwrap_or_else(|| match names.next() {
        Some(first) => names.fold(format!("the pools are `{first}`"), |list, name| format!("{list}, `{name}`")),
        None => format!("define it: [pools.{}]", pool.value),
    });
    let message = format!("no pool is called {}", quote(pool.value.as_str()));
    problems.report(Problem::missing(pool.place, message).help(help));
}
