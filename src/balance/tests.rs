//! What every policy promises, and what the tests of all policies share.

mod activation;

use std::sync::Arc;

use proptest::prelude::*;

use super::position::positioned;
use super::*;
use crate::config::{HashKey, Hashing};
use crate::hash::hash;

pub(super) const MAGLEV: Policy = Policy::Maglev(Hashing { key: HashKey::SourceIp, bounded_load: None });
const BOUNDED: Policy = Policy::Maglev(Hashing { key: HashKey::SourceIp, bounded_load: Some(1.25) });
const POLICIES: [Policy; 7] = [
    Policy::RoundRobin,
    Policy::LeastConnections,
    Policy::PowerOfTwo,
    Policy::LeastLatency,
    Policy::Random,
    MAGLEV,
    BOUNDED,
];

/// An idle, available member whose key is the hash of its index.
pub(super) fn member(index: usize, weight: u16) -> Member {
    let key = hash(format!("10.0.0.{index}:5432").as_bytes(), 0);
    Member { key, weight, available: true, load: Arc::default() }
}

/// Available members with these weights.
pub(super) fn members(weights: &[u16]) -> Vec<Member> {
    weights.iter().enumerate().map(|(index, weight)| member(index, *weight)).collect()
}

pub(super) fn request(key: u64) -> Request<'static> {
    Request { key, tried: &[], now_ms: key, random: key }
}

#[test]
fn none_available_gives_none() {
    for policy in POLICIES {
        let mut down = members(&[1, 2, 3]);
        down.iter_mut().for_each(|member| member.available = false);
        assert_eq!(Picker::build(policy, Vec::new(), None).pick(request(1)), None, "{policy:?}");
        assert_eq!(Picker::build(policy, members(&[0, 0]), None).pick(request(1)), None, "{policy:?}");
        assert_eq!(Picker::build(policy, down, None).pick(request(1)), None, "{policy:?}");
    }
}

#[test]
fn another_policy_starts_afresh() {
    for before in POLICIES {
        for after in POLICIES {
            let before = Picker::build(before, members(&[1]), None);
            assert_eq!(Picker::build(after, members(&[1]), Some(&before)).pick(request(7)), Some(0));
        }
    }
}

#[test]
fn positions_beyond_a_u16_are_left_out() {
    let picker = Picker::build(Policy::LeastConnections, members(&vec![0; 65_535]), None);
    assert_eq!(picker.pick(request(0)), None);
    let mut many = members(&vec![0; 65_534]);
    many.extend(members(&[1, 9]));
    let picker = Picker::build(Policy::LeastConnections, many, None);
    assert_eq!(picker.pick(request(0)), Some(65_534));
    assert_eq!(picker.pick(Request { tried: &[65_534], ..request(0) }), None);
}

proptest! {
    /// A session that tries one after the other sees each member that may be picked once, and no other.
    #[test]
    fn trying_on_visits_each_that_may_be_picked_once(
        states in prop::collection::vec((0..4u16, any::<bool>(), 0..5usize), 0..20),
        policy in prop::sample::select(POLICIES.as_slice()),
        key in any::<u64>(),
        turns in 0..10u64,
    ) {
        let mut all = members(&states.iter().map(|(weight, ..)| *weight).collect::<Vec<_>>());
        let mut leases = Vec::new();
        for (member, (_, available, active)) in all.iter_mut().zip(&states) {
            member.available = *available;
            leases.extend((0..*active).map(|_| member.load.lease()));
        }
        let picker = Picker::build(policy, all, None);
        for turn in 0..turns {
            picker.pick(request(key.wrapping_add(turn)));
        }

        let mut tried = Vec::new();
        while let Some(position) = picker.pick(Request { tried: &tried, ..request(key) }) {
            prop_assert!(!tried.contains(&position));
            tried.push(position);
        }
        tried.sort_unstable();
        let expected: Vec<u16> = positioned(&states)
            .filter(|(_, (weight, available, _))| *weight > 0 && *available)
            .map(|(position, _)| position)
            .collect();
        prop_assert_eq!(tried, expected);
    }
}
