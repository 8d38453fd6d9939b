//! Placement: how many sessions each worker has, and which worker gets the next one.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_utils::CachePadded;

use crate::metrics::WorkerId;

/// The number of sessions on each worker, readable by all.
#[derive(Debug)]
pub struct Placement {
    counts: Box<[CachePadded<AtomicU32>]>,
    /// Held while a worker is chosen: two that accept at the same moment would both choose the less busy one.
    choosing: Mutex<()>,
}

/// A session that is counted on a worker, until this is dropped.
#[derive(Debug)]
pub struct Placed {
    placement: Arc<Placement>,
    worker: WorkerId,
}

impl Placement {
    /// `workers` workers without sessions.
    pub fn new(workers: usize) -> Self {
        Self { counts: (0..workers).map(|_| CachePadded::default()).collect(), choosing: Mutex::new(()) }
    }

    /// Places a connection that `acceptor` accepted: with itself, unless another worker is clearly less busy.
    pub fn place(self: &Arc<Self>, acceptor: WorkerId) -> Placed {
        let _choosing = self.choosing.lock().unwrap_or_else(PoisonError::into_inner);
        self.place_at(self.choose(acceptor))
    }

    /// Places a session on this worker, whatever the others have.
    pub fn place_at(self: &Arc<Self>, worker: WorkerId) -> Placed {
        self.counts[worker.0].fetch_add(1, Ordering::Relaxed);
        Placed { placement: Arc::clone(self), worker }
    }

    /// The acceptor, or the least busy worker if the acceptor has an eighth more sessions than that, and at least one.
    ///
    /// The few sessions that matter most, long bulk transfers, are thus spread exactly; among thousands a handful more
    /// or less is not worth a hand-over each.
    fn choose(&self, acceptor: WorkerId) -> WorkerId {
        let own = self.count(acceptor);
        let (least, worker) =
            (0..self.counts.len()).map(|index| (self.count(WorkerId(index)), index)).min().unwrap_or((own, acceptor.0));
        if own > least + least / 8 { WorkerId(worker) } else { acceptor }
    }

    fn count(&self, worker: WorkerId) -> u32 {
        self.counts[worker.0].load(Ordering::Relaxed)
    }
}

impl Placed {
    /// The worker that has the session.
    pub fn worker(&self) -> WorkerId {
        self.worker
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        self.placement.counts[self.worker.0].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_sessions_are_spread_exactly_whoever_accepts() {
        let placement = Arc::new(Placement::new(2));
        let placed: Vec<_> = (0..8).map(|_| placement.place(WorkerId(0))).collect();
        assert_eq!(placement.count(WorkerId(0)), 4);
        assert_eq!(placement.count(WorkerId(1)), 4);
        drop(placed);
        assert_eq!(placement.count(WorkerId(0)) + placement.count(WorkerId(1)), 0);
    }

    #[test]
    fn many_sessions_stay_where_they_were_accepted_until_an_eighth_too_many() {
        let placement = Arc::new(Placement::new(2));
        let _base: Vec<_> = (0..2)
            .flat_map(|worker| (0..80).map(move |_| worker))
            .map(|worker| placement.place_at(WorkerId(worker)))
            .collect();
        let placed: Vec<_> = (0..11).map(|_| placement.place(WorkerId(0))).collect();
        assert!(placed.iter().all(|placed| placed.worker() == WorkerId(0)));
        assert_eq!(placement.place(WorkerId(0)).worker(), WorkerId(1));
    }

    #[test]
    fn workers_that_accept_at_the_same_moment_do_not_choose_the_same_one() {
        const ROUNDS: u32 = 2_000;
        let placement = Arc::new(Placement::new(2));
        let arrived = AtomicU32::new(0);
        // Spins, so that both leave it within nanoseconds.
        let together = |meeting: u32| {
            arrived.fetch_add(1, Ordering::SeqCst);
            while arrived.load(Ordering::SeqCst) < 2 * meeting {
                std::hint::spin_loop();
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for round in 0..ROUNDS {
                        together(3 * round + 1);
                        let placed = placement.place(WorkerId(0));
                        together(3 * round + 2);
                        assert_eq!(placement.count(WorkerId(0)), placement.count(WorkerId(1)), "round {round}");
                        together(3 * round + 3);
                        drop(placed);
                    }
                });
            }
        });
    }

    #[test]
    fn a_lone_worker_keeps_everything() {
        let placement = Arc::new(Placement::new(1));
        assert_eq!(placement.place(WorkerId(0)).worker(), WorkerId(0));
        let _held = placement.place(WorkerId(0));
        assert_eq!(placement.place(WorkerId(0)).worker(), WorkerId(0));
    }
}
