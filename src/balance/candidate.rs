//! The members that may be picked, side by side, with what is needed to compare them; and, for policies with chance in them,
//! who of them comes up.

use std::sync::Arc;

use super::load::Load;
use super::member::Member;
use super::position::positioned;
use super::request::Request;
use super::weighted_draw::{Chance, Lottery};

/// A member that is available and has weight.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) load: Arc<Load>,
    pub(super) weight: u16,
    /// Its position among all members.
    pub(super) position: u16,
}

/// Those of `members` that may be picked, in their order.
pub(super) fn candidates(members: Vec<Member>) -> Vec<Candidate> {
    positioned(members)
        .filter(|(_, member)| member.is_candidate())
        .map(|(position, Member { load, weight, .. })| Candidate { load, weight, position })
        .collect()
}

/// Candidates that come up by chance, each by its weight.
#[derive(Debug)]
pub(super) struct Drawn {
    candidates: Vec<Candidate>,
    lottery: Lottery,
}

impl Drawn {
    /// Those of `members` that may be picked.
    pub(super) fn new(members: Vec<Member>) -> Self {
        let candidates = candidates(members);
        let lottery = Lottery::new(candidates.iter().map(|candidate| candidate.weight));
        Self { candidates, lottery }
    }

    /// How many there are, those tried included.
    pub(super) fn len(&self) -> usize {
        self.candidates.len()
    }

    /// One that is not among those tried.
    pub(super) fn one(&self, request: Request<'_>) -> Option<&Candidate> {
        let index = self.draw(&mut Chance::new(request.random), request, None)?;
        Some(&self.candidates[index])
    }

    /// Two different ones that are not among those tried; twice the same if only one is left.
    pub(super) fn two(&self, request: Request<'_>) -> Option<[&Candidate; 2]> {
        let mut chance = Chance::new(request.random);
        let first = self.draw(&mut chance, request, None)?;
        let second = self.draw(&mut chance, request, Some(first)).unwrap_or(first);
        Some([first, second].map(|index| &self.candidates[index]))
    }

    /// All that are not among those tried, in a row that begins with one drawn.
    pub(super) fn all<'a>(&'a self, request: Request<'a>) -> Option<impl Iterator<Item = &'a Candidate> + Clone> {
        let first = self.draw(&mut Chance::new(request.random), request, None)?;
        let (before, after) = self.candidates.split_at(first);
        Some(after.iter().chain(before).filter(move |candidate| !candidate.is_tried(request)))
    }

    fn draw(&self, chance: &mut Chance, request: Request<'_>, but: Option<usize>) -> Option<usize> {
        self.lottery.draw(chance, |index| Some(index) != but && !self.candidates[index].is_tried(request))
    }
}

impl Candidate {
    fn is_tried(&self, request: Request<'_>) -> bool {
        request.tried.contains(&self.position)
    }
}
