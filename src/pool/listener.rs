//! What is known of a listener across reloads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::{ListenerName, PoolName};
use crate::metrics::PerWorker;
use crate::metrics::stats::ListenerStats;
use crate::pool::sources::Sources;

/// The part of a listener that a reload leaves alone, as long as its name, its pool and its protocol stay.
///
/// `S` is what is counted: sessions over TCP, flows over UDP.
#[derive(Debug)]
pub struct ListenerState<S = ListenerStats> {
    /// Its name.
    pub name: ListenerName,
    /// The pool it sends to.
    pub pool: PoolName,
    /// Its counters.
    pub stats: PerWorker<S>,
    /// Sessions or flows admitted and not yet over. A listener that changes its pool counts anew beside its old sessions.
    pub admission: Arc<Admission>,
    /// Those of single clients, where they have a limit of their own.
    pub sources: Arc<Sources>,
}

impl<S: Default> ListenerState<S> {
    /// A listener without sessions or flows.
    pub fn new(name: ListenerName, pool: PoolName, workers: usize) -> Self {
        Self { name, pool, stats: PerWorker::new(workers), admission: Arc::default(), sources: Arc::default() }
    }
}

/// A count of sessions or flows that admits up to a bound. The bound is an argument because a reload may change it.
#[derive(Debug, Default)]
pub struct Admission {
    admitted: AtomicU32,
}

/// One admitted session or flow; dropping it makes room.
#[derive(Debug)]
pub struct Permit(Arc<Admission>);

impl Admission {
    /// A permit, unless `limit` are out already.
    pub fn admit(self: &Arc<Self>, limit: u32) -> Option<Permit> {
        if self.admitted.fetch_add(1, Ordering::Relaxed) >= limit {
            self.admitted.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Permit(Arc::clone(self)))
    }

    /// Permits now out.
    pub fn admitted(&self) -> u32 {
        self.admitted.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.admitted.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admits_up_to_the_limit_and_again_after_a_drop() {
        let admission = Arc::new(Admission::default());
        let first = admission.admit(2);
        let second = admission.admit(2);
        assert!(first.is_some() && second.is_some());
        assert!(admission.admit(2).is_none());
        drop(first);
        assert!(admission.admit(2).is_some());
        drop(second);
        assert_eq!(admission.admitted(), 0);
    }
}
