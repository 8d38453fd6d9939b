//! Smooth weighted rotation: an endless order in which every member comes in proportion to its weight, evenly spread.
//!
//! It is the schedule of weighted round robin by earliest deadline first, with a deadline for each weight instead of each
//! member. Time is counted in *rounds*. In one round a member of weight `w` comes exactly `w` times, so after any whole
//! number of rounds the shares are exact, whatever the weights, and nothing drifts. Members of equal weight form a
//! [`WeightClass`]: its deadlines are spaced evenly over the round, and each is met by the next member in its queue. Had
//! every member deadlines of its own, all members of a class would be due at the same moments and come in a burst.
//!
//! ```text
//! weights a=4 b=1 c=1, one round      class of a     |  a  .  a  .  a  .  a  |
//!                                     class of b, c  |     b     .     c     |
//! ```
//!
//! The earliest deadline is on top of a heap: a step costs O(log of the number of different weights), and weights are never
//! expanded into slots.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use super::position::positioned;

/// The middle of a stride, in 2^-32 of it: where the first deadline of a class is, so that no class starts the round ahead
/// of its share.
const HALF: u32 = 1 << 31;

/// The order of the members from here on.
#[derive(Debug, Clone)]
pub(super) struct Rotation {
    classes: Vec<WeightClass>,
    /// The next deadline of each class, the earliest on top.
    deadlines: BinaryHeap<Reverse<Deadline>>,
    /// Deadlines taken off the heap while looking for a class with a member to pick; empty between calls, kept for its
    /// allocation.
    set_aside: Vec<Reverse<Deadline>>,
}

/// The members of one weight.
#[derive(Debug, Clone)]
struct WeightClass {
    /// Of each member.
    weight: u16,
    /// How often its members come in a round, together; at most 65,535 members of weight 65,535 and so below 2^32.
    picks_per_round: u32,
    /// How often they have come in the current round, below `picks_per_round`.
    picks_this_round: u32,
    /// Where within its stride a deadline is, in 2^-32 of the stride.
    offset: u32,
    /// Members by position, the next one in front.
    queue: VecDeque<u16>,
}

/// When a class is due. Compared field by field: classes that are due at the same moment go by their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Deadline {
    round: u64,
    /// In 2^-32 of a round. Rounding can only swap neighbours in time, never add or lose a pick.
    moment: u32,
    /// Index of the class.
    class: u16,
}

impl Rotation {
    /// A rotation of `members`, pairs of position and weight above 0; those of equal weight come in this order.
    ///
    /// `offsets` says for a weight how far away its first deadline is, see [`Rotation::offsets`]; half a stride if it does not.
    pub(super) fn new(members: impl Iterator<Item = (u16, u16)>, offsets: &BTreeMap<u16, u32>) -> Self {
        let mut index_of_weight = BTreeMap::new();
        let mut classes = Vec::new();
        for (position, weight) in members {
            let index = *index_of_weight.entry(weight).or_insert(classes.len());
            if index == classes.len() {
                let offset = offsets.get(&weight).copied().unwrap_or(HALF);
                classes.push(WeightClass::new(weight, offset));
            }
            classes[index].push(position);
        }
        let deadlines = positioned(&classes).map(|(index, class)| Reverse(class.deadline(0, index))).collect();
        Self { set_aside: Vec::with_capacity(classes.len()), classes, deadlines }
    }

    /// The next member that is not among `skipped`, which keep their places; `None` when all are.
    pub(super) fn next(&mut self, skipped: &[u16]) -> Option<u16> {
        let mut next = None;
        while let Some(mut earliest) = self.deadlines.peek_mut() {
            let class = &mut self.classes[usize::from(earliest.0.class)];
            next = class.next(skipped);
            if next.is_some() {
                earliest.0 = class.deadline_after(earliest.0);
                break;
            }
            self.set_aside.push(PeekMut::pop(earliest));
        }
        while let Some(deadline) = self.set_aside.pop() {
            self.deadlines.push(deadline);
        }
        next
    }

    /// Position and weight of every member; those of equal weight in the order in which they will come.
    pub(super) fn members(&self) -> impl Iterator<Item = (u16, u16)> {
        self.classes.iter().flat_map(|class| class.queue.iter().map(|position| (*position, class.weight)))
    }

    /// For each weight, how long after the earliest deadline of all its next one is, in 2^-32 of its own stride: what
    /// another rotation needs to go on from here.
    pub(super) fn offsets(&self) -> BTreeMap<u16, u32> {
        let Some(Reverse(earliest)) = self.deadlines.peek() else { return BTreeMap::new() };
        let offset = |Reverse(deadline): &Reverse<Deadline>| {
            let class = &self.classes[usize::from(deadline.class)];
            let strides = (deadline.time() - earliest.time()) * u128::from(class.picks_per_round);
            (class.weight, u32::try_from(strides).unwrap_or(u32::MAX))
        };
        self.deadlines.iter().map(offset).collect()
    }
}

impl WeightClass {
    fn new(weight: u16, offset: u32) -> Self {
        Self { weight, picks_per_round: 0, picks_this_round: 0, offset, queue: VecDeque::new() }
    }

    fn push(&mut self, position: u16) {
        self.picks_per_round += u32::from(self.weight);
        self.queue.push_back(position);
    }

    /// Takes the first member in the queue that is not among `skipped` and sends it to the end.
    fn next(&mut self, skipped: &[u16]) -> Option<u16> {
        let index = self.queue.iter().position(|position| !skipped.contains(position))?;
        let next = self.queue.remove(index)?;
        self.queue.push_back(next);
        Some(next)
    }

    /// The deadline that follows one that was met.
    fn deadline_after(&mut self, met: Deadline) -> Deadline {
        self.picks_this_round += 1;
        if self.picks_this_round < self.picks_per_round {
            return self.deadline(met.round, met.class);
        }
        self.picks_this_round = 0;
        self.deadline(met.round + 1, met.class)
    }

    fn deadline(&self, round: u64, class: u16) -> Deadline {
        let strides = (u64::from(self.picks_this_round) << 32) | u64::from(self.offset);
        let moment = strides / u64::from(self.picks_per_round);
        Deadline { round, moment: u32::try_from(moment).expect("fewer strides than a round has"), class }
    }
}

impl Deadline {
    /// In 2^-32 of a round.
    fn time(self) -> u128 {
        (u128::from(self.round) << 32) | u128::from(self.moment)
    }
}

#[cfg(test)]
mod tests;
