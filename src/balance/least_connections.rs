//! Least connections: the member for whom one more session weighs least, `(active + 1) / weight`.

use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::{self, AtomicUsize};

use super::Member;
use super::candidate::{Candidate, candidates};
use super::ledger::Ledger;

/// Up to so many candidates are read in full by every pick; that is done sooner than a ledger is kept, which costs each
/// session some 60 ns at its beginning and at its end.
const FEW: usize = 32;

/// The members that may be picked, side by side.
///
/// Ties go round: with no session anywhere this is round robin. Workers that pick at the same moment may see the same
/// loads; the next pick sees both sessions.
#[derive(Debug)]
pub struct LeastConnections {
    candidates: Vec<Candidate>,
    order: Order,
}

/// How the least busy is found.
#[derive(Debug)]
enum Order {
    /// By looking at all, from the candidate with this index on: the one after the last pick.
    From(AtomicUsize),
    /// By asking.
    Ledger(Arc<Ledger>),
}

impl LeastConnections {
    /// A picker over those of `members` that are available and have weight.
    pub(super) fn new(members: Vec<Member>) -> Self {
        let candidates = candidates(members);
        let order = if candidates.len() <= FEW {
            Order::From(AtomicUsize::new(0))
        } else {
            Order::Ledger(Ledger::open(candidates.iter().map(|candidate| (&candidate.load, candidate.weight))))
        };
        Self { candidates, order }
    }

    /// The least busy that is not among `tried`.
    pub(super) fn pick(&self, tried: &[u16]) -> Option<u16> {
        match &self.order {
            Order::From(start) => self.search(start, tried),
            Order::Ledger(ledger) => {
                let position = |index: u16| self.candidates[usize::from(index)].position;
                ledger.pick(|index| tried.contains(&position(index))).map(position)
            }
        }
    }

    fn search(&self, from: &AtomicUsize, tried: &[u16]) -> Option<u16> {
        let start = from.load(atomic::Ordering::Relaxed);
        let (before, after) = self.candidates.split_at_checked(start)?;
        let mut best: Option<(Cost, usize)> = None;
        for (first, candidates) in [(start, after), (0, before)] {
            for (index, candidate) in (first..).zip(candidates) {
                let cost = Cost::of_one_more(candidate.load.active(), candidate.weight);
                if best.is_none_or(|(least, _)| cost < least) && !tried.contains(&candidate.position) {
                    best = Some((cost, index));
                }
            }
        }
        let (_, index) = best?;
        from.store((index + 1) % self.candidates.len(), atomic::Ordering::Relaxed);
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
    /// What one more session would make of `active` ones.
    pub(super) fn of_one_more(active: u32, weight: u16) -> Self {
        Self { sessions: u64::from(active) + 1, weight: u64::from(weight) }
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
