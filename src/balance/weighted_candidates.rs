//! Candidates that are drawn by chance, each with a probability by its weight.

use super::candidate::{Candidate, candidates};
use super::member::Member;
use super::request::Request;
use super::split_mix::SplitMix64;
use super::weighted_draw::WeightedDraw;

/// The members that may be picked, and how they are drawn.
#[derive(Debug)]
pub(super) struct WeightedCandidates {
    candidates: Vec<Candidate>,
    by_weight: WeightedDraw,
}

impl WeightedCandidates {
    /// Those of `members` that are available and have weight.
    pub(super) fn new(members: Vec<Member>) -> Self {
        let candidates = candidates(members);
        let by_weight = WeightedDraw::new(candidates.iter().map(|candidate| candidate.weight));
        Self { candidates, by_weight }
    }

    /// How many there are, those tried included.
    pub(super) fn len(&self) -> usize {
        self.candidates.len()
    }

    /// One that was not tried.
    pub(super) fn draw_one(&self, request: Request<'_>) -> Option<&Candidate> {
        let index = self.draw(&mut SplitMix64::new(request.random), request, None)?;
        Some(&self.candidates[index])
    }

    /// Two different ones that were not tried; twice the same if only one is left.
    pub(super) fn draw_two(&self, request: Request<'_>) -> Option<[&Candidate; 2]> {
        let mut random = SplitMix64::new(request.random);
        let first = self.draw(&mut random, request, None)?;
        let second = self.draw(&mut random, request, Some(first)).unwrap_or(first);
        Some([first, second].map(|index| &self.candidates[index]))
    }

    /// All that were not tried, in their order but from one on that is drawn.
    pub(super) fn all_from_drawn<'a>(
        &'a self,
        request: Request<'a>,
    ) -> Option<impl Iterator<Item = &'a Candidate> + Clone> {
        let first = self.draw(&mut SplitMix64::new(request.random), request, None)?;
        let (before, after) = self.candidates.split_at(first);
        Some(after.iter().chain(before).filter(move |candidate| !request.has_tried(candidate.position)))
    }

    fn draw(&self, random: &mut SplitMix64, request: Request<'_>, except: Option<usize>) -> Option<usize> {
        let accepts = |index| Some(index) != except && !request.has_tried(self.candidates[index].position);
        self.by_weight.draw(random, accepts)
    }
}
