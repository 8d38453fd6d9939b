//! Bound addresses that are not served yet.
//!
//! Clients of a new address wait in the kernel's queue until every backend of its pool has its first verdict: a moment's
//! head start of a backup must not send them there. They wait for their own pool, for no other, and not for ever.

use std::os::fd::OwnedFd;

use tokio::time::Instant;

use super::bind::Bound;
use super::desired::Desired;
use crate::pool::health::Health;
use crate::pool::listener::View;
use crate::pool::snapshot::{BindId, Snapshot};
use crate::pool::view::PoolView;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Opening {
    waiting: Vec<UnopenedAddr>,
}

/// A bound address with one socket for each worker that is to serve it.
#[derive(Debug)]
pub(super) struct UnopenedAddr {
    pub(super) bound: Bound,
    pub(super) sockets: Vec<OwnedFd>,
    /// When it is opened whatever is known by then.
    pub(super) until: Instant,
}

impl Opening {
    /// One more waits.
    pub(super) fn add(&mut self, waiting: UnopenedAddr) {
        self.waiting.push(waiting);
    }

    /// Closes an address that is not wanted any more, if it has not been opened.
    pub(super) fn close(&mut self, bind: BindId) {
        self.waiting.retain(|waiting| waiting.bound.id != bind);
    }

    /// Closes all.
    pub(super) fn close_all(&mut self) {
        self.waiting.clear();
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When the first of them has waited long enough.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.iter().map(|waiting| waiting.until).min()
    }

    /// Takes out those that have waited long enough, or have nothing to wait for any more.
    pub(super) fn take_ready(&mut self, now: Instant, snapshot: &Snapshot, desired: &Desired) -> Vec<UnopenedAddr> {
        let is_ready = |waiting: &UnopenedAddr| {
            let pool = snapshot.binds.get(&waiting.bound.id).map(View::pool);
            waiting.until <= now || pool.is_some_and(|pool| is_decided(pool, desired))
        };
        self.waiting.extract_if(.., |waiting| is_ready(waiting)).collect()
    }
}

/// Whether it is known of every backend of a pool whether it serves, as far as it may get clients.
fn is_decided(pool: &PoolView, desired: &Desired) -> bool {
    let awaits_names = desired.pools.get(&pool.name).is_some_and(|pool| pool.awaits_names());
    !awaits_names && pool.backends.iter().all(|backend| backend.weight == 0 || backend.health != Health::Checking)
}
