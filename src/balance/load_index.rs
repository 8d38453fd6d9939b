//! The loads of many members in one place, so that a pick need not go round and ask each.
//!
//! A member's [`Load`](super::Load) knows the ledger of the picker in force and tells it of every session that begins and
//! ends. What is written down is always read from the load under the lock, and every change of a load is followed by such a
//! reading: so the ledger may be a moment behind and is never wrong for good, also when a picker replaces another.
//!
//! The order is kept as a tournament: the members are the leaves of a binary tree, and each node names the better of the
//! two below it. The best is at the top, and a change takes as many comparisons as the tree is high.
//!
//! ```text
//!                1
//!           1         2         a change of 3 plays the two games on its way to the top again
//!         0   1     2   3
//! ```

use std::sync::atomic::{self, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cost::Cost;
use super::load::Load;

/// The loads of the members of one picker.
#[derive(Debug)]
pub(super) struct Ledger {
    books: Mutex<Books>,
    /// All sessions of all members, for those who need no more than that.
    sessions: AtomicU64,
}

/// A member's place in a ledger.
#[derive(Debug)]
pub(super) struct Entry {
    ledger: Arc<Ledger>,
    index: u16,
}

#[derive(Debug)]
struct Books {
    leaves: Vec<Leaf>,
    /// Nodes from the top, each at half the number of those below it; the last ones are above the leaves.
    winners: Vec<u16>,
    sessions: u64,
    turns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Leaf {
    active: u32,
    weight: u16,
    /// When it was last picked; of equals the one that has waited the longest is next.
    turn: u64,
}

/// Where nobody plays, at the end of a tree that is not full.
const NOBODY: u16 = u16::MAX;

impl Ledger {
    /// Opens a ledger for these loads with their weights, and has them tell it of what happens. At most 65,535.
    pub(super) fn open<'a>(members: impl Iterator<Item = (&'a Arc<Load>, u16)> + Clone) -> Arc<Self> {
        let leaves: Vec<Leaf> = members.clone().map(|(_, weight)| Leaf { active: 0, weight, turn: 0 }).collect();
        let mut books = Books { winners: Vec::new(), leaves, sessions: 0, turns: 0 };
        books.winners = vec![NOBODY; books.width()];
        for node in (1..books.width()).rev() {
            books.play(node);
        }
        let ledger = Arc::new(Self { books: Mutex::new(books), sessions: AtomicU64::new(0) });
        for ((load, _), index) in members.zip(0..) {
            load.enter(Entry { ledger: Arc::clone(&ledger), index });
        }
        ledger
    }

    /// Sessions of all members.
    pub(super) fn sessions(&self) -> u64 {
        self.sessions.load(atomic::Ordering::Relaxed)
    }

    /// The member for whom one more session weighs least, unless it is `excluded`; that it was picked is noted.
    ///
    /// An excluded winner makes the search go through all of them: it happens after a failed attempt.
    pub(super) fn pick(&self, excluded: impl Fn(u16) -> bool) -> Option<u16> {
        let mut books = self.books();
        let best = books.best().filter(|best| !excluded(*best)).or_else(|| books.best_but(excluded))?;
        books.turns += 1;
        books.leaves[usize::from(best)].turn = books.turns;
        books.replay(best);
        Some(best)
    }

    /// Nothing under this lock can panic halfway, so poisoned books are still whole.
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Writes down the load of this member, which `active` reads.
    pub(super) fn note(&self, active: impl Fn() -> u32) {
        let mut books = self.ledger.books();
        let active = active();
        let leaf = &mut books.leaves[usize::from(self.index)];
        let before = std::mem::replace(&mut leaf.active, active);
        if before == active {
            return;
        }
        books.sessions = books.sessions + u64::from(active) - u64::from(before);
        self.ledger.sessions.store(books.sessions, atomic::Ordering::Relaxed);
        books.replay(self.index);
    }
}

impl Books {
    /// Leaves of the full tree, and so also its nodes, with one that is not used.
    fn width(&self) -> usize {
        self.leaves.len().next_power_of_two()
    }

    fn best(&self) -> Option<u16> {
        let best = if self.width() == 1 { 0 } else { self.winners[1] };
        (!self.leaves.is_empty()).then_some(best)
    }

    fn best_but(&self, excluded: impl Fn(u16) -> bool) -> Option<u16> {
        let all = (0..).take(self.leaves.len()).filter(|index| !excluded(*index));
        all.reduce(|best, next| if self.is_better(next, best) { next } else { best })
    }

    /// Plays the games on the way from a leaf to the top.
    fn replay(&mut self, leaf: u16) {
        let mut node = (self.width() + usize::from(leaf)) / 2;
        while node > 0 {
            self.play(node);
            node /= 2;
        }
    }

    fn play(&mut self, node: usize) {
        let [one, other] = [2 * node, 2 * node + 1].map(|below| self.winner(below));
        self.winners[node] = if self.is_better(other, one) { other } else { one };
    }

    fn winner(&self, node: usize) -> u16 {
        match node.checked_sub(self.width()) {
            None => self.winners[node],
            Some(leaf) if leaf < self.leaves.len() => u16::try_from(leaf).unwrap_or(NOBODY),
            Some(_) => NOBODY,
        }
    }

    /// Nobody loses against everybody.
    fn is_better(&self, one: u16, other: u16) -> bool {
        let leaf = |index: u16| self.leaves.get(usize::from(index));
        match (leaf(one), leaf(other)) {
            (Some(one), Some(other)) => (one.cost(), one.turn) < (other.cost(), other.turn),
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
mod tests {
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    fn loads(count: usize) -> Vec<Arc<Load>> {
        (0..count).map(|_| Arc::default()).collect()
    }

    fn open(loads: &[Arc<Load>], weights: &[u16]) -> Arc<Ledger> {
        Ledger::open(loads.iter().zip(weights.iter().copied()))
    }

    #[test]
    fn with_no_session_everybody_has_a_turn_in_order() {
        for count in [1, 2, 3, 8, 100] {
            let loads = loads(count);
            let ledger = open(&loads, &vec![1; count]);
            for round in 0..3 {
                let order: Vec<_> = (0..count).filter_map(|_| ledger.pick(|_| false)).map(usize::from).collect();
                assert!(order.iter().copied().eq(0..count), "round {round}: {order:?}");
            }
        }
        assert_eq!(open(&[], &[]).pick(|_| false), None);
    }

    #[test]
    fn a_ledger_that_replaces_another_knows_the_sessions_there_are() {
        let loads = loads(3);
        let before: Vec<_> = [0, 0, 1].map(|index| loads[index].lease()).into();
        let old = open(&loads, &[1; 3]);
        let during = loads[2].lease();
        let new = open(&loads, &[1; 3]);
        assert_eq!((old.sessions(), new.sessions()), (4, 4));
        drop((before, during));
        assert_eq!((old.sessions(), new.sessions()), (4, 0), "only the one in force is told");
    }

    #[test]
    fn what_many_threads_do_at_once_adds_up() {
        let loads = loads(40);
        let ledger = open(&loads, &[1; 40]);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut leases = Vec::new();
                    for turn in 0..20_000 {
                        let picked = ledger.pick(|_| false).expect("somebody");
                        leases.push(loads[usize::from(picked)].lease());
                        if turn % 3 == 0 {
                            leases.swap_remove(turn % leases.len());
                        }
                    }
                    leases.truncate(leases.len() / 2);
                    std::mem::forget(leases);
                });
            }
        });
        let books = ledger.books();
        for (leaf, load) in books.leaves.iter().zip(&loads) {
            assert_eq!(leaf.active, load.active());
        }
        assert_eq!(ledger.sessions(), loads.iter().map(|load| u64::from(load.active())).sum::<u64>());
        let best = books.best().expect("somebody");
        assert!((0..40).all(|index| !books.is_better(index, best)));
    }

    proptest! {
        /// Whatever begins and ends: the pick is one that no other undercuts, and of equals the one that waited longest.
        #[test]
        fn the_winner_is_whom_a_look_at_all_of_them_finds(
            weights in prop::collection::vec(1..5u16, 1..40),
            steps in prop::collection::vec((0..3u8, any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..200),
        ) {
            let loads = loads(weights.len());
            let ledger = open(&loads, &weights);
            let mut leases = Vec::new();
            let mut last_turn = vec![0; weights.len()];
            for (turn, (what, who, excluded)) in steps.iter().enumerate() {
                match what {
                    0 => leases.push(loads[who.index(loads.len())].lease()),
                    1 if !leases.is_empty() => drop(leases.swap_remove(who.index(leases.len()))),
                    _ => {
                        let excluded = excluded.index(loads.len() + 1);
                        let picked = ledger.pick(|index| usize::from(index) == excluded).map(usize::from);
                        let all = (0..loads.len()).filter(|index| *index != excluded);
                        let expected = all.min_by_key(|index| {
                            (Cost::of_one_more(loads[*index].active(), weights[*index]), last_turn[*index], *index)
                        });
                        prop_assert_eq!(picked, expected);
                        if let Some(picked) = picked {
                            last_turn[picked] = turn + 1;
                        }
                    }
                }
            }
        }
    }
}
