//! Power of two choices: of two members drawn by weight, the one with the lower cost of one more session.
//!
//! Looking at two instead of one takes the longest queue from log n to log log n (Mitzenmacher, "The Power of Two Choices
//! in Randomized Load Balancing", 2001). It costs the same for any number of members, and many balancers with the same
//! backends do not all pick the same one.

use super::candidate::Candidate;
use super::cost::Cost;
use super::member::Member;
use super::request::Request;
use super::weighted_candidates::WeightedCandidates;

/// The members that may be picked.
#[derive(Debug)]
pub struct PowerOfTwo(WeightedCandidates);

impl PowerOfTwo {
    /// A picker over those of `members` that are available and have weight.
    pub(super) fn new(members: Vec<Member>) -> Self {
        Self(WeightedCandidates::new(members))
    }

    /// The less busy of two different ones that were not tried; the only one if there is one.
    pub(super) fn pick(&self, request: Request<'_>) -> Option<u16> {
        let [first, second] = self.0.draw_two(request)?;
        let cost = |candidate: &Candidate| Cost::of_one_more(candidate.load.active(), candidate.weight);
        let less_busy = if cost(second) < cost(first) { second } else { first };
        Some(less_busy.position)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::{members, request};
    use super::*;

    #[test]
    fn the_busiest_is_picked_only_when_it_is_alone() {
        let all = members(&[1, 1, 1]);
        let _busy: Vec<_> = (0..5).map(|_| all[1].load.lease()).collect();
        let picker = PowerOfTwo::new(all);
        // Two different ones are compared each time, and one of them is always idle.
        assert!((0..1_000).all(|random| picker.pick(Request { random, ..request(0) }) != Some(1)));
        assert_eq!(picker.pick(Request { tried: &[0, 2], ..request(0) }), Some(1));
    }

    #[test]
    fn sessions_spread_by_weight() {
        let all = members(&[1, 3]);
        let loads: Vec<_> = all.iter().map(|member| Arc::clone(&member.load)).collect();
        let picker = PowerOfTwo::new(all);
        let _leases: Vec<_> = (0..400)
            .map(|random| {
                loads[usize::from(picker.pick(Request { random, ..request(0) }).expect("two are there"))].lease()
            })
            .collect();
        assert_eq!([loads[0].active(), loads[1].active()], [100, 300]);
    }
}
