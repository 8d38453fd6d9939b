//! How busy a backend is: what outlives every picker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwapOption;

use super::latency::Latency;
use super::ledger::Entry;

/// How busy a backend is, over all workers and across reloads. On a cache line of its own, for picks compare many of them.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Load {
    active: AtomicU32,
    /// How long it takes to answer.
    pub latency: Latency,
    /// Who is told of what changes; the picker in force decides.
    entry: ArcSwapOption<Entry>,
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
        self.active.fetch_add(1, Ordering::Relaxed);
        self.tell();
        Lease(Arc::clone(self))
    }

    /// Has this ledger told of every change from now on, and of what there is.
    pub(super) fn enter(&self, entry: Entry) {
        self.entry.store(Some(Arc::new(entry)));
        self.tell();
    }

    /// Has nobody told.
    pub(super) fn leave(&self) {
        if self.entry.load().is_some() {
            self.entry.store(None);
        }
    }

    fn tell(&self) {
        if let Some(entry) = &*self.entry.load() {
            entry.note(|| self.active());
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
        self.0.tell();
    }
}
