//! The immutable picture of listeners and pools that workers read.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::{Config, PoolName};
use crate::pool::listener::{TcpView, UdpView, View};
use crate::pool::view::PoolView;

/// A bound address, from bind to close. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BindId(pub u64);

/// Views of pools, by name.
pub type Pools = BTreeMap<PoolName, Arc<PoolView>>;

/// Everything a worker needs to serve a new connection, at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// Moves with every snapshot: what a worker derives from one holds for as long as this stays.
    pub version: u64,
    /// Configurations in force so far, this one included.
    pub generation: u64,
    /// The configuration it was built from.
    pub config: Arc<Config>,
    /// By name.
    pub pools: Pools,
    /// Which listener answers on a bound address.
    pub binds: HashMap<BindId, View>,
    /// The bound addresses of UDP, with the ports that the kernel chose.
    pub udp_addrs: Vec<SocketAddr>,
}

impl Snapshot {
    /// The picture before the first configuration is in force: version and generation 0, nothing configured but the
    /// process's own settings.
    pub fn empty(config: &Config) -> Self {
        let config = Config { listeners: BTreeMap::new(), pools: BTreeMap::new(), ..config.clone() };
        Self {
            version: 0,
            generation: 0,
            config: Arc::new(config),
            pools: Pools::new(),
            binds: HashMap::new(),
            udp_addrs: Vec::new(),
        }
    }

    /// The listener of connections that answers on a bound address.
    pub fn tcp(&self, bind: BindId) -> Option<&Arc<TcpView>> {
        match self.binds.get(&bind)? {
            View::Tcp(view) => Some(view),
            View::Udp(_) => None,
        }
    }

    /// The listener of datagrams that answers on a bound address.
    pub fn udp(&self, bind: BindId) -> Option<&Arc<UdpView>> {
        match self.binds.get(&bind)? {
            View::Udp(view) => Some(view),
            View::Tcp(_) => None,
        }
    }
}
