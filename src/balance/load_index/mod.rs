//! The loads of many members in one place, so that a pick need not read each of them.
//!
//! The [`Load`](super::load::Load)s report every session that begins and ends to the index they are registered with, each as
//! a leaf of its tournament. An update always reads the load under the lock, and every change of a load is followed by an
//! update: so the index may be a moment behind, and is never wrong for good.
//!
//! An index can answer only while all of its loads report to it. Building it changes nothing; registering takes the loads
//! over one after the other, from the index that had them before, which is superseded by that:
//!
//! ```text
//!   built ──► filling ──► current           every load reports here, and it may be asked
//!                │           │
//!                └──► superseded ◄┘         another index has taken over a load: never to be asked again
//! ```
//!
//! A picker whose index is not current reads every load instead, which takes longer and is as right.

mod tournament;

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use self::tournament::Tournament;

/// The loads of the members of one picker.
#[derive(Debug)]
pub(super) struct LoadIndex {
    tournament: Mutex<Tournament>,
    /// Sessions of all members; written under the lock, read without it.
    sessions: AtomicU64,
    /// A [`Stage`], which only goes on and never back.
    stage: AtomicU8,
}

/// How far an index is; see the drawing above.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
enum Stage {
    /// No load reports to it.
    Built,
    /// Some loads report to it, and the others are about to.
    Filling,
    /// All loads report to it.
    Current,
    /// Some load reports to another index.
    Superseded,
}

impl LoadIndex {
    /// An index of members with these weights, at most 65,535, to which no load reports yet.
    pub(super) fn new(weights: impl Iterator<Item = u16>) -> Self {
        Self {
            tournament: Mutex::new(Tournament::new(weights)),
            sessions: AtomicU64::new(0),
            stage: AtomicU8::new(Stage::Built as u8),
        }
    }

    /// Whether every load reports to it.
    pub(super) fn is_current(&self) -> bool {
        // Acquires what the updates before `finish_filling` wrote.
        self.stage.load(Ordering::Acquire) == Stage::Current as u8
    }

    /// Sessions of all members.
    pub(super) fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// The member with the lowest cost of one more session that is not `excluded`; of equal ones the one picked longest ago.
    pub(super) fn pick(&self, excluded: impl Fn(u16) -> bool) -> Option<u16> {
        self.lock().pick(excluded)
    }

    /// Claims the index for the one caller that registers the loads; false for all others.
    pub(super) fn start_filling(&self) -> bool {
        self.advance(Stage::Built, Stage::Filling)
    }

    /// Every load has been registered.
    pub(super) fn finish_filling(&self) {
        // Fails if it was superseded meanwhile, and then must.
        self.advance(Stage::Filling, Stage::Current);
    }

    /// A load is about to be registered with another index.
    pub(super) fn supersede(&self) {
        self.stage.store(Stage::Superseded as u8, Ordering::Relaxed);
    }

    /// Sets the load of a member to what `active` reads.
    pub(super) fn update(&self, leaf: u16, active: impl FnOnce() -> u32) {
        if self.stage.load(Ordering::Relaxed) == Stage::Superseded as u8 {
            return;
        }
        let mut tournament = self.lock();
        let active = active();
        let before = tournament.set_active(leaf, active);
        let others = self.sessions.load(Ordering::Relaxed) - u64::from(before);
        self.sessions.store(others + u64::from(active), Ordering::Relaxed);
    }

    fn advance(&self, from: Stage, to: Stage) -> bool {
        self.stage.compare_exchange(from as u8, to as u8, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Nothing under this lock can panic halfway, so a poisoned tournament is still whole.
    fn lock(&self) -> MutexGuard<'_, Tournament> {
        self.tournament.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
