//! How busy a backend is: what outlives every picker.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::latency::Latency;
use super::load_index::LoadIndex;
use super::position::positioned;

/// How busy a backend is, over all workers and across reloads. On a cache line of its own, for picks compare many of them.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Load {
    active: AtomicU32,
    /// How long it takes to answer.
    pub latency: Latency,
    /// Where it reports its sessions, if anywhere.
    registration: ArcSwapOption<Registration>,
}

/// A load's place in a load index. The index belongs to its picker and goes with it.
#[derive(Debug)]
struct Registration {
    index: Weak<LoadIndex>,
    leaf: u16,
}

/// One outstanding session on a [`Load`]; dropping it ends it.
#[derive(Debug)]
pub struct Lease(Arc<Load>);

/// One answer that the backend of a [`Load`] owes. As long as there is one, the latency does not fall.
///
/// Dropping it ends the wait and says nothing of the backend.
#[derive(Debug)]
pub struct PendingAnswer(Arc<Load>);

impl Load {
    /// Sessions now outstanding, those still connecting included.
    pub fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// Counts one more session until the lease is dropped.
    pub fn lease(self: &Arc<Self>) -> Lease {
        // Acquires and releases for `register`.
        self.active.fetch_add(1, Ordering::AcqRel);
        self.report();
        Lease(Arc::clone(self))
    }

    /// Counts one more answer that the backend owes, until it comes or is no longer waited for.
    pub fn ask(self: &Arc<Self>) -> PendingAnswer {
        self.latency.add_pending();
        PendingAnswer(Arc::clone(self))
    }

    /// Registers `loads` with `index`, as its leaves in this order: they report to it from now on, and to no other. Done once
    /// for every index; doing it again changes nothing.
    pub(super) fn register_all<'a>(loads: impl Iterator<Item = &'a Arc<Self>>, index: &Arc<LoadIndex>) {
        if index.start_filling() {
            positioned(loads).for_each(|(leaf, load)| load.register(index, leaf));
            index.finish_filling();
        }
    }

    fn register(&self, index: &Arc<LoadIndex>, leaf: u16) {
        if let Some(before) = self.registration.load().as_ref().and_then(|before| before.index.upgrade()) {
            // Before the load stops reporting to it, so that it is not asked without.
            before.supersede();
        }
        self.registration.store(Some(Arc::new(Registration { index: Arc::downgrade(index), leaf })));
        // Reads with a read-modify-write, as `active` is changed by such: each change comes either before this one, and is
        // in what it reads, or after it, and then sees the registration and is reported.
        index.update(leaf, || self.active.fetch_add(0, Ordering::AcqRel));
    }

    /// Reports a change of `active` to the index.
    fn report(&self) {
        if let Some(registration) = &*self.registration.load()
            && let Some(index) = registration.index.upgrade()
        {
            index.update(registration.leaf, || self.active());
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::AcqRel);
        self.0.report();
    }
}

impl PendingAnswer {
    /// The backend has answered, and this is how long it took.
    pub fn answered(self, took: Duration, now_ms: u64) {
        self.0.latency.observe(took, now_ms);
    }

    /// The answer is no longer waited for. It counts as one that took as long as was waited, so that a backend that has
    /// stopped answering becomes slow.
    pub fn gave_up_after(self, waited: Duration, now_ms: u64) {
        self.0.latency.observe(waited, now_ms);
    }
}

impl Drop for PendingAnswer {
    fn drop(&mut self) {
        self.0.latency.remove_pending();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_lease_counts_until_it_is_dropped() {
        let load = Arc::new(Load::default());
        let (first, second) = (load.lease(), load.lease());
        assert_eq!(load.active(), 2);
        drop(first);
        assert_eq!(load.active(), 1);
        drop(second);
        assert_eq!(load.active(), 0);
    }

    #[test]
    fn a_latency_does_not_fall_while_an_answer_is_pending() {
        let (load, start, later) = (Arc::new(Load::default()), 1_000_000, 1_020_000);
        load.latency.observe(MS, start);
        let (first, second) = (load.ask(), load.ask());
        assert_eq!(load.latency.at(later), Some(1_000.0));
        drop(first);
        assert_eq!(load.latency.at(later), Some(1_000.0));
        second.answered(20 * MS, later);
        assert_eq!(load.latency.at(later), Some(20_000.0));
        assert!(load.latency.at(2 * later).is_some_and(|fallen| fallen < 1_000.0));
    }

    #[test]
    fn giving_up_says_how_long_was_waited_or_nothing() {
        let (load, start) = (Arc::new(Load::default()), 1_000_000);
        drop(load.ask());
        assert_eq!(load.latency.at(start), None);
        load.ask().gave_up_after(5 * MS, start);
        assert_eq!(load.latency.at(start), Some(5_000.0));
        assert!(load.latency.at(start + 10_000).is_some_and(|fallen| fallen < 5_000.0), "nothing is pending");
    }
}
