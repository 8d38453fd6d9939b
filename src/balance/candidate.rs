//! The members that may be picked, side by side, with what is needed to compare them.

use std::sync::Arc;

use super::load::Load;
use super::member::Member;
use super::position::positioned;

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
