//! A tournament of members, won by the one with the lowest cost of one more session, and corrected one change at a time.
//!
//! The members are the leaves of a binary tree, and every inner node names the winner of the two below it. A change of one
//! leaf replays the matches between it and the root: as many comparisons as the tree is high.
//!
//! ```text
//!                1
//!           1         2         a change of leaf 3 replays two matches
//!         0   1     2   3
//! ```

use crate::balance::cost::Cost;

/// The members' loads and who is winning.
#[derive(Debug)]
pub(super) struct Tournament {
    leaves: Vec<Leaf>,
    /// The winner at each inner node. The root is node 1, and those below node `n` are `2n` and `2n + 1`; where the inner
    /// nodes end, the leaves begin.
    winners: Vec<u16>,
    /// Picks so far.
    picks: u64,
}

#[derive(Debug, Clone, Copy)]
struct Leaf {
    active: u32,
    weight: u16,
    /// The pick that last picked it, counted from 1. Of equal costs the one picked longest ago wins.
    last_pick: u64,
}

/// The winner where there is no leaf: at the end of a tree that is not full.
const NO_LEAF: u16 = u16::MAX;

impl Tournament {
    /// A tournament of members with these weights and no sessions, at most 65,535.
    pub(super) fn new(weights: impl Iterator<Item = u16>) -> Self {
        let leaves: Vec<Leaf> = weights.map(|weight| Leaf { active: 0, weight, last_pick: 0 }).collect();
        let width = leaves.len().next_power_of_two();
        let mut tournament = Self { leaves, winners: vec![NO_LEAF; width], picks: 0 };
        for node in (1..width).rev() {
            tournament.play(node);
        }
        tournament
    }

    /// Picks the winner among those that are not `excluded`.
    ///
    /// If the winner of all is excluded, the search goes through all leaves: that happens after a failed attempt.
    pub(super) fn pick(&mut self, excluded: impl Fn(u16) -> bool) -> Option<u16> {
        let winner = self.winner().filter(|leaf| !excluded(*leaf)).or_else(|| self.best_but(excluded))?;
        self.picks += 1;
        self.leaves[usize::from(winner)].last_pick = self.picks;
        self.replay(winner);
        Some(winner)
    }

    /// Sets the sessions of a leaf and returns those it had.
    pub(super) fn set_active(&mut self, leaf: u16, active: u32) -> u32 {
        let before = std::mem::replace(&mut self.leaves[usize::from(leaf)].active, active);
        if before != active {
            self.replay(leaf);
        }
        before
    }

    fn winner(&self) -> Option<u16> {
        Some(self.winner_at(1)).filter(|leaf| *leaf != NO_LEAF)
    }

    fn best_but(&self, excluded: impl Fn(u16) -> bool) -> Option<u16> {
        let others = (0..u16::MAX).take(self.leaves.len()).filter(|leaf| !excluded(*leaf));
        others.reduce(|best, next| if self.beats(next, best) { next } else { best })
    }

    /// Plays the matches between a leaf and the root.
    fn replay(&mut self, leaf: u16) {
        let mut node = (self.winners.len() + usize::from(leaf)) / 2;
        while node > 0 {
            self.play(node);
            node /= 2;
        }
    }

    fn play(&mut self, node: usize) {
        let [left, right] = [2 * node, 2 * node + 1].map(|below| self.winner_at(below));
        self.winners[node] = if self.beats(right, left) { right } else { left };
    }

    /// The winner at an inner node, and of a leaf itself.
    fn winner_at(&self, node: usize) -> u16 {
        match node.checked_sub(self.winners.len()) {
            None => self.winners[node],
            Some(leaf) if leaf < self.leaves.len() => u16::try_from(leaf).unwrap_or(NO_LEAF),
            Some(_) => NO_LEAF,
        }
    }

    fn beats(&self, one: u16, other: u16) -> bool {
        let leaf = |leaf: u16| self.leaves.get(usize::from(leaf));
        match (leaf(one), leaf(other)) {
            (Some(one), Some(other)) => (one.cost(), one.last_pick) < (other.cost(), other.last_pick),
            (one, _) => one.is_some(),
        }
    }
}

impl Leaf {
    fn cost(&self) -> Cost {
        Cost::of_one_more(self.active, self.weight)
    }
}

#[cfg(test)]
impl Tournament {
    /// The sessions of every leaf.
    pub(super) fn active(&self) -> Vec<u32> {
        self.leaves.iter().map(|leaf| leaf.active).collect()
    }

    /// Whether no leaf beats the winner.
    pub(super) fn is_decided(&self) -> bool {
        let winner = self.winner().expect("there are leaves");
        (0..u16::MAX).take(self.leaves.len()).all(|leaf| !self.beats(leaf, winner))
    }
}
