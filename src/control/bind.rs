//! Bound addresses, from bind to close.
//!
//! A bound address outlives the listener that asked for it: when a listener is renamed, or its address moves to
//! another, the sockets stay and no connection is lost.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::config::{BindAddr, Config, Listener, ListenerName, Protocol};
use crate::pool::snapshot::BindId;
use crate::sys::{socket, udp};

/// How long a retired address is still known, so that what the kernel had queued on it is served. Longer than the
/// workers take to retire a socket.
const REMEMBERED: Duration = Duration::from_secs(2);

/// All bound addresses.
#[derive(Debug)]
pub struct Binder {
    workers: usize,
    capabilities: udp::Capabilities,
    next_id: u64,
    bound: BTreeMap<BindAddr, Bound>,
    retired: HashMap<BindId, Retired>,
}

/// A bound address.
#[derive(Debug, Clone)]
pub struct Bound {
    /// What workers call it.
    pub id: BindId,
    /// Where it really is: the port that the kernel chose for port 0.
    pub addr: BindAddr,
}

/// An address that workers are giving up.
#[derive(Debug)]
struct Retired {
    since: Instant,
    addr: BindAddr,
}

/// What a reload does to addresses; nothing has happened to the old ones yet.
#[derive(Debug, Default)]
pub struct Rebinding {
    /// New addresses with one socket for each worker that is to accept on it, from the first worker on.
    pub added: Vec<(BindAddr, Bound, Vec<OwnedFd>)>,
    /// Addresses that are not wanted any more.
    pub removed: Vec<BindAddr>,
}

/// An address that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot bind {addr} for listener \"{listener}\": {source}")]
pub struct BindError {
    listener: ListenerName,
    addr: BindAddr,
    source: io::Error,
}

impl Binder {
    /// Nothing bound yet.
    pub fn new(workers: usize, capabilities: udp::Capabilities) -> Self {
        Self { workers, capabilities, next_id: 0, bound: BTreeMap::new(), retired: HashMap::new() }
    }

    /// Binds what `config` has and we do not. Dropping it undoes it.
    ///
    /// # Errors
    /// An address that cannot be bound; nothing has changed then.
    pub fn prepare(&mut self, config: &Config) -> Result<Rebinding, BindError> {
        let mut rebinding = Rebinding::default();
        for (listener, addr, protocol) in addresses(config).filter(|(_, addr, _)| !self.bound.contains_key(addr)) {
            let added = rebinding.added.iter().map(|(addr, ..)| addr);
            let own = self.bound.keys().chain(self.retired.values().map(|retired| &retired.addr)).chain(added);
            let is_alone = !own.into_iter().any(|other| shares_port(addr, other));
            let sockets = self.bind(addr, protocol, is_alone).map_err(|source| BindError {
                listener: listener.clone(),
                addr: addr.clone(),
                source,
            })?;
            self.next_id += 1;
            let real = real_addr(addr, &sockets);
            rebinding.added.push((addr.clone(), Bound { id: BindId(self.next_id), addr: real }, sockets));
        }
        let is_wanted = |bound: &BindAddr| addresses(config).any(|(_, addr, _)| addr == bound);
        rebinding.removed = self.bound.keys().filter(|bound| !is_wanted(bound)).cloned().collect();
        Ok(rebinding)
    }

    /// One socket per worker; a unix socket cannot be shared, so the first worker accepts for all.
    ///
    /// An address that has its port for itself must be unused. Ours may share one: a wildcard and a specific address,
    /// or one that comes back while its old sockets retire.
    fn bind(&self, addr: &BindAddr, protocol: &Protocol, is_alone: bool) -> io::Result<Vec<OwnedFd>> {
        match addr {
            BindAddr::Tcp(addr) => {
                let addr = if is_alone { socket::check_unused(*addr)? } else { *addr };
                (0..self.workers).map(|_| socket::listen_tcp(addr)).collect()
            }
            BindAddr::Udp(addr) => {
                let addr = if is_alone { udp::check_unused(*addr)? } else { *addr };
                let Protocol::Udp(settings) = protocol else { return Err(io::ErrorKind::InvalidInput.into()) };
                self.bind_udp(addr, settings.receive_buffer)
            }
            BindAddr::Unix(path) => Ok(vec![socket::listen_unix(path)?]),
        }
    }

    /// One socket per worker, and a word about the buffer that the kernel grants.
    fn bind_udp(&self, addr: SocketAddr, receive_buffer: NonZeroU32) -> io::Result<Vec<OwnedFd>> {
        let asked = usize::try_from(receive_buffer.get()).unwrap_or(usize::MAX);
        let bind = |_| udp::listen(addr, Some(asked), self.capabilities);
        let bound = (0..self.workers).map(bind).collect::<io::Result<Vec<_>>>()?;
        match bound.first() {
            Some(&(_, granted)) if granted < asked => {
                tracing::warn!(%addr, asked, granted, "net.core.rmem_max bounds the receive buffer");
            }
            Some(&(_, granted)) => tracing::info!(%addr, bytes = granted, "receive buffer of each worker"),
            None => {}
        }
        Ok(bound.into_iter().map(|(socket, _)| socket).collect())
    }

    /// Forgets addresses that workers have given up by now; says whether there were any.
    pub fn forget_retired(&mut self) -> bool {
        let now = Instant::now();
        let before = self.retired.len();
        self.retired.retain(|_, retired| now.duration_since(retired.since) < REMEMBERED);
        self.retired.len() < before
    }

    /// Puts it in force; back come the sockets to serve and the addresses to retire.
    pub fn commit(&mut self, rebinding: Rebinding) -> (Vec<(Bound, Vec<OwnedFd>)>, Vec<BindId>) {
        let since = Instant::now();
        let mut retire = Vec::new();
        for addr in rebinding.removed {
            let Some(bound) = self.bound.remove(&addr) else { continue };
            unlink(&addr);
            self.retired.insert(bound.id, Retired { since, addr });
            retire.push(bound.id);
        }
        let mut listen = Vec::new();
        for (addr, bound, sockets) in rebinding.added {
            listen.push((bound.clone(), sockets));
            self.bound.insert(addr, bound);
        }
        (listen, retire)
    }

    /// The bound address that the configuration calls `addr`.
    pub fn bound(&self, addr: &BindAddr) -> Option<&Bound> {
        self.bound.get(addr)
    }

    /// Addresses on which the kernel may still have something queued for listeners that are gone.
    pub fn retired(&self) -> impl Iterator<Item = BindId> {
        self.retired.keys().copied()
    }

    /// Removes the files of all unix sockets.
    pub fn unlink_all(&self) {
        self.bound.keys().for_each(unlink);
    }
}

fn addresses(config: &Config) -> impl Iterator<Item = (&ListenerName, &BindAddr, &Protocol)> {
    config
        .listeners
        .iter()
        .flat_map(|(name, Listener { bind, protocol, .. })| bind.iter().map(move |addr| (name, addr, protocol)))
}

/// Whether two addresses are the same port of one transport, so that one may be a part of the other.
fn shares_port(one: &BindAddr, other: &BindAddr) -> bool {
    match (one, other) {
        (BindAddr::Tcp(one), BindAddr::Tcp(other)) | (BindAddr::Udp(one), BindAddr::Udp(other)) => {
            one.port() == other.port()
        }
        _ => false,
    }
}

fn real_addr(addr: &BindAddr, sockets: &[OwnedFd]) -> BindAddr {
    let real = || sockets.first().and_then(|socket| socket::local_addr(socket).ok().flatten());
    match addr {
        BindAddr::Tcp(addr) => BindAddr::Tcp(real().unwrap_or(*addr)),
        BindAddr::Udp(addr) => BindAddr::Udp(real().unwrap_or(*addr)),
        BindAddr::Unix(_) => addr.clone(),
    }
}

fn unlink(addr: &BindAddr) {
    if let BindAddr::Unix(path) = addr {
        remove_socket_file(path);
    }
}

fn remove_socket_file(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "the file of a unix socket stays behind");
    }
}
