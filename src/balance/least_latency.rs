//! Least latency: the member that is likely to answer first, `latency * (active + 1) / weight`.
//!
//! The sessions it has stand for the queue that one more would join. A few members are compared all; of many, two drawn by
//! weight, which costs the same for any number and does not send everyone to the same one.

use super::candidate::{Candidate, candidates};
use super::lottery::{Chance, Lottery};
use super::{Member, Request};

/// Up to this many are compared all: a cache line each, about as dear as drawing two of many.
const FEW: usize = 8;

/// In the place of an average while nobody has one: all the same then.
const NOBODY_KNOWN: f32 = 1.0;

/// The members that may be picked.
#[derive(Debug)]
pub struct LeastLatency {
    candidates: Vec<Candidate>,
    lottery: Lottery,
}

impl LeastLatency {
    /// A picker over those of `members` that are available and have weight.
    pub(super) fn new(members: Vec<Member>) -> Self {
        let candidates = candidates(members);
        let lottery = Lottery::new(candidates.iter().map(|candidate| candidate.weight));
        Self { candidates, lottery }
    }

    /// The best of those compared that is not among those tried.
    pub(super) fn pick(&self, request: Request<'_>) -> Option<u16> {
        let mut chance = Chance::new(request.random);
        let untried = |index: usize| !request.tried.contains(&self.candidates[index].position);
        let first = self.lottery.draw(&mut chance, untried)?;
        if self.candidates.len() <= FEW {
            // Whoever came up leads, so that equals take turns.
            let others = (0..self.candidates.len()).filter(|index| *index != first && untried(*index));
            return Some(self.best(std::iter::once(first).chain(others), request.now_ms));
        }
        let second = self.lottery.draw(&mut chance, |index| index != first && untried(index)).unwrap_or(first);
        Some(self.best([first, second].into_iter(), request.now_ms))
    }

    /// The position of the one with the lowest score, the first of equals.
    fn best(&self, compared: impl Iterator<Item = usize> + Clone, now_ms: u64) -> u16 {
        let latency = |index: usize| self.candidates[index].load.latency.at(now_ms);
        // One that never answered is taken for as fast as the fastest: it is tried soon, but not by everybody.
        let unknown = compared.clone().filter_map(latency).reduce(f32::min).unwrap_or(NOBODY_KNOWN);
        let score = |index: usize| {
            let Candidate { load, weight, .. } = &self.candidates[index];
            let sessions = load.active().saturating_add(1);
            f64::from(latency(index).unwrap_or(unknown)) * f64::from(sessions) / f64::from(*weight)
        };
        let better = |best: (usize, f64), index: usize| {
            let score = score(index);
            if score < best.1 { (index, score) } else { best }
        };
        let (index, _) = compared.fold((0, f64::INFINITY), better);
        self.candidates[index].position
    }
}

#[cfg(test)]
mod tests;
