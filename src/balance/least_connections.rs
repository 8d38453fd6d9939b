//! Least connections: the member for whom one more session weighs least, `(active + 1) / weight`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::candidate::{Candidate, candidates};
use super::cost::Cost;
use super::ledger::Ledger;
use super::member::Member;

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
        let start = from.load(Ordering::Relaxed);
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
        from.store((index + 1) % self.candidates.len(), Ordering::Relaxed);
        Some(self.candidates[index].position)
    }
}

#[cfg(test)]
mod tests;
