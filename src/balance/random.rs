//! Random: by weight and by chance alone. Keeps nothing, so workers need not agree on anything.

use super::candidate::Drawn;
use super::member::Member;
use super::request::Request;

/// The members that may be picked.
#[derive(Debug)]
pub struct Random(Drawn);

impl Random {
    /// A picker over those of `members` that are available and have weight.
    pub(super) fn new(members: Vec<Member>) -> Self {
        Self(Drawn::new(members))
    }

    /// Anyone who is not among those tried.
    pub(super) fn pick(&self, request: Request<'_>) -> Option<u16> {
        Some(self.0.one(request)?.position)
    }
}
