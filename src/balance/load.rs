//! How busy a backend is: what outlives every picker.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

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
            // First, so that nobody asks an index that lacks a load.
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
