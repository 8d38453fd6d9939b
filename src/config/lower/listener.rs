//! Listeners: what they bind, where they send, and that no two want the same address.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use super::Lowering;
use super::address;
use super::udp::is_udp;
use crate::config::error::{Place, Problem, did_you_mean, quote};
use crate::config::file::{self, File};
use crate::config::read::At;
use crate::config::types::{AccessLog, BindAddr, Listener, ListenerName, PoolName, Protocol, Tcp};

/// A year of silence: whoever wants more wants none, and a limit that never comes hides dead peers for ever.
pub(super) const LONGEST_SILENCE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(60 * 60);
const DEFAULT_HALF_CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

const PROTOCOLS: &[(&str, Transport)] = &[("tcp", Transport::Tcp), ("udp", Transport::Udp)];

/// The `protocol` key alone, without the keys that go with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tcp,
    Udp,
}

/// Someone who binds an address.
struct Claim {
    addr: BindAddr,
    place: Place,
    owner: String,
    sharing: Sharing,
}

/// Whether a claim lets others have a part of its address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// A listener's: one may have a wildcard and another an address that it covers.
    AmongListeners,
    /// The admin side's, which has its port for itself.
    None,
}

impl Lowering<'_> {
    pub(super) fn listeners(&mut self, file: &File) -> BTreeMap<ListenerName, Listener> {
        let is_empty = file.listeners.given().is_some_and(|listeners| listeners.value.0.is_empty());
        if is_empty || file.listeners.is_absent() {
            let message = "there is no listener: nothing would be served";
            let help = "add [listeners.NAME] with `bind` and `pool`";
            self.problems.report(Problem::missing(Place::default(), message).help(help));
        }
        let mut listeners = BTreeMap::new();
        for (name, listener) in file.listeners() {
            self.check_name(name);
            listeners.insert(ListenerName::from(&*name.value), self.listener(file, name, listener));
        }
        self.refuse_shared_addresses(file);
        self.refuse_unix_backends(file);
        self.refuse_passive_checks_without_datagrams(file);
        listeners
    }

    fn listener(&mut self, file: &File, name: &At<String>, listener: &file::Listener) -> Listener {
        let whose = format!("listener {}", quote(&name.value));
        self.require(&listener.bind, name.place, &whose, "bind = [\"0.0.0.0:PORT\", \"[::]:PORT\"]");
        self.require(&listener.pool, name.place, &whose, "pool = \"NAME\", the NAME of a [pools.NAME]");
        let bind = listener.bind.given().map_or(&[][..], |bind| &bind.value.0);
        let transport = self.given_choice(&listener.protocol, PROTOCOLS);
        let bind = bind.iter().filter_map(|addr| self.understand(addr, address::bind));
        let mut bind: Vec<BindAddr> = bind.collect();
        let protocol = match transport.unwrap_or(Transport::Tcp) {
            Transport::Tcp => {
                // A protocol that was refused may have been meant to be UDP.
                if transport.is_some() || listener.protocol.is_absent() {
                    self.refuse_udp_keys(listener);
                }
                Protocol::Tcp(self.tcp(listener))
            }
            Transport::Udp => {
                bind = bind.into_iter().map(over_udp).collect();
                Protocol::Udp(self.udp(listener))
            }
        };
        Listener {
            bind,
            pool: self.pool_reference(file, listener),
            protocol,
            access_log: match listener.access_log.given() {
                Some(At { value: false, .. }) => AccessLog::Off,
                _ => AccessLog::On,
            },
        }
    }

    fn tcp(&mut self, listener: &file::Listener) -> Tcp {
        let half_close = &listener.half_close_timeout;
        Tcp {
            max_connections: self.count(&listener.max_connections, u32::MAX, NonZeroU32::MAX),
            idle_timeout: self.duration(&listener.idle_timeout, LONGEST_SILENCE, DEFAULT_IDLE_TIMEOUT),
            half_close_timeout: self.duration(half_close, LONGEST_SILENCE, DEFAULT_HALF_CLOSE_TIMEOUT),
        }
    }

    fn pool_reference(&mut self, file: &File, listener: &file::Listener) -> PoolName {
        let Some(pool) = listener.pool.given() else { return PoolName::from("") };
        let mut names = file.pools().iter().map(|(name, _)| &*name.value);
        // Pools that were refused as a whole may have had it.
        let is_known = file.pools.given().is_some() || file.pools.is_absent();
        if is_known && !names.clone().any(|name| name == pool.value) {
            let help = did_you_mean(&pool.value, names.clone()).unwrap_or_else(|| match names.next() {
                Some(first) => names.fold(format!("the pools are `{first}`"), |list, name| format!("{list}, `{name}`")),
                None => format!("define it: [pools.{}]", pool.value),
            });
            let message = format!("no pool is called {}", quote(&pool.value));
            self.problems.report(Problem::missing(pool.place, message).help(help));
        }
        PoolName::from(&*pool.value)
    }

    /// Reports every address that is bound a second time. A wildcard and one of the addresses it covers are two, except
    /// to the admin side.
    fn refuse_shared_addresses(&mut self, file: &File) {
        let mut claims = claims(file);
        claims.sort_by_key(|claim| claim.place);
        let mut first: HashMap<&BindAddr, &Claim> = HashMap::with_capacity(claims.len());
        for claim in &claims {
            let Some(earlier) = first.get(&claim.addr) else {
                first.insert(&claim.addr, claim);
                continue;
            };
            let message = if earlier.owner == claim.owner {
                format!("{} binds {} twice", claim.owner, claim.addr)
            } else {
                format!("{} and {} both bind {}", earlier.owner, claim.owner, claim.addr)
            };
            self.problems.report(Problem::new(claim.place, message).related(earlier.place, "bound here already"));
        }
        for claim in claims.iter().filter(|claim| claim.sharing == Sharing::None) {
            let Some(whole) = wildcard_over(&claim.addr).and_then(|wildcard| first.get(&wildcard).copied()) else {
                continue;
            };
            let message = format!(
                "{} and {} cannot share a port: {} covers {}",
                claim.owner, whole.owner, whole.addr, claim.addr
            );
            let (earlier, later) = if claim.place < whole.place { (claim, whole) } else { (whole, claim) };
            self.problems.report(Problem::new(later.place, message).related(earlier.place, "bound here already"));
        }
    }
}

/// The address that stands for all of the family at this port; its sockets take what is sent to `addr` as well.
fn wildcard_over(addr: &BindAddr) -> Option<BindAddr> {
    let BindAddr::Tcp(addr) = addr else { return None };
    let all = match addr.ip() {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    Some(BindAddr::Tcp(SocketAddr::new(all, addr.port())))
}

/// What a UDP listener binds where a TCP listener would bind `addr`; a path stays one, and is reported.
fn over_udp(addr: BindAddr) -> BindAddr {
    match addr {
        BindAddr::Tcp(addr) | BindAddr::Udp(addr) => BindAddr::Udp(addr),
        BindAddr::Unix(path) => BindAddr::Unix(path),
    }
}

/// All addresses that would be bound, the admin side's among them: TCP and UDP may have the same each. Those that are
/// none are reported elsewhere.
fn claims(file: &File) -> Vec<Claim> {
    let mut claims = Vec::new();
    for (name, listener) in file.listeners() {
        let owner = format!("listener {}", quote(&name.value));
        for text in listener.bind.given().into_iter().flat_map(|bind| &bind.value.0) {
            let addr = address::bind(&text.value).ok();
            let addr = if is_udp(listener) { addr.map(over_udp) } else { addr };
            claims.extend(addr.map(|addr| Claim {
                addr,
                place: text.place,
                owner: owner.clone(),
                sharing: Sharing::AmongListeners,
            }));
        }
    }
    if let Some(admin) = file.admin.given() {
        let socket = admin.value.socket.given();
        let http = admin.value.http.given();
        let socket = socket.map(|text| (text.place, address::unix_path(&text.value).map(BindAddr::Unix)));
        let http = http.map(|text| (text.place, address::loopback(&text.value).map(BindAddr::Tcp)));
        for (place, addr) in socket.into_iter().chain(http) {
            claims.extend(addr.ok().map(|addr| Claim {
                addr,
                place,
                owner: "[admin]".to_owned(),
                sharing: Sharing::None,
            }));
        }
    }
    claims
}
