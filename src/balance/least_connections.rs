//! Least connections: the member for whom one more session weighs least, `(active + 1) / weight`.

use std::cmp::Ordering;
use std::sync::atomic::{self, AtomicUsize};

use super::candidate::{Candidate, candidates};
use super::{Load, Member};

/// The members that may be picked, side by side, read in full by every pick.
///
/// Among equals the search starts after the last pick, so ties go round: with no session anywhere this is round robin.
/// Workers that pick at the same moment may see the same loads and the same start; the next pick sees both sessions.
#[derive(Debug)]
pub struct LeastConnections {
    candidates: Vec<Candidate>,
    /// Index of the candidate after the one picked last.
    start: AtomicUsize,
}

impl LeastConnections {
    /// A picker over those of `members` that are available and have weight.
    pub(super) fn new(members: Vec<Member>) -> Self {
        Self { candidates: candidates(members), start: AtomicUsize::new(0) }
    }

    /// The least busy that is not among `tried`.
    pub(super) fn pick(&self, tried: &[u16]) -> Option<u16> {
        let start = self.start.load(atomic::Ordering::Relaxed);
        let (before, after) = self.candidates.split_at_checked(start)?;
        let mut best: Option<(Cost, usize)> = None;
        for (first, candidates) in [(start, after), (0, before)] {
            for (index, candidate) in (first..).zip(candidates) {
                let cost = Cost::of_one_more(&candidate.load, candidate.weight);
                if best.is_none_or(|(least, _)| cost < least) && !tried.contains(&candidate.position) {
                    best = Some((cost, index));
                }
            }
        }
        let (_, index) = best?;
        self.start.store((index + 1) % self.candidates.len(), atomic::Ordering::Relaxed);
        Some(self.candidates[index].position)
    }
}

/// `(active + 1) / weight` as a fraction, compared exactly.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    sessions: u64,
    weight: u64,
}

impl Cost {
    /// What one more session on `load` would make of it.
    pub(super) fn of_one_more(load: &Load, weight: u16) -> Self {
        Self { sessions: u64::from(load.active()) + 1, weight: u64::from(weight) }
    }
}

impl Ord for Cost {
    /// Sessions are below 2^33 and weights below 2^16, so the products fit.
    fn cmp(&self, other: &Self) -> Ordering {
        (self.sessions * other.weight).cmp(&(other.sessions * self.weight))
    }
}

impl PartialOrd for Cost {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Cost {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Cost {}

#[cfg(test)]
mod tests;
