//! Random: by weight and by chance alone. Keeps nothing, so workers need not agree on anything.

use super::lottery::{Chance, Lottery};
use super::{Member, Request, positioned};

/// The members that may be picked.
#[derive(Debug)]
pub struct Random {
    positions: Vec<u16>,
    lottery: Lottery,
}

impl Random {
    /// A picker over those of `members` that are available and have weight.
    pub(super) fn new(members: &[Member]) -> Self {
        let candidates = || positioned(members).filter(|(_, member)| member.is_candidate());
        Self {
            positions: candidates().map(|(position, _)| position).collect(),
            lottery: Lottery::new(candidates().map(|(_, member)| member.weight)),
        }
    }

    /// Anyone who is not among those tried.
    pub(super) fn pick(&self, request: Request<'_>) -> Option<u16> {
        let mut chance = Chance::new(request.random);
        let index = self.lottery.draw(&mut chance, |index| !request.tried.contains(&self.positions[index]))?;
        Some(self.positions[index])
    }
}
