//! Random: by weight and by chance alone. Keeps no state, so workers share nothing.

use super::member::Member;
use super::request::Request;
use super::weighted_candidates::WeightedCandidates;

/// The members that may be picked.
#[derive(Debug)]
pub struct Random(WeightedCandidates);

impl Random {
    /// A picker over those of `members` that are available and have weight.
    pub(super) fn new(members: Vec<Member>) -> Self {
        Self(WeightedCandidates::new(members))
    }

    /// One that was not tried.
    pub(super) fn pick(&self, request: Request<'_>) -> Option<u16> {
        Some(self.0.draw_one(request)?.position)
    }
}
