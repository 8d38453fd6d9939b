//! A listener as it outlives a snapshot, and as a worker sees it in one.
//!
//! Both transports have the same head (a name, a pool, what is admitted) and their own settings and counters.

use std::sync::Arc;

use crate::config::{self, AccessLog, ListenerName, PoolName};
use crate::metrics::PerWorker;
use crate::metrics::stats::{FlowStats, SessionStats};
use crate::pool::admission::Admission;
use crate::pool::view::PoolView;

/// The part of a listener that a reload leaves alone, as long as its name, its pool and its protocol stay.
///
/// `S` is what is counted: sessions over TCP, flows over UDP.
#[derive(Debug)]
pub struct ListenerState<S> {
    /// Its name.
    pub name: ListenerName,
    /// The pool it sends to.
    pub pool: PoolName,
    /// Its counters.
    pub stats: PerWorker<S>,
    /// Sessions or flows admitted and not yet over. A listener that changes its pool counts anew beside its old sessions.
    pub admission: Admission,
}

impl<S: Default> ListenerState<S> {
    /// A listener without sessions or flows.
    pub fn new(name: ListenerName, pool: PoolName, workers: usize) -> Self {
        Self { name, pool, stats: PerWorker::new(workers), admission: Admission::default() }
    }
}

/// A listener as a worker sees it.
#[derive(Debug)]
pub struct ListenerView<C, S> {
    /// Limits and timeouts of its transport.
    pub config: C,
    /// Whether sessions or flows are recorded.
    pub access_log: AccessLog,
    /// Addresses that it is bound to.
    pub binds: usize,
    /// Counters and admissions.
    pub state: Arc<ListenerState<S>>,
    /// Where it sends.
    pub pool: Arc<PoolView>,
}

/// A listener of connections.
pub type TcpView = ListenerView<config::Tcp, SessionStats>;

/// A listener of datagrams.
pub type UdpView = ListenerView<config::Udp, FlowStats>;

/// Which listener answers on a bound address.
#[derive(Debug, Clone)]
pub enum View {
    /// Of connections.
    Tcp(Arc<TcpView>),
    /// Of datagrams.
    Udp(Arc<UdpView>),
}

impl View {
    /// Where it sends.
    pub fn pool(&self) -> &Arc<PoolView> {
        match self {
            Self::Tcp(view) => &view.pool,
            Self::Udp(view) => &view.pool,
        }
    }
}
