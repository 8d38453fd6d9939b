//! Balancing: a [`Policy`] is configured, a [`Picker`] is built from it and picks.
//!
//! A picker is built by the control plane whenever the members of a pool or their availability change, and is shared
//! by all workers inside a snapshot. It does no I/O and reads no clock. What must outlive it (the number of sessions)
//! lives in each member's [`Load`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::Policy;

/// How busy a backend is, over all workers and across reloads.
#[derive(Debug, Default)]
pub struct Load {
    active: AtomicU32,
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
        Lease(Arc::clone(self))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One backend as a picker sees it. Its position in the slice given to [`Picker::build`] is what a pick returns.
#[derive(Debug, Clone)]
pub struct Member {
    /// Hash of the backend's identity; never depends on its position.
    pub key: u64,
    /// Relative share; 0 is never picked.
    pub weight: u16,
    /// Whether it may be picked now. Consistent hashing keeps the places of those that may not.
    pub available: bool,
    /// Its sessions.
    pub load: Arc<Load>,
}

/// What a pick depends on besides the members.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Hash of the client under the policy's `hash_key`; ignored by policies that do not hash.
    pub key: u64,
    /// Members already tried for this session, by position; never picked again.
    pub tried: &'a [u16],
}

/// The structure that picks.
#[derive(Debug)]
pub struct Picker {}

impl Picker {
    /// Builds a picker over `members`. `previous` lets an expensive table be reused when only availability changed.
    pub fn build(_policy: Policy, _members: Vec<Member>, _previous: Option<&Self>) -> Self {
        Self {}
    }

    /// The position of a member that is available, has weight and is not among those tried; `None` if there is none.
    pub fn pick(&self, _request: Request<'_>) -> Option<u16> {
        None
    }
}
