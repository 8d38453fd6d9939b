//! Smooth weighted turns: an endless order in which everyone comes up in proportion to its weight, evenly spread.
//!
//! Time runs in *rounds*. In one round a member of weight `w` has exactly `w` turns, so after any whole number of
//! rounds the shares are exact, whatever the weights, and nothing drifts. Members of equal weight form a [`Ring`]: its
//! turns are spaced evenly over the round, and each goes to the next member in line. Without rings all of them would
//! be due at the same moments and come up in a burst.
//!
//! ```text
//! weights a=4 b=1 c=1, one round      ring of a     |  a  .  a  .  a  .  a  |
//!                                     ring of b, c  |     b     .     c     |
//! ```
//!
//! The ring that is due first is on top of a heap: a turn costs O(log of the number of different weights), and weights
//! are never expanded into slots.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use super::position::positioned;

/// The middle of a stride, in 2^-32 of it: where a ring's first turn is, so that no ring starts the round ahead of its
/// share.
const HALF: u32 = 1 << 31;

/// Whose turn it is, and everyone's after that.
#[derive(Debug, Clone)]
pub(super) struct Rotation {
    rings: Vec<Ring>,
    /// The next turn of each ring, the earliest on top.
    turns: BinaryHeap<Reverse<Turn>>,
    /// Turns taken off the heap while looking for one that suits; empty between calls, kept for its allocation.
    passed_over: Vec<Reverse<Turn>>,
}

/// The members of one weight.
#[derive(Debug, Clone)]
struct Ring {
    /// Of each member.
    weight: u16,
    /// Turns in a round, of all members together; at most 65,535 members of weight 65,535 and so below 2^32.
    share: u32,
    /// Turns taken in the current round, below `share`.
    taken: u32,
    /// Where within its stride a turn is due, in 2^-32 of the stride.
    phase: u32,
    /// Members by position, the next one in front.
    queue: VecDeque<u16>,
}

/// When a ring is due. Compared field by field: rings that are due at the same moment go by their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    round: u64,
    /// In 2^-32 of a round. Rounding can only swap neighbours in time, never add or lose a turn.
    moment: u32,
    /// Index of the ring.
    ring: u16,
}

impl Rotation {
    /// Turns for `members`, pairs of position and weight above 0, first come first served among equal weights.
    ///
    /// `phases` says for a weight how far its first turn is, see [`Rotation::phases`]; half a stride if it does not.
    pub(super) fn new(members: impl Iterator<Item = (u16, u16)>, phases: &BTreeMap<u16, u32>) -> Self {
        let mut index_of_weight = BTreeMap::new();
        let mut rings = Vec::new();
        for (position, weight) in members {
            let index = *index_of_weight.entry(weight).or_insert(rings.len());
            if index == rings.len() {
                let phase = phases.get(&weight).copied().unwrap_or(HALF);
                rings.push(Ring { weight, share: 0, taken: 0, phase, queue: VecDeque::new() });
            }
            rings[index].share += u32::from(weight);
            rings[index].queue.push_back(position);
        }
        let turns = positioned(&rings).map(|(index, ring)| Reverse(ring.turn(0, index))).collect();
        Self { passed_over: Vec::with_capacity(rings.len()), rings, turns }
    }

    /// The next in turn that is not among `skipped`, which keep their place; `None` when all are.
    pub(super) fn next(&mut self, skipped: &[u16]) -> Option<u16> {
        let mut next = None;
        while let Some(mut due) = self.turns.peek_mut() {
            let ring = &mut self.rings[usize::from(due.0.ring)];
            next = ring.next(skipped);
            if next.is_some() {
                due.0 = ring.advance(due.0);
                break;
            }
            self.passed_over.push(PeekMut::pop(due));
        }
        while let Some(turn) = self.passed_over.pop() {
            self.turns.push(turn);
        }
        next
    }

    /// Everyone's position and weight; those of equal weight in the order of their next turns.
    pub(super) fn order(&self) -> impl Iterator<Item = (u16, u16)> {
        self.rings.iter().flat_map(|ring| ring.queue.iter().map(|position| (*position, ring.weight)))
    }

    /// For each weight, how far ahead of the earliest turn of all its next one is, in 2^-32 of its own stride: what
    /// another rotation needs to go on from here.
    pub(super) fn phases(&self) -> BTreeMap<u16, u32> {
        let Some(Reverse(now)) = self.turns.peek() else { return BTreeMap::new() };
        let phase = |Reverse(turn): &Reverse<Turn>| {
            let ring = &self.rings[usize::from(turn.ring)];
            let strides = (turn.time() - now.time()) * u128::from(ring.share);
            (ring.weight, u32::try_from(strides).unwrap_or(u32::MAX))
        };
        self.turns.iter().map(phase).collect()
    }
}

impl Ring {
    /// Takes the first in line that is not among `skipped` and sends it to the end.
    fn next(&mut self, skipped: &[u16]) -> Option<u16> {
        let index = self.queue.iter().position(|position| !skipped.contains(position))?;
        let next = self.queue.remove(index)?;
        self.queue.push_back(next);
        Some(next)
    }

    /// The turn after `turn`.
    fn advance(&mut self, turn: Turn) -> Turn {
        self.taken += 1;
        if self.taken < self.share {
            return self.turn(turn.round, turn.ring);
        }
        self.taken = 0;
        self.turn(turn.round + 1, turn.ring)
    }

    fn turn(&self, round: u64, ring: u16) -> Turn {
        let strides = (u64::from(self.taken) << 32) | u64::from(self.phase);
        let moment = u32::try_from(strides / u64::from(self.share)).expect("taken is below share");
        Turn { round, moment, ring }
    }
}

impl Turn {
    /// In 2^-32 of a round.
    fn time(self) -> u128 {
        (u128::from(self.round) << 32) | u128::from(self.moment)
    }
}

#[cfg(test)]
mod tests;
