//! Balancing: a [`Policy`] is configured, a [`Picker`] is built from it and picks.
//!
//! A picker is built by the control plane whenever the members of a pool or their availability change, and is shared
//! by all workers inside a snapshot. It does no I/O and reads no clock. What must outlive it (the number of sessions)
//! lives in each member's [`Load`]. A pick happens once a session and allocates nothing.
//!
//! ```text
//! round_robin        whose turn is it?          turns come from `rotation`, one order for all workers
//! least_connections  who is least busy?         reads every load, or with many members the `ledger`
//! power_of_two       who is less busy of two?   two drawn from the `lottery`, keeps nothing
//! least_latency      who will answer first?     a few compared by `latency`, of many two from the `lottery`
//! random             whoever it is              drawn from the `lottery`, keeps nothing
//! maglev             whose key is this?         a table filled in the order of `rotation`
//! ```
//!
//! What every policy promises: a pick is available, has weight and was not tried before, and there is a pick whenever
//! such a member exists.

mod candidate;
mod latency;
mod least_connections;
mod least_latency;
mod ledger;
mod lottery;
mod maglev;
mod power_of_two;
mod random;
mod rotation;
mod round_robin;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwapOption;

pub use self::latency::Latency;
use self::least_connections::LeastConnections;
use self::least_latency::LeastLatency;
use self::ledger::Entry;
use self::maglev::Maglev;
use self::power_of_two::PowerOfTwo;
use self::random::Random;
use self::round_robin::RoundRobin;
use crate::config::Policy;

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
    fn enter(&self, entry: Entry) {
        self.entry.store(Some(Arc::new(entry)));
        self.tell();
    }

    /// Has nobody told.
    fn leave(&self) {
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

impl Member {
    fn is_candidate(&self) -> bool {
        self.available && self.weight > 0
    }
}

/// What a pick depends on besides the members.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The moment at which latencies are compared, in milliseconds on a clock that never goes back.
    pub now_ms: u64,
    /// Any word, another one each time; what is left to chance comes from it.
    pub random: u64,
    /// Hash of the client under the policy's `hash_key`; ignored by policies that do not hash.
    pub key: u64,
    /// Members already tried for this session, by position; never picked again.
    pub tried: &'a [u16],
}

/// The structure that picks.
#[derive(Debug)]
pub enum Picker {
    /// Smooth weighted turns.
    RoundRobin(RoundRobin),
    /// The fewest sessions for its weight.
    LeastConnections(LeastConnections),
    /// The less busy of two.
    PowerOfTwo(PowerOfTwo),
    /// The one that will answer first.
    LeastLatency(LeastLatency),
    /// Anyone.
    Random(Random),
    /// Consistent hashing.
    Maglev(Maglev),
}

impl Picker {
    /// Builds a picker over `members`, whose keys all differ.
    ///
    /// `previous` is the picker that this one replaces: turns go on where they were, and an expensive table is reused
    /// when only availability changed. A position is a `u16`, so members after the 65,535th are never picked.
    pub fn build(policy: Policy, members: Vec<Member>, previous: Option<&Self>) -> Self {
        members.iter().for_each(|member| member.load.leave());
        match (policy, previous) {
            (Policy::RoundRobin, Some(Self::RoundRobin(previous))) => {
                Self::RoundRobin(RoundRobin::resume(&members, previous))
            }
            (Policy::RoundRobin, _) => Self::RoundRobin(RoundRobin::new(&members)),
            (Policy::LeastConnections, _) => Self::LeastConnections(LeastConnections::new(members)),
            (Policy::PowerOfTwo, _) => Self::PowerOfTwo(PowerOfTwo::new(members)),
            (Policy::LeastLatency, _) => Self::LeastLatency(LeastLatency::new(members)),
            (Policy::Random, _) => Self::Random(Random::new(members)),
            (Policy::Maglev(hashing), Some(Self::Maglev(previous))) => {
                Self::Maglev(Maglev::new(hashing, members, Some(previous)))
            }
            (Policy::Maglev(hashing), _) => Self::Maglev(Maglev::new(hashing, members, None)),
        }
    }

    /// The position of a member that is available, has weight and is not among those tried; `None` if there is none.
    pub fn pick(&self, request: Request<'_>) -> Option<u16> {
        match self {
            Self::RoundRobin(picker) => picker.pick(request.tried),
            Self::LeastConnections(picker) => picker.pick(request.tried),
            Self::PowerOfTwo(picker) => picker.pick(request),
            Self::LeastLatency(picker) => picker.pick(request),
            Self::Random(picker) => picker.pick(request),
            Self::Maglev(picker) => picker.pick(request),
        }
    }
}

/// Items with their positions, as far as a `u16` counts: 65,535 of them.
fn positioned<T>(items: impl IntoIterator<Item = T>) -> impl Iterator<Item = (u16, T)> {
    (0..u16::MAX).zip(items)
}

#[cfg(test)]
mod tests;
