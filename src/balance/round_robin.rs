//! Round robin: all in turn, by weight.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::member::Member;
use super::position::positioned;
use super::rotation::Rotation;

/// One rotation for all workers: shares are exact over the whole process, not just within a worker.
///
/// The lock is held for one pick, tens of nanoseconds once a session.
#[derive(Debug)]
pub struct RoundRobin {
    /// The key of every member, by position, for the picker that will follow this one.
    keys: Vec<u64>,
    rotation: Mutex<Rotation>,
}

impl RoundRobin {
    /// A rotation in the order of `members`.
    pub(super) fn new(members: &[Member]) -> Self {
        Self::with(members, Rotation::new(weights(members), &BTreeMap::new()))
    }

    /// A rotation that goes on where `previous` is now: a backend that comes and goes must not send every pick after it to
    /// the first of the others. A member that is new to its weight queues up behind those that are not.
    ///
    /// `previous` is copied, and picks on until the new picker is published. The new one repeats what it picks meanwhile: a
    /// member gets at most as many sessions too many as it is sent in those few milliseconds.
    pub(super) fn resume(members: &[Member], previous: &Self) -> Self {
        let before = previous.rotation().clone();
        let waiting: HashMap<(u64, u16), usize> = before
            .members()
            .enumerate()
            .map(|(rank, (position, weight))| ((previous.keys[usize::from(position)], weight), rank))
            .collect();
        let mut queue: Vec<(u16, u16)> = weights(members).collect();
        queue.sort_by_key(|&(position, weight)| {
            waiting.get(&(members[usize::from(position)].key, weight)).copied().unwrap_or(usize::MAX)
        });
        Self::with(members, Rotation::new(queue.into_iter(), &before.offsets()))
    }

    fn with(members: &[Member], rotation: Rotation) -> Self {
        let keys = members.iter().map(|member| member.key).collect();
        Self { keys, rotation: Mutex::new(rotation) }
    }

    /// The next one that is not among `tried`, which keep their places.
    pub(super) fn pick(&self, tried: &[u16]) -> Option<u16> {
        self.rotation().next(tried)
    }

    /// Nothing under this lock can panic halfway, so a poisoned rotation is still whole.
    fn rotation(&self) -> MutexGuard<'_, Rotation> {
        self.rotation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Position and weight of every member that may be picked.
fn weights(members: &[Member]) -> impl Iterator<Item = (u16, u16)> {
    positioned(members).filter(|(_, member)| member.is_candidate()).map(|(position, member)| (position, member.weight))
}

#[cfg(test)]
mod tests;
