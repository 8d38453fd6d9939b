//! The table of slots: which member owns which slot, and in which order a client tries them.

use std::collections::BTreeMap;

use crate::balance::position::positioned;
use crate::balance::rotation::Rotation;
use crate::hash::hash;

/// Slots of a table: a prime, so that every stride visits all of them, and a hundred slots for each of 650 backends,
/// which keeps shares within 1 % of fair.
pub(super) const SLOTS: u32 = 65_537;

/// The owner of a slot that is not claimed yet. No rank is this high, as there are at most 65,535 members.
const FREE: u16 = u16::MAX;

/// Slots that a client tries before giving up: with half of all slots unusable one client in 2^64 gets that far, with nine
/// tenths one in a thousand.
const TRIES: usize = 64;

const MEMBER_START_SEED: u64 = 0x6d61_676c_6576_0001;
const MEMBER_STRIDE_SEED: u64 = 0x6d61_676c_6576_0002;
const CLIENT_START_SEED: u64 = 0x6d61_676c_6576_0003;
const CLIENT_STRIDE_SEED: u64 = 0x6d61_676c_6576_0004;

/// Who owns which slot.
#[derive(Debug)]
pub(super) struct Table {
    /// Key and weight of every member, ascending; the index is its rank.
    pub(super) members: Vec<(u64, u16)>,
    /// The rank of the owner of each slot; empty without members.
    pub(super) slots: Vec<u16>,
}

impl Table {
    /// Hands out all slots to members that are sorted by key, in weighted rotation.
    pub(super) fn new(members: Vec<(u64, u16)>) -> Self {
        if members.is_empty() {
            return Self { members, slots: Vec::new() };
        }
        let ranks = positioned(members.iter().map(|(_, weight)| *weight));
        let mut rotation = Rotation::new(ranks, &BTreeMap::new());
        let mut permutations: Vec<Permutation> = members.iter().map(|(key, _)| Permutation::new(*key)).collect();
        let mut slots = vec![FREE; index(SLOTS)];
        for _ in 0..SLOTS {
            let rank = rotation.next(&[]).expect("members is not empty");
            permutations[usize::from(rank)].claim(rank, &mut slots);
        }
        Self { members, slots }
    }

    /// The first owner that is accepted, by rank, in the order in which the client with this key tries the slots; `None` if
    /// the first [`TRIES`] of them have none.
    pub(super) fn find(&self, key: u64, accepts: impl Fn(u16) -> bool) -> Option<u16> {
        let key = key.to_le_bytes();
        let mut slot = below(SLOTS, hash(&key, CLIENT_START_SEED));
        let owner = *self.slots.get(index(slot))?;
        if accepts(owner) {
            return Some(owner);
        }
        let stride = 1 + below(SLOTS - 1, hash(&key, CLIENT_STRIDE_SEED));
        (1..TRIES).find_map(|_| {
            slot = step(slot, stride);
            Some(self.slots[index(slot)]).filter(|owner| accepts(*owner))
        })
    }
}

/// The order in which a member claims slots.
struct Permutation {
    slot: u32,
    stride: u32,
}

impl Permutation {
    fn new(key: u64) -> Self {
        let key = key.to_le_bytes();
        Self {
            slot: below(SLOTS, hash(&key, MEMBER_START_SEED)),
            stride: 1 + below(SLOTS - 1, hash(&key, MEMBER_STRIDE_SEED)),
        }
    }

    /// Claims the next free slot, of which there is one.
    fn claim(&mut self, rank: u16, slots: &mut [u16]) {
        while slots[index(self.slot)] != FREE {
            self.slot = step(self.slot, self.stride);
        }
        slots[index(self.slot)] = rank;
    }
}

/// Maps a hash evenly to `0..bound`.
fn below(bound: u32, hash: u64) -> u32 {
    u32::try_from(((hash >> 32) * u64::from(bound)) >> 32).expect("a product with less than 2^32, divided by it")
}

/// The slot one stride on, both below [`SLOTS`].
fn step(slot: u32, stride: u32) -> u32 {
    let next = slot + stride;
    if next < SLOTS { next } else { next - SLOTS }
}

fn index(slot: u32) -> usize {
    usize::try_from(slot).expect("a usize has at least 32 bits")
}
