//! Least connections: the member with the lowest cost of one more session, `(active + 1) / weight`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::candidate::{Candidate, candidates};
use super::cost::Cost;
use super::load::Load;
use super::load_index::LoadIndex;
use super::member::Member;

/// Up to so many candidates every pick reads all loads; that takes less than an index, which costs each session some 60 ns
/// at its beginning and at its end.
const FEW: usize = 32;

/// The members that may be picked, side by side.
///
/// Ties go round: with no session anywhere this is round robin. Workers that pick at the same moment may see the same
/// loads; the next pick sees both sessions.
#[derive(Debug)]
pub struct LeastConnections {
    candidates: Vec<Candidate>,
    /// The candidate after the last one that a search has found: ties go to the first from here on.
    start: AtomicUsize,
    /// Saves the search among many candidates, while it is current.
    index: Option<Arc<LoadIndex>>,
}

impl LeastConnections {
    /// A picker over those of `members` that are available and have weight.
    pub(super) fn new(members: Vec<Member>) -> Self {
        let candidates = candidates(members);
        let index = (candidates.len() > FEW)
            .then(|| Arc::new(LoadIndex::new(candidates.iter().map(|candidate| candidate.weight))));
        Self { candidates, start: AtomicUsize::new(0), index }
    }

    /// Makes the candidates' loads report to the index.
    pub(super) fn activate(&self) {
        if let Some(index) = &self.index {
            Load::register_all(self.candidates.iter().map(|candidate| &candidate.load), index);
        }
    }

    /// The least busy that is not among `tried`.
    pub(super) fn pick(&self, tried: &[u16]) -> Option<u16> {
        let position = |index: usize| self.candidates[index].position;
        match self.index.as_ref().filter(|index| index.is_current()) {
            Some(index) => index.pick(|leaf| tried.contains(&position(leaf.into()))).map(usize::from),
            None => self.search(tried),
        }
        .map(position)
    }

    /// Reads every load.
    fn search(&self, tried: &[u16]) -> Option<usize> {
        let start = self.start.load(Ordering::Relaxed);
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
        self.start.store((index + 1) % self.candidates.len(), Ordering::Relaxed);
        Some(index)
    }
}

#[cfg(test)]
mod tests;
